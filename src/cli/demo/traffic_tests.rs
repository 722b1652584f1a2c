use super::*;
use serde_json::Value;

const START: i64 = 1_790_000_000_000;
const CHANGE: i64 = START + 10_000;

struct Sample {
    canary: bool,
    event: Value,
}

/// 20 s of 2,000 events/s: half of it before the change, half after.
fn halves(scenario: Scenario, seed: u64) -> (Vec<Sample>, Vec<Sample>) {
    let options = TrafficOptions { seed, scenario, start_ms: START, change_ms: CHANGE, partitions: 4 };
    let mut traffic = Traffic::new(options, 0.1);
    let mut half = |from: i64| -> Vec<Sample> {
        (1..=200)
            .flat_map(|batch| traffic.next_batch(from + batch * 50, 100))
            .map(|made| {
                let event: Value = serde_json::from_slice(&made.payload).expect("JSON");
                Sample { canary: event["role"] == "canary", event }
            })
            .collect()
    };
    (half(START), half(CHANGE))
}

fn values(samples: &[Sample], canary: bool, of: &str, name: &str) -> Vec<f64> {
    let arm = samples.iter().filter(|sample| sample.canary == canary);
    arm.map(|sample| sample.event[of][name].as_f64().expect("a number")).collect()
}

/// Two-sample Kolmogorov–Smirnov distance over sorted raw values.
fn ks(a: &[f64], b: &[f64]) -> f64 {
    let at = |values: &[f64], x: f64| {
        values.iter().filter(|value| **value <= x).count() as f64 / values.len() as f64
    };
    let step = a.len() / 500 + 1;
    a.iter().step_by(step).map(|x| (at(a, *x) - at(b, *x)).abs()).fold(0.0, f64::max)
}

/// Each value's rank in its version's own earlier answers, 0 to 1.
fn pit(values: &[f64], reference: &[f64]) -> Vec<f64> {
    let mut sorted = reference.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |value: &f64| sorted.partition_point(|x| x < value) as f64 / sorted.len() as f64;
    values.iter().map(rank).collect()
}

/// PIT-D between the arms after the change.
fn pit_d(before: &[Sample], after: &[Sample]) -> f64 {
    let arm = |canary| {
        let of = |samples| values(samples, canary, "predictions", "score");
        pit(&of(after), &of(before))
    };
    ks(&arm(true), &arm(false))
}

const NUMERIC: [&str; 8] = [
    "amount",
    "account_age_days",
    "distance_km",
    "hour",
    "payments_24h",
    "device_trust",
    "minutes_since_last",
    "merchant_risk",
];

/// The largest distance of a numeric feature between the arms.
fn inputs_apart(samples: &[Sample]) -> (f64, &'static str) {
    let apart = |name: &&'static str| {
        let arm = |canary| values(samples, canary, "features", name);
        (ks(&arm(true), &arm(false)), *name)
    };
    NUMERIC.iter().map(apart).max_by(|a, b| a.0.total_cmp(&b.0)).expect("eight features")
}

#[test]
fn events_have_the_shape_and_shares_that_the_demo_promises() {
    let (before, after) = halves(Scenario::Healthy, 7);
    let canary = before.iter().chain(&after).filter(|sample| sample.canary).count() as f64;
    assert!((canary / 40_000.0 - 0.1).abs() < 0.01, "{canary}");
    let event = &before[0].event;
    let features = event["features"].as_object().expect("an object");
    let count = |is: fn(&Value) -> bool| features.values().filter(|value| is(value)).count();
    assert_eq!((count(Value::is_number), count(Value::is_string), count(Value::is_boolean)), (8, 3, 1));
    assert!(event["predictions"]["score"].is_f64() && event["predictions"]["class"].is_string());
    assert!(
        before.iter().all(|s| (s.event["model_version"] == "v2") == s.canary && s.event["model"] == "fraud")
    );
    let scores = values(&before, true, "predictions", "score");
    assert!(scores.iter().all(|score| (0.0..1.0).contains(score)));
}

#[test]
fn times_are_spread_over_a_batch_and_partitions_are_filled_alike() {
    let options = TrafficOptions {
        seed: 7,
        scenario: Scenario::Healthy,
        start_ms: START,
        change_ms: CHANGE,
        partitions: 4,
    };
    let mut traffic = Traffic::new(options, 0.1);
    let batch = traffic.next_batch(START + 100, 100);
    for (index, made) in batch.iter().enumerate() {
        let event: Value = serde_json::from_slice(&made.payload).expect("JSON");
        assert_eq!(event["timestamp"], EventTime(START + index as i64).to_rfc3339());
        assert_eq!(made.partition, (index % 4) as i32);
    }
    assert!(traffic.next_batch(START + 50, 0).is_empty(), "a clock that goes back makes nothing");
    assert_eq!(traffic.next_batch(START + 50, 2).len(), 2);
}

#[test]
fn the_seed_decides_every_byte() {
    let bytes = |seed| {
        let options = TrafficOptions {
            seed,
            scenario: Scenario::ModelRegression,
            start_ms: START,
            change_ms: START + 50,
            partitions: 4,
        };
        Traffic::new(options, 0.5).next_batch(START + 100, 200)
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn the_weight_moves_the_canary() {
    let options = TrafficOptions {
        seed: 7,
        scenario: Scenario::Healthy,
        start_ms: START,
        change_ms: CHANGE,
        partitions: 4,
    };
    let mut traffic = Traffic::new(options, 1.0);
    let canaries = |batch: Vec<TrafficEvent>| {
        batch.iter().filter(|made| made.payload.windows(8).any(|part| part == b"\"canary\"")).count()
    };
    assert_eq!(canaries(traffic.next_batch(START + 100, 300)), 300);
    traffic.set_canary_weight(0.0);
    assert_eq!(canaries(traffic.next_batch(START + 200, 300)), 0);
}

#[test]
fn healthy_traffic_stays_as_it_is_and_the_versions_differ_by_design_only() {
    let (before, after) = halves(Scenario::Healthy, 7);
    for canary in [false, true] {
        for name in NUMERIC {
            let of = |samples| values(samples, canary, "features", name);
            assert!(ks(&of(&after), &of(&before)) < 0.07, "{name}");
        }
        let of = |samples| values(samples, canary, "predictions", "score");
        assert!(ks(&of(&after), &of(&before)) < 0.07);
    }
    assert!(pit_d(&before, &after) < 0.08);
    let raw = |canary| values(&after, canary, "predictions", "score");
    assert!(ks(&raw(true), &raw(false)) > 0.2, "a recalibrated version has other scores");
}

#[test]
fn a_model_regression_moves_the_canarys_answers_and_no_input() {
    let (before, after) = halves(Scenario::ModelRegression, 7);
    assert!(pit_d(&before, &after) >= 0.3, "{}", pit_d(&before, &after));
    assert!(inputs_apart(&after).0 < 0.08, "{:?}", inputs_apart(&after));
    let stable = |samples| values(samples, false, "predictions", "score");
    assert!(ks(&stable(&after), &stable(&before)) < 0.05);
}

#[test]
fn a_broken_feature_is_broken_in_the_canary_only() {
    let (before, after) = halves(Scenario::BrokenFeature, 7);
    let (apart, name) = inputs_apart(&after);
    assert!(apart > 0.8 && name == "amount", "{apart} {name}");
    let amounts = |samples, canary| values(samples, canary, "features", "amount");
    assert!(ks(&amounts(&after, false), &amounts(&before, false)) < 0.05);
    let others = NUMERIC.iter().filter(|other| **other != "amount");
    for other in others {
        let arm = |canary| values(&after, canary, "features", other);
        assert!(ks(&arm(true), &arm(false)) < 0.07, "{other}");
    }
}

#[test]
fn upstream_drift_moves_both_arms_alike() {
    let (before, after) = halves(Scenario::UpstreamDrift, 7);
    for canary in [false, true] {
        for name in ["amount", "distance_km"] {
            let of = |samples| values(samples, canary, "features", name);
            assert!(ks(&of(&after), &of(&before)) > 0.3, "{name}");
        }
        let of = |samples| values(samples, canary, "predictions", "score");
        assert!(ks(&of(&after), &of(&before)) > 0.2);
    }
    assert!(inputs_apart(&after).0 < 0.08);
    assert!(pit_d(&before, &after) < 0.08);
}
