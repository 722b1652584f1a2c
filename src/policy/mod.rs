//! Verdicts over time → decisions about a rollout. Pure.

pub mod action;
mod alerts;
mod blame;
pub mod evaluate;
pub mod schema_break;
mod state;
mod step;

#[cfg(test)]
mod tests;

pub use state::RolloutState;
pub use step::{Evaluation, PolicyOutcome, step};

/// Thresholds of the rollout policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyConfig {
    /// PIT-D between the arms' predictions from which they differ. Default 0.2.
    pub prediction_drift: f64,
    /// KS between the arms' inputs from which they differ. Default 0.2.
    pub feature_drift: f64,
    /// Whether a recovered pause sends `resume`. Default false.
    pub resume: bool,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig { prediction_drift: 0.2, feature_drift: 0.2, resume: false }
    }
}
