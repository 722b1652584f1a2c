//! How right a version's answers were, of those whose label is known.

use super::joins::Matured;
use super::report::{ClassReport, DifferenceReport, LabelReport, RatioReport};
use super::window::ArmWindow;
use crate::baseline::WatchedVersion;
use crate::cells::Grid;
use crate::event::EventTime;
use crate::stats::labelled::{ClassCounts, accuracy, f1, macro_f1, precision, recall};
use crate::stats::rates::{Estimate, difference};
use crate::tally::labels::Confusion;
use std::cmp::Reverse;

/// The level of the intervals that reports show: they miss the true value once in twenty times.
pub(super) const ALPHA: f64 = 0.05;
/// Classes of an output that a report shows at most.
pub const MAX_CLASSES: usize = 16;

/// The labelled answers of one output in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLabels {
    /// The output's place among the version's series.
    pub series: usize,
    /// Values of the output, labelled or not.
    pub answers: u64,
    pub confusion: Confusion,
    /// Where labels are joined: the event time of the answers, from and to.
    pub span: Option<(EventTime, EventTime)>,
}

/// The outputs of a window's version that came with labels or, where labels are `joined`, that had their time to.
pub(super) fn of_arm(arm: &ArmWindow, joined: bool) -> Vec<OutputLabels> {
    let of_output = |(series, confusion): (usize, &Confusion)| {
        let answers = arm.series.get(series)?.n();
        Some(OutputLabels { series, answers, confusion: confusion.clone(), span: None })
    };
    if !joined {
        return arm.labels.outputs().filter_map(of_output).collect();
    }
    let of_matured = |matured: &Matured| {
        let span = Some((matured.start, matured.end));
        let of_output = |(series, confusion): (usize, &Confusion)| {
            let answers = confusion.answers();
            OutputLabels { series, answers, confusion: confusion.clone(), span }
        };
        matured.labels.outputs().map(of_output).collect()
    };
    arm.matured.as_ref().map_or_else(Vec::new, of_matured)
}

/// The labelled answers of one version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelled<'a> {
    pub watched: &'a WatchedVersion,
    pub outputs: &'a [OutputLabels],
}

impl Labelled<'_> {
    /// The output of this name, of the same time as `own`.
    fn beside(&self, output: &str, own: &OutputLabels) -> Option<&Confusion> {
        let is_of = |one: &&OutputLabels| {
            let series = self.watched.series.get(one.series);
            one.span == own.span && series.is_some_and(|series| series.reference.name == output)
        };
        self.outputs.iter().find(is_of).map(|one| &one.confusion)
    }
}

fn accuracy_of(confusion: &Confusion) -> Option<Estimate> {
    accuracy(confusion.all_right(), confusion.labelled(), ALPHA)
}

/// What a report says of them; `stable`: those that they are compared with.
pub(super) fn report(of: Labelled<'_>, stable: Option<Labelled<'_>>) -> Vec<LabelReport> {
    let Labelled { watched, outputs } = of;
    let of_output = |labels: &OutputLabels| {
        let reference = &watched.series.get(labels.series)?.reference;
        let confusion = &labels.confusion;
        let counts: Vec<ClassCounts> =
            (0..confusion.classes()).map(|class| counts(confusion, class)).collect();
        let own = accuracy_of(confusion);
        let of_stable = stable.and_then(|stable| accuracy_of(stable.beside(&reference.name, labels)?));
        Some(LabelReport {
            output: reference.name.clone(),
            start: labels.span.map(|(start, _)| start.to_rfc3339()),
            end: labels.span.map(|(_, end)| end.to_rfc3339()),
            answers: labels.answers,
            labelled: confusion.labelled(),
            unusable: confusion.unusable(),
            accuracy: own.map(ratio),
            accuracy_difference: own.zip(of_stable).map(|(own, other)| apart(difference(own, other))),
            macro_f1: macro_f1(&counts),
            classes: classes(&reference.grid, &counts),
        })
    };
    outputs.iter().filter_map(of_output).collect()
}

/// One class against all others. Answers and labels that are others both, but not the same, are wrong twice, like any
/// answer of a wrong class.
fn counts(confusion: &Confusion, class: usize) -> ClassCounts {
    let all = || 0..confusion.classes();
    let predicted: u64 = all().map(|truth| confusion.pairs(class, truth)).sum();
    let labelled: u64 = all().map(|predicted| confusion.pairs(predicted, class)).sum();
    let right = confusion.right(class);
    ClassCounts {
        true_positives: right,
        false_positives: predicted - right,
        false_negatives: labelled - right,
    }
}

fn classes(grid: &Grid, counts: &[ClassCounts]) -> Vec<ClassReport> {
    let labelled = |class: &ClassCounts| class.true_positives + class.false_negatives;
    let predicted = |class: &ClassCounts| class.true_positives + class.false_positives;
    let mut shown: Vec<usize> = (0..counts.len()).collect();
    shown.retain(|class| labelled(&counts[*class]) + predicted(&counts[*class]) > 0);
    shown.sort_by_key(|class| Reverse(labelled(&counts[*class]) + predicted(&counts[*class])));
    shown.truncate(MAX_CLASSES);
    shown.sort_unstable();
    let of_class = |class: usize| ClassReport {
        class: name(grid, class, counts.len()),
        labelled: labelled(&counts[class]),
        predicted: predicted(&counts[class]),
        precision: precision(counts[class], ALPHA).map(ratio),
        recall: recall(counts[class], ALPHA).map(ratio),
        f1: f1(counts[class], ALPHA).map(ratio),
    };
    shown.into_iter().map(of_class).collect()
}

/// The name of a class; `None` for all others.
fn name(grid: &Grid, class: usize, classes: usize) -> Option<String> {
    match grid {
        Grid::Boolean => Some((class == 1).to_string()),
        Grid::Categorical(categories) if class + 1 < classes => categories.named().get(class).cloned(),
        Grid::Categorical(_) | Grid::Numeric(_) => None,
    }
}

fn ratio(estimate: Estimate) -> RatioReport {
    RatioReport { value: estimate.value, lower: estimate.lower, upper: estimate.upper }
}

pub(super) fn apart(estimate: Estimate) -> DifferenceReport {
    DifferenceReport { value: estimate.value, lower: estimate.lower, upper: estimate.upper }
}
