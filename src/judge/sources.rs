//! What is known of each source partition: the next offset, its watermark, whether it is idle or stalled.

use super::accounting::Holes;
use crate::tally::SourceKey;
use crate::tally::record::{Marker, SourceRange};
use std::collections::{BTreeMap, BTreeSet};

/// An idle mark lapses when its source's last marker is this many flush intervals older than the newest one:
/// a tally that said "idle" and died must not vouch for its partition.
const IDLE_LAPSES_AFTER: i64 = 3;

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
}

/// One source partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SourceState {
    pub(super) topic_uuid: String,
    pub(super) next: Option<i64>,
    /// Milliseconds since 1970.
    pub(super) watermark: Option<i64>,
    pub(super) idle: bool,
    /// Wall clock of its last marker.
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
    /// Offsets are missing, and no event behind them has told yet how far in event time the hole reaches: offset
    /// (in the tallies) of the flush that showed it.
    pub(super) open_hole: Option<i64>,
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
    /// Nothing is left to read anywhere.
    AllIdle,
}

impl Sources {
    pub(super) fn fit(&self, range: &SourceRange, init: bool) -> Fit {
        let state = self.known.get(&key_of(range));
        let Some((state, next)) = state.and_then(|state| Some((state, state.next?))) else {
            return if init { Fit::New } else { Fit::Uninitialised };
        };
        if state.topic_uuid != range.topic_uuid
            && !state.topic_uuid.is_empty()
            && !range.topic_uuid.is_empty()
        {
            return if init { Fit::New } else { Fit::Recreated };
        }
        match range.from {
            from if from == next => Fit::New,
            _ if range.to <= next => Fit::Duplicate,
            from if from > next => Fit::Gap,
            _ => Fit::Overlap,
        }
    }

    /// Offsets between what was counted and the start of `range`.
    pub(super) fn missing_before(&self, range: &SourceRange) -> Option<(i64, i64)> {
        let next = self.known.get(&key_of(range))?.next?;
        (range.from > next).then_some((next, range.from))
    }

    /// Takes over a marker's word on its sources. `fits`: how each of them continues what was counted.
    pub(super) fn accept(&mut self, marker: &Marker, fits: &[Fit], folded: Folded) {
        self.clock = self.clock.max(marker.wall_clock);
        for (range, fit) in marker.sources.iter().zip(fits) {
            let state = self.known.entry(key_of(range)).or_default();
            let restarted = state.topic_uuid != range.topic_uuid && marker.init && state.next.is_some();
            if restarted {
                *state = SourceState { watermark: state.watermark, ..SourceState::default() };
            }
            state.account(range, *fit, folded);
            state.next = Some(state.next.map_or(range.to, |next| next.max(range.to)));
            state.topic_uuid = range.topic_uuid.clone();
            state.watermark = state.watermark.max(range.watermark);
            state.idle = range.idle;
            state.last_marker = state.last_marker.max(marker.wall_clock);
            state.flush_interval = marker.flush_interval.max(1);
        }
    }

    /// Notes the holes that `marker` shows at its sources which do not fit and have no event behind the hole.
    pub(super) fn note_holes(&mut self, marker: &Marker, fits: &[Fit], first_offset: i64) {
        let open = |range: &SourceRange, fit: &Fit| {
            !matches!(fit, Fit::New | Fit::Duplicate) && range.watermark.is_none()
        };
        for (range, _) in marker.sources.iter().zip(fits).filter(|(range, fit)| open(range, fit)) {
            self.known.entry(key_of(range)).or_default().open_hole.get_or_insert(first_offset);
        }
    }

    /// Forgets the holes behind which `marker` shows events; where the oldest of them was seen.
    pub(super) fn take_holes(&mut self, marker: &Marker) -> Option<i64> {
        let told = marker.sources.iter().filter(|range| range.watermark.is_some());
        told.filter_map(|range| self.known.get_mut(&key_of(range))?.open_hole.take()).min()
    }

    /// Where the oldest hole was seen whose end is not known.
    pub(super) fn oldest_hole(&self) -> Option<i64> {
        self.known.values().filter_map(|state| state.open_hole).min()
    }

    /// A duplicate still shows that its source is alive, unless it is older than what is known.
    pub(super) fn accept_duplicate(&mut self, marker: &Marker) {
        self.clock = self.clock.max(marker.wall_clock);
        for range in &marker.sources {
            self.known.entry(key_of(range)).or_default().doubled += records(range);
        }
    }

    fn is_idle(&self, state: &SourceState) -> bool {
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
        let others_ahead = needed.is_some_and(|needed| self.known.values().any(|state| ahead(state, needed)));
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
        self.start.get_or_insert(range.from);
        let next = self.next.unwrap_or(range.from);
        if folded == Folded::Whole {
            self.holes.add(next, range.from);
            for outcome in &range.outcomes {
                *self.outcomes.entry(outcome.outcome.clone()).or_default() += outcome.count;
            }
            return;
        }
        match fit {
            Fit::Duplicate => self.doubled += records(range),
            // Of another topic: its offsets do not continue the old ones.
            Fit::Recreated => self.holes.add(range.from, range.to),
            Fit::New | Fit::Gap | Fit::Overlap | Fit::Uninitialised => {
                let again = u64::try_from(next - range.from).unwrap_or(0);
                self.doubled += records(range).min(again);
                self.holes.add(next, range.to);
            }
        }
    }
}

/// Records that a range says it read.
fn records(range: &SourceRange) -> u64 {
    range.outcomes.iter().map(|outcome| outcome.count).sum()
}

pub(super) fn key_of(range: &SourceRange) -> SourceKey {
    SourceKey { topic: range.topic.clone(), partition: range.partition }
}
