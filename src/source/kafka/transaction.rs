//! Transactions, and what to do when one fails (streaming.md §1.1).
//!
//! A retriable error is retried. An abortable one aborts; the caller then goes back to the last committed
//! offsets. Anything else, and any commit that was slow or unclear, means that this producer must not be used
//! again: a fresh one fences whatever of the old one is still on its way to the broker. No transaction takes
//! longer than its caller allows, whatever the broker does.

use super::client::log;
use super::denial::{Operation, Using, denied_text};
use super::native::{self, NativeError};
use super::{ClientSettings, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// A commit that takes longer is treated as unclear: the next transaction gets a fresh producer.
const SLOW_COMMIT: Duration = Duration::from_secs(1);
/// Between two tries of a retriable call.
const PAUSE: Duration = Duration::from_millis(50);
/// What an abort gets at least when its transaction has used up its time.
const ABORT_AT_LEAST: Duration = Duration::from_millis(500);
/// How long after its time a call may still answer.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// The broker gives up a transaction that is older (`transaction.timeout.ms`, less a second for the way): its
/// producer is fenced then without any other one being there.
const ENDED_BY_BROKER: Duration = Duration::from_secs(14);
/// Set by the test of what happens without fresh producers, and by nobody else.
const KEEP_SLOW_PRODUCER: &str = "TIDEGATE_TEST_KEEP_SLOW_PRODUCER";

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
    /// This producer is of no more use (its state is unclear). Discard what was not committed, make a new one.
    #[error("producer lost: {0}")]
    ProducerLost(String),
    /// Another producer with the same transactional id has taken over. Discard what was not committed.
    #[error("fenced by another producer with the transactional id {id}: {why}")]
    Fenced { id: String, why: String },
}

impl TransactionError {
    /// Names the permission that is missing, where that is the reason. `not_added`: what librdkafka logged of the
    /// topics that it could not add, for its error does not name them.
    fn explained(self, transaction: &Transaction, not_added: &str, id: &str) -> TransactionError {
        let explain = |why: String| {
            let said = format!("{why} {not_added}");
            let written = transaction.records.iter().map(|record| (Operation::Write, record.topic.as_str()));
            let read = transaction.offsets.iter().map(|(one, _)| (Operation::Read, one.topic.as_str()));
            // The longest that fits: one name may begin with another.
            let named = written.clone().chain(read).filter(|(_, topic)| said.contains(topic));
            let topic = named.max_by_key(|(_, topic)| topic.len()).or_else(|| written.clone().next());
            denied_text(&why, Using { topic, transactional_id: Some(id), ..Using::default() }).unwrap_or(why)
        };
        match self {
            TransactionError::Aborted(why) => TransactionError::Aborted(explain(why)),
            TransactionError::ProducerLost(why) => TransactionError::ProducerLost(explain(why)),
            fenced @ TransactionError::Fenced { .. } => fenced,
        }
    }
}

#[derive(Default)]
struct DeliveryContext {
    /// The first failed delivery of the running transaction.
    failure: Mutex<Option<String>>,
    /// The topic that refused a record of it, if one did.
    refused: Mutex<Option<String>>,
    /// The last line that librdkafka logged of a topic it could not add to a transaction.
    not_added: Mutex<String>,
}

impl DeliveryContext {
    fn lock_not_added(&self) -> MutexGuard<'_, String> {
        self.not_added.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn note_refusal(&self, topic: &str, error: &KafkaError) {
        if is_refusal(error) {
            let mut refused = self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            refused.get_or_insert_with(|| topic.to_owned());
        }
    }
}

/// Whether a record will never be taken as it is, however often it is sent.
fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        InvalidMessage, InvalidMessageSize, InvalidRecord, InvalidTopic, MessageBatchTooLarge,
        MessageSizeTooLarge, PolicyViolation, TopicAuthorizationFailed, UnknownTopic,
        UnknownTopicOrPartition,
    };
    matches!(
        error,
        KafkaError::MessageProduction(
            InvalidMessage
                | InvalidMessageSize
                | InvalidRecord
                | InvalidTopic
                | MessageBatchTooLarge
                | MessageSizeTooLarge
                | PolicyViolation
                | TopicAuthorizationFailed
                | UnknownTopic
                | UnknownTopicOrPartition
        )
    )
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
        if facility == "ADDPARTS" {
            message.clone_into(&mut self.lock_not_added());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer error");
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            self.note_refusal(message.topic(), error);
            let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            failure.get_or_insert_with(|| error.to_string());
        }
    }
}

/// A producer with a transactional id. Delivery reports are served by its own thread.
pub struct TransactionalProducer {
    /// `None` only while it is dropped. Shared with a call that librdkafka does not come back from.
    producer: Option<Arc<ThreadedProducer<DeliveryContext>>>,
    id: String,
    stale: bool,
    keeps_slow: bool,
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
        let keeps_slow = std::env::var_os(KEEP_SLOW_PRODUCER).is_some();
        if keeps_slow {
            tracing::warn!("{KEEP_SLOW_PRODUCER} is set: counts may be lost; this is for a test only");
        }
        let connected = TransactionalProducer {
            producer: Some(Arc::new(producer)),
            id: id.to_owned(),
            stale: false,
            keeps_slow,
        };
        connected.producer().init_transactions(INIT_TIMEOUT)?;
        Ok(connected)
    }

    /// Whether the last commit was slow or unclear, so that a fresh producer should take over.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    fn producer(&self) -> &ThreadedProducer<DeliveryContext> {
        self.producer.as_ref().expect("a producer is there until it is dropped")
    }

    /// Writes all of `transaction`, or nothing, within `limit` (and half a second for the abort).
    ///
    /// # Errors
    /// When nothing of it was written, or nobody knows; then offsets committed are the truth.
    pub fn run(&mut self, mut transaction: Transaction, limit: Duration) -> Result<(), TransactionError> {
        let group = transaction.group.take();
        self.attempt(&transaction, group, limit).map_err(|error| {
            let context = self.producer().context();
            let not_added = std::mem::take(&mut *context.lock_not_added());
            error.explained(&transaction, &not_added, &self.id)
        })
    }

    fn attempt(
        &mut self,
        transaction: &Transaction,
        group: Option<ConsumerGroupMetadata>,
        limit: Duration,
    ) -> Result<(), TransactionError> {
        let span = Span { began: Instant::now(), limit };
        if let Err(error) = self.producer().begin_transaction() {
            return Err(self.lost(span, has_code(&error, RDKafkaErrorCode::Fenced), error.to_string()));
        }
        self.clear_failure();
        if let Err(error) = self.fill(transaction, group, span) {
            return Err(self.fail(error, span));
        }
        let started = Instant::now();
        let result = self.commit(span);
        self.stale |= started.elapsed() > SLOW_COMMIT && !self.keeps_slow;
        result
    }

    fn fill(
        &self,
        transaction: &Transaction,
        group: Option<ConsumerGroupMetadata>,
        span: Span,
    ) -> Result<(), KafkaError> {
        for record in &transaction.records {
            self.send(record)?;
        }
        let Some(group) = group else { return Ok(()) };
        let mut offsets = TopicPartitionList::with_capacity(transaction.offsets.len());
        for (source, next) in &transaction.offsets {
            offsets.add_partition_offset(&source.topic, source.partition, Offset::Offset(*next))?;
        }
        if offsets.count() == 0 {
            return Ok(());
        }
        self.send_offsets(offsets, group, span)
    }

    /// On a thread of its own: librdkafka waits for the coordinator's answer without end, and forgets the call
    /// when it lets go of a broker that left the cluster.
    fn send_offsets(
        &self,
        offsets: TopicPartitionList,
        group: ConsumerGroupMetadata,
        span: Span,
    ) -> Result<(), KafkaError> {
        let producer = self.producer.clone().expect("a producer is there until it is dropped");
        let (done, answer) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let result = retry(span, |left| producer.send_offsets_to_transaction(&offsets, &group, left));
            // These hold on to what is given up together with them.
            drop((offsets, group, producer));
            // Nobody waits any more for an answer that comes too late.
            let _ = done.send(result);
        });
        answer.recv_timeout(span.left(PAUSE) + ANSWER_GRACE).unwrap_or(Err(KafkaError::Canceled))
    }

    fn send(&self, record: &Outgoing) -> Result<(), KafkaError> {
        let mut attempts = 0;
        loop {
            match self.producer().send(base_record(record)) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if attempts < 2_000 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    self.producer().context().note_refusal(&record.topic, &error);
                    return Err(error);
                }
            }
        }
    }

    /// The topic that refused a record of the last transaction for good, e.g. because it is too large.
    pub fn take_refused(&self) -> Option<String> {
        let context = self.producer().context();
        context.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }

    fn commit(&mut self, span: Span) -> Result<(), TransactionError> {
        loop {
            let left = i32::try_from(span.left(Duration::from_millis(1)).as_millis()).unwrap_or(i32::MAX);
            let left = if self.keeps_slow { -1 } else { left };
            match native::commit_transaction(self.producer().client(), left) {
                Ok(()) => return Ok(()),
                Err(error) if error.retriable && (self.keeps_slow || !span.is_over()) => {
                    self.stale |= !self.keeps_slow;
                    std::thread::sleep(PAUSE);
                }
                Err(error) if error.requires_abort => {
                    let why = match self.take_failure() {
                        Some(failure) => format!("{failure} ({})", error.message),
                        None => error.message,
                    };
                    return Err(self.abort(why, span));
                }
                Err(NativeError { message, fenced, .. }) => return Err(self.lost(span, fenced, message)),
            }
        }
    }

    /// What follows from a failure before the commit: nothing of the transaction can be visible.
    fn fail(&mut self, error: KafkaError, span: Span) -> TransactionError {
        let fatal = self.producer().client().fatal_error();
        if let Some((code, why)) = fatal {
            return self.lost(span, code == RDKafkaErrorCode::Fenced, format!("{error} ({why})"));
        }
        match &error {
            KafkaError::Canceled => {
                self.lost(span, false, "sending offsets had no answer in time".to_owned())
            }
            KafkaError::Transaction(inner) if inner.is_fatal() || inner.is_retriable() => {
                self.lost(span, inner.code() == RDKafkaErrorCode::Fenced, error.to_string())
            }
            _ => self.abort(error.to_string(), span),
        }
    }

    fn abort(&mut self, why: String, span: Span) -> TransactionError {
        let aborted = retry(span, |left| self.producer().abort_transaction(left.max(ABORT_AT_LEAST)));
        match aborted {
            Ok(()) => TransactionError::Aborted(why),
            Err(error) => {
                let fenced = has_code(&error, RDKafkaErrorCode::Fenced);
                self.lost(span, fenced, format!("{why}; and the abort failed: {error}"))
            }
        }
    }

    fn lost(&mut self, span: Span, fenced: bool, why: String) -> TransactionError {
        self.stale = true;
        if fenced && span.began.elapsed() < ENDED_BY_BROKER {
            return TransactionError::Fenced { id: self.id.clone(), why };
        }
        TransactionError::ProducerLost(why)
    }

    fn clear_failure(&self) {
        self.take_failure();
        self.take_refused();
    }

    fn take_failure(&self) -> Option<String> {
        let context = self.producer().context();
        context.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

pub(super) fn base_record(record: &Outgoing) -> BaseRecord<'_, [u8], [u8]> {
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

/// The time a transaction may take.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: Instant,
    limit: Duration,
}

impl Span {
    fn left(self, at_least: Duration) -> Duration {
        self.limit.saturating_sub(self.began.elapsed()).max(at_least)
    }

    fn is_over(self) -> bool {
        self.began.elapsed() >= self.limit
    }
}

/// Calls until the answer is no retriable error, with the time that is left.
fn retry(span: Span, mut call: impl FnMut(Duration) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match call(span.left(PAUSE)) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !span.is_over() => {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn has_code(error: &KafkaError, code: RDKafkaErrorCode) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.code() == code)
}

impl Drop for TransactionalProducer {
    /// On a thread of its own: librdkafka may take its time to let go of a broker that does not answer.
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            std::thread::spawn(move || drop(producer));
        }
    }
}
