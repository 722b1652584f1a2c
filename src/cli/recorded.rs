//! A baseline of recorded events: lines from a file, through the decoder, into columns.

use crate::baseline::{BaselineError, BuildOptions, BuildReport, Recording};
use crate::decode::MAX_EVENT_BYTES;
use crate::decode::recorded::RecordedDecoder;
use crate::event::Outcome;
use crate::source::file::{Line, Lines};
use anyhow::bail;
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::path::Path;

/// Lines between two steps of the progress bar.
const PROGRESS_EVERY: u64 = 10_000;

/// What the lines of a file were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LineCounts {
    pub(super) lines: u64,
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// Longer than an event may be.
    pub(super) too_long: u64,
}

/// Builds a baseline of the file's events of one model version. Empty lines are passed over.
///
/// # Errors
/// When the file cannot be read, or holds no such events; then the error names what it holds.
pub(super) fn build(
    path: &Path,
    options: &BuildOptions,
    bar: &ProgressBar,
) -> anyhow::Result<(BuildReport, LineCounts)> {
    let open_error = |source| BaselineError::Open { path: path.to_owned(), source };
    let mut lines = Lines::open(path, MAX_EVENT_BYTES).map_err(open_error)?;
    let mut decoder = RecordedDecoder::new(&options.model, &options.version);
    let mut recording = Recording::new(path);
    let mut counts = LineCounts::default();
    bar.set_length(std::fs::metadata(path).map_err(open_error)?.len());
    while let Some(line) = lines.next_line().map_err(open_error)? {
        match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Line::Whole(line) => *counts.outcomes.entry(decoder.push(line)).or_default() += 1,
            Line::TooLong => counts.too_long += 1,
        }
        counts.lines += 1;
        if decoder.is_full() {
            recording.add(&decoder.take())?;
        }
        if counts.lines.is_multiple_of(PROGRESS_EVERY) {
            bar.set_position(lines.bytes_read());
        }
    }
    recording.add(&decoder.take())?;
    match recording.finish(options) {
        Ok(report) => Ok((report, counts)),
        Err(BaselineError::NoRows { .. }) => {
            let others: Vec<String> =
                decoder.others().iter().map(|(model, version)| format!("{model} {version}")).collect();
            let told = if others.is_empty() {
                String::new()
            } else {
                format!("; it has events of {}", others.join(", "))
            };
            let (path, counts) = (path.display(), counts.describe(&options.model, &options.version));
            bail!("{path} has no features or predictions to make a baseline of ({counts}){told}")
        }
        Err(error) => Err(error.into()),
    }
}

impl LineCounts {
    fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// One sentence without a full stop.
    pub(super) fn describe(&self, model: &str, version: &str) -> String {
        let mut text =
            format!("{} lines, {} events of {model} {version}", self.lines, self.of(Outcome::Counted));
        let aside = [
            (self.of(Outcome::Unreadable), "unreadable".to_owned()),
            (self.of(Outcome::TimeOutOfBounds), "with an unreadable timestamp".to_owned()),
            (self.too_long, format!("longer than {} MiB", MAX_EVENT_BYTES >> 20)),
            (self.of(Outcome::UnknownModel), "of other models".to_owned()),
            (self.of(Outcome::UnknownVersion), format!("of other versions of {model}")),
        ];
        let aside: Vec<String> = aside
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !aside.is_empty() {
            text += &format!("; left aside: {}", aside.join(", "));
        }
        text
    }
}
