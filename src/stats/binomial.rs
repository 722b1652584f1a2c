//! Tails and quantiles of the binomial distribution.

use super::normal;
use statrs::function::gamma::ln_gamma;

/// P(B ≥ `k`) of B ~ Bin(`n`, `p`). Sums the terms of the tail at hand, so that deep tails keep their digits
/// (about eight at n = 10⁶), in some ten standard deviations of steps.
pub fn at_least(k: u64, n: u64, p: f64) -> f64 {
    if p.is_nan() {
        return p;
    }
    if k == 0 || (p >= 1.0 && k <= n) {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    if k as f64 > n as f64 * p {
        upper_sum(k, n, p)
    } else {
        // P(B ≤ k−1), counted as failures.
        (1.0 - upper_sum(n - k + 1, n, 1.0 - p)).max(0.0)
    }
}

/// P(B ≤ `k`).
pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { at_least(n - k, n, 1.0 - p) }
}

/// The sum of the terms from `k`, which lies at or above the mean, to `n`.
fn upper_sum(k: u64, n: u64, p: f64) -> f64 {
    let (size, odds) = (n as f64, p / (1.0 - p));
    let mut at = k as f64;
    let choose = ln_gamma(size + 1.0) - ln_gamma(at + 1.0) - ln_gamma(size - at + 1.0);
    let mut term = (choose + at * p.ln() + (size - at) * (-p).ln_1p()).exp();
    let mut sum = 0.0;
    while at <= size && term > 1e-17 * sum {
        sum += term;
        term *= (size - at) / (at + 1.0) * odds;
        at += 1.0;
    }
    sum.min(1.0)
}

/// Deviation from which a quantile's guess is as good as it gets: it errs by a ten-thousandth of that, and the sums of
/// tails would take ever longer.
const WIDE: f64 = 1e4;

/// The smallest q with P(B ≤ q) > `tail`, for 0 < `tail` < 1: so P(B < q) ≤ `tail`. Where B's deviation is above 10⁴, to
/// within about one.
pub fn lower_quantile(tail: f64, n: u64, p: f64) -> u64 {
    let (mean, deviation) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
    let z = -normal::upper_quantile(tail);
    // Cornish and Fisher's second term leaves an error of about one.
    let guess = mean + z * deviation + (z * z - 1.0) * (1.0 - 2.0 * p) / 6.0;
    let mut q = guess.clamp(0.0, n as f64) as u64;
    if deviation > WIDE {
        return q;
    }
    while q > 0 && at_most(q - 1, n, p) > tail {
        q -= 1;
    }
    while q < n && at_most(q, n, p) <= tail {
        q += 1;
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.binom.sf(k-1, n, p)`, scipy 1.17.
    #[test]
    fn tails_equal_scipy() {
        for (k, n, p, expected) in [
            (1, 10, 0.1, 0.6513215599000001),
            (7, 10, 0.5, 0.171875),
            (60, 100, 0.5, 0.028443966820490444),
            (30, 100, 0.5, 0.9999839199923521),
            (12, 1000, 0.002, 1.3032256490945545e-06),
            (40, 1000, 0.002, 9.384698597728002e-38),
            (5200, 10000, 0.5, 3.2967577993361714e-05),
            (1050, 1000000, 0.001, 0.059535717315677604),
            (1300, 1000000, 0.001, 6.581496977958728e-20),
            (500, 1000000, 0.001, 1.0),
        ] {
            let found = at_least(k, n, p);
            assert!((found / expected - 1.0).abs() < 2e-8, "{found:e} is not {expected:e} at {k} {n} {p}");
        }
    }

    /// `scipy.stats.binom.ppf`, scipy 1.17.
    #[test]
    fn quantiles_equal_scipy() {
        for (tail, n, p, expected) in [
            (0.025, 20, 0.5, 6),
            (0.025, 100, 0.99, 97),
            (0.005, 1000, 0.95, 931),
            (1e-06, 1000, 0.95, 914),
            (0.025, 1000000, 0.5, 499020),
            (0.3, 7, 0.01, 0),
            (0.025, 5, 0.999, 5),
            (0.975, 1000, 0.05, 64),
            (1e-09, 100000, 0.99, 98806),
        ] {
            assert_eq!(lower_quantile(tail, n, p), expected, "{tail} {n} {p}");
        }
    }

    #[test]
    fn a_quantile_of_very_many_is_found_at_once() {
        // The exact one, on either side of the deviation from which it is not looked for.
        for n in [399_000_000, 401_000_000] {
            let found = lower_quantile(0.025, n, 0.5);
            assert!(
                at_most(found - 3, n, 0.5) <= 0.025 && at_most(found + 3, n, 0.5) > 0.025,
                "{found} of {n}"
            );
        }
        let (n, z) = (1u64 << 53, 1.959_963_984_540_054);
        let expected = n as f64 / 2.0 - z * (n as f64).sqrt() / 2.0;
        assert!((lower_quantile(0.025, n, 0.5) as f64 - expected).abs() < 4.0);
    }

    #[test]
    fn ends_are_certain() {
        assert_eq!((at_least(0, 5, 0.1), at_least(6, 5, 0.1), at_least(1, 5, 0.0)), (1.0, 0.0, 0.0));
        assert_eq!((at_least(5, 5, 1.0), at_most(5, 5, 0.3), at_least(1, 0, 0.3)), (1.0, 1.0, 0.0));
        assert!((at_least(3, 7, 0.4) + at_most(2, 7, 0.4) - 1.0).abs() < 1e-12);
        assert!(at_least(1, 2, f64::NAN).is_nan());
    }
}
