//! A tally replica of a run: the real [`Tally`], between a pretended consumer and a pretended producer. What
//! it does at start, on a rebalance and after a failure is what `pipeline/tally_stage.rs` does.

use super::schedule::Ending;
use super::traffic::{Body, watch};
use super::world::{World, key};
use super::{FLUSH_EVERY, IDLE_AFTER, LATENESS, PANE};
use crate::event::{EventTime, Outcome};
use crate::tally::{FlushStamp, SourceStart, Tally};
use std::collections::{BTreeMap, BTreeSet};

/// Since when a source has had nothing to read that moves the watermark.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    since: i64,
    last_moving: Option<i64>,
    /// What is to be reached at the next look.
    end: i64,
}

/// One replica of the tally stage.
#[derive(Debug)]
pub(super) struct Replica {
    number: usize,
    /// How far its clock is off (milliseconds).
    skew: i64,
    tally: Tally,
    /// The baseline it counts with.
    baseline: usize,
    pub(super) frozen: bool,
    owned: BTreeSet<usize>,
    /// Owned, and without a committed offset.
    starting: BTreeSet<usize>,
    /// The topic id it knows each source by.
    topic_ids: BTreeMap<usize, String>,
    generation: u64,
    quiet: BTreeMap<usize, Quiet>,
    flushes: u64,
}

impl Replica {
    pub(super) fn new(number: usize, skew: i64, world: &World) -> Replica {
        let mut replica = Replica {
            number,
            skew,
            tally: Tally::new(watch(world.baseline), PANE),
            baseline: world.baseline,
            frozen: false,
            owned: BTreeSet::new(),
            starting: BTreeSet::new(),
            topic_ids: BTreeMap::new(),
            generation: 0,
            quiet: BTreeMap::new(),
            flushes: 0,
        };
        replica.join(world);
        replica
    }

    /// Takes up the partitions that the group gives it, from their committed offsets.
    pub(super) fn join(&mut self, world: &World) {
        self.generation = world.generation;
        let given: BTreeSet<usize> =
            (0..world.sources.len()).filter(|one| world.owners[*one] == self.number).collect();
        let new: Vec<usize> = given.difference(&self.owned).copied().collect();
        for source in self.owned.difference(&given) {
            self.tally.drop_source(&key(*source));
            self.starting.remove(source);
            self.quiet.remove(source);
        }
        self.owned = given;
        new.into_iter().for_each(|source| self.start(source, world));
    }

    fn start(&mut self, source: usize, world: &World) {
        let topic_uuid = world.sources[source].topic_uuid.clone();
        self.topic_ids.insert(source, topic_uuid.clone());
        match world.offsets.get(&source) {
            Some(offset) => {
                self.starting.remove(&source);
                self.tally.start_source(SourceStart {
                    source: key(source),
                    topic_uuid,
                    offset: *offset,
                    instead_of: None,
                });
            }
            None => {
                self.starting.insert(source);
            }
        }
    }

    fn now(&self, world: &World) -> EventTime {
        EventTime(world.clock + self.skew)
    }

    /// Everything since the last flush is forgotten and read again.
    fn give_up(&mut self, world: &World) {
        self.tally.discard();
        self.quiet.clear();
        self.owned.clone().into_iter().for_each(|source| self.start(source, world));
    }

    /// The replica is killed and comes back.
    pub(super) fn crash(&mut self, world: &World) {
        let flushes = self.flushes;
        *self = Replica::new(self.number, self.skew, world);
        self.flushes = flushes;
    }

    /// Everything is given up; nothing of it may be written any more.
    fn leave(&mut self) {
        self.tally.discard();
        self.owned.clear();
        self.starting.clear();
        self.quiet.clear();
    }

    /// The group takes partitions away. What was counted is flushed first, unless the group has dealt without
    /// this replica before: then others may have counted it.
    pub(super) fn revoke(&mut self, world: &mut World) {
        if self.generation + 1 != world.generation {
            self.leave();
        }
        self.generation = world.generation;
        if self.owned.iter().any(|source| world.owners.get(*source) != Some(&self.number)) {
            self.flush(world, Ending::Committed);
        }
    }

    /// The source topic was made anew: what was counted of the old one and not flushed is gone with it.
    fn notice_recreated(&mut self, world: &World) -> bool {
        let recreated: Vec<usize> = self
            .topic_ids
            .iter()
            .filter(|(source, id)| self.owned.contains(source) && world.sources[**source].topic_uuid != **id)
            .map(|(source, _)| *source)
            .collect();
        if recreated.is_empty() {
            return false;
        }
        self.tally.discard();
        self.quiet.clear();
        for source in self.owned.clone() {
            if recreated.contains(&source) {
                self.topic_ids.insert(source, world.sources[source].topic_uuid.clone());
                self.starting.insert(source);
            } else {
                self.start(source, world);
            }
        }
        true
    }

    /// Starts partitions that have no committed offset, by an init marker, before anything of them is read.
    fn start_new(&mut self, world: &mut World, latest: bool, recreated: bool) {
        if self.starting.is_empty() || self.generation != world.generation {
            return;
        }
        let known = world.offsets.contains_key(&0) || recreated;
        let to_start: Vec<usize> = if known {
            self.starting.iter().copied().collect()
        } else if self.starting.contains(&0) {
            (0..world.sources.len()).filter(|one| !world.offsets.contains_key(one)).collect()
        } else {
            return;
        };
        let to_start: Vec<usize> =
            to_start.into_iter().filter(|one| recreated || !world.offsets.contains_key(one)).collect();
        let begin = |source: &usize| {
            let log = &world.sources[*source];
            let offset = if latest && !known { log.high } else { log.low };
            SourceStart { source: key(*source), topic_uuid: log.topic_uuid.clone(), offset, instead_of: None }
        };
        let starts: Vec<SourceStart> = to_start.iter().map(begin).collect();
        if !starts.is_empty() {
            let id = self.range_id();
            let markers = Tally::init_markers(&self.stamp(&id, world), &starts);
            let offsets: Vec<(usize, i64)> =
                to_start.iter().copied().zip(starts.iter().map(|start| start.offset)).collect();
            world.transact(&markers, &offsets, Ending::Committed);
        }
        self.starting.clone().into_iter().for_each(|source| self.start(source, world));
    }

    /// Reads up to `count` records.
    pub(super) fn read(&mut self, world: &mut World, count: usize, latest: bool) {
        if self.frozen {
            return;
        }
        self.follow_baseline(world);
        let recreated = self.notice_recreated(world);
        self.start_new(world, latest, recreated);
        let mut left = count;
        for source in self.owned.clone() {
            left -= self.read_source(world, source, left);
            self.look_for_idle(world, source);
        }
    }

    /// The log ends before what was to be read next: it is started again at its end.
    fn begin_anew(&mut self, world: &mut World, source: usize) {
        if self.generation != world.generation {
            return;
        }
        self.give_up(world);
        let Some(committed) = world.offsets.get(&source).copied() else { return };
        let log = &world.sources[source];
        if committed <= log.high {
            return;
        }
        let start = SourceStart {
            source: key(source),
            topic_uuid: log.topic_uuid.clone(),
            offset: log.high,
            instead_of: Some(committed),
        };
        let offset = start.offset;
        let id = self.range_id();
        let markers = Tally::init_markers(&self.stamp(&id, world), &[start]);
        world.transact(&markers, &[(source, offset)], Ending::Committed);
        self.start(source, world);
    }

    fn read_source(&mut self, world: &mut World, source: usize, count: usize) -> usize {
        let key = key(source);
        let Some(next) = self.tally.next_offset(&key) else { return 0 };
        let log = &world.sources[source];
        if log.topic_uuid != self.topic_ids[&source] {
            return 0;
        }
        if next < log.low {
            // What was read before the hole belongs to a range of its own.
            let low = log.low;
            self.flush(world, Ending::Committed);
            self.tally.skip_to(&key, low);
            return 0;
        }
        if next > log.high {
            self.begin_anew(world, source);
            return 0;
        }
        let from = self.tally.next_offset(&key).unwrap_or(log.high);
        let mut taken = 0;
        for (offset, body) in log.records.range(from..).take(count) {
            self.take(source, *offset, body, self.now(world));
            taken += 1;
        }
        taken
    }

    fn take(&mut self, source: usize, offset: i64, body: &Body, now: EventTime) {
        let key = key(source);
        match body {
            Body::Other(outcome) => self.tally.record(&key, offset, *outcome, None, now),
            Body::Event(event) => {
                self.tally.record(&key, offset, Outcome::Counted, Some(&event.accepted()), now);
                self.tally.count(&[event.table()]).expect("the column fits its grid");
            }
        }
    }

    fn look_for_idle(&mut self, world: &World, source: usize) {
        let key = key(source);
        let Some(next) = self.tally.next_offset(&key) else { return };
        let last_moving = self.tally.last_moving(&key);
        let log = &world.sources[source];
        let unread = log.records.range(next..).next().map(|(offset, _)| *offset);
        let is_quiet = |before: &Quiet| {
            last_moving <= before.last_moving && unread.is_none_or(|unread| unread >= before.end)
        };
        let before = self.quiet.get(&source).copied();
        let since = before.filter(is_quiet).map_or(world.clock, |before| before.since);
        self.quiet.insert(source, Quiet { since, last_moving, end: log.high });
        self.tally.set_idle(&key, world.clock - since >= IDLE_AFTER);
    }

    /// A replaced baseline is taken over when nothing is counted with the old one.
    fn follow_baseline(&mut self, world: &mut World) {
        if self.baseline == world.baseline {
            return;
        }
        self.flush(world, Ending::Committed);
        if !self.tally.is_empty() {
            return;
        }
        self.baseline = world.baseline;
        self.tally = Tally::new(watch(world.baseline), PANE);
        self.owned.clone().into_iter().for_each(|source| self.start(source, world));
    }

    fn range_id(&mut self) -> String {
        self.flushes += 1;
        format!("t{}-{}", self.number, self.flushes)
    }

    fn stamp<'a>(&self, range_id: &'a str, world: &World) -> FlushStamp<'a> {
        FlushStamp {
            range_id,
            instance: "t",
            wall_clock: self.now(world),
            flush_interval_ms: FLUSH_EVERY,
            lateness_ms: LATENESS,
            partitions: world.tallies.len() as u32,
        }
    }

    /// Writes what was counted since the last flush. A replica that the group has left behind is fenced.
    pub(super) fn flush(&mut self, world: &mut World, ending: Ending) {
        if self.frozen || self.tally.sources().next().is_none() {
            return;
        }
        if self.generation != world.generation {
            self.leave();
            self.join(world);
            return;
        }
        let id = self.range_id();
        let flush = self.tally.flush(&self.stamp(&id, world));
        let offsets: Vec<(usize, i64)> =
            flush.offsets.iter().map(|(source, next)| (source.partition as usize, *next)).collect();
        if world.transact(&flush.records, &offsets, ending) {
            self.tally.commit(LATENESS);
        } else {
            self.give_up(world);
        }
    }
}
