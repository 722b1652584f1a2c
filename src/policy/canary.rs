//! `mode = "budget"`: what a rollout's evidence says about the canary, and whom to blame (statistics.md §5, §9.1).
//!
//! Between the arms an input or answer is *different* (rejected), *alike* (shown to be: its upper bound lies
//! below half of what the answers surely moved) or unknown. Answers that differ pause at once. They roll back only
//! when they surely differ by `rollback_effect` and everything else is shown alike: each shared input, all inputs
//! together (many small shifts add up), and stable against its own baseline.

use super::action::{Decision, Finding};
use super::blame::{Blame, Rollout, against_baseline, blame};
use super::{ExpectedChange, PolicyConfig, guardrails};
use crate::baseline::WatchedModel;
use crate::event::{EventTime, SeriesKind};
use crate::judge::dispersion::LEAST_PANES;
use crate::judge::evidence::{Compared, Comparison, SplitTest};
use crate::judge::report::Reference;
use crate::judge::verdict::VerdictRules;
use crate::stats::sequential::boundary::LEAST_CANARY_EVENTS;

/// A split of the traffic less likely than this is wrong (statistics.md §9.6).
const SPLIT_LEVEL: f64 = 1e-3;

/// What is expected of a rollout's series at a time.
pub(super) struct Expectations<'a> {
    config: &'a PolicyConfig,
    versions: [&'a str; 2],
    at: EventTime,
}

impl<'a> Expectations<'a> {
    /// Of a rollout between two versions, for a window that ends at `at`.
    pub fn new(config: &'a PolicyConfig, versions: [&'a str; 2], at: EventTime) -> Self {
        Expectations { config, versions, at }
    }

    fn standing(&self) -> impl Iterator<Item = &'a ExpectedChange> {
        let (versions, at) = (self.versions, self.at);
        self.config
            .expected
            .iter()
            .filter(move |one| at <= one.until && versions.contains(&one.version.as_str()))
    }

    /// Whether a series is expected to differ.
    pub fn cover(&self, series: &str) -> bool {
        self.standing().any(|one| one.series == series)
    }

    /// ` Expected and left out: amount (rescaled, until …: cents).`
    fn sentence(&self) -> String {
        let named: Vec<String> = self
            .standing()
            .map(|one| {
                let until = one.until.to_rfc3339();
                format!("{} ({}, until {until}: {})", one.series, one.change.as_str(), one.reason)
            })
            .collect();
        if named.is_empty() {
            String::new()
        } else {
            format!(" Expected and left out: {}.", named.join(", "))
        }
    }
}

/// Lays the blame for what has been seen of a rollout up to a pane that holds both arms.
pub(super) fn lay(
    config: &PolicyConfig,
    verdicts: &VerdictRules,
    watched: &WatchedModel,
    rollout: Rollout<'_>,
    comparison: &Comparison,
    expectations: &Expectations<'_>,
) -> Blame {
    let mut found = lay_plainly(config, verdicts, watched, rollout, comparison);
    found.reason += &guardrails::undecided(comparison);
    found.reason += &expectations.sentence();
    found
}

fn lay_plainly(
    config: &PolicyConfig,
    verdicts: &VerdictRules,
    watched: &WatchedModel,
    rollout: Rollout<'_>,
    comparison: &Comparison,
) -> Blame {
    if comparison.canary_events < LEAST_CANARY_EVENTS {
        let events = comparison.canary_events;
        let reason =
            format!("The canary has {events} events of the {LEAST_CANARY_EVENTS} a first look needs.");
        return blame(Decision::Inconclusive, Vec::new(), reason);
    }
    if !comparison.ready {
        let reason = format!(
            "How much stable's events depend on each other is not known before {LEAST_PANES} panes; then the canary \
             is looked at."
        );
        return blame(Decision::Inconclusive, Vec::new(), reason);
    }
    if let Some(split) = comparison.split.filter(|split| split.p_value < SPLIT_LEVEL) {
        return wrong_split(&split);
    }
    if let Some(broken) = guardrails::broken(comparison) {
        return broken;
    }
    let inputs = differing_inputs(comparison);
    if let Some((_, worst)) = inputs.first() {
        let reason = format!(
            "The canary is asked other things than stable: {worst}. Paused; look at the routing and at the \
             canary's feature pipeline."
        );
        let findings = inputs.into_iter().map(|(finding, _)| finding).collect();
        return Blame { inputs_differ: true, ..blame(Decision::Pause, findings, reason) };
    }
    if let Some(answer) = largest(comparison.answers.iter().filter(|one| one.differs), |one| one.lower) {
        return for_answer(config, watched, comparison, answer);
    }
    let drifted = against_baseline(verdicts, rollout);
    if drifted.finding != Decision::Continue {
        return drifted;
    }
    quiet(config, comparison)
}

fn wrong_split(split: &SplitTest) -> Blame {
    let SplitTest { p_value, share, expected, sampled, changed } = *split;
    let finding = Finding {
        kind: "quality".to_owned(),
        name: "traffic".to_owned(),
        metric: "share".to_owned(),
        reference: Reference::Stable.as_str().to_owned(),
        value: share,
        threshold: expected,
    };
    let on_average = if changed { " on average" } else { "" };
    let [share, expected] = [share, expected].map(|share| share * 100.0);
    let said = if sampled {
        format!(
            "The canary sends {share:.1} % of the events where its weight and the sampling let expect {expected:.1} \
             %{on_average}"
        )
    } else {
        format!("The canary gets {share:.1} % of the traffic where {expected:.1} % is set{on_average}")
    };
    let reason = format!(
        "{said} (p = {p_value:.1e}). Paused; look at the routing, or at events that are lost{}.",
        if sampled { " or sampled otherwise" } else { "" }
    );
    Blame { inputs_differ: true, ..blame(Decision::Pause, vec![finding], reason) }
}

/// The findings of inputs that differ, each with a clause, the farthest first.
fn differing_inputs(comparison: &Comparison) -> Vec<(Finding, String)> {
    let mut found = Vec::new();
    for input in &comparison.inputs {
        let metric = if input.kind == SeriesKind::Numeric { "ks" } else { "tv" };
        if input.differs {
            let finding = of_stable("feature", &input.name, metric, input.distance, comparison.tolerance);
            let said = format!(
                "input {} differs by {metric} {:.3}, by {:.3} for certain",
                input.name, input.distance, input.lower
            );
            found.push((finding, said));
        }
        if input.missing_differs {
            let apart = (input.missing[0] - input.missing[1]).abs();
            let finding = of_stable("quality", &input.name, "missing_ratio", apart, comparison.tolerance);
            let shares = input.missing.map(|share| share * 100.0);
            let said = format!(
                "input {} is missing in {:.1} % of the canary's rows and {:.1} % of stable's",
                input.name, shares[0], shares[1]
            );
            found.push((finding, said));
        }
    }
    found.sort_by(|a, b| b.0.value.total_cmp(&a.0.value));
    found
}

pub(super) fn of_stable(kind: &str, name: &str, metric: &str, value: f64, threshold: f64) -> Finding {
    Finding {
        kind: kind.to_owned(),
        name: name.to_owned(),
        metric: metric.to_owned(),
        reference: Reference::Stable.as_str().to_owned(),
        value,
        threshold,
    }
}

/// The answers differ: the model's fault only when everything else is shown to agree.
fn for_answer(
    config: &PolicyConfig,
    watched: &WatchedModel,
    comparison: &Comparison,
    answer: &Compared,
) -> Blame {
    let finding = of_stable("prediction", &answer.name, "pit_d", answer.distance, config.rollback_effect);
    let differs = format!(
        "The canary answers differently: prediction {} moved by PIT-D {:.3}, by {:.3} for certain ({} of its \
         events)",
        answer.name, answer.distance, answer.lower, comparison.canary_events
    );
    let findings = vec![finding];
    match doubt(config, watched, comparison, answer) {
        None => {
            let alike = largest(comparison.inputs.iter(), |one| one.upper).map_or(0.0, |one| one.upper);
            let reason = format!(
                "{differs}, while its {} shared inputs agree with stable's (each to {alike:.3}, together to {:.3}) \
                 and stable is as in training. Rolled back; the fault is in the model or in how it was built.",
                comparison.inputs.len(),
                comparison.joint.map_or(0.0, |joint| joint.upper)
            );
            blame(Decision::Rollback, findings, reason)
        }
        Some(doubt) if config.unattributed == Decision::Rollback => {
            let reason = format!("{differs}, but {doubt}. Rolled back all the same, as is configured.");
            blame(Decision::Rollback, findings, reason)
        }
        Some(doubt) => {
            let reason = format!("{differs}, but {doubt}. Paused; decide by hand, or wait for more traffic.");
            blame(Decision::Pause, findings, reason)
        }
    }
}

/// What stands between answers that differ and the model as their cause.
fn doubt(
    config: &PolicyConfig,
    watched: &WatchedModel,
    comparison: &Comparison,
    answer: &Compared,
) -> Option<String> {
    for version in [comparison.canary.version, comparison.stable.version] {
        let watched = watched.versions.get(version as usize)?;
        if !watched.own_predictions {
            return Some(format!("version {} has no prediction baseline of its own", watched.version));
        }
        if !watched.held_out {
            return Some(format!(
                "the prediction baseline of version {} is not held out (`tidegate baseline --held-out`)",
                watched.version
            ));
        }
    }
    if answer.lower < config.rollback_effect {
        return Some(format!("that is less than the {} of a rollback", config.rollback_effect));
    }
    let limit = answer.lower / 2.0;
    let Some(joint) = comparison.joint else {
        return Some("there is no shared input to compare the arms by".to_owned());
    };
    let apart = largest(comparison.inputs.iter(), |one| one.upper).filter(|one| one.upper >= limit);
    if let Some(input) = apart {
        return Some(format!("input {} may differ by up to {:.3}", input.name, input.upper));
    }
    let unfilled = |one: &&Compared| (one.missing[0] - one.missing[1]).abs() >= limit;
    if let Some(input) = comparison.inputs.iter().find(unfilled) {
        return Some(format!("input {} is missing more often in one arm", input.name));
    }
    if joint.upper >= limit {
        return Some(format!("all inputs together may differ by up to {:.3}", joint.upper));
    }
    match &comparison.stable_moved {
        Some((name, upper)) if *upper >= limit => {
            Some(format!("stable itself may have moved away from its baseline by up to {upper:.3} ({name})"))
        }
        _ => None,
    }
}

/// Nothing differs as far as can be seen: is that far enough to go on?
fn quiet(config: &PolicyConfig, comparison: &Comparison) -> Blame {
    let events = comparison.canary_events;
    let Some(widest) = largest(comparison.answers.iter(), |one| one.upper) else {
        let reason =
            format!("Nothing differs after {events} canary events; there are no answers to compare.");
        return blame(Decision::Continue, Vec::new(), reason);
    };
    let (name, upper) = (&widest.name, widest.upper);
    if upper < config.promote_below {
        let reason = format!(
            "A PIT-D of {} or more is excluded after {events} canary events: {name} moved by {upper:.3} at most.",
            config.promote_below
        );
        return blame(Decision::Promote, Vec::new(), reason);
    }
    let reason = format!(
        "Nothing differs after {events} canary events, but that is not enough to promote: {name} may have moved by \
         up to {upper:.3}, and {} must be excluded.",
        config.promote_below
    );
    blame(Decision::Continue, Vec::new(), reason)
}

fn largest<'a>(
    of: impl Iterator<Item = &'a Compared>,
    by: impl Fn(&Compared) -> f64,
) -> Option<&'a Compared> {
    of.reduce(|a, b| if by(b) > by(a) { b } else { a })
}
