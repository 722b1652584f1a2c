//! Whether the traffic is split as its owner has set it, over the panes whose weight is known (statistics.md §9.6).

use crate::event::EventTime;
use crate::judge::weights::NEAR_CHANGE_MS;
use crate::stats::sequential::srm::{DEFAULT_TOLERANCE, SampleRatio, Sampling, Split, Tolerance};
use serde::{Deserialize, Serialize};

/// The canary's share of the traffic as its owner has set it, over one pane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// Nobody says.
    Unknown,
    /// It is told, but changed in the pane or near it.
    Unclear,
    /// Told for the pane's time, 0 to 1.
    Told(f64),
    /// What the configuration says, as it was read at a time of the wall clock: a share that is another than before
    /// holds from then on.
    Configured { share: f64, read_at: EventTime },
}

/// How many of each arm's requests Tidegate hears of, as it was read at a time of the wall clock: fractions that are
/// others than before hold from then on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    pub fractions: Sampling,
    pub read_at: EventTime,
}

/// The split of the panes whose weight is known, beside the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitTest {
    /// Sequential, of "split as set, within the tolerance".
    pub p_value: f64,
    /// The canary's share of these panes' events.
    pub share: f64,
    /// What the weights and the sampling let expect, averaged over them; of equally sampled arms the weight itself.
    pub expected: f64,
    /// The arms are sampled differently.
    pub sampled: bool,
    /// More than one weight was set in them.
    pub changed: bool,
}

/// The test as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct RatioRecord {
    closed: f64,
    share: f64,
    canary: u64,
    stable: u64,
    largest: f64,
    /// Panes that start before this time are left out.
    #[serde(default)]
    from: i64,
    /// See [`RatioRecord::sampling`]; 0 where none is stored, for which 1 stands.
    #[serde(default)]
    sampled: f64,
    /// Of all runs: the canary's events, all events, and the canary's as they were to be expected.
    #[serde(default)]
    all_canary: u64,
    #[serde(default)]
    all: u64,
    #[serde(default)]
    expected: f64,
}

impl RatioRecord {
    /// Takes a pane (`[start, end)` in milliseconds since 1970) in. Left out: panes whose weight is not known, or
    /// leaves one arm without traffic, and those near a change: near the first pane of the rollout (`is_first`), in
    /// which the canary appears at some moment, and near the time a changed configuration was read. With another
    /// sampling the test begins anew: what it had found was of a split that nobody had set.
    pub(super) fn add(
        &mut self,
        (weight, sampled): (Weight, Sampled),
        (start, end): (i64, i64),
        split: Split,
        is_first: bool,
    ) {
        let after = |change: EventTime| change.0.saturating_add(NEAR_CHANGE_MS);
        let sampling = sampled.fractions.ratio();
        if is_first {
            self.from = after(EventTime(end));
        } else if sampling != self.sampling() {
            *self = RatioRecord { from: after(sampled.read_at), ..RatioRecord::default() };
        }
        self.sampled = sampling;
        let (set, read_at) = match weight {
            Weight::Unknown | Weight::Unclear => return,
            Weight::Told(set) => (set, None),
            Weight::Configured { share, read_at } => (share, Some(read_at)),
        };
        let Some(share) = sampled.fractions.expected_share(set) else { return };
        if let Some(read_at) = read_at.filter(|_| share != self.share && !is_first) {
            self.from = self.from.max(after(read_at));
        }
        self.fill_totals();
        // A run begins with its weight, also where its first panes are left out.
        let counted = if start < self.from { Split::default() } else { split };
        let mut ratio = self.ratio();
        ratio.add(share, Tolerance { weight: DEFAULT_TOLERANCE, ratio: sampling }, counted);
        let SampleRatio { closed, share, canary, stable, largest } = ratio;
        let events = counted.canary.saturating_add(counted.stable);
        *self = RatioRecord {
            closed,
            share,
            canary,
            stable,
            largest,
            from: self.from,
            sampled: self.sampled,
            all_canary: self.all_canary.saturating_add(counted.canary),
            all: self.all.saturating_add(events),
            expected: self.expected + share * events as f64,
        };
    }

    /// `None` while the weight is not known, or was never.
    pub(super) fn test(&self, weight: Weight) -> Option<SplitTest> {
        if weight == Weight::Unknown || self.share <= 0.0 {
            return None;
        }
        let mut record = *self;
        record.fill_totals();
        let all = record.all.max(1) as f64;
        Some(SplitTest {
            p_value: self.ratio().p_value(),
            share: record.all_canary as f64 / all,
            expected: record.expected / all,
            sampled: record.sampling() != 1.0,
            changed: record.all > self.canary.saturating_add(self.stable),
        })
    }

    /// The canary's sampling fraction over stable's, of all panes so far.
    fn sampling(&self) -> f64 {
        if self.sampled > 0.0 { self.sampled } else { 1.0 }
    }

    /// Stored without totals: the run is all there is to know of.
    fn fill_totals(&mut self) {
        if self.all == 0 {
            (self.all_canary, self.all) = (self.canary, self.canary.saturating_add(self.stable));
            self.expected = self.share * self.all as f64;
        }
    }

    fn ratio(&self) -> SampleRatio {
        let RatioRecord { closed, share, canary, stable, largest, .. } = *self;
        SampleRatio { closed, share, canary, stable, largest }
    }
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
