//! Training data → baseline file, by Polars; reading it back; and what is watched because of it.

mod blocks;
mod build;
mod categorical;
mod column;
mod error;
pub mod file;
mod numeric;
mod recorded;
mod rows;
mod score_grid;
mod series_type;
mod text;
mod training;
mod watch;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traits_tests;

pub use blocks::{AcceptedNoise, LEAST_PSI, LEAST_TOLERANCE, SCALES};
pub use build::{BuildOptions, BuildReport, TimeOptions, build};
pub use error::BaselineError;
#[cfg(test)]
pub(crate) use numeric::series as numeric_series;
pub use recorded::{MAX_NUMBERS, MINORITY, RecordedBatch, RecordedChunk, Recording};
pub use score_grid::ScoreGrid;
pub use series_type::SeriesType;
pub use watch::{LabelJoin, Rollout, VersionIndex, Watch, WatchedModel, WatchedSeries, WatchedVersion};

use crate::cells::{Grid, Sums};
use crate::event::{EventTime, SeriesKind, SeriesOf};
use crate::stats::own_blocks::OwnBlocks;
use crate::stats::psi::{Bins, Shares};
use serde::{Deserialize, Serialize};
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
    /// When its rows are from, if they have times.
    pub times: Option<TimeRange>,
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
    pub traits: SeriesTraits,
}

/// How a series is to be compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesTraits {
    /// Numbers of which a few come again and again ([`SeriesType::Discrete`]).
    pub discrete: bool,
    /// By scale, increasing; empty for a baseline without times.
    pub tolerances: Vec<Tolerance>,
    /// The sums of numbers that do not all stand on cuts, where they are known.
    pub sums: Option<Sums>,
    /// The configuration says these tolerances, not the baseline.
    pub accepted: bool,
}

/// The change within which a window is as usual: δ0 and PSI0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Panes of the window.
    pub scale: u32,
    /// A distance, at least [`LEAST_TOLERANCE`]: Kolmogorov–Smirnov for numbers, else the change of one share.
    pub delta: f64,
    /// The baseline's own blocks of that length that it comes from.
    pub blocks: u64,
    /// PSI0, at least [`LEAST_PSI`]. `None` in a file of an older program, and for a series of a single bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi: Option<f64>,
}

/// When the rows of a baseline are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeRange {
    /// The column of the training data that told.
    pub column: String,
    pub from: EventTime,
    pub to: EventTime,
    /// The length of a pane, in whose multiples the tolerances are.
    pub pane_ms: i64,
}

impl BaselineSeries {
    pub fn series_type(&self) -> SeriesType {
        match self.kind {
            SeriesKind::Numeric if self.traits.discrete => SeriesType::Discrete,
            SeriesKind::Numeric => SeriesType::Continuous,
            SeriesKind::Categorical => SeriesType::Categorical,
            SeriesKind::Boolean => SeriesType::Boolean,
        }
    }

    /// What is usual of windows of `scale` panes; `None` when the baseline has no times, or too few blocks of that
    /// length.
    pub fn tolerance(&self, scale: u32) -> Option<&Tolerance> {
        self.traits.tolerances.iter().find(|one| one.scale == scale)
    }

    /// How the shares of its cells are compared.
    pub fn shares(&self) -> Shares {
        match self.series_type() {
            SeriesType::Continuous => Shares::Deciles,
            SeriesType::Discrete => Shares::Values,
            SeriesType::Categorical | SeriesType::Boolean => Shares::Categories,
        }
    }

    /// Blocks of a series with these counts in all, to be compared as its windows are.
    pub fn own_blocks<'a>(&self, whole: &'a [u64]) -> OwnBlocks<'a> {
        OwnBlocks::new(whole, self.shares(), Bins::new(self.shares(), &self.counts))
    }

    /// The sums of a numeric series' values, where they are known or follow from the counts.
    pub fn sums(&self) -> Option<Sums> {
        let Grid::Numeric(grid) = &*self.grid else { return None };
        self.traits.sums.or_else(|| Sums::of_ties(grid.scale(), grid.cuts(), &self.counts))
    }

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
