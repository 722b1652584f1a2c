//! Baselines of recorded events, beside those of the same rows in other files, and beside what live events are
//! counted as.

use super::recorded::{LineCounts, build};
use crate::baseline::{self, BuildOptions, BuildReport, Rollout, Watch, WatchedModel, file};
use crate::cells::Grid;
use crate::decode::{Arrival, Decoder, TimeBounds};
use crate::event::{EventTime, ModelId, Outcome, SeriesOf};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, UInt16Type};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn options(predictions: &[&str]) -> BuildOptions {
    BuildOptions {
        model: "fraud".to_owned(),
        version: "v1".to_owned(),
        predictions: predictions.iter().map(|name| (*name).to_owned()).collect(),
        include: Vec::new(),
        exclude: Vec::new(),
        held_out: true,
        created: EventTime(1_790_000_000_123),
        types: Vec::new(),
        time: None,
    }
}

fn from_text(text: &str, options: &BuildOptions) -> anyhow::Result<(BuildReport, LineCounts)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, text).expect("written");
    build(&path, options, &ProgressBar::hidden())
}

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/guide/events.ndjson")
}

/// The rows of the guide's events as CSV.
fn as_csv(events: &str) -> String {
    let mut text = "amount,age_days,n_orders,country,is_new,score,class".to_owned();
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let features =
            ["amount", "age_days", "n_orders", "country", "is_new"].map(|name| &event["features"][name]);
        let answers = ["score", "class"].map(|name| &event["predictions"][name]);
        let cells = features.into_iter().chain(answers);
        let cells: Vec<String> =
            cells.map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect();
        text += &format!("\n{}", cells.join(","));
    }
    text
}

#[test]
fn events_and_a_table_of_the_same_rows_make_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let csv = folder.path().join("rows.csv");
    std::fs::write(&csv, as_csv(&std::fs::read_to_string(guide()).expect("the guide"))).expect("written");
    let table = baseline::build(&csv, &options(&["score", "class"]), &mut |_, _, _| {}).expect("built");
    let (events, counts) = build(&guide(), &options(&[]), &ProgressBar::hidden()).expect("built");
    assert_eq!(events.baseline, table.baseline);
    assert_eq!((events.left_out, events.notes), (Vec::new(), Vec::new()));
    assert_eq!(counts.outcomes, BTreeMap::from([(Outcome::Counted, 2_000)]));
    let bytes = |name: &str, baseline| {
        let path = folder.path().join(name);
        file::write(baseline, &path).expect("written");
        std::fs::read(path).expect("read")
    };
    assert!(bytes("a.parquet", &events.baseline) == bytes("b.parquet", &table.baseline));
}

/// Events that say the same things in many ways.
const TRICKY: &str = r#"{"model":"fraud","model_version":"v1","features":{"a":1,"b":{"c":2,"d":"x"},"e":true}}
{"model":"fraud","model_version":"v1","features":{"a":1,"a":3,"b.c":4,"b":{"d":"y"}},"predictions":{"a":0.5}}
{"features":{"b":{"c":5},"b.c":6,"b":7,"e":null},"model_version":"v1","model":"fraud","timestamp":null}
{"model":"fraud","model_version":"v1","features":{"b":{"c":8,"d":"x"},"b":null,"e":false}}
{"model":"fraud","model_version":"v1","features":{"a":{"f":9},"b":{"c":{"g":1}},"e":[true]}}
{"model":"fraud","model_version":"v1","predictions":{"a":0.25,"b":"no"},"timestamp":1790000000}
{"model":"fraud","model_version":"v1","labels":{"class":"legit"}}
"#;

/// Value → how often, and how many rows had none, of each series as live events are decoded.
type Live = BTreeMap<(SeriesOf, String), (BTreeMap<String, u64>, u64)>;

fn live(report: &BuildReport, lines: &str) -> Live {
    let id = ModelId { namespace: "default".to_owned(), name: "fraud".to_owned() };
    let baselines = [Arc::new(report.baseline.clone())];
    let model = WatchedModel::new(id, Rollout::Auto, &baselines).expect("watched");
    let watch = Arc::new(Watch { models: vec![model] });
    let bounds = TimeBounds { max_future_ms: i64::MAX, max_past_ms: None };
    let mut decoder = Decoder::new(Arc::clone(&watch), bounds);
    let arrival = Arrival { record_time: None, now: EventTime(1_790_000_000_000) };
    lines.lines().for_each(|line| {
        decoder.push(line.as_bytes(), arrival).expect("an event");
    });
    let mut found = Live::new();
    for table in decoder.take() {
        let series = watch.version(table.version).of(table.of);
        for ((_, series), column) in series.zip(&table.columns) {
            let mut counts = BTreeMap::new();
            let array = &column.array;
            for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
                let value = match series.reference.grid.as_ref() {
                    Grid::Numeric(_) => array.as_primitive::<Float64Type>().value(row).to_string(),
                    Grid::Boolean => array.as_boolean().value(row).to_string(),
                    Grid::Categorical(names) => {
                        let cell = array.as_dictionary::<UInt16Type>().keys().value(row);
                        names.named()[usize::from(cell)].clone()
                    }
                };
                *counts.entry(value).or_default() += 1;
            }
            let missing = array.null_count() as u64;
            found.insert((table.of, series.reference.name.clone()), (counts, missing));
        }
    }
    found
}

fn recorded(report: &BuildReport) -> Live {
    let one = |series: &Arc<baseline::BaselineSeries>| {
        let names: Vec<String> = match series.grid.as_ref() {
            Grid::Numeric(grid) => grid.cuts().iter().map(f64::to_string).collect(),
            Grid::Boolean => vec!["false".to_owned(), "true".to_owned()],
            Grid::Categorical(names) => names.named().to_vec(),
        };
        let ties = matches!(series.grid.as_ref(), Grid::Numeric(_));
        let count =
            |(place, name): (usize, String)| (name, series.counts[if ties { 2 * place + 1 } else { place }]);
        let counts = names.into_iter().enumerate().map(count).filter(|(_, count)| *count > 0).collect();
        ((series.of, series.name.clone()), (counts, series.missing))
    };
    report.baseline.series.iter().map(one).collect()
}

#[test]
fn recorded_events_are_counted_as_live_ones_are() {
    let mut options = options(&[]);
    // Of mixed types here; the most frequent one is watched.
    options.include = vec!["a".to_owned(), "b".to_owned(), "b.c".to_owned(), "e".to_owned()];
    let (report, counts) = from_text(TRICKY, &options).expect("built");
    assert_eq!(counts.outcomes, BTreeMap::from([(Outcome::Counted, 7)]));
    assert_eq!(report.left_out, Vec::new());
    let found = recorded(&report);
    assert_eq!(found, live(&report, TRICKY));
    // By hand: `b` replaces `b.c` in the third event and the fourth; two of the seven have no features.
    let feature = |name: &str| found[&(SeriesOf::Feature, name.to_owned())].clone();
    assert_eq!(feature("b.c"), (BTreeMap::from([("2".to_owned(), 1)]), 4));
    assert_eq!(feature("a"), (BTreeMap::from([("1".to_owned(), 1), ("3".to_owned(), 1)]), 3));
    assert_eq!(report.baseline.rows, 5);
}

#[test]
fn requests_and_answers_may_be_events_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (report, _) = from_text(TRICKY, &options(&[])).expect("built");
    let path = folder.path().join("b.parquet");
    file::write(&report.baseline, &path).expect("written");
    assert_eq!(file::read(&path).expect("read"), report.baseline);
    let answer = report.baseline.find(SeriesOf::Prediction, "a").expect("predicted");
    assert_eq!((answer.n(), answer.missing), (2, 0));
}

fn event(features: &str) -> String {
    format!("{{\"model\":\"fraud\",\"model_version\":\"v1\",\"features\":{{{features}}}}}\n")
}

#[test]
fn a_few_values_of_another_type_are_missing_and_truly_mixed_series_are_left_out() {
    let mut text: String = (0..95).map(|n| event(&format!("\"x\":{n},\"y\":{n}"))).collect();
    text += &event("\"x\":\"n/a\",\"y\":\"n/a\"").repeat(5);
    text += &event("\"y\":true");
    let (report, _) = from_text(&text, &options(&[])).expect("built");
    let x = report.baseline.find(SeriesOf::Feature, "x").expect("kept");
    assert_eq!((x.n(), x.missing), (95, 6));
    assert_eq!(report.notes, [("x".to_owned(), "5 strings counted as missing".to_owned())]);
    assert_eq!(report.left_out[0].0, "y");
    let reason = &report.left_out[0].1;
    assert!(
        reason.contains("95 numbers, 5 strings, 1 booleans") && reason.contains("--include y"),
        "{reason}"
    );
}

#[test]
fn what_is_not_taken_is_told() {
    let mut text = event("\"x\":1,\"id\":9007199254740993");
    text += "\n{\"model\":\"fraud\"\n[]\n{\"model\":\"fraud\",\"model_version\":\"v2\",\"features\":{}}\n";
    text += "{\"model\":\"other\",\"model_version\":\"v1\",\"features\":{}}\n";
    text += "{\"model\":\"fraud\",\"model_version\":\"v1\",\"features\":{},\"timestamp\":\"today\"}\n";
    let (report, counts) = from_text(&text, &options(&[])).expect("built");
    assert_eq!(
        counts.describe("fraud", "v1"),
        "6 lines, 1 events of fraud v1; left aside: 2 unreadable, 1 with an unreadable timestamp, 1 of other \
         models, 1 of other versions of fraud"
    );
    assert_eq!(report.left_out[0].0, "id");
    assert!(report.left_out[0].1.contains("2^53"), "{:?}", report.left_out);
    let nothing = from_text(&text, &BuildOptions { version: "v3".to_owned(), ..options(&[]) });
    let error = nothing.expect_err("no such events").to_string();
    assert!(error.contains("it has events of fraud v1, fraud v2, other v1"), "{error}");
}

#[test]
fn named_predictions_must_be_those_of_the_events() {
    let text = "{\"model\":\"fraud\",\"model_version\":\"v1\",\"features\":{\"x\":1},\"predictions\":{\"p\":1,\"q\":2}}";
    assert!(from_text(text, &options(&["q", "p"])).is_ok());
    let refused =
        |predictions: &[&str]| from_text(text, &options(predictions)).expect_err("refused").to_string();
    assert!(refused(&["p", "x"]).contains("--predictions names x"));
    assert!(refused(&["p"]).contains("does not name q"));
    let without = BuildOptions { exclude: vec!["q".to_owned()], ..options(&["p"]) };
    assert_eq!(from_text(text, &without).expect("built").0.left_out[0].0, "q");
}

#[test]
fn keys_that_are_data_are_refused() {
    let text: String = (0..5_000).map(|n| event(&format!("\"user{n}\":1"))).collect();
    let error = from_text(&text, &options(&[])).expect_err("refused").to_string();
    assert!(error.contains("thousands of different keys"), "{error}");
}
