use super::*;
use SetWeight::{Known, Unclear, Untold};

const MINUTE: i64 = 60_000;

fn told(changes: &[(i64, f64)]) -> Weights {
    let mut weights = Weights::default();
    for (since, canary_weight) in changes {
        weights.tell(WeightChange { since: *since, canary_weight: *canary_weight });
    }
    weights
}

/// Over the pane of one minute that starts at this minute.
fn over(weights: &Weights, minute: i64) -> SetWeight {
    weights.over(minute * MINUTE, (minute + 1) * MINUTE)
}

#[test]
fn a_pane_knows_its_weight_when_no_change_is_near() {
    assert_eq!(over(&Weights::default(), 5), Untold);
    // From minute 10 on; then in the middle of minute 20.
    let weights = told(&[(10 * MINUTE, 0.1), (20 * MINUTE + 30_000, 0.25)]);
    let known: Vec<SetWeight> = (8..25).map(|minute| over(&weights, minute)).collect();
    let mut expected = vec![Unclear; 3];
    expected.extend(vec![Known(0.1); 8]);
    expected.extend(vec![Unclear; 3]);
    expected.extend(vec![Known(0.25); 3]);
    assert_eq!(known, expected);
}

#[test]
fn a_change_is_near_up_to_sixty_seconds_to_either_side() {
    let weights = told(&[(0, 0.1), (1_000_000, 0.2)]);
    let of = |start: i64| weights.over(start, start + 1_000);
    assert_eq!([of(59_999), of(60_000)], [Unclear, Known(0.1)]);
    assert_eq!([of(939_000), of(939_001)], [Known(0.1), Unclear]);
    assert_eq!([of(1_059_999), of(1_060_000)], [Unclear, Known(0.2)]);
}

#[test]
fn the_order_of_telling_does_not_matter_and_the_last_word_on_a_moment_counts() {
    let changes = [(10 * MINUTE, 0.1), (20 * MINUTE, 0.25), (30 * MINUTE, 0.5)];
    let in_order = told(&changes);
    for order in [[2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
        assert_eq!(told(&order.map(|place: usize| changes[place])), in_order);
    }
    assert_eq!(told(&[changes[0], changes[1], changes[2], changes[1], changes[1]]), in_order);
    let corrected = told(&[changes[0], (20 * MINUTE, 0.3), changes[2], changes[1]]);
    assert_eq!(corrected, in_order);
}

#[test]
fn a_weight_told_again_and_again_is_one_weight_and_takes_little() {
    let every_ten_seconds: Vec<(i64, f64)> = (0..10_000).map(|n| (n * 10_000, 0.1)).collect();
    let mut weights = told(&every_ten_seconds);
    assert_eq!(weights.changes().len(), 2);
    assert!((1..1_600).all(|minute| over(&weights, minute) == Known(0.1)));
    // A change that is told late ends where the weight was told again.
    weights.tell(WeightChange { since: 50_000_005, canary_weight: 0.9 });
    assert_eq!(weights.at(99_989_999), Some(0.9));
    assert_eq!(weights.at(99_990_000), Some(0.1));
}

#[test]
fn only_the_newest_changes_are_kept_and_nothing_is_known_before_them() {
    let steps: Vec<(i64, f64)> = (0..100).map(|n| (n * 10 * MINUTE, n as f64 / 100.0)).collect();
    let weights = told(&steps);
    assert_eq!(weights.changes().len(), MAX_CHANGES);
    let first = 100 - MAX_CHANGES as i64;
    assert_eq!(over(&weights, 10 * first - 5), Unclear);
    assert_eq!(over(&weights, 10 * first + 5), Known(first as f64 / 100.0));
    assert_eq!(over(&weights, 995), Known(0.99));
    // An older one comes too late.
    let mut again = weights.clone();
    again.tell(WeightChange { since: 5 * MINUTE, canary_weight: 0.5 });
    assert_eq!(again, weights);
    assert_eq!(Weights::restore(weights.changes()), weights);
}

#[test]
fn times_at_the_ends_of_what_is_possible_do_no_harm() {
    let weights = told(&[(i64::MIN, 0.1), (i64::MAX - 1, 0.2)]);
    assert_eq!(weights.over(i64::MIN, i64::MAX), Unclear);
    assert_eq!(weights.over(0, 1), Known(0.1));
    assert_eq!(weights.at(0), Some(0.1));
}
