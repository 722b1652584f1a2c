//! What a judge must find again after a restart: its state record, and the panes of its windows.

use super::accounting::Holes;
use super::checked::{bounded_index, with_panes_of};
use super::history::{ArmSum, ModelHistory, TIERS};
use super::merge::{Boundary, Judge, JudgeConfig, Replay};
use super::pane_holes::PaneHoles;
use super::panes::version_of;
use super::sources::{SourceState, Sources};
use super::state_record::{
    DirtyPane, MergeState, ModelSpan, NextOffset, OutcomeTotal, PaneRange, SourceRecord, VersionSpan,
};
use crate::baseline::{VersionIndex, Watch, WatchedVersion};
use crate::cells::{Sums, UNIT_CELLS, runs};
#[cfg(test)]
use crate::tally::planted::Bug;
use crate::tally::record::{FORMAT, PaneRecord, RoleCount};
use crate::tally::{SourceKey, of_from_number, of_number};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The key of a record in `tidegate.panes`.
pub fn pane_key(record: &PaneRecord) -> String {
    let PaneRecord { namespace, model, version, of, series, grid_hash, panes, start, .. } = record;
    format!("{namespace}|{model}|{version}|{of}|{series}|{grid_hash:016x}|{panes}|{start}")
}

/// The records of one version's closed pane or sum: its events by role, then each series.
pub(super) fn arm_records(
    watch: &Watch,
    version: VersionIndex,
    tier: usize,
    start: i64,
    pane_ms: i64,
    arm: &ArmSum,
) -> Vec<PaneRecord> {
    let id = &watch.model(version).id;
    let watched = watch.version(version);
    let head = PaneRecord {
        format: FORMAT,
        namespace: id.namespace.clone(),
        model: id.name.clone(),
        version: watched.version.clone(),
        start: start * pane_ms,
        pane_len: pane_ms,
        panes: TIERS[tier] as u32,
        filled: arm.filled,
        revision: arm.revision,
        complete: arm.complete,
        mixed_roles: arm.mixed,
        ..PaneRecord::default()
    };
    let roles = RoleCount {
        stable: arm.stable,
        canary: arm.canary,
        unset: arm.unset,
        service: arm.service.clone(),
        labels: arm.labels.clone(),
        matured: arm.matured.clone(),
        scores: arm.scores.clone(),
        ..RoleCount::default()
    };
    let mut records = vec![PaneRecord { of: 2, roles: Some(roles), ..head.clone() }];
    for (series, counts) in watched.series.iter().zip(&arm.series) {
        if let Some(counts) = counts {
            records.push(PaneRecord {
                series: series.reference.name.clone(),
                of: of_number(series.reference.of),
                grid_hash: series.grid_hash,
                counts: Some(counts.clone()),
                ..head.clone()
            });
        }
    }
    records
}

impl Judge {
    /// What to store, in the transaction that commits `applied`.
    pub fn state(&self) -> MergeState {
        let (replay_from, replay_next) = self.boundary_before(self.oldest_open_offset());
        let joins = self.joins.oldest_offset().map(|needed| self.boundary_before(needed.min(replay_from)));
        let (joins_from, joins_next) = joins.unzip();
        let model_id = |model: &u32| &self.watch.0.models[*model as usize].id;
        MergeState {
            format: FORMAT,
            applied: self.applied,
            replay_from,
            replay_next,
            sources: self.sources.known.iter().map(|(key, state)| source_record(key, state)).collect(),
            closed_to: self.closed_to,
            clock: self.sources.clock,
            models: self
                .models
                .iter()
                .map(|(model, history)| ModelSpan {
                    namespace: model_id(model).namespace.clone(),
                    model: model_id(model).name.clone(),
                    first: history.first,
                    versions: version_spans(&self.watch.0, *model, history),
                })
                .collect(),
            dirty: self
                .dirty
                .iter()
                .map(|((model, index), closed_to)| DirtyPane {
                    namespace: model_id(model).namespace.clone(),
                    model: model_id(model).name.clone(),
                    index: *index,
                    closed_to: *closed_to,
                })
                .collect(),
            revised_at: self.revised_at,
            holes: pane_ranges(&self.holes),
            pane_len: self.config.pane_ms,
            joins_from,
            joins_next: joins_next.unwrap_or_default(),
            joins: self.joins.records(&self.watch.0),
            weights: self.weight_records(),
        }
    }

    /// The last place at or before `offset` to read again from, and the sources there.
    fn boundary_before(&self, offset: i64) -> (i64, Vec<NextOffset>) {
        let boundary = self.boundaries.iter().rev().find(|boundary| boundary.offset <= offset);
        boundary.map_or((0, Vec::new()), |boundary| (boundary.offset, boundary.next.clone()))
    }

    /// A judge as `state` left it, but for its open panes and what waits to be joined: feed it the tallies from
    /// [`MergeState::read_from`] on.
    /// Panes are added by [`Judge::restore_pane`] before that. If panes had another length, those that were open
    /// are marked incomplete.
    pub fn restore(
        config: JudgeConfig,
        watch: Arc<Watch>,
        expected: BTreeSet<SourceKey>,
        state: &MergeState,
    ) -> Judge {
        let converted = with_panes_of(state, config.pane_ms);
        let state = converted.as_ref().unwrap_or(state);
        let at_applied = Sources {
            expected: expected.clone(),
            known: state.sources.iter().map(source_state).collect(),
            clock: state.clock,
        };
        #[cfg(test)]
        let at_applied = if Bug::ForgetNext.is_planted() { at_applied.forget_next() } else { at_applied };
        let mut judge = Judge::new(config, watch, expected, state.read_from());
        let next = if state.joins_from.is_some() { &state.joins_next } else { &state.replay_next };
        judge.sources.known = next.iter().map(standing).collect();
        // The others are noted again as the tallies are read again.
        let first = Boundary { offset: state.read_from(), clock: 0, next: next.clone() };
        judge.boundaries = VecDeque::from([first]);
        let bounded = |index: i64| bounded_index(index, config.pane_ms);
        let closed_to = state.closed_to.map(bounded);
        judge.closed_to = closed_to;
        judge.revised_at = state.revised_at;
        judge.restore_weights(&state.weights);
        state.holes.iter().for_each(|panes| judge.holes.mark(panes.start..panes.end));
        judge.replay = Some(Replay { until: state.applied, sources: at_applied });
        for span in &state.models {
            if let Some(model) = judge.watch.0.index_of(&span.namespace, &span.model) {
                let mut since = since_of(&judge.watch.0, model, span, closed_to);
                since.values_mut().for_each(|index| *index = bounded(*index));
                let first = bounded(span.first);
                judge.models.insert(model, ModelHistory { first, since, ..ModelHistory::default() });
            }
        }
        for dirty in &state.dirty {
            if let Some(model) = judge.watch.0.index_of(&dirty.namespace, &dirty.model) {
                judge.dirty.insert((model, bounded(dirty.index)), bounded(dirty.closed_to));
            }
        }
        state.joins.iter().for_each(|one| judge.joins.restore(&judge.watch.0, config.pane_ms, one));
        if converted.is_some() {
            judge.lose_joins();
        }
        judge.end_replay();
        judge
    }

    /// The tallies do not reach back to [`MergeState::joins_from`] any more: what waited is not known.
    pub fn lose_joins(&mut self) {
        // Labels may have been read ahead of the answers.
        let clock = self.replay.as_ref().map_or(self.sources.clock, |replay| replay.sources.clock);
        self.joins.mark_all_before(self.index(clock + self.config.max_future_ms) + 2);
    }

    /// Event time (milliseconds since 1970) before which no closed pane or sum that this judge needs starts;
    /// `None` when it needs none.
    pub fn oldest_pane_needed(&self) -> Option<i64> {
        let longest = *TIERS.last()?;
        Some(self.oldest_index(longest)?.saturating_mul(self.config.pane_ms))
    }

    /// Whether a closed pane, or a sum of so many panes, is recent enough to be restored.
    pub fn needs_pane(&self, panes: u32, start: i64) -> bool {
        let index = start.div_euclid(self.config.pane_ms);
        self.oldest_index(i64::from(panes)).is_some_and(|oldest| index >= oldest)
    }

    fn oldest_index(&self, length: i64) -> Option<i64> {
        Some(self.closed_to?.saturating_sub(8 * length + self.late_panes()))
    }

    /// Takes back a closed pane or sum, if it is of this partition's models, its grid, and recent enough.
    pub fn restore_pane(&mut self, record: &PaneRecord) {
        let Some(version) = version_of(&self.watch.0, &record.namespace, &record.model, &record.version)
        else {
            return;
        };
        let Some(tier) = TIERS.iter().position(|length| *length == i64::from(record.panes)) else { return };
        let since = self.counted_since(version);
        let index = record.start.div_euclid(self.config.pane_ms);
        let end = index + TIERS[tier];
        let is_open = self.closed_to.is_none_or(|closed| end > closed);
        let of_another_length = record.pane_len != self.config.pane_ms;
        if of_another_length || is_open || end <= since || !self.needs_pane(record.panes, record.start) {
            return;
        }
        let Some(history) = self.models.get_mut(&version.model) else { return };
        let watched = self.watch.0.version(version);
        let arm = history.tiers[tier].entry(index).or_default().entry(version.version).or_default();
        arm.filled = record.filled;
        arm.complete = record.complete;
        arm.revision = record.revision;
        arm.mixed = record.mixed_roles;
        if let Some(roles) = &record.roles {
            (arm.stable, arm.canary, arm.unset) = (roles.stable, roles.canary, roles.unset);
            arm.service = roles.service.clone();
            arm.labels = roles.labels.clone();
            arm.matured = roles.matured.clone();
            arm.scores = roles.scores.clone();
        }
        // A pane of missing offsets holds no series; one with data has a place for each.
        if record.filled > 0 {
            arm.series.resize(watched.series.len(), None);
        }
        let of = of_from_number(record.of);
        if let Some(place) = of.and_then(|of| watched.place(of, &record.series, record.grid_hash)) {
            arm.series.resize(watched.series.len(), None);
            let cells = watched.series[place].reference.grid.cells();
            arm.series[place] = record.counts.clone().filter(|counts| {
                runs::fit(&counts.cells, cells)
                    && runs::fit(&counts.units, UNIT_CELLS)
                    && Sums::decode(&counts.sums, counts.summed).is_ok()
            });
            if arm.series[place].is_none() {
                self.holes.mark(index..end);
            }
        }
    }
}

fn version_spans(watch: &Watch, model: u32, history: &ModelHistory) -> Vec<VersionSpan> {
    let versions = &watch.models[model as usize].versions;
    let span = |(index, version): (usize, &WatchedVersion)| VersionSpan {
        version: version.version.clone(),
        layout: layout(version),
        since: history.since.get(&(index as u32)).copied(),
    };
    versions.iter().enumerate().map(span).collect()
}

pub(super) fn pane_ranges(holes: &PaneHoles) -> Vec<PaneRange> {
    holes.ranges().iter().map(|panes| PaneRange { start: panes.start, end: panes.end }).collect()
}

/// Since when each version of a model is counted on its present grids: since now, if they are others than
/// `span` says. A version that was not watched before has nothing behind it.
fn since_of(watch: &Watch, model: u32, span: &ModelSpan, closed_to: Option<i64>) -> BTreeMap<u32, i64> {
    let versions = watch.models[model as usize].versions.iter().enumerate();
    let since = |(index, version): (usize, &WatchedVersion)| {
        let before = span.versions.iter().find(|one| one.version == version.version)?;
        let since = if before.layout == layout(version) { before.since } else { closed_to };
        Some((index as u32, since?))
    };
    versions.filter_map(since).collect()
}

/// FNV-1a over the names and grids of a version's series, in order.
fn layout(version: &WatchedVersion) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for series in &version.series {
        add(&[of_number(series.reference.of) as u8]);
        add(series.reference.name.as_bytes());
        add(&series.grid_hash.to_be_bytes());
    }
    hash
}

/// A source as a replay begins with it.
fn standing(record: &NextOffset) -> (SourceKey, SourceState) {
    let key = SourceKey { topic: record.topic.clone(), partition: record.partition };
    let state = SourceState {
        topic_uuid: record.topic_uuid.clone(),
        next: Some(record.next),
        watermark: record.watermark,
        ..SourceState::default()
    };
    (key, state)
}

fn source_record(key: &SourceKey, state: &SourceState) -> SourceRecord {
    SourceRecord {
        topic: key.topic.clone(),
        partition: key.partition,
        topic_uuid: state.topic_uuid.clone(),
        next: state.next,
        watermark: state.watermark,
        idle: state.idle,
        last_marker: state.last_marker,
        flush_interval: state.flush_interval,
        stalled_since: state.stalled_since,
        outcomes: state
            .outcomes
            .iter()
            .map(|(outcome, count)| OutcomeTotal { outcome: outcome.clone(), count: *count })
            .collect(),
        start: state.start,
        missing: state.holes.newest().collect(),
        missing_ranges: state.holes.ranges(),
        missing_offsets: state.holes.offsets(),
        doubled: state.doubled,
    }
}

fn source_state(record: &SourceRecord) -> (SourceKey, SourceState) {
    let key = SourceKey { topic: record.topic.clone(), partition: record.partition };
    let state = SourceState {
        topic_uuid: record.topic_uuid.clone(),
        next: record.next,
        watermark: record.watermark,
        idle: record.idle,
        last_marker: record.last_marker,
        flush_interval: record.flush_interval,
        stalled_since: record.stalled_since,
        outcomes: record.outcomes.iter().map(|total| (total.outcome.clone(), total.count)).collect(),
        start: record.start,
        holes: Holes::restore(&record.missing, record.missing_ranges, record.missing_offsets),
        doubled: record.doubled,
    };
    (key, state)
}
