use super::*;
use fastrand::Rng;

const PANE: i64 = 60_000;
const EVENTS: u64 = 500;
/// A split less likely than this is said to be wrong.
const LEVEL: f64 = 1e-3;

/// The split of a pane of [`EVENTS`] events whose canary gets `share` of them.
fn drawn(share: f64, random: &mut Rng) -> Split {
    let canary = (0..EVENTS).filter(|_| random.f64() < share).count() as u64;
    Split { canary, stable: EVENTS - canary }
}

/// Takes the panes of `numbers` in, all with this true share and this weight.
fn take(
    record: &mut RatioRecord,
    numbers: std::ops::Range<i64>,
    share: f64,
    weight: Weight,
    random: &mut Rng,
) {
    for number in numbers {
        let span = (number * PANE, (number + 1) * PANE);
        record.add((weight, sampled(1.0, 0)), span, drawn(share, random), number == 0);
    }
}

/// All of the canary's requests and this share of stable's.
fn sampled(stable: f64, read_at: i64) -> Sampled {
    Sampled { fractions: Sampling { stable, canary: 1.0 }, read_at: EventTime(read_at) }
}

fn p_value(record: &RatioRecord, weight: Weight) -> f64 {
    record.test(weight).expect("a weight was known").p_value
}

fn configured(share: f64, read_at: i64) -> Weight {
    Weight::Configured { share, read_at: EventTime(read_at) }
}

const RAMP: [f64; 3] = [0.1, 0.25, 0.5];

#[test]
fn a_ramp_that_is_told_never_fires_and_one_that_is_not_does() {
    let (mut told_fires, mut untold_fires) = (0, 0);
    for seed in 0..50 {
        let mut random = Rng::with_seed(seed);
        let (mut told, mut untold) = (RatioRecord::default(), RatioRecord::default());
        for (step, share) in (0_i64..).zip(RAMP) {
            let from = 60 * step;
            let weight = if step == 0 { Weight::Told(share) } else { Weight::Unclear };
            // The two panes around a change.
            take(&mut told, from..from + 2, share, weight, &mut random);
            take(&mut told, from + 2..from + 60, share, Weight::Told(share), &mut random);
            take(&mut untold, from..from + 60, share, Weight::Told(RAMP[0]), &mut random);
        }
        told_fires += u32::from(p_value(&told, Weight::Told(0.5)) < LEVEL);
        untold_fires += u32::from(p_value(&untold, Weight::Told(0.1)) < LEVEL);
    }
    assert_eq!((told_fires, untold_fires), (0, 50));
}

#[test]
fn a_wrong_split_fires_at_any_step_and_its_sentence_has_the_averages() {
    for (wrong, seed) in [(0, 1), (1, 2), (2, 3)] {
        let (mut record, mut random) = (RatioRecord::default(), Rng::with_seed(seed));
        for (step, share) in RAMP.into_iter().enumerate() {
            let truth = if step == wrong { share + 0.05 } else { share };
            let from = 60 * step as i64;
            take(&mut record, from..from + 60, truth, Weight::Told(share), &mut random);
        }
        let test = record.test(Weight::Told(0.5)).expect("a weight was known");
        assert!(test.p_value < LEVEL && test.changed, "{wrong}: {test:?}");
        let counted = [58.0, 60.0, 60.0];
        let set = RAMP.iter().zip(counted).map(|(share, panes)| share * panes).sum::<f64>() / 178.0;
        assert!((test.expected - set).abs() < 1e-9, "{wrong}: {test:?}");
        assert!((test.share - set - 0.05 / 3.0).abs() < 0.006, "{wrong}: {test:?}");
    }
}

#[test]
fn panes_whose_weight_is_unclear_or_leaves_an_arm_without_traffic_are_left_out() {
    let (mut record, mut random) = (RatioRecord::default(), Rng::with_seed(4));
    take(&mut record, 0..20, 0.1, Weight::Told(0.1), &mut random);
    let before = record;
    for weight in [Weight::Unclear, Weight::Unknown, Weight::Told(0.0), Weight::Told(1.0)] {
        take(&mut record, 20..40, 0.9, weight, &mut random);
        assert_eq!(record, before, "{weight:?}");
    }
    assert_eq!(p_value(&record, Weight::Unclear), p_value(&record, Weight::Told(0.1)), "it stands meanwhile");
    assert_eq!(record.test(Weight::Unknown), None, "nobody vouches for it any more");
    assert_eq!(RatioRecord::default().test(Weight::Told(0.1)), None);
}

#[test]
fn the_panes_in_which_a_rollout_begins_are_left_out() {
    for weight in [Weight::Told(0.1), configured(0.1, i64::MAX)] {
        let mut record = RatioRecord::default();
        // The canary is there for the last seconds of the first pane only.
        for (number, canary) in [(0, 2), (1, 60)] {
            let span = (number * PANE, (number + 1) * PANE);
            let split = Split { canary, stable: 2_000 - canary };
            record.add((weight, sampled(1.0, 0)), span, split, number == 0);
        }
        let test = record.test(weight).expect("a weight is known");
        assert_eq!((test.p_value, test.share, test.expected), (1.0, 0.0, 0.0), "{weight:?}");
        take(&mut record, 2..30, 0.1, weight, &mut Rng::with_seed(5));
        let test = record.test(weight).expect("a weight is known");
        assert!(test.p_value > 0.5 && (test.share - 0.1).abs() < 0.01 && !test.changed, "{test:?}");
    }
}

#[test]
fn a_configured_weight_that_changes_counts_from_a_minute_after_it_was_read() {
    let (mut record, mut random) = (RatioRecord::default(), Rng::with_seed(6));
    take(&mut record, 0..30, 0.1, configured(0.1, 0), &mut random);
    // Read in pane 40; what is judged until then was served before.
    let changed = configured(0.25, 40 * PANE + 20_000);
    take(&mut record, 30..40, 0.1, changed, &mut random);
    take(&mut record, 40..42, 0.17, changed, &mut random);
    assert!(p_value(&record, changed) > 0.5, "{record:?}");
    take(&mut record, 42..80, 0.25, changed, &mut random);
    assert!(p_value(&record, changed) > 0.5, "{record:?}");
    let counted = record.test(changed).expect("a weight is known").expected;
    assert!((counted - (0.1 * 28.0 + 0.25 * 38.0) / 66.0).abs() < 1e-9, "{counted}");
    // A restart reads the same weight later: nothing changes.
    take(&mut record, 80..85, 0.25, configured(0.25, 1_000 * PANE), &mut random);
    let more = record.test(changed).expect("a weight is known").expected;
    assert!(more > counted);
    take(&mut record, 85..120, 0.4, changed, &mut random);
    assert!(p_value(&record, changed) < LEVEL, "a wrong split fires: {record:?}");
}

#[test]
fn what_was_stored_before_there_were_totals_goes_on() {
    let stored = r#"{"closed":0.0,"share":0.1,"canary":300,"stable":1700,"largest":12.5}"#;
    let mut record: RatioRecord = serde_json::from_str(stored).expect("as it was stored");
    let test = record.test(Weight::Told(0.1)).expect("a weight was known");
    assert_eq!((test.share, test.changed), (0.15, false));
    assert!((test.expected - 0.1).abs() < 1e-12 && test.p_value < LEVEL);
    record.add(
        (Weight::Told(0.1), sampled(1.0, 0)),
        (PANE, 2 * PANE),
        Split { canary: 0, stable: 1_000 },
        false,
    );
    let test = record.test(Weight::Told(0.1)).expect("a weight was known");
    assert!((test.share - 0.1).abs() < 1e-12 && (test.expected - 0.1).abs() < 1e-12 && !test.changed);
}

#[test]
fn arms_that_are_sampled_differently_are_held_against_what_that_lets_expect() {
    let weight = Weight::Told(0.1);
    let tenth = sampled(0.1, 40 * PANE + 20_000);
    let (mut record, mut random) = (RatioRecord::default(), Rng::with_seed(7));
    let mut take = |record: &mut RatioRecord, numbers: std::ops::Range<i64>, share: f64, sampled: Sampled| {
        for number in numbers {
            let span = (number * PANE, (number + 1) * PANE);
            record.add((weight, sampled), span, drawn(share, &mut random), number == 0);
        }
    };
    // Stored before there was any sampling; all that is wrong until now is that nobody said so.
    let stored = r#"{"closed":0.0,"share":0.1,"canary":1050,"stable":950,"largest":120.5}"#;
    record.clone_from(&serde_json::from_str(stored).expect("a record"));
    // The reload and the producers do not change in one moment.
    take(&mut record, 40..42, 0.3, tenth);
    assert_eq!(record.test(weight).expect("a weight is known").p_value, 1.0, "it begins anew");
    take(&mut record, 42..80, 0.1 / 0.19, tenth);
    let found = record.test(weight).expect("a weight is known");
    assert!(found.p_value > 0.5 && found.sampled && !found.changed, "{found:?}");
    assert!((found.expected - 0.1 / 0.19).abs() < 1e-9, "{found:?}");
    // A restart reads the same fractions later.
    let before = record.all;
    take(&mut record, 80..90, 0.1 / 0.19, sampled(0.1, 1_000 * PANE));
    assert!(record.all > before);
    take(&mut record, 90..120, 0.1, tenth);
    assert!(p_value(&record, weight) < LEVEL, "all are sent where a tenth is said: {record:?}");
    take(&mut record, 120..125, 0.1, sampled(1.0, 118 * PANE));
    let found = record.test(weight).expect("a weight is known");
    assert!(found.p_value > 0.5 && !found.sampled, "all are sent, and it is said: {found:?}");
}
