//! What structured fuzzing shares: how many inputs, which ones, and how they are damaged.
//!
//! `TIDEGATE_FUZZ_CASES` sets how many inputs the decoder gets (default 1,000,000); the others get shares of that
//! number. `TIDEGATE_FUZZ_SEED` sets which ones; a failure names the seed and the case.

use fastrand::Rng;

/// `percent` of the decoder's inputs of a test run.
pub(crate) fn cases(percent: u64) -> u64 {
    number_from("TIDEGATE_FUZZ_CASES").unwrap_or(1_000_000) * percent / 100
}

pub(crate) fn seed(default: u64) -> u64 {
    number_from("TIDEGATE_FUZZ_SEED").unwrap_or(default)
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// One small damage: a bit, a byte, one of `marks`, a span cut out or copied to another place.
pub(crate) fn damage(random: &mut Rng, bytes: &mut Vec<u8>, marks: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(..bytes.len());
    let end = (at + 1 + random.usize(..24)).min(bytes.len());
    match random.u8(..10) {
        0 | 1 => bytes[at] ^= 1 << random.u8(..8),
        2 => bytes[at] = random.u8(..),
        3 => drop(bytes.remove(at)),
        4 => bytes.insert(at, random.u8(..)),
        5 => bytes.insert(at, marks[random.usize(..marks.len())]),
        6 => bytes[at] = marks[random.usize(..marks.len())],
        7 if random.u8(..4) == 0 => bytes.truncate(at),
        8 => drop(bytes.drain(at..end)),
        _ => {
            let span = bytes[at..end].to_vec();
            let to = random.usize(..=bytes.len());
            drop(bytes.splice(to..to, span));
        }
    }
}

/// A number at or near one of the edges where arithmetic goes wrong.
pub(crate) fn edge(random: &mut Rng) -> i64 {
    let power = 1_i64 << random.u8(..63);
    match random.u8(..8) {
        0 => i64::MIN,
        1 => i64::MAX,
        2 => random.i64(-2..=2),
        3 => power.wrapping_neg(),
        4 => power - 1,
        5 => power,
        6 => random.i64(..),
        _ => 1 << [31, 32, 52, 53, 53, 62, 62, 62][random.usize(..8)],
    }
}
