//! Transactions, and what to do when one fails (streaming.md §1.1).
//!
//! A retriable error is retried. An abortable one aborts; the caller then goes back to the last committed
//! offsets. Anything else, and any commit that was slow or unclear, means that this producer must not be used
//! again: a fresh one fences whatever of the old one is still on its way to the broker.

use super::client::log;
use super::native::{self, NativeError};
use super::{ClientSettings, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Retries of a retriable error before the transaction is given up.
const MAX_RETRIES: u32 = 20;
/// A commit that takes longer is treated as unclear: the next transaction gets a fresh producer.
const SLOW_COMMIT: Duration = Duration::from_secs(1);

/// A record to be written.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    pub topic: String,
    /// `None`: by the key's hash.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// `None`: a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Everything that becomes visible together.
#[derive(Default)]
pub struct Transaction {
    pub records: Vec<Outgoing>,
    /// Next offset to read per input partition.
    pub offsets: Vec<(TopicPartition, i64)>,
    /// The consumer these offsets belong to, as of now: fences zombies.
    pub group: Option<ConsumerGroupMetadata>,
}

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Aborted: nothing of it is visible. Go back to the committed offsets and go on.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// This producer is of no more use (fenced, or its state is unclear). Discard what was not committed, make
    /// a new one.
    #[error("producer lost: {0}")]
    ProducerLost(String),
}

#[derive(Default)]
struct DeliveryContext {
    /// The first failed delivery of the running transaction.
    failure: Mutex<Option<String>>,
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer error");
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            failure.get_or_insert_with(|| error.to_string());
        }
    }
}

/// A producer with a transactional id. Delivery reports are served by its own thread.
pub struct TransactionalProducer {
    producer: ThreadedProducer<DeliveryContext>,
    stale: bool,
}

impl TransactionalProducer {
    /// Connects and fences every earlier producer with this id.
    ///
    /// # Errors
    /// When the broker cannot be reached within 30 s, refuses the id, or lacks transactions.
    pub fn connect(settings: &ClientSettings, role: &str, id: &str) -> Result<Self, KafkaError> {
        let config = settings.transactional_producer(role, id);
        let producer: ThreadedProducer<DeliveryContext> =
            ThreadedProducer::from_config_and_context(&config, DeliveryContext::default())?;
        producer.init_transactions(INIT_TIMEOUT)?;
        Ok(TransactionalProducer { producer, stale: false })
    }

    /// Whether the last commit was slow or unclear, so that a fresh producer should take over.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Writes all of `transaction`, or nothing.
    pub fn run(&mut self, transaction: &Transaction) -> Result<(), TransactionError> {
        self.producer.begin_transaction().map_err(|error| lost(&error))?;
        self.clear_failure();
        if let Err(error) = self.fill(transaction) {
            return Err(self.abort(error));
        }
        let started = Instant::now();
        let result = self.commit();
        self.stale |= started.elapsed() > SLOW_COMMIT;
        result
    }

    fn fill(&self, transaction: &Transaction) -> Result<(), KafkaError> {
        for record in &transaction.records {
            self.send(record)?;
        }
        let Some(group) = &transaction.group else { return Ok(()) };
        let mut offsets = TopicPartitionList::with_capacity(transaction.offsets.len());
        for (source, next) in &transaction.offsets {
            offsets.add_partition_offset(&source.topic, source.partition, Offset::Offset(*next))?;
        }
        if offsets.count() == 0 {
            return Ok(());
        }
        retry(|| self.producer.send_offsets_to_transaction(&offsets, group, CALL_TIMEOUT))
    }

    fn send(&self, record: &Outgoing) -> Result<(), KafkaError> {
        let mut attempts = 0;
        loop {
            match self.producer.send(base_record(record)) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if attempts < 2_000 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn commit(&mut self) -> Result<(), TransactionError> {
        let mut attempts = 0;
        loop {
            match native::commit_transaction(self.producer.client()) {
                Ok(()) => return Ok(()),
                Err(error) if error.retriable && attempts < MAX_RETRIES => {
                    attempts += 1;
                    self.stale = true;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) if error.requires_abort => {
                    let why = self.take_failure().unwrap_or(error.message.clone());
                    return Err(self.abort_because(why));
                }
                Err(NativeError { message, .. }) => {
                    self.stale = true;
                    return Err(TransactionError::ProducerLost(message));
                }
            }
        }
    }

    fn abort(&mut self, error: KafkaError) -> TransactionError {
        let fatal = matches!(&error, KafkaError::Transaction(inner) if inner.is_fatal())
            || self.producer.client().fatal_error().is_some();
        if fatal {
            self.stale = true;
            return lost(&error);
        }
        self.abort_because(error.to_string())
    }

    fn abort_because(&mut self, why: String) -> TransactionError {
        match retry(|| self.producer.abort_transaction(CALL_TIMEOUT)) {
            Ok(()) => TransactionError::Aborted(why),
            Err(error) => {
                self.stale = true;
                TransactionError::ProducerLost(format!("{why}; and the abort failed: {error}"))
            }
        }
    }

    fn clear_failure(&self) {
        self.take_failure();
    }

    fn take_failure(&self) -> Option<String> {
        let context = self.producer.context();
        context.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

fn base_record(record: &Outgoing) -> BaseRecord<'_, [u8], [u8]> {
    let mut base = BaseRecord::to(&record.topic);
    base.partition = record.partition;
    base.key = record.key.as_deref();
    base.payload = record.payload.as_deref();
    base.timestamp = record.timestamp;
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        base.headers = Some(headers);
    }
    base
}

fn retry(mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let mut attempts = 0;
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && attempts < MAX_RETRIES => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

fn lost(error: &KafkaError) -> TransactionError {
    TransactionError::ProducerLost(error.to_string())
}
