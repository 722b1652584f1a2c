//! Which source partitions have nothing left to read, and how far the others are from their end.

use super::tally_stage::{Counting, TallyAssignment, topic_partition};
use crate::source::kafka::{GroupConsumer, TopicPartition};
use crate::tally::SourceKey;
use std::time::Instant;

impl Counting {
    /// Marks the sources that have had nothing to read for `idle_timeout`.
    pub(super) fn look_for_idle(&mut self, consumer: &GroupConsumer<TallyAssignment>) {
        let sources: Vec<(SourceKey, i64)> =
            self.tally.sources().map(|(key, next)| (key.clone(), next)).collect();
        for (source, next) in sources {
            let partition = topic_partition(&source);
            let Some(end) = consumer.end(&partition) else { continue };
            // Control records at the end move the position, but never arrive.
            let position = consumer.position(&partition).filter(|_| !self.stopped.holds(&source.topic));
            let reached = position.map_or(next, |position| position.max(next));
            let labels = [source.topic.as_str(), &source.partition.to_string()];
            self.metrics.consumer_lag.with_label_values(&labels).set((end.stable - reached).max(0) as f64);
            if reached < end.stable {
                self.at_end_since.remove(&source);
                self.tally.set_idle(&source, false);
                continue;
            }
            let since = *self.at_end_since.entry(source.clone()).or_insert_with(Instant::now);
            self.tally.set_idle(&source, since.elapsed() >= self.settings.idle_timeout);
        }
    }

    pub(super) fn forget_lag(&self, partition: &TopicPartition) {
        let labels = [partition.topic.as_str(), &partition.partition.to_string()];
        // It is not there when no statistics came yet.
        let _ = self.metrics.consumer_lag.remove_label_values(&labels);
    }
}
