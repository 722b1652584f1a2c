//! Numeric series: from sorted values to a grid and the exact counts on it (statistics.md §1.2–1.3).

use crate::baseline::{BaselineSeries, SeriesTraits, SeriesType};
use crate::cells::{Grid, NumericGrid, Sums};
use crate::event::{SeriesKind, SeriesOf};
use std::sync::Arc;

/// Up to here every distinct value is a cut, and the KS distance to the baseline is exact.
pub const MAX_EXACT: u64 = 2_048;
/// Quantile edges above that; they bracket the KS distance to 1/1024.
const EDGES: usize = 1_024;
/// Levels at which predictions are compared between versions (PIT).
const PIT_LEVELS: usize = 256;
/// Guards stand at `median ± scale · sinh(j / GUARD_STEPS)`, j = 1..=GUARDS: a reach of 1,000 scales.
const GUARD_STEPS: f64 = 64.0;
const GUARDS: u32 = 487;
/// Interquartile range of a normal distribution with standard deviation 1.
const NORMAL_IQR: f64 = 1.349;

/// A numeric series from its non-missing values in any order; `values` is not empty and NaN-free.
#[cfg(test)]
pub(crate) fn series(name: &str, of: SeriesOf, values: Vec<f64>, missing: u64) -> BaselineSeries {
    series_of_width(name, of, values, missing, false)
}

/// [`series`]; `single`: the values are 32-bit floats, widened, and live values are rounded to such before they are
/// counted. Otherwise a live 0.1 would not be the baseline's 0.1.
pub(super) fn series_of_width(
    name: &str,
    of: SeriesOf,
    mut values: Vec<f64>,
    missing: u64,
    single: bool,
) -> BaselineSeries {
    values.iter_mut().for_each(|value| *value += 0.0); // -0.0 becomes 0.0
    values.sort_unstable_by(f64::total_cmp);
    let distinct = distinct(&values);
    let cuts = cuts(&values, distinct, of);
    let grid = if single { NumericGrid::of_single(cuts) } else { NumericGrid::new(cuts) };
    let counts = count(&values, grid.cuts());
    let kind = SeriesKind::Numeric;
    let discrete = SeriesType::detect(kind, &counts, distinct) == SeriesType::Discrete;
    let sums = sums(&grid, &values, &counts);
    BaselineSeries {
        name: name.to_owned(),
        of,
        kind,
        counts,
        range: values.first().copied().zip(values.last().copied()),
        grid: Arc::new(Grid::Numeric(grid)),
        missing,
        distinct,
        traits: SeriesTraits { discrete, sums, ..SeriesTraits::default() },
    }
}

/// The sums of sorted values with these counts, unless the counts say them.
fn sums(grid: &NumericGrid, sorted: &[f64], counts: &[u64]) -> Option<Sums> {
    if Sums::of_ties(grid.scale(), grid.cuts(), counts).is_some() {
        return None;
    }
    let cells =
        counts.iter().enumerate().flat_map(|(cell, &count)| std::iter::repeat_n(cell, count as usize));
    Some(Sums::of(grid.scale(), sorted.iter().copied().zip(cells), grid.cells()))
}

fn distinct(sorted: &[f64]) -> u64 {
    let steps = sorted.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
    steps + u64::from(!sorted.is_empty())
}

/// The cut points of a series, not yet sorted or deduplicated.
fn cuts(sorted: &[f64], distinct: u64, of: SeriesOf) -> Vec<f64> {
    if distinct <= MAX_EXACT {
        let mut cuts = sorted.to_vec();
        cuts.dedup();
        return cuts;
    }
    let mut cuts: Vec<f64> = (1..=EDGES).map(|edge| quantile(sorted, edge, EDGES + 1)).collect();
    cuts.extend([sorted[0], sorted[sorted.len() - 1]]);
    cuts.extend((1..10).map(|decile| quantile(sorted, decile, 10)));
    if of == SeriesOf::Prediction {
        cuts.extend((1..PIT_LEVELS).map(|level| quantile(sorted, level, PIT_LEVELS)));
    }
    cuts.extend(guards(sorted));
    cuts
}

/// `sorted[ceil(part · m / of) − 1]`, the smallest value with at least `part / of` of the data at or below it.
/// `sorted` is not empty and 1 ≤ `part` ≤ `of`.
fn quantile(sorted: &[f64], part: usize, of: usize) -> f64 {
    sorted[(part * sorted.len()).div_ceil(of) - 1]
}

/// Cuts where training had few values or none, so that a shift beyond its range still has a place and a size.
fn guards(sorted: &[f64]) -> Vec<f64> {
    let median = quantile(sorted, 1, 2);
    let Some(scale) = scale(sorted).filter(|_| median.is_finite()) else { return Vec::new() };
    (1..=GUARDS)
        .map(|step| scale * (f64::from(step) / GUARD_STEPS).sinh())
        .flat_map(|reach| [median - reach, median + reach])
        .filter(|guard| guard.is_finite())
        .collect()
}

/// The spread of the bulk: from the quartiles or, where they coincide, the standard deviation of the finite
/// values. `None` when neither is a positive number.
fn scale(sorted: &[f64]) -> Option<f64> {
    let quartiles = (quantile(sorted, 3, 4) - quantile(sorted, 1, 4)) / NORMAL_IQR;
    let usable = |scale: &f64| scale.is_finite() && *scale > 0.0;
    Some(quartiles).filter(usable).or_else(|| Some(deviation(sorted)).filter(usable))
}

fn deviation(values: &[f64]) -> f64 {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let n = finite().count() as f64;
    let mean = finite().map(|value| value / n).sum::<f64>();
    finite().map(|value| (value - mean) * (value - mean) / n).sum::<f64>().sqrt()
}

/// Exact counts of sorted values in the 2k+1 rank cells of k cuts: gap, tie, gap, …
fn count(sorted: &[f64], cuts: &[f64]) -> Vec<u64> {
    let mut counts = Vec::with_capacity(2 * cuts.len() + 1);
    let mut rest = sorted;
    for cut in cuts {
        let (below, from) = rest.split_at(rest.partition_point(|value| value < cut));
        let (ties, above) = from.split_at(from.partition_point(|value| value <= cut));
        counts.extend([below.len() as u64, ties.len() as u64]);
        rest = above;
    }
    counts.push(rest.len() as u64);
    counts
}
