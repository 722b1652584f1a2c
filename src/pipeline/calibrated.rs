//! Runs the calibration on every core.

use crate::simulation::calibration::{Case, Normal, Outcome};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Repeats a case on dice from `seed`; `place` is that of the case in its table. `progress` hears of each
/// repetition done. The outcome does not depend on the number of cores.
pub fn calibrate(
    case: &Case,
    normal: &Normal,
    seed: u64,
    place: u64,
    progress: &(dyn Fn() + Sync),
) -> Outcome {
    let next = AtomicU64::new(0);
    let numbers: Mutex<Vec<f64>> = Mutex::default();
    let work = || {
        loop {
            let repetition = next.fetch_add(1, Ordering::Relaxed);
            if repetition >= case.repetitions {
                break;
            }
            let number = case.repeat(normal, seed, place, repetition);
            numbers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(number);
            progress();
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let numbers = numbers.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    case.outcome(&numbers)
}
