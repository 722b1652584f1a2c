//! A closed window, all the way: measured, judged, decided. Pure; what runs live and what replays call this.

use super::PolicyConfig;
use super::action::{Action, Alert, Decision};
use super::state::RolloutState;
use super::step::{Evaluation, step};
use crate::judge::build_reports;
use crate::judge::measure::measure;
use crate::judge::plan::MeasurePlan;
use crate::judge::report::Report;
use crate::judge::streaks::Streaks;
use crate::judge::verdict::Thresholds;
use crate::judge::window::ModelWindow;
use serde::{Deserialize, Serialize};

/// What must survive from one window of a model to the next; a record of `tidegate.state`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelMemory {
    pub streaks: Streaks,
    pub rollout: RolloutState,
}

/// How a model's windows are judged.
#[derive(Debug, Clone)]
pub struct ModelRules {
    pub plan: MeasurePlan,
    pub thresholds: Thresholds,
    pub policy: PolicyConfig,
}

/// Everything a window led to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conclusion {
    pub reports: Vec<Report>,
    pub decision: Option<Decision>,
    pub reason: String,
    pub actions: Vec<Action>,
    pub alerts: Vec<Alert>,
}

/// Measures a window, gives its verdicts, and decides.
pub fn evaluate(rules: &ModelRules, window: &ModelWindow, memory: &mut ModelMemory) -> Conclusion {
    let measurements = measure(&rules.plan, window);
    let watched = rules.plan.watched();
    let reports = build_reports(watched, window, &measurements, &rules.thresholds, &mut memory.streaks);
    let evaluation = Evaluation {
        watched,
        window,
        measurements: &measurements,
        reports: &reports,
        thresholds: &rules.thresholds,
    };
    let outcome = step(&rules.policy, &evaluation, &mut memory.rollout);
    Conclusion {
        reports,
        decision: outcome.decision,
        reason: outcome.reason,
        actions: outcome.actions,
        alerts: outcome.alerts,
    }
}
