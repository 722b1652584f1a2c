//! Scouter 0.9: PSI on the reference's deciles, and the three thresholds it can be held against.

use super::Sample;
use crate::stats::{chi_square, normal, total};

/// `QuantileBinning { num_bins: 10 }`, its default.
pub const BINS: u32 = 10;

/// Added to every share.
const EPSILON: f64 = 1e-10;

/// A feature is measured from more than so many values per bin.
const LEAST_PER_BIN: u64 = 10;

/// When a PSI becomes an alert: it has to exceed the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// `χ²_{1−α, B−1}/M` (the default, α = .05). M is the window's size; the reference counts as endless, so
    /// the real level is far from α unless it is much larger than the window.
    ChiSquare { alpha: f64 },
    /// `(B−1)/M + z_{1−α}·√(2(B−1))/M`.
    Normal { alpha: f64 },
    /// As it is; .25 by default.
    Fixed(f64),
}

impl Threshold {
    /// The PSI to exceed, with B bins (empty ones and those of equal edges included) and M values in the window.
    pub fn value(self, bins: usize, window: u64) -> f64 {
        let (degrees, size) = (bins.saturating_sub(1) as f64, window as f64);
        match self {
            Threshold::ChiSquare { alpha } => chi_square_quantile(alpha, degrees) / size,
            Threshold::Normal { alpha } => {
                (degrees + normal::upper_quantile(alpha) * (2.0 * degrees).sqrt()) / size
            }
            Threshold::Fixed(value) => value,
        }
    }
}

/// `Σ (p−q)·ln(p/q)` of two histograms on the same bins, 1e-10 added to every share and nothing renormalised:
/// an empty decile adds 2.07. `None` when a side is empty or the numbers of bins differ.
pub fn psi(reference: &[u64], window: &[u64]) -> Option<f64> {
    if reference.len() != window.len() {
        return None;
    }
    let (m, n) = (total(reference)? as f64, total(window)? as f64);
    let share = |count: u64, of: f64| count as f64 / of + EPSILON;
    let bins = reference.iter().zip(window).map(|(&r, &w)| (share(r, m), share(w, n)));
    Some(bins.map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

/// Whether a window of this many values is measured at all.
pub fn is_measured(bins: usize, window: u64) -> bool {
    window > LEAST_PER_BIN * bins as u64
}

/// The inner edges of [`BINS`] quantile bins (R's type 7, between order statistics). Equal ones are kept.
pub fn edges(reference: &Sample) -> Vec<f64> {
    let edge = |i: u32| {
        let position = u128::from(reference.total() - 1) * u128::from(i);
        let (rank, part) = (position / u128::from(BINS), position % u128::from(BINS));
        let low = reference.order_statistic(rank as u64);
        let high = reference.order_statistic(rank as u64 + 1);
        low + (high - low) * (part as f64 / f64::from(BINS))
    };
    (1..BINS).map(edge).collect()
}

/// Counts in (−∞, e₁], (e₁, e₂], …, (e₉, ∞).
pub fn fold(sample: &Sample, edges: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    for (value, count) in sample.pairs() {
        counts[edges.partition_point(|&edge| edge < value)] += count;
    }
    counts
}

/// [`psi`] of a numeric feature on [`edges`] of its reference. `None` never happens: samples are not empty.
pub fn numeric_psi(reference: &Sample, window: &Sample) -> Option<f64> {
    let edges = edges(reference);
    psi(&fold(reference, &edges), &fold(window, &edges))
}

/// The x with P(χ² > x) = `alpha`: by halving, to the last digits. NaN unless 0 < α < 1 and degrees > 0.
fn chi_square_quantile(alpha: f64, degrees: f64) -> f64 {
    let valid = alpha > 0.0 && alpha < 1.0 && degrees > 0.0;
    if !valid {
        return f64::NAN;
    }
    let (mut low, mut high) = (0.0, degrees + 10.0);
    while chi_square::sf(high, degrees, 0.0) > alpha {
        high *= 2.0;
    }
    while high - low > 1e-14 * high {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if chi_square::sf(middle, degrees, 0.0) > alpha { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{apart, assert_close, few, shaped};
    use super::*;

    /// Scouter's own steps in numpy 2.4: `quantile` (type 7), bins closed on the right.
    #[test]
    fn indices_equal_scouter() {
        let (reference, window) = shaped();
        let found = edges(&reference);
        let expected = [1.01809, 4.1373, 9.22339, 16.38652, 25.45225, 36.65094, 49.82967, 65.1572, 82.28305];
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?}");
        assert_eq!(fold(&reference, &found), [50; 10]);
        assert_eq!(fold(&window, &found), [0, 15, 54, 38, 30, 34, 32, 34, 29, 34]);
        assert_close(numeric_psi(&reference, &window).unwrap(), 2.1658603643647765, 1e-9);
        let (reference, window) = apart();
        assert_close(numeric_psi(&reference, &window).unwrap(), 20.72326583703641, 1e-9);
    }

    /// Values that take more than a tenth leave bins empty, which stay.
    #[test]
    fn equal_edges_are_kept() {
        let (reference, window) = few();
        let found = edges(&reference);
        assert_eq!(fold(&reference, &found), [13, 25, 0, 0, 26, 0, 0, 26, 0, 0]);
        assert_eq!(fold(&window, &found), [20, 0, 0, 0, 0, 0, 0, 19, 0, 21]);
        assert_close(numeric_psi(&reference, &window).unwrap(), 20.185568361406638, 1e-9);
    }

    /// `scipy.stats.chi2.ppf` and `norm.ppf`, scipy 1.17.
    #[test]
    fn thresholds_equal_scouter() {
        for (bins, window, alpha, by_chi_square, by_normal) in [
            (10, 300, 0.05, 0.056396592015401495, 0.05326174307353347),
            (10, 1_000, 0.01, 0.021665994333461926, 0.01886985814279912),
            (3, 200, 0.05, 0.029957322735539894, 0.026448536269514725),
        ] {
            assert_close(Threshold::ChiSquare { alpha }.value(bins, window), by_chi_square, 1e-9);
            assert_close(Threshold::Normal { alpha }.value(bins, window), by_normal, 1e-9);
        }
        assert_eq!(Threshold::Fixed(0.25).value(10, 300), 0.25);
        assert!(Threshold::ChiSquare { alpha: 0.05 }.value(1, 300).is_nan());
        assert!(is_measured(10, 101) && !is_measured(10, 100));
    }

    /// `.1·ln(.1/1e-10)` = 2.0723 (statistics.md §3), and nine times `(1/9 − .1)·ln(10/9)` of the others.
    #[test]
    fn an_empty_decile_weighs_two() {
        let mut window = [111u64; 10];
        window[3] = 0;
        let found = psi(&[1_000; 10], &window).unwrap();
        assert!((found - (2.07233 + 0.01054)).abs() < 1e-4, "{found}");
        assert_eq!(psi(&[1, 2], &[0, 0]), None);
        assert_eq!(psi(&[1, 2], &[1, 2, 3]), None);
    }
}
