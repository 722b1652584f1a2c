//! Evidently 0.7: which test it takes, what that gives, and whether it calls it drift.

use super::{Sample, ks_automatic, wasserstein};
use crate::stats::rates::{Change, Rate, z_test};
use crate::stats::{chi_square, total};

/// Up to this many rows in the reference a test of significance is taken, above a distance.
const SMALL: u64 = 1_000;

/// Numeric columns with more different values than this in the reference are binned.
const MOST_VALUES: usize = 20;

/// A share that stands for an empty bin, unless a bin is emptier than that.
const EMPTY: f64 = 1e-4;

/// Share of drifted columns from which the whole data set has drifted.
pub const DRIFT_SHARE: f64 = 0.5;

/// Evidently's tests with its names in code: `ks`, `wasserstein`, `chisquare`, `jensenshannon`, `z`, `psi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// p of the two-sample test; drift at most .05.
    Ks,
    /// W1 over the reference's standard deviation (at least .001); drift from .1.
    Wasserstein,
    /// p of the one-sample test against the reference's shares; drift below .05.
    ChiSquare,
    /// The distance in nats (at most .8326); drift from .1.
    JensenShannon,
    /// p of two pooled proportions; drift below .05.
    Z,
    /// Drift from .1. Never the default.
    Psi,
}

/// What a test gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    pub test: Test,
    /// `drift_score`.
    pub value: f64,
    /// `drift_detected`, at the test's own threshold.
    pub drifted: bool,
}

impl Test {
    /// Evidently's own name.
    pub fn name(self) -> &'static str {
        match self {
            Test::Ks => "ks",
            Test::Wasserstein => "wasserstein",
            Test::ChiSquare => "chisquare",
            Test::JensenShannon => "jensenshannon",
            Test::Z => "z",
            Test::Psi => "psi",
        }
    }

    /// What its number is held against.
    pub fn threshold(self) -> f64 {
        match self {
            Test::Ks | Test::ChiSquare | Test::Z => 0.05,
            Test::Wasserstein | Test::JensenShannon | Test::Psi => 0.1,
        }
    }
}

impl Score {
    fn new(test: Test, value: f64) -> Self {
        let drifted = match test {
            Test::Ks => value <= test.threshold(),
            Test::ChiSquare | Test::Z => value < test.threshold(),
            Test::Wasserstein | Test::JensenShannon | Test::Psi => value >= test.threshold(),
        };
        Score { test, value, drifted }
    }
}

/// The test of a numeric column unless one is named: by the reference's rows, and how many different values
/// both sides have together.
pub fn numeric_default(reference: &Sample, window: &Sample) -> Test {
    let values = reference.side_by_side(window).len();
    match (reference.total() <= SMALL, values) {
        (true, 6..) => Test::Ks,
        (true, 3..=5) => Test::ChiSquare,
        (true, _) => Test::Z,
        (false, 6..) => Test::Wasserstein,
        (false, _) => Test::JensenShannon,
    }
}

/// The test of a categorical column unless one is named.
pub fn categorical_default(reference: &[u64], window: &[u64]) -> Test {
    let rows = total(reference).unwrap_or(0);
    let categories = reference.iter().zip(window).filter(|&(&r, &w)| r > 0 || w > 0).count();
    match (rows <= SMALL, categories) {
        (true, 3..) => Test::ChiSquare,
        (true, _) => Test::Z,
        (false, _) => Test::JensenShannon,
    }
}

/// A numeric column by one of its tests. `None` for [`Test::Z`] with more than two values.
pub fn numeric(test: Test, reference: &Sample, window: &Sample) -> Option<Score> {
    let value = match test {
        Test::Ks => ks_automatic(&reference.distance(window)),
        Test::Wasserstein => wasserstein(reference, window) / reference.deviation().max(0.001),
        Test::ChiSquare | Test::Z => {
            let (reference, window) = values_as_categories(reference, window);
            return categorical(test, &reference, &window);
        }
        Test::JensenShannon | Test::Psi => {
            let (reference, window) = binned(reference, window);
            return categorical(test, &reference, &window);
        }
    };
    Some(Score::new(test, value))
}

/// A categorical column by one of its tests: counts of the same categories on both sides. `None` for an empty
/// side, different lengths, [`Test::Ks`], [`Test::Wasserstein`], or [`Test::Z`] with more than two categories.
pub fn categorical(test: Test, reference: &[u64], window: &[u64]) -> Option<Score> {
    if reference.len() != window.len() {
        return None;
    }
    let value = match test {
        Test::ChiSquare => one_sample_chi_square(reference, window)?,
        Test::JensenShannon => jensen_shannon(reference, window)?,
        Test::Psi => psi(reference, window)?,
        Test::Z => proportions(reference, window)?,
        Test::Ks | Test::Wasserstein => return None,
    };
    Some(Score::new(test, value))
}

/// Whether the data set has drifted, from whether each column has: the share of those is at least
/// [`DRIFT_SHARE`].
pub fn dataset_drifted(columns: &[bool]) -> bool {
    let drifted = columns.iter().filter(|column| **column).count();
    !columns.is_empty() && drifted as f64 / columns.len() as f64 >= DRIFT_SHARE
}

/// `Σ (p−q)·ln(p/q)` with empty bins filled and nothing renormalised.
fn psi(reference: &[u64], window: &[u64]) -> Option<f64> {
    let (p, q) = (filled(reference)?, filled(window)?);
    Some(p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

/// Shares, an empty bin as 1e-4, or as a millionth of the smallest share where that is at most 1e-4.
fn filled(counts: &[u64]) -> Option<Vec<f64>> {
    let all = total(counts)? as f64;
    let shares = || counts.iter().map(|&count| count as f64 / all);
    let smallest = shares().filter(|&share| share > 0.0).fold(1.0, f64::min);
    let empty = if smallest <= EMPTY { smallest / 1e6 } else { EMPTY };
    Some(shares().map(|share| if share > 0.0 { share } else { empty }).collect())
}

/// scipy's `jensenshannon` with base e.
fn jensen_shannon(reference: &[u64], window: &[u64]) -> Option<f64> {
    let in_bits = crate::stats::jensen_shannon::distance(reference, window)?;
    Some(in_bits * std::f64::consts::LN_2.sqrt())
}

/// `chisquare(window, reference·n/m)`: the reference's shares are taken as known. A category that only the
/// window has makes it 0, and a single one leaves nothing to test (Evidently: NaN), 1 here.
fn one_sample_chi_square(reference: &[u64], window: &[u64]) -> Option<f64> {
    let (m, n) = (total(reference)? as f64, total(window)? as f64);
    let (mut statistic, mut categories) = (0.0, 0u32);
    for (&r, &w) in reference.iter().zip(window).filter(|&(&r, &w)| r > 0 || w > 0) {
        let expected = r as f64 * n / m;
        statistic += (w as f64 - expected).powi(2) / expected;
        categories += 1;
    }
    Some(if categories < 2 { 1.0 } else { chi_square::sf(statistic, f64::from(categories - 1), 0.0) })
}

fn proportions(reference: &[u64], window: &[u64]) -> Option<f64> {
    let mut occurring = reference.iter().zip(window).filter(|&(&r, &w)| r > 0 || w > 0);
    let (&r, &w) = occurring.next()?;
    if occurring.count() > 1 {
        return None;
    }
    Some(z_test(Rate::new(r, total(reference)?)?, Rate::new(w, total(window)?)?, Change::Differs))
}

/// The bins of the distances: one per value, or as many of equal width as Sturges' rule has, over both sides
/// together (so they move with the window).
fn binned(reference: &Sample, window: &Sample) -> (Vec<u64>, Vec<u64>) {
    if reference.distinct() <= MOST_VALUES {
        return values_as_categories(reference, window);
    }
    let edges = sturges_edges(reference, window);
    (histogram(reference, &edges), histogram(window, &edges))
}

fn values_as_categories(reference: &Sample, window: &Sample) -> (Vec<u64>, Vec<u64>) {
    reference.side_by_side(window).into_iter().map(|(_, r, w)| (r, w)).unzip()
}

/// `numpy.histogram_bin_edges(…, bins="sturges")` of floating-point values: `⌈log2(n+m) + 1⌉` bins. For columns of
/// integers numpy 2 makes no bin narrower than 1; a [`Sample`] counts as floating-point.
fn sturges_edges(reference: &Sample, window: &Sample) -> Vec<f64> {
    let first = reference.smallest().min(window.smallest());
    let last = reference.largest().max(window.largest());
    let width = (last - first) / (((reference.total() + window.total()) as f64).log2() + 1.0);
    let bins = ((last - first) / width).ceil();
    let step = (last - first) / bins;
    let bins = bins as u32;
    (0..bins).map(|i| f64::from(i) * step + first).chain([last]).collect()
}

/// `numpy.histogram`: bins [eᵢ, eᵢ₊₁), the last one closed.
fn histogram(sample: &Sample, edges: &[f64]) -> Vec<u64> {
    let bins = edges.len() - 1;
    let mut counts = vec![0; bins];
    for (value, count) in sample.pairs() {
        let bin = edges.partition_point(|&edge| edge <= value).clamp(1, bins) - 1;
        counts[bin] += count;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{apart, assert_close, few, large, rare, shaped};
    use super::*;

    fn value(test: Test, (reference, window): (Sample, Sample)) -> f64 {
        numeric(test, &reference, &window).unwrap().value
    }

    /// Evidently's own steps in numpy 2.4 and scipy 1.17, on the same values.
    #[test]
    fn distances_equal_evidently() {
        let (reference, window) = shaped();
        assert_eq!(sturges_edges(&reference, &window).len(), 12);
        assert_close(value(Test::Psi, shaped()), 0.03686658167512128, 1e-9);
        assert_close(value(Test::JensenShannon, shaped()), 0.06779749466025413, 1e-9);
        assert_close(value(Test::Wasserstein, shaped()), 0.11062658097419796, 1e-9);
        assert_close(value(Test::Ks, shaped()), 9.111565044354173e-07, 1e-9);
        assert_close(value(Test::Psi, large()), 0.024413906430088016, 1e-9);
        assert_close(value(Test::JensenShannon, large()), 0.05514078413061768, 1e-9);
        assert_close(value(Test::Wasserstein, large()), 0.01650883289475958, 1e-9);
        assert_close(value(Test::Ks, large()), 0.04064265214244622, 1e-9);
    }

    /// One bin per value up to twenty values, and what stands for an empty one: 1e-4, or a millionth of the
    /// smallest share.
    #[test]
    fn empty_bins_equal_evidently() {
        assert_close(value(Test::Psi, few()), 12.369310264337381, 1e-9);
        assert_close(value(Test::JensenShannon, few()), 0.7394260184721044, 1e-9);
        assert_close(value(Test::Wasserstein, few()), 0.998994214561261, 1e-9);
        assert_close(value(Test::Ks, few()), 4.759934558447473e-05, 1e-9);
        assert_close(value(Test::Psi, rare()), 0.6943825247702473, 1e-9);
        assert_close(value(Test::JensenShannon, rare()), 0.14495198868619083, 1e-9);
        assert_close(value(Test::Ks, rare()), 0.3272382396786414, 1e-9);
        assert!(value(Test::Psi, apart()) > 5.0);
    }

    #[test]
    fn categories_equal_evidently() {
        let score = |test, reference: &[u64], window: &[u64]| categorical(test, reference, window).unwrap();
        let (reference, window) = ([500, 300, 200], [40, 35, 20]);
        assert_close(score(Test::ChiSquare, &reference, &window).value, 0.2567508491677408, 1e-9);
        assert_close(score(Test::JensenShannon, &reference, &window).value, 0.05928991292306851, 1e-9);
        assert_close(score(Test::Psi, &reference, &window).value, 0.028163747934039498, 1e-9);
        let (reference, window) = ([500, 300, 200, 0], [40, 35, 20, 5]);
        assert_eq!(score(Test::ChiSquare, &reference, &window).value, 0.0, "a category that is new");
        assert_close(score(Test::JensenShannon, &reference, &window).value, 0.14517124464937745, 1e-9);
        assert_close(score(Test::Psi, &reference, &window).value, 0.3401308332340512, 1e-9);
        assert_close(score(Test::Z, &[60, 140], &[60, 90]).value, 0.05111967984818937, 1e-9);
        assert_eq!(score(Test::ChiSquare, &[9, 0], &[4, 0]).value, 1.0);
        assert_eq!(categorical(Test::Z, &[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(categorical(Test::Ks, &[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(categorical(Test::Psi, &[1, 2], &[1, 2, 3]), None);
        assert_eq!(categorical(Test::Psi, &[0, 0], &[1, 2]), None);
    }

    #[test]
    fn tests_are_chosen_by_rows_and_values() {
        let repeated = |values: u32, rows: u32| {
            Sample::of_values(&(0..rows).map(|i| f64::from(i % values)).collect::<Vec<_>>()).unwrap()
        };
        for (values, rows, expected) in [
            (6, 1_000, Test::Ks),
            (5, 1_000, Test::ChiSquare),
            (3, 1_000, Test::ChiSquare),
            (2, 1_000, Test::Z),
            (6, 1_001, Test::Wasserstein),
            (5, 1_001, Test::JensenShannon),
            (2, 1_001, Test::JensenShannon),
        ] {
            let reference = repeated(values, rows);
            assert_eq!(numeric_default(&reference, &repeated(values, 50)), expected, "{values} of {rows}");
        }
        assert_eq!(categorical_default(&[600, 300, 100], &[1, 2, 3]), Test::ChiSquare);
        assert_eq!(categorical_default(&[600, 400, 0], &[1, 2, 0]), Test::Z);
        assert_eq!(categorical_default(&[600, 401, 0], &[1, 2, 0]), Test::JensenShannon);
    }

    #[test]
    fn thresholds_are_evidentlys() {
        let drifted = |test, value| Score::new(test, value).drifted;
        assert!(drifted(Test::Ks, 0.05) && !drifted(Test::Ks, 0.0501));
        assert!(!drifted(Test::ChiSquare, 0.05) && drifted(Test::ChiSquare, 0.0499));
        assert!(drifted(Test::Psi, 0.1) && !drifted(Test::Psi, 0.0999));
        let (yes, no) = (true, false);
        assert!(dataset_drifted(&[yes, no]) && !dataset_drifted(&[yes, no, no]) && !dataset_drifted(&[]));
    }
}
