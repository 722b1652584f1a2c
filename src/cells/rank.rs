//! The rank search: values → rank cells.
//!
//! One search is a chain of dependent loads, so twelve run side by side and hide each other's latency. Each
//! step is a conditional move, never a branch: the outcome of a comparison with a quantile is a coin toss.
//! The table is padded with NaN to a power of two, so that every search takes the same number of steps;
//! `NaN < x` and `NaN <= x` hold for no x, so padding is never counted as below a value and ties with none.

use super::NumericGrid;
use std::hint::select_unpredictable;

/// What stands for NaN among ranks: no cell.
pub const NOT_A_NUMBER: u32 = u32::MAX;

/// Searches that run side by side.
const LANES: usize = 12;

impl NumericGrid {
    /// Replaces `out` by the rank cell `#{cuts < x} + #{cuts <= x}` of each value, in order.
    ///
    /// `-0.0` equals `0.0`; infinities fall in the outermost gaps unless they are cuts; NaN gives
    /// [`NOT_A_NUMBER`].
    pub fn rank_into(&self, values: &[f64], out: &mut Vec<u32>) {
        out.clear();
        out.resize(values.len(), 0);
        let (blocks, rest) = values.as_chunks::<LANES>();
        let (out_blocks, out_rest) = out.as_chunks_mut::<LANES>();
        let table = self.search_table();
        for (block, out_block) in blocks.iter().zip(out_blocks) {
            *out_block = cuts_below(table, block);
        }
        if !rest.is_empty() {
            let mut block = [0.0; LANES];
            block[..rest.len()].copy_from_slice(rest);
            out_rest.copy_from_slice(&cuts_below(table, &block)[..rest.len()]);
        }
        // A loop of its own: in one with the searches the compiler runs out of registers.
        for (rank, &value) in out.iter_mut().zip(values) {
            *rank = rank_of(table, *rank, value);
        }
    }

    /// The rank cell of one value, or [`NOT_A_NUMBER`]. For single values; columns go through
    /// [`NumericGrid::rank_into`].
    pub fn rank_one(&self, value: f64) -> u32 {
        if value.is_nan() {
            return NOT_A_NUMBER;
        }
        let below = self.cuts().partition_point(|&cut| cut < value);
        let not_above = self.cuts().partition_point(|&cut| cut <= value);
        (below + not_above) as u32
    }
}

/// How many cuts lie below each value; 0 for NaN.
#[inline(always)]
fn cuts_below(table: &[f64], values: &[f64; LANES]) -> [u32; LANES] {
    // The length is a power of two: the mask changes no index, and lets the compiler see that all are inside.
    let mask = table.len() - 1;
    let mut below = [0usize; LANES];
    let mut half = table.len() / 2;
    while half > 0 {
        for (below, &value) in below.iter_mut().zip(values) {
            let ahead = *below + half;
            *below = select_unpredictable(table[(ahead - 1) & mask] < value, ahead, *below);
        }
        half /= 2;
    }
    below.map(|below| below as u32)
}

/// The rank cell of a value with so many cuts below it: the next cut is not below it, so it ties unless above.
#[inline(always)]
fn rank_of(table: &[f64], below: u32, value: f64) -> u32 {
    let mask = table.len() - 1;
    let tie = table[below as usize & mask] <= value;
    select_unpredictable(value.is_nan(), NOT_A_NUMBER, 2 * below + u32::from(tie))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-20i32..20).prop_map(|whole| f64::from(whole) / 4.0),
            2 => any::<f64>(),
            1 => prop::sample::select(vec![
                f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 0.0, -0.0,
                f64::MIN_POSITIVE, 5e-324, -5e-324, 1e-310, f64::MAX, f64::MIN,
            ]),
        ]
    }

    proptest! {
        #[test]
        fn rank_equals_the_oracle(
            cuts in prop::collection::vec(any_value(), 0..70),
            values in prop::collection::vec(any_value(), 0..50),
        ) {
            let grid = NumericGrid::new(cuts);
            let mut ranks = vec![7; 3];
            grid.rank_into(&values, &mut ranks);
            let expected: Vec<u32> = values.iter().map(|&value| grid.rank_one(value)).collect();
            prop_assert_eq!(ranks, expected);
        }

        #[test]
        fn rank_is_the_number_of_cuts_below_plus_not_above(
            cuts in prop::collection::vec(any_value(), 0..40),
            value in any_value(),
        ) {
            let grid = NumericGrid::new(cuts);
            let count = |test: &dyn Fn(f64) -> bool| grid.cuts().iter().filter(|&&cut| test(cut)).count();
            let expected = count(&|cut| cut < value) + count(&|cut| cut <= value);
            if !value.is_nan() {
                prop_assert_eq!(grid.rank_one(value) as usize, expected);
                prop_assert!(expected < grid.cells());
            }
        }
    }

    #[test]
    fn infinities_tie_only_with_infinite_cuts() {
        let mut ranks = Vec::new();
        let values = [f64::NEG_INFINITY, 1.0, f64::INFINITY, f64::NAN];
        NumericGrid::new(vec![1.0]).rank_into(&values, &mut ranks);
        assert_eq!(ranks, [0, 1, 2, NOT_A_NUMBER]);
        NumericGrid::new(vec![f64::NEG_INFINITY, 1.0, f64::INFINITY]).rank_into(&values, &mut ranks);
        assert_eq!(ranks, [1, 3, 5, NOT_A_NUMBER]);
    }

    #[test]
    fn negative_zero_ties_with_zero() {
        let mut ranks = Vec::new();
        NumericGrid::new(vec![-0.0]).rank_into(&[0.0, -0.0, 5e-324, -5e-324], &mut ranks);
        assert_eq!(ranks, [1, 1, 2, 0]);
    }

    #[test]
    fn a_grid_without_cuts_has_one_cell() {
        let mut ranks = Vec::new();
        NumericGrid::new(vec![]).rank_into(&[f64::INFINITY, 0.0, f64::NAN], &mut ranks);
        assert_eq!(ranks, [0, 0, NOT_A_NUMBER]);
    }
}
