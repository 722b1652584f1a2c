//! The judges of partitions, taken out of Kafka: when partitions are assigned, and when what was judged could not
//! be written.

use super::judge_metrics::show_progress;
use super::judge_stage::{JudgeAssignment, Pending, connect, lock};
use super::restore::{self, Stored};
use super::supervise::StageEnd;
use crate::source::kafka::{
    GroupConsumer, Member, PartitionReader, StartOffset, TopicPartition, TransactionError,
    TransactionalProducer, committed_when_stable,
};
use std::time::{Duration, Instant};

/// How long the transaction of a partition's owner before may stay open: until the broker gives it up, and some.
const PENDING_LIMIT: Duration = Duration::from_secs(25);
/// How long moving the consumer back may be refused.
const SEEK_LIMIT: Duration = Duration::from_secs(5);
const SEEK_AGAIN: Duration = Duration::from_millis(100);

impl JudgeAssignment {
    /// Restores the judges of these partitions; where each goes on. What cannot be read breaks the stage.
    pub(super) fn restore(&self, member: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        // Waits for the transaction of whoever had these partitions before.
        if let Err(error) = committed_when_stable(member, partitions, PENDING_LIMIT) {
            lock(&self.broken).get_or_insert_with(|| format!("committed offsets could not be read: {error}"));
            return Vec::new();
        }
        let mut starts = Vec::new();
        let started = Instant::now();
        let reader = PartitionReader::waiting(&self.settings.client, "restore");
        // Laid out once for all partitions: with many models that takes longer than a partition's panes.
        let rules = (self.settings.rules)(&self.watch);
        let restore = |partition: i32| {
            let reader = reader.as_ref().map_err(|error| format!("a reader could not be made: {error}"))?;
            let expected = lock(&self.expected).clone();
            let stored = Stored { reader, metrics: &self.metrics };
            restore::slot(&self.settings, &stored, member, &self.watch, &rules, expected, partition)
        };
        for partition in partitions {
            self.stage.beat();
            match restore(partition.partition) {
                Ok(slot) => {
                    starts.push(StartOffset { partition: partition.clone(), offset: slot.judge.applied() });
                    show_progress(&self.metrics, &slot, slot.judge.watermark());
                    lock(&self.slots).insert(partition.partition, slot);
                    *lock(&self.lives).entry(partition.partition).or_default() += 1;
                }
                Err(why) => {
                    lock(&self.broken).get_or_insert(why);
                }
            }
        }
        let took = started.elapsed();
        if !partitions.is_empty() {
            self.metrics.restore_duration.with_label_values(&["judge"]).observe(took.as_secs_f64());
        }
        let took_ms = took.as_millis() as u64;
        tracing::info!(partitions = partitions.len(), took_ms, "judge: partitions taken out of Kafka");
        starts
    }
}

/// Goes on after a transaction that did not happen, or of which nobody knows: everything since the last one is
/// forgotten and judged again. The group sees nothing of it.
///
/// # Errors
/// When the stage must be built anew.
pub(super) fn go_back(
    consumer: &GroupConsumer<JudgeAssignment>,
    assignment: &JudgeAssignment,
    producer: &mut TransactionalProducer,
    pending: &mut Pending,
    error: TransactionError,
) -> Result<(), StageEnd> {
    let why = error.to_string();
    match error {
        TransactionError::Fenced { .. } => return Err(error.into()),
        // The next one with this id decides what became of the transaction.
        TransactionError::ProducerLost(_) => *producer = connect(&assignment.settings)?,
        TransactionError::Aborted(_) => {}
    }
    if assignment.stage.failed(&why) {
        tracing::warn!(why, "judge: what was judged since the last commit is discarded and judged again");
    }
    assignment.metrics.commits_discarded.with_label_values(&["judge"]).inc();
    *pending = Pending::default();
    let topic = &assignment.settings.own.tallies;
    let partition = |partition: &i32| TopicPartition { topic: topic.clone(), partition: *partition };
    let partitions: Vec<TopicPartition> = lock(&assignment.slots).keys().map(partition).collect();
    for start in assignment.restore(consumer.member(), &partitions) {
        move_back(consumer, &start)?;
    }
    match lock(&assignment.broken).take() {
        Some(why) => Err(why.into()),
        None => Ok(()),
    }
}

fn move_back(consumer: &GroupConsumer<JudgeAssignment>, start: &StartOffset) -> Result<(), String> {
    let until = Instant::now() + SEEK_LIMIT;
    loop {
        match consumer.seek(&start.partition, start.offset) {
            Err(_) if Instant::now() < until => std::thread::sleep(SEEK_AGAIN),
            Err(error) => return Err(format!("{} could not be read again: {error}", start.partition)),
            Ok(()) => return Ok(()),
        }
    }
}
