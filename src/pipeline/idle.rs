//! Which source partitions have had nothing to read for a while, and how far the others are from their end.
//!
//! The end of a partition is known by statistics, which may be old: of a reader that stood still they say that
//! nothing is left, whatever has come since. So a source is idle only when its position has not moved for
//! `idle_timeout` while this was looked at all the time.

use super::tally_stage::{Counting, TallyAssignment, topic_partition};
use crate::source::kafka::{GroupConsumer, TopicPartition};
use crate::tally::SourceKey;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks: after a longer break nothing seen before it counts.
const LONGEST_BREAK: Duration = Duration::from_secs(2);

/// Since when each source has stood at its end.
#[derive(Debug)]
pub(super) struct Idleness {
    timeout: Duration,
    /// The position at the end, and when it was reached.
    at_end: BTreeMap<SourceKey, (i64, Instant)>,
    looked: Option<Instant>,
}

impl Idleness {
    pub(super) fn new(timeout: Duration) -> Idleness {
        Idleness { timeout, at_end: BTreeMap::new(), looked: None }
    }

    /// To be called before sources are looked at.
    pub(super) fn note_look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) > LONGEST_BREAK) {
            self.at_end.clear();
        }
        self.looked = Some(now);
    }

    /// Whether a source is idle whose position is `reached` and whose end is `end`, as far as is known.
    pub(super) fn is_idle(&mut self, source: &SourceKey, reached: i64, end: i64, now: Instant) -> bool {
        if reached < end {
            self.at_end.remove(source);
            return false;
        }
        let since = self.at_end.entry(source.clone()).or_insert((reached, now));
        if since.0 != reached {
            *since = (reached, now);
        }
        now.duration_since(since.1) >= self.timeout
    }

    pub(super) fn forget(&mut self, source: &SourceKey) {
        self.at_end.remove(source);
    }

    pub(super) fn forget_all(&mut self) {
        self.at_end.clear();
    }
}

impl Counting {
    /// Marks the sources that have had nothing to read for `idle_timeout`.
    pub(super) fn look_for_idle(&mut self, consumer: &GroupConsumer<TallyAssignment>) {
        let now = Instant::now();
        self.idleness.note_look(now);
        let sources: Vec<(SourceKey, i64)> =
            self.tally.sources().map(|(key, next)| (key.clone(), next)).collect();
        for (source, next) in sources {
            let partition = topic_partition(&source);
            let Some(end) = consumer.end(&partition) else { continue };
            // Control records at the end move the position, but never arrive.
            let position = consumer.position(&partition).filter(|_| !self.stopped.holds(&source.topic));
            let reached = position.map_or(next, |position| position.max(next));
            let labels = [source.topic.as_str(), &source.partition.to_string()];
            self.metrics.consumer_lag.with_label_values(&labels).set((end.stable - reached).max(0) as f64);
            let idle = self.idleness.is_idle(&source, reached, end.stable, now);
            self.tally.set_idle(&source, idle);
        }
    }

    pub(super) fn forget_lag(&self, partition: &TopicPartition) {
        let labels = [partition.topic.as_str(), &partition.partition.to_string()];
        // It is not there when no statistics came yet.
        let _ = self.metrics.consumer_lag.remove_label_values(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn source() -> SourceKey {
        SourceKey { topic: "events".to_owned(), partition: 0 }
    }

    /// Looks every second for so long; whether it was idle at the last look.
    fn look(idleness: &mut Idleness, from: Instant, seconds: u64, reached: impl Fn(u64) -> i64) -> bool {
        (0..=seconds).fold(false, |_, second| {
            let now = from + Duration::from_secs(second);
            idleness.note_look(now);
            idleness.is_idle(&source(), reached(second), 10, now)
        })
    }

    #[test]
    fn a_source_is_idle_when_it_has_stood_at_its_end_for_the_timeout() {
        let (mut idleness, start) = (Idleness::new(TIMEOUT), Instant::now());
        assert!(!look(&mut idleness, start, 2, |_| 10));
        assert!(look(&mut idleness, start + TIMEOUT, 1, |_| 10));
        assert!(!look(&mut idleness, start + TIMEOUT, 0, |_| 9), "something is left");
    }

    #[test]
    fn a_source_that_moves_is_not_idle_however_old_the_known_end_is() {
        let mut idleness = Idleness::new(TIMEOUT);
        assert!(!look(&mut idleness, Instant::now(), 10, |second| 10 + second as i64));
    }

    #[test]
    fn nothing_is_idle_right_after_a_break() {
        let (mut idleness, start) = (Idleness::new(TIMEOUT), Instant::now());
        assert!(look(&mut idleness, start, 5, |_| 10));
        let later = start + Duration::from_secs(60);
        assert!(!look(&mut idleness, later, 2, |_| 10));
        assert!(look(&mut idleness, later + TIMEOUT, 0, |_| 10));
    }
}
