//! The decoder with both tiers, the decoder with the tape only, and the same rules written down naively over
//! serde_json, on random inputs: all three must accept the same events with the same columns, and the two
//! decoders must refuse the others for the same reasons.
//!
//! `TIDEGATE_FUZZ_CASES` sets how many inputs there are (default 1,000,000), `TIDEGATE_FUZZ_SEED` which ones;
//! a failure names the seed and the case.
//!
//! Where simd-json and serde_json differ by nature, the naive side follows the decoder, and a test below
//! pins the difference:
//!
//! - An integer without a fraction that fits neither 64-bit type: serde_json rounds it to a double,
//!   simd-json refuses it, and the event is unreadable.
//! - `-0`: a double (negative zero) to serde_json, the integer 0 to simd-json. The cells make no
//!   difference between the two.
//! - Depth: serde_json takes 127 levels, the decoder 128.
//!
//! The naive side keeps the keys of an object in the order they stand in, which `serde_json::Value` does
//! not: order decides between a literal key `"a.b"` and a `"b"` inside an object `"a"`. The later one wins,
//! and a key `"a"` that comes later, whatever its value, drops an earlier `"a.b"`.

mod generate;
mod naive;
mod producer;

use super::tests::{ARRIVAL, event, joining_decoder_of};
use super::{Answer, Decoder, JoinLabel, MAX_DEPTH, Table};
use crate::baseline::LabelJoin;
use crate::event::fuzz::{cases, seed};
use crate::event::{Outcome, SeriesKind, SeriesOf};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, UInt16Type};
use generate::Generator;
use naive::{Cell, Row};
use producer::Producer;

const SERIES: [(SeriesOf, &str, SeriesKind); 14] = [
    (SeriesOf::Feature, "amount", SeriesKind::Numeric),
    (SeriesOf::Feature, "country", SeriesKind::Categorical),
    (SeriesOf::Feature, "is_new", SeriesKind::Boolean),
    (SeriesOf::Feature, "user", SeriesKind::Numeric),
    (SeriesOf::Feature, "user.age", SeriesKind::Numeric),
    (SeriesOf::Feature, "user.home.city", SeriesKind::Categorical),
    (SeriesOf::Feature, "ключ", SeriesKind::Boolean),
    (SeriesOf::Feature, "a_long_name_of_more_than_sixteen_bytes", SeriesKind::Numeric),
    (SeriesOf::Feature, "", SeriesKind::Numeric),
    (SeriesOf::Feature, ".age", SeriesKind::Categorical),
    (SeriesOf::Prediction, "score", SeriesKind::Numeric),
    (SeriesOf::Prediction, "user.age", SeriesKind::Categorical),
    (SeriesOf::Prediction, "class", SeriesKind::Categorical),
    (SeriesOf::Prediction, "is_new", SeriesKind::Boolean),
];

/// Every second request.
const JOIN: Option<LabelJoin> = Some(LabelJoin { horizon_ms: 1_000, max_pending: 1_000, sample: 0.5 });

fn cell(table: &Table, column: usize, row: usize) -> Cell {
    let column = &table.columns[column];
    let array = column.array.as_ref();
    let wrong = column.type_errors.binary_search(&(row as u32)).is_ok();
    match array.data_type() {
        _ if wrong && array.is_null(row) => Cell::TypeError,
        _ if wrong => panic!("a type error that has a value"),
        _ if array.is_null(row) => Cell::Missing,
        DataType::Float64 => Cell::number(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Cell::Truth(array.as_boolean().value(row)),
        _ => Cell::Category(array.as_dictionary::<UInt16Type>().keys().value(row)),
    }
}

fn labels(table: &Table, row: usize) -> Vec<(u32, u16, Option<u16>)> {
    let own = table.labels.iter().filter(|pair| pair.row as usize == row);
    own.map(|pair| (pair.series, pair.predicted, pair.truth)).collect()
}

fn answers(table: &Table, row: usize) -> Vec<(u64, u32, Cell)> {
    let own = table.joins.answers.iter().filter(|answer| answer.row as usize == row);
    let answer = |answer: Answer| match answer {
        Answer::Cell(cell) => Cell::Category(cell),
        Answer::Score(score) => Cell::number(score),
    };
    own.map(|one| (one.request, one.series, answer(one.answer))).collect()
}

fn scores(table: &Table, row: usize) -> Vec<(u32, Cell, Option<bool>)> {
    let own = table.scores.iter().filter(|pair| pair.row as usize == row);
    own.map(|pair| (pair.series, Cell::number(pair.score), pair.truth)).collect()
}

fn rows(table: &Table) -> Vec<Row> {
    let row = |at| Row {
        version: table.version.version,
        of: table.of,
        time: table.times.value(at),
        unit: table.units.value(at),
        cells: (0..table.columns.len()).map(|column| cell(table, column, at)).collect(),
        labels: labels(table, at),
        answers: answers(table, at),
        scores: scores(table, at),
    };
    (0..table.times.len()).map(row).collect()
}

/// The three decoders side by side.
struct Trio {
    seed: u64,
    both_tiers: Decoder,
    tape_only: Decoder,
    /// The rows that the naive rules expect of the running batch.
    expected: Vec<Row>,
    /// Likewise, the labels without an answer, by version.
    alone: Vec<(u32, JoinLabel)>,
    batch: Vec<Vec<u8>>,
    cases: u64,
    accepted: u64,
    /// Answers and labels that were handed on to be joined.
    joined: (usize, usize),
}

impl Trio {
    fn new(seed: u64) -> Trio {
        Trio {
            seed,
            both_tiers: joining_decoder_of(&SERIES, JOIN).without_pauses(),
            tape_only: joining_decoder_of(&SERIES, JOIN).without_speculation(),
            expected: Vec::new(),
            alone: Vec::new(),
            batch: Vec::new(),
            cases: 0,
            accepted: 0,
            joined: (0, 0),
        }
    }

    /// Feeds an input to all three and compares what they say of it.
    fn check(&mut self, payload: Vec<u8>) {
        let place = || {
            let (seed, case, text) = (self.seed, self.cases, payload.escape_ascii());
            format!("seed {seed}, case {case}: {text}")
        };
        let found = self.both_tiers.push(&payload, ARRIVAL);
        assert_eq!(found, self.tape_only.push(&payload, ARRIVAL), "{}", place());
        match (naive::read(&payload, &SERIES), found) {
            (Ok(read), Ok(found)) => {
                assert_eq!(found, read.accepted, "{}", place());
                self.expected.extend(read.rows);
                self.alone.extend(read.alone.into_iter().map(|label| (found.version.version, label)));
                self.accepted += 1;
            }
            (wanted, found) => {
                let (wanted, found) = (wanted.map(|read| read.accepted), found.map_err(|one| one.outcome));
                assert_eq!(found, wanted, "{}", place());
            }
        }
        self.cases += 1;
        self.batch.push(payload);
    }

    /// Takes over what was pushed and compares the columns.
    fn end_batch(&mut self) {
        let (found, tape) = (self.both_tiers.take(), self.tape_only.take());
        let place = || {
            let batch: Vec<String> = self.batch.iter().map(|one| one.escape_ascii().to_string()).collect();
            format!("seed {}, before case {}, in one of\n{}", self.seed, self.cases, batch.join("\n"))
        };
        assert_eq!(found.len(), tape.len(), "{}", place());
        for (found, tape) in found.iter().zip(&tape) {
            assert_eq!((found.version, found.of, &found.times), (tape.version, tape.of, &tape.times));
            assert_eq!(found.units, tape.units, "{}", place());
            assert_eq!((&found.labels, &found.scores), (&tape.labels, &tape.scores), "{}", place());
            assert_eq!(found.joins, tape.joins, "{}", place());
            for (found, tape) in found.columns.iter().zip(&tape.columns) {
                assert_eq!(found.type_errors, tape.type_errors, "{}", place());
                assert_eq!(found.array.to_data(), tape.array.to_data(), "{}", place());
            }
        }
        let labels =
            found.iter().flat_map(|table| table.joins.labels.iter().map(|one| (table.version.version, *one)));
        self.alone.sort_by_key(|label| label.0);
        assert_eq!(labels.collect::<Vec<_>>(), self.alone, "{}", place());
        self.joined.0 += found.iter().map(|table| table.joins.answers.len()).sum::<usize>();
        self.joined.1 += self.alone.len();
        self.alone.clear();
        self.expected.sort_by_key(|row| (row.version, row.of));
        let found: Vec<Row> = found.iter().flat_map(rows).collect();
        assert_eq!(found.len(), self.expected.len(), "{}", place());
        for (found, expected) in found.iter().zip(&self.expected) {
            assert_eq!(found, expected, "{}", place());
        }
        self.expected.clear();
        self.batch.clear();
    }

    /// The share of the accepted events that the first tier decoded.
    fn hit_share(&self) -> f64 {
        self.both_tiers.speculated() as f64 / self.accepted as f64
    }
}

fn run(trio: &mut Trio, cases: u64, mut payload: impl FnMut() -> (Vec<u8>, bool)) {
    for _ in 0..cases {
        let (payload, ends_batch) = payload();
        trio.check(payload);
        if ends_batch {
            trio.end_batch();
        }
    }
    trio.end_batch();
}

#[test]
fn random_inputs_have_the_outcome_and_the_columns_of_the_naive_rules() {
    let mut trio = Trio::new(seed(0x71de_6a7e));
    let mut generator = Generator::with_seed(trio.seed);
    run(&mut trio, cases(10), || (generator.payload(), generator.ends_batch()));
    let refused = trio.cases - trio.accepted;
    assert!(
        trio.accepted * 4 > trio.cases && refused * 10 > trio.cases,
        "{refused} of {} refused",
        trio.cases
    );
}

#[test]
fn events_of_few_producers_are_decoded_by_their_shape() {
    let mut trio = Trio::new(seed(0x5a9e));
    let mut producer = Producer::with_seed(trio.seed);
    run(&mut trio, cases(10), || (producer.plain(), producer.ends_batch()));
    assert_eq!(trio.accepted, trio.cases);
    assert!(trio.hit_share() > 0.9, "{}", trio.hit_share());
    assert!(trio.joined.0 > 1_000 && trio.joined.1 > 1_000, "{:?}", trio.joined);
}

#[test]
fn events_of_few_producers_with_unusual_values_are_decoded_all_the_same() {
    let mut trio = Trio::new(seed(0x0dd));
    let mut producer = Producer::with_seed(trio.seed);
    run(&mut trio, cases(20), || (producer.unusual(), producer.ends_batch()));
    assert!(trio.hit_share() > 0.4, "{}", trio.hit_share());
}

#[test]
fn damaged_events_of_few_producers_fare_as_by_the_tape_and_the_naive_rules() {
    let mut trio = Trio::new(seed(0xdead));
    let mut producer = Producer::with_seed(trio.seed);
    run(&mut trio, cases(60), || (producer.damaged(), producer.ends_batch()));
    let refused = trio.cases - trio.accepted;
    assert!(refused * 5 > trio.cases, "{refused} of {} refused", trio.cases);
    assert!(trio.hit_share() > 0.5, "{}", trio.hit_share());
}

fn both(features: &str) -> (Result<Vec<Row>, Outcome>, Result<Vec<Row>, Outcome>) {
    let payload = event(&format!(r#""features":{features}"#));
    let mut decoder = joining_decoder_of(&SERIES, JOIN);
    let found = match decoder.push(payload.as_bytes(), ARRIVAL) {
        Ok(_) => Ok(decoder.take().iter().flat_map(rows).collect()),
        Err(rejection) => Err(rejection.outcome),
    };
    (found, naive::read(payload.as_bytes(), &SERIES).map(|read| read.rows))
}

/// The cell of the numeric series `user.age`.
fn age(features: &str) -> Cell {
    let (found, wanted) = both(features);
    assert_eq!(found, wanted, "{features}");
    found.expect("an event")[0].cells[4].clone()
}

#[test]
fn of_a_dotted_key_and_a_nested_one_the_later_wins_and_an_object_drops_what_it_replaces() {
    assert_eq!(age(r#"{"user.age":1,"user":{"age":2}}"#), Cell::number(2.0));
    assert_eq!(age(r#"{"user":{"age":2},"user.age":1}"#), Cell::number(1.0));
    assert_eq!(age(r#"{"user.age":1,"user":{}}"#), Cell::Missing);
    assert_eq!(age(r#"{"user.age":1,"user":null}"#), Cell::Missing);
    assert_eq!(age(r#"{"user":{"age":2},"user":{"home":{}}}"#), Cell::Missing);
    assert_eq!(age(r#"{"user":{"age":2,"age":"x"}}"#), Cell::TypeError);
}

#[test]
fn an_integer_of_no_64_bit_type_makes_the_event_unreadable_and_its_double_does_not() {
    for huge in ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"] {
        assert!(serde_json::from_str::<serde_json::Value>(huge).is_ok());
        let text = format!(r#"{{"amount":{huge}}}"#);
        assert_eq!(both(&text), (Err(Outcome::Unreadable), Err(Outcome::Unreadable)), "{huge}");
        let (found, wanted) = both(&format!(r#"{{"amount":{huge}.0}}"#));
        assert_eq!(found, wanted);
        assert_eq!(found.expect("an event")[0].cells[0], Cell::number(huge.parse().expect("a double")));
    }
}

#[test]
fn the_depths_that_are_read_differ_by_one_level() {
    let nested = |levels: usize| format!(r#"{{"z":{}{}}}"#, "[".repeat(levels - 2), "]".repeat(levels - 2));
    let (found, wanted) = both(&nested(MAX_DEPTH - 1));
    assert!(found.is_ok() && wanted.is_ok());
    let (found, wanted) = both(&nested(MAX_DEPTH));
    assert!(found.is_ok() && wanted.is_err());
    assert_eq!(both(&nested(MAX_DEPTH + 1)), (Err(Outcome::Unreadable), Err(Outcome::Unreadable)));
}
