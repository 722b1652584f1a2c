//! The merge of one partition of `tidegate.tallies`: flushes checked and folded, panes closed, windows made.

use super::close::{Due, MAX_OPEN_BYTES};
use super::history::ModelHistory;
use super::joins::{LabelJoins, LabelNotes};
use super::pane_holes::PaneHoles;
use super::panes::OpenPane;
use super::sources::{Fit, Folded, Low, Sources, key_of};
use super::state_record::NextOffset;
use super::weights::Weights;
use super::window::ModelWindow;
use crate::baseline::{VersionIndex, Watch};
use crate::tally::SourceKey;
#[cfg(test)]
use crate::tally::planted::Bug;
use crate::tally::record::{Counts, Delta, Joins, Marker, PaneRecord, SourceRange, TallyBody, TallyRecord};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Flushes whose marker has not come. More than this many are torn: the oldest is dropped.
const MAX_STAGED: usize = 4096;
/// Bytes of such flushes, likewise: four of the largest that a tally holds, decoded.
const MAX_STAGED_BYTES: usize = 512 << 20;
/// Boundaries that are remembered; beyond it they are thinned, and a restart replays more.
const MAX_BOUNDARIES: usize = 512;
/// Panes ahead of the newest event that a hole in the source offsets may reach, when history is read and the
/// wall clock says nothing about event time.
const MAX_HOLE_PANES: i64 = 64;

/// Lengths in milliseconds of event time, but for `max_stall_ms` (marker clock) and `max_future_ms` (how far
/// event time may be ahead of the marker clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgeConfig {
    pub pane_ms: i64,
    pub lateness_ms: i64,
    pub allowed_lateness_ms: i64,
    pub max_stall_ms: i64,
    pub max_future_ms: i64,
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
    /// Deltas of models, series or grids that are not watched here, and weights of such models.
    pub foreign_deltas: u64,
    /// Panes closed before their time, because the open ones held too much.
    pub closed_early: u64,
    /// Of labels that came in events of their own.
    pub labels: LabelNotes,
    /// Sources the watermark no longer waits for.
    pub left_out: Vec<SourceKey>,
    /// Event time up to which all is complete (milliseconds since 1970).
    pub watermark: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Staged {
    pub(super) first_offset: i64,
    pub(super) deltas: Vec<Delta>,
    pub(super) joins: Vec<Joins>,
    bytes: usize,
}

impl Staged {
    fn begun_at(offset: i64) -> Staged {
        Staged { first_offset: offset, deltas: Vec::new(), joins: Vec::new(), bytes: 0 }
    }

    /// Records, as a marker counts them.
    fn records(&self) -> u64 {
        (self.deltas.len() + self.joins.len()) as u64
    }
}

/// Bytes that a delta takes in memory.
fn delta_bytes(delta: &Delta) -> usize {
    let Delta { range_id, namespace, model, version, series, counts, .. } = delta;
    let names = [range_id, namespace, model, version, series].map(String::len).iter().sum::<usize>();
    let of_counts =
        |counts: &Counts| (counts.cells.len() + counts.units.len()) * size_of::<u64>() + counts.sums.len();
    size_of::<Delta>() + names + counts.as_ref().map_or(0, of_counts)
}

/// Bytes that joins take in memory.
fn joins_bytes(joins: &Joins) -> usize {
    let Joins { range_id, namespace, model, version, output, answered, labelled, scores, .. } = joins;
    let names = [range_id, namespace, model, version, output].map(String::len).iter().sum::<usize>();
    let requests = (answered.len() + labelled.len()) * (size_of::<u64>() + size_of::<u32>());
    size_of::<Joins>() + names + requests + scores.len() * (size_of::<f64>() + size_of::<u8>())
}

/// A place in the tallies where no flush was half read, with the sources as they were.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boundary {
    pub(super) offset: i64,
    pub(super) clock: i64,
    pub(super) next: Vec<NextOffset>,
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
    /// Bytes in them, and how many there may be.
    staged_bytes: usize,
    pub(super) staged_limit: usize,
    pub(super) open: BTreeMap<i64, OpenPane>,
    pub(super) models: BTreeMap<u32, ModelHistory>,
    /// Answers that wait for their labels, and labels that wait for their answers.
    pub(super) joins: LabelJoins,
    /// One past the last closed pane's index.
    pub(super) closed_to: Option<i64>,
    /// Panes that missing source offsets may belong to, as far back as late events are taken.
    pub(super) holes: PaneHoles,
    /// Closed panes that late events changed and whose windows have not been reported again, with how far
    /// panes were closed then: windows that end later held those events from the first.
    pub(super) dirty: BTreeMap<(u32, i64), i64>,
    /// Marker clock of the last such reports.
    pub(super) revised_at: i64,
    /// Model → what its owner has told of the canary's share of the traffic.
    pub(super) weights: BTreeMap<u32, Weights>,
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
            joins: LabelJoins::new(&watch),
            watch: WatchRef(watch),
            sources: Sources { expected, ..Sources::default() },
            staged: BTreeMap::new(),
            staged_bytes: 0,
            staged_limit: MAX_STAGED_BYTES,
            open: BTreeMap::new(),
            models: BTreeMap::new(),
            closed_to: None,
            holes: PaneHoles::default(),
            dirty: BTreeMap::new(),
            revised_at: 0,
            weights: BTreeMap::new(),
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

    /// Panes that still take deltas.
    pub fn open_panes(&self) -> usize {
        self.open.len()
    }

    /// Index of the first pane that may hold counts of `version` on its present grids.
    pub fn counted_since(&self, version: VersionIndex) -> i64 {
        self.models.get(&version.model).map_or(i64::MIN, |history| history.since(version.version))
    }

    /// Closed panes that late events changed and whose windows have not been reported again yet.
    pub fn unreported_revisions(&self) -> usize {
        self.dirty.len()
    }

    /// The event time up to which panes are closed (milliseconds since 1970); `None`: none is.
    pub fn closed_up_to(&self) -> Option<i64> {
        self.closed_to.map(|index| index * self.config.pane_ms)
    }

    /// How far all sources are complete (milliseconds since 1970): as the last record that was applied left it, a restart
    /// since then or not. `None`: it is not known, or every source is idle.
    pub fn watermark(&self) -> Option<i64> {
        let sources = self.replay.as_ref().map_or(&self.sources, |replay| &replay.sources);
        match sources.low(self.config.max_stall_ms) {
            Low::At(low) => Some(low),
            Low::Unknown | Low::AllIdle => None,
        }
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
        match &record.body {
            Some(TallyBody::Delta(delta)) => {
                let staged = self.staged(offset, &delta.range_id, delta_bytes(delta));
                staged.deltas.push(delta.clone());
                self.limit_staged(&mut step.notes);
            }
            Some(TallyBody::Joins(joins)) => {
                let staged = self.staged(offset, &joins.range_id, joins_bytes(joins));
                staged.joins.push(joins.clone());
                self.limit_staged(&mut step.notes);
            }
            Some(TallyBody::Marker(marker)) => self.apply_marker(offset, marker, &mut step),
            Some(TallyBody::Weight(told)) => self.hear_weight(told, &mut step.notes),
            None => {}
        }
        self.applied = self.applied.max(offset + 1);
        self.end_replay();
        if matches!(&record.body, Some(TallyBody::Marker(_))) {
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

    /// The flush that a record of `bytes` bytes belongs to.
    fn staged(&mut self, offset: i64, range_id: &str, bytes: usize) -> &mut Staged {
        self.staged_bytes += bytes;
        let staged = self.staged.entry(range_id.to_owned()).or_insert_with(|| Staged::begun_at(offset));
        staged.bytes += bytes;
        staged
    }

    fn limit_staged(&mut self, notes: &mut Notes) {
        while self.staged.len() > MAX_STAGED || self.staged_bytes > self.staged_limit {
            let oldest = self.staged.iter().min_by_key(|(_, staged)| staged.first_offset);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            self.unstage(&id);
            notes.torn_flushes += 1;
        }
    }

    fn unstage(&mut self, range_id: &str) -> Option<Staged> {
        let staged = self.staged.remove(range_id)?;
        self.staged_bytes -= staged.bytes;
        Some(staged)
    }

    fn apply_marker(&mut self, offset: i64, marker: &Marker, step: &mut Step) {
        let staged = self.unstage(&marker.range_id).unwrap_or_else(|| Staged::begun_at(offset));
        let fits: Vec<Fit> =
            marker.sources.iter().map(|range| self.sources.fit(range, marker.init)).collect();
        let whole = staged.records() == marker.n_deltas_here;
        // A source that did not move tells neither for nor against a repetition.
        let moved = marker.sources.iter().zip(&fits).filter(|(range, _)| range.from < range.to);
        let repeated = fits.contains(&Fit::Duplicate)
            && moved.clone().all(|(_, fit)| *fit == Fit::Duplicate)
            && fits.iter().all(|fit| matches!(fit, Fit::New | Fit::Duplicate));
        #[cfg(test)]
        if repeated && whole && Bug::FoldDuplicate.is_planted() {
            self.fold(&staged, &marker.roles, step);
        }
        if fits.iter().all(|fit| *fit == Fit::New) && whole {
            self.note_begun_anew(marker, step);
            self.sources.accept(marker, &fits, Folded::Whole);
            self.fold(&staged, &marker.roles, step);
            step.notes.folded_flushes += 1;
        } else if repeated {
            self.sources.accept_duplicate(marker);
            step.notes.duplicate_flushes += 1;
        } else {
            self.apply_misfit(marker, &fits, &staged, step);
        }
        self.advance(step);
    }

    /// A flush that does not continue what was counted: folded when nothing of it can have been counted
    /// before, else dropped whole. Either way the panes it may touch are marked incomplete.
    fn apply_misfit(&mut self, marker: &Marker, fits: &[Fit], staged: &Staged, step: &mut Step) {
        let torn = staged.records() != marker.n_deltas_here;
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
            || staged.records() > marker.n_deltas_here;
        let folded = match (twice, torn) {
            (true, _) => Folded::Dropped,
            (false, true) => Folded::Torn,
            (false, false) => Folded::Whole,
        };
        self.sources.accept(marker, fits, folded);
        if !twice {
            self.fold(staged, &marker.roles, step);
        }
        self.mark_incomplete(marker);
    }

    /// A log that was begun anew: what the old one held and was not counted is gone with it.
    fn note_begun_anew(&mut self, marker: &Marker, step: &mut Step) {
        let ranges = marker.sources.iter().filter(|_| marker.init);
        let anew: Vec<&SourceRange> = ranges.filter(|range| self.sources.is_begun_anew(range)).collect();
        if anew.is_empty() {
            return;
        }
        let lost =
            anew.iter().map(|range| Incomplete { source: key_of(range), fit: Fit::Recreated, missing: None });
        step.notes.incomplete.extend(lost);
        self.mark_incomplete(marker);
    }

    /// Source offsets are missing. What they held may belong to any pane that is not closed yet, up to the
    /// newest that an event may be about.
    fn mark_incomplete(&mut self, marker: &Marker) {
        let ahead = self.index(self.sources.clock.max(marker.wall_clock) + self.config.max_future_ms);
        let newest = self.sources.newest_watermark().map(|time| self.index(time));
        let touched = marker.roles.iter().map(|roles| self.index(roles.pane_start));
        let seen = touched.chain(newest).chain(self.open.keys().copied()).max();
        let last = seen.map_or(ahead, |seen| ahead.min(seen + MAX_HOLE_PANES).max(seen));
        self.holes.mark(self.closed_to.unwrap_or(i64::MIN)..last + 1);
        // A label may be a pane earlier than its answer.
        self.joins.mark_all_before(last + 2);
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
        let next = self.sources.known.iter().filter_map(|(key, state)| state.next_offset(key));
        let next = next.collect();
        self.boundaries.push_back(Boundary { offset: self.applied, clock, next });
        if self.boundaries.len() > MAX_BOUNDARIES {
            self.thin_boundaries();
        }
        let needed = self.oldest_needed_offset();
        while self.boundaries.len() > 1 && self.boundaries[1].offset <= needed {
            self.boundaries.pop_front();
        }
    }

    /// Forgets the boundary whose neighbours are closest in time, so that they stay spread evenly over what waits.
    fn thin_boundaries(&mut self) {
        let clock = |at: usize| self.boundaries[at].clock;
        let inner = 1..self.boundaries.len().saturating_sub(1);
        if let Some(closest) = inner.min_by_key(|at| clock(at + 1).saturating_sub(clock(at - 1))) {
            self.boundaries.remove(closest);
        }
    }

    /// The first offset that anything rests on.
    pub(super) fn oldest_needed_offset(&self) -> i64 {
        self.oldest_open_offset().min(self.joins.oldest_offset().unwrap_or(i64::MAX))
    }

    /// The first offset that open panes and half-read flushes rest on.
    pub(super) fn oldest_open_offset(&self) -> i64 {
        let open = self.open.values().map(|pane| pane.first_offset);
        let staged = self.staged.values().map(|staged| staged.first_offset);
        open.chain(staged).min().unwrap_or(self.applied).min(self.applied)
    }
}
