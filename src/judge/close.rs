//! The watermark moves: panes are closed in order, sums made, windows handed out.

use super::history::{ArmSum, ModelHistory, SCALES, TIERS};
use super::merge::{Judge, Step};
use super::panes::OpenPane;
use super::sources::Low;
use super::window::ModelWindow;
use crate::baseline::VersionIndex;
#[cfg(test)]
use crate::tally::planted::Bug;
use crate::tally::record::PaneRecord;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Empty panes that are walked one by one; no window reaches over more.
const MAX_WALK: i64 = 80;
/// What the open panes of a merge partition may hold, in bytes, before the oldest are closed early.
pub const MAX_OPEN_BYTES: usize = 128 << 20;
/// So many stay open whatever they hold: models with very many series need more than [`MAX_OPEN_BYTES`].
pub const MIN_OPEN_PANES: usize = 8;

/// Panes that the watermark has passed, and that are not closed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// One past the index of the last one.
    target: i64,
    /// Whether a source is left out of them.
    left_out: bool,
}

impl Judge {
    /// Moves the watermark, and closes what it passes.
    pub(super) fn advance(&mut self, step: &mut Step) {
        if self.is_replaying() {
            return;
        }
        let oldest_end = self.open.keys().next().map(|index| (index + 1) * self.config.pane_ms);
        self.sources.note_stalls(oldest_end.map(|end| end + self.config.lateness_ms));
        step.notes.left_out = self.sources.left_out(self.config.max_stall_ms);
        let target = match self.sources.low(self.config.max_stall_ms) {
            Low::Unknown => None,
            Low::At(low) => {
                step.notes.watermark = Some(low);
                Some(self.index(low - self.config.lateness_ms))
            }
            Low::AllIdle => self.open.keys().next_back().map(|last| last + 1),
        };
        #[cfg(test)]
        let target = if Bug::CloseEarly.is_planted() { target.map(|target| target + 1) } else { target };
        self.due = target.map(|target| Due { target, left_out: !step.notes.left_out.is_empty() });
        self.catch_up(step);
    }

    /// How many panes behind the last closed one late events are still taken.
    pub(super) fn late_panes(&self) -> i64 {
        self.config.allowed_lateness_ms.div_euclid(self.config.pane_ms).max(1)
    }

    /// Closes what is due, until the allowance is used up; what is left then stays due.
    pub(super) fn catch_up(&mut self, step: &mut Step) {
        if let Some(due) = self.due.take()
            && !self.close_up_to(due.target, due.left_out, step)
        {
            self.due = Some(due);
            return;
        }
        self.limit_open(step);
        if self.due.is_none() && self.sources.clock - self.revised_at >= self.config.lateness_ms {
            self.report_revisions(step);
        }
    }

    /// What a crash left due: the state was stored between two slices.
    pub(super) fn find_due(&mut self) {
        let (first, last) = (self.open.keys().next(), self.open.keys().next_back());
        let target = match self.sources.low(self.config.max_stall_ms) {
            Low::Unknown => None,
            Low::At(low) => Some(self.index(low - self.config.lateness_ms)),
            Low::AllIdle => last.map(|last| last + 1),
        };
        let from = self.closed_to.or(first.copied());
        let target = target.filter(|target| from.is_some_and(|from| from < *target));
        let left_out = !self.sources.left_out(self.config.max_stall_ms).is_empty();
        self.due = target.map(|target| Due { target, left_out });
    }

    /// Closes the oldest open panes early while the open ones hold more than they may: a source that is far
    /// behind the others, or event times scattered over years. What still comes for them is late.
    fn limit_open(&mut self, step: &mut Step) {
        if self.open.len() <= MIN_OPEN_PANES {
            return;
        }
        let mut bytes: usize = self.open.values().map(OpenPane::bytes).sum();
        while bytes > self.open_limit && self.open.len() > MIN_OPEN_PANES {
            let Some((oldest, pane)) = self.open.first_key_value() else { return };
            let target = oldest + 1;
            bytes -= pane.bytes();
            step.notes.closed_early += 1;
            if !self.close_up_to(target, true, step) {
                self.due = Some(Due { target, left_out: true });
                return;
            }
        }
    }

    /// Whether all of it is closed; otherwise the allowance is used up.
    fn close_up_to(&mut self, target: i64, left_out: bool, step: &mut Step) -> bool {
        let Some(first_open) = self.open.keys().next().copied() else {
            // Nothing is open: windows that end on empty panes still come, as far as one can reach.
            if let Some(closed) = self.closed_to {
                self.walk(closed, target.min(closed + MAX_WALK), left_out, step);
                self.closed_to = Some(closed.max(target));
            }
            return true;
        };
        if self.closed_to.is_none() && target <= first_open {
            return true;
        }
        let mut next = self.closed_to.unwrap_or(first_open);
        while next < target && self.allowance > 0 {
            self.allowance -= 1;
            let data = self.open.keys().next().copied().unwrap_or(target).min(target);
            if data > next + MAX_WALK {
                self.walk(next, next + MAX_WALK, left_out, step);
                next = (next + MAX_WALK).max(data - data.rem_euclid(16));
            }
            let end = (data + 1).min(target);
            self.walk(next, end, left_out, step);
            next = end;
        }
        self.closed_to = Some(self.closed_to.unwrap_or(next).max(next));
        next >= target
    }

    /// Closes the panes `from..to`, in order.
    fn walk(&mut self, from: i64, to: i64, left_out: bool, step: &mut Step) {
        for index in from..to {
            self.close(index, left_out, step);
        }
    }

    fn close(&mut self, index: i64, left_out: bool, step: &mut Step) {
        self.closed_to = Some(index + 1);
        if left_out {
            self.holes.mark(index..index + 1);
        }
        let watch = Arc::clone(&self.watch.0);
        self.joins.mature(&watch, self.config.pane_ms, (index, left_out), &mut step.notes.labels);
        let missing = self.holes.touch(index..index + 1);
        match self.open.remove(&index) {
            Some(pane) => self.keep(index, &pane, pane.complete && !missing),
            // It may have held something.
            None if missing => self.keep(index, &OpenPane::new(self.applied), false),
            None => {}
        }
        let models: Vec<u32> = self.models.keys().copied().collect();
        let late = self.late_panes();
        self.holes.forget_before(index - late - SCALES[3]);
        let oldest_dirty = self.dirty.keys().map(|(_, index)| *index).min();
        if oldest_dirty.is_some_and(|dirty| index + 1 - dirty > late + 3) {
            // The panes of its windows are about to be forgotten.
            self.report_revisions(step);
        }
        for model in models {
            self.close_model(model, index, step);
            if let Some(history) = self.models.get_mut(&model) {
                history.prune(index + 1, late);
            }
        }
    }

    fn keep(&mut self, index: i64, pane: &OpenPane, complete: bool) {
        for (version, arm) in &pane.arms {
            let watched = self.watch.0.version(*version);
            let matured = self.joins.take_ripe(watched, *version);
            let of_pane = ArmSum::of_pane(watched, arm, complete);
            let history = self
                .models
                .entry(version.model)
                .or_insert_with(|| ModelHistory { first: index, ..Default::default() });
            history.first = history.first.min(index);
            history.tiers[0].entry(index).or_default().insert(version.version, ArmSum { matured, ..of_pane });
        }
        if complete {
            return;
        }
        for history in self.models.values_mut() {
            for version in history.versions() {
                history.tiers[0].entry(index).or_default().entry(version).or_insert_with(ArmSum::unknown);
            }
        }
    }

    fn close_model(&mut self, model: u32, index: i64, step: &mut Step) {
        let end = index + 1;
        step.panes.extend(self.pane_records(model, 0, index));
        let watch = Arc::clone(&self.watch.0);
        for (tier, length) in TIERS.iter().enumerate().skip(1) {
            let whole = !self.holes.touch(end - length..end);
            let Some(history) = self.models.get_mut(&model) else { return };
            if end.rem_euclid(*length) == 0 && history.make_sum(&watch, model, tier, end - length, whole) {
                step.panes.extend(self.pane_records(model, tier, end - length));
            }
        }
        for scale in SCALES.into_iter().filter(|scale| end.rem_euclid((scale / 4).max(1)) == 0) {
            step.windows.extend(self.window(model, scale, end));
        }
    }

    /// The window of `scale` panes that ends before pane `end`, as [`ModelHistory::window`].
    fn window(&self, model: u32, scale: i64, end: i64) -> Option<ModelWindow> {
        let history = self.models.get(&model)?;
        let window = history.window(&self.watch.0, model, scale, end, self.config.pane_ms, &self.holes)?;
        let set_weight = self.weight_over(model, window.start.0, window.end.0);
        Some(ModelWindow { set_weight, ..window })
    }

    /// Reports the windows of closed panes that late events changed.
    fn report_revisions(&mut self, step: &mut Step) {
        if self.dirty.is_empty() {
            return;
        }
        self.revised_at = self.sources.clock;
        let mut ends: BTreeSet<(u32, i64, i64)> = BTreeSet::new();
        for ((model, index), closed) in std::mem::take(&mut self.dirty) {
            for scale in SCALES {
                let stride = (scale / 4).max(1);
                let containing = (index + 1..=index + scale).filter(|end| end.rem_euclid(stride) == 0);
                ends.extend(containing.filter(|end| *end <= closed).map(|end| (model, scale, end)));
            }
        }
        for (model, scale, end) in ends {
            let window = self.window(model, scale, end);
            #[cfg(test)]
            let window =
                window.map(|window| ModelWindow { revised: !Bug::ActOnRevision.is_planted(), ..window });
            #[cfg(not(test))]
            let window = window.map(|window| ModelWindow { revised: true, ..window });
            step.windows.extend(window);
        }
    }

    /// The records of what tier `tier` holds at `start`.
    pub(super) fn pane_records(&self, model: u32, tier: usize, start: i64) -> Vec<PaneRecord> {
        let arms = self.models.get(&model).and_then(|history| history.tiers[tier].get(&start));
        let Some(arms) = arms else { return Vec::new() };
        let mut records = Vec::new();
        for (version, arm) in arms {
            let version = VersionIndex { model, version: *version };
            records.extend(super::state::arm_records(
                &self.watch.0,
                version,
                tier,
                start,
                self.config.pane_ms,
                arm,
            ));
        }
        records
    }
}
