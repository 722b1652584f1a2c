//! Labels beside their predictions, through the real service on a real broker.

use super::broker::{Broker, wait_until};
use super::serve_tests::{now_ms, wait_counted};
use super::service::{Bench, LIMIT, baseline};
use std::collections::BTreeMap;

/// Answers and labels of a pane: (answer, label) → how many; label `None`: there is none.
type Pairs = BTreeMap<(&'static str, Option<&'static str>), u64>;

const CLASSES: [&str; 3] = ["cat", "dog", "owl"];
/// Different scores: few enough for each to be a cut, so that the AUC is exact.
const SCORES: usize = 25;

/// The n-th event: two in three are labelled, every seventh of all wrongly so.
fn answer(n: usize) -> (&'static str, Option<&'static str>) {
    let label = if n.is_multiple_of(7) { CLASSES[(n / 7) % 3] } else { CLASSES[n % 3] };
    (CLASSES[n % 3], (n % 5 < 3).then_some(label))
}

/// The score of the n-th event, and whether what it foretells came true. It is labelled where the class is.
fn score(n: usize) -> (f64, bool) {
    let score = (n * 7 % SCORES) as f64 / SCORES as f64;
    (score, (n * 13 % 23) as f64 / 23.0 < score)
}

fn event(n: usize, time: i64) -> String {
    let ((class, label), (score, truth)) = (answer(n), score(n));
    let truth = if n.is_multiple_of(2) { truth.to_string() } else { u8::from(truth).to_string() };
    let labels =
        label.map_or_else(String::new, |label| format!(r#","labels":{{"class":"{label}","score":{truth}}}"#));
    format!(
        r#"{{"model":"m","model_version":"v1","timestamp":{time},"unit":{},"features":{{"x":{}}},"predictions":{{"class":"{class}","score":{score}}}{labels}}}"#,
        n % 150,
        n % 8
    )
}

/// Labelled answers, and right ones of them.
fn sums(pairs: &Pairs) -> (u64, u64) {
    let labelled = || pairs.iter().filter(|((_, label), _)| label.is_some());
    let right = labelled().filter(|((class, label), _)| *label == Some(*class));
    (labelled().map(|(_, count)| count).sum(), right.map(|(_, count)| count).sum())
}

/// Compares a report with what its events say.
fn check(report: &serde_json::Value, pairs: &Pairs) {
    let found = &report["labels"][0];
    let (labelled, right) = sums(pairs);
    assert_eq!(found["output"], "class", "{report}");
    assert_eq!(
        (&found["answers"], &found["labelled"]),
        (&pairs.values().sum::<u64>().into(), &labelled.into())
    );
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let accuracy = &found["accuracy"];
    assert!((number(&accuracy["value"]) - right as f64 / labelled as f64).abs() < 1e-12, "{found}");
    assert!(number(&accuracy["lower"]) < number(&accuracy["value"]), "{found}");
    let mut scores = Vec::new();
    for class in found["classes"].as_array().expect("classes") {
        let name = class["class"].as_str().expect("a name");
        let count = |of: &dyn Fn(&str, &str) -> bool| -> u64 {
            let wanted =
                pairs.iter().filter(|((class, label), _)| label.is_some_and(|label| of(class, label)));
            wanted.map(|(_, count)| count).sum()
        };
        let (predicted, of_class) = (count(&|class, _| class == name), count(&|_, label| label == name));
        let right = count(&|class, label| class == name && label == name) as f64;
        assert_eq!(
            (&class["predicted"], &class["labelled"]),
            (&predicted.into(), &of_class.into()),
            "{class}"
        );
        let f1 = 2.0 * right / (predicted + of_class) as f64;
        for (key, expected) in
            [("precision", right / predicted as f64), ("recall", right / of_class as f64), ("f1", f1)]
        {
            assert!((number(&class[key]["value"]) - expected).abs() < 1e-12, "{class}, {key} {expected}");
        }
        scores.push(f1);
    }
    assert_eq!(scores.len(), CLASSES.len());
    assert!((number(&found["macro_f1"]) - scores.iter().sum::<f64>() / 3.0).abs() < 1e-12, "{found}");
}

/// AUC over all pairs of a labelled event that came true and one that did not, and Brier score.
fn auc_and_brier(events: &[usize]) -> (f64, f64) {
    let labelled = || events.iter().filter(|n| answer(**n).1.is_some()).map(|n| score(*n));
    let of = |wanted: bool| labelled().filter(move |(_, truth)| *truth == wanted).map(|(score, _)| score);
    let order =
        |high: f64, low: f64| f64::from(u8::from(high > low)) + 0.5 * f64::from(u8::from(high == low));
    let ordered: f64 = of(true).map(|high| of(false).map(|low| order(high, low)).sum::<f64>()).sum();
    let squares = labelled().map(|(score, truth)| (score - f64::from(u8::from(truth))).powi(2)).sum::<f64>();
    (ordered / (of(true).count() * of(false).count()) as f64, squares / labelled().count() as f64)
}

/// Compares a report with what its events say of their scores.
fn check_scores(report: &serde_json::Value, events: &[usize]) {
    let found = &report["scores"][0];
    let labelled = events.iter().filter(|n| answer(**n).1.is_some());
    let positives = labelled.clone().filter(|n| score(**n).1).count();
    let counts = ["answers", "labelled", "positives", "unusable"].map(|key| found[key].as_u64());
    let expected = [events.len(), labelled.count(), positives, 0].map(|count| Some(count as u64));
    assert_eq!((&found["output"], counts), (&"score".into(), expected), "{report}");
    let (auc, brier) = auc_and_brier(events);
    for (found, expected) in [(&found["auc"], auc), (&found["brier"], brier)] {
        let [value, lower, upper] =
            ["value", "lower", "upper"].map(|key| found[key].as_f64().expect("units"));
        assert!(
            (value - expected).abs() < 1e-12 && lower < value && value < upper,
            "{found}, not {expected}"
        );
    }
    assert!(found["auc"]["bracket"].is_null(), "{found}");
}

#[test]
fn labels_beside_their_answers_are_measured_exactly_also_after_a_kill() {
    let Some(broker) = Broker::shared() else { return };
    let bench = Bench::new(broker, "labels", 3);
    let row = |row: usize| vec![(row % 8).to_string(), CLASSES[row % 3].to_owned(), score(row).0.to_string()];
    let rows: Vec<Vec<String>> = (0..4_000).map(row).collect();
    let path = baseline(bench.dir.path(), "m", "v1", &["x", "class", "score"], &rows, &["class", "score"]);
    let bench = bench.model("m", &[("v1", path)], "");
    let start = (now_ms() - 20_000) / 1_000 * 1_000;
    let mut panes: BTreeMap<i64, Pairs> = BTreeMap::new();
    let mut events_of: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut produce = |numbers: std::ops::Range<usize>| {
        let events: Vec<String> = numbers
            .map(|n| {
                let time = start + n as i64 * 2;
                let pane = (time - start) / 1_000;
                *panes.entry(pane).or_default().entry(answer(n)).or_default() += 1;
                events_of.entry(pane).or_default().push(n);
                event(n, time)
            })
            .collect();
        bench.produce(&events);
    };
    produce(0..1_500);
    let mut replica = bench.serve("a");
    wait_until(LIMIT, "two panes", || (bench.counted_events() >= 1_000).then_some(()));
    replica.kill();
    produce(1_500..3_000);
    let mut replica = bench.serve("b");
    wait_counted(&bench, 3_000);
    let reports = wait_until(LIMIT, "reports", || {
        let reports = bench.reports();
        let of_scale = |wanted: u64| reports.keys().filter(|(_, scale, _)| *scale == wanted).count();
        (of_scale(1) == 6 && of_scale(4) >= 3).then_some(reports)
    });
    let of_scale = |wanted: u64| {
        reports.iter().filter(move |((_, scale, _), _)| *scale == wanted).map(|(_, report)| report).collect()
    };
    let single: Vec<&serde_json::Value> = of_scale(1);
    for (report, (pairs, events)) in single.iter().zip(panes.values().zip(events_of.values())) {
        check(report, pairs);
        check_scores(report, events);
    }
    let fourfold: Vec<&serde_json::Value> = of_scale(4);
    for (first, report) in fourfold.iter().take(3).enumerate() {
        let mut sum = Pairs::new();
        for pairs in panes.values().skip(first).take(4) {
            pairs.iter().for_each(|(pair, count)| *sum.entry(*pair).or_default() += count);
        }
        check(report, &sum);
        let events: Vec<usize> = events_of.values().skip(first).take(4).flatten().copied().collect();
        check_scores(report, &events);
    }
    let last = panes.values().last().expect("panes");
    let (labelled, right) = sums(last);
    let gauge = |name: &str, output: &str| {
        replica.metric(&format!(
        r#"tidegate_model_{name}_ratio{{model="m",model_namespace="default",model_version="v1",output="{output}",role="",window="1"}}"#
    ))
    };
    let (auc, brier) = auc_and_brier(events_of.values().last().expect("panes"));
    let (accuracy, coverage) = (right as f64 / labelled as f64, labelled as f64 / 500.0);
    let expected = [
        ("accuracy", "class", accuracy),
        ("labelled", "class", coverage),
        ("auc", "score", auc),
        ("brier", "score", brier),
        ("labelled", "score", coverage),
    ];
    wait_until(LIMIT, "gauges of the last pane", || {
        let shows = |(name, output, value): &(&str, &str, f64)| {
            gauge(name, output).is_some_and(|found| (found - value).abs() < 1e-9)
        };
        expected.iter().all(shows).then_some(())
    });
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}
