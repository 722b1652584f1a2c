//! A failing schedule, as short as it can be made by leaving steps out.

use super::run::run;
use super::schedule::Schedule;

/// Leaves out steps for as long as the same oracle still fails. At most a few thousand runs.
pub fn shorten(schedule: &Schedule) -> Schedule {
    let Err(violation) = run(schedule) else { return schedule.clone() };
    let fails = |candidate: &Schedule| run(candidate).is_err_and(|other| other.oracle == violation.oracle);
    let mut best = schedule.clone();
    let mut chunk = best.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + chunk).min(best.steps.len()));
            if fails(&candidate) {
                best = candidate;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    best
}
