//! What an evaluation prints.

use super::stream::{Evaluation, FAMILY_LEVEL};
use crate::cli::table::render;
use crate::stats::scan::{Alarm, Score};
use serde::Serialize;
use std::time::Duration;

/// Columns that are shown of one detection; the JSON has all.
const SHOWN: usize = 3;

/// The JSON of `--json`. Rows count from 0.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    file: &'a str,
    rows: u64,
    header: bool,
    columns: &'a [String],
    reference: usize,
    pane: usize,
    scales: &'a [usize],
    /// The level of a single test; that of the whole stream is 0.01.
    alpha: f64,
    detections: Vec<DetectionDocument<'a>>,
    /// `null` without `--changes`.
    score: Option<ScoreDocument>,
    /// Of the detector alone.
    detector_microseconds_per_row: f64,
    /// Of reading, parsing and detecting.
    microseconds_per_row: f64,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct DetectionDocument<'a> {
    row: u64,
    columns: Vec<AlarmDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct AlarmDocument<'a> {
    column: &'a str,
    distance: f64,
    p_value: f64,
    /// Panes of the window.
    scale: usize,
}

#[derive(Debug, Serialize)]
struct ScoreDocument {
    changes: Vec<ChangeDocument>,
    missed: usize,
    false_alarms: Vec<u64>,
    mean_delay: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ChangeDocument {
    row: u64,
    detected: Option<u64>,
    delay: Option<u64>,
}

pub fn document(evaluation: &Evaluation) -> Document<'_> {
    let alarm = |alarm: &Alarm| AlarmDocument {
        column: &evaluation.columns[alarm.column],
        distance: alarm.distance,
        p_value: alarm.p_value,
        scale: alarm.scale,
    };
    let detections = evaluation.detections.iter();
    Document {
        file: &evaluation.file,
        rows: evaluation.rows,
        header: evaluation.header,
        columns: &evaluation.columns,
        reference: evaluation.settings.reference,
        pane: evaluation.settings.pane,
        scales: &evaluation.settings.scales,
        alpha: evaluation.settings.alpha,
        detections: detections
            .map(|one| DetectionDocument { row: one.row, columns: one.alarms.iter().map(alarm).collect() })
            .collect(),
        score: evaluation.score.as_ref().map(score_document),
        detector_microseconds_per_row: per_row(evaluation.detecting, evaluation.rows),
        microseconds_per_row: per_row(evaluation.whole, evaluation.rows),
        notes: &evaluation.notes,
    }
}

fn score_document(score: &Score) -> ScoreDocument {
    let change = |&(row, detected): &(u64, Option<u64>)| ChangeDocument {
        row,
        detected,
        delay: detected.map(|found| found - row),
    };
    ScoreDocument {
        changes: score.changes.iter().map(change).collect(),
        missed: score.missed(),
        false_alarms: score.false_alarms.clone(),
        mean_delay: score.mean_delay(),
    }
}

fn per_row(time: Duration, rows: u64) -> f64 {
    time.as_secs_f64() * 1e6 / rows.max(1) as f64
}

pub fn describe(evaluation: &Evaluation) -> String {
    let settings = &evaluation.settings;
    let scales: Vec<String> = settings.scales.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{}: {} rows {} header, {} of {} columns scanned\nreference {} rows, panes of {}, windows of {} panes; each test at {:.3e}, {} % for the whole stream\n",
        evaluation.file,
        evaluation.rows,
        if evaluation.header { "below a" } else { "without a" },
        evaluation.columns.len(),
        evaluation.columns_of_file,
        settings.reference,
        settings.pane,
        scales.join(", "),
        settings.alpha,
        100.0 * FAMILY_LEVEL,
    );
    evaluation.notes.iter().for_each(|note| text += &format!("{note}\n"));
    text += &detections(evaluation);
    text += &evaluation.score.as_ref().map(scores).unwrap_or_default();
    text + &format!(
        "\n{:.2} µs per row for detection, {:.2} µs with reading\n",
        per_row(evaluation.detecting, evaluation.rows),
        per_row(evaluation.whole, evaluation.rows)
    )
}

fn detections(evaluation: &Evaluation) -> String {
    if evaluation.detections.is_empty() {
        return "\nno detection\n".to_owned();
    }
    let mut rows = Vec::new();
    for detection in &evaluation.detections {
        for (index, alarm) in detection.alarms.iter().take(SHOWN).enumerate() {
            let row = if index == 0 { detection.row.to_string() } else { String::new() };
            let more = detection.alarms.len().saturating_sub(SHOWN);
            let rest =
                if index + 1 == SHOWN && more > 0 { format!("and {more} more") } else { String::new() };
            rows.push(vec![
                row,
                evaluation.columns[alarm.column].clone(),
                format!("{:.4}", alarm.distance),
                format!("{:.2e}", alarm.p_value),
                alarm.scale.to_string(),
                rest,
            ]);
        }
    }
    let count = evaluation.detections.len();
    let header = ["row", "column", "D", "p", "panes", ""];
    format!(
        "\n{count} {}\n{}",
        if count == 1 { "detection" } else { "detections" },
        render(&header, &rows, &[0, 2, 3, 4])
    )
}

fn scores(score: &Score) -> String {
    let row = |&(change, found): &(u64, Option<u64>)| {
        let told =
            |number: Option<u64>| number.map_or_else(|| "missed".to_owned(), |number| number.to_string());
        vec![
            change.to_string(),
            told(found),
            found.map_or_else(String::new, |found| (found - change).to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = score.changes.iter().map(row).collect();
    let table = render(&["change", "found", "delay"], &rows, &[0, 1, 2]);
    let delay = score.mean_delay().map_or_else(String::new, |mean| format!(", mean delay {mean:.1} rows"));
    let false_rows: Vec<String> = score.false_alarms.iter().map(ToString::to_string).collect();
    let at = if false_rows.is_empty() { String::new() } else { format!(" (rows {})", false_rows.join(", ")) };
    format!(
        "\n{table}{} of {} found{delay}; {} missed, {} false alarms{at}\n",
        score.changes.len() - score.missed(),
        score.changes.len(),
        score.missed(),
        score.false_alarms.len(),
    )
}
