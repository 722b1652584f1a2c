//! Answers that had their time to be labelled.

use crate::baseline::WatchedVersion;
use crate::event::EventTime;
use crate::tally::labels::Labels;
use crate::tally::record::MaturedCounts;
use crate::tally::scores::Scores;

/// The answers of some panes, each of which matured once: with labels, or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matured {
    /// Event time of the first pane's start, and of the last one's end.
    pub start: EventTime,
    pub end: EventTime,
    pub labels: Labels,
    /// Of numeric outputs.
    pub scores: Scores,
}

impl Matured {
    /// Adds a record's counts to those of earlier ones. Returns whether they fitted.
    pub(in crate::judge) fn join(
        into: &mut Option<Matured>,
        watched: &WatchedVersion,
        counts: &MaturedCounts,
    ) -> bool {
        let (start, end) = (EventTime(counts.start), EventTime(counts.end));
        let none = || Matured { start, end, labels: Labels::default(), scores: Scores::default() };
        let sum = into.get_or_insert_with(none);
        (sum.start, sum.end) = (sum.start.min(start), sum.end.max(end));
        let labels = sum.labels.add(watched, &counts.labels);
        sum.scores.add(watched, &counts.scores) && labels
    }

    /// The record form.
    pub(in crate::judge) fn record(&self, watched: &WatchedVersion) -> MaturedCounts {
        MaturedCounts {
            start: self.start.0,
            end: self.end.0,
            labels: self.labels.record(watched),
            scores: self.scores.record(watched),
        }
    }
}
