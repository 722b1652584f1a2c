use super::*;
use crate::cells::NumericGrid;
use fastrand::Rng;

/// The counts and sums of values on a grid.
struct Summed {
    counts: Vec<u64>,
    sums: Sums,
}

impl Summed {
    fn new(grid: &NumericGrid, values: &[f64]) -> Self {
        let mut counts = vec![0; grid.cells()];
        values.iter().for_each(|&value| counts[grid.rank_one(value) as usize] += 1);
        let placed = values.iter().map(|value| (*value, grid.rank_one(*value) as usize));
        Summed { counts, sums: Sums::of(grid.scale(), placed, grid.cells()) }
    }

    fn side(&self) -> Side<'_> {
        Side { counts: Counted::new(&self.counts).unwrap(), sums: &self.sums }
    }
}

fn summed(grid: &NumericGrid, reference: Side<'_>, window: Side<'_>) -> Option<Bracket> {
    from_sums(grid, reference, window).map(|(bracket, _)| bracket)
}

fn counted(cuts: &[f64], reference: &[u64], window: &[u64]) -> Option<Bracket> {
    from_counts(cuts, Counted::new(reference)?, Counted::new(window)?).map(|(bracket, _)| bracket)
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

/// By sums and by counts, and what the rounding of summed values may come to.
fn both(cuts: Vec<f64>, reference: &[f64], window: &[f64]) -> (Bracket, Bracket, f64) {
    let grid = NumericGrid::new(cuts);
    let (r, w) = (Summed::new(&grid, reference), Summed::new(&grid, window));
    let by_sums = summed(&grid, r.side(), w.side()).unwrap();
    (by_sums, counted(grid.cuts(), &r.counts, &w.counts).unwrap(), grid.scale().value(20.0))
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
    let (by_sums, by_counts, _) = both(reference.to_vec(), &reference, &window);
    assert!((by_sums.lower - 0.619048).abs() < 1e-6, "{by_sums:?}");
    // At most .714286 with a gap's own extremal function (§1.4); stretches of gaps are not looked into so closely.
    assert!((0.714286..0.857143).contains(&by_sums.upper.unwrap()), "{by_sums:?}");
    assert!((naive(&reference, &window) - 0.714286).abs() < 1e-6);
    // 0 and 9 lie beyond the outermost cuts.
    assert_eq!(by_counts.upper, None);
    assert!(by_counts.lower <= by_sums.lower, "{by_counts:?}");
}

/// Bounds by hand. Cuts 0, 10; the window has one of two values inside, the reference both at 0.
#[test]
fn counts_alone_bound_by_the_worst_and_the_best_place() {
    let bracket = counted(&[0.0, 10.0], &[0, 2, 0, 0, 0], &[0, 1, 1, 0, 0]).unwrap();
    assert_eq!(bracket, Bracket { lower: 0.0, upper: Some(5.0) });
    // Half of the window at 10 for certain: at least 5, and 10 if the other half lies there too.
    let bracket = counted(&[0.0, 10.0], &[0, 2, 0, 0, 0], &[0, 0, 1, 1, 0]).unwrap();
    assert_eq!(bracket, Bracket { lower: 5.0, upper: Some(10.0) });
    let equal = counted(&[0.0, 10.0], &[0, 2, 0, 2, 0], &[0, 1, 0, 1, 0]).unwrap();
    assert_eq!(equal, Bracket { lower: 0.0, upper: Some(0.0) });
    for counts in [[1, 1, 0, 1, 0], [0, 1, 0, 1, 1]] {
        assert_eq!(counted(&[0.0, 10.0], &[0, 2, 0, 2, 0], &counts).unwrap().upper, None);
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
        let (by_sums, by_counts, rounding) = both(cuts, &reference, &window);
        let distance = naive(&reference, &window);
        let slack = 1e-9 * (distance + offset * 1e-5) + rounding;
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
    let (by_sums, by_counts, _) = both(cuts, &reference, &window);
    let width = by_sums.upper.unwrap() / by_sums.lower - 1.0;
    assert!(width < 0.03, "{width}");
    let of_counts = by_counts.upper.unwrap_or(f64::INFINITY) - by_counts.lower;
    assert!(by_sums.upper.unwrap() - by_sums.lower < of_counts / 4.0, "{by_sums:?} {by_counts:?}");
    let normed = by_sums.normed(2.0).unwrap();
    assert_eq!((normed.lower, normed.upper), (by_sums.lower / 2.0, by_sums.upper.map(|upper| upper / 2.0)));
    assert_eq!(by_sums.normed(0.0), None);
    assert_eq!(by_sums.normed(f64::NAN), None);
}

#[test]
fn what_cannot_be_compared_is_none() {
    let counts = |of: &[u64]| counted(&[0.0, 1.0], &[0, 1, 0, 1, 0], of);
    assert!(counts(&[0, 1, 0, 0, 0]).is_some());
    assert_eq!(counts(&[0; 5]), None);
    assert_eq!(counts(&[0, 1, 0]), None);
    assert_eq!(counts(&[0, u64::MAX, 0, 1, 0]), None);
    assert_eq!(counted(&[], &[1], &[1]), None);
    assert_eq!(counted(&[0.0, f64::INFINITY], &[0, 1, 0, 1, 0], &[0, 1, 0, 1, 0]), None);
    let grid = NumericGrid::new(vec![0.0, 1.0]);
    let sums = |values: u64| Sums { values, ..Sums::default() };
    let by_sums = |counts: &[u64], values: u64| {
        let reference = Side { counts: Counted::new(&[0, 1, 0, 1, 0])?, sums: &sums(2) };
        summed(&grid, reference, Side { counts: Counted::new(counts)?, sums: &sums(values) })
    };
    assert!(by_sums(&[0, 1, 0, 1, 0], 2).is_some());
    assert_eq!(by_sums(&[0, 1, 0, 1, 0], 1), None, "a value is in no sum");
    assert_eq!(by_sums(&[0, 1, 0], 1), None);
    assert_eq!(by_sums(&[0; 5], 0), None);
}

#[test]
fn one_pass_finds_the_same_ks_distance_and_the_same_bracket() {
    let mut random = Rng::with_seed(12);
    // Grids with fewer cuts than there are stretches, and with more.
    for most in [3, 40, 150] {
        for _ in 0..60 {
            let cuts: Vec<f64> = (0..random.usize(1..most)).map(|cut| (cut * cut) as f64 / 7.0).collect();
            let grid = NumericGrid::new(cuts.clone());
            let mut side = || -> Summed {
                let values: Vec<f64> = (0..random.usize(1..400))
                    .map(|_| match random.u8(0..3) {
                        0 => cuts[random.usize(0..cuts.len())],
                        _ => random.f64() * 1.2 * cuts[cuts.len() - 1] - 1.0,
                    })
                    .collect();
                Summed::new(&grid, &values)
            };
            let (reference, window) = (side(), side());
            let (r, w) = (reference.side(), window.side());
            for exact in [false, true] {
                let ks = super::super::ks::between(r.counts, w.counts, exact);
                let by_sums = with_ks(&grid, (r.counts, w.counts), Some((r.sums, w.sums)), exact);
                assert_eq!(by_sums, (summed(&grid, r, w), ks), "{cuts:?}");
                let by_counts = with_ks(&grid, (r.counts, w.counts), None, exact);
                assert_eq!(by_counts, (counted(&cuts, r.counts.cells, w.counts.cells), ks), "{cuts:?}");
            }
        }
    }
}

#[test]
fn the_ks_distance_of_totals_beyond_doubles_has_a_pass_of_its_own() {
    let grid = NumericGrid::new(vec![0.0, 1.0]);
    let (reference, window) = ([0, 1 << 40, 3, 5, 0], [1, 1 << 40, 0, 4, 0]);
    let (r, w) = (Counted::new(&reference).unwrap(), Counted::new(&window).unwrap());
    let (bracket, ks) = with_ks(&grid, (r, w), None, false);
    assert!(bracket.is_some());
    assert_eq!(ks, super::super::ks::between(r, w, false));
}

#[test]
fn the_largest_gaps_have_a_finite_bracket() {
    let cuts = [0.0, 1.0, f64::MAX];
    let (reference, window) = ([0, 50_000, 0, 0, 0, 50_000, 0], [0, 0, 0, 10_000, 0, 0, 0]);
    let found = counted(&cuts, &reference, &window).expect("finite cuts");
    let expected = f64::MAX / 2.0;
    assert!((found.lower / expected - 1.0).abs() < 1e-12, "{found:?}");
    assert!(found.upper.is_some_and(|upper| (upper / expected - 1.0).abs() < 1e-12), "{found:?}");
}

#[test]
fn a_grid_without_a_bracket_has_a_ks_distance() {
    let grid = NumericGrid::new(vec![]);
    let counts = [5];
    let side = Counted::new(&counts).unwrap();
    let (bracket, ks) = with_ks(&grid, (side, side), None, true);
    assert_eq!((bracket, ks.map(|ks| ks.statistic)), (None, Some(0.0)));
}
