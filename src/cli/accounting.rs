//! `tidegate accounting`: what became of every offset of the source topics.

use super::output;
use super::table::render;
use crate::config::{self, EXIT_CONFIG};
use crate::http::archive::Archive;
use crate::judge::accounting::{Accounting, SourceAccount};
use crate::pipeline::TopicArchive;
use std::path::PathBuf;
use std::time::Duration;

/// How long reading the state topic may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Say what became of every offset of the source topics
///
/// Reads the judges' stored state. Exit code 0 when everything adds up, 1 when offsets are missing from the
/// counts or nothing was counted yet, 64 for a bad configuration.
#[derive(Debug, clap::Args)]
pub struct AccountingArgs {
    /// The configuration file (TOML)
    config: PathBuf,
    /// Print JSON, as `GET /api/v1/accounting` answers
    #[arg(long)]
    json: bool,
}

/// Runs `tidegate accounting`.
///
/// # Errors
/// When Kafka cannot be read, or stdout cannot be written.
pub fn run(args: AccountingArgs) -> anyhow::Result<u8> {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(output::tell);
            return Ok(EXIT_CONFIG);
        }
    };
    let archive = TopicArchive::new(&config, LIMIT);
    let accounting = archive.accounting().map_err(anyhow::Error::msg)?;
    if args.json {
        output::print_json(&accounting)?;
    } else {
        output::print(&describe(&accounting))?;
    }
    Ok(u8::from(!accounting.adds_up || accounting.sources.is_empty()))
}

/// The table, the missing ranges, and what they come to.
fn describe(accounting: &Accounting) -> String {
    if accounting.sources.is_empty() {
        return "no judge has stored anything yet\n".to_owned();
    }
    let header = [
        "source",
        "from",
        "to",
        "records",
        "not records",
        "missing",
        "doubled",
        "complete up to",
        "outcomes",
    ];
    let rows: Vec<Vec<String>> = accounting.sources.iter().map(row).collect();
    let mut text = render(&header, &rows, &[1, 2, 3, 4, 5, 6]);
    for source in accounting.sources.iter().filter(|source| source.missing.offsets > 0) {
        let ranges: Vec<String> =
            source.missing.newest.iter().map(|[from, to]| format!("{from} to {}", to - 1)).collect();
        let more = source.missing.ranges.saturating_sub(ranges.len() as u64);
        let older = if more > 0 { format!(", and {more} older ranges") } else { String::new() };
        text += &format!("missing of {}: offsets {}{older}\n", name(source), ranges.join(", "));
    }
    let twice = |source: &&SourceAccount| source.not_records.is_some_and(|rest| rest < 0);
    for source in accounting.sources.iter().filter(twice) {
        text += &format!("{}: more records than offsets\n", name(source));
    }
    text + if accounting.adds_up { "everything adds up\n" } else { "this does not add up\n" }
}

fn name(source: &SourceAccount) -> String {
    format!("{}[{}]", source.topic, source.partition)
}

fn row(source: &SourceAccount) -> Vec<String> {
    let known = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let outcomes: Vec<String> =
        source.outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
    let watermark = source.watermark.clone().unwrap_or_default();
    vec![
        name(source),
        known(source.start),
        known(source.next),
        source.records.to_string(),
        known(source.not_records),
        source.missing.offsets.to_string(),
        source.doubled.to_string(),
        if source.idle { format!("{watermark} (idle)") } else { watermark },
        outcomes.join(", "),
    ]
}
