//! Events in panes → deltas and markers. Pure: what it emits depends only on what it was given.
//!
//! ```text
//! record(offset, outcome) ─┐
//! count(tables) ───────────┴─► panes of exact counts ─► flush() ─► deltas, a marker per merge partition
//!                                                        commit() forgets them, discard() gives them up
//! ```
//!
//! Nothing is kept across a flush, so a crash redoes seconds of input and a rebalance moves no state.

pub mod checked;
mod flush;
mod joins;
pub mod labels;
mod partition;
#[cfg(test)]
pub(crate) mod planted;
pub mod record;
pub mod scores;
mod service;
mod source;

#[cfg(test)]
pub(crate) mod tests;

pub use flush::{Flush, FlushRecord, FlushStamp};
pub use partition::{merge_partition, murmur2};
pub use source::{SourceKey, SourceStart};

use crate::baseline::{VersionIndex, Watch, WatchedModel, WatchedSeries, WatchedVersion};
use crate::cells::{
    CellCounts, CountError, Grid, SPANS, Scratch, Sums, UNIT_CELLS, UnitCounts, UnitRows, count_column,
};
use crate::decode::{Accepted, JoinAnswer, LabelPair, ScorePair, Table};
use crate::event::{EventTime, Outcome, Role, SeriesOf};
use joins::{PaneJoins, REQUEST_BYTES};
use labels::Labels;
use scores::Scores;
use service::ServiceTally;
use source::SourceProgress;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Counts held between two flushes, in bytes, beyond which a flush does not wait for its timer.
pub const MAX_HELD_BYTES: usize = 64 << 20;

/// Counts of one version in one pane since the last flush.
#[derive(Debug, Default)]
struct PaneCounts {
    /// One for each watched series of the version, once it was seen.
    series: Vec<Option<SeriesTally>>,
    stable: u64,
    canary: u64,
    unset: u64,
    service: ServiceTally,
    labels: Labels,
    scores: Scores,
}

/// Counts of one series: cells and what does not stand in them.
#[derive(Debug)]
struct SeriesTally {
    counts: CellCounts,
    units: UnitCounts,
    sums: Sums,
    type_errors: u64,
}

/// The counting state of one consumer thread.
#[derive(Debug)]
pub struct Tally {
    watch: Arc<Watch>,
    pane_ms: i64,
    panes: BTreeMap<(VersionIndex, EventTime), PaneCounts>,
    joins: BTreeMap<(VersionIndex, EventTime), PaneJoins>,
    sources: BTreeMap<SourceKey, SourceProgress>,
    scratch: Scratch,
    /// Bytes that the panes may take, once every series of theirs was seen.
    held_bytes: usize,
    /// Model → version → bytes of one pane of it.
    pane_bytes: Vec<Vec<usize>>,
    /// The last pane end that its own watermark has passed at a flush.
    flushed_pane_end: i64,
}

impl Tally {
    pub fn new(watch: Arc<Watch>, pane_ms: i64) -> Tally {
        assert!(pane_ms > 0, "a pane has a length");
        let of_model = |model: &WatchedModel| model.versions.iter().map(pane_bytes).collect();
        let pane_bytes = watch.models.iter().map(of_model).collect();
        Tally {
            watch,
            pane_ms,
            pane_bytes,
            panes: BTreeMap::new(),
            joins: BTreeMap::new(),
            sources: BTreeMap::new(),
            scratch: Scratch::default(),
            held_bytes: 0,
            flushed_pane_end: i64::MIN,
        }
    }

    /// Starts to account for a source partition.
    pub fn start_source(&mut self, start: SourceStart) {
        self.sources.insert(start.source, SourceProgress::new(start.topic_uuid, start.offset));
    }

    /// Forgets a source partition; what was counted of it must have been flushed or discarded before.
    pub fn drop_source(&mut self, source: &SourceKey) {
        self.sources.remove(source);
    }

    pub fn sources(&self) -> impl Iterator<Item = (&SourceKey, i64)> {
        self.sources.iter().map(|(key, progress)| (key, progress.next))
    }

    /// Each source as it would have to be started to go on from here.
    pub fn starts(&self) -> Vec<SourceStart> {
        let start = |(source, progress): (&SourceKey, &SourceProgress)| SourceStart {
            source: source.clone(),
            topic_uuid: progress.topic_uuid.clone(),
            offset: progress.next,
            instead_of: None,
        };
        self.sources.iter().map(start).collect()
    }

    /// The next offset expected of a source; `None`: not owned.
    pub fn next_offset(&self, source: &SourceKey) -> Option<i64> {
        self.sources.get(source).map(|progress| progress.next)
    }

    /// The offset of the last record of a source that may move the watermark; `None`: none since it was started.
    pub fn last_moving(&self, source: &SourceKey) -> Option<i64> {
        self.sources.get(source)?.last_moving
    }

    /// Resumes a source behind a hole in the log; the next range starts at `offset`, so that the judge sees it.
    /// What was counted of the source must have been flushed or discarded before.
    pub fn skip_to(&mut self, source: &SourceKey, offset: i64) {
        if let Some(progress) = self.sources.get_mut(source) {
            let topic_uuid = std::mem::take(&mut progress.topic_uuid);
            *progress = SourceProgress::new(topic_uuid, offset);
        }
    }

    /// Notes what became of the record at `offset`. Its rows, if it has any, come with [`Tally::count`] before
    /// the next flush.
    pub fn record(
        &mut self,
        source: &SourceKey,
        offset: i64,
        outcome: Outcome,
        accepted: Option<&Accepted>,
        now: EventTime,
    ) {
        let Some(progress) = self.sources.get_mut(source) else { return };
        progress.note(offset, outcome);
        let Some(event) = accepted else { return };
        if event.moves_watermark {
            // A producer's clock may be ahead; the watermark may not.
            progress.raise_watermark(offset, event.time.min(now));
        } else {
            // Labels are no request and no answer: the events of their pane are not theirs.
            return;
        }
        let role = event.role;
        let pane = self.pane(event.version, event.time);
        match role {
            Some(Role::Stable) => pane.stable += 1,
            Some(Role::Canary) => pane.canary += 1,
            None => pane.unset += 1,
        }
        pane.service.note(event.served);
    }

    /// Whether a source has had nothing to read that moves the watermark for a while. A record that does ends it.
    pub fn set_idle(&mut self, source: &SourceKey, idle: bool) {
        if let Some(progress) = self.sources.get_mut(source) {
            progress.idle = idle;
        }
    }

    /// Counts decoded tables.
    ///
    /// # Errors
    /// When a column's Arrow type does not fit its grid (a programming error of the decoder).
    pub fn count(&mut self, tables: &[Table]) -> Result<(), CountError> {
        for table in tables {
            let times = table.times.values();
            let mut start = 0;
            while start < times.len() {
                let pane = EventTime(times[start]).pane_start(self.pane_ms);
                // One subtraction instead of a division per row; a time before the pane wraps to a huge one.
                let same = |time: &i64| (time.wrapping_sub(pane.0) as u64) < self.pane_ms as u64;
                let end = start + times[start..].iter().take_while(|time| same(time)).count();
                self.count_rows(table, pane, start..end)?;
                start = end;
            }
            self.note_joins(table);
        }
        Ok(())
    }

    fn note_joins(&mut self, table: &Table) {
        let (times, units) = (table.times.values(), table.units.values());
        for JoinAnswer { row, request, series, answer } in &table.joins.answers {
            let row = *row as usize;
            let Some((time, bucket)) = times.get(row).zip(units.get(row)) else { continue };
            self.joins(table.version, EventTime(*time)).note_answer(*series, *request, *answer, *bucket);
        }
        for label in &table.joins.labels {
            self.joins(table.version, EventTime(label.time)).note_label(label);
        }
    }

    /// Where one more request is noted.
    fn joins(&mut self, version: VersionIndex, time: EventTime) -> &mut PaneJoins {
        self.held_bytes += REQUEST_BYTES;
        self.joins.entry((version, time.pane_start(self.pane_ms))).or_insert_with(|| {
            self.held_bytes += size_of::<PaneJoins>() + 256;
            PaneJoins::default()
        })
    }

    fn count_rows(
        &mut self,
        table: &Table,
        pane: EventTime,
        rows: std::ops::Range<usize>,
    ) -> Result<(), CountError> {
        let watch = Arc::clone(&self.watch);
        let watched = watch.version(table.version);
        let mut scratch = std::mem::take(&mut self.scratch);
        let counts = self.pane(table.version, pane);
        let mut result = Ok(());
        for ((index, series), column) in watched.of(table.of).zip(&table.columns) {
            let reference = &series.reference;
            let tally = counts.series[index].get_or_insert_with(|| SeriesTally {
                counts: CellCounts::new(reference.grid.cells()),
                units: UnitCounts::default(),
                sums: Sums::default(),
                type_errors: 0,
            });
            let wrong = errors_within(&column.type_errors, &rows);
            tally.type_errors += wrong;
            let grid: &Grid = &reference.grid;
            let (buckets, octiles) = (table.units.values().as_ref(), &*series.octiles);
            let units = UnitRows { buckets, octiles, into: &mut tally.units, sums: &mut tally.sums };
            let (rows, into) = (rows.clone(), &mut tally.counts);
            result =
                count_column(grid, reference.range, &column.array, rows, Some(units), &mut scratch, into);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            let labels = labels_within(&table.labels, &rows);
            labels.iter().for_each(|pair| counts.labels.note(watched, pair));
            for pair in scores_within(&table.scores, &rows) {
                let ScorePair { row, series, score, truth } = *pair;
                let bucket = table.units.value(row as usize);
                counts.scores.note(watched, series as usize, bucket, score, truth);
            }
        }
        self.scratch = scratch;
        result
    }

    fn pane(&mut self, version: VersionIndex, time: EventTime) -> &mut PaneCounts {
        let key = (version, time.pane_start(self.pane_ms));
        let width = self.watch.version(version).series.len();
        let bytes = self.pane_bytes[version.model as usize][version.version as usize];
        self.panes.entry(key).or_insert_with(|| {
            self.held_bytes += bytes;
            let mut pane = PaneCounts::default();
            pane.series.resize_with(width, || None);
            pane
        })
    }

    /// Bytes held in counts, as if every series of an open pane had been seen.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether it is to be flushed before more panes are opened: event times may be scattered over any number.
    pub fn is_full(&self) -> bool {
        self.held_bytes >= self.cap()
    }

    /// The bytes at which it is full: [`MAX_HELD_BYTES`], or two panes of everything that is watched.
    pub fn cap(&self) -> usize {
        MAX_HELD_BYTES.max(2 * self.pane_bytes.iter().flatten().sum::<usize>())
    }

    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
            && self.joins.is_empty()
            && self.sources.values().all(SourceProgress::is_unmoved)
    }

    /// Whether the own watermark has passed the end of another pane by `lateness_ms` since the last flush, so
    /// that a verdict need not wait for the timer.
    pub fn completes_pane(&self, lateness_ms: i64) -> bool {
        self.complete_pane_end(lateness_ms).is_some_and(|end| end > self.flushed_pane_end)
    }

    fn complete_pane_end(&self, lateness_ms: i64) -> Option<i64> {
        let active = self.sources.values().filter(|progress| !progress.idle);
        let lowest = active.map(|progress| progress.watermark).min()??;
        Some(EventTime(lowest.0 - lateness_ms).pane_start(self.pane_ms).0)
    }
}

/// What one pane of a version takes at most, here or in the judge.
pub fn pane_bytes(version: &WatchedVersion) -> usize {
    let of_series = |series: &WatchedSeries| {
        size_of::<Option<SeriesTally>>()
            + 32
            + series.reference.grid.cells() * size_of::<u64>()
            + UNIT_CELLS * size_of::<u64>()
            // The sums stand in the tally; in the judge once more, as a record.
            + SPANS * size_of::<u128>()
    };
    256 + ServiceTally::BYTES
        + Labels::most_bytes(version)
        + Scores::most_bytes(version)
        + version.series.iter().map(of_series).sum::<usize>()
}

/// What the labels of one pane of a version take at most.
pub fn label_bytes(version: &WatchedVersion) -> usize {
    Labels::most_bytes(version) + Scores::most_bytes(version)
}

fn errors_within(type_errors: &[u32], rows: &std::ops::Range<usize>) -> u64 {
    let from = type_errors.partition_point(|row| (*row as usize) < rows.start);
    let to = type_errors.partition_point(|row| (*row as usize) < rows.end);
    (to - from) as u64
}

fn labels_within<'a>(labels: &'a [LabelPair], rows: &std::ops::Range<usize>) -> &'a [LabelPair] {
    let from = labels.partition_point(|pair| (pair.row as usize) < rows.start);
    let to = labels.partition_point(|pair| (pair.row as usize) < rows.end);
    &labels[from..to]
}

fn scores_within<'a>(scores: &'a [ScorePair], rows: &std::ops::Range<usize>) -> &'a [ScorePair] {
    let from = scores.partition_point(|pair| (pair.row as usize) < rows.start);
    let to = scores.partition_point(|pair| (pair.row as usize) < rows.end);
    &scores[from..to]
}

/// The number a series' kind has in tally records.
pub fn of_number(of: SeriesOf) -> u32 {
    match of {
        SeriesOf::Feature => 0,
        SeriesOf::Prediction => 1,
    }
}

/// The kind of series with this number in tally records.
pub fn of_from_number(number: u32) -> Option<SeriesOf> {
    match number {
        0 => Some(SeriesOf::Feature),
        1 => Some(SeriesOf::Prediction),
        _ => None,
    }
}
