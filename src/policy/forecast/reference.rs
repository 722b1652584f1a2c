//! What windows of a version show of its drift from training.

use crate::baseline::{SCALES, WatchedSeries, WatchedVersion};
use crate::event::SeriesOf;
use crate::judge::report::MeasuredOf;
use crate::judge::verdict::{Budget, DRIFT, LEAST_BASELINE};
use crate::stats::bounds::{effective_size, fixed_critical_value, smallest_detectable};
use serde::Serialize;

/// What a window of one scale shows with a power of .8. `None`: nothing, however large, or there is no such series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceSight {
    /// Panes of the window.
    pub scale: u32,
    /// Expected values of a series in it.
    pub values: f64,
    /// The smallest D between a feature and its baseline that is a warning: `δ0 + (c + .42)/√n`,
    /// `n = 1/(φ/values + 1/m)`; and the smallest that is drift, which pages.
    pub feature: Option<f64>,
    pub feature_drift: Option<f64>,
    /// The same of a prediction.
    pub prediction: Option<f64>,
    pub prediction_drift: Option<f64>,
    /// The series that usually stray by more than `budget.tolerance` in such windows: the numbers above are not theirs.
    pub own: Vec<OwnSight>,
}

/// The same of one series with a tolerance of its own (a baseline with times, `[[model.noise]]`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnSight {
    pub series: String,
    pub of: MeasuredOf,
    /// δ0 of this series, in place of `budget.tolerance`.
    pub tolerance: f64,
    pub warning: Option<f64>,
    pub drift: Option<f64>,
}

/// What the budget sees of a version that gets `events_per_pane`, by scale.
pub fn reference_sights(
    version: &WatchedVersion,
    budget: &Budget,
    events_per_pane: f64,
    phi: f64,
) -> Vec<ReferenceSight> {
    let of_scale = |scale: u32| {
        let window = Window { values: events_per_pane * f64::from(scale), phi, budget };
        let both = |of: SeriesOf| {
            let least = version.of(of).map(|(_, one)| one.reference.n()).min();
            least.map_or([None, None], |m| window.smallest(measured(of), m, budget.tolerance))
        };
        let own = |one: &WatchedSeries| {
            let (of, m) = (measured(one.reference.of), one.reference.n());
            let tolerance = one.reference.tolerance(scale)?.delta;
            let [warning, drift] = window.smallest(of, m, tolerance);
            let own = OwnSight { series: one.reference.name.clone(), of, tolerance, warning, drift };
            (tolerance > budget.tolerance).then_some(own)
        };
        let ([feature, feature_drift], [prediction, prediction_drift]) =
            (both(SeriesOf::Feature), both(SeriesOf::Prediction));
        let own = version.series.iter().filter_map(own).collect();
        let values = window.values;
        ReferenceSight { scale, values, feature, feature_drift, prediction, prediction_drift, own }
    };
    SCALES.map(of_scale).to_vec()
}

fn measured(of: SeriesOf) -> MeasuredOf {
    match of {
        SeriesOf::Feature => MeasuredOf::Feature,
        SeriesOf::Prediction => MeasuredOf::Prediction,
    }
}

/// So many values of each series.
struct Window<'a> {
    values: f64,
    phi: f64,
    budget: &'a Budget,
}

impl Window<'_> {
    /// The smallest D from a baseline of `m` values that is a warning, and that is drift.
    fn smallest(&self, of: MeasuredOf, m: u64, tolerance: f64) -> [Option<f64>; 2] {
        if self.values < self.budget.min_samples as f64 || m < LEAST_BASELINE {
            return [None, None];
        }
        let c = fixed_critical_value(self.budget.alpha_of(of));
        let n = effective_size(self.values / self.phi.max(1.0), m as f64);
        let found = |limit: f64| Some(smallest_detectable(n, c, limit)).filter(|found| *found <= 1.0);
        [found(tolerance), found(tolerance.max(DRIFT))]
    }
}
