//! How well a version's scores told what was true, of those whose label is known: AUC and Brier score.

use super::joins::Matured;
use super::labels::{ALPHA, apart};
use super::measure::ArmMeasurement;
use super::report::{AucReport, BrierReport, DifferenceReport, ScoreReport};
use super::window::ArmWindow;
use crate::baseline::WatchedModel;
use crate::event::{EventTime, UNIT_BUCKETS};
use crate::stats::labelled::{Jackknife, SquaredErrors, auc, jackknife};
use crate::stats::rates::{Estimate, difference};
use crate::tally::scores::{SCORE_BUCKETS, Scored};

/// Buckets with labelled scores from which on they tell the noise between units: with this many, an interval by the
/// normal law is 8 % narrower than by Student's.
const LEAST_BUCKETS: usize = UNIT_BUCKETS / 2;

/// The labelled scores of one output in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMeasurement {
    /// The output's place among the version's series.
    pub series: usize,
    /// Values of the output, labelled or not.
    pub answers: u64,
    /// Those of them with a usable label, and those of these that came true.
    pub labelled: u64,
    pub positives: u64,
    pub unusable: u64,
    pub auc: Option<AucReport>,
    pub brier: Option<BrierReport>,
    /// Where labels are joined: the event time of the answers, from and to.
    pub span: Option<(EventTime, EventTime)>,
}

/// The numeric outputs of a window's version that came with labels or, where labels are `joined`, that got some in
/// their time.
pub(super) fn of_arm(arm: &ArmWindow, joined: bool) -> Vec<ScoreMeasurement> {
    if joined {
        return arm.matured.as_ref().map_or_else(Vec::new, of_matured);
    }
    let of_output = |(series, scored): (usize, &Scored)| {
        Some(measured((series, scored), arm.series.get(series)?.n(), None))
    };
    arm.scores.outputs().filter_map(of_output).collect()
}

/// A number need not have a label at all: those that had none are not told.
fn of_matured(matured: &Matured) -> Vec<ScoreMeasurement> {
    let labelled = matured.scores.outputs().filter(|(_, scored)| scored.labelled() + scored.unusable() > 0);
    let span = Some((matured.start, matured.end));
    labelled.map(|(series, scored)| measured((series, scored), scored.answers(), span)).collect()
}

fn measured(
    (series, scored): (usize, &Scored),
    answers: u64,
    span: Option<(EventTime, EventTime)>,
) -> ScoreMeasurement {
    ScoreMeasurement {
        series,
        answers,
        labelled: scored.labelled(),
        positives: scored.positives(),
        unusable: scored.unusable(),
        auc: area(scored),
        brier: brier(scored),
        span,
    }
}

/// Scores without a unit count for the value, and not for its noise: that is taken from the others, as if there were
/// no more than they, so that the interval is rather too wide.
fn area(scored: &Scored) -> Option<AucReport> {
    let cells = scored.cells();
    let area = |counts: &[u64]| auc(&counts[cells..], &counts[..cells]);
    let mut all = vec![0; 2 * cells];
    for bucket in 0..SCORE_BUCKETS {
        all.iter_mut().zip(scored.bucket(bucket)).for_each(|(sum, count)| *sum += count);
    }
    let found = area(&all)?;
    let buckets: Vec<&[u64]> = (0..UNIT_BUCKETS).map(|bucket| scored.bucket(bucket)).collect();
    let filled = buckets.iter().filter(|bucket| bucket.iter().any(|count| *count > 0)).count();
    let noise = jackknife(&buckets, |counts| area(counts).map(|auc| auc.value));
    let [lower, upper] = interval([found.lower, found.upper], noise, filled);
    let bracket = Some(found.upper - found.lower).filter(|width| *width > 0.0);
    Some(AucReport { value: found.value, lower, upper, bracket })
}

fn brier(scored: &Scored) -> Option<BrierReport> {
    let buckets: Vec<SquaredErrors> = (0..SCORE_BUCKETS).map(|bucket| scored.errors(bucket)).collect();
    let sum = |of: &[SquaredErrors]| {
        let mut sum = SquaredErrors::default();
        of.iter().for_each(|errors| sum.merge(*errors));
        sum
    };
    let all = sum(&buckets);
    let value = all.mean().filter(|_| all.count == scored.labelled())?;
    let units = &buckets[..UNIT_BUCKETS];
    let of_units = sum(units);
    let filled: Vec<&SquaredErrors> = units.iter().filter(|errors| errors.count > 0).collect();
    let without: Option<Vec<f64>> = filled.iter().map(|errors| of_units.without(**errors).mean()).collect();
    let noise = without.and_then(|without| Jackknife::new(value, &without));
    let [lower, upper] = interval([value; 2], noise, filled.len());
    Some(BrierReport { value, lower, upper })
}

/// The interval around the bracket of a value, `filled` buckets of units having told the noise.
fn interval([lower, upper]: [f64; 2], noise: Option<Jackknife>, filled: usize) -> [Option<f64>; 2] {
    // That all buckets agree shows that there are few, not that there is no noise.
    let noise = noise.filter(|noise| filled >= LEAST_BUCKETS && noise.standard_error > 0.0);
    let around = |value: f64| noise.map(|noise| Jackknife { value, ..noise }.interval(ALPHA));
    [around(lower).map(|one| one.lower), around(upper).map(|one| one.upper)]
}

/// What a report says of them; `stable`: the arm that they are compared with.
pub(super) fn report(
    watched: &WatchedModel,
    arm: &ArmMeasurement,
    stable: Option<&ArmMeasurement>,
) -> Vec<ScoreReport> {
    let of_output = |own: &ScoreMeasurement| {
        let output = name(watched, arm, own)?;
        let is_same = |other: &&ScoreMeasurement| {
            let named = stable.and_then(|stable| name(watched, stable, other));
            named.as_ref() == Some(&output) && other.span == own.span
        };
        let other = stable.and_then(|stable| stable.scores.iter().find(is_same));
        let auc = |one: &ScoreMeasurement| one.auc.and_then(|auc| estimate(auc.value, auc.lower, auc.upper));
        let brier =
            |one: &ScoreMeasurement| one.brier.and_then(|one| estimate(one.value, one.lower, one.upper));
        Some(ScoreReport {
            output,
            start: own.span.map(|(start, _)| start.to_rfc3339()),
            end: own.span.map(|(_, end)| end.to_rfc3339()),
            answers: own.answers,
            labelled: own.labelled,
            positives: own.positives,
            unusable: own.unusable,
            auc: own.auc,
            auc_difference: less(auc(own), other.and_then(auc)),
            brier: own.brier,
            brier_difference: less(brier(own), other.and_then(brier)),
        })
    };
    arm.scores.iter().filter_map(of_output).collect()
}

fn name(watched: &WatchedModel, arm: &ArmMeasurement, scores: &ScoreMeasurement) -> Option<String> {
    let version = watched.versions.get(arm.version.version as usize)?;
    Some(version.series.get(scores.series)?.reference.name.clone())
}

fn estimate(value: f64, lower: Option<f64>, upper: Option<f64>) -> Option<Estimate> {
    Some(Estimate { value, lower: lower?, upper: upper? })
}

fn less(own: Option<Estimate>, other: Option<Estimate>) -> Option<DifferenceReport> {
    Some(apart(difference(own?, other?)))
}
