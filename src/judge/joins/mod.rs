//! Labels that came in events of their own, joined with the answers that they are of.
//!
//! ```text
//! answers (request, cell) by pane ─┐
//! labels  (request, cell) ─────────┴─► a pane matures when nobody waits for its labels any longer: each answer
//!                                      is looked up once, counted as right, wrong or unlabelled, and forgotten
//! ```
//!
//! A label at pane q is of an answer at pane p when q lies between p - 1 (clocks differ) and p + horizon; of several,
//! the one with the largest q. Which answer has which label does not depend on which came first, nor on what matured
//! in between (but of two labels in one pane the one that was read later counts). So a
//! judge that reads the tallies again, from the first record of a pane that is not matured, holds what it held.

mod matured;
mod version;

#[cfg(test)]
mod tests;

pub use matured::Matured;

use super::checked::bounded_index;
use super::panes::version_of;
use super::state::pane_ranges;
use super::state_record::JoinRecord;
use crate::baseline::{LabelJoin, VersionIndex, Watch, WatchedVersion};
use crate::cells::Grid;
use crate::event::SeriesOf;
use crate::tally::record::{Joins, MaturedCounts, RoleCount};
use std::collections::BTreeMap;
use std::ops::Range;
use version::{Answered, Arrival, VersionJoin};

/// What became of answers and labels that were to be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelNotes {
    /// Labels that met their answer.
    pub joined: u64,
    /// Labels that met none.
    pub unmatched: u64,
    /// Labels of a request that had one in the same pane; the later one counts.
    pub repeated: u64,
    /// Labels that came after all answers they could be of had matured.
    pub late: u64,
    /// Labels beyond the bound of what may wait, or only of panes that are left out.
    pub refused: u64,
    /// Answers to a request that was answered in the same pane; the first one counts.
    pub answers_repeated: u64,
    /// Answers whose pane had matured.
    pub answers_late: u64,
    /// Answers beyond the bound, and of panes that are left out.
    pub answers_refused: u64,
    /// Panes that matured.
    pub panes: u64,
    /// Panes left out because some of their answers or labels are not known, whether there were any or not.
    pub panes_left_out: u64,
}

/// What waits of all models whose labels are joined. Bounded by [`LabelJoin::max_pending`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct LabelJoins {
    versions: BTreeMap<VersionIndex, VersionJoin>,
}

/// How one model's labels are joined, in panes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    /// The horizon, rounded up: how many panes back the answer of a label may be.
    pub(super) horizon: i64,
    max_pending: usize,
    pane_ms: i64,
}

impl Terms {
    pub(super) fn new(join: &LabelJoin, pane_ms: i64) -> Terms {
        let horizon =
            join.horizon_ms.div_euclid(pane_ms) + i64::from(join.horizon_ms.rem_euclid(pane_ms) > 0);
        Terms { horizon, max_pending: join.max_pending, pane_ms }
    }
}

/// An output of a version, as a record of the tallies names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) version: VersionIndex,
    /// Its place among the version's series.
    pub(super) place: usize,
    grid: &'a Grid,
}

/// The output that `joins` is of; `None`: it is not watched here, or on another grid.
pub(super) fn output<'a>(watch: &'a Watch, version: VersionIndex, joins: &Joins) -> Option<Output<'a>> {
    let watched = watch.version(version);
    let place = watched.place(SeriesOf::Prediction, &joins.output, joins.grid_hash)?;
    Some(Output { version, place, grid: &watched.series[place].reference.grid })
}

impl Output<'_> {
    /// Whether every answer and label of the record has a cell of the grid.
    pub(super) fn holds(&self, joins: &Joins) -> bool {
        let (is_number, cells) = match self.grid {
            Grid::Numeric(_) => (true, 2),
            grid => (false, grid.cells() as u32),
        };
        let answers = if is_number { joins.answers.is_empty() } else { joins.scores.is_empty() };
        answers
            && joins.answers.iter().all(|cell| *cell < cells)
            && joins.labels.iter().all(|cell| *cell <= cells)
    }
}

impl LabelJoins {
    pub(super) fn new(watch: &Watch) -> LabelJoins {
        let joined = watch.models.iter().enumerate().filter(|(_, model)| model.labels.is_some());
        let versions = joined.flat_map(|(model, watched)| {
            let version = move |version| VersionIndex { model: model as u32, version: version as u32 };
            (0..watched.versions.len()).map(move |at| (version(at), VersionJoin::default()))
        });
        LabelJoins { versions: versions.collect() }
    }

    /// Takes a record of the tallies in; `pane`: the index of its pane, `offset`: of the first record of its flush;
    /// `again`: it is read again after a restart.
    pub(super) fn add(
        &mut self,
        terms: &Terms,
        output: Output<'_>,
        (pane, offset, again): (i64, i64, bool),
        joins: &Joins,
        notes: &mut LabelNotes,
    ) {
        let room = terms.max_pending.saturating_sub(self.held(output.version.model));
        let Some(version) = self.versions.get_mut(&output.version) else { return };
        let mut arrival = Arrival { terms, pane, offset, room, again, notes };
        // Of one kind only: the other one is empty.
        let cells = joins.answers.iter().map(|cell| Answered::Cell(*cell as u16));
        let scores = joins.scores.iter().zip(&joins.buckets);
        let scores = scores.map(|(score, bucket)| Answered::Score(*score, *bucket));
        for (request, answer) in joins.answered.iter().zip(cells.chain(scores)) {
            version.add_answer(&mut arrival, (output.place, *request), answer);
        }
        for (request, cell) in joins.labelled.iter().zip(&joins.labels) {
            let truth = cell.checked_sub(1).map(|cell| cell as u16);
            version.add_label(&mut arrival, (output.place, *request), truth);
        }
    }

    /// Takes in labels that came beside the answers of a pane.
    pub(super) fn add_beside(
        &mut self,
        terms: &Terms,
        (watched, version): (&WatchedVersion, VersionIndex),
        (pane, offset): (i64, i64),
        roles: &RoleCount,
        notes: &mut LabelNotes,
    ) {
        let room = terms.max_pending.saturating_sub(self.held(version.model));
        if let Some(version) = self.versions.get_mut(&version) {
            let mut arrival = Arrival { terms, pane, offset, room, again: false, notes };
            version.add_beside(&mut arrival, watched, roles);
        }
    }

    /// Some answers of `panes` are not known, or labels that may be of them.
    pub(super) fn mark(&mut self, version: VersionIndex, panes: Range<i64>) {
        if let Some(join) = self.versions.get_mut(&version) {
            join.mark(panes);
        }
    }

    /// Labels are missing that may be of any answer that is not matured, and answers up to pane `end`.
    pub(super) fn mark_all_before(&mut self, end: i64) {
        self.versions.values_mut().for_each(|join| join.mark(i64::MIN..end));
    }

    /// Counts the answers for whose labels nobody waits once pane `closing` is closed. `unread`: some source is not
    /// read so far, and may hold labels of them.
    pub(super) fn mature(
        &mut self,
        watch: &Watch,
        pane_ms: i64,
        closing: (i64, bool),
        notes: &mut LabelNotes,
    ) {
        let (closing, unread) = closing;
        for (version, join) in &mut self.versions {
            let Some(labels) = &watch.model(*version).labels else { continue };
            let terms = Terms::new(labels, pane_ms);
            let until = closing - terms.horizon + 1;
            if unread {
                join.mark(i64::MIN..until);
            }
            join.mature(&terms, watch.version(*version), until, notes);
        }
    }

    /// What matured of a version since the last of its panes with events.
    pub(super) fn take_ripe(
        &mut self,
        watched: &WatchedVersion,
        version: VersionIndex,
    ) -> Option<MaturedCounts> {
        let ripe = self.versions.get_mut(&version)?.ripe.take()?;
        Some(ripe.record(watched))
    }

    /// Answers and labels of a model that wait for each other.
    pub(super) fn held(&self, model: u32) -> usize {
        let of_model = self.versions.iter().filter(|(version, _)| version.model == model);
        of_model.map(|(_, join)| join.held()).sum()
    }

    /// The first offset of the tallies that what waits rests on.
    pub(super) fn oldest_offset(&self) -> Option<i64> {
        self.versions.values().filter_map(VersionJoin::oldest_offset).min()
    }

    /// What is stored of each version.
    pub(super) fn records(&self, watch: &Watch) -> Vec<JoinRecord> {
        let record = |(version, join): (&VersionIndex, &VersionJoin)| {
            let (id, watched) = (&watch.model(*version).id, watch.version(*version));
            JoinRecord {
                namespace: id.namespace.clone(),
                model: id.name.clone(),
                version: watched.version.clone(),
                unmatured: join.unmatured,
                unjoined: pane_ranges(&join.unjoined),
                ripe: join.ripe.as_ref().map(|ripe| ripe.record(watched)),
            }
        };
        self.versions.iter().map(record).collect()
    }

    /// Takes up what was stored, before the tallies are read again.
    pub(super) fn restore(&mut self, watch: &Watch, pane_ms: i64, record: &JoinRecord) {
        let Some(version) = version_of(watch, &record.namespace, &record.model, &record.version) else {
            return;
        };
        let Some(join) = self.versions.get_mut(&version) else { return };
        let bounded = |index: i64| bounded_index(index, pane_ms);
        join.unmatured = record.unmatured.map(bounded);
        record.unjoined.iter().for_each(|panes| join.mark(bounded(panes.start)..bounded(panes.end)));
        if let Some(ripe) = &record.ripe {
            Matured::join(&mut join.ripe, watch.version(version), ripe);
        }
    }
}
