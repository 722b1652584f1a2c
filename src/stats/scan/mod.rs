//! A stream of rows against its own beginning, each column by itself on exact rank cells (statistics.md §7).
//!
//! The first rows are the reference; panes of rows follow. After each pane, for every scale s with s panes since
//! the reference, each column's last s panes are tested against the reference. An alarm ends the regime: the next
//! row is the first of a new reference. Memory: the reference and the largest scale's panes of each column.
//!
//! The test is on one column's distribution at a time: a change that leaves every distribution as it was, of
//! dependence alone, is not seen.

mod column;
mod score;

pub use column::ColumnKind;
pub use score::{Score, score};

use column::Column;

/// Rows of a reference, or of the largest window: products of two of them fit an `i64`.
pub const MOST_ROWS: usize = 1 << 30;

/// How a stream is scanned.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanSettings {
    /// Rows of a reference.
    pub reference: usize,
    /// Rows of a pane.
    pub pane: usize,
    /// Panes per window, increasing.
    pub scales: Vec<usize>,
    /// Level of a single test.
    pub alpha: f64,
}

impl ScanSettings {
    /// The level of a single test, `family / (columns · scales · rows/pane)`: with no drift, at most `family` is
    /// the chance of any alarm in the whole stream (Bonferroni).
    pub fn per_test(family: f64, columns: usize, scales: usize, rows: u64, pane: usize) -> f64 {
        family / (columns as f64 * scales as f64 * (rows as f64 / pane as f64))
    }
}

/// One column that departed from the reference, at the scale with its smallest p-value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    pub column: usize,
    /// Panes of the window.
    pub scale: usize,
    /// Kolmogorov–Smirnov distance; of categories, the total variation distance. 0 to 1.
    pub distance: f64,
    /// Numeric columns: [`crate::stats::ks::p1`]; categories: [`crate::stats::rare::p_value`].
    pub p_value: f64,
}

/// What ended a regime.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The last row of the pane after which it was found, from 0.
    pub row: u64,
    /// At least one, by p-value, then by column.
    pub alarms: Vec<Alarm>,
}

/// The detector.
#[derive(Debug)]
pub struct Scan {
    settings: ScanSettings,
    columns: Vec<Column>,
    /// Rows taken in.
    rows: u64,
    /// Rows of the present reference or pane.
    filled: usize,
    has_reference: bool,
}

impl Scan {
    /// A detector for rows of `kinds.len()` values. `settings` as described there, none of them 0, and no window
    /// or reference above [`MOST_ROWS`].
    pub fn new(settings: ScanSettings, kinds: &[ColumnKind]) -> Scan {
        let columns = kinds.iter().map(|&kind| Column::new(kind)).collect();
        Scan { settings, columns, rows: 0, filled: 0, has_reference: false }
    }

    /// Takes in the next row: one value per column, NaN where there is none, the number of the category for
    /// categories.
    pub fn push(&mut self, row: &[f64]) -> Option<Detection> {
        self.columns.iter_mut().zip(row).for_each(|(column, &value)| column.push(value));
        self.rows += 1;
        self.filled += 1;
        if !self.has_reference {
            if self.filled == self.settings.reference {
                self.columns.iter_mut().for_each(Column::close_reference);
                (self.filled, self.has_reference) = (0, true);
            }
            return None;
        }
        if self.filled < self.settings.pane {
            return None;
        }
        self.filled = 0;
        let detection = self.close_pane();
        if detection.is_some() {
            self.columns.iter_mut().for_each(Column::restart);
            self.has_reference = false;
        }
        detection
    }

    fn close_pane(&mut self) -> Option<Detection> {
        let ScanSettings { scales, alpha, .. } = &self.settings;
        let mut alarms: Vec<Alarm> = Vec::new();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let alarm = column.close_pane(scales).filter(|tested| tested.p_value <= *alpha);
            alarms.extend(alarm.map(|alarm| Alarm { column: index, ..alarm }));
        }
        alarms.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(a.column.cmp(&b.column)));
        (!alarms.is_empty()).then(|| Detection { row: self.rows - 1, alarms })
    }
}

#[cfg(test)]
mod tests;
