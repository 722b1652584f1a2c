//! `tidegate evaluate` on the real streams of `datasets/`, written out as the CSV files they came from.

use crate::data::Dataset;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Rows of `numbers` and then of texts; every number as the shortest text that reads back exactly.
fn csv(path: &Path, data: &Dataset, header: bool) {
    let mut text = String::new();
    if header {
        let names = data.numbers.iter().map(|(name, _)| name).chain(data.texts.iter().map(|(name, _)| name));
        text += &(names.map(String::as_str).collect::<Vec<_>>().join(",") + "\n");
    }
    for row in 0..data.rows {
        for (_, values) in &data.numbers {
            write!(text, "{},", values[row]).expect("a string takes it");
        }
        let texts: Vec<&str> = data.texts.iter().map(|(_, values)| values[row].as_str()).collect();
        text += &(texts.join(",") + "\n");
    }
    std::fs::write(path, text).expect("written");
}

fn evaluate(path: &Path, words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["evaluate", "--json"])
        .args(words)
        .arg(path)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn detected(document: &Value) -> Vec<u64> {
    let detections = document["detections"].as_array().expect("a list");
    detections.iter().map(|one| one["row"].as_u64().expect("a row")).collect()
}

#[test]
fn evaluate_finds_both_changes_of_the_insects_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("AbruptInsects.data");
    csv(&file, &Dataset::read("insects"), false);
    let document = evaluate(
        &file,
        &["--reference", "500", "--pane", "25", "--changes", "1775,3550", "--columns", "0-48"],
    );
    assert_eq!((&document["header"], &document["rows"]), (&false.into(), &5_325.into()));
    assert_eq!(detected(&document), [1_799, 3_574]);
    assert_eq!((&document["score"]["mean_delay"], &document["score"]["missed"]), (&24.0.into(), &0.into()));
    let strongest = &document["detections"][0]["columns"][0];
    assert_eq!((&strongest["column"], &strongest["distance"]), (&"0".into(), &1.0.into()));
    // With the class, and with a reference twice as long.
    assert_eq!(detected(&evaluate(&file, &["--reference", "500", "--pane", "25"])), [1_799, 3_574]);
    assert_eq!(detected(&evaluate(&file, &["--reference", "1000", "--pane", "25"])), [1_799, 3_574]);
}

#[test]
fn evaluate_finds_nothing_in_shuffled_digits() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("digits.csv");
    csv(&file, &Dataset::read("arabic_digits"), true);
    for reference in ["500", "1000"] {
        let document = evaluate(&file, &["--reference", reference, "--pane", "25", "--columns", "0-25"]);
        assert_eq!((detected(&document), &document["header"]), (vec![], &true.into()));
        assert_eq!(document["columns"][25], "mfcc_13_sd");
    }
}

#[test]
fn evaluate_finds_the_new_tariff_of_electricity_in_its_first_pane() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("electricity.csv");
    csv(&file, &Dataset::read("electricity"), true);
    let columns = ["--reference", "2688", "--pane", "48", "--scales", "1,7", "--changes", "17424"];
    let document = evaluate(&file, &[&columns[..], &["--columns", "vicprice,vicdemand,transfer"]].concat());
    assert_eq!(detected(&document)[0], 17_471);
    assert_eq!(document["score"]["changes"][0]["delay"], 47);
}
