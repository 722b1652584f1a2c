//! Random schedules of crashes, failed transactions, rebalances, late data and holes over the pure cores, and
//! what must hold whatever happens: every report is exact, or says that it is not. Pure: a run depends on its
//! seed alone.
//!
//! ```text
//! seed ─► schedule ─► world (source logs, tallies, offsets) ◄─► replicas (tally) ─► judges ─► oracles
//! ```
//!
//! | oracle | holds |
//! |---|---|
//! | I1 | the outcomes of a source add up to its records |
//! | I2 | a complete pane is what a naive count of the source log gives; only what was destroyed marks a pane |
//! | I3 | each window is reported once, each revision of it once, and decides at most once |
//! | I4 | no pane closes before all sources have passed it, are idle on a living word, or are left out visibly |
//! | I5 | the next offset of a source never goes back |
//! | I6 | when the trouble ends everything is read and closed |
//! | restart | what was committed over all restarts is what a judge that never stopped emits |

pub mod calibration;
mod dice;
mod judging;
mod oracle;
mod replica;
mod run;
mod schedule;
mod shorten;
mod traffic;
mod watermark;
mod world;

#[cfg(test)]
mod tests;

pub use run::{Coverage, run};
pub use schedule::Schedule;
pub use shorten::shorten;

use crate::judge::JudgeConfig;

/// Milliseconds, all of them.
const PANE: i64 = 1_000;
const LATENESS: i64 = 500;
const IDLE_AFTER: i64 = 2_000;
const FLUSH_EVERY: i64 = 1_000;
const JUDGE: JudgeConfig = JudgeConfig {
    pane_ms: PANE,
    lateness_ms: LATENESS,
    allowed_lateness_ms: 3_000,
    max_stall_ms: 20_000,
    max_future_ms: traffic::MAX_FUTURE,
};

/// What did not hold in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// As in the table above.
    pub oracle: &'static str,
    pub what: String,
}

impl Violation {
    fn new(oracle: &'static str, what: String) -> Violation {
        Violation { oracle, what }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.oracle, self.what)
    }
}
