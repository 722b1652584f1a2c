use super::*;
use crate::cells::NumericGrid;
use fastrand::Rng;

/// The counts and sums of values on a grid.
struct Counted {
    counts: Vec<u64>,
    sums: Vec<FixedSum>,
}

impl Counted {
    fn new(grid: &NumericGrid, values: &[f64]) -> Self {
        let scale = FixedScale::of_cuts(grid.cuts());
        let mut counted =
            Counted { counts: vec![0; grid.cells()], sums: vec![FixedSum::default(); grid.cells()] };
        for &value in values {
            let cell = grid.rank_one(value) as usize;
            counted.counts[cell] += 1;
            counted.sums[cell] += scale.sum_of(value);
        }
        counted
    }

    fn cells(&self) -> Cells<'_> {
        Cells { counts: &self.counts, sums: &self.sums }
    }
}

/// W1 by its definition over raw values: ∫|A − B| between neighbouring pooled values.
fn naive(reference: &[f64], window: &[f64]) -> f64 {
    let mut pooled = [reference, window].concat();
    pooled.sort_by(f64::total_cmp);
    let share =
        |values: &[f64], x: f64| values.iter().filter(|&&v| v <= x).count() as f64 / values.len() as f64;
    pooled
        .windows(2)
        .map(|ends| (share(reference, ends[0]) - share(window, ends[0])).abs() * (ends[1] - ends[0]))
        .sum()
}

fn both(cuts: Vec<f64>, reference: &[f64], window: &[f64]) -> (Bracket, Bracket) {
    let grid = NumericGrid::new(cuts);
    let scale = FixedScale::of_cuts(grid.cuts());
    let (r, w) = (Counted::new(&grid, reference), Counted::new(&grid, window));
    let by_sums = from_sums(grid.cuts(), scale, r.cells(), w.cells()).unwrap();
    (by_sums, from_counts(grid.cuts(), &r.counts, &w.counts).unwrap())
}

fn assert_holds(bracket: Bracket, distance: f64, slack: f64) {
    let Bracket { lower, upper } = bracket;
    let within = lower <= distance + slack && upper.is_none_or(|upper| distance <= upper + slack);
    assert!(within, "{distance} is not in {bracket:?}");
}

/// Vector A of statistics.md: its W1 by scipy is .7142857.
#[test]
fn vector_a_is_bracketed() {
    let (reference, window) = ([1.0, 2.0, 2.0, 3.0, 5.0, 8.0], [0.0, 2.0, 2.5, 3.0, 3.0, 6.0, 9.0]);
    let (by_sums, by_counts) = both(reference.to_vec(), &reference, &window);
    assert!((by_sums.lower - 0.619048).abs() < 1e-6, "{by_sums:?}");
    assert!((by_sums.upper.unwrap() - 0.714286).abs() < 1e-6, "{by_sums:?}");
    assert!((naive(&reference, &window) - 0.714286).abs() < 1e-6);
    // 0 and 9 lie beyond the outermost cuts.
    assert_eq!(by_counts.upper, None);
    assert!(by_counts.lower <= by_sums.lower, "{by_counts:?}");
}

/// Bounds by hand. Cuts 0, 10; the window has one of two values inside, the reference both at 0.
#[test]
fn counts_alone_bound_by_the_worst_and_the_best_place() {
    let bracket = from_counts(&[0.0, 10.0], &[0, 2, 0, 0, 0], &[0, 1, 1, 0, 0]).unwrap();
    assert_eq!(bracket, Bracket { lower: 0.0, upper: Some(5.0) });
    // Half of the window at 10 for certain: at least 5, and 10 if the other half lies there too.
    let bracket = from_counts(&[0.0, 10.0], &[0, 2, 0, 0, 0], &[0, 0, 1, 1, 0]).unwrap();
    assert_eq!(bracket, Bracket { lower: 5.0, upper: Some(10.0) });
    let equal = from_counts(&[0.0, 10.0], &[0, 2, 0, 2, 0], &[0, 1, 0, 1, 0]).unwrap();
    assert_eq!(equal, Bracket { lower: 0.0, upper: Some(0.0) });
    for counts in [[1, 1, 0, 1, 0], [0, 1, 0, 1, 1]] {
        assert_eq!(from_counts(&[0.0, 10.0], &[0, 2, 0, 2, 0], &counts).unwrap().upper, None);
    }
}

/// Random samples with ties, shifts and few or many cuts, compressed or with every reference value a cut.
#[test]
fn the_true_distance_lies_in_both_brackets() {
    let mut rng = Rng::with_seed(3);
    for case in 0..600 {
        let scale = 10f64.powi(rng.i32(-6..7));
        let coarse = rng.bool();
        let offset = if rng.bool() { 0.0 } else { 1e6 * scale };
        let mut draw = |count: usize, shift: f64| -> Vec<f64> {
            let one = |_| {
                let value = (rng.f64() + rng.f64() + shift) * 10.0;
                scale * if coarse { value.floor() } else { value } + offset
            };
            (0..count).map(one).collect()
        };
        let reference = draw(1 + case % 60, 0.0);
        let window = draw(1 + case % 37, (case % 5) as f64 / 4.0);
        let mut cuts = reference.clone();
        match case % 3 {
            0 => (),                   // every value
            1 => cuts.truncate(5),     // compressed
            _ => cuts.extend(&window), // nothing inside any gap
        }
        let (by_sums, by_counts) = both(cuts, &reference, &window);
        let distance = naive(&reference, &window);
        let slack = 1e-9 * (distance + offset * 1e-5);
        assert_holds(by_sums, distance, slack);
        assert_holds(by_counts, distance, slack);
        assert!(by_counts.lower <= by_sums.lower + slack);
        assert!(by_counts.upper.is_none_or(|upper| by_sums.upper.unwrap() <= upper + slack));
        if case % 3 == 2 {
            assert!(by_sums.upper.unwrap() - by_sums.lower <= slack, "all values are cuts: {by_sums:?}");
        }
    }
}

/// With many cuts the bracket is narrow (statistics.md §1.4: at most some percent).
#[test]
fn a_thousand_cuts_leave_little_open() {
    let mut rng = Rng::with_seed(4);
    let mut normal = |shift: f64| (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0 + shift;
    let reference: Vec<f64> = (0..20_000).map(|_| normal(0.0)).collect();
    let window: Vec<f64> = (0..2_000).map(|_| normal(0.1)).collect();
    let mut sorted = reference.clone();
    sorted.sort_by(f64::total_cmp);
    let cuts = (0..1_024).map(|j| sorted[j * 19_999 / 1_023]).collect();
    let (by_sums, _) = both(cuts, &reference, &window);
    let width = by_sums.upper.unwrap() / by_sums.lower - 1.0;
    assert!(width < 0.03, "{width}");
    let normed = by_sums.normed(2.0).unwrap();
    assert_eq!((normed.lower, normed.upper), (by_sums.lower / 2.0, by_sums.upper.map(|upper| upper / 2.0)));
    assert_eq!(by_sums.normed(0.0), None);
    assert_eq!(by_sums.normed(f64::NAN), None);
}

#[test]
fn the_mean_is_exact() {
    let grid = NumericGrid::new(vec![1.0, 2.0, 1_700_000_000_000.0]);
    let scale = FixedScale::of_cuts(grid.cuts());
    let values = [0.5, 2.0, 2.0, 1_700_000_000_001.0, 1_700_000_000_003.0];
    let counted = Counted::new(&grid, &values);
    assert_eq!(mean(scale, counted.cells()), Some(3_400_000_000_008.5 / 5.0));
    assert_eq!(mean(scale, Cells { counts: &[0; 7], sums: &counted.sums }), None);
    assert_eq!(mean(scale, Cells { counts: &[1; 3], sums: &counted.sums }), None);
}

#[test]
fn what_cannot_be_compared_is_none() {
    let counts = |of: &[u64]| from_counts(&[0.0, 1.0], &[0, 1, 0, 1, 0], of);
    assert!(counts(&[0, 1, 0, 0, 0]).is_some());
    assert_eq!(counts(&[0; 5]), None);
    assert_eq!(counts(&[0, 1, 0]), None);
    assert_eq!(counts(&[0, u64::MAX, 0, 1, 0]), None);
    assert_eq!(from_counts(&[], &[1], &[1]), None);
    assert_eq!(from_counts(&[0.0, f64::INFINITY], &[0, 1, 0, 1, 0], &[0, 1, 0, 1, 0]), None);
    let scale = FixedScale::of_cuts(&[0.0, 1.0]);
    let sums = [FixedSum::default(); 5];
    let side = |counts| Cells { counts, sums: &sums };
    let most = [0, MOST_VALUES, 0, 1, 0];
    assert!(from_sums(&[0.0, 1.0], scale, side(&[0, 1, 0, 1, 0]), side(&[0, 1, 0, 1, 0])).is_some());
    assert_eq!(from_sums(&[0.0, 1.0], scale, side(&[0, 1, 0, 1, 0]), side(&most)), None);
    let short = Cells { counts: &[0, 1, 0, 1, 0], sums: &sums[..3] };
    assert_eq!(from_sums(&[0.0, 1.0], scale, side(&[0, 1, 0, 1, 0]), short), None);
}
