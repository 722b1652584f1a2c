//! Delivers actions to rollout controllers: a CloudEvents body under a Standard Webhooks signature, retried on
//! a short schedule until it is delivered, refused, superseded or expired.

pub mod cloudevent;
pub mod lanes;
pub mod ledger;
pub mod schedule;
pub mod signature;
pub mod superseded;
pub mod webhook;

#[cfg(test)]
mod faults_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

use crate::policy::action::Action;
use std::sync::Arc;

/// All sinks of one process.
#[derive(Clone, Default)]
pub struct Notifier {
    pub sinks: Vec<Arc<webhook::Webhook>>,
}

impl Notifier {
    /// The sinks that take this kind of action and at which it has not ended before.
    pub fn open_at(&self, action: &Action, ledger: &ledger::Ledger) -> Vec<Arc<webhook::Webhook>> {
        let open = |sink: &&Arc<webhook::Webhook>| {
            sink.takes(action.action) && !ledger.has_ended(&action.idempotency_key, sink.name())
        };
        self.sinks.iter().filter(open).cloned().collect()
    }
}
