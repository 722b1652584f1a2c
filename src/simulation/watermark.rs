//! How far event time is complete, worked out from the markers once more and in another way than the judge
//! does: the oracle of I4.

use super::{FLUSH_EVERY, JUDGE};
use crate::tally::record::Marker;
use std::collections::BTreeMap;

/// What the markers said of a source.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    watermark: Option<i64>,
    idle: bool,
    said_at: i64,
}

/// The words of all sources.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    words: BTreeMap<i32, Word>,
    clock: i64,
}

impl Words {
    /// Hears a marker that is no repetition.
    pub(super) fn hear(&mut self, marker: &Marker) {
        self.clock = self.clock.max(marker.wall_clock);
        for range in &marker.sources {
            let word = self.words.entry(range.partition).or_default();
            word.watermark = word.watermark.max(range.watermark);
            word.idle = range.idle;
            // Counted from when it was heard: the clocks of replicas are apart.
            word.said_at = self.clock;
        }
    }

    /// Hears a repetition: it tells the time, and that a source is read again.
    pub(super) fn hear_again(&mut self, marker: &Marker) {
        self.clock = self.clock.max(marker.wall_clock);
        for range in marker.sources.iter().filter(|range| !range.idle) {
            self.words.entry(range.partition).or_default().idle = false;
        }
    }

    /// Whether every one of `sources` partitions has passed `time`, or is idle on a word that is not older
    /// than three flushes. When all are idle nothing can come that was produced before their words.
    pub(super) fn all_passed(&self, sources: usize, time: i64) -> bool {
        let mut words = (0..sources as i32).map(|source| self.words.get(&source));
        words.all(|word| {
            word.is_some_and(|word| {
                let alive = self.clock - word.said_at <= 3 * FLUSH_EVERY;
                (word.idle && alive) || word.watermark.is_some_and(|watermark| watermark >= time)
            })
        })
    }

    /// The latest moment at which a pane that ends at `end` may be waited for.
    pub(super) fn due(end: i64) -> i64 {
        end + JUDGE.lateness_ms
    }
}
