//! Canaries whose answers turn out wrong, pane after pane, to what is done about them.

use super::PolicyConfig;
use super::action::Decision;
use super::evaluate::{Conclusion, ModelMemory, ModelRules, evaluate};
use crate::baseline::{LabelJoin, WatchedModel};
use crate::event::{EventTime, Role};
use crate::judge::Matured;
use crate::judge::evidence::EvidenceRecord;
use crate::judge::fixture::{HEALTHY, Traffic, label, watched, window};
use crate::judge::plan::MeasurePlan;
use crate::judge::report::Report;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use crate::judge::window::ArmWindow;
use crate::tally::labels::Labels;
use crate::tally::scores::Scores;
use fastrand::Rng;
use std::collections::BTreeMap;

const STABLE: Traffic = Traffic { events: 1_800, ..HEALTHY };
const CANARY: Traffic = Traffic { events: 200, ..HEALTHY };
/// Four in five answers are labelled, nineteen in twenty of them right.
const GOOD: [f64; 2] = [0.8, 0.95];

struct Run {
    rules: ModelRules,
    memory: ModelMemory,
    number: i64,
    seed: u64,
    /// The labels of each version that are still to mature, by pane.
    waiting: BTreeMap<(u32, i64), Labels>,
}

/// How many panes labels are waited for where they are joined.
const HORIZON: i64 = 6;

impl Run {
    /// A rollout that begins after ten panes of stable alone.
    fn new(seed: u64) -> Run {
        Run::with(seed, watched(true))
    }

    /// As [`Run::new`], with labels that come by themselves.
    fn joined(seed: u64) -> Run {
        let join = LabelJoin { horizon_ms: HORIZON * 60_000, max_pending: 1_000, sample: 1.0 };
        Run::with(seed, WatchedModel { labels: Some(join), ..watched(true) })
    }

    fn with(seed: u64, model: WatchedModel) -> Run {
        let plan = MeasurePlan::new(&model);
        let budget = Budget::new(&BudgetConfig::default(), &plan, 60_000);
        let (verdicts, policy) = (VerdictRules::Budget(budget), PolicyConfig::default());
        let rules = ModelRules { plan, verdicts, policy, read_at: EventTime(0) };
        let mut run =
            Run { rules, memory: ModelMemory::default(), number: 0, seed, waiting: BTreeMap::new() };
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
        if watched.labels.is_some() {
            let start = pane.start;
            pane.arms
                .iter_mut()
                .for_each(|arm| mature(watched, &mut self.waiting, (start, self.number), arm));
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

/// Puts the labels of an arm's pane aside, and hands out those of the pane a horizon earlier.
fn mature(
    watched: &WatchedModel,
    waiting: &mut BTreeMap<(u32, i64), Labels>,
    (start, number): (EventTime, i64),
    arm: &mut ArmWindow,
) {
    let version = &watched.versions[arm.version.version as usize];
    let mut labels = std::mem::take(&mut arm.labels);
    let (place, confusion) =
        labels.outputs().next().map(|(place, one)| (place, one.clone())).expect("labels");
    for _ in confusion.answers()..arm.series[place].n() {
        labels.note_answer(version, place, 0, None);
    }
    waiting.insert((arm.version.version, number), labels);
    let of = EventTime(start.0 - HORIZON * 60_000);
    let labels = waiting.remove(&(arm.version.version, number - HORIZON));
    let end = EventTime(of.0 + 60_000);
    arm.matured = labels.map(|labels| Matured { start: of, end, labels, scores: Scores::default() });
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

/// What is decided of labels beside the answers is decided of joined ones, a horizon later and not before.
#[test]
fn labels_that_come_later_decide_when_their_pane_matures() {
    for seed in 1..=4 {
        let [mut beside, mut joined] = [Run::new(seed), Run::joined(seed)];
        let (at_once, _) = beside.acts(20, GOOD, [0.8, 0.85]).expect("found");
        let (later, decision) = joined.acts(30, GOOD, [0.8, 0.85]).expect("found");
        assert_eq!(decision, Decision::Rollback, "{}", joined.reason());
        let delay = later as i64 - at_once as i64;
        assert!((HORIZON - 1..=HORIZON + 1).contains(&delay), "seed {seed}: {at_once} and {later}");
        assert_eq!(joined.memory.evidence.head.labelled_panes, later as u64 - HORIZON as u64);
    }
    let mut healthy = Run::joined(5);
    assert_eq!(healthy.acts(60, GOOD, GOOD), None, "{}", healthy.reason());
    let report = &healthy.take(GOOD, Some(GOOD)).reports[1];
    let labels = &report.labels[0];
    assert_eq!((labels.answers, report.events), (200, 200));
    assert!(labels.end.as_ref() < Some(&report.window.start) && labels.accuracy_difference.is_some());
}

/// A pane of one arm only is no comparison: what matured of stable alone is not held against the canary's next pane.
#[test]
fn joined_labels_are_compared_within_the_same_panes_only() {
    let mut run = Run::joined(6);
    assert_eq!(run.acts(HORIZON as usize + 3, GOOD, GOOD), None);
    let before = run.memory.evidence.head.labelled_panes;
    run.waiting.retain(|(version, number), _| *version == 0 || *number != run.number - HORIZON + 1);
    run.take(GOOD, Some(GOOD));
    assert_eq!(run.memory.evidence.head.labelled_panes, before, "stable's labels matured alone");
    run.take(GOOD, Some(GOOD));
    assert_eq!(run.memory.evidence.head.labelled_panes, before + 1);
}
