//! What Evidently and Alibi Detect take from scipy.

use super::{Sample, one_sample_tail};
use crate::stats::ks::{Ks, exact};
use crate::stats::{chi_square, total};

/// Larger samples than this have no exact p-value in `ks_2samp`.
const LARGEST_EXACT: u64 = 10_000;

/// `ks_2samp(…, method="asymp")`, two-sided: the one-sample law at the effective size n·m/(n+m), rounded.
pub fn ks_asymptotic(ks: &Ks) -> f64 {
    let (n, m) = (ks.n as f64, ks.m as f64);
    one_sample_tail(ks.statistic, (n * m / (n + m)).round_ties_even() as u64)
}

/// `ks_2samp(…, method="auto")`: exact up to 10,000 values on the larger side, else [`ks_asymptotic`].
pub fn ks_automatic(ks: &Ks) -> f64 {
    if ks.n.max(ks.m) <= LARGEST_EXACT { exact(ks.numerator, ks.n, ks.m) } else { ks_asymptotic(ks) }
}

/// `wasserstein_distance` of two samples: ∫|F − G|.
pub fn wasserstein(reference: &Sample, window: &Sample) -> f64 {
    let (m, n) = (reference.total() as f64, window.total() as f64);
    let merged = reference.side_by_side(window);
    let (mut below_reference, mut below_window) = (0u64, 0u64);
    let mut area = 0.0;
    for pair in merged.windows(2) {
        below_reference += pair[0].1;
        below_window += pair[0].2;
        area += (below_reference as f64 / m - below_window as f64 / n).abs() * (pair[1].0 - pair[0].0);
    }
    area
}

/// The p-value of `chi2_contingency` of two rows of counts: Pearson's test of homogeneity, with Yates'
/// correction where there are two columns. Columns that are empty on both sides are left out. `None` when a
/// row is empty or their lengths differ; 1 when a single column is left.
pub fn chi_square_contingency(reference: &[u64], window: &[u64]) -> Option<f64> {
    if reference.len() != window.len() {
        return None;
    }
    let (m, n) = (total(reference)? as f64, total(window)? as f64);
    let columns = || reference.iter().zip(window).filter(|&(&r, &w)| r > 0 || w > 0);
    let degrees = columns().count() - 1;
    if degrees == 0 {
        return Some(1.0);
    }
    let most = if degrees == 1 { 0.5f64 } else { 0.0 };
    let of_cell = |observed: f64, expected: f64| {
        let difference = (observed - expected).abs();
        (difference - most.min(difference)).powi(2) / expected
    };
    let of_column = |(&r, &w): (&u64, &u64)| {
        let (r, w) = (r as f64, w as f64);
        let share = (r + w) / (m + n);
        of_cell(r, share * m) + of_cell(w, share * n)
    };
    Some(chi_square::sf(columns().map(of_column).sum(), degrees as f64, 0.0))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{assert_close, shaped};
    use super::*;

    /// `ks_2samp` with both methods, scipy 1.17.
    #[test]
    fn p_values_equal_scipy() {
        let (reference, window) = shaped();
        let ks = reference.distance(&window);
        assert_close(ks.statistic, 0.196, 1e-12);
        assert_close(ks_automatic(&ks), 9.111565044354173e-07, 1e-9);
        assert_close(ks_asymptotic(&ks), 8.383009331640307e-07, 1e-9);
    }

    /// `chi2_contingency`, scipy 1.17.
    #[test]
    fn contingency_tables_equal_scipy() {
        let known: [(&[u64], &[u64], f64); 4] = [
            (&[500, 300, 200], &[40, 35, 20], 0.29055703428596674),
            (&[500, 300, 200, 0, 0], &[40, 35, 20, 5, 0], 2.2331697316564026e-11),
            (&[60, 40], &[30, 45], 0.013630011664755123),
            (&[10, 20], &[10, 21], 1.0),
        ];
        for (reference, window, p) in known {
            assert_close(chi_square_contingency(reference, window).unwrap(), p, 1e-9);
        }
        assert_eq!(chi_square_contingency(&[5, 0], &[7, 0]), Some(1.0));
        assert_eq!(chi_square_contingency(&[0, 0], &[7, 0]), None);
        assert_eq!(chi_square_contingency(&[1], &[7, 0]), None);
    }
}
