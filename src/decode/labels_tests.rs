//! Labels beside the answers of the same event, by both tiers.

use super::tests::{ARRIVAL, decoder_of, event};
use super::{Decoder, LabelPair, ScorePair, Table};
use crate::event::{SeriesKind, SeriesOf};

fn decoder() -> Decoder {
    decoder_of(&[
        (SeriesOf::Feature, "amount", SeriesKind::Numeric),
        (SeriesOf::Prediction, "score", SeriesKind::Numeric),
        (SeriesOf::Prediction, "class", SeriesKind::Categorical),
        (SeriesOf::Prediction, "ok", SeriesKind::Boolean),
        (SeriesOf::Prediction, "deep.kind", SeriesKind::Categorical),
    ])
}

fn labels(tables: &[Table]) -> Vec<LabelPair> {
    tables.iter().flat_map(|table| table.labels.clone()).collect()
}

/// The pairs of an event's rest, which both tiers have to agree on.
fn both(rest: &str) -> (Vec<LabelPair>, Vec<ScorePair>) {
    let text = event(rest);
    let mut decoder = decoder();
    let mut once = || {
        decoder.push(text.as_bytes(), ARRIVAL).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.reason));
        let tables = decoder.take();
        (labels(&tables), tables.iter().flat_map(|table| table.scores.clone()).collect())
    };
    let (first, second) = (once(), once());
    assert_eq!(first, second, "{text}");
    first
}

/// (series, predicted, truth).
fn pairs(rest: &str) -> Vec<(u32, u16, Option<u16>)> {
    both(rest).0.into_iter().map(|pair| (pair.series, pair.predicted, pair.truth)).collect()
}

/// (series, score, truth).
fn scores(rest: &str) -> Vec<(u32, f64, Option<bool>)> {
    both(rest).1.into_iter().map(|pair| (pair.series, pair.score, pair.truth)).collect()
}

#[test]
fn a_label_stands_beside_the_answer_of_its_name() {
    let answers = r#""predictions":{"score":0.5,"class":"TH","ok":true,"deep":{"kind":"FR"}}"#;
    for (given, expected) in [
        (r#"{"class":"TH"}"#, vec![(2, 0, Some(0))]),
        (r#"{ "class" : "FR" , "ok" : false }"#, vec![(2, 0, Some(1)), (3, 1, Some(0))]),
        (r#"{"x":[{"class":"TH"}],"class":"never seen","y":null}"#, vec![(2, 0, Some(2))]),
        (r#"{"class":"T\u0048"}"#, vec![(2, 0, Some(0))]),
        (r#"{"deep":{"kind":"TH"},"ok":true}"#, vec![(3, 1, Some(1)), (4, 1, Some(0))]),
        (r#"{"deep.kind":"TH"}"#, vec![(4, 1, Some(0))]),
        (r#"{"deep.kind":"TH","deep":7}"#, vec![]),
        (r#"{"class":"TH","class":"FR"}"#, vec![(2, 0, Some(1))]),
        (r#"{"class":"TH","class":null,"ok":null}"#, vec![]),
        (r#"{"class":1,"ok":"true"}"#, vec![(2, 0, None), (3, 1, None)]),
        (r#"{"class":["TH"],"ok":{}}"#, vec![(2, 0, None), (3, 1, None)]),
        (r#"{"score":0.5,"amount":3}"#, vec![]),
        ("{}", vec![]),
        ("null", vec![]),
    ] {
        assert_eq!(pairs(&format!(r#"{answers},"labels":{given}"#)), expected, "{given}");
        assert_eq!(pairs(&format!(r#""labels":{given},"features":{{}},{answers}"#)), expected, "{given}");
    }
}

#[test]
fn a_number_s_label_is_a_truth_value_or_one_or_zero() {
    for (label, truth) in [
        ("true", Some(true)),
        ("false", Some(false)),
        ("1", Some(true)),
        ("0", Some(false)),
        ("1.0", Some(true)),
        ("0.00", Some(false)),
        ("-0", Some(false)),
        ("-0.0", Some(false)),
        ("10e-1", Some(true)),
        ("2", None),
        ("-1", None),
        ("0.5", None),
        ("18446744073709551615", None),
        (r#""true""#, None),
        ("[true]", None),
        ("{}", None),
    ] {
        let rest =
            format!(r#""predictions":{{"score":0.25,"class":"TH"}},"labels":{{"x":7,"score":{label}}}"#);
        assert_eq!(scores(&rest), [(1, 0.25, truth)], "{label}");
        assert_eq!(pairs(&rest), []);
    }
    let answers = r#""predictions":{"score":-3,"class":"TH"}"#;
    assert_eq!(
        scores(&format!(r#"{answers},"labels":{{"score":false,"score":1}}"#)),
        [(1, -3.0, Some(true))]
    );
    for none in [r#"{"score":null}"#, "{}", "null", r#"{"class":"TH"}"#] {
        assert_eq!(scores(&format!(r#"{answers},"labels":{none}"#)), [], "{none}");
    }
    for missing in ["{}", r#"{"score":null}"#, r#"{"score":"0.5"}"#, r#"{"score":true}"#] {
        assert_eq!(scores(&format!(r#""predictions":{missing},"labels":{{"score":true}}"#)), [], "{missing}");
    }
}

#[test]
fn a_label_without_an_answer_is_not_counted() {
    let label = r#""labels":{"class":"TH","ok":true}"#;
    for answers in [r#""features":{"amount":1}"#, r#""predictions":{"score":1}"#, r#""predictions":null"#] {
        assert_eq!(pairs(&format!("{answers},{label}")), [], "{answers}");
    }
    assert_eq!(pairs(&format!(r#""predictions":{{"class":7,"ok":false}},{label}"#)), [(3, 0, Some(1))]);
    assert_eq!(pairs(&format!(r#""predictions":{{"class":null,"ok":"x"}},{label}"#)), []);
    assert_eq!(pairs(label), []);
}

#[test]
fn labels_name_the_row_of_their_answer_and_are_handed_over_once() {
    let mut decoder = decoder();
    for (number, class) in ["TH", "FR", "TH", "FR", "TH", "FR"].into_iter().enumerate() {
        let labels = if number % 2 == 0 { "" } else { r#","labels":{"class":"TH"}"# };
        let features = if number == 3 { "" } else { r#","features":{"amount":1}"# };
        let text = event(&format!(r#""predictions":{{"class":"{class}"}}{labels}{features}"#));
        decoder.push(text.as_bytes(), ARRIVAL).expect("an event");
    }
    assert!(decoder.speculated() > 0);
    let tables = decoder.take();
    let pair = |row| LabelPair { row, series: 2, predicted: 1, truth: Some(0) };
    let of = |of: SeriesOf| tables.iter().find(|table| table.of == of).expect("rows").labels.clone();
    assert_eq!((of(SeriesOf::Feature), of(SeriesOf::Prediction)), (vec![], [1, 3, 5].map(pair).to_vec()));
    decoder.push(event(r#""predictions":{"class":"TH"}"#).as_bytes(), ARRIVAL).expect("an event");
    assert_eq!(labels(&decoder.take()), []);
}
