//! Messages that could not be used, on their way to the dead-letter topic: as they came, with headers that
//! say where from and why (streaming.md §5).

use super::{BorrowedRecord, Outgoing};

/// Larger payloads are cut: the source log keeps the full copy, and librdkafka refuses messages above 1 MB,
/// which would fail the whole flush.
pub const MAX_PAYLOAD: usize = 512 * 1024;

/// A message that was not usable, copied out of the fetch buffer.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub truncated: bool,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The outcome's name, e.g. `unreadable`.
    pub code: &'static str,
    /// What is wrong, without payload values.
    pub message: String,
}

impl DeadLetter {
    pub fn new(record: &BorrowedRecord<'_>, code: &'static str, message: String) -> DeadLetter {
        let payload = record.payload();
        DeadLetter {
            topic: record.topic().to_owned(),
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key().map(|key| key[..key.len().min(MAX_PAYLOAD)].to_vec()),
            payload: payload.map(|bytes| bytes[..bytes.len().min(MAX_PAYLOAD)].to_vec()),
            truncated: payload.is_some_and(|bytes| bytes.len() > MAX_PAYLOAD),
            headers: record.headers(),
            code,
            message,
        }
    }

    /// Bytes held in memory for it.
    pub fn size(&self) -> usize {
        let value = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, held)| name.len() + value(held)).sum();
        256 + value(&self.key) + value(&self.payload) + headers
    }

    /// The record for the dead-letter topic.
    pub fn into_record(self, dead_letter_topic: &str, instance: &str) -> Outgoing {
        let mut headers = self.headers.clone();
        headers.extend(headers_of(&self, instance));
        Outgoing {
            topic: dead_letter_topic.to_owned(),
            partition: None,
            key: self.key,
            payload: self.payload,
            timestamp: self.timestamp,
            headers,
        }
    }
}

/// Tidegate's headers, and the six of Kafka Streams (KIP-1034) that tools know. All values are UTF-8.
pub fn headers_of(letter: &DeadLetter, instance: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let own = [
        ("topic", letter.topic.clone()),
        ("partition", letter.partition.to_string()),
        ("offset", letter.offset.to_string()),
        ("stage", "decode".to_owned()),
        ("code", letter.code.to_owned()),
        ("message", letter.message.clone()),
        ("schema", "tidegate.event.v1".to_owned()),
        ("attempt", "1".to_owned()),
        ("instance", instance.to_owned()),
        ("truncated", letter.truncated.to_string()),
    ];
    let streams = [
        ("exception", letter.code.to_owned()),
        ("stacktrace", String::new()),
        ("message", letter.message.clone()),
        ("topic", letter.topic.clone()),
        ("partition", letter.partition.to_string()),
        ("offset", letter.offset.to_string()),
    ];
    let header = |prefix: &str, name: &str, value: String| {
        (format!("__{prefix}.errors.{name}"), Some(value.into_bytes()))
    };
    let own = own.into_iter().map(|(name, value)| header("tidegate", name, value));
    own.chain(streams.into_iter().map(|(name, value)| header("streams", name, value))).collect()
}
