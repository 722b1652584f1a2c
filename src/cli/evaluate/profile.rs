//! What a stream's columns are, from one pass over the file: how many rows, whether the first record is a header,
//! and which columns hold numbers.

use super::csv::{RecordError, Records};
use std::path::Path;

/// Values that are no numbers, at most one in this many, leave a column numeric; they count as missing.
const MINORITY: u64 = 20;
/// How files write that there is no value, in lower case.
const MISSING: [&str; 8] = ["", "?", "na", "n/a", "nan", "null", "none", "-"];

/// What is known of a file.
#[derive(Debug)]
pub struct Profile {
    /// Rows of data.
    pub rows: u64,
    pub header: bool,
    pub columns: Vec<ColumnProfile>,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnProfile {
    /// From the header; without one, the index from 0.
    pub name: String,
    pub numbers: u64,
    /// Values that are no numbers.
    pub texts: u64,
    pub missing: u64,
    /// Every number is larger than the one before it.
    pub increasing: bool,
}

/// A field of a numeric column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field {
    Number(f64),
    Text,
    Missing,
}

/// Why a file cannot be profiled.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("line {line} has {found} fields, the first one has {expected}")]
    Ragged { line: u64, found: usize, expected: usize },
}

/// What a field holds.
pub fn field(text: &str) -> Field {
    match text.parse::<f64>() {
        Ok(number) if !number.is_nan() => Field::Number(number),
        _ if is_missing(text) => Field::Missing,
        _ => Field::Text,
    }
}

/// Whether a field says that there is no value.
pub fn is_missing(text: &str) -> bool {
    text.len() <= 4 && MISSING.iter().any(|one| one.eq_ignore_ascii_case(text))
}

impl ColumnProfile {
    fn new(name: String) -> ColumnProfile {
        ColumnProfile { name, numbers: 0, texts: 0, missing: 0, increasing: true }
    }

    /// Numbers, but for a few values that must be mistakes.
    pub fn is_numeric(&self) -> bool {
        self.numbers > 0 && self.texts * MINORITY <= self.numbers + self.texts
    }

    /// Every row has a number, each larger than the one before: a clock or a counter.
    pub fn is_clock(&self) -> bool {
        self.increasing && self.numbers > 2 && self.texts + self.missing == 0
    }

    /// Counts a field; `last` is the number before it in the column.
    fn add(&mut self, text: &str, last: &mut f64) {
        match field(text) {
            Field::Number(number) => {
                self.numbers += 1;
                self.increasing &= number > *last;
                *last = number;
            }
            Field::Text => self.texts += 1,
            Field::Missing => self.missing += 1,
        }
    }
}

/// Reads the file once. `header`: whether the first record is one; `None` decides by the fields: it is one when
/// it has text where the other rows have numbers, or when no column has numbers and its fields all differ.
pub fn profile(path: &Path, header: Option<bool>) -> Result<Profile, ProfileError> {
    let mut records = Records::open(path)?;
    if !records.advance()? {
        return Ok(Profile { rows: 0, header: false, columns: Vec::new() });
    }
    let first: Vec<String> = records.fields().map(str::to_owned).collect();
    let mut columns: Vec<ColumnProfile> =
        (0..first.len()).map(|index| ColumnProfile::new(index.to_string())).collect();
    let mut last = vec![f64::NEG_INFINITY; first.len()];
    let mut rows = 0;
    while records.advance()? {
        if records.len() != first.len() {
            let (line, found, expected) = (records.line(), records.len(), first.len());
            return Err(ProfileError::Ragged { line, found, expected });
        }
        for ((column, text), last) in columns.iter_mut().zip(records.fields()).zip(&mut last) {
            column.add(text, last);
        }
        rows += 1;
    }
    let header = header.unwrap_or_else(|| is_header(&first, &columns));
    if header {
        columns.iter_mut().zip(&first).for_each(|(column, name)| column.name.clone_from(name));
    } else {
        rows += 1;
        for (column, text) in columns.iter_mut().zip(&first) {
            let mut before_all = f64::NEG_INFINITY;
            column.add(text, &mut before_all);
        }
    }
    Ok(Profile { rows, header, columns })
}

fn is_header(first: &[String], columns: &[ColumnProfile]) -> bool {
    if columns.iter().any(ColumnProfile::is_numeric) {
        let named =
            |(text, column): (&String, &ColumnProfile)| column.is_numeric() && field(text) == Field::Text;
        return first.iter().zip(columns).any(named);
    }
    let mut names: Vec<&String> = first.iter().collect();
    names.sort_unstable();
    names.dedup();
    names.len() == first.len() && first.iter().all(|text| field(text) == Field::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Profile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        profile(file.path(), None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_header_is_text_above_numbers() {
        let with = of("x,class\n1,a\n2,b\n");
        assert_eq!((with.header, with.rows, with.columns[0].name.as_str()), (true, 2, "x"));
        assert!(with.columns[0].is_numeric() && !with.columns[1].is_numeric());
        let without = of("1,a\n2,b\n");
        assert_eq!((without.header, without.rows, without.columns[1].name.as_str()), (false, 2, "1"));
        assert_eq!((without.columns[0].numbers, without.columns[1].texts), (2, 2));
        assert!(of("color,size\nred,big\nred,small\n").header);
        assert!(!of("red,red\nblue,red\n").header);
        assert_eq!(of("").rows, 0);
    }

    #[test]
    fn a_few_mistakes_and_missing_values_leave_a_column_numeric() {
        let rows: String =
            (0..40).map(|i| format!("{}\n", if i == 7 { "broken".into() } else { i.to_string() })).collect();
        let mixed = of(&format!("x\n{rows}?\nNaN\nNone\n"));
        let column = &mixed.columns[0];
        assert_eq!((column.numbers, column.texts, column.missing), (39, 1, 3));
        assert!(column.is_numeric() && !column.is_clock());
        assert!(of("t\n1\n2\n3\n").columns[0].is_clock());
        assert!(!of("x\na\nb\n1\n").columns[0].is_numeric());
    }

    #[test]
    fn rows_of_another_length_are_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "a,b\n1,2\n1\n").expect("written");
        let error = profile(file.path(), None).expect_err("ragged").to_string();
        assert_eq!(error, "line 3 has 1 fields, the first one has 2");
    }
}
