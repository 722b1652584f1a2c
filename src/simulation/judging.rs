//! The judge of one merge partition in a run: the real [`Judge`], restored and committed as
//! `pipeline/judge_stage.rs` does.

use super::schedule::Ending;
use super::traffic::watch;
use super::world::{Committed, Switch, TallyEntry, World};
use super::{JUDGE, Violation};
use crate::baseline::Watch;
use crate::judge::window::ModelWindow;
use crate::judge::{Judge, MergeState, pane_key};
use crate::tally::SourceKey;
use crate::tally::record::PaneRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A judge between two commits.
#[derive(Debug)]
pub(super) struct Slot {
    merge: usize,
    judge: Judge,
    /// Source partitions it expects.
    expects: usize,
    baseline: usize,
    touched: bool,
    panes: Vec<PaneRecord>,
    windows: Vec<ModelWindow>,
}

/// A judge out of what was committed. What it applied before is replayed from the log, and emits nothing.
pub(super) fn restore(
    state: Option<&MergeState>,
    panes: &BTreeMap<String, PaneRecord>,
    watch: Arc<Watch>,
    expected: BTreeSet<SourceKey>,
    log: &[TallyEntry],
) -> Result<Judge, Violation> {
    let Some(state) = state else { return Ok(Judge::new(JUDGE, watch, expected, 0)) };
    let mut judge = Judge::restore(JUDGE, watch, expected, state);
    panes.values().for_each(|pane| judge.restore_pane(pane));
    let (from, to) = (state.read_from() as usize, state.applied as usize);
    for (offset, entry) in log.iter().enumerate().take(to).skip(from).filter(|(_, entry)| entry.visible) {
        let step = judge.apply(offset as i64, &entry.record);
        if !step.panes.is_empty() || !step.windows.is_empty() {
            return Err(Violation::new(
                "restart",
                format!("the replay of offset {offset} emitted something"),
            ));
        }
    }
    Ok(judge)
}

impl Slot {
    pub(super) fn begin(merge: usize, world: &mut World) -> Result<Slot, Violation> {
        let expects = world.sources.len();
        let expected = world.expected(expects);
        let committed = &mut world.committed[merge];
        let judge = restore(
            committed.state.as_ref(),
            &committed.panes,
            watch(world.baseline),
            expected,
            &world.tallies[merge],
        )?;
        let at = committed.state.as_ref().map_or(0, |state| state.applied);
        committed.note(at, Switch::Watch(world.baseline));
        committed.note(at, Switch::Expect(expects));
        Ok(Slot {
            merge,
            judge,
            expects,
            baseline: world.baseline,
            touched: false,
            panes: Vec::new(),
            windows: Vec::new(),
        })
    }

    /// Applies up to `count` records.
    pub(super) fn read(&mut self, world: &mut World, count: usize) -> Result<(), Violation> {
        if self.baseline != world.baseline {
            *self = Slot::begin(self.merge, world)?;
        }
        if !self.touched && self.expects != world.sources.len() {
            self.expects = world.sources.len();
            self.judge.expect(world.expected(self.expects));
            world.committed[self.merge].note(self.judge.applied(), Switch::Expect(self.expects));
        }
        let from = self.judge.applied() as usize;
        let log = &world.tallies[self.merge];
        for (offset, entry) in
            log.iter().enumerate().skip(from).filter(|(_, entry)| entry.visible).take(count)
        {
            self.touched = true;
            // Closed in parts, as when history is read at full speed; the last parts may wait for the next read.
            self.close_rest(usize::MAX);
            let step = self.judge.apply_in_part(offset as i64, &entry.record, 1);
            self.keep(step);
        }
        self.close_rest(if count % 2 == 1 && world.in_parts { 1 } else { usize::MAX });
        Ok(())
    }

    fn close_rest(&mut self, parts: usize) {
        for _ in 0..parts {
            let Some(step) = self.judge.close_more(1) else { return };
            self.touched = true;
            self.keep(step);
        }
    }

    fn keep(&mut self, step: crate::judge::Step) {
        self.panes.extend(step.panes);
        self.windows.extend(step.windows);
    }

    /// Writes what was applied, in one transaction.
    pub(super) fn commit(&mut self, world: &mut World, ending: Ending) -> Result<(), Violation> {
        if !self.touched {
            return Ok(());
        }
        let applied = matches!(ending, Ending::Committed | Ending::Ambiguous { applied: true });
        if applied {
            let committed = &mut world.committed[self.merge];
            committed.take(
                self.judge.state(),
                std::mem::take(&mut self.panes),
                std::mem::take(&mut self.windows),
                world.destroyed,
            )?;
        }
        if ending == Ending::Committed {
            self.touched = false;
        } else {
            *self = Slot::begin(self.merge, world)?;
        }
        Ok(())
    }

    /// Whether nothing is left to apply, and nothing open.
    pub(super) fn is_done(&self, world: &World) -> bool {
        let log = &world.tallies[self.merge];
        let read = log.iter().skip(self.judge.applied() as usize).all(|entry| !entry.visible);
        read && !self.touched
            && !self.judge.is_due()
            && self.judge.open_panes() == 0
            && self.judge.unreported_revisions() == 0
    }
}

impl Committed {
    fn note(&mut self, at: i64, switch: Switch) {
        // Of what was known at one offset only the last is committed with it.
        let same_kind = |one: &Switch| std::mem::discriminant(one) == std::mem::discriminant(&switch);
        self.switches.retain(|(before, one)| *before != at || !same_kind(one));
        self.switches.push((at, switch));
    }

    fn take(
        &mut self,
        state: MergeState,
        panes: Vec<PaneRecord>,
        windows: Vec<ModelWindow>,
        destroyed: bool,
    ) -> Result<(), Violation> {
        if let Some(before) = self.state.as_ref().filter(|_| !destroyed) {
            no_step_back(before, &state)?;
        }
        self.state = Some(state);
        self.panes.extend(panes.iter().map(|pane| (pane_key(pane), pane.clone())));
        self.all_panes.extend(panes);
        self.windows.extend(windows);
        Ok(())
    }
}

/// I5: what is next of a source never goes back, as long as its log does not.
fn no_step_back(before: &MergeState, after: &MergeState) -> Result<(), Violation> {
    for source in &before.sources {
        let same = |one: &&crate::judge::SourceRecord| {
            one.partition == source.partition && one.topic_uuid == source.topic_uuid
        };
        let Some(now) = after.sources.iter().find(same) else { continue };
        if now.next < source.next {
            let what =
                format!("source {}: next went from {:?} to {:?}", source.partition, source.next, now.next);
            return Err(Violation::new("I5", what));
        }
    }
    Ok(())
}
