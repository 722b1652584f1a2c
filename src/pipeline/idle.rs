//! Which source partitions have had nothing to read for a while that moves the watermark, and how far all are from
//! their end.
//!
//! Labels of their own go on coming where predictions have paused, or never were: they keep no source from being idle.
//! But a source that lags may have anything among what it has not read. So a source is idle when for `idle_timeout` it
//! has read nothing that moves the watermark, and each time the end of its log was told, had read up to the end that
//! was told before (not up to the end itself: where records keep coming there is always one more).
//!
//! Statistics tell the end, and may be old: of a reader that stood still they say that nothing is left, whatever has
//! come since. So only ends that were told since count, and only while this was looked at all the time.

use super::tally_stage::{Counting, TallyAssignment, topic_partition};
use crate::source::kafka::{GroupConsumer, PartitionEnd, TopicPartition};
use crate::tally::SourceKey;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks: after a longer break nothing seen before it counts.
const LONGEST_BREAK: Duration = Duration::from_secs(2);
/// Ends that must have been told since: one to be reached, and one to see by that it was.
const ENDS_NEEDED: u32 = 2;

/// How far a source is at a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The next offset to be read.
    next: i64,
    /// The last offset read that may move the watermark.
    last_moving: Option<i64>,
    /// The end of its log, as was told last.
    end: PartitionEnd,
}

/// Since when a source has had nothing to read that moves the watermark.
#[derive(Debug)]
struct Quiet {
    since: Instant,
    last_moving: Option<i64>,
    /// What is to be reached when the next end is told.
    end: PartitionEnd,
    /// Ends told since.
    told: u32,
}

impl Quiet {
    fn begin(reached: Reached, now: Instant) -> Quiet {
        Quiet { since: now, last_moving: reached.last_moving, end: reached.end, told: 0 }
    }

    fn look(&mut self, reached: Reached, now: Instant) {
        let told = reached.end.told > self.end.told;
        let lags = told && reached.next < self.end.stable;
        if lags || reached.last_moving > self.last_moving {
            *self = Quiet::begin(reached, now);
        } else if told {
            self.end = reached.end;
            self.told = self.told.saturating_add(1);
        }
    }
}

/// Since when each source has been quiet.
#[derive(Debug)]
pub(super) struct Idleness {
    timeout: Duration,
    quiet: BTreeMap<SourceKey, Quiet>,
    looked: Option<Instant>,
}

impl Idleness {
    pub(super) fn new(timeout: Duration) -> Idleness {
        Idleness { timeout, quiet: BTreeMap::new(), looked: None }
    }

    /// To be called before sources are looked at.
    pub(super) fn note_look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) > LONGEST_BREAK) {
            self.quiet.clear();
        }
        self.looked = Some(now);
    }

    /// Whether a source that is so far is idle.
    pub(super) fn is_idle(&mut self, source: &SourceKey, reached: Reached, now: Instant) -> bool {
        let quiet = self.quiet.entry(source.clone()).or_insert_with(|| Quiet::begin(reached, now));
        quiet.look(reached, now);
        quiet.told >= ENDS_NEEDED && now.duration_since(quiet.since) >= self.timeout
    }

    pub(super) fn forget(&mut self, source: &SourceKey) {
        self.quiet.remove(source);
    }

    pub(super) fn forget_all(&mut self) {
        self.quiet.clear();
    }
}

impl Counting {
    /// Marks the sources that have had nothing to read for `idle_timeout` that moves the watermark.
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
            let last_moving = self.tally.last_moving(&source);
            let idle = self.idleness.is_idle(&source, Reached { next: reached, last_moving, end }, now);
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

    const TIMEOUT: Duration = Duration::from_secs(4);
    /// Looks, and ends told, in a second.
    const LOOKS: u64 = 4;
    const TOLD: u64 = 2;

    fn source() -> SourceKey {
        SourceKey { topic: "events".to_owned(), partition: 0 }
    }

    /// Next offset, last one that moves the watermark, end: what there is after so many looks.
    type At = (i64, Option<i64>, i64);

    /// Looks for so many seconds; whether the source was idle at each look.
    fn look(idleness: &mut Idleness, from: Instant, seconds: u64, at: impl Fn(u64) -> At) -> Vec<bool> {
        let every = Duration::from_secs(1) / LOOKS as u32;
        let one = |look: u64| {
            let now = from + every * look as u32;
            let of_end = look - look % (LOOKS / TOLD);
            let end = PartitionEnd { stable: at(of_end).2, told: from + every * of_end as u32 };
            let (next, last_moving, _) = at(look);
            idleness.note_look(now);
            idleness.is_idle(&source(), Reached { next, last_moving, end }, now)
        };
        (0..=seconds * LOOKS).map(one).collect()
    }

    /// The first look at which it was idle, in looks; it must have stayed so.
    fn idle_from(found: &[bool]) -> Option<usize> {
        let first = found.iter().position(|idle| *idle)?;
        assert!(found[first..].iter().all(|idle| *idle), "{found:?}");
        Some(first)
    }

    const AFTER_TIMEOUT: usize = 4 * LOOKS as usize;

    #[test]
    fn a_source_that_stands_at_its_end_is_idle_after_the_timeout() {
        let found = look(&mut Idleness::new(TIMEOUT), Instant::now(), 10, |_| (10, None, 10));
        assert_eq!(idle_from(&found), Some(AFTER_TIMEOUT));
    }

    #[test]
    fn records_that_do_not_move_the_watermark_keep_no_source_from_being_idle() {
        // There is always one more to read than was read.
        let labels = |look: u64| (100 * look as i64, Some(0), 100 * look as i64 + 1);
        let found = look(&mut Idleness::new(TIMEOUT), Instant::now(), 10, labels);
        assert_eq!(idle_from(&found), Some(AFTER_TIMEOUT));
    }

    #[test]
    fn a_record_that_moves_the_watermark_begins_it_anew() {
        let moving = |look: u64| (look as i64 + 1, Some(look as i64), look as i64 + 1);
        assert_eq!(idle_from(&look(&mut Idleness::new(TIMEOUT), Instant::now(), 20, moving)), None);
        // The last one that does comes at look 12, with labels before and after.
        let paused = |look: u64| (look as i64 + 1, Some(look.min(12) as i64), look as i64 + 1);
        let found = look(&mut Idleness::new(TIMEOUT), Instant::now(), 20, paused);
        assert_eq!(idle_from(&found), Some(12 + AFTER_TIMEOUT));
        let (mut idleness, start) = (Idleness::new(TIMEOUT), Instant::now());
        assert!(look(&mut idleness, start, 10, |_| (10, Some(3), 10))[10 * LOOKS as usize]);
        let again = look(&mut idleness, start + Duration::from_secs(10), 1, |_| (11, Some(10), 11));
        assert_eq!(idle_from(&again), None);
    }

    #[test]
    fn a_source_that_lags_is_not_idle_and_is_so_after_the_timeout_when_it_has_caught_up() {
        // Reads a hundred records a look, of a thousand that come.
        let lagging = |look: u64| (100 * look as i64, None, 1_000 * look as i64 + 500);
        assert_eq!(idle_from(&look(&mut Idleness::new(TIMEOUT), Instant::now(), 20, lagging)), None);
        // Reads a backlog of 2,000, which takes it twenty looks.
        let catching_up = |look: u64| (100 * look.min(20) as i64, None, 2_000);
        let found = look(&mut Idleness::new(TIMEOUT), Instant::now(), 20, catching_up);
        // At look 20 it is there; it lagged last when an end was told at look 18.
        assert_eq!(idle_from(&found), Some(18 + AFTER_TIMEOUT));
    }

    #[test]
    fn an_idle_source_that_begins_to_lag_is_idle_no_more() {
        let (mut idleness, start) = (Idleness::new(TIMEOUT), Instant::now());
        assert!(look(&mut idleness, start, 10, |_| (10, None, 10))[10 * LOOKS as usize]);
        let lagging = look(&mut idleness, start + Duration::from_secs(11), 1, |_| (10, None, 500));
        assert!(!lagging[LOOKS as usize]);
    }

    #[test]
    fn an_end_that_is_not_told_again_says_nothing() {
        let (mut idleness, start) = (Idleness::new(TIMEOUT), Instant::now());
        let end = PartitionEnd { stable: 10, told: start };
        for look in 0..100_u32 {
            let now = start + Duration::from_millis(250) * look;
            idleness.note_look(now);
            let reached = Reached { next: 10 + 1_000 * i64::from(look), last_moving: None, end };
            assert!(!idleness.is_idle(&source(), reached, now));
        }
    }

    #[test]
    fn nothing_is_idle_right_after_a_break() {
        let (mut idleness, start) = (Idleness::new(TIMEOUT), Instant::now());
        assert!(look(&mut idleness, start, 5, |_| (10, None, 10))[5 * LOOKS as usize]);
        let later = start + Duration::from_secs(60);
        let found = look(&mut idleness, later, 10, |_| (10, None, 10));
        assert_eq!(idle_from(&found), Some(AFTER_TIMEOUT));
    }

    #[test]
    fn offsets_that_are_not_known_any_more_are_no_new_record() {
        // Another watch: what is counted begins anew, and the sources go on.
        let found = look(&mut Idleness::new(TIMEOUT), Instant::now(), 10, |look| {
            (10, Some(3).filter(|_| look < 2), 10)
        });
        assert_eq!(idle_from(&found), Some(AFTER_TIMEOUT));
    }
}
