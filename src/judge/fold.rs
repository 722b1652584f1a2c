//! Flushes into panes: deltas into open ones, late ones into closed ones.

use super::history::{ArmSum, ModelHistory, TIERS};
use super::joins::{self, LabelNotes};
use super::merge::{Judge, Notes, Staged, Step};
use super::panes::{OpenPane, add_counts, empty, on_another_grid, place, to_record, version_of};
use super::service::Service;
use crate::baseline::VersionIndex;
use crate::tally::checked::add_counts_up;
use crate::tally::labels::Labels;
#[cfg(test)]
use crate::tally::planted::Bug;
use crate::tally::record::{Delta, Joins, RoleCount};
use crate::tally::scores::Scores;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Judge {
    pub(super) fn fold(&mut self, staged: &Staged, roles: &[RoleCount], step: &mut Step) {
        let (first_offset, mut revised) = (staged.first_offset, BTreeSet::new());
        for delta in &staged.deltas {
            self.fold_delta(first_offset, delta, &mut revised, &mut step.notes);
        }
        for joins in &staged.joins {
            self.fold_joins(first_offset, joins, &mut step.notes);
        }
        for roles in roles {
            self.fold_roles(first_offset, roles, &mut revised, &mut step.notes);
        }
        for (model, index) in revised {
            self.note_revision(model, index, step);
        }
    }

    fn fold_delta(
        &mut self,
        first_offset: i64,
        delta: &Delta,
        revised: &mut BTreeSet<(u32, i64)>,
        notes: &mut Notes,
    ) {
        let index = self.index(delta.pane_start);
        let closed = self.closed_to.is_some_and(|closed| index < closed);
        let (Some(place), Some(counts)) = (place(&self.watch.0, delta), &delta.counts) else {
            notes.foreign_deltas += 1;
            // Counts of a baseline that was replaced: what is counted on the new one lacks them.
            match on_another_grid(&self.watch.0, delta) {
                Some(_) if !closed => {
                    self.open.entry(index).or_insert_with(|| OpenPane::new(first_offset)).complete = false;
                }
                Some(version) if self.may_revise(version, index) => {
                    self.add_late(version, index, |arm, _| arm.complete = false);
                    revised.insert((version.model, index));
                }
                _ => {}
            }
            return;
        };
        if delta.pane_len != self.config.pane_ms {
            // Counted before panes had their present length: its events are in none of the present ones.
            let end = delta.pane_start + delta.pane_len.max(1);
            self.holes.mark(index..self.index(end - 1) + 1);
            notes.foreign_deltas += 1;
            return;
        }
        if closed {
            if self.may_revise(place.version, index) {
                self.add_late(place.version, index, |arm, width| {
                    arm.series.resize(width, None);
                    let mut dense = empty(place.cells);
                    if let Some(held) = &arm.series[place.series] {
                        add_counts(&mut dense, held);
                    }
                    add_counts(&mut dense, counts);
                    arm.series[place.series] = Some(to_record(&dense));
                });
                revised.insert((place.version.model, index));
            }
            return;
        }
        let pane = self.open.entry(index).or_insert_with(|| OpenPane::new(first_offset));
        let arm = pane.arm(place.version, place.width);
        let held = arm.series[place.series].get_or_insert_with(|| empty(place.cells));
        if !add_counts(held, counts) {
            notes.foreign_deltas += 1;
        }
    }

    fn fold_joins(&mut self, first_offset: i64, joins: &Joins, notes: &mut Notes) {
        let watch = Arc::clone(&self.watch.0);
        let version = version_of(&watch, &joins.namespace, &joins.model, &joins.version);
        let Some((version, terms)) = version.and_then(|one| Some((one, self.join_terms(one.model)?))) else {
            notes.foreign_deltas += 1;
            return;
        };
        let pane = self.index(joins.pane_start);
        let output = joins::output(&watch, version, joins).filter(|output| output.holds(joins));
        let Some(output) = output.filter(|_| joins.pane_len == self.config.pane_ms) else {
            // Counted on another grid, or in other panes.
            let end = joins.pane_start + joins.pane_len.max(1);
            self.joins.mark(version, pane - terms.horizon..self.index(end - 1) + 2);
            notes.foreign_deltas += 1;
            return;
        };
        let (again, mut ignored) = (self.is_replaying(), LabelNotes::default());
        // What a replay reads has been noted before the restart.
        let notes = if again { &mut ignored } else { &mut notes.labels };
        self.joins.add(&terms, output, (pane, first_offset, again), joins, notes);
    }

    /// How the labels of a model are joined, if they are.
    pub(super) fn join_terms(&self, model: u32) -> Option<joins::Terms> {
        let join = self.watch.0.models.get(model as usize)?.labels.as_ref()?;
        Some(joins::Terms::new(join, self.config.pane_ms))
    }

    fn fold_roles(
        &mut self,
        first_offset: i64,
        roles: &RoleCount,
        revised: &mut BTreeSet<(u32, i64)>,
        notes: &mut Notes,
    ) {
        let Some(version) = version_of(&self.watch.0, &roles.namespace, &roles.model, &roles.version) else {
            return;
        };
        let index = self.index(roles.pane_start);
        if let Some(terms) = self.join_terms(version.model)
            && !(roles.labels.is_empty() && roles.scores.is_empty())
        {
            let watched = self.watch.0.version(version);
            self.joins.add_beside(
                &terms,
                (watched, version),
                (index, first_offset),
                roles,
                &mut notes.labels,
            );
        }
        let events = roles.stable + roles.canary + roles.unset;
        let watched = self.watch.0.version(version);
        let width = watched.series.len();
        if self.closed_to.is_some_and(|closed| index < closed) {
            if self.is_replaying() {
                return;
            }
            if !self.may_revise(version, index) {
                notes.late_dropped = notes.late_dropped.saturating_add(events);
                return;
            }
            notes.late_revised = notes.late_revised.saturating_add(events);
            let watch = self.watch.0.clone();
            self.add_late(version, index, |arm, _| {
                arm.stable = add_counts_up(arm.stable, roles.stable);
                arm.canary = add_counts_up(arm.canary, roles.canary);
                arm.unset = add_counts_up(arm.unset, roles.unset);
                arm.mixed |= arm.stable > 0 && arm.canary > 0;
                let mut service = Service::default();
                for counts in [&arm.service, &roles.service].into_iter().flatten() {
                    service.add(counts);
                }
                arm.service = service.record();
                let watched = watch.version(version);
                if !roles.labels.is_empty() {
                    arm.labels = Labels::sum_of_records(watched, [&arm.labels, &roles.labels]);
                }
                if !roles.scores.is_empty() {
                    arm.scores = Scores::sum_of_records(watched, [&arm.scores, &roles.scores]);
                }
            });
            revised.insert((version.model, index));
            return;
        }
        let pane = self.open.entry(index).or_insert_with(|| OpenPane::new(first_offset));
        if !pane.arm(version, width).add_roles(watched, roles) {
            notes.foreign_deltas += 1;
        }
    }

    /// Late events of a replay were written to the panes before the restart. A pane that was counted on
    /// another grid takes no more.
    fn may_revise(&self, version: VersionIndex, index: i64) -> bool {
        !self.is_replaying()
            && index >= self.counted_since(version)
            && self.closed_to.is_some_and(|closed| closed - index <= self.late_panes())
    }

    fn add_late(&mut self, version: VersionIndex, index: i64, add: impl Fn(&mut ArmSum, usize)) {
        let width = self.watch.0.version(version).series.len();
        let history = self
            .models
            .entry(version.model)
            .or_insert_with(|| ModelHistory { first: index, ..Default::default() });
        history.first = history.first.min(index);
        let pane = history.tiers[0].get(&index).and_then(|arms| arms.get(&version.version));
        let was_empty = pane.is_none_or(|arm| arm.filled == 0);
        let closed_to = self.closed_to.unwrap_or(i64::MIN);
        let holes = &self.holes;
        for (tier, length) in TIERS.iter().enumerate() {
            let start = index - index.rem_euclid(*length);
            // A sum that is not due yet will take the late events from its panes.
            if start + length > closed_to {
                continue;
            }
            let arms = history.tiers[tier].entry(start).or_default();
            let complete = !holes.touch(start..start + length);
            let arm = arms.entry(version.version).or_insert_with(|| ArmSum { complete, ..ArmSum::default() });
            arm.filled = arm.filled.saturating_add(u32::from(was_empty));
            add(arm, width);
            #[cfg(test)]
            if Bug::CountLateTwice.is_planted() {
                add(arm, width);
            }
        }
    }

    /// A closed pane has changed: its records are written again now, its windows' reports at most once per
    /// lateness.
    fn note_revision(&mut self, model: u32, index: i64, step: &mut Step) {
        self.dirty.insert((model, index), self.closed_to.unwrap_or(i64::MIN));
        for (tier, length) in TIERS.iter().enumerate() {
            let start = index - index.rem_euclid(*length);
            if let Some(history) = self.models.get_mut(&model)
                && let Some(arms) = history.tiers[tier].get_mut(&start)
            {
                arms.values_mut().for_each(|arm| arm.revision = arm.revision.saturating_add(1));
                step.panes.extend(self.pane_records(model, tier, start));
            }
        }
    }
}
