use super::*;
use crate::baseline::Tolerance;
use crate::judge::dispersion::Dispersion;
use crate::judge::fixture::{HEALTHY, watched, window};
use crate::judge::measure::{SeriesMeasurement, measure};
use crate::judge::plan::MeasurePlan;
use crate::judge::report::Reference;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use crate::stats::normal;
use crate::stats::rates::Change;
use crate::stats::sequential::betting::{Betting, Terms};
use crate::stats::sequential::srm::Sampling;
use crate::stats::sequential::stratified::Stratified;
use fastrand::Rng;
use std::f64::consts::TAU;
use std::sync::Arc;

const RUNS: u32 = 120;
const EVENTS: f64 = 400.0;
const WEIGHTS: [f64; 3] = [0.1, 0.25, 0.5];
const TOLERANCE: f64 = 0.02;
const VALUES: u64 = 10_000;

fn arms() -> Arms {
    Arms {
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        inputs: 1,
        answers: 1,
        labelled: 0,
        answer_values: [VALUES; 2],
        stable_values: VALUES,
        unfit: None,
    }
}

fn ramp(panes: u64) -> Ramp {
    let steps = WEIGHTS.iter().map(|&weight| Step { weight, panes }).collect();
    Ramp { requests_per_pane: EVENTS, steps, phi: 1.0, error_rate: 0.01 }
}

fn uniform_cell(rng: &mut Rng, shift: f64, cells: usize) -> usize {
    let value = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos() + shift;
    let rank = 1.0 - normal::sf(value);
    ((rank * cells as f64) as usize).min(cells - 1)
}

fn counts(rng: &mut Rng, events: u64, shift: f64, cells: usize) -> Vec<u64> {
    let mut counts = vec![0; cells];
    (0..events).for_each(|_| counts[uniform_cell(rng, shift, cells)] += 1);
    counts
}

/// The shift of a normal law, in σ, that makes a distance: D = 2Φ(s/2) − 1.
fn shift_of(distance: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..60 {
        let middle: f64 = (low + high) / 2.0;
        if 1.0 - 2.0 * normal::sf(middle / 2.0) < distance { low = middle } else { high = middle }
    }
    high
}

/// The share of rollouts of three steps in which a distance is found: of an answer with baselines, or an input.
fn power(rng: &mut Rng, panes: u64, distance: f64, cells: usize, answer: bool, tests: f64) -> f64 {
    let shift = shift_of(distance);
    let level = PolicyConfig::default().alpha / 2.0 / tests;
    let mut found = 0;
    for _ in 0..RUNS {
        let references = answer.then(|| [0, 1].map(|_| counts(rng, VALUES, 0.0, cells)));
        let (mut strata, mut looks) = (Stratified::new(cells), Looks::new(DEFAULT_HORIZON));
        for weight in WEIGHTS {
            for _ in 0..panes {
                let canary = (0..EVENTS as u64).filter(|_| rng.f64() < weight).count() as u64;
                let of_canary = counts(rng, canary, shift, cells);
                strata.add(&of_canary, &counts(rng, EVENTS as u64 - canary, 0.0, cells));
                let (information, events) = (strata.strata().information, strata.strata().canary_events);
                if looks.is_due(information, events) {
                    let difference = match &references {
                        Some([own, other]) => strata.difference_in_differences(own, other, 1.0),
                        None => strata.difference(false, 1.0),
                    };
                    looks.take(information, difference.expect("it fits").z(TOLERANCE));
                }
            }
        }
        found += u32::from(looks.smallest_p <= level);
    }
    f64::from(found) / f64::from(RUNS)
}

/// The share of rollouts in which errors that rise are found.
fn power_of_errors(rng: &mut Rng, panes: u64, rise: f64) -> f64 {
    let mut found = 0;
    for _ in 0..RUNS {
        let mut test = Betting::of_rate();
        let terms = Terms { tolerance: ERROR_TOLERANCE, phi: 1.0, change: Change::Rose };
        for weight in WEIGHTS {
            for _ in 0..panes {
                let mut pane = [[0u64; 2]; 2];
                for _ in 0..EVENTS as u64 {
                    let canary = rng.f64() < weight;
                    let failed = rng.f64() < if canary { 0.01 + rise } else { 0.01 };
                    pane[usize::from(canary)][usize::from(!failed)] += 1;
                }
                test.add(&pane[1], &pane[0], terms);
            }
        }
        found += u32::from(test.p_value() <= error_level(0));
    }
    f64::from(found) / f64::from(RUNS)
}

/// What is seen at .8 and 1.2 times the distance foretold lies around a power of .8.
#[test]
fn distances_are_found_as_foretold_to_within_a_fifth() {
    let mut rng = Rng::with_seed(77);
    for panes in [3, 10] {
        let found = forecast(&arms(), &PolicyConfig::default(), TOLERANCE, &ramp(panes));
        let last = found.steps.last().expect("three steps");
        let answer = last.answer.expect("seen");
        let around = [0.8, 1.2].map(|part| power(&mut rng, panes, part * answer, 257, true, 1.0));
        assert!(
            around[0] <= 0.8 && 0.8 <= around[1],
            "PIT-D {answer} after {panes} panes a step: {around:?}"
        );
        let input = last.input.expect("seen");
        let around = [0.8, 1.2].map(|part| power(&mut rng, panes, part * input, 128, false, 2.0));
        assert!(around[0] <= 0.8 && 0.8 <= around[1], "D {input} after {panes} panes a step: {around:?}");
        assert!(answer > input - 0.01, "the baselines' noise comes on top: {answer}, {input}");
    }
}

#[test]
fn errors_are_found_as_foretold_to_within_a_fifth() {
    let mut rng = Rng::with_seed(78);
    for panes in [5, 20] {
        let found = forecast(&arms(), &PolicyConfig::default(), TOLERANCE, &ramp(panes));
        let rise = found.steps[2].error_rise.expect("seen");
        let around = [0.8, 1.2].map(|part| power_of_errors(&mut rng, panes, part * rise));
        assert!(around[0] <= 0.8 && 0.8 <= around[1], "{rise} after {panes} panes a step: {around:?}");
    }
}

/// statistics.md §9.10: with m = 5,000 an ε of .05 is never reached, with 10,000 it takes 18,500 canary events.
#[test]
fn promotion_takes_as_many_events_as_the_baselines_ask_for() {
    let policy = PolicyConfig::default();
    let tenth = |values: u64| {
        let steps = vec![Step { weight: 0.1, panes: 10 }];
        let ramp = Ramp { requests_per_pane: 10_000.0, steps, phi: 1.0, error_rate: 0.01 };
        forecast(&Arms { answer_values: [values; 2], ..arms() }, &policy, TOLERANCE, &ramp).promotion
    };
    let found = tenth(10_000);
    let events = found.canary_events.expect("reached");
    assert!((18_000.0..=19_500.0).contains(&events) && found.never.is_none(), "{found:?}");
    let never = tenth(5_000);
    let why = never.never.expect("out of reach");
    assert!(never.pane.is_none() && why.contains("5000 (canary) and 5000 (stable)"), "{why}");
    assert!(why.contains("not even half of healthy canaries") && why.contains("more than 7663"), "{why}");
    assert!(tenth(1_000).never.is_some_and(|why| why.contains("let no canary be shown")));
}

#[test]
fn a_rollback_needs_baselines_that_can_be_blamed() {
    let policy = PolicyConfig::default();
    let found = forecast(&arms(), &policy, TOLERANCE, &ramp(10));
    let limit = found.rollback.limit.expect("there is one");
    let last = found.steps[2].rollback.expect("possible");
    assert!(limit < last && found.steps[2].answer.is_some_and(|answer| answer < last), "{found:?}");
    let first = found.rollback.first_pane.expect("possible");
    assert!((3..30).contains(&first), "{first}");
    let unfit = Arms { unfit: Some("version v2 has no prediction baseline of its own".to_owned()), ..arms() };
    let found = forecast(&unfit, &policy, TOLERANCE, &ramp(10));
    assert_eq!((found.rollback.first_pane, found.steps[2].rollback), (None, None));
    assert!(found.rollback.never.is_some_and(|why| why.contains("no prediction baseline of its own")));
    let anyhow = PolicyConfig { unattributed: Decision::Rollback, ..policy.clone() };
    let found = forecast(&unfit, &anyhow, TOLERANCE, &ramp(10));
    assert_eq!(found.steps[2].rollback, found.steps[2].answer);
    let blind = Arms { answers: 0, inputs: 0, ..arms() };
    let found = forecast(&blind, &policy, TOLERANCE, &ramp(10));
    assert_eq!((found.steps[2].answer, found.steps[2].input, found.answer_limit), (None, None, None));
    assert!(found.rollback.never.is_some() && found.promotion.never.is_some());
}

#[test]
fn before_the_first_look_nothing_is_seen() {
    let slow = Ramp { requests_per_pane: 5.0, ..ramp(10) };
    let found = forecast(&arms(), &PolicyConfig::default(), TOLERANCE, &slow);
    let first = found.steps[0];
    assert_eq!((first.answer, first.input, first.rollback), (None, None, None));
    assert!((first.canary_events - 5.0).abs() < 1e-9 && (first.stable_events - 45.0).abs() < 1e-9);
    assert!(found.steps.iter().all(|step| step.answer.is_none()), "42.5 canary events: {found:?}");
    assert!(found.promotion.pane.is_some_and(|pane| pane > 1_000), "the last weight stays: {found:?}");
}

/// Of a thousand requests of which a tenth are the canary's, 100 of its events come, and 90 of stable's.
#[test]
fn a_plan_counts_the_events_that_are_sent() {
    let one = |events: f64, weight: f64, policy: &PolicyConfig| {
        let ramp = Ramp { requests_per_pane: events, steps: vec![Step { weight, panes: 50 }], ..ramp(1) };
        StepSight { weight: 0.0, ..forecast(&arms(), policy, TOLERANCE, &ramp).steps[0] }
    };
    let sampling = Sampling { stable: 0.1, canary: 1.0 };
    let sampled = one(1_000.0, 0.1, &PolicyConfig { sampling, ..PolicyConfig::default() });
    assert!((sampled.canary_events - 5_000.0).abs() < 1e-6 && (sampled.stable_events - 4_500.0).abs() < 1e-6);
    let whole = one(190.0, 0.1 / 0.19, &PolicyConfig::default());
    let apart = sampled.answer.zip(whole.answer).map(|(sampled, whole)| (sampled - whole).abs());
    assert!(apart.is_some_and(|apart| apart < 1e-9), "{sampled:?} {whole:?}");
}

/// Beyond R·I₀ the evidence begins anew, and what was found stays found.
#[test]
fn an_epoch_that_ends_hides_nothing_that_was_seen() {
    let at = |panes: u64| {
        let steps = vec![Step { weight: 0.5, panes }];
        let ramp = Ramp { requests_per_pane: 1_000.0, steps, phi: 1.0, error_rate: 0.01 };
        forecast(&arms(), &PolicyConfig::default(), TOLERANCE, &ramp).steps[0]
    };
    let (before, after) = (at(1_000), at(1_002));
    assert_eq!((before.answer, before.input), (after.answer, after.input));
    assert!(after.rollback.expect("still") > before.rollback.expect("possible"), "bounds are the epoch's");
}

#[test]
fn what_can_never_be_promoted_is_named() {
    let policy = PolicyConfig::default();
    let model = watched(true);
    assert_eq!(unreachable_promotions(&model, &policy), Vec::<String>::new());
    let said = unreachable_promotions(&model, &PolicyConfig { promote_below: 0.02, ..policy.clone() });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("v2 beside v1 is never called good: prediction baselines of 20000"), "{said:?}");
    assert!(Arms::of(&model, "v1", "v9").is_none());
}

#[test]
fn larger_windows_see_smaller_drifts() {
    let model = watched(true);
    let budget = Budget::new(&BudgetConfig::default(), &MeasurePlan::new(&model), 60_000);
    let sights = reference_sights(&model.versions[0], &budget, 200.0, 1.0);
    assert_eq!(sights.iter().map(|one| one.scale).collect::<Vec<_>>(), [1, 4, 16, 64]);
    let features: Vec<f64> = sights.iter().map(|one| one.feature.expect("seen")).collect();
    assert!(features.windows(2).all(|pair| pair[1] < pair[0]) && features[3] > TOLERANCE, "{features:?}");
    let first = &sights[0];
    assert!(first.feature_drift > first.feature && first.prediction_drift > first.prediction, "{first:?}");
    let few = reference_sights(&model.versions[0], &budget, 10.0, 1.0);
    assert_eq!((few[0].feature, few[1].prediction), (None, None), "40 values are fewer than 50");
    assert!(few[2].feature.is_some());
}

#[test]
fn a_series_that_usually_strays_is_foretold_by_itself_as_it_is_judged() {
    let mut model = watched(true);
    let amount = &mut model.versions[0].series[0].reference;
    let own = |scale, delta| Tolerance { scale, delta, blocks: 20, psi: None };
    Arc::make_mut(amount).traits.tolerances = vec![own(1, 0.07), own(4, 0.02), own(16, 0.15)];
    let plan = MeasurePlan::new(&model);
    let budget = Budget::new(&BudgetConfig::default(), &plan, 60_000);
    let sights = reference_sights(&model.versions[0], &budget, HEALTHY.events as f64, 1.0);
    let named = |sight: &ReferenceSight| sight.own.iter().map(|one| one.series.clone()).collect::<Vec<_>>();
    assert_eq!(
        sights.iter().map(named).collect::<Vec<_>>(),
        [vec!["amount"], vec![], vec!["amount"], vec![]]
    );
    let measured = measure(&plan, &window(&model, 1, HEALTHY, HEALTHY, 3), &Dispersion::default());
    let rules = VerdictRules::Budget(budget);
    let judged = |name: &str| {
        let found = |one: &&SeriesMeasurement| one.name == name && one.reference == Reference::Baseline;
        let one = measured[0].series.iter().find(found).expect("measured");
        rules.judge(one).smallest.expect("known").1
    };
    let (sight, close) = (&sights[0], |a: Option<f64>, b: f64| (a.expect("seen") - b).abs() < 1e-9);
    assert!(close(sight.own[0].warning, judged("amount")), "{:?} {}", sight.own, judged("amount"));
    assert!(close(sight.feature, judged("age")), "{:?} {}", sight.feature, judged("age"));
    // Beyond the limit of drift, a tolerance takes its place.
    let beyond = &sights[2].own[0];
    assert_eq!((beyond.tolerance, beyond.warning), (0.15, beyond.drift));
}
