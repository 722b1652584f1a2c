//! The hand-over from decode to tally.

use super::joins::Joins;
use crate::baseline::VersionIndex;
use crate::event::SeriesOf;
use arrow::array::{ArrayRef, Int64Array, UInt8Array};

/// Decoded rows of one version: all events of a batch that carried `features`, or all that carried
/// `predictions`. Rows are in arrival order; there may be none beside labels that came by themselves.
#[derive(Debug, Clone)]
pub struct Table {
    pub version: VersionIndex,
    pub of: SeriesOf,
    /// Event time of each row, milliseconds since 1970.
    pub times: Int64Array,
    /// The bucket of each row's unit, or [`crate::event::NO_UNIT`].
    pub units: UInt8Array,
    /// One for each watched series of `of`, in the order of the watched version's series.
    pub columns: Vec<Column>,
    /// Labels that came with the rows of predictions, by row.
    pub labels: Vec<LabelPair>,
    /// Of predictions, where labels are joined.
    pub joins: Joins,
    /// Those of numeric outputs, likewise.
    pub scores: Vec<ScorePair>,
}

/// An answer and its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelPair {
    pub row: u32,
    /// The output's place among all series of the watched version; it is categorical or boolean.
    pub series: u32,
    /// The cell of the answer on the series' grid.
    pub predicted: u16,
    /// The cell of the label on the same grid; `None`: it is of another type.
    pub truth: Option<u16>,
}

/// A numeric answer and its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScorePair {
    pub row: u32,
    /// The output's place among all series of the watched version; it is numeric.
    pub series: u32,
    /// The answer; it may be ±infinity.
    pub score: f64,
    /// The label: a truth value, or the number 1 or 0. `None`: it is of another type.
    pub truth: Option<bool>,
}

/// The values of one series: `Float64Array` (numeric; may hold ±infinity and NaN),
/// `DictionaryArray<UInt16Type>` whose keys are cells of the series' categories (categorical), or
/// `BooleanArray`. Null: the key was absent or null, or its value was of the wrong type.
#[derive(Debug, Clone)]
pub struct Column {
    pub array: ArrayRef,
    /// The null rows that held a value of the wrong type, ascending.
    pub type_errors: Vec<u32>,
}
