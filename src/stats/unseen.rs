//! Categories that training never saw.

use super::binomial;
use super::rates::Rate;

/// Good and Turing's share of values that belong to categories which a reference of `m` values has not seen:
/// `p0 = (N₁ + ½)/m`, `singletons` = N₁ the number of categories that it saw once (statistics.md §8.1). At
/// most 1; `None` for an empty reference.
pub fn expected_share(singletons: u64, m: u64) -> Option<f64> {
    (m > 0).then(|| ((singletons as f64 + 0.5) / m as f64).min(1.0))
}

/// P(at least as many unseen values among the window's) when each is unseen with the expected share p0:
/// `P(Bin(n, p0) ≥ count)`, one-sided. `unseen`: unseen values of all values in the window, [`Rate::thinned`]
/// where they depend on each other. `None` for an empty reference.
pub fn p_value(unseen: Rate, singletons: u64, m: u64) -> Option<f64> {
    Some(binomial::at_least(unseen.hits(), unseen.of(), expected_share(singletons, m)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_with_what_was_seen_once() {
        assert_eq!(expected_share(0, 1_000), Some(0.0005));
        assert_eq!(expected_share(10, 1_000), Some(0.0105));
        assert_eq!(expected_share(5, 5), Some(1.0));
        assert_eq!(expected_share(0, 0), None);
    }

    /// `scipy.stats.binom.sf(count-1, n, p0)`, scipy 1.17.
    #[test]
    fn tails_equal_scipy() {
        for (count, n, singletons, m, expected) in [
            (1, 1_000, 0, 10_000, 0.048771764574959464),
            (9, 100, 0, 1_000, 3.566225203967116e-18),
            (5, 500, 10, 1_000, 0.6033227671513157),
            (20, 500, 10, 1_000, 5.862548130982281e-7),
            (60, 10_000, 400, 100_000, 0.0018918076994455),
        ] {
            let found = p_value(Rate::new(count, n).unwrap(), singletons, m).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{found:e} is not {expected:e}");
        }
    }

    #[test]
    fn nothing_unseen_is_no_evidence() {
        assert_eq!(p_value(Rate::new(0, 500).unwrap(), 3, 1_000), Some(1.0));
        assert_eq!(p_value(Rate::new(5, 500).unwrap(), 3, 0), None);
    }

    /// A long tail of categories: the reference's singletons foretell how much of the future is unseen.
    #[test]
    fn a_long_tail_is_foretold() {
        let mut rng = fastrand::Rng::with_seed(8);
        let mut draw = || (rng.f64().powi(-2)) as u64 % 100_000;
        let (m, n) = (5_000, 500);
        let mut alarms = 0;
        for _ in 0..300 {
            let mut seen = std::collections::HashMap::new();
            (0..m).for_each(|_| *seen.entry(draw()).or_insert(0u64) += 1);
            let singletons = seen.values().filter(|&&count| count == 1).count() as u64;
            let unseen = (0..n).filter(|_| !seen.contains_key(&draw())).count() as u64;
            assert!(singletons > 50, "a long tail was expected");
            alarms += u32::from(p_value(Rate::new(unseen, n).unwrap(), singletons, m).unwrap() <= 0.01);
        }
        assert!(alarms <= 9, "{alarms} of 300 at .01");
    }
}
