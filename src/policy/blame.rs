//! One window → what it alone says about a rollout, and why. No memory: whether that suffices to act is
//! decided by [`super::step`].

use super::PolicyConfig;
use super::action::{Decision, Finding};
use crate::baseline::WatchedModel;
use crate::event::Role;
use crate::judge::differences::{AnswerDifference, ArmDifferences, InputDifference};
use crate::judge::measure::{ArmMeasurement, SeriesMeasurement};
use crate::judge::report::{MeasuredOf, Reference};
use crate::judge::verdict::{Excess, Level, VerdictRules};

/// What one window says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blame {
    /// `Continue`, `Hold`, `Inconclusive`, `Pause` or `Rollback`.
    pub finding: Decision,
    /// The arms' inputs differ.
    pub inputs_differ: bool,
    /// Both arms moved away from the baseline on a common series.
    pub both_moved: bool,
    pub findings: Vec<Finding>,
    /// One sentence.
    pub reason: String,
}

/// Both arms of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rollout<'a> {
    pub stable: &'a ArmMeasurement,
    pub canary: &'a ArmMeasurement,
    pub differences: &'a ArmDifferences,
}

impl<'a> Rollout<'a> {
    /// The arms of a window, when it holds both.
    pub fn find(measurements: &'a [ArmMeasurement]) -> Option<Rollout<'a>> {
        let with = |role| measurements.iter().find(|arm| arm.role == Some(role));
        let (stable, canary) = (with(Role::Stable)?, with(Role::Canary)?);
        Some(Rollout { stable, canary, differences: canary.differences.as_ref()? })
    }
}

/// Lays the blame for one complete window that holds both arms.
pub(super) fn lay(
    config: &PolicyConfig,
    verdicts: &VerdictRules,
    watched: &WatchedModel,
    rollout: Rollout<'_>,
) -> Blame {
    let fewest = rollout.stable.events.min(rollout.canary.events);
    if fewest < verdicts.min_samples() {
        let (arm, wanted) = (scarce(rollout), verdicts.min_samples());
        return unsure(format!("The {arm} arm has {fewest} events of the {wanted} a decision needs."));
    }
    let differing = differing_inputs(config, verdicts, &rollout.differences.inputs);
    if let Some(worst) = differing.first() {
        let reason = format!("The arms' inputs differ: {} (routing or a feature pipeline).", sentence(worst));
        return Blame { inputs_differ: true, ..blame(Decision::Pause, differing, reason) };
    }
    let comparable = |answer: &&AnswerDifference| answer.values >= verdicts.min_samples();
    let answers: Vec<(&AnswerDifference, f64)> = rollout
        .differences
        .answers
        .iter()
        .filter(comparable)
        .filter_map(|answer| Some((answer, answer.pit_d?)))
        .collect();
    let effect = answers.iter().map(|(_, pit_d)| *pit_d).fold(0.0, f64::max);
    if !answers.is_empty() && effect >= config.prediction_drift {
        return for_answers(config, verdicts, watched, rollout, &answers, effect);
    }
    if answers.is_empty() && !rollout.differences.answers.is_empty() {
        return unsure("The arms' predictions are too few to compare.".to_owned());
    }
    if answers.is_empty() && !has_comparable_input(verdicts, rollout) {
        return unsure("The arms have too few values to compare.".to_owned());
    }
    against_baseline(verdicts, rollout)
}

fn scarce(rollout: Rollout<'_>) -> &'static str {
    if rollout.canary.events <= rollout.stable.events { "canary" } else { "stable" }
}

fn has_comparable_input(verdicts: &VerdictRules, rollout: Rollout<'_>) -> bool {
    rollout.differences.inputs.iter().any(|input| input.rows >= verdicts.min_samples())
}

pub(super) fn blame(finding: Decision, findings: Vec<Finding>, reason: String) -> Blame {
    Blame { finding, inputs_differ: false, both_moved: false, findings, reason }
}

fn unsure(reason: String) -> Blame {
    blame(Decision::Inconclusive, Vec::new(), reason)
}

/// The findings of inputs that differ between the arms, the farthest first.
fn differing_inputs(
    config: &PolicyConfig,
    verdicts: &VerdictRules,
    inputs: &[InputDifference],
) -> Vec<Finding> {
    let mut found = Vec::new();
    let limit = config.feature_drift;
    for input in inputs {
        let of_values = input.distance.filter(|_| input.values >= verdicts.min_samples());
        let of_rows = input.missing.filter(|_| input.rows >= verdicts.min_samples());
        let metric = input.metric();
        for (kind, metric, value) in [("feature", metric, of_values), ("quality", "missing_ratio", of_rows)] {
            if let Some(value) = value.filter(|value| *value >= limit) {
                found.push(Finding {
                    kind: kind.to_owned(),
                    name: input.name.clone(),
                    metric: metric.to_owned(),
                    reference: Reference::Stable.as_str().to_owned(),
                    value,
                    threshold: limit,
                });
            }
        }
    }
    found.sort_by(|a, b| b.value.total_cmp(&a.value));
    found
}

/// The predictions differ: the model's fault only when everything else is shown to agree.
fn for_answers(
    config: &PolicyConfig,
    verdicts: &VerdictRules,
    watched: &WatchedModel,
    rollout: Rollout<'_>,
    answers: &[(&AnswerDifference, f64)],
    effect: f64,
) -> Blame {
    let mut findings: Vec<Finding> = answers
        .iter()
        .filter(|(_, pit_d)| *pit_d >= config.prediction_drift)
        .map(|(answer, pit_d)| Finding {
            kind: "prediction".to_owned(),
            name: answer.name.clone(),
            metric: "pit_d".to_owned(),
            reference: Reference::Stable.as_str().to_owned(),
            value: *pit_d,
            threshold: config.prediction_drift,
        })
        .collect();
    findings.sort_by(|a, b| b.value.total_cmp(&a.value));
    let differ =
        format!("The canary answers differently: {}", findings.first().map_or(String::new(), sentence));
    let own = |arm: &ArmMeasurement| {
        watched.versions.get(arm.version.version as usize).is_some_and(|version| version.own_predictions)
    };
    if !own(rollout.canary) || !own(rollout.stable) {
        let arm = if own(rollout.canary) { "stable" } else { "canary" };
        let reason = format!("{differ}, but the {arm} version has no prediction baseline of its own.");
        return blame(Decision::Pause, findings, reason);
    }
    let inputs = &rollout.differences.inputs;
    let apart = inputs.iter().find(|input| !agrees(input, verdicts, effect / 2.0));
    if apart.is_some() || inputs.is_empty() {
        let input = apart.map_or("no shared input".to_owned(), |input| format!("input {}", input.name));
        let reason = match apart {
            Some(_) => format!("{differ}, but {input} is not shown to agree between the arms."),
            None => format!("{differ}, but there is {input} to compare the arms by."),
        };
        return blame(Decision::Pause, findings, reason);
    }
    if let Some((moved, _)) = moved(verdicts, rollout.stable).first() {
        let reason = format!("{differ}, but stable moved away from its baseline too ({}).", moved.name);
        return blame(Decision::Pause, findings, reason);
    }
    let reason =
        format!("{differ}, while all {} shared inputs agree and stable is as in training.", inputs.len());
    blame(Decision::Rollback, findings, reason)
}

/// Whether an input is shown to be closer between the arms than `limit`: enough rows, the values' certified
/// upper bound below, and as many rows without a value.
fn agrees(input: &InputDifference, verdicts: &VerdictRules, limit: f64) -> bool {
    let enough = input.rows >= verdicts.min_samples();
    let never_filled = input.values == 0 && input.missing.is_some_and(|missing| missing == 0.0);
    let close = input.upper.map_or(never_filled, |upper| upper < limit);
    enough && close && input.missing.is_some_and(|missing| missing < limit)
}

/// The features and predictions of an arm at drift level against the baseline, the farthest first.
fn moved<'a>(verdicts: &VerdictRules, arm: &'a ArmMeasurement) -> Vec<(&'a SeriesMeasurement, Excess)> {
    let of_values =
        |one: &&SeriesMeasurement| one.reference == Reference::Baseline && one.of != MeasuredOf::Quality;
    let mut found: Vec<_> = arm
        .series
        .iter()
        .filter(of_values)
        .filter_map(|one| Some((one, verdicts.excess(one)?)))
        .filter(|(_, excess)| excess.level >= Level::Drift)
        .collect();
    found.sort_by(|a, b| b.1.weight.total_cmp(&a.1.weight));
    found
}

/// The arms agree with each other; have they moved from the baseline?
pub(super) fn against_baseline(verdicts: &VerdictRules, rollout: Rollout<'_>) -> Blame {
    let (stable, canary) = (moved(verdicts, rollout.stable), moved(verdicts, rollout.canary));
    let also = |one: &&(&SeriesMeasurement, Excess)| {
        canary.iter().any(|(other, _)| other.of == one.0.of && other.name == one.0.name)
    };
    let both: Vec<Finding> = stable.iter().filter(also).map(|(one, excess)| finding(one, excess)).collect();
    if let Some(worst) = both.first() {
        let reason = format!("Both arms moved away from the baseline alike: {}.", sentence(worst));
        return Blame { both_moved: true, ..blame(Decision::Hold, both, reason) };
    }
    let (arm, alone) = if stable.is_empty() { ("canary", canary) } else { ("stable", stable) };
    let findings: Vec<Finding> = alone.iter().map(|(one, excess)| finding(one, excess)).collect();
    if let Some(worst) = findings.first() {
        let reason = format!("The arms agree, but {arm} moved away from the baseline: {}.", sentence(worst));
        return blame(Decision::Hold, findings, reason);
    }
    blame(Decision::Continue, Vec::new(), "Nothing moved.".to_owned())
}

pub(super) fn finding(measurement: &SeriesMeasurement, excess: &Excess) -> Finding {
    Finding {
        kind: match measurement.of {
            MeasuredOf::Feature => "feature",
            MeasuredOf::Prediction => "prediction",
            MeasuredOf::Quality => "quality",
        }
        .to_owned(),
        name: measurement.name.clone(),
        metric: excess.metric.to_owned(),
        reference: measurement.reference.as_str().to_owned(),
        value: excess.value,
        threshold: excess.threshold,
    }
}

/// `prediction score: pit_d 0.412 reaches 0.2`
fn sentence(finding: &Finding) -> String {
    let Finding { kind, name, metric, value, threshold, .. } = finding;
    format!("{kind} {name}, {metric} {value:.3} reaches {threshold}")
}
