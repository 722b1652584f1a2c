//! What waits of one version.

use super::{LabelNotes, Matured, Terms};
use crate::baseline::WatchedVersion;
use crate::event::EventTime;
use crate::judge::pane_holes::PaneHoles;
use crate::tally::labels::Labels;
use crate::tally::record::{LabelCounts, MaturedCounts, RoleCount, ScoreCounts};
use crate::tally::scores::Scores;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// A request of one output: the output's place among the series, and the hash of the request.
type Request = (usize, u64);

/// The answers and labels of one version that wait for each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct VersionJoin {
    /// The first pane that is not matured; `None`: none is.
    pub(super) unmatured: Option<i64>,
    /// Panes from there on whose answers or labels are not all known: nothing is held of them.
    pub(super) unjoined: PaneHoles,
    /// What matured since the version was seen last.
    pub(super) ripe: Option<Matured>,
    panes: BTreeMap<i64, WaitingPane>,
    /// By request and pane.
    labels: BTreeMap<(Request, i64), WaitingLabel>,
    /// The requests of the labels of a pane.
    labelled: BTreeMap<i64, Vec<Request>>,
    /// Pane → the offset of the first record of it that is held.
    offsets: BTreeMap<i64, i64>,
    /// Of all panes.
    answers: usize,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct WaitingPane {
    /// Labels that came with their answers.
    beside: Vec<LabelCounts>,
    scored: Vec<ScoreCounts>,
    answers: BTreeMap<Request, Answered>,
}

/// What was answered to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answered {
    Cell(u16),
    /// A number, and the bucket of the unit.
    Score(f64, u8),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct WaitingLabel {
    /// `None`: of another type than the output.
    truth: Option<u16>,
    /// An answer that matured had it, or may have had it before a restart.
    met: bool,
}

/// A record's pane, the first offset of its flush, and how much more may be held.
pub(super) struct Arrival<'a> {
    pub(super) terms: &'a Terms,
    pub(super) pane: i64,
    pub(super) offset: i64,
    pub(super) room: usize,
    /// It is read again after a restart.
    pub(super) again: bool,
    pub(super) notes: &'a mut LabelNotes,
}

impl VersionJoin {
    pub(super) fn held(&self) -> usize {
        self.answers + self.labels.len() + self.panes.len()
    }

    pub(super) fn oldest_offset(&self) -> Option<i64> {
        self.offsets.values().min().copied()
    }

    fn is_matured(&self, pane: i64) -> bool {
        self.unmatured.is_some_and(|first| pane < first)
    }

    /// Labels a pane earlier may be of answers that are not matured.
    fn is_past(&self, pane: i64) -> bool {
        self.is_matured(pane.saturating_add(1))
    }

    /// Some answers of `panes` are not known, or labels that may be of them.
    pub(super) fn mark(&mut self, panes: Range<i64>) {
        let panes = panes.start.max(self.unmatured.unwrap_or(i64::MIN))..panes.end;
        if panes.is_empty() {
            return;
        }
        self.unjoined.mark(panes.clone());
        // Marks may join: whatever they touch now is dropped.
        let marked: Vec<i64> =
            self.panes.keys().copied().filter(|pane| self.unjoined.touch(*pane..pane + 1)).collect();
        marked.into_iter().for_each(|pane| self.drop_pane(pane));
    }

    fn drop_pane(&mut self, pane: i64) {
        let dropped = self.panes.remove(&pane).unwrap_or_default();
        self.answers -= dropped.answers.len();
    }

    /// Gives up the newest pane that waits, if there is one: one pane is left out whole, and the others stay whole.
    fn make_room(&mut self, arrival: &mut Arrival<'_>) -> bool {
        let Some((newest, pane)) = self.panes.last_key_value() else { return false };
        arrival.notes.answers_refused += pane.answers.len() as u64;
        arrival.room += 1 + pane.answers.len();
        let newest = *newest;
        self.mark(newest..newest + 1);
        true
    }

    /// The pane of a record, if something more may be held of it.
    fn pane(&mut self, arrival: &mut Arrival<'_>, more: usize) -> Option<&mut WaitingPane> {
        let pane = arrival.pane;
        if self.unjoined.touch(pane..pane + 1) {
            return None;
        }
        let needed = more + usize::from(!self.panes.contains_key(&pane));
        while arrival.room < needed && self.make_room(arrival) {}
        if self.unjoined.touch(pane..pane + 1) {
            return None;
        }
        if arrival.room < needed {
            self.mark(pane..pane + 1);
            return None;
        }
        if !self.panes.contains_key(&pane) {
            arrival.room -= 1;
        }
        self.offsets.entry(pane).or_insert(arrival.offset);
        Some(self.panes.entry(pane).or_default())
    }

    pub(super) fn add_answer(&mut self, arrival: &mut Arrival<'_>, request: Request, answer: Answered) {
        if self.is_matured(arrival.pane) {
            arrival.notes.answers_late += 1;
            return;
        }
        let Some(pane) = self.pane(arrival, 1) else {
            arrival.notes.answers_refused += 1;
            return;
        };
        match pane.answers.entry(request) {
            Entry::Occupied(_) => arrival.notes.answers_repeated += 1,
            Entry::Vacant(place) => {
                place.insert(answer);
                self.answers += 1;
                arrival.room -= 1;
            }
        }
    }

    pub(super) fn add_label(&mut self, arrival: &mut Arrival<'_>, request: Request, truth: Option<u16>) {
        let pane = arrival.pane;
        if self.is_past(pane) {
            arrival.notes.late += 1;
            return;
        }
        if let Some(held) = self.labels.get_mut(&(request, pane)) {
            arrival.notes.repeated += 1;
            held.truth = truth;
            return;
        }
        // It may be of an answer in any of these.
        let reach = pane - arrival.terms.horizon..pane + 2;
        if self.unjoined.cover(reach.start.max(self.unmatured.unwrap_or(i64::MIN))..reach.end) {
            arrival.notes.refused += 1;
            return;
        }
        if arrival.room == 0 && !self.make_room(arrival) {
            arrival.notes.refused += 1;
            self.mark(reach);
            return;
        }
        let met = arrival.again && self.is_matured(reach.start);
        self.labels.insert((request, pane), WaitingLabel { truth, met });
        self.labelled.entry(pane).or_default().push(request);
        self.offsets.entry(pane).or_insert(arrival.offset);
        arrival.room -= 1;
    }

    /// Takes in labels that came beside the answers of a pane.
    pub(super) fn add_beside(
        &mut self,
        arrival: &mut Arrival<'_>,
        watched: &WatchedVersion,
        roles: &RoleCount,
    ) {
        if self.is_matured(arrival.pane) {
            return;
        }
        let Some(waiting) = self.pane(arrival, 0) else { return };
        let mut sums = (Labels::default(), Scores::default());
        sums.0.add(watched, &waiting.beside);
        sums.1.add(watched, &waiting.scored);
        let fits = sums.0.add(watched, &roles.labels);
        let fits = sums.1.add(watched, &roles.scores) && fits;
        (waiting.beside, waiting.scored) = (sums.0.record(watched), sums.1.record(watched));
        if !fits {
            // Counted on another grid.
            self.mark(arrival.pane..arrival.pane + 1);
        }
    }

    /// Counts the answers of the panes before `until`, and forgets them.
    pub(super) fn mature(
        &mut self,
        terms: &Terms,
        watched: &WatchedVersion,
        until: i64,
        notes: &mut LabelNotes,
    ) {
        let rest = self.panes.split_off(&until);
        let matured = std::mem::replace(&mut self.panes, rest);
        for (index, pane) in matured {
            notes.panes += 1;
            self.answers -= pane.answers.len();
            let time = |index: i64| EventTime(index.saturating_mul(terms.pane_ms)).0;
            let counts = self.counts(terms, watched, (index, pane), notes);
            let of_pane = MaturedCounts { start: time(index), end: time(index + 1), ..counts };
            Matured::join(&mut self.ripe, watched, &of_pane);
        }
        self.forget_before(until, notes);
    }

    /// The answers of a pane with their labels.
    fn counts(
        &mut self,
        terms: &Terms,
        watched: &WatchedVersion,
        (index, pane): (i64, WaitingPane),
        notes: &mut LabelNotes,
    ) -> MaturedCounts {
        let (mut labels, mut scores) = (Labels::default(), Scores::default());
        labels.add(watched, &pane.beside);
        scores.add(watched, &pane.scored);
        for (request, answer) in pane.answers {
            let label = self.label_of(terms, index, request);
            notes.joined += u64::from(label.is_some());
            match (answer, label) {
                (Answered::Cell(cell), label) => labels.note_answer(watched, request.0, cell, label),
                (Answered::Score(..), None) => scores.note_unlabelled(watched, request.0),
                (Answered::Score(score, bucket), Some(truth)) => {
                    scores.note(watched, request.0, bucket, score, truth.map(|truth| truth == 1));
                }
            }
        }
        let (labels, scores) = (labels.record(watched), scores.record(watched));
        MaturedCounts { labels, scores, ..MaturedCounts::default() }
    }

    /// The label of the answer to `request` in pane `index`: of several, the latest one.
    fn label_of(&mut self, terms: &Terms, index: i64, request: Request) -> Option<Option<u16>> {
        let panes = (request, index - 1)..=(request, index + terms.horizon);
        let (_, label) = self.labels.range_mut(panes).next_back()?;
        label.met = true;
        Some(label.truth)
    }

    fn forget_before(&mut self, until: i64, notes: &mut LabelNotes) {
        if let Some(first) = self.unmatured {
            notes.panes_left_out += self.unjoined.count(first..until);
        }
        self.unmatured = Some(self.unmatured.map_or(until, |first| first.max(until)));
        self.unjoined.forget_before(until);
        self.offsets = self.offsets.split_off(&(until - 1));
        let rest = self.labelled.split_off(&(until - 1));
        for (pane, requests) in std::mem::replace(&mut self.labelled, rest) {
            for request in requests {
                let label = self.labels.remove(&(request, pane));
                notes.unmatched += u64::from(label.is_some_and(|label| !label.met));
            }
        }
    }
}
