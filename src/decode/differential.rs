//! The decoder against the same rules written down naively over serde_json, on random inputs.
//!
//! `TIDEGATE_FUZZ_CASES` sets how many (default 20,000). The generator is seeded: a run can be repeated.
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

use super::tests::{ARRIVAL, decoder_of, event};
use super::{Decoder, MAX_DEPTH, Rejection, Table};
use crate::event::{Outcome, SeriesKind, SeriesOf};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type, UInt16Type};
use generate::Generator;
use naive::{Cell, Row};

const SERIES: [(SeriesOf, &str, SeriesKind); 12] = [
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
];

fn cases() -> usize {
    std::env::var("TIDEGATE_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

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

fn rows(table: &Table) -> Vec<Row> {
    let row = |at| Row {
        version: table.version.version,
        of: table.of,
        time: table.times.value(at),
        cells: (0..table.columns.len()).map(|column| cell(table, column, at)).collect(),
    };
    (0..table.times.len()).map(row).collect()
}

/// Hands over what has been pushed and compares it with the rows that are expected.
fn compare_tables(decoder: &mut Decoder, mut expected: Vec<Row>, seen: &[Vec<u8>]) {
    expected.sort_by_key(|row| (row.version, row.of));
    let tables = decoder.take();
    let found: Vec<Row> = tables.iter().flat_map(rows).collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let text = || seen.iter().map(|one| String::from_utf8_lossy(one)).collect::<Vec<_>>().join("\n");
        assert_eq!(found, expected, "in one of\n{}", text());
    }
}

#[test]
fn random_inputs_have_the_outcome_and_the_columns_of_the_naive_rules() {
    let mut generator = Generator::with_seed(0x71de_6a7e);
    let mut decoder = decoder_of(&SERIES);
    let (mut expected, mut seen) = (Vec::new(), Vec::new());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..cases() {
        let payload = generator.payload();
        let found = decoder.push(&payload, ARRIVAL).map_err(|Rejection { outcome, .. }| outcome);
        let wanted = naive::read(&payload, &SERIES);
        let text = String::from_utf8_lossy(&payload);
        match wanted {
            Ok((head, rows)) => {
                assert_eq!(found, Ok(head), "{text}");
                expected.extend(rows);
                accepted += 1;
            }
            Err(outcome) => {
                assert_eq!(found, Err(outcome), "{text}");
                refused += 1;
            }
        }
        seen.push(payload);
        if generator.ends_batch() {
            compare_tables(&mut decoder, std::mem::take(&mut expected), &seen);
            seen.clear();
        }
    }
    compare_tables(&mut decoder, expected, &seen);
    assert!(accepted * 4 > cases() && refused * 10 > cases(), "{accepted} accepted, {refused} refused");
}

fn both(features: &str) -> (Result<Vec<Row>, Outcome>, Result<Vec<Row>, Outcome>) {
    let payload = event(&format!(r#""features":{features}"#));
    let mut decoder = decoder_of(&SERIES);
    let found = match decoder.push(payload.as_bytes(), ARRIVAL) {
        Ok(_) => Ok(decoder.take().iter().flat_map(rows).collect()),
        Err(rejection) => Err(rejection.outcome),
    };
    (found, naive::read(payload.as_bytes(), &SERIES).map(|(_, rows)| rows))
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
