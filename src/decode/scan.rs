//! Reads single JSON values at their place in the raw text, eight bytes at a time.
//!
//! These readers are as strict as the tape parser or stricter: what they pass, it would have accepted. A
//! `None` means "wrong or too unusual to be sure", and the caller lets the tape parser decide. That the text
//! as a whole is UTF-8 is settled before.

use super::number;

/// The highest bit of each byte of a word.
pub(super) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Nested values below this depth are left to the tape parser, which follows deeper ones than this. Together
/// with the depth of a shape it stays below [`super::MAX_DEPTH`].
const MAX_SKIPPED_DEPTH: u8 = 32;

/// The eight bytes from `at` on, the first one lowest; zeros where the text has ended.
#[inline]
pub(super) fn word(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => last_word(text, at),
    }
}

/// The sixteen bytes from `at` on, likewise.
#[inline]
pub(super) fn two_words(text: &[u8], at: usize) -> (u64, u64) {
    match text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(bytes) => {
            let both = u128::from_le_bytes(*bytes);
            (both as u64, (both >> 64) as u64)
        }
        None => (last_word(text, at), last_word(text, at.saturating_add(8))),
    }
}

#[cold]
fn last_word(text: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    let rest = text.get(at..).unwrap_or_default();
    bytes.iter_mut().zip(rest).for_each(|(byte, found)| *byte = *found);
    u64::from_le_bytes(bytes)
}

/// Marks the highest bit of every byte that is zero, exact up to and with the lowest one.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH_BITS
}

/// The first place from `at` on that holds a quote, a backslash or a control character, or where the text
/// has ended.
#[inline]
fn end_of_plain(text: &[u8], mut at: usize) -> usize {
    loop {
        let word = word(text, at);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH_BITS;
        let marks = zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64)) | controls;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
}

/// The string that starts at `at`, and where it ends, if nothing in it is escaped.
#[inline]
pub(super) fn plain_string(text: &str, at: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let end = end_of_plain(bytes, at + 1);
    if bytes.get(end) != Some(&b'"') {
        return None;
    }
    Some((text.get(at + 1..end)?, end + 1))
}

/// Where the string that starts at `at` ends.
#[inline]
fn skip_string(text: &[u8], at: usize) -> Option<usize> {
    let mut end = end_of_plain(text, at + 1);
    while text.get(end) == Some(&b'\\') {
        end = end_of_plain(text, skip_escape(text, end)?);
    }
    (text.get(end) == Some(&b'"')).then_some(end + 1)
}

/// Where the escape that starts at `at` ends. Surrogates are left to the tape parser.
fn skip_escape(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => {
            let digits = text.get(at + 2..at + 6)?;
            let is_surrogate = matches!(digits, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
            (digits.iter().all(u8::is_ascii_hexdigit) && !is_surrogate).then_some(at + 6)
        }
        _ => None,
    }
}

/// Where the value that starts at `at` ends.
#[inline]
pub(super) fn skip_value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => skip_string(text, at),
        b'0'..=b'9' => number::read_positive(text, at).map(|(_, end)| end),
        _ => skip_other(text, at, MAX_SKIPPED_DEPTH),
    }
}

fn skip_other(text: &[u8], at: usize, depth: u8) -> Option<usize> {
    match text.get(at)? {
        b't' => skip_word(text, at, b"true"),
        b'f' => skip_word(text, at, b"false"),
        b'n' => skip_word(text, at, b"null"),
        b'[' => skip_members(text, at, depth.checked_sub(1)?, b']'),
        b'{' => skip_members(text, at, depth.checked_sub(1)?, b'}'),
        b'"' => skip_string(text, at),
        b'-' | b'0'..=b'9' => number::read(text, at).map(|(_, end)| end),
        _ => None,
    }
}

/// Where `word` ends, if it stands at `at`. What follows it is for the caller to look at.
#[inline]
pub(super) fn skip_word(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// Where the object or array that starts at `at` and ends with `close` does so.
fn skip_members(text: &[u8], at: usize, depth: u8, close: u8) -> Option<usize> {
    let mut at = skip_space(text, at + 1);
    if text.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        if close == b'}' {
            if text.get(at) != Some(&b'"') {
                return None;
            }
            at = skip_space(text, skip_string(text, at)?);
            if text.get(at) != Some(&b':') {
                return None;
            }
            at = skip_space(text, at + 1);
        }
        at = skip_space(text, skip_other(text, at, depth)?);
        match text.get(at)? {
            b',' => at = skip_space(text, at + 1),
            byte if *byte == close => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The first place from `at` on that holds no white space.
pub(super) fn skip_space(text: &[u8], at: usize) -> usize {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    at + text.get(at..).unwrap_or_default().iter().take_while(is_space).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_their_quote_wherever_it_stands() {
        for length in 0..40 {
            let content: String = "aЖ€🦀z".chars().cycle().take(length).collect();
            for rest in ["", ",", ",\"another\":1234567890"] {
                let text = format!("x\"{content}\"{rest}");
                let end = content.len() + 3;
                assert_eq!(plain_string(&text, 1), Some((content.as_str(), end)));
                assert_eq!(skip_value(text.as_bytes(), 1), Some(end));
            }
            let unended = format!("\"{content}");
            assert_eq!((plain_string(&unended, 0), skip_value(unended.as_bytes(), 0)), (None, None));
            for control in ['\0', '\n', '\u{1f}'] {
                let text = format!("\"{content}{control}abcdefgh\"");
                assert_eq!((plain_string(&text, 0), skip_value(text.as_bytes(), 0)), (None, None));
            }
            let escaped = format!("\"{content}\\\"\\u00e9\\n{content}\"");
            assert_eq!(plain_string(&escaped, 0), None);
            assert_eq!(skip_value(escaped.as_bytes(), 0), Some(escaped.len()));
        }
    }

    #[test]
    fn what_is_skipped_is_what_serde_json_accepts() {
        for text in [
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,2.5,\"x\",[],{}]",
            "{\"a\":{\"b\":[null]}}",
            "{ \"a\" : 1 , \"b\" : -2e3 }",
            "\"\\u0041\\/\"",
            "[\n1\t,\r2 ]",
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            assert_eq!(skip_value(text.as_bytes(), 0), Some(text.len()), "{text}");
        }
        for text in [
            "nul",
            "tru",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[1 2]",
            "{\"a\" 1}",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\",
            "[01]",
            "[1.]",
            "{1:2}",
            "[1}",
            "{\"a\":1]",
            "[",
            "{",
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
            assert_eq!(skip_value(text.as_bytes(), 0), None, "{text}");
        }
    }

    #[test]
    fn the_doubtful_is_left_to_the_full_parser() {
        let deep = "[".repeat(33) + &"]".repeat(33);
        for text in ["\"\\ud83e\\udd80\"", "[18446744073709551615]", &deep] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            assert_eq!(skip_value(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(skip_value(&deep.as_bytes()[1..65], 0), Some(64));
    }
}
