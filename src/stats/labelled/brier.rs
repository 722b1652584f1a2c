//! The Brier score: the mean squared error of predicted probabilities.

use crate::cells::fixed::{FixedSum, MOST_VALUES};

/// Units of 1, in bits: a square is summed to within 2⁻⁶³.
const BITS: u32 = 62;
const UNITS: f64 = (1_u64 << BITS) as f64;

/// Sums of squared errors; they add up exactly, in any order. To be stored as `squares.units()` and `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SquaredErrors {
    pub squares: FixedSum,
    pub count: u64,
}

impl SquaredErrors {
    /// Adds a prediction: the probability that was given to what happened or did not (`outcome`). `false`, and
    /// nothing added, when that is no probability (outside of 0 … 1, or NaN).
    pub fn add(&mut self, probability: f64, outcome: bool) -> bool {
        if !(0.0..=1.0).contains(&probability) {
            return false;
        }
        let error = probability - f64::from(u8::from(outcome));
        self.squares += FixedSum::from_units((error * error * UNITS).round() as i128);
        self.count += 1;
        true
    }

    /// Stored sums of `count` errors. `None`: so many cannot have these units, or are more than [`MOST_VALUES`].
    pub fn stored(units: i128, count: u64) -> Option<SquaredErrors> {
        let fits = count <= MOST_VALUES && (0..=i128::from(count) << BITS).contains(&units);
        fits.then(|| SquaredErrors { squares: FixedSum::from_units(units), count })
    }

    /// Adds other sums.
    pub fn merge(&mut self, other: SquaredErrors) {
        self.squares += other.squares;
        self.count = self.count.saturating_add(other.count);
    }

    /// Undoes [`SquaredErrors::merge`].
    #[must_use]
    pub fn without(self, other: SquaredErrors) -> SquaredErrors {
        let count = self.count.saturating_sub(other.count);
        SquaredErrors { squares: self.squares - other.squares, count }
    }

    /// The score, `Σ(p − y)²/n`: 0 (certain and right) to 1. `None` for no predictions, or more than
    /// [`MOST_VALUES`].
    pub fn mean(&self) -> Option<f64> {
        let possible = (1..=MOST_VALUES).contains(&self.count);
        possible.then(|| self.squares.units() as f64 / self.count as f64 / UNITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(predictions: &[(f64, bool)]) -> SquaredErrors {
        let mut errors = SquaredErrors::default();
        predictions.iter().for_each(|&(p, outcome)| assert!(errors.add(p, outcome)));
        errors
    }

    #[test]
    fn is_the_mean_squared_error() {
        let predictions = [(0.9, true), (0.2, false), (0.5, true), (1.0, false), (0.0, false)];
        // .01 + .04 + .25 + 1 + 0
        assert!((added(&predictions).mean().unwrap() - 0.26).abs() < 1e-15);
        assert_eq!(added(&[(1.0, true)]).mean(), Some(0.0));
        assert_eq!(SquaredErrors::default().mean(), None);
    }

    #[test]
    fn merging_is_exact_in_any_order() {
        let mut rng = fastrand::Rng::with_seed(5);
        let predictions: Vec<(f64, bool)> = (0..1_000).map(|_| (rng.f64(), rng.bool())).collect();
        let (front, back) = predictions.split_at(317);
        let mut merged = added(back);
        merged.merge(added(front));
        assert_eq!(merged, added(&predictions));
        assert_eq!(merged.without(added(front)), added(back));
        assert_eq!(SquaredErrors::stored(merged.squares.units(), merged.count), Some(merged));
    }

    #[test]
    fn stored_sums_that_cannot_be_true_are_refused() {
        let most = added(&[(1.0, false), (0.0, true)]);
        assert_eq!(SquaredErrors::stored(2 << BITS, 2), Some(most));
        for (units, count) in
            [((2 << BITS) + 1, 2), (-1, 2), (1, 0), (0, MOST_VALUES + 1), (i128::MAX, u64::MAX)]
        {
            assert_eq!(SquaredErrors::stored(units, count), None, "{units} of {count}");
        }
    }

    #[test]
    fn what_is_no_probability_is_not_added() {
        let mut errors = added(&[(0.5, true)]);
        for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(!errors.add(p, true));
        }
        assert_eq!(errors, added(&[(0.5, true)]));
    }
}
