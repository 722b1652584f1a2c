use super::*;
use fastrand::Rng;

fn rate(hits: u64, of: u64) -> Rate {
    Rate::new(hits, of).unwrap()
}

const CHANGES: [Change; 3] = [Change::Differs, Change::Rose, Change::Fell];

fn assert_close(found: f64, expected: f64, relative: f64, what: &str) {
    assert!((found / expected - 1.0).abs() <= relative, "{found:e} is not {expected:e}: {what}");
}

/// `scipy.stats.fisher_exact`, scipy 1.17: reference hits, of, window hits, of; differs, rose, fell.
#[test]
fn fisher_equals_scipy() {
    let known: [(u64, u64, u64, u64, [f64; 3]); 10] = [
        (3, 10, 8, 10, [0.06977851869492736, 0.03488925934746368, 0.9972612526792093]),
        (50, 1000, 9, 100, [0.10099790290183205, 0.07867318013459693, 0.965266855483734]),
        (0, 1000, 9, 100, [3.025118081782972e-10, 3.025118081782972e-10, 1.0]),
        (10, 20, 10, 20, [1.0, 0.6238144327180455, 0.6238144327180455]),
        (1, 1000000, 3, 500, [4.96075837596068e-10, 4.96075837596068e-10, 0.9999999999999384]),
        (300, 1000, 1, 900, [6.0669505311762544e-93, 1.0, 4.586004155369137e-93]),
        (999, 1000, 1000, 1000, [1.0, 0.5, 1.0]),
        (5000, 100000, 80, 900, [1.1479300810953825e-06, 8.83110838795976e-07, 0.9999995361924188]),
        (17, 41, 2, 99, [5.5264993794282304e-09, 0.9999999998518606, 5.5264993794282304e-09]),
        (900, 1000, 40, 100, [2.0450513273829949e-29, 1.0, 2.0450513273829949e-29]),
    ];
    for (a, m, b, n, expected) in known {
        for (change, expected) in CHANGES.into_iter().zip(expected) {
            let what = format!("{a}/{m} {b}/{n} {change:?}");
            assert_close(fisher(rate(a, m), rate(b, n), change), expected, 1e-9, &what);
        }
    }
}

/// By definition: over all tables with the same margins, in small integers.
#[test]
fn fisher_equals_the_enumeration_of_all_tables() {
    let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
    for (m, n) in [(1, 1), (3, 5), (6, 4), (7, 7)] {
        for a in 0..=m {
            for b in 0..=n {
                let hits = a + b;
                let weight =
                    |x: u64| if x > hits || hits - x > m { 0.0 } else { choose(n, x) * choose(m, hits - x) };
                let all: f64 = (0..=n).map(weight).sum();
                let sum =
                    |keep: &dyn Fn(u64) -> bool| (0..=n).filter(|&x| keep(x)).map(weight).sum::<f64>() / all;
                let expected =
                    [sum(&|x| weight(x) <= weight(b) * (1.0 + 1e-9)), sum(&|x| x >= b), sum(&|x| x <= b)];
                for (change, expected) in CHANGES.into_iter().zip(expected) {
                    assert_close(fisher(rate(a, m), rate(b, n), change), expected, 1e-12, "enumerated");
                }
            }
        }
    }
}

#[test]
fn the_deepest_tail_is_zero_on_its_side_only() {
    let (low, high) = (rate(20_000, 100_000), rate(30_000, 100_000));
    assert_eq!(CHANGES.map(|change| fisher(low, high, change)), [0.0, 0.0, 1.0]);
    assert_eq!(CHANGES.map(|change| fisher(high, low, change)), [0.0, 1.0, 0.0]);
}

/// The pooled z test by `scipy.stats.norm`, scipy 1.17: differs, rose, fell.
#[test]
fn the_z_test_equals_scipy_and_decides_large_tables() {
    let known: [(u64, u64, u64, u64, [f64; 3]); 3] = [
        (5000, 100000, 5600, 100000, [2.1169047442610936e-09, 1.0584523721305468e-09, 0.9999999989415477]),
        (20000, 40000, 10300, 20000, [0.00053166302445916, 0.00026583151222958, 0.9997341684877704]),
        (3000, 5000, 2900, 5000, [0.042031392140670205, 0.9789843039296648, 0.021015696070335103]),
    ];
    for (a, m, b, n, expected) in known {
        for (change, expected) in CHANGES.into_iter().zip(expected) {
            let (a, b) = (rate(a, m), rate(b, n));
            assert_close(z_test(a, b, change), expected, 1e-9, "z");
            assert_eq!(p_value(a, b, change), z_test(a, b, change));
            // The two tests meet: the exact one is a little wider.
            let ratio = fisher(a, b, change) / z_test(a, b, change);
            assert!((0.9..1.3).contains(&ratio), "{ratio}");
        }
    }
    for change in CHANGES {
        assert_eq!(z_test(rate(0, 5_000), rate(0, 5_000), change), 1.0);
        assert_eq!(z_test(rate(5_000, 5_000), rate(9, 9), change), 1.0);
    }
}

#[test]
fn small_or_rare_tables_are_decided_exactly() {
    for (a, b) in [(rate(5_000, 100_000), rate(80, 900)), (rate(50, 100_000), rate(80, 50_000))] {
        for change in CHANGES {
            assert_eq!(p_value(a, b, change), fisher(a, b, change));
        }
    }
}

#[test]
fn the_level_holds_and_a_rise_is_found() {
    let mut rng = Rng::with_seed(5);
    let mut draw = |n: u64, p: f64| rate((0..n).filter(|_| rng.f64() < p).count() as u64, n);
    let (mut differs, mut rose, mut found) = (0, 0, 0);
    for _ in 0..2_000 {
        let (reference, same, more) = (draw(1_000, 0.02), draw(300, 0.02), draw(300, 0.08));
        differs += u32::from(p_value(reference, same, Change::Differs) <= 0.05);
        rose += u32::from(p_value(reference, same, Change::Rose) <= 0.05);
        found += u32::from(p_value(reference, more, Change::Rose) <= 0.05);
    }
    assert!(differs <= 129 && rose <= 129, "{differs} and {rose} of 2000 at .05");
    assert!(found > 1_900, "{found} of 2000");
}

/// `statsmodels.stats.proportion.proportion_confint(..., 'wilson')`; the first row is statistics.md §6.
#[test]
fn wilson_equals_statsmodels() {
    let known = [
        (45, 50, 0.05, 0.7863976856252034, 0.9565242350681095),
        (380, 400, 0.05, 0.9240363649362803, 0.9674025701628527),
        (0, 20, 0.05, 0.0, 0.1611251580528194),
        (20, 20, 0.01, 0.7508945989012465, 1.0),
        (7, 1000, 0.01, 0.0027411771547325055, 0.01775771144002663),
    ];
    for (hits, of, alpha, lower, upper) in known {
        let found = wilson(rate(hits, of), alpha);
        assert_eq!(found.value, hits as f64 / of as f64);
        assert!((found.lower - lower).abs() < 1e-10 && (found.upper - upper).abs() < 1e-10, "{found:?}");
    }
}

/// `confint_proportions_2indep(..., method='newcomb')`; the first row is statistics.md §6, the others are of
/// Newcombe (1998), table II.
#[test]
fn newcombe_equals_statsmodels() {
    let known = [
        (45, 50, 380, 400, -0.16492752185435444, 0.012202085943776156),
        (56, 70, 48, 80, 0.05243147240236498, 0.33387265403690614),
        (0, 10, 0, 20, -0.1611251580528194, 0.27753279986288926),
        (10, 10, 0, 10, 0.6075093504305241, 1.0),
    ];
    for (hits, of, stable_hits, stable_of, lower, upper) in known {
        let found = newcombe(rate(hits, of), rate(stable_hits, stable_of), 0.05);
        assert!((found.lower - lower).abs() < 1e-10 && (found.upper - upper).abs() < 1e-10, "{found:?}");
    }
    assert!((newcombe(rate(45, 50), rate(380, 400), 0.05).value + 0.05).abs() < 1e-14);
}

#[test]
fn intervals_cover() {
    let mut rng = Rng::with_seed(6);
    let mut draw = |n: u64, p: f64| rate((0..n).filter(|_| rng.f64() < p).count() as u64, n);
    let (mut single, mut difference) = (0, 0);
    for _ in 0..3_000 {
        let (canary, stable) = (draw(60, 0.9), draw(400, 0.95));
        let (one, both) = (wilson(canary, 0.05), newcombe(canary, stable, 0.05));
        single += u32::from(one.lower <= 0.9 && 0.9 <= one.upper);
        difference += u32::from(both.lower <= -0.05 && -0.05 <= both.upper);
    }
    for covered in [single, difference] {
        assert!((2_790..=2_910).contains(&covered), "{covered} of 3000 at .95");
    }
}

#[test]
fn a_rate_is_checked_and_thinned() {
    assert_eq!(Rate::new(3, 2), None);
    assert_eq!(Rate::new(0, 0), None);
    assert_eq!(Rate::new(0, u64::MAX), None);
    assert_eq!(rate(30, 100).thinned(2.5), rate(12, 40));
    assert_eq!(rate(30, 100).thinned(0.5), rate(30, 100));
    assert_eq!(rate(30, 100).thinned(f64::NAN), rate(30, 100));
    assert_eq!(rate(30, 100).thinned(1e9), rate(0, 1));
    assert_eq!((rate(30, 100).hits(), rate(30, 100).of()), (30, 100));
}
