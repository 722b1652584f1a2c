//! The baseline's own blocks: how far an ordinary window strays from the whole (statistics.md §9.7).

use super::{BaselineSeries, TimeRange, Tolerance};
use crate::cells::Grid;
use crate::event::EventTime;
use crate::stats::own_blocks::{LEAST_VALUES, OwnBlocks};

/// Panes per window, as they are judged.
pub const SCALES: [u32; 4] = [1, 4, 16, 64];
/// The least change that is worth a word, where the blocks show less.
pub const LEAST_TOLERANCE: f64 = 0.02;
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

    /// δ0 of a series on each scale; scales of too few blocks are left out. `cells`: of each row, [`NO_CELL`] where it
    /// has no value.
    pub(super) fn tolerances(&self, series: &BaselineSeries, cells: &[u32]) -> Vec<Tolerance> {
        SCALES.into_iter().filter_map(|scale| self.tolerance(series, cells, scale)).collect()
    }

    fn tolerance(&self, series: &BaselineSeries, cells: &[u32], scale: u32) -> Option<Tolerance> {
        let block_of = |row: &u32| self.panes[*row as usize].div_euclid(i64::from(scale));
        let long = |rows: &&[u32]| rows.len() as u64 >= LEAST_VALUES;
        let blocks: Vec<&[u32]> =
            self.order.chunk_by(|a, b| block_of(a) == block_of(b)).filter(long).collect();
        let ordered = matches!(series.grid.as_ref(), Grid::Numeric(_));
        let mut own = OwnBlocks::new(&series.counts, ordered);
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
        let usual = own.usual()?;
        Some(Tolerance { scale, delta: usual.distance.max(LEAST_TOLERANCE), blocks: usual.blocks as u64 })
    }
}
