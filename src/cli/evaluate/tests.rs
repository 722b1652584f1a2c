use super::*;
use clap::{Command, FromArgMatches};
use std::path::Path;

fn parse(words: &[&str]) -> EvaluateArgs {
    let command = <EvaluateArgs as clap::Args>::augment_args(Command::new("evaluate"));
    command.clone().debug_assert();
    let matches = command.try_get_matches_from([&["evaluate"], words].concat()).expect("words");
    EvaluateArgs::from_arg_matches(&matches).expect("arguments")
}

/// 3,000 rows of a clock, noise that moves at 1,500, and a colour that appears at 2,400.
fn stream(folder: &Path, header: bool) -> String {
    let mut rng = fastrand::Rng::with_seed(4);
    let mut text = if header { "time,x,colour\n".to_owned() } else { String::new() };
    for row in 0..3_000 {
        let x = rng.f64() + if row >= 1_500 { 2.0 } else { 0.0 };
        let colour = if row >= 2_400 { "blue" } else { ["red", "green"][rng.usize(..2)] };
        text += &format!("{row},{x},{colour}\n");
    }
    let path = folder.join(if header { "with.csv" } else { "without.csv" });
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn rows(file: &str, more: &[&str]) -> (Vec<u64>, serde_json::Value) {
    let words = [&[file, "--reference", "500", "--pane", "50", "--json"], more].concat();
    let text = evaluate(&parse(&words)).unwrap_or_else(|errors| panic!("{errors:?}"));
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let detections = document["detections"].as_array().expect("a list");
    (detections.iter().map(|one| one["row"].as_u64().expect("a row")).collect(), document)
}

#[test]
fn changes_are_found_with_and_without_a_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let (with, without) = (stream(folder.path(), true), stream(folder.path(), false));
    let (found, document) = rows(&with, &["--columns", "x", "--changes", "1500"]);
    assert_eq!((found, &document["score"]["changes"][0]["delay"]), (vec![1_549], &49.into()));
    assert_eq!((&document["rows"], &document["score"]["missed"]), (&3_000.into(), &0.into()));
    assert_eq!(document["detections"][0]["columns"][0]["column"], "x");
    assert_eq!(rows(&without, &["--columns", "1"]).0, [1_549]);
    // Numbers and names together: the colour is seen in its first pane, after the new reference of x.
    let (found, document) = rows(&with, &["--columns", "1-2", "--changes", "1500,2400"]);
    assert_eq!(found, [1_549, 2_449]);
    assert_eq!(document["detections"][1]["columns"][0]["column"], "colour");
    // A clock is numeric, and said to be one.
    let (found, document) = rows(&without, &[]);
    assert!(found.len() > 2 && document["notes"].to_string().contains("only ever grows"), "{document}");
}

#[test]
fn the_text_names_delays_missed_changes_and_false_alarms() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = stream(folder.path(), true);
    let words = ["--reference", "500", "--pane", "50", "--columns", "x", "--changes", "1000,2000,1540"];
    let text = evaluate(&parse(&[&[file.as_str()], &words[..]].concat())).expect("evaluated");
    assert!(text.contains("3000 rows below a header, 1 of 3 columns scanned"), "{text}");
    assert!(text.contains("1 of 3 found, mean delay 9.0 rows; 2 missed, 0 false alarms"), "{text}");
    assert!(text.contains("µs per row for detection"), "{text}");
}

#[test]
fn each_wrong_argument_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = stream(folder.path(), true);
    let sentences = |words: &[&str]| evaluate(&parse(words)).expect_err("refused");
    let wrong = ["--reference", "0", "--scales", "1,x", "--changes", "-", "--header", "maybe"];
    let found = sentences(&wrong);
    let expected = [
        "A file with a stream is needed.",
        "--reference: 0 is not a number of rows from 1 to 1073741824.",
        "--pane is needed: a number of rows.",
        "--scales: x is not a number of panes; scales are whole numbers from 1, separated by commas.",
        "--changes: - is not a row; rows are whole numbers from 0, separated by commas.",
        "--header: maybe is none of auto, yes, no.",
    ];
    assert_eq!(found, expected);
    let of = |more: &[&str]| sentences(&[&[file.as_str(), "--pane", "50"], more].concat());
    assert_eq!(
        of(&["--reference", "2990", "--changes", "5,3000"]),
        [
            "The stream has 3000 rows; a reference of 2990 and one pane of 50 need 3040.",
            "--changes: row 3000 is beyond the stream's last row, 2999."
        ]
    );
    assert_eq!(of(&["--reference", "9", "--columns", "y"]).len(), 1);
    let none = sentences(&["/nowhere/none.csv", "--reference", "9", "--pane", "9"]);
    assert!(none[0].starts_with("/nowhere/none.csv cannot be used: "), "{none:?}");
    assert_eq!(run(&parse(&wrong)).expect("told"), EXIT_CONFIG);
}
