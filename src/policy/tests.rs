use super::action::Decision;
use super::{Evaluation, PolicyConfig, PolicyOutcome, RolloutState, step};
use crate::baseline::{Rollout, WatchedModel};
use crate::judge::fixture::{self, HEALTHY, Traffic};
use crate::judge::streaks::Streaks;
use crate::judge::verdict::{Thresholds, VerdictRules};
use crate::judge::window::ModelWindow;

const BROKEN: Traffic = Traffic { score: 0.4, ..HEALTHY };
const SHIFTED: Traffic = Traffic { amount: 0.4, ..HEALTHY };

struct Run {
    watched: WatchedModel,
    config: PolicyConfig,
    verdicts: VerdictRules,
    streaks: Streaks,
    state: RolloutState,
    number: i64,
    seed: u64,
}

impl Run {
    fn new(canary_predictions: bool) -> Run {
        Run {
            watched: fixture::watched(canary_predictions),
            config: PolicyConfig::default(),
            verdicts: VerdictRules::Thresholds(Thresholds::default()),
            streaks: Streaks::default(),
            state: RolloutState::default(),
            number: 0,
            seed: 7,
        }
    }

    fn window(&mut self, stable: Traffic, canary: Traffic) -> ModelWindow {
        self.number += 1;
        fixture::window(&self.watched, self.number, stable, canary, self.seed)
    }

    fn take(&mut self, window: &ModelWindow) -> PolicyOutcome {
        let (measurements, reports) =
            fixture::judge(&self.watched, window, &self.verdicts, &mut self.streaks);
        let evaluation = Evaluation {
            watched: &self.watched,
            window,
            measurements: &measurements,
            reports: &reports,
            verdicts: &self.verdicts,
            comparison: None,
            self_check: None,
        };
        step(&self.config, &evaluation, &mut self.state)
    }

    fn step(&mut self, stable: Traffic, canary: Traffic) -> PolicyOutcome {
        let window = self.window(stable, canary);
        self.take(&window)
    }
}

fn kinds(outcome: &PolicyOutcome) -> Vec<Decision> {
    outcome.actions.iter().map(|action| action.action).collect()
}

#[test]
fn a_healthy_canary_is_never_acted_upon() {
    let mut run = Run::new(true);
    for seed in 0..300 {
        run.seed = seed;
        let outcome = run.step(HEALTHY, HEALTHY);
        assert!(outcome.actions.is_empty() && outcome.alerts.is_empty(), "{outcome:?}");
        assert_eq!(outcome.decision, Some(Decision::Continue), "{}", outcome.reason);
    }
    assert_eq!(run.state.last_decision, Some(Decision::Continue));
}

#[test]
fn other_answers_on_the_same_inputs_roll_back_in_the_second_window_and_once() {
    let mut run = Run::new(true);
    run.step(HEALTHY, HEALTHY);
    let first = run.step(HEALTHY, BROKEN);
    assert!(first.actions.is_empty() && first.reason.contains("(1 of 2"), "{first:?}");
    let second = run.step(HEALTHY, BROKEN);
    assert_eq!(kinds(&second), [Decision::Rollback], "{}", second.reason);
    let action = &second.actions[0];
    assert_eq!(action.idempotency_key, "ml/fraud/v2/rollback");
    assert_eq!((action.findings[0].name.as_str(), action.findings[0].metric.as_str()), ("score", "pit_d"));
    assert_eq!((action.rollout.stable.as_str(), action.events), ("v1", 4_000));
    for traffic in [BROKEN, SHIFTED, HEALTHY, HEALTHY] {
        let later = run.step(HEALTHY, traffic);
        assert!(later.actions.is_empty());
        assert_eq!(later.decision, Some(Decision::Rollback));
    }
}

#[test]
fn a_single_bad_window_does_nothing() {
    let mut run = Run::new(true);
    for _ in 0..5 {
        assert!(run.step(HEALTHY, BROKEN).actions.is_empty());
        assert!(run.step(HEALTHY, HEALTHY).actions.is_empty());
    }
}

#[test]
fn other_inputs_pause_and_never_roll_back_even_when_answers_differ_too() {
    for canary in [SHIFTED, Traffic { score: 0.4, ..SHIFTED }, Traffic { age_missing: 0.5, ..BROKEN }] {
        let mut run = Run::new(true);
        let sent: Vec<Decision> = (0..6).flat_map(|_| kinds(&run.step(HEALTHY, canary))).collect();
        assert_eq!(sent, [Decision::Pause], "{}", run.state.last_reason);
        assert!(run.state.last_reason.contains("inputs differ"), "{}", run.state.last_reason);
    }
}

#[test]
fn a_longer_window_does_not_roll_back_while_a_shorter_one_sees_other_inputs() {
    let mut run = Run::new(true);
    for _ in 0..3 {
        run.step(HEALTHY, SHIFTED);
        let mut long = run.window(HEALTHY, BROKEN);
        long.scale = 4;
        assert!(!kinds(&run.take(&long)).contains(&Decision::Rollback));
    }
}

#[test]
fn answers_without_a_baseline_of_their_own_pause_at_most() {
    let mut run = Run::new(false);
    let sent: Vec<Decision> = (0..6).flat_map(|_| kinds(&run.step(HEALTHY, BROKEN))).collect();
    assert_eq!(sent, [Decision::Pause]);
    assert!(run.state.last_reason.contains("no prediction baseline of its own"));
}

#[test]
fn both_arms_moved_alike_hold_and_are_told_once() {
    let mut run = Run::new(true);
    let outcomes: Vec<PolicyOutcome> = (0..6).map(|_| run.step(SHIFTED, SHIFTED)).collect();
    assert!(outcomes.iter().all(|outcome| outcome.actions.is_empty()));
    assert_eq!(outcomes[5].decision, Some(Decision::Hold));
    let told = |kind: &str| {
        outcomes.iter().flat_map(|outcome| &outcome.alerts).filter(|alert| alert.kind == kind).count()
    };
    assert_eq!((told("upstream_drift"), told("drift")), (1, 2), "drift once per version");
    assert_eq!(run.state.last_decision, Some(Decision::Hold));
}

#[test]
fn answers_that_differ_while_stable_moved_too_pause() {
    let mut run = Run::new(true);
    let canary = Traffic { score: 0.5, ..SHIFTED };
    let sent: Vec<Decision> = (0..4).flat_map(|_| kinds(&run.step(SHIFTED, canary))).collect();
    assert_eq!(sent, [Decision::Pause], "{}", run.state.last_reason);
}

#[test]
fn too_little_data_is_inconclusive_and_does_nothing() {
    let mut run = Run::new(true);
    for _ in 0..4 {
        let outcome = run.step(HEALTHY, Traffic { events: 499, ..BROKEN });
        assert_eq!((outcome.decision, outcome.actions.len()), (Some(Decision::Inconclusive), 0));
    }
}

#[test]
fn revised_and_incomplete_windows_decide_nothing() {
    let mut run = Run::new(true);
    for _ in 0..4 {
        let mut revised = run.window(HEALTHY, BROKEN);
        revised.revised = true;
        assert_eq!(run.take(&revised).decision, None);
        let mut incomplete = run.window(HEALTHY, BROKEN);
        incomplete.arms[0].complete = false;
        let outcome = run.take(&incomplete);
        assert_eq!((outcome.decision, outcome.actions.len()), (None, 0));
        let told: Vec<&str> = outcome.alerts.iter().map(|alert| alert.kind.as_str()).collect();
        assert!(told.iter().filter(|kind| **kind == "incomplete").count() <= 1);
    }
    assert_eq!(run.state.last_decision, None);
}

#[test]
fn an_incomplete_stretch_is_told_once() {
    let mut run = Run::new(true);
    let mut told = 0;
    for complete in [true, false, false, false, true] {
        let mut window = run.window(HEALTHY, HEALTHY);
        window.arms.iter_mut().for_each(|arm| arm.complete = complete);
        told += run.take(&window).alerts.iter().filter(|alert| alert.kind == "incomplete").count();
    }
    assert_eq!(told, 1);
}

#[test]
fn the_latch_survives_a_restart_and_another_canary() {
    let mut run = Run::new(true);
    run.step(HEALTHY, BROKEN);
    let stored = serde_json::to_string(&run.state).expect("plain data");
    run.state = serde_json::from_str(&stored).expect("what was written");
    assert_eq!(kinds(&run.step(HEALTHY, BROKEN)), [Decision::Rollback], "the streak was kept");
    let stored = serde_json::to_string(&run.state).expect("plain data");
    run.state = serde_json::from_str(&stored).expect("what was written");
    assert!((0..4).all(|_| run.step(HEALTHY, BROKEN).actions.is_empty()));

    run.watched.rollout = Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v3".to_owned()) };
    let third = |run: &mut Run| {
        let mut window = run.window(HEALTHY, HEALTHY);
        let mut random = fastrand::Rng::with_seed(run.number as u64);
        window.arms[1] = fixture::arm(&run.watched, 2, BROKEN, &mut random);
        run.take(&window)
    };
    assert!(third(&mut run).actions.is_empty(), "the old canary's streak is not the new one's");
    assert_eq!(third(&mut run).actions[0].idempotency_key, "ml/fraud/v3/rollback");
    run.watched.rollout = Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v2".to_owned()) };
    assert!((0..4).all(|_| run.step(HEALTHY, BROKEN).actions.is_empty()), "never twice for v2");
}

#[test]
fn mixed_roles_are_inconclusive() {
    let mut run = Run::new(true);
    run.watched = fixture::with_rollout(Rollout::Auto, true);
    for _ in 0..3 {
        let mut window = run.window(HEALTHY, BROKEN);
        (window.arms[0].stable_events, window.arms[1].canary_events) = (2_000, 1_000);
        window.arms[1].mixed_roles = true;
        let outcome = run.take(&window);
        assert_eq!(outcome.decision, Some(Decision::Inconclusive));
        assert!(outcome.actions.is_empty() && outcome.reason.contains("both roles in one pane"));
    }
}

#[test]
fn recovery_resumes_once_and_only_when_asked_to() {
    for resume in [false, true] {
        let mut run = Run::new(true);
        run.config.resume = resume;
        let traffic = [SHIFTED, SHIFTED, HEALTHY, HEALTHY, HEALTHY, SHIFTED, SHIFTED, HEALTHY, HEALTHY];
        let sent: Vec<Decision> = traffic.iter().flat_map(|one| kinds(&run.step(HEALTHY, *one))).collect();
        let expected: &[Decision] =
            if resume { &[Decision::Pause, Decision::Resume] } else { &[Decision::Pause] };
        assert_eq!(sent, expected);
    }
}

#[test]
fn drift_of_a_lone_version_is_told_again_only_after_it_was_healthy_twice() {
    let mut run = Run::new(true);
    let mut told = Vec::new();
    for traffic in [SHIFTED, SHIFTED, SHIFTED, HEALTHY, SHIFTED, SHIFTED, HEALTHY, HEALTHY, SHIFTED, SHIFTED]
    {
        let mut window = run.window(traffic, HEALTHY);
        window.arms.truncate(1);
        let outcome = run.take(&window);
        assert_eq!((outcome.decision, outcome.actions.len()), (None, 0));
        told.push(outcome.alerts.len());
    }
    assert_eq!(told, [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
}
