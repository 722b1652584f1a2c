//! Upper tails of the central and the noncentral chi-square distribution.

use super::normal;
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// Above this noncentrality the sum (some 24·√(λ/2) terms) gives way to Sankaran's closed form.
const LARGEST_SUMMED: f64 = 1e6;

/// P(X > x) of a chi-square with `degrees` > 0 degrees of freedom and noncentrality `lambda` ≥ 0 (0: the
/// central law). NaN for other parameters.
///
/// A Poisson(λ/2) mixture of central tails, summed upwards by Γq(a+1,y) = Γq(a,y) + yᵃe⁻ʸ/Γ(a+1), where all
/// terms are positive (statistics.md §3): relative error about 1e-10 for λ ≤ 50,000, deep tails included.
pub fn sf(x: f64, degrees: f64, lambda: f64) -> f64 {
    let valid = degrees > 0.0 && degrees.is_finite() && lambda >= 0.0 && lambda.is_finite() && !x.is_nan();
    if !valid {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x == f64::INFINITY {
        return 0.0;
    }
    if lambda == 0.0 {
        return gamma_ur(degrees / 2.0, x / 2.0);
    }
    if lambda > LARGEST_SUMMED { sankaran(x, degrees, lambda) } else { poisson_mixture(x, degrees, lambda) }
}

/// The x that a central chi-square with `degrees` > 0 degrees of freedom exceeds with probability `p`, 0 < p < 1. NaN
/// for other parameters.
pub fn upper_quantile(p: f64, degrees: f64) -> f64 {
    let valid = p > 0.0 && p < 1.0 && degrees > 0.0 && degrees.is_finite();
    if !valid {
        return f64::NAN;
    }
    let (mut low, mut high) = (0.0, degrees.max(1.0));
    while sf(high, degrees, 0.0) > p {
        (low, high) = (high, 2.0 * high);
    }
    while high - low > 1e-12 * high {
        let middle = low + (high - low) / 2.0;
        if sf(middle, degrees, 0.0) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

fn poisson_mixture(x: f64, degrees: f64, lambda: f64) -> f64 {
    let (mean, y) = (lambda / 2.0, x / 2.0);
    // Terms further down than this weigh less than 1e-17 of the sum.
    let mut j = (mean - 12.0 * mean.sqrt() - 40.0).floor().max(0.0);
    let mut a = degrees / 2.0 + j;
    let mut weight = (j * mean.ln() - mean - ln_gamma(j + 1.0)).exp();
    let mut tail = gamma_ur(a, y);
    // In logarithms, since far below x the steps underflow before they grow.
    let mut ln_step = a * y.ln() - y - ln_gamma(a + 1.0);
    let peak = mean.max((lambda * x).sqrt() / 2.0 + 1.0);
    let mut sum = 0.0;
    loop {
        let term = weight * tail;
        sum += term;
        if j > peak && term <= 1e-17 * sum {
            return sum.min(1.0);
        }
        tail += ln_step.exp();
        a += 1.0;
        ln_step += (y / a).ln();
        j += 1.0;
        weight *= mean / j;
    }
}

/// Sankaran (1963): a power of X/(k+λ) is nearly normal.
fn sankaran(x: f64, k: f64, lambda: f64) -> f64 {
    let mean = k + lambda;
    let h = 1.0 - 2.0 * mean * (k + 3.0 * lambda) / (3.0 * (k + 2.0 * lambda).powi(2));
    let p = (k + 2.0 * lambda) / (mean * mean);
    let m = (h - 1.0) * (1.0 - 3.0 * h);
    let centre = 1.0 + h * p * (h - 1.0 - 0.5 * (2.0 - h) * m * p);
    let scale = h * (2.0 * p).sqrt() * (1.0 + 0.5 * m * p);
    let z = ((x / mean).powf(h) - centre) / scale;
    normal::sf(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64, relative: f64) {
        assert!((found / expected - 1.0).abs() <= relative, "{found:e} is not {expected:e}");
    }

    #[test]
    fn two_degrees_have_an_exponential_tail() {
        for x in [0.1, 1.0, 5.0, 50.0, 400.0] {
            assert_close(sf(x, 2.0, 0.0), (-x / 2.0).exp(), 1e-12);
        }
    }

    #[test]
    fn quantiles_are_where_the_tail_is() {
        // Two degrees: −2·ln p.
        assert_close(upper_quantile(1e-5, 2.0), -2.0 * 1e-5f64.ln(), 1e-10);
        // scipy 1.17: chi2.isf.
        assert_close(upper_quantile(1e-5, 1.0), 19.511420964666268, 1e-9);
        assert_close(upper_quantile(0.9, 9.0), 4.16815900814611, 1e-9);
        for (p, degrees) in [(0.5, 0.3), (1e-9, 40.0), (0.999, 120.0)] {
            assert_close(sf(upper_quantile(p, degrees), degrees, 0.0), p, 1e-8);
        }
        assert!(upper_quantile(0.0, 2.0).is_nan() && upper_quantile(0.5, 0.0).is_nan());
    }

    #[test]
    fn noncentrality_near_zero_joins_the_central_law() {
        for x in [0.5, 3.0, 30.0] {
            assert_close(sf(x, 9.0, 1e-12), sf(x, 9.0, 0.0), 1e-10);
        }
    }

    #[test]
    fn one_degree_is_a_shifted_normal_squared() {
        for (x, lambda) in [(1.0f64, 0.5f64), (9.0, 4.0), (60.0, 10.0), (5000.0, 4000.0)] {
            let expected = normal::sf(x.sqrt() - lambda.sqrt()) + normal::sf(x.sqrt() + lambda.sqrt());
            assert_close(sf(x, 1.0, lambda), expected, 1e-9);
        }
    }

    #[test]
    fn the_closed_form_continues_the_sum() {
        for deviations in [-3.0, 0.0, 2.0, 5.0] {
            let lambda = 9e5;
            let x = lambda + 9.0 + deviations * (2.0f64 * (9.0 + 2.0 * lambda)).sqrt();
            assert_close(sankaran(x, 9.0, lambda), poisson_mixture(x, 9.0, lambda), 1e-3);
        }
    }

    /// `scipy.stats.chi2.sf` and `ncx2.sf`, scipy 1.17: (x, degrees, λ, tail).
    #[test]
    fn tails_equal_scipy() {
        let known = [
            (3.0, 1.0, 0.5, 1.600555730601739e-1),
            (20.0, 9.0, 5.0, 1.591234852697063e-1),
            (60.0, 9.0, 18.181818, 2.593521089179434e-3),
            (53.0371487, 9.0, 0.0, 2.875876940462745e-8),
            (90.0, 9.0, 18.181818, 2.012611141276575e-6),
            (130.0, 254.0, 1.0, 9.999999999946478e-1),
            (700.0, 254.0, 300.0, 4.57700948320898e-4),
            (1100.0, 9.0, 1000.0, 7.781088523074568e-2),
            (1500.0, 19.0, 1000.0, 3.684540122387295e-12),
            (52500.0, 9.0, 50000.0, 1.853024543908109e-8),
            (48000.0, 100.0, 50000.0, 9.999989388376438e-1),
            (5.0, 30.0, 10.0, 9.999999990068936e-1),
        ];
        for (x, degrees, lambda, expected) in known {
            assert_close(sf(x, degrees, lambda), expected, 1e-9);
        }
    }

    #[test]
    fn ends_and_nonsense() {
        assert_eq!(sf(0.0, 9.0, 1.0), 1.0);
        assert_eq!(sf(-3.0, 9.0, 0.0), 1.0);
        assert_eq!(sf(f64::INFINITY, 9.0, 1.0), 0.0);
        assert!(sf(1.0, 0.0, 0.0).is_nan());
        assert!(sf(1.0, 9.0, -1.0).is_nan());
        assert!(sf(f64::NAN, 9.0, 0.0).is_nan());
    }
}
