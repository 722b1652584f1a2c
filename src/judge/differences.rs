//! The canary beside stable, for the policy: how far the inputs of the arms are apart, and how far their
//! answers are once each version's own training distribution is taken out.

use super::measure::{Arm, SeriesMeasurement, ratio};
use super::plan::SeriesPlan;
use super::window::SeriesCounts;
use crate::baseline::VersionIndex;
use crate::cells::Grid;
use crate::event::{SeriesKind, SeriesOf};
use crate::stats::{divergence, pit};

/// What lies between the canary and stable in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmDifferences {
    pub stable: VersionIndex,
    /// Every feature that both arms count on one grid.
    pub inputs: Vec<InputDifference>,
    /// Every prediction output that both arms have with one kind.
    pub answers: Vec<AnswerDifference>,
}

/// How far one input of the arms is apart.
#[derive(Debug, Clone, PartialEq)]
pub struct InputDifference {
    pub name: String,
    pub kind: SeriesKind,
    /// Values of the arm that has fewer.
    pub values: u64,
    /// Rows (with or without a value) of the arm that has fewer.
    pub rows: u64,
    /// KS of numeric values; total variation of the others beyond what sampling explains. `None` when an arm
    /// has no value.
    pub distance: Option<f64>,
    /// The certified upper bound of `distance`.
    pub upper: Option<f64>,
    /// |Δ| of the arms' shares of rows without a usable value. `None` when an arm has no row.
    pub missing: Option<f64>,
}

/// How far one prediction output of the arms is apart.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerDifference {
    pub name: String,
    pub kind: SeriesKind,
    /// Values of the arm that has fewer.
    pub values: u64,
    /// Difference in differences of ranks within each version's own baseline (statistics.md §5); for classes
    /// that of shares, beyond what sampling explains. `None` when an arm or a baseline has no value.
    pub pit_d: Option<f64>,
}

/// The differences of both arms, of which those of `inputs` are known.
pub(super) fn of_arms(canary: Arm<'_>, stable: Arm<'_>, inputs: Vec<InputDifference>) -> ArmDifferences {
    let fits = |(plan, counts): &(&SeriesPlan, &SeriesCounts)| {
        plan.reference.of == SeriesOf::Prediction && counts.cells.len() == plan.reference.counts.len()
    };
    let outputs = canary.0.series.iter().zip(&canary.1.series).filter(fits);
    let answers = outputs.filter_map(|(plan, counts)| answer_difference(plan, counts, stable)).collect();
    ArmDifferences { stable: stable.1.version, inputs, answers }
}

/// The difference of a feature, whose measurement against stable has compared the counts already.
pub(super) fn input(
    plan: &SeriesPlan,
    (canary, stable): (&SeriesCounts, &SeriesCounts),
    beside: &SeriesMeasurement,
) -> Option<InputDifference> {
    if plan.reference.of != SeriesOf::Feature {
        return None;
    }
    let (n, m) = (beside.n, beside.m);
    let (distance, upper) = if plan.reference.kind == SeriesKind::Numeric {
        (beside.ks.map(|ks| ks.statistic), beside.ks.map(|ks| ks.upper))
    } else {
        let distance = total_variation(&canary.cells, &stable.cells);
        (distance, distance)
    };
    let unusable = |counts: &SeriesCounts, n: u64| ratio(counts.rows.saturating_sub(n), counts.rows);
    Some(InputDifference {
        name: plan.reference.name.clone(),
        kind: plan.reference.kind,
        values: n.min(m),
        rows: canary.rows.min(stable.rows),
        distance,
        upper,
        missing: unusable(canary, n).zip(unusable(stable, m)).map(|(c, s)| (c - s).abs()),
    })
}

fn answer_difference(plan: &SeriesPlan, canary: &SeriesCounts, stable: Arm<'_>) -> Option<AnswerDifference> {
    let position = stable.0.find(SeriesOf::Prediction, &plan.reference.name)?;
    let (other_plan, other) = (&stable.0.series[position], stable.1.series.get(position)?);
    let same_kind = other_plan.reference.kind == plan.reference.kind;
    if !same_kind || other.cells.len() != other_plan.reference.counts.len() {
        return None;
    }
    let own = pit::Arm { window: &canary.cells, reference: &plan.reference.counts };
    let others = pit::Arm { window: &other.cells, reference: &other_plan.reference.counts };
    let pit_d = match (&*plan.reference.grid, &*other_plan.reference.grid) {
        (Grid::Numeric(_), Grid::Numeric(_)) => pit::numeric(own, others).map(|pit| pit.statistic),
        (own_grid, other_grid) => {
            let (fold_own, fold_other) =
                (common_cells(own_grid, other_grid), common_cells(other_grid, own_grid));
            let sides = [
                fold(own.window, &fold_own),
                fold(own.reference, &fold_own),
                fold(others.window, &fold_other),
                fold(others.reference, &fold_other),
            ];
            let own = pit::Arm { window: &sides[0], reference: &sides[1] };
            let others = pit::Arm { window: &sides[2], reference: &sides[3] };
            pit::categorical(own, others).map(|pit| (pit.statistic - share_noise(&sides)).max(0.0))
        }
    };
    let values = canary.n().min(other.n());
    Some(AnswerDifference { name: plan.reference.name.clone(), kind: plan.reference.kind, values, pit_d })
}

/// Where each cell of `own` goes so that two versions' categories stand side by side: the categories named by
/// both in alphabetical order, and everything else in one last cell.
pub(super) fn common_cells(own: &Grid, other: &Grid) -> Vec<usize> {
    let (Grid::Categorical(own), Grid::Categorical(other)) = (own, other) else {
        return (0..own.cells()).collect();
    };
    let mut theirs: Vec<&str> = other.named().iter().map(String::as_str).collect();
    theirs.sort_unstable();
    let mut common: Vec<&str> = own.named().iter().map(String::as_str).collect();
    common.retain(|name| theirs.binary_search(name).is_ok());
    common.sort_unstable();
    let rest = common.len();
    let mut places = vec![rest; own.cells()];
    for (place, name) in places.iter_mut().zip(own.named()) {
        *place = common.binary_search(&name.as_str()).unwrap_or(rest);
    }
    places
}

pub(super) fn fold(cells: &[u64], places: &[usize]) -> Vec<u64> {
    let mut folded = vec![0; places.iter().max().map_or(0, |last| last + 1)];
    cells.iter().zip(places).for_each(|(count, &place)| folded[place] += count);
    folded
}

/// ½ Σ |Δ share| less its expectation under equality, ½ √(2/π) Σ sd(Δ share), and at least 0: with hundreds
/// of categories and hundreds of values, sampling alone makes the plain sum exceed any sensible threshold.
fn total_variation(window: &[u64], reference: &[u64]) -> Option<f64> {
    let plain = divergence::total_variation(reference, window)?;
    let (n, m) = (window.iter().sum::<u64>() as f64, reference.iter().sum::<u64>() as f64);
    let variance = |(&w, &r): (&u64, &u64)| {
        let pooled = (w + r) as f64 / (n + m);
        pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)
    };
    let deviations = window.iter().zip(reference).map(|pair| variance(pair).sqrt()).sum::<f64>();
    Some((plain - expected_half_sum(deviations)).max(0.0))
}

/// ½ Σ E|Δ| of four samples (canary, its baseline, stable, its baseline) that differ by sampling only.
fn share_noise(sides: &[Vec<u64>; 4]) -> f64 {
    let totals: Vec<f64> = sides.iter().map(|side| side.iter().sum::<u64>() as f64).collect();
    let variance = |cell: usize, a: usize, b: usize| {
        let pooled = (sides[a][cell] + sides[b][cell]) as f64 / (totals[a] + totals[b]);
        pooled * (1.0 - pooled) * (1.0 / totals[a] + 1.0 / totals[b])
    };
    let deviation = |cell: usize| (variance(cell, 0, 2) + variance(cell, 1, 3)).sqrt();
    expected_half_sum((0..sides[0].len()).map(deviation).sum())
}

/// ½ √(2/π) Σ sd: half the expected sum of absolute values of normal deviates.
fn expected_half_sum(deviations: f64) -> f64 {
    deviations * (0.5 * std::f64::consts::FRAC_2_PI.sqrt())
}

impl InputDifference {
    /// The name of what `distance` is: `ks` or `tv` (total variation).
    pub fn metric(&self) -> &'static str {
        if self.kind == SeriesKind::Numeric { "ks" } else { "tv" }
    }
}
