use super::*;
use fastrand::Rng;

/// Vector D of statistics.md §3.
const D_WINDOW: [u64; 10] = [62, 71, 83, 90, 95, 101, 108, 118, 129, 143];

fn assert_close(found: f64, expected: f64, relative: f64) {
    assert!((found / expected - 1.0).abs() <= relative, "{found:e} is not {expected:e}");
}

#[test]
fn vector_d_is_reproduced() {
    let index = psi(&[1_000; 10], &D_WINDOW).unwrap();
    assert_close(index, 0.0583408635, 1e-9);
    assert_close(index / 0.0011, 53.0371487, 1e-8);
    assert_close(p_value(index, 1_000.0, 10_000.0, 10, 0.0), 2.875877e-8, 1e-6);
    assert_close(p_value(index, 1_000.0, 10_000.0, 10, 0.02), 0.01049828, 1e-6);
    assert_close(p_value(index, 1_000.0, 10_000.0, 10, 0.05), 0.51264, 1e-5);
    assert_close(p_value(0.0819160, 1_000.0, 10_000.0, 10, 0.02), 1e-4, 1e-4);
    assert_close(p_value(index, 400.0, 10_000.0, 10, 0.0), 0.00758762, 1e-6);
    assert_close(corrected(index, 1_000.0, 10_000.0, 10), 0.0484409, 1e-6);
}

/// Critical values of statistics.md §3 at 1e-4, m = 10,000, ten bins.
#[test]
fn published_critical_values_have_their_level() {
    for (tolerance, n, critical) in [
        (0.0, 100.0, 0.341),
        (0.0, 500.0, 0.071),
        (0.05, 100.0, 0.482),
        (0.05, 1_000.0, 0.131),
        (0.1, 500.0, 0.258),
        (0.1, 10_000.0, 0.138),
    ] {
        assert!(p_value(critical * 0.98, n, 10_000.0, 10, tolerance) > 1e-4);
        assert!(p_value(critical * 1.02, n, 10_000.0, 10, tolerance) < 1e-4);
    }
}

#[test]
fn deciles_end_at_order_statistics() {
    // 20 cuts with one value each: two values per bin, the last bin open above.
    let counts: Vec<u64> = (0..41).map(|cell| cell % 2).collect();
    let bins = Bins::new(Shares::Deciles, &counts);
    assert_eq!(bins.bins(), 10);
    assert_eq!(bins.fold(&counts), [2; 10]);
    let mut window = vec![0; 41];
    (window[0], window[3], window[4], window[40]) = (5, 7, 11, 13);
    assert_eq!(bins.fold(&window), [12, 11, 0, 0, 0, 0, 0, 0, 0, 13]);
}

#[test]
fn values_of_a_hundredth_are_bins_of_their_own() {
    // 1 and 3 are frequent; 1.5 and 2 together are not, nor is 2.5 with what follows 3.
    let counts = [0, 500, 0, 3, 0, 4, 0, 489, 1, 0, 3, 0, 0];
    let bins = Bins::new(Shares::Values, &counts);
    assert_eq!(bins.fold(&counts), [500, 7, 489, 4]);
    assert_eq!(bins.fold(&[1, 1, 2, 2, 2, 2, 2, 3, 4, 4, 4, 4, 4]), [2, 10, 3, 20]);
    // A thousand values of a thousandth each: ten a bin.
    let even: Vec<u64> = (0..2_001).map(|cell| cell % 2).collect();
    assert_eq!(
        Bins::new(Shares::Values, &even).fold(&even),
        [10; 100].into_iter().chain([0]).collect::<Vec<_>>()
    );
    assert_eq!(Bins::new(Shares::Values, &[0, 0, 0]).bins(), 1);
}

#[test]
fn equal_edges_are_taken_once() {
    // Two values, half and half: (−∞,a], (a,b], (b,∞).
    let bins = Bins::new(Shares::Deciles, &[0, 50, 0, 50, 0]);
    assert_eq!(bins.fold(&[1, 2, 3, 4, 5]), [3, 7, 5]);
    // All of the reference above its last cut: no edge at all.
    assert_eq!(Bins::new(Shares::Deciles, &[0, 0, 9]).bins(), 1);
    assert_eq!(Bins::new(Shares::Deciles, &[0, 0, 0]).bins(), 1);
}

#[test]
fn each_category_is_a_bin() {
    let bins = Bins::new(Shares::Categories, &[5, 0, 1]);
    assert_eq!(bins.fold(&[1, 2, 3]), [1, 2, 3]);
}

#[test]
fn folding_foreign_counts_does_not_panic() {
    let bins = Bins::new(Shares::Categories, &[5, 1, 1]);
    assert_eq!(bins.fold(&[1]), [1, 0, 0]);
    assert_eq!(bins.fold(&[1, 2, 3, 4]), [1, 2, 3]);
}

#[test]
fn what_cannot_be_compared_is_none() {
    assert_eq!(psi(&[5], &[5]), None);
    assert_eq!(psi(&[5, 5], &[0, 0]), None);
    assert_eq!(psi(&[0, 0], &[5, 5]), None);
    assert_eq!(psi(&[5, 5], &[5, 5, 5]), None);
    assert_eq!(psi(&[7, 7], &[7, 7]), Some(0.0));
    assert_eq!(p_value(0.1, 0.0, 100.0, 10, 0.0), 1.0);
    assert_eq!(p_value(0.1, 100.0, 100.0, 1, 0.0), 1.0);
    assert_eq!(p_value(f64::NAN, 100.0, 100.0, 10, 0.0), 1.0);
}

#[test]
fn the_index_is_symmetric_and_positive() {
    let (a, b) = ([30, 20, 10, 0], [5, 6, 7, 2]);
    assert_eq!(psi(&a, &b), psi(&b, &a));
    assert!(psi(&a, &b).unwrap() > 0.0);
}

#[test]
fn sparse_bins_join_their_neighbours() {
    let joined = merge_sparse(&[50, 4, 4, 40, 1, 1, 0], &[30, 1, 2, 60, 3, 0, 4]).unwrap();
    assert_eq!(joined, (vec![50, 8, 42], vec![30, 3, 67]));
    // A window a tenth of the reference expects a tenth of its counts.
    let joined = merge_sparse(&[500, 40, 60, 400], &[40, 10, 10, 40]).unwrap();
    assert_eq!(joined, (vec![500, 100, 400], vec![40, 20, 40]));
    assert_eq!(merge_sparse(&[50, 1], &[50, 1]), None);
    assert_eq!(merge_sparse(&[1, 1], &[1, 1]), None);
}

/// Splits `n` draws over bins by the distribution function `upper` of the bins, all but the last.
fn draw(rng: &mut Rng, upper: &[f64], n: usize) -> Vec<u64> {
    let mut counts = vec![0; upper.len() + 1];
    for _ in 0..n {
        let u = rng.f64();
        counts[upper.partition_point(|&end| end <= u)] += 1;
    }
    counts
}

/// The rate of rejection at α = .01 with ten decile bins of a uniform reference, when the window's density is
/// 1 + tilt·(2u−1). Bins end at quantiles of the reference itself, so its share of each is fixed and what it
/// says of the world is random: uniform order statistics.
fn rejection_rate(rng: &mut Rng, tilt: f64, tolerance: f64, repetitions: usize) -> f64 {
    let (m, n) = (2_000usize, 300);
    let reference = [m as u64 / 10; 10];
    let mut rejected = 0;
    for _ in 0..repetitions {
        let mut values: Vec<f64> = (0..m).map(|_| rng.f64()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let edges: Vec<f64> = (1..10).map(|i| tilted(values[i * m / 10 - 1], tilt)).collect();
        let index = psi(&reference, &draw(rng, &edges, n)).unwrap();
        rejected += usize::from(p_value(index, n as f64, m as f64, 10, tolerance) <= 0.01);
    }
    rejected as f64 / repetitions as f64
}

/// The distribution function of the density 1 + tilt·(2u−1).
fn tilted(u: f64, tilt: f64) -> f64 {
    u + tilt * (u * u - u)
}

/// The index of two distributions.
fn index_of(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

/// The parameter in (low, high) at which an increasing function reaches `target`.
fn solve(mut low: f64, mut high: f64, target: f64, of: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if of(middle) < target { low = middle } else { high = middle }
    }
    low
}

/// The size of the test is .8α … 1.2α (statistics.md §8.4 item 3), without drift and at the boundary of a
/// tolerance; here with three standard deviations of the repetitions added.
#[test]
fn size_of_the_test_is_its_level() {
    let mut rng = Rng::with_seed(11);
    let repetitions = 8_000;
    let slack = 3.0 * (0.01f64 * 0.99 / repetitions as f64).sqrt();
    for tolerance in [0.0, 0.05, 0.1] {
        let tilt = solve(0.0, 0.9, tolerance, |tilt| {
            let share = |i: u32| tilted(f64::from(i + 1) / 10.0, tilt) - tilted(f64::from(i) / 10.0, tilt);
            index_of(&[0.1; 10], &(0..10).map(share).collect::<Vec<_>>())
        });
        let rate = rejection_rate(&mut rng, tilt, tolerance, repetitions);
        assert!((0.008 - slack..=0.012 + slack).contains(&rate), "{rate} at {tolerance}");
    }
}

/// The number of successes of `n` trials, by skipping from one to the next.
fn binomial(rng: &mut Rng, n: u64, p: f64) -> u64 {
    let (mut at, mut successes) = (0.0, 0);
    loop {
        at += ((1.0 - rng.f64()).ln() / (1.0 - p).ln()).floor() + 1.0;
        if at > n as f64 {
            return successes;
        }
        successes += 1;
    }
}

/// A category of one in a thousand that grew to just the tolerated index (statistics.md §9.9).
#[test]
fn rare_categories_keep_the_level_at_the_tolerance() {
    let mut rng = Rng::with_seed(13);
    let (m, n, p, tolerance, repetitions) = (100_000, 5_000, 0.001, 0.1, 10_000);
    let q = solve(p, 0.5, tolerance, |q| index_of(&[p, 1.0 - p], &[q, 1.0 - q]));
    let (mut plain, mut sound) = (0, 0);
    for _ in 0..repetitions {
        let (r, w) = (binomial(&mut rng, m, p), binomial(&mut rng, n, q));
        let (reference, window) = ([r, m - r], [w, n - w]);
        let index = psi(&reference, &window).unwrap();
        plain += u32::from(p_value(index, n as f64, m as f64, 2, tolerance) <= 0.01);
        sound += u32::from(p_value_categorical(&reference, &window, n as f64, tolerance).unwrap() <= 0.01);
    }
    assert!(plain > 200, "the plain law was expected to fail here: {plain} of {repetitions}");
    assert!(sound <= 134, "{sound} of {repetitions} at .01");
}

#[test]
fn without_a_tolerance_categories_follow_the_law() {
    let (reference, window) = ([500, 300, 200], [40, 35, 25]);
    let index = psi(&reference, &window).unwrap();
    assert_eq!(
        p_value_categorical(&reference, &window, 100.0, 0.0),
        Some(p_value(index, 100.0, 1_000.0, 3, 0.0))
    );
    assert_eq!(p_value_categorical(&[5], &[5], 5.0, 0.1), None);
}
