//! The bounds of the board, and the life of the gauges.

use super::board::Board;
use super::gauges::DriftGauges;
use super::tests::{action, id, outcome, report, series};
use crate::event::{EventTime, Role};
use crate::judge::report::{
    AucReport, BrierReport, LabelReport, LatencyReport, MeasuredOf, QuantileReport, RatioReport, Report,
    ScoreReport, ServiceReport, Verdict,
};
use crate::metrics::Metrics;

#[test]
fn the_board_keeps_the_newest_64_reports_of_a_key() {
    let board = Board::new();
    for minute in (1..=70).rev() {
        board.apply_report(report("v1", minute));
    }
    let kept = board.reports(&id("default", "fraud"), None, None, 1000);
    assert_eq!((kept.len(), board.counts()), (64, (64, 0)));
    assert_eq!(kept[63].window.end, EventTime(7 * 60_000).to_rfc3339());
}

#[test]
fn a_revision_replaces_what_it_revises_and_an_older_one_does_not() {
    let board = Board::new();
    for (revision, events) in [(0, 10), (2, 12), (1, 11), (2, 13)] {
        board.apply_report(Report { revision, events, ..report("v1", 1) });
    }
    let kept = board.reports(&id("default", "fraud"), None, None, 10);
    assert_eq!((kept.len(), kept[0].revision, kept[0].events), (1, 2, 13));
}

#[test]
fn the_board_drops_the_oldest_key_at_its_bound() {
    let board = Board::new();
    for minute in 1..=10_001 {
        board.apply_report(Report { series: Vec::new(), ..report(&format!("v{minute}"), minute) });
    }
    assert_eq!(board.counts(), (10_000, 1));
    let of = |version| board.reports(&id("default", "fraud"), Some(version), None, 1).len();
    assert_eq!((of("v1"), of("v2"), of("v10001")), (0, 1, 1));
}

#[test]
fn the_board_drops_the_oldest_windows_when_its_reports_hold_too_much() {
    let board = Board::new();
    let wide: Vec<_> = std::iter::repeat_n(series("amount", MeasuredOf::Feature), 1_000).collect();
    for minute in 1..=600 {
        let version = format!("v{}", minute % 20);
        board.apply_report(Report { series: wide.clone(), ..report(&version, minute) });
    }
    let (held, evicted) = board.counts();
    assert_eq!(held as u64 + evicted, 600);
    assert!((100..600).contains(&held), "{held} reports of 1,000 series");
    let kept = board.reports(&id("default", "fraud"), None, None, 1_000);
    assert_eq!(kept[0].window.end, EventTime(600 * 60_000).to_rfc3339());
    let oldest = EventTime((600 - held as i64 + 1) * 60_000).to_rfc3339();
    assert_eq!(kept[held - 1].window.end, oldest, "the newest stay");
}

#[test]
fn the_board_keeps_the_latest_50_actions_of_a_model_with_their_outcomes() {
    let board = Board::new();
    for canary in 0..60 {
        let action = action(&format!("v{canary}"));
        board.apply_outcome(outcome(&action));
        board.apply_action(action.clone());
        board.apply_action(action); // read again after a restart
    }
    let view = board.model(&id("default", "fraud"));
    assert_eq!((view.actions.len(), view.actions[0].action.rollout.canary.as_str()), (50, "v59"));
    assert!(view.actions.iter().all(|action| action.outcomes.len() == 1));
}

/// The samples of the drift gauges, without comments and the build's line.
fn samples(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render();
    let of_gauges = |line: &&str| line.contains("model_version=");
    text.lines().filter(of_gauges).map(str::to_owned).collect()
}

fn count(metrics: &Metrics, part: &str) -> usize {
    samples(metrics).iter().filter(|line| line.contains(part)).count()
}

#[test]
fn exactly_one_state_is_1() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    for verdict in Verdict::ALL {
        gauges.publish(&metrics, &Report { verdict, ..report("v1", 1) }, 100);
        let states: Vec<String> = samples(&metrics);
        let states: Vec<&String> =
            states.iter().filter(|line| line.starts_with("tidegate_drift_state{")).collect();
        assert_eq!(states.len(), 4);
        let on: Vec<_> = states.iter().filter(|line| line.ends_with(" 1")).collect();
        assert_eq!(on.len(), 1);
        assert!(on[0].contains(&format!("state=\"{}\"", verdict.as_str())), "{on:?}");
    }
}

#[test]
fn what_a_report_no_longer_measures_disappears() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    gauges.publish(&metrics, &report("v1", 1), 100);
    assert!(count(&metrics, "feature=\"amount\"") > 0 && count(&metrics, "output=\"score\"") > 0);
    let mut next = report("v1", 2);
    next.series.remove(0);
    next.series[0].psi = None;
    next.feature_drift_score = None;
    gauges.publish(&metrics, &next, 100);
    for gone in ["feature=\"amount\"", "tidegate_prediction_psi", "tidegate_feature_drift_score"] {
        assert_eq!(count(&metrics, gone), 0, "{gone}");
    }
    assert_eq!(count(&metrics, "tidegate_prediction_ks_statistic"), 1);
}

#[test]
fn a_version_that_changes_its_role_leaves_no_gauge_of_the_old_one() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    gauges.publish(&metrics, &Report { role: Some(Role::Canary), ..report("v2", 1) }, 100);
    gauges.publish(&metrics, &report("v2", 2), 100);
    assert_eq!(count(&metrics, "role=\"canary\""), 0);
    assert!(count(&metrics, "role=\"stable\"") > 0);
}

#[test]
fn the_bound_leaves_out_series_and_says_how_many() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    let mut wide = report("v1", 1);
    wide.series = (0..10).map(|nr| series(&format!("f{nr}"), MeasuredOf::Feature)).collect();
    wide.series.push(series("quality of a record", MeasuredOf::Quality));
    gauges.publish(&metrics, &wide, 3);
    assert_eq!(count(&metrics, "tidegate_feature_psi{"), 3);
    assert_eq!(count(&metrics, "quality of a record"), 0);
    let left_out =
        samples(&metrics).into_iter().find(|line| line.starts_with("tidegate_series_not_exported{"));
    assert!(left_out.is_some_and(|line| line.ends_with(" 7")));
    gauges.publish(&metrics, &wide, 10);
    assert_eq!(count(&metrics, "tidegate_feature_psi{"), 10);
    assert_eq!(count(&metrics, "tidegate_series_not_exported{"), 0);
}

#[test]
fn retired_models_and_versions_leave_no_gauge() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    let publish = |version: &str| gauges.publish(&metrics, &report(version, 1), 100);
    publish("v1");
    publish("v2");
    gauges.retire(&metrics, "default", "fraud", Some("v1"));
    assert_eq!(count(&metrics, "model_version=\"v1\""), 0);
    assert!(count(&metrics, "model_version=\"v2\"") > 0);
    gauges.retire(&metrics, "other", "fraud", None);
    assert!(count(&metrics, "model_version=\"v2\"") > 0);
    gauges.retire(&metrics, "default", "fraud", None);
    assert_eq!(samples(&metrics), [""; 0]);
    publish("v1");
    gauges.keep_only(&metrics, &[&id("default", "fraud")]);
    assert!(count(&metrics, "model_version=\"v1\"") > 0);
    gauges.keep_only(&metrics, &[]);
    assert_eq!(samples(&metrics), [""; 0]);
}

#[test]
fn an_earlier_window_changes_no_gauge_and_a_later_revision_does() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    let publish = |report: &Report| gauges.publish(&metrics, report, 100);
    let events = || {
        let found = samples(&metrics).into_iter().find(|line| line.starts_with("tidegate_window_samples{"));
        found.and_then(|line| line.rsplit(' ').next().map(str::to_owned)).expect("exported")
    };
    assert!(!gauges.shows(&report("v1", 2)));
    publish(&report("v1", 2));
    assert!(gauges.shows(&report("v1", 2)) && gauges.shows(&report("v1", 1)));
    publish(&Report { events: 1, revision: 3, ..report("v1", 1) });
    assert_eq!(events(), "1000", "late events of an earlier window");
    let revised = Report { events: 2, revision: 1, ..report("v1", 2) };
    assert!(!gauges.shows(&revised) && !gauges.shows(&report("v1", 3)) && !gauges.shows(&report("v2", 2)));
    publish(&revised);
    publish(&report("v1", 2));
    assert_eq!(events(), "2");
    gauges.retire(&metrics, "default", "fraud", None);
    assert!(!gauges.shows(&report("v1", 1)), "what is gone may come again");
}

#[test]
fn the_latest_of_each_version_and_scale_are_a_models_own() {
    let board = Board::new();
    for (version, minute, scale) in [("v1", 1, 1), ("v1", 3, 1), ("v1", 2, 4), ("v2", 2, 1)] {
        let mut report = report(version, minute);
        report.window.scale = scale;
        board.apply_report(report);
    }
    for (namespace, model) in [("default", "fraud2"), ("default", "a"), ("other", "fraud")] {
        let (namespace, model) = (namespace.to_owned(), model.to_owned());
        board.apply_report(Report { namespace, model, ..report("v1", 9) });
    }
    let end = |minute: i64| EventTime(minute * 60_000).to_rfc3339();
    let found = board.latest(&id("default", "fraud"));
    let found: Vec<_> =
        found.iter().map(|one| (&*one.model_version, one.window.scale, one.window.end.clone())).collect();
    assert_eq!(found, [("v1", 1, end(3)), ("v1", 4, end(2)), ("v2", 1, end(2))]);
    assert!(board.latest(&id("default", "nobody")).is_empty());
}

#[test]
fn error_ratio_and_latency_are_shown_while_a_report_has_them() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    let quantile = |level, seconds| QuantileReport { level, seconds, lower: None, upper: None };
    let latency =
        LatencyReport { n: 9, unusable: 0, quantiles: vec![quantile(0.5, 0.02), quantile(0.99, 1.5)] };
    let service = ServiceReport {
        answers: 100,
        errors: 4,
        error_ratio: Some(RatioReport { value: 0.04, lower: 0.01, upper: 0.1 }),
        latency: Some(latency),
    };
    let shown = |minute: i64, service: Option<ServiceReport>| {
        gauges.publish(&metrics, &Report { service, ..report("v1", minute) }, 100);
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with("tidegate_request_"));
        lines
            .map(|line| (line.contains(r#"percentile="99""#), line.rsplit(' ').next().map(str::to_owned)))
            .collect()
    };
    let expected = |values: &[(bool, &str)]| -> Vec<(bool, Option<String>)> {
        values.iter().map(|(last, value)| (*last, Some((*value).to_owned()))).collect()
    };
    let all: Vec<_> = shown(1, Some(service.clone()));
    assert_eq!(all, expected(&[(false, "0.04"), (false, "0.02"), (true, "1.5")]));
    let errors: Vec<_> = shown(2, Some(ServiceReport { latency: None, ..service }));
    assert_eq!(errors, expected(&[(false, "0.04")]));
    assert_eq!(shown(3, None), expected(&[]));
}

#[test]
fn accuracy_and_coverage_are_shown_while_a_report_has_labels() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    let output = LabelReport {
        output: "class".to_owned(),
        start: None,
        end: None,
        answers: 200,
        labelled: 50,
        unusable: 0,
        accuracy: Some(RatioReport { value: 0.9, lower: 0.8, upper: 0.95 }),
        accuracy_difference: None,
        macro_f1: Some(0.9),
        classes: Vec::new(),
    };
    let shown = |minute: i64, labels: Vec<LabelReport>, max_series: usize| -> Vec<String> {
        gauges.publish(&metrics, &Report { labels, ..report("v1", minute) }, max_series);
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with("tidegate_model_"));
        lines.filter_map(|line| line.rsplit(' ').next().map(str::to_owned)).collect()
    };
    let bare = LabelReport {
        labelled: 0,
        accuracy: None,
        macro_f1: None,
        output: "other".to_owned(),
        ..output.clone()
    };
    assert_eq!(shown(1, vec![output.clone()], 100), ["0.9", "0.25"]);
    assert_eq!(shown(2, vec![output.clone(), bare.clone()], 1), ["0.9", "0.25"]);
    assert_eq!(shown(3, vec![bare], 100), ["0"]);
    assert_eq!(shown(4, Vec::new(), 100), [""; 0]);
}

#[test]
fn auc_brier_score_and_coverage_are_shown_while_a_report_has_labelled_scores() {
    let (metrics, gauges) = (Metrics::new(), DriftGauges::new());
    let output = ScoreReport {
        output: "score".to_owned(),
        start: None,
        end: None,
        answers: 200,
        labelled: 50,
        positives: 10,
        unusable: 0,
        auc: Some(AucReport { value: 0.75, lower: None, upper: None, bracket: None }),
        auc_difference: None,
        brier: Some(BrierReport { value: 0.125, lower: None, upper: None }),
        brier_difference: None,
    };
    let shown = |minute: i64, scores: Vec<ScoreReport>| -> Vec<String> {
        gauges.publish(&metrics, &Report { scores, ..report("v1", minute) }, 1);
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with("tidegate_model_"));
        lines.filter_map(value_by_name).collect()
    };
    let without = ScoreReport { brier: None, ..output.clone() };
    let all = ["auc 0.75", "brier 0.125", "labelled 0.25"];
    assert_eq!(
        shown(1, vec![output.clone(), ScoreReport { output: "more".to_owned(), ..output.clone() }]),
        all
    );
    assert_eq!(shown(2, vec![without]), ["auc 0.75", "labelled 0.25"]);
    assert_eq!(shown(3, Vec::new()), [""; 0]);
}

/// `auc 0.75` of a line of `tidegate_model_auc_ratio`.
fn value_by_name(line: &str) -> Option<String> {
    let name = line.strip_prefix("tidegate_model_")?.split("_ratio").next()?;
    Some(format!("{name} {}", line.rsplit(' ').next()?))
}
