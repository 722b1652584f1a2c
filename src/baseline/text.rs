//! Columns of a CSV file: text whose values decide together what the column is.

use super::categorical::NameCounts;
use super::column::{Column, ColumnError, Values, check_integer};
use polars::prelude::StringChunked;

/// Takes in a column of text. It is boolean or numeric when every value that is there is, else categorical. An
/// empty field is missing. Numbers with leading zeros (`007`) are names, since reading them as numbers would
/// lose what they are.
pub(super) fn read(chunk: &StringChunked) -> Result<Column, ColumnError> {
    let present = || chunk.iter().flatten().filter(|text| !text.is_empty());
    let absent = (chunk.len() - present().count()) as u64;
    if present().all(|text| boolean(text).is_some()) {
        let mut counts = [0; 2];
        present().filter_map(boolean).for_each(|value| counts[usize::from(value)] += 1);
        return Ok(Column { values: Values::Boolean(counts), missing: absent, single: false });
    }
    if present().all(|text| number(text).is_some()) && present().any(has_digit) {
        return read_numbers(present(), absent);
    }
    let mut names = NameCounts::default();
    present().try_for_each(|text| names.add(text))?;
    Ok(Column { values: Values::Categorical(names), missing: absent, single: false })
}

fn read_numbers<'a>(texts: impl Iterator<Item = &'a str>, absent: u64) -> Result<Column, ColumnError> {
    let (mut values, mut missing) = (Vec::new(), absent);
    for text in texts {
        let digits = text.trim_start_matches(['-', '+']);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // more digits than a u64 has room for are beyond 2^53 too
            check_integer(digits.parse().unwrap_or(u64::MAX))?;
        }
        match number(text).filter(|value| !value.is_nan()) {
            Some(value) => values.push(value),
            None => missing += 1,
        }
    }
    Ok(Column { values: Values::Numeric(values), missing, single: false })
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

pub(super) fn number(text: &str) -> Option<f64> {
    let mut digits = text.trim_start_matches(['-', '+']).bytes();
    let padded = digits.next() == Some(b'0') && digits.next().is_some_and(|byte| byte.is_ascii_digit());
    if padded { None } else { text.parse().ok() }
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}
