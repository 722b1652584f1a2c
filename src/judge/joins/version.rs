//! What waits of one version.

use super::{LabelNotes, Matured, Terms};
use crate::baseline::WatchedVersion;
use crate::event::EventTime;
use crate::judge::pane_holes::PaneHoles;
use crate::tally::labels::Labels;
use crate::tally::record::{LabelCounts, MaturedCounts, ScoreCounts};
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
    /// Panes from there on whose answers or labels are not all known.
    pub(super) unjoined: PaneHoles,
    panes: BTreeMap<i64, WaitingPane>,
    /// By request and pane.
    labels: BTreeMap<(Request, i64), WaitingLabel>,
    /// Pane → the offset of the first record of it.
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
    /// An answer that matured had it.
    met: bool,
}

impl VersionJoin {
    pub(super) fn held(&self) -> usize {
        self.answers + self.labels.len()
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

    pub(super) fn mark(&mut self, panes: Range<i64>) {
        self.unjoined.mark(panes.start.max(self.unmatured.unwrap_or(i64::MIN))..panes.end);
    }

    pub(super) fn note_offset(&mut self, pane: i64, offset: i64) {
        if !self.is_past(pane) {
            self.offsets.entry(pane).or_insert(offset);
        }
    }

    pub(super) fn add_answer(
        &mut self,
        pane: i64,
        request: Request,
        answer: Answered,
        room: &mut usize,
        notes: &mut LabelNotes,
    ) {
        if self.is_matured(pane) {
            notes.answers_late += 1;
            return;
        }
        match self.panes.entry(pane).or_default().answers.entry(request) {
            Entry::Occupied(_) => notes.answers_repeated += 1,
            Entry::Vacant(_) if *room == 0 => {
                notes.answers_refused += 1;
                self.unjoined.mark(pane..pane + 1);
            }
            Entry::Vacant(place) => {
                place.insert(answer);
                self.answers += 1;
                *room -= 1;
            }
        }
    }

    pub(super) fn add_label(
        &mut self,
        terms: &Terms,
        pane: i64,
        request: Request,
        truth: Option<u16>,
        room: &mut usize,
        notes: &mut LabelNotes,
    ) {
        if self.is_past(pane) {
            notes.late += 1;
            return;
        }
        match self.labels.get_mut(&(request, pane)) {
            Some(held) => {
                notes.repeated += 1;
                held.truth = truth;
            }
            None if *room == 0 => {
                notes.refused += 1;
                // It may be of an answer in any of these.
                self.mark(pane - terms.horizon..pane + 2);
            }
            None => {
                self.labels.insert((request, pane), WaitingLabel { truth, met: false });
                *room -= 1;
            }
        }
    }

    pub(super) fn add_beside(
        &mut self,
        watched: &WatchedVersion,
        pane: i64,
        (labels, scores): (&[LabelCounts], &[ScoreCounts]),
    ) {
        if self.is_matured(pane) {
            return;
        }
        let waiting = self.panes.entry(pane).or_default();
        let mut sums = (Labels::default(), Scores::default());
        sums.0.add(watched, &waiting.beside);
        sums.1.add(watched, &waiting.scored);
        let fits = sums.0.add(watched, labels);
        if !(sums.1.add(watched, scores) && fits) {
            // Counted on another grid.
            self.unjoined.mark(pane..pane + 1);
        }
        (waiting.beside, waiting.scored) = (sums.0.record(watched), sums.1.record(watched));
    }

    /// Counts the answers of the panes before `until`, and forgets them.
    pub(super) fn mature(
        &mut self,
        terms: &Terms,
        watched: &WatchedVersion,
        until: i64,
        notes: &mut LabelNotes,
    ) -> Option<MaturedCounts> {
        let mut matured: Option<Matured> = None;
        for (index, pane) in self.take_before(until) {
            if self.unjoined.touch(index..index + 1) {
                notes.panes_left_out += 1;
                continue;
            }
            notes.panes += 1;
            let time = |index: i64| EventTime(index.saturating_mul(terms.pane_ms)).0;
            let counts = self.counts(terms, watched, (index, pane), notes);
            let of_pane = MaturedCounts { start: time(index), end: time(index + 1), ..counts };
            Matured::join(&mut matured, watched, &of_pane);
        }
        self.forget_before(until, notes);
        matured.map(|matured| matured.record(watched))
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

    /// Forgets the panes before `until`: nobody asked for them.
    pub(super) fn give_up(&mut self, until: i64, notes: &mut LabelNotes) {
        if self.panes.keys().chain(self.offsets.keys()).any(|pane| *pane < until) {
            notes.panes_left_out += self.take_before(until).len() as u64;
            self.forget_before(until, notes);
        }
    }

    fn take_before(&mut self, until: i64) -> BTreeMap<i64, WaitingPane> {
        let rest = self.panes.split_off(&until);
        let taken = std::mem::replace(&mut self.panes, rest);
        self.answers -= taken.values().map(|pane| pane.answers.len()).sum::<usize>();
        taken
    }

    fn forget_before(&mut self, until: i64, notes: &mut LabelNotes) {
        self.unmatured = Some(self.unmatured.map_or(until, |first| first.max(until)));
        self.unjoined.forget_before(until);
        self.offsets = self.offsets.split_off(&(until - 1));
        self.labels.retain(|(_, pane), label| {
            let stays = *pane >= until - 1;
            notes.unmatched += u64::from(!stays && !label.met);
            stays
        });
    }
}
