//! Quantiles of counts over rank cells, as indices of cuts.

use super::{binomial, total};

/// The cut that is the `level` quantile (0 to 1) of the counts: the first one with at least
/// `ceil(level * n)` values at or below it, and at least one. `None` when there are no counts, or the
/// quantile lies above the last cut, or `level` is no probability.
pub fn quantile(counts: &[u64], level: f64) -> Option<usize> {
    if !(0.0..=1.0).contains(&level) {
        return None;
    }
    let n = total(counts)?;
    let rank = ((level * n as f64).ceil() as u64).clamp(1, n);
    cut_of_rank(counts, rank)
}

/// A quantile with an interval for the true one, as indices of cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The quantile of the counts, as [`quantile`] has it.
    pub cut: Option<usize>,
    /// The true quantile is at or above this cut; `None`: no cut below it is certain.
    pub lower: Option<usize>,
    /// The true quantile is at or below this cut; `None`: no cut above it is certain.
    pub upper: Option<usize>,
}

/// The `level` quantile (0 to 1, neither end) of the counts and the interval of order statistics that misses
/// the true one with probability at most `alpha`, whatever the distribution: from the largest l with
/// P(B < l) ≤ α/2 to the smallest u with P(B ≥ u) ≤ α/2, B ~ Bin(n, level). An order statistic inside a gap
/// is moved to the cut outside of it.
///
/// `phi` ≥ 1 is the autocorrelation factor of the values: ranks are those of n/φ values, spread over all n.
/// `None` when nothing is counted or a parameter is out of range.
pub fn quantile_interval(counts: &[u64], level: f64, alpha: f64, phi: f64) -> Option<Interval> {
    let valid = level > 0.0 && level < 1.0 && alpha > 0.0 && alpha < 1.0 && phi >= 1.0;
    if !valid {
        return None;
    }
    let n = total(counts)?;
    let n_eff = ((n as f64 / phi) as u64).max(1);
    let spread = n as f64 / n_eff as f64;
    let from_below = binomial::lower_quantile(alpha / 2.0, n_eff, level);
    let from_above = binomial::lower_quantile(alpha / 2.0, n_eff, 1.0 - level);
    // Ranks count from 1; the upper one is 1 + n − from_above, as counted from the other end.
    let scaled = |rank: u64| ((rank as f64 * spread) as u64).min(n);
    let lower = scaled(from_below);
    let upper = n - scaled(from_above) + 1;
    // The last cut at or below the value.
    let below = cell_of_rank(counts, lower).and_then(|cell| cell.div_ceil(2).checked_sub(1));
    Some(Interval { cut: quantile(counts, level), lower: below, upper: cut_of_rank(counts, upper) })
}

/// The first cut at or above the `rank`-th smallest value; `None` when that lies above the last one.
fn cut_of_rank(counts: &[u64], rank: u64) -> Option<usize> {
    let cut = cell_of_rank(counts, rank)? / 2;
    (2 * cut + 1 < counts.len()).then_some(cut)
}

/// The cell of the `rank`-th smallest value, from 1 on.
fn cell_of_rank(counts: &[u64], rank: u64) -> Option<usize> {
    let mut below = 0;
    let reaches = |&count: &u64| {
        below += count;
        below >= rank
    };
    if rank == 0 { None } else { counts.iter().position(reaches) }
}

/// For each level i/`parts`, i = 1 … `parts`−1, the first cut with at least `ceil(i * m / parts)` values at or
/// below it: the order statistic `r[ceil(i*m/parts) - 1]` when every distinct value is a cut. `None` for
/// levels above the last cut, and for all levels when there are no counts.
pub fn cuts_at_levels(counts: &[u64], parts: u32) -> Vec<Option<usize>> {
    let levels = parts.saturating_sub(1) as usize;
    let Some(m) = total(counts) else { return vec![None; levels] };
    let mut edges = Vec::with_capacity(levels);
    let mut below = 0u64;
    for (cut, (gap, tie)) in ties(counts).enumerate() {
        below += gap + tie;
        while edges.len() < levels && below >= order(edges.len() as u64 + 1, m, parts) {
            edges.push(Some(cut));
        }
    }
    edges.resize(levels, None);
    edges
}

/// `ceil(i * m / parts)`.
fn order(i: u64, m: u64, parts: u32) -> u64 {
    (u128::from(i) * u128::from(m)).div_ceil(u128::from(parts)) as u64
}

/// For each cut, the counts of the gap below it and of the cut itself.
fn ties(counts: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    counts.as_chunks::<2>().0.iter().map(|&[gap, tie]| (gap, tie))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::NumericGrid;

    #[test]
    fn levels_are_order_statistics_when_every_value_is_a_cut() {
        let mut values: Vec<f64> = (0..997).map(|i| f64::from((i * i) % 211)).collect();
        values.sort_by(f64::total_cmp);
        let grid = NumericGrid::new(values.clone());
        let mut counts = vec![0u64; grid.cells()];
        values.iter().for_each(|&value| counts[grid.rank_one(value) as usize] += 1);
        for parts in [2u32, 4, 10, 256] {
            for (index, cut) in cuts_at_levels(&counts, parts).into_iter().enumerate() {
                let rank = ((index + 1) * values.len()).div_ceil(parts as usize);
                assert_eq!(grid.cuts()[cut.unwrap()], values[rank - 1]);
            }
        }
        assert_eq!(grid.cuts()[quantile(&counts, 0.5).unwrap()], values[498]);
        assert_eq!(quantile(&counts, 0.0), Some(0));
        assert_eq!(quantile(&counts, 1.0), Some(grid.cuts().len() - 1));
    }

    #[test]
    fn what_lies_above_the_last_cut_has_no_cut() {
        assert_eq!(quantile(&[1, 0, 3], 0.9), None);
        assert_eq!(quantile(&[1, 0, 3], 0.25), Some(0));
        assert_eq!(cuts_at_levels(&[1, 0, 3], 4), [Some(0), None, None]);
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[0, 0, 0], 0.5), None);
        assert_eq!(quantile(&[0, 1, 0], f64::NAN), None);
        assert_eq!(cuts_at_levels(&[0, 0, 0], 4), [None, None, None]);
        assert!(cuts_at_levels(&[0, 1, 0], 0).is_empty());
    }

    /// 20 cuts with one value each, n = 20: the interval of the median at .05 is that of the 6th and the 15th
    /// of the values, P(B < 6) = P(B ≥ 15) = .0207.
    #[test]
    fn order_statistics_bound_the_median() {
        let counts: Vec<u64> = (0..41).map(|cell| cell % 2).collect();
        let interval = quantile_interval(&counts, 0.5, 0.05, 1.0).unwrap();
        assert_eq!(interval, Interval { cut: Some(9), lower: Some(5), upper: Some(14) });
        let median = |alpha, phi| quantile_interval(&counts, 0.5, alpha, phi).unwrap();
        assert!(median(0.01, 1.0).lower < interval.lower && median(0.01, 1.0).upper > interval.upper);
        assert!(median(0.05, 3.0).lower < interval.lower && median(0.05, 3.0).upper > interval.upper);
        // Too few for the tail: nothing above the 99th percentile of 20 values is certain.
        let tail = quantile_interval(&counts, 0.99, 0.05, 1.0).unwrap();
        assert_eq!((tail.cut, tail.upper), (Some(19), None));
        assert_eq!(quantile_interval(&counts, 0.01, 0.05, 1.0).unwrap().lower, None);
    }

    #[test]
    fn an_order_statistic_in_a_gap_moves_outwards() {
        // All 40 values between the first and the second cut.
        let interval = quantile_interval(&[0, 0, 40, 0, 0], 0.5, 0.05, 1.0).unwrap();
        assert_eq!(interval, Interval { cut: Some(1), lower: Some(0), upper: Some(1) });
        let beyond = quantile_interval(&[40, 0, 0, 0, 40], 0.5, 0.05, 1.0).unwrap();
        assert_eq!((beyond.lower, beyond.upper), (None, None));
    }

    #[test]
    fn intervals_cover_the_true_quantile() {
        let mut rng = fastrand::Rng::with_seed(9);
        // Cut i of 100 stands at (i+1)/100, so the true quantile of a uniform value is cut 100·level − 1.
        for (level, n) in [(0.5, 60), (0.95, 400), (0.99, 2_000)] {
            let truth = (100.0 * level) as usize - 1;
            let missed = (0..1_000)
                .filter(|_| {
                    let mut counts = vec![0u64; 201];
                    (0..n).for_each(|_| counts[2 * (rng.f64() * 100.0) as usize] += 1);
                    let interval = quantile_interval(&counts, level, 0.1, 1.0).unwrap();
                    interval.lower.is_some_and(|cut| cut > truth)
                        || interval.upper.is_some_and(|cut| cut < truth)
                })
                .count();
            assert!(missed <= 100, "{missed} of 1000 at .1, level {level}");
        }
    }

    #[test]
    fn an_interval_needs_counts_and_sound_parameters() {
        assert_eq!(quantile_interval(&[0, 0, 0], 0.5, 0.05, 1.0), None);
        for (level, alpha, phi) in
            [(0.0, 0.1, 1.0), (1.0, 0.1, 1.0), (0.5, 0.0, 1.0), (0.5, 1.0, 1.0), (0.5, 0.1, 0.5)]
        {
            assert_eq!(quantile_interval(&[0, 9, 0], level, alpha, phi), None);
        }
        assert_eq!(quantile_interval(&[0, 9, 0], 0.5, 0.1, f64::NAN), None);
        let one = quantile_interval(&[0, 1, 0], 0.5, 0.05, 1e9).unwrap();
        assert_eq!((one.lower, one.upper), (None, None));
    }
}
