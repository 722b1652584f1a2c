//! Labelled scores add up whatever the cut, survive their record, and take nothing that cannot be.

use super::*;
use crate::baseline::{Baseline, Rollout, WatchedModel, numeric_series};
use crate::event::{EventTime, ModelId};
use crate::tally::record::RoleCount;
use prost::Message;
use std::sync::Arc;

/// A feature; an output of many values, 0 to 2; an output of five.
fn watched() -> WatchedVersion {
    let mut random = fastrand::Rng::with_seed(1);
    let many = (0..9_000).map(|_| 2.0 * random.f64()).collect();
    let series = vec![
        numeric_series("x", SeriesOf::Feature, vec![1.0, 2.0], 0),
        numeric_series("many", SeriesOf::Prediction, many, 0),
        numeric_series("few", SeriesOf::Prediction, vec![0.0, 0.25, 0.5, 0.75, 1.0], 0),
    ];
    let baseline = Baseline {
        model: "m".to_owned(),
        version: "v1".to_owned(),
        rows: 2,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: series.into_iter().map(Arc::new).collect(),
    };
    let id = ModelId { namespace: "default".to_owned(), name: "m".to_owned() };
    let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("a baseline");
    model.versions.into_iter().next().expect("a version")
}

/// Place, bucket, score, label.
type Pair = (usize, u8, f64, Option<bool>);

fn random_pairs(count: usize, random: &mut fastrand::Rng) -> Vec<Pair> {
    (0..count)
        .map(|_| {
            let place = random.usize(1..3);
            let score = if place == 1 { 2.0 * random.f64() - 0.2 } else { f64::from(random.u8(..5)) / 4.0 };
            let truth = if random.u8(..20) == 0 { None } else { Some(random.f64() < score) };
            (place, random.u8(..=NO_UNIT), score, truth)
        })
        .collect()
}

fn noted(watched: &WatchedVersion, pairs: &[Pair]) -> Scores {
    let mut scores = Scores::default();
    for (place, bucket, score, truth) in pairs {
        scores.note(watched, *place, *bucket, *score, *truth);
    }
    scores
}

#[test]
fn counts_and_squares_are_those_of_the_pairs() {
    let watched = watched();
    let mut random = fastrand::Rng::with_seed(2);
    let pairs = random_pairs(4_000, &mut random);
    let scores = noted(&watched, &pairs);
    assert_eq!(scores.outputs().map(|(place, _)| place).collect::<Vec<_>>(), [1, 2]);
    for (place, scored) in scores.outputs() {
        let own = || pairs.iter().filter(move |pair| pair.0 == place);
        let of = |truth: Option<bool>| own().filter(|pair| pair.3 == truth).count() as u64;
        let found = (scored.labelled(), scored.positives(), scored.unusable());
        assert_eq!(found, (of(Some(true)) + of(Some(false)), of(Some(true)), of(None)));
        for bucket in 0..SCORE_BUCKETS {
            let own = || own().filter(|pair| usize::from(pair.1) == bucket);
            let mut errors = SquaredErrors::default();
            for (_, _, score, truth) in own() {
                if let Some(truth) = truth {
                    errors.add(*score, *truth);
                }
            }
            assert_eq!(scored.errors(bucket), errors);
            let grid = watched.series[place].scores.as_ref().expect("an output");
            for (cell, count) in scored.bucket(bucket).iter().enumerate() {
                let of_cell = |pair: &&Pair| {
                    let truth = pair.3.map(usize::from);
                    truth.zip(grid.cell(pair.2)).map(|(truth, at)| truth * grid.cells() + at) == Some(cell)
                };
                assert_eq!(*count, own().filter(of_cell).count() as u64, "cell {cell} of bucket {bucket}");
            }
        }
    }
}

#[test]
fn any_cut_adds_up_to_the_same_and_survives_its_record() {
    let watched = watched();
    let mut random = fastrand::Rng::with_seed(3);
    let pairs = random_pairs(3_000, &mut random);
    let whole = noted(&watched, &pairs);
    let (mut sum, mut records) = (Scores::default(), Vec::new());
    for part in pairs.chunks(170) {
        let scores = noted(&watched, part).record(&watched);
        let bytes = RoleCount { scores, ..RoleCount::default() }.encode_to_vec();
        let back = RoleCount::decode(bytes.as_slice()).expect("a record");
        assert!(sum.add(&watched, &back.scores));
        records = Scores::sum_of_records(&watched, [&records, &back.scores]);
    }
    assert_eq!((&sum, records), (&whole, whole.record(&watched)));
    assert_eq!(sum.bytes(), Scores::most_bytes(&watched));
    assert!(sum.bytes() < 80_000, "{} bytes", sum.bytes());
}

#[test]
fn only_scores_of_numeric_outputs_are_counted_and_a_score_that_is_no_number_is_unusable() {
    let watched = watched();
    let scores = noted(&watched, &[(0, 0, 1.0, Some(true)), (9, 0, 1.0, Some(true))]);
    assert_eq!((scores.record(&watched), scores.bytes()), (vec![], 0));
    let scores = noted(&watched, &[(2, 200, f64::INFINITY, Some(true)), (2, 0, f64::NAN, Some(true))]);
    let (_, scored) = scores.outputs().next().expect("an output");
    assert_eq!((scored.labelled(), scored.positives(), scored.unusable()), (1, 1, 1));
    assert_eq!(scored.bucket(usize::from(NO_UNIT)).last(), Some(&1), "an unknown bucket is no unit's");
}

#[test]
fn records_without_scores_are_read_as_before() {
    // stable = 3, as it was written before there were scores.
    let roles = RoleCount::decode([0x28, 3].as_slice()).expect("a record");
    assert_eq!(roles, RoleCount { stable: 3, ..RoleCount::default() });
    let (watched, mut scores) = (watched(), Scores::default());
    assert!(scores.add(&watched, &roles.scores));
    assert_eq!((&scores, scores.record(&watched), scores.bytes()), (&Scores::default(), vec![], 0));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let watched = watched();
    let mut scores = noted(&watched, &[(2, 3, 0.25, Some(true)), (2, 3, 2.0, Some(false))]);
    let good = scores.record(&watched).remove(0);
    let square = |units: i128| units.to_le_bytes().to_vec();
    assert_eq!((good.probabilities.as_slice(), &good.squares), ([3, 1].as_slice(), &square(9 << 58)));
    let with = |change: &dyn Fn(&mut ScoreCounts)| {
        let mut counts = good.clone();
        change(&mut counts);
        counts
    };
    let wrong = [
        with(&|one| one.output = "x".to_owned()),
        with(&|one| one.output = "many".to_owned()),
        with(&|one| one.grid_hash ^= 1),
        with(&|one| one.cells = vec![33 * 2 * 11, 1]),
        with(&|one| one.cells = vec![0]),
        with(&|one| one.cells = vec![0, u64::MAX, 0, u64::MAX]),
        with(&|one| one.cells.extend([0, MAX_COUNT])),
        with(&|one| one.cells = vec![0, 1]),
        with(&|one| one.probabilities = vec![33, 1]),
        with(&|one| one.probabilities = vec![3, 3]),
        with(&|one| one.probabilities = vec![4, 1]),
        with(&|one| one.probabilities = vec![]),
        with(&|one| one.squares = vec![]),
        with(&|one| one.squares.push(0)),
        with(&|one| one.squares.extend([0; 16])),
        with(&|one| one.squares = square((1 << 62) + 1)),
        with(&|one| one.squares = square(-1)),
    ];
    for held in [scores.clone(), Scores::default()] {
        for wrong in &wrong {
            let mut after = held.clone();
            assert!(!after.add(&watched, std::slice::from_ref(wrong)), "{wrong:?}");
            assert_eq!(after, held);
        }
    }
    let full = with(&|one| {
        (one.cells, one.unusable) = (vec![0, MAX_COUNT - 2], u64::MAX);
        (one.probabilities, one.squares) = (vec![], vec![]);
    });
    assert!(scores.add(&watched, &[full]));
    scores.note(&watched, 2, 0, 0.5, Some(true));
    scores.note(&watched, 2, 0, 0.5, None);
    let (_, scored) = scores.outputs().next().expect("an output");
    assert_eq!((scored.labelled(), scored.positives(), scored.unusable()), (MAX_COUNT, 1, MAX_COUNT));
    assert!(Scores::default().add(&watched, &scores.record(&watched)), "it stays a record");
}
