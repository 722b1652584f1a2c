//! schemas/event.schema.json and the decoder accept the same events.

use serde_json::{Value, json};
use std::sync::Arc;
use tidegate::baseline::{Baseline, Rollout, Watch, WatchedModel};
use tidegate::decode::{Arrival, Decoder, TimeBounds};
use tidegate::event::{EventTime, ModelId};

fn decoder() -> Decoder {
    let baseline = |version: &str| {
        let (model, version) = ("fraud".to_owned(), version.to_owned());
        let (rows, created, held_out, series) = (0, EventTime(0), false, vec![]);
        Arc::new(Baseline { model, version, rows, created, held_out, times: None, series })
    };
    let id = ModelId { namespace: "ml-prod".into(), name: "fraud".into() };
    let model = WatchedModel::new(id, Rollout::Auto, &[baseline("v2")]).expect("one baseline");
    let bounds = TimeBounds { max_future_ms: i64::MAX, max_past_ms: None };
    Decoder::new(Arc::new(Watch { models: vec![model] }), bounds)
}

#[test]
fn the_schema_and_the_decoder_accept_the_same_events() {
    let schema: Value =
        serde_json::from_str(include_str!("../../schemas/event.schema.json")).expect("the schema is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("the schema is a draft 2020-12 schema");
    let mut cases: Vec<(bool, Value)> =
        schema["examples"].as_array().expect("examples").iter().map(|one| (true, one.clone())).collect();
    let changes = [
        (true, json!({})),
        (true, json!({"features": {}})),
        (true, json!({"features": {"a": [1]}, "labels": null})),
        (true, json!({"unit": "user-77", "request_id": 12})),
        (true, json!({"unit": {"id": 77}, "request_id": [1]})),
        (true, json!({"role": 7, "namespace": "elsewhere", "timestamp": null})),
        (true, json!({"timestamp": 1795428000.5, "anything": {"else": []}})),
        (false, json!({"timestamp": true})),
        (false, json!({"features": null})),
        (false, json!({"features": [1]})),
        (false, json!({"predictions": 1})),
        (false, json!({"labels": "x"})),
        (false, json!({"model": null})),
        (false, json!({"model": 3})),
        (false, json!({"model_version": 2})),
    ];
    for (accepted, change) in changes {
        let mut event = json!({"model": "fraud", "model_version": "v2", "features": {"amount": 1}});
        for (key, value) in change.as_object().expect("an object") {
            event[key] = value.clone();
        }
        cases.push((accepted, event));
    }
    for list in [json!([]), json!(1), json!({"model": "fraud", "model_version": "v2"}), json!({})] {
        cases.push((false, list));
    }
    let arrival = Arrival { record_time: None, now: EventTime(1_795_428_000_000) };
    for (accepted, event) in cases {
        assert_eq!(validator.is_valid(&event), accepted, "schema: {event}");
        let decoded = decoder().push(event.to_string().as_bytes(), arrival);
        assert_eq!(decoded.is_ok(), accepted, "decoder: {event}: {decoded:?}");
    }
}
