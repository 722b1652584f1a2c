//! Holm's step-down rule: one level over many tests, whatever their dependence (statistics.md §4.2).

/// The p-values adjusted for being k of them, in their own order: with p₍ᵢ₎ ascending from i = 1, the largest
/// of `p₍ⱼ₎·(k−j+1)`, j ≤ i, at most 1. Rejecting what is at most α keeps the chance of any false rejection
/// at α. NaN counts as 1.
pub fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let p = |at: usize| if p_values[at].is_nan() { 1.0 } else { p_values[at] };
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p(a).total_cmp(&p(b)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(p(at) * (p_values.len() - rank) as f64).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(p_values: &[f64], expected: &[f64]) {
        let found = adjusted(p_values);
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-15), "{found:?} not {expected:?}");
    }

    /// `p.adjust(…, "holm")` of R's documentation works the same: 4·.01, 3·.02 …, never falling.
    #[test]
    fn steps_down_from_the_smallest() {
        assert_close(&[0.01, 0.02, 0.03, 0.04], &[0.04, 0.06, 0.06, 0.06]);
        assert_close(&[0.04, 0.001, 0.3], &[0.08, 0.003, 0.3]);
        assert_close(&[0.6, 0.7], &[1.0, 1.0]);
        assert_close(&[0.02], &[0.02]);
        assert_close(&[], &[]);
        assert_close(&[f64::NAN, 0.01], &[1.0, 0.02]);
    }

    /// Rejects whatever Bonferroni's rule rejects, and with fair p-values no more often than the level says.
    #[test]
    fn keeps_the_level_over_all_tests() {
        let mut rng = fastrand::Rng::with_seed(8);
        let mut false_alarms = 0;
        for _ in 0..4_000 {
            // Two true rejections that must not loosen the other eight by more than they may.
            let p: Vec<f64> = (0..10).map(|at| if at < 2 { 1e-9 } else { rng.f64() }).collect();
            let adjusted = adjusted(&p);
            assert!(adjusted.iter().zip(&p).all(|(a, p)| *a <= (10.0 * p).min(1.0) && a >= p));
            false_alarms += usize::from(adjusted[2..].iter().any(|&p| p <= 0.05));
        }
        assert!((140..=245).contains(&false_alarms), "{false_alarms} of 4000 at .05");
    }
}
