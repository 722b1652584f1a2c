//! Runs the simulation on every core.

use crate::simulation::{Coverage, Schedule, Violation, run, shorten};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Schedules a thread takes at once.
const CHUNK: u64 = 256;

/// How a simulation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Held(Coverage),
    /// The first failure found, with its schedule as short as it could be made.
    Failed {
        seed: u64,
        violation: Violation,
        trace: String,
    },
}

/// Runs `schedules` schedules from `seed` on; stops at the first that fails. `progress` is told how many are
/// done.
pub fn simulate(seed: u64, schedules: u64, progress: &(dyn Fn(u64) + Sync)) -> Outcome {
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let found: Mutex<(Coverage, Option<(u64, Violation)>)> = Mutex::default();
    let work = || {
        let mut own = Coverage::default();
        while !stop.load(Ordering::Relaxed) {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= schedules {
                break;
            }
            let to = schedules.min(from + CHUNK);
            for one in from..to {
                let one = seed.wrapping_add(one);
                match run(&Schedule::draw(one)) {
                    Ok(coverage) => own.add(&coverage),
                    Err(violation) => {
                        stop.store(true, Ordering::Relaxed);
                        lock(&found).1.get_or_insert((one, violation));
                        break;
                    }
                }
            }
            progress(done.fetch_add(to - from, Ordering::Relaxed) + (to - from));
        }
        lock(&found).0.add(&own);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (coverage, failure) = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    match failure {
        None => Outcome::Held(coverage),
        Some((seed, violation)) => {
            let trace = shorten(&Schedule::draw(seed)).to_string();
            Outcome::Failed { seed, violation, trace }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_is_run_once_whatever_the_threads() {
        let told = AtomicU64::new(0);
        let outcome = simulate(5, 600, &|done| {
            told.fetch_max(done, Ordering::Relaxed);
        });
        assert_eq!(told.load(Ordering::Relaxed), 600);
        let mut alone = Coverage::default();
        (5..605).for_each(|seed| alone.add(&run(&Schedule::draw(seed)).expect("it holds")));
        assert_eq!(outcome, Outcome::Held(alone));
    }
}
