use super::arms;
use super::dispersion::Dispersion;
use super::fixture::{self, HEALTHY, Traffic, watched, window};
use super::measure::{SeriesMeasurement, measure};
use super::plan::MeasurePlan;
use super::report::{MeasuredOf, Reference, Report, Verdict};
use super::streaks::Streaks;
use super::verdict::{Level, Thresholds, VerdictRules};
use crate::baseline::Rollout;
use crate::event::Role;

const PLAIN: Thresholds = Thresholds {
    psi_warning: 0.1,
    psi_drift: 0.25,
    ks_warning: 0.1,
    ks_drift: 0.2,
    min_samples: 500,
    evaluations: 2,
};
const THRESHOLDS: VerdictRules = VerdictRules::Thresholds(PLAIN);
const SHIFTED: Traffic = Traffic { amount: 0.4, ..HEALTHY };
/// KS .15: a warning, not drift. PSI of a tenth beyond the range is larger, so it is taken out of the verdict.
const NUDGED: Traffic = Traffic { amount: 0.15, ..HEALTHY };

fn find<'a>(
    series: &'a [SeriesMeasurement],
    name: &str,
    of: MeasuredOf,
    reference: Reference,
) -> &'a SeriesMeasurement {
    series
        .iter()
        .find(|one| one.name == name && one.of == of && one.reference == reference)
        .expect("measured")
}

fn verdict_of(report: &Report, name: &str) -> Verdict {
    report
        .series
        .iter()
        .find(|one| one.name == name && one.reference == Reference::Baseline)
        .expect("measured")
        .verdict
}

#[test]
fn every_series_is_measured_against_its_baseline_and_the_shared_ones_against_stable() {
    let model = watched(true);
    let measured =
        measure(&MeasurePlan::new(&model), &window(&model, 0, HEALTHY, SHIFTED, 1), &Dispersion::default());
    assert_eq!(measured.len(), 2);
    assert_eq!((measured[0].role, measured[1].role), (Some(Role::Stable), Some(Role::Canary)));
    // 6 series, 6 of their missing values, 5 of unseen or out-of-range ones; the canary also 4 features and the
    // class against stable. The scores stand on other grids and are compared as ranks only.
    assert_eq!((measured[0].series.len(), measured[1].series.len()), (17, 22));
    let baseline = find(&measured[1].series, "amount", MeasuredOf::Feature, Reference::Baseline);
    let ks = baseline.ks.expect("numeric");
    assert!((0.35..0.45).contains(&ks.statistic), "{ks:?}");
    assert_eq!(ks.statistic, ks.upper, "every distinct value is a cut");
    assert!(ks.p_value < 1e-12 && baseline.psi.expect("bins").p_value < 1e-12);
    let stable = find(&measured[1].series, "amount", MeasuredOf::Feature, Reference::Stable);
    assert!(stable.ks.expect("numeric").upper >= stable.ks.expect("numeric").statistic);
    assert_eq!((stable.n, stable.m), (2_000, 2_000));
    let country = find(&measured[1].series, "country", MeasuredOf::Feature, Reference::Baseline);
    assert!(country.ks.is_none() && country.psi.is_some() && country.js.is_some());
    assert!((measured[1].traffic_share - 0.5).abs() < 1e-12);
}

#[test]
fn ranks_within_the_own_baseline_make_a_rescaled_score_no_difference() {
    let model = watched(true);
    let measured =
        measure(&MeasurePlan::new(&model), &window(&model, 0, HEALTHY, HEALTHY, 2), &Dispersion::default());
    let differences = measured[1].differences.as_ref().expect("both arms are there");
    assert_eq!((differences.inputs.len(), differences.answers.len()), (4, 2));
    for answer in &differences.answers {
        assert!(answer.pit_d.expect("both have values") < 0.07, "{answer:?}");
    }
    assert!(measured[0].differences.is_none());
}

#[test]
fn missing_values_are_a_quality_series_of_their_own() {
    let model = watched(true);
    let sparse = Traffic { age_missing: 0.4, ..HEALTHY };
    let measured =
        measure(&MeasurePlan::new(&model), &window(&model, 0, sparse, HEALTHY, 3), &Dispersion::default());
    let quality = find(&measured[0].series, "age.missing", MeasuredOf::Quality, Reference::Baseline);
    assert_eq!((quality.n, quality.m), (2_000, 20_000));
    assert!(quality.psi.expect("two bins").value > 1.0);
    let values = find(&measured[0].series, "age", MeasuredOf::Feature, Reference::Baseline);
    assert_eq!(values.n + values.missing, values.rows);
    assert!(values.psi.expect("bins").value < 0.1, "what is left is distributed as in training");
}

#[test]
fn a_quality_series_carries_its_own_counts_and_no_others() {
    let model = watched(true);
    let plan = MeasurePlan::new(&model);
    let traffic = Traffic { age_missing: 0.4, ..SHIFTED };
    let mut window = window(&model, 0, traffic, HEALTHY, 3);
    let of_series = |name: &str| {
        model.versions[0].series.iter().position(|one| one.reference.name == name).expect("a series")
    };
    let unseen = plan.versions[0].series[of_series("country")].unseen_cell.expect("a categorical series");
    window.arms[0].series[of_series("country")].cells[unseen] = 7;
    window.arms[0].series[of_series("age")].type_errors = 5;
    let measured = measure(&plan, &window, &Dispersion::default());
    let counts = |name: &str, of| {
        let one = find(&measured[0].series, name, of, Reference::Baseline);
        [one.missing, one.type_errors, one.unseen, one.out_of_range]
    };
    let quality = |name: &str| counts(name, MeasuredOf::Quality);
    let (age, amount) = (counts("age", MeasuredOf::Feature), counts("amount", MeasuredOf::Feature));
    assert!(age[0] > 700 && amount[3] > 0, "{age:?} {amount:?}");
    assert_eq!((quality("age.missing"), quality("age.out_of_range")), ([age[0], 5, 0, 0], [0, 0, 0, age[3]]));
    assert_eq!((quality("amount.missing"), quality("amount.out_of_range")), ([0; 4], [0, 0, 0, amount[3]]));
    assert_eq!((quality("country.missing"), quality("country.unseen")), ([0; 4], [0, 0, 7, 0]));
}

#[test]
fn drift_is_said_in_the_second_window_in_a_row_and_not_before() {
    let model = watched(true);
    let mut streaks = Streaks::default();
    let mut verdicts = Vec::new();
    for (number, traffic) in
        [HEALTHY, SHIFTED, HEALTHY, SHIFTED, SHIFTED, SHIFTED, HEALTHY].iter().enumerate()
    {
        let window = window(&model, number as i64, *traffic, HEALTHY, 4);
        let (_, reports) = fixture::judge(&model, &window, &THRESHOLDS, &mut streaks);
        verdicts.push(verdict_of(&reports[0], "amount"));
        assert_eq!(reports[0].verdict, verdict_of(&reports[0], "amount"), "{}", reports[0].reason);
        assert_eq!(reports[1].verdict, Verdict::Healthy, "{}", reports[1].reason);
    }
    use Verdict::{Drift, Healthy};
    assert_eq!(verdicts, [Healthy, Healthy, Healthy, Healthy, Drift, Drift, Healthy]);
    assert!(streaks.is_empty(), "a series below its thresholds is not remembered");
}

#[test]
fn a_drift_level_window_counts_for_the_warning_streak() {
    let model = watched(true);
    let plain = Thresholds { psi_warning: 99.0, psi_drift: 99.0, ..PLAIN };
    let thresholds = VerdictRules::Thresholds(plain);
    let mut streaks = Streaks::default();
    let mut verdicts = Vec::new();
    for (number, traffic) in [NUDGED, SHIFTED, SHIFTED, NUDGED].iter().enumerate() {
        let window = window(&model, number as i64, *traffic, HEALTHY, 5);
        let (_, reports) = fixture::judge(&model, &window, &thresholds, &mut streaks);
        verdicts.push(verdict_of(&reports[0], "amount"));
    }
    assert_eq!(verdicts, [Verdict::Healthy, Verdict::Warning, Verdict::Drift, Verdict::Warning]);
}

#[test]
fn too_few_values_are_inconclusive_and_move_no_streak() {
    let model = watched(true);
    let mut streaks = Streaks::default();
    let scarce = Traffic { events: 499, ..SHIFTED };
    for (number, traffic) in [SHIFTED, scarce, SHIFTED].iter().enumerate() {
        let window = window(&model, number as i64, *traffic, HEALTHY, 6);
        let (_, reports) = fixture::judge(&model, &window, &THRESHOLDS, &mut streaks);
        match number {
            1 => {
                assert_eq!(reports[0].verdict, Verdict::Inconclusive);
                assert_eq!(reports[0].reason, "499 events, 1 short of the 500 a verdict needs.");
            }
            2 => assert_eq!(reports[0].verdict, Verdict::Drift, "{}", reports[0].reason),
            _ => assert!(reports[0].reason.contains("1 of the 2 windows"), "{}", reports[0].reason),
        }
    }
}

#[test]
fn a_threshold_is_reached_at_its_value() {
    let model = watched(true);
    let measured =
        measure(&MeasurePlan::new(&model), &window(&model, 0, SHIFTED, HEALTHY, 7), &Dispersion::default());
    let mut one = find(&measured[0].series, "amount", MeasuredOf::Feature, Reference::Baseline).clone();
    one.psi = None;
    for (statistic, level) in [(0.2, Level::Drift), (0.1, Level::Warning), (0.099_999, Level::Below)] {
        one.ks.as_mut().expect("numeric").statistic = statistic;
        assert_eq!(THRESHOLDS.excess(&one).expect("enough values").level, level);
    }
}

#[test]
fn revised_and_incomplete_windows_move_no_streak() {
    let model = watched(true);
    let mut streaks = Streaks::default();
    let mut first = window(&model, 0, SHIFTED, HEALTHY, 8);
    fixture::judge(&model, &first, &THRESHOLDS, &mut streaks);
    let before = streaks.clone();
    first.revised = true;
    fixture::judge(&model, &first, &THRESHOLDS, &mut streaks);
    let mut incomplete = window(&model, 1, SHIFTED, HEALTHY, 8);
    incomplete.arms.iter_mut().for_each(|arm| arm.complete = false);
    let (_, reports) = fixture::judge(&model, &incomplete, &THRESHOLDS, &mut streaks);
    assert_eq!((reports[0].verdict, reports[0].complete), (Verdict::Inconclusive, false));
    assert_eq!(streaks, before);
}

#[test]
fn streaks_survive_storing_and_restoring() {
    let model = watched(true);
    let mut streaks = Streaks::default();
    fixture::judge(&model, &window(&model, 0, SHIFTED, HEALTHY, 9), &THRESHOLDS, &mut streaks);
    let stored = serde_json::to_string(&streaks).expect("plain data");
    let mut restored: Streaks = serde_json::from_str(&stored).expect("what was written");
    assert_eq!(restored, streaks);
    restored.retain_watched(&model);
    let (_, reports) =
        fixture::judge(&model, &window(&model, 1, SHIFTED, HEALTHY, 9), &THRESHOLDS, &mut restored);
    assert_eq!(reports[0].verdict, Verdict::Drift);
    restored.retain_watched(&fixture::with_rollout(model.rollout.clone(), false));
    assert!(!restored.is_empty());
}

#[test]
fn roles_of_events_find_the_arms_and_contradictions_are_inconclusive() {
    let model = fixture::with_rollout(Rollout::Auto, true);
    let mut both = window(&model, 0, HEALTHY, HEALTHY, 10);
    (both.arms[0].stable_events, both.arms[0].unset_events) = (2_000, 0);
    (both.arms[1].canary_events, both.arms[1].unset_events) = (1_990, 10);
    let found = arms::resolve(&model, &both);
    assert_eq!((found.stable, found.canary, found.conflict.is_none()), (Some(0), Some(1), true));

    let mut mixed = both.clone();
    mixed.arms[1].mixed_roles = true;
    let (measurements, reports) = fixture::judge(&model, &mixed, &THRESHOLDS, &mut Streaks::default());
    assert_eq!(reports[1].verdict, Verdict::Inconclusive);
    assert_eq!(reports[1].reason, "version v2 was seen in both roles in one pane.");
    assert_eq!(reports[0].verdict, Verdict::Healthy, "nothing is wrong with the other version");
    assert!(measurements.iter().all(|arm| arm.differences.is_none() && arm.role.is_none()));

    let mut two = both.clone();
    (two.arms[0].stable_events, two.arms[0].canary_events) = (0, 2_000);
    let conflict = arms::resolve(&model, &two).conflict.expect("two canaries");
    assert_eq!(conflict.reason, "versions v1, v2 were all seen as canary");
}

#[test]
fn counts_of_another_layout_are_left_out_and_never_panic() {
    let model = watched(true);
    let mut odd = window(&model, 0, HEALTHY, HEALTHY, 11);
    odd.arms[0].series[0].cells.pop();
    odd.arms[0].series.truncate(3);
    odd.arms[1].version.version = 99;
    let (measurements, reports) = fixture::judge(&model, &odd, &THRESHOLDS, &mut Streaks::default());
    assert_eq!((measurements.len(), reports.len()), (1, 1));
    // The two series that are left, their missing values, and what lies beyond their range.
    assert_eq!(measurements[0].series.len(), 6);
}
