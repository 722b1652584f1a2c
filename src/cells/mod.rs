//! The counting kernels: grids of cut points, the search that ranks a value among them, and histograms
//! over Arrow arrays. Pure.
//!
//! A numeric grid of k cut points has 2k+1 *rank cells*: the gap below the first cut, the cut itself, the
//! gap to the next cut, and so on. A value's cell is `#{cuts < x} + #{cuts <= x}`; even cells are open gaps,
//! odd cells are ties with a cut. So ties are never guessed, and counts of two windows on one grid can be
//! compared exactly (statistics.md §1.1).

pub mod fixed;
mod grid;
mod latency;
pub mod rank;
pub mod histogram;
pub mod runs;
mod spans;
mod units;

pub use grid::{Categories, Grid, MAX_CATEGORIES, NumericGrid};
pub use histogram::{CellCounts, CountError, Scratch, UnitRows, count_column};
pub use latency::{LATENCY_CELLS, latency_cell, latency_edge};
pub use rank::NOT_A_NUMBER;
pub use spans::{SPANS, Sums, SumsError, stretches};
pub use units::{OCTILE_BINS, Octiles, UNIT_CELLS, UnitCounts};
