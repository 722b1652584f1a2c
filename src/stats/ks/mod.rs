//! The two-sample Kolmogorov–Smirnov distance on rank cells, and its p-values.
//!
//! Everything up to the last division is integer arithmetic: equal counts give bit-identical distances
//! whatever the machine, the order of events or the number of replicas.

mod p_value;

pub use p_value::{exact, p_value, p1, p1_effective, p2, q};

use super::Counted;
use std::ops::{Add, Mul, Sub};

/// The distance between two empirical distribution functions counted on the same rank cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ks {
    /// `max_c |m·G_c − n·M_c| / (n·m)`, 0 to 1. The true distance, or a lower bound of it.
    pub statistic: f64,
    /// The certified upper bound of the true distance; `statistic` itself when that is exact.
    pub upper: f64,
    /// `statistic · n · m`.
    pub numerator: u128,
    /// Values in the window.
    pub n: u64,
    /// Values in the reference.
    pub m: u64,
}

/// Compares counts per rank cell (2k+1 of them, both on one grid).
///
/// `exact`: every distinct value of the reference is a cut, which makes the statistic the true distance
/// (statistics.md §1.1). Without it, and whenever two live windows are compared, the distance inside a gap is
/// unknown and `upper` bounds it: `max(F_n(e₊)−F_m(e₋), F_m(e₊)−F_n(e₋))` over all gaps (§1.2).
///
/// `None` when a side is empty, the lengths differ or are even, or a total exceeds 63 bits.
pub fn two_sample(reference: &[u64], window: &[u64], exact: bool) -> Option<Ks> {
    between(Counted::new(reference)?, Counted::new(window)?, exact)
}

/// [`two_sample`] of counts that are added up already.
pub fn between(reference: Counted<'_>, window: Counted<'_>, exact: bool) -> Option<Ks> {
    if reference.cells.len() != window.cells.len() || reference.cells.len().is_multiple_of(2) {
        return None;
    }
    let (m, n) = (reference.total, window.total);
    let product = u128::from(n) * u128::from(m);
    let scan = if product < 1 << 62 { scan::<i64> } else { scan::<i128> };
    Some(scan(reference.cells, window.cells, n, m).distance((n, m), exact))
}

/// What one pass over the cells finds, in units of 1/(n·m).
pub(super) struct Scan {
    pub largest: u128,
    pub largest_in_gap: u128,
}

impl Scan {
    /// The distance of windows of `n` values from references of `m`.
    pub(super) fn distance(&self, (n, m): (u64, u64), exact: bool) -> Ks {
        let product = u128::from(n) * u128::from(m);
        let statistic = self.largest as f64 / product as f64;
        let upper =
            if exact { statistic } else { self.largest.max(self.largest_in_gap) as f64 / product as f64 };
        Ks { statistic, upper, numerator: self.largest, n, m }
    }
}

/// `T` must hold ±n·m, which bounds every intermediate value. The lengths are equal and odd.
///
/// The loop keeps extremes only, without a branch.
fn scan<T: Integer>(reference: &[u64], window: &[u64], n: u64, m: u64) -> Scan {
    let (n, m, zero) = (T::of(n), T::of(m), T::of(0));
    let step = |r: u64, w: u64| (m * T::of(w), n * T::of(r));
    let (mut difference, mut lowest, mut highest, mut in_gap) = (zero, zero, zero, zero);
    let (reference_pairs, reference_last) = reference.as_chunks::<2>();
    let (window_pairs, window_last) = window.as_chunks::<2>();
    for (&[r, tied_r], &[w, tied_w]) in reference_pairs.iter().zip(window_pairs) {
        let (up, down) = step(r, w);
        in_gap = in_gap.max(difference + up).max(down - difference);
        let gap_end = difference + (up - down);
        let (up, down) = step(tied_r, tied_w);
        difference = gap_end + (up - down);
        highest = highest.max(gap_end).max(difference);
        lowest = lowest.min(gap_end).min(difference);
    }
    // The last gap ends where both functions are 1: only its inside counts.
    for (&r, &w) in reference_last.iter().zip(window_last) {
        let (up, down) = step(r, w);
        in_gap = in_gap.max(difference + up).max(down - difference);
    }
    let largest = highest.max(zero - lowest);
    Scan { largest: largest.magnitude(), largest_in_gap: in_gap.magnitude() }
}

/// The two widths the scan runs in: `i64` is several times as fast, `i128` takes any totals.
trait Integer: Copy + Ord + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// `value` is at most `i64::MAX`.
    fn of(value: u64) -> Self;
    fn magnitude(self) -> u128;
}

impl Integer for i64 {
    fn of(value: u64) -> Self {
        value as i64
    }
    fn magnitude(self) -> u128 {
        u128::from(self.unsigned_abs())
    }
}

impl Integer for i128 {
    fn of(value: u64) -> Self {
        i128::from(value)
    }
    fn magnitude(self) -> u128 {
        self.unsigned_abs()
    }
}

#[cfg(test)]
mod tests;
