//! The drift gauges a judge has not set itself: after a start or a rebalance it exports what the judge before it has
//! committed, until its own windows come. A quiet model keeps its gauges, and its alerts, through a restart.

use super::judge_stage::{JudgeAssignment, lock};
use super::restore::Slot;
use crate::baseline::WatchedModel;
use crate::event::{EventTime, ModelId};
use crate::http::board::Board;
use crate::http::gauges::DriftGauges;
use crate::judge::report::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the board is asked: by then the last commits of a partition's judge before may have reached it.
pub(super) const CATCH_UP_EVERY: Duration = Duration::from_secs(1);
/// Panes without an event after which a version's gauges are taken down: the longest window.
const RETIRE_AFTER_PANES: i64 = 64;

/// Exports the latest reports of the models whose partitions are restored, where the gauges show nothing later. The
/// board knows only what is committed; while it has not read all of it, what it knows may be long past.
pub(super) fn catch_up(assignment: &JudgeAssignment, board: &Board) {
    if !board.is_whole() {
        return;
    }
    let (slots, gauges, mut seen) =
        (lock(&assignment.slots), lock(&assignment.gauges), lock(&assignment.seen));
    for model in slots.values().flat_map(Slot::watched) {
        let reports = watched(model, board.latest(&model.id));
        if reports.is_empty() {
            continue;
        }
        let seen = seen.entry(model.id.clone()).or_default();
        note_versions(&reports, seen);
        retire_unseen(assignment, &gauges, &model.id, seen);
        for report in reports.iter().filter(|one| seen.contains_key(&one.model_version)) {
            if !gauges.shows(report) {
                gauges.publish(&assignment.metrics, report, assignment.settings.max_exported_series);
            }
        }
    }
}

/// Those of versions that are still watched.
fn watched(model: &WatchedModel, mut reports: Vec<Arc<Report>>) -> Vec<Arc<Report>> {
    reports.retain(|report| model.versions.iter().any(|one| one.version == report.model_version));
    reports
}

/// Notes when each version was seen last. Only a window of one pane tells: longer ones go on behind the last event.
fn note_versions(reports: &[Arc<Report>], seen: &mut BTreeMap<String, EventTime>) {
    for report in reports.iter().filter(|report| report.window.scale == 1) {
        if let Ok(end) = EventTime::parse_rfc3339(&report.window.end) {
            let last = seen.entry(report.model_version.clone()).or_insert(end);
            *last = end.max(*last);
        }
    }
}

/// Takes down the gauges of versions of a model that are seen no more, and forgets them.
pub(super) fn retire_unseen(
    assignment: &JudgeAssignment,
    gauges: &DriftGauges,
    id: &ModelId,
    seen: &mut BTreeMap<String, EventTime>,
) {
    for version in take_unseen(seen, assignment.settings.judge.pane_ms) {
        gauges.retire(&assignment.metrics, &id.namespace, &id.name, Some(&version));
    }
}

fn take_unseen(seen: &mut BTreeMap<String, EventTime>, pane_ms: i64) -> Vec<String> {
    let Some(newest) = seen.values().max() else { return Vec::new() };
    let oldest = EventTime(newest.0 - RETIRE_AFTER_PANES * pane_ms);
    let gone = seen.extract_if(.., |_, last| *last < oldest);
    gone.map(|(version, _)| version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::fixture;
    use crate::judge::report::{Verdict, Window};

    const PANE: i64 = 1_000;

    fn report(version: &str, end: i64, scale: u32) -> Arc<Report> {
        let time = |ms: i64| EventTime(ms).to_rfc3339();
        let window = Window { start: time(end - PANE), end: time(end), panes: 1, scale };
        Arc::new(Report {
            model: "fraud".to_owned(),
            namespace: "ml".to_owned(),
            model_version: version.to_owned(),
            role: None,
            window,
            revision: 0,
            baseline_age_seconds: None,
            events: 1,
            traffic_share: 1.0,
            series: Vec::new(),
            service: None,
            labels: Vec::new(),
            scores: Vec::new(),
            feature_drift_score: None,
            prediction_drift_score: None,
            threshold: 0.25,
            verdict: Verdict::Healthy,
            severity: None,
            reason: String::new(),
            complete: true,
        })
    }

    #[test]
    fn a_version_stands_for_64_panes_after_its_last_event() {
        let mut seen = BTreeMap::new();
        note_versions(
            &[report("v1", PANE, 1), report("v1", 60 * PANE, 64), report("v2", 65 * PANE, 1)],
            &mut seen,
        );
        assert_eq!(take_unseen(&mut seen, PANE), [""; 0]);
        note_versions(&[report("v1", PANE, 1), report("v2", 66 * PANE, 1)], &mut seen);
        assert_eq!(take_unseen(&mut seen, PANE), ["v1"]);
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["v2"]);
        // The board may know less than this judge has seen: that brings nothing back.
        note_versions(&[report("v1", PANE, 1), report("v2", 60 * PANE, 1)], &mut seen);
        assert_eq!(take_unseen(&mut seen, PANE), ["v1"]);
        assert!(take_unseen(&mut BTreeMap::new(), PANE).is_empty());
    }

    #[test]
    fn versions_that_are_no_longer_watched_do_not_come_back() {
        let model = fixture::watched(true);
        let kept =
            watched(&model, vec![report("v1", PANE, 1), report("gone", PANE, 1), report("v2", PANE, 4)]);
        let versions: Vec<&str> = kept.iter().map(|one| one.model_version.as_str()).collect();
        assert_eq!(versions, ["v1", "v2"]);
    }
}
