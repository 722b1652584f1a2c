//! Sums of floating-point values as integers, so that adding them up is exact in any order.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

/// Values are summed up to so many units from the middle, in bits. A block of 2¹² of them fits an `i64`, and
/// [`MOST_VALUES`] fit an `i128`.
const BITS: i32 = 50;

/// How far beyond the farthest cut values are still summed, in bits.
const HEADROOM: i32 = 12;

/// By so many bits the size of the cuts may exceed their distances before it no longer counts.
const OFFSET: i32 = 8;

/// Where no cut says how large a series is, values up to 2³² are summed, in units of 2⁻¹⁸.
const UNKNOWN: i32 = 20;

/// Values a sum may hold.
pub const MOST_VALUES: u64 = 1 << 53;

/// 1.5·2⁵²: what is added to it is rounded to a whole number, half to even, which stands in its lowest bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// The unit of the sums of one series, a power of two, and the middle cut that values are taken from first. Both
/// follow from the cuts: equal grids have equal ones, and sums on one grid can be merged.
///
/// With 2ᴱ just above the largest distance of a cut from the middle one (or above the middle cut itself, if that is
/// larger, but at most 2⁸ times the power of two of the distance), the unit is 2^(E−38): a value is summed to within 2⁻³⁹ of it.
/// Values farther than 2^(E+12) from the middle, infinities and NaN are not summed ([`FixedScale::holds`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedScale {
    middle: f64,
    unit: f64,
    /// 1/unit: a product with a power of two is exact.
    inverse: f64,
    limit: f64,
}

/// A sum of differences to the middle, in units of a [`FixedScale`]. Addition is exact, associative and commutative
/// (modulo 2¹²⁸, which no sum of up to [`MOST_VALUES`] values reaches), subtraction undoes it exactly: merging panes
/// in any order, or taking the oldest one out again, gives the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FixedSum(i128);

impl FixedScale {
    /// The unit for a grid's increasing cuts.
    pub fn of_cuts(cuts: &[f64]) -> Self {
        let finite = || cuts.iter().copied().filter(|cut| cut.is_finite());
        let middle = finite().nth(finite().count() / 2).unwrap_or(0.0);
        let reach = finite().map(|cut| (cut - middle).abs().min(f64::MAX)).fold(0.0, f64::max);
        let above = match (reach > 0.0, middle != 0.0) {
            (true, _) => {
                exponent_above(reach).max(exponent_above(middle).min(exponent_above(reach) + OFFSET))
            }
            (false, true) => exponent_above(middle),
            (false, false) => UNKNOWN,
        };
        let exponent = above.max(-900) + HEADROOM - BITS;
        FixedScale { middle, unit: power(exponent), inverse: power(-exponent), limit: power(exponent + BITS) }
    }

    /// Whether the value is near enough to be summed.
    #[inline(always)]
    pub fn holds(&self, value: f64) -> bool {
        (value - self.middle).abs() < self.limit
    }

    /// The units of one value that [`FixedScale::holds`]; of others, anything.
    #[inline(always)]
    pub(super) fn units(&self, value: f64) -> i64 {
        let rounded = (value - self.middle) * self.inverse + ROUNDING;
        rounded.to_bits().wrapping_sub(ROUNDING.to_bits()) as i64
    }

    /// One value as a sum; `None` when it is too far out.
    pub fn sum_of(&self, value: f64) -> Option<FixedSum> {
        self.holds(value).then(|| FixedSum(i128::from(self.units(value))))
    }

    /// So many units as a number.
    pub fn value(&self, units: f64) -> f64 {
        units * self.unit
    }

    /// The mean of `count` values with this sum. `None` for no values or more than [`MOST_VALUES`].
    pub fn mean(&self, sum: FixedSum, count: u64) -> Option<f64> {
        let possible = (1..=MOST_VALUES).contains(&count);
        possible.then(|| self.middle + self.value(sum.0 as f64 / count as f64))
    }
}

/// The E with 2^(E−1) ≤ |value| < 2^E, of a value that is not 0; −1022 for those that are not normal.
fn exponent_above(value: f64) -> i32 {
    (value.abs().to_bits() >> 52) as i32 - 1022
}

/// 2 to this, at least −1022; infinity above 1023.
fn power(exponent: i32) -> f64 {
    if exponent > 1023 { f64::INFINITY } else { f64::from_bits(((exponent + 1023) as u64) << 52) }
}

impl FixedSum {
    /// Whether so many values (at most [`MOST_VALUES`] count) can have so many units, either way.
    pub(super) fn is_of(units: i128, values: u64) -> bool {
        units.unsigned_abs() <= u128::from(values.min(MOST_VALUES)) << BITS
    }

    /// The sum in units, for storing it.
    pub fn units(self) -> i128 {
        self.0
    }

    /// A stored sum.
    pub fn from_units(units: i128) -> Self {
        FixedSum(units)
    }
}

impl Add for FixedSum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        FixedSum(self.0.wrapping_add(other.0))
    }
}

impl AddAssign for FixedSum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for FixedSum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        FixedSum(self.0.wrapping_sub(other.0))
    }
}

impl Sum for FixedSum {
    fn sum<I: Iterator<Item = Self>>(sums: I) -> Self {
        sums.fold(FixedSum::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(scale: &FixedScale, value: f64) -> f64 {
        scale.mean(scale.sum_of(value).expect("near enough"), 1).expect("one value")
    }

    /// The farthest cut from the middle is `reach` away.
    #[test]
    fn values_come_back_to_within_half_a_unit() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (cuts, reach) in [
            (vec![-1.0, 0.0, 3.0], 3.0_f64),
            (vec![-1e299, 0.0, 1e300], 1e300),
            (vec![1.7e12, 1.75e12, 1.8e12], 5e10),
            (vec![1e-200, 2e-200, 3e-200], 1e-200),
        ] {
            let scale = FixedScale::of_cuts(&cuts);
            let size = reach.max(cuts[1].abs());
            for _ in 0..1_000 {
                let value = cuts[1] + (rng.f64() - 0.5) * 2.0 * reach;
                let error = (back(&scale, value) - value).abs();
                assert!(error <= size * 2f64.powi(-38), "{value:e} of {cuts:?}: {error:e}");
            }
            for cut in cuts {
                let whole = (back(&scale, cut) - cut).abs() <= size * 2f64.powi(-38);
                assert!(whole, "{cut:e}");
            }
        }
    }

    /// Of whole numbers, halves and quarters no sum is rounded.
    #[test]
    fn short_numbers_are_exact() {
        let scale = FixedScale::of_cuts(&[0.0, 10.0, 200.0]);
        for value in [0.0, -0.0, 7.25, -3.5, 1e5, 200.0, f64::from(1 << 19)] {
            assert_eq!(back(&scale, value), value);
        }
        assert_eq!(scale.sum_of(0.0), scale.sum_of(-0.0));
    }

    #[test]
    fn what_is_too_far_out_is_not_summed() {
        let scale = FixedScale::of_cuts(&[-3.0, 0.0, 1.5]);
        let end = 2f64.powi(2 + 12);
        for value in [f64::INFINITY, f64::MAX, end, f64::NAN] {
            assert!(!scale.holds(value) && !scale.holds(-value), "{value}");
            assert_eq!(scale.sum_of(value), None);
        }
        for value in [end.next_down(), -end.next_down()] {
            assert!((back(&scale, value) - value).abs() <= 2f64.powi(-37));
        }
        // A unit that is a thousand times as large is still near enough, also of a narrow series far from 0.
        assert!(FixedScale::of_cuts(&[1_000.0, 1_001.0, 1_002.0]).holds(1e6));
        assert!(FixedScale::of_cuts(&[5.0]).holds(5_000.0));
    }

    #[test]
    fn extreme_and_absent_cuts_have_a_unit() {
        for (cuts, value) in [
            (&[f64::MAX][..], f64::MAX),
            (&[f64::MIN, 5e-324], f64::MIN / 3.0),
            (&[f64::MIN, 0.0, f64::MAX], f64::MAX / 3.0),
            (&[5e-324], 1e-270),
            (&[], 123.5),
            (&[f64::NEG_INFINITY, 0.0, f64::INFINITY], -1e6),
        ] {
            let scale = FixedScale::of_cuts(cuts);
            assert!(scale.holds(value), "{cuts:?}");
            assert!((back(&scale, value) / value - 1.0).abs() < 1e-11, "{cuts:?} {}", back(&scale, value));
        }
        // The distance of the outermost cuts is beyond all numbers.
        let scale = FixedScale::of_cuts(&[f64::MIN, f64::MAX]);
        assert!(scale.holds(f64::MAX) && !scale.holds(f64::MIN));
    }

    /// Whatever the order and the grouping, the bits are the same; with floats they are not.
    #[test]
    fn merging_is_associative_and_can_be_undone() {
        let mut rng = fastrand::Rng::with_seed(2);
        let scale = FixedScale::of_cuts(&[-1e6, 0.0, 1e6]);
        let mut values: Vec<f64> =
            (0..5_000).map(|_| (rng.f64() - 0.5) * 10f64.powi(rng.i32(-9..9))).collect();
        let sum =
            |values: &[f64]| -> FixedSum { values.iter().filter_map(|&value| scale.sum_of(value)).sum() };
        let all = sum(&values);
        let floats: f64 = values.iter().sum();
        let mut differing = 0;
        for _ in 0..20 {
            rng.shuffle(&mut values);
            differing += u32::from(values.iter().sum::<f64>() != floats);
            let sums: Vec<FixedSum> = values.chunks(rng.usize(1..900)).map(sum).collect();
            assert_eq!(sums.iter().copied().sum::<FixedSum>(), all);
            assert_eq!(sums.iter().fold(all, |rest, &pane| rest - pane), FixedSum::default());
        }
        assert!(differing > 0, "the order was expected to matter to floats");
        assert_eq!(FixedSum::from_units(all.units()), all);
    }

    #[test]
    fn a_mean_needs_values() {
        let scale = FixedScale::of_cuts(&[4.0]);
        let sum: FixedSum = [1.0, 2.0, 4.5].into_iter().filter_map(|value| scale.sum_of(value)).sum();
        assert_eq!(scale.mean(sum, 3), Some(2.5));
        assert_eq!(scale.mean(sum, 0), None);
        assert_eq!(scale.mean(sum, MOST_VALUES + 1), None);
        let most = FixedSum(i128::from(MOST_VALUES) << BITS);
        assert!(FixedSum::is_of(most.0, u64::MAX) && !FixedSum::is_of(most.0 + 1, u64::MAX));
        assert!(scale.mean(most, MOST_VALUES).is_some());
    }
}
