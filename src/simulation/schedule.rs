//! What happens in one run, as plain data: drawn from a seed, printed as a trace, shortened when it fails.

use super::dice::Dice;
use std::fmt;

/// The size of a run's world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Partitions of the source topic at the start.
    pub sources: usize,
    /// Partitions of the tallies.
    pub merges: u32,
    /// Tally replicas.
    pub tallies: usize,
    /// A new group begins at the sources' ends instead of their beginnings.
    pub latest: bool,
    /// Replicas set their clocks apart by up to this (milliseconds).
    pub skew: i64,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Committed,
    Aborted,
    /// The client hears nothing; the broker did it, or did not.
    Ambiguous {
        applied: bool,
    },
    /// What transactions before KIP-890 allow: of the records in each partition only those on one side of a
    /// cut become visible, and the offsets move or do not. The client believes `told`.
    Torn {
        cut: u8,
        head: bool,
        offsets: bool,
        told: bool,
    },
}

/// What a producer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Events about now, a little out of order.
    Fresh,
    /// Events of some panes ago.
    Late,
    /// Events ahead of the clock, within bounds.
    Ahead,
    /// Events too far ahead, unreadable messages, tombstones, events of unwatched models.
    Bad,
    /// Offsets without a record: control records, compaction.
    Holes,
}

/// One thing that happens. Every step can happen in every state; one that has nothing to do does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Produce {
        source: usize,
        load: Load,
        count: u8,
        salt: u64,
    },
    /// The wall clock moves on (milliseconds).
    Tick {
        ms: i64,
    },
    Read {
        tally: usize,
        count: u8,
    },
    Flush {
        tally: usize,
        ending: Ending,
    },
    /// The transaction of the last flush comes once more.
    Repeat,
    /// SIGKILL; the replica is back at once and finds its partitions again.
    Crash {
        tally: usize,
    },
    /// Partitions are dealt anew. Replicas flush what they give up, but for `unaware`, which notices nothing.
    Rebalance {
        salt: u64,
        unaware: Option<usize>,
    },
    /// The replica is stopped (SIGSTOP) or goes on: it neither reads nor flushes meanwhile.
    Freeze {
        tally: usize,
        frozen: bool,
    },
    /// A source's log is cut up to a share of what it holds (percent).
    Retention {
        source: usize,
        percent: u8,
    },
    /// The group's offset of a source is set back by hand, while all replicas are down.
    SetBack {
        source: usize,
        by: u8,
    },
    /// A partition is added to the source topic.
    Grow,
    /// The source topic is deleted and made again under its name.
    Recreate,
    /// The judge of a merge partition applies some records.
    Judge {
        merge: usize,
        count: u8,
    },
    JudgeCommit {
        merge: usize,
        ending: Ending,
    },
    JudgeCrash {
        merge: usize,
    },
    /// A baseline is replaced: everything is counted on another grid from here on.
    Rebaseline,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub setup: Setup,
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn draw(seed: u64) -> Schedule {
        let mut dice = Dice::new(seed);
        let setup = Setup {
            sources: 1 + dice.index(3),
            merges: 1 + dice.below(2) as u32,
            tallies: 1 + dice.index(3),
            latest: dice.chance(30),
            skew: if dice.chance(30) { dice.between(1, 2_000) } else { 0 },
        };
        // A run has few kinds of trouble, so that what one of them breaks is not hidden by another's marks.
        let troubles = Troubles::draw(&mut dice);
        let length = 12 + dice.index(60);
        let steps = (0..length).map(|_| draw_step(&mut dice, &setup, &troubles)).collect();
        Schedule { setup, steps }
    }
}

/// Which kinds of trouble a run has.
#[derive(Debug, Clone, Copy)]
struct Troubles {
    failing: bool,
    torn: bool,
    crashes: bool,
    rebalances: bool,
    frozen: bool,
    bad: bool,
    late: bool,
    retention: bool,
    moving: bool,
}

impl Troubles {
    fn draw(dice: &mut Dice) -> Troubles {
        Troubles {
            failing: dice.chance(50),
            torn: dice.chance(15),
            crashes: dice.chance(40),
            rebalances: dice.chance(40),
            frozen: dice.chance(25),
            bad: dice.chance(30),
            late: dice.chance(50),
            retention: dice.chance(12),
            moving: dice.chance(12),
        }
    }
}

fn draw_step(dice: &mut Dice, setup: &Setup, troubles: &Troubles) -> Step {
    let tally = dice.index(setup.tallies);
    let merge = dice.index(setup.merges as usize);
    let source = dice.index(setup.sources + 1);
    match dice.below(100) {
        0..24 => Step::Produce {
            source,
            load: draw_load(dice, troubles),
            count: 1 + dice.below(6) as u8,
            salt: dice.below(1 << 32),
        },
        24..36 => Step::Tick {
            ms: if dice.chance(85) { dice.between(50, 1_500) } else { dice.between(2_000, 9_000) },
        },
        36..54 => Step::Read { tally, count: 1 + dice.below(8) as u8 },
        54..70 => Step::Flush { tally, ending: draw_ending(dice, troubles) },
        70..84 => Step::Judge { merge, count: 1 + dice.below(12) as u8 },
        84..92 => {
            let failing = troubles.failing && dice.chance(30);
            let applied = dice.chance(50);
            let failure = if dice.chance(50) { Ending::Aborted } else { Ending::Ambiguous { applied } };
            Step::JudgeCommit { merge, ending: if failing { failure } else { Ending::Committed } }
        }
        _ => draw_trouble(dice, setup, troubles, tally, merge, source),
    }
}

fn draw_trouble(
    dice: &mut Dice,
    setup: &Setup,
    troubles: &Troubles,
    tally: usize,
    merge: usize,
    source: usize,
) -> Step {
    match dice.below(10) {
        0 | 1 if troubles.crashes => Step::Crash { tally },
        2 if troubles.crashes => Step::JudgeCrash { merge },
        3 | 4 if troubles.rebalances => {
            let unaware = dice.chance(40).then(|| dice.index(setup.tallies));
            Step::Rebalance { salt: dice.below(1 << 32), unaware }
        }
        5 if troubles.frozen => Step::Freeze { tally, frozen: dice.chance(60) },
        6 if troubles.retention && dice.chance(50) => {
            Step::Retention { source, percent: dice.below(101) as u8 }
        }
        6 if troubles.retention => Step::SetBack { source, by: 1 + dice.below(8) as u8 },
        7 if troubles.moving => match dice.below(3) {
            0 => Step::Grow,
            1 => Step::Recreate,
            _ => Step::Rebaseline,
        },
        8 if troubles.failing => Step::Repeat,
        _ => Step::Tick { ms: dice.between(50, 3_000) },
    }
}

fn draw_load(dice: &mut Dice, troubles: &Troubles) -> Load {
    match dice.below(10) {
        0 if troubles.bad => Load::Bad,
        1 if troubles.bad => Load::Holes,
        2 if troubles.bad => Load::Ahead,
        3 | 4 if troubles.late => Load::Late,
        _ => Load::Fresh,
    }
}

fn draw_ending(dice: &mut Dice, troubles: &Troubles) -> Ending {
    if troubles.torn && dice.chance(15) {
        let (cut, head) = (dice.below(5) as u8, dice.chance(50));
        return Ending::Torn { cut, head, offsets: dice.chance(50), told: dice.chance(50) };
    }
    if troubles.failing && dice.chance(25) {
        return match dice.below(3) {
            0 => Ending::Aborted,
            _ => Ending::Ambiguous { applied: dice.chance(50) },
        };
    }
    Ending::Committed
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { sources, merges, tallies, latest, skew } = self.setup;
        let start = if latest { "latest" } else { "earliest" };
        writeln!(
            out,
            "{sources} source partitions, {merges} merge partitions, {tallies} tallies, start {start}, clocks {skew} ms apart"
        )?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(out, "{:>4}  {step:?}", number + 1)?;
        }
        Ok(())
    }
}
