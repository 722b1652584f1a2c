//! Kafka through librdkafka: group consumers with batch consumption, transactions, own topics.

mod admin;
mod client;
mod dead_letter;
mod denial;
mod ends;
mod group;
mod lifeline;
mod native;
mod reader;
mod rights;
mod transaction;
mod writer;

pub use admin::{TopicSpec, broker_count, ensure_topics, partition_counts, refused_topics};
pub use client::{ClientSettings, PRODUCER_QUEUE_KIB, Quiet};
pub use dead_letter::{Cut, DeadLetter, headers_of};
pub use denial::{Operation, Using, explain};
pub use ends::ends_of;
pub use group::{
    Assignment, GroupConsumer, GroupContext, Member, PartitionEnd, StartOffset, committed,
    committed_when_stable, is_offset_gone, membership,
};
pub use lifeline::{Lifeline, STATISTICS};
pub use native::{BatchQueue, BorrowedRecord, MAX_BATCH, topic_ids};
pub use reader::{PartitionReader, ReadFrom, TopicReader};
pub use rights::{TopicUse, missing_topic_rights, missing_transactional_right};
pub use transaction::{Outgoing, Transaction, TransactionError, TransactionalProducer};
pub use writer::write_one;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}[{}]", self.topic, self.partition)
    }
}
