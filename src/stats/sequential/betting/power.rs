//! How small a rise of a rate the bets would find.

use super::logit;

/// Standard normal quantile of a power of .8.
const POWER: f64 = 0.8416;

/// What learning the odds costs, in logarithms of wealth: from simulations at rates of .01 to .3 and levels of
/// .05 and .0025, where it lies between 0 and 4.
const PRICE_OF_LEARNING: f64 = 2.0;

/// The smallest rate of the canary that is found with a power of about .8, when stable's is `stable` and up to
/// `tolerance` more is let pass: within a fifth of the rise in simulations.
///
/// The wealth grows by ½u² and varies by u, where `u² = 2·(n_c·KL(p_c‖p̄) + n_s·KL(p_s‖p̄))`, p̄ the pooled rate;
/// with a tolerance, by the share of the log odds ratio that is beyond it. It is found when
/// `½u² − .84u ≥ ln(1/α) + 2`. `canary_events` and `stable_events` are those of all panes but the first, over φ.
///
/// `None` when no rate would be found, or an argument is no probability or not positive.
pub fn smallest_detectable_rate(
    stable: f64,
    canary_events: f64,
    stable_events: f64,
    alpha: f64,
    tolerance: f64,
) -> Option<f64> {
    let probability = |p: f64| p > 0.0 && p < 1.0;
    let tolerated = stable + tolerance.max(0.0);
    let positive = canary_events > 0.0 && stable_events > 0.0;
    if !(probability(stable) && probability(alpha) && probability(tolerated) && positive) {
        return None;
    }
    let needed = POWER + (POWER * POWER + 2.0 * (PRICE_OF_LEARNING - alpha.ln())).sqrt();
    let weight = canary_events / (canary_events + stable_events);
    let reached = |canary: f64| {
        let pooled = weight * canary + (1.0 - weight) * stable;
        let information =
            canary_events * divergence(canary, pooled) + stable_events * divergence(stable, pooled);
        let odds = logit(canary) - logit(stable);
        let beyond = (odds - (logit(tolerated) - logit(stable))) / odds;
        (2.0 * information).sqrt() * beyond
    };
    let (mut low, mut high) = (tolerated, 1.0 - 1e-9);
    if reached(high) < needed {
        return None;
    }
    for _ in 0..60 {
        let middle = low + (high - low) / 2.0;
        if middle > tolerated && reached(middle) >= needed { high = middle } else { low = middle }
    }
    Some(high)
}

/// Kullback and Leibler's of two Bernoulli laws.
fn divergence(p: f64, q: f64) -> f64 {
    p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
}

#[cfg(test)]
mod tests {
    use super::super::{Betting, Terms};
    use super::*;
    use crate::stats::rates::Change;
    use fastrand::Rng;

    /// The share of rollouts of 60 panes that are found.
    fn power(
        rng: &mut Rng,
        (stable, canary): (f64, f64),
        sizes: [u64; 2],
        alpha: f64,
        tolerance: f64,
    ) -> f64 {
        const RUNS: usize = 150;
        let mut draw = |n: u64, p: f64| {
            let hits = (0..n).filter(|_| rng.f64() < p).count() as u64;
            [hits, n - hits]
        };
        let mut found = 0;
        for _ in 0..RUNS {
            let mut test = Betting::of_rate();
            let terms = Terms { tolerance, phi: 1.0, change: Change::Rose };
            for _ in 0..60 {
                test.add(&draw(sizes[0], canary), &draw(sizes[1], stable), terms);
            }
            found += usize::from(test.p_value() <= alpha);
        }
        found as f64 / RUNS as f64
    }

    #[test]
    fn rises_are_found_as_foretold_to_within_a_fifth() {
        let mut rng = Rng::with_seed(21);
        for (stable, sizes, alpha, tolerance) in [
            (0.01, [50, 450], 0.05, 0.0),
            (0.01, [50, 450], 0.0025, 0.0),
            (0.05, [100, 100], 0.0025, 0.0),
            (0.3, [20, 180], 0.01, 0.0),
            (0.05, [50, 450], 0.01, 0.02),
        ] {
            let events = sizes.map(|size: u64| (59 * size) as f64);
            let rate = smallest_detectable_rate(stable, events[0], events[1], alpha, tolerance).unwrap();
            let mut at = |part: f64| {
                let canary = stable + part * (rate - stable);
                power(&mut rng, (stable, canary), sizes, alpha, tolerance)
            };
            let (less, more) = (at(0.8), at(1.2));
            assert!(less <= 0.8 && 0.8 <= more, "{less} … {more} around {rate} for {stable} at {alpha}");
        }
    }

    #[test]
    fn more_events_show_less_and_too_few_show_nothing() {
        let rate = |events: f64| smallest_detectable_rate(0.01, events, 9.0 * events, 0.01, 0.0);
        assert!(rate(10_000.0) < rate(1_000.0));
        assert!(rate(10_000.0).unwrap() > 0.01);
        let tolerant = smallest_detectable_rate(0.01, 1e4, 9e4, 0.01, 0.02).unwrap();
        assert!(tolerant > 0.03);
        assert_eq!(rate(2.0), None);
        for (stable, alpha, tolerance) in
            [(0.0, 0.01, 0.0), (1.0, 0.01, 0.0), (0.5, 0.0, 0.0), (0.5, 0.01, 0.5)]
        {
            assert_eq!(smallest_detectable_rate(stable, 1e5, 1e5, alpha, tolerance), None);
        }
    }
}
