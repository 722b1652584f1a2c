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
    /// Offset of the last record that may move the watermark.
    pub(super) last_moving: Option<i64>,
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
            last_moving: None,
            idle: false,
            outcomes: BTreeMap::new(),
        }
    }

    pub(super) fn note(&mut self, offset: i64, outcome: Outcome) {
        debug_assert!(offset >= self.next, "offsets of a partition only grow");
        self.next = offset + 1;
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// The record at `offset`, an event of this time, moves the watermark: the source is not idle, even where the
    /// event is a late one.
    pub(super) fn raise_watermark(&mut self, offset: i64, time: EventTime) {
        self.idle = false;
        self.last_moving = Some(offset);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_that_moves_the_watermark_ends_idleness() {
        let mut progress = SourceProgress::new("topic-1".to_owned(), 7);
        progress.idle = true;
        progress.note(7, Outcome::Counted);
        progress.note(8, Outcome::Unreadable);
        assert!(progress.idle);
        assert_eq!((progress.next, progress.last_moving, progress.watermark), (9, None, None));
        progress.note(9, Outcome::Counted);
        progress.raise_watermark(9, EventTime(50));
        assert!(!progress.idle);
        assert_eq!((progress.last_moving, progress.watermark), (Some(9), Some(EventTime(50))));
    }

    #[test]
    fn a_late_event_ends_idleness_and_leaves_the_watermark() {
        let mut progress = SourceProgress::new("topic-1".to_owned(), 0);
        progress.raise_watermark(0, EventTime(50));
        progress.idle = true;
        progress.raise_watermark(1, EventTime(20));
        assert!(!progress.idle);
        assert_eq!((progress.last_moving, progress.watermark), (Some(1), Some(EventTime(50))));
    }
}
