use super::*;
use crate::cells::NumericGrid;
use fastrand::Rng;

fn arm<'a>(window: &'a [u64], reference: &'a [u64]) -> Arm<'a> {
    Arm { window, reference }
}

/// Counts of `window` and `reference` on a grid of all reference values.
fn on_own_grid(window: &[f64], reference: &[f64]) -> (Vec<u64>, Vec<u64>) {
    let grid = NumericGrid::new(reference.to_vec());
    let count = |values: &[f64]| {
        let mut counts = vec![0u64; grid.cells()];
        values.iter().for_each(|&value| counts[grid.rank_one(value) as usize] += 1);
        counts
    };
    (count(window), count(reference))
}

fn uniform(rng: &mut Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.f64()).collect()
}

#[test]
fn another_scale_of_scores_is_no_difference() {
    let mut rng = Rng::with_seed(1);
    let (reference, window) = (uniform(&mut rng, 4_000), uniform(&mut rng, 1_000));
    let rescale = |values: &[f64]| values.iter().map(|value| value.powi(3) * 50.0 - 7.0).collect::<Vec<_>>();
    let stable = on_own_grid(&window, &reference);
    let canary = on_own_grid(&rescale(&window), &rescale(&reference));
    let pit = numeric(arm(&canary.0, &canary.1), arm(&stable.0, &stable.1)).unwrap();
    assert_eq!(pit.statistic, 0.0);
    assert_eq!(pit.p_value, 1.0);
    assert!((pit.n_eff - 400.0).abs() < 1e-9);
}

#[test]
fn a_shift_of_one_arm_only_is_found() {
    let mut rng = Rng::with_seed(2);
    let reference = uniform(&mut rng, 10_000);
    let live = uniform(&mut rng, 5_000);
    let shifted: Vec<f64> = live.iter().map(|value| value + 0.2).collect();
    let (canary, stable) = (on_own_grid(&shifted, &reference), on_own_grid(&live, &reference));
    let pit = numeric(arm(&canary.0, &canary.1), arm(&stable.0, &stable.1)).unwrap();
    assert!((pit.statistic - 0.2).abs() < 0.02, "{}", pit.statistic);
    assert!(pit.p_value < 1e-6);
    assert!(pit.p_value_beyond(0.05) > pit.p_value);
    assert_eq!(pit.p_value_beyond(0.5), 1.0);
    let both = numeric(arm(&canary.0, &canary.1), arm(&canary.0, &canary.1)).unwrap();
    assert_eq!(both.statistic, 0.0, "the world changed, not the canary");
}

#[test]
fn healthy_canaries_are_rejected_no_more_often_than_their_level() {
    let mut rng = Rng::with_seed(3);
    let rejected = (0..400)
        .filter(|_| {
            let canary = on_own_grid(&uniform(&mut rng, 150), &uniform(&mut rng, 600));
            let stable = on_own_grid(&uniform(&mut rng, 500), &uniform(&mut rng, 600));
            numeric(arm(&canary.0, &canary.1), arm(&stable.0, &stable.1)).unwrap().p_value <= 0.05
        })
        .count();
    assert!(rejected <= 33, "{rejected} of 400 at .05");
}

#[test]
fn atoms_and_differing_grids_are_compared_by_shares() {
    // The canary's reference is one atom; half of its live answers lie above it. Stable did not move.
    let canary = arm(&[0, 50, 50], &[0, 80, 0]);
    let stable = arm(&[0, 10, 0, 10, 0], &[0, 40, 0, 40, 0]);
    assert!((numeric(canary, stable).unwrap().statistic - 0.5).abs() < 1e-12);
}

#[test]
fn categories_compare_by_half_the_total_difference() {
    let pit = categorical(arm(&[40, 60], &[50, 50]), arm(&[500, 500], &[50, 50])).unwrap();
    assert!((pit.statistic - 0.1).abs() < 1e-12);
    let n_eff = 1.0 / (0.01 + 0.01 + 0.001 + 0.01);
    assert!((pit.n_eff - n_eff).abs() < 1e-9);
    let same = categorical(arm(&[40, 60, 0], &[40, 60, 0]), arm(&[400, 600, 0], &[40, 60, 0])).unwrap();
    assert!(same.statistic < 1e-12 && same.p_value > 0.999);
}

#[test]
fn categorical_level_holds() {
    let mut rng = Rng::with_seed(5);
    let mut draw = |n: usize| {
        let mut counts = [0u64; 4];
        (0..n).for_each(|_| counts[[0.5, 0.8, 0.95, 1.0].partition_point(|&end| end <= rng.f64())] += 1);
        counts
    };
    let rejected = (0..2_000)
        .filter(|_| {
            let [a, b, c, d] = [draw(300), draw(1_000), draw(900), draw(1_000)];
            categorical(arm(&a, &b), arm(&c, &d)).unwrap().p_value <= 0.05
        })
        .count();
    assert!((70..=130).contains(&rejected), "{rejected} of 2000 at .05");
}

#[test]
fn an_empty_or_misaligned_side_is_not_measured() {
    let full = arm(&[1, 2, 3], &[3, 2, 1]);
    for broken in [arm(&[0; 3], &[1, 2, 3]), arm(&[1, 2, 3], &[0; 3]), arm(&[1, 2], &[1, 2, 3])] {
        assert_eq!(numeric(full, broken), None);
        assert_eq!(numeric(broken, full), None);
        assert_eq!(categorical(full, broken), None);
    }
    assert_eq!(categorical(full, arm(&[1, 2], &[2, 1])), None);
}
