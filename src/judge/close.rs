//! The watermark moves: panes are closed in order, sums made, windows handed out.

use super::history::{ArmSum, ModelHistory, SCALES, TIERS};
use super::merge::{Judge, Step};
use super::panes::OpenPane;
use super::sources::Low;
use super::window::ModelWindow;
use crate::baseline::VersionIndex;
use crate::tally::record::PaneRecord;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Empty panes that are walked one by one; no window reaches over more.
const MAX_WALK: i64 = 80;

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
        if let Some(target) = target {
            self.close_up_to(target, !step.notes.left_out.is_empty(), step);
        }
        self.report_revisions(step);
    }

    fn close_up_to(&mut self, target: i64, left_out: bool, step: &mut Step) {
        let Some(first_open) = self.open.keys().next().copied() else {
            // Nothing is open: windows that end on empty panes still come, as far as one can reach.
            if let Some(closed) = self.closed_to {
                self.walk(closed, target.min(closed + MAX_WALK), left_out, step);
                self.closed_to = Some(closed.max(target));
            }
            return;
        };
        let mut next = self.closed_to.unwrap_or(first_open);
        while next < target {
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
    }

    /// Closes the panes `from..to`, in order.
    fn walk(&mut self, from: i64, to: i64, left_out: bool, step: &mut Step) {
        for index in from..to {
            self.close(index, left_out, step);
        }
    }

    fn close(&mut self, index: i64, left_out: bool, step: &mut Step) {
        self.closed_to = Some(index + 1);
        if let Some(pane) = self.open.remove(&index) {
            self.keep(index, &pane, pane.complete && !left_out);
        }
        let models: Vec<u32> = self.models.keys().copied().collect();
        let late = self.config.allowed_lateness_ms.div_euclid(self.config.pane_ms).max(1);
        for model in models {
            self.close_model(model, index, step);
            if let Some(history) = self.models.get_mut(&model) {
                history.prune(index + 1, late);
            }
        }
    }

    fn keep(&mut self, index: i64, pane: &OpenPane, complete: bool) {
        for (version, arm) in &pane.arms {
            let history = self
                .models
                .entry(version.model)
                .or_insert_with(|| ModelHistory { first: index, ..Default::default() });
            history.first = history.first.min(index);
            history.tiers[0]
                .entry(index)
                .or_default()
                .insert(version.version, ArmSum::of_pane(arm, complete));
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
            let Some(history) = self.models.get_mut(&model) else { return };
            if end.rem_euclid(*length) == 0 && history.make_sum(&watch, model, tier, end - length) {
                step.panes.extend(self.pane_records(model, tier, end - length));
            }
        }
        let Some(history) = self.models.get(&model) else { return };
        for scale in SCALES {
            if end.rem_euclid((scale / 4).max(1)) == 0 {
                step.windows.extend(history.window(&watch, model, scale, end, self.config.pane_ms));
            }
        }
    }

    fn report_revisions(&mut self, step: &mut Step) {
        let clock = self.sources.clock;
        if self.dirty.is_empty() || clock - self.revised_at < self.config.lateness_ms {
            return;
        }
        self.revised_at = clock;
        let closed = self.closed_to.unwrap_or(i64::MIN);
        let mut ends: BTreeSet<(u32, i64, i64)> = BTreeSet::new();
        for (model, index) in std::mem::take(&mut self.dirty) {
            for scale in SCALES {
                let stride = (scale / 4).max(1);
                let containing = (index + 1..=index + scale).filter(|end| end.rem_euclid(stride) == 0);
                ends.extend(containing.filter(|end| *end <= closed).map(|end| (model, scale, end)));
            }
        }
        for (model, scale, end) in ends {
            let Some(history) = self.models.get(&model) else { continue };
            let window = history.window(&self.watch.0, model, scale, end, self.config.pane_ms);
            step.windows.extend(window.map(|window| ModelWindow { revised: true, ..window }));
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
