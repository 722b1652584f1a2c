//! The decoder's rules once more, without any thought for speed.

use super::super::tests::{ARRIVAL, BOUNDS, NAMESPACE};
use crate::baseline::VersionIndex;
use crate::decode::{Accepted, JoinLabel, Latency, Served};
use crate::event::{EventTime, NO_UNIT, Outcome, Role, SeriesKind, SeriesOf, bucket_of, unit_hash};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value; the keys of an object in the order they stand in, equal ones included.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Truth(bool),
    Signed(i64),
    Unsigned(u64),
    Double(f64),
    Text(String),
    Array,
    Object(Vec<(String, Json)>),
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Truth(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Signed(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Double(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        while values.next_element::<Json>()?.is_some() {}
        Ok(Json::Array)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Json::Object(object))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

impl Json {
    /// The last value of the key, unless it is null.
    fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(entries) = self else { return None };
        let (_, value) = entries.iter().rfind(|(name, _)| name == key)?;
        Some(value).filter(|value| **value != Json::Null)
    }

    fn as_text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }
}

/// What a column holds in one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Missing,
    TypeError,
    /// The bits of a double; zero has one sign.
    Number(u64),
    Truth(bool),
    Category(u16),
}

impl Cell {
    pub(super) fn number(value: f64) -> Cell {
        Cell::Number((value + 0.0).to_bits())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub version: u32,
    pub of: SeriesOf,
    pub time: i64,
    pub unit: u8,
    pub cells: Vec<Cell>,
    /// Place among the series, cell of the answer, and of its label.
    pub labels: Vec<(u32, u16, Option<u16>)>,
    /// Place among the series, numeric answer, and its label.
    pub scores: Vec<(u32, Cell, Option<bool>)>,
    /// Hash of the request, place, and the answers whose label is still to come.
    pub answers: Vec<(u64, u32, Cell)>,
}

/// What an event holds.
pub(super) struct Read {
    pub accepted: Accepted,
    pub rows: Vec<Row>,
    /// Labels without an answer.
    pub alone: Vec<JoinLabel>,
}

/// Reads an event whose watched series are `series`, in versions `v1` and `v2` of the model `fraud`.
pub(super) fn read(payload: &[u8], series: &[(SeriesOf, &str, SeriesKind)]) -> Result<Read, Outcome> {
    let event: Json = serde_json::from_slice(payload).map_err(|_| Outcome::Unreadable)?;
    if !matches!(event, Json::Object(_)) || holds_huge_integer(payload) {
        return Err(Outcome::Unreadable);
    }
    let text = |key| event.get(key).and_then(Json::as_text).ok_or(Outcome::Unreadable);
    let (model, version) = (text("model")?, text("model_version")?);
    if model != "fraud" {
        return Err(Outcome::UnknownModel);
    }
    let version =
        ["v1", "v2"].iter().position(|known| *known == version).ok_or(Outcome::UnknownVersion)? as u32;
    let parts = ["features", "predictions", "labels"].map(|key| event.get(key));
    let is_object = |part: &&Json| matches!(part, Json::Object(_));
    if parts.iter().all(Option::is_none) || !parts.iter().flatten().all(is_object) {
        return Err(Outcome::Unreadable);
    }
    let time = time(event.get("timestamp"))?;
    let accepted = Accepted {
        version: VersionIndex { model: 0, version },
        role: match event.get("role").and_then(Json::as_text) {
            Some("stable") => Some(Role::Stable),
            Some("canary") => Some(Role::Canary),
            _ => None,
        },
        time,
        served: served(&event, parts[1].is_some()),
        unit: ["unit", "request_id"].iter().find_map(|key| hash(event.get(key)?)).map_or(NO_UNIT, bucket_of),
        moves_watermark: parts[0].is_some() || parts[1].is_some(),
        foreign_namespace: event.get("namespace").is_some_and(|name| name.as_text() != Some(NAMESPACE)),
    };
    // Every second request is joined.
    let request = event.get("request_id").and_then(hash).filter(|hash| *hash as u32 <= u32::MAX / 2);
    let (mut rows, mut alone) = (Vec::new(), Vec::new());
    for (of, part) in [SeriesOf::Feature, SeriesOf::Prediction].into_iter().zip(parts) {
        if let Some(part) = part {
            let cells = cells(part, of, series);
            let (labels, scores, answers) = match of {
                // The others are not in the sample.
                SeriesOf::Prediction if request.is_some() => {
                    let labels = parts[2];
                    let answers = unlabelled(&cells, labels, series, request);
                    (self::labels(&cells, labels, series), scores(&cells, labels, series), answers)
                }
                _ => Default::default(),
            };
            let time = time.0;
            rows.push(Row { version, of, time, unit: accepted.unit, cells, labels, scores, answers });
        } else if of == SeriesOf::Prediction
            && let (Some(labels), Some(request)) = (parts[2], request)
        {
            let known = outputs(series).zip(truths(labels, series));
            alone.extend(known.filter_map(|((place, _), truth)| {
                Some(JoinLabel { time: time.0, request, series: place, truth: truth? })
            }));
        }
    }
    Ok(Read { accepted, rows, alone })
}

fn served(event: &Json, has_predictions: bool) -> Served {
    let number = |value: &Json| match value {
        Json::Signed(number) => Some(*number as f64),
        Json::Unsigned(number) => Some(*number as f64),
        Json::Double(number) => Some(*number),
        _ => None,
    };
    let failed = event.get("error").is_some_and(|error| match error {
        Json::Text(text) => !text.is_empty(),
        Json::Truth(truth) => *truth,
        other => number(other) != Some(0.0),
    });
    let latency = match event.get("latency_ms") {
        None => Latency::None,
        Some(latency) => match number(latency).and_then(crate::cells::latency_cell) {
            Some(cell) => Latency::Cell(cell),
            None => Latency::Unusable,
        },
    };
    Served { answered: failed || has_predictions, failed, latency }
}

fn hash(value: &Json) -> Option<u64> {
    let text = match value {
        Json::Text(text) => text.clone(),
        Json::Double(number) if number.fract() == 0.0 && number.abs() < 9007199254740992.0 => {
            (*number as i64).to_string()
        }
        Json::Signed(number) => number.to_string(),
        Json::Unsigned(number) => number.to_string(),
        _ => return None,
    };
    Some(unit_hash(text.as_bytes()))
}

fn time(value: Option<&Json>) -> Result<EventTime, Outcome> {
    let time = match value {
        None => ARRIVAL.record_time,
        Some(Json::Text(text)) => EventTime::parse_rfc3339(text).ok(),
        Some(Json::Signed(epoch)) => Some(EventTime::from_epoch_integer(*epoch)),
        Some(Json::Unsigned(epoch)) => i64::try_from(*epoch).ok().map(EventTime::from_epoch_integer),
        Some(Json::Double(epoch)) => EventTime::from_epoch(*epoch).ok(),
        Some(_) => None,
    };
    let time = time.ok_or(Outcome::TimeOutOfBounds)?;
    let ahead = i128::from(time.0) - i128::from(ARRIVAL.now.0);
    let past = BOUNDS.max_past_ms.expect("the tests bound the past");
    let in_bounds = ahead <= i128::from(BOUNDS.max_future_ms) && -ahead <= i128::from(past);
    in_bounds.then_some(time).ok_or(Outcome::TimeOutOfBounds)
}

fn cells(part: &Json, of: SeriesOf, series: &[(SeriesOf, &str, SeriesKind)]) -> Vec<Cell> {
    let mut found = Vec::new();
    flatten("", part, &mut found);
    let value = |name: &str| found.iter().find(|(path, _)| path == name).map(|(_, value)| *value);
    let watched = series.iter().filter(|one| one.0 == of);
    watched.map(|(_, name, kind)| cell(*kind, value(name).unwrap_or(&Json::Null))).collect()
}

/// Place and kind of every output.
fn outputs<'a>(series: &'a [(SeriesOf, &str, SeriesKind)]) -> impl Iterator<Item = (u32, SeriesKind)> + 'a {
    let all = series.iter().enumerate().filter(|(_, one)| one.0 == SeriesOf::Prediction);
    all.map(|(place, one)| (place as u32, one.2))
}

fn class(cell: &Cell) -> Option<u16> {
    match cell {
        Cell::Category(cell) => Some(*cell),
        Cell::Truth(truth) => Some(u16::from(*truth)),
        _ => None,
    }
}

/// The label of every output, if it has one: a cell, of numbers 0 or 1; or one of another type.
fn truths(labels: &Json, series: &[(SeriesOf, &str, SeriesKind)]) -> Vec<Option<Option<u16>>> {
    let mut found = Vec::new();
    flatten("", labels, &mut found);
    let cells = cells(labels, SeriesOf::Prediction, series);
    let outputs = series.iter().filter(|one| one.0 == SeriesOf::Prediction);
    let truth = |((_, name, kind), cell): (&(SeriesOf, &str, SeriesKind), &Cell)| {
        let value = found.iter().find(|(path, _)| path == name)?.1;
        match (kind, value) {
            (_, Json::Null) => None,
            (SeriesKind::Numeric, Json::Truth(truth)) => Some(Some(u16::from(*truth))),
            (SeriesKind::Numeric, Json::Signed(0) | Json::Unsigned(0)) => Some(Some(0)),
            (SeriesKind::Numeric, Json::Signed(1) | Json::Unsigned(1)) => Some(Some(1)),
            (SeriesKind::Numeric, Json::Double(number)) if *number == 0.0 => Some(Some(0)),
            (SeriesKind::Numeric, Json::Double(number)) if *number == 1.0 => Some(Some(1)),
            (SeriesKind::Numeric, _) => Some(None),
            _ => Some(class(cell)),
        }
    };
    outputs.zip(&cells).map(truth).collect()
}

/// The labels of categories and truth values in `predictions`.
fn labels(
    predictions: &[Cell],
    labels: Option<&Json>,
    series: &[(SeriesOf, &str, SeriesKind)],
) -> Vec<(u32, u16, Option<u16>)> {
    let Some(labels) = labels else { return Vec::new() };
    let pairs = outputs(series).zip(predictions.iter().zip(truths(labels, series)));
    pairs.filter_map(|((place, _), (answer, truth))| Some((place, class(answer)?, truth?))).collect()
}

/// The labels of numeric answers in `predictions`.
fn scores(
    predictions: &[Cell],
    labels: Option<&Json>,
    series: &[(SeriesOf, &str, SeriesKind)],
) -> Vec<(u32, Cell, Option<bool>)> {
    let Some(labels) = labels else { return Vec::new() };
    let pairs = outputs(series).zip(predictions.iter().zip(truths(labels, series)));
    let numbers = pairs.filter(|(_, (answer, _))| matches!(answer, Cell::Number(_)));
    let pairs = numbers.filter_map(|((place, _), (answer, truth))| {
        Some((place, answer.clone(), truth?.map(|truth| truth == 1)))
    });
    pairs.collect()
}

/// The answers of `request` in `predictions` that have no label.
fn unlabelled(
    predictions: &[Cell],
    labels: Option<&Json>,
    series: &[(SeriesOf, &str, SeriesKind)],
    request: Option<u64>,
) -> Vec<(u64, u32, Cell)> {
    let Some(request) = request else { return Vec::new() };
    let truths = labels.map_or(vec![None; predictions.len()], |labels| truths(labels, series));
    let answers = outputs(series).zip(predictions).zip(truths).filter(|(_, truth)| truth.is_none());
    let answer = |((place, _), cell): ((u32, SeriesKind), &Cell)| match cell {
        Cell::Number(_) => Some((request, place, cell.clone())),
        cell => Some((request, place, Cell::Category(class(cell)?))),
    };
    answers.filter_map(|(answered, _)| answer(answered)).collect()
}

/// All paths of an object; each replaces what an earlier key said of it and of all below it.
fn flatten<'a>(parent: &str, object: &'a Json, found: &mut Vec<(String, &'a Json)>) {
    let Json::Object(entries) = object else { return };
    for (key, value) in entries {
        let path = format!("{parent}{key}");
        let below = format!("{path}.");
        found.retain(|(other, _)| *other != path && !other.starts_with(&below));
        found.push((path, value));
        flatten(&below, value, found);
    }
}

fn cell(kind: SeriesKind, value: &Json) -> Cell {
    match (kind, value) {
        (_, Json::Null) => Cell::Missing,
        (SeriesKind::Numeric, Json::Double(value)) => Cell::number(*value),
        (SeriesKind::Numeric, Json::Signed(value)) => Cell::number(*value as f64),
        (SeriesKind::Numeric, Json::Unsigned(value)) => Cell::number(*value as f64),
        (SeriesKind::Boolean, Json::Truth(value)) => Cell::Truth(*value),
        (SeriesKind::Categorical, Json::Text(value)) => Cell::Category(match value.as_str() {
            "TH" => 0,
            "FR" => 1,
            _ => 2,
        }),
        _ => Cell::TypeError,
    }
}

/// Whether a valid JSON text has an integer that fits neither `i64` nor `u64`.
fn holds_huge_integer(payload: &[u8]) -> bool {
    let (mut in_string, mut escaped, mut number) = (false, false, String::new());
    for &byte in payload.iter().chain(b" ") {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' if !in_string => {
                number.push(char::from(byte));
                continue;
            }
            _ => {}
        }
        let digits = number.trim_start_matches('-');
        let is_integer = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return true;
        }
        number.clear();
    }
    false
}
