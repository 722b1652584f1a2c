use super::{Budget, BudgetConfig};
use crate::baseline::{BaselineSeries, Tolerance};
use crate::judge::fixture::{self, HEALTHY, Traffic, watched, window};
use crate::judge::plan::MeasurePlan;
use crate::judge::report::{Reference, Report, SeriesReport, Severity, Verdict};
use crate::judge::streaks::Streaks;
use crate::judge::verdict::VerdictRules;
use std::sync::Arc;

const PANE_MS: i64 = 60_000;

fn budget() -> Budget {
    Budget::new(&BudgetConfig::default(), &MeasurePlan::new(&watched(true)), PANE_MS)
}

struct Run {
    streaks: Streaks,
    number: i64,
    seed: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        Run { streaks: Streaks::default(), number: 0, seed }
    }

    /// Stable's report of one more window.
    fn take(&mut self, traffic: Traffic) -> Report {
        self.number += 1;
        let model = watched(true);
        let window = window(&model, self.number, traffic, HEALTHY, self.seed);
        let rules = VerdictRules::Budget(budget());
        fixture::judge(&model, &window, &rules, &mut self.streaks).1.swap_remove(0)
    }
}

fn series<'a>(report: &'a Report, name: &str) -> &'a SeriesReport {
    let found = report.series.iter().find(|one| one.name == name && one.reference == Reference::Baseline);
    found.expect("reported")
}

/// statistics.md §4.3: tests a day = series · Σ_s P/max(1, s/4), per-test α = budget / tests.
#[test]
fn the_levels_of_all_tests_of_a_day_add_up_to_the_budget() {
    let plan = MeasurePlan::new(&watched(true));
    let evaluations = 1_440.0 + 1_440.0 + 360.0 + 90.0;
    let tests = plan.tests();
    // 2 numeric features twice, 2 others once: of three versions, and of the canary against stable.
    assert_eq!((tests[0], tests[1]), (4 * 6, 4 * 3));
    let budget = budget();
    let spent: f64 =
        tests.iter().zip(budget.alpha).map(|(tests, alpha)| *tests as f64 * evaluations * alpha).sum();
    assert!((spent - 0.1).abs() < 1e-12, "{spent}");
    let of_features = tests[0] as f64 * evaluations * budget.alpha[0];
    assert!((of_features - 0.05).abs() < 1e-12);
}

#[test]
fn quiet_windows_raise_nothing_and_say_what_they_would_have_shown() {
    let mut run = Run::new(3);
    for _ in 0..60 {
        let report = run.take(HEALTHY);
        assert_eq!((report.verdict, report.severity), (Verdict::Healthy, None), "{}", report.reason);
        assert!(report.reason.contains("would have been seen in any"), "{}", report.reason);
        let effect = series(&report, "amount").effect.as_ref().expect("tested");
        assert!(effect.p_value > effect.alpha && effect.lower.is_none_or(|lower| lower <= effect.tolerance));
    }
    assert!(run.streaks.is_empty());
}

#[test]
fn an_effect_must_be_significant_and_large_and_its_bound_gives_the_severity() {
    for (shift, verdict, severity) in [
        // Within what 2,000 values can show.
        (0.03, Verdict::Healthy, None),
        (0.13, Verdict::Warning, Some(Severity::Warning)),
        (0.22, Verdict::Drift, Some(Severity::Drift)),
        (0.40, Verdict::Drift, Some(Severity::Severe)),
    ] {
        let report = Run::new(5).take(Traffic { amount: shift, ..HEALTHY });
        let amount = series(&report, "amount");
        let ks = amount.effect.as_ref().filter(|effect| effect.metric == "ks");
        // PSI of what lies beyond the range is larger: that half of the test is on the values' KS only.
        if let Some(effect) = ks {
            assert_eq!((amount.verdict, amount.severity), (verdict, severity), "{shift}: {effect:?}");
            let (lower, upper) = (effect.lower.expect("ks"), effect.upper.expect("ks"));
            assert!(lower < shift && shift < upper, "{effect:?}");
        } else {
            assert!(amount.verdict >= verdict, "{shift}: {amount:?}");
        }
    }
}

#[test]
fn a_tolerance_of_the_series_own_is_above_the_threshold_of_the_report() {
    let report = |psi: Option<f64>| {
        let mut model = watched(true);
        let amount = &mut model.versions[0].series[0];
        let own = |psi| Tolerance { scale: 1, delta: 0.3, blocks: 20, psi: Some(psi) };
        let BaselineSeries { name, traits, .. } = Arc::make_mut(&mut amount.reference);
        assert_eq!(name, "amount");
        traits.tolerances = psi.map(own).into_iter().collect();
        let window = window(&model, 1, Traffic { amount: 0.12, ..HEALTHY }, HEALTHY, 5);
        let rules = VerdictRules::Budget(budget());
        fixture::judge(&model, &window, &rules, &mut Streaks::default()).1.swap_remove(0)
    };
    for (own, verdict) in [(None, Verdict::Drift), (Some(0.9), Verdict::Healthy)] {
        let report = report(own);
        let effect = series(&report, "amount").effect.clone().expect("tested");
        assert_eq!((effect.metric.as_str(), effect.tolerance), ("psi", own.unwrap_or(0.02)));
        assert_eq!((report.threshold, series(&report, "amount").verdict), (0.06, verdict), "{effect:?}");
        assert!(report.feature_drift_score > Some(report.threshold), "{:?}", report.feature_drift_score);
    }
}

#[test]
fn rates_are_judged_by_their_difference() {
    let report = Run::new(6).take(Traffic { age_missing: 0.3, ..HEALTHY });
    let missing = series(&report, "age.missing");
    let effect = missing.effect.as_ref().expect("tested");
    assert_eq!((effect.metric.as_str(), missing.severity), ("rate", Some(Severity::Severe)), "{effect:?}");
    assert!((0.25..0.35).contains(&effect.value) && effect.lower.expect("of a rate") > 0.2);
    let beyond = Run::new(6).take(Traffic { amount: 0.08, ..HEALTHY });
    let out = series(&beyond, "amount.out_of_range");
    assert_eq!(out.verdict, Verdict::Warning, "{:?}", out.effect);
}

#[test]
fn what_too_few_values_would_have_shown_is_named() {
    let report = Run::new(7).take(Traffic { events: 120, ..HEALTHY });
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert!(report.reason.starts_with("120 events, too few: "), "{}", report.reason);
    let scarce = Run::new(7).take(Traffic { events: 30, ..HEALTHY });
    assert_eq!(scarce.reason, "30 events, 20 short of the 50 a verdict needs.");
    // A few values are enough for what is large.
    let broken = Run::new(7).take(Traffic { events: 120, amount: 0.6, ..HEALTHY });
    assert_eq!(broken.verdict, Verdict::Drift, "{}", broken.reason);
}

#[test]
fn a_level_is_raised_at_once_and_held_until_it_was_quiet_twice() {
    let mut run = Run::new(8);
    let shifted = Traffic { amount: 0.4, ..HEALTHY };
    let verdicts: Vec<Verdict> = [HEALTHY, shifted, HEALTHY, shifted, HEALTHY, HEALTHY, HEALTHY]
        .into_iter()
        .map(|traffic| series(&run.take(traffic), "amount").verdict)
        .collect();
    use Verdict::{Drift, Healthy};
    assert_eq!(verdicts, [Healthy, Drift, Drift, Drift, Drift, Healthy, Healthy]);
    assert!(run.streaks.is_empty());
}
