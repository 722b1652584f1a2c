//! `tidegate simulate`: random schedules of crashes, failed transactions, rebalances and late data over the
//! counting and judging cores, held against oracles.

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
pub fn run(args: &SimulateArgs) -> u8 {
    let bar = ProgressBar::new(args.schedules);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} schedules, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let outcome = simulate(args.seed, args.schedules, &|done| bar.set_position(done));
    bar.finish_and_clear();
    match outcome {
        Outcome::Held(coverage) => {
            println!("{} schedules from seed {}: every oracle held", args.schedules, args.seed);
            println!(
                "  {} flushes, {} of them repeated; {} events; {} windows, {} of them revised, {} arms marked incomplete; {} late events dropped; {} markers with a source left out",
                coverage.flushes,
                coverage.duplicates,
                coverage.events,
                coverage.windows,
                coverage.revisions,
                coverage.incomplete,
                coverage.late_dropped,
                coverage.left_out,
            );
            0
        }
        Outcome::Failed { seed, violation, trace } => {
            println!("seed {seed}: {violation}\n");
            print!("{trace}");
            println!("\nto repeat it: tidegate simulate --seed {seed} --schedules 1");
            1
        }
    }
}
