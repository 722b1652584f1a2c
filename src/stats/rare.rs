//! Categories of small windows: exact tests, where the laws of χ² and PSI do not hold yet.

use super::rates::{self, Change, Rate};
use super::total;

/// From this many effective values on, categories are decided by PSI (statistics.md §9.9).
pub const EXACT_BELOW: f64 = 1_000.0;

/// The result of the exact tests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rare {
    /// The smallest p-value of a category times the number of categories that occur, at most 1.
    pub p_value: f64,
    /// The category with the smallest p-value, the first of equal ones.
    pub cell: usize,
}

/// Fisher's exact test of each category against all others, the smallest p-value times the number of
/// categories that occur on either side (Bonferroni; statistics.md §9.9).
///
/// `phi` ≥ 1 is the window's autocorrelation factor: counts are thinned by it ([`Rate::thinned`]). `None` when
/// a side is empty or the numbers of categories differ.
pub fn p_value(reference: &[u64], window: &[u64], phi: f64) -> Option<Rare> {
    if reference.len() != window.len() {
        return None;
    }
    let (m, n) = (total(reference)?, total(window)?);
    let (mut occurring, mut smallest) = (0u32, None);
    for (cell, (&r, &w)) in reference.iter().zip(window).enumerate() {
        if r == 0 && w == 0 {
            continue;
        }
        occurring += 1;
        let p = rates::fisher(Rate::new(r, m)?, Rate::new(w, n)?.thinned(phi), Change::Differs);
        if smallest.is_none_or(|(least, _)| p < least) {
            smallest = Some((p, cell));
        }
    }
    let (p, cell) = smallest?;
    Some(Rare { p_value: (p * f64::from(occurring)).min(1.0), cell })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.fisher_exact` of each category against the rest, scipy 1.17.
    #[test]
    fn the_smallest_p_value_counts_once_per_category() {
        let rare = p_value(&[900, 90, 10, 0, 0], &[80, 10, 1, 0, 9], 1.0).unwrap();
        assert_eq!(rare.cell, 4);
        assert!((rare.p_value / (4.0 * 3.025118081782972e-10) - 1.0).abs() < 1e-9, "{rare:?}");
        let same = p_value(&[900, 90, 10], &[90, 9, 1], 1.0).unwrap();
        assert_eq!((same.p_value, same.cell), (1.0, 0));
        assert!(p_value(&[900, 90, 10, 0, 0], &[80, 10, 1, 0, 9], 3.0).unwrap().p_value > rare.p_value);
    }

    /// A long tail of rare categories at n = 100, where PSI's law is several times too often beyond α.
    #[test]
    fn the_level_holds_with_rare_categories() {
        let mut rng = fastrand::Rng::with_seed(12);
        let shares: Vec<f64> = (1..=20).map(|rank| 1.0 / f64::from(rank)).collect();
        let all: f64 = shares.iter().sum();
        let mut draw = |n: usize| {
            let mut counts = vec![0u64; shares.len()];
            for _ in 0..n {
                let mut left = rng.f64() * all;
                let cell = shares.iter().position(|share| {
                    left -= share;
                    left <= 0.0
                });
                counts[cell.unwrap_or(0)] += 1;
            }
            counts
        };
        let rejected =
            (0..1_500).filter(|_| p_value(&draw(1_000), &draw(100), 1.0).unwrap().p_value <= 0.01).count();
        assert!(rejected <= 26, "{rejected} of 1500 at .01");
    }

    #[test]
    fn what_cannot_be_compared_is_none() {
        assert_eq!(p_value(&[0, 0], &[1, 1], 1.0), None);
        assert_eq!(p_value(&[1, 1], &[0, 0], 1.0), None);
        assert_eq!(p_value(&[1, 1], &[1, 1, 1], 1.0), None);
    }
}
