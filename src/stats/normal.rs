//! The standard normal distribution.

use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::{PI, SQRT_2};

/// P(Z > z), deep tails included; ten digits, as many as statrs' `erfc` has.
pub fn sf(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

/// The z with P(Z > z) = `p`. Infinite at 0 and 1, NaN outside of them.
pub fn upper_quantile(p: f64) -> f64 {
    let z = SQRT_2 * erfc_inv(2.0 * p);
    // One step of Newton: the inverse then agrees with the tail above.
    let density = (-z * z / 2.0).exp() / (2.0 * PI).sqrt();
    if z.is_finite() && density > 0.0 { z + (sf(z) - p) / density } else { z }
}

/// The z of a two-sided interval that misses with probability `alpha`: 1.959964 at .05.
pub fn two_sided(alpha: f64) -> f64 {
    upper_quantile(alpha / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.norm.isf`, scipy 1.17.
    #[test]
    fn quantiles_equal_scipy() {
        let known = [
            (0.025, 1.959963984540054),
            (0.005, 2.5758293035489004),
            (1e-6, 4.753424308822899),
            (1e-12, 7.034483825301131),
            (0.5, 0.0),
            (0.9, -1.2815515655446004),
        ];
        for (p, z) in known {
            assert!((upper_quantile(p) - z).abs() < 1e-9, "{} is not {z}", upper_quantile(p));
        }
        assert_eq!(two_sided(0.05), upper_quantile(0.025));
        assert_eq!((upper_quantile(0.0), upper_quantile(1.0)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(upper_quantile(f64::NAN).is_nan());
    }
}
