//! Which actions a later one has made pointless. Pure bookkeeping.
//!
//! Actions of one rollout may be read in any order (they are spread over partitions by their keys), so what is
//! later follows from the actions themselves, never from the order they came in:
//!
//! - another canary version: the one whose window ended later speaks for the rollout, the other's are over;
//! - one canary version: `pause`, then `resume`, then `rollback`. Each is asked for once, a resume only after a
//!   pause, and nothing after a rollback.

use crate::policy::action::{Action, Decision};
use std::collections::{BTreeMap, VecDeque};

/// Actions remembered of one model.
const PER_MODEL: usize = 32;
/// Models remembered; of more, the ones that were silent longest are forgotten.
const MODELS: usize = 10_000;

/// What matters of an action that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issued {
    revision: String,
    kind: Decision,
    /// Milliseconds since 1970.
    window_end: i64,
}

/// The newest actions of every rollout.
#[derive(Debug, Default)]
pub struct Rollouts {
    models: BTreeMap<(String, String), VecDeque<Issued>>,
    /// Models by their last action, oldest first.
    order: VecDeque<(String, String)>,
}

fn issued(action: &Action) -> Option<Issued> {
    let end = action.window_end.parse::<jiff::Timestamp>().ok()?;
    let (revision, kind) = (action.rollout.revision.clone(), action.action);
    Some(Issued { revision, kind, window_end: end.as_millisecond() })
}

impl Issued {
    fn supersedes(&self, older: &Issued) -> bool {
        if self.revision != older.revision {
            return self.window_end > older.window_end;
        }
        rank(self.kind) > rank(older.kind)
    }
}

fn rank(kind: Decision) -> u8 {
    match kind {
        Decision::Rollback => 2,
        Decision::Resume => 1,
        Decision::Pause
        | Decision::Continue
        | Decision::Hold
        | Decision::Inconclusive
        | Decision::Promote => 0,
    }
}

impl Rollouts {
    /// Remembers an action that was issued. One of unknown age supersedes nothing.
    pub fn note(&mut self, action: &Action) {
        let Some(issued) = issued(action) else { return };
        let model = (action.rollout.namespace.clone(), action.rollout.model.clone());
        self.order.retain(|known| *known != model);
        self.order.push_back(model.clone());
        let known = self.models.entry(model).or_default();
        if !known.contains(&issued) {
            known.push_back(issued);
        }
        if known.len() > PER_MODEL
            && let Some(oldest) = (0..known.len()).min_by_key(|place| known[*place].window_end)
        {
            known.remove(oldest);
        }
        if self.order.len() > MODELS
            && let Some(silent) = self.order.pop_front()
        {
            self.models.remove(&silent);
        }
    }

    /// Whether a later action of the same rollout contradicts this one.
    pub fn is_superseded(&self, action: &Action) -> bool {
        let model = (action.rollout.namespace.clone(), action.rollout.model.clone());
        let (Some(known), Some(this)) = (self.models.get(&model), issued(action)) else { return false };
        known.iter().any(|other| other.supersedes(&this))
    }
}
