//! State records as they are read back: decoded, and refused where their numbers cannot be true.

use super::state_record::{MergeState, NextOffset, OffsetRange, PaneRange, SourceRecord};
use super::weights::WeightChange;
use crate::tally::checked::{MAX_TIME_MS, RecordError, demand, demand_format, is_offset, is_time, is_weight};
use prost::Message;

impl MergeState {
    /// Decodes the state record of a merge partition.
    ///
    /// # Errors
    /// When it cannot be decoded, is of another format, or holds numbers that cannot be true.
    pub fn read(payload: &[u8]) -> Result<MergeState, RecordError> {
        let state = MergeState::decode(payload)?;
        demand_format(state.format)?;
        demand(is_offset(state.replay_from) && state.replay_from <= state.applied, "replay")?;
        let joins = state.joins_from;
        demand(joins.is_none_or(|from| is_offset(from) && from <= state.replay_from), "replay")?;
        demand(is_offset(state.applied), "position")?;
        demand(is_time(state.clock) && is_time(state.revised_at), "clock")?;
        state.replay_next.iter().chain(&state.joins_next).try_for_each(check_next)?;
        state.sources.iter().try_for_each(check_source)?;
        let ripe = state.joins.iter().filter_map(|joined| joined.ripe.as_ref());
        ripe.flat_map(|ripe| [ripe.start, ripe.end])
            .try_for_each(|time| demand(is_time(time / 2), "time"))?;
        state.weights.iter().flat_map(|one| &one.changes).try_for_each(check_change)?;
        Ok(state)
    }

    /// The first offset of the tallies that a judge has to read again.
    pub fn read_from(&self) -> i64 {
        self.joins_from.unwrap_or(self.replay_from)
    }

    /// Where the tallies begin at `low`. Returns whether what waited to be joined cannot be read again; then the
    /// judge has to be told ([`crate::judge::Judge::lose_joins`]).
    pub fn begin_at(&mut self, low: i64) -> bool {
        let lost = self.joins_from.is_some_and(|from| from < low);
        if lost {
            (self.joins_from, self.joins_next) = (None, Vec::new());
        }
        lost
    }
}

fn check_next(source: &NextOffset) -> Result<(), RecordError> {
    demand(is_offset(source.next), "offsets")?;
    demand(source.watermark.is_none_or(is_time), "watermark")
}

fn check_change(change: &WeightChange) -> Result<(), RecordError> {
    demand(is_time(change.since), "time")?;
    demand(is_weight(change.canary_weight), "weight")
}

fn check_source(source: &SourceRecord) -> Result<(), RecordError> {
    demand(source.next.is_none_or(is_offset) && source.start.is_none_or(is_offset), "offsets")?;
    let is_range = |range: &OffsetRange| is_offset(range.from) && is_offset(range.to);
    demand(source.missing.iter().all(is_range), "missing offsets")?;
    let times = [source.watermark, source.stalled_since, Some(source.last_marker)];
    demand(times.into_iter().flatten().all(is_time), "time")?;
    demand((0..=MAX_TIME_MS).contains(&source.flush_interval), "flush interval")
}

/// The index of a pane, kept where its times can be computed with.
pub(super) fn bounded_index(index: i64, pane_ms: i64) -> i64 {
    let most = 2 * MAX_TIME_MS / pane_ms;
    index.clamp(-most, most)
}

/// The state in panes of `pane_ms`; `None`: it is in them already. What was open is counted in panes of another
/// length and cannot be counted on: it is marked incomplete, up to the newest event time.
pub(super) fn with_panes_of(state: &MergeState, pane_ms: i64) -> Option<MergeState> {
    let before = state.pane_len;
    if before == pane_ms || before <= 0 {
        return None;
    }
    let time = |index: i64| bounded_index(index, before) * before;
    let (floor, ceil) = (|at: i64| at.div_euclid(pane_ms), |at: i64| -(-at).div_euclid(pane_ms));
    let mut state = MergeState { pane_len: pane_ms, dirty: Vec::new(), ..state.clone() };
    (state.joins_from, state.joins_next) = (None, Vec::new());
    let closed = state.closed_to.map(time);
    state.closed_to = closed.map(ceil);
    for hole in &mut state.holes {
        *hole = PaneRange { start: floor(time(hole.start)), end: ceil(time(hole.end)) };
    }
    let newest = state.sources.iter().filter_map(|source| source.watermark).max();
    if let Some((closed, newest)) = closed.zip(newest) {
        state.holes.push(PaneRange { start: floor(closed), end: floor(newest) + 2 });
    }
    for span in &mut state.models {
        // No window reaches over panes of both lengths.
        span.first = state.closed_to.unwrap_or_else(|| ceil(time(span.first)));
        let since = span.versions.iter_mut().filter_map(|version| version.since.as_mut());
        since.for_each(|index| *index = ceil(time(*index)));
    }
    for joined in &mut state.joins {
        // What waits stands in panes of the old length.
        (joined.unmatured, joined.unjoined) = (state.closed_to, Vec::new());
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::fixture::CONFIG;
    use crate::judge::{Judge, JudgeConfig, Step};
    use crate::tally::Tally;
    use crate::tally::tests::{Event, feed, source, stamp, start, watch};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    const PER_SECOND: i64 = 4;

    /// Feeds the seconds of `seconds`, one flush each, in panes of the judge's length.
    fn run(judge: &mut Judge, pane_ms: i64, seconds: std::ops::Range<i64>, init: bool) -> Vec<Step> {
        let mut tally = Tally::new(watch(), pane_ms);
        tally.start_source(start(0, seconds.start * PER_SECOND));
        let mut records = Vec::new();
        if init {
            records = Tally::init_markers(&stamp("init", 0), &[start(0, 0)]);
        }
        for second in seconds {
            let event = |n| Event { version: 0, time: second * 1_000 + 200 * n, x: Some(1.0) };
            feed(&mut tally, 0, &(0..PER_SECOND).map(event).collect::<Vec<_>>());
            records.extend(tally.flush(&stamp(&format!("{pane_ms}-{second}"), second * 1_000)).records);
            tally.commit(500);
        }
        let from = judge.applied();
        let records = records.iter().zip(from..);
        records.map(|(one, offset)| judge.apply(offset, &one.record)).collect()
    }

    #[test]
    fn a_judge_goes_on_when_panes_get_another_length_and_marks_those_that_were_open() {
        for (before, after) in [(1_000, 4_000), (4_000, 1_000), (1_000, 60_000), (1_500, 1_000)] {
            let config = |pane_ms| JudgeConfig { pane_ms, ..CONFIG };
            let (watch, expected) = (watch(), BTreeSet::from([source(0)]));
            let mut judge = Judge::new(config(before), Arc::clone(&watch), expected.clone(), 0);
            run(&mut judge, before, 0..30, true);
            let (state, closed) = (judge.state(), judge.closed_up_to().expect("closed panes"));
            let state = MergeState::read(&state.encode_to_vec()).expect("what it wrote itself");
            let mut judge = Judge::restore(config(after), watch, expected, &state);
            // The open panes' deltas stand in the log before `applied`; that they are not replayed loses nothing
            // that could be counted.
            judge.skip(state.applied - 1);
            let steps = run(&mut judge, after, 30..400, false);
            let windows: Vec<_> = steps.iter().flat_map(|step| &step.windows).collect();
            let single: Vec<_> = windows.iter().filter(|window| window.scale == 1).collect();
            assert!(single.iter().all(|window| window.end.0 > closed), "{before} to {after}");
            let mut complete = 0;
            for window in &windows {
                let arm = &window.arms[0];
                let whole = PER_SECOND * (window.end.0 - window.start.0) / 1_000;
                assert!(!arm.complete || arm.events() == whole as u64, "{before} to {after}: {window:?}");
                complete += usize::from(arm.complete);
            }
            assert!(single.iter().any(|window| !window.arms[0].complete), "what was open is marked");
            assert!(complete >= 3, "{before} to {after}: {complete} of {}", windows.len());
            assert!(judge.closed_up_to() > Some(400_000 - after - 2_000), "{before} to {after}");
        }
    }
}
