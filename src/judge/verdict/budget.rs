//! `mode = "budget"`, the default: so many false alarms a day and model, shared out over every test of the day.
//!
//! A test's level is `budget · share of its class / tests of its class a day` (Bonferroni; statistics.md §4.3),
//! classes being features : predictions : quality = 50 : 25 : 25. A series is beyond a limit when its effect is
//! *shown* to be: the lower bound of the true effect at that level exceeds the limit (§8.2).

use super::effect::{self, Effect};
use super::{Excess, Judgement, Level};
use crate::baseline::SCALES;
use crate::event::SeriesKind;
use crate::judge::measure::SeriesMeasurement;
use crate::judge::plan::MeasurePlan;
use crate::judge::report::{MeasuredOf, Reference};

const DAY_MS: f64 = 86_400_000.0;
/// Values a baseline needs for a verdict against it (statistics.md §9.3).
pub const LEAST_BASELINE: u64 = 1_000;
/// A window that would not have shown an effect of this size says nothing: it is the limit of a severe drift. Of a series
/// that usually strays by more than half of it, twice that.
const LARGEST_BLIND_EFFECT: f64 = effect::SEVERE;

/// What a person chooses of the budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetConfig {
    /// Expected false alarms of the model a day, at most. Default 0.1.
    pub false_alarms_per_day: f64,
    /// Values a window needs. Default 50.
    pub min_samples: u64,
    /// Effects of at most this size are no drift: KS distance, difference of rates and of shares. A series whose
    /// baseline says more of its own swings takes that. Default 0.02.
    pub tolerance: f64,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        BudgetConfig { false_alarms_per_day: 0.1, min_samples: 50, tolerance: 0.02 }
    }
}

/// A model's budget, shared out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    pub min_samples: u64,
    /// The least tolerance of any series.
    pub tolerance: f64,
    /// The level of one test of features, of predictions, of data quality.
    pub alpha: [f64; 3],
}

impl Budget {
    /// Shares a model's budget out over its tests of a day, with panes of `pane_ms`.
    pub fn new(config: &BudgetConfig, plan: &MeasurePlan, pane_ms: i64) -> Budget {
        let panes = DAY_MS / pane_ms.max(1) as f64;
        let evaluations: f64 = SCALES.iter().map(|scale| panes / (f64::from(*scale) / 4.0).max(1.0)).sum();
        let share = |(part, tests): (f64, u64)| {
            (config.false_alarms_per_day * part / (tests.max(1) as f64 * evaluations)).min(0.05)
        };
        let [features, predictions, quality] = plan.tests();
        Budget {
            min_samples: config.min_samples,
            tolerance: config.tolerance,
            alpha: [(0.5, features), (0.25, predictions), (0.25, quality)].map(share),
        }
    }

    /// The level of one test of this kind of series.
    pub fn alpha_of(&self, of: MeasuredOf) -> f64 {
        match of {
            MeasuredOf::Feature => self.alpha[0],
            MeasuredOf::Prediction => self.alpha[1],
            MeasuredOf::Quality => self.alpha[2],
        }
    }

    pub(super) fn judge(&self, measurement: &SeriesMeasurement) -> Judgement {
        let alpha = self.alpha_of(measurement.of);
        let effects = effect::all(measurement, self.tolerance, alpha);
        let found = || effects.iter().flatten();
        let named = found().filter_map(|one| Some((one.metric, one.smallest?)));
        let smallest = named.reduce(|a, b| if b.1 < a.1 { b } else { a });
        let worst = found().map(Effect::excess).reduce(Excess::worse);
        let usual = measurement.usual.distance.max(self.tolerance);
        let sighted = smallest.is_some_and(|(_, effect)| effect <= LARGEST_BLIND_EFFECT.max(2.0 * usual));
        let says = |worst: &Excess| worst.level > Level::Below || sighted;
        Judgement { excess: worst.filter(says).filter(|_| self.has_enough(measurement)), smallest }
    }

    fn has_enough(&self, measurement: &SeriesMeasurement) -> bool {
        let wanted = match measurement.reference {
            Reference::Baseline => LEAST_BASELINE,
            Reference::Stable => self.min_samples,
        };
        measurement.n >= self.min_samples && measurement.m >= wanted
    }
}

/// Statistics that may raise an alarm for a series' values of this kind.
pub fn tests_of_values(kind: SeriesKind) -> u64 {
    match kind {
        SeriesKind::Numeric => 2,
        SeriesKind::Categorical | SeriesKind::Boolean => 1,
    }
}

#[cfg(test)]
mod tests;
