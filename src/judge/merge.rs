//! The merge of one partition of `tidegate.tallies`: flushes checked and folded, panes closed, windows made.

use super::close::{Due, MAX_OPEN_BYTES};
use super::history::ModelHistory;
use super::panes::OpenPane;
use super::sources::{Fit, Folded, Sources, key_of};
use super::window::ModelWindow;
use crate::baseline::Watch;
use crate::tally::SourceKey;
use crate::tally::record::{Delta, Marker, PaneRecord, TallyBody, TallyRecord};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Flushes whose marker has not come. More than this many are torn: the oldest is dropped.
const MAX_STAGED: usize = 4096;
/// Panes that a hole in the source offsets may cover; further ones hold nothing yet.
const MAX_HOLE_PANES: i64 = 64;

/// Lengths in milliseconds of event time, but for `max_stall_ms` (marker clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgeConfig {
    pub pane_ms: i64,
    pub lateness_ms: i64,
    pub allowed_lateness_ms: i64,
    pub max_stall_ms: i64,
}

/// Source offsets that a report misses, or that came twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    pub source: SourceKey,
    pub fit: Fit,
    /// First offset missing, and one past the last.
    pub missing: Option<(i64, i64)>,
}

/// What one record led to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// To be written to `tidegate.panes`.
    pub panes: Vec<PaneRecord>,
    /// To be measured and reported, in this order.
    pub windows: Vec<ModelWindow>,
    pub notes: Notes,
}

/// What is worth a metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    pub folded_flushes: u64,
    pub duplicate_flushes: u64,
    pub torn_flushes: u64,
    pub incomplete: Vec<Incomplete>,
    /// Events that changed a closed pane.
    pub late_revised: u64,
    /// Events too late even for that.
    pub late_dropped: u64,
    /// Deltas of models, series or grids that are not watched here.
    pub foreign_deltas: u64,
    /// Panes closed before their time, because the open ones held too much.
    pub closed_early: u64,
    /// Sources the watermark no longer waits for.
    pub left_out: Vec<SourceKey>,
    /// Event time up to which all is complete (milliseconds since 1970).
    pub watermark: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Staged {
    pub(super) first_offset: i64,
    pub(super) deltas: Vec<Delta>,
}

/// A place in the tallies where no flush was half read, with the sources as they were.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boundary {
    pub(super) offset: i64,
    pub(super) clock: i64,
    /// Each source's next offset and watermark.
    pub(super) next: Vec<(SourceKey, i64, Option<i64>)>,
}

/// What a replay ends with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replay {
    pub(super) until: i64,
    pub(super) sources: Sources,
}

/// One merge partition's judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    pub(super) config: JudgeConfig,
    pub(super) watch: WatchRef,
    pub(super) sources: Sources,
    pub(super) staged: BTreeMap<String, Staged>,
    pub(super) open: BTreeMap<i64, OpenPane>,
    pub(super) models: BTreeMap<u32, ModelHistory>,
    /// One past the last closed pane's index.
    pub(super) closed_to: Option<i64>,
    /// Closed panes that late events changed and whose windows have not been reported again, with what was
    /// closed when the last of them came: windows that end later hold them from their first report on.
    pub(super) dirty: BTreeMap<(u32, i64), i64>,
    /// Marker clock of the last such reports.
    pub(super) revised_at: i64,
    pub(super) boundaries: VecDeque<Boundary>,
    /// The next offset to apply.
    pub(super) applied: i64,
    pub(super) replay: Option<Replay>,
    /// Panes to be closed before the next record is applied.
    pub(super) due: Option<Due>,
    /// Panes with data that may be closed before the caller is asked again.
    pub(super) allowance: usize,
    /// Bytes of open panes.
    pub(super) open_limit: usize,
}

/// The watch, compared by identity: two judges of one process share it.
#[derive(Debug, Clone)]
pub(super) struct WatchRef(pub(super) Arc<Watch>);

impl PartialEq for WatchRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Judge {
    /// A judge that has seen nothing and begins at offset `start` of the tallies. `expected`: every source
    /// partition there is.
    pub fn new(config: JudgeConfig, watch: Arc<Watch>, expected: BTreeSet<SourceKey>, start: i64) -> Judge {
        Judge {
            config,
            watch: WatchRef(watch),
            sources: Sources { expected, ..Sources::default() },
            staged: BTreeMap::new(),
            open: BTreeMap::new(),
            models: BTreeMap::new(),
            closed_to: None,
            dirty: BTreeMap::new(),
            revised_at: 0,
            boundaries: VecDeque::from([Boundary { offset: start, clock: 0, next: Vec::new() }]),
            applied: start,
            replay: None,
            due: None,
            allowance: usize::MAX,
            open_limit: MAX_OPEN_BYTES,
        }
    }

    /// Takes over how many partitions the source topics have now.
    pub fn expect(&mut self, expected: BTreeSet<SourceKey>) {
        if let Some(replay) = &mut self.replay {
            replay.sources.expected = expected.clone();
        }
        self.sources.expected = expected;
    }

    /// The next offset of the tallies to apply.
    pub fn applied(&self) -> i64 {
        self.applied
    }

    /// Whether what is read now was applied before a restart, and nothing of it may be emitted.
    pub fn is_replaying(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| self.applied < replay.until)
    }

    /// Applies the record at `offset` of the tallies.
    pub fn apply(&mut self, offset: i64, record: &TallyRecord) -> Step {
        let mut step = Step::default();
        if self.due.is_some() {
            let allowance = std::mem::replace(&mut self.allowance, usize::MAX);
            self.catch_up(&mut step);
            self.allowance = allowance;
        }
        let replayed = self.is_replaying();
        match &record.body {
            Some(TallyBody::Delta(delta)) => self.stage(offset, delta, &mut step.notes),
            Some(TallyBody::Marker(marker)) => self.apply_marker(offset, marker, &mut step),
            None => {}
        }
        self.applied = self.applied.max(offset + 1);
        self.end_replay();
        if !replayed && matches!(&record.body, Some(TallyBody::Marker(_))) {
            self.note_boundary();
        }
        step
    }

    /// As [`Judge::apply`], but closes at most `panes` panes with data: their windows are held all at once,
    /// and history that is read at full speed closes thousands with one record. The rest is closed by
    /// [`Judge::close_more`], to be called until there is nothing more before the next record is applied.
    pub fn apply_in_part(&mut self, offset: i64, record: &TallyRecord, panes: usize) -> Step {
        self.allowance = panes;
        let step = self.apply(offset, record);
        self.allowance = usize::MAX;
        step
    }

    /// Whether [`Judge::close_more`] has something to close.
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Closes at most `panes` more panes that are due; `None`: none is. The state between two calls may be
    /// stored, and a judge restored from it goes on here.
    pub fn close_more(&mut self, panes: usize) -> Option<Step> {
        self.due?;
        let mut step = Step::default();
        self.allowance = panes;
        self.catch_up(&mut step);
        self.allowance = usize::MAX;
        Some(step)
    }

    /// The record at `offset` could not be read: what it held will show as a gap.
    pub fn skip(&mut self, offset: i64) {
        self.applied = self.applied.max(offset + 1);
        self.end_replay();
    }

    pub(super) fn end_replay(&mut self) {
        if self.replay.as_ref().is_some_and(|replay| self.applied >= replay.until)
            && let Some(replay) = self.replay.take()
        {
            self.sources = replay.sources;
            self.find_due();
        }
    }

    fn stage(&mut self, offset: i64, delta: &Delta, notes: &mut Notes) {
        let staged = self
            .staged
            .entry(delta.range_id.clone())
            .or_insert_with(|| Staged { first_offset: offset, deltas: Vec::new() });
        staged.deltas.push(delta.clone());
        if self.staged.len() > MAX_STAGED {
            let oldest = self.staged.iter().min_by_key(|(_, staged)| staged.first_offset);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.staged.remove(&id);
                notes.torn_flushes += 1;
            }
        }
    }

    fn apply_marker(&mut self, offset: i64, marker: &Marker, step: &mut Step) {
        let staged = self.staged.remove(&marker.range_id);
        let first_offset = staged.as_ref().map_or(offset, |staged| staged.first_offset);
        let deltas = staged.map_or_else(Vec::new, |staged| staged.deltas);
        let fits: Vec<Fit> =
            marker.sources.iter().map(|range| self.sources.fit(range, marker.init)).collect();
        let whole = deltas.len() as u64 == marker.n_deltas_here;
        if fits.iter().all(|fit| *fit == Fit::New) && whole {
            self.sources.accept(marker, &fits, Folded::Whole);
            if let Some(hole) = self.sources.take_holes(marker) {
                self.mark_incomplete(hole, marker);
            }
            self.fold(first_offset, &deltas, &marker.roles, step);
            step.notes.folded_flushes += 1;
        } else if fits.iter().all(|fit| *fit == Fit::Duplicate) && !fits.is_empty() {
            self.sources.accept_duplicate(marker);
            step.notes.duplicate_flushes += 1;
        } else {
            self.apply_misfit(first_offset, marker, &fits, &deltas, step);
        }
        self.advance(step);
    }

    /// A flush that does not continue what was counted: folded when nothing of it can have been counted
    /// before, else dropped whole. Either way the panes it may touch are marked incomplete.
    fn apply_misfit(
        &mut self,
        first_offset: i64,
        marker: &Marker,
        fits: &[Fit],
        deltas: &[Delta],
        step: &mut Step,
    ) {
        let torn = deltas.len() as u64 != marker.n_deltas_here;
        for (range, fit) in marker.sources.iter().zip(fits).filter(|(_, fit)| **fit != Fit::New) {
            let missing = self.sources.missing_before(range);
            step.notes.incomplete.push(Incomplete { source: key_of(range), fit: *fit, missing });
        }
        if step.notes.incomplete.is_empty() {
            // The ranges fit, but deltas are missing or doubled: a torn transaction.
            let ranges = marker.sources.iter().filter(|range| range.to > range.from).map(|range| {
                Incomplete { source: key_of(range), fit: Fit::Gap, missing: Some((range.from, range.to)) }
            });
            step.notes.incomplete.extend(ranges);
            step.notes.torn_flushes += 1;
        }
        let twice = fits.iter().any(|fit| matches!(fit, Fit::Duplicate | Fit::Overlap | Fit::Recreated))
            || deltas.len() as u64 > marker.n_deltas_here;
        let folded = match (twice, torn) {
            (true, _) => Folded::Dropped,
            (false, true) => Folded::Torn,
            (false, false) => Folded::Whole,
        };
        self.sources.accept(marker, fits, folded);
        if !twice {
            self.fold(first_offset, deltas, &marker.roles, step);
        }
        let hole = self.sources.take_holes(marker).unwrap_or(first_offset);
        self.sources.note_holes(marker, fits, first_offset);
        self.mark_incomplete(hole.min(first_offset), marker);
    }

    /// Marks the panes that missing offsets may have belonged to: from the oldest open one to the newest that
    /// any source has shown. `first_offset`: where a replay must begin to mark them again.
    fn mark_incomplete(&mut self, first_offset: i64, marker: &Marker) {
        let newest = self.sources.newest_watermark().map(|time| self.index(time));
        let touched = marker.roles.iter().map(|roles| self.index(roles.pane_start));
        let Some(last) = touched.chain(newest).chain(self.open.keys().copied()).max() else { return };
        let oldest_open = self.open.keys().next().copied().unwrap_or(last);
        let first = self.closed_to.unwrap_or(oldest_open).max(last - MAX_HOLE_PANES);
        for index in first..=last {
            let pane = self.open.entry(index).or_insert_with(|| OpenPane::new(first_offset));
            pane.complete = false;
            pane.first_offset = pane.first_offset.min(first_offset);
        }
    }

    pub(super) fn index(&self, time: i64) -> i64 {
        time.div_euclid(self.config.pane_ms)
    }

    fn note_boundary(&mut self) {
        if !self.staged.is_empty() {
            return;
        }
        let clock = self.sources.clock;
        if self.boundaries.back().is_some_and(|last| clock - last.clock < 1_000) && self.boundaries.len() > 1
        {
            return;
        }
        let next = self
            .sources
            .known
            .iter()
            .filter_map(|(key, state)| Some((key.clone(), state.next?, state.watermark)));
        let next = next.collect();
        self.boundaries.push_back(Boundary { offset: self.applied, clock, next });
        let needed = self.oldest_needed_offset();
        while self.boundaries.len() > 1 && self.boundaries[1].offset <= needed {
            self.boundaries.pop_front();
        }
    }

    /// The first offset that open panes, half-read flushes and open holes rest on.
    pub(super) fn oldest_needed_offset(&self) -> i64 {
        let open = self.open.values().map(|pane| pane.first_offset);
        let staged = self.staged.values().map(|staged| staged.first_offset);
        open.chain(staged).chain(self.sources.oldest_hole()).min().unwrap_or(self.applied).min(self.applied)
    }
}
