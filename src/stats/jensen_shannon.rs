//! Jensen–Shannon distance.

use super::sum_over_shares;

/// The base-2 Jensen–Shannon distance between two histograms on the same bins: the square root of the
/// divergence of their proportions, 0 (equal) to 1 (nothing in common). `None` when a side is empty or the
/// numbers of bins differ.
pub fn distance(reference: &[u64], window: &[u64]) -> Option<f64> {
    let divergence = sum_over_shares(reference, window, |p, q| {
        let middle = (p + q) / 2.0;
        (surprise(p, middle) + surprise(q, middle)) / 2.0
    })?;
    // Rounding may leave a hair below 0 or above 1.
    Some(divergence.clamp(0.0, 1.0).sqrt())
}

/// `p log2(p / middle)`, 0 at p = 0.
fn surprise(p: f64, middle: f64) -> f64 {
    if p > 0.0 { p * (p / middle).log2() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_proportions_have_no_distance() {
        assert_eq!(distance(&[1, 2, 3], &[10, 20, 30]), Some(0.0));
    }

    #[test]
    fn disjoint_histograms_are_one_apart() {
        assert_eq!(distance(&[5, 0, 1], &[0, 3, 0]), Some(1.0));
    }

    /// `scipy.spatial.distance.jensenshannon([.1,.2,.7], [.3,.3,.4], 2)`.
    #[test]
    fn equals_the_published_definition() {
        let expected = 0.273_666_875_898_699_3;
        assert!((distance(&[1, 2, 7], &[3, 3, 4]).unwrap() - expected).abs() < 1e-14);
        assert!((distance(&[3, 3, 4], &[1, 2, 7]).unwrap() - expected).abs() < 1e-14);
    }

    #[test]
    fn an_empty_or_differently_binned_side_is_not_measured() {
        assert_eq!(distance(&[0, 0], &[1, 2]), None);
        assert_eq!(distance(&[1, 2], &[0, 0]), None);
        assert_eq!(distance(&[1, 2], &[1, 2, 3]), None);
        assert_eq!(distance(&[], &[]), None);
    }
}
