//! The bars of the table in a bounded form: the same cases, seeded, with fewer repetitions.

use super::monitor::{Baseline, Moving};
use super::*;

const SEED: u64 = 20_261_125;

fn outcome(case: &Case, normal: &Normal, repetitions: u64) -> Outcome {
    let work = |from: u64| -> Vec<f64> {
        (from..repetitions).step_by(2).map(|repetition| case.repeat(normal, SEED, 0, repetition)).collect()
    };
    let numbers = std::thread::scope(|scope| {
        let halves = [0, 1].map(|from| scope.spawn(move || work(from)));
        halves.map(|half| half.join().expect("half of the repetitions")).concat()
    });
    case.outcome(&numbers)
}

/// Cases with a bar whose description begins so, each within it; a share of so many runs within two standard errors.
fn holds(what: &str, normal: &Normal, repetitions: u64) {
    let cases: Vec<Case> =
        cases(repetitions).into_iter().filter(|case| case.what.starts_with(what)).collect();
    let barred: Vec<&Case> = cases.iter().filter(|case| case.bar != Bar::None).collect();
    assert!(!barred.is_empty(), "{what}");
    for case in barred {
        let value = outcome(case, normal, repetitions).value;
        let error = |share: f64| match case.summary {
            Summary::Mean => 2.0 * (share * (1.0 - share) / repetitions as f64).sqrt(),
            Summary::Sum | Summary::Median | Summary::Ninetieth => 0.0,
        };
        let held = match case.bar {
            Bar::AtMost(most) => value <= most + error(most),
            Bar::AtLeast(least) => value >= least - error(least),
            Bar::None => false,
        };
        assert!(held, "{} ({}): {value} against {:?}", case.what, case.conditions, case.bar);
    }
}

fn quiet(events: usize, baseline: Baseline) -> f64 {
    let mut case = cases(1).swap_remove(0);
    case.task = Task::Quiet(Quiet { panes: 10_000, events, baseline });
    outcome(&case, &Normal::new(257), u64::from(monitor::SERIES)).value
}

/// 10,000 panes of 51 series at a budget of .1 a day, which is 7 days and .7 alarms.
#[test]
fn quiet_series_alarm_at_most_three_times_in_seven_days() {
    let alarms = quiet(250, Baseline::Independent { values: 100_000, tolerance: 0.0 });
    assert!(alarms <= 3.0, "{alarms} alarms");
}

/// Against a baseline of another hour the same traffic alarms all day; against its own blocks it does not.
#[test]
fn the_hour_is_no_drift_where_the_baseline_has_times() {
    let traffic = Moving { swing: 0.2, wander: 0.1 };
    let alarms = quiet(100, Baseline::Timed { days: 3, traffic });
    assert!(alarms <= 3.0, "{alarms} alarms");
}

/// What runs live, on series of all types: with the panes that PSI decides, and none but the time of day happening.
#[test]
fn shipped_verdicts_are_quiet() {
    let mut case = cases(1).into_iter().find(|case| matches!(case.task, Task::Shipped(_))).expect("a case");
    let traffic = Moving { swing: 0.2, wander: 0.1 };
    for baseline in
        [Baseline::Independent { values: 100_000, tolerance: 0.02 }, Baseline::Timed { days: 2, traffic }]
    {
        let counted = shipped::Counted::Alarms;
        case.task =
            Task::Shipped(shipped::Shipped { panes: 150, events: 600, baseline: baseline.clone(), counted });
        let alarms = outcome(&case, &Normal::new(257), 2).value;
        assert!(alarms <= 0.0, "{alarms} alarms: {baseline:?}");
    }
}

#[test]
fn series_that_resemble_themselves_are_not_taken_for_a_regression() {
    holds("healthy canaries of an autoregressive", &Normal::new(257), 200);
    let uncorrected = |case: &&Case| matches!(&case.task, Task::Dependent(task) if !task.corrected);
    let share = cases(1).iter().find(uncorrected).map(|case| outcome(case, &Normal::new(257), 100).value);
    assert!(share.expect("a case") > 0.3, "{share:?} are rejected without φ");
}

#[test]
fn the_usual_rule_alarms_all_day() {
    let mut case = cases(1).into_iter().find(|case| matches!(case.task, Task::Naive(_))).expect("a case");
    case.task = Task::Naive(Naive { panes: 1_000, events: 250, reference: 100_000 });
    // 51,000 tests at .05.
    let rejected = outcome(&case, &Normal::new(257), u64::from(monitor::SERIES)).value;
    assert!((1_500.0..3_500.0).contains(&rejected), "{rejected} of 51,000");
}

#[test]
fn shifts_are_found_within_their_panes() {
    holds("90 % found", &Normal::new(1_025), 200);
}

#[test]
fn looking_at_every_pane_rejects_no_more_healthy_canaries() {
    holds("healthy canaries rejected, over", &Normal::new(257), 400);
}

#[test]
fn regressions_are_found_within_their_events() {
    holds("median canary events", &Normal::new(257), 101);
}

#[test]
fn ramps_reject_no_healthy_canaries_and_hide_no_regressions() {
    holds("healthy canaries rejected on a ramp", &Normal::new(257), 300);
    holds("regressions found on a ramp", &Normal::new(257), 300);
    let on_steps = |case: &&Case| case.conditions == "the same" && case.what.starts_with('…');
    let with_reset = cases(1).iter().find(on_steps).map(|case| outcome(case, &Normal::new(257), 300).value);
    assert!(with_reset.expect("a case") < 0.8, "{with_reset:?}: beginning anew with every weight hides them");
}

#[test]
fn sticky_users_are_not_taken_for_a_regression() {
    holds("healthy canaries of 2,000 sticky users", &Normal::new(257), 200);
    let uncorrected = |case: &&Case| case.conditions == "the same, φ = 1";
    let share = cases(1).iter().find(uncorrected).map(|case| outcome(case, &Normal::new(257), 100).value);
    assert!(share.expect("a case") > 0.2, "{share:?} are rejected without φ");
}

#[test]
fn outcomes_are_the_summary_of_all_numbers() {
    let mut case = cases(1).swap_remove(0);
    let numbers = [5.0, 1.0, 3.0, 2.0, 4.0];
    for (summary, bar, value, held) in [
        (Summary::Sum, Bar::AtMost(14.0), 15.0, false),
        (Summary::Mean, Bar::AtMost(3.0), 3.0, true),
        (Summary::Median, Bar::AtLeast(3.5), 3.0, false),
        (Summary::Ninetieth, Bar::None, 5.0, true),
    ] {
        (case.summary, case.bar) = (summary, bar);
        assert_eq!(case.outcome(&numbers), Outcome { value, held });
    }
    let normal = Normal::new(257);
    let delay = cases(1).into_iter().find(|case| matches!(case.task, Task::Delay(_))).expect("a case");
    let twice = [(); 2].map(|()| delay.repeat(&normal, 1, 2, 3));
    assert_eq!(twice[0], twice[1]);
}
