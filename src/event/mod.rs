//! What an event, a series and event time are. Everything above this room speaks in these words.

#[cfg(test)]
pub(crate) mod fuzz;
mod time;
mod unit;

pub use time::{EventTime, TimeError};
pub use unit::{NO_UNIT, UNIT_BUCKETS, bucket_of, double_hash, integer_hash, unit_hash};

use serde::{Deserialize, Serialize};

/// A model, as configuration names it. `namespace` comes from configuration, never from an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelId {
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The part a model version plays in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Stable,
    Canary,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Stable => "stable",
            Role::Canary => "canary",
        }
    }
}

/// What a series describes: what the model was asked, or what it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesOf {
    Feature,
    Prediction,
}

impl SeriesOf {
    pub fn as_str(self) -> &'static str {
        match self {
            SeriesOf::Feature => "feature",
            SeriesOf::Prediction => "prediction",
        }
    }
}

/// How the values of a series are counted. The baseline decides it; a value of another type is a type error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesKind {
    Numeric,
    Categorical,
    Boolean,
}

impl SeriesKind {
    pub fn as_str(self) -> &'static str {
        match self {
            SeriesKind::Numeric => "numeric",
            SeriesKind::Categorical => "categorical",
            SeriesKind::Boolean => "boolean",
        }
    }
}

/// The one thing that becomes of a record read from a source topic. The outcomes of a source partition
/// add up to the records read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Counted in a pane of a watched model and version.
    Counted,
    /// Not an event: no JSON object, a required key missing or of the wrong type. Dead-lettered.
    Unreadable,
    /// The event time is unreadable or outside the configured bounds. Dead-lettered.
    TimeOutOfBounds,
    /// A model that nobody configured. Counted only: a topic may carry more than is watched.
    UnknownModel,
    /// A version of a watched model that nobody configured. Counted only.
    UnknownVersion,
    /// A null value: the producer deleted a key. Counted only.
    Tombstone,
}

impl Outcome {
    pub const ALL: [Outcome; 6] = [
        Outcome::Counted,
        Outcome::Unreadable,
        Outcome::TimeOutOfBounds,
        Outcome::UnknownModel,
        Outcome::UnknownVersion,
        Outcome::Tombstone,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Counted => "counted",
            Outcome::Unreadable => "unreadable",
            Outcome::TimeOutOfBounds => "time_out_of_bounds",
            Outcome::UnknownModel => "unknown_model",
            Outcome::UnknownVersion => "unknown_version",
            Outcome::Tombstone => "tombstone",
        }
    }

    /// Whether the message goes on to the dead-letter topic.
    pub fn is_dead_letter(self) -> bool {
        matches!(self, Outcome::Unreadable | Outcome::TimeOutOfBounds)
    }
}
