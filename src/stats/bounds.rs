//! What is certain about a distance D between two distribution functions, and how small a one could be seen.
//!
//! All three take a critical value c of √n_e·D: [`fixed_critical_value`] for a single comparison,
//! [`crate::stats::sequential::boundary::critical_value`] where there are many looks.

use super::ks::Ks;
use super::rates::Estimate;

/// Half the normal quantile of a power of .8: how far beyond the critical value the true distance must lie
/// (statistics.md §4.3).
const REACH_OF_POWER: f64 = 0.42;

/// `n·m/(n+m)` of (effective) sizes: so many pairs of values are two samples worth. 0 when one is empty.
pub fn effective_size(n: f64, m: f64) -> f64 {
    if n > 0.0 && m > 0.0 { 1.0 / (1.0 / n + 1.0 / m) } else { 0.0 }
}

/// The c that √n_e·D exceeds without drift with probability about `alpha`: `sqrt(ln(2/α)/2)`.
pub fn fixed_critical_value(alpha: f64) -> f64 {
    ((2.0 / alpha).ln() / 2.0).sqrt()
}

/// D with its bounds: LCB = `max(0, D̂ − c/√n_e)`, UCB = `min(1, D̂ + certificate + c/√n_e)`, the certificate
/// being what the grid may hide ([`Ks::upper`] less the statistic; statistics.md §8.2). `n_eff` is the
/// window's effective size, n/φ. Nothing is certain, 0 to 1, when it is not positive or c is NaN.
pub fn interval(ks: &Ks, n_eff: f64, c: f64) -> Estimate {
    let reach = c / effective_size(n_eff, ks.m as f64).sqrt();
    let reach = if reach.is_nan() { 1.0 } else { reach };
    Estimate {
        value: ks.statistic,
        lower: (ks.statistic - reach).max(0.0),
        upper: (ks.upper + reach).min(1.0),
    }
}

/// The smallest true distance that is found with a power of .8 when up to `tolerance` is let pass:
/// `tolerance + (c + .42)/√n_e`. Too large for a shift of the whole distribution by a quarter to four fifths,
/// so on the safe side (statistics.md §5). Infinite for an empty sample; above 1, nothing can be found.
pub fn smallest_detectable(n_e: f64, c: f64, tolerance: f64) -> f64 {
    tolerance + (c + REACH_OF_POWER) / n_e.max(0.0).sqrt()
}

/// The smallest shift of a whole distribution that is found with a power of .8, as the distance that it makes:
/// `tolerance + c/√n_e`. Within a fifth of simulations, also of mass that moves from one end to the other
/// (which is found a little earlier). Narrower changes need up to [`smallest_detectable`].
pub fn smallest_detectable_shift(n_e: f64, c: f64, tolerance: f64) -> f64 {
    tolerance + c / n_e.max(0.0).sqrt()
}

/// The n_e that [`smallest_detectable`] takes for a distance: `((c + .42)/(D − tolerance))²`; infinite
/// for D ≤ `tolerance`.
pub fn size_to_detect(distance: f64, c: f64, tolerance: f64) -> f64 {
    let beyond = (distance - tolerance).max(0.0);
    ((c + REACH_OF_POWER) / beyond).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ks::two_sample;
    use crate::stats::sequential::boundary::critical_value;

    #[test]
    fn sizes_are_harmonic() {
        assert!((effective_size(50.0, 450.0) - 45.0).abs() < 1e-12);
        assert_eq!((effective_size(0.0, 9.0), effective_size(9.0, f64::NAN)), (0.0, 0.0));
    }

    #[test]
    fn bounds_stand_off_by_the_critical_value() {
        let c = fixed_critical_value(0.05);
        assert!((c - 1.358102).abs() < 1e-6);
        // Vector B, ten thousandfold: D̂ = 9/42, at most .380952.
        let times = |counts: [u64; 5]| counts.map(|count| count * 10_000);
        let ks = two_sample(&times([1, 2, 1, 1, 1]), &times([1, 1, 3, 0, 2]), false).unwrap();
        let reach = c * (1.0f64 / 70_000.0 + 1.0 / 60_000.0).sqrt();
        let found = interval(&ks, 70_000.0, c);
        assert!((found.lower - (9.0 / 42.0 - reach)).abs() < 1e-12);
        assert!((found.upper - (0.38095238095 + reach)).abs() < 1e-9);
        let dependent = interval(&ks, 7_000.0, c);
        assert!(dependent.lower < found.lower && dependent.upper > found.upper);
        let nothing = interval(&ks, 0.0, c);
        assert_eq!((nothing.lower, nothing.upper), (0.0, 1.0));
        let nothing = interval(&ks, 70_000.0, f64::NAN);
        assert_eq!((nothing.lower, nothing.upper), (0.0, 1.0));
    }

    /// statistics.md §5: n_c = ((c + .42)/δ)²/.9 at a weight of 10 %.
    #[test]
    fn sizes_and_distances_are_inverse() {
        let c = critical_value(0.05, 1_000.0);
        let n_e = size_to_detect(0.1, c, 0.0);
        assert!((n_e - 518.7).abs() < 0.1, "{n_e}");
        assert!((smallest_detectable(n_e, c, 0.0) - 0.1).abs() < 1e-12);
        assert!((smallest_detectable(size_to_detect(0.1, c, 0.02), c, 0.02) - 0.1).abs() < 1e-12);
        assert_eq!(size_to_detect(0.02, c, 0.02), f64::INFINITY);
        assert_eq!(smallest_detectable(0.0, c, 0.02), f64::INFINITY);
    }

    /// The true distance, .1, is inside in nearly all of 400 windows, and found by four in five or more at the
    /// size that it asks for.
    #[test]
    fn intervals_hold_the_true_distance_and_powers_are_reached() {
        let mut rng = fastrand::Rng::with_seed(3);
        let c = fixed_critical_value(0.05);
        let n = size_to_detect(0.1, c, 0.0) as u64;
        // A tenth of the probability moves from below the middle to above it.
        let reference: Vec<u64> = (0..101).map(|cell| if cell % 2 == 0 { 1_000_000 } else { 0 }).collect();
        let (mut held, mut found) = (0, 0);
        for _ in 0..400 {
            let mut window = vec![0u64; 101];
            for _ in 0..n {
                let u = rng.f64();
                let moved = if u < 0.5 && rng.f64() < 0.2 { u + 0.5 } else { u };
                window[2 * (moved * 51.0) as usize] += 1;
            }
            let ks = two_sample(&reference, &window, false).unwrap();
            let bounds = interval(&ks, n as f64, c);
            held += usize::from(bounds.lower <= 0.1 && 0.1 <= bounds.upper);
            found += usize::from(bounds.lower > 0.0);
        }
        assert!(held >= 380, "{held} of 400 at .05");
        assert!(found >= 320, "{found} of 400");
    }
}
