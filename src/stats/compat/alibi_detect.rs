//! Alibi Detect's offline detectors for tables: a p-value per feature, and one decision over all of them.

use super::{Sample, chi_square_contingency, ks_asymptotic};

/// How p-values of many features become one decision, at a level p (.05 by default).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Drift when any p-value is below p/F, F features (the default).
    Bonferroni,
    /// Benjamini and Hochberg: drift when any of the sorted p-values is below p·i/F.
    FalseDiscoveryRate,
}

/// `KSDrift`, a numeric feature: scipy's asymptotic two-sided p-value.
pub fn numeric(reference: &Sample, window: &Sample) -> f64 {
    ks_asymptotic(&reference.distance(window))
}

/// `ChiSquareDrift`, a categorical feature: [`chi_square_contingency`] of the counts of all categories that
/// either side has.
pub fn categorical(reference: &[u64], window: &[u64]) -> Option<f64> {
    chi_square_contingency(reference, window)
}

/// The threshold that some p-value has to be below. With [`Correction::FalseDiscoveryRate`] it is that of the
/// largest i whose p-value is, or the first one's. NaN without features.
pub fn threshold(p_values: &[f64], level: f64, correction: Correction) -> f64 {
    let features = p_values.len() as f64;
    if correction == Correction::Bonferroni || p_values.is_empty() {
        return level / features;
    }
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let of_rank = |rank: usize| level * (rank + 1) as f64 / features;
    let last = sorted.iter().enumerate().rev().find(|&(rank, &p)| p < of_rank(rank));
    of_rank(last.map_or(0, |(rank, _)| rank))
}

/// `is_drift` over all features.
pub fn drifted(p_values: &[f64], level: f64, correction: Correction) -> bool {
    let threshold = threshold(p_values, level, correction);
    p_values.iter().any(|&p| p < threshold)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{assert_close, few, large, shaped};
    use super::*;

    /// `ks_2samp(…, method="asymp")` and `chi2_contingency`, scipy 1.17.
    #[test]
    fn p_values_equal_alibi_detect() {
        for ((reference, window), expected) in [
            (shaped(), 8.383009331640307e-07),
            (few(), 3.989354887682338e-05),
            (large(), 0.04064265214244622),
        ] {
            assert_close(numeric(&reference, &window), expected, 1e-9);
        }
        assert_close(categorical(&[60, 40], &[30, 45]).unwrap(), 0.013630011664755123, 1e-9);
    }

    #[test]
    fn one_level_holds_over_all_features() {
        use Correction::{Bonferroni, FalseDiscoveryRate};
        let p = [0.03, 0.012, 0.9, 0.02];
        assert_eq!(threshold(&p, 0.05, Bonferroni), 0.0125);
        assert!(drifted(&p, 0.05, Bonferroni));
        assert!(!drifted(&[0.0125, 0.9, 0.9, 0.9], 0.05, Bonferroni), "at the threshold is not below");
        // Sorted .012 < .0125, .02 < .025, .03 < .0375, .9: the third.
        assert!((threshold(&p, 0.05, FalseDiscoveryRate) - 0.0375).abs() < 1e-15);
        let borderline = [0.02, 0.024, 0.9, 0.9];
        assert!(drifted(&borderline, 0.05, FalseDiscoveryRate) && !drifted(&borderline, 0.05, Bonferroni));
        assert!(!drifted(&[0.2, 0.9], 0.05, FalseDiscoveryRate));
        assert!(!drifted(&[], 0.05, Bonferroni) && !drifted(&[], 0.05, FalseDiscoveryRate));
    }
}
