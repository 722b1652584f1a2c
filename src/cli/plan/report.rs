//! A forecast as small tables with a sentence each.

use crate::cli::table::{render, short_number};
use crate::judge::report::MeasuredOf;
use crate::policy::forecast::{Arms, Forecast, MOST_PANES, ReferenceSight};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Series with a tolerance of their own that are listed.
const LISTED: usize = 10;

/// What `tidegate plan` says, and prints as JSON.
#[derive(Debug, Serialize)]
pub struct Planned {
    pub model: String,
    pub arms: Arms,
    /// Requests to the model, as asked for.
    pub rate: String,
    pub pane_seconds: f64,
    pub phi: f64,
    pub error_rate: f64,
    /// `policy.alpha`, `budget.tolerance`, `policy.rollback_effect`, `policy.promote_below`.
    pub alpha: f64,
    pub tolerance: f64,
    pub rollback_effect: f64,
    pub promote_below: f64,
    /// The levels of one test against the baseline: features, predictions, data quality.
    pub false_alarms_alpha: [f64; 3],
    pub forecast: Forecast,
    /// What windows of stable show of its drift when it gets all of the traffic.
    pub baseline: Vec<ReferenceSight>,
}

/// The whole forecast for a terminal.
pub fn describe(planned: &Planned) -> String {
    let arms = &planned.arms;
    let [canary, stable] = arms.answer_values;
    let mut text = format!(
        "{}: {} beside {} at {}, α {}, δ0 {}, φ {}; {} inputs and {} answers in common, prediction baselines of {} \
         and {} values\n\n",
        planned.model,
        arms.canary,
        arms.stable,
        planned.rate,
        planned.alpha,
        planned.tolerance,
        planned.phi,
        arms.inputs,
        arms.answers,
        canary,
        stable
    );
    steps(planned, &mut text);
    rollback(planned, &mut text);
    promotion(planned, &mut text);
    baseline(planned, &mut text);
    text
}

fn steps(planned: &Planned, text: &mut String) {
    let header = ["after", "weight", "canary events", "PIT-D", "input D", "errors", "rollback from PIT-D"];
    let rows: Vec<Vec<String>> = planned
        .forecast
        .steps
        .iter()
        .map(|step| {
            vec![
                after(planned, step.panes),
                format!("{} %", short_number(step.weight * 100.0)),
                format!("{:.0}", step.canary_events),
                distance(step.answer),
                distance(step.input),
                step.error_rise
                    .map_or("-".to_owned(), |rise| format!("{:.1} %", (planned.error_rate + rise) * 100.0)),
                distance(step.rollback),
            ]
        })
        .collect();
    *text += &render(&header, &rows, &[0, 1, 2, 3, 4, 5, 6]);
    let _ = write!(
        text,
        "The smallest differences that are seen with a power of .8 by the end of each step (errors: up from {} %); \
         - is none, however large.",
        short_number(planned.error_rate * 100.0)
    );
    if let Some(limit) = planned.forecast.answer_limit {
        let _ = write!(text, " A PIT-D below {limit:.3} is never seen: the baselines hold no more.");
    }
    *text += "\n\n";
}

fn rollback(planned: &Planned, text: &mut String) {
    let found = &planned.forecast.rollback;
    *text += &match (&found.never, found.first_pane, found.limit) {
        (Some(why), ..) => format!("Rollback: never, because {why}; the canary is paused at most.\n"),
        (None, Some(pane), Some(limit)) => format!(
            "Rollback: possible from {} on, when the answers have nothing in common; below a PIT-D of {limit:.3} never.\n",
            after(planned, pane)
        ),
        _ => format!("Rollback: not within {}.\n", after(planned, MOST_PANES)),
    };
}

fn promotion(planned: &Planned, text: &mut String) {
    let (found, steps) = (&planned.forecast.promotion, &planned.forecast.steps);
    let last = steps.last().map_or(0, |step| step.panes);
    *text += &match (&found.never, found.pane) {
        (Some(why), _) => format!("Promotion: never, because {why}.\n"),
        (None, Some(pane)) => format!(
            "Promotion: half of healthy canaries are called good (PIT-D below {}) within {} and {:.0} canary events{}.\n",
            planned.promote_below,
            after(planned, pane),
            found.canary_events.unwrap_or_default(),
            if pane > last { ", staying at the last weight" } else { "" }
        ),
        (None, None) => format!("Promotion: not within {}.\n", after(planned, MOST_PANES)),
    };
}

fn baseline(planned: &Planned, text: &mut String) {
    let header = ["window", "values", "feature: warning", "drift", "prediction: warning", "drift"];
    let rows: Vec<Vec<String>> = planned
        .baseline
        .iter()
        .map(|one| {
            let found = [one.feature, one.feature_drift, one.prediction, one.prediction_drift].map(distance);
            let head = [after(planned, u64::from(one.scale)), format!("{:.0}", one.values)];
            head.into_iter().chain(found).collect()
        })
        .collect();
    *text += "\n";
    *text += &render(&header, &rows, &[0, 1, 2, 3, 4, 5]);
    let _ = writeln!(
        text,
        "The smallest D from its baseline that {} shows in a window when it gets all of the traffic; - is none: too few \
         values, or a baseline of fewer than 1,000.",
        planned.arms.stable
    );
    straying(planned, text);
}

/// The series that usually stray by more than δ0, the most first.
fn straying(planned: &Planned, text: &mut String) {
    let all = || planned.baseline.iter().flat_map(|sight| sight.own.iter().map(move |own| (sight, own)));
    let mut most: BTreeMap<(MeasuredOf, &str), f64> = BTreeMap::new();
    for (_, own) in all() {
        let largest = most.entry((own.of, &own.series)).or_default();
        *largest = largest.max(own.tolerance);
    }
    if most.is_empty() {
        return;
    }
    let mut named: Vec<((MeasuredOf, &str), f64)> = most.into_iter().collect();
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    let more = named.len().saturating_sub(LISTED);
    named.truncate(LISTED);
    let mut rows = Vec::new();
    for (key, _) in named {
        for (sight, own) in all().filter(|(_, own)| (own.of, own.series.as_str()) == key) {
            let numbers = [Some(own.tolerance), own.warning, own.drift].map(distance);
            let head = [own.series.clone(), after(planned, u64::from(sight.scale))];
            rows.push(head.into_iter().chain(numbers).collect());
        }
    }
    *text += "\n";
    *text += &render(&["series", "window", "strays by", "warning", "drift"], &rows, &[1, 2, 3, 4]);
    let more = if more > 0 { format!(" (and {more} more series, with --json)") } else { String::new() };
    let _ = writeln!(
        text,
        "The same of each series that usually strays by more than δ0 there{more}: its baseline has times, or \
         [[model.noise]] says so."
    );
}

fn distance(found: Option<f64>) -> String {
    found.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

/// The length of so many panes: its two largest units.
fn after(planned: &Planned, panes: u64) -> String {
    let ms = (panes as f64 * planned.pane_seconds * 1_000.0).round() as u64;
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let Some(first) = units.iter().position(|(unit, _)| ms >= *unit) else { return "0s".to_owned() };
    let mut rest = ms;
    let mut text = String::new();
    for (unit, name) in units.iter().skip(first).take(2) {
        let count = rest / unit;
        rest %= unit;
        if count > 0 {
            let _ = write!(text, "{count}{name}");
        }
    }
    text
}
