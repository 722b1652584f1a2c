//! How right a canary's answers are beside stable's, pane by pane, of those whose label is known.
//!
//! Accuracy is compared among labelled answers only, so it says something only while labels come equally often for
//! both arms: those that come are no random choice (statistics.md §6). Both are bets on a 2×2 table (§4.6, §9.4).

use super::{Evidence, EvidenceHead};
use crate::event::{EventTime, SeriesOf};
use crate::judge::dispersion::Dispersion;
use crate::judge::plan::{MeasurePlan, SeriesPlan, VersionPlan};
use crate::judge::window::{ArmWindow, SeriesCounts};
use crate::stats::rates::{Change, Rate};
use crate::stats::sequential::betting::{Betting, Terms};
use crate::tally::labels::classes;
use std::collections::BTreeMap;

/// A loss of accuracy of up to this is let pass, and a difference of the shares of labelled answers.
pub const LABEL_TOLERANCE: f64 = 0.01;

/// What is known of the answers of one output in one pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelledAnswers {
    pub right: u64,
    /// Answers with a usable label.
    pub labelled: u64,
    pub answers: u64,
}

/// The labelled answers of one version in one pane, by output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArmLabels {
    pub version: String,
    /// Where labels are joined: the event time of the answers. Both arms' have to be of the same panes.
    pub span: Option<(EventTime, EventTime)>,
    pub outputs: BTreeMap<String, LabelledAnswers>,
}

/// The bets on one output of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelEvidence {
    /// That the canary is wrong more often: labelled answers that are wrong, and right.
    pub accuracy: Betting,
    /// That the arms' labels come unequally often: answers without, and with one.
    pub coverage: Betting,
}

/// One output of both arms, as far as its labels tell.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRates {
    pub name: String,
    /// Wrong answers of all labelled ones; `None` without any.
    pub canary: Option<Rate>,
    pub stable: Option<Rate>,
    /// The sequential p-value of "the canary is wrong more often by no more than is let pass".
    pub p_value: f64,
    /// Shares of the answers that are labelled: canary, stable.
    pub coverage: [f64; 2],
    /// The sequential p-value of "these differ by no more than is let pass".
    pub coverage_p_value: f64,
}

impl LabelledAnswers {
    fn wrong_and_right(self) -> [u64; 2] {
        [self.labelled.saturating_sub(self.right), self.right]
    }

    fn without_and_with(self) -> [u64; 2] {
        [self.answers.saturating_sub(self.labelled), self.labelled]
    }
}

impl LabelEvidence {
    pub fn new() -> LabelEvidence {
        LabelEvidence { accuracy: Betting::of_rate(), coverage: Betting::of_rate() }
    }

    fn add(&mut self, canary: LabelledAnswers, stable: LabelledAnswers, phi: f64) {
        let terms = |change| Terms { tolerance: LABEL_TOLERANCE, phi, change };
        // A pane that cannot be counted changes nothing.
        let (of_canary, of_stable) = (canary.wrong_and_right(), stable.wrong_and_right());
        let _ = self.accuracy.add(&of_canary, &of_stable, terms(Change::Rose));
        let (of_canary, of_stable) = (canary.without_and_with(), stable.without_and_with());
        let _ = self.coverage.add(&of_canary, &of_stable, terms(Change::Differs));
    }

    pub fn rates(&self, name: &str) -> LabelledRates {
        let (accuracy, coverage) = (self.accuracy.wealth(), self.coverage.wealth());
        let wrong = |counts: &[u64]| Rate::new(counts[0], counts[0] + counts[1]);
        let labelled = |counts: &[u64]| counts[1] as f64 / ((counts[0] + counts[1]) as f64).max(1.0);
        LabelledRates {
            name: name.to_owned(),
            canary: wrong(&accuracy.canary),
            stable: wrong(&accuracy.stable),
            p_value: self.accuracy.p_value(),
            coverage: [labelled(&coverage.canary), labelled(&coverage.stable)],
            coverage_p_value: self.coverage.p_value(),
        }
    }
}

/// Whether answers of a series can be right or wrong, and labels are compared with them.
pub(super) fn can_be_labelled(series: &SeriesPlan) -> bool {
    series.reference.of == SeriesOf::Prediction && classes(&series.reference.grid).is_some()
}

/// What is known of a version's answers when a pane of it closes: of those in the pane, by labels beside them, or
/// where labels are joined of those that matured with it.
pub(super) fn of_arm(version: &str, plan: &VersionPlan, arm: &ArmWindow, joined: bool) -> ArmLabels {
    let labels = if joined { arm.matured.as_ref().map(|matured| &matured.labels) } else { Some(&arm.labels) };
    let confusions: BTreeMap<usize, _> = labels.into_iter().flat_map(|labels| labels.outputs()).collect();
    let of_output = |(place, (series, counts)): (usize, (&SeriesPlan, &SeriesCounts))| {
        can_be_labelled(series).then_some(())?;
        let confusion = confusions.get(&place);
        let right = confusion.map_or(0, |one| one.all_right());
        let labelled = confusion.map_or(0, |one| one.labelled());
        let answers = if joined { confusion.map_or(0, |one| one.answers()) } else { counts.n() };
        Some((series.reference.name.clone(), LabelledAnswers { right, labelled, answers }))
    };
    let outputs = plan.series.iter().zip(&arm.series).enumerate().filter_map(of_output).collect();
    let span = arm.matured.as_ref().filter(|_| joined).map(|matured| (matured.start, matured.end));
    ArmLabels { version: version.to_owned(), span, outputs }
}

impl Evidence {
    /// Takes in what labels say of a pane that held both arms, of the outputs that have evidence. The bets count by
    /// the φ of stable's answers, so none is placed before that is known.
    pub fn add_labels(
        &mut self,
        plan: &MeasurePlan,
        [stable, canary]: [&ArmLabels; 2],
        dispersion: &Dispersion,
    ) {
        let EvidenceHead { stable: of_stable, canary: of_canary, .. } = &self.head;
        let are_these = (&stable.version, &canary.version) == (of_stable, of_canary);
        let are_these = are_these && stable.span == canary.span;
        let none = LabelledAnswers::default();
        let any = [stable, canary].iter().any(|arm| arm.outputs.values().any(|one| one.labelled > 0));
        let found = plan.watched().find_version(&canary.version);
        let Some(version) = found.and_then(|version| plan.versions.get(version as usize)) else { return };
        if !are_these || !any || !dispersion.is_known(of_stable) {
            return;
        }
        for series in version.series.iter().filter(|one| can_be_labelled(one)) {
            let name = &series.reference.name;
            let Some(held) = self.series.get_mut(&(SeriesOf::Prediction, name.clone())) else { continue };
            let of = |arm: &ArmLabels| arm.outputs.get(name).copied().unwrap_or(none);
            let phi = dispersion.phi(&self.head.stable, SeriesOf::Prediction, name).max(held.unit_phi());
            held.labels.add(of(canary), of(stable), phi);
        }
        self.head.labelled_panes = self.head.labelled_panes.saturating_add(1);
    }
}
