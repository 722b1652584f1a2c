//! What stops a canary whatever its inputs are: errors, and answers that turn out wrong (statistics.md §9.1).

use super::action::Decision;
use super::blame::{Blame, blame};
use super::canary::of_stable;
use crate::judge::evidence::{Comparison, ErrorRates, LabelledRates};
use crate::stats::rates::{Estimate, Rate, newcombe};
use crate::stats::sequential::holm;

/// The chance that a healthy canary is rolled back by a guardrail, over its whole rollout: a level of their own,
/// which they share.
pub(super) const GUARDRAIL_LEVEL: f64 = 1e-3;
/// Labels that come so unequally often say nothing of accuracy. It stops nothing, so it is less strict.
const COVERAGE_LEVEL: f64 = 0.01;
/// The interval of a difference that a sentence shows misses the true one once in twenty times.
const SHOWN_LEVEL: f64 = 0.05;

/// The level of the error rate: all there is, or half of it beside outputs whose answers may turn out wrong; those
/// share the other half by Holm's rule.
pub(super) fn error_level(labelled_outputs: usize) -> f64 {
    if labelled_outputs == 0 { GUARDRAIL_LEVEL } else { GUARDRAIL_LEVEL / 2.0 }
}

/// A guardrail that the canary broke.
pub(super) fn broken(comparison: &Comparison) -> Option<Blame> {
    let level = error_level(comparison.labelled.len());
    if let Some(errors) = comparison.errors.filter(|errors| errors.p_value < level) {
        return Some(too_many_errors(comparison, &errors));
    }
    let p_values: Vec<f64> = comparison.labelled.iter().map(|one| one.p_value).collect();
    let adjusted = holm::adjusted(&p_values);
    let worse = comparison.labelled.iter().zip(adjusted).filter(|(one, adjusted)| {
        // Labels that are missing for one arm only are no sample of its answers.
        *adjusted < GUARDRAIL_LEVEL / 2.0 && !is_covered_otherwise(one)
    });
    worse.filter_map(|(one, _)| less_accurate(one)).max_by(|a, b| shortfall(a).total_cmp(&shortfall(b)))
}

fn shortfall(found: &Blame) -> f64 {
    found.findings.first().map_or(0.0, |one| one.threshold - one.value)
}

/// Outputs whose labels decide nothing, because they do not come equally often for both arms.
pub(super) fn undecided(comparison: &Comparison) -> String {
    let said = comparison.labelled.iter().filter(|one| is_covered_otherwise(one)).map(|one| {
        let [canary, stable] = one.coverage.map(|share| share * 100.0);
        format!(
            " Labels of {} are inconclusive: {canary:.1} % of the canary's answers have one and {stable:.1} % of \
             stable's.",
            one.name
        )
    });
    said.collect()
}

fn is_covered_otherwise(output: &LabelledRates) -> bool {
    output.coverage_p_value < COVERAGE_LEVEL
}

fn too_many_errors(comparison: &Comparison, errors: &ErrorRates) -> Blame {
    let finding = of_stable("quality", "errors", "error_ratio", errors.canary, errors.stable);
    let reason = format!(
        "The canary fails more often: {:.2} % of its answers are errors and {:.2} % of stable's (p = {:.1e}, {} of its \
         events). Rolled back; look at the canary's log.",
        errors.canary * 100.0,
        errors.stable * 100.0,
        errors.p_value,
        comparison.canary_events
    );
    blame(Decision::Rollback, vec![finding], reason)
}

fn less_accurate(output: &LabelledRates) -> Option<Blame> {
    let (canary, stable) = (output.canary?, output.stable?);
    let [accuracy, of_stable_arm] = [canary, stable].map(|wrong: Rate| 1.0 - wrong.value());
    // Canary less stable of the wrong ones is stable less canary of the right ones.
    let Estimate { value, lower, upper } = newcombe(canary, stable, SHOWN_LEVEL);
    let finding = of_stable("prediction", &output.name, "accuracy", accuracy, of_stable_arm);
    let reason = format!(
        "The canary is right less often: {:.1} % of its labelled answers {} and {:.1} % of stable's, {:.1} points less \
         ({:.1} to {:.1}; p = {:.1e}, {} of its answers labelled). Rolled back; look at the model and at what it was \
         trained on.",
        accuracy * 100.0,
        output.name,
        of_stable_arm * 100.0,
        value * 100.0,
        lower * 100.0,
        upper * 100.0,
        output.p_value,
        canary.of()
    );
    Some(blame(Decision::Rollback, vec![finding], reason))
}
