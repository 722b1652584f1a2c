//! Writing a baseline file.

use super::{FORMAT, Header, METADATA_KEY, SeriesHeader, SumsHeader, TimesHeader, check, hash_text};
use crate::baseline::{Baseline, BaselineError, BaselineSeries, TimeRange};
use crate::cells::Grid;
use polars::prelude::{Column, DataFrame, KeyValueMetadata, NamedFrom, ParquetWriter, PolarsResult, Series};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Writes a baseline; what stands at `path` is replaced at once or, on an error, not at all.
pub fn write(baseline: &Baseline, path: &Path) -> Result<(), BaselineError> {
    let failed = |reason: String| BaselineError::Write { path: path.to_owned(), reason };
    check(&baseline.series, baseline.rows).map_err(failed)?;
    let header = serde_json::to_string(&header(baseline)).map_err(|error| failed(error.to_string()))?;
    let temporary = temporary(path).ok_or_else(|| failed("it is not the path of a file".to_owned()))?;
    let written = frame(baseline)
        .and_then(|mut frame| write_frame(&mut frame, header, &temporary))
        .and_then(|()| Ok(std::fs::rename(&temporary, path)?));
    written.map_err(|error| {
        // the first error is the one to tell; what is left of the file may not even exist
        let _ = std::fs::remove_file(&temporary);
        failed(error.to_string())
    })
}

/// A name of this process's own beside `path`, since a rename works only within a file system.
fn temporary(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    Some(path.with_file_name(format!(".{name}.{}.tmp", std::process::id())))
}

fn write_frame(frame: &mut DataFrame, header: String, path: &Path) -> PolarsResult<()> {
    let file = File::create(path)?;
    let metadata = KeyValueMetadata::from_static(vec![(METADATA_KEY.to_owned(), header)]);
    ParquetWriter::new(&file).with_key_value_metadata(Some(metadata)).finish(frame)?;
    Ok(file.sync_all()?)
}

fn header(baseline: &Baseline) -> Header {
    let series = baseline.series.iter().map(|series| SeriesHeader {
        name: series.name.clone(),
        of: series.of,
        kind: series.kind,
        missing: series.missing,
        distinct: series.distinct,
        range: series.range.map(|(min, max)| [min.to_string(), max.to_string()]),
        grid_hash: hash_text(series),
        series_type: Some(series.series_type()),
        single: matches!(series.grid.as_ref(), Grid::Numeric(grid) if grid.is_single()),
        tolerances: series.traits.tolerances.clone(),
        sums: series.traits.sums.as_ref().map(SumsHeader::new),
    });
    Header {
        format: FORMAT,
        model: baseline.model.clone(),
        version: baseline.version.clone(),
        rows: baseline.rows,
        created: baseline.created.to_rfc3339(),
        held_out: baseline.held_out,
        times: baseline.times.as_ref().map(times),
        series: series.collect(),
    }
}

fn times(range: &TimeRange) -> TimesHeader {
    TimesHeader {
        column: range.column.clone(),
        from: range.from.to_rfc3339(),
        to: range.to.to_rfc3339(),
        pane_ms: range.pane_ms,
    }
}

#[derive(Default)]
struct Rows<'a> {
    series: Vec<&'a str>,
    of: Vec<&'a str>,
    kind: Vec<&'a str>,
    position: Vec<u32>,
    cut: Vec<Option<f64>>,
    category: Vec<Option<&'a str>>,
    other: Vec<bool>,
    at: Vec<Option<u64>>,
    above: Vec<Option<u64>>,
}

/// What differs from row to row within a series.
#[derive(Default)]
struct Row<'a> {
    cut: Option<f64>,
    category: Option<&'a str>,
    other: bool,
    at: Option<u64>,
    above: Option<u64>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, series: &'a BaselineSeries, position: usize, row: Row<'a>) {
        self.series.push(&series.name);
        self.of.push(series.of.as_str());
        self.kind.push(series.kind.as_str());
        self.position.push(position as u32);
        self.cut.push(row.cut);
        self.category.push(row.category);
        self.other.push(row.other);
        self.at.push(row.at);
        self.above.push(row.above);
    }

    fn push_series(&mut self, series: &'a BaselineSeries) {
        let rows = match series.grid.as_ref() {
            Grid::Numeric(grid) => numeric_rows(grid.cuts(), &series.counts),
            Grid::Categorical(categories) => {
                let mut rows: Vec<Row<'a>> = category_rows(categories.named(), &series.counts);
                let sum = series.counts[usize::from(categories.other_cell())];
                rows.push(Row { other: true, at: Some(sum), ..Row::default() });
                let name = |name: &'a String| Row { category: Some(name), other: true, ..Row::default() };
                rows.extend(categories.others().iter().map(name));
                rows
            }
            Grid::Boolean => category_rows(&["false", "true"], &series.counts),
        };
        rows.into_iter().enumerate().for_each(|(position, row)| self.push(series, position, row));
    }
}

fn numeric_rows<'a>(cuts: &[f64], counts: &[u64]) -> Vec<Row<'a>> {
    let mut rows = vec![Row { at: Some(0), above: counts.first().copied(), ..Row::default() }];
    rows.extend(cuts.iter().zip(counts[1..].chunks_exact(2)).map(|(cut, pair)| Row {
        cut: Some(*cut),
        at: Some(pair[0]),
        above: Some(pair[1]),
        ..Row::default()
    }));
    rows
}

fn category_rows<'a, S: AsRef<str>>(names: &'a [S], counts: &[u64]) -> Vec<Row<'a>> {
    let row = |(name, count): (&'a S, &u64)| Row {
        category: Some(name.as_ref()),
        at: Some(*count),
        ..Row::default()
    };
    names.iter().zip(counts).map(row).collect()
}

fn frame(baseline: &Baseline) -> PolarsResult<DataFrame> {
    let mut rows = Rows::default();
    baseline.series.iter().for_each(|series| rows.push_series(series));
    let columns: Vec<Series> = vec![
        Series::new("series".into(), rows.series),
        Series::new("of".into(), rows.of),
        Series::new("kind".into(), rows.kind),
        Series::new("position".into(), rows.position),
        Series::new("cut".into(), rows.cut),
        Series::new("category".into(), rows.category),
        Series::new("other".into(), rows.other),
        Series::new("at".into(), rows.at),
        Series::new("above".into(), rows.above),
    ];
    DataFrame::new_infer_height(columns.into_iter().map(Column::from).collect())
}
