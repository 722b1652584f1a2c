use super::*;
use fastrand::Rng;

const PLAIN: Terms = Terms { tolerance: 0.0, phi: 1.0, change: Change::Differs };

fn assert_close(found: f64, expected: f64, relative: f64) {
    assert!((found / expected - 1.0).abs() <= relative, "{found:e} is not {expected:e}");
}

/// Vector H, first part.
#[test]
fn factors_of_a_small_pane_have_a_mean_of_one() {
    let bet = Bet { bin: 0, lambda: 2.0f64.ln(), tolerated: 0.0 };
    let factor = |a: u64| bet.settle(&[a, 2 - a], &[2 - a, 1 + a]).exp();
    for (a, expected) in [(0, 0.526316), (1, 1.052632), (2, 2.105263)] {
        assert_close(factor(a), expected, 1e-6);
    }
    assert_close(0.3 * factor(0) + 0.6 * factor(1) + 0.1 * factor(2), 1.0, 1e-12);
}

/// Vector H, second part.
#[test]
fn a_bet_is_placed_by_the_panes_before() {
    let bet = place(&[31, 19], &[225, 225], PLAIN).unwrap();
    assert_close(bet.lambda, 0.3172057, 1e-6);
    assert_eq!((bet.bin, bet.tolerated), (0, 0.0));
    for (a, expected) in [(30, 0.7062520), (22, -1.5800200)] {
        let mut test = Betting::of_rate();
        assert_eq!(test.add(&[31, 19], &[225, 225], PLAIN), Some(0.0), "the first pane bets on nothing");
        assert_close(test.add(&[a, 50 - a], &[230, 220], PLAIN).unwrap(), expected, 1e-6);
        let dependent = Terms { phi: 2.0, ..PLAIN };
        let mut test = Betting::of_rate();
        test.add(&[31, 19], &[225, 225], dependent);
        assert_close(test.add(&[a, 50 - a], &[230, 220], dependent).unwrap(), expected / 2.0, 1e-6);
    }
}

/// With a tolerance, the mean of the factor is 1 where the true odds ratio is the tolerated one, and less
/// where it is nearer to none.
#[test]
fn the_tolerated_difference_is_a_fair_bet() {
    let bet = Bet { bin: 0, lambda: 0.8, tolerated: 0.3 };
    let (n_c, n_s, t) = (12u64, 40u64, 17u64);
    let mean = |truth: f64| {
        let weight = |k: u64| (ln_choose(n_c, k) + ln_choose(n_s, t - k) + truth * k as f64).exp();
        let factor = |k: u64| bet.settle(&[k, n_c - k], &[t - k, n_s + k - t]).exp();
        let all: f64 = (0..=n_c).map(weight).sum();
        (0..=n_c).map(|k| weight(k) * factor(k)).sum::<f64>() / all
    };
    assert_close(mean(0.3), 1.0, 1e-12);
    assert!(mean(0.0) < 0.8 && mean(-0.3) < 0.6 && mean(0.8) > 1.1);
}

/// By the definition, over random tables and tilts.
#[test]
fn sums_equal_their_definition() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..2_000 {
        let (n_c, n_s) = (rng.u64(1..40), rng.u64(1..60));
        let t = rng.u64(1..n_c + n_s);
        let lambda = rng.f64() * 12.0 - 6.0;
        let term = |k: u64| (ln_choose(n_c, k) + ln_choose(n_s, t - k) + lambda * k as f64).exp();
        let sum: f64 = (t.saturating_sub(n_s)..=n_c.min(t)).map(term).sum();
        let found = ln_tilted_sum(n_c, n_s, t, lambda);
        assert!((found - sum.ln()).abs() < 1e-9, "{found} is not {} at {n_c} {n_s} {t} {lambda}", sum.ln());
    }
    // Vandermonde, at sizes whose terms have no float.
    let (n_c, n_s, t) = (60_000, 540_000, 30_000);
    assert_close(ln_tilted_sum(n_c, n_s, t, 0.0), ln_choose(n_c + n_s, t), 1e-9);
}

#[test]
fn only_the_change_asked_for_is_bet_on() {
    let (more, fewer) = ([40, 60], [20, 80]);
    for (canary, stable, rose) in [(more, fewer, true), (fewer, more, false)] {
        let placed = |change| place(&canary, &stable, Terms { change, ..PLAIN }).is_some();
        assert_eq!((placed(Change::Rose), placed(Change::Fell)), (rose, !rose));
        assert!(placed(Change::Differs));
    }
    assert!(place(&[50, 50], &[50, 50], PLAIN).is_none());
    assert!(place(&[0, 0], &[50, 50], PLAIN).is_none());
    assert!(place(&[7], &[50], PLAIN).is_none(), "one bin has no boundary");
}

#[test]
fn numbers_are_stored_and_read_back() {
    let mut live = Betting::of_bins(3);
    live.add(&[10, 20, 30], &[100, 100, 100], PLAIN);
    let mut restored = Betting::from_wealth(live.wealth().clone()).unwrap();
    for test in [&mut live, &mut restored] {
        assert!(test.add(&[10, 20, 40], &[100, 90, 110], PLAIN).unwrap() != 0.0);
    }
    assert_eq!(live, restored);
    let wealth = live.wealth();
    for broken in [
        Wealth { canary: vec![1], ..wealth.clone() },
        Wealth { ln_wealth: f64::NAN, ..wealth.clone() },
        Wealth { ln_wealth: 5.0, largest_ln_wealth: 4.0, ..wealth.clone() },
        Wealth { largest_ln_wealth: -1.0, ln_wealth: -2.0, ..wealth.clone() },
        Wealth { stable: vec![u64::MAX; 3], ..wealth.clone() },
    ] {
        assert_eq!(Betting::from_wealth(broken), None);
    }
    let before = live.clone();
    assert_eq!(live.add(&[1, 2], &[1, 2, 3], PLAIN), None);
    assert_eq!(live.add(&[u64::MAX, 0, 0], &[1, 2, 3], PLAIN), None);
    assert_eq!(live.add(&[LARGEST_PANE, 1, 0], &[1, 2, 3], PLAIN), None);
    assert_eq!(live, before);
    assert_eq!(live.add(&[0, 0, 0], &[1, 2, 3], PLAIN), Some(0.0), "an empty arm is no bet");
}

fn binomial(rng: &mut Rng, n: u64, p: f64) -> u64 {
    (0..n).filter(|_| rng.f64() < p).count() as u64
}

/// The p-value after so many panes of 50 and 450 events at these rates.
fn rates_test(rng: &mut Rng, panes: usize, canary: f64, stable: f64, terms: Terms) -> f64 {
    let mut test = Betting::of_rate();
    for _ in 0..panes {
        let (a, b) = (binomial(rng, 50, canary), binomial(rng, 450, stable));
        test.add(&[a, 50 - a], &[b, 450 - b], terms);
    }
    test.p_value()
}

/// Errors at 1 %: the level holds, four times as many are found within 2,000 canary events, also by a test
/// that lets two hundredths more pass — which the tangent of the log odds would never find.
#[test]
fn error_rates_that_rise_are_found() {
    let mut rng = Rng::with_seed(2);
    let rise = Terms { change: Change::Rose, ..PLAIN };
    let mut rejected = |panes, canary, terms, alpha| {
        (0..300).filter(|_| rates_test(&mut rng, panes, canary, 0.01, terms) <= alpha).count()
    };
    let false_alarms = rejected(60, 0.01, rise, 0.05);
    assert!(false_alarms <= 20, "{false_alarms} of 300 at .05");
    let found = rejected(40, 0.04, rise, 0.01);
    assert!(found >= 285, "{found} of 300");
    let tolerant = Terms { tolerance: 0.02, ..rise };
    assert!(rejected(60, 0.03, tolerant, 0.05) <= 20);
    let beyond = rejected(160, 0.06, tolerant, 0.01);
    assert!(beyond >= 270, "{beyond} of 300");
    assert!(0.02 / (0.01 * 0.99) > logit(0.06) - logit(0.01), "the tangent");
}

/// A common swing of the rate, far beyond its noise, is no difference.
#[test]
fn common_drift_keeps_the_level() {
    let mut rng = Rng::with_seed(3);
    let rejected = (0..200)
        .filter(|_| {
            let mut test = Betting::of_rate();
            for pane in 0..150 {
                let p = 0.3 + 0.2 * (f64::from(pane) / 20.0).sin();
                let (a, b) = (binomial(&mut rng, 50, p), binomial(&mut rng, 450, p));
                test.add(&[a, 50 - a], &[b, 450 - b], PLAIN);
            }
            test.p_value() <= 0.05
        })
        .count();
    assert!(rejected <= 12, "{rejected} of 200 at .05");
}

/// statistics.md §9.4 at 63 boundaries and δ0 = .02: a difference of .02 is hardly ever rejected, one of .05
/// is found by a median of 3,000 canary events.
#[test]
fn distributions_are_compared_at_their_widest_boundary() {
    const BINS: usize = 64;
    let mut rng = Rng::with_seed(4);
    let mut needed = |distance: f64, tolerance: f64, most: u64| {
        let odds = (4.0 * distance.atanh()).exp();
        let mut counts = |events: usize, odds: f64| {
            let mut bins = [0u64; BINS];
            for _ in 0..events {
                let u = rng.f64();
                bins[((u * odds / (1.0 - u + u * odds)) * BINS as f64) as usize] += 1;
            }
            bins
        };
        let mut test = Betting::of_bins(BINS);
        let mut events = 0;
        while test.p_value() > 0.05 && events < most {
            events += 50;
            test.add(&counts(50, odds), &counts(450, 1.0), Terms { tolerance, ..PLAIN });
        }
        events
    };
    let rejected = (0..60).filter(|_| needed(0.02, 0.02, 5_000) < 5_000).count();
    assert!(rejected <= 4, "{rejected} of 60");
    let mut median = |distance, tolerance, runs: usize| {
        let mut events: Vec<u64> = (0..runs).map(|_| needed(distance, tolerance, 20_000)).collect();
        events.sort_unstable();
        events[runs / 2]
    };
    let tolerant = median(0.05, 0.02, 41);
    assert!((1_500..=4_500).contains(&tolerant), "{tolerant}");
    let plain = median(0.1, 0.0, 101);
    assert!((100..=350).contains(&plain), "{plain}");
}
