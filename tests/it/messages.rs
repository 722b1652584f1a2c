//! What tests produce and read back, and the producer that counts what the broker did not take.

use super::broker::REQUEST_LIMIT;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate::source::kafka::{ClientSettings, Lifeline};

/// A message to produce: a value, and whatever else a test cares about.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Milliseconds since the epoch; absent: the time of producing.
    pub timestamp: Option<i64>,
}

impl Message {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub fn timestamp(mut self, milliseconds: i64) -> Self {
        self.timestamp = Some(milliseconds);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn record<'a>(&'a self, topic: &'a str) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::to(topic);
        record.partition = self.partition;
        record.timestamp = self.timestamp;
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        if !self.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(self.headers.len());
            let headers = self.headers.iter().fold(empty, |all, (name, value)| {
                all.insert(Header { key: name, value: Some(value.as_slice()) })
            });
            record.headers = Some(headers);
        }
        record
    }
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The value as text; what is not UTF-8 is shown replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The text of the first header of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
    }
}

/// A producer that counts what the broker did not take.
pub struct TestProducer {
    /// The client itself, for transactions.
    pub inner: ThreadedProducer<Deliveries>,
    refused: Arc<AtomicU64>,
}

impl TestProducer {
    pub fn new(config: &ClientConfig) -> Self {
        let refused = Arc::new(AtomicU64::new(0));
        let lifeline = Lifeline::new(&ClientSettings {
            brokers: config.get("bootstrap.servers").expect("servers").to_owned(),
            properties: BTreeMap::new(),
            client_id: "test".to_owned(),
        });
        let mut config = config.clone();
        config.set("statistics.interval.ms", "1000");
        let context = Deliveries { refused: refused.clone(), lifeline };
        let inner = config.create_with_context(context).expect("producer");
        Self { inner, refused }
    }

    /// Queues one message; waits while the queue is full or the partition is not known yet.
    pub fn send(&self, topic: &str, message: &Message) {
        use RDKafkaErrorCode::{QueueFull, UnknownPartition};
        let mut record = message.record(topic);
        let started = Instant::now();
        loop {
            self.rescue();
            match self.inner.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(QueueFull), back)) => record = back,
                // It was added a moment ago.
                Err((KafkaError::MessageProduction(UnknownPartition), back))
                    if started.elapsed() < REQUEST_LIMIT =>
                {
                    record = back;
                }
                Err((error, _)) => panic!("producing to {topic}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The broker may be the only one there is, and be restarted.
    fn rescue(&self) {
        self.inner.context().lifeline.rescue(self.inner.client());
    }

    /// Waits until everything is delivered. Panics if something was not.
    pub fn flush(&self) {
        self.flush_within(REQUEST_LIMIT);
    }

    /// As [`TestProducer::flush`], with patience of the caller's.
    pub fn flush_within(&self, limit: Duration) {
        let started = Instant::now();
        while let Err(error) = self.inner.flush(Duration::from_secs(1)) {
            assert!(started.elapsed() < limit, "everything delivered in time: {error}");
            self.rescue();
        }
        assert_eq!(self.refused.load(Ordering::Acquire), 0, "messages that the broker did not take");
    }
}

/// Counts failed deliveries, and hears when no broker is known any more.
pub struct Deliveries {
    refused: Arc<AtomicU64>,
    lifeline: Lifeline,
}

impl ClientContext for Deliveries {
    fn stats(&self, statistics: Statistics) {
        self.lifeline.note(&statistics);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.refused.fetch_add(1, Ordering::Release);
        }
    }
}

/// A message as a record of our own.
pub fn record_of(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers = message
        .headers()
        .map(|all| all.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect::<Vec<_>>());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
