//! Discrete series by simulation: the size of their test by value, and what only it sees.

use super::{Budget, BudgetConfig, VerdictRules};
use crate::baseline::{Baseline, Rollout, SeriesType, WatchedModel, numeric_series};
use crate::event::{EventTime, ModelId, SeriesOf};
use crate::judge::dispersion::Dispersion;
use crate::judge::measure::{SeriesMeasurement, measure};
use crate::judge::plan::MeasurePlan;
use crate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use fastrand::Rng;
use std::sync::Arc;

const VALUES: usize = 12;
const ROWS: usize = 40_000;

/// Shares that fall to either side of the middle, the last of them rare, leaning to one end by `lean`.
fn shares(lean: f64) -> [f64; VALUES] {
    let weight = |value: usize| {
        let at = value as f64 - 5.0;
        (-0.1 * at * at + lean * at).exp()
    };
    let all: f64 = (0..VALUES).map(weight).sum();
    std::array::from_fn(|value| weight(value) / all)
}

fn index(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

/// The lean at which the index is `wanted`.
fn lean_of(wanted: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if index(&shares(0.0), &shares(middle)) < wanted { low = middle } else { high = middle }
    }
    low
}

fn draw(shares: &[f64], rng: &mut Rng) -> usize {
    let mut left = rng.f64();
    let reaches = |share: &f64| {
        left -= share;
        left < 0.0
    };
    shares.iter().position(reaches).unwrap_or(VALUES - 1)
}

fn plan(rng: &mut Rng) -> MeasurePlan {
    let values = (0..ROWS).map(|_| draw(&shares(0.0), rng) as f64).collect();
    let series = numeric_series("items", SeriesOf::Feature, values, 0);
    assert_eq!((series.series_type(), series.counts.len()), (SeriesType::Discrete, 2 * VALUES + 1));
    let baseline = Baseline {
        model: "shop".to_owned(),
        version: "v1".to_owned(),
        rows: ROWS as u64,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: vec![Arc::new(series)],
    };
    let id = ModelId { namespace: "ml".to_owned(), name: "shop".to_owned() };
    let watched = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("a baseline");
    MeasurePlan::new(&watched)
}

/// `n` live values, as `live` makes one, measured.
fn measured(plan: &MeasurePlan, n: u64, mut live: impl FnMut() -> usize) -> SeriesMeasurement {
    let mut counts = SeriesCounts { cells: vec![0; 2 * VALUES + 1], rows: n, ..SeriesCounts::default() };
    (0..n).for_each(|_| counts.cells[2 * live() + 1] += 1);
    let arm = ArmWindow {
        stable_events: n,
        series: vec![counts],
        panes: 1,
        complete: true,
        ..ArmWindow::default()
    };
    let (start, end) = (EventTime(0), EventTime(60_000));
    let window = ModelWindow {
        model: 0,
        start,
        end,
        scale: 1,
        revised: false,
        set_weight: Default::default(),
        arms: vec![arm],
    };
    measure(plan, &window, &Dispersion::default()).swap_remove(0).series.swap_remove(0)
}

/// At the index that is tolerated, rejections at .01 and .001 stay about there; without drift there are none.
#[test]
fn the_test_by_value_has_its_size() {
    let mut rng = Rng::with_seed(21);
    let plan = plan(&mut rng);
    for n in [1_000, 4_000] {
        let mut rejected = |lean: f64| {
            let mut rejected = [0; 2];
            for _ in 0..2_000 {
                let found = measured(&plan, n, || draw(&shares(lean), &mut rng)).psi_test.expect("by value");
                assert_eq!(found.limits[0], 0.02);
                for (count, alpha) in rejected.iter_mut().zip([0.01, 0.001]) {
                    *count += usize::from(found.beyond[0] <= alpha);
                }
            }
            rejected
        };
        let [hundredth, thousandth] = rejected(lean_of(0.02));
        // Three standard errors of 20 and of 2.
        assert!(hundredth <= 33 && thousandth <= 6, "{hundredth}, {thousandth} of 2000 at {n}");
        assert_eq!(rejected(0.0), [0, 0], "at {n}");
    }
    assert!(measured(&plan, 999, || draw(&shares(1.0), &mut rng)).psi_test.is_none(), "KS says it");
}

/// A shift is found by both; that uneven numbers come as the even ones above them is hardly any distance.
#[test]
fn what_happens_to_single_values_is_seen_by_value() {
    let mut rng = Rng::with_seed(22);
    let plan = plan(&mut rng);
    let rules = VerdictRules::Budget(Budget::new(&BudgetConfig::default(), &plan, 60_000));
    let mut found = |n: u64, lean: f64, rounded: f64| {
        let mut by_metric = [0; 2];
        for _ in 0..100 {
            let live = || {
                let value = draw(&shares(lean), &mut rng);
                if value % 2 == 1 && rng.f64() < rounded { value - 1 } else { value }
            };
            let measurement = measured(&plan, n, live);
            let excess = rules.excess(&measurement).expect("enough values");
            if excess.level >= super::Level::Warning {
                by_metric[usize::from(excess.metric == "psi")] += 1;
            }
        }
        by_metric
    };
    assert_eq!(found(4_000, 0.0, 0.0), [0, 0]);
    let [by_ks, by_psi] = found(4_000, 0.12, 0.0);
    assert!(by_ks + by_psi >= 95, "a shift: {by_ks} by KS, {by_psi} by PSI");
    // A third of the uneven ones.
    let [by_ks, by_psi] = found(4_000, 0.0, 0.33);
    assert!(by_psi >= 95, "rounding: {by_ks} by KS, {by_psi} by PSI");
    // In small windows KS decides.
    let [by_ks, by_psi] = found(300, 0.3, 0.0);
    assert!(by_ks >= 95 && by_psi == 0, "a shift of few values: {by_ks} by KS, {by_psi} by PSI");
}
