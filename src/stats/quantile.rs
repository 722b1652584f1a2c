//! Quantiles of counts over rank cells, as indices of cuts.

use super::total;

/// The cut that is the `level` quantile (0 to 1) of the counts: the first one with at least
/// `ceil(level * n)` values at or below it, and at least one. `None` when there are no counts, or the
/// quantile lies above the last cut, or `level` is no probability.
pub fn quantile(counts: &[u64], level: f64) -> Option<usize> {
    if !(0.0..=1.0).contains(&level) {
        return None;
    }
    let n = total(counts)?;
    let rank = ((level * n as f64).ceil() as u64).clamp(1, n);
    let mut below = 0;
    ties(counts).position(|(gap, tie)| {
        below += gap + tie;
        below >= rank
    })
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
}
