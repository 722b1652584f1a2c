//! Sums of values by span: what the mean and the Wasserstein distance need beside counts.
//!
//! Sums of every cell would double what a pane holds. Of ten spans they bound the distance nearly as closely. Measured
//! on normal and lognormal values (1,000 and 10,000 against 30,000; shifted, stretched, as they are) and on columns of
//! electricity, insects and spoken digits, the bracket is at most .38 % of a standard deviation wide with ten spans,
//! .06 % with a sum for every cell, 1.3 % with one sum of all, and 1.2 % or open with counts alone.

use super::fixed::{FixedScale, FixedSum};

/// Spans of a numeric grid: below its lowest cut; eight stretches of as many cuts each; above its highest.
pub const SPANS: usize = 10;
/// Those between the outermost cuts.
const STRETCHES: usize = SPANS - 2;
/// Bytes of one sum in a record.
const SUM_BYTES: usize = size_of::<i128>();

/// The span of a cell in a grid of `cells`. A stretch holds its lowest cut and the gap below the next one's.
pub(super) fn span_of(cell: usize, cells: usize) -> usize {
    let cuts = cells / 2;
    match cell {
        0 => 0,
        _ if cell + 1 == cells => SPANS - 1,
        _ => 1 + (cell - 1) / 2 * STRETCHES / cuts,
    }
}

/// The cuts of each stretch of a grid of so many cuts, in order. Some are empty when there are few.
pub fn stretches(cuts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let start = move |stretch: usize| (cuts * stretch).div_ceil(STRETCHES);
    (0..STRETCHES).map(move |stretch| start(stretch)..start(stretch + 1))
}

/// Sums of values by span, in the [`FixedScale`] of the grid, and how many values they hold: those in cells, except
/// what is too far out to be summed. All fields add, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub spans: [FixedSum; SPANS],
    pub values: u64,
}

/// Stored sums that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sums of {0} bytes, or larger than so many values can make them")]
pub struct SumsError(usize);

impl Sums {
    /// The sums of values that stand in `cells`, on a grid of this scale.
    pub fn of(scale: &FixedScale, values: impl Iterator<Item = (f64, usize)>, cells: usize) -> Sums {
        let mut sums = Sums::default();
        for (value, cell) in values {
            if let Some(sum) = scale.sum_of(value) {
                sums.spans[span_of(cell, cells)] += sum;
                sums.values += 1;
            }
        }
        sums
    }

    /// The sums of values that all stand on cuts; `None` when some stand in gaps.
    pub fn of_ties(scale: &FixedScale, cuts: &[f64], counts: &[u64]) -> Option<Sums> {
        let mut sums = Sums::default();
        for (cell, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let value = cuts.get(cell / 2).filter(|_| cell % 2 == 1)?;
            if let Some(one) = scale.sum_of(*value) {
                let sum = FixedSum::from_units(one.units().wrapping_mul(i128::from(count)));
                sums.spans[span_of(cell, counts.len())] += sum;
                sums.values += count;
            }
        }
        Some(sums)
    }

    pub fn merge(&mut self, other: &Sums) {
        self.spans.iter_mut().zip(other.spans).for_each(|(sum, other)| *sum += other);
        self.values = self.values.saturating_add(other.values);
    }

    /// The sum of all of them.
    pub fn total(&self) -> FixedSum {
        self.spans.iter().copied().sum()
    }

    /// The sums as bytes, little-endian; none for no values.
    pub fn encode(&self) -> Vec<u8> {
        if self.values == 0 {
            return Vec::new();
        }
        self.spans.iter().flat_map(|sum| sum.units().to_le_bytes()).collect()
    }

    /// The sums of `values` values.
    ///
    /// # Errors
    /// When there are not as many as spans (or none, of no values), or one is larger than the values can make it.
    pub fn decode(bytes: &[u8], values: u64) -> Result<Sums, SumsError> {
        let wrong = SumsError(bytes.len());
        let mut sums = Sums { values, ..Sums::default() };
        if bytes.is_empty() {
            return if values == 0 { Ok(sums) } else { Err(wrong) };
        }
        let (units, rest) = bytes.as_chunks::<SUM_BYTES>();
        if units.len() != SPANS || !rest.is_empty() {
            return Err(wrong);
        }
        for (sum, units) in sums.spans.iter_mut().zip(units) {
            let units = i128::from_le_bytes(*units);
            if !FixedSum::is_of(units, values) {
                return Err(wrong);
            }
            *sum = FixedSum::from_units(units);
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::NumericGrid;
    use proptest::prelude::*;

    #[test]
    fn spans_hold_as_many_cuts_each_and_stand_in_order() {
        for cuts in 0..70 {
            let cells = 2 * cuts + 1;
            let spans: Vec<usize> = (0..cells).map(|cell| span_of(cell, cells)).collect();
            assert!(spans.is_sorted() && spans.iter().all(|span| *span < SPANS), "{spans:?}");
            for (stretch, range) in stretches(cuts).enumerate() {
                assert!((range.len() as i64 - cuts as i64 / 8).abs() <= 1, "{range:?} of {cuts}");
                assert!(range.clone().all(|cut| spans[2 * cut + 1] == stretch + 1), "{range:?} of {cuts}");
                let inner = |cut: &usize| cut + 1 < cuts;
                assert!(range.filter(inner).all(|cut| spans[2 * cut + 2] == stretch + 1), "{cuts}");
            }
            assert_eq!(stretches(cuts).map(|range| range.len()).sum::<usize>(), cuts);
            assert_eq!(spans.iter().filter(|span| **span == 0).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn sums_survive_their_record_and_merge_in_any_order(
            values in prop::collection::vec(-2e4..2e4_f64, 0..60), cut in 0_usize..60,
        ) {
            let grid = NumericGrid::new((-20..20).map(f64::from).collect());
            let sum = |values: &[f64]| {
                let placed = values.iter().map(|value| (*value, grid.rank_one(*value) as usize));
                Sums::of(grid.scale(), placed, grid.cells())
            };
            let all = sum(&values);
            let held = values.iter().filter(|value| grid.scale().holds(**value)).count() as u64;
            prop_assert_eq!(all.values, held);
            let (front, back) = values.split_at(cut.min(values.len()));
            let mut merged = sum(back);
            merged.merge(&sum(front));
            prop_assert_eq!(merged, all);
            prop_assert_eq!(Sums::decode(&all.encode(), all.values), Ok(all));
        }
    }

    #[test]
    fn sums_that_cannot_be_true_are_refused() {
        assert_eq!(Sums::decode(&[], 0), Ok(Sums::default()));
        assert!(Sums::decode(&[], 1).is_err());
        assert!(Sums::decode(&[0; 159], 1).is_err());
        assert!(Sums::decode(&[0; 176], 1).is_err());
        assert!(Sums::decode(&[0; 160], 1).is_ok());
        let with = |units: i128| {
            let sums = Sums { spans: [FixedSum::from_units(units); SPANS], values: 1 };
            sums.encode()
        };
        let most = 1_i128 << 50;
        for (units, values, fits) in
            [(most, 1, true), (most + 1, 1, false), (-most - 1, 1, false), (most + 1, 2, true)]
        {
            assert_eq!(Sums::decode(&with(units), values).is_ok(), fits, "{units} of {values}");
        }
        assert!(Sums::decode(&with(i128::MIN), u64::MAX).is_err());
    }

    #[test]
    fn values_on_cuts_are_summed_from_their_counts() {
        let grid = NumericGrid::new(vec![1.0, 2.5, 4.0]);
        let values = [1.0, 1.0, 4.0, 2.5];
        let placed = values.iter().map(|value| (*value, grid.rank_one(*value) as usize));
        let expected = Sums::of(grid.scale(), placed, grid.cells());
        assert_eq!(Sums::of_ties(grid.scale(), grid.cuts(), &[0, 2, 0, 1, 0, 1, 0]), Some(expected));
        assert_eq!(Sums::of_ties(grid.scale(), grid.cuts(), &[0, 2, 1, 1, 0, 1, 0]), None);
    }
}
