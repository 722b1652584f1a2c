//! The record of a merge partition in `tidegate.state` (Protocol Buffers; `schemas/tidegate.proto`).

use super::weights::ModelWeights;
use crate::tally::record::MaturedCounts;
use prost::Message;

/// The record of a merge partition in `tidegate.state`.
#[derive(Clone, PartialEq, Message)]
pub struct MergeState {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The next offset of the tallies to apply.
    #[prost(int64, tag = "2")]
    pub applied: i64,
    /// Where to read again from, so that open panes are whole.
    #[prost(int64, tag = "3")]
    pub replay_from: i64,
    /// Sources at `replay_from`.
    #[prost(message, repeated, tag = "4")]
    pub replay_next: Vec<NextOffset>,
    /// Sources at `applied`.
    #[prost(message, repeated, tag = "5")]
    pub sources: Vec<SourceRecord>,
    /// One past the index of the last closed pane.
    #[prost(sint64, optional, tag = "6")]
    pub closed_to: Option<i64>,
    /// Newest marker clock.
    #[prost(sint64, tag = "7")]
    pub clock: i64,
    #[prost(message, repeated, tag = "8")]
    pub models: Vec<ModelSpan>,
    #[prost(message, repeated, tag = "9")]
    pub dirty: Vec<DirtyPane>,
    #[prost(sint64, tag = "10")]
    pub revised_at: i64,
    /// Panes that missing source offsets may belong to.
    #[prost(message, repeated, tag = "11")]
    pub holes: Vec<PaneRange>,
    /// Milliseconds of one pane. 0: not told, as long as now.
    #[prost(int64, tag = "12")]
    pub pane_len: i64,
    /// Where to read again from, so that all answers and labels wait that are to be joined; at most `replay_from`.
    /// Absent: there are none.
    #[prost(int64, optional, tag = "13")]
    pub joins_from: Option<i64>,
    /// What owners have told of the canary's share of the traffic.
    #[prost(message, repeated, tag = "14")]
    pub weights: Vec<ModelWeights>,
    /// Sources there.
    #[prost(message, repeated, tag = "15")]
    pub joins_next: Vec<NextOffset>,
    /// How far each version's labels are joined.
    #[prost(message, repeated, tag = "16")]
    pub joins: Vec<JoinRecord>,
}

/// How far the labels of a version are joined.
#[derive(Clone, PartialEq, Message)]
pub struct JoinRecord {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    #[prost(string, tag = "3")]
    pub version: String,
    /// Index of the first pane whose answers still wait for labels. Absent: all of them.
    #[prost(sint64, optional, tag = "4")]
    pub unmatured: Option<i64>,
    /// Panes from there on whose answers or labels are not all known: they are left out.
    #[prost(message, repeated, tag = "5")]
    pub unjoined: Vec<PaneRange>,
    /// What matured since the version was seen last.
    #[prost(message, optional, tag = "6")]
    pub ripe: Option<MaturedCounts>,
}

/// Indices of panes.
#[derive(Clone, PartialEq, Message)]
pub struct PaneRange {
    #[prost(sint64, tag = "1")]
    pub start: i64,
    /// One past the last.
    #[prost(sint64, tag = "2")]
    pub end: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct NextOffset {
    #[prost(string, tag = "1")]
    pub topic: String,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(int64, tag = "3")]
    pub next: i64,
    /// Milliseconds since 1970.
    #[prost(sint64, optional, tag = "4")]
    pub watermark: Option<i64>,
    #[prost(string, tag = "5")]
    pub topic_uuid: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct SourceRecord {
    #[prost(string, tag = "1")]
    pub topic: String,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(string, tag = "3")]
    pub topic_uuid: String,
    #[prost(int64, optional, tag = "4")]
    pub next: Option<i64>,
    #[prost(sint64, optional, tag = "5")]
    pub watermark: Option<i64>,
    #[prost(bool, tag = "6")]
    pub idle: bool,
    #[prost(sint64, tag = "7")]
    pub last_marker: i64,
    #[prost(int64, tag = "8")]
    pub flush_interval: i64,
    #[prost(sint64, optional, tag = "9")]
    pub stalled_since: Option<i64>,
    /// Records that were counted.
    #[prost(message, repeated, tag = "10")]
    pub outcomes: Vec<OutcomeTotal>,
    /// The first offset that is counted, where it is known.
    #[prost(int64, optional, tag = "11")]
    pub start: Option<i64>,
    /// The newest ranges of offsets that were not counted, oldest first.
    #[prost(message, repeated, tag = "12")]
    pub missing: Vec<OffsetRange>,
    /// All such ranges, also those that are no longer listed.
    #[prost(uint64, tag = "13")]
    pub missing_ranges: u64,
    /// Offsets in them.
    #[prost(uint64, tag = "14")]
    pub missing_offsets: u64,
    /// Records that came again after they were counted, and were dropped.
    #[prost(uint64, tag = "15")]
    pub doubled: u64,
}

/// Offsets `from` up to, without, `to`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct OffsetRange {
    #[prost(int64, tag = "1")]
    pub from: i64,
    #[prost(int64, tag = "2")]
    pub to: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct OutcomeTotal {
    #[prost(string, tag = "1")]
    pub outcome: String,
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// A model's first pane, by index.
#[derive(Clone, PartialEq, Message)]
pub struct ModelSpan {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    #[prost(sint64, tag = "3")]
    pub first: i64,
    #[prost(message, repeated, tag = "4")]
    pub versions: Vec<VersionSpan>,
}

/// What a version is counted on, and since when.
#[derive(Clone, PartialEq, Message)]
pub struct VersionSpan {
    #[prost(string, tag = "1")]
    pub version: String,
    /// A hash over the grids of all its series.
    #[prost(fixed64, tag = "2")]
    pub layout: u64,
    /// Index of the first pane counted on these grids. Absent: all of them.
    #[prost(sint64, optional, tag = "3")]
    pub since: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DirtyPane {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    #[prost(sint64, tag = "3")]
    pub index: i64,
    /// How far panes were closed when it was revised: windows that end later have it in them.
    #[prost(sint64, tag = "4")]
    pub closed_to: i64,
}
