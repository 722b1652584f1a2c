//! Bytes → Arrow tables, one per watched version and kind of content. An event that cannot be used is a
//! [`Rejection`]: one outcome, one reason, no partial rows.

mod table;
mod scan;
mod decimal;
mod number;
mod category;
mod builder;
mod section;
mod labels;
mod joins;
mod version;
mod shape;
mod learn;
mod speculative;
mod envelope;
mod json;
pub mod recorded;

pub use joins::{Answer, JoinAnswer, JoinLabel, Joins};
pub use json::{Decoder, MAX_DEPTH, MAX_EVENT_BYTES};
pub use table::{Column, LabelPair, ScorePair, Table};

use crate::baseline::VersionIndex;
use crate::event::{EventTime, Outcome, Role};

/// Bounds on event time, in milliseconds relative to the wall clock at arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    /// How far ahead of the wall clock an event may be.
    pub max_future_ms: i64,
    /// How far behind it may be; `None`: any past is taken.
    pub max_past_ms: Option<i64>,
}

/// What is known of a message before its bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The Kafka record's timestamp, if it has one: the event time of an event without its own.
    pub record_time: Option<EventTime>,
    /// The wall clock.
    pub now: EventTime,
}

/// What an event says of how it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// It carries predictions or an error.
    pub answered: bool,
    /// It carries an error.
    pub failed: bool,
    pub latency: Latency,
}

/// The `latency_ms` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Latency {
    /// Absent or null.
    #[default]
    None,
    /// No number, or a negative one.
    Unusable,
    /// The cell it is counted in ([`crate::cells::latency_cell`]).
    Cell(u16),
}

impl Latency {
    fn of(milliseconds: f64) -> Latency {
        crate::cells::latency_cell(milliseconds).map_or(Latency::Unusable, Latency::Cell)
    }
}

/// An event whose values now stand in the decoder's builders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub version: VersionIndex,
    /// The role the event itself carries.
    pub role: Option<Role>,
    pub time: EventTime,
    /// The bucket of its unit or, without one, of its request; [`crate::event::NO_UNIT`]: it names neither.
    pub unit: u8,
    pub served: Served,
    /// Whether it carries features or predictions; label-only events neither hold nor move the watermark.
    pub moves_watermark: bool,
    /// Whether its `namespace` differs from the configured one (counted, otherwise ignored).
    pub foreign_namespace: bool,
}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub outcome: Outcome,
    /// What is wrong, without any payload value.
    pub reason: String,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod labels_tests;
#[cfg(test)]
mod speculative_tests;
#[cfg(test)]
mod differential;
