//! Distances that are shown beside KS and PSI, and where the window's values lie.

use super::measure::SeriesMeasurement;
use super::plan::SeriesPlan;
use super::report::{QuantilesReport, WassersteinReport};
use crate::cells::Grid;
use crate::stats::{divergence, quantile, wasserstein};

/// The interquartile range of a normal distribution with standard deviation 1.
const NORMAL_IQR: f64 = 1.349;

/// Counts of both sides: per cell of the grid, and on PSI's bins.
pub(super) struct Sides<'a> {
    pub reference: &'a [u64],
    pub window: &'a [u64],
    pub reference_bins: &'a [u64],
    pub window_bins: &'a [u64],
}

/// Fills in the distances of a measurement.
pub(super) fn measure(measurement: &mut SeriesMeasurement, plan: &SeriesPlan, sides: &Sides<'_>) {
    measurement.hellinger = divergence::hellinger(sides.reference_bins, sides.window_bins);
    measurement.total_variation = divergence::total_variation(sides.reference_bins, sides.window_bins);
    let Grid::Numeric(grid) = &*plan.reference.grid else { return };
    let cuts = grid.cuts();
    measurement.quantiles = Some(quantiles(cuts, sides.window));
    measurement.wasserstein =
        wasserstein::from_counts(cuts, sides.reference, sides.window).map(|found| WassersteinReport {
            lower: found.lower,
            upper: found.upper,
            normed: spread(cuts, sides.reference).and_then(|s| found.normed(s)).map(|one| one.lower),
        });
}

fn at(cuts: &[f64], counts: &[u64], level: f64) -> Option<f64> {
    cuts.get(quantile::quantile(counts, level)?).copied()
}

fn spread(cuts: &[f64], counts: &[u64]) -> Option<f64> {
    Some((at(cuts, counts, 0.75)? - at(cuts, counts, 0.25)?) / NORMAL_IQR)
}

fn quantiles(cuts: &[f64], counts: &[u64]) -> QuantilesReport {
    let at = |level| at(cuts, counts, level);
    QuantilesReport { p05: at(0.05), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95) }
}
