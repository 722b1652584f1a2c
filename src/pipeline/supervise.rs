//! Keeps the stages running: each in a thread of its own, started again with a growing pause when its clients
//! must be rebuilt.

use super::tally_stage::Shared;
use crate::source::kafka::TransactionError;
use anyhow::Context;
use std::collections::VecDeque;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// First and longest pause before a stage is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// Being fenced this often within [`FENCED_WITHIN`] means that another process has the same identity.
const FENCED_TIMES: usize = 2;
const FENCED_WITHIN: Duration = Duration::from_secs(60);

/// Why a stage ended before the process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StageEnd {
    /// Everything must be made anew; the sentence says why.
    Rebuild(String),
    /// Another producer took over this transactional id.
    Fenced { id: String, why: String },
}

impl From<String> for StageEnd {
    fn from(why: String) -> Self {
        StageEnd::Rebuild(why)
    }
}

impl From<TransactionError> for StageEnd {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Fenced { id, why } => StageEnd::Fenced { id, why },
            other => StageEnd::Rebuild(other.to_string()),
        }
    }
}

/// When a stage was fenced lately.
#[derive(Debug, Default)]
struct Fences(VecDeque<Instant>);

impl Fences {
    /// Notes one more; true when they are too many to be a predecessor's leftovers.
    fn note(&mut self, now: Instant) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| now.duration_since(*first) > FENCED_WITHIN) {
            self.0.pop_front();
        }
        self.0.len() >= FENCED_TIMES
    }
}

/// Runs a stage in a thread of its own, again and again until the process stops. A stage that is fenced again
/// and again ends the process: see [`Shared::fail`].
pub(super) fn supervise(
    name: &str,
    shared: &Shared,
    run: impl Fn(&Shared) -> Result<(), StageEnd> + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let stage = name.to_owned();
    let shared = Shared { stage: shared.health.stage(name), ..shared.clone() };
    let body = move || {
        let (mut pause, mut fences) = (BACKOFF.0, Fences::default());
        while !shared.is_stopping() {
            let started = Instant::now();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&shared)));
            let why = match outcome {
                Ok(Ok(())) => break,
                Ok(Err(StageEnd::Rebuild(why))) => why,
                Ok(Err(StageEnd::Fenced { id, why })) => {
                    if fences.note(Instant::now()) {
                        shared.fail(&format!(
                            "transactional id {id} is used by another process too: it was fenced twice within a \
                             minute; give every replica its own kafka.instance"
                        ));
                        return;
                    }
                    format!("transactional id {id} was fenced: {why}")
                }
                Err(_) => "the stage panicked".to_owned(),
            };
            if shared.is_stopping() {
                return;
            }
            if started.elapsed() > BACKOFF.1 {
                pause = BACKOFF.0;
            }
            shared.stage.failed(&why);
            tracing::warn!(stage, why, pause_ms = pause.as_millis() as u64, "stage is started again");
            shared.metrics.stage_restarts.with_label_values(&[&stage]).inc();
            wait(pause, &shared);
            pause = (pause * 2).min(BACKOFF.1);
        }
        if !shared.is_stopping() {
            shared.stage.ended();
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).context("a thread could not be started")
}

fn wait(pause: Duration, shared: &Shared) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !shared.is_stopping() {
        shared.stage.beat();
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fences_within_a_minute_are_too_many_and_two_further_apart_are_not() {
        let start = Instant::now();
        let mut fences = Fences::default();
        assert!(!fences.note(start));
        assert!(!fences.note(start + Duration::from_secs(61)));
        assert!(fences.note(start + Duration::from_secs(90)));
    }
}
