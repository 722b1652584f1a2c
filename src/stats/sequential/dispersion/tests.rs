use super::*;
use fastrand::Rng;

fn at_one_point(hits: u64, values: u64) -> Below {
    Below { at_points: [hits; POINTS], values }
}

fn of_panes(panes: &[Below]) -> Option<f64> {
    let mut dispersion = PaneDispersion::default();
    panes.iter().for_each(|&pane| dispersion.add(pane));
    dispersion.phi()
}

/// Vector F.
#[test]
fn successive_panes_are_compared() {
    let panes = [50, 56, 44, 50].map(|hits| at_one_point(hits, 100));
    assert!((of_panes(&panes).unwrap() - 1.44).abs() < 1e-12);
    // A pane without values changes nothing.
    let with_gap = [panes[0], panes[1], at_one_point(0, 0), panes[2], panes[3]];
    assert_eq!(of_panes(&with_gap), of_panes(&panes));
}

#[test]
fn unequal_panes_count_by_their_sizes() {
    // (.3² + .3²)/(F̄(1−F̄)(1/100 + 1/400 + 1/400 + 1/100)), F̄ = 300/600.
    let panes = [at_one_point(70, 100), at_one_point(160, 400), at_one_point(70, 100)];
    assert!((of_panes(&panes).unwrap() - 0.18 / (0.25 * 0.025)).abs() < 1e-9);
}

#[test]
fn what_shows_no_variation_is_not_measured() {
    assert_eq!(of_panes(&[at_one_point(5, 10)]), None);
    assert_eq!(of_panes(&[at_one_point(10, 10), at_one_point(20, 20)]), None);
    assert_eq!(of_panes(&[at_one_point(5, 10), at_one_point(10, 20)]), Some(1.0), "never below 1");
    assert_eq!(of_units(&[]), None);
    assert_eq!(of_units(&[at_one_point(5, 10), at_one_point(0, 0)]), None);
    assert_eq!(of_units(&[at_one_point(0, 10), at_one_point(0, 9)]), None);
    assert_eq!(
        (combined(None, None), combined(Some(1.5), None), combined(Some(1.5), Some(2.0))),
        (1.0, 1.5, 2.0)
    );
}

/// Points on one side of all values are left out of the mean.
#[test]
fn points_outside_of_all_values_are_skipped() {
    let pane = |hits: u64| Below { at_points: [0, hits, hits, 100, 100, 100, 100], values: 100 };
    assert!((of_panes(&[50, 56, 44, 50].map(pane)).unwrap() - 1.44).abs() < 1e-12);
}

#[test]
fn octiles_are_cells_of_the_reference() {
    // Values 1 … 16 once each, all of them cuts.
    let counts: Vec<u64> = (0..33).map(|cell| cell % 2).collect();
    let octiles = Octiles::from_reference(&counts, true);
    assert_eq!(octiles.below(&counts), Below { at_points: [2, 4, 6, 8, 10, 12, 14], values: 16 });
    // Categories: .6, .3, .1.
    let octiles = Octiles::from_reference(&[60, 30, 10], false);
    assert_eq!(octiles.below(&[6, 3, 1]), Below { at_points: [6, 6, 6, 6, 9, 9, 9], values: 10 });
    for rate in [[1, 99], [99, 1]] {
        let octiles = Octiles::from_reference(&rate, false);
        assert_eq!(octiles.below(&rate).at_points, [rate[0]; POINTS], "a rate has one point");
    }
    for empty in [&[0u64; 0][..], &[0, 0], &[5]] {
        let below = Octiles::from_reference(empty, false).below(&[3, 4][..empty.len()]);
        assert!(below.at_points.iter().all(|&count| count == below.values));
    }
}

/// An autoregressive series x ← ρx + √(1−ρ²)·e, in panes of 100: statistics.md has φ = 1.0/1.5/2.9/10.7 at
/// ρ = 0/.3/.6/.9 (§4.4).
#[test]
fn dependence_is_found() {
    for (rho, low, high) in [(0.0f64, 1.0, 1.1), (0.3, 1.35, 1.7), (0.6, 2.5, 3.4), (0.9, 8.5, 12.5)] {
        let mut rng = Rng::with_seed(3);
        let mut x = 0.0;
        let mut dispersion = PaneDispersion::default();
        // Octiles of the standard normal.
        let points = [-1.1503, -0.6745, -0.3186, 0.0, 0.3186, 0.6745, 1.1503];
        for _ in 0..2_000 {
            let mut pane = Below { values: 100, ..Below::default() };
            for _ in 0..100 {
                x = rho * x + (1.0 - rho * rho).sqrt() * normal(&mut rng);
                (0..POINTS).for_each(|point| pane.at_points[point] += u64::from(x <= points[point]));
            }
            dispersion.add(pane);
        }
        let phi = dispersion.phi().unwrap();
        assert!((low..=high).contains(&phi), "φ = {phi} at ρ = {rho}");
    }
}

fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

/// 2,000 users whose values share a fifth of their variance (ICC .2), 20 events each: the design effect is
/// 1 + 19·.2 = 4.8 for the mean, somewhat less at the octiles. Independent values show none.
#[test]
fn sticky_users_are_found_by_their_buckets() {
    let mut rng = Rng::with_seed(4);
    let points = [-1.1503, -0.6745, -0.3186, 0.0, 0.3186, 0.6745, 1.1503];
    let mut phi = |icc: f64| {
        let mut buckets = [Below::default(); BUCKETS];
        for _ in 0..2_000 {
            let bucket = &mut buckets[rng.usize(..BUCKETS)];
            let own = icc.sqrt() * normal(&mut rng);
            for _ in 0..20 {
                let x = own + (1.0 - icc).sqrt() * normal(&mut rng);
                bucket.values += 1;
                (0..POINTS).for_each(|point| bucket.at_points[point] += u64::from(x <= points[point]));
            }
        }
        of_units(&buckets).unwrap()
    };
    let mean = |of: Vec<f64>| of.iter().sum::<f64>() / of.len() as f64;
    let sticky = mean((0..20).map(|_| phi(0.2)).collect());
    assert!((2.5..=4.8).contains(&sticky), "{sticky}");
    let independent = mean((0..20).map(|_| phi(0.0)).collect());
    assert!((1.0..=1.3).contains(&independent), "{independent}");
}
