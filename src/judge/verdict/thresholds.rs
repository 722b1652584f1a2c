//! `mode = "thresholds"`: plain limits of PSI and KS, and a streak of windows.

use super::{Excess, Level};
use crate::judge::measure::SeriesMeasurement;
use crate::judge::report::{Reference, Verdict};
use crate::judge::streaks::Streak;

/// Plain thresholds; a series that reaches one in `evaluations` windows of a scale in a row has that verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub psi_warning: f64,
    pub psi_drift: f64,
    pub ks_warning: f64,
    pub ks_drift: f64,
    /// Values a window needs for a verdict.
    pub min_samples: u64,
    /// Windows of one scale in a row.
    pub evaluations: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            psi_warning: 0.1,
            psi_drift: 0.25,
            ks_warning: 0.1,
            ks_drift: 0.2,
            min_samples: 500,
            evaluations: 2,
        }
    }
}

impl Thresholds {
    /// How far a window of a series is, by its worst statistic; `None` when it holds too few values (also of
    /// stable, when that is the reference) or nothing could be measured.
    pub(super) fn excess(&self, measurement: &SeriesMeasurement) -> Option<Excess> {
        let of_stable = measurement.reference == Reference::Stable;
        if measurement.n < self.min_samples || (of_stable && measurement.m < self.min_samples) {
            return None;
        }
        let psi = measurement.psi.map(|psi| excess_of("psi", psi.value, self.psi_warning, self.psi_drift));
        let ks = measurement.ks.map(|ks| excess_of("ks", ks.statistic, self.ks_warning, self.ks_drift));
        psi.into_iter().chain(ks).reduce(Excess::worse)
    }

    pub(super) fn verdict(&self, level: Level, streak: Streak) -> Verdict {
        let wanted = self.evaluations.max(1);
        match level {
            Level::Drift | Level::Severe if streak.drift >= wanted => Verdict::Drift,
            Level::Drift | Level::Severe | Level::Warning if streak.warning >= wanted => Verdict::Warning,
            _ => Verdict::Healthy,
        }
    }
}

impl Excess {
    /// The one that stands higher; the first of equal ones.
    pub(super) fn worse(self, other: Excess) -> Excess {
        if (other.level, other.weight) > (self.level, self.weight) { other } else { self }
    }
}

fn excess_of(metric: &'static str, value: f64, warning: f64, drift: f64) -> Excess {
    let (level, threshold) = if value >= drift {
        (Level::Drift, drift)
    } else if value >= warning {
        (Level::Warning, warning)
    } else {
        (Level::Below, warning)
    };
    Excess { metric, value, threshold, level, weight: value / drift, certainty: None }
}
