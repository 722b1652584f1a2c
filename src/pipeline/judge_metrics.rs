//! What the judge stage shows of its work: metrics of what came in, gauges of what was committed.

use super::clock::now;
use super::judge_gauges::retire_unseen;
use super::judge_stage::{JudgeAssignment, lock};
use super::restore::Slot;
use crate::event::{EventTime, ModelId};
use crate::http::gauges::DriftGauges;
use crate::judge::report::Report;
use crate::judge::self_check::SelfCheckReport;
use crate::judge::{LabelNotes, Step};
use crate::metrics::Metrics;
use crate::policy::evaluate::Conclusion;

pub(super) fn note(assignment: &JudgeAssignment, slot: &Slot, step: &Step) {
    let (metrics, notes) = (&assignment.metrics, &step.notes);
    for incomplete in &notes.incomplete {
        let kind = format!("{:?}", incomplete.fit).to_lowercase();
        metrics.incomplete_flushes.with_label_values(&[&kind]).inc();
        tracing::warn!(
            topic = incomplete.source.topic,
            partition = incomplete.source.partition,
            kind,
            missing = ?incomplete.missing,
            "source offsets do not continue: reports are marked incomplete"
        );
    }
    metrics.duplicate_flushes.inc_by(notes.duplicate_flushes);
    metrics.late_events.with_label_values(&["revised"]).inc_by(notes.late_revised);
    metrics.late_events.with_label_values(&["late_dropped"]).inc_by(notes.late_dropped);
    metrics.foreign_deltas.inc_by(notes.foreign_deltas);
    note_labels(metrics, &notes.labels);
    if notes.closed_early > 0 {
        metrics.panes_closed_early.inc_by(notes.closed_early);
        tracing::warn!(panes = notes.closed_early, "open panes held too much: the oldest were closed early");
    }
    show_progress(metrics, slot, notes.watermark);
}

/// Once the watermark is known: after a restart it is what was stored.
pub(super) fn show_progress(metrics: &Metrics, slot: &Slot, watermark: Option<i64>) {
    let Some(watermark) = watermark else { return };
    for id in slot.ids() {
        metrics.watermark.with_label_values(&[&id.name, &id.namespace]).set(watermark as f64 / 1000.0);
    }
    for (id, weight) in slot.weights() {
        metrics.rollout_weight.with_label_values(&[&id.name, &id.namespace]).set(weight);
    }
}

fn note_labels(metrics: &Metrics, notes: &LabelNotes) {
    let LabelNotes { joined, unmatched, repeated, late, refused, .. } = *notes;
    let labels = [joined, unmatched, repeated, late, refused];
    for (outcome, count) in ["joined", "unmatched", "repeated", "late", "refused"].into_iter().zip(labels) {
        metrics.labels.with_label_values(&[outcome]).inc_by(count);
    }
    let answers = [notes.answers_repeated, notes.answers_late, notes.answers_refused];
    for (outcome, count) in ["repeated", "late", "refused"].into_iter().zip(answers) {
        metrics.answers_not_joined.with_label_values(&[outcome]).inc_by(count);
    }
    for (outcome, count) in [("matured", notes.panes), ("left_out", notes.panes_left_out)] {
        metrics.label_panes.with_label_values(&[outcome]).inc_by(count);
    }
    if notes.panes_left_out > 0 {
        tracing::warn!(
            panes = notes.panes_left_out,
            refused = notes.refused + notes.answers_refused,
            "not all answers and labels of these panes are known: they say nothing of accuracy"
        );
    }
}

fn show_self_check(assignment: &JudgeAssignment, report: &Report, check: &SelfCheckReport) {
    let (metrics, labels) = (&assignment.metrics, [report.model.as_str(), report.namespace.as_str()]);
    metrics.self_check.with_label_values(&labels).set(check.ratio);
    for (bound, value) in [("lower", check.lower), ("upper", check.upper)] {
        metrics.self_check_bound.with_label_values(&[labels[0], labels[1], bound]).set(value);
    }
}

/// Takes down what is of a model that went to another judge. What is not there is as good as removed.
pub(super) fn retire(metrics: &Metrics, id: &ModelId) {
    let labels = [id.name.as_str(), id.namespace.as_str()];
    let _ = metrics.watermark.remove_label_values(&labels);
    let _ = metrics.rollout_weight.remove_label_values(&labels);
    let _ = metrics.self_check.remove_label_values(&labels);
    for bound in ["lower", "upper"] {
        let _ = metrics.self_check_bound.remove_label_values(&[labels[0], labels[1], bound]);
    }
}

/// Gauges show only what was committed.
pub(super) fn publish(assignment: &JudgeAssignment, conclusions: &[Conclusion]) {
    let mut gauges = lock(&assignment.gauges);
    for conclusion in conclusions {
        for report in &conclusion.reports {
            gauges.publish(&assignment.metrics, report, assignment.settings.max_exported_series);
            if !report.complete {
                assignment.metrics.incomplete.with_label_values(&[&report.model]).inc();
            }
            if report.window.scale == 1 && report.revision == 0 {
                note_end(assignment, &mut gauges, report);
            }
        }
        if let (Some(check), Some(report)) = (&conclusion.self_check, conclusion.reports.first()) {
            show_self_check(assignment, report, check);
        }
        for action in &conclusion.actions {
            tracing::warn!(
                key = action.idempotency_key,
                reason = action.reason,
                "action asked of the rollout controller"
            );
        }
        for alert in &conclusion.alerts {
            tracing::warn!(id = alert.alert_id, reason = alert.reason, "alert");
        }
    }
}

/// Observes how old a fresh report is, and retires the gauges of versions that are seen no more.
fn note_end(assignment: &JudgeAssignment, gauges: &mut DriftGauges, report: &Report) {
    let Ok(end) = EventTime::parse_rfc3339(&report.window.end) else { return };
    let age = (now().0 - end.0).max(0) as f64 / 1000.0;
    let labels = [report.model.as_str(), report.namespace.as_str()];
    assignment.metrics.event_to_report.with_label_values(&labels).observe(age);
    let mut seen = lock(&assignment.seen);
    let id = ModelId { namespace: report.namespace.clone(), name: report.model.clone() };
    let versions = seen.entry(id.clone()).or_default();
    versions.insert(report.model_version.clone(), end);
    retire_unseen(assignment, gauges, &id, versions);
}
