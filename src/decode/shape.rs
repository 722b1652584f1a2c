//! The shape of an event: all of its text but the values.
//!
//! A producer writes the same keys in the same order with the same white space, event after event. What
//! stands between two values is then one run of bytes, e.g. `,"amount":`, and comparing it eight bytes at a
//! time replaces the work of a parser: an event that has these runs in these places *is* an object with
//! these keys. The model and its version are part of the runs, so a shape belongs to one watched version.

use super::scan::two_words;
use crate::event::SeriesOf;

/// The runs of one kind of event, and what to do with the value after each.
#[derive(PartialEq)]
pub(super) struct Shape {
    /// Place of the watched version among the decoder's sections.
    pub(super) version: usize,
    pub(super) steps: Vec<Step>,
    /// The first step whose value goes into a column.
    pub(super) first_series: usize,
    /// What follows the last value, to the end of the text.
    pub(super) tail: Run,
    pub(super) has_features: bool,
    pub(super) has_predictions: bool,
    pub(super) text: RunText,
}

/// A run and the value behind it.
#[derive(PartialEq)]
pub(super) struct Step {
    pub(super) run: Run,
    pub(super) value: Value,
    /// Whether the key may be left out: its run is a comma and a key, no brace and no fixed value, so that
    /// what stands around it is as sound without it.
    pub(super) may_be_absent: bool,
}

/// What a value is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A column of the features or predictions.
    Series(SeriesOf, u32),
    Timestamp,
    Role,
    Namespace,
    Unit,
    RequestId,
    Latency,
    Error,
    Labels,
    /// Nobody: it has to be valid, no more.
    Ignored,
}

/// A run: its first sixteen bytes, filled up with zeros, and where the rest of it stands in the shape's text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    low: u64,
    high: u64,
    /// Which bits of `low` and `high` belong to the run.
    low_mask: u64,
    high_mask: u64,
    rest: u32,
    len: u32,
}

impl Run {
    #[inline]
    pub(super) fn len(self) -> usize {
        self.len as usize
    }
}

/// What is left of the runs of a shape that are longer than sixteen bytes.
#[derive(Default, PartialEq)]
pub(super) struct RunText {
    rest: Vec<u8>,
}

/// Bytes of a run that stand in the run itself.
const HEAD: usize = 16;

impl RunText {
    pub(super) fn add(&mut self, run: &[u8]) -> Run {
        let (head, tail) = run.split_at(run.len().min(HEAD));
        let (low, high) = two_words(head, 0);
        let ones = u128::MAX.checked_shr(8 * (HEAD - head.len()) as u32).unwrap_or(0);
        let rest = self.rest.len() as u32;
        self.rest.extend_from_slice(tail);
        let (low_mask, high_mask) = (ones as u64, (ones >> 64) as u64);
        Run { low, high, low_mask, high_mask, rest, len: run.len() as u32 }
    }

    /// Whether `run` stands at `at`.
    #[inline(always)]
    pub(super) fn is_at(&self, run: &Run, text: &[u8], at: usize) -> bool {
        let (low, high) = two_words(text, at);
        let differences = ((low ^ run.low) & run.low_mask) | ((high ^ run.high) & run.high_mask);
        differences == 0 && (run.len() <= HEAD || self.rest_is_at(run, text, at + HEAD))
    }

    fn rest_is_at(&self, run: &Run, text: &[u8], at: usize) -> bool {
        let rest = &self.rest[run.rest as usize..][..run.len() - HEAD];
        text.get(at..at + rest.len()) == Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_where_every_byte_of_it_stands() {
        let text = b"{\"a\":1,\"a_long_key_of_many_bytes\":2.5,\"b\":\"x\"}";
        let mut runs = RunText::default();
        for length in 0..text.len() {
            for at in 0..=text.len() - length {
                let run = runs.add(&text[at..at + length]);
                assert!(runs.is_at(&run, text, at));
                for changed in at..at + length {
                    let mut other = text.to_vec();
                    other[changed] ^= 0x20;
                    assert!(!runs.is_at(&run, &other, at));
                }
                if length > 0 {
                    assert!(!runs.is_at(&run, &text[..at + length - 1], at), "cut short");
                }
            }
        }
    }
}
