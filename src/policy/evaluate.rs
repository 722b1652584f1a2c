//! A closed window, all the way: measured, judged, decided. Pure; what runs live and what replays call this.

use super::PolicyConfig;
use super::action::{Action, Alert, Decision};
use super::canary::Expectations;
use super::state::RolloutState;
use super::step::{Evaluation, step};
use crate::event::EventTime;
use crate::judge::build_reports;
use crate::judge::dispersion::Dispersion;
use crate::judge::evidence::{Comparison, Evidence, Sampled, Terms, Weight};
use crate::judge::measure::measure;
use crate::judge::plan::MeasurePlan;
use crate::judge::report::Report;
use crate::judge::self_check::{SelfCheck, SelfCheckReport};
use crate::judge::streaks::Streaks;
use crate::judge::verdict::VerdictRules;
use crate::judge::weights::SetWeight;
use crate::judge::window::ModelWindow;
use serde::{Deserialize, Serialize};

/// What must survive from one window of a model to the next; a record of `tidegate.state`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelMemory {
    pub streaks: Streaks,
    pub rollout: RolloutState,
    /// The part of the evidence that is not of one series; those have records of their own.
    #[serde(default, with = "head")]
    pub evidence: Evidence,
    /// The always-on A/A test.
    #[serde(default)]
    pub self_check: SelfCheck,
    /// φ of every series; stored in records of its own.
    #[serde(skip)]
    pub dispersion: Dispersion,
}

/// Evidence is stored as its head here, and one record per series beside it.
mod head {
    use super::Evidence;
    use crate::judge::evidence::EvidenceHead;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(evidence: &Evidence, serializer: S) -> Result<S::Ok, S::Error> {
        evidence.head.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Evidence, D::Error> {
        EvidenceHead::deserialize(deserializer).map(Evidence::from_head)
    }
}

/// How a model's windows are judged.
#[derive(Debug, Clone)]
pub struct ModelRules {
    pub plan: MeasurePlan,
    pub verdicts: VerdictRules,
    pub policy: PolicyConfig,
    /// When they were read, by the wall clock.
    pub read_at: EventTime,
}

/// Everything a window led to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conclusion {
    pub reports: Vec<Report>,
    pub decision: Option<Decision>,
    pub reason: String,
    pub actions: Vec<Action>,
    pub alerts: Vec<Alert>,
    /// What the A/A test has come to, after a pane that it took in.
    pub self_check: Option<SelfCheckReport>,
}

/// What its owner tells of the canary's weight in a pane; where none was ever told, what is configured.
fn weight(rules: &ModelRules, window: &ModelWindow) -> Weight {
    match (window.set_weight, rules.policy.canary_weight) {
        (SetWeight::Known(share), _) => Weight::Told(share),
        (SetWeight::Unclear, _) => Weight::Unclear,
        (SetWeight::Untold, Some(share)) => Weight::Configured { share, read_at: rules.read_at },
        (SetWeight::Untold, None) => Weight::Unknown,
    }
}

/// Takes a pane into the rollout's evidence, and compares the arms by all of it.
fn look(rules: &ModelRules, window: &ModelWindow, memory: &mut ModelMemory) -> Option<Comparison> {
    let ModelMemory { evidence, dispersion, .. } = memory;
    let VerdictRules::Budget(budget) = &rules.verdicts else { return None };
    let (policy, plan) = (&rules.policy, &rules.plan);
    let terms = Terms {
        alpha: policy.alpha,
        tolerance: budget.tolerance,
        weight: weight(rules, window),
        sampled: Sampled { fractions: policy.sampling, read_at: rules.read_at },
    };
    if !evidence.add(plan, window, &terms, dispersion) {
        return None;
    }
    let (stable, canary) = (evidence.head.stable.clone(), evidence.head.canary.clone());
    let expected = Expectations::new(policy, [&stable, &canary], window.end);
    evidence.compare(plan, &terms, dispersion, &|series| expected.cover(series))
}

/// Of a window of one pane.
fn panes_per_day(pane: &ModelWindow) -> u32 {
    (86_400_000 / (pane.end.0 - pane.start.0).max(1)).max(1) as u32
}

/// Measures a window, gives its verdicts, and decides.
pub fn evaluate(rules: &ModelRules, window: &ModelWindow, memory: &mut ModelMemory) -> Conclusion {
    let measurements = measure(&rules.plan, window, &memory.dispersion);
    let watched = rules.plan.watched();
    let reports = build_reports(watched, window, &measurements, &rules.verdicts, &mut memory.streaks);
    let comparison = look(rules, window, memory);
    let self_check = memory.self_check.add(&rules.plan, window, &memory.dispersion);
    if matches!(rules.verdicts, VerdictRules::Budget(_)) {
        memory.dispersion.add(&rules.plan, window, panes_per_day(window));
    }
    let evaluation = Evaluation {
        watched,
        window,
        measurements: &measurements,
        reports: &reports,
        verdicts: &rules.verdicts,
        comparison: comparison.as_ref(),
        self_check,
    };
    let outcome = step(&rules.policy, &evaluation, &mut memory.rollout);
    Conclusion {
        reports,
        decision: outcome.decision,
        reason: outcome.reason,
        actions: outcome.actions,
        alerts: outcome.alerts,
        self_check,
    }
}
