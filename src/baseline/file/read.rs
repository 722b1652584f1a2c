//! Reading a baseline file back, trusting nothing in it.

use super::{FORMAT, Header, METADATA_KEY, SeriesHeader, TimesHeader, check, hash_text};
use crate::baseline::{Baseline, BaselineError, BaselineSeries, SeriesTraits, SeriesType, TimeRange};
use crate::cells::{Categories, Grid, MAX_CATEGORIES, NumericGrid};
use crate::event::{EventTime, SeriesKind};
use polars::prelude::{ArrowDataType, ArrowSchema, DataFrame, ParquetReader, PolarsResult, SerReader};
use serde::Deserialize;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

/// Reads a baseline and verifies its format, its grids' hashes, its counts and the order of its cuts.
pub fn read(path: &Path) -> Result<Baseline, BaselineError> {
    let open_error = |source| BaselineError::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(open_error)?;
    let mut start = [0; 4];
    let parquet = file.read_exact(&mut start).is_ok() && &start == b"PAR1";
    file.rewind().map_err(open_error)?;
    let baseline = if parquet { decode(file) } else { Err("it is not a Parquet file".to_owned()) };
    baseline.map_err(|reason| BaselineError::Invalid { path: path.to_owned(), reason })
}

fn decode(file: File) -> Result<Baseline, String> {
    let mut reader = ParquetReader::new(file);
    let header = header(&mut reader)?;
    let schema = reader.schema().map_err(|error| error.to_string())?;
    check_schema(&schema)?;
    let frame = reader.finish().map_err(|error| error.to_string())?;
    let rows = rows(&frame).map_err(|error| error.to_string())?;
    let mut rest = rows.as_slice();
    let mut series = Vec::with_capacity(header.series.len());
    for one in &header.series {
        let belongs = |row: &Row<'_>| {
            row.series == one.name && row.of == one.of.as_str() && row.kind == one.kind.as_str()
        };
        let (own, others) = rest.split_at(rest.iter().take_while(|row| belongs(row)).count());
        rest = others;
        series.push(Arc::new(read_series(one, own)?));
    }
    if let Some(row) = rest.first() {
        return Err(format!("its rows of series {} do not fit its metadata", row.series));
    }
    check(&series, header.rows)?;
    let created: jiff::Timestamp =
        header.created.parse().map_err(|_| format!("its creation time {} is unreadable", header.created))?;
    Ok(Baseline {
        model: header.model,
        version: header.version,
        rows: header.rows,
        created: EventTime(created.as_millisecond()),
        held_out: header.held_out,
        times: header.times.map(times).transpose()?,
        series,
    })
}

fn times(header: TimesHeader) -> Result<TimeRange, String> {
    let moment =
        |text: &str| EventTime::parse_rfc3339(text).map_err(|_| format!("its time {text} is unreadable"));
    Ok(TimeRange {
        from: moment(&header.from)?,
        to: moment(&header.to)?,
        column: header.column,
        pane_ms: header.pane_ms,
    })
}

fn header(reader: &mut ParquetReader<File>) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let metadata = reader.get_metadata().map_err(|error| error.to_string())?;
    let json = metadata
        .key_value_metadata
        .iter()
        .flatten()
        .find(|entry| entry.key == METADATA_KEY)
        .and_then(|entry| entry.value.as_deref())
        .ok_or("it has no baseline metadata; `tidegate baseline` makes a baseline of training data")?;
    let unreadable = |error: serde_json::Error| format!("its metadata is unreadable: {error}");
    let Format { format } = serde_json::from_str(json).map_err(unreadable)?;
    if format != FORMAT {
        return Err(format!("it has format {format}, and this program reads format {FORMAT}"));
    }
    serde_json::from_str(json).map_err(unreadable)
}

/// Polars panics on some types it was built without, so they are compared before anything is read.
fn check_schema(schema: &ArrowSchema) -> Result<(), String> {
    use ArrowDataType as A;
    let text = |data_type: &A| matches!(data_type, A::Utf8 | A::LargeUtf8 | A::Utf8View);
    type Fits = fn(&A) -> bool;
    let expected: [(&str, Fits); 9] = [
        ("series", text),
        ("of", text),
        ("kind", text),
        ("position", |data_type| *data_type == A::UInt32),
        ("cut", |data_type| *data_type == A::Float64),
        ("category", text),
        ("other", |data_type| *data_type == A::Boolean),
        ("at", |data_type| *data_type == A::UInt64),
        ("above", |data_type| *data_type == A::UInt64),
    ];
    if schema.len() != expected.len() {
        return Err(format!("it has {} columns instead of {}", schema.len(), expected.len()));
    }
    for (name, fits) in expected {
        match schema.get(name) {
            None => return Err(format!("it has no column {name}")),
            Some(field) if !fits(&field.dtype) => {
                return Err(format!("its column {name} has the wrong type ({:?})", field.dtype));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

struct Row<'a> {
    series: &'a str,
    of: &'a str,
    kind: &'a str,
    position: Option<u32>,
    cut: Option<f64>,
    category: Option<&'a str>,
    other: bool,
    at: Option<u64>,
    above: Option<u64>,
}

fn rows(frame: &DataFrame) -> PolarsResult<Vec<Row<'_>>> {
    let text = |name: &str| frame.column(name)?.str();
    let (series, of, kind, category) = (text("series")?, text("of")?, text("kind")?, text("category")?);
    let (position, cut) = (frame.column("position")?.u32()?, frame.column("cut")?.f64()?);
    let (at, above) = (frame.column("at")?.u64()?, frame.column("above")?.u64()?);
    let other = frame.column("other")?.bool()?;
    let row = |index| Row {
        series: series.get(index).unwrap_or_default(),
        of: of.get(index).unwrap_or_default(),
        kind: kind.get(index).unwrap_or_default(),
        position: position.get(index),
        cut: cut.get(index),
        category: category.get(index),
        other: other.get(index).unwrap_or_default(),
        at: at.get(index),
        above: above.get(index),
    };
    Ok((0..frame.height()).map(row).collect())
}

fn read_series(header: &SeriesHeader, rows: &[Row<'_>]) -> Result<BaselineSeries, String> {
    let name = &header.name;
    let ordered = |(index, row): (usize, &Row<'_>)| row.position == Some(index as u32);
    if !rows.iter().enumerate().all(ordered) {
        return Err(format!("the rows of series {name} are out of order"));
    }
    let cells = match header.kind {
        SeriesKind::Numeric => numeric(rows, header.single),
        SeriesKind::Categorical => categorical(rows),
        SeriesKind::Boolean => boolean(rows),
    };
    let (grid, counts) =
        cells.ok_or_else(|| format!("the rows of series {name} are incomplete or unsorted"))?;
    let range = match &header.range {
        None => None,
        Some([min, max]) => Some(
            min.parse()
                .ok()
                .zip(max.parse().ok())
                .ok_or_else(|| format!("the range of series {name} is unreadable"))?,
        ),
    };
    let series_type =
        header.series_type.unwrap_or_else(|| SeriesType::detect(header.kind, &counts, header.distinct));
    if series_type.kind() != header.kind {
        return Err(format!("series {name} is of another type than its kind"));
    }
    let unreadable = || format!("the sums of series {name} are unreadable");
    let sums = header.sums.as_ref().map(|sums| sums.read().ok_or_else(unreadable)).transpose()?;
    let series = BaselineSeries {
        traits: SeriesTraits {
            discrete: series_type == SeriesType::Discrete,
            tolerances: header.tolerances.clone(),
            sums,
            accepted: false,
        },
        name: name.clone(),
        of: header.of,
        kind: header.kind,
        grid: Arc::new(grid),
        counts,
        missing: header.missing,
        distinct: header.distinct,
        range,
    };
    if hash_text(&series) != header.grid_hash {
        return Err(format!("the grid of series {name} does not have the hash its metadata tells"));
    }
    Ok(series)
}

/// Grid and counts of a numeric series, unless its rows lack a value or its cuts do not increase.
fn numeric(rows: &[Row<'_>], single: bool) -> Option<(Grid, Vec<u64>)> {
    let (first, rest) = rows.split_first()?;
    if first.cut.is_some() || first.at != Some(0) {
        return None;
    }
    let cuts: Vec<f64> = rest.iter().map(|row| row.cut).collect::<Option<_>>()?;
    // the comparison is false for NaN too
    if cuts.iter().any(|cut| cut.is_nan()) || !cuts.windows(2).all(|pair| pair[0] < pair[1]) {
        return None;
    }
    let mut counts = vec![first.above?];
    for row in rest {
        counts.extend([row.at?, row.above?]);
    }
    let grid = if single { NumericGrid::of_single(cuts) } else { NumericGrid::new(cuts) };
    Some((Grid::Numeric(grid), counts))
}

fn categorical(rows: &[Row<'_>]) -> Option<(Grid, Vec<u64>)> {
    let split = rows.iter().position(|row| row.other)?;
    let (named, others) = rows.split_at(split);
    let (sum, others) = others.split_first()?;
    if named.len() > MAX_CATEGORIES || sum.category.is_some() || others.iter().any(|row| !row.other) {
        return None;
    }
    let mut counts: Vec<u64> = named.iter().map(|row| row.at).collect::<Option<_>>()?;
    counts.extend([sum.at?, 0]);
    let names = |rows: &[Row<'_>]| rows.iter().map(|row| row.category.map(str::to_owned)).collect();
    let (named, others): (Option<Vec<String>>, Option<Vec<String>>) = (names(named), names(others));
    Some((Grid::Categorical(Categories::new(named?, others?)), counts))
}

fn boolean(rows: &[Row<'_>]) -> Option<(Grid, Vec<u64>)> {
    match rows {
        [no, yes] if no.category == Some("false") && yes.category == Some("true") => {
            Some((Grid::Boolean, vec![no.at?, yes.at?]))
        }
        _ => None,
    }
}
