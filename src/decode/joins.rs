//! What is handed on to be joined: answers whose label may still come, and labels whose answer came in another event.

/// Of the events of one table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Joins {
    /// Answers in the table without a label, by row.
    pub answers: Vec<JoinAnswer>,
    /// Of events without predictions.
    pub labels: Vec<JoinLabel>,
}

/// An answer without a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JoinAnswer {
    pub row: u32,
    /// The hash of the request ([`crate::event::unit_hash`]).
    pub request: u64,
    /// The output's place among all series of the watched version.
    pub series: u32,
    pub answer: Answer,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// The cell of a category or a truth value on the series' grid.
    Cell(u16),
    /// A number.
    Score(f64),
}

/// A label without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinLabel {
    /// Event time, milliseconds since 1970.
    pub time: i64,
    pub request: u64,
    pub series: u32,
    /// The cell of the label on the series' grid, of a number 0 (false) or 1 (true); `None`: it is of another type.
    pub truth: Option<u16>,
}
