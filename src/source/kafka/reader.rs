//! Reading topics outside a group: what compacted topics hold, and what is written to them from now on.

use super::denial::{Operation, Using, denied, denied_code};
use super::{ClientSettings, Lifeline, Quiet, STATISTICS, ends_of};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use std::time::{Duration, Instant};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The context of a reader.
struct Reading(Lifeline);

impl ClientContext for Reading {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.note(&statistics);
    }
}

impl ConsumerContext for Reading {}

/// Where nothing came: who is lost gets nothing.
fn rescue(consumer: &BaseConsumer<Reading>) {
    consumer.context().0.rescue(consumer.client());
}

/// Reads every partition of some topics from the beginning, committed records only, and goes on with what is
/// written later. Belongs to no group.
pub struct TopicReader {
    consumer: BaseConsumer<Reading>,
    topics: String,
    denied: Option<String>,
    /// Where each partition ended when the reader started, with the position reached.
    pending: Vec<(String, i32, i64)>,
}

impl TopicReader {
    /// # Errors
    /// When the broker cannot be asked for the topics' partitions.
    pub fn from_beginning(
        settings: &ClientSettings,
        role: &str,
        topics: &[&str],
    ) -> KafkaResult<TopicReader> {
        let consumer = plain_consumer(settings, role)?;
        let mut list = TopicPartitionList::new();
        let mut pending = Vec::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == *topic);
            if let Some(code) = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from)
                && denied_code(code, Using::default()).is_some()
            {
                return Err(KafkaError::MetadataFetch(code));
            }
            for partition in found.map(|found| found.partitions()).unwrap_or_default() {
                let (low, high) = ends_of(&consumer, topic, partition.id())?;
                list.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
                if high > low {
                    pending.push(((*topic).to_owned(), partition.id(), high));
                }
            }
        }
        consumer.assign(&list)?;
        Ok(TopicReader { consumer, topics: topics.join(", "), pending, denied: None })
    }

    /// Waits at most `wait` for a record and hands it over: topic, key, value. Errors on the way end nothing: an
    /// outage leaves many of them, and records are behind them.
    pub fn poll(&mut self, wait: Duration, mut take: impl FnMut(&str, Option<&[u8]>, Option<&[u8]>)) -> bool {
        let until = Instant::now() + wait;
        loop {
            match self.consumer.poll(until.saturating_duration_since(Instant::now())) {
                Some(Ok(message)) => {
                    take(message.topic(), message.key(), message.payload());
                    return true;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "reading a topic");
                    let using = Using { topic: Some((Operation::Read, &self.topics)), ..Using::default() };
                    // Readers belong to no group: what librdkafka hears of one does not matter.
                    if is_denied(&error) {
                        self.denied = denied(&error, using);
                    }
                }
                None => {
                    rescue(&self.consumer);
                    return false;
                }
            }
            if Instant::now() >= until {
                return false;
            }
        }
    }

    /// The permission that the broker has said is missing, since the last call.
    pub fn denied(&mut self) -> Option<String> {
        self.denied.take()
    }

    /// Whether everything that stood in the topics at the start has been read.
    pub fn is_caught_up(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        if let Ok(position) = self.consumer.position() {
            self.pending.retain(|(topic, partition, high)| {
                let reached = position.find_partition(topic, *partition).map(|element| element.offset());
                !matches!(reached, Some(Offset::Offset(offset)) if offset >= *high)
            });
        }
        self.pending.is_empty()
    }
}

/// Where reading a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    Beginning,
    /// At most this many offsets before its end.
    Last(i64),
    /// The first record that was written at this time or later (milliseconds since 1970).
    Time(i64),
}

/// Reads whole partitions one after the other, outside any group, to where each ends when it is asked for.
pub struct PartitionReader {
    consumer: BaseConsumer<Reading>,
    /// Asks where partitions end.
    ends: Option<BaseConsumer<Reading>>,
}

impl PartitionReader {
    /// Reads what is committed.
    ///
    /// # Errors
    /// When the client cannot be made of its settings.
    pub fn new(settings: &ClientSettings, role: &str) -> KafkaResult<PartitionReader> {
        Ok(PartitionReader { consumer: plain_consumer(settings, role)?, ends: None })
    }

    /// Waits for transactions that are open in a partition: what one commit wrote to several partitions may
    /// become visible in one before the other.
    ///
    /// # Errors
    /// As for [`PartitionReader::new`].
    pub fn waiting(settings: &ClientSettings, role: &str) -> KafkaResult<PartitionReader> {
        Ok(PartitionReader {
            ends: Some(whole_log(settings, role)?),
            ..PartitionReader::new(settings, role)?
        })
    }

    /// How many partitions a topic has; 0 when there is no such topic.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn partitions(&self, topic: &str) -> KafkaResult<i32> {
        let metadata = self.consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        Ok(found.map_or(0, |found| found.partitions().len() as i32))
    }

    /// Reads a partition: key and value of every committed record. Ends early, without an error, when `take`
    /// returns false.
    ///
    /// # Errors
    /// When the broker cannot be reached, or the end is not reached by `deadline` (`KafkaError::Canceled`).
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        from: ReadFrom,
        deadline: Instant,
        mut take: impl FnMut(&[u8], Option<&[u8]>) -> bool,
    ) -> KafkaResult<()> {
        let ends = self.ends.as_ref().unwrap_or(&self.consumer);
        let (low, high) = ends_of(ends, topic, partition)?;
        let start = match from {
            ReadFrom::Beginning => low,
            ReadFrom::Last(offsets) => low.max(high - offsets),
            ReadFrom::Time(time) => {
                match self.offset_at(topic, partition, time)?.filter(|found| *found < high) {
                    Some(found) => found.max(low),
                    // The embedded broker of the demo knows no times: it finds nothing since 1970 either.
                    None if self.offset_at(topic, partition, 1)?.is_none_or(|first| first >= high) => low,
                    None => high,
                }
            }
        };
        if start >= high {
            return Ok(());
        }
        // A client that is new first learns of the brokers, and lets go of the connection that told it. A question for
        // the partition's leader may get lost there; this one is asked again.
        self.consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(start))?;
        self.consumer.assign(&list)?;
        drop(list);
        loop {
            match self.consumer.poll(Duration::from_millis(20)) {
                // What the partition before had still under way is of no interest.
                Some(Ok(message)) if message.partition() != partition || message.topic() != topic => {}
                Some(Ok(message)) if message.offset() >= high => return Ok(()),
                Some(Ok(message)) => {
                    let wanted = take(message.key().unwrap_or_default(), message.payload());
                    if !wanted || message.offset() + 1 >= high {
                        return Ok(());
                    }
                }
                Some(Err(error)) if is_denied(&error) => return Err(error),
                Some(Err(error)) => tracing::debug!(%error, topic, partition, "reading a partition"),
                // Aborted and control records at the end move the position, but yield no message.
                None if position(&self.consumer, topic, partition) >= high => return Ok(()),
                None => rescue(&self.consumer),
            }
            if Instant::now() > deadline {
                return Err(KafkaError::Canceled);
            }
        }
    }

    fn offset_at(&self, topic: &str, partition: i32, time: i64) -> KafkaResult<Option<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(time))?;
        let found = self.consumer.offsets_for_times(list, CALL_TIMEOUT)?;
        Ok(match found.find_partition(topic, partition).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }
}

fn is_denied(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}

fn position(consumer: &BaseConsumer<Reading>, topic: &str, partition: i32) -> i64 {
    let position = consumer.position().ok();
    let element = position.as_ref().and_then(|list| list.find_partition(topic, partition));
    match element.map(|element| element.offset()) {
        Some(Offset::Offset(offset)) => offset,
        _ => -1,
    }
}

/// How much a reader reads ahead, as its queue counts it: decompressed.
const READ_AHEAD_KIB: usize = 2_048;
/// What one fetch brings, compressed. All of it is decompressed before any of it is queued, and state compresses well:
/// left at librdkafka's 1 MiB, the memory that a restore takes grows with the log that it reads.
const FETCH_KIB: usize = 128;

fn plain_consumer(settings: &ClientSettings, role: &str) -> KafkaResult<BaseConsumer<Reading>> {
    BaseConsumer::from_config_and_context(&reader_config(settings, role), Reading(Lifeline::new(settings)))
}

/// Asks for ends that open transactions do not hold back.
fn whole_log(settings: &ClientSettings, role: &str) -> KafkaResult<BaseConsumer<Reading>> {
    let mut config = reader_config(settings, role);
    config.set("isolation.level", "read_uncommitted");
    // Nobody polls it: statistics would pile up.
    config.set("statistics.interval.ms", "0");
    BaseConsumer::from_config_and_context(&config, Reading(Lifeline::new(settings)))
}

fn reader_config(settings: &ClientSettings, role: &str) -> ClientConfig {
    // Fetches are small, so that little time is enough for a whole one: see [`ClientSettings::consumer`].
    let mut config = settings.with_default("socket.timeout.ms", "10000".to_owned()).consumer(role);
    config.remove("group.protocol");
    // librdkafka wants a group id before it lets anyone assign; nothing is ever committed under it.
    config.set("group.id", format!("{}-{role}-reader", settings.client_id));
    config.set("statistics.interval.ms", STATISTICS.as_millis().to_string());
    // What is read is used at once: a long queue would only raise the memory that every restore leaves behind.
    config.set("queued.max.messages.kbytes", READ_AHEAD_KIB.to_string());
    config.set("fetch.max.bytes", (READ_AHEAD_KIB << 10).to_string());
    config.set("fetch.message.max.bytes", (FETCH_KIB << 10).to_string());
    config
}
