//! Canaries whose answers turn out wrong, pane after pane, to what is done about them.

use super::PolicyConfig;
use super::action::Decision;
use super::evaluate::{Conclusion, ModelMemory, ModelRules, evaluate};
use crate::event::Role;
use crate::judge::evidence::EvidenceRecord;
use crate::judge::fixture::{HEALTHY, Traffic, label, watched, window};
use crate::judge::plan::MeasurePlan;
use crate::judge::report::Report;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use fastrand::Rng;

const STABLE: Traffic = Traffic { events: 1_800, ..HEALTHY };
const CANARY: Traffic = Traffic { events: 200, ..HEALTHY };
/// Four in five answers are labelled, nineteen in twenty of them right.
const GOOD: [f64; 2] = [0.8, 0.95];

struct Run {
    rules: ModelRules,
    memory: ModelMemory,
    number: i64,
    seed: u64,
}

impl Run {
    /// A rollout that begins after ten panes of stable alone.
    fn new(seed: u64) -> Run {
        let plan = MeasurePlan::new(&watched(true));
        let budget = Budget::new(&BudgetConfig::default(), &plan, 60_000);
        let (verdicts, policy) = (VerdictRules::Budget(budget), PolicyConfig::default());
        let rules = ModelRules { plan, verdicts, policy, read_at: crate::event::EventTime(0) };
        let mut run = Run { rules, memory: ModelMemory::default(), number: 0, seed };
        for _ in 0..10 {
            run.take(GOOD, None);
        }
        run
    }

    /// The next pane; of either arm: the share of labelled answers, and of right ones among those.
    fn take(&mut self, stable: [f64; 2], canary: Option<[f64; 2]>) -> Conclusion {
        self.number += 1;
        let watched = self.rules.plan.watched();
        let mut pane = window(watched, self.number, STABLE, CANARY, self.seed);
        let mut random = Rng::with_seed(self.seed ^ self.number as u64 ^ 0xacc);
        pane.arms.truncate(if canary.is_some() { 2 } else { 1 });
        for (arm, labels) in pane.arms.iter_mut().zip([Some(stable), canary].into_iter().flatten()) {
            label(watched, arm, labels, &mut random);
        }
        evaluate(&self.rules, &pane, &mut self.memory)
    }

    /// The pane of the first action within so many, and the decision.
    fn acts(&mut self, panes: usize, stable: [f64; 2], canary: [f64; 2]) -> Option<(usize, Decision)> {
        (1..=panes).find_map(|pane| {
            let actions = self.take(stable, Some(canary)).actions;
            actions.first().map(|action| (pane, action.action))
        })
    }

    fn reason(&self) -> &str {
        &self.memory.rollout.last_reason
    }

    /// What a restart takes out of what was stored.
    fn restart(&mut self) {
        let json = serde_json::to_string(&self.memory).expect("plain data");
        let mut memory: ModelMemory = serde_json::from_str(&json).expect("what was written");
        let id = &self.rules.plan.watched().id;
        let records: Vec<EvidenceRecord> = self.memory.evidence.records(id).collect();
        records.iter().for_each(|record| memory.evidence.restore(record));
        memory.dispersion = self.memory.dispersion.clone();
        assert_eq!(memory, self.memory);
        self.memory = memory;
    }
}

#[test]
fn a_canary_that_is_right_as_often_is_left_alone() {
    for seed in 1..=12 {
        let mut run = Run::new(seed);
        let found = run.acts(60, GOOD, GOOD);
        assert_eq!(found, None, "seed {seed}: {}", run.reason());
        assert!(!run.reason().contains("Labels"), "{}", run.reason());
    }
}

/// A small loss is let pass, however long it lasts.
#[test]
fn a_loss_of_accuracy_within_the_tolerance_is_let_pass() {
    let mut run = Run::new(20);
    assert_eq!(run.acts(120, GOOD, [0.8, 0.945]), None, "{}", run.reason());
}

#[test]
fn a_canary_that_is_right_less_often_is_rolled_back_also_after_a_restart() {
    for seed in 1..=4 {
        let mut run = Run::new(seed);
        assert_eq!(run.acts(3, GOOD, GOOD), None);
        let (pane, decision) = run.acts(20, GOOD, [0.8, 0.85]).expect("found");
        assert_eq!(decision, Decision::Rollback, "{}", run.reason());
        assert!((2..=8).contains(&pane), "seed {seed}: pane {pane}");
        assert!(run.reason().starts_with("The canary is right less often: 8"), "{}", run.reason());
        assert!(run.reason().contains("% of its labelled answers class and 9"), "{}", run.reason());
        let mut stopped = Run::new(seed);
        stopped.restart();
        assert_eq!(stopped.acts(3, GOOD, GOOD), None);
        for _ in 1..pane {
            assert_eq!(stopped.acts(1, GOOD, [0.8, 0.85]), None);
            stopped.restart();
        }
        assert_eq!(stopped.acts(1, GOOD, [0.8, 0.85]), Some((1, Decision::Rollback)));
        assert_eq!(stopped.reason(), run.reason());
    }
}

#[test]
fn labels_that_come_less_often_for_one_arm_decide_nothing_and_that_is_said() {
    for (seed, canary) in [(1, [0.5, 0.85]), (2, [0.95, 0.8]), (3, [0.5, 0.95])] {
        let mut run = Run::new(seed);
        let found = run.acts(60, GOOD, canary);
        assert_eq!(found, None, "seed {seed}: {}", run.reason());
        let share = canary[0] * 100.0;
        assert!(run.reason().contains(" Labels of class are inconclusive: "), "{}", run.reason());
        assert!(run.reason().contains("of the canary's answers have one and 8"), "{share}: {}", run.reason());
    }
}

#[test]
fn a_report_of_a_canary_tells_how_far_its_accuracy_is_from_stable_s() {
    let mut run = Run::new(5);
    let reports = run.take(GOOD, Some([0.8, 0.85])).reports;
    let of = |role| reports.iter().find(|report: &&Report| report.role == Some(role)).expect("a report");
    let (stable, canary) = (&of(Role::Stable).labels[0], &of(Role::Canary).labels[0]);
    assert_eq!(stable.accuracy_difference, None);
    let (own, other) = (canary.accuracy.expect("labels"), stable.accuracy.expect("labels"));
    let found = canary.accuracy_difference.expect("both have labels");
    assert!((found.value - (own.value - other.value)).abs() < 1e-12);
    assert!(
        (found.lower - (found.value - (own.value - own.lower).hypot(other.upper - other.value))).abs()
            < 1e-12
    );
    assert!(found.lower < found.value && found.value < found.upper && found.upper < 0.0, "{found:?}");
}
