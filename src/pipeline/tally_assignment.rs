//! What the tally stage does when source partitions come and go.

use super::starting;
use super::tally_stage::{TallyAssignment, source_key};
use super::topic_ids;
use crate::source::kafka::{Assignment, Member, StartOffset, TopicPartition, membership};
use rdkafka::error::KafkaError;
use std::time::Duration;

/// The same when a partition is waited for by its next owner.
const REVOKE_LIMIT: Duration = Duration::from_secs(4);

impl Assignment for TallyAssignment {
    fn assigned(&self, member: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        let mut counting = self.lock();
        counting.stage.joined();
        counting.metrics.rebalances.with_label_values(&["tally"]).inc();
        let committed = starting::committed_or_none(member, partitions);
        topic_ids::learn(&mut counting, member);
        let mut starts = Vec::new();
        for (partition, offset) in partitions.iter().zip(committed) {
            let source = source_key(partition);
            match offset {
                // The rewind starts it with all others.
                _ if counting.rewind => {}
                Some(offset) => {
                    let start = counting.start_of(partition, offset);
                    counting.tally.start_source(start);
                    starts.push(StartOffset { partition: partition.clone(), offset });
                }
                None => counting.starting.add(source),
            }
        }
        tracing::info!(
            partitions = partitions.len(),
            new = counting.starting.len(),
            "tally: partitions assigned"
        );
        starts
    }

    fn revoked(&self, member: &Member<Self>, partitions: &[TopicPartition], lost: bool) {
        let mut counting = self.lock();
        counting.stage.joined();
        counting.metrics.rebalances.with_label_values(&["tally"]).inc();
        match membership(member).filter(|_| !lost) {
            Some(group) => counting.flush(Some(group), REVOKE_LIMIT),
            None => counting.give_up("partitions were lost"),
        }
        for partition in partitions {
            let source = source_key(partition);
            counting.forget_lag(partition);
            counting.tally.drop_source(&source);
            counting.starting.remove(&source);
            counting.gone.remove(&source);
            counting.stopped.remove(&source);
            counting.idleness.forget(&source);
        }
        tracing::info!(partitions = partitions.len(), lost, "tally: partitions revoked");
    }

    fn error(&self, error: &KafkaError) {
        tracing::debug!(%error, "tally: kafka error");
        // Not through `lock`: librdkafka may report errors while a callback holds the counts.
        if let Ok(counting) = self.counting.try_lock() {
            counting.metrics.kafka_errors.with_label_values(&["tally"]).inc();
        }
    }
}
