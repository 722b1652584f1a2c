//! The arguments of `tidegate evaluate`, checked.

use super::EvaluateArgs;
use crate::stats::scan::MOST_ROWS;
use std::path::PathBuf;

/// Scales at most.
const MOST_SCALES: usize = 64;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub struct Options {
    pub stream: PathBuf,
    pub reference: usize,
    pub pane: usize,
    /// Increasing.
    pub scales: Vec<usize>,
    /// Increasing; `None` when no changes are known.
    pub changes: Option<Vec<u64>>,
    pub columns: Option<String>,
    pub header: Option<bool>,
}

impl Options {
    /// The errors are sentences.
    pub fn new(args: &EvaluateArgs) -> Result<Options, Vec<String>> {
        let mut errors = Vec::new();
        let mut note = |error: String| errors.push(error);
        let stream = args.stream.clone().unwrap_or_else(|| {
            note("A file with a stream is needed.".to_owned());
            PathBuf::new()
        });
        let reference = rows("--reference", args.reference.as_deref()).unwrap_or_else(|error| {
            note(error);
            1
        });
        let pane = rows("--pane", args.pane.as_deref()).unwrap_or_else(|error| {
            note(error);
            1
        });
        let scales = scales(&args.scales).unwrap_or_else(|error| {
            note(error);
            vec![1]
        });
        let largest = scales.last().copied().unwrap_or(1);
        if pane.saturating_mul(largest) > MOST_ROWS {
            note(format!(
                "--scales: a window of {largest} panes of {pane} rows has more than {MOST_ROWS} rows."
            ));
        }
        let changes = args.changes.as_deref().map(numbers::<u64>).transpose().unwrap_or_else(|word| {
            note(format!(
                "--changes: {word} is not a row; rows are whole numbers from 0, separated by commas."
            ));
            None
        });
        let changes = changes.map(|mut rows| {
            rows.sort_unstable();
            rows.dedup();
            rows
        });
        let header = match args.header.as_str() {
            "auto" => None,
            "yes" => Some(true),
            "no" => Some(false),
            other => {
                note(format!("--header: {other} is none of auto, yes, no."));
                None
            }
        };
        let columns = args.columns.clone();
        let options = Options { stream, reference, pane, scales, changes, columns, header };
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }
}

fn rows(option: &str, text: Option<&str>) -> Result<usize, String> {
    let Some(text) = text else { return Err(format!("{option} is needed: a number of rows.")) };
    match text.trim().parse::<usize>() {
        Ok(rows) if (1..=MOST_ROWS).contains(&rows) => Ok(rows),
        _ => Err(format!("{option}: {text} is not a number of rows from 1 to {MOST_ROWS}.")),
    }
}

fn scales(text: &str) -> Result<Vec<usize>, String> {
    let wrong = |word: &str| {
        format!(
            "--scales: {word} is not a number of panes; scales are whole numbers from 1, separated by commas."
        )
    };
    let mut scales = numbers::<usize>(text).map_err(|word| wrong(&word))?;
    scales.sort_unstable();
    scales.dedup();
    match scales.first() {
        None | Some(0) => Err(wrong(if scales.is_empty() { "nothing" } else { "0" })),
        Some(_) if scales.len() > MOST_SCALES => {
            Err(format!("--scales: {} scales are more than {MOST_SCALES}.", scales.len()))
        }
        Some(_) => Ok(scales),
    }
}

/// Numbers separated by commas; the error is the first word that is none.
fn numbers<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| word.to_owned())).collect()
}
