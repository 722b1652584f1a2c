//! A typed walk over a parsed TOML table that records every error and goes on.

use super::duration;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {key}: {problem}; {expected}", self.place())]
pub struct ConfigError {
    pub file: PathBuf,
    /// From 1; 0 when the file could not be read.
    pub line: usize,
    /// In characters, from 1; 0 when the file could not be read.
    pub column: usize,
    /// Dotted path, e.g. `model[0].baselines.v1`.
    pub key: String,
    pub problem: String,
    /// What would be right.
    pub expected: String,
}

impl ConfigError {
    /// `file:line`, or the file alone when the error is not on one of its lines.
    fn place(&self) -> String {
        let file = self.file.display();
        if self.line == 0 { file.to_string() } else { format!("{file}:{}", self.line) }
    }
}

/// Where errors go.
pub(super) struct Errors<'a> {
    file: &'a Path,
    text: &'a str,
    list: RefCell<Vec<ConfigError>>,
}

impl<'a> Errors<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Errors { file, text, list: RefCell::default() }
    }

    /// Records an error at a byte offset.
    pub(super) fn add(&self, at: usize, key: &str, problem: impl Into<String>, expected: impl Into<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        self.list.borrow_mut().push(ConfigError {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: key.to_owned(),
            problem: problem.into(),
            expected: expected.into(),
        });
    }

    /// All errors in file order.
    pub(super) fn into_sorted(self) -> Vec<ConfigError> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|error| (error.line, error.column));
        list
    }
}

/// A value and where it stands.
pub(super) struct Found<'t, 'i> {
    pub key: String,
    pub at: usize,
    pub value: &'t DeValue<'i>,
}

/// One table being read.
pub(super) struct Reader<'t, 'i, 'e> {
    pub errors: &'e Errors<'e>,
    pub path: String,
    /// Byte offset of the table.
    pub at: usize,
    table: Option<&'t DeTable<'i>>,
    known: RefCell<Vec<&'static str>>,
}

impl<'t, 'i, 'e> Reader<'t, 'i, 'e> {
    /// A reader of `table`; `None` reads as an absent table, with every default.
    pub(super) fn new(
        errors: &'e Errors<'e>,
        path: String,
        at: usize,
        table: Option<&'t DeTable<'i>>,
    ) -> Self {
        Reader { errors, path, at, table, known: RefCell::default() }
    }

    fn path_of(&self, key: &str) -> String {
        let key = if key.is_empty() { "\"\"" } else { key };
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value at `key`, which counts as known from here on.
    pub(super) fn find(&self, key: &'static str) -> Option<Found<'t, 'i>> {
        self.known.borrow_mut().push(key);
        let value = self.table?.get(key)?;
        Some(Found { key: self.path_of(key), at: value.span().start, value: value.get_ref() })
    }

    /// All entries in file order; the caller answers for every key.
    pub(super) fn entries(&self) -> Vec<(String, Found<'t, 'i>)> {
        let Some(table) = self.table else { return Vec::new() };
        let mut entries: Vec<(usize, String, &'t Spanned<DeValue<'i>>)> =
            table.iter().map(|(key, value)| (key.span().start, key.get_ref().to_string(), value)).collect();
        entries.sort_by_key(|entry| entry.0);
        let found = |(at, key, value): (usize, String, &'t Spanned<DeValue<'i>>)| {
            let path = self.path_of(&key);
            (key, Found { key: path, at, value: value.get_ref() })
        };
        entries.into_iter().map(found).collect()
    }

    /// Records what is wrong with a value.
    pub(super) fn refuse(&self, found: &Found, problem: impl Into<String>, expected: impl Into<String>) {
        self.errors.add(found.at, &found.key, problem, expected);
    }

    fn wrong_type(&self, found: &Found, expected: &str) {
        self.refuse(found, format!("is {}", describe(found.value)), format!("expected {expected}"));
    }

    /// Says that a required key is not there.
    pub(super) fn missing(&self, key: &str, expected: &str) {
        self.errors.add(self.at, &self.path_of(key), "is missing", format!("expected {expected}"));
    }

    pub(super) fn table(&self, key: &'static str) -> Reader<'t, 'i, 'e> {
        match self.find(key) {
            Some(found) => self.table_of(&found),
            None => Reader::new(self.errors, self.path_of(key), self.at, None),
        }
    }

    pub(super) fn table_of(&self, found: &Found<'t, 'i>) -> Reader<'t, 'i, 'e> {
        let table = found.value.as_table();
        if table.is_none() {
            self.wrong_type(found, "a table");
        }
        Reader::new(self.errors, found.key.clone(), found.at, table)
    }

    /// An array of tables; absent is empty.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Reader<'t, 'i, 'e>> {
        self.items(key, "an array of tables").iter().map(|item| self.table_of(item)).collect()
    }

    fn items(&self, key: &'static str, expected: &str) -> Vec<Found<'t, 'i>> {
        let Some(found) = self.find(key) else { return Vec::new() };
        let Some(array) = found.value.as_array() else {
            self.wrong_type(&found, expected);
            return Vec::new();
        };
        let item = |(index, value): (usize, &'t Spanned<DeValue<'i>>)| Found {
            key: format!("{}[{index}]", found.key),
            at: value.span().start,
            value: value.get_ref(),
        };
        array.iter().enumerate().map(item).collect()
    }

    /// An array of non-empty strings, each with where it stands.
    pub(super) fn strings(&self, key: &'static str) -> Vec<(String, Found<'t, 'i>)> {
        let items = self.items(key, "an array of strings");
        items.into_iter().filter_map(|found| Some((self.string_of(&found)?, found))).collect()
    }

    pub(super) fn string_of(&self, found: &Found) -> Option<String> {
        match found.value.as_str() {
            Some("") => {
                self.refuse(found, "is empty", "expected a non-empty string");
                None
            }
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong_type(found, "a string");
                None
            }
        }
    }

    pub(super) fn string(&self, key: &'static str) -> Option<String> {
        self.string_of(&self.find(key)?)
    }

    pub(super) fn bool(&self, key: &'static str, default: bool) -> bool {
        let Some(found) = self.find(key) else { return default };
        found.value.as_bool().unwrap_or_else(|| {
            self.wrong_type(&found, "true or false");
            default
        })
    }

    /// A whole number from `low` to `high`.
    pub(super) fn integer(&self, key: &'static str, default: i64, low: i64, high: i64) -> i64 {
        let Some(found) = self.find(key) else { return default };
        let expected = format!("a whole number from {low} to {high}");
        let Some(integer) = found.value.as_integer() else {
            self.wrong_type(&found, &expected);
            return default;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if (low..=high).contains(&number) => number,
            _ => {
                self.refuse(&found, format!("{integer} is out of range"), format!("expected {expected}"));
                default
            }
        }
    }

    /// A number above 0 and at most `high`.
    pub(super) fn positive(&self, key: &'static str, default: f64, high: f64) -> f64 {
        let Some(found) = self.find(key) else { return default };
        let number: Option<f64> = match found.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|whole| whole as f64)
            }
            _ => {
                self.wrong_type(&found, "a number");
                return default;
            }
        };
        number.filter(|number| *number > 0.0 && *number <= high).unwrap_or_else(|| {
            self.refuse(&found, "is out of range", format!("expected a number above 0 and at most {high}"));
            default
        })
    }

    /// A duration of at least `least`.
    pub(super) fn duration(&self, key: &'static str, least: Duration) -> Option<Duration> {
        let found = self.find(key)?;
        let Some(text) = found.value.as_str() else {
            self.wrong_type(&found, duration::EXPECTED);
            return None;
        };
        let parsed = duration::parse_duration(text);
        if parsed.is_none() {
            self.refuse(
                &found,
                format!("\"{text}\" is no duration"),
                format!("expected {}", duration::EXPECTED),
            );
        }
        let parsed = parsed?;
        // A year of centuries: beyond it sums with event times would overflow.
        if parsed < least || parsed.as_secs() > 36_500 * 86_400 {
            let expected = format!("expected at least {} ms and at most 36500d", least.as_millis());
            self.refuse(&found, format!("\"{text}\" is out of range"), expected);
            return None;
        }
        Some(parsed)
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, found) in self.entries() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let nearest = known.iter().min_by_key(|name| edit_distance(name, &key));
            let expected = match nearest {
                Some(name) if edit_distance(name, &key) <= 2.max(key.len() / 3) => {
                    format!("did you mean `{name}`?")
                }
                _ => format!("expected one of {}", known.join(", ")),
            };
            self.refuse(&found, "is an unknown key", expected);
        }
    }
}

fn describe(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Levenshtein distance in bytes.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

/// Whether a file can be read; `Err` says why not.
pub(super) fn check_readable(path: &Path) -> Result<(), String> {
    let say = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let is_file = std::fs::metadata(path).map_err(say)?.is_file();
    if !is_file {
        return Err(format!("{} is not a file", path.display()));
    }
    std::fs::File::open(path).map(drop).map_err(say)
}
