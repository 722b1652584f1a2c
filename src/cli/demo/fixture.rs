//! Records for the demo's tests.

use crate::event::{Role, SeriesKind};
use crate::judge::report::{
    KsReport, MeasuredOf, PsiReport, Reference, Report, SeriesReport, Verdict, Window,
};
use crate::policy::action::{Action, ActionOutcome, Alert, Decision, Finding, RolloutRef};

const START: &str = "2026-11-23T10:00:12.000Z";
const END: &str = "2026-11-23T10:00:13.000Z";

pub(super) fn report(verdict: Verdict) -> Box<Report> {
    Box::new(Report {
        model: "fraud".to_owned(),
        namespace: "demo".to_owned(),
        model_version: "v2".to_owned(),
        role: Some(Role::Canary),
        window: Window { start: START.to_owned(), end: END.to_owned(), panes: 1, scale: 1 },
        revision: 0,
        baseline_age_seconds: Some(86_400.0),
        events: 203,
        traffic_share: 0.1,
        series: vec![series("amount", Verdict::Healthy, 0.9), series("score", verdict, 0.612)],
        service: None,
        labels: Vec::new(),
        scores: Vec::new(),
        feature_drift_score: Some(0.9),
        prediction_drift_score: Some(1.42),
        threshold: 0.25,
        verdict,
        severity: None,
        reason: "score moved".to_owned(),
        complete: true,
    })
}

fn series(name: &str, verdict: Verdict, ks: f64) -> SeriesReport {
    SeriesReport {
        name: name.to_owned(),
        of: MeasuredOf::Prediction,
        kind: SeriesKind::Numeric,
        reference: Reference::Baseline,
        n: 203,
        m: 40_000,
        missing: 0,
        type_errors: 0,
        unseen: 0,
        out_of_range: 0,
        missing_ratio: None,
        unseen_ratio: None,
        out_of_range_ratio: None,
        ks: Some(KsReport { statistic: ks, upper: ks, p_value: 0.0 }),
        psi: Some(PsiReport { value: 1.42, p_value: 0.0, corrected: 0.0 }),
        js: None,
        hellinger: None,
        total_variation: None,
        wasserstein: None,
        quantiles: None,
        mean: None,
        verdict,
        effect: None,
        severity: None,
    }
}

fn finding() -> Finding {
    Finding {
        kind: "prediction".to_owned(),
        name: "score".to_owned(),
        metric: "pit_d".to_owned(),
        reference: "stable".to_owned(),
        value: 0.6123,
        threshold: 0.2,
    }
}

pub(super) fn action(decision: Decision) -> Action {
    let text = |text: &str| text.to_owned();
    Action {
        idempotency_key: format!("demo/fraud/v2/{}", decision.as_str()),
        action: decision,
        rollout: RolloutRef {
            namespace: text("demo"),
            model: text("fraud"),
            stable: text("v1"),
            canary: text("v2"),
            revision: text("v2"),
        },
        window_start: text(START),
        window_end: text(END),
        events: 203,
        findings: vec![finding()],
        reason: text("Only the canary's answers changed."),
    }
}

pub(super) fn alert(kind: &str, decision: Decision) -> Alert {
    Alert {
        alert_id: format!("demo/fraud/v2/{kind}/1/{END}"),
        kind: kind.to_owned(),
        namespace: "demo".to_owned(),
        model: "fraud".to_owned(),
        model_version: "v2".to_owned(),
        topic: None,
        window_start: START.to_owned(),
        window_end: END.to_owned(),
        findings: Vec::new(),
        decision,
        reason: "Both arms moved.".to_owned(),
    }
}

pub(super) fn outcome(decision: Decision, outcome: &str) -> ActionOutcome {
    ActionOutcome {
        idempotency_key: format!("demo/fraud/v2/{}", decision.as_str()),
        sink: "controller".to_owned(),
        outcome: outcome.to_owned(),
        attempts: 1,
        status: Some(204),
        at: END.to_owned(),
    }
}
