//! Labels beside their predictions, through the real service on a real broker.

use super::broker::{Broker, wait_until};
use super::serve_tests::{now_ms, wait_counted};
use super::service::{Bench, LIMIT, baseline};
use std::collections::BTreeMap;

/// Answers and labels of a pane: (answer, label) → how many; label `None`: there is none.
type Pairs = BTreeMap<(&'static str, Option<&'static str>), u64>;

const CLASSES: [&str; 3] = ["cat", "dog", "owl"];

/// The n-th event: two in three are labelled, every seventh of all wrongly so.
fn answer(n: usize) -> (&'static str, Option<&'static str>) {
    let label = if n.is_multiple_of(7) { CLASSES[(n / 7) % 3] } else { CLASSES[n % 3] };
    (CLASSES[n % 3], (n % 5 < 3).then_some(label))
}

fn event(n: usize, time: i64) -> String {
    let (class, label) = answer(n);
    let labels = label.map_or_else(String::new, |label| format!(r#","labels":{{"class":"{label}"}}"#));
    format!(
        r#"{{"model":"m","model_version":"v1","timestamp":{time},"features":{{"x":{}}},"predictions":{{"class":"{class}"}}{labels}}}"#,
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

#[test]
fn labels_beside_their_answers_are_measured_exactly_also_after_a_kill() {
    let Some(broker) = Broker::shared() else { return };
    let bench = Bench::new(broker, "labels", 3);
    let rows: Vec<Vec<String>> =
        (0..4_000).map(|row| vec![(row % 8).to_string(), CLASSES[row % 3].to_owned()]).collect();
    let path = baseline(bench.dir.path(), "m", "v1", &["x", "class"], &rows, &["class"]);
    let bench = bench.model("m", &[("v1", path)], "");
    let start = (now_ms() - 20_000) / 1_000 * 1_000;
    let mut panes: BTreeMap<i64, Pairs> = BTreeMap::new();
    let mut produce = |numbers: std::ops::Range<usize>| {
        let events: Vec<String> = numbers
            .map(|n| {
                let time = start + n as i64 * 2;
                *panes.entry((time - start) / 1_000).or_default().entry(answer(n)).or_default() += 1;
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
    for (report, pairs) in single.iter().zip(panes.values()) {
        check(report, pairs);
    }
    let fourfold: Vec<&serde_json::Value> = of_scale(4);
    for (first, report) in fourfold.iter().take(3).enumerate() {
        let mut sum = Pairs::new();
        for pairs in panes.values().skip(first).take(4) {
            pairs.iter().for_each(|(pair, count)| *sum.entry(*pair).or_default() += count);
        }
        check(report, &sum);
    }
    let last = panes.values().last().expect("panes");
    let (labelled, right) = sums(last);
    let gauge = |name: &str| {
        replica.metric(&format!(
        r#"tidegate_model_{name}_ratio{{model="m",model_namespace="default",model_version="v1",output="class",role="",window="1"}}"#
    ))
    };
    let expected = (right as f64 / labelled as f64, labelled as f64 / 500.0);
    wait_until(LIMIT, "gauges of the last pane", || {
        let (accuracy, coverage) = (gauge("accuracy")?, gauge("labelled")?);
        ((accuracy - expected.0).abs() < 1e-9 && (coverage - expected.1).abs() < 1e-9).then_some(())
    });
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}
