//! Delivers actions to rollout controllers: a CloudEvents body under a Standard Webhooks signature, retried on
//! a short schedule until it is delivered, refused or expired.

pub mod cloudevent;
pub mod ledger;
pub mod schedule;
pub mod signature;
pub mod webhook;

#[cfg(test)]
mod tests;

use crate::policy::action::{Action, ActionOutcome};
use std::sync::Arc;

/// All sinks of one process.
#[derive(Clone, Default)]
pub struct Notifier {
    pub sinks: Vec<Arc<webhook::Webhook>>,
}

impl Notifier {
    /// Delivers to every sink that takes this kind of action and is not `done` with it, concurrently: a dead
    /// sink delays no other. Returns when the last one has ended, in the order of the sinks.
    pub async fn deliver_all(&self, action: Action, done: &[String]) -> Vec<ActionOutcome> {
        let action = Arc::new(action);
        let mut running = Vec::new();
        let open = |sink: &&Arc<webhook::Webhook>| !done.iter().any(|name| name == sink.name());
        for sink in self.sinks.iter().filter(|sink| sink.takes(action.action)).filter(open) {
            let (sink, action) = (sink.clone(), action.clone());
            running.push(tokio::spawn(async move { sink.deliver(&action, webhook::wall_clock).await }));
        }
        let mut outcomes = Vec::with_capacity(running.len());
        for delivery in running {
            match delivery.await {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => tracing::error!(%error, "a delivery ended abnormally"),
            }
        }
        outcomes
    }

    /// Names of the sinks at which this action has ended before.
    pub fn done_with(&self, action: &Action, ledger: &ledger::Ledger) -> Vec<String> {
        let done = |sink: &&Arc<webhook::Webhook>| ledger.has_ended(&action.idempotency_key, sink.name());
        self.sinks.iter().filter(done).map(|sink| sink.name().to_owned()).collect()
    }
}
