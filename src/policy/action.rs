//! What is said (alerts) and what is asked of a rollout controller (actions): the JSON of `tidegate.alerts`,
//! `tidegate.actions` and `tidegate.actions.outcomes`.

use serde::{Deserialize, Serialize};

/// What follows for a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Nothing moved.
    Continue,
    /// Both arms moved alike: the world changed. Alert, keep the weight.
    Hold,
    /// Too little data.
    Inconclusive,
    /// The arms' inputs differ, or blame cannot be laid: stop stepping.
    Pause,
    /// The canary's answers differ while its inputs agree: take it out.
    Rollback,
    /// What a pause was for has passed (off by default).
    Resume,
    /// A difference that matters is excluded: nothing speaks against more traffic. Said, never sent.
    Promote,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Continue => "continue",
            Decision::Hold => "hold",
            Decision::Inconclusive => "inconclusive",
            Decision::Pause => "pause",
            Decision::Rollback => "rollback",
            Decision::Resume => "resume",
            Decision::Promote => "promote",
        }
    }
}

/// The rollout an action is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRef {
    pub namespace: String,
    pub model: String,
    pub stable: String,
    pub canary: String,
    /// The canary version, for now.
    pub revision: String,
}

/// One measured fact that an action or alert rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `feature`, `prediction` or `quality`.
    pub kind: String,
    pub name: String,
    /// `psi`, `ks`, `tv` (total variation), `missing_ratio` (its difference), `pit_d`, `error_ratio`, `accuracy` or `share`.
    pub metric: String,
    /// `baseline` or `stable`.
    pub reference: String,
    pub value: f64,
    pub threshold: f64,
}

/// Something asked of a rollout controller, once: a record of `tidegate.actions`, keyed by `idempotency_key`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// `{namespace}/{model}/{revision}/{kind}`: a function of rollout, revision and kind, nothing else.
    pub idempotency_key: String,
    /// `pause`, `rollback` or `resume`.
    pub action: Decision,
    pub rollout: RolloutRef,
    /// RFC 3339.
    pub window_start: String,
    /// RFC 3339. An action expires `max_action_age` after it.
    pub window_end: String,
    pub events: u64,
    pub findings: Vec<Finding>,
    /// One sentence.
    pub reason: String,
}

/// Something people should know: a record of `tidegate.alerts`, keyed by `alert_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// A function of model, version, kind and window; never the same twice.
    pub alert_id: String,
    /// `drift`, `upstream_drift`, `incomplete`, `schema_break`, `action_expired` or `self_check`.
    pub kind: String,
    pub namespace: String,
    pub model: String,
    pub model_version: String,
    /// The source topic of a `schema_break`, which is of no model: the three names above are then empty.
    #[serde(default)]
    pub topic: Option<String>,
    pub window_start: String,
    pub window_end: String,
    pub findings: Vec<Finding>,
    pub decision: Decision,
    pub reason: String,
}

/// What became of an action at one sink: a record of `tidegate.actions.outcomes`, keyed by
/// `{idempotency_key}@{sink}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOutcome {
    pub idempotency_key: String,
    pub sink: String,
    /// `delivered`, `refused` (a terminal 4xx), `expired`, `superseded` (by a later action of its rollout) or
    /// `failed` (too many others wait for this sink).
    pub outcome: String,
    pub attempts: u32,
    /// The last HTTP status, if there was one.
    pub status: Option<u16>,
    /// RFC 3339.
    pub at: String,
}

impl ActionOutcome {
    pub const DELIVERED: &'static str = "delivered";
    pub const REFUSED: &'static str = "refused";
    pub const EXPIRED: &'static str = "expired";
    pub const SUPERSEDED: &'static str = "superseded";
    pub const FAILED: &'static str = "failed";
}
