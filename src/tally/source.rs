//! How far a source partition has been read since the last flush.

use crate::event::{EventTime, Outcome};
use std::collections::BTreeMap;

/// A source partition, as records and markers name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    pub topic: String,
    pub partition: i32,
}

/// Where a source partition begins to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStart {
    pub source: SourceKey,
    /// The topic's id; empty where the broker does not tell.
    pub topic_uuid: String,
    /// The first offset to be read.
    pub offset: i64,
    /// The offset that was to be read before the log's end went back behind it.
    pub instead_of: Option<i64>,
}

/// One source partition between two flushes.
#[derive(Debug, Clone)]
pub(super) struct SourceProgress {
    pub(super) topic_uuid: String,
    /// First offset of the running range.
    pub(super) from: i64,
    /// One past the last offset read.
    pub(super) next: i64,
    pub(super) watermark: Option<EventTime>,
    pub(super) idle: bool,
    pub(super) outcomes: BTreeMap<Outcome, u64>,
}

impl SourceProgress {
    pub(super) fn new(topic_uuid: String, next: i64) -> Self {
        SourceProgress {
            topic_uuid,
            from: next,
            next,
            watermark: None,
            idle: false,
            outcomes: BTreeMap::new(),
        }
    }

    pub(super) fn note(&mut self, offset: i64, outcome: Outcome) {
        debug_assert!(offset >= self.next, "offsets of a partition only grow");
        self.next = offset + 1;
        self.idle = false;
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub(super) fn raise_watermark(&mut self, time: EventTime) {
        self.watermark = Some(self.watermark.map_or(time, |watermark| watermark.max(time)));
    }

    pub(super) fn is_unmoved(&self) -> bool {
        self.from == self.next
    }

    pub(super) fn committed(&mut self) {
        self.from = self.next;
        self.outcomes.clear();
    }
}
