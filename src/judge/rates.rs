//! Data quality of a series: rows without a usable value, categories that training never saw, values beyond its
//! range. Each is a rate against what training leads to expect.

use super::measure::{SeriesMeasurement, psi_report, without_statistics};
use super::plan::SeriesPlan;
use super::report::MeasuredOf;
use super::window::SeriesCounts;
use crate::event::SeriesKind;
use crate::stats::jensen_shannon;
use crate::stats::rates::{Change, Rate};

/// A rate of the window beside what is expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateMeasurement {
    pub window: Rate,
    pub expected: Expected,
    /// Which change counts.
    pub change: Change,
}

/// Where the expected rate comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expected {
    /// The rate in the baseline.
    Rate(Rate),
    /// Good and Turing's share of new categories after `m` values, of which `singletons` categories came once.
    Unseen { singletons: u64, m: u64 },
}

/// How each kind of quality series is named after the series it is of.
pub const SUFFIXES: [&str; 3] = [".missing", ".unseen", ".out_of_range"];

/// The quality measurements of a series against its baseline.
pub(super) fn measure(
    plan: &SeriesPlan,
    counts: &SeriesCounts,
    n: u64,
    phi: f64,
    into: &mut Vec<SeriesMeasurement>,
) {
    let mut missing = missing(plan, counts, n);
    missing.phi = phi;
    into.push(missing);
    let beside = match plan.reference.kind {
        SeriesKind::Categorical => unseen(plan, counts, n),
        SeriesKind::Numeric => out_of_range(plan, counts, n),
        SeriesKind::Boolean => None,
    };
    into.extend(beside.map(|mut measurement| {
        measurement.phi = phi;
        measurement
    }));
}

/// Rows with and without a usable value, against the baseline's. A value of the wrong type is none: a
/// pipeline that starts to send strings for numbers leaves no values to compare, and must show here.
fn missing(plan: &SeriesPlan, counts: &SeriesCounts, n: u64) -> SeriesMeasurement {
    let mut measurement = quality(plan, counts, ".missing", counts.rows);
    (measurement.missing, measurement.type_errors) = (counts.missing, counts.type_errors);
    measurement.m = plan.m + plan.reference.missing;
    let without = counts.rows.saturating_sub(n);
    let window = [n, without];
    let reference = [plan.m, plan.reference.missing];
    measurement.psi = psi_report(&reference, &window, counts.rows, measurement.m);
    measurement.js = jensen_shannon::distance(&reference, &window);
    measurement.rate = rate(
        Rate::new(without, counts.rows),
        Rate::new(plan.reference.missing, measurement.m).map(Expected::Rate),
        Change::Differs,
    );
    measurement
}

fn unseen(plan: &SeriesPlan, counts: &SeriesCounts, n: u64) -> Option<SeriesMeasurement> {
    let mut measurement = quality(plan, counts, ".unseen", n);
    measurement.m = plan.m;
    let unseen = counts.cells[plan.unseen_cell?];
    measurement.unseen = unseen;
    let expected = Expected::Unseen { singletons: plan.singletons, m: plan.m };
    measurement.rate = rate(Rate::new(unseen, n), Some(expected), Change::Rose);
    Some(measurement)
}

fn out_of_range(plan: &SeriesPlan, counts: &SeriesCounts, n: u64) -> Option<SeriesMeasurement> {
    let mut measurement = quality(plan, counts, ".out_of_range", n);
    measurement.out_of_range = counts.out_of_range;
    measurement.m = plan.m;
    // By definition nothing of the baseline lies beyond its own range.
    let expected = Rate::new(0, plan.m).map(Expected::Rate);
    measurement.rate = rate(Rate::new(counts.out_of_range, n), expected, Change::Rose);
    Some(measurement)
}

fn rate(window: Option<Rate>, expected: Option<Expected>, change: Change) -> Option<RateMeasurement> {
    Some(RateMeasurement { window: window?, expected: expected?, change })
}

/// A yes or no for each of `n` rows or values. The counts of the series it is of are not its own.
fn quality(plan: &SeriesPlan, counts: &SeriesCounts, suffix: &str, n: u64) -> SeriesMeasurement {
    SeriesMeasurement {
        name: format!("{}{suffix}", plan.reference.name),
        of: MeasuredOf::Quality,
        kind: SeriesKind::Boolean,
        rows: n,
        missing: 0,
        type_errors: 0,
        unseen: 0,
        out_of_range: 0,
        ..without_statistics(plan, counts, n)
    }
}
