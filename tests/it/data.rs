//! The real streams of `datasets/`, as plain columns.

use polars::prelude::{Column, DataType, ParquetReader, SerReader};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The columns of one stream, rows in stream order.
pub struct Dataset {
    pub rows: usize,
    /// Name and values of every numeric column; integers as f64. None of them has missing values.
    pub numbers: Vec<(String, Vec<f64>)>,
    /// Name and values of every text column; booleans are written out.
    pub texts: Vec<(String, Vec<String>)>,
}

impl Dataset {
    /// Reads `datasets/<name>.parquet`.
    pub fn read(name: &str) -> Self {
        let path = path(name);
        let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let frame = ParquetReader::new(file).finish().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut data = Self { rows: frame.height(), numbers: Vec::new(), texts: Vec::new() };
        for column in frame.columns() {
            assert_eq!(column.null_count(), 0, "{name}: {} has missing values", column.name());
            let title = column.name().to_string();
            match numbers(column) {
                Some(values) => data.numbers.push((title, values)),
                None => data.texts.push((title, texts(column))),
            }
        }
        data
    }

    /// The numeric column of this name.
    pub fn column(&self, name: &str) -> &[f64] {
        let found = self.numbers.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("no numeric column {name}")).1
    }

    /// The text column of this name.
    pub fn text(&self, name: &str) -> &[String] {
        let found = self.texts.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("no text column {name}")).1
    }
}

/// Where a data set is: `electricity`, `guide/train`, …
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets").join(format!("{name}.parquet"))
}

fn numbers(column: &Column) -> Option<Vec<f64>> {
    match column.dtype() {
        DataType::Float64 => Some(column.f64().expect("a column of f64").into_no_null_iter().collect()),
        // counts: far below 2^53
        DataType::Int64 => {
            Some(column.i64().expect("a column of i64").into_no_null_iter().map(|v| v as f64).collect())
        }
        _ => None,
    }
}

fn texts(column: &Column) -> Vec<String> {
    match column.dtype() {
        DataType::Boolean => {
            column.bool().expect("a column of bool").iter().flatten().map(|v| v.to_string()).collect()
        }
        _ => column.str().expect("a column of text").iter().flatten().map(str::to_owned).collect(),
    }
}

fn names(data: &Dataset) -> Vec<&str> {
    data.numbers.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn data_electricity_is_whole_and_three_columns_begin_to_move_in_row_17424() {
    let data = Dataset::read("electricity");
    assert_eq!(data.rows, 45_312);
    assert_eq!(names(&data), ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]);
    assert_eq!(data.numbers[1].1[..2], [0.056443, 0.051699]);
    assert_eq!(data.text("class").iter().filter(|c| *c == "1").count(), 19_237);
    for name in ["vicprice", "vicdemand", "transfer"] {
        let values = data.column(name);
        assert_eq!(values.iter().position(|v| v != &values[0]), Some(17_424), "{name} begins to move");
    }
}

#[test]
fn data_arabic_digits_is_whole() {
    let data = Dataset::read("arabic_digits");
    assert_eq!((data.rows, data.numbers.len()), (8_800, 26));
    assert_eq!((names(&data)[0], names(&data)[25]), ("mfcc_1_mu", "mfcc_13_sd"));
    assert_eq!(data.column("mfcc_1_mu")[0], 5.0877918918919);
    assert_eq!(data.text("sex").iter().filter(|s| *s == "male").count(), 4_400);
    assert_eq!(data.text("digit").iter().filter(|d| *d == "9").count(), 880);
}

#[test]
fn data_insects_is_whole() {
    let data = Dataset::read("insects");
    assert_eq!((data.rows, data.numbers.len()), (5_325, 49));
    assert_eq!((names(&data)[0], names(&data)[48]), ("f0", "f48"));
    assert_eq!(data.column("f0")[0], 1.967609);
    assert_eq!(data.text("class").iter().filter(|c| *c == "4").count(), 1_285);
}

#[test]
fn data_of_the_guide_is_whole() {
    let data = Dataset::read("guide/train");
    assert_eq!(data.rows, 20_000);
    assert!(data.column("score").iter().all(|s| (0.0..=1.0).contains(s)));
    let countries: std::collections::BTreeSet<_> = data.text("country").iter().collect();
    assert_eq!(countries.len(), 12);
    let events = std::fs::read_to_string(path("guide/train").with_file_name("events.ndjson")).unwrap();
    assert_eq!(events.lines().count(), 2_000);
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&event["model"], &event["model_version"]), (&"fraud".into(), &"v1".into()));
        assert!(event["features"]["amount"].is_number() && event["predictions"]["class"].is_string());
        assert!(event.get("timestamp").is_none(), "the record's own time is meant");
    }
}
