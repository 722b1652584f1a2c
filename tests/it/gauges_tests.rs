//! The life of the drift gauges across restarts and rebalances, on a real broker.

use super::broker::{Broker, wait_until};
use super::serve_tests::{event, now_ms, stream, training, wait_counted};
use super::service::{Bench, LIMIT, Replica, baseline};
use std::collections::BTreeMap;
use std::time::Duration;

/// Version, scale and statistic → value, as `/metrics` says: PSI of `x`, and 1 for the state that stands.
type Exported = BTreeMap<(String, String, String), f64>;

fn label(line: &str, name: &str) -> String {
    let found = line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    found.unwrap_or_default().to_owned()
}

fn exported(replica: &Replica) -> Exported {
    let (_, body) = replica.get("/metrics");
    let is_psi = |line: &str| line.starts_with("tidegate_feature_psi{");
    let is_state = |line: &str| line.starts_with("tidegate_drift_state{") && line.ends_with(" 1");
    let sample = |line: &str| {
        let what = if is_psi(line) { label(line, "reference") } else { label(line, "state") };
        let value = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a value");
        ((label(line, "model_version"), label(line, "window"), what), value)
    };
    body.lines().filter(|line| is_psi(line) || is_state(line)).map(sample).collect()
}

/// What a judge has to export by what stands in the topic of reports, of these versions.
fn committed(bench: &Bench<'_>, versions: &[&str]) -> Exported {
    let mut expected = Exported::new();
    let mut newest = BTreeMap::new();
    for ((version, scale, _), report) in bench.reports() {
        if versions.contains(&version.as_str()) {
            // In order of their starts: the last one stays.
            newest.insert((version, scale.to_string()), report);
        }
    }
    for ((version, scale), report) in newest {
        let state = report["verdict"].as_str().expect("a verdict").to_owned();
        expected.insert((version.clone(), scale.clone(), state), 1.0);
        for series in report["series"].as_array().expect("series").iter().filter(|one| one["name"] == "x") {
            let reference = series["reference"].as_str().expect("a reference").to_owned();
            if let Some(psi) = series["psi"]["value"].as_f64() {
                expected.insert((version.clone(), scale.clone(), reference), psi);
            }
        }
    }
    expected
}

fn wait_for_gauges(bench: &Bench<'_>, replica: &Replica, versions: &[&str]) {
    wait_until(LIMIT, &format!("the gauges of {versions:?} as committed"), || {
        let expected = committed(bench, versions);
        (expected.len() >= 2 && exported(replica) == expected).then_some(())
    });
}

#[test]
fn a_quiet_models_gauges_stand_again_after_a_restart_and_go_with_their_version() {
    let Some(broker) = Broker::shared() else { return };
    let mut bench = Bench::new(broker, "standing", 2);
    let of =
        |version: &str| baseline(bench.dir.path(), "m", version, &["x", "score"], &training(), &["score"]);
    let files = [("v1", of("v1")), ("v2", of("v2"))];
    bench = bench.model("m", &files, "");
    let start = now_ms() - 200_000;
    let mut replica = bench.serve("a");
    let early = stream(start, 6, 200);
    bench.produce(&early);
    wait_counted(&bench, early.len() as u64);
    wait_for_gauges(&bench, &replica, &["v1"]);

    replica.kill();
    let replica = bench.serve("a");
    wait_for_gauges(&bench, &replica, &["v1"]);
    assert!(exported(&replica).keys().any(|(_, scale, _)| scale == "1"), "windows that only events close");

    // Only the model's owner exports it, whoever that becomes.
    let other = bench.serve("b");
    std::thread::sleep(Duration::from_secs(2));
    wait_until(LIMIT, "one owner", || {
        let (one, two) = (exported(&replica), exported(&other));
        (one.is_empty() != two.is_empty()
            && committed(&bench, &["v1"]) == if one.is_empty() { two } else { one })
        .then_some(())
    });
    drop(other);

    // The next version comes 100 panes later: v1 has been silent for more than the longest window.
    let late: Vec<String> =
        (0..600).map(|n| event("v2", "stable", start + 100_000 + 5 * n, n as u64 % 8, 0.5)).collect();
    bench.produce(&late);
    wait_counted(&bench, (early.len() + late.len()) as u64);
    wait_for_gauges(&bench, &replica, &["v2"]);
    // The board still has v1's reports; they do not come back, neither here nor after a restart.
    std::thread::sleep(Duration::from_secs(3));
    wait_for_gauges(&bench, &replica, &["v2"]);
    drop(replica);
    let replica = bench.serve("a");
    wait_for_gauges(&bench, &replica, &["v2"]);
    std::thread::sleep(Duration::from_secs(3));
    assert!(exported(&replica).keys().all(|(version, ..)| version == "v2"), "{:?}", exported(&replica));
}
