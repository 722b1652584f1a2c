//! One column of a scanned stream: its reference, its last panes, and the test of their sums.

use super::Alarm;
use crate::cells::{NOT_A_NUMBER, NumericGrid};
use crate::stats::{divergence, ks, rare};
use std::collections::VecDeque;

/// How the values of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// By order.
    Numeric,
    /// By name; the values are the names' numbers, whose order means nothing.
    Category,
}

#[derive(Debug)]
pub(super) struct Column {
    kind: ColumnKind,
    /// Values of the reference or pane that is being filled.
    values: Vec<f64>,
    reference: Option<Reference>,
    /// The cells of the last panes' values, each pane sorted; the newest last.
    panes: VecDeque<Vec<u32>>,
    /// The window under test; kept for its memory.
    window: Vec<u32>,
    ranks: Vec<u32>,
}

/// Every distinct value is a cut, so distances on its cells are exact.
#[derive(Debug)]
struct Reference {
    grid: NumericGrid,
    /// Values per cell.
    counts: Vec<u64>,
    /// Values in this cell and all below it.
    cumulative: Vec<u64>,
}

impl Column {
    pub(super) fn new(kind: ColumnKind) -> Column {
        Column {
            kind,
            values: Vec::new(),
            reference: None,
            panes: VecDeque::new(),
            window: Vec::new(),
            ranks: Vec::new(),
        }
    }

    /// NaN is no value.
    pub(super) fn push(&mut self, value: f64) {
        if !value.is_nan() {
            self.values.push(value);
        }
    }

    /// Makes a reference of the values since the last call.
    pub(super) fn close_reference(&mut self) {
        let grid = NumericGrid::new(self.values.clone());
        grid.rank_into(&self.values, &mut self.ranks);
        let mut counts = vec![0u64; grid.cells()];
        self.ranks.iter().for_each(|&cell| counts[cell as usize] += 1);
        let mut sum = 0;
        let cumulative = counts.iter().map(|&count| {
            sum += count;
            sum
        });
        self.reference = Some(Reference { cumulative: cumulative.collect(), counts, grid });
        self.values.clear();
    }

    /// Forgets reference and panes.
    pub(super) fn restart(&mut self) {
        self.reference = None;
        self.panes.clear();
        self.values.clear();
    }

    /// Makes a pane of the values since the last call and tests the last s panes for each s of `scales`, which
    /// increase. The smallest p-value of them; `None` while nothing can be tested.
    pub(super) fn close_pane(&mut self, scales: &[usize]) -> Option<Alarm> {
        let Column { kind, values, reference, panes, window, ranks } = self;
        let reference = reference.as_ref()?;
        reference.grid.rank_into(values, ranks);
        values.clear();
        let full = scales.last().is_some_and(|&most| panes.len() >= most);
        let mut pane = if full { panes.pop_front() } else { None }.unwrap_or_default();
        pane.clear();
        pane.extend(ranks.iter().filter(|&&cell| cell != NOT_A_NUMBER));
        pane.sort_unstable();
        panes.push_back(pane);
        window.clear();
        let mut older = panes.iter().rev();
        let (mut taken, mut strongest) = (0, None::<Alarm>);
        for &scale in scales.iter().take_while(|&&scale| scale <= panes.len()) {
            older.by_ref().take(scale - taken).for_each(|pane| window.extend_from_slice(pane));
            taken = scale;
            // Sorted runs: this merges them.
            window.sort();
            let tested = reference.test(*kind, window).map(|(distance, p_value)| Alarm {
                column: 0,
                scale,
                distance,
                p_value,
            });
            strongest = match (strongest, tested) {
                (Some(best), Some(tested)) if tested.p_value >= best.p_value => Some(best),
                (best, tested) => tested.or(best),
            };
        }
        strongest
    }
}

impl Reference {
    /// Distance and p-value of a window's sorted cells; `None` when either side is empty.
    fn test(&self, kind: ColumnKind, window: &[u32]) -> Option<(f64, f64)> {
        match kind {
            ColumnKind::Numeric => {
                let (n, m) = (window.len() as u64, *self.cumulative.last()?);
                let distance = distance(&self.cumulative, window)?;
                Some((distance, ks::p1(distance, n, m, 0.0)))
            }
            ColumnKind::Category => {
                // What the reference never had is one category: the gaps between its own have no meaning.
                let ties = |counts: &[u64]| counts.iter().skip(1).step_by(2).copied().collect::<Vec<_>>();
                let mut counts = vec![0u64; self.counts.len()];
                window.iter().for_each(|&cell| counts[cell as usize] += 1);
                let (mut own, mut seen) = (ties(&self.counts), ties(&counts));
                own.push(0);
                seen.push(window.len() as u64 - seen.iter().sum::<u64>());
                let distance = divergence::total_variation(&own, &seen)?;
                Some((distance, rare::p_value(&own, &seen, 1.0)?.p_value))
            }
        }
    }
}

/// The exact distance `max_c |m·G_c − n·M_c| / (n·m)` of a window to a reference with these cumulative counts
/// per cell. Between two cells that the window occupies G stands still and M grows, so the largest difference
/// stands at the end of an occupied cell or just before one: n steps whatever the number of cells.
fn distance(cumulative: &[u64], window: &[u32]) -> Option<f64> {
    let (n, m) = (window.len() as i64, *cumulative.last()? as i64);
    if n == 0 || m == 0 {
        return None;
    }
    let (mut at_or_below, mut largest) = (0i64, 0i64);
    for ties in window.chunk_by(|a, b| a == b) {
        let cell = ties[0] as usize;
        let before = cell.checked_sub(1).map_or(0, |below| cumulative[below]) as i64;
        largest = largest.max((m * at_or_below - n * before).abs());
        at_or_below += ties.len() as i64;
        largest = largest.max((m * at_or_below - n * cumulative[cell] as i64).abs());
    }
    Some(largest as f64 / (n * m) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![4 => (-8i32..8).prop_map(f64::from), 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(-0.0)]
    }

    proptest! {
        #[test]
        fn the_distance_over_occupied_cells_is_that_over_all_cells(
            reference in prop::collection::vec(number(), 0..60),
            window in prop::collection::vec(number(), 0..40),
        ) {
            let mut column = Column::new(ColumnKind::Numeric);
            reference.iter().for_each(|&value| column.push(value));
            column.close_reference();
            window.iter().for_each(|&value| column.push(value));
            let tested = column.close_pane(&[1]);
            let reference = column.reference.as_ref().unwrap();
            let mut counts = vec![0u64; reference.counts.len()];
            for value in window.iter().filter(|value| !value.is_nan()) {
                counts[reference.grid.rank_one(*value) as usize] += 1;
            }
            let dense = ks::two_sample(&reference.counts, &counts, true);
            prop_assert_eq!(tested.map(|tested| tested.distance), dense.map(|dense| dense.statistic));
            let p1 = dense.map(|dense| ks::p1(dense.statistic, dense.n, dense.m, 0.0));
            prop_assert_eq!(tested.map(|tested| tested.p_value), p1);
        }
    }

    #[test]
    fn categories_are_compared_by_name_and_unseen_ones_are_one() {
        let mut column = Column::new(ColumnKind::Category);
        (0..1_000).for_each(|i| column.push(f64::from(i % 2)));
        column.close_reference();
        (0..100).for_each(|i| column.push(f64::from(i % 2)));
        assert_eq!(column.close_pane(&[1]).unwrap().p_value, 1.0);
        // Five unseen names, twice each, on both sides of the known numbers.
        (0..100).for_each(|i| {
            column.push(if i < 10 { f64::from(i % 5 - 2) * 7.5 + 0.1 } else { f64::from(i % 2) })
        });
        let unseen = column.close_pane(&[1]).unwrap();
        let expected = rare::p_value(&[500, 500, 0], &[45, 45, 10], 1.0).unwrap();
        assert_eq!(unseen.p_value, expected.p_value);
        assert!((unseen.distance - 0.1).abs() < 1e-12);
    }
}
