//! The area under the ROC curve, from one histogram of scores per class.

use crate::stats::total;

/// P(a positive scores higher than a negative) + ½·P(they score the same), as a bracket: cells do not tell the
/// order of two scores inside one gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Auc {
    /// With half of the pairs inside a gap in either order. The exact value where gaps hold one class only.
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

/// `Σ_c p⁺_c·(P⁻_{<c} + ½p⁻_c)`, exact up to `½Σ p⁺_c·p⁻_c` over the gaps (statistics.md §1.4). Counts per rank
/// cell (2k+1) of both classes on one grid; all but the last division is integer arithmetic.
///
/// `None` when a class has no scores, the lengths differ or are even, or a total exceeds 63 bits.
pub fn auc(positives: &[u64], negatives: &[u64]) -> Option<Auc> {
    if positives.len() != negatives.len() || positives.len().is_multiple_of(2) {
        return None;
    }
    let pairs = u128::from(total(positives)?) * u128::from(total(negatives)?);
    // Twice as many pairs as there are, so that halves are whole: at most 2¹²⁷.
    let (mut ordered, mut in_gaps, mut below) = (0u128, 0u128, 0u128);
    for (cell, (&positive, &negative)) in positives.iter().zip(negatives).enumerate() {
        let same = u128::from(positive) * u128::from(negative);
        ordered += 2 * u128::from(positive) * below + same;
        below += u128::from(negative);
        if cell.is_multiple_of(2) {
            in_gaps += same;
        }
    }
    let share = |doubled: u128| doubled as f64 / (2.0 * pairs as f64);
    Some(Auc { value: share(ordered), lower: share(ordered - in_gaps), upper: share(ordered + in_gaps) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::NumericGrid;

    #[test]
    fn ties_count_half_and_gaps_are_bracketed() {
        // Cuts 1, 2: positives at 1, 2 and twice above; negatives at 1, below and above.
        let found = auc(&[0, 1, 0, 1, 2], &[1, 1, 0, 0, 1]).unwrap();
        // 1: ½ tie + 1; 2: 2; above: 2 each, and a pair in the gap each.
        assert_eq!(found, Auc { value: 8.5 / 12.0, lower: 7.5 / 12.0, upper: 9.5 / 12.0 });
        let equal = auc(&[0, 5, 0], &[0, 7, 0]).unwrap();
        assert_eq!((equal.value, equal.lower, equal.upper), (0.5, 0.5, 0.5));
        let unknown = auc(&[5, 0, 0], &[7, 0, 0]).unwrap();
        assert_eq!((unknown.value, unknown.lower, unknown.upper), (0.5, 0.0, 1.0));
    }

    /// Over all pairs of raw scores, on a grid of all of them and on a coarse one.
    #[test]
    fn equals_the_share_of_ordered_pairs() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..200 {
            let mut draw =
                |lift: f64| (0..30).map(|_| ((rng.f64() + lift) * 20.0).floor() / 20.0).collect::<Vec<f64>>();
            let (positives, negatives) = (draw(0.3), draw(0.0));
            let order = |p: &f64| {
                negatives
                    .iter()
                    .map(|n| f64::from(u8::from(p > n)) + 0.5 * f64::from(u8::from(p == n)))
                    .sum::<f64>()
            };
            let expected = positives.iter().map(order).sum::<f64>() / 900.0;
            let on = |grid: &NumericGrid, values: &[f64]| {
                let mut counts = vec![0u64; grid.cells()];
                values.iter().for_each(|&value| counts[grid.rank_one(value) as usize] += 1);
                counts
            };
            let fine = NumericGrid::new(positives.iter().chain(&negatives).copied().collect());
            let found = auc(&on(&fine, &positives), &on(&fine, &negatives)).unwrap();
            assert!((found.value - expected).abs() < 1e-12);
            assert_eq!((found.lower, found.upper), (found.value, found.value));
            let coarse = NumericGrid::new(vec![0.22, 0.5, 0.7]);
            let found = auc(&on(&coarse, &positives), &on(&coarse, &negatives)).unwrap();
            assert!(found.lower <= expected + 1e-12 && expected <= found.upper + 1e-12);
        }
    }

    #[test]
    fn wide_totals_keep_their_digits() {
        let scale = 1u64 << 59;
        let found = auc(&[0, scale, 0, 3 * scale, 0], &[0, 2 * scale, 0, 2 * scale, 0]).unwrap();
        assert_eq!(found.value, auc(&[0, 1, 0, 3, 0], &[0, 2, 0, 2, 0]).unwrap().value);
    }

    #[test]
    fn a_class_without_scores_has_no_curve() {
        assert_eq!(auc(&[0, 0, 0], &[1, 0, 0]), None);
        assert_eq!(auc(&[1, 0, 0], &[0, 0, 0]), None);
        assert_eq!(auc(&[1, 0, 0], &[1]), None);
        assert_eq!(auc(&[1, 0], &[1, 0]), None);
    }
}
