//! What `/metrics` shows is what Prometheus' own linter accepts.

use crate::schemas_reports::report;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tidegate::event::{Role, SeriesKind};
use tidegate::http::gauges::DriftGauges;
use tidegate::judge::report::{MeasuredOf, Reference, Report, SeriesReport};
use tidegate::metrics::Metrics;

/// `off` leaves the check out.
const SWITCH: &str = "TIDEGATE_TEST_PROMTOOL";

fn is_installed() -> bool {
    let asked =
        Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Installs the linter when it is missing and this user may.
fn install() {
    // One test at a time: the packages' own lock turns the other away.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if is_installed() {
        return;
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if root {
        let run = |arguments: &[&str]| {
            let patient = ["-q", "-o", "DPkg::Lock::Timeout=300"];
            Command::new("apt-get").args(patient).args(arguments).stdout(Stdio::null()).status()
        };
        let _ = run(&["update"]).and_then(|_| run(&["install", "-y", "prometheus"]));
    }
    assert!(
        is_installed(),
        "promtool is not installed: install the package `prometheus`, or set {SWITCH}=off to leave this test out"
    );
}

/// A report with every gauge in it: a feature and a prediction output, all ratios, more series than the bound.
fn full_report() -> Report {
    let mut report = report();
    let feature = report.series[0].clone();
    let category = SeriesReport {
        name: "country".to_owned(),
        kind: SeriesKind::Categorical,
        unseen_ratio: Some(0.01),
        out_of_range_ratio: None,
        ks: None,
        ..feature.clone()
    };
    let output = SeriesReport {
        name: "score".to_owned(),
        of: MeasuredOf::Prediction,
        reference: Reference::Stable,
        unseen_ratio: Some(0.0),
        ..feature.clone()
    };
    report.series.extend([category, output, SeriesReport { name: "beyond".to_owned(), ..feature }]);
    report.prediction_drift_score = Some(0.02);
    report.role = Some(Role::Canary);
    report
}

/// One sample of every metric that a report does not set.
fn exercise(metrics: &Metrics) {
    metrics.events.with_label_values(&["fraud", "v1", "counted"]).inc_by(7);
    metrics.dead_letters.with_label_values(&["unreadable"]).inc();
    metrics.dead_letters_over_budget.with_label_values(&["events", "unreadable"]).inc();
    metrics.dead_letters_refused.with_label_values(&["events", "unreadable"]).inc();
    metrics.topic_stopped.with_label_values(&["events"]).set(1.0);
    metrics.consumer_lag.with_label_values(&["events", "0"]).set(3.0);
    metrics.flush_duration.with_label_values(&["tally"]).observe(0.2);
    metrics.restore_duration.with_label_values(&["judge"]).observe(0.2);
    metrics.flushes.with_label_values(&["committed"]).inc();
    metrics.commits_discarded.with_label_values(&["judge"]).inc();
    metrics.own_records_refused.with_label_values(&["tidegate.tallies", "unreadable"]).inc();
    metrics.watermark.with_label_values(&["fraud", "default"]).set(1.7e9);
    metrics.rollout_weight.with_label_values(&["fraud", "default"]).set(0.25);
    metrics.self_check.with_label_values(&["fraud", "default"]).set(0.01);
    metrics.self_check_bound.with_label_values(&["fraud", "default", "lower"]).set(0.005);
    metrics.event_to_report.with_label_values(&["fraud", "default"]).observe(2.0);
    metrics.notifications.with_label_values(&["controller", "delivered"]).inc();
    metrics.rebalances.with_label_values(&["judge"]).inc();
    metrics.kafka_errors.with_label_values(&["judge"]).inc();
    metrics.offset_out_of_range.with_label_values(&["events", "0"]).inc();
    metrics.incomplete.with_label_values(&["fraud"]).inc();
    metrics.incomplete_flushes.with_label_values(&["gap"]).inc();
    metrics.stage_restarts.with_label_values(&["tally"]).inc();
    metrics.stage_up.with_label_values(&["tally"]).set(1.0);
    metrics.late_events.with_label_values(&["dropped"]).inc();
    metrics.labels.with_label_values(&["joined"]).inc();
    metrics.answers_not_joined.with_label_values(&["late"]).inc();
    metrics.label_panes.with_label_values(&["matured"]).inc();
    metrics.config_reloads.with_label_values(&["taken"]).inc();
}

fn lint(text: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = promtool.stdin.take().expect("its input is piped");
    input.write_all(text.as_bytes()).expect("promtool reads all");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn every_metric_passes_the_linter_of_prometheus() {
    if std::env::var(SWITCH).is_ok_and(|value| value == "off") {
        println!("left out: {SWITCH}=off");
        return;
    }
    install();
    let metrics = Metrics::new();
    DriftGauges::new().publish(&metrics, &full_report(), 3);
    exercise(&metrics);
    let text = metrics.render();
    let source = include_str!("../../src/metrics.rs");
    let names = source.split(" = \"").skip(1).filter_map(|rest| rest.split('"').next());
    for name in names.filter(|name| name.starts_with("tidegate_")) {
        assert!(text.contains(&format!("# TYPE {name} ")), "no sample of {name} was linted");
    }
    let (accepted, said) = lint(&text);
    assert!(accepted, "promtool: {said}");
}

#[test]
fn the_linter_refuses_what_is_no_metric() {
    if std::env::var(SWITCH).is_ok_and(|value| value == "off") {
        println!("left out: {SWITCH}=off");
        return;
    }
    install();
    assert!(!lint("# TYPE things_total gauge\nthings_total 1\n").0);
}
