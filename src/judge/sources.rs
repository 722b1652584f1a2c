//! What is known of each source partition: the next offset, its watermark, whether it is idle or stalled.

use super::accounting::Holes;
use super::state_record::NextOffset;
use crate::event::Outcome;
use crate::tally::SourceKey;
#[cfg(test)]
use crate::tally::planted::Bug;
use crate::tally::record::{Marker, SourceRange};
use std::collections::{BTreeMap, BTreeSet};

/// An idle mark lapses when its source's last marker is this many flush intervals older than the newest one:
/// a tally that said "idle" and died must not vouch for its partition.
const IDLE_LAPSES_AFTER: i64 = 3;
/// Sources that are remembered beside the expected ones: partitions that were just made, topics that are read no
/// more. Of one more than that nothing is noted.
const MAX_UNEXPECTED: usize = 1_024;
/// What the records of an outcome that is not known here are counted as.
const OTHER: &str = "other";

/// How a marker's source range continues what was counted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It starts where the last one ended.
    New,
    /// It was counted before.
    Duplicate,
    /// Offsets between the last range and this one are missing.
    Gap,
    /// Part of it was counted before.
    Overlap,
    /// The topic was recreated; only an init marker may start it again.
    Recreated,
    /// Nothing was counted of this source before, and this is no init marker.
    Uninitialised,
    /// One source too many that nobody expects: nothing is remembered of it.
    Unexpected,
}

/// One source partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SourceState {
    pub(super) topic_uuid: String,
    pub(super) next: Option<i64>,
    /// Milliseconds since 1970.
    pub(super) watermark: Option<i64>,
    pub(super) idle: bool,
    /// The newest wall clock of any marker when its last marker was heard: replicas whose clocks are apart are
    /// compared with themselves only.
    pub(super) last_marker: i64,
    pub(super) flush_interval: i64,
    /// Since when (marker clock) it alone holds the watermark back.
    pub(super) stalled_since: Option<i64>,
    /// Records that were counted, by outcome.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// The first offset that is counted, if it is known.
    pub(super) start: Option<i64>,
    /// Offsets between `start` and `next` that were not counted.
    pub(super) holes: Holes,
    /// Records that came again after they were counted, and were dropped.
    pub(super) doubled: u64,
}

/// What became of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folded {
    /// All its deltas were folded.
    Whole,
    /// Those of its deltas that came were.
    Torn,
    Dropped,
}

impl SourceState {
    /// What a replay from here has to begin with; `None`: nothing was counted of the source.
    pub(super) fn next_offset(&self, source: &SourceKey) -> Option<NextOffset> {
        Some(NextOffset {
            topic: source.topic.clone(),
            partition: source.partition,
            next: self.next?,
            watermark: self.watermark,
            topic_uuid: self.topic_uuid.clone(),
        })
    }

    /// Its log is another: offsets begin again. Event time does not.
    fn begin_anew(&mut self) {
        let kept = SourceState {
            watermark: self.watermark,
            idle: self.idle,
            last_marker: self.last_marker,
            flush_interval: self.flush_interval,
            topic_uuid: std::mem::take(&mut self.topic_uuid),
            ..SourceState::default()
        };
        *self = kept;
    }

    /// Topic ids tell topics of one name apart, where the broker tells them.
    fn is_of_another_topic(&self, range: &SourceRange) -> bool {
        self.topic_uuid != range.topic_uuid && !self.topic_uuid.is_empty() && !range.topic_uuid.is_empty()
    }
}

/// All source partitions that a judge hears of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sources {
    pub(super) expected: BTreeSet<SourceKey>,
    pub(super) known: BTreeMap<SourceKey, SourceState>,
    /// The newest wall clock of any marker.
    pub(super) clock: i64,
}

/// How far event time is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Low {
    /// Some source has not told yet.
    Unknown,
    /// Complete up to here (milliseconds since 1970).
    At(i64),
    /// No source has anything to read that moves the watermark.
    AllIdle,
}

impl Sources {
    #[cfg(test)]
    pub(super) fn forget_next(mut self) -> Sources {
        self.known.values_mut().for_each(|state| state.next = None);
        self
    }

    pub(super) fn fit(&self, range: &SourceRange, init: bool) -> Fit {
        let state = self.known.get(&key_of(range));
        if state.is_none() && !self.has_room_for(range) {
            return Fit::Unexpected;
        }
        let Some((state, next)) = state.and_then(|state| Some((state, state.next?))) else {
            return if init { Fit::New } else { Fit::Uninitialised };
        };
        if state.is_of_another_topic(range) {
            // A range without records says nothing yet.
            return if init || range.from == range.to { Fit::New } else { Fit::Recreated };
        }
        match range.from {
            from if from == next => Fit::New,
            _ if range.to <= next => Fit::Duplicate,
            from if from > next => Fit::Gap,
            _ => Fit::Overlap,
        }
    }

    fn has_room_for(&self, range: &SourceRange) -> bool {
        self.known.len() < self.expected.len() + MAX_UNEXPECTED || self.expected.contains(&key_of(range))
    }

    /// Whether a start marker's `range` begins a log anew: of a topic made again under the name of one that was
    /// counted, or one whose end went back.
    pub(super) fn is_begun_anew(&self, range: &SourceRange) -> bool {
        let state = self.known.get(&key_of(range));
        let other = state.is_some_and(|state| state.next.is_some() && state.is_of_another_topic(range));
        other || range.to < range.from
    }

    /// Offsets between what was counted and the start of `range`.
    pub(super) fn missing_before(&self, range: &SourceRange) -> Option<(i64, i64)> {
        let next = self.known.get(&key_of(range))?.next?;
        (range.from > next).then_some((next, range.from))
    }

    /// Takes over a marker's word on its sources. `fits`: how each of them continues what was counted.
    pub(super) fn accept(&mut self, marker: &Marker, fits: &[Fit], folded: Folded) {
        self.clock = self.clock.max(marker.wall_clock);
        let noted = marker.sources.iter().zip(fits).filter(|(_, fit)| **fit != Fit::Unexpected);
        for (range, fit) in noted {
            let state = self.known.entry(key_of(range)).or_default();
            state.idle = range.idle;
            state.last_marker = self.clock;
            state.flush_interval = marker.flush_interval.max(1);
            let other_topic = state.is_of_another_topic(range);
            if other_topic && range.from == range.to && !marker.init {
                continue;
            }
            if other_topic || (range.to < range.from && state.next == Some(range.from)) {
                state.begin_anew();
            }
            state.account(range, *fit, folded);
            state.next = Some(state.next.map_or(range.to, |next| next.max(range.to)));
            if !range.topic_uuid.is_empty() {
                state.topic_uuid.clone_from(&range.topic_uuid);
            }
            state.watermark = state.watermark.max(range.watermark);
        }
    }

    /// A repetition tells the time; and whoever reads a source again does not vouch for its end.
    pub(super) fn accept_duplicate(&mut self, marker: &Marker) {
        self.clock = self.clock.max(marker.wall_clock);
        for range in &marker.sources {
            let state = self.known.entry(key_of(range)).or_default();
            state.doubled = state.doubled.saturating_add(records(range));
            state.idle &= range.idle;
        }
    }

    fn is_idle(&self, state: &SourceState) -> bool {
        #[cfg(test)]
        if Bug::TrustDeadIdle.is_planted() {
            return state.idle;
        }
        state.idle && self.clock - state.last_marker <= IDLE_LAPSES_AFTER * state.flush_interval
    }

    /// How far all sources are complete, with those left out that stalled for `max_stall_ms`.
    pub(super) fn low(&self, max_stall_ms: i64) -> Low {
        let mut lowest: Option<i64> = None;
        for source in &self.expected {
            let Some(state) = self.known.get(source) else { return Low::Unknown };
            if self.is_idle(state) || self.is_left_out(state, max_stall_ms) {
                continue;
            }
            let Some(watermark) = state.watermark else { return Low::Unknown };
            lowest = Some(lowest.map_or(watermark, |low| low.min(watermark)));
        }
        match lowest {
            Some(low) => Low::At(low),
            None if self.expected.is_empty() => Low::Unknown,
            None => Low::AllIdle,
        }
    }

    /// Updates who alone holds the watermark below `needed` (the end of the oldest open pane plus lateness).
    pub(super) fn note_stalls(&mut self, needed: Option<i64>) {
        let clock = self.clock;
        let ahead = |state: &SourceState, needed| state.watermark.is_some_and(|low| low >= needed);
        let passed = |state: &SourceState, needed| ahead(state, needed) || self.is_idle(state);
        let others_ahead =
            needed.is_some_and(|needed| self.known.values().any(|state| passed(state, needed)));
        let sources = self.clone_expected();
        for source in sources {
            let idle = self.known.get(&source).is_some_and(|state| self.is_idle(state));
            let state = self.known.entry(source).or_default();
            let holds = others_ahead && !idle && needed.is_some_and(|needed| !ahead(state, needed));
            state.stalled_since = match state.stalled_since {
                _ if !holds => None,
                Some(since) => Some(since),
                None => Some(clock),
            };
        }
    }

    fn clone_expected(&self) -> Vec<SourceKey> {
        self.expected.iter().cloned().collect()
    }

    fn is_left_out(&self, state: &SourceState, max_stall_ms: i64) -> bool {
        state.stalled_since.is_some_and(|since| self.clock - since >= max_stall_ms)
    }

    /// Sources that the watermark no longer waits for.
    pub(super) fn left_out(&self, max_stall_ms: i64) -> Vec<SourceKey> {
        let stalled = |source: &&SourceKey| {
            self.known.get(*source).is_some_and(|state| self.is_left_out(state, max_stall_ms))
        };
        self.expected.iter().filter(stalled).cloned().collect()
    }

    /// The largest event time that any source has shown.
    pub(super) fn newest_watermark(&self) -> Option<i64> {
        self.known.values().filter_map(|state| state.watermark).max()
    }
}

impl SourceState {
    /// Where the records of a range go: to the outcomes, to the holes, or to what was counted before.
    fn account(&mut self, range: &SourceRange, fit: Fit, folded: Folded) {
        self.start.get_or_insert(range.from.min(range.to));
        let next = self.next.unwrap_or(range.from);
        if folded == Folded::Whole {
            self.holes.add(next, range.from);
            for outcome in &range.outcomes {
                let total = self.outcomes.entry(known_outcome(&outcome.outcome).to_owned()).or_default();
                *total = total.saturating_add(outcome.count);
            }
            return;
        }
        match fit {
            Fit::Duplicate => self.doubled = self.doubled.saturating_add(records(range)),
            // Of another topic: its offsets do not continue the old ones.
            Fit::Recreated => self.holes.add(range.from, range.to),
            Fit::New | Fit::Gap | Fit::Overlap | Fit::Uninitialised | Fit::Unexpected => {
                let again = u64::try_from(next - range.from).unwrap_or(0);
                self.doubled = self.doubled.saturating_add(records(range).min(again));
                self.holes.add(next, range.to);
            }
        }
    }
}

/// Records that a range says it read.
fn records(range: &SourceRange) -> u64 {
    range.outcomes.iter().map(|outcome| outcome.count).fold(0, u64::saturating_add)
}

fn known_outcome(name: &str) -> &'static str {
    Outcome::ALL.iter().map(|known| known.as_str()).find(|known| *known == name).unwrap_or(OTHER)
}

pub(super) fn key_of(range: &SourceRange) -> SourceKey {
    SourceKey { topic: range.topic.clone(), partition: range.partition }
}
