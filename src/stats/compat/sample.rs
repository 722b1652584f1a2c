//! Values with how often they occur.

use crate::stats::ks::Ks;

/// Distinct finite values, ascending, each with a count of at least 1. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    values: Vec<f64>,
    counts: Vec<u64>,
    total: u64,
}

impl Sample {
    /// The finite ones of these values: all three tools leave out the others. `None` when there are none.
    pub fn of_values(values: &[f64]) -> Option<Self> {
        // -0 becomes 0, so that equal values are equal bits.
        let finite = values.iter().filter(|value| value.is_finite()).map(|value| value + 0.0);
        Self::of_pairs(finite.map(|value| (value, 1)).collect())
    }

    /// The finite values that are counted in the 2k+1 cells of k cuts, of which nothing else is known: one on a cut
    /// is itself, one inside a gap stands in its middle, and one beyond the first or last cut next to it. `None` when
    /// there are none, lengths do not fit, or the counts exceed 63 bits.
    pub fn of_counts(cuts: &[f64], counts: &[u64]) -> Option<Self> {
        if counts.len() != 2 * cuts.len() + 1 {
            return None;
        }
        crate::stats::total(counts)?;
        let value = |cell: usize| match (cell % 2, cuts.get((cell / 2).wrapping_sub(1)), cuts.get(cell / 2)) {
            (1, _, Some(cut)) => *cut,
            (_, Some(below), Some(above)) => below / 2.0 + above / 2.0,
            (_, None, Some(first)) => first.next_down(),
            (_, Some(last), None) => last.next_up(),
            (_, None, None) => f64::NAN,
        };
        let cells = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let pairs = cells.map(|(cell, count)| (value(cell) + 0.0, *count));
        Self::of_pairs(pairs.filter(|(value, _)| value.is_finite()).collect())
    }

    fn of_pairs(mut pairs: Vec<(f64, u64)>) -> Option<Self> {
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        let (values, counts): (Vec<f64>, Vec<u64>) = pairs.into_iter().unzip();
        let total = counts.iter().sum();
        (total > 0).then_some(Sample { values, counts, total })
    }

    /// How many values.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many different values.
    pub fn distinct(&self) -> usize {
        self.values.len()
    }

    pub fn smallest(&self) -> f64 {
        self.values[0]
    }

    pub fn largest(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    /// Ascending values with their counts.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (f64, u64)> {
        self.values.iter().copied().zip(self.counts.iter().copied())
    }

    /// The `rank`-th smallest value, from 0 to `total` − 1.
    pub(super) fn order_statistic(&self, rank: u64) -> f64 {
        let mut below = 0;
        let reaches = |(_, count): &(f64, u64)| {
            below += count;
            below > rank
        };
        self.pairs().find(reaches).map_or(self.largest(), |(value, _)| value)
    }

    /// The standard deviation, of the population (numpy's `ddof=0`).
    pub fn deviation(&self) -> f64 {
        let n = self.total as f64;
        let mean = self.pairs().map(|(value, count)| value * count as f64).sum::<f64>() / n;
        let squares = self.pairs().map(|(value, count)| (value - mean).powi(2) * count as f64);
        (squares.sum::<f64>() / n).sqrt()
    }

    /// Both samples' counts of each value that occurs in either, ascending.
    pub fn side_by_side(&self, other: &Sample) -> Vec<(f64, u64, u64)> {
        let mut merged = Vec::with_capacity(self.distinct() + other.distinct());
        let (mut ours, mut theirs) = (self.pairs().peekable(), other.pairs().peekable());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(&(a, _)), Some(&(b, _))) => a.min(b),
                (Some(&(a, _)), None) => a,
                (None, Some(&(b, _))) => b,
                (None, None) => return merged,
            };
            let in_ours = ours.next_if(|&(value, _)| value == next).map_or(0, |(_, count)| count);
            let in_theirs = theirs.next_if(|&(value, _)| value == next).map_or(0, |(_, count)| count);
            merged.push((next, in_ours, in_theirs));
        }
    }

    /// The two-sample distance to `window`.
    pub fn distance(&self, window: &Sample) -> Ks {
        let (m, n) = (i128::from(self.total), i128::from(window.total));
        let (mut difference, mut numerator) = (0i128, 0u128);
        for (_, reference, window) in self.side_by_side(window) {
            difference += m * i128::from(window) - n * i128::from(reference);
            numerator = numerator.max(difference.unsigned_abs());
        }
        let statistic = numerator as f64 / (m * n) as f64;
        Ks { statistic, upper: statistic, numerator, n: window.total, m: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::NumericGrid;

    #[test]
    fn values_are_counted_and_others_left_out() {
        let sample = Sample::of_values(&[2.0, f64::NAN, -0.0, 2.0, f64::INFINITY, 0.0, 5.0]).unwrap();
        assert_eq!(sample.pairs().collect::<Vec<_>>(), [(0.0, 2), (2.0, 2), (5.0, 1)]);
        assert_eq!(
            (sample.total(), sample.distinct(), sample.smallest(), sample.largest()),
            (5, 3, 0.0, 5.0)
        );
        assert_eq!([0, 1, 2, 3, 4].map(|rank| sample.order_statistic(rank)), [0.0, 0.0, 2.0, 2.0, 5.0]);
        assert!((sample.deviation() - 3.36f64.sqrt()).abs() < 1e-12);
        assert_eq!(Sample::of_values(&[f64::NAN]), None);
    }

    #[test]
    fn counts_alone_stand_in_the_middle_of_gaps() {
        let found = Sample::of_counts(&[2.0, 4.0, 9.0], &[1, 2, 3, 0, 5, 1, 2]).unwrap();
        let pairs: Vec<(f64, u64)> = found.pairs().collect();
        let (below, above) = (2.0f64.next_down(), 9.0f64.next_up());
        assert_eq!(pairs, [(below, 1), (2.0, 2), (3.0, 3), (6.5, 5), (9.0, 1), (above, 2)]);
        assert_eq!(Sample::of_counts(&[2.0], &[1, 2]), None);
        assert_eq!(Sample::of_counts(&[], &[7]), None);
        assert_eq!(Sample::of_counts(&[2.0], &[0, 0, 0]), None);
    }

    #[test]
    fn distances_equal_those_of_rank_cells() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let mut draw = || (0..rng.usize(1..40)).map(|_| f64::from(rng.i32(-5..15))).collect::<Vec<_>>();
            let (reference, window) = (draw(), draw());
            let grid = NumericGrid::new(reference.clone());
            let count = |values: &[f64]| {
                let mut counts = vec![0u64; grid.cells()];
                values.iter().for_each(|&value| counts[grid.rank_one(value) as usize] += 1);
                counts
            };
            let expected = crate::stats::ks::two_sample(&count(&reference), &count(&window), true).unwrap();
            let [reference, window] = [reference, window].map(|values| Sample::of_values(&values).unwrap());
            let found = reference.distance(&window);
            assert_eq!((found.numerator, found.n, found.m), (expected.numerator, expected.n, expected.m));
            assert_eq!(found.statistic, expected.statistic);
        }
    }
}
