//! Measurements → verdicts, by plain thresholds and a streak.

use super::measure::SeriesMeasurement;
use super::report::{Reference, Verdict};
use super::streaks::Streak;

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

/// How far one window of a series is from its reference, before any streak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Below,
    Warning,
    Drift,
}

/// The statistic of a measurement that stands highest above its threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// `psi` or `ks`.
    pub metric: &'static str,
    pub value: f64,
    /// The highest threshold that `value` reaches, or the lowest when it reaches none.
    pub threshold: f64,
    pub level: Level,
    /// `value` as a multiple of the drift threshold, to rank series by.
    pub weight: f64,
}

/// How far a window of a series is, by its worst statistic; `None` when it holds too few values (also of
/// stable, when that is the reference) or nothing could be measured.
pub fn excess(thresholds: &Thresholds, measurement: &SeriesMeasurement) -> Option<Excess> {
    let of_stable = measurement.reference == Reference::Stable;
    if measurement.n < thresholds.min_samples || (of_stable && measurement.m < thresholds.min_samples) {
        return None;
    }
    let psi =
        measurement.psi.map(|psi| excess_of("psi", psi.value, thresholds.psi_warning, thresholds.psi_drift));
    let ks =
        measurement.ks.map(|ks| excess_of("ks", ks.statistic, thresholds.ks_warning, thresholds.ks_drift));
    let worse = |a: Excess, b: Excess| {
        if (b.level, b.weight) > (a.level, a.weight) { b } else { a }
    };
    psi.into_iter().chain(ks).reduce(worse)
}

fn excess_of(metric: &'static str, value: f64, warning: f64, drift: f64) -> Excess {
    let (level, threshold) = if value >= drift {
        (Level::Drift, drift)
    } else if value >= warning {
        (Level::Warning, warning)
    } else {
        (Level::Below, warning)
    };
    Excess { metric, value, threshold, level, weight: value / drift }
}

/// The verdict of one series. `streak` already counts this window (unless it is a revised one).
pub fn verdict(thresholds: &Thresholds, measurement: &SeriesMeasurement, streak: Streak) -> Verdict {
    let Some(excess) = excess(thresholds, measurement) else {
        return Verdict::Inconclusive;
    };
    let wanted = thresholds.evaluations.max(1);
    match excess.level {
        Level::Drift if streak.drift >= wanted => Verdict::Drift,
        Level::Drift | Level::Warning if streak.warning >= wanted => Verdict::Warning,
        _ => Verdict::Healthy,
    }
}
