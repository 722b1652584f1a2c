//! What the policy remembers of a model: stored in `tidegate.state`, restored after a restart.

use super::action::Decision;
use crate::baseline::WatchedModel;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The policy's memory of one model. Bounded by its configured versions and the four scales.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RolloutState {
    /// The canary version that `scales` are about.
    pub revision: Option<String>,
    /// The gravest decision that stands at any scale, for the API.
    pub last_decision: Option<Decision>,
    /// The sentence for `last_decision`.
    pub last_reason: String,
    /// Scale → what its windows said of this revision.
    pub(super) scales: BTreeMap<u32, ScaleState>,
    /// Canary version → what was asked of the controller for it; kept when another canary follows, so that
    /// no action is ever asked for twice.
    pub(super) sent: BTreeMap<String, Sent>,
    /// Version → scale → whether its drift was told.
    pub(super) drift: BTreeMap<String, BTreeMap<u32, Latch>>,
    /// Scale → whether a common move of both arms was told.
    pub(super) upstream: BTreeMap<u32, Latch>,
    /// Scales whose last window lacked source offsets.
    pub(super) incomplete: BTreeSet<u32>,
}

/// The windows of one scale, as far as they were conclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct ScaleState {
    /// What the last window said.
    pub finding: Option<Decision>,
    /// How many windows in a row said so.
    pub count: u32,
    /// How many windows in a row said pause or rollback.
    pub trouble: u32,
    /// Windows in a row that said continue, since the last pause was sent.
    pub healthy: u32,
    /// The last window's inputs differed between the arms.
    pub inputs_differ: bool,
    /// The decision that stands, and why.
    pub decided: Option<(Decision, String)>,
}

/// What was asked of the controller for one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Sent {
    pub kinds: BTreeSet<Decision>,
    /// The scale whose windows caused the pause.
    pub paused_at: Option<u32>,
    /// The rollback's sentence.
    pub reason: String,
}

/// An alert that was raised, until it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Latch {
    /// Healthy windows in a row since.
    pub healthy: u32,
}

impl RolloutState {
    /// Whether an action of this kind was asked for, for this canary version.
    pub fn was_sent(&self, revision: &str, kind: Decision) -> bool {
        self.sent.get(revision).is_some_and(|sent| sent.kinds.contains(&kind))
    }

    /// Turns to a new canary version: what was seen of another says nothing about it.
    pub(super) fn turn_to(&mut self, revision: &str) {
        if self.revision.as_deref() != Some(revision) {
            self.revision = Some(revision.to_owned());
            self.scales.clear();
            self.upstream.clear();
            self.last_decision = None;
            self.last_reason.clear();
        }
    }

    /// Forgets versions that are no longer configured. Call after restoring and on a new configuration.
    pub fn retain_watched(&mut self, watched: &WatchedModel) {
        let watches = |version: &String| watched.find_version(version).is_some();
        self.sent.retain(|version, _| watches(version));
        self.drift.retain(|version, _| watches(version));
        if self.revision.as_ref().is_some_and(|revision| !watches(revision)) {
            self.revision = None;
            self.scales.clear();
            self.upstream.clear();
            self.last_decision = None;
            self.last_reason.clear();
        }
    }

    /// Recomputes the decision that stands over all scales.
    pub(super) fn settle(&mut self) {
        let standing = self.scales.values().filter_map(|scale| scale.decided.as_ref());
        if let Some((decision, reason)) = standing.max_by_key(|(decision, _)| gravity(*decision)) {
            self.last_decision = Some(*decision);
            self.last_reason.clone_from(reason);
        }
    }
}

fn gravity(decision: Decision) -> u8 {
    match decision {
        Decision::Inconclusive => 0,
        Decision::Continue | Decision::Resume | Decision::Promote => 1,
        Decision::Hold => 2,
        Decision::Pause => 3,
        Decision::Rollback => 4,
    }
}
