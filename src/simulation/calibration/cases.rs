//! The table: what is simulated, under which conditions, and what it must come to.

use super::canary::{Canary, Rollout};
use super::dependent::Dependent;
use super::monitor::{Baseline, Delay, Moving, Naive, Quiet, SERIES};
use super::promotion::Promotion;
use super::shipped::{Counted, Shipped};
use super::sticky::Sticky;
use super::{Bar, Case, Summary, Task};
use crate::policy::PolicyConfig;

/// Panes of the quiet runs.
const PANES: usize = 10_000;
const EVENTS: usize = 250;
const REFERENCE: usize = 100_000;
/// A daily ±.2σ and two hours of sd .1σ (statistics.md §9.7).
const SWING: Moving = Moving { swing: 0.2, wander: 0.0 };
const WANDER: Moving = Moving { swing: 0.0, wander: 0.1 };
const BOTH: Moving = Moving { swing: 0.2, wander: 0.1 };

/// Into so many models the panes of the shipped verdicts are split, each with a baseline of its own.
const MODELS: usize = 10;

/// All cases. `repetitions` of each but the quiet runs, which are [`SERIES`] series or [`MODELS`] models long.
pub fn cases(repetitions: u64) -> Vec<Case> {
    let mut all = quiet();
    all.extend(shipped());
    all.extend(delays(repetitions));
    all.extend(canaries(repetitions));
    all.extend(ramps(repetitions));
    all.extend(sticky(repetitions));
    all.extend(dependent(repetitions));
    all.extend(promotions(repetitions));
    all
}

fn quiet() -> Vec<Case> {
    let case = |what, conditions: &str, task, bar| Case {
        what,
        conditions: conditions.to_owned(),
        task,
        summary: Summary::Sum,
        bar,
        repetitions: u64::from(SERIES),
    };
    let alarms = "alarms in 10,000 quiet panes × 51 series";
    let quiet = |baseline| Task::Quiet(Quiet { panes: PANES, events: EVENTS, baseline });
    let independent = |tolerance| quiet(Baseline::Independent { values: REFERENCE, tolerance });
    let timed = |traffic| quiet(Baseline::Timed { days: 7, traffic });
    let naive = Naive { panes: PANES, events: EVENTS, reference: REFERENCE };
    vec![
        case(alarms, "independent, δ0 = 0", independent(0.0), Bar::AtMost(3.0)),
        case(alarms, "independent, δ0 = .02", independent(0.02), Bar::AtMost(3.0)),
        case(alarms, "daily ±.2σ, δ0 of 7 days' own blocks", timed(SWING), Bar::AtMost(3.0)),
        case(alarms, "2-hour wander of sd .1σ, δ0 of own blocks", timed(WANDER), Bar::AtMost(3.0)),
        case(alarms, "both, δ0 of own blocks", timed(BOTH), Bar::AtMost(3.0)),
        case(
            "rejections by KS p < .05 on each pane",
            "independent, the same panes",
            Task::Naive(naive),
            Bar::None,
        ),
    ]
}

fn shipped() -> Vec<Case> {
    let case = |counted, conditions: &str, baseline| Case {
        what: match counted {
            Counted::Alarms => {
                "alarms of the shipped verdicts in 10,000 quiet panes × 51 series of all types"
            }
            Counted::Warnings => "windows of the shipped verdicts that warn (of 23,125)",
        },
        conditions: conditions.to_owned(),
        task: Task::Shipped(Shipped { panes: PANES / MODELS, events: EVENTS, baseline, counted }),
        summary: Summary::Sum,
        bar: if counted == Counted::Alarms { Bar::AtMost(3.0) } else { Bar::None },
        repetitions: MODELS as u64,
    };
    let independent = Baseline::Independent { values: REFERENCE, tolerance: 0.02 };
    let timed = |traffic| Baseline::Timed { days: 7, traffic };
    vec![
        case(Counted::Alarms, "independent", independent),
        case(Counted::Alarms, "daily ±.2σ, 7 days' own blocks", timed(SWING)),
        case(Counted::Alarms, "2-hour wander of sd .1σ, 7 days' own blocks", timed(WANDER)),
        case(Counted::Alarms, "both, 7 days' own blocks", timed(BOTH)),
        case(Counted::Warnings, "both, 7 days' own blocks", timed(BOTH)),
    ]
}

fn delays(repetitions: u64) -> Vec<Case> {
    let case = |distance, tolerance, bar| Case {
        what: "90 % found within so many panes",
        conditions: format!("KS δ = {distance}, 250 values a pane, one of 51 series, δ0 = {tolerance}"),
        task: Task::Delay(Delay { distance, tolerance, events: EVENTS, reference: REFERENCE }),
        summary: Summary::Ninetieth,
        bar,
        repetitions,
    };
    vec![
        case(0.2, 0.0, Bar::AtMost(1.0)),
        case(0.1, 0.0, Bar::AtMost(4.0)),
        case(0.05, 0.0, Bar::AtMost(20.0)),
        case(0.2, 0.02, Bar::None),
        case(0.1, 0.02, Bar::None),
        case(0.05, 0.02, Bar::None),
    ]
}

fn canaries(repetitions: u64) -> Vec<Case> {
    let canary = |distance, tolerance, alpha, horizon, until| Canary {
        distance,
        tolerance,
        alpha,
        horizon,
        rollout: Rollout::Even { canary: 25, stable: 225, until },
        counts_events: distance > 0.0,
    };
    let mut all = vec![Case {
        what: "healthy canaries rejected, over about 95 looks",
        conditions: "α = .05, R = 300, panes of 25 + 225".to_owned(),
        task: Task::Canary(canary(0.0, 0.0, 0.05, 300.0, 30_000)),
        summary: Summary::Mean,
        bar: Bar::AtMost(0.05),
        repetitions,
    }];
    for (distance, bar) in [(0.1, 260.0), (0.05, 950.0), (0.025, 3_600.0)] {
        all.push(Case {
            what: "median canary events until rejected",
            conditions: format!("KS δ = {distance}, α = .05, R = 300, δ0 = 0"),
            task: Task::Canary(canary(distance, 0.0, 0.05, 300.0, 60_000)),
            summary: Summary::Median,
            bar: Bar::AtMost(bar),
            repetitions,
        });
    }
    for distance in [0.1, 0.05, 0.025] {
        all.push(Case {
            what: "median canary events until rejected",
            conditions: format!(
                "KS δ = {distance}, shipped: α = .0025 (c = 2.267), R = 1,000, δ0 = .02; up to 400,000"
            ),
            task: Task::Canary(canary(distance, 0.02, 0.0025, 1_000.0, 400_000)),
            summary: Summary::Median,
            bar: Bar::None,
            // The last one needs millions of events.
            repetitions: repetitions.div_ceil(5),
        });
    }
    all
}

fn ramps(repetitions: u64) -> Vec<Case> {
    let case = |what, conditions: &str, distance, horizon, rollout, bar| Case {
        what,
        conditions: conditions.to_owned(),
        task: Task::Canary(Canary {
            distance,
            tolerance: 0.0,
            alpha: 0.05,
            horizon,
            rollout,
            counts_events: false,
        }),
        summary: Summary::Mean,
        bar,
        repetitions,
    };
    let ramp = |swing| Rollout::Ramp { panes: 120, events: 500, from: 0.01, to: 0.25, swing };
    let steps = |reset| Rollout::Steps { panes: 5, events: 1_000, reset };
    vec![
        case(
            "healthy canaries rejected on a ramp from 1 to 25 %",
            "α = .05, R = 1,000, both arms swing by ±.5σ",
            0.0,
            1_000.0,
            ramp(0.5),
            Bar::AtMost(0.05),
        ),
        case(
            "healthy canaries rejected on a ramp from 1 to 25 %",
            "α = .05, R = 1,000, both arms swing by ±1.5σ",
            0.0,
            1_000.0,
            ramp(1.5),
            Bar::AtMost(0.05),
        ),
        case(
            "regressions found on a ramp of 5 % a minute to 25 %",
            "KS δ = .1, 1,000 events a minute, α = .05",
            0.1,
            1_000.0,
            steps(false),
            Bar::AtLeast(0.95),
        ),
        case("… if every new weight began a new epoch", "the same", 0.1, 1_000.0, steps(true), Bar::None),
    ]
}

fn sticky(repetitions: u64) -> Vec<Case> {
    let case = |what, conditions: &str, distance, corrected, bar| Case {
        what,
        conditions: conditions.to_owned(),
        task: Task::Sticky(Sticky {
            users: 2_000,
            icc: 0.2,
            distance,
            panes: 240,
            events: 1_000,
            alpha: 0.005,
            horizon: 1_000.0,
            corrected,
        }),
        summary: Summary::Mean,
        bar,
        repetitions,
    };
    let rejected = "healthy canaries of 2,000 sticky users rejected";
    vec![
        case(
            rejected,
            "ICC .2, 120 events each, α = .005, φ of panes and units",
            0.0,
            true,
            Bar::AtMost(0.02),
        ),
        case(rejected, "the same, φ = 1", 0.0, false, Bar::None),
        case(
            "regressions of sticky users found",
            "KS δ = .1, else the same, φ of panes and units",
            0.1,
            true,
            Bar::None,
        ),
    ]
}

fn dependent(repetitions: u64) -> Vec<Case> {
    let case = |conditions: &str, corrected, bar| Case {
        what: "healthy canaries of an autoregressive series rejected",
        conditions: conditions.to_owned(),
        task: Task::Dependent(Dependent {
            rho: 0.9,
            before: 20,
            panes: 240,
            canary: 50,
            stable: 450,
            alpha: 0.05,
            horizon: 1_000.0,
            corrected,
        }),
        summary: Summary::Mean,
        bar,
        repetitions,
    };
    vec![
        case(
            "ρ = .9, α = .05, panes of 50 + 450, φ of 20 panes before and all since",
            true,
            Bar::AtMost(0.06),
        ),
        case("the same, φ = 1", false, Bar::None),
    ]
}

fn promotions(repetitions: u64) -> Vec<Case> {
    let promotion = |baseline, alpha, until, counts_events| {
        let policy = PolicyConfig { alpha, ..PolicyConfig::default() };
        Task::Promotion(Promotion { baseline, policy, events: [225, 25], until, counts_events })
    };
    let case = |what, conditions: &str, task, summary, bar| Case {
        what,
        conditions: conditions.to_owned(),
        task,
        summary,
        bar,
        // Each of them watches thousands of panes.
        repetitions: repetitions.div_ceil(5),
    };
    let (events, share) = ("median canary events until promoted", "healthy canaries ever promoted");
    vec![
        case(
            events,
            "ε = .05, prediction baselines of 10,000 rows, α = .1",
            promotion(10_000, 0.1, 100_000, true),
            Summary::Median,
            Bar::None,
        ),
        case(
            events,
            "the same, shipped: α = .01",
            promotion(10_000, 0.01, 100_000, true),
            Summary::Median,
            Bar::None,
        ),
        case(
            share,
            "ε = .05, prediction baselines of 5,000 rows, shipped; up to 100,000 canary events",
            promotion(5_000, 0.01, 100_000, false),
            Summary::Mean,
            Bar::AtMost(0.0),
        ),
    ]
}
