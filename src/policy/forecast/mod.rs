//! What a rollout will be able to show, before it begins: the smallest differences that its traffic and its
//! baselines let the budget see, and when it can be rolled back or promoted.
//!
//! The rollout is walked through pane by pane on expected counts, with the looks, levels and bounds that
//! [`crate::judge::evidence`] takes. "Seen" means with a power of .8, for a change of the whole distribution;
//! narrower ones need up to a third more. What is said of a healthy canary is said of half of them.

mod arms;
mod promotion;
mod reference;
#[cfg(test)]
mod tests;
mod walk;

pub use arms::Arms;
pub use promotion::{PromotionLimit, unreachable_promotions};
pub use reference::{OwnSight, ReferenceSight, reference_sights};

use super::PolicyConfig;
use super::action::Decision;
use super::guardrails::error_level;
use crate::judge::evidence::ERROR_TOLERANCE;
use crate::stats::bounds::smallest_detectable_shift;
use crate::stats::sequential::boundary::{DEFAULT_HORIZON, Looks};
use crate::stats::sequential::joint::{self, Input};
use promotion::typical_supremum;
use serde::Serialize;
use walk::Walk;

/// No rollout is followed further than this: nearly two years of panes of a minute.
pub const MOST_PANES: u64 = 1_000_000;

/// Panes after which the spread of all inputs together is measured; before, they count as if they were one.
const PANES_FOR_SPREAD: u64 = 8;

const NO_ANSWERS: &str = "there are no answers that both versions have";

/// A step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The canary's share of the traffic, between 0 and 1.
    pub weight: f64,
    /// How many panes it lasts.
    pub panes: u64,
}

/// The traffic of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Ramp {
    /// Requests to the model in a pane, both arms together.
    pub requests_per_pane: f64,
    /// At least one; the last weight stays.
    pub steps: Vec<Step>,
    /// The autocorrelation factor, at least 1.
    pub phi: f64,
    /// Stable's share of failed requests, between 0 and 1.
    pub error_rate: f64,
}

/// What can be seen at the end of a step, of all panes so far. `None`: nothing, however large.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepSight {
    /// The canary's share of the traffic in this step.
    pub weight: f64,
    /// Panes from the start of the rollout to the end of this step.
    pub panes: u64,
    /// Expected events so far.
    pub canary_events: f64,
    pub stable_events: f64,
    /// The smallest PIT-D of an answer that is seen: `δ0 + c/√n`, `n = 1/(φ/I + 1/m_c + 1/m_s)`.
    pub answer: Option<f64>,
    /// The smallest D of an input that is seen: `δ0 + c/√(I/φ)`.
    pub input: Option<f64>,
    /// The smallest rise of the error rate that is seen (and rolled back: a guardrail with a level of its own).
    pub error_rise: Option<f64>,
    /// The smallest PIT-D that is rolled back, everything else being healthy.
    pub rollback: Option<f64>,
}

/// What a rollout comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub steps: Vec<StepSight>,
    pub rollback: RollbackSight,
    pub promotion: PromotionSight,
    /// The smallest PIT-D that endless traffic would show with these baselines.
    pub answer_limit: Option<f64>,
}

/// When a rollback becomes possible.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RollbackSight {
    /// The pane after which answers that have nothing in common with stable's (PIT-D 1) are rolled back. The last
    /// weight stays until then. `None`: never, or after more than [`MOST_PANES`].
    pub first_pane: Option<u64>,
    /// The smallest PIT-D that is rolled back with endless traffic; `None` when there is none.
    pub limit: Option<f64>,
    /// Why there is none.
    pub never: Option<String>,
}

/// When a healthy canary is called good.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromotionSight {
    /// The pane after which half of healthy canaries are; the last weight stays until then. `None`: never, or
    /// after more than [`MOST_PANES`].
    pub pane: Option<u64>,
    /// The canary's expected events by then.
    pub canary_events: Option<f64>,
    /// Why it is never.
    pub never: Option<String>,
}

/// Follows a rollout of these arms. `tolerance`: δ0.
pub fn forecast(arms: &Arms, policy: &PolicyConfig, tolerance: f64, ramp: &Ramp) -> Forecast {
    let eyes = Eyes::new(arms, policy, tolerance, ramp);
    let mut walk = Walk::new(ramp.phi);
    let mut seen = Seen::default();
    let mut steps = Vec::with_capacity(ramp.steps.len());
    let add_pane = |walk: &mut Walk, weight: f64| {
        let share = policy.sampling.expected_share(weight).unwrap_or(weight);
        walk.add_pane(ramp.requests_per_pane * policy.sampling.events_per_request(weight), share);
    };
    for step in &ramp.steps {
        for _ in 0..step.panes {
            add_pane(&mut walk, step.weight);
            eyes.note(&walk, &mut seen);
        }
        steps.push(eyes.sight(&walk, &seen, step.weight));
    }
    let (rollback, promotion) = (eyes.rollback_limit(), PromotionLimit::of(arms, policy));
    let last = ramp.steps.last().map_or(0.0, |step| step.weight);
    let awaits = |seen: &Seen| {
        let promotes = promotion.is_some_and(|limit| !limit.is_out_of_reach());
        (seen.rollback.is_none() && rollback.is_ok()) || (seen.promotion.is_none() && promotes)
    };
    while awaits(&seen) && walk.panes < MOST_PANES {
        add_pane(&mut walk, last);
        eyes.note(&walk, &mut seen);
    }
    Forecast {
        steps,
        rollback: RollbackSight {
            first_pane: seen.rollback,
            limit: rollback.as_ref().ok().copied(),
            never: rollback.err(),
        },
        promotion: PromotionSight {
            pane: seen.promotion.map(|(pane, _)| pane),
            canary_events: seen.promotion.map(|(_, events)| events),
            never: match promotion {
                None => Some(NO_ANSWERS.to_owned()),
                Some(limit) => limit.is_out_of_reach().then(|| limit.sentence()),
            },
        },
        answer_limit: eyes.answer_limit(),
    }
}

/// What has been reached so far.
#[derive(Default)]
struct Seen {
    /// The smallest PIT-D and D that were seen in epochs that are over: what was found stays found.
    answer: Option<f64>,
    input: Option<f64>,
    /// The first pane.
    rollback: Option<u64>,
    /// The first pane, with the canary's events.
    promotion: Option<(u64, f64)>,
}

/// Looks at a walk as the policy will.
struct Eyes<'a> {
    arms: &'a Arms,
    policy: &'a PolicyConfig,
    tolerance: f64,
    ramp: &'a Ramp,
    /// Typical largest √n·D of healthy inputs, of answers, and of both.
    inputs: f64,
    answers: f64,
    both: f64,
    /// The bound of healthy inputs together, times √(I/φ), while their spread is not measured, and then.
    joint: [f64; 2],
}

impl<'a> Eyes<'a> {
    fn new(arms: &'a Arms, policy: &'a PolicyConfig, tolerance: f64, ramp: &'a Ramp) -> Eyes<'a> {
        // J² of healthy inputs is 0 on average, so they are given just what chance adds.
        let input = Input { distance: joint::MEAN_SQUARE.sqrt(), n_e: 1.0 };
        let bound = |spread: f64| {
            joint::distance(&vec![input; arms.inputs], spread).map_or(f64::INFINITY, |joint| joint.upper)
        };
        Eyes {
            arms,
            policy,
            tolerance,
            ramp,
            inputs: typical_supremum(arms.inputs),
            answers: typical_supremum(arms.answers),
            both: typical_supremum(arms.inputs + arms.answers),
            joint: [joint::largest_spread(arms.inputs), joint::independent_spread(arms.inputs)].map(bound),
        }
    }

    /// Half of α is for answers, half for inputs.
    fn level(&self) -> f64 {
        self.policy.alpha / 2.0
    }

    fn note(&self, walk: &Walk, seen: &mut Seen) {
        if let Some(closed) = walk.closed {
            seen.answer = smaller(seen.answer, self.answer_at(&closed));
            seen.input = smaller(seen.input, self.input_at(&closed));
        }
        if seen.rollback.is_none() && self.rollback(walk, seen).is_some() {
            seen.rollback = Some(walk.panes);
        }
        if seen.promotion.is_none() && self.promotes(walk) {
            seen.promotion = Some((walk.panes, walk.canary_events));
        }
    }

    fn sight(&self, walk: &Walk, seen: &Seen, weight: f64) -> StepSight {
        StepSight {
            weight,
            panes: walk.panes,
            canary_events: walk.canary_events,
            stable_events: walk.stable_events,
            answer: self.answer(walk, seen),
            input: smaller(seen.input, walk.looks().and_then(|looks| self.input_at(&looks))),
            error_rise: walk.error_rise(
                self.ramp.error_rate,
                error_level(self.arms.labelled),
                ERROR_TOLERANCE,
            ),
            rollback: self.rollback(walk, seen),
        }
    }

    fn answer(&self, walk: &Walk, seen: &Seen) -> Option<f64> {
        smaller(seen.answer, walk.looks().and_then(|looks| self.answer_at(&looks)))
    }

    /// At the last of these looks. Holm's rule takes the first of k rejections at the k-th part of the level.
    fn answer_at(&self, looks: &Looks) -> Option<f64> {
        let c = looks.critical_value(self.level() / self.arms.answers.max(1) as f64);
        let n = self.with_baselines(looks.last / self.ramp.phi.max(1.0));
        possible(smallest_detectable_shift(n, c, self.tolerance)).filter(|_| self.arms.answers > 0)
    }

    /// As of answers; the inputs' rows without a value are tested too: two tests for each.
    fn input_at(&self, looks: &Looks) -> Option<f64> {
        let c = looks.critical_value(self.level() / (2 * self.arms.inputs).max(1) as f64);
        let n = looks.last / self.ramp.phi.max(1.0);
        possible(smallest_detectable_shift(n, c, self.tolerance)).filter(|_| self.arms.inputs > 0)
    }

    /// `1/(1/size + 1/m_c + 1/m_s)`.
    fn with_baselines(&self, size: f64) -> f64 {
        1.0 / (1.0 / size + self.arms.noise_of_baselines().powi(2))
    }

    /// LCB ≥ `rollback_effect`, and half of it above the bounds of everything that must be alike.
    fn rollback(&self, walk: &Walk, seen: &Seen) -> Option<f64> {
        let answer = self.answer(walk, seen)?;
        if self.policy.unattributed == Decision::Rollback {
            return Some(answer);
        }
        if self.arms.doubt().is_some() {
            return None;
        }
        let c = walk.looks()?.critical_value(self.level());
        let joint = self.joint[usize::from(walk.panes >= PANES_FOR_SPREAD)];
        let inputs = (c + self.inputs).max(joint) / walk.size().sqrt();
        let alike = 2.0 * inputs.max(self.stable_bound(c, walk.stable_noise()));
        let effect = self.policy.rollback_effect.max(alike);
        possible(smallest_detectable_shift(self.with_baselines(walk.size()), c, effect).max(answer))
    }

    /// The bound of how far a healthy stable arm may have moved from its own baseline.
    fn stable_bound(&self, c: f64, noise: f64) -> f64 {
        (c + self.both) * (noise + 1.0 / self.arms.stable_values as f64).sqrt()
    }

    fn promotes(&self, walk: &Walk) -> bool {
        let Some(looks) = walk.looks().filter(|_| self.arms.answers > 0) else { return false };
        let factor = looks.critical_value(self.level()) + self.answers;
        factor / self.with_baselines(walk.size()).sqrt() < self.policy.promote_below
    }

    fn answer_limit(&self) -> Option<f64> {
        let c = first_critical_value(self.level() / self.arms.answers.max(1) as f64);
        let reach = c * self.arms.noise_of_baselines();
        possible(self.tolerance + reach).filter(|_| self.arms.answers > 0)
    }

    /// The smallest PIT-D that endless traffic rolls back, or why there is none.
    fn rollback_limit(&self) -> Result<f64, String> {
        const TOO_SMALL: &str = "the baselines are too small to show anything";
        if self.arms.answers == 0 {
            return Err(NO_ANSWERS.to_owned());
        }
        let answer = self.answer_limit().ok_or(TOO_SMALL)?;
        if self.policy.unattributed == Decision::Rollback {
            return Ok(answer);
        }
        if let Some(doubt) = self.arms.doubt() {
            return Err(doubt);
        }
        let c = first_critical_value(self.level());
        let effect = self.policy.rollback_effect.max(2.0 * self.stable_bound(c, 0.0));
        let limit = (effect + c * self.arms.noise_of_baselines()).max(answer);
        possible(limit).ok_or_else(|| TOO_SMALL.to_owned())
    }
}

/// c in the first epoch.
fn first_critical_value(level: f64) -> f64 {
    Looks::new(DEFAULT_HORIZON).critical_value(level)
}

/// A distance that there can be.
fn possible(distance: f64) -> Option<f64> {
    (distance <= 1.0).then_some(distance)
}

fn smaller(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().reduce(f64::min)
}
