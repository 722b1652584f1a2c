//! Measurements → verdicts: by a budget of false alarms (the default) or by plain thresholds.
//!
//! Either way a measurement first gets a [`Level`]; what that comes to over time is a matter of streaks and holds
//! ([`super::streaks`]).

mod budget;
#[cfg(test)]
mod discrete_tests;
mod effect;
mod thresholds;

pub use budget::{Budget, BudgetConfig, LEAST_BASELINE, tests_of_values};
pub use effect::{DRIFT, PSI_LIMITS, SEVERE, psi_limits};
pub use thresholds::Thresholds;

use super::measure::SeriesMeasurement;
use super::report::{MeasuredOf, Severity, ToleranceSource, Verdict};
use super::streaks::Streak;
use serde::{Deserialize, Serialize};

/// How far one window of a series is from its reference, before any streak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Below,
    Warning,
    Drift,
    Severe,
}

/// The statistic of a measurement that stands highest above what is tolerated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// `ks`, `psi`, `share` (of one category) or `rate` (of missing, unseen or out-of-range values).
    pub metric: &'static str,
    pub value: f64,
    /// The highest limit that is exceeded, or the lowest when none is.
    pub threshold: f64,
    pub level: Level,
    /// Ranks series: `value` as a multiple of the limit of drift.
    pub weight: f64,
    /// How sure that is; `None` with plain thresholds.
    pub certainty: Option<Certainty>,
}

/// What a budget verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certainty {
    /// The interval of the true value at 1 − `alpha`. `None` for PSI, which is tested at its limits instead.
    pub interval: Option<(f64, f64)>,
    /// P(a value this large when the true one is at most `tolerance`).
    pub p_value: f64,
    /// The level of this one test: the model's budget over all tests of a day.
    pub alpha: f64,
    /// What is no drift, and what says so.
    pub tolerance: f64,
    pub tolerance_from: ToleranceSource,
}

/// What a window of a series comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// How far it is, by its worst statistic. `None` when nothing can be said: too few values, nothing measured,
    /// or a window in which not even a severe drift would have been seen.
    pub excess: Option<Excess>,
    /// The smallest effect that the window would have shown with power .8, with its metric. `None` with plain
    /// thresholds, which know no power, and for what was not measured.
    pub smallest: Option<(&'static str, f64)>,
}

/// How a model's measurements become verdicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VerdictRules {
    Budget(Budget),
    Thresholds(Thresholds),
}

impl VerdictRules {
    /// What a window of a series comes to.
    pub fn judge(&self, measurement: &SeriesMeasurement) -> Judgement {
        match self {
            VerdictRules::Budget(budget) => budget.judge(measurement),
            VerdictRules::Thresholds(thresholds) => {
                Judgement { excess: thresholds.excess(measurement), smallest: None }
            }
        }
    }

    /// [`Judgement::excess`] of a window of a series.
    pub fn excess(&self, measurement: &SeriesMeasurement) -> Option<Excess> {
        self.judge(measurement).excess
    }

    /// Whether a measurement is judged at all: plain thresholds know no limit of unseen and out-of-range rates.
    pub fn judges(&self, measurement: &SeriesMeasurement) -> bool {
        match self {
            VerdictRules::Budget(_) => true,
            VerdictRules::Thresholds(_) => measurement.of != MeasuredOf::Quality || measurement.psi.is_some(),
        }
    }

    /// The PSI from which a series counts as drift, unless its own tolerance is larger.
    pub fn psi_of_drift(&self) -> f64 {
        match self {
            VerdictRules::Budget(_) => PSI_LIMITS[1],
            VerdictRules::Thresholds(thresholds) => thresholds.psi_drift,
        }
    }

    /// The streak after one more window of `scale` panes at `level`.
    pub fn follow(&self, streak: Streak, scale: u32, level: Level) -> Streak {
        match self {
            VerdictRules::Budget(_) => streak.hold(scale, level),
            VerdictRules::Thresholds(_) => streak.advance(level),
        }
    }

    /// The verdict of one series, and how grave it is. `streak` already counts this window (unless it is a
    /// revised one).
    pub fn verdict(&self, level: Level, streak: Streak) -> (Verdict, Option<Severity>) {
        match self {
            VerdictRules::Budget(_) => {
                let level = level.max(streak.held);
                (level.verdict(), level.severity())
            }
            VerdictRules::Thresholds(thresholds) => (thresholds.verdict(level, streak), None),
        }
    }

    /// Values a window needs for any verdict.
    pub fn min_samples(&self) -> u64 {
        match self {
            VerdictRules::Budget(budget) => budget.min_samples,
            VerdictRules::Thresholds(thresholds) => thresholds.min_samples,
        }
    }

    /// Windows in a row that must say the same before it is acted upon: one with a budget, whose tests have paid
    /// for looking at each.
    pub fn windows_to_act(&self) -> u32 {
        match self {
            VerdictRules::Budget(_) => 1,
            VerdictRules::Thresholds(thresholds) => thresholds.evaluations,
        }
    }

    /// Healthy windows in a row after which an alert is over.
    pub fn evaluations(&self) -> u32 {
        match self {
            VerdictRules::Budget(_) => super::streaks::CALM_TO_CLEAR,
            VerdictRules::Thresholds(thresholds) => thresholds.evaluations,
        }
    }
}

impl Level {
    fn verdict(self) -> Verdict {
        match self {
            Level::Below => Verdict::Healthy,
            Level::Warning => Verdict::Warning,
            Level::Drift | Level::Severe => Verdict::Drift,
        }
    }

    fn severity(self) -> Option<Severity> {
        match self {
            Level::Below => None,
            Level::Warning => Some(Severity::Warning),
            Level::Drift => Some(Severity::Drift),
            Level::Severe => Some(Severity::Severe),
        }
    }
}
