//! What windows of a version show of its drift from training.

use crate::baseline::{SCALES, WatchedVersion};
use crate::event::SeriesOf;
use crate::judge::report::MeasuredOf;
use crate::judge::verdict::{Budget, DRIFT, LEAST_BASELINE};
use crate::stats::bounds::{effective_size, fixed_critical_value, smallest_detectable};
use serde::Serialize;

/// What a window of one scale shows with a power of .8. `None`: nothing, however large, or there is no such series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
}

/// What the budget sees of a version that gets `events_per_pane`, by scale.
pub fn reference_sights(
    version: &WatchedVersion,
    budget: &Budget,
    events_per_pane: f64,
    phi: f64,
) -> Vec<ReferenceSight> {
    let of_scale = |scale: u32| {
        let values = events_per_pane * f64::from(scale);
        let smallest = |of: SeriesOf, limit: f64| {
            let m = version.of(of).map(|(_, one)| one.reference.n()).min()?;
            if values < budget.min_samples as f64 || m < LEAST_BASELINE {
                return None;
            }
            let measured = match of {
                SeriesOf::Feature => MeasuredOf::Feature,
                SeriesOf::Prediction => MeasuredOf::Prediction,
            };
            let c = fixed_critical_value(budget.alpha_of(measured));
            let found = smallest_detectable(effective_size(values / phi.max(1.0), m as f64), c, limit);
            (found <= 1.0).then_some(found)
        };
        let both =
            |of: SeriesOf| [budget.tolerance, budget.tolerance.max(DRIFT)].map(|limit| smallest(of, limit));
        let ([feature, feature_drift], [prediction, prediction_drift]) =
            (both(SeriesOf::Feature), both(SeriesOf::Prediction));
        ReferenceSight { scale, values, feature, feature_drift, prediction, prediction_drift }
    };
    SCALES.map(of_scale).to_vec()
}
