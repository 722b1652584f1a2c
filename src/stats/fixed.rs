//! Sums of floating-point values as integers, so that adding them up is exact in any order.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

/// Bits that a value as large as the largest cut takes.
const BITS: i32 = 67;

/// Larger values count as this many units, either way: 2¹² times the largest cut.
const LIMIT: i128 = 1 << 79;

/// Values a sum may hold: 2⁴⁸ values of 2⁷⁹ units are the 127 bits of an `i128`.
pub const MOST_VALUES: u64 = 1 << 48;

/// Where no cut says how large a series is, values up to 2³² count with a unit of 2⁻⁴⁷.
const UNKNOWN: i32 = 20;

/// The unit of the sums of one series: a power of two that its cuts decide. So equal grids have equal units,
/// and sums on one grid can be merged.
///
/// With 2ᴱ just above the largest finite |cut|, the unit is 2^(E−67). A value is rounded to whole units, half
/// away from zero: no rounding at all from 2^(E−15) upwards, and at most 2^(E−68) below. Values beyond
/// ±2^(E+12), infinities included, count as ±2^(E+12); NaN counts as 0 (it belongs to no cell).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedScale {
    /// The unit is 2 to this: −967 … 957.
    exponent: i32,
}

/// A sum in units of a [`FixedScale`]. Addition is exact, associative and commutative (modulo 2¹²⁸, which no
/// sum of up to [`MOST_VALUES`] values reaches), subtraction undoes it exactly: merging panes in any order, or
/// taking the oldest one out again, gives the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FixedSum(i128);

impl FixedScale {
    /// The unit for a grid's cuts.
    pub fn of_cuts(cuts: &[f64]) -> Self {
        let sizes = cuts.iter().filter(|cut| cut.is_finite()).map(|cut| cut.abs());
        let largest = sizes.fold(0.0, f64::max);
        // Normal numbers only: biased exponent b means 2^(b−1023) ≤ |value| < 2^(b−1022).
        let above = if largest > 0.0 { (largest.to_bits() >> 52) as i32 - 1022 } else { UNKNOWN };
        FixedScale { exponent: above.max(-900) - BITS }
    }

    /// One value as a sum.
    pub fn sum_of(self, value: f64) -> FixedSum {
        if value.is_nan() {
            return FixedSum(0);
        }
        let units = if value.is_infinite() { LIMIT } else { self.units(value.to_bits()) };
        FixedSum(if value < 0.0 { -units } else { units })
    }

    /// Whether [`FixedScale::sum_of`] takes the value as it is, to within its rounding, and does not cut it.
    pub fn holds(self, value: f64) -> bool {
        !value.is_nan() && self.sum_of(value).0.abs() < LIMIT
    }

    /// The magnitude of a finite value.
    fn units(self, bits: u64) -> i128 {
        let (biased, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
        // The value is mantissa·2^power.
        let (mantissa, power) =
            if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
        let mantissa = i128::from(mantissa);
        match power - self.exponent {
            shift @ 0..=26 => mantissa << shift,
            27.. => LIMIT,
            shift @ -54..0 => (mantissa + (1 << (-shift - 1))) >> -shift,
            _ => 0,
        }
    }

    /// So many units as a number.
    pub(super) fn value(self, units: f64) -> f64 {
        units * f64::from_bits(((self.exponent + 1023) as u64) << 52)
    }

    /// The mean of `count` values with this sum. `None` for no values or more than [`MOST_VALUES`].
    pub fn mean(self, sum: FixedSum, count: u64) -> Option<f64> {
        (1..=MOST_VALUES).contains(&count).then(|| self.value(sum.0 as f64 / count as f64))
    }
}

impl FixedSum {
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

    #[test]
    fn values_near_the_cuts_come_back_exactly() {
        let mut rng = fastrand::Rng::with_seed(1);
        for cuts in [[-1.0, 3.0], [1e300, -1e299], [1.7e12, 1.8e12], [1e-200, 3e-200]] {
            let scale = FixedScale::of_cuts(&cuts);
            let largest = cuts[0].abs().max(cuts[1].abs());
            for _ in 0..1_000 {
                let size = largest * (7e-5 + rng.f64() * (1.0 - 7e-5));
                let value = if rng.bool() { size } else { -size };
                assert!(scale.holds(value));
                assert_eq!(scale.mean(scale.sum_of(value), 1), Some(value), "{value:e} of {cuts:?}");
            }
            for cut in cuts {
                assert_eq!(scale.mean(scale.sum_of(cut), 1), Some(cut));
            }
        }
    }

    #[test]
    fn small_values_round_to_a_sliver_of_the_largest_cut() {
        let scale = FixedScale::of_cuts(&[1.0]);
        let unit = 2f64.powi(1 - 67);
        for value in [1e-9, -3.3e-18, 5e-324, 0.4 * unit, 0.6 * unit, -0.5 * unit] {
            let back = scale.mean(scale.sum_of(value), 1).unwrap();
            assert!((back - value).abs() <= unit / 2.0, "{back:e} for {value:e}");
        }
        assert_eq!(scale.sum_of(-0.5 * unit), FixedSum(-1));
        assert_eq!(scale.sum_of(0.0), scale.sum_of(-0.0));
    }

    #[test]
    fn what_is_too_large_is_cut_and_nan_is_nothing() {
        let scale = FixedScale::of_cuts(&[-3.0, 1.5]);
        let end = 2f64.powi(2 + 12);
        for value in [f64::INFINITY, f64::MAX, end] {
            assert_eq!(scale.mean(scale.sum_of(value), 1), Some(end));
            assert_eq!(scale.mean(scale.sum_of(-value), 1), Some(-end));
            assert!(!scale.holds(value) && !scale.holds(-value));
        }
        assert!(scale.holds(end.next_down()));
        assert_eq!(scale.sum_of(f64::NAN), FixedSum(0));
        assert!(!scale.holds(f64::NAN));
    }

    #[test]
    fn extreme_and_absent_cuts_have_a_unit() {
        for (cuts, value) in [
            (&[f64::MAX][..], f64::MAX),
            (&[f64::MIN, 5e-324], f64::MIN),
            (&[5e-324], 1e-270),
            (&[], 123.456),
            (&[0.0, f64::INFINITY, f64::NEG_INFINITY], -1e9),
        ] {
            let scale = FixedScale::of_cuts(cuts);
            assert!(scale.holds(value), "{cuts:?}");
            assert_eq!(scale.mean(scale.sum_of(value), 1), Some(value), "{cuts:?}");
        }
        assert_eq!(FixedScale::of_cuts(&[f64::MAX]).sum_of(f64::INFINITY), FixedSum(LIMIT));
    }

    /// Whatever the order and the grouping, the bits are the same; with floats they are not.
    #[test]
    fn merging_is_associative_and_can_be_undone() {
        let mut rng = fastrand::Rng::with_seed(2);
        let scale = FixedScale::of_cuts(&[1e6]);
        let mut values: Vec<f64> =
            (0..5_000).map(|_| (rng.f64() - 0.5) * 10f64.powi(rng.i32(-9..9))).collect();
        let all: FixedSum = values.iter().map(|&value| scale.sum_of(value)).sum();
        let floats: f64 = values.iter().sum();
        let mut differing = 0;
        for _ in 0..20 {
            rng.shuffle(&mut values);
            differing += u32::from(values.iter().sum::<f64>() != floats);
            let panes = values.chunks(rng.usize(1..900));
            let sums: Vec<FixedSum> =
                panes.map(|pane| pane.iter().map(|&value| scale.sum_of(value)).sum()).collect();
            assert_eq!(sums.iter().copied().sum::<FixedSum>(), all);
            assert_eq!(sums.iter().fold(all, |rest, &pane| rest - pane), FixedSum::default());
        }
        assert!(differing > 0, "the order was expected to matter to floats");
        assert_eq!(FixedSum::from_units(all.units()), all);
    }

    #[test]
    fn a_mean_needs_values() {
        let scale = FixedScale::of_cuts(&[4.0]);
        let sum: FixedSum = [1.0, 2.0, 4.5].into_iter().map(|value| scale.sum_of(value)).sum();
        assert_eq!(scale.mean(sum, 3), Some(2.5));
        assert_eq!(scale.mean(sum, 0), None);
        assert_eq!(scale.mean(sum, MOST_VALUES + 1), None);
        let most = FixedSum(LIMIT * i128::from(MOST_VALUES) - 1);
        assert!(most.0 > 0 && scale.mean(most, MOST_VALUES).is_some());
    }
}
