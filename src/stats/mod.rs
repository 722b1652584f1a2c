//! Statistics of drift: slices of counts in, numbers out. Pure.
//!
//! Counts come in two shapes: *rank cells* of a numeric grid (2k+1 for k cuts, see [`crate::cells`]), or one
//! cell per category. Whatever cannot be measured (an empty side, sides of different lengths, totals beyond
//! 63 bits) is `None`, never a made-up number.

mod binomial;
pub mod bounds;
pub mod chi_square;
pub mod compat;
pub mod divergence;
pub mod fixed;
pub mod homogeneity;
pub mod jensen_shannon;
pub mod ks;
pub mod labelled;
pub mod normal;
pub mod own_blocks;
pub mod pit;
pub mod psi;
pub mod quantile;
pub mod rare;
pub mod rates;
pub mod scan;
pub mod sequential;
pub mod unseen;
pub mod wasserstein;

/// The sum of counts; `None` when it is zero or does not fit an `i64` (so that products of two totals fit an
/// `i128`).
fn total(counts: &[u64]) -> Option<u64> {
    let sum = counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count))?;
    (sum > 0 && i64::try_from(sum).is_ok()).then_some(sum)
}

/// Σ of a function of both shares over the bins: the reference's share, then the window's. `None` when a side
/// is empty or the numbers of bins differ.
fn sum_over_shares(reference: &[u64], window: &[u64], of: impl Fn(f64, f64) -> f64) -> Option<f64> {
    if reference.len() != window.len() {
        return None;
    }
    let (m, n) = (total(reference)? as f64, total(window)? as f64);
    let bins = reference.iter().zip(window);
    Some(bins.map(|(&r, &w)| of(r as f64 / m, w as f64 / n)).sum())
}
