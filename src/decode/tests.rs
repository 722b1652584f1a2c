use super::*;
use crate::baseline::{Baseline, BaselineSeries, LabelJoin, Rollout, Watch, WatchedModel};
use crate::cells::{Categories, Grid, NumericGrid, latency_cell};
use crate::event::{ModelId, NO_UNIT, SeriesKind, SeriesOf, bucket_of, unit_hash};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, UInt16Type};
use std::sync::Arc;

const NOW: i64 = 1_795_428_000_000;

fn series(of: SeriesOf, name: &str, kind: SeriesKind) -> Arc<BaselineSeries> {
    let grid = match kind {
        SeriesKind::Numeric => Grid::Numeric(NumericGrid::new(vec![0.0, 1.0])),
        SeriesKind::Categorical => Grid::Categorical(Categories::new(vec!["TH".into()], vec!["FR".into()])),
        SeriesKind::Boolean => Grid::Boolean,
    };
    let counts = vec![0; grid.cells()];
    let (missing, distinct, range) = (0, 0, None);
    let (name, grid) = (name.to_owned(), Arc::new(grid));
    Arc::new(BaselineSeries {
        name,
        of,
        kind,
        grid,
        counts,
        missing,
        distinct,
        range,
        traits: Default::default(),
    })
}

pub(super) const NAMESPACE: &str = "ml";
pub(super) const BOUNDS: TimeBounds = TimeBounds { max_future_ms: 60_000, max_past_ms: Some(3_600_000) };

/// A decoder for the series in the versions `v1` and `v2` of the model `fraud`.
pub(super) fn decoder_of(watched: &[(SeriesOf, &str, SeriesKind)]) -> Decoder {
    joining_decoder_of(watched, None)
}

/// As [`decoder_of`], for models whose labels are joined so.
pub(super) fn joining_decoder_of(
    watched: &[(SeriesOf, &str, SeriesKind)],
    labels: Option<LabelJoin>,
) -> Decoder {
    let baseline = |version: &str| Baseline {
        model: "fraud".into(),
        version: version.into(),
        rows: 0,
        created: EventTime(0),
        held_out: false,
        times: None,
        series: watched.iter().map(|(of, name, kind)| series(*of, name, *kind)).collect(),
    };
    let id = ModelId { namespace: NAMESPACE.into(), name: "fraud".into() };
    let baselines = ["v1", "v2"].map(|version| Arc::new(baseline(version)));
    let model = WatchedModel::new(id, Rollout::Auto, &baselines).expect("two baselines");
    Decoder::new(Arc::new(Watch { models: vec![WatchedModel { labels, ..model }] }), BOUNDS)
}

fn decoder() -> Decoder {
    decoder_of(&[
        (SeriesOf::Feature, "amount", SeriesKind::Numeric),
        (SeriesOf::Feature, "country", SeriesKind::Categorical),
        (SeriesOf::Feature, "is_new", SeriesKind::Boolean),
        (SeriesOf::Feature, "user.age", SeriesKind::Numeric),
        (SeriesOf::Prediction, "score", SeriesKind::Numeric),
    ])
}

pub(super) const ARRIVAL: Arrival = Arrival { record_time: Some(EventTime(NOW - 5)), now: EventTime(NOW) };

fn outcome(decoder: &mut Decoder, payload: &[u8]) -> Outcome {
    match decoder.push(payload, ARRIVAL) {
        Ok(_) => Outcome::Counted,
        Err(rejection) => rejection.outcome,
    }
}

pub(super) fn event(rest: &str) -> String {
    format!(r#"{{"model":"fraud","model_version":"v1",{rest}}}"#)
}

fn amount(features: &str) -> (Option<f64>, bool) {
    let mut decoder = decoder();
    decoder.push(event(&format!(r#""features":{features}"#)).as_bytes(), ARRIVAL).expect("an event");
    let column = &decoder.take()[0].columns[0];
    let values = column.array.as_primitive::<Float64Type>();
    (values.is_valid(0).then(|| values.value(0)), column.type_errors == [0])
}

#[test]
fn every_way_to_be_refused_has_its_outcome_and_leaves_no_row() {
    use Outcome::*;
    let deep = |levels: usize| {
        event(&format!(r#""features":{{}},"x":{}{}"#, "[".repeat(levels), "]".repeat(levels)))
    };
    let cases: Vec<(Outcome, String)> = vec![
        (Unreadable, String::new()),
        (Unreadable, "[1]".into()),
        (Unreadable, "7".into()),
        (Unreadable, event(r#""features":{"amount":1}"#) + "x"),
        (Unreadable, r#"{"model":"fraud","model_version":"v1","features":{"amount":1"#.into()),
        (Unreadable, r#"{"model_version":"v1","features":{}}"#.into()),
        (Unreadable, r#"{"model":"fraud","model_version":2,"features":{}}"#.into()),
        (Unreadable, event(r#""latency_ms":3"#)),
        (Unreadable, event(r#""features":null"#)),
        (Unreadable, event(r#""features":[1]"#)),
        (Unreadable, event(r#""features":{"amount":1},"predictions":3"#)),
        (Unreadable, event(r#""features":{"amount":1e400}"#)),
        (Unreadable, event(r#""features":{"amount":NaN}"#)),
        (Unreadable, deep(MAX_DEPTH)),
        (Unreadable, event(&format!(r#""features":{{}},"x":"{}""#, "x".repeat(MAX_EVENT_BYTES)))),
        (UnknownModel, r#"{"model":"x","model_version":"v1"}"#.into()),
        (UnknownVersion, r#"{"model":"fraud","model_version":"v9"}"#.into()),
        (TimeOutOfBounds, event(r#""timestamp":"yesterday","features":{"amount":1}"#)),
        (TimeOutOfBounds, event(r#""timestamp":true,"features":{"amount":1}"#)),
        (TimeOutOfBounds, event(r#""timestamp":1795428060001,"features":{"amount":1}"#)),
        (TimeOutOfBounds, event(r#""timestamp":1795424399999,"features":{"amount":1}"#)),
    ];
    let mut decoder = decoder();
    for (expected, payload) in cases {
        assert_eq!(outcome(&mut decoder, payload.as_bytes()), expected, "{:.80}", payload);
        assert_eq!(decoder.pending_rows(), 0);
    }
    assert_eq!(outcome(&mut decoder, b"{\"model\":\"\xff\"}"), Unreadable);
    assert_eq!(outcome(&mut decoder, deep(MAX_DEPTH - 1).as_bytes()), Counted);
}

#[test]
fn values_become_columns_and_wrong_types_are_counted_for_their_series() {
    let mut decoder = decoder();
    let first = r#""timestamp":"2026-11-23T10:00:00.1Z","role":"canary","namespace":"other",
        "features":{"user":{"age":4},"country":"FR","is_new":true,"amount":1.5,"z":[{}]},"predictions":{"score":2}"#;
    let accepted = decoder.push(event(first).as_bytes(), ARRIVAL).expect("an event");
    assert_eq!((accepted.role, accepted.time), (Some(Role::Canary), EventTime(NOW + 100)));
    assert!(accepted.foreign_namespace && accepted.moves_watermark);
    let second = r#""features":{"amount":"NaN","country":3,"is_new":null,"user":[1]}"#;
    let accepted = decoder.push(event(second).as_bytes(), ARRIVAL).expect("an event");
    assert_eq!((accepted.role, accepted.time), (None, EventTime(NOW - 5)));
    let labels = decoder.push(event(r#""labels":{"class":1}"#).as_bytes(), ARRIVAL).expect("an event");
    assert!(!labels.moves_watermark);
    assert_eq!(decoder.pending_rows(), 3);
    let tables = decoder.take();
    assert_eq!(tables.iter().map(|table| table.times.len()).collect::<Vec<_>>(), [2, 1]);
    let errors: Vec<usize> = tables[0].columns.iter().map(|column| column.type_errors.len()).collect();
    assert_eq!(errors, [1, 1, 0, 0]);
    assert!(tables[0].columns.iter().all(|column| column.array.null_count() == 1));
    assert_eq!(tables[0].columns[1].array.as_dictionary::<UInt16Type>().keys().value(0), 1);
    assert!(decoder.take().is_empty());
}

#[test]
fn a_unit_is_a_string_or_a_whole_number_and_the_request_takes_its_place() {
    let mut decoder = decoder();
    let bucket = |unit: &str| bucket_of(unit_hash(unit.as_bytes()));
    for (fields, expected) in [
        ("", NO_UNIT),
        (r#""unit":"user-77","#, bucket("user-77")),
        (r#""unit":77,"#, bucket("77")),
        (r#""unit":77.0,"#, bucket("77")),
        (r#""unit":"","#, bucket("")),
        (r#""request_id":"b7c1","#, bucket("b7c1")),
        (r#""unit":"user-77","request_id":"b7c1","#, bucket("user-77")),
        (r#""request_id":4711,"unit":"\u0075ser-77","#, bucket("user-77")),
        (r#""unit":null,"request_id":"b7c1","#, bucket("b7c1")),
        (r#""unit":{"id":77},"request_id":"b7c1","#, bucket("b7c1")),
        (r#""unit":0.5,"request_id":true,"#, NO_UNIT),
    ] {
        // The second and third time by its shape.
        for time in 0..3 {
            let text = event(&format!(r#"{fields}"features":{{}},"predictions":{{}}"#));
            let accepted = decoder.push(text.as_bytes(), ARRIVAL).expect("an event");
            assert_eq!(accepted.unit, expected, "{text}, {time}");
            let units: Vec<u8> = decoder.take().iter().map(|table| table.units.value(0)).collect();
            assert_eq!(units, [expected, expected], "{text}, {time}");
        }
    }
    assert!(decoder.speculated() > 18, "{}", decoder.speculated());
}

#[test]
fn an_answer_has_predictions_or_an_error_and_a_latency_is_a_number_from_zero_on() {
    let cell = |milliseconds| Latency::Cell(latency_cell(milliseconds).expect("a latency"));
    let mut decoder = decoder();
    for (fields, failed, latency) in [
        ("", false, Latency::None),
        (r#""error":null,"latency_ms":null,"#, false, Latency::None),
        (r#""error":false,"latency_ms":12.4,"#, false, cell(12.4)),
        (r#""error":0,"latency_ms":7,"#, false, cell(7.0)),
        (r#""error":"","latency_ms":0,"#, false, cell(0.0)),
        (r#""error":"timeout","latency_ms":-1,"#, true, Latency::Unusable),
        (r#""error":503,"latency_ms":"12","#, true, Latency::Unusable),
        (r#""error":true,"latency_ms":[1],"#, true, Latency::Unusable),
        (r#""error":{"code":3},"#, true, Latency::None),
        (r#""error":"\u0065","#, true, Latency::None),
    ] {
        for (part, has_predictions) in [(r#""features":{}"#, false), (r#""predictions":{}"#, true)] {
            // The second time by its shape.
            for time in 0..2 {
                let text = event(&format!("{fields}{part}"));
                let served = decoder.push(text.as_bytes(), ARRIVAL).expect("an event").served;
                let expected = Served { answered: failed || has_predictions, failed, latency };
                assert_eq!(served, expected, "{text}, {time}");
            }
        }
    }
    assert!(decoder.speculated() >= 20, "{}", decoder.speculated());
}

#[test]
fn the_last_of_equal_keys_wins() {
    assert_eq!(amount(r#"{"amount":1,"amount":2}"#), (Some(2.0), false));
    assert_eq!(amount(r#"{"amount":"x","amount":2}"#), (Some(2.0), false));
    assert_eq!(amount(r#"{"amount":1,"amount":"x"}"#), (None, true));
    assert_eq!(amount(r#"{"amount":1,"amount":null}"#), (None, false));
    assert_eq!(amount(r#"{"amount":18446744073709551615}"#), (Some(18446744073709551615.0), false));
}

#[test]
fn interleaved_versions_and_unknown_ones_go_where_they_belong() {
    let mut decoder = decoder();
    let text = |model: &str, version: &str| {
        format!(r#"{{"model":"{model}","model_version":"{version}","features":{{"amount":1}}}}"#)
    };
    for (model, version, expected) in [
        ("fraud", "v2", Outcome::Counted),
        ("fraud", "v1", Outcome::Counted),
        ("fraud", "v3", Outcome::UnknownVersion),
        ("churn", "v1", Outcome::UnknownModel),
        ("fraud", "v2", Outcome::Counted),
        ("fraud", "v2", Outcome::Counted),
    ] {
        assert_eq!(outcome(&mut decoder, text(model, version).as_bytes()), expected, "{model} {version}");
    }
    let rows: Vec<_> = decoder.take().iter().map(|one| (one.version.version, one.times.len())).collect();
    assert_eq!(rows, [(0, 1), (1, 3)]);
}

#[test]
fn gaps_are_null_wherever_they_stand() {
    let mut decoder = decoder();
    for features in [
        "{}",
        r#"{"is_new":true}"#,
        r#"{"amount":1,"country":"TH"}"#,
        r#"{"amount":"x","amount":null,"country":"TH","is_new":false}"#,
        r#"{"amount":[],"country":7}"#,
        r#"{"user":{"age":3}}"#,
        "{}",
    ] {
        decoder.push(event(&format!(r#""features":{features}"#)).as_bytes(), ARRIVAL).expect("an event");
    }
    let table = decoder.take().remove(0);
    let valid = |column: usize| {
        let array = &table.columns[column].array;
        (0..array.len()).filter(|row| array.is_valid(*row)).collect::<Vec<_>>()
    };
    assert_eq!([valid(0), valid(1), valid(2), valid(3)], [vec![2], vec![2, 3], vec![1, 3], vec![5]]);
    let errors: Vec<&[u32]> = table.columns.iter().map(|one| one.type_errors.as_slice()).collect();
    assert_eq!(errors, [[4].as_slice(), &[4], &[], &[]]);
}

#[test]
fn simd_instructions_are_chosen_at_run_time() {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("pclmulqdq") {
        assert_eq!(simd_json::Deserializer::algorithm(), simd_json::Implementation::AVX2);
    }
}
