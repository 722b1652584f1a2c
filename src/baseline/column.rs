//! What the values of one column of training data come to, taken in chunk by chunk.

use super::categorical::{MAX_NAMES, NameCounts, TooManyNames};
use polars::prelude::{ArrowDataType, DataType, PolarsError, PolarsNumericType, Series};

/// Integers up to here are exact as `f64`.
const MAX_INTEGER: u64 = 1 << 53;

/// Why a column cannot be taken in.
pub(super) enum ColumnError {
    /// For good: the column is left out, with this reason.
    Refused(String),
    Polars(PolarsError),
}

impl From<PolarsError> for ColumnError {
    fn from(error: PolarsError) -> Self {
        ColumnError::Polars(error)
    }
}

impl From<TooManyNames> for ColumnError {
    fn from(_: TooManyNames) -> Self {
        ColumnError::Refused(format!("it holds more than {MAX_NAMES} different strings"))
    }
}

/// The non-missing values of one column, as far as its series needs them.
pub(super) enum Values {
    Numeric(Vec<f64>),
    Categorical(NameCounts),
    /// How often false and true.
    Boolean([u64; 2]),
}

/// One column: its values and how many rows have none (null or NaN).
pub(super) struct Column {
    pub(super) values: Values,
    pub(super) missing: u64,
    /// The numbers are 32-bit floats.
    pub(super) single: bool,
}

/// What a column's type comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Numeric,
    Categorical,
    Boolean,
    /// Text of a CSV file, whose values decide.
    Text,
}

/// Decides by the type in a file's schema, before Polars materialises anything: it panics on types it was built
/// without. The error is why the column is left out.
pub(super) fn column_type(data_type: &ArrowDataType) -> Result<ColumnType, String> {
    use ArrowDataType as A;
    let refused = match data_type {
        A::Int8 | A::Int16 | A::Int32 | A::Int64 | A::UInt8 | A::UInt16 | A::UInt32 | A::UInt64 => {
            return Ok(ColumnType::Numeric);
        }
        A::Float32 | A::Float64 => return Ok(ColumnType::Numeric),
        A::Boolean => return Ok(ColumnType::Boolean),
        A::Utf8 | A::LargeUtf8 | A::Utf8View => return Ok(ColumnType::Categorical),
        A::Dictionary(_, values, _) => match values.as_ref() {
            A::Utf8 | A::LargeUtf8 | A::Utf8View => return Ok(ColumnType::Categorical),
            _ => "its categories are not strings",
        },
        A::Null => "every value is missing",
        A::Date32 | A::Date64 => "it holds dates, which only ever move on; derive a number or a category",
        A::Timestamp(..) => "it holds timestamps, which only ever move on; derive a number or a category",
        A::Time32(_) | A::Time64(_) => "it holds times of day; derive a number from them",
        A::Duration(_) | A::Interval(_) => "it holds durations; convert them to a number of seconds",
        A::List(_) | A::LargeList(_) | A::FixedSizeList(..) | A::Struct(_) | A::Map(..) | A::Union(_) => {
            "it is nested; make one column of each value in it"
        }
        A::Decimal(..) | A::Decimal32(..) | A::Decimal64(..) | A::Decimal256(..) => {
            "it holds decimals, which a 64-bit float would round; convert them knowingly"
        }
        A::Binary | A::LargeBinary | A::BinaryView | A::FixedSizeBinary(_) => "it holds binary data",
        A::Float16 => "it holds 16-bit floats; convert them to 32 bits",
        other => return Err(format!("its type ({other:?}) is not supported")),
    };
    Err(refused.to_owned())
}

/// Whether a column of this type may hold the time of its rows; the error is why not. Polars, as it is built here,
/// knows no time zones.
pub(super) fn time_type(data_type: &ArrowDataType) -> Result<(), String> {
    use ArrowDataType as A;
    let reason = match data_type {
        A::Timestamp(_, None) | A::Float32 | A::Float64 | A::Utf8 | A::LargeUtf8 | A::Utf8View => {
            return Ok(());
        }
        A::Int32 | A::Int64 | A::UInt32 | A::UInt64 => return Ok(()),
        A::Timestamp(_, Some(_)) => "its timestamps have a time zone; convert them to UTC without one",
        _ => "its values are no times: timestamps, RFC 3339 texts or numbers since 1970 are",
    };
    Err(reason.to_owned())
}

impl Column {
    /// An empty column; `rows` is how many will follow.
    pub(super) fn new(column_type: ColumnType, rows: usize) -> Column {
        let values = match column_type {
            ColumnType::Numeric => Values::Numeric(Vec::with_capacity(rows)),
            ColumnType::Categorical | ColumnType::Text => Values::Categorical(NameCounts::default()),
            ColumnType::Boolean => Values::Boolean([0; 2]),
        };
        Column { values, missing: 0, single: false }
    }

    /// Non-missing values.
    pub(super) fn n(&self) -> u64 {
        match &self.values {
            Values::Numeric(values) => values.len() as u64,
            Values::Categorical(names) => names.n(),
            Values::Boolean(counts) => counts.iter().sum(),
        }
    }

    /// Takes in the next chunk.
    pub(super) fn add(&mut self, chunk: &Series) -> Result<(), ColumnError> {
        let Column { values, missing, single } = self;
        match values {
            Values::Numeric(values) => {
                *single |= *chunk.dtype() == DataType::Float32;
                add_numbers(values, missing, chunk)
            }
            Values::Categorical(names) => add_names(names, missing, chunk),
            Values::Boolean(counts) => {
                for value in chunk.bool()?.iter() {
                    value.map_or_else(|| *missing += 1, |value| counts[usize::from(value)] += 1);
                }
                Ok(())
            }
        }
    }
}

fn add_numbers(values: &mut Vec<f64>, missing: &mut u64, chunk: &Series) -> Result<(), ColumnError> {
    let mut add = |value: Option<f64>| match value.filter(|value| !value.is_nan()) {
        Some(value) => values.push(value),
        None => *missing += 1,
    };
    match chunk.dtype() {
        DataType::Float64 => chunk.f64()?.iter().for_each(add),
        DataType::Float32 => widen(chunk.f32()?, add),
        DataType::Int8 => widen(chunk.i8()?, add),
        DataType::Int16 => widen(chunk.i16()?, add),
        DataType::Int32 => widen(chunk.i32()?, add),
        DataType::UInt8 => widen(chunk.u8()?, add),
        DataType::UInt16 => widen(chunk.u16()?, add),
        DataType::UInt32 => widen(chunk.u32()?, add),
        DataType::Int64 => {
            for value in chunk.i64()?.iter() {
                check_integer(value.map_or(0, i64::unsigned_abs))?;
                add(value.map(|value| value as f64));
            }
        }
        DataType::UInt64 => {
            for value in chunk.u64()?.iter() {
                check_integer(value.unwrap_or(0))?;
                add(value.map(|value| value as f64));
            }
        }
        other => return Err(ColumnError::Refused(format!("its type ({other}) is not supported"))),
    }
    Ok(())
}

fn widen<T>(chunk: &polars::prelude::ChunkedArray<T>, add: impl FnMut(Option<f64>))
where
    T: PolarsNumericType,
    f64: From<T::Native>,
{
    chunk.iter().map(|value| value.map(f64::from)).for_each(add);
}

/// Refuses integers that a 64-bit float cannot tell from their neighbours.
pub(super) fn check_integer(magnitude: u64) -> Result<(), ColumnError> {
    if magnitude <= MAX_INTEGER {
        return Ok(());
    }
    let reason = "it holds integers beyond 2^53, which a 64-bit float would round; if they are identifiers, they \
                  say nothing about drift, else convert them knowingly";
    Err(ColumnError::Refused(reason.to_owned()))
}

fn add_names(names: &mut NameCounts, missing: &mut u64, chunk: &Series) -> Result<(), ColumnError> {
    let mut add = |name: Option<&str>| match name {
        Some(name) => names.add(name),
        None => {
            *missing += 1;
            Ok(())
        }
    };
    if let Some(chunk) = chunk.try_cat8() {
        chunk.iter_str().try_for_each(add)?;
    } else if let Some(chunk) = chunk.try_cat16() {
        chunk.iter_str().try_for_each(add)?;
    } else if let Some(chunk) = chunk.try_cat32() {
        chunk.iter_str().try_for_each(add)?;
    } else {
        chunk.str()?.iter().try_for_each(&mut add)?;
    }
    Ok(())
}
