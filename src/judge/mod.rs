//! Merge, watermark, window, measure, verdict, report. Pure: inputs are records and their order, time is the
//! markers' wall clock.
//!
//! ```text
//! delta ─► staged ─┐
//! marker ──────────┴─► ranges checked ─► folded into open panes ─► watermark ─► panes closed, sums made
//!                                                                              └► windows of 1, 4, 16, 64
//! ```
//!
//! The promise: every report is exact, or says that it is not. Transactions make it exact; the source offset
//! ranges in the markers *check* it (streaming.md §3).

pub mod accounting;
pub mod arms;
mod checked;
mod close;
pub mod differences;
pub mod dispersion;
mod distances;
pub mod evidence;
mod fold;
mod history;
mod joins;
pub mod labels;
pub mod measure;
mod merge;
pub mod noise;
mod pane_holes;
mod panes;
pub mod plan;
pub mod rates;
pub mod report;
pub mod self_check;
pub mod service;
pub mod scores;
mod sources;
mod state;
mod state_record;
pub mod stored;
pub mod streaks;
mod summary;
pub mod verdict;
pub mod weights;
pub mod window;

#[cfg(test)]
mod accounting_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod labels_tests;
#[cfg(test)]
mod scores_tests;
#[cfg(test)]
mod stored_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twist_tests;

pub use close::{MAX_OPEN_BYTES, MIN_OPEN_PANES};
pub use joins::{LabelNotes, Matured};
pub use merge::{Incomplete, Judge, JudgeConfig, Notes, Step};
pub use sources::Fit;
pub use state::pane_key;
pub use state_record::{
    DirtyPane, MergeState, ModelSpan, NextOffset, OffsetRange, OutcomeTotal, PaneRange, SourceRecord,
    VersionSpan,
};
pub use summary::build_reports;
