//! Real streams through the real broker: what the service measures is what anyone would compute, and it sees
//! the drift where it is, and nothing where there is none.

use super::broker::{Broker, Message, wait_until};
use super::data::Dataset;
use super::naive;
use super::service::{Bench, baseline};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);
/// 2020-01-01T00:00:00Z: a midnight in the past.
const MIDNIGHT: i64 = 1_577_836_800_000;
const TOLERANCE: f64 = 1e-12;

/// The columns of a stream that are watched as one model.
struct Stream<'a> {
    data: &'a Dataset,
    columns: Vec<&'a str>,
}

impl Stream<'_> {
    fn row(&self, row: usize) -> Vec<String> {
        self.columns.iter().map(|name| format!("{}", self.data.column(name)[row])).collect()
    }

    fn baseline(&self, dir: &Path, model: &str, rows: usize) -> PathBuf {
        let training: Vec<Vec<String>> = (0..rows).map(|row| self.row(row)).collect();
        baseline(dir, model, "v1", &self.columns, &training, &[])
    }

    fn event(&self, model: &str, row: usize, time: i64) -> Message {
        let features: Vec<String> = self
            .columns
            .iter()
            .zip(self.row(row))
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        Message::new(format!(
            r#"{{"model":"{model}","model_version":"v1","timestamp":{time},"features":{{{}}}}}"#,
            features.join(",")
        ))
    }
}

/// Scale-1 reports of a model by the time their window starts.
fn panes_of(bench: &Bench<'_>, model: &str) -> BTreeMap<i64, serde_json::Value> {
    let of = |report: &serde_json::Value| report["model"] == model && report["window"]["scale"] == 1;
    bench
        .read_json("reports")
        .into_iter()
        .filter(of)
        .map(|report| (start_of(&report["window"]["start"]), report))
        .collect()
}

fn start_of(time: &serde_json::Value) -> i64 {
    tidegate::event::EventTime::parse_rfc3339(time.as_str().expect("a time")).expect("RFC 3339").0
}

/// Compares every series of every pane with the naive computation over raw values.
fn assert_as_computed(
    stream: &Stream<'_>,
    reports: &BTreeMap<i64, serde_json::Value>,
    training: usize,
    per_pane: usize,
    pane_ms: i64,
) {
    let mut bracketed = 0;
    for (start, report) in reports {
        let from = ((start - MIDNIGHT) / pane_ms) as usize * per_pane;
        for series in report["series"].as_array().expect("series") {
            if series["reference"] != "baseline" || series["of"] != "feature" {
                continue;
            }
            let name = series["name"].as_str().expect("a name");
            let values = stream.data.column(name);
            let (reference, window) = (&values[..training], &values[from..from + per_pane]);
            let (lower, upper) = (number(&series["ks"]["statistic"]), number(&series["ks"]["upper"]));
            let exact = naive::ks(reference, window);
            if distinct(reference) <= 2_048 {
                assert!(
                    (lower - exact).abs() <= TOLERANCE,
                    "{name} at row {from}: KS {lower}, naive {exact}"
                );
            } else {
                bracketed += 1;
                assert!(
                    lower <= exact + TOLERANCE && exact <= upper + TOLERANCE,
                    "{name} at {from}: {exact} outside {lower}..{upper}"
                );
            }
            match naive::psi(reference, window) {
                Some(naive) => {
                    let psi = number(&series["psi"]["value"]);
                    assert!(
                        (psi - naive).abs() <= TOLERANCE,
                        "{name} at row {from}: PSI {psi}, naive {naive}"
                    );
                }
                None => assert!(series["psi"].is_null(), "{name}: one bin has no PSI"),
            }
        }
    }
    assert!(
        bracketed > 0
            || stream.columns.iter().all(|name| distinct(&stream.data.column(name)[..training]) <= 2_048)
    );
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn distinct(values: &[f64]) -> usize {
    let mut bits: Vec<u64> = values.iter().map(|value| (value + 0.0).to_bits()).collect();
    bits.sort_unstable();
    bits.dedup();
    bits.len()
}

fn measures_drift(series: &serde_json::Value) -> bool {
    let reaches = |value: &serde_json::Value, limit| value.as_f64().is_some_and(|value| value >= limit);
    series["reference"] == "baseline"
        && series["of"] == "feature"
        && (reaches(&series["ks"]["statistic"], 0.2) || reaches(&series["psi"]["value"], 0.25))
}

#[test]
fn the_electricity_market_drifts_where_it_does_and_as_computed() {
    let Some(broker) = Broker::shared() else { return };
    const DAY: i64 = 86_400_000;
    const MOVES_AT: i64 = MIDNIGHT + 17_424 / 48 * DAY;
    let data = Dataset::read("electricity");
    let numeric: Vec<&str> = data.numbers.iter().map(|(name, _)| name.as_str()).collect();
    let all = Stream { data: &data, columns: numeric };
    let still = Stream { data: &data, columns: vec!["vicprice", "vicdemand", "transfer"] };
    let bench = Bench::new(broker, "electricity", 3);
    let (dir, samples) =
        (bench.dir.path().to_owned(), "mode = \"thresholds\"\n[model.thresholds]\nmin_samples = 48\n");
    let bench = bench
        .windows("pane = \"1d\"\nlateness = \"30s\"\nflush_interval = \"1s\"\nidle_timeout = \"3s\"\n")
        .model("elec", &[("v1", all.baseline(&dir, "elec", 2_688))], samples)
        .model("still", &[("v1", still.baseline(&dir, "still", 2_688))], samples);
    let replica = bench.serve("a");
    let events = (0..data.rows).flat_map(|row| {
        let time = MIDNIGHT + row as i64 * 1_800_000;
        [all.event("elec", row, time), still.event("still", row, time)]
    });
    broker.produce(&bench.events, &events.collect::<Vec<Message>>());
    wait_until(LIMIT, "all 944 days of both models", || {
        (panes_of(&bench, "elec").len() == 944 && panes_of(&bench, "still").len() == 944).then_some(())
    });
    assert_as_computed(&all, &panes_of(&bench, "elec"), 2_688, 48, DAY);
    let reports = panes_of(&bench, "still");
    let first = reports
        .iter()
        .find(|(_, report)| report["series"].as_array().is_some_and(|all| all.iter().any(measures_drift)));
    let (start, report) = first.expect("the market opens in May 1997");
    assert_eq!(*start, MOVES_AT);
    let drifted =
        report["series"].as_array().expect("series").iter().filter(|one| measures_drift(one)).count();
    assert_eq!(drifted, 3, "all three begin to move: {report:#}");
    let drift_verdict = reports.iter().find(|(_, report)| report["verdict"] == "drift").expect("a verdict");
    assert_eq!(*drift_verdict.0, MOVES_AT + DAY, "two evaluations in a row");
    let alerts: Vec<serde_json::Value> =
        bench.read_json("alerts").into_iter().filter(|alert| alert["model"] == "still").collect();
    let first = alerts.iter().map(|alert| start_of(&alert["window_end"])).min().expect("an alert");
    assert_eq!(first, MOVES_AT + 2 * DAY, "not before the second evaluation");
    drop(replica);
}

#[test]
fn shuffled_digits_drift_nowhere() {
    let Some(broker) = Broker::shared() else { return };
    const PANE: i64 = 880_000;
    let data = Dataset::read("arabic_digits");
    let columns: Vec<&str> = data.numbers.iter().take(26).map(|(name, _)| name.as_str()).collect();
    let digits = Stream { data: &data, columns };
    let bench = Bench::new(broker, "digits", 3);
    let path = digits.baseline(bench.dir.path(), "digits", 4_400);
    let bench = bench
        .windows("pane = \"880s\"\nlateness = \"10s\"\nflush_interval = \"500ms\"\nidle_timeout = \"2s\"\n")
        .model("digits", &[("v1", path)], "");
    let replica = bench.serve("a");
    // Panes are cut at multiples of their length since 1970.
    let start = MIDNIGHT.div_euclid(PANE) * PANE;
    let events: Vec<Message> =
        (0..data.rows).map(|row| digits.event("digits", row, start + row as i64 * 1_000)).collect();
    broker.produce(&bench.events, &events);
    wait_until(LIMIT, "all panes", || (panes_of(&bench, "digits").len() == 10).then_some(()));
    let reports = bench.read_json("reports");
    assert!(reports.len() > 10, "longer windows are there too");
    for report in &reports {
        for series in report["series"].as_array().expect("series") {
            assert!(!measures_drift(series), "{series:#}");
        }
    }
    assert!(bench.read_json("alerts").is_empty());
    drop(replica);
}
