//! When a demo is over, and whether it ended as its scenario should. Pure; time is an argument.

use super::model::CANARY;
use super::story::StoryEvent;
use super::traffic::Scenario;
use crate::judge::report::Verdict;
use crate::policy::action::{ActionOutcome, Alert, Decision};
use std::time::Duration;

/// How long the healthy scenario must stay without an action.
const QUIET: Duration = Duration::from_secs(30);
/// After this long any scenario has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// How a demo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As the scenario should.
    AsExpected(Decision),
    /// An action that the scenario must not lead to, or that came before anything had changed.
    WrongAction(Decision),
    /// The expected action did not reach the controller.
    NotDelivered(Decision),
    /// Nothing conclusive within 60 s.
    TimedOut,
}

impl End {
    /// The exit code of `demo --once`.
    pub fn exit_code(self) -> i32 {
        i32::from(!matches!(self, End::AsExpected(_)))
    }
}

/// Watches a demo's events for its end.
#[derive(Debug)]
pub struct Ending {
    scenario: Scenario,
    changed: bool,
    delivered: bool,
    weight_is_zero: bool,
    canary_was_healthy: bool,
}

impl Scenario {
    /// What the scenario ends in.
    pub fn expected(self) -> Decision {
        match self {
            Scenario::ModelRegression => Decision::Rollback,
            Scenario::BrokenFeature => Decision::Pause,
            Scenario::UpstreamDrift => Decision::Hold,
            Scenario::Healthy => Decision::Continue,
        }
    }
}

impl Ending {
    pub fn new(scenario: Scenario) -> Ending {
        Ending {
            scenario,
            changed: false,
            delivered: false,
            weight_is_zero: false,
            canary_was_healthy: false,
        }
    }

    /// Takes in one event, `elapsed` after the start. Once it has said how the demo ended, it need not be
    /// asked again.
    pub fn observe(&mut self, event: &StoryEvent, elapsed: Duration) -> Option<End> {
        let wrong = match event {
            StoryEvent::Change { .. } => {
                self.changed = true;
                None
            }
            StoryEvent::WeightChanged { to, .. } => {
                self.weight_is_zero = *to == 0.0;
                None
            }
            StoryEvent::Report(report) => {
                self.canary_was_healthy |=
                    report.model_version == CANARY && report.verdict == Verdict::Healthy;
                None
            }
            StoryEvent::Alert(alert) => return self.alert(alert).or_else(|| self.tick(elapsed)),
            StoryEvent::Action(action) => self.is_wrong(action.action).then_some(action.action),
            StoryEvent::Outcome(outcome) => return self.outcome(outcome).or_else(|| self.tick(elapsed)),
            _ => None,
        };
        wrong.map(End::WrongAction).or_else(|| self.tick(elapsed))
    }

    /// Whether the demo is over by `elapsed` after its start.
    pub fn tick(&self, elapsed: Duration) -> Option<End> {
        let expected = self.scenario.expected();
        let over = match self.scenario {
            Scenario::ModelRegression => self.delivered && self.weight_is_zero,
            Scenario::BrokenFeature => self.delivered,
            Scenario::UpstreamDrift => false,
            Scenario::Healthy => self.canary_was_healthy && elapsed >= QUIET,
        };
        if over {
            return Some(End::AsExpected(expected));
        }
        (elapsed >= LIMIT).then_some(End::TimedOut)
    }

    /// A rollback may be preceded by a pause: that the answers differ is certain before whose fault it is.
    fn is_wrong(&self, action: Decision) -> bool {
        let on_the_way = self.scenario == Scenario::ModelRegression && action == Decision::Pause;
        !self.changed || (action != self.scenario.expected() && !on_the_way)
    }

    fn alert(&self, alert: &Alert) -> Option<End> {
        let held = alert.kind == "upstream_drift" && alert.decision == Decision::Hold;
        let expected = self.scenario == Scenario::UpstreamDrift && self.changed && held;
        expected.then_some(End::AsExpected(Decision::Hold))
    }

    /// An outcome names its action by the last part of the idempotency key. Outcomes may be read before
    /// their actions.
    fn outcome(&mut self, outcome: &ActionOutcome) -> Option<End> {
        let expected = self.scenario.expected();
        if outcome.idempotency_key.rsplit('/').next() != Some(expected.as_str()) {
            return None;
        }
        self.delivered |= outcome.outcome == "delivered";
        (!self.delivered).then_some(End::NotDelivered(expected))
    }
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
