//! Distances, and where the window's values lie.

use super::measure::{SeriesMeasurement, Side};
use super::plan::SeriesPlan;
use super::report::{KsReport, QuantilesReport, Reference, WassersteinReport};
use super::window::SeriesCounts;
use crate::cells::{Grid, NumericGrid};
use crate::stats::{divergence, ks, quantile, wasserstein};

/// The interquartile range of a normal distribution with standard deviation 1.
const NORMAL_IQR: f64 = 1.349;
/// The quantiles of a report.
const LEVELS: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// Fills in the distances of a measurement; quantiles and the mean, which are of the window alone, beside the baseline
/// only. `exact`: every value of the reference is a cut.
pub(super) fn measure(
    measurement: &mut SeriesMeasurement,
    plan: &SeriesPlan,
    counts: &SeriesCounts,
    (reference, window): (Side<'_>, Side<'_>),
    exact: bool,
) {
    measurement.hellinger = divergence::hellinger(reference.shown, window.shown);
    measurement.total_variation = divergence::total_variation(reference.shown, window.shown);
    let Grid::Numeric(grid) = &*plan.reference.grid else { return };
    let cuts = grid.cuts();
    if measurement.reference == Reference::Baseline {
        measurement.quantiles = Some(quantiles(cuts, &counts.cells, measurement.n));
        measurement.mean = mean(grid, counts, measurement.n);
    }
    let Some(counted) = reference.counted.zip(window.counted) else { return };
    let (found, ks) = wasserstein::with_ks(grid, counted, reference.sums.zip(window.sums), exact);
    measurement.ks = ks.map(|ks| KsReport {
        statistic: ks.statistic,
        upper: ks.upper,
        p_value: ks::p1(ks.statistic, window.n, reference.n, 0.0),
    });
    measurement.wasserstein = found.map(|found| WassersteinReport {
        lower: found.lower,
        upper: found.upper,
        normed: plan.spread.and_then(|spread| found.normed(spread)).map(|one| one.lower),
    });
}

/// The mean of a window's finite values. `None` when not all of them are summed: one is too far out, or was counted
/// by a program that kept no sums.
fn mean(grid: &NumericGrid, counts: &SeriesCounts, n: u64) -> Option<f64> {
    let not_numbers = counts.rows.saturating_sub(n + counts.missing + counts.type_errors);
    let infinite = counts.non_finite.saturating_sub(not_numbers);
    let sums = &counts.sums;
    if sums.values + infinite == n { grid.scale().mean(sums.total(), sums.values) } else { None }
}

/// The spread of a baseline's values: its interquartile range over that of a normal distribution.
pub(super) fn spread(grid: &Grid, counts: &[u64]) -> Option<f64> {
    let Grid::Numeric(grid) = grid else { return None };
    let at = |level: f64| grid.cuts().get(quantile::quantile(counts, level)?).copied();
    Some((at(0.75)? - at(0.25)?) / NORMAL_IQR)
}

/// All quantiles in one pass: per level the first cut with at least ceil(level·n) values at or below it.
fn quantiles(cuts: &[f64], counts: &[u64], n: u64) -> QuantilesReport {
    let mut found = [None; LEVELS.len()];
    // What the cuts so far must hold to reach the next level.
    let rank = |next: usize| match LEVELS.get(next) {
        Some(level) if n > 0 => ((level * n as f64).ceil() as u64).max(1),
        _ => u64::MAX,
    };
    let (mut below, mut next, mut wanted) = (0, 0, rank(0));
    let (pairs, _) = counts.as_chunks::<2>();
    for ([gap, tie], cut) in pairs.iter().zip(cuts) {
        below += gap + tie;
        while below >= wanted {
            found[next] = Some(*cut);
            next += 1;
            wanted = rank(next);
        }
    }
    let [p05, p25, p50, p75, p95] = found;
    QuantilesReport { p05, p25, p50, p75, p95 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pass says what [`quantile::quantile`] says of each level by itself.
    #[test]
    fn one_pass_finds_the_quantiles_of_each_level() {
        let mut random = fastrand::Rng::with_seed(6);
        for _ in 0..300 {
            let cuts: Vec<f64> = (0..random.usize(1..40)).map(|cut| cut as f64).collect();
            let counts: Vec<u64> = (0..2 * cuts.len() + 1).map(|_| random.u64(0..4)).collect();
            let one = |level: f64| quantile::quantile(&counts, level).and_then(|cut| cuts.get(cut).copied());
            let found = quantiles(&cuts, &counts, counts.iter().sum());
            let expected = LEVELS.map(one);
            assert_eq!([found.p05, found.p25, found.p50, found.p75, found.p95], expected, "{counts:?}");
        }
    }
}
