//! Whether two histograms of a discrete series come from one distribution: the two-sample χ² test.

use super::{chi_square, psi, total};

/// The result of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Homogeneity {
    /// X², before the division by φ.
    pub statistic: f64,
    /// Bins that were left after merging, less one.
    pub degrees: usize,
    /// P(a statistic at least this large without drift).
    pub p_value: f64,
}

/// Pearson's test of homogeneity, `X² = Σ (w·√(m/n) − r·√(n/m))² / (w + r)` over bins of r reference and w
/// window values, against χ² with bins − 1 degrees of freedom. The same as that of the 2×B contingency table.
///
/// Adjacent bins are merged until the reference's share of each expects at least five values on either side
/// ([`psi::merge_sparse`]; statistics.md §3, §8.1). `phi` ≥ 1, the window's autocorrelation factor, makes the
/// window worth n/φ values: X² is divided by `(φ/n + 1/m)/(1/n + 1/m)`, as the variance of a difference grows.
///
/// `None` when a side is empty, the numbers of bins differ, or fewer than two bins are left.
pub fn two_sample(reference: &[u64], window: &[u64], phi: f64) -> Option<Homogeneity> {
    let (reference, window) = psi::merge_sparse(reference, window)?;
    let (m, n) = (total(&reference)? as f64, total(&window)? as f64);
    let (for_window, for_reference) = ((m / n).sqrt(), (n / m).sqrt());
    let statistic: f64 = reference
        .iter()
        .zip(&window)
        .map(|(&r, &w)| {
            let (r, w) = (r as f64, w as f64);
            (w * for_window - r * for_reference).powi(2) / (w + r)
        })
        .sum();
    let degrees = reference.len() - 1;
    let inflation = (phi.max(1.0) * m + n) / (m + n);
    Some(Homogeneity {
        statistic,
        degrees,
        p_value: chi_square::sf(statistic / inflation, degrees as f64, 0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.chi2_contingency([reference, window], correction=False)`, scipy 1.17.
    #[test]
    fn equals_the_contingency_table_of_scipy() {
        let deciles = [62, 71, 83, 90, 95, 101, 108, 118, 129, 143];
        let known: [(&[u64], &[u64], f64, f64); 4] = [
            (&[500, 300, 200], &[40, 35, 25], 3.709231619679382, 0.15651306190395048),
            (&[1_000; 10], &deciles, 52.37424628751825, 3.8402808473450656e-8),
            (&[60, 40], &[30, 45], 6.862745098039213, 0.0088011237652848),
            (&[900, 90, 20, 15], &[7000, 1200, 300, 150], 29.905451139285937, 1.444722215414637e-6),
        ];
        for (reference, window, statistic, p_value) in known {
            let found = two_sample(reference, window, 1.0).unwrap();
            assert_eq!(found.degrees, reference.len() - 1);
            assert!((found.statistic / statistic - 1.0).abs() < 1e-12, "{found:?}");
            assert!((found.p_value / p_value - 1.0).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn rare_values_are_merged_before() {
        let found = two_sample(&[50, 4, 4, 40, 1, 1, 0], &[30, 1, 2, 60, 3, 0, 4], 1.0);
        assert_eq!(found, two_sample(&[50, 8, 42], &[30, 3, 67], 1.0));
        assert_eq!(found.unwrap().degrees, 2);
        assert_eq!(two_sample(&[50, 1], &[50, 1], 1.0), None);
    }

    /// With a reference without end, φ divides X² itself; with both sides alike, it counts half.
    #[test]
    fn dependence_weakens_the_test() {
        let (reference, window) = ([500_000_000, 500_000_000], [450, 550]);
        let (one, four) =
            (two_sample(&reference, &window, 1.0).unwrap(), two_sample(&reference, &window, 4.0).unwrap());
        assert_eq!(one.statistic, four.statistic);
        assert!((four.p_value - chi_square::sf(one.statistic / 4.0, 1.0, 0.0)).abs() < 1e-6);
        let equal = two_sample(&[500, 500], &window, 3.0).unwrap();
        assert!((equal.p_value - chi_square::sf(equal.statistic / 2.0, 1.0, 0.0)).abs() < 1e-12);
    }

    #[test]
    fn the_level_holds() {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut draw = |n: usize| {
            let mut counts = [0u64; 5];
            let ends = [0.4, 0.7, 0.9, 0.98];
            (0..n).for_each(|_| counts[ends.partition_point(|&end| end <= rng.f64())] += 1);
            counts
        };
        let rejected =
            (0..4_000).filter(|_| two_sample(&draw(2_000), &draw(500), 1.0).unwrap().p_value <= 0.01).count();
        // Three standard deviations of the repetitions above .01.
        assert!((20..=59).contains(&rejected), "{rejected} of 4000 at .01");
    }

    #[test]
    fn what_cannot_be_compared_is_none() {
        assert_eq!(two_sample(&[50, 50], &[0, 0], 1.0), None);
        assert_eq!(two_sample(&[0, 0], &[50, 50], 1.0), None);
        assert_eq!(two_sample(&[50, 50], &[50, 50, 50], 1.0), None);
    }
}
