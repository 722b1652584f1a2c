//! Windows of live panes against a baseline, on the scales and at the level of a budget (statistics.md §4.3).

use super::values::Normal;
use crate::simulation::dice::Dice;
use crate::stats::ks;
use crate::stats::own_blocks::OwnBlocks;
use crate::stats::psi::{Bins, Shares};
use std::collections::VecDeque;
use std::f64::consts::TAU;

/// Panes per window, each moved by a quarter.
pub const SCALES: [usize; 4] = [1, 4, 16, 64];
/// Series of the model.
pub const SERIES: u32 = 51;
/// Panes of a minute.
pub const PANES_PER_DAY: usize = 1_440;
/// False alarms per day of all series together.
const BUDGET: f64 = 0.1;
/// The least change that is worth a word.
const LEAST_TOLERANCE: f64 = 0.02;
/// A change that was not found in so many panes counts as found then.
const PATIENCE: usize = 400;

/// The level of a single test: the budget over a day's tests of all series.
pub fn level() -> f64 {
    let a_day = SCALES.iter().map(|scale| PANES_PER_DAY / stride(*scale)).sum::<usize>();
    BUDGET / (f64::from(SERIES) * a_day as f64)
}

/// Panes that a window moves by.
pub fn stride(scale: usize) -> usize {
    (scale / 4).max(1)
}

/// One series without drift: how many of its tests alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    pub panes: usize,
    /// Values of a pane.
    pub events: usize,
    pub baseline: Baseline,
}

/// What a series is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Baseline {
    /// So many independent values, and this tolerance.
    Independent { values: usize, tolerance: f64 },
    /// Days of the same traffic, which moves with the time; the tolerance of each scale comes from its own
    /// blocks of that length.
    Timed { days: usize, traffic: Moving },
}

/// How the mean of a series moves, in its standard deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moving {
    /// Of a daily swing, from its middle to its end.
    pub swing: f64,
    /// Standard deviation of a wander that forgets itself within two hours.
    pub wander: f64,
}

/// One series of an arm whose panes are each tested at .05, as is usual.
#[derive(Debug, Clone, PartialEq)]
pub struct Naive {
    pub panes: usize,
    pub events: usize,
    pub reference: usize,
}

/// The panes until a shift is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Delay {
    /// Kolmogorov–Smirnov distance of the shift.
    pub distance: f64,
    pub tolerance: f64,
    pub events: usize,
    pub reference: usize,
}

impl Quiet {
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        match self.baseline {
            Baseline::Independent { values, tolerance } => {
                let mut reference = vec![0; normal.bins()];
                normal.count(dice, values, 0.0, &mut reference);
                self.alarms(normal, dice, &reference, [tolerance; 4], &mut Course::still())
            }
            Baseline::Timed { days, traffic } => {
                let mut course = Course::new(traffic, dice);
                let panes: Vec<Vec<u16>> =
                    (0..days * PANES_PER_DAY).map(|_| pane(normal, dice, self.events, &mut course)).collect();
                let mut whole = vec![0; normal.bins()];
                panes.iter().for_each(|pane| add(&mut whole, pane));
                let tolerances = SCALES.map(|scale| tolerance(&whole, &panes, scale));
                self.alarms(normal, dice, &whole, tolerances, &mut course)
            }
        }
    }

    fn alarms(
        &self,
        normal: &Normal,
        dice: &mut Dice,
        reference: &[u64],
        tolerances: [f64; 4],
        course: &mut Course,
    ) -> f64 {
        let mut windows = Windows::new(normal.bins());
        let mut alarms = 0;
        for _ in 0..self.panes {
            windows.push(pane(normal, dice, self.events, course));
            alarms += windows.rejections(reference, tolerances);
        }
        alarms as f64
    }
}

/// How far the baseline's own blocks of `scale` panes stray.
fn tolerance(whole: &[u64], panes: &[Vec<u16>], scale: usize) -> f64 {
    let mut own = OwnBlocks::new(whole, Shares::Deciles, Bins::new(Shares::Deciles, whole));
    let mut block = vec![0; whole.len()];
    for panes in panes.chunks_exact(scale) {
        block.fill(0);
        panes.iter().for_each(|pane| add(&mut block, pane));
        own.add(&block);
    }
    own.usual().map_or(LEAST_TOLERANCE, |usual| usual.distance.max(LEAST_TOLERANCE))
}

impl Naive {
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let mut reference = vec![0; normal.bins()];
        normal.count(dice, self.reference, 0.0, &mut reference);
        let mut counts = vec![0; normal.bins()];
        let rejected = (0..self.panes).filter(|_| {
            counts.fill(0);
            normal.count(dice, self.events, 0.0, &mut counts);
            rejects(&reference, &counts, 0.0, 0.05)
        });
        rejected.count() as f64
    }
}

impl Delay {
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let mut reference = vec![0; normal.bins()];
        normal.count(dice, self.reference, 0.0, &mut reference);
        let mut windows = Windows::new(normal.bins());
        // Quiet windows on all scales, and the change at any place of their steps.
        let before = SCALES[3] + dice.index(SCALES[3]);
        (0..before).for_each(|_| windows.push(pane(normal, dice, self.events, &mut Course::still())));
        let mut shifted = Course { still: Normal::shift_of(self.distance), ..Course::still() };
        let found = (1..=PATIENCE).find(|_| {
            windows.push(pane(normal, dice, self.events, &mut shifted));
            windows.rejections(&reference, [self.tolerance; 4]) > 0
        });
        found.unwrap_or(PATIENCE) as f64
    }
}

fn rejects(reference: &[u64], window: &[u64], tolerance: f64, level: f64) -> bool {
    ks::two_sample(reference, window, true)
        .is_some_and(|ks| ks::p1(ks.statistic, ks.n, ks.m, tolerance) <= level)
}

fn pane(normal: &Normal, dice: &mut Dice, events: usize, course: &mut Course) -> Vec<u16> {
    let shift = course.next(normal, dice);
    (0..events).map(|_| normal.draw(dice, shift)).collect()
}

fn add(counts: &mut [u64], pane: &[u16]) {
    pane.iter().for_each(|&bin| counts[usize::from(bin)] += 1);
}

/// The mean of a series over time.
#[derive(Debug)]
pub struct Course {
    traffic: Moving,
    still: f64,
    /// In panes; where in the day it began is chance.
    time: f64,
    wandered: f64,
}

impl Course {
    pub fn still() -> Course {
        Course { traffic: Moving { swing: 0.0, wander: 0.0 }, still: 0.0, time: 0.0, wandered: 0.0 }
    }

    pub fn new(traffic: Moving, dice: &mut Dice) -> Course {
        Course { traffic, time: dice.unit() * PANES_PER_DAY as f64, ..Course::still() }
    }

    pub fn next(&mut self, normal: &Normal, dice: &mut Dice) -> f64 {
        let Moving { swing, wander } = self.traffic;
        self.time += 1.0;
        if wander > 0.0 {
            let kept = (-1.0f64 / 120.0).exp();
            self.wandered = kept * self.wandered + (1.0 - kept * kept).sqrt() * wander * normal.value(dice);
        }
        self.still + swing * (TAU * self.time / PANES_PER_DAY as f64).sin() + self.wandered
    }
}

/// The last panes' sums on every scale.
struct Windows {
    panes: VecDeque<Vec<u16>>,
    sums: [Vec<u64>; 4],
    pushed: usize,
}

impl Windows {
    fn new(bins: usize) -> Windows {
        Windows { panes: VecDeque::new(), sums: std::array::from_fn(|_| vec![0; bins]), pushed: 0 }
    }

    fn push(&mut self, pane: Vec<u16>) {
        for (scale, sum) in SCALES.iter().zip(&mut self.sums) {
            add(sum, &pane);
            if let Some(oldest) = self.panes.len().checked_sub(*scale) {
                self.panes[oldest].iter().for_each(|&bin| sum[usize::from(bin)] -= 1);
            }
        }
        if self.panes.len() == SCALES[3] {
            self.panes.pop_front();
        }
        self.panes.push_back(pane);
        self.pushed += 1;
    }

    /// Tests the windows that end with the last pane and are due; how many reject.
    fn rejections(&self, reference: &[u64], tolerances: [f64; 4]) -> usize {
        let level = level();
        let due = |scale: usize| self.pushed >= scale && self.pushed.is_multiple_of(stride(scale));
        (0..SCALES.len())
            .filter(|&at| due(SCALES[at]) && rejects(reference, &self.sums[at], tolerances[at], level))
            .count()
    }
}
