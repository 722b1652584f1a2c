//! What `/healthz` and `/readyz` answer: whether the stages of this process live, and whether they do their work.
//!
//! *Live* is what a restart can cure: a stage's thread has ended, or has shown no sign of life for
//! [`HUNG_AFTER`]. A broker that is away or a missing permission is not: restarting changes nothing of it.
//!
//! *Ready* is what a rolling update waits for: every stage is in its group (its first rebalance came, be it an
//! empty one: a surplus replica is ready), none has been failing for [`FAILING_AFTER`], and the process is not
//! draining.

use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Silence after which a stage counts as hung. Its longest wait for Kafka is two minutes.
pub const HUNG_AFTER: Duration = Duration::from_secs(300);
/// How long a stage may be without success after a failure until the process is not ready. A stage that fails
/// once and is back in its group (a rebuilt client) never makes it so.
pub const FAILING_AFTER: Duration = Duration::from_secs(15);
/// How long a stage that is in its group must go without another failure to be well again, if it commits nothing.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// How long a member waits for its first partitions before it counts as one that has none.
const MEMBER_FOR: Duration = Duration::from_secs(2);
/// A reason that stays is said again this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

struct Failure {
    first: Instant,
    said: Instant,
    times: u32,
    why: String,
}

struct State {
    joined: bool,
    /// When it joined, if that was after its last failure.
    back: Option<Instant>,
    ended: bool,
    seen: Instant,
    failure: Option<Failure>,
}

impl State {
    fn failure(&self, now: Instant) -> Option<&Failure> {
        let well = self.back.is_some_and(|back| now.duration_since(back) >= WELL_AFTER);
        self.failure.as_ref().filter(|_| !well)
    }

    /// A failure that is more than a hiccup.
    fn lasting_failure(&self, now: Instant) -> Option<&Failure> {
        self.failure(now).filter(|failure| {
            let again = failure.times > 1 || self.back.is_none();
            !self.joined || (again && now.duration_since(failure.first) >= FAILING_AFTER)
        })
    }
}

/// The stages of a process, by name.
#[derive(Default)]
pub struct Health {
    draining: AtomicBool,
    stages: Mutex<BTreeMap<String, State>>,
}

/// One stage's way to say how it is.
#[derive(Clone)]
pub struct Stage {
    health: Arc<Health>,
    name: String,
}

impl Health {
    pub fn new() -> Arc<Health> {
        Arc::new(Health::default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.stages.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Before any stage is.
    pub fn nobody(self: &Arc<Self>) -> Stage {
        Stage { health: Arc::clone(self), name: String::new() }
    }

    /// A stage from which something is expected from now on.
    pub fn stage(self: &Arc<Self>, name: &str) -> Stage {
        let state = State { joined: false, back: None, ended: false, seen: Instant::now(), failure: None };
        self.lock().insert(name.to_owned(), state);
        Stage { health: Arc::clone(self), name: name.to_owned() }
    }

    /// The process was told to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// A sentence that names the stage that has ended or hangs at `now`.
    pub fn live(&self, now: Instant) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            return Ok(());
        }
        for (name, state) in self.lock().iter() {
            if state.ended {
                return Err(format!("stage {name} has ended"));
            }
            let silent = now.duration_since(state.seen);
            if silent >= HUNG_AFTER {
                return Err(format!("stage {name} has shown no sign of life for {} s", silent.as_secs()));
            }
        }
        Ok(())
    }

    /// # Errors
    /// A sentence that says what is not ready at `now`, and why.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining".to_owned());
        }
        let stages = self.lock();
        if stages.is_empty() {
            return Err("starting".to_owned());
        }
        for (name, state) in stages.iter() {
            if let Some(failure) = state.lasting_failure(now) {
                return Err(format!("stage {name}: {}", failure.why));
            }
            if !state.joined {
                return Err(format!("stage {name} has not joined its group yet"));
            }
        }
        Ok(())
    }

    /// Sets the gauge of each stage.
    pub fn export(&self, metrics: &Metrics) {
        let now = Instant::now();
        for (name, state) in self.lock().iter() {
            let up = state.joined && !state.ended && state.failure(now).is_none();
            metrics.stage_up.with_label_values(&[name]).set(f64::from(u8::from(up)));
        }
    }
}

impl Stage {
    fn with(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.health.lock().get_mut(&self.name) {
            change(state);
        }
    }

    /// A sign of life.
    pub fn beat(&self) {
        self.with(|state| state.seen = Instant::now());
    }

    /// The stage is in its group, or reads what it has to read.
    pub fn joined(&self) {
        self.with(|state| {
            let now = Instant::now();
            (state.joined, state.seen) = (true, now);
            state.back.get_or_insert(now);
        });
    }

    /// A member of its group as of now, with or without partitions. One that has been for [`MEMBER_FOR`] without
    /// hearing of any has none: the newer group protocol calls no rebalance for that.
    pub fn member(&self, since: &mut Option<Instant>, is_member: impl FnOnce() -> bool) {
        let mut is_known = false;
        self.with(|state| is_known = state.back.is_some());
        if is_known {
            return;
        }
        let first = *since.get_or_insert_with(Instant::now);
        if !is_member() {
            *since = None;
        } else if first.elapsed() >= MEMBER_FOR {
            self.joined();
        }
    }

    /// Something was committed: whatever failed before works.
    pub fn succeeded(&self) {
        self.with(|state| state.failure = None);
    }

    /// Something failed and is to be tried again. True when the reason is to be logged: it is another one than
    /// before, or was last said a minute ago.
    pub fn failed(&self, why: &str) -> bool {
        let now = Instant::now();
        let mut is_news = true;
        self.with(|state| {
            let before = state.failure(now);
            let (first, times) = before.map_or((now, 0), |failure| (failure.first, failure.times));
            let same = before.filter(|failure| failure.why == why);
            let said = same.map(|failure| failure.said).filter(|said| now.duration_since(*said) < SAY_AGAIN);
            is_news = said.is_none();
            let said = said.unwrap_or(now);
            state.failure = Some(Failure { first, said, times: times + 1, why: why.to_owned() });
            state.back = None;
            state.seen = now;
        });
        is_news
    }

    /// The stage's thread is gone.
    pub fn ended(&self) {
        self.with(|state| state.ended = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_process_is_ready_when_every_stage_has_joined_until_it_drains() {
        let health = Health::new();
        assert!(health.ready(after(0)).is_err(), "nothing is expected yet");
        let (tally, judge) = (health.stage("tally-0"), health.stage("judge"));
        tally.joined();
        let why = health.ready(after(0)).expect_err("the judge has not joined");
        assert!(why.contains("judge"), "{why}");
        judge.joined();
        assert_eq!(health.ready(after(0)), Ok(()));
        health.drain();
        assert_eq!(health.ready(after(0)), Err("draining".to_owned()));
        assert_eq!(health.live(after(1_000)), Ok(()), "a drain is no reason to be killed");
    }

    #[test]
    fn a_failure_that_lasts_is_told_by_its_reason_and_forgotten_after_success() {
        let health = Health::new();
        let stage = health.stage("tally-0");
        stage.joined();
        assert!(stage.failed("no such right"));
        assert!(!stage.failed("no such right"), "said just now");
        assert!(stage.failed("another reason"));
        assert_eq!(health.ready(after(5)), Ok(()), "a moment is no outage");
        assert_eq!(health.ready(after(16)), Err("stage tally-0: another reason".to_owned()));
        assert_eq!(health.live(after(200)), Ok(()), "a restart would not help");
        stage.joined();
        assert!(health.ready(after(16)).is_err(), "joining alone proves nothing");
        assert_eq!(health.ready(after(31)), Ok(()), "half a minute without a failure does");
        stage.succeeded();
        assert_eq!(health.ready(after(16)), Ok(()));
    }

    #[test]
    fn a_stage_that_is_rebuilt_once_stays_ready() {
        let health = Health::new();
        let stage = health.stage("judge");
        stage.joined();
        stage.failed("the configuration has changed");
        assert!(health.ready(after(16)).is_err(), "it is still away");
        stage.joined();
        assert_eq!([0, 16, 31].map(|seconds| health.ready(after(seconds))), [Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn a_stage_that_never_joined_tells_its_failure_at_once() {
        let health = Health::new();
        let stage = health.stage("judge");
        stage.failed("no such right");
        assert_eq!(health.ready(after(0)), Err("stage judge: no such right".to_owned()));
        assert_eq!(health.ready(after(1_000)), Err("stage judge: no such right".to_owned()));
    }

    #[test]
    fn an_ended_or_silent_stage_is_not_live() {
        let health = Health::new();
        let (one, other) = (health.stage("one"), health.stage("other"));
        assert_eq!(health.live(after(299)), Ok(()));
        let why = health.live(after(301)).expect_err("silent");
        assert!(why.contains("stage one") && why.contains("sign of life"), "{why}");
        one.beat();
        other.ended();
        assert_eq!(health.live(after(0)), Err("stage other has ended".to_owned()));
    }

    #[test]
    fn the_gauge_is_up_while_a_stage_works() {
        let (health, metrics) = (Health::new(), Metrics::new());
        let (good, bad) = (health.stage("good"), health.stage("bad"));
        good.joined();
        bad.joined();
        bad.failed("no such right");
        health.export(&metrics);
        let text = metrics.render();
        assert!(text.contains("tidegate_stage_up{stage=\"good\"} 1"), "{text}");
        assert!(text.contains("tidegate_stage_up{stage=\"bad\"} 0"), "{text}");
    }
}
