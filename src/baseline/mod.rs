//! Training data → baseline file, by Polars; reading it back; and what is watched because of it.

mod build;
mod categorical;
mod column;
mod error;
pub mod file;
mod numeric;
mod recorded;
mod text;
mod training;
mod watch;
#[cfg(test)]
mod tests;

pub use build::{BuildOptions, BuildReport, build};
pub use error::BaselineError;
#[cfg(test)]
pub(crate) use numeric::series as numeric_series;
pub use recorded::{MAX_NUMBERS, MINORITY, RecordedBatch, RecordedChunk, Recording};
pub use watch::{Rollout, VersionIndex, Watch, WatchedModel, WatchedSeries, WatchedVersion};

use crate::cells::Grid;
use crate::event::{EventTime, SeriesKind, SeriesOf};
use std::sync::Arc;

/// What one version of a model looked like in training.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    pub model: String,
    pub version: String,
    /// Rows of the training data; of recorded events, those with features or those with predictions, whichever
    /// are more.
    pub rows: u64,
    /// When the baseline was made.
    pub created: EventTime,
    /// Whether the predictions were made on rows that no version was trained on. Without it a rollout is
    /// paused at most for its predictions (statistics.md §9.2).
    pub held_out: bool,
    /// In the order of the training data's columns.
    pub series: Vec<Arc<BaselineSeries>>,
}

/// One series of a baseline: its grid and its exact counts on it.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineSeries {
    /// The key in `features` or `predictions`; nested keys joined by dots.
    pub name: String,
    pub of: SeriesOf,
    pub kind: SeriesKind,
    pub grid: Arc<Grid>,
    /// Rows per cell; `counts.len() == grid.cells()`.
    pub counts: Vec<u64>,
    /// Nulls and NaN.
    pub missing: u64,
    /// Distinct values.
    pub distinct: u64,
    /// Smallest and largest value of a numeric series; values beyond are `out_of_range`.
    pub range: Option<(f64, f64)>,
}

impl BaselineSeries {
    /// Values counted in cells (rows less the missing ones).
    pub fn n(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Baseline {
    pub fn find(&self, of: SeriesOf, name: &str) -> Option<&Arc<BaselineSeries>> {
        self.series.iter().find(|series| series.of == of && series.name == name)
    }
}
