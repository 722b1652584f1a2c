//! Verdicts over time → decisions about a rollout. Pure.

pub mod action;
mod alerts;
mod blame;
mod canary;
pub mod evaluate;
pub mod forecast;
mod guardrails;
pub mod schema_break;
mod state;
mod step;

#[cfg(test)]
mod canary_tests;
#[cfg(test)]
mod guardrails_tests;
#[cfg(test)]
mod simulated_canaries_tests;
#[cfg(test)]
mod tests;

use crate::event::EventTime;
use crate::stats::sequential::srm::Sampling;
use action::Decision;
pub use state::RolloutState;
pub use step::{Evaluation, PolicyOutcome, step};

/// The rollout policy of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyConfig {
    /// With plain thresholds: PIT-D between the arms' predictions from which they differ. Default 0.2.
    pub prediction_drift: f64,
    /// With plain thresholds: KS between the arms' inputs from which they differ. Default 0.2.
    pub feature_drift: f64,
    /// With plain thresholds: whether a recovered pause sends `resume`. Default false.
    pub resume: bool,
    /// Chance that a healthy canary is paused, over its whole rollout: half of it by its predictions, half by its
    /// inputs. Default 0.01.
    pub alpha: f64,
    /// PIT-D that must be certain before a canary is rolled back. Default 0.1.
    pub rollback_effect: f64,
    /// PIT-D that must be excluded before a canary is called good (`promote`). Default 0.05.
    pub promote_below: f64,
    /// What follows when the answers differ and the model is not shown to be the cause: `pause` or `rollback`.
    /// Default `pause`.
    pub unattributed: Decision,
    /// The canary's share of the traffic as its owner has set it, 0 to 1, where weights are not told; lets a wrong
    /// split be noticed. Default: not known.
    pub canary_weight: Option<f64>,
    /// How many of each arm's requests Tidegate hears of. Default: all of them, or equally many.
    pub sampling: Sampling,
    /// What is expected to differ, and therefore tells nothing.
    pub expected: Vec<ExpectedChange>,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig {
            prediction_drift: 0.2,
            feature_drift: 0.2,
            resume: false,
            alpha: 0.01,
            rollback_effect: 0.1,
            promote_below: 0.05,
            unattributed: Decision::Pause,
            canary_weight: None,
            sampling: Sampling::default(),
            expected: Vec::new(),
        }
    }
}

/// `[[model.expect]]`: a series of a version that is meant to differ. It is left out of blame, visibly, until
/// `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedChange {
    pub version: String,
    pub series: String,
    pub change: Change,
    /// Windows that end later are not covered.
    pub until: EventTime,
    /// Why, in the words of whoever expects it.
    pub reason: String,
}

/// How a series is meant to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    New,
    Removed,
    Rescaled,
    Shifted,
}

impl Change {
    pub const ALL: [Change; 4] = [Change::New, Change::Removed, Change::Rescaled, Change::Shifted];

    pub fn as_str(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Removed => "removed",
            Change::Rescaled => "rescaled",
            Change::Shifted => "shifted",
        }
    }
}
