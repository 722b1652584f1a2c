//! The baseline's own blocks: how far an ordinary window strays from the whole (statistics.md §9.7).

use super::{Baseline, BaselineSeries, TimeRange, Tolerance};
use crate::event::EventTime;
use crate::stats::own_blocks::{LEAST_VALUES, OwnBlocks};
use std::sync::Arc;

/// Panes per window, as they are judged.
pub const SCALES: [u32; 4] = [1, 4, 16, 64];
/// The least change that is worth a word, where the blocks show less.
pub const LEAST_TOLERANCE: f64 = 0.02;
/// The same of PSI.
pub const LEAST_PSI: f64 = 0.02;
/// Blocks compared per series and scale; of more, evenly spread ones.
const MOST_BLOCKS: usize = 2_048;
/// What stands for "no value" among cells.
pub(super) const NO_CELL: u32 = u32::MAX;

/// The rows of training data in the order of time.
pub(super) struct Times {
    /// Rows that have a time.
    order: Vec<u32>,
    /// The pane of each row; anything for rows without a time.
    panes: Vec<i64>,
    pub(super) range: TimeRange,
}

impl Times {
    /// From the times of all rows in milliseconds. `None` when no row has one, or there are more than 2^32.
    pub(super) fn new(column: &str, times: &[Option<i64>], pane_ms: i64) -> Option<Times> {
        let rows = u32::try_from(times.len()).ok()?;
        let mut order: Vec<u32> = (0..rows).filter(|&row| times[row as usize].is_some()).collect();
        order.sort_by_key(|&row| times[row as usize]);
        let at = |row: &u32| times[*row as usize].map(EventTime);
        let range = TimeRange {
            column: column.to_owned(),
            from: order.first().and_then(at)?,
            to: order.last().and_then(at)?,
            pane_ms,
        };
        let panes = times.iter().map(|time| time.unwrap_or_default().div_euclid(pane_ms)).collect();
        Some(Times { order, panes, range })
    }

    /// δ0 and PSI0 of a series on each scale; scales of too few blocks are left out. `cells`: of each row, [`NO_CELL`] where it
    /// has no value.
    pub(super) fn tolerances(&self, series: &BaselineSeries, cells: &[u32]) -> Vec<Tolerance> {
        SCALES.into_iter().filter_map(|scale| self.tolerance(series, cells, scale)).collect()
    }

    fn tolerance(&self, series: &BaselineSeries, cells: &[u32], scale: u32) -> Option<Tolerance> {
        let block_of = |row: &u32| self.panes[*row as usize].div_euclid(i64::from(scale));
        let long = |rows: &&[u32]| rows.len() as u64 >= LEAST_VALUES;
        let blocks: Vec<&[u32]> =
            self.order.chunk_by(|a, b| block_of(a) == block_of(b)).filter(long).collect();
        let mut own = series.own_blocks(&series.counts);
        let mut counts = vec![0; series.counts.len()];
        for rows in blocks.iter().step_by(blocks.len().div_ceil(MOST_BLOCKS).max(1)) {
            counts.fill(0);
            for &row in *rows {
                if let Some(count) = counts.get_mut(cells[row as usize] as usize) {
                    *count += 1;
                }
            }
            own.add(&counts);
        }
        Tolerance::of_blocks(scale, own)
    }
}

impl Tolerance {
    /// What blocks of `scale` panes come to; `None` when they are too few.
    pub fn of_blocks(scale: u32, own: OwnBlocks<'_>) -> Option<Tolerance> {
        let usual = own.usual()?;
        Some(Tolerance {
            scale,
            delta: usual.distance.max(LEAST_TOLERANCE),
            blocks: usual.blocks as u64,
            psi: usual.psi.map(|psi| psi.max(LEAST_PSI)),
        })
    }
}

/// What a person accepted as usual of a series, in place of what its baselines say.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedNoise {
    pub series: String,
    /// By scale, increasing.
    pub tolerances: Vec<Tolerance>,
}

impl AcceptedNoise {
    /// Lays it over the series of its name; `false` when there is none.
    pub fn lay_over(&self, baseline: &mut Baseline) -> bool {
        let mut found = false;
        for series in baseline.series.iter_mut().filter(|one| one.name == self.series) {
            let traits = &mut Arc::make_mut(series).traits;
            traits.tolerances.clone_from(&self.tolerances);
            traits.accepted = true;
            found = true;
        }
        found
    }
}
