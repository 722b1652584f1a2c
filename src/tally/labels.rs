//! Labels that came with their predictions: what was answered against what was true, for each categorical or boolean
//! output of one version.

use super::checked::{MAX_COUNT, add_counts_up};
use super::record::LabelCounts;
use crate::baseline::{WatchedSeries, WatchedVersion};
use crate::cells::{Grid, runs};
use crate::decode::LabelPair;
use crate::event::SeriesOf;
use std::collections::BTreeMap;

/// Categories that are a class of their own, the most frequent ones of the grid; all others are one class together.
pub const NAMED_CLASSES: usize = 32;

/// The classes of a grid: its first categories in cell order, then all others as the last one; of booleans `false` and
/// `true`. `None` for numbers.
pub fn classes(grid: &Grid) -> Option<usize> {
    match grid {
        Grid::Numeric(_) => None,
        Grid::Boolean => Some(2),
        Grid::Categorical(categories) => Some(categories.named().len().min(NAMED_CLASSES) + 1),
    }
}

/// What was answered against what was true, of one output. All fields add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// Labelled answers at predicted class · classes + true class.
    pairs: Vec<u64>,
    /// Of those in the last place, the ones whose category was not the label's.
    other_errors: u64,
    /// Labels of another type than the output, and those that cannot be compared with their answer.
    unusable: u64,
    /// Answers that had their time to be labelled, and were not.
    unlabelled: u64,
}

impl Confusion {
    fn new(classes: usize) -> Confusion {
        Confusion { classes, pairs: vec![0; classes * classes], other_errors: 0, unusable: 0, unlabelled: 0 }
    }

    /// Counts an answer in cell `predicted`; `truth` is the cell of its label, `None`: of another type.
    fn note(&mut self, grid: &Grid, predicted: u16, truth: Option<u16>) {
        let Some(truth) = truth else {
            self.unusable += 1;
            return;
        };
        let last = self.classes - 1;
        let [row, column] = [predicted, truth].map(|cell| usize::from(cell).min(last));
        if let (Grid::Categorical(categories), true) = (grid, row == last && column == last) {
            // Two names that share a cell may be one or two: nobody knows here.
            if predicted == truth && predicted >= categories.other_cell() {
                self.unusable += 1;
                return;
            }
            self.other_errors += u64::from(predicted != truth);
        }
        self.pairs[row * self.classes + column] += 1;
    }

    /// Adds a record's counts. Returns whether they fitted; otherwise nothing is added.
    fn add(&mut self, counts: &LabelCounts) -> bool {
        let Ok(added) = runs::decode(&counts.pairs, self.pairs.len()) else { return false };
        let sum = added.iter().fold(self.labelled(), |sum, count| sum.saturating_add(*count));
        let others = self.other_errors.saturating_add(counts.other_errors);
        let last = self.pairs.len() - 1;
        // The sum of all bounds each of them.
        if sum > MAX_COUNT || others > self.pairs[last] + added[last] {
            return false;
        }
        self.pairs.iter_mut().zip(added).for_each(|(count, more)| *count += more);
        self.other_errors = others;
        self.unusable = add_counts_up(self.unusable, counts.unusable);
        self.unlabelled = add_counts_up(self.unlabelled, counts.unlabelled);
        true
    }

    /// How many classes there are; see [`classes`].
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Answers of class `predicted` whose label is of class `truth`.
    pub fn pairs(&self, predicted: usize, truth: usize) -> u64 {
        self.pairs[predicted * self.classes + truth]
    }

    /// Labelled answers of class `class` that are right.
    pub fn right(&self, class: usize) -> u64 {
        let others = if class + 1 == self.classes { self.other_errors } else { 0 };
        self.pairs(class, class).saturating_sub(others)
    }

    /// Labelled answers that are right, of all classes.
    pub fn all_right(&self) -> u64 {
        (0..self.classes).map(|class| self.right(class)).sum()
    }

    /// Answers with a usable label.
    pub fn labelled(&self) -> u64 {
        self.pairs.iter().sum()
    }

    /// Labels of another type than the output, and those that like their answer have no cell of their own.
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// Answers with a label of any kind, and those that had their time to get one.
    pub fn answers(&self) -> u64 {
        [self.unusable, self.unlabelled].into_iter().fold(self.labelled(), add_counts_up)
    }
}

/// The labelled answers of one version, by place of the output among its series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<usize, Confusion>);

impl Labels {
    pub(super) fn note(&mut self, watched: &WatchedVersion, pair: &LabelPair) {
        self.note_answer(watched, pair.series as usize, pair.predicted, Some(pair.truth));
    }

    /// Counts an answer of the output at `place` in cell `predicted`; `label`: the cell of its label or, of another
    /// type, none, if one came at all.
    pub fn note_answer(
        &mut self,
        watched: &WatchedVersion,
        place: usize,
        predicted: u16,
        label: Option<Option<u16>>,
    ) {
        let Some(grid) = watched.series.get(place).map(|series| &series.reference.grid) else { return };
        let Some(classes) = classes(grid) else { return };
        let confusion = self.0.entry(place).or_insert_with(|| Confusion::new(classes));
        match label {
            Some(truth) => confusion.note(grid, predicted, truth),
            None => confusion.unlabelled += 1,
        }
    }

    /// Adds the counts of records on the grids of `watched`. Returns whether all fitted; those that did not are left
    /// out.
    pub fn add(&mut self, watched: &WatchedVersion, records: &[LabelCounts]) -> bool {
        let mut all = true;
        for counts in records {
            let place = watched.place(SeriesOf::Prediction, &counts.output, counts.grid_hash);
            let classes = place.and_then(|place| classes(&watched.series[place].reference.grid));
            let (Some(place), Some(classes)) = (place, classes) else {
                all = false;
                continue;
            };
            let mut sum = self.0.get(&place).cloned().unwrap_or_else(|| Confusion::new(classes));
            match sum.add(counts) {
                true => drop(self.0.insert(place, sum)),
                false => all = false,
            }
        }
        all
    }

    /// The record form; nothing where there are no labels.
    pub fn record(&self, watched: &WatchedVersion) -> Vec<LabelCounts> {
        let of_output = |(place, confusion): (&usize, &Confusion)| {
            let series = watched.series.get(*place)?;
            Some(LabelCounts {
                output: series.reference.name.clone(),
                grid_hash: series.grid_hash,
                pairs: runs::encode(&confusion.pairs),
                other_errors: confusion.other_errors,
                unusable: confusion.unusable,
                unlabelled: confusion.unlabelled,
            })
        };
        self.0.iter().filter_map(of_output).collect()
    }

    /// The sum of records; those that do not fit are left out.
    pub fn sum_of_records(watched: &WatchedVersion, parts: [&[LabelCounts]; 2]) -> Vec<LabelCounts> {
        let mut labels = Labels::default();
        for part in parts {
            labels.add(watched, part);
        }
        labels.record(watched)
    }

    /// Outputs with labels, by place among the version's series.
    pub fn outputs(&self) -> impl Iterator<Item = (usize, &Confusion)> {
        self.0.iter().map(|(place, confusion)| (*place, confusion))
    }

    /// Bytes held in memory beside itself.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|confusion| bytes(confusion.classes)).sum()
    }

    /// What the labels of a version take at most.
    pub(super) fn most_bytes(watched: &WatchedVersion) -> usize {
        let of_output = |(_, series): (usize, &WatchedSeries)| classes(&series.reference.grid).map(bytes);
        watched.of(SeriesOf::Prediction).filter_map(of_output).sum()
    }
}

fn bytes(classes: usize) -> usize {
    classes * classes * size_of::<u64>() + size_of::<Confusion>() + 64
}

#[cfg(test)]
mod tests {
    use super::super::record::RoleCount;
    use super::*;
    use crate::baseline::{Baseline, BaselineSeries, Rollout, WatchedModel};
    use crate::cells::Categories;
    use crate::event::{EventTime, ModelId, SeriesKind};
    use prost::Message;
    use std::sync::Arc;

    /// A version whose outputs are a category of `named` names with cells and three without, a truth value, and a
    /// number.
    fn watched(named: usize) -> WatchedVersion {
        let names = |letter: char, count: usize| (0..count).map(|n| format!("{letter}{n}")).collect();
        let series = |name: &str, kind, grid: Grid| {
            Arc::new(BaselineSeries {
                name: name.to_owned(),
                of: SeriesOf::Prediction,
                kind,
                counts: vec![1; grid.cells()],
                grid: Arc::new(grid),
                missing: 0,
                distinct: 2,
                range: None,
                traits: Default::default(),
            })
        };
        let categories = Grid::Categorical(Categories::new(names('n', named), names('o', 3)));
        let baseline = Baseline {
            model: "m".to_owned(),
            version: "v1".to_owned(),
            rows: 2,
            created: EventTime(0),
            held_out: true,
            times: None,
            series: vec![
                series("class", SeriesKind::Categorical, categories),
                series("ok", SeriesKind::Boolean, Grid::Boolean),
            ],
        };
        let id = ModelId { namespace: "default".to_owned(), name: "m".to_owned() };
        let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("a baseline");
        model.versions.into_iter().next().expect("a version")
    }

    fn random_pairs(watched: &WatchedVersion, count: usize, random: &mut fastrand::Rng) -> Vec<LabelPair> {
        let cells = watched.series.iter().map(|series| series.reference.grid.cells() as u16);
        let cells: Vec<u16> = cells.collect();
        (0..count)
            .map(|row| {
                let series = random.usize(..cells.len());
                let predicted = random.u16(..cells[series]);
                let truth = match random.u8(..10) {
                    0 => None,
                    1..6 => Some(predicted),
                    _ => Some(random.u16(..cells[series])),
                };
                LabelPair { row: row as u32, series: series as u32, predicted, truth }
            })
            .collect()
    }

    fn noted(watched: &WatchedVersion, pairs: &[LabelPair]) -> Labels {
        let mut labels = Labels::default();
        pairs.iter().for_each(|pair| labels.note(watched, pair));
        labels
    }

    #[test]
    fn right_labelled_and_unusable_ones_are_those_of_the_pairs() {
        let mut random = fastrand::Rng::with_seed(7);
        for named in [0, 1, 2, 31, 32, 33, 60] {
            let watched = watched(named);
            let pairs = random_pairs(&watched, 5_000, &mut random);
            for (place, confusion) in noted(&watched, &pairs).outputs() {
                // Cells whose values are of one name.
                let told_apart = if place == 0 { named } else { 2 } as u16;
                let own = || pairs.iter().filter(move |pair| pair.series as usize == place);
                let known = |pair: &&LabelPair| {
                    pair.truth.is_some_and(|truth| truth != pair.predicted || truth < told_apart)
                };
                let right = own().filter(|pair| known(pair) && pair.truth == Some(pair.predicted)).count();
                let found = (0..confusion.classes()).map(|class| confusion.right(class)).sum::<u64>();
                assert_eq!((found, confusion.labelled()), (right as u64, own().filter(known).count() as u64));
                assert_eq!(confusion.labelled() + confusion.unusable(), own().count() as u64);
                for class in 0..confusion.classes() - 1 {
                    let pair = (class as u16, Some(class as u16));
                    let same = own().filter(|one| (one.predicted, one.truth) == pair).count() as u64;
                    assert_eq!((confusion.right(class), confusion.pairs(class, class)), (same, same));
                }
            }
        }
    }

    #[test]
    fn any_cut_adds_up_to_the_same_and_survives_its_record() {
        let mut random = fastrand::Rng::with_seed(8);
        let watched = watched(40);
        let pairs = random_pairs(&watched, 3_000, &mut random);
        let whole = noted(&watched, &pairs);
        let mut sum = Labels::default();
        for part in pairs.chunks(170) {
            let labels = noted(&watched, part).record(&watched);
            let bytes = RoleCount { labels, ..RoleCount::default() }.encode_to_vec();
            let back = RoleCount::decode(bytes.as_slice()).expect("a record");
            assert!(sum.add(&watched, &back.labels));
        }
        assert_eq!(sum, whole);
        assert!(sum.bytes() <= Labels::most_bytes(&watched));
    }

    #[test]
    fn records_without_labels_are_read_as_before() {
        // stable = 3, as it was written before there were labels.
        let roles = RoleCount::decode([0x28, 3].as_slice()).expect("a record");
        assert_eq!(roles, RoleCount { stable: 3, ..RoleCount::default() });
        let (watched, mut labels) = (watched(2), Labels::default());
        assert!(labels.add(&watched, &roles.labels));
        assert_eq!((&labels, labels.record(&watched), labels.bytes()), (&Labels::default(), vec![], 0));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let watched = watched(2);
        let pair = LabelPair { row: 0, series: 0, predicted: 0, truth: Some(1) };
        let mut labels = noted(&watched, &[pair]);
        let good = labels.record(&watched).remove(0);
        let with = |change: &dyn Fn(&mut LabelCounts)| {
            let mut counts = good.clone();
            change(&mut counts);
            counts
        };
        let wrong = [
            with(&|one| one.output = "another".to_owned()),
            with(&|one| one.grid_hash ^= 1),
            with(&|one| one.pairs = vec![9, 1]),
            with(&|one| one.pairs = vec![0]),
            with(&|one| one.pairs = vec![0, MAX_COUNT]),
            with(&|one| one.pairs = vec![0, u64::MAX, 0, u64::MAX]),
            with(&|one| one.other_errors = 1),
            with(&|one| one.other_errors = u64::MAX),
        ];
        for wrong in &wrong {
            let before = labels.clone();
            assert!(!labels.add(&watched, std::slice::from_ref(wrong)), "{wrong:?}");
            assert_eq!(labels, before);
        }
        let unusable = with(&|one| one.unusable = u64::MAX);
        assert!(labels.add(&watched, &[unusable]));
        let (_, confusion) = labels.outputs().next().expect("an output");
        assert_eq!((confusion.pairs(0, 1), confusion.unusable()), (2, MAX_COUNT));
    }
}
