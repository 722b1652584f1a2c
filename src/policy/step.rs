//! One closed window → a decision, and what is sent because of it.

use super::PolicyConfig;
use super::action::{Action, Alert, Decision, RolloutRef};
use super::alerts::{self, MAX_FINDINGS};
use super::blame::{self, Blame, Rollout};
use super::canary::{self, Expectations};
use super::state::{RolloutState, ScaleState};
use crate::baseline::WatchedModel;
use crate::judge::arms;
use crate::judge::evidence::Comparison;
use crate::judge::measure::ArmMeasurement;
use crate::judge::report::Report;
use crate::judge::self_check::SelfCheckReport;
use crate::judge::verdict::VerdictRules;
use crate::judge::window::ModelWindow;

/// A closed window with everything that was said of it. `reports` are those of `measurements`, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    pub watched: &'a WatchedModel,
    pub window: &'a ModelWindow,
    pub measurements: &'a [ArmMeasurement],
    pub reports: &'a [Report],
    pub verdicts: &'a VerdictRules,
    /// With a budget, for a pane that became evidence: the arms as far as they have been seen.
    pub comparison: Option<&'a Comparison>,
    /// What the A/A test has come to, after a pane that it took in.
    pub self_check: Option<SelfCheckReport>,
}

/// What follows from a window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyOutcome {
    /// The decision at this window's scale. `None` where there is nothing to decide: no rollout in the window,
    /// a revised window, or one that lacks source offsets.
    pub decision: Option<Decision>,
    /// One sentence.
    pub reason: String,
    pub actions: Vec<Action>,
    pub alerts: Vec<Alert>,
}

/// Takes one window into account.
///
/// The same finding in `evaluations` conclusive windows in a row at one scale becomes the decision; the first
/// scale to get there acts. Each kind of action is asked for once per canary version, and nothing after a
/// rollback.
pub fn step(config: &PolicyConfig, evaluation: &Evaluation<'_>, state: &mut RolloutState) -> PolicyOutcome {
    if evaluation.window.revised {
        return undecided("A revised window decides nothing.");
    }
    let mut outcome = decide(config, evaluation, state);
    outcome.alerts.extend(alerts::incomplete(evaluation, state));
    outcome.alerts.extend(alerts::drift(evaluation, state));
    outcome.alerts.extend(alerts::self_check(evaluation, state));
    outcome
}

fn undecided(reason: &str) -> PolicyOutcome {
    PolicyOutcome { reason: reason.to_owned(), ..PolicyOutcome::default() }
}

fn decide(config: &PolicyConfig, evaluation: &Evaluation<'_>, state: &mut RolloutState) -> PolicyOutcome {
    if evaluation.measurements.iter().any(|arm| !arm.complete) {
        return undecided("Source offsets are missing from this window: it decides nothing.");
    }
    if let Some(conflict) = arms::resolve(evaluation.watched, evaluation.window).conflict {
        return inconclusive(state, format!("{}.", conflict.reason));
    }
    let Some(rollout) = Rollout::find(evaluation.measurements) else {
        return undecided("No rollout: this window does not hold both a stable and a canary arm.");
    };
    let version = |arm: &ArmMeasurement| {
        let watched = evaluation.watched.versions.get(arm.version.version as usize);
        watched.map_or(String::new(), |version| version.version.clone())
    };
    let canary = version(rollout.canary);
    state.turn_to(&canary);
    if state.was_sent(&canary, Decision::Rollback) {
        let reason = state.sent.get(&canary).map_or(String::new(), |sent| sent.reason.clone());
        state.last_decision = Some(Decision::Rollback);
        state.last_reason.clone_from(&reason);
        return PolicyOutcome { decision: Some(Decision::Rollback), reason, ..PolicyOutcome::default() };
    }
    let blame = lay(config, evaluation, rollout, [&version(rollout.stable), &canary]);
    let target = RolloutRef {
        namespace: evaluation.watched.id.namespace.clone(),
        model: evaluation.watched.id.name.clone(),
        stable: version(rollout.stable),
        canary: canary.clone(),
        revision: canary,
    };
    follow(config, evaluation, state, rollout, blame, target)
}

/// What a window says: by itself (plain thresholds), or as the newest part of the rollout's evidence.
fn lay(
    config: &PolicyConfig,
    evaluation: &Evaluation<'_>,
    rollout: Rollout<'_>,
    versions: [&str; 2],
) -> Blame {
    let (verdicts, watched) = (evaluation.verdicts, evaluation.watched);
    match (verdicts, evaluation.comparison) {
        (VerdictRules::Thresholds(_), _) => blame::lay(config, verdicts, watched, rollout),
        (VerdictRules::Budget(_), None) => blame::against_baseline(verdicts, rollout),
        (VerdictRules::Budget(_), Some(comparison)) => {
            let expected = Expectations::new(config, versions, evaluation.window.end);
            canary::lay(config, verdicts, watched, rollout, comparison, &expected)
        }
    }
}

fn inconclusive(state: &mut RolloutState, reason: String) -> PolicyOutcome {
    if state.last_decision.is_none() {
        state.last_decision = Some(Decision::Inconclusive);
    }
    if state.last_decision == Some(Decision::Inconclusive) {
        state.last_reason.clone_from(&reason);
    }
    PolicyOutcome { decision: Some(Decision::Inconclusive), reason, ..PolicyOutcome::default() }
}

/// Adds one window's finding to its scale, and acts when it has been there long enough.
fn follow(
    config: &PolicyConfig,
    evaluation: &Evaluation<'_>,
    state: &mut RolloutState,
    rollout: Rollout<'_>,
    mut blame: Blame,
    target: RolloutRef,
) -> PolicyOutcome {
    if blame.finding == Decision::Inconclusive {
        return inconclusive(state, blame.reason);
    }
    let scale = evaluation.window.scale;
    let wanted = evaluation.verdicts.windows_to_act().max(1);
    let elsewhere = |(other, one): (&u32, &ScaleState)| *other != scale && one.inputs_differ;
    if blame.finding == Decision::Rollback && state.scales.iter().any(elsewhere) {
        // A longer window mixes in traffic from before a pipeline broke and can hide how far inputs are apart.
        blame.finding = Decision::Pause;
        blame.reason = format!("{} At another scale the arms' inputs differ.", blame.reason);
    }
    let entry = state.scales.entry(scale).or_default();
    entry.observe(&blame);
    let confirmed = entry.confirmed(wanted);
    if let Some(decision) = confirmed {
        entry.decided = Some((decision, blame.reason.clone()));
    }
    let standing = entry.decided.as_ref().map_or(Decision::Continue, |(decision, _)| *decision);
    let mut reason = blame.reason.clone();
    if confirmed.is_none() {
        reason = format!("{reason} ({} of {wanted} windows in a row.)", entry.count);
    }
    state.settle();
    let context = Context { config, evaluation, rollout, blame: &blame, target: &target, wanted };
    let actions: Vec<Action> =
        confirmed.and_then(|decision| context.act(decision, state)).into_iter().collect();
    let report = evaluation.reports.iter().find(|report| report.model_version == target.canary);
    let alerts = report.and_then(|report| {
        alerts::upstream(evaluation, state, &blame, confirmed == Some(Decision::Hold), report)
    });
    PolicyOutcome { decision: Some(standing), reason, actions, alerts: alerts.into_iter().collect() }
}

impl ScaleState {
    fn observe(&mut self, blame: &Blame) {
        self.count = if self.finding == Some(blame.finding) { self.count.saturating_add(1) } else { 1 };
        self.finding = Some(blame.finding);
        let trouble = matches!(blame.finding, Decision::Pause | Decision::Rollback);
        self.trouble = if trouble { self.trouble.saturating_add(1) } else { 0 };
        let healthy = blame.finding == Decision::Continue;
        self.healthy = if healthy { self.healthy.saturating_add(1) } else { 0 };
        self.inputs_differ = blame.inputs_differ;
    }

    /// The decision after `wanted` windows with one finding. Windows that go back and forth between pause and
    /// rollback pause after one more.
    fn confirmed(&self, wanted: u32) -> Option<Decision> {
        if self.count >= wanted {
            return self.finding;
        }
        (self.trouble > wanted).then_some(Decision::Pause)
    }
}

struct Context<'a> {
    config: &'a PolicyConfig,
    evaluation: &'a Evaluation<'a>,
    rollout: Rollout<'a>,
    blame: &'a Blame,
    target: &'a RolloutRef,
    wanted: u32,
}

impl Context<'_> {
    /// The action for a confirmed decision, unless it was asked for before.
    fn act(&self, decision: Decision, state: &mut RolloutState) -> Option<Action> {
        let scale = self.evaluation.window.scale;
        let kind = match decision {
            Decision::Pause | Decision::Rollback => decision,
            Decision::Continue if self.recovered(state) => Decision::Resume,
            _ => return None,
        };
        if state.was_sent(&self.target.revision, kind) {
            return None;
        }
        let sent = state.sent.entry(self.target.revision.clone()).or_default();
        sent.kinds.insert(kind);
        let reason = match kind {
            Decision::Resume => {
                format!("Recovered: {} healthy windows in a row since the pause.", self.wanted)
            }
            _ => self.blame.reason.clone(),
        };
        match kind {
            Decision::Pause => {
                sent.paused_at = Some(scale);
                state.scales.values_mut().for_each(|entry| entry.healthy = 0);
            }
            Decision::Rollback => sent.reason.clone_from(&reason),
            _ => {}
        }
        Some(self.action(kind, reason))
    }

    /// Whether a sent pause has been followed by enough healthy windows of its scale or a longer one.
    fn recovered(&self, state: &RolloutState) -> bool {
        let scale = self.evaluation.window.scale;
        let paused_at = state.sent.get(&self.target.revision).and_then(|sent| sent.paused_at);
        let healthy = state.scales.get(&scale).map_or(0, |entry| entry.healthy);
        self.config.resume && paused_at.is_some_and(|paused| scale >= paused) && healthy >= self.wanted
    }

    fn action(&self, kind: Decision, reason: String) -> Action {
        let target = self.target;
        Action {
            idempotency_key: format!(
                "{}/{}/{}/{}",
                target.namespace,
                target.model,
                target.revision,
                kind.as_str()
            ),
            action: kind,
            rollout: target.clone(),
            window_start: self.evaluation.window.start.to_rfc3339(),
            window_end: self.evaluation.window.end.to_rfc3339(),
            events: self.rollout.stable.events + self.rollout.canary.events,
            findings: self.blame.findings.iter().take(MAX_FINDINGS).cloned().collect(),
            reason,
        }
    }
}
