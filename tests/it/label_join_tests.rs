//! Labels in events of their own, joined with their answers, through the real service on a real broker.

use super::broker::{Broker, wait_until};
use super::serve_tests::now_ms;
use super::service::{Bench, LIMIT, baseline};
use std::collections::BTreeMap;

const CLASSES: [&str; 3] = ["cat", "dog", "owl"];
const PANE: i64 = 1_000;
const HORIZON: i64 = 5;
/// Milliseconds between two requests.
const STEP: i64 = 4;
const REQUESTS: usize = 4_000;

/// The n-th request: two in three get their label, every seventh of all wrongly so; one in nine too late.
fn label(n: usize) -> Option<(&'static str, i64)> {
    let truth = if n.is_multiple_of(7) { CLASSES[(n / 7) % 3] } else { CLASSES[n % 3] };
    let delay = if n.is_multiple_of(9) { (HORIZON + 2) * PANE } else { (n as i64 * 37) % (HORIZON * PANE) };
    (n % 5 < 3).then_some((truth, delay))
}

/// What is foretold, and whether it comes true: for high scores more often.
fn score(n: usize) -> f64 {
    (n % 100) as f64 / 100.0
}

fn came_true(n: usize) -> bool {
    (n * 7919 % 100) as f64 / 100.0 < score(n)
}

fn prediction(n: usize, time: i64) -> String {
    format!(
        r#"{{"request_id":"request-{n}","model":"m","model_version":"v1","timestamp":{time},"features":{{"x":{}}},"predictions":{{"class":"{}","score":{}}}}}"#,
        n % 8,
        CLASSES[n % 3],
        score(n)
    )
}

fn label_event(n: usize, time: i64, truth: &str) -> String {
    format!(
        r#"{{"request_id":"request-{n}","model":"m","model_version":"v1","timestamp":{time},"labels":{{"class":"{truth}","score":{}}}}}"#,
        came_true(n)
    )
}

/// Events in the order of their time: answers, and labels of their own.
fn events(start: i64) -> Vec<(i64, String)> {
    let mut events = Vec::new();
    for n in 0..REQUESTS {
        let time = start + n as i64 * STEP;
        events.push((time, prediction(n, time)));
        events.extend(label(n).map(|(truth, delay)| (time + delay, label_event(n, time + delay, truth))));
    }
    events.sort_by_key(|(time, _)| *time);
    events
}

/// Of each pane: answers, labelled ones, right ones, scores that came true.
fn expected(start: i64) -> BTreeMap<i64, [u64; 4]> {
    let mut panes: BTreeMap<i64, [u64; 4]> = BTreeMap::new();
    for n in 0..REQUESTS {
        let pane = (n as i64 * STEP).div_euclid(PANE);
        let sum = panes.entry(start / PANE + pane).or_default();
        sum[0] += 1;
        if let Some((truth, delay)) = label(n)
            && (n as i64 * STEP + delay).div_euclid(PANE) <= pane + HORIZON
        {
            sum[1] += 1;
            sum[2] += u64::from(truth == CLASSES[n % 3]);
            sum[3] += u64::from(came_true(n));
        }
    }
    panes
}

fn time(text: &serde_json::Value) -> i64 {
    let text = text.as_str().expect("a time");
    tidegate::event::EventTime::parse_rfc3339(text).expect("RFC 3339").0
}

/// The labels of a report: the first and one past the last pane of their answers, and the counts of [`expected`].
fn found(report: &serde_json::Value) -> Option<(i64, i64, [u64; 4])> {
    let labels = report["labels"].as_array().expect("a list").first()?;
    let count = |key: &str| labels[key].as_u64().expect("a count");
    let right = labels["accuracy"]["value"].as_f64().unwrap_or(0.0) * count("labelled") as f64;
    let scores = &report["scores"].as_array().expect("a list")[0];
    for key in ["output", "positives", "auc", "brier"] {
        assert!(!scores[key].is_null(), "{report}");
    }
    for key in ["answers", "labelled", "start", "end"] {
        assert_eq!(scores[key], labels[key], "{report}");
    }
    let positives = scores["positives"].as_u64().expect("a count");
    let counts = [count("answers"), count("labelled"), right.round() as u64, positives];
    Some((time(&labels["start"]) / PANE, time(&labels["end"]) / PANE, counts))
}

#[test]
fn labels_of_their_own_are_joined_once_with_their_panes_also_after_kills() {
    let Some(broker) = Broker::shared() else { return };
    let bench = Bench::new(broker, "label-join", 3);
    let rows: Vec<Vec<String>> = (0..4_000)
        .map(|row| vec![(row % 8).to_string(), CLASSES[row % 3].to_owned(), score(row).to_string()])
        .collect();
    let outputs = ["class", "score"];
    let path = baseline(bench.dir.path(), "m", "v1", &["x", "class", "score"], &rows, &outputs);
    let bench = bench.model("m", &[("v1", path)], &format!("labels = {{ horizon = \"{HORIZON}s\" }}"));
    let start = (now_ms() - 40_000) / PANE * PANE;
    let events = events(start);
    let parts: Vec<Vec<String>> = events
        .chunks(events.len() / 5 + 1)
        .map(|part| part.iter().map(|(_, event)| event.clone()).collect())
        .collect();
    let mut replica = bench.serve("a");
    let mut produced = 0;
    for (number, part) in parts.iter().enumerate() {
        bench.produce(part);
        produced += part.len();
        let answers = |n: usize| n * 2 / 4;
        wait_until(LIMIT, "some of it to be counted", || {
            (bench.counted_events() as usize >= answers(produced - part.len())).then_some(())
        });
        if number % 2 == 0 {
            replica.kill();
            replica = bench.serve(["b", "c", "d"][number / 2]);
        }
    }
    let (expected, last) = (expected(start), (start + REQUESTS as i64 * STEP) / PANE - 1);
    let reports = wait_until(LIMIT, "the last report", || {
        let reports = bench.reports();
        let ends_last = |report: &serde_json::Value| {
            report["window"]["scale"] == 1 && time(&report["window"]["start"]) / PANE == last
        };
        reports.values().any(ends_last).then_some(reports)
    });
    let mut matured = 0;
    for report in reports.values() {
        let (from, to) = (time(&report["window"]["start"]) / PANE, time(&report["window"]["end"]) / PANE);
        let wanted = expected
            .range(from - HORIZON..to - HORIZON)
            .fold([0; 4], |sum: [u64; 4], (_, pane)| std::array::from_fn(|at| sum[at] + pane[at]));
        let first = (from - HORIZON).max(start / PANE);
        match found(report) {
            Some(labels) => assert_eq!(labels, (first, to - HORIZON, wanted), "{report}"),
            None => assert!(to - HORIZON <= start / PANE, "{report}"),
        }
        matured += u64::from(report["window"]["scale"] == 1 && found(report).is_some());
    }
    assert_eq!(matured as i64, last + 1 - HORIZON - start / PANE, "every pane once");
    let pane = &expected[&(last - HORIZON)];
    let gauge = |name: &str| {
        replica.metric(&format!(
            r#"tidegate_model_{name}_ratio{{model="m",model_namespace="default",model_version="v1",output="class",role="",window="1"}}"#
        ))
    };
    let wanted = (pane[2] as f64 / pane[1] as f64, pane[1] as f64 / pane[0] as f64);
    wait_until(LIMIT, "gauges of the last pane", || {
        let (accuracy, labelled) = (gauge("accuracy")?, gauge("labelled")?);
        ((accuracy - wanted.0).abs() < 1e-9 && (labelled - wanted.1).abs() < 1e-9).then_some(())
    });
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}
