//! What is under way at each sink. Every sink has a lane of its own, so that a dead one takes no room from the
//! others. Pure bookkeeping; who runs the deliveries is not decided here.

use super::superseded::Rollouts;
use crate::policy::action::{Action, ActionOutcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Actions under way at one sink. One more ends the one that has waited longest: it is nearest to expiry, and
/// what is newest must not be lost to a receiver that was away.
pub const LANE: usize = 256;
/// A delivery that was told to end may still wait for an answer (10 s). With so many at one sink, the next
/// action is not begun at all.
const LANE_WITH_ENDING: usize = 2 * LANE;

/// Why a delivery is to end before its time: an outcome's name.
pub type Ending = Option<&'static str>;

/// Everything under way, by sink and idempotency key.
#[derive(Debug, Default)]
pub struct Lanes {
    sinks: BTreeMap<String, BTreeMap<String, Running>>,
    begun: u64,
}

#[derive(Debug)]
struct Running {
    action: Arc<Action>,
    /// The n-th delivery of all.
    turn: u64,
    stop: watch::Sender<Ending>,
}

/// What is to be done with an action at a sink.
#[derive(Debug)]
pub enum Begun {
    /// Deliver it, and end when told so.
    Deliver(watch::Receiver<Ending>),
    /// It is being delivered.
    UnderWay,
    /// It is not sent; the outcome's name.
    Never(&'static str),
}

impl Lanes {
    pub fn begin(&mut self, sink: &str, action: &Arc<Action>, rollouts: &Rollouts) -> Begun {
        let lane = self.sinks.entry(sink.to_owned()).or_default();
        if lane.contains_key(&action.idempotency_key) {
            return Begun::UnderWay;
        }
        if rollouts.is_superseded(action) {
            return Begun::Never(ActionOutcome::SUPERSEDED);
        }
        if lane.len() >= LANE_WITH_ENDING {
            return Begun::Never(ActionOutcome::FAILED);
        }
        let waiting = || lane.values().filter(|one| one.stop.borrow().is_none());
        if waiting().count() >= LANE
            && let Some(oldest) = waiting().min_by_key(|one| one.turn)
        {
            oldest.stop.send_replace(Some(ActionOutcome::FAILED));
        }
        let (stop, receiver) = watch::channel(None);
        self.begun += 1;
        let running = Running { action: Arc::clone(action), turn: self.begun, stop };
        lane.insert(action.idempotency_key.clone(), running);
        Begun::Deliver(receiver)
    }

    /// A delivery has ended.
    pub fn end(&mut self, sink: &str, idempotency_key: &str) {
        if let Some(lane) = self.sinks.get_mut(sink) {
            lane.remove(idempotency_key);
        }
    }

    /// Ends the deliveries that later actions have made pointless, before their next attempt.
    pub fn end_superseded(&self, rollouts: &Rollouts) {
        let running = self.sinks.values().flat_map(BTreeMap::values);
        for one in running.filter(|one| one.stop.borrow().is_none() && rollouts.is_superseded(&one.action)) {
            one.stop.send_replace(Some(ActionOutcome::SUPERSEDED));
        }
    }

    /// Deliveries under way at a sink.
    pub fn len(&self, sink: &str) -> usize {
        self.sinks.get(sink).map_or(0, BTreeMap::len)
    }

    /// Whether nothing is under way anywhere.
    pub fn is_empty(&self) -> bool {
        self.sinks.values().all(BTreeMap::is_empty)
    }
}
