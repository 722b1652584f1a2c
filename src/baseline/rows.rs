//! A second look at a column of training data, row by row: its times, and the cell of each value.

use super::blocks::NO_CELL;
use super::column::ColumnError;
use super::series_type::{name, truth};
use super::text;
use crate::cells::{Grid, NOT_A_NUMBER};
use crate::event::EventTime;
use polars::prelude::{DataType, Series, TimeUnit};

/// One value, as its column has it.
enum Value<'a> {
    Number(f64),
    Name(&'a str),
    Truth(bool),
}

/// Calls `each` with every value of a chunk, `None` for nulls.
fn each_value(chunk: &Series, mut each: impl FnMut(Option<Value<'_>>)) -> Result<(), ColumnError> {
    match chunk.dtype() {
        DataType::Boolean => chunk.bool()?.iter().for_each(|value| each(value.map(Value::Truth))),
        DataType::String => chunk.str()?.iter().for_each(|value| each(value.map(Value::Name))),
        _ => {
            if let Some(chunk) = chunk.try_cat8() {
                chunk.iter_str().for_each(|value| each(value.map(Value::Name)));
            } else if let Some(chunk) = chunk.try_cat16() {
                chunk.iter_str().for_each(|value| each(value.map(Value::Name)));
            } else if let Some(chunk) = chunk.try_cat32() {
                chunk.iter_str().for_each(|value| each(value.map(Value::Name)));
            } else {
                // Integers beyond 2^53 were refused before.
                let numbers = chunk.cast(&DataType::Float64)?;
                numbers.f64()?.iter().for_each(|value| each(value.map(Value::Number)));
            }
        }
    }
    Ok(())
}

/// Adds the cell of every value of a chunk on `grid`; [`NO_CELL`] where there is none.
pub(super) fn add_cells(grid: &Grid, chunk: &Series, cells: &mut Vec<u32>) -> Result<(), ColumnError> {
    each_value(chunk, |value| cells.push(value.and_then(|value| cell(grid, value)).unwrap_or(NO_CELL)))
}

fn cell(grid: &Grid, value: Value<'_>) -> Option<u32> {
    match grid {
        Grid::Numeric(grid) => {
            let number = match value {
                Value::Number(number) => number,
                Value::Name(text) => text::number(text)?,
                Value::Truth(_) => return None,
            };
            Some(grid.rank_one(number)).filter(|cell| *cell != NOT_A_NUMBER)
        }
        Grid::Categorical(categories) => {
            let cell = match value {
                Value::Number(number) => categories.cell_of(&name(number)),
                Value::Name(text) => categories.cell_of(text),
                Value::Truth(truth) => categories.cell_of(if truth { "true" } else { "false" }),
            };
            // What has no cell in its own baseline is missing there: the empty fields of a CSV.
            (cell != categories.unseen_cell()).then(|| u32::from(cell))
        }
        Grid::Boolean => {
            let truth = match value {
                Value::Number(number) => truth(number)?,
                Value::Name(text) => text::boolean(text).or_else(|| truth(text::number(text)?))?,
                Value::Truth(truth) => truth,
            };
            Some(u32::from(truth))
        }
    }
}

/// Adds the time of every row of a chunk in milliseconds; `None` for nulls and empty fields. Times without a zone are
/// UTC.
///
/// # Errors
/// When the column holds no times.
pub(super) fn add_times(chunk: &Series, times: &mut Vec<Option<i64>>) -> Result<(), ColumnError> {
    match chunk.dtype() {
        DataType::Datetime(unit, _) => {
            let divisor = match unit {
                TimeUnit::Milliseconds => 1,
                TimeUnit::Microseconds => 1_000,
                TimeUnit::Nanoseconds => 1_000_000,
            };
            let physical = chunk.to_physical_repr();
            times.extend(physical.i64()?.iter().map(|time| time.map(|time| time.div_euclid(divisor))));
            Ok(())
        }
        DataType::Float32 | DataType::Float64 => {
            let numbers = chunk.cast(&DataType::Float64)?;
            let read = |number: f64| EventTime::from_epoch(number).map(|time| time.0).map_err(|_| no_time());
            for number in numbers.f64()?.iter() {
                times.push(number.filter(|number| !number.is_nan()).map(read).transpose()?);
            }
            Ok(())
        }
        DataType::String => {
            for text in chunk.str()?.iter() {
                times.push(text.filter(|text| !text.is_empty()).map(read_text).transpose()?);
            }
            Ok(())
        }
        kind if kind.is_integer() => {
            let numbers = chunk.cast(&DataType::Int64)?;
            let read = |number: i64| EventTime::from_epoch_integer(number).0;
            times.extend(numbers.i64()?.iter().map(|number| number.map(read)));
            Ok(())
        }
        _ => Err(no_time()),
    }
}

/// RFC 3339, the same with a blank for the T or without a zone, or a number since 1970.
fn read_text(text: &str) -> Result<i64, ColumnError> {
    let with_t = text.replacen(' ', "T", 1);
    EventTime::parse_rfc3339(&with_t)
        .or_else(|_| EventTime::parse_rfc3339(&format!("{with_t}Z")))
        .or_else(|error| text.parse::<f64>().map_err(|_| error).and_then(EventTime::from_epoch))
        .map(|time| time.0)
        .map_err(|_| no_time())
}

fn no_time() -> ColumnError {
    ColumnError::Refused(
        "its values are no times: timestamps, RFC 3339 texts or numbers since 1970 are".to_owned(),
    )
}
