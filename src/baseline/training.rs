//! Training data in a file: Parquet and Arrow IPC one column at a time, CSV whole.

use super::BaselineError;
use super::column::{Column, ColumnError, ColumnType, column_type, time_type};
use super::rows;
use super::text;
use crate::cells::Grid;
use polars::prelude::{
    ArrowSchema, CsvReadOptions, DataFrame, IpcReader, ParquetReader, PolarsError, PolarsResult, SerReader,
    Series,
};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Rows of a Parquet column that are decoded at a time, rounded up to whole row groups.
const SLICE_ROWS: usize = 1 << 20;

/// An opened file of training data.
pub(super) struct TrainingData {
    path: PathBuf,
    format: Format,
    pub(super) rows: usize,
    pub(super) columns: Vec<TrainingColumn>,
}

/// A column and what its type in the file's schema comes to, or why it cannot be monitored.
pub(super) struct TrainingColumn {
    pub(super) name: String,
    pub(super) column_type: Result<ColumnType, String>,
    /// Why it cannot be the time of the rows, if its type says so.
    pub(super) time_type: Result<(), String>,
}

enum Format {
    /// `(offset, rows)` of each part that is decoded at once.
    Parquet(Vec<(usize, usize)>),
    Ipc,
    Csv(DataFrame),
}

impl Format {
    fn name(&self) -> &'static str {
        match self {
            Format::Parquet(_) => "Parquet",
            Format::Ipc => "Arrow IPC",
            Format::Csv(_) => "CSV",
        }
    }
}

impl TrainingData {
    /// Opens a file; its first bytes decide what it is, and what is neither Parquet nor Arrow is CSV.
    pub(super) fn open(path: &Path) -> Result<TrainingData, BaselineError> {
        let start = first_bytes(path).map_err(|source| open_error(path, source))?;
        let unreadable =
            |format: &'static str| move |error: PolarsError| unreadable(path, format, &error.to_string());
        let data = match &start[..] {
            [b'P', b'A', b'R', b'1', ..] => open_parquet(path).map_err(unreadable("Parquet"))?,
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => open_ipc(path).map_err(unreadable("Arrow IPC"))?,
            _ => {
                not_text(path, &start)?;
                open_csv(path).map_err(unreadable("CSV"))?
            }
        };
        if data.rows == 0 { Err(BaselineError::NoRows { path: path.to_owned() }) } else { Ok(data) }
    }

    /// Reads the column at `index`. The inner error is why the column cannot be monitored.
    pub(super) fn read(&self, index: usize) -> Result<Result<Column, String>, BaselineError> {
        let column_type = match &self.columns[index].column_type {
            Ok(column_type) => *column_type,
            Err(reason) => return Ok(Err(reason.clone())),
        };
        let column = match &self.format {
            Format::Csv(frame) => read_text(frame, index),
            Format::Parquet(_) | Format::Ipc => {
                let mut column = Column::new(column_type, self.rows);
                self.chunks(index, &mut |chunk| column.add(chunk)).map(|()| column)
            }
        };
        match column {
            Ok(column) => Ok(Ok(column)),
            Err(ColumnError::Refused(reason)) => Ok(Err(reason)),
            // pandas leaves -1 below the nulls of a category, which Polars takes for a damaged dictionary
            Err(ColumnError::Polars(error))
                if matches!(self.format, Format::Ipc) && column_type == ColumnType::Categorical =>
            {
                Ok(Err(format!("its Arrow IPC form cannot be read ({error}); write the data as Parquet")))
            }
            Err(ColumnError::Polars(error)) => Err(self.unreadable_column(index, &error.to_string())),
        }
    }

    /// The time of each row, in milliseconds. The inner error is why the column has none.
    pub(super) fn times(&self, index: usize) -> Result<Result<Vec<Option<i64>>, String>, BaselineError> {
        if let Err(reason) = &self.columns[index].time_type {
            return Ok(Err(reason.clone()));
        }
        let mut times = Vec::with_capacity(self.rows);
        match self.chunks(index, &mut |chunk| rows::add_times(chunk, &mut times)) {
            Ok(()) => Ok(Ok(times)),
            Err(ColumnError::Refused(reason)) => Ok(Err(reason)),
            Err(ColumnError::Polars(error)) => Err(self.unreadable_column(index, &error.to_string())),
        }
    }

    /// The cell of each row's value on the grid of the column's series.
    pub(super) fn cells(&self, index: usize, grid: &Grid) -> Result<Vec<u32>, BaselineError> {
        let mut cells = Vec::with_capacity(self.rows);
        let read = self.chunks(index, &mut |chunk| rows::add_cells(grid, chunk, &mut cells));
        read.map(|()| cells).map_err(|error| match error {
            ColumnError::Refused(reason) => self.unreadable_column(index, &reason),
            ColumnError::Polars(error) => self.unreadable_column(index, &error.to_string()),
        })
    }

    /// Calls `each` with the chunks of a column, in the order of its rows.
    fn chunks(
        &self,
        index: usize,
        each: &mut dyn FnMut(&Series) -> Result<(), ColumnError>,
    ) -> Result<(), ColumnError> {
        match &self.format {
            Format::Parquet(slices) => parquet_chunks(&self.path, index, slices, each),
            Format::Ipc => {
                let reader = IpcReader::new(open(&self.path)?);
                each_column(&reader.with_projection(Some(vec![index])).set_rechunk(false).finish()?, each)
            }
            Format::Csv(frame) => each(frame.columns()[index].as_materialized_series()),
        }
    }

    fn unreadable_column(&self, index: usize, reason: &str) -> BaselineError {
        unreadable(&self.path, self.format.name(), &format!("column {}: {reason}", self.columns[index].name))
    }
}

fn open_error(path: &Path, source: std::io::Error) -> BaselineError {
    BaselineError::Open { path: path.to_owned(), source }
}

fn unreadable(path: &Path, format: &'static str, reason: &str) -> BaselineError {
    BaselineError::Unreadable { path: path.to_owned(), format, reason: reason.to_owned() }
}

fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut start)?;
    Ok(start)
}

/// Says what a file is that CSV cannot be, before a CSV reader makes columns of it.
fn not_text(path: &Path, start: &[u8]) -> Result<(), BaselineError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let reason = match (start, extension) {
        (_, "parquet" | "pq") => return Err(unreadable(path, "Parquet", "it does not begin with PAR1")),
        (_, "arrow" | "feather" | "ipc") => {
            let reason = "it does not begin with ARROW1; streams have to be rewritten as files";
            return Err(unreadable(path, "Arrow IPC", reason));
        }
        (_, "json" | "jsonl" | "ndjson") => "JSON is not read here; convert it to Parquet",
        ([0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..], _) => "it is compressed; unpack it first",
        _ if start.contains(&0) => "it holds binary data",
        _ => return Ok(()),
    };
    Err(unreadable(path, "CSV", reason))
}

fn schema_columns(schema: &ArrowSchema) -> Vec<TrainingColumn> {
    let column = |(name, field): (&_, &polars::prelude::ArrowField)| TrainingColumn {
        name: ToString::to_string(name),
        column_type: column_type(&field.dtype),
        time_type: time_type(&field.dtype),
    };
    schema.iter().map(column).collect()
}

fn open_parquet(path: &Path) -> PolarsResult<TrainingData> {
    let mut reader = ParquetReader::new(File::open(path)?);
    let columns = schema_columns(&*reader.schema()?);
    let metadata = reader.get_metadata()?;
    let groups = metadata.row_groups.iter().map(|group| group.num_rows());
    let format = Format::Parquet(slices(groups));
    Ok(TrainingData { path: path.to_owned(), format, rows: metadata.num_rows, columns })
}

/// Joins row groups until a slice has [`SLICE_ROWS`] rows.
fn slices(groups: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
    let mut slices: Vec<(usize, usize)> = Vec::new();
    let mut offset = 0;
    for rows in groups {
        match slices.last_mut() {
            Some(last) if last.1 < SLICE_ROWS => last.1 += rows,
            _ => slices.push((offset, rows)),
        }
        offset += rows;
    }
    slices
}

fn parquet_chunks(
    path: &Path,
    index: usize,
    slices: &[(usize, usize)],
    each: &mut dyn FnMut(&Series) -> Result<(), ColumnError>,
) -> Result<(), ColumnError> {
    let metadata = ParquetReader::new(open(path)?).get_metadata()?.clone();
    for slice in slices {
        let mut reader =
            ParquetReader::new(open(path)?).with_projection(Some(vec![index])).with_slice(Some(*slice));
        reader.set_metadata(metadata.clone());
        each_column(&reader.finish()?, each)?;
    }
    Ok(())
}

fn open(path: &Path) -> PolarsResult<File> {
    Ok(File::open(path)?)
}

fn open_ipc(path: &Path) -> PolarsResult<TrainingData> {
    let mut reader = IpcReader::new(open(path)?);
    let columns = schema_columns(&*reader.schema()?);
    // no column: Polars then counts the rows only
    let rows = IpcReader::new(open(path)?).with_projection(Some(Vec::new())).finish()?.height();
    Ok(TrainingData { path: path.to_owned(), format: Format::Ipc, rows, columns })
}

fn each_column(
    frame: &DataFrame,
    each: &mut dyn FnMut(&Series) -> Result<(), ColumnError>,
) -> Result<(), ColumnError> {
    frame.columns().iter().try_for_each(|chunk| each(chunk.as_materialized_series()))
}

/// All columns as text: what they are is decided here, value by value, not by a guess from the first rows.
fn open_csv(path: &Path) -> PolarsResult<TrainingData> {
    let separator = if path.extension().is_some_and(|extension| extension == "tsv") { b'\t' } else { b',' };
    let frame = CsvReadOptions::default()
        .with_infer_schema_length(Some(0))
        .map_parse_options(|parse| parse.with_separator(separator))
        .into_reader_with_file_handle(open(path)?)
        .finish()?;
    let columns = frame.get_column_names().into_iter();
    let columns = columns.map(|name| TrainingColumn {
        name: name.to_string(),
        column_type: Ok(ColumnType::Text),
        time_type: Ok(()),
    });
    let (rows, columns) = (frame.height(), columns.collect());
    Ok(TrainingData { path: path.to_owned(), rows, columns, format: Format::Csv(frame) })
}

fn read_text(frame: &DataFrame, index: usize) -> Result<Column, ColumnError> {
    text::read(frame.columns()[index].as_materialized_series().str()?)
}
