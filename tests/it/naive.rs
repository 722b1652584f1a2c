//! KS and PSI from raw values, as anyone would write them: the oracle for what the service measures.

/// The largest distance between two empirical distribution functions.
pub fn ks(reference: &[f64], window: &[f64]) -> f64 {
    let (reference, window) = (sorted(reference), sorted(window));
    let below =
        |values: &[f64], x: f64| values.partition_point(|value| *value <= x) as f64 / values.len() as f64;
    let distance = |x: &f64| (below(&reference, *x) - below(&window, *x)).abs();
    reference.iter().chain(&window).map(distance).fold(0.0, f64::max)
}

/// PSI on the reference's decile bins `(e, e']` (order statistics, equal ones merged), half a count added to
/// every bin on both sides.
pub fn psi(reference: &[f64], window: &[f64]) -> Option<f64> {
    let reference = sorted(reference);
    let m = reference.len();
    let mut edges: Vec<f64> = (1..10).map(|i| reference[(i * m).div_ceil(10) - 1]).collect();
    edges.dedup();
    let bins = edges.len() + 1;
    let count = |values: &[f64]| {
        let mut counts = vec![0.0; bins];
        values.iter().for_each(|value| counts[edges.partition_point(|edge| edge < value)] += 1.0);
        counts
    };
    let share =
        |counts: &[f64], total: usize, bin: usize| (counts[bin] + 0.5) / (total as f64 + bins as f64 / 2.0);
    let (p, q) = (count(&reference), count(window));
    let term = |bin: usize| {
        let (p, q) = (share(&p, m, bin), share(&q, window.len(), bin));
        (q - p) * (q / p).ln()
    };
    (bins >= 2).then(|| (0..bins).map(term).sum())
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}
