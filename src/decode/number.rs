//! One JSON number, read at its place in the raw text.
//!
//! An event is mostly numbers, and most of them are short: 12.3456. Those are read from two machine words
//! without a loop, and are one exact division of two exact doubles, which rounds as it must. Longer ones go
//! eight digits at a time, and the rare rest through the standard library's parser. What this reader refuses
//! is not always wrong: the caller then asks the full parser.

use super::decimal::decimal;
use super::scan::{HIGH_BITS, two_words, word};

/// A number as the tape parser tells them apart: with a fraction or an exponent it is a double.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Double(f64),
}

impl Number {
    #[inline]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Number::Integer(value) => value as f64,
            Number::Double(value) => value,
        }
    }

    /// The integer 0 has no sign, the double has.
    #[inline]
    fn negated(self) -> Number {
        match self {
            Number::Integer(value) => Number::Integer(-value),
            Number::Double(value) => Number::Double(-value),
        }
    }
}

/// Integers of up to this many digits fit an `i64` whatever they are.
const SAFE_DIGITS: usize = 18;
/// Digits of this many places fit a word of 64 bits whatever they are.
const SAFE_MANTISSA: usize = 19;
const ZEROS: u64 = 0x3030_3030_3030_3030;
const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that starts at `start` and where it ends. `None`: not a number as JSON writes them, beyond
/// `i64` (integers) or beyond the doubles. What follows it is not looked at.
pub(super) fn read(text: &[u8], start: usize) -> Option<(Number, usize)> {
    match text.get(start)? {
        b'-' => read_negative(text, start),
        _ => read_positive(text, start),
    }
}

/// [`read`] for a number that starts with a minus sign.
#[inline(never)]
pub(super) fn read_negative(text: &[u8], start: usize) -> Option<(Number, usize)> {
    read_digits(text, start, start + 1)
}

/// [`read`] for a number that starts with a digit.
#[inline(always)]
pub(super) fn read_positive(text: &[u8], start: usize) -> Option<(Number, usize)> {
    read_digits(text, start, start)
}

/// `first`: where the digits start, at or behind `start`.
#[inline(always)]
fn read_digits(text: &[u8], start: usize, first: usize) -> Option<(Number, usize)> {
    let (low, high) = two_words(text, first);
    let (digits, more_digits) = (low ^ ZEROS, high ^ ZEROS);
    let (others, more_others) = (marks(digits), marks(more_digits));
    let width = first_mark(others);
    if width == 0 || width == 8 || (width > 1 && digits & 0xFF == 0) {
        return read_long(text, start, first);
    }
    let signed = |number: Number| if first == start { number } else { number.negated() };
    let whole = value_of(digits << (64 - 8 * width));
    match (low >> (8 * width)) as u8 {
        b'.' => {}
        b'e' | b'E' => return read_uncommon(text, start),
        _ => return Some((signed(Number::Integer(whole as i64)), first + width)),
    }
    let after_point = others & others.wrapping_sub(1);
    let end = if after_point != 0 { first_mark(after_point) } else { 8 + first_mark(more_others) };
    let places = end - width - 1;
    if places == 0 || places > 8 || end == 16 {
        return read_long(text, start, first);
    }
    let all = u128::from(high) << 64 | u128::from(low);
    if ((all >> (8 * end)) as u8) | 0x20 == b'e' {
        return read_uncommon(text, start);
    }
    let digits = (all >> (8 * (width + 1))) as u64 ^ ZEROS;
    let mantissa = whole * POWERS[places] + value_of(digits << (64 - 8 * places));
    // At most 15 digits: both are exact doubles.
    let value = mantissa as i64 as f64 / POWERS[places] as i64 as f64;
    Some((signed(Number::Double(value)), first + end))
}

/// Numbers of more digits than two words hold.
#[inline(never)]
fn read_long(text: &[u8], start: usize, first: usize) -> Option<(Number, usize)> {
    let signed = |number: Number| if first == start { number } else { number.negated() };
    let (whole, point) = digits(text, first, 0);
    let width = point - first;
    if width == 0 || width > SAFE_DIGITS || (width > 1 && text[first] == b'0') {
        return read_uncommon(text, start);
    }
    match text.get(point) {
        Some(b'.') => {}
        Some(b'e' | b'E') => return read_uncommon(text, start),
        _ => return Some((signed(Number::Integer(whole as i64)), point)),
    }
    let (mantissa, end) = digits(text, point + 1, whole);
    let places = end - point - 1;
    let is_plain = places > 0 && width + places <= SAFE_MANTISSA;
    if !is_plain || matches!(text.get(end), Some(b'e' | b'E')) {
        return read_uncommon(text, start);
    }
    match decimal(mantissa, places) {
        Some(value) => Some((signed(Number::Double(value)), end)),
        None => read_uncommon(text, start),
    }
}

/// Appends the digits from `at` on to `value` (which wraps after 19 of them), and tells where they end.
#[inline]
fn digits(text: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    loop {
        let word = word(text, at) ^ ZEROS;
        let count = first_mark(marks(word));
        if count == 0 {
            return (value, at);
        }
        value = value.wrapping_mul(POWERS[count]).wrapping_add(value_of(word << (64 - 8 * count)));
        at += count;
        if count < 8 {
            return (value, at);
        }
    }
}

/// Marks the bytes that are beyond 9, exact up to and with the first one that is not ASCII.
#[inline(always)]
fn marks(digits: u64) -> u64 {
    (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGH_BITS
}

/// The first marked byte; 8 if there is none.
#[inline(always)]
fn first_mark(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// The value of eight digits (each 0 to 9, not ASCII), the first in the lowest byte: neighbours are joined to
/// pairs, pairs to fours, fours to the whole.
#[inline(always)]
fn value_of(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul((10 << 8) | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul((100 << 16) | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul((10_000 << 32) | 1) >> 32
}

/// The same by the rules of JSON one byte after the other, for everything that is not plain.
#[cold]
fn read_uncommon(text: &[u8], start: usize) -> Option<(Number, usize)> {
    let skip_digits = |at: usize| at + text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first = start + usize::from(text.get(start) == Some(&b'-'));
    let mut end = match text.get(first)? {
        b'0' => first + 1,
        b'1'..=b'9' => skip_digits(first),
        _ => return None,
    };
    let whole = end;
    if text.get(end) == Some(&b'.') {
        let after = skip_digits(end + 1);
        if after == end + 1 {
            return None;
        }
        end = after;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let signed = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        if signed > text.len() {
            return None;
        }
        let after = skip_digits(signed);
        if after == signed {
            return None;
        }
        end = after;
    }
    let number = std::str::from_utf8(&text[start..end]).ok()?;
    if end == whole {
        return Some((Number::Integer(number.parse().ok()?), end));
    }
    let value: f64 = number.parse().ok()?;
    value.is_finite().then_some((Number::Double(value), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<Number> {
        // Once with text behind it, once at the end of all text.
        let inside = read(format!("{text},12345678").as_bytes(), 0);
        assert_eq!(inside, read(text.as_bytes(), 0), "{text}");
        inside.filter(|(_, end)| *end == text.len()).map(|(number, _)| number)
    }

    #[test]
    fn numbers_of_every_length_are_what_the_standard_library_reads() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200_000 {
            let sign = if random.bool() { "-" } else { "" };
            let digits = |random: &mut fastrand::Rng, count: usize| -> String {
                (0..count).map(|_| random.digit(10)).collect()
            };
            let (before, after) = (random.usize(1..22), random.usize(0..26));
            let integer = digits(&mut random, before);
            let integer = integer.trim_start_matches('0');
            let integer = if integer.is_empty() { "0" } else { integer };
            let mut text = format!("{sign}{integer}");
            if after > 0 {
                text = format!("{text}.{}", digits(&mut random, after));
            }
            if random.u8(..8) == 0 {
                text = format!("{text}e{}", random.i32(-330..330));
            }
            let wanted = if text.contains(['.', 'e']) {
                text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Number::Double)
            } else {
                text.parse::<i64>().ok().map(Number::Integer)
            };
            match (whole(&text), wanted) {
                (Some(Number::Double(found)), Some(Number::Double(wanted))) => {
                    assert_eq!(found.to_bits(), wanted.to_bits(), "{text}");
                }
                (found, wanted) => assert_eq!(found, wanted, "{text}"),
            }
        }
    }

    #[test]
    fn every_double_is_read_back_from_its_shortest_text() {
        let mut random = fastrand::Rng::with_seed(12);
        for _ in 0..200_000 {
            let bits = f64::from_bits(random.u64(..));
            for value in [random.f64(), random.f64() * 1e6, if bits.is_finite() { bits } else { 0.5 }] {
                let text = format!("{value:?}");
                let found = whole(&text).expect("a number");
                assert_eq!(found.as_f64().to_bits(), value.to_bits(), "{text}");
            }
        }
    }

    #[test]
    fn what_json_does_not_allow_is_refused() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "00",
            "1.",
            "1.e5",
            ".5",
            "-.5",
            "1e",
            "1e+",
            "1e-",
            "1.5e",
            "1.5e+",
            "1e400",
            "-1e999",
            "1.0e309",
            "NaN",
            "Infinity",
            "0x10",
            "1_000",
            "18446744073709551616",
            "9223372036854775808",
            "/1",
            ":1",
            "١",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
        assert_eq!(whole("-0"), Some(Number::Integer(0)));
        assert_eq!(whole("9223372036854775807"), Some(Number::Integer(i64::MAX)));
        assert_eq!(whole("-9223372036854775808"), Some(Number::Integer(i64::MIN)));
        assert_eq!(whole("0e99999999999").map(Number::as_f64), Some(0.0));
    }
}
