//! `mode = "budget"`: pane after pane of a rollout, to its decisions.

use super::action::Decision;
use super::evaluate::{Conclusion, ModelMemory, ModelRules, evaluate};
use super::{Change, ExpectedChange, PolicyConfig};
use crate::event::EventTime;
use crate::judge::fixture::{HEALTHY, Traffic, watched, window};
use crate::judge::plan::MeasurePlan;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use crate::judge::weights::SetWeight;
use crate::judge::window::ModelWindow;
use crate::stats::sequential::srm::Sampling;

const STABLE: Traffic = Traffic { events: 1_800, ..HEALTHY };
const CANARY: Traffic = Traffic { events: 200, ..HEALTHY };

struct Run {
    rules: ModelRules,
    memory: ModelMemory,
    number: i64,
}

impl Run {
    fn new(canary_predictions: bool, policy: PolicyConfig) -> Run {
        let plan = MeasurePlan::new(&watched(canary_predictions));
        let budget = Budget::new(&BudgetConfig::default(), &plan, 60_000);
        let verdicts = VerdictRules::Budget(budget);
        let rules = ModelRules { plan, verdicts, policy, read_at: EventTime(0) };
        let mut run = Run { rules, memory: ModelMemory::default(), number: -10 };
        for _ in 0..10 {
            let mut pane = run.pane(STABLE, CANARY);
            pane.arms.truncate(1);
            evaluate(&run.rules, &pane, &mut run.memory);
        }
        run
    }

    fn pane(&mut self, stable: Traffic, canary: Traffic) -> ModelWindow {
        self.number += 1;
        window(self.rules.plan.watched(), self.number, stable, canary, 21)
    }

    fn take(&mut self, stable: Traffic, canary: Traffic) -> Conclusion {
        let pane = self.pane(stable, canary);
        evaluate(&self.rules, &pane, &mut self.memory)
    }

    /// The decisions sent within `panes`, and the pane of the first.
    fn sent(&mut self, panes: usize, stable: Traffic, canary: Traffic) -> (Vec<Decision>, Option<usize>) {
        let (mut sent, mut first) = (Vec::new(), None);
        for pane in 1..=panes {
            let conclusion = self.take(stable, canary);
            first = first.or((!conclusion.actions.is_empty()).then_some(pane));
            sent.extend(conclusion.actions.iter().map(|action| action.action));
        }
        (sent, first)
    }

    fn reason(&self) -> &str {
        &self.memory.rollout.last_reason
    }
}

#[test]
fn a_healthy_canary_is_left_alone_and_at_last_called_good() {
    let mut run = Run::new(true, PolicyConfig { promote_below: 0.06, ..PolicyConfig::default() });
    let (sent, _) = run.sent(150, STABLE, CANARY);
    assert!(sent.is_empty(), "{}", run.reason());
    assert_eq!(run.memory.rollout.last_decision, Some(Decision::Promote), "{}", run.reason());
    assert!(run.reason().starts_with("A PIT-D of 0.06 or more is excluded after"), "{}", run.reason());
    let mut doubtful = Run::new(true, PolicyConfig::default());
    doubtful.sent(5, STABLE, CANARY);
    assert_eq!(doubtful.memory.rollout.last_decision, Some(Decision::Continue));
    assert!(doubtful.reason().contains("not enough to promote"), "{}", doubtful.reason());
}

#[test]
fn before_a_hundred_events_nothing_is_said() {
    let mut run = Run::new(true, PolicyConfig::default());
    let few = Traffic { events: 20, score: 0.9, ..HEALTHY };
    for _ in 0..4 {
        let conclusion = run.take(STABLE, few);
        assert_eq!((conclusion.decision, conclusion.actions.len()), (Some(Decision::Inconclusive), 0));
    }
    assert_eq!(run.sent(1, STABLE, few).0.len(), 1, "{}", run.reason());
}

#[test]
fn before_stable_is_known_nothing_is_looked_at() {
    let mut run = Run::new(true, PolicyConfig::default());
    run.memory = ModelMemory::default();
    let broken = Traffic { score: 0.4, ..CANARY };
    for _ in 0..10 {
        let conclusion = run.take(STABLE, broken);
        assert_eq!((conclusion.decision, conclusion.actions.len()), (Some(Decision::Inconclusive), 0));
        assert!(conclusion.reason.contains("not known before 10 panes"), "{}", conclusion.reason);
    }
    assert_eq!(run.sent(1, STABLE, broken).0, [Decision::Rollback], "{}", run.reason());
}

#[test]
fn other_answers_on_the_same_inputs_roll_back_once() {
    let mut run = Run::new(true, PolicyConfig::default());
    let (sent, first) = run.sent(10, STABLE, Traffic { score: 0.4, ..CANARY });
    assert_eq!(sent.last(), Some(&Decision::Rollback), "{}", run.reason());
    assert!(first.is_some_and(|pane| pane <= 2), "{first:?}");
    assert_eq!(sent.iter().filter(|one| **one == Decision::Rollback).count(), 1);
    assert!(run.reason().contains("prediction score moved by PIT-D 0."), "{}", run.reason());
    assert!(run.reason().contains("its 4 shared inputs agree"), "{}", run.reason());
}

#[test]
fn a_regression_after_a_healthy_hour_is_found_in_the_running_evidence() {
    let mut run = Run::new(true, PolicyConfig::default());
    assert!(run.sent(10, STABLE, CANARY).0.is_empty());
    let (sent, first) = run.sent(10, STABLE, Traffic { score: 0.6, ..CANARY });
    assert_eq!(sent.last(), Some(&Decision::Rollback), "{}", run.reason());
    assert!(first.is_some_and(|pane| pane <= 5), "{first:?}");
}

#[test]
fn a_small_difference_pauses_and_waits() {
    let mut run = Run::new(true, PolicyConfig::default());
    let (sent, _) = run.sent(80, STABLE, Traffic { score: 0.08, ..CANARY });
    assert_eq!(sent, [Decision::Pause], "{}", run.reason());
    assert!(run.reason().contains("less than the 0.1 of a rollback"), "{}", run.reason());
}

#[test]
fn other_inputs_pause_and_never_roll_back_even_when_answers_differ_too() {
    for canary in [
        Traffic { amount: 0.4, ..CANARY },
        Traffic { amount: 0.4, score: 0.4, ..CANARY },
        Traffic { age_missing: 0.5, score: 0.4, ..CANARY },
    ] {
        let mut run = Run::new(true, PolicyConfig::default());
        let (sent, _) = run.sent(20, STABLE, canary);
        assert_eq!(sent, [Decision::Pause], "{}", run.reason());
        assert!(run.reason().starts_with("The canary is asked other things"), "{}", run.reason());
    }
}

#[test]
fn answers_without_a_baseline_of_their_own_pause_at_most() {
    let mut run = Run::new(false, PolicyConfig::default());
    let (sent, _) = run.sent(10, STABLE, Traffic { score: 0.4, ..CANARY });
    assert_eq!(sent, [Decision::Pause], "{}", run.reason());
    assert!(run.reason().contains("no prediction baseline of its own"), "{}", run.reason());
    let unattributed = PolicyConfig { unattributed: Decision::Rollback, ..PolicyConfig::default() };
    let mut run = Run::new(false, unattributed);
    assert_eq!(run.sent(10, STABLE, Traffic { score: 0.4, ..CANARY }).0, [Decision::Rollback]);
}

#[test]
fn both_arms_moved_alike_hold_and_answers_that_differ_then_only_pause() {
    let moved = Traffic { amount: 0.4, ..STABLE };
    let mut run = Run::new(true, PolicyConfig::default());
    let (sent, _) = run.sent(10, moved, Traffic { amount: 0.4, ..CANARY });
    assert!(sent.is_empty(), "{}", run.reason());
    assert_eq!(run.memory.rollout.last_decision, Some(Decision::Hold), "{}", run.reason());
    let mut run = Run::new(true, PolicyConfig::default());
    let (sent, _) = run.sent(10, moved, Traffic { amount: 0.4, score: 0.3, ..CANARY });
    assert_eq!(sent, [Decision::Pause], "{}", run.reason());
    assert!(run.reason().contains("Paused; decide by hand"), "{}", run.reason());
    // What stable shows is on cells that tell how far it moved.
    let classes = Traffic { fraud: 0.5, ..STABLE };
    let mut run = Run::new(true, PolicyConfig::default());
    let (sent, _) = run.sent(20, classes, Traffic { fraud: 0.5, score: 0.3, ..CANARY });
    assert_eq!(sent, [Decision::Pause], "{}", run.reason());
    assert!(run.reason().contains("stable itself may have moved"), "{}", run.reason());
}

#[test]
fn what_is_expected_is_left_out_visibly_until_its_time() {
    let until = |number: i64| EventTime(1_700_000_000_000 + number * 60_000);
    let expected = |until: EventTime| ExpectedChange {
        version: "v2".to_owned(),
        series: "amount".to_owned(),
        change: Change::Rescaled,
        until,
        reason: "cents".to_owned(),
    };
    let policy = PolicyConfig { expected: vec![expected(until(10))], ..PolicyConfig::default() };
    let mut run = Run::new(true, policy);
    let shifted = Traffic { amount: 0.4, ..CANARY };
    let quiet = run.sent(8, STABLE, shifted).0;
    assert!(quiet.is_empty(), "{}", run.reason());
    assert!(run.reason().contains("Expected and left out: amount (rescaled, until "), "{}", run.reason());
    assert_eq!(run.sent(4, STABLE, shifted).0, [Decision::Pause], "it has expired: {}", run.reason());
}

#[test]
fn a_wrong_split_pauses() {
    let policy = PolicyConfig { canary_weight: Some(0.05), ..PolicyConfig::default() };
    let mut run = Run::new(true, policy);
    assert_eq!(run.sent(5, STABLE, CANARY).0, [Decision::Pause]);
    assert!(run.reason().contains("10.0 % of the traffic where 5.0 % is set"), "{}", run.reason());
}

#[test]
fn a_split_is_held_against_the_weight_and_the_sampling() {
    let sent = |stable: f64| {
        let sampling = Sampling { stable, canary: 1.0 };
        let policy = PolicyConfig { canary_weight: Some(0.0526), sampling, ..PolicyConfig::default() };
        let mut run = Run::new(true, policy);
        (run.sent(8, STABLE, CANARY).0, run.reason().to_owned())
    };
    let (quiet, reason) = sent(0.5);
    assert_eq!(quiet, [], "{reason}");
    let (pauses, reason) = sent(0.1);
    assert_eq!(pauses, [Decision::Pause], "{reason}");
    assert!(
        reason.contains("sends 10.0 % of the events where its weight and the sampling let expect 35.7 %"),
        "{reason}"
    );
}

#[test]
fn a_told_weight_counts_instead_of_the_configured_one() {
    let sent = |configured, told: SetWeight| {
        let mut run = Run::new(true, PolicyConfig { canary_weight: configured, ..PolicyConfig::default() });
        let mut sent = Vec::new();
        for _ in 0..8 {
            let pane = ModelWindow { set_weight: told, ..run.pane(STABLE, CANARY) };
            let conclusion = evaluate(&run.rules, &pane, &mut run.memory);
            sent.extend(conclusion.actions.iter().map(|action| action.action));
        }
        (sent, run.reason().to_owned())
    };
    for told in [SetWeight::Known(0.1), SetWeight::Unclear, SetWeight::Known(0.0)] {
        assert_eq!(sent(Some(0.05), told).0, [], "{told:?}");
    }
    let (pauses, reason) = sent(Some(0.1), SetWeight::Known(0.05));
    assert_eq!(pauses, [Decision::Pause], "{reason}");
    assert!(reason.contains("10.0 % of the traffic where 5.0 % is set (p"), "{reason}");
    assert_eq!(sent(None, SetWeight::Untold).0, []);
}

#[test]
fn decisions_survive_a_restart() {
    let mut whole = Run::new(true, PolicyConfig::default());
    let mut cut = Run::new(true, PolicyConfig::default());
    let canary = Traffic { score: 0.12, ..CANARY };
    for _ in 0..40 {
        let expected = whole.take(STABLE, canary);
        let stored = serde_json::to_string(&cut.memory).expect("plain data");
        let records: Vec<_> = cut.memory.evidence.records(&cut.rules.plan.watched().id).collect();
        let dispersions: Vec<_> = cut.memory.dispersion.records(&cut.rules.plan.watched().id).collect();
        cut.memory = serde_json::from_str(&stored).expect("what was written");
        dispersions.iter().for_each(|record| cut.memory.dispersion.restore(record));
        records.iter().for_each(|record| cut.memory.evidence.restore(record));
        assert_eq!(cut.take(STABLE, canary), expected);
    }
}

/// `errors` of ten thousand of an arm's answers.
fn with_errors(mut pane: ModelWindow, errors: [u64; 2], random: &mut fastrand::Rng) -> ModelWindow {
    for (arm, errors) in pane.arms.iter_mut().zip(errors) {
        arm.service.answers = arm.unset_events;
        arm.service.errors = (0..arm.unset_events).filter(|_| random.u64(0..10_000) < errors).count() as u64;
    }
    pane
}

#[test]
fn an_error_rate_from_one_to_four_percent_is_rolled_back_and_an_equal_one_is_not() {
    for (canary, expected) in [(400, vec![Decision::Rollback]), (100, Vec::new())] {
        let mut run = Run::new(true, PolicyConfig::default());
        let mut random = fastrand::Rng::with_seed(9);
        let mut sent = Vec::new();
        for _ in 0..30 {
            let pane = with_errors(run.pane(STABLE, CANARY), [100, canary], &mut random);
            let conclusion = evaluate(&run.rules, &pane, &mut run.memory);
            sent.extend(conclusion.actions.iter().map(|action| action.action));
        }
        assert_eq!(sent, expected, "{}", run.reason());
    }
}
