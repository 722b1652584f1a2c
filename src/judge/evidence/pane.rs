//! A closed pane → both arms' counts of every series that they share, on the cells that evidence is kept on.

use super::series::Pane;
use crate::event::{SeriesKind, SeriesOf};
use crate::judge::differences::{common_cells, fold};
use crate::judge::measure::{Arm, on_the_same_grid};
use crate::judge::plan::SeriesPlan;
use crate::judge::window::SeriesCounts;

/// The pane of the canary's series `plan` beside stable's; `None` where the arms have nothing to compare.
pub(super) fn of_series(plan: &SeriesPlan, counts: &SeriesCounts, stable: Arm<'_>) -> Option<Pane> {
    if counts.cells.len() != plan.reference.counts.len() {
        return None;
    }
    match plan.reference.of {
        SeriesOf::Feature => of_input(plan, counts, stable),
        SeriesOf::Prediction => of_answer(plan, counts, stable),
    }
}

fn of_input(plan: &SeriesPlan, counts: &SeriesCounts, stable: Arm<'_>) -> Option<Pane> {
    let other = on_the_same_grid(plan, stable)?;
    Some(Pane {
        layout: plan.grid_hash,
        canary: plan.thin.fold(&counts.cells),
        stable: plan.thin.fold(&other.cells),
        missing: [unusable(counts), unusable(other)],
        units: other.units.clone(),
    })
}

fn of_answer(plan: &SeriesPlan, counts: &SeriesCounts, (version, arm): Arm<'_>) -> Option<Pane> {
    let position = version.find(SeriesOf::Prediction, &plan.reference.name)?;
    let (theirs, other) = (&version.series[position], arm.series.get(position)?);
    let fits =
        theirs.reference.kind == plan.reference.kind && other.cells.len() == theirs.reference.counts.len();
    if !fits {
        return None;
    }
    let (canary, stable) = on_common_cells(plan, theirs, &counts.cells, &other.cells);
    Some(Pane {
        layout: plan.grid_hash ^ theirs.grid_hash.rotate_left(1),
        canary,
        stable,
        missing: [unusable(counts), unusable(other)],
        units: other.units.clone(),
    })
}

/// Counts of two versions' answers on cells that mean the same: the levels of either's own baseline, or the
/// categories that both know.
pub(super) fn on_common_cells(
    own: &SeriesPlan,
    theirs: &SeriesPlan,
    own_counts: &[u64],
    their_counts: &[u64],
) -> (Vec<u64>, Vec<u64>) {
    if own.reference.kind == SeriesKind::Numeric {
        return (own.levels.fold(own_counts).to_vec(), theirs.levels.fold(their_counts).to_vec());
    }
    let (a, b) = (&*own.reference.grid, &*theirs.reference.grid);
    let cells = |folded: Vec<u64>, width: usize| {
        let mut folded = folded;
        folded.resize(width, 0);
        folded
    };
    let (own_places, their_places) = (common_cells(a, b), common_cells(b, a));
    let width = own_places.iter().chain(&their_places).max().map_or(0, |last| last + 1);
    (cells(fold(own_counts, &own_places), width), cells(fold(their_counts, &their_places), width))
}

/// Rows without and with a usable value.
fn unusable(counts: &SeriesCounts) -> [u64; 2] {
    let n = counts.n();
    [counts.rows.saturating_sub(n), n]
}
