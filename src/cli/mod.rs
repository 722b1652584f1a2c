//! The commands, one file each.

pub mod accounting;
pub mod baseline;
pub mod check;
pub mod demo;
pub mod evaluate;
mod model_args;
pub mod noise;
mod output;
pub mod panes;
#[cfg(test)]
mod panes_tests;
pub mod plan;
mod recorded;
#[cfg(test)]
mod recorded_tests;
pub mod serve;
pub mod simulate;
mod table;

use clap::{Parser, Subcommand};
use output::{ClosedPipe, EXIT_CLOSED_PIPE};

/// Exactly counted, event-time data drift for model traffic on Kafka.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job on an embedded broker: a canary drifts and is rolled back.
    Demo(demo::DemoArgs),
    /// Watch models: read events from Kafka, measure drift, alert, act.
    Serve(serve::ServeArgs),
    /// Put the counting and judging cores through random schedules of trouble.
    Simulate(simulate::SimulateArgs),
    /// Turn training data into a baseline file, or show one.
    Baseline(baseline::BaselineArgs),
    /// Check a configuration and say everything that is wrong with it.
    Check(check::CheckArgs),
    Accounting(accounting::AccountingArgs),
    Panes(panes::PanesArgs),
    Noise(noise::NoiseArgs),
    Evaluate(evaluate::EvaluateArgs),
    Plan(plan::PlanArgs),
}

/// Runs the command of this process and returns its exit code: 0 done, 1 failed, 64 bad configuration, 141 when
/// nobody reads what it prints.
pub fn run() -> u8 {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Baseline(args) => baseline::run(args).map(|()| 0),
        Command::Check(args) => check::run(args),
        Command::Accounting(args) => accounting::run(args),
        Command::Panes(args) => panes::run(args),
        Command::Noise(args) => noise::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Plan(args) => plan::run(&args),
    };
    result.unwrap_or_else(|error| {
        if error.is::<ClosedPipe>() {
            return EXIT_CLOSED_PIPE;
        }
        output::tell(format_args!("tidegate: {error:#}"));
        1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
