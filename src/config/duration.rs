//! Durations as people write them: `250ms`, `60s`, `5m`, `1h30m`, `7d`.

use std::time::Duration;

/// What a duration looks like, for messages.
pub(super) const EXPECTED: &str = "a duration such as \"250ms\", \"60s\", \"5m\", \"1h30m\" or \"7d\"";

/// Reads one or more whole numbers, each with a unit of `ms`, `s`, `m`, `h` or `d`, largest unit first.
/// `None` for anything else, and for more than 2^64 - 1 milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit = unit_ms(&rest[..letters]).filter(|unit| *unit < last)?;
        rest = &rest[letters..];
        last = unit;
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    Some(Duration::from_millis(total))
}

fn unit_ms(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn units_add_up_and_nonsense_is_refused() {
        for (text, ms) in [("250ms", 250), ("60s", 60_000), ("1h30m", 5_400_000), ("7d", 604_800_000)] {
            assert_eq!(parse_duration(text).map(|one| one.as_millis()), Some(ms), "{text}");
        }
        for text in ["", "5", "s", "1m1h", "1s1s", "-1s", "1.5s", "1 s", "99999999999999999999s", "5é"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
