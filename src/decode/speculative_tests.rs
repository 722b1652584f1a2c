//! What the first tier learns, what it takes, and when it stops trying. That it never differs from the tape is
//! the business of `differential.rs`.

use super::Decoder;
use super::tests::{ARRIVAL, decoder_of};
use crate::event::{SeriesKind, SeriesOf};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;

fn decoder() -> Decoder {
    decoder_of(&[
        (SeriesOf::Feature, "amount", SeriesKind::Numeric),
        (SeriesOf::Feature, "user.age", SeriesKind::Numeric),
        (SeriesOf::Feature, "country", SeriesKind::Categorical),
        (SeriesOf::Prediction, "score", SeriesKind::Numeric),
    ])
}

/// How many of the texts, pushed one after the other, the first tier decodes; all have to be accepted.
fn speculated(texts: &[&str]) -> u64 {
    let mut decoder = decoder();
    for text in texts {
        decoder.push(text.as_bytes(), ARRIVAL).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.reason));
    }
    decoder.speculated()
}

fn amounts(decoder: &mut Decoder) -> Vec<Option<f64>> {
    let tables = decoder.take();
    let column = tables[0].columns[0].array.as_primitive::<Float64Type>();
    (0..column.len()).map(|row| column.is_valid(row).then(|| column.value(row))).collect()
}

#[test]
fn an_event_is_decoded_by_the_shape_of_one_before_it() {
    let compact = r#"{"model":"fraud","model_version":"v1","features":{"amount":1.5,"country":"TH"}}"#;
    let python = r#"{"model": "fraud", "model_version": "v1", "features": {"amount": -2, "country": null}}"#;
    assert_eq!(speculated(&[compact, compact, python, python, compact]), 3);
    let nested =
        r#"{"model":"fraud","model_version":"v2","features":{"user":{"age":3}},"predictions":{"score":1}}"#;
    assert_eq!(speculated(&[nested, nested]), 1);
    let timed = [
        r#"{"timestamp":"2026-11-23T10:00:00Z","model":"fraud","model_version":"v1","features":{},"x":[1,{}]}"#,
        r#"{"timestamp":1795428000000,"model":"fraud","model_version":"v1","features":{},"x":"\n"}"#,
        r#"{"timestamp":null,"model":"fraud","model_version":"v1","features":{},"x":{"y":[true]}}"#,
    ];
    assert_eq!(speculated(&timed), 2);
}

#[test]
fn keys_may_be_left_out_but_not_what_decides_whose_event_it_is() {
    let event = |rest: &str| format!(r#"{{"id":1,{rest}"features":{{"amount":7,"country":"TH","z":1}}}}"#);
    let whole = event(r#""role":"canary","model":"fraud","model_version":"v1","namespace":"ml","#);
    let shorter = event(r#""model":"fraud","model_version":"v1","#).replace(r#","country":"TH""#, "");
    let mut decoder = decoder();
    decoder.push(whole.as_bytes(), ARRIVAL).expect("an event");
    for text in [whole.clone(), whole.replace(r#","country":"TH","z":1"#, "")] {
        decoder.push(text.as_bytes(), ARRIVAL).expect("an event");
    }
    assert_eq!(decoder.speculated(), 2);
    // The role precedes the model in one run: without it another shape is learnt.
    decoder.push(shorter.as_bytes(), ARRIVAL).expect("an event");
    decoder.push(event("").as_bytes(), ARRIVAL).expect_err("no model");
    decoder.push(whole.replace("v1", "v9").as_bytes(), ARRIVAL).expect_err("another version");
    assert_eq!(amounts(&mut decoder), [Some(7.0); 4]);
}

#[test]
fn an_event_that_needs_the_rules_of_the_tape_teaches_nothing() {
    let event =
        |features: &str| format!(r#"{{"model":"fraud","model_version":"v1","features":{{{features}}}}}"#);
    for features in [
        r#""amount":1,"amount":2"#,
        r#""unwatched":1,"unwatched":2"#,
        r#""user.age":1,"user":{"age":2}"#,
        r#""user":{"age":2},"user.age":1"#,
        r#""user.age":1,"user":null"#,
        r#""user":7"#,
        r#""am\u006funt":1"#,
    ] {
        let text = event(features);
        assert_eq!(speculated(&[&text, &text, &text]), 0, "{features}");
    }
    let twice = r#"{"model":"fraud","model":"fraud","model_version":"v1","features":{}}"#;
    assert_eq!(speculated(&[twice, twice]), 0);
}

#[test]
fn what_a_shape_has_set_before_it_fails_is_undone() {
    let mut decoder = decoder();
    let event = |features: &str| {
        format!(
            r#"{{"model":"fraud","model_version":"v1","features":{{{features}}},"predictions":{{"score":1}}}}"#
        )
    };
    for features in [r#""amount":1,"country":"TH""#, r#""amount":2,"country":"TH""#] {
        decoder.push(event(features).as_bytes(), ARRIVAL).expect("an event");
    }
    for broken in
        [r#""amount":3,"country":"T"#, r#""amount":"x","country":tru"#, r#""amount":4,"country":1e999"#]
    {
        decoder.push(event(broken).as_bytes(), ARRIVAL).expect_err("broken");
    }
    let late = event(r#""amount":5,"country":"FR""#).replace("{\"model\"", "{\"timestamp\":0,\"model\"");
    decoder.push(late.as_bytes(), ARRIVAL).expect_err("out of bounds");
    decoder.push(event(r#""amount":null,"country":"\u0046R""#).as_bytes(), ARRIVAL).expect("an event");
    assert_eq!((decoder.speculated(), amounts(&mut decoder)), (1, vec![Some(1.0), Some(2.0), None]));
}

#[test]
fn trying_stops_where_no_event_is_like_another_and_begins_again_where_they_are() {
    let mut decoder = decoder();
    let mut push = |text: &str| {
        decoder.push(text.as_bytes(), ARRIVAL).expect("an event");
        decoder.take();
        decoder.speculated()
    };
    let head =
        r#"{"model":"fraud","model_version":"v1","features":{"amount":1,"country":"TH","user":{"age":2}}"#;
    for number in 0..2_000 {
        assert_eq!(push(&format!(r#"{head},"key_{number}":1}}"#)), 0);
    }
    let same = format!(r#"{head},"key":1}}"#);
    let first = (0..100_000).find(|_| push(&same) > 0).expect("it is tried again");
    assert!((5_000..10_000).contains(&first), "after {first} events");
    let before = push(&same);
    for pushed in 1..=5_000 {
        assert_eq!(push(&same), before + pushed);
    }
}
