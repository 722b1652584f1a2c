//! What can be wrong with training data, with the wishes of who builds a baseline, and with a baseline file.

use std::path::PathBuf;

/// Why a baseline could not be built, written or read. Every message is a sentence that names the file or column.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("{} cannot be opened: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{} cannot be read as {format}: {reason}", path.display())]
    Unreadable { path: PathBuf, format: &'static str, reason: String },
    #[error("{} has no rows, so there is nothing to compare with", path.display())]
    NoRows { path: PathBuf },
    #[error("{} has no column that can be monitored ({left_out})", path.display())]
    NothingToMonitor { path: PathBuf, left_out: String },
    #[error("{option} names {unknown}, which the training data does not have; its columns are {columns}")]
    UnknownColumns { option: &'static str, unknown: String, columns: String },
    #[error(
        "the events call {predictions} predictions, and {option} does not name {unnamed}; leave {option} out, or name all of them"
    )]
    Disagreement { option: &'static str, unnamed: String, predictions: String },
    #[error("column {column} is named by both {first} and {second}")]
    Conflict { column: String, first: &'static str, second: &'static str },
    /// A column that an option asks for by name: leaving it out would not be what was asked.
    #[error("column {column} is asked for by {option} and cannot be monitored: {reason}")]
    Refused { column: String, option: &'static str, reason: String },
    #[error("{} is not a usable baseline: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("{} cannot be written: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
}
