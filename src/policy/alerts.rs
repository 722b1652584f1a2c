//! What people are told, each once: drift of a version, a common move of both arms, missing source offsets.

use super::action::{Alert, Decision, Finding};
use super::blame::{Blame, finding};
use super::state::{Latch, RolloutState};
use super::step::Evaluation;
use crate::judge::measure::{ArmMeasurement, SeriesMeasurement};
use crate::judge::report::{Reference, Report, Verdict};
use crate::judge::verdict::Level;
use std::collections::BTreeMap;

/// Findings carried by one action or alert, at most; the farthest come first.
pub(super) const MAX_FINDINGS: usize = 10;

/// Raises `drift` where a version's report has just become drift. Over after `evaluations` healthy windows.
pub(super) fn drift(evaluation: &Evaluation<'_>, state: &mut RolloutState) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (report, arm) in evaluation.reports.iter().zip(evaluation.measurements) {
        let latches = state.drift.entry(report.model_version.clone()).or_default();
        if move_latch(latches, evaluation, calm_verdict(evaluation, report, arm)) {
            let of_report = |one: &SeriesMeasurement| {
                let excess = evaluation.verdicts.excess(one)?;
                let far = one.reference == Reference::Baseline && excess.level >= Level::Drift;
                far.then(|| (excess.weight, finding(one, &excess)))
            };
            let mut found: Vec<(f64, Finding)> = arm.series.iter().filter_map(of_report).collect();
            found.sort_by(|a, b| b.0.total_cmp(&a.0));
            let findings = found.into_iter().map(|(_, finding)| finding).take(MAX_FINDINGS).collect();
            let decision = state.last_decision.unwrap_or(Decision::Continue);
            alerts.push(alert(evaluation, report, "drift", findings, decision, report.reason.clone()));
        }
        if state.drift.get(&report.model_version).is_some_and(BTreeMap::is_empty) {
            state.drift.remove(&report.model_version);
        }
    }
    alerts
}

/// The report's verdict, but a window in which some series reaches a threshold for the first time does not
/// count as healthy: traffic that swings to and fro is one drift, not many.
fn calm_verdict(evaluation: &Evaluation<'_>, report: &Report, arm: &ArmMeasurement) -> Verdict {
    let beyond = |one: &SeriesMeasurement| {
        one.reference == Reference::Baseline
            && evaluation.verdicts.excess(one).is_some_and(|excess| excess.level > Level::Below)
    };
    match report.verdict {
        Verdict::Healthy if arm.series.iter().any(beyond) => Verdict::Warning,
        verdict => verdict,
    }
}

/// Raises `upstream_drift` when a common move of both arms is confirmed at a first scale.
pub(super) fn upstream(
    evaluation: &Evaluation<'_>,
    state: &mut RolloutState,
    blame: &Blame,
    confirmed: bool,
    canary: &Report,
) -> Option<Alert> {
    let quiet = state.upstream.is_empty();
    let verdict = match blame.finding {
        Decision::Hold if blame.both_moved && confirmed => Verdict::Drift,
        Decision::Continue => Verdict::Healthy,
        Decision::Inconclusive => Verdict::Inconclusive,
        _ => Verdict::Warning,
    };
    let raised = move_latch(&mut state.upstream, evaluation, verdict) && quiet;
    raised.then(|| {
        let findings = blame.findings.iter().take(MAX_FINDINGS).cloned().collect();
        alert(evaluation, canary, "upstream_drift", findings, Decision::Hold, blame.reason.clone())
    })
}

/// Raises `incomplete` when a window lacks source offsets while no scale's last one did.
pub(super) fn incomplete(evaluation: &Evaluation<'_>, state: &mut RolloutState) -> Option<Alert> {
    let scale = evaluation.window.scale;
    let Some(report) = evaluation.reports.iter().find(|report| !report.complete) else {
        state.incomplete.remove(&scale);
        return None;
    };
    let quiet = state.incomplete.is_empty();
    state.incomplete.insert(scale);
    let decision = state.last_decision.unwrap_or(Decision::Inconclusive);
    let reason = format!("Source offsets are missing from the window that ends at {}.", report.window.end);
    quiet.then(|| alert(evaluation, report, "incomplete", Vec::new(), decision, reason))
}

/// Warns when the A/A test begins to reject stable's own traffic more often than it may.
pub(super) fn self_check(evaluation: &Evaluation<'_>, state: &RolloutState) -> Option<Alert> {
    let check = evaluation.self_check.filter(|check| check.warning)?;
    let report = evaluation.reports.first()?;
    let decision = state.last_decision.unwrap_or(Decision::Continue);
    let reason = format!(
        "Stable's own traffic, split in halves by unit, is rejected in {:.1} % of {} tests at 1 % (95 % interval from \
         {:.1} %): verdicts of this model are less certain than they say. Its events depend on each other in a way \
         that `unit` does not tell.",
        check.ratio * 100.0,
        check.tests,
        check.lower * 100.0
    );
    Some(alert(evaluation, report, "self_check", Vec::new(), decision, reason))
}

/// Follows one scale; true when the alert is to be raised.
fn move_latch(latches: &mut BTreeMap<u32, Latch>, evaluation: &Evaluation<'_>, verdict: Verdict) -> bool {
    let scale = evaluation.window.scale;
    match (verdict, latches.get_mut(&scale)) {
        (Verdict::Drift, None) => {
            latches.insert(scale, Latch::default());
            return true;
        }
        (Verdict::Drift | Verdict::Warning, Some(latch)) => latch.healthy = 0,
        (Verdict::Healthy, Some(latch)) => {
            latch.healthy = latch.healthy.saturating_add(1);
            if latch.healthy >= evaluation.verdicts.evaluations() {
                latches.remove(&scale);
            }
        }
        (Verdict::Inconclusive, _) | (_, None) => {}
    }
    false
}

fn alert(
    evaluation: &Evaluation<'_>,
    report: &Report,
    kind: &str,
    findings: Vec<Finding>,
    decision: Decision,
    reason: String,
) -> Alert {
    let (id, scale, end) = (&evaluation.watched.id, evaluation.window.scale, &report.window.end);
    let version = &report.model_version;
    Alert {
        alert_id: format!("{id}/{version}/{kind}/{scale}/{end}"),
        kind: kind.to_owned(),
        namespace: report.namespace.clone(),
        model: report.model.clone(),
        model_version: version.clone(),
        topic: None,
        window_start: report.window.start.clone(),
        window_end: end.clone(),
        findings,
        decision,
        reason,
    }
}
