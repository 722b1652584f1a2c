//! Which actions have ended at which sink. Pure bookkeeping; the clock is an argument.

use crate::event::EventTime;
use crate::policy::action::{Action, ActionOutcome};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// Ended (key, sink) pairs, the latest `capacity` of them.
#[derive(Debug)]
pub struct Ledger {
    capacity: usize,
    ended: HashSet<(String, String)>,
    order: VecDeque<(String, String)>,
}

impl Ledger {
    pub fn new(capacity: usize) -> Ledger {
        Ledger { capacity, ended: HashSet::new(), order: VecDeque::new() }
    }

    /// Every outcome is terminal: the pair is never sent again while it is remembered.
    pub fn apply(&mut self, outcome: &ActionOutcome) {
        let pair = (outcome.idempotency_key.clone(), outcome.sink.clone());
        if self.ended.insert(pair.clone()) {
            self.order.push_back(pair);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// Whether an action has a terminal outcome at this sink.
    pub fn has_ended(&self, idempotency_key: &str, sink: &str) -> bool {
        self.ended.contains(&(idempotency_key.to_owned(), sink.to_owned()))
    }
}

/// How long from `now` the action may still be sent, at least 1 ms; `None` once `now` is past `max_age` after the
/// end of its window. An unreadable end counts as expired: an action of unknown age must not move a rollout.
pub fn time_left(action: &Action, now: EventTime, max_age: Duration) -> Option<Duration> {
    let end = action.window_end.parse::<jiff::Timestamp>().ok()?;
    let expiry = end.as_millisecond().saturating_add(i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX));
    let left = expiry.saturating_sub(now.0).saturating_add(1);
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
}
