//! The demo's model traffic: inference events of both arms, seeded, and what goes wrong in them.

use super::model::{self, CANARY, Features, MODEL, Predictions, STABLE};
use crate::event::EventTime;
use clap::ValueEnum;
use fastrand::Rng;
use serde::Serialize;

/// What happens to the traffic after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Scenario {
    /// The canary starts to answer differently; what it is asked stays the same. Ends in a rollback
    #[default]
    ModelRegression,
    /// One feature of the canary alone comes in another unit. Ends in a pause
    BrokenFeature,
    /// Two features move in both arms alike. Ends in an alert and `hold`
    UpstreamDrift,
    /// Nothing happens. Ends in `continue`
    Healthy,
}

impl Scenario {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Scenario::ModelRegression => "model-regression",
            Scenario::BrokenFeature => "broken-feature",
            Scenario::UpstreamDrift => "upstream-drift",
            Scenario::Healthy => "healthy",
        }
    }
}

/// One event for the source topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficEvent {
    pub partition: i32,
    /// JSON, one object.
    pub payload: Vec<u8>,
}

/// What the traffic is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrafficOptions {
    pub seed: u64,
    pub scenario: Scenario,
    /// Event time of the first event, milliseconds since 1970.
    pub start_ms: i64,
    /// Event time from which the scenario has changed the traffic, milliseconds since 1970.
    pub change_ms: i64,
    /// Partitions of the source topic, at least 1; events go round them.
    pub partitions: i32,
}

/// A seeded generator of events: the same options and calls give the same bytes.
#[derive(Debug)]
pub struct Traffic {
    options: TrafficOptions,
    rng: Rng,
    canary_weight: f64,
    /// Event time up to which events were made.
    until_ms: i64,
    made: u64,
}

#[derive(Serialize)]
struct Event<'a> {
    request_id: String,
    timestamp: String,
    model: &'a str,
    model_version: &'a str,
    role: &'a str,
    features: &'a Features,
    predictions: &'a Predictions,
}

impl Traffic {
    pub fn new(options: TrafficOptions, canary_weight: f64) -> Traffic {
        let rng = Rng::with_seed(options.seed);
        Traffic { options, rng, canary_weight, until_ms: options.start_ms, made: 0 }
    }

    /// Sets the share of requests that the canary answers, 0 to 1.
    pub fn set_canary_weight(&mut self, weight: f64) {
        self.canary_weight = weight.clamp(0.0, 1.0);
    }

    /// Makes `count` events, their times spread evenly from the last batch's end up to `now_ms`.
    pub fn next_batch(&mut self, now_ms: i64, count: usize) -> Vec<TrafficEvent> {
        let (from, length) = (self.until_ms, (now_ms - self.until_ms).max(0));
        self.until_ms = from + length;
        (0..count).map(|index| self.event(from + length * index as i64 / count as i64)).collect()
    }

    fn event(&mut self, time_ms: i64) -> TrafficEvent {
        let canary = self.rng.f64() < self.canary_weight;
        let (features, predictions) = self.request(time_ms, canary);
        let event = Event {
            request_id: format!("{:016x}", self.rng.u64(..)),
            timestamp: EventTime(time_ms).to_rfc3339(),
            model: MODEL,
            model_version: if canary { CANARY } else { STABLE },
            role: if canary { "canary" } else { "stable" },
            features: &features,
            predictions: &predictions,
        };
        let payload = serde_json::to_vec(&event).expect("strings, booleans and numbers always become JSON");
        let partition = (self.made % self.options.partitions.max(1).unsigned_abs() as u64) as i32;
        self.made += 1;
        TrafficEvent { partition, payload }
    }

    /// One request as the scenario has it at this moment, and its answer. A model answers what it is asked:
    /// a broken or moved feature reaches it too.
    fn request(&mut self, time_ms: i64, canary: bool) -> (Features, Predictions) {
        let mut features = Features::draw(&mut self.rng);
        let changed = time_ms >= self.options.change_ms;
        match self.options.scenario {
            Scenario::BrokenFeature if changed && canary => features.amount *= 100.0,
            Scenario::UpstreamDrift if changed => {
                features.amount *= 3.0;
                features.distance_km *= 4.0;
            }
            _ => {}
        }
        let broken = self.options.scenario == Scenario::ModelRegression && changed && canary;
        let predictions = if broken {
            model::broken_answer(&mut self.rng, &features)
        } else {
            model::answer(&mut self.rng, &features, canary)
        };
        (features, predictions)
    }
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
