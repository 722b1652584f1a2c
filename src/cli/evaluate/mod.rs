//! `tidegate evaluate`: the detector over a recorded stream, with its delays and false alarms.

mod calibrate;
mod columns;
mod csv;
mod options;
mod profile;
mod report;
mod stream;
#[cfg(test)]
mod tests;

use super::output;
use crate::config::EXIT_CONFIG;
use calibrate::Calibration;
use options::Options;
use std::path::PathBuf;

/// Run the detector over a recorded stream, and score it
///
/// Each column by itself: the first rows are the reference; after every pane of rows the last panes are compared with
/// it (Kolmogorov–Smirnov on exact counts), at a level that lets at most one whole stream in a hundred alarm by chance.
/// An alarm makes the next row the first of a new reference. Rows count from 0; a header is no row. Exit code 64 for
/// arguments or a file that cannot be used.
#[derive(Debug, clap::Args)]
pub struct EvaluateArgs {
    /// The stream (CSV, or separated by tabs, semicolons, bars or blanks), with or without a header
    stream: Option<PathBuf>,
    /// Rows of the reference
    #[arg(long, value_name = "ROWS")]
    reference: Option<String>,
    /// Rows of a pane
    #[arg(long, value_name = "ROWS")]
    pane: Option<String>,
    /// Panes per window
    #[arg(long, value_name = "PANES", default_value = "1,2,4,8,16")]
    scales: String,
    /// Rows at which the stream is known to change, to hold the detections against
    #[arg(long, value_name = "ROWS")]
    changes: Option<String>,
    /// Columns to scan: names, indices from 0, or ranges such as 0-25; named columns without numbers are compared as
    /// categories [default: every numeric column]
    #[arg(long)]
    columns: Option<String>,
    /// Whether the first record is a header: `yes`, `no`, or `auto` by its fields
    #[arg(long, default_value = "auto")]
    header: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Simulate false alarms and delays instead, and print them beside their bars (minutes of computing). Exit
    /// code 1 when a bar does not hold
    #[arg(long)]
    calibrate: bool,
    /// Seed of the simulation
    #[arg(long, default_value = "1")]
    seed: String,
    /// Repetitions of each simulated case
    #[arg(long, default_value = "1000")]
    repetitions: String,
}

/// Runs `tidegate evaluate`.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<u8> {
    let result = if args.calibrate { calibrate(args) } else { evaluate(args).map(|text| (text, true)) };
    match result {
        Ok((text, held)) => output::print(&text).map(|()| u8::from(!held)),
        Err(sentences) => {
            sentences.iter().for_each(output::tell);
            Ok(EXIT_CONFIG)
        }
    }
}

/// The table and whether every bar held, or what is wrong with the arguments.
fn calibrate(args: &EvaluateArgs) -> Result<(String, bool), Vec<String>> {
    if args.stream.is_some() {
        return Err(vec!["--calibrate simulates its own streams; leave the file out.".to_owned()]);
    }
    Ok(Calibration::new(&args.seed, &args.repetitions)?.run())
}

/// What is printed, or what is wrong with the arguments or the file, each a sentence.
fn evaluate(args: &EvaluateArgs) -> Result<String, Vec<String>> {
    let options = Options::new(args)?;
    let evaluation = stream::evaluate(&options)?;
    if args.json {
        return serde_json::to_string_pretty(&report::document(&evaluation))
            .map(|text| text + "\n")
            .map_err(|error| vec![error.to_string()]);
    }
    Ok(report::describe(&evaluation))
}
