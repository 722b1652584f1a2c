//! Labels of numeric outputs that came with their predictions: what was scored against what was true. Counts are kept
//! by unit bucket, so that the noise between users can be told (statistics.md §6).

use super::checked::{MAX_COUNT, add_counts_up};
use super::record::ScoreCounts;
use crate::baseline::{ScoreGrid, WatchedSeries, WatchedVersion};
use crate::cells::runs;
use crate::event::{NO_UNIT, SeriesOf, UNIT_BUCKETS};
use crate::stats::labelled::SquaredErrors;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The buckets of units, and one more for events of no unit: the last.
pub const SCORE_BUCKETS: usize = UNIT_BUCKETS + 1;
/// Bytes of one sum in a record.
const SUM_BYTES: usize = size_of::<i128>();

/// What was scored against what was true, of one output. All fields add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    cells: usize,
    /// Labelled answers at (bucket · 2 + truth) · cells + cell of the score.
    counts: Vec<u64>,
    /// Their sum.
    labelled: u64,
    /// By bucket, of the scores that are probabilities.
    errors: Vec<SquaredErrors>,
    /// Labels of another type than a truth value, one or zero.
    unusable: u64,
    /// Answers that had their time to be labelled, and were not.
    unlabelled: u64,
}

impl Scored {
    fn new(cells: usize) -> Scored {
        Scored {
            cells,
            counts: vec![0; SCORE_BUCKETS * 2 * cells],
            labelled: 0,
            errors: vec![SquaredErrors::default(); SCORE_BUCKETS],
            unusable: 0,
            unlabelled: 0,
        }
    }

    fn note(&mut self, grid: &ScoreGrid, bucket: u8, score: f64, truth: Option<bool>) {
        let (Some(truth), Some(cell)) = (truth, grid.cell(score)) else {
            self.unusable = add_counts_up(self.unusable, 1);
            return;
        };
        if self.labelled < MAX_COUNT {
            let bucket = usize::from(bucket.min(NO_UNIT));
            self.counts[(2 * bucket + usize::from(truth)) * self.cells + cell] += 1;
            self.labelled += 1;
            self.errors[bucket].add(score, truth);
        }
    }

    /// Adds a record's counts. Returns whether they fitted; otherwise nothing is added.
    fn add(&mut self, counts: &ScoreCounts) -> bool {
        let Ok(added) = runs::decode(&counts.cells, self.counts.len()) else { return false };
        let sum = added.iter().fold(self.labelled, |sum, count| sum.saturating_add(*count));
        // The sum of all bounds each of them.
        if sum > MAX_COUNT {
            return false;
        }
        let in_buckets = added.chunks(2 * self.cells).map(|bucket| bucket.iter().sum());
        let Some(errors) = errors_of(counts, in_buckets) else { return false };
        self.counts.iter_mut().zip(&added).for_each(|(count, more)| *count += more);
        self.errors.iter_mut().zip(errors).for_each(|(held, more)| held.merge(more));
        self.labelled = sum;
        self.unusable = add_counts_up(self.unusable, counts.unusable);
        self.unlabelled = add_counts_up(self.unlabelled, counts.unlabelled);
        true
    }

    fn record(&self, output: &str, grid: &ScoreGrid) -> ScoreCounts {
        let probabilities: Vec<u64> = self.errors.iter().map(|errors| errors.count).collect();
        let summed = self.errors.iter().filter(|errors| errors.count > 0);
        ScoreCounts {
            output: output.to_owned(),
            grid_hash: grid.hash(),
            cells: runs::encode(&self.counts),
            probabilities: runs::encode(&probabilities),
            squares: summed.flat_map(|errors| errors.squares.units().to_le_bytes()).collect(),
            unusable: self.unusable,
            unlabelled: self.unlabelled,
        }
    }

    /// The rank cells of a score.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// The counts of a bucket: those that were false by cell, then those that were true.
    pub fn bucket(&self, bucket: usize) -> &[u64] {
        &self.counts[2 * bucket * self.cells..][..2 * self.cells]
    }

    /// The squared errors of a bucket's scores that are probabilities.
    pub fn errors(&self, bucket: usize) -> SquaredErrors {
        self.errors[bucket]
    }

    /// Answers with a usable label.
    pub fn labelled(&self) -> u64 {
        self.labelled
    }

    /// Those of them that came true.
    pub fn positives(&self) -> u64 {
        (0..SCORE_BUCKETS).flat_map(|bucket| &self.bucket(bucket)[self.cells..]).sum()
    }

    /// Labels of another type than a truth value, one or zero.
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// Answers with a label of any kind, and those that had their time to get one.
    pub fn answers(&self) -> u64 {
        [self.unusable, self.unlabelled].into_iter().fold(self.labelled, add_counts_up)
    }
}

/// The squared errors of a record, by bucket; `None` where so many scores (`in_buckets`) cannot have them.
fn errors_of(counts: &ScoreCounts, in_buckets: impl Iterator<Item = u64>) -> Option<Vec<SquaredErrors>> {
    let probabilities = runs::decode(&counts.probabilities, SCORE_BUCKETS).ok()?;
    let (sums, rest) = counts.squares.as_chunks::<SUM_BYTES>();
    let mut sums = sums.iter();
    let mut errors = Vec::with_capacity(SCORE_BUCKETS);
    for (count, scores) in probabilities.into_iter().zip(in_buckets) {
        let units = if count == 0 { 0 } else { i128::from_le_bytes(*sums.next()?) };
        errors.push(SquaredErrors::stored(units, count).filter(|_| count <= scores)?);
    }
    (sums.next().is_none() && rest.is_empty()).then_some(errors)
}

/// The labelled scores of one version, by place of the output among its series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scores(BTreeMap<usize, Scored>);

impl Scores {
    /// Counts a score of the numeric output at `place` of an event whose unit is in `bucket` (or is
    /// [`NO_UNIT`]); `truth`: its label, `None`: of another type. Other series are not counted.
    pub fn note(
        &mut self,
        watched: &WatchedVersion,
        place: usize,
        bucket: u8,
        score: f64,
        truth: Option<bool>,
    ) {
        if let Some((scored, grid)) = self.at(watched, place) {
            scored.note(grid, bucket, score, truth);
        }
    }

    /// Counts an answer of the numeric output at `place` that had its time to be labelled, and was not.
    pub fn note_unlabelled(&mut self, watched: &WatchedVersion, place: usize) {
        if let Some((scored, _)) = self.at(watched, place) {
            scored.unlabelled = add_counts_up(scored.unlabelled, 1);
        }
    }

    fn at<'a>(&mut self, watched: &'a WatchedVersion, place: usize) -> Option<(&mut Scored, &'a ScoreGrid)> {
        let grid = watched.series.get(place)?.scores.as_deref()?;
        Some((self.0.entry(place).or_insert_with(|| Scored::new(grid.cells())), grid))
    }

    /// Adds the counts of records on the cells of `watched`. Returns whether all fitted; those that did not are left
    /// out.
    pub fn add(&mut self, watched: &WatchedVersion, records: &[ScoreCounts]) -> bool {
        let fitted = records.iter().filter(|counts| self.add_one(watched, counts)).count();
        fitted == records.len()
    }

    fn add_one(&mut self, watched: &WatchedVersion, counts: &ScoreCounts) -> bool {
        let place = watched.series.iter().position(|series| is_of(series, counts));
        let grid = place.and_then(|place| watched.series[place].scores.as_deref());
        let (Some(place), Some(grid)) = (place, grid) else { return false };
        match self.0.entry(place) {
            Entry::Occupied(mut held) => held.get_mut().add(counts),
            Entry::Vacant(free) => {
                let mut scored = Scored::new(grid.cells());
                let fits = scored.add(counts);
                if fits {
                    free.insert(scored);
                }
                fits
            }
        }
    }

    /// The record form; nothing where there are no labels.
    pub fn record(&self, watched: &WatchedVersion) -> Vec<ScoreCounts> {
        let of_output = |(place, scored): (&usize, &Scored)| {
            let series = watched.series.get(*place)?;
            Some(scored.record(&series.reference.name, series.scores.as_deref()?))
        };
        self.0.iter().filter_map(of_output).collect()
    }

    /// The sum of records; those that do not fit are left out.
    pub fn sum_of_records(watched: &WatchedVersion, parts: [&[ScoreCounts]; 2]) -> Vec<ScoreCounts> {
        let mut scores = Scores::default();
        for part in parts {
            scores.add(watched, part);
        }
        scores.record(watched)
    }

    /// Outputs with labels, by place among the version's series.
    pub fn outputs(&self) -> impl Iterator<Item = (usize, &Scored)> {
        self.0.iter().map(|(place, scored)| (*place, scored))
    }

    /// Bytes held in memory beside itself.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|scored| bytes(scored.cells)).sum()
    }

    /// What the labelled scores of a version take at most.
    pub(super) fn most_bytes(watched: &WatchedVersion) -> usize {
        let grids = watched.series.iter().filter_map(|series| series.scores.as_deref());
        grids.map(|grid| bytes(grid.cells())).sum()
    }
}

fn bytes(cells: usize) -> usize {
    let of_bucket = 2 * cells * size_of::<u64>() + size_of::<SquaredErrors>();
    SCORE_BUCKETS * of_bucket + size_of::<Scored>() + 64
}

fn is_of(series: &WatchedSeries, counts: &ScoreCounts) -> bool {
    series.reference.of == SeriesOf::Prediction
        && series.reference.name == counts.output
        && series.scores.as_ref().is_some_and(|grid| grid.hash() == counts.grid_hash)
}

#[cfg(test)]
#[path = "scores_tests.rs"]
mod tests;
