//! `tidegate simulate`: random schedules of crashes, failed transactions, rebalances and late data over the
//! counting and judging cores, held against oracles.

use super::output;
use crate::pipeline::simulated::{Outcome, simulate};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Seed of the first schedule; the others follow it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many schedules to run.
    #[arg(long, default_value_t = 200_000)]
    schedules: u64,
}

/// Runs the schedules. Returns 0 when every oracle held, 1 when one did not.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &SimulateArgs) -> anyhow::Result<u8> {
    let bar = ProgressBar::new(args.schedules);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} schedules, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let outcome = simulate(args.seed, args.schedules, &|done| bar.set_position(done));
    bar.finish_and_clear();
    match outcome {
        Outcome::Held(coverage) => {
            output::print(&format!(
                "{} schedules from seed {}: every oracle held\n  {} flushes, {} of them repeated; {} events; {} windows, {} of them revised, {} arms marked incomplete; {} late events dropped; {} markers with a source left out\n",
                args.schedules,
                args.seed,
                coverage.flushes,
                coverage.duplicates,
                coverage.events,
                coverage.windows,
                coverage.revisions,
                coverage.incomplete,
                coverage.late_dropped,
                coverage.left_out,
            ))?;
            Ok(0)
        }
        Outcome::Failed { seed, violation, trace } => {
            let again = format!("to repeat it: tidegate simulate --seed {seed} --schedules 1");
            output::print(&format!("seed {seed}: {violation}\n\n{trace}\n{again}\n"))?;
            Ok(1)
        }
    }
}
