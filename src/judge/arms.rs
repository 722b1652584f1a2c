//! Which version plays which part in a window.

use super::window::{ArmWindow, ModelWindow};
use crate::baseline::{Rollout, VersionIndex, WatchedModel};
use crate::event::Role;

/// The arms of a window: positions in [`ModelWindow::arms`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arms {
    pub stable: Option<usize>,
    pub canary: Option<usize>,
    /// Set when the roles contradict each other; then neither arm is.
    pub conflict: Option<Conflict>,
}

/// Why the arms could not be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The versions whose roles contradict each other.
    pub versions: Vec<VersionIndex>,
    /// One clause, without a full stop.
    pub reason: String,
}

impl Arms {
    pub fn role(&self, position: usize) -> Option<Role> {
        if self.stable == Some(position) {
            Some(Role::Stable)
        } else if self.canary == Some(position) {
            Some(Role::Canary)
        } else {
            None
        }
    }

    /// Why nothing can be said of `version`, if its role is in conflict.
    pub fn conflict_of(&self, version: VersionIndex) -> Option<&str> {
        self.conflict.as_ref().filter(|conflict| conflict.versions.contains(&version)).map(|one| &*one.reason)
    }
}

/// Finds the arms of a window: by configuration, or else by the role its events carried.
pub fn resolve(watched: &WatchedModel, window: &ModelWindow) -> Arms {
    match &watched.rollout {
        Rollout::Fixed { .. } => {
            let find = |role| {
                let has_role = |arm: &ArmWindow| watched.configured_role(name(watched, arm)) == Some(role);
                window.arms.iter().position(has_role)
            };
            Arms { stable: find(Role::Stable), canary: find(Role::Canary), conflict: None }
        }
        Rollout::Auto => by_events(watched, window),
    }
}

fn name<'a>(watched: &'a WatchedModel, arm: &ArmWindow) -> &'a str {
    watched.versions.get(arm.version.version as usize).map_or("", |version| &version.version)
}

fn by_events(watched: &WatchedModel, window: &ModelWindow) -> Arms {
    let both = |arm: &&ArmWindow| arm.mixed_roles || (arm.stable_events > 0 && arm.canary_events > 0);
    if let Some(arm) = window.arms.iter().find(both) {
        let place = if arm.mixed_roles { "one pane" } else { "one window" };
        let reason = format!("version {} was seen in both roles in {place}", name(watched, arm));
        return in_conflict(vec![arm.version], reason);
    }
    let with_role = |events: fn(&ArmWindow) -> u64| -> Vec<usize> {
        (0..window.arms.len()).filter(|&position| events(&window.arms[position]) > 0).collect()
    };
    let stable = with_role(|arm| arm.stable_events);
    let canary = with_role(|arm| arm.canary_events);
    for (found, role) in [(&stable, Role::Stable), (&canary, Role::Canary)] {
        if found.len() > 1 {
            let names: Vec<&str> = found.iter().map(|&at| name(watched, &window.arms[at])).collect();
            let reason = format!("versions {} were all seen as {}", names.join(", "), role.as_str());
            return in_conflict(found.iter().map(|&at| window.arms[at].version).collect(), reason);
        }
    }
    Arms { stable: stable.first().copied(), canary: canary.first().copied(), conflict: None }
}

fn in_conflict(versions: Vec<VersionIndex>, reason: String) -> Arms {
    Arms { stable: None, canary: None, conflict: Some(Conflict { versions, reason }) }
}
