//! Evidence → how far the arms are apart, and how sure that is.

use super::labelled::{self, LabelledRates};
use super::series::SeriesEvidence;
use super::split::{Sampled, SplitTest, Weight};
use super::{Evidence, pane};
use crate::baseline::VersionIndex;
use crate::event::{SeriesKind, SeriesOf};
use crate::judge::dispersion::Dispersion;
use crate::judge::plan::{MeasurePlan, SeriesPlan, VersionPlan};
use crate::stats::sequential::holm;
use crate::stats::sequential::joint::{self, Input, Joint};
use crate::stats::sequential::stratified::{Difference, Stratified};

/// Panes after which the spread of J is taken as measured.
const PANES_FOR_SPREAD: u64 = 8;

/// A series' plan, its evidence, and stable's φ.
type Held<'a> = (&'a SeriesPlan, &'a SeriesEvidence, f64);

/// What evidence is taken and judged by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Chance of a false rejection over a whole rollout: half of it for predictions, half for inputs.
    pub alpha: f64,
    /// Differences of at most this are none (δ0).
    pub tolerance: f64,
    /// The canary's share of the traffic as its owner has set it.
    pub weight: Weight,
    pub sampled: Sampled,
}

/// The arms of a rollout, as far as they have been seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub stable: VersionIndex,
    pub canary: VersionIndex,
    pub panes: u64,
    /// Whether φ of stable is known: before that nothing is looked at.
    pub ready: bool,
    pub canary_events: u64,
    pub stable_events: u64,
    /// Differences of at most this are none.
    pub tolerance: f64,
    /// Features that both arms count on one grid.
    pub inputs: Vec<Compared>,
    /// Prediction outputs that both arms have with one kind: differences in differences of ranks within each
    /// version's own baseline (PIT-D).
    pub answers: Vec<Compared>,
    /// All inputs together; `None` without any, or when one has not been seen in both arms.
    pub joint: Option<Joint>,
    /// Stable's inputs and answers against their own baselines: the largest upper bound of what they moved.
    pub stable_moved: Option<(String, f64)>,
    /// The split of the traffic; `None` while its weight is not known.
    pub split: Option<SplitTest>,
    /// `None` while an arm has no answers.
    pub errors: Option<ErrorRates>,
    /// Of each answer that can be right or wrong, labels or none.
    pub labelled: Vec<LabelledRates>,
}

/// The arms' shares of answers that are errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorRates {
    pub canary: f64,
    pub stable: f64,
    /// The sequential p-value of "the canary's is higher by no more than is let pass".
    pub p_value: f64,
}

/// One series of both arms.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub name: String,
    pub kind: SeriesKind,
    /// sup|Δ|, stratified by pane.
    pub distance: f64,
    /// The bounds of the true difference at the level of all looks: sup|Δ| ∓ c/√n_eff, the upper one with what
    /// the cells hide. The upper one exceeds 1 while little is known.
    pub lower: f64,
    pub upper: f64,
    /// What the panes are worth in independent pairs.
    pub n_eff: f64,
    /// Kiefer and Pocock's critical value c behind the bounds.
    pub critical: f64,
    /// The sequential p-value of the values, and (inputs) of the rows without one.
    pub p_value: f64,
    pub missing_p_value: f64,
    /// The arms' shares of rows without a usable value: canary, stable.
    pub missing: [f64; 2],
    /// Holm's rule over all series rejects that the values are alike, or the rows without one.
    pub differs: bool,
    pub missing_differs: bool,
}

/// Takes a look at a series, when one is due, and begins its next epoch.
pub(super) fn look(
    held: &mut SeriesEvidence,
    plan: &SeriesPlan,
    stable: &VersionPlan,
    terms: &Terms,
    phi: f64,
) {
    held.turn_epoch();
    held.look(|strata| Some(difference(strata, phi, plan, stable)?.z(terms.tolerance)));
}

fn difference(strata: &Stratified, phi: f64, plan: &SeriesPlan, stable: &VersionPlan) -> Option<Difference> {
    match plan.reference.of {
        SeriesOf::Feature => strata.difference(plan.reference.kind != SeriesKind::Numeric, phi),
        SeriesOf::Prediction => {
            let theirs = &stable.series[stable.find(SeriesOf::Prediction, &plan.reference.name)?];
            let (own, other) =
                pane::on_common_cells(plan, theirs, &plan.reference.counts, &theirs.reference.counts);
            strata.difference_in_differences(&own, &other, phi)
        }
    }
}

pub(super) fn compare(
    evidence: &Evidence,
    plan: &MeasurePlan,
    terms: &Terms,
    dispersion: &Dispersion,
    left_out: &dyn Fn(&str) -> bool,
) -> Option<Comparison> {
    let head = &evidence.head;
    let version = |name: &str| plan.watched().find_version(name);
    let (stable, canary) = (version(&head.stable)?, version(&head.canary)?);
    let (stable_plan, canary_plan) =
        (plan.versions.get(stable as usize)?, plan.versions.get(canary as usize)?);
    let of = |kind: SeriesOf| -> Vec<Held<'_>> {
        let held = |series: &'_ SeriesPlan| evidence.series.get(&(kind, series.reference.name.clone()));
        let counts = |series: &&SeriesPlan| series.reference.of == kind && !left_out(&series.reference.name);
        let of_kind = canary_plan.series.iter().filter(counts);
        of_kind
            .filter_map(|series| {
                let phi = dispersion.phi(&head.stable, kind, &series.reference.name);
                let held = held(series)?;
                Some((series, held, phi.max(held.unit_phi())))
            })
            .collect()
    };
    let (inputs, answers) = (of(SeriesOf::Feature), of(SeriesOf::Prediction));
    let level = terms.alpha / 2.0;
    let index = |version: u32| VersionIndex { model: 0, version };
    Some(Comparison {
        stable: index(stable),
        canary: index(canary),
        panes: head.panes,
        ready: dispersion.is_known(&head.stable),
        canary_events: head.canary_events,
        stable_events: head.stable_events,
        tolerance: terms.tolerance,
        inputs: together(&inputs, stable_plan, level, true),
        answers: together(&answers, stable_plan, level, false),
        joint: joint_of(&inputs, stable_plan, head.spread()),
        stable_moved: stable_moved(inputs.iter().chain(&answers), stable_plan, level),
        errors: errors(head),
        labelled: answers.iter().filter_map(labelled_rates).collect(),
        split: head.ratio.test(terms.weight),
    })
}

fn labelled_rates(&(plan, held, _): &Held<'_>) -> Option<LabelledRates> {
    labelled::can_be_labelled(plan).then(|| held.labels.rates(&plan.reference.name))
}

fn errors(head: &super::EvidenceHead) -> Option<ErrorRates> {
    let bets = head.errors();
    let wealth = bets.wealth();
    let share = |counts: &[u64]| {
        let all = counts.iter().sum::<u64>();
        (all > 0).then(|| counts[0] as f64 / all as f64)
    };
    let (canary, stable) = (share(&wealth.canary)?, share(&wealth.stable)?);
    Some(ErrorRates { canary, stable, p_value: bets.p_value() })
}

/// Series that share one level: Holm's rule over their values and, of inputs, their missing values.
fn together(series: &[Held<'_>], stable: &VersionPlan, level: f64, with_missing: bool) -> Vec<Compared> {
    let mut found: Vec<Compared> = series.iter().filter_map(|held| compared(held, stable, level)).collect();
    let mut p_values: Vec<f64> = found.iter().map(|one| one.p_value).collect();
    if with_missing {
        p_values.extend(found.iter().map(|one| one.missing_p_value));
    }
    let adjusted = holm::adjusted(&p_values);
    let count = found.len();
    for (position, one) in found.iter_mut().enumerate() {
        one.differs = adjusted[position] <= level;
        one.missing_differs = with_missing && adjusted[count + position] <= level;
    }
    found
}

fn compared(&(plan, held, phi): &Held<'_>, stable: &VersionPlan, level: f64) -> Option<Compared> {
    let found = difference(&held.strata, phi, plan, stable)?;
    let critical = held.looks.critical_value(level);
    let wealth = held.missing.wealth();
    let share = |counts: &[u64]| counts[0] as f64 / (counts.iter().sum::<u64>() as f64).max(1.0);
    Some(Compared {
        name: plan.reference.name.clone(),
        kind: plan.reference.kind,
        distance: found.statistic,
        lower: found.lower_bound(critical),
        upper: found.upper_bound(critical),
        n_eff: found.n_eff,
        critical,
        p_value: held.looks.smallest_p,
        missing_p_value: held.missing.p_value(),
        missing: [share(&wealth.canary), share(&wealth.stable)],
        differs: false,
        missing_differs: false,
    })
}

fn joint_of(inputs: &[Held<'_>], stable: &VersionPlan, spread: joint::Spread) -> Option<Joint> {
    let of_one = |&(plan, held, phi): &Held<'_>| {
        let found = difference(&held.strata, phi, plan, stable)?;
        Some(Input { distance: found.statistic, n_e: found.n_eff })
    };
    let all: Vec<Input> = inputs.iter().map(of_one).collect::<Option<_>>()?;
    if all.is_empty() {
        return None;
    }
    let k = all.len();
    let measured = spread.value().filter(|_| spread.comparisons >= PANES_FOR_SPREAD);
    let spread = measured.map_or(joint::largest_spread(k), |found| found.max(joint::independent_spread(k)));
    joint::distance(&all, spread)
}

/// The upper bound of how far stable's series are from their own baselines, of the series where it is largest:
/// `sup|F̄_s − F_m| + c·sqrt(φ/n_s + 1/m)`, F̄_s the mean over panes weighed as in Δ.
fn stable_moved<'a>(
    series: impl Iterator<Item = &'a Held<'a>>,
    stable: &VersionPlan,
    level: f64,
) -> Option<(String, f64)> {
    let of_one = |&(plan, held, phi): &Held<'_>| {
        let strata = held.strata.strata();
        let theirs = &stable.series[stable.find(plan.reference.of, &plan.reference.name)?];
        let counts = &theirs.reference.counts;
        let reference = match plan.reference.of {
            SeriesOf::Feature => theirs.thin.fold(counts),
            SeriesOf::Prediction => pane::on_common_cells(plan, theirs, &plan.reference.counts, counts).1,
        };
        let m = reference.iter().sum::<u64>() as f64;
        if strata.information <= 0.0 || m <= 0.0 || reference.len() != strata.stable.len() {
            return None;
        }
        let (mut live, mut of_reference, mut largest) = (0.0, 0u64, 0.0f64);
        for (share, count) in strata.stable.iter().zip(&reference) {
            live += share / strata.information;
            of_reference += count;
            largest = largest.max((live - of_reference as f64 / m).abs());
        }
        let n = strata.stable_events as f64 / phi;
        let reach = held.looks.critical_value(level) * (1.0 / n + 1.0 / m).sqrt();
        Some((plan.reference.name.clone(), largest + reach))
    };
    series.filter_map(of_one).reduce(|a, b| if b.1 > a.1 { b } else { a })
}
