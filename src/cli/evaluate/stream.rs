//! The pass over a stream that scans it.

use super::columns::{Selection, select};
use super::csv::{RecordError, Records};
use super::options::Options;
use super::profile::{self, Field, Profile};
use crate::stats::scan::{ColumnKind, Detection, Scan, ScanSettings, Score, score};
use hashbrown::HashMap;
use std::time::{Duration, Instant};

/// The chance of any alarm in a whole stream without drift.
pub const FAMILY_LEVEL: f64 = 0.01;
/// Names of categories that are told apart in one column; what comes after them is one category.
const MAX_NAMES: usize = 65_536;
/// Rows between two looks at the clock.
const TIMED_ROWS: usize = 256;

/// What came of a stream.
#[derive(Debug)]
pub struct Evaluation {
    pub file: String,
    pub rows: u64,
    pub header: bool,
    pub settings: ScanSettings,
    /// Names of the scanned columns, in the order of [`crate::stats::scan::Alarm::column`].
    pub columns: Vec<String>,
    /// Columns of the file.
    pub columns_of_file: usize,
    pub notes: Vec<String>,
    pub detections: Vec<Detection>,
    /// When changes are known.
    pub score: Option<Score>,
    /// Of the detector alone.
    pub detecting: Duration,
    /// Of reading, parsing and detecting.
    pub whole: Duration,
}

/// Reads the stream twice: for what it is, and to scan it. Errors are sentences.
pub fn evaluate(options: &Options) -> Result<Evaluation, Vec<String>> {
    let file = options.stream.display().to_string();
    let one = |error: String| vec![format!("{file} cannot be used: {error}.")];
    let profile =
        profile::profile(&options.stream, options.header).map_err(|error| one(error.to_string()))?;
    let selection = select(&profile, options.columns.as_deref())?;
    check_rows(options, &profile)?;
    let settings = settings(options, &profile, &selection);
    let mut notes = selection.notes.clone();
    notes.extend(row_notes(options, &profile));
    let scanned = scan(options, &profile, &selection, &settings).map_err(|error| one(error.to_string()))?;
    let rows: Vec<u64> = scanned.detections.iter().map(|detection| detection.row).collect();
    Ok(Evaluation {
        rows: profile.rows,
        header: profile.header,
        columns: selection.columns.iter().map(|&(index, _)| profile.columns[index].name.clone()).collect(),
        columns_of_file: profile.columns.len(),
        score: options.changes.as_ref().map(|changes| score(changes, &rows)),
        file,
        settings,
        notes,
        detections: scanned.detections,
        detecting: scanned.detecting,
        whole: scanned.whole,
    })
}

fn settings(options: &Options, profile: &Profile, selection: &Selection) -> ScanSettings {
    let (columns, scales) = (selection.columns.len(), options.scales.len());
    ScanSettings {
        reference: options.reference,
        pane: options.pane,
        scales: options.scales.clone(),
        alpha: ScanSettings::per_test(FAMILY_LEVEL, columns, scales, profile.rows, options.pane),
    }
}

fn check_rows(options: &Options, profile: &Profile) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    let needed = options.reference as u64 + options.pane as u64;
    if profile.rows < needed {
        errors.push(format!(
            "The stream has {} rows; a reference of {} and one pane of {} need {needed}.",
            profile.rows, options.reference, options.pane
        ));
    }
    let beyond = options.changes.iter().flatten().find(|row| **row >= profile.rows);
    errors.extend(beyond.map(|row| {
        format!("--changes: row {row} is beyond the stream's last row, {}.", profile.rows.saturating_sub(1))
    }));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn row_notes(options: &Options, profile: &Profile) -> Vec<String> {
    let room = (profile.rows.saturating_sub(options.reference as u64) / options.pane as u64) as usize;
    let unused = options.scales.iter().filter(|&&scale| scale > room);
    let unused: Vec<String> = unused.map(ToString::to_string).collect();
    match unused.is_empty() {
        true => Vec::new(),
        false => vec![format!("scales {} need more panes than the {room} of this stream", unused.join(", "))],
    }
}

struct Scanned {
    detections: Vec<Detection>,
    detecting: Duration,
    whole: Duration,
}

fn scan(
    options: &Options,
    profile: &Profile,
    selection: &Selection,
    settings: &ScanSettings,
) -> Result<Scanned, RecordError> {
    let started = Instant::now();
    let kinds: Vec<ColumnKind> = selection.columns.iter().map(|&(_, kind)| kind).collect();
    let mut names = vec![HashMap::new(); kinds.len()];
    let mut scan = Scan::new(settings.clone(), &kinds);
    let mut records = Records::open(&options.stream)?;
    let (mut detections, mut detecting) = (Vec::new(), Duration::ZERO);
    let width = kinds.len();
    let mut block: Vec<f64> = Vec::with_capacity(TIMED_ROWS * width);
    let mut detect = |block: &mut Vec<f64>| {
        let begun = Instant::now();
        detections.extend(block.chunks_exact(width).filter_map(|row| scan.push(row)));
        detecting += begun.elapsed();
        block.clear();
    };
    if profile.header {
        records.advance()?;
    }
    while records.advance()? {
        for (&(index, kind), names) in selection.columns.iter().zip(&mut names) {
            block.push(value(records.field(index), kind, names));
        }
        if block.len() == TIMED_ROWS * width {
            detect(&mut block);
        }
    }
    detect(&mut block);
    Ok(Scanned { detections, detecting, whole: started.elapsed() })
}

fn value(text: &str, kind: ColumnKind, names: &mut HashMap<String, f64>) -> f64 {
    match kind {
        ColumnKind::Numeric => match profile::field(text) {
            Field::Number(number) => number,
            Field::Text | Field::Missing => f64::NAN,
        },
        ColumnKind::Category if profile::is_missing(text) => f64::NAN,
        ColumnKind::Category => {
            let next = names.len();
            match names.get(text) {
                Some(&number) => number,
                None if next < MAX_NAMES => {
                    names.insert(text.to_owned(), next as f64);
                    next as f64
                }
                None => MAX_NAMES as f64,
            }
        }
    }
}
