//! Accuracy, precision, recall and F1 of predicted classes.

use crate::stats::rates::{Estimate, Rate, wilson};

/// What became of the predictions of one class against all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassCounts {
    /// Predicted as the class, and of it.
    pub true_positives: u64,
    /// Predicted as the class, but not of it.
    pub false_positives: u64,
    /// Of the class, but predicted as another.
    pub false_negatives: u64,
}

/// The share of predictions that were right, with Wilson's interval, which misses the true share with
/// probability `alpha`. `None` when there are none, or more right ones than there are.
pub fn accuracy(right: u64, predictions: u64, alpha: f64) -> Option<Estimate> {
    Some(wilson(Rate::new(right, predictions)?, alpha))
}

/// `TP/(TP+FP)` with Wilson's interval. `None` when the class was never predicted.
pub fn precision(class: ClassCounts, alpha: f64) -> Option<Estimate> {
    let of = class.true_positives.checked_add(class.false_positives)?;
    accuracy(class.true_positives, of, alpha)
}

/// `TP/(TP+FN)` with Wilson's interval. `None` when the class never occurred.
pub fn recall(class: ClassCounts, alpha: f64) -> Option<Estimate> {
    let of = class.true_positives.checked_add(class.false_negatives)?;
    accuracy(class.true_positives, of, alpha)
}

/// `F1 = 2J/(1+J)`, `J = TP/(TP+FP+FN)`. J is binomial given its denominator, so Wilson's interval of J
/// becomes that of F1 (it covers .945 to .958 at .95). `None` when the class neither occurred nor was
/// predicted.
pub fn f1(class: ClassCounts, alpha: f64) -> Option<Estimate> {
    let missed = class.false_positives.checked_add(class.false_negatives)?;
    let jaccard = accuracy(class.true_positives, class.true_positives.checked_add(missed)?, alpha)?;
    let harmonic = |j: f64| 2.0 * j / (1.0 + j);
    Some(Estimate {
        value: harmonic(jaccard.value),
        lower: harmonic(jaccard.lower),
        upper: harmonic(jaccard.upper),
    })
}

/// The mean of the F1 of all classes that occurred or were predicted, 0 to 1; its standard error is that of
/// [`super::jackknife`]. `None` when there are none.
pub fn macro_f1(classes: &[ClassCounts]) -> Option<f64> {
    let scores = || classes.iter().filter_map(value_of_f1);
    let count = scores().count();
    (count > 0).then(|| scores().sum::<f64>() / count as f64)
}

/// `2TP/(2TP+FP+FN)`.
fn value_of_f1(class: &ClassCounts) -> Option<f64> {
    let hits = 2.0 * class.true_positives as f64;
    let all = hits + class.false_positives as f64 + class.false_negatives as f64;
    (all > 0.0).then(|| hits / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: ClassCounts = ClassCounts { true_positives: 40, false_positives: 5, false_negatives: 10 };

    fn assert_estimate(found: Option<Estimate>, value: f64, lower: f64, upper: f64) {
        let found = found.unwrap();
        for (found, expected) in [(found.value, value), (found.lower, lower), (found.upper, upper)] {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    /// The test values of statistics.md §6; precision and recall by Wilson's formula.
    #[test]
    fn intervals_are_those_of_the_right_denominators() {
        assert_estimate(accuracy(45, 50, 0.05), 0.9, 0.786398, 0.956524);
        assert_estimate(f1(SOME, 0.05), 0.842105, 0.748183, 0.905425);
        assert_estimate(precision(SOME, 0.05), 40.0 / 45.0, 0.765009, 0.951595);
        assert_estimate(recall(SOME, 0.05), 0.8, 0.669629, 0.887562);
        assert_eq!(precision(SOME, 0.05), accuracy(40, 45, 0.05));
        assert_eq!(recall(SOME, 0.05), accuracy(40, 50, 0.05));
    }

    #[test]
    fn what_never_occurred_has_no_value() {
        let never = ClassCounts::default();
        assert_eq!((precision(never, 0.05), recall(never, 0.05), f1(never, 0.05)), (None, None, None));
        let missed = ClassCounts { false_negatives: 3, ..never };
        assert_eq!((precision(missed, 0.05), recall(missed, 0.05).unwrap().value), (None, 0.0));
        assert_eq!(f1(missed, 0.05).unwrap().value, 0.0);
        assert_eq!((accuracy(0, 0, 0.05), accuracy(2, 1, 0.05)), (None, None));
        let endless = ClassCounts { true_positives: u64::MAX, ..SOME };
        assert_eq!((precision(endless, 0.05), f1(endless, 0.05)), (None, None));
    }

    /// `sklearn.metrics.f1_score(…, average="macro")` means the same: .842105, 2/3, 0, and a class that is
    /// not there.
    #[test]
    fn macro_f1_is_the_mean_over_classes_that_occur() {
        let half = ClassCounts { true_positives: 2, false_positives: 1, false_negatives: 1 };
        let missed = ClassCounts { false_negatives: 7, ..ClassCounts::default() };
        let found = macro_f1(&[SOME, half, missed, ClassCounts::default()]).unwrap();
        assert!((found - (16.0 / 19.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!((macro_f1(&[]), macro_f1(&[ClassCounts::default()])), (None, None));
    }

    /// The interval of F1 misses the true one about as often as it says, at a prevalence of .2 with recall .8
    /// and precision .8.
    #[test]
    fn intervals_of_f1_cover_it() {
        let mut rng = fastrand::Rng::with_seed(2);
        let missed = (0..2_000)
            .filter(|_| {
                let mut class = ClassCounts::default();
                for _ in 0..400 {
                    match rng.f64() {
                        u if u < 0.16 => class.true_positives += 1,
                        u if u < 0.20 => class.false_negatives += 1,
                        u if u < 0.24 => class.false_positives += 1,
                        _ => {}
                    }
                }
                let found = f1(class, 0.05).unwrap();
                found.lower > 0.8 || found.upper < 0.8
            })
            .count();
        assert!((60..=140).contains(&missed), "{missed} of 2000 at .05");
    }
}
