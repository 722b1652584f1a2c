//! What must have come out of a run, worked out from the source logs and from the tallies as readers of
//! committed records see them.

use super::judging::restore;
use super::run::Coverage;
use super::traffic::{Event, MODELS, Naive, NaiveService, watch};
use super::watermark::Words;
use super::world::{Switch, World};
use super::{JUDGE, PANE, Violation};
use crate::cells::{LATENCY_CELLS, OCTILE_BINS, UNIT_CELLS};
use crate::event::UNIT_BUCKETS;
use crate::judge::window::ModelWindow;
use crate::judge::{Judge, Step, pane_key};
use crate::tally::merge_partition;
use crate::tally::record::{Counts, Marker, PaneRecord, RoleCount, SourceRange, TallyBody};
use std::collections::{BTreeMap, BTreeSet};

/// Model, version, index of the pane.
type Place = (u32, u32, i64);

/// Holds a finished run against all oracles.
pub(super) fn check(world: &World) -> Result<Coverage, Violation> {
    let mut coverage = Coverage::default();
    for merge in 0..world.tallies.len() {
        let mut reference = Reference::new(world, merge);
        reference.run()?;
        reference.compare_committed()?;
        reference.check_panes()?;
        reference.check_windows()?;
        reference.check_outcomes()?;
        coverage.add(&reference.coverage);
    }
    Ok(coverage)
}

/// A judge that never stops, over the tallies of one merge partition, and a naive account beside it.
struct Reference<'a> {
    world: &'a World,
    merge: usize,
    judge: Judge,
    expects: usize,
    baseline: usize,
    switches: usize,
    words: Words,
    /// Topic id and partition → the next offset of its account, and the first one.
    next: BTreeMap<(String, i32), (i64, i64)>,
    /// The topic id each partition goes by.
    topic_ids: BTreeMap<i32, String>,
    deltas: BTreeMap<String, u64>,
    /// Events that must be counted.
    must: BTreeMap<Place, Vec<Event>>,
    /// Events that may have been counted: of flushes that did not fit what came before.
    may: BTreeMap<Place, Vec<Event>>,
    /// Panes that were open when such events were passed.
    doubtful: BTreeSet<i64>,
    clean: bool,
    left_out: bool,
    dropped: u64,
    panes: BTreeMap<String, PaneRecord>,
    emitted_panes: Vec<PaneRecord>,
    emitted_windows: Vec<ModelWindow>,
    decided: BTreeSet<(u32, u32, i64)>,
    reported: BTreeSet<(u32, u32, u32, i64, u32)>,
    coverage: Coverage,
}

impl<'a> Reference<'a> {
    fn new(world: &'a World, merge: usize) -> Reference<'a> {
        Reference {
            world,
            merge,
            judge: Judge::new(JUDGE, watch(0), BTreeSet::new(), 0),
            expects: 0,
            baseline: 0,
            switches: 0,
            words: Words::default(),
            next: BTreeMap::new(),
            topic_ids: BTreeMap::new(),
            deltas: BTreeMap::new(),
            must: BTreeMap::new(),
            may: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            clean: true,
            left_out: false,
            dropped: 0,
            panes: BTreeMap::new(),
            emitted_panes: Vec::new(),
            emitted_windows: Vec::new(),
            decided: BTreeSet::new(),
            reported: BTreeSet::new(),
            coverage: Coverage::default(),
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        let world = self.world;
        for (offset, entry) in world.tallies[self.merge].iter().enumerate() {
            self.follow_switches(offset as i64)?;
            if !entry.visible {
                continue;
            }
            match &entry.record.body {
                Some(TallyBody::Delta(delta)) => *self.deltas.entry(delta.range_id.clone()).or_default() += 1,
                Some(TallyBody::Marker(marker)) => self.account(marker),
                // The traffic of a schedule has no labels, and nobody tells weights.
                Some(TallyBody::Joins(_) | TallyBody::Weight(_)) | None => {}
            }
            let step = self.judge.apply(offset as i64, &entry.record);
            self.observe(step)?;
        }
        Ok(())
    }

    /// The live judge began to know something else here.
    fn follow_switches(&mut self, offset: i64) -> Result<(), Violation> {
        let switches = &self.world.committed[self.merge].switches;
        while let Some((at, switch)) = switches.get(self.switches).filter(|(at, _)| *at <= offset) {
            self.switches += 1;
            match switch {
                Switch::Expect(sources) => {
                    self.expects = *sources;
                    self.judge.expect(self.world.expected(*sources));
                }
                Switch::Watch(baseline) if *baseline != self.baseline => {
                    self.baseline = *baseline;
                    let state = (*at > 0).then(|| self.judge.state());
                    let expected = self.world.expected(self.expects);
                    let log = &self.world.tallies[self.merge];
                    self.judge = restore(state.as_ref(), &self.panes, watch(*baseline), expected, log)?;
                }
                Switch::Watch(_) => {}
            }
        }
        Ok(())
    }

    /// Which events a marker passes, and whether they must be counted.
    fn account(&mut self, marker: &Marker) {
        let deltas = self.deltas.remove(&marker.range_id).unwrap_or(0);
        let next = |range: &SourceRange| {
            self.next.get(&(range.topic_uuid.clone(), range.partition)).map(|one| one.0)
        };
        let behind =
            |range: &SourceRange| next(range).is_some_and(|next| range.to <= next && range.from < next);
        let at_rest = |range: &SourceRange| range.from == range.to && next(range) == Some(range.to);
        if marker.sources.iter().any(behind)
            && marker.sources.iter().all(|range| behind(range) || at_rest(range))
        {
            self.words.hear_again(marker);
            self.coverage.duplicates += 1;
            return;
        }
        self.coverage.flushes += 1;
        let fits = |range: &SourceRange| match next(range) {
            _ if self.is_unread(range, marker.init) => true,
            Some(next) => self.is_present(range) && next == range.from && range.from <= range.to,
            None => marker.init && !self.topic_ids.contains_key(&range.partition),
        };
        let clean = deltas == marker.n_deltas_here && marker.sources.iter().all(fits);
        self.clean &= clean;
        for range in &marker.sources {
            self.pass(range, marker.init, clean);
        }
        self.words.hear(marker);
    }

    /// Whether nothing was read yet of a topic that was made again: the word of its start is still to come.
    fn is_unread(&self, range: &SourceRange, init: bool) -> bool {
        let of_another = self.topic_ids.get(&range.partition).is_some_and(|known| *known != range.topic_uuid);
        of_another && range.from == range.to && !init
    }

    /// Whether the partition goes by this range's topic, and not by one that was made again since.
    fn is_present(&self, range: &SourceRange) -> bool {
        self.topic_ids.get(&range.partition) == Some(&range.topic_uuid)
    }

    fn pass(&mut self, range: &SourceRange, init: bool, clean: bool) {
        let id = (range.topic_uuid.clone(), range.partition);
        if self.is_unread(range, init) {
            return;
        }
        let before = self.topic_ids.insert(range.partition, range.topic_uuid.clone());
        if let Some(before) = before.filter(|before| *before != range.topic_uuid) {
            // The rest of the old topic is gone.
            let high = self.world.source_life(&before, range.partition as usize).map_or(0, |log| log.high);
            let next = self.next.get(&(before.clone(), range.partition)).map_or(high, |one| one.0);
            self.pass_events(&before, range.partition, next, high, false);
        }
        let known = self.next.get(&id).copied();
        let begin = if init { range.to } else { range.from };
        let (next, first) = known.unwrap_or((begin, begin));
        self.pass_events(&range.topic_uuid, range.partition, next, range.to, clean);
        let went_back = init && range.to < range.from && next == range.from;
        self.next.insert(id, (if went_back { range.to } else { next.max(range.to) }, first));
    }

    fn pass_events(&mut self, topic_uuid: &str, partition: i32, from: i64, to: i64, clean: bool) {
        let Some(log) = self.world.source_life(topic_uuid, partition as usize) else { return };
        if from >= to {
            return;
        }
        for body in log.records.range(from..to).map(|(_, body)| body) {
            if let super::traffic::Body::Event(event) = body
                && self.is_mine(event)
            {
                self.coverage.events += 1;
                self.pass_event(event, clean);
            }
        }
    }

    fn is_mine(&self, event: &Event) -> bool {
        let id = &watch_ids()[event.model];
        merge_partition("default", id, self.world.tallies.len() as u32) as usize == self.merge
    }

    fn pass_event(&mut self, event: &Event, clean: bool) {
        let index = event.time.div_euclid(PANE);
        let closed = self.judge.closed_up_to().map_or(i64::MIN, |end| end.div_euclid(PANE));
        let version = event.version();
        let place = (version.model, version.version, index);
        let late_panes = JUDGE.allowed_lateness_ms / PANE;
        if !clean {
            self.may.entry(place).or_default().push(*event);
            if index >= closed {
                self.doubtful.insert(index);
            }
        } else if index >= closed
            || (closed - index <= late_panes && index >= self.judge.counted_since(version))
        {
            self.must.entry(place).or_default().push(*event);
        } else {
            self.dropped = self.dropped.wrapping_add(1);
        }
    }

    /// I3 and I4 on what a record led to.
    fn observe(&mut self, step: Step) -> Result<(), Violation> {
        self.left_out |= !step.notes.left_out.is_empty();
        self.coverage.left_out += u64::from(!step.notes.left_out.is_empty());
        self.coverage.late_dropped += step.notes.late_dropped;
        self.dropped = self.dropped.wrapping_sub(step.notes.late_dropped);
        for window in &step.windows {
            self.observe_window(window, !step.notes.left_out.is_empty())?;
        }
        self.panes.extend(step.panes.iter().map(|pane| (pane_key(pane), pane.clone())));
        self.emitted_panes.extend(step.panes);
        self.emitted_windows.extend(step.windows);
        Ok(())
    }

    fn observe_window(&mut self, window: &ModelWindow, left_out: bool) -> Result<(), Violation> {
        let what = format!("model {} scale {} end {}", window.model, window.scale, window.end.0);
        self.coverage.windows += 1;
        if window.revised {
            self.coverage.revisions += 1;
        } else {
            if !self.decided.insert((window.model, window.scale, window.end.0)) {
                return Err(Violation::new("I3", format!("{what}: decided twice")));
            }
            let marked = left_out && window.arms.iter().all(|arm| !arm.complete);
            if !marked && !self.words.all_passed(self.expects, Words::due(window.end.0)) {
                return Err(Violation::new("I4", format!("{what}: closed before all sources had passed it")));
            }
        }
        for arm in &window.arms {
            self.coverage.incomplete += u64::from(!arm.complete);
            let key = (window.model, arm.version.version, window.scale, window.end.0, arm.revision);
            if !self.reported.insert(key) {
                return Err(Violation::new(
                    "I3",
                    format!("{what}: revision {} reported twice", arm.revision),
                ));
            }
        }
        Ok(())
    }

    fn compare_committed(&self) -> Result<(), Violation> {
        let committed = &self.world.committed[self.merge];
        if committed.all_panes != self.emitted_panes {
            let at = committed.all_panes.iter().zip(&self.emitted_panes).take_while(|(a, b)| a == b).count();
            let what = format!(
                "pane record {at} differs: committed {:?}, without restarts {:?}",
                committed.all_panes.get(at),
                self.emitted_panes.get(at)
            );
            return Err(Violation::new("restart", what));
        }
        if committed.windows != self.emitted_windows {
            let at = committed.windows.iter().zip(&self.emitted_windows).take_while(|(a, b)| a == b).count();
            let what = format!(
                "window {at} differs: committed {:?}, without restarts {:?}",
                committed.windows.get(at),
                self.emitted_windows.get(at)
            );
            return Err(Violation::new("restart", what));
        }
        Ok(())
    }

    /// What must and what may be counted of a version in `panes` panes from index `start` on.
    fn bounds(&self, model: u32, version: u32, start: i64, panes: i64, baseline: usize) -> (Naive, Naive) {
        let range = (model, version, start)..(model, version, start + panes);
        let mut must = Naive::default();
        self.must.range(range.clone()).flat_map(|(_, events)| events).for_each(|one| must.add(one, baseline));
        let mut may = must;
        self.may.range(range).flat_map(|(_, events)| events).for_each(|one| may.add(one, baseline));
        (must, may)
    }

    /// I2 on closed panes and sums, as they stand in the end.
    fn check_panes(&self) -> Result<(), Violation> {
        let marked_rightly = self.world.destroyed || self.left_out;
        for record in self.panes.values() {
            let what = || {
                format!(
                    "pane {} ({} panes) of {} {}",
                    record.start, record.panes, record.model, record.version
                )
            };
            if !record.complete {
                if !marked_rightly {
                    return Err(Violation::new("I2", format!("{}: incomplete for no reason", what())));
                }
                continue;
            }
            let start = record.start.div_euclid(PANE);
            let panes = i64::from(record.panes);
            if self.doubtful.range(start..start + panes).next().is_some() {
                return Err(Violation::new("I2", format!("{}: a hole in it is not marked", what())));
            }
            if record.panes > 1 && self.world.baseline > 0 {
                continue;
            }
            let model = u32::from(record.model != watch_ids()[0]);
            let version = u32::from(record.version != "v1");
            let baseline = grid_generation(record.grid_hash);
            let (must, may) = self.bounds(model, version, start, panes, baseline);
            let unfit = || Violation::new("I2", format!("{}: cells do not fit", what()));
            if let Some(roles) = &record.roles {
                let served = served_of(roles).ok_or_else(unfit)?;
                if !must.service.is_within(&served) || !served.is_within(&may.service) {
                    let what = format!("{}: counted {served:?}, naive {must:?} to {may:?}", what());
                    return Err(Violation::new("I2", what));
                }
                continue;
            }
            let counted = naive_of(record.counts.as_ref()).ok_or_else(unfit)?;
            if !must.is_within(&counted) || !counted.is_within(&may) {
                let what = format!("{}: counted {counted:?}, naive {must:?} to {may:?}", what());
                return Err(Violation::new("I2", what));
            }
        }
        self.check_nothing_lost()
    }

    fn check_nothing_lost(&self) -> Result<(), Violation> {
        if self.world.baseline > 0 {
            return Ok(());
        }
        let closed: BTreeSet<Place> = self
            .panes
            .values()
            .filter(|record| record.panes == 1 && record.of == 0)
            .map(|record| {
                let model = u32::from(record.model != watch_ids()[0]);
                (model, u32::from(record.version != "v1"), record.start.div_euclid(PANE))
            })
            .collect();
        match self.must.keys().find(|place| !closed.contains(place)) {
            Some(place) => Err(Violation::new("I2", format!("{place:?}: counted events and no closed pane"))),
            None => Ok(()),
        }
    }

    /// I2 on the last report of each window.
    fn check_windows(&self) -> Result<(), Violation> {
        if self.world.baseline > 0 {
            return Ok(());
        }
        let last: BTreeMap<(u32, u32, i64), &ModelWindow> = self
            .emitted_windows
            .iter()
            .map(|window| ((window.model, window.scale, window.end.0), window))
            .collect();
        for window in last.values() {
            for arm in window.arms.iter().filter(|arm| arm.complete) {
                let start = window.start.0.div_euclid(PANE);
                if self.doubtful.range(start..start + i64::from(window.scale)).next().is_some() {
                    let what = format!(
                        "window of {} panes that ends at {}: a hole in it is not marked",
                        window.scale, window.end.0
                    );
                    return Err(Violation::new("I2", what));
                }
                let version = arm.version;
                let (must, may) =
                    self.bounds(version.model, version.version, start, i64::from(window.scale), 0);
                let counted = Naive {
                    events: arm.events(),
                    missing: arm.series[0].missing,
                    cells: arm.series[0].cells.clone().try_into().unwrap_or_default(),
                    units: by_bucket(arm.series[0].units.as_deref().unwrap_or(&[0; UNIT_CELLS])),
                    service: NaiveService::of(arm.service.errors, &arm.service.latency),
                };
                let served = &counted.service;
                let serves = must.service.is_within(served) && served.is_within(&may.service);
                if !serves || !must.is_within(&counted) || !counted.is_within(&may) {
                    let what = format!(
                        "window of {} panes that ends at {}: counted {counted:?}, naive {must:?} to {may:?}",
                        window.scale, window.end.0
                    );
                    return Err(Violation::new("I2", what));
                }
            }
        }
        Ok(())
    }

    /// I1, where every flush fitted.
    fn check_outcomes(&self) -> Result<(), Violation> {
        if !self.clean {
            return Ok(());
        }
        if self.dropped != 0 {
            return Err(Violation::new(
                "I1",
                "late events that were dropped are not what was said".to_owned(),
            ));
        }
        for source in self.judge.state().sources {
            let id = (source.topic_uuid.clone(), source.partition);
            let (Some(log), Some((next, first))) =
                (self.world.source_life(&source.topic_uuid, source.partition as usize), self.next.get(&id))
            else {
                continue;
            };
            let records = log.records.range(*first..*next).count() as u64;
            let outcomes: u64 = source.outcomes.iter().map(|outcome| outcome.count).sum();
            if records != outcomes {
                let what = format!("source {}: {records} records, {outcomes} outcomes", source.partition);
                return Err(Violation::new("I1", what));
            }
        }
        Ok(())
    }
}

fn watch_ids() -> &'static [String; MODELS] {
    static IDS: std::sync::OnceLock<[String; MODELS]> = std::sync::OnceLock::new();
    IDS.get_or_init(|| {
        watch(0)
            .models
            .iter()
            .map(|model| model.id.name.clone())
            .collect::<Vec<_>>()
            .try_into()
            .expect("two models")
    })
}

fn grid_generation(hash: u64) -> usize {
    static HASH: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    usize::from(*HASH.get_or_init(|| watch(0).models[0].versions[0].series[0].grid_hash) != hash)
}

fn naive_of(counts: Option<&Counts>) -> Option<Naive> {
    let counts = counts?;
    let cells = crate::cells::runs::decode(&counts.cells, super::traffic::CELLS).ok()?;
    let units = crate::cells::runs::decode(&counts.units, UNIT_CELLS).ok()?;
    let units = by_bucket(&units);
    let (cells, service) = (cells.try_into().ok()?, NaiveService::default());
    Some(Naive { events: counts.rows, missing: counts.missing, cells, units, service })
}

fn served_of(roles: &RoleCount) -> Option<NaiveService> {
    let Some(service) = &roles.service else { return Some(NaiveService::default()) };
    let latency = crate::cells::runs::decode(&service.latency, LATENCY_CELLS).ok()?;
    Some(NaiveService::of(service.errors, &latency))
}

fn by_bucket(units: &[u64]) -> [[u64; OCTILE_BINS]; UNIT_BUCKETS] {
    let mut buckets = [[0; OCTILE_BINS]; UNIT_BUCKETS];
    buckets.as_flattened_mut().copy_from_slice(units);
    buckets
}
