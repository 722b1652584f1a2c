//! Distances between two histograms on the same bins.

use super::sum_over_shares;

/// The Hellinger distance of the proportions p and q: `sqrt(1 − Σ sqrt(pᵢ·qᵢ))`, 0 (equal) to 1 (nothing in
/// common), summed as `sqrt(½ Σ (√pᵢ − √qᵢ)²)`, which keeps its digits near 0 (statistics.md §1.4).
///
/// `None` when a side is empty or the numbers of bins differ.
pub fn hellinger(reference: &[u64], window: &[u64]) -> Option<f64> {
    let squared = sum_over_shares(reference, window, |p, q| (p.sqrt() - q.sqrt()).powi(2))?;
    Some((squared / 2.0).clamp(0.0, 1.0).sqrt())
}

/// The total variation of the proportions p and q: `½ Σ |pᵢ − qᵢ|`, 0 (equal) to 1 (nothing in common): the
/// share of the values that would have to move to another bin (statistics.md §1.4).
///
/// `None` when a side is empty or the numbers of bins differ.
pub fn total_variation(reference: &[u64], window: &[u64]) -> Option<f64> {
    let doubled = sum_over_shares(reference, window, |p, q| (p - q).abs())?;
    Some((doubled / 2.0).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_proportions_have_no_distance() {
        assert_eq!(hellinger(&[1, 2, 3], &[10, 20, 30]), Some(0.0));
        assert_eq!(total_variation(&[1, 2, 3], &[10, 20, 30]), Some(0.0));
    }

    #[test]
    fn disjoint_histograms_are_one_apart() {
        assert_eq!(hellinger(&[5, 0, 1], &[0, 3, 0]), Some(1.0));
        assert_eq!(total_variation(&[5, 0, 1], &[0, 3, 0]), Some(1.0));
    }

    /// By numpy: `sqrt(1 - sum(sqrt(p*q)))` and `abs(p - q).sum() / 2`.
    #[test]
    fn both_equal_their_definitions() {
        let (p, q) = ([1, 2, 7], [3, 3, 4]);
        assert!((hellinger(&p, &q).unwrap() - 0.22955540235828983).abs() < 1e-14);
        assert!((total_variation(&p, &q).unwrap() - 0.3).abs() < 1e-15);
        let (p, q) = ([1_000; 10], [62, 71, 83, 90, 95, 101, 108, 118, 129, 143]);
        assert!((hellinger(&p, &q).unwrap() - 0.08571715440430315).abs() < 1e-14);
        assert!((total_variation(&p, &q).unwrap() - 0.099).abs() < 1e-15);
        assert_eq!(hellinger(&p, &q), hellinger(&q, &p));
        assert_eq!(total_variation(&p, &q), total_variation(&q, &p));
    }

    /// TV bounds H from both sides: `H² ≤ TV ≤ H·√2`.
    #[test]
    fn the_two_distances_bound_each_other() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..200 {
            let mut draw = || (0..8).map(|_| rng.u64(0..50)).chain([1]).collect::<Vec<_>>();
            let (p, q) = (draw(), draw());
            let (h, tv) = (hellinger(&p, &q).unwrap(), total_variation(&p, &q).unwrap());
            assert!(h * h <= tv + 1e-12 && tv <= h * std::f64::consts::SQRT_2 + 1e-12, "{h} {tv}");
        }
    }

    #[test]
    fn an_empty_or_differently_binned_side_is_not_measured() {
        for of in [hellinger, total_variation] {
            assert_eq!(of(&[0, 0], &[1, 2]), None);
            assert_eq!(of(&[1, 2], &[0, 0]), None);
            assert_eq!(of(&[1, 2], &[1, 2, 3]), None);
            assert_eq!(of(&[], &[]), None);
        }
    }
}
