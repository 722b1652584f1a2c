//! The records of `tidegate.tallies` and `tidegate.panes` (Protocol Buffers; `schemas/tidegate.proto`).

use prost::Message;

/// The version of these records that this program writes. It reads this one and refuses newer ones.
pub const FORMAT: u32 = 1;

/// One record of `tidegate.tallies`.
#[derive(Clone, PartialEq, Message)]
pub struct TallyRecord {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(oneof = "TallyBody", tags = "2, 3, 4, 5")]
    pub body: Option<TallyBody>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TallyBody {
    #[prost(message, tag = "2")]
    Delta(Delta),
    #[prost(message, tag = "3")]
    Marker(Marker),
    #[prost(message, tag = "4")]
    Joins(Joins),
    #[prost(message, tag = "5")]
    Weight(Weight),
}

/// What one flush counted of one (model, version, series, pane).
#[derive(Clone, PartialEq, Message)]
pub struct Delta {
    /// The flush this belongs to; its marker carries the same.
    #[prost(string, tag = "1")]
    pub range_id: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub model: String,
    #[prost(string, tag = "4")]
    pub version: String,
    #[prost(string, tag = "5")]
    pub series: String,
    /// 0: feature, 1: prediction.
    #[prost(uint32, tag = "6")]
    pub of: u32,
    #[prost(fixed64, tag = "7")]
    pub grid_hash: u64,
    /// Milliseconds since 1970.
    #[prost(sint64, tag = "8")]
    pub pane_start: i64,
    /// Milliseconds.
    #[prost(int64, tag = "9")]
    pub pane_len: i64,
    #[prost(message, optional, tag = "10")]
    pub counts: Option<Counts>,
}

/// What one flush has to be joined of one (model, version, output, pane): answers whose label may still come, and
/// labels that came in events of their own. Requests are named by their hash ([`crate::event::unit_hash`]).
#[derive(Clone, PartialEq, Message)]
pub struct Joins {
    /// The flush this belongs to; its marker counts it among its deltas.
    #[prost(string, tag = "1")]
    pub range_id: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub model: String,
    #[prost(string, tag = "4")]
    pub version: String,
    /// The key in `predictions` and `labels`.
    #[prost(string, tag = "5")]
    pub output: String,
    #[prost(fixed64, tag = "6")]
    pub grid_hash: u64,
    /// Milliseconds since 1970, of the answers' events and of the labels' events.
    #[prost(sint64, tag = "7")]
    pub pane_start: i64,
    /// Milliseconds.
    #[prost(int64, tag = "8")]
    pub pane_len: i64,
    /// Requests that were answered without a label, and the cells of their answers (of numeric outputs: see `scores`).
    #[prost(fixed64, repeated, tag = "9")]
    pub answered: Vec<u64>,
    #[prost(uint32, repeated, tag = "10")]
    pub answers: Vec<u32>,
    /// Requests whose label came, and the cells of the labels plus one (of numeric outputs: 1 false, 2 true); 0: of
    /// another type than the output.
    #[prost(fixed64, repeated, tag = "11")]
    pub labelled: Vec<u64>,
    #[prost(uint32, repeated, tag = "12")]
    pub labels: Vec<u32>,
    /// Of numeric outputs: the answers, and the buckets of their units (32: none).
    #[prost(double, repeated, tag = "13")]
    pub scores: Vec<f64>,
    #[prost(bytes, tag = "14")]
    pub buckets: Vec<u8>,
}

/// The counts of one series over some stretch of event time. All fields add.
#[derive(Clone, PartialEq, Message)]
pub struct Counts {
    /// Rows that should have held a value: cells + missing + type errors + not-a-numbers.
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    /// Absent or null.
    #[prost(uint64, tag = "2")]
    pub missing: u64,
    /// Of another type than the baseline's.
    #[prost(uint64, tag = "3")]
    pub type_errors: u64,
    /// Numbers below the baseline's minimum or above its maximum; they stand in cells too.
    #[prost(uint64, tag = "4")]
    pub out_of_range: u64,
    /// NaN and ±infinity; infinities stand in cells too, NaN does not.
    #[prost(uint64, tag = "5")]
    pub non_finite: u64,
    /// Cell counts, run-length coded: pairs (cells to skip, count of the next one).
    #[prost(uint64, repeated, tag = "6")]
    pub cells: Vec<u64>,
    /// Of the values in cells, those of events that name a unit or a request: counts by bucket of the unit (32)
    /// and bin between the baseline's octiles (8), at bucket · 8 + bin; run-length coded likewise.
    #[prost(uint64, repeated, tag = "7")]
    pub units: Vec<u64>,
    /// Of numbers: their sums below the lowest cut of the grid, in eight stretches of as many cuts, and above the
    /// highest; ten times 16 bytes (two's complement, little-endian) in units that follow from the cuts
    /// ([`crate::cells::fixed::FixedScale`]). Empty: nothing is summed.
    #[prost(bytes, tag = "8")]
    pub sums: Vec<u8>,
    /// The values that are summed: those in cells but infinite ones and ones too far out.
    #[prost(uint64, tag = "9")]
    pub summed: u64,
}

/// Ends a flush in every merge partition, and names the source offsets that it covers.
#[derive(Clone, PartialEq, Message)]
pub struct Marker {
    #[prost(string, tag = "1")]
    pub range_id: String,
    #[prost(string, tag = "2")]
    pub instance: String,
    /// Milliseconds since 1970 at the flush.
    #[prost(sint64, tag = "3")]
    pub wall_clock: i64,
    /// Deltas and joins of this flush in this partition.
    #[prost(uint64, tag = "4")]
    pub n_deltas_here: u64,
    #[prost(message, repeated, tag = "5")]
    pub sources: Vec<SourceRange>,
    /// Events by role of the models of this partition.
    #[prost(message, repeated, tag = "6")]
    pub roles: Vec<RoleCount>,
    /// Starts sources (from = to = start); counts nothing.
    #[prost(bool, tag = "7")]
    pub init: bool,
    /// Milliseconds between the flushes of this instance.
    #[prost(int64, tag = "8")]
    pub flush_interval: i64,
}

/// The canary's share of a model's traffic from a time on, as its owner sets it. Belongs to no flush.
#[derive(Clone, PartialEq, Message)]
pub struct Weight {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    /// 0 to 1.
    #[prost(double, tag = "3")]
    pub canary_weight: f64,
    /// Event time in milliseconds since 1970.
    #[prost(sint64, tag = "4")]
    pub since: i64,
}

/// What a flush read of one source partition.
#[derive(Clone, PartialEq, Message)]
pub struct SourceRange {
    #[prost(string, tag = "1")]
    pub topic: String,
    /// The topic's id; a recreated topic has another. Empty where the broker does not tell.
    #[prost(string, tag = "2")]
    pub topic_uuid: String,
    #[prost(int32, tag = "3")]
    pub partition: i32,
    /// First offset read; above `to` when the log's end went back and the source is started anew at `to`.
    #[prost(int64, tag = "4")]
    pub from: i64,
    /// One past the last offset read.
    #[prost(int64, tag = "5")]
    pub to: i64,
    /// Largest event time seen, capped by the wall clock. Absent: none yet.
    #[prost(sint64, optional, tag = "6")]
    pub watermark: Option<i64>,
    /// Nothing was there to read that moves the watermark for `idle_timeout`; labels of their own may go on coming.
    #[prost(bool, tag = "7")]
    pub idle: bool,
    #[prost(message, repeated, tag = "8")]
    pub outcomes: Vec<OutcomeCount>,
}

/// How many records of a source range ended in one outcome (named as in metrics).
#[derive(Clone, PartialEq, Message)]
pub struct OutcomeCount {
    #[prost(string, tag = "1")]
    pub outcome: String,
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// Events of one version in one pane, by the role they carried.
#[derive(Clone, PartialEq, Message)]
pub struct RoleCount {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    #[prost(string, tag = "3")]
    pub version: String,
    /// Milliseconds since 1970.
    #[prost(sint64, tag = "4")]
    pub pane_start: i64,
    #[prost(uint64, tag = "5")]
    pub stable: u64,
    #[prost(uint64, tag = "6")]
    pub canary: u64,
    #[prost(uint64, tag = "7")]
    pub unset: u64,
    /// How they were served; absent where they say nothing of it.
    #[prost(message, optional, tag = "8")]
    pub service: Option<ServiceCounts>,
    /// Their labels by output; absent where they came with none.
    #[prost(message, repeated, tag = "9")]
    pub labels: Vec<LabelCounts>,
    /// In `tidegate.panes`: the answers of earlier panes for whose labels nobody waits any longer.
    #[prost(message, optional, tag = "10")]
    pub matured: Option<MaturedCounts>,
    /// The labels of numeric outputs, likewise.
    #[prost(message, repeated, tag = "11")]
    pub scores: Vec<ScoreCounts>,
}

/// Answers of a version that had their time to be labelled. All fields but the first two add.
#[derive(Clone, PartialEq, Message)]
pub struct MaturedCounts {
    /// Event time of the answers: from the start of the first pane to the end of the last, milliseconds since 1970.
    #[prost(sint64, tag = "1")]
    pub start: i64,
    #[prost(sint64, tag = "2")]
    pub end: i64,
    /// Their labels, beside them or joined.
    #[prost(message, repeated, tag = "3")]
    pub labels: Vec<LabelCounts>,
    #[prost(message, repeated, tag = "4")]
    pub scores: Vec<ScoreCounts>,
}

/// Answers of one categorical or boolean output that came with their label. All fields but the first two add.
#[derive(Clone, PartialEq, Message)]
pub struct LabelCounts {
    #[prost(string, tag = "1")]
    pub output: String,
    #[prost(fixed64, tag = "2")]
    pub grid_hash: u64,
    /// At predicted class * classes + true class, run-length coded as in `Counts`. Of booleans the classes are false
    /// and true; of categories the first 32 cells of the grid, then all others together.
    #[prost(uint64, repeated, tag = "3")]
    pub pairs: Vec<u64>,
    /// Of the pairs of others and others, those of two categories.
    #[prost(uint64, tag = "4")]
    pub other_errors: u64,
    /// Labels of another type than the output, and those that like their answer have no cell of their own.
    #[prost(uint64, tag = "5")]
    pub unusable: u64,
    /// Of matured answers: those without a label.
    #[prost(uint64, tag = "6")]
    pub unlabelled: u64,
}

/// Answers of one numeric output that came with their label, a truth value. All fields but the first two add.
#[derive(Clone, PartialEq, Message)]
pub struct ScoreCounts {
    #[prost(string, tag = "1")]
    pub output: String,
    /// Of the cuts that scores are counted on, at most 32 of the output's grid ([`crate::baseline::ScoreGrid`]).
    #[prost(fixed64, tag = "2")]
    pub grid_hash: u64,
    /// By bucket of the unit (32, and one more without a unit), truth (0: false, 1: true) and rank cell of the score
    /// (2k + 1 of k cuts), at (bucket * 2 + truth) * cells + cell; run-length coded as in `Counts`.
    #[prost(uint64, repeated, tag = "3")]
    pub cells: Vec<u64>,
    /// Of them, scores from 0 to 1, by bucket; run-length coded likewise.
    #[prost(uint64, repeated, tag = "4")]
    pub probabilities: Vec<u64>,
    /// The sums of the squared errors of those, in units of 2^-62, 16 bytes each (two's complement, little-endian), of
    /// the buckets that have any.
    #[prost(bytes, tag = "5")]
    pub squares: Vec<u8>,
    /// Labels of another type than a truth value, one or zero.
    #[prost(uint64, tag = "6")]
    pub unusable: u64,
    /// Of matured answers: those without a label.
    #[prost(uint64, tag = "7")]
    pub unlabelled: u64,
}

/// What events of one version say of how they were served. All fields add.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceCounts {
    /// Events that carry predictions or an error.
    #[prost(uint64, tag = "1")]
    pub answers: u64,
    /// Those of them that carry an error.
    #[prost(uint64, tag = "2")]
    pub errors: u64,
    /// Values of `latency_ms` that are no latency.
    #[prost(uint64, tag = "3")]
    pub latency_unusable: u64,
    /// Latencies by cell, run-length coded as in `Counts`. Cell 0 is below 1/128 ms; then each power of two is
    /// cut into 32 cells of one width; the last cell begins at 2^20 ms.
    #[prost(uint64, repeated, tag = "4")]
    pub latency: Vec<u64>,
}

/// A closed pane or sum of panes of one version (`tidegate.panes`): all its series in one record.
#[derive(Clone, PartialEq, Message)]
pub struct PaneRecord {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub model: String,
    #[prost(string, tag = "4")]
    pub version: String,
    #[prost(string, tag = "5")]
    pub series: String,
    /// 0: feature, 1: prediction, 2: events by role (then `series` is empty and `roles` holds them).
    #[prost(uint32, tag = "6")]
    pub of: u32,
    #[prost(fixed64, tag = "7")]
    pub grid_hash: u64,
    /// Milliseconds since 1970.
    #[prost(sint64, tag = "8")]
    pub start: i64,
    /// Milliseconds of one pane.
    #[prost(int64, tag = "9")]
    pub pane_len: i64,
    /// 1, 4 or 16.
    #[prost(uint32, tag = "10")]
    pub panes: u32,
    /// Panes among them that hold data.
    #[prost(uint32, tag = "11")]
    pub filled: u32,
    #[prost(uint32, tag = "12")]
    pub revision: u32,
    #[prost(bool, tag = "13")]
    pub complete: bool,
    #[prost(message, optional, tag = "14")]
    pub counts: Option<Counts>,
    #[prost(message, optional, tag = "15")]
    pub roles: Option<RoleCount>,
    /// Some pane held events of both roles.
    #[prost(bool, tag = "16")]
    pub mixed_roles: bool,
}
