//! What a report says of labelled scores is what a look at every pair of them says.

use super::fixture::{arm, judge, watched};
use super::report::{AucReport, ScoreReport};
use super::streaks::Streaks;
use super::verdict::{Thresholds, VerdictRules};
use super::window::ModelWindow;
use crate::baseline::WatchedModel;
use crate::event::{EventTime, NO_UNIT};
use crate::judge::fixture::HEALTHY;
use crate::stats::normal::two_sided;
use fastrand::Rng;

/// The place of `score` among the fixture's series: 0 to 1 in v1, 0 to 2 in v2, 400 values in training.
const SCORE: usize = 4;

/// The bucket of the unit, the score, the label.
type Pair = (u8, f64, Option<bool>);

/// Reports of a window of these labelled scores of v1 (stable) and v2 (canary).
fn reports(watched: &WatchedModel, pairs: [&[Pair]; 2]) -> [Vec<ScoreReport>; 2] {
    let mut random = Rng::with_seed(1);
    let mut arms: Vec<_> = (0..2).map(|version| arm(watched, version, HEALTHY, &mut random)).collect();
    for (version, (arm, pairs)) in arms.iter_mut().zip(pairs).enumerate() {
        for (bucket, score, truth) in pairs {
            arm.scores.note(&watched.versions[version], SCORE, *bucket, *score, *truth);
        }
    }
    let start = EventTime(0);
    let end = EventTime(60_000);
    let set_weight = Default::default();
    let window = ModelWindow { model: 0, start, end, scale: 1, revised: false, set_weight, arms };
    let rules = VerdictRules::Thresholds(Thresholds::default());
    let (_, reports) = judge(watched, &window, &rules, &mut Streaks::default());
    let mut scores = reports.into_iter().map(|report| report.scores);
    [scores.next().expect("stable"), scores.next().expect("the canary")]
}

fn of_stable(pairs: &[Pair]) -> ScoreReport {
    reports(&watched(true), [pairs, &[]])[0].remove(0)
}

/// P(a positive is higher) + ½·P(the same), over all pairs.
fn naive_auc(pairs: &[Pair]) -> f64 {
    let of = |wanted: bool| pairs.iter().filter(move |pair| pair.2 == Some(wanted)).map(|pair| pair.1);
    let order =
        |high: f64, low: f64| f64::from(u8::from(high > low)) + 0.5 * f64::from(u8::from(high == low));
    let ordered: f64 = of(true).map(|high| of(false).map(|low| order(high, low)).sum::<f64>()).sum();
    ordered / (of(true).count() * of(false).count()) as f64
}

fn naive_brier(pairs: &[Pair]) -> f64 {
    let squares = pairs.iter().filter_map(|(_, p, truth)| Some((p - f64::from(u8::from((*truth)?))).powi(2)));
    squares.clone().sum::<f64>() / squares.count() as f64
}

/// `z · SE` by deleting each bucket of a unit, of the scores with a unit.
fn naive_reach(pairs: &[Pair], statistic: impl Fn(&[Pair]) -> f64) -> f64 {
    let without = |bucket: Option<u8>| -> Vec<Pair> {
        let stays = |pair: &&Pair| pair.0 < NO_UNIT && Some(pair.0) != bucket;
        pairs.iter().filter(stays).copied().collect()
    };
    let values: Vec<f64> = (0..NO_UNIT).map(|bucket| statistic(&without(Some(bucket)))).collect();
    let mean = values.iter().sum::<f64>() / 32.0;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    two_sided(0.05) * (31.0 / 32.0 * squares).sqrt()
}

/// Calibrated scores; users of one bucket are alike. `levels`: how many scores there are.
fn random_pairs(count: usize, levels: u32, random: &mut Rng) -> Vec<Pair> {
    (0..count)
        .map(|_| {
            let bucket = random.u8(..=NO_UNIT);
            let own = 0.5 * random.f64() + f64::from(bucket) / 66.0;
            let score = (own * f64::from(levels)).floor() / f64::from(levels);
            let truth = (random.u8(..20) != 0).then_some(random.f64() < score);
            (bucket, score, truth)
        })
        .collect()
}

fn near(found: Option<f64>, expected: f64) {
    let found = found.expect("a number");
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn auc_and_brier_score_are_those_of_the_pairs_and_intervals_those_of_units() {
    let mut random = Rng::with_seed(2);
    for count in [600, 1_500] {
        let pairs = random_pairs(count, 400, &mut random);
        let found = of_stable(&pairs);
        let of = |truth: Option<bool>| pairs.iter().filter(|pair| pair.2 == truth).count() as u64;
        assert_eq!((found.output.as_str(), found.answers), ("score", 2_000));
        assert_eq!(
            (found.labelled, found.positives, found.unusable),
            (count as u64 - of(None), of(Some(true)), of(None))
        );
        let brier = found.brier.expect("probabilities");
        near(Some(brier.value), naive_brier(&pairs));
        let reach = naive_reach(&pairs, naive_brier);
        near(brier.lower, brier.value - reach);
        near(brier.upper, brier.value + reach);
        let auc = found.auc.expect("both labels");
        let (exact, half) = (naive_auc(&pairs), auc.bracket.expect("more scores than cuts") / 2.0);
        assert!((auc.value - exact).abs() <= half + 1e-12 && half < 0.02, "{auc:?}, exactly {exact}");
        let (lower, upper) = (auc.lower.expect("units"), auc.upper.expect("units"));
        assert!(((auc.value - lower) - (upper - auc.value)).abs() < 1e-12, "{auc:?}");
        let reach = naive_reach(&pairs, naive_auc);
        assert!(((upper - lower) / 2.0 - half - reach).abs() < 0.1 * reach, "{auc:?}, {reach}");
    }
}

/// Where the scores that are labelled all stand on cuts, the AUC has no bracket, and its interval is exact too.
#[test]
fn of_scores_on_cuts_the_auc_is_exact() {
    let (mut random, watched) = (Rng::with_seed(3), watched(true));
    let cuts = [0.09, 0.12, 0.24, 0.27, 0.36, 0.48].map(|level| on_cut(&watched, level));
    let draw = |random: &mut Rng| {
        let place = random.usize(..6);
        (random.u8(..=NO_UNIT), cuts[place], Some(random.usize(..8) < place + 1))
    };
    let pairs: Vec<Pair> = (0..900).map(|_| draw(&mut random)).collect();
    let AucReport { value, lower, upper, bracket } = of_stable(&pairs).auc.expect("both labels");
    assert_eq!(bracket, None);
    near(Some(value), naive_auc(&pairs));
    let reach = naive_reach(&pairs, naive_auc);
    near(lower, value - reach);
    near(upper, value + reach);
}

/// The first score from `level` on that is a cut.
fn on_cut(watched: &WatchedModel, level: f64) -> f64 {
    let grid = watched.versions[0].series[SCORE].scores.as_ref().expect("a numeric output");
    let scores = (0..400).map(|step| f64::from(step) / 400.0);
    scores
        .filter(|score| *score >= level)
        .find(|score| grid.cell(*score).is_some_and(|cell| cell % 2 == 1))
        .expect("a cut")
}

#[test]
fn without_units_with_few_of_them_and_where_all_agree_there_is_no_interval() {
    let mut random = Rng::with_seed(4);
    let pairs = random_pairs(1_000, 400, &mut random);
    let in_buckets = |buckets: u8| -> Vec<Pair> {
        let of = |(bucket, score, truth): &Pair| {
            (if buckets == 0 { NO_UNIT } else { bucket % buckets }, *score, *truth)
        };
        pairs.iter().map(of).collect()
    };
    for (buckets, told) in [(0, false), (1, false), (15, false), (16, true), (32, true)] {
        let found = of_stable(&in_buckets(buckets));
        let (auc, brier) = (found.auc.expect("both labels"), found.brier.expect("probabilities"));
        let ends = [auc.lower, auc.upper, brier.lower, brier.upper].map(|end| end.is_some());
        assert_eq!(ends, [told; 4], "{buckets} buckets");
        near(Some(brier.value), naive_brier(&pairs));
    }
    let certain: Vec<Pair> = (0..64).map(|n| (n % 32, f64::from(n % 2), Some(n % 2 == 1))).collect();
    let found = of_stable(&certain);
    let (auc, brier) = (found.auc.expect("both labels"), found.brier.expect("probabilities"));
    assert_eq!((auc.value, auc.lower, auc.upper, auc.bracket), (1.0, None, None, None));
    assert_eq!((brier.value, brier.lower, brier.upper), (0.0, None, None));
}

#[test]
fn what_is_no_probability_leaves_the_auc_and_one_label_leaves_the_brier_score() {
    let found = of_stable(&[(0, 0.5, Some(true)), (1, 1.5, Some(true)), (2, -0.5, Some(false))]);
    assert_eq!((found.auc.map(|auc| auc.value), found.brier), (Some(1.0), None));
    let found = of_stable(&[(0, 0.5, Some(true)), (1, 1.0, Some(true)), (1, 0.9, None)]);
    assert_eq!((found.auc, found.brier.map(|brier| brier.value)), (None, Some(0.125)));
    let found = of_stable(&[(0, 0.5, None)]);
    assert_eq!((found.labelled, found.unusable, found.auc, found.brier), (0, 1, None, None));
}

#[test]
fn a_canary_is_compared_with_stable_and_stable_with_nothing() {
    let (mut random, watched) = (Rng::with_seed(5), watched(true));
    let [stable, canary] = [(); 2].map(|()| random_pairs(1_200, 400, &mut random));
    // The canary's labels are what a worse model would have got.
    let worse =
        |(bucket, score, truth): &Pair| (*bucket, *score, truth.map(|truth| truth ^ (random.u8(..4) == 0)));
    let canary: Vec<Pair> = canary.iter().map(worse).collect();
    let [of_stable, of_canary] = reports(&watched, [&stable, &canary]);
    let (own, other) = (&of_canary[0], &of_stable[0]);
    assert_eq!((other.auc_difference, other.brier_difference), (None, None));
    let (auc, brier) = (own.auc_difference.expect("both"), own.brier_difference.expect("both"));
    let [a, b] = [own, other].map(|one| one.auc.expect("both labels"));
    near(Some(auc.value), a.value - b.value);
    let ends =
        |one: AucReport| [one.value - one.lower.expect("units"), one.upper.expect("units") - one.value];
    near(Some(auc.value - auc.lower), ends(a)[0].hypot(ends(b)[1]));
    near(Some(auc.upper - auc.value), ends(a)[1].hypot(ends(b)[0]));
    assert!(auc.upper < 0.0 && brier.lower > 0.0, "{auc:?} {brier:?}");
    let few: Vec<Pair> = canary.iter().map(|pair| (NO_UNIT, pair.1, pair.2)).collect();
    let [_, of_canary] = reports(&watched, [&stable, &few]);
    assert_eq!((of_canary[0].auc_difference, of_canary[0].brier_difference), (None, None));
}
