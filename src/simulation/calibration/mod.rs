//! What the tests of drift really do, by simulation: how often they alarm when nothing happens, and how soon they find
//! what does. Pure: a number depends on its seed alone.
//!
//! A [`Case`] is repeated, each repetition on dice of its own, and [summed up](Case::outcome). The bars are
//! those of statistics.md §9.10.

mod cases;
mod canary;
mod dependent;
mod mixture;
mod model;
mod monitor;
mod promotion;
mod shipped;
mod sticky;
mod values;
#[cfg(test)]
mod tests;

pub use cases::cases;
pub use values::Normal;

use super::dice::Dice;
use canary::Canary;
use dependent::Dependent;
use monitor::{Delay, Naive, Quiet};
use promotion::Promotion;
use shipped::Shipped;
use sticky::Sticky;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    Quiet(Quiet),
    Shipped(Shipped),
    Naive(Naive),
    Delay(Delay),
    Canary(Canary),
    Sticky(Sticky),
    Dependent(Dependent),
    Promotion(Promotion),
}

/// What the repetitions' numbers come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    Sum,
    Mean,
    Median,
    /// The 90th percentile.
    Ninetieth,
}

/// What the result must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Published, not barred.
    None,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub what: &'static str,
    pub conditions: String,
    pub task: Task,
    pub summary: Summary,
    pub bar: Bar,
    pub repetitions: u64,
}

/// A case's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub value: f64,
    /// Whether it is within its bar.
    pub held: bool,
}

impl Case {
    /// Whether the case sums up many panes of a canary, rather than windows of a monitor.
    pub fn follows_a_canary(&self) -> bool {
        matches!(self.task, Task::Canary(_) | Task::Sticky(_) | Task::Dependent(_))
    }

    /// The number of one repetition. `place` is that of the case among those of one run.
    pub fn repeat(&self, normal: &Normal, seed: u64, place: u64, repetition: u64) -> f64 {
        // Mixed twice, so that no two sequences run into each other.
        let place = Dice::new(seed ^ Dice::new(place).bits()).bits();
        let mut dice = Dice::new(Dice::new(place.wrapping_add(repetition)).bits());
        match &self.task {
            Task::Quiet(task) => task.run(normal, &mut dice),
            Task::Shipped(task) => task.run(normal, &mut dice),
            Task::Naive(task) => task.run(normal, &mut dice),
            Task::Delay(task) => task.run(normal, &mut dice),
            Task::Canary(task) => task.run(normal, &mut dice),
            Task::Sticky(task) => task.run(normal, &mut dice),
            Task::Dependent(task) => task.run(normal, &mut dice),
            Task::Promotion(task) => task.run(normal, &mut dice),
        }
    }

    /// What the numbers of all repetitions come to; 0 without any.
    pub fn outcome(&self, numbers: &[f64]) -> Outcome {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |level: f64| {
            let rank = (level * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
        };
        let sum: f64 = numbers.iter().sum();
        let value = match self.summary {
            Summary::Sum => sum,
            Summary::Mean => sum / numbers.len().max(1) as f64,
            Summary::Median => at(0.5),
            Summary::Ninetieth => at(0.9),
        };
        let held = match self.bar {
            Bar::AtMost(most) => value <= most,
            Bar::AtLeast(least) => value >= least,
            Bar::None => true,
        };
        Outcome { value, held }
    }
}
