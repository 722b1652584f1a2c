//! One statistic of a measurement, with how sure it is: effect *and* significance.

use super::{Certainty, Excess, Level};
use crate::baseline::LEAST_PSI;
use crate::event::SeriesKind;
use crate::judge::measure::{PsiTest, SeriesMeasurement};
use crate::judge::rates::Expected;
use crate::judge::report::{Reference, ToleranceSource};
use crate::stats::psi::Shares;
use crate::stats::rates::{self, Change, Estimate, Rate};
use crate::stats::{bounds, ks, normal, rare, unseen};

/// The effect (KS distance, difference of rates or shares) that a drift is shown to exceed …
pub const DRIFT: f64 = 0.10;
/// … and a severe one (statistics.md §8.2).
pub const SEVERE: f64 = 0.20;
/// PSI of a warning, a drift, a severe drift: about what the same shift of a normal series comes to (§3).
pub const PSI_LIMITS: [f64; 3] = [LEAST_PSI, 0.06, 0.25];
/// Below so many effective values the law of PSI is too often beyond levels of 1e-3 and less (§3).
const LEAST_FOR_PSI: f64 = 500.0;
/// The normal quantile of power 0.8.
const POWER: f64 = 0.841_621_233_572_914_3;

/// [`PSI_LIMITS`] of a series that usually strays by `tolerance`.
pub fn psi_limits(tolerance: f64) -> [f64; 3] {
    PSI_LIMITS.map(|limit| limit.max(tolerance))
}

/// What one test is made by.
#[derive(Clone, Copy)]
struct Terms {
    /// The level.
    alpha: f64,
    tolerance: f64,
    tolerance_from: ToleranceSource,
}

impl Terms {
    /// `own`: what the series itself usually strays by, `least`: what any may.
    fn new(measurement: &SeriesMeasurement, (own, least): (f64, f64), alpha: f64) -> Terms {
        let tolerance_from = if own > least { measurement.usual.from } else { ToleranceSource::Default };
        Terms { alpha, tolerance: own.max(least), tolerance_from }
    }

    fn certainty(self, interval: Option<(f64, f64)>, p_value: f64) -> Certainty {
        let Terms { alpha, tolerance, tolerance_from } = self;
        Certainty { interval, p_value, alpha, tolerance, tolerance_from }
    }
}

/// What one statistic says.
pub(super) struct Effect {
    pub metric: &'static str,
    value: f64,
    limits: [f64; 3],
    level: Level,
    certainty: Certainty,
    /// What would have been seen with power 0.8; `None` where it is not known.
    pub smallest: Option<f64>,
}

impl Effect {
    pub fn excess(&self) -> Excess {
        let reached = match self.level {
            Level::Below | Level::Warning => 0,
            Level::Drift => 1,
            Level::Severe => 2,
        };
        Excess {
            metric: self.metric,
            value: self.value,
            threshold: self.limits[reached],
            level: self.level,
            weight: self.value / self.limits[2],
            certainty: Some(self.certainty),
        }
    }
}

/// What the statistics of a measurement say, each tested at `alpha`. `least`: changes of so much are no drift of any
/// series.
pub(super) fn all(measurement: &SeriesMeasurement, least: f64, alpha: f64) -> [Option<Effect>; 3] {
    let terms = Terms::new(measurement, (measurement.usual.distance, least), alpha);
    [of_ks(measurement, terms), of_shares(measurement, terms), of_rate(measurement, terms)]
}

/// Effective values of the window and of the reference: traffic depends on itself, training data does not.
fn effective_sizes(measurement: &SeriesMeasurement) -> (f64, f64) {
    let phi = measurement.phi.max(1.0);
    let m = measurement.m as f64;
    let m = if measurement.reference == Reference::Stable { m / phi } else { m };
    (measurement.n as f64 / phi, m)
}

fn limits(tolerance: f64) -> [f64; 3] {
    [tolerance, tolerance.max(DRIFT), tolerance.max(SEVERE)]
}

/// The level whose limit a shown effect exceeds.
fn level_of(lower: f64, limits: [f64; 3]) -> Level {
    match limits.iter().filter(|limit| lower > **limit).count() {
        0 => Level::Below,
        1 => Level::Warning,
        2 => Level::Drift,
        _ => Level::Severe,
    }
}

fn of_ks(measurement: &SeriesMeasurement, terms: Terms) -> Option<Effect> {
    let found = measurement.ks?;
    let Terms { alpha, tolerance, .. } = terms;
    let (n_eff, m_eff) = effective_sizes(measurement);
    let (n_e, c) = (bounds::effective_size(n_eff, m_eff), bounds::fixed_critical_value(alpha));
    let p_value = ks::p1_effective(found.statistic, measurement.n, m_eff as u64, n_eff, tolerance);
    let reach = c / n_e.sqrt();
    let interval = ((found.statistic - reach).max(0.0), (found.upper + reach).min(1.0));
    let limits = limits(tolerance);
    // P1 is a little sharper than the bound, so it may reject first: then the effect is beyond the tolerance.
    let level =
        if p_value <= alpha { level_of(interval.0, limits).max(Level::Warning) } else { Level::Below };
    Some(Effect {
        metric: "ks",
        value: found.statistic,
        limits,
        level,
        certainty: terms.certainty(Some(interval), p_value),
        smallest: Some(bounds::smallest_detectable(n_e, c, tolerance)),
    })
}

/// Bins, values or categories: by PSI where its law holds, else (categories only) one by one.
fn of_shares(measurement: &SeriesMeasurement, terms: Terms) -> Option<Effect> {
    let (n_eff, _) = effective_sizes(measurement);
    let numeric = measurement.kind == SeriesKind::Numeric;
    let least = if measurement.shares == Shares::Deciles { LEAST_FOR_PSI } else { rare::EXACT_BELOW };
    if n_eff < least {
        return if numeric { None } else { of_one_share(measurement, terms) };
    }
    let PsiTest { value, limits, beyond } = measurement.psi_test?;
    let level = match beyond.iter().filter(|p| **p <= terms.alpha).count() {
        0 => Level::Below,
        1 => Level::Warning,
        2 => Level::Drift,
        _ => Level::Severe,
    };
    let by_psi = Terms::new(measurement, (measurement.usual.psi, LEAST_PSI), terms.alpha);
    Some(Effect {
        metric: "psi",
        value,
        limits,
        level,
        certainty: by_psi.certainty(None, beyond[0]),
        // Of a numeric series KS says it; of categories, what a share of a half would have shown.
        smallest: (!numeric).then(|| smallest_difference(measurement, 0.5, terms)),
    })
}

/// The category that is least likely to have come about by chance.
fn of_one_share(measurement: &SeriesMeasurement, terms: Terms) -> Option<Effect> {
    let rare = measurement.rare?;
    let alpha_each = terms.alpha / f64::from(rare.tests.max(1));
    let phi = measurement.phi.max(1.0);
    let thin = |rate: Rate, thinned: bool| if thinned { rate.thinned(phi) } else { rate };
    let of_stable = measurement.reference == Reference::Stable;
    let difference = rates::newcombe(thin(rare.window, true), thin(rare.reference, of_stable), alpha_each);
    // Of whichever category: a share of a half has the widest spread.
    let smallest = smallest_difference(measurement, 0.5, Terms { alpha: alpha_each, ..terms });
    Some(of_difference("share", difference, rare.p_value, terms, smallest))
}

fn of_rate(measurement: &SeriesMeasurement, terms: Terms) -> Option<Effect> {
    let alpha = terms.alpha;
    let rate = measurement.rate?;
    let window = rate.window.thinned(measurement.phi);
    let (p_value, difference, expected) = match rate.expected {
        Expected::Rate(reference) => {
            let p_value = rates::p_value(reference, window, rate.change);
            (p_value, rates::newcombe(window, reference, alpha), reference.value())
        }
        Expected::Unseen { singletons, m } => {
            let share = unseen::expected_share(singletons, m)?;
            let wilson = rates::wilson(window, alpha);
            let shift = |value: f64| value - share;
            let difference = Estimate {
                value: shift(wilson.value),
                lower: shift(wilson.lower),
                upper: shift(wilson.upper),
            };
            (unseen::p_value(window, singletons, m)?, difference, share)
        }
    };
    let rose_only = rate.change == Change::Rose && difference.value <= 0.0;
    let p_value = if rose_only { 1.0 } else { p_value };
    let smallest = smallest_difference(measurement, expected, terms);
    Some(of_difference("rate", difference, p_value, terms, smallest))
}

/// A difference of two rates: significant, and its interval beyond the tolerance on one side.
fn of_difference(
    metric: &'static str,
    difference: Estimate,
    p_value: f64,
    terms: Terms,
    smallest: f64,
) -> Effect {
    let (near, far) = if difference.value >= 0.0 {
        (difference.lower, difference.upper)
    } else {
        (-difference.upper, -difference.lower)
    };
    let limits = limits(terms.tolerance);
    let level = if p_value <= terms.alpha { level_of(near, limits) } else { Level::Below };
    Effect {
        metric,
        value: difference.value.abs(),
        limits,
        level,
        certainty: terms.certainty(Some((near.max(0.0), far)), p_value),
        smallest: Some(smallest),
    }
}

/// The difference of rates, beyond the tolerance, that a two-sided test at `alpha` sees with power 0.8:
/// `(z_{α/2} + z_.8)·sqrt(P(1−P)/n_e)`, P the expected rate.
fn smallest_difference(measurement: &SeriesMeasurement, expected: f64, terms: Terms) -> f64 {
    let (n_eff, m_eff) = effective_sizes(measurement);
    let n_e = bounds::effective_size(n_eff, m_eff);
    // A rate of nothing at all still has the spread of one value.
    let rate = expected.clamp(1.0 / n_e.max(2.0), 1.0 - 1.0 / n_e.max(2.0));
    terms.tolerance + (normal::two_sided(terms.alpha) + POWER) * (rate * (1.0 - rate) / n_e).sqrt()
}
