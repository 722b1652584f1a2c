//! One schedule, from the first step to the last oracle.

use super::dice::Dice;
use super::judging::Slot;
use super::replica::Replica;
use super::schedule::{Ending, Load, Schedule, Setup, Step};
use super::traffic;
use super::world::{Committed, SourceLog, World};
use super::{Violation, oracle};

/// Rounds that everything may take to settle once the trouble is over.
const CALM_ROUNDS: usize = 80;
/// Wall clock of the beginning (milliseconds).
const BEGIN: i64 = 100_000;
/// More records than a run has.
const MANY: usize = 1 << 20;
/// Source partitions a topic grows to at most.
const MAX_SOURCES: usize = 4;

/// What a run touched, so that a run of many can show that it tried what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    pub flushes: u64,
    pub duplicates: u64,
    pub incomplete: u64,
    pub revisions: u64,
    pub late_dropped: u64,
    pub windows: u64,
    pub left_out: u64,
    pub events: u64,
}

impl Coverage {
    /// Adds another run's.
    pub fn add(&mut self, other: &Coverage) {
        self.flushes += other.flushes;
        self.duplicates += other.duplicates;
        self.incomplete += other.incomplete;
        self.revisions += other.revisions;
        self.late_dropped += other.late_dropped;
        self.windows += other.windows;
        self.left_out += other.left_out;
        self.events += other.events;
    }
}

/// Runs a schedule, lets the trouble end, and holds the outcome against the oracles.
///
/// # Errors
/// The first oracle that does not hold.
pub fn run(schedule: &Schedule) -> Result<Coverage, Violation> {
    let mut run = Run::begin(schedule.setup)?;
    let moves = |step: &Step| matches!(step, Step::Grow | Step::Rebaseline);
    run.world.in_parts = !schedule.steps.iter().any(moves);
    for step in &schedule.steps {
        run.step(*step)?;
    }
    run.calm_down()?;
    oracle::check(&run.world)
}

struct Run {
    setup: Setup,
    world: World,
    replicas: Vec<Replica>,
    slots: Vec<Slot>,
    lives: u32,
}

impl Run {
    fn begin(setup: Setup) -> Result<Run, Violation> {
        let log = || SourceLog { topic_uuid: "topic-1".to_owned(), ..SourceLog::default() };
        let mut world = World {
            clock: BEGIN,
            sources: (0..setup.sources).map(|_| log()).collect(),
            tallies: vec![Vec::new(); setup.merges as usize],
            committed: vec![Committed::default(); setup.merges as usize],
            owners: (0..setup.sources).map(|source| source % setup.tallies).collect(),
            ..World::default()
        };
        let skews = [0, setup.skew, -setup.skew];
        let replicas = (0..setup.tallies).map(|one| Replica::new(one, skews[one % 3], &world)).collect();
        let slots = (0..setup.merges as usize).map(|merge| Slot::begin(merge, &mut world));
        let slots = slots.collect::<Result<Vec<Slot>, Violation>>()?;
        Ok(Run { setup, world, replicas, slots, lives: 1 })
    }

    fn step(&mut self, step: Step) -> Result<(), Violation> {
        let world = &mut self.world;
        match step {
            Step::Produce { source, load, count, salt } => self.produce(source, load, count, salt),
            Step::Tick { ms } => world.clock += ms,
            Step::Read { tally, count } => {
                self.replicas[tally].read(world, count as usize, self.setup.latest);
            }
            Step::Flush { tally, ending } => self.replicas[tally].flush(world, ending),
            Step::Repeat => world.repeat(),
            Step::Crash { tally } => self.replicas[tally].crash(world),
            Step::Rebalance { salt, unaware } => {
                let mut dice = Dice::new(salt);
                let owners = world.owners.iter().map(|_| dice.index(self.setup.tallies)).collect();
                self.rebalance(owners, unaware);
            }
            Step::Freeze { tally, frozen } => self.replicas[tally].frozen = frozen,
            Step::Retention { source, percent } => self.retain(source, percent),
            Step::SetBack { source, by } => self.set_back(source, by),
            Step::Grow => self.grow(),
            Step::Recreate => self.recreate(),
            Step::Judge { merge, count } => self.slots[merge].read(world, count as usize)?,
            Step::JudgeCommit { merge, ending } => self.slots[merge].commit(world, ending)?,
            Step::JudgeCrash { merge } => self.slots[merge] = Slot::begin(merge, world)?,
            Step::Rebaseline => {
                world.baseline += 1;
                world.destroyed = true;
            }
        }
        Ok(())
    }

    fn produce(&mut self, source: usize, load: Load, count: u8, salt: u64) {
        let source = source % self.world.sources.len();
        let clock = self.world.clock;
        let log = &mut self.world.sources[source];
        let mut dice = Dice::new(salt);
        for _ in 0..count {
            if let Some(body) = traffic::draw(&mut dice, load, clock) {
                log.records.insert(log.high, body);
            }
            log.high += 1;
        }
    }

    fn rebalance(&mut self, owners: Vec<usize>, unaware: Option<usize>) {
        let world = &mut self.world;
        world.generation += 1;
        world.owners = owners;
        let aware = |(number, replica): &(usize, &mut Replica)| !replica.frozen && Some(*number) != unaware;
        // Nobody is given a partition before whoever had it has flushed it.
        self.replicas.iter_mut().enumerate().filter(aware).for_each(|(_, replica)| replica.revoke(world));
        self.replicas.iter_mut().enumerate().filter(aware).for_each(|(_, replica)| replica.join(world));
    }

    fn retain(&mut self, source: usize, percent: u8) {
        let source = source % self.world.sources.len();
        let log = &mut self.world.sources[source];
        log.low += (log.high - log.low) * i64::from(percent) / 100;
        let low = log.low;
        self.world.destroyed |= self.world.offsets.get(&source).is_some_and(|offset| *offset < low);
    }

    fn set_back(&mut self, source: usize, by: u8) {
        let source = source % self.world.sources.len();
        if let Some(offset) = self.world.offsets.get_mut(&source) {
            *offset = (*offset - i64::from(by)).max(0);
            self.world.destroyed = true;
        }
        self.world.generation += 1;
        self.replicas.iter_mut().for_each(|replica| replica.crash(&self.world));
    }

    fn grow(&mut self) {
        if self.world.sources.len() >= MAX_SOURCES {
            return;
        }
        let topic_uuid = self.world.sources[0].topic_uuid.clone();
        self.world.sources.push(SourceLog { topic_uuid, ..SourceLog::default() });
        let mut owners = self.world.owners.clone();
        owners.push(owners.len() % self.setup.tallies);
        self.rebalance(owners, None);
    }

    fn recreate(&mut self) {
        let world = &mut self.world;
        self.lives += 1;
        let topic_uuid = format!("topic-{}", self.lives);
        for (source, log) in world.sources.iter_mut().enumerate() {
            let new = SourceLog { topic_uuid: topic_uuid.clone(), ..SourceLog::default() };
            let old = std::mem::replace(log, new);
            world.past.insert((old.topic_uuid.clone(), source), old);
        }
        world.offsets.clear();
        world.destroyed = true;
    }

    /// I6: the trouble is over; everything is read and closed before long.
    fn calm_down(&mut self) -> Result<(), Violation> {
        self.replicas.iter_mut().for_each(|replica| replica.frozen = false);
        let owners = (0..self.world.sources.len()).map(|source| source % self.setup.tallies).collect();
        self.rebalance(owners, None);
        for _ in 0..CALM_ROUNDS {
            let world = &mut self.world;
            world.clock += 700;
            for replica in &mut self.replicas {
                replica.read(world, MANY, self.setup.latest);
                replica.flush(world, Ending::Committed);
            }
            for slot in &mut self.slots {
                slot.read(world, MANY)?;
                slot.commit(world, Ending::Committed)?;
            }
            let read = |(source, log): (usize, &SourceLog)| {
                world.offsets.get(&source).is_some_and(|next| log.records.range(*next..).next().is_none())
            };
            if world.sources.iter().enumerate().all(read) && self.slots.iter().all(|slot| slot.is_done(world))
            {
                return Ok(());
            }
        }
        Err(Violation::new("I6", format!("not settled after {CALM_ROUNDS} rounds without trouble")))
    }
}
