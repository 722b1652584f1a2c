//! Stage 1: events → exact counts → deltas, markers, dead letters and offsets, in one transaction per flush.
//!
//! One thread owns the consumer, the decoder and the counts. Rebalances are served inside the poll, in the
//! same thread: a revoked partition is flushed before it is given up.

use super::clock::now;
use super::dead_letters::{DeadLetters, Posted};
use super::idle::Idleness;
use super::starting::{self, Starting};
use super::stopped::{self, Stopped};
use super::supervise::StageEnd;
use super::topic_ids;
use crate::baseline::{VersionIndex, Watch};
use crate::config::{DeadLettersConfig, OwnTopics, StartAt};
use crate::decode::{Arrival, Decoder, TimeBounds};
use crate::event::{EventTime, Outcome};
use crate::http::health::{Health, Stage};
use crate::metrics::Metrics;
use crate::source::kafka::{
    BorrowedRecord, ClientSettings, GroupConsumer, Outgoing, TopicPartition, Transaction, TransactionError,
    TransactionalProducer, Using, explain, is_offset_gone,
};
use crate::tally::{Flush, FlushRecord, FlushStamp, SourceKey, SourceStart, Tally};
use prost::Message;
use rdkafka::consumer::ConsumerGroupMetadata;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long one poll waits for messages.
const POLL: Duration = Duration::from_millis(20);
/// How long writing a flush may take; then it is discarded, and read again.
pub(super) const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// How often idleness is looked at.
const IDLE_CHECK: Duration = Duration::from_millis(200);

/// What one tally thread is told.
#[derive(Clone)]
pub struct TallySettings {
    pub client: ClientSettings,
    pub group: String,
    pub instance: String,
    pub thread: usize,
    pub sources: Vec<String>,
    pub own: OwnTopics,
    pub merge_partitions: u32,
    pub start: StartAt,
    pub bounds: TimeBounds,
    pub pane_ms: i64,
    pub lateness_ms: i64,
    pub flush_interval: Duration,
    pub idle_timeout: Duration,
    pub dead_letters: DeadLettersConfig,
}

/// What the stages share with the process.
#[derive(Clone)]
pub struct Shared {
    pub metrics: Arc<Metrics>,
    /// Set when the process is to end.
    pub stop: Arc<AtomicBool>,
    pub health: Arc<Health>,
    /// How the stage that is given this says how it is.
    pub stage: Stage,
    /// What is watched; replaced when the configuration is read again.
    pub watch: tokio::sync::watch::Receiver<Arc<Watch>>,
    /// Why the process must end, once it must.
    pub failure: Arc<tokio::sync::watch::Sender<Option<String>>>,
}

impl Shared {
    /// Ends the process with this sentence; the first one counts.
    pub fn fail(&self, why: &str) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Everything between two flushes.
pub(super) struct Counting {
    pub(super) settings: TallySettings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stage: Stage,
    pub(super) tally: Tally,
    decoder: Decoder,
    watch: Arc<Watch>,
    pub(super) producer: Option<TransactionalProducer>,
    pub(super) dead: DeadLetters,
    pub(super) stopped: Stopped,
    pub(super) shared: Shared,
    outcomes: BTreeMap<(Option<VersionIndex>, Outcome), u64>,
    foreign_namespaces: u64,
    /// Sources without a committed offset: not read before their start is committed.
    pub(super) starting: Starting,
    /// Sources whose offset is gone from the log.
    pub(super) gone: BTreeSet<SourceKey>,
    /// Counts were given up: read again from the committed offsets, and count nothing before.
    pub(super) rewind: bool,
    /// The last flush failed: the next one waits for its timer, not for the end of a pane.
    gave_up: bool,
    /// Another producer has taken over the transactional id.
    fenced: Option<StageEnd>,
    pub(super) idleness: Idleness,
    /// Topic → its id; empty where the broker does not tell.
    pub(super) topic_ids: BTreeMap<String, String>,
    /// Distinguishes the flushes of this thread from those of its earlier lives.
    born: EventTime,
    sequence: u64,
    /// The source of the record before, so that a name is copied only when it changes.
    pub(super) current: SourceKey,
    /// Whether that source's topic is stopped.
    is_stopped: bool,
}

/// The rebalance callbacks' way to the counts.
pub(super) struct TallyAssignment {
    pub(super) counting: Mutex<Counting>,
}

impl TallyAssignment {
    pub(super) fn lock(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(super) fn source_key(partition: &TopicPartition) -> SourceKey {
    SourceKey { topic: partition.topic.clone(), partition: partition.partition }
}

pub(super) fn topic_partition(source: &SourceKey) -> TopicPartition {
    TopicPartition { topic: source.topic.clone(), partition: source.partition }
}

impl Counting {
    fn new(settings: TallySettings, shared: &Shared, producer: TransactionalProducer) -> Counting {
        let watch = Arc::clone(&shared.watch.borrow());
        Counting {
            tally: Tally::new(Arc::clone(&watch), settings.pane_ms),
            decoder: Decoder::new(Arc::clone(&watch), settings.bounds),
            watch,
            metrics: Arc::clone(&shared.metrics),
            stage: shared.stage.clone(),
            producer: Some(producer),
            dead: DeadLetters::new(settings.dead_letters),
            stopped: Stopped::default(),
            shared: shared.clone(),
            outcomes: BTreeMap::new(),
            foreign_namespaces: 0,
            starting: Starting::default(),
            gone: BTreeSet::new(),
            rewind: false,
            gave_up: false,
            fenced: None,
            idleness: Idleness::new(settings.idle_timeout),
            topic_ids: BTreeMap::new(),
            born: now(),
            sequence: 0,
            current: SourceKey { topic: String::new(), partition: -1 },
            is_stopped: false,
            settings,
        }
    }

    /// A source from `offset` on, under its topic's id.
    pub(super) fn start_of(&self, partition: &TopicPartition, offset: i64) -> SourceStart {
        let topic_uuid = self.topic_ids.get(&partition.topic).cloned().unwrap_or_default();
        SourceStart { source: source_key(partition), topic_uuid, offset, instead_of: None }
    }

    fn take(&mut self, record: &BorrowedRecord<'_>, now: EventTime) {
        if self.current.partition != record.partition() || self.current.topic != record.topic() {
            self.current = SourceKey { topic: record.topic().to_owned(), partition: record.partition() };
            self.is_stopped = self.stopped.holds(record.topic());
        }
        if let Some(code) = record.error() {
            if is_offset_gone(code) {
                self.gone.insert(self.current.clone());
            }
            self.metrics.kafka_errors.with_label_values(&["tally"]).inc();
            return;
        }
        if self.rewind {
            return;
        }
        // Not owned, not started, or read before a rewind.
        let Some(next) = self.tally.next_offset(&self.current) else { return };
        if record.offset() < next || self.is_stopped || self.starting.is_moving(&self.current) {
            return;
        }
        self.decode(record, now);
    }

    fn decode(&mut self, record: &BorrowedRecord<'_>, now: EventTime) {
        let offset = record.offset();
        let Some(payload) = record.payload() else {
            self.tally.record(&self.current, offset, Outcome::Tombstone, None, now);
            *self.outcomes.entry((None, Outcome::Tombstone)).or_default() += 1;
            return;
        };
        let arrival = Arrival { record_time: record.timestamp().map(EventTime), now };
        match self.decoder.push(payload, arrival) {
            Ok(accepted) => {
                self.foreign_namespaces += u64::from(accepted.foreign_namespace);
                self.tally.record(&self.current, offset, Outcome::Counted, Some(&accepted), now);
                *self.outcomes.entry((Some(accepted.version), Outcome::Counted)).or_default() += 1;
            }
            Err(rejection) => {
                self.tally.record(&self.current, offset, rejection.outcome, None, now);
                *self.outcomes.entry((None, rejection.outcome)).or_default() += 1;
                if rejection.outcome.is_dead_letter() {
                    self.dead.take(record, rejection.outcome, rejection.reason, now);
                }
            }
        }
    }

    /// Counts what the decoder holds.
    fn count(&mut self) {
        let tables = self.decoder.take();
        if let Err(error) = self.tally.count(&tables) {
            tracing::error!(%error, "a decoded column does not fit its grid; its flush is given up");
            self.give_up("a column does not fit its grid");
        }
    }

    fn is_full(&self) -> bool {
        self.tally.is_full() || self.dead.is_full()
    }

    pub(super) fn stamp<'a>(&self, range_id: &'a str, instance: &'a str) -> FlushStamp<'a> {
        FlushStamp {
            range_id,
            instance,
            wall_clock: now(),
            flush_interval_ms: self.settings.flush_interval.as_millis() as i64,
            lateness_ms: self.settings.lateness_ms,
            partitions: self.settings.merge_partitions,
        }
    }

    pub(super) fn next_range_id(&mut self) -> String {
        self.sequence += 1;
        format!("{}-{}-{}-{}", self.settings.instance, self.settings.thread, self.born.0, self.sequence)
    }

    /// Writes everything counted since the last flush, or gives it up.
    pub(super) fn flush(&mut self, group: Option<ConsumerGroupMetadata>, limit: Duration) {
        self.count();
        if self.rewind || group.is_none() || self.tally.sources().next().is_none() {
            return;
        }
        let started = Instant::now();
        let (range_id, instance) = (self.next_range_id(), self.settings.instance.clone());
        let flush = self.tally.flush(&self.stamp(&range_id, &instance));
        let mut records = outgoing(&self.settings.own.tallies, &flush.records);
        let (letters, posted) = self.dead.post(&flush, &self.settings.own, &instance, now());
        records.extend(letters);
        let transaction = Transaction { records, offsets: offsets(&flush), group };
        match self.run(transaction, limit) {
            Ok(()) => self.committed(started, &posted),
            Err(why) => self.give_up(&why),
        }
    }

    pub(super) fn run(&mut self, transaction: Transaction, limit: Duration) -> Result<(), String> {
        let Some(producer) = &mut self.producer else { return Err("there is no producer".to_owned()) };
        let result = producer.run(transaction, limit);
        if producer.take_refused().is_some_and(|topic| topic == self.settings.own.dead_letters) {
            self.dead.refused();
        }
        if producer.is_stale() {
            self.producer = None;
        }
        if let Err(TransactionError::Fenced { id, why }) = &result {
            self.fenced = Some(StageEnd::Fenced { id: id.clone(), why: why.clone() });
        }
        result.map_err(|error| error.to_string())
    }

    fn committed(&mut self, started: Instant, posted: &Posted) {
        self.stage.succeeded();
        self.gave_up = false;
        self.tally.commit(self.settings.lateness_ms);
        let metrics = &self.metrics;
        metrics.flush_duration.with_label_values(&["tally"]).observe(started.elapsed().as_secs_f64());
        metrics.flushes.with_label_values(&["committed"]).inc();
        self.dead.committed(posted, metrics);
        metrics.foreign_namespace.inc_by(self.foreign_namespaces);
        self.foreign_namespaces = 0;
        for ((version, outcome), count) in std::mem::take(&mut self.outcomes) {
            let (model, version) = match version {
                Some(index) => {
                    (self.watch.model(index).id.name.as_str(), self.watch.version(index).version.as_str())
                }
                None => ("", ""),
            };
            metrics.events.with_label_values(&[model, version, outcome.as_str()]).inc_by(count);
        }
        self.answer_breaks(posted);
    }

    /// Nothing since the last flush has been written: forget it, and read it again.
    pub(super) fn give_up(&mut self, why: &str) {
        self.gave_up = true;
        if self.stage.failed(why) {
            tracing::warn!(why, "tally: counts since the last flush are discarded and will be read again");
        } else {
            tracing::debug!(why, "tally: counts are discarded again");
        }
        self.metrics.flushes.with_label_values(&["discarded"]).inc();
        drop(self.decoder.take());
        self.tally.discard();
        self.dead.discard();
        self.outcomes.clear();
        self.foreign_namespaces = 0;
        self.idleness.forget_all();
        self.rewind = true;
    }

    /// Goes on with another watch. Only when nothing is counted.
    fn rewatch(&mut self, watch: Arc<Watch>) {
        let sources = self.tally.starts();
        self.tally = Tally::new(Arc::clone(&watch), self.settings.pane_ms);
        self.decoder = Decoder::new(Arc::clone(&watch), self.settings.bounds);
        self.watch = watch;
        sources.into_iter().for_each(|start| self.tally.start_source(start));
    }
}

pub(super) fn outgoing(topic: &str, records: &[FlushRecord]) -> Vec<Outgoing> {
    let one = |record: &FlushRecord| Outgoing {
        topic: topic.to_owned(),
        partition: Some(record.partition as i32),
        payload: Some(record.record.encode_to_vec()),
        ..Outgoing::default()
    };
    records.iter().map(one).collect()
}

fn offsets(flush: &Flush) -> Vec<(TopicPartition, i64)> {
    flush.offsets.iter().map(|(source, next)| (topic_partition(source), *next)).collect()
}

/// Runs one tally thread until the process stops or the clients must be rebuilt.
///
/// # Errors
/// A sentence that says why consumer and producer must be made anew.
pub(super) fn run(settings: &TallySettings, shared: &Shared) -> Result<(), StageEnd> {
    let role = format!("tally-{}", settings.thread);
    let producer = connect(settings, &role)?;
    let assignment =
        Arc::new(TallyAssignment { counting: Mutex::new(Counting::new(settings.clone(), shared, producer)) });
    let topics: Vec<&str> = settings.sources.iter().map(String::as_str).collect();
    let statistics = (settings.idle_timeout / 4).clamp(Duration::from_millis(250), Duration::from_secs(5));
    let consumer = GroupConsumer::join(
        &settings.client,
        &settings.group,
        &role,
        &topics,
        statistics,
        Arc::clone(&assignment),
    )
    .map_err(|error| format!("the consumer could not be made: {error}"))?;
    let result = drive(&consumer, &assignment, shared, &role);
    consumer.close();
    result
}

fn connect(settings: &TallySettings, role: &str) -> Result<TransactionalProducer, String> {
    let id = format!("{}-{}-tally-{}", settings.group, settings.instance, settings.thread);
    TransactionalProducer::connect(&settings.client, role, &id)
        .map_err(|error| explain(&error, Using { transactional_id: Some(&id), ..Using::default() }))
        .map_err(|why| format!("transactional id {id}: {why}"))
}

fn drive(
    consumer: &GroupConsumer<TallyAssignment>,
    assignment: &TallyAssignment,
    shared: &Shared,
    role: &str,
) -> Result<(), StageEnd> {
    let mut watch = shared.watch.clone();
    let (mut flushed, mut looked, mut asked) = (Instant::now(), Instant::now(), Instant::now());
    let mut member = None;
    loop {
        shared.stage.beat();
        shared.stage.member(&mut member, || consumer.metadata().is_some());
        let arrived = now();
        // Locked by the first record: rebalances, which lock too, are served before any record comes.
        let mut held: Option<MutexGuard<'_, Counting>> = None;
        consumer.poll(POLL, |record| {
            let counting = held.get_or_insert_with(|| assignment.lock());
            counting.take(&record, arrived);
            // Within the batch: its events may be scattered over as many panes as it has records.
            if counting.is_full() {
                counting.flush(consumer.metadata(), FLUSH_LIMIT);
            }
        });
        let mut counting = held.unwrap_or_else(|| assignment.lock());
        counting.count();
        stopped::pause(&mut counting, consumer);
        starting::settle(&mut counting, consumer);
        if counting.starting.is_stale() {
            return Err("a source topic was made anew".to_owned().into());
        }
        if asked.elapsed() >= topic_ids::ASK_EVERY {
            topic_ids::look_for_recreated(&mut counting, consumer.member());
            asked = Instant::now();
        }
        if looked.elapsed() >= IDLE_CHECK {
            counting.look_for_idle(consumer);
            looked = Instant::now();
        }
        let stopping = shared.is_stopping();
        let rewatch = watch.has_changed().unwrap_or(false);
        let due = flushed.elapsed() >= counting.settings.flush_interval
            || counting.is_full()
            || (!counting.gave_up && counting.tally.completes_pane(counting.settings.lateness_ms));
        if due || stopping || rewatch {
            counting.flush(consumer.metadata(), FLUSH_LIMIT);
            flushed = Instant::now();
        }
        if rewatch && counting.tally.is_empty() {
            counting.rewatch(Arc::clone(&watch.borrow_and_update()));
            stopped::resume(&mut counting, consumer);
        }
        if stopping {
            return Ok(());
        }
        if let Some(end) = counting.fenced.take() {
            return Err(end);
        }
        if counting.producer.is_none() {
            let settings = counting.settings.clone();
            counting.producer = Some(connect(&settings, role)?);
        }
        drop(counting);
        if let Some(why) = consumer.denied() {
            return Err(why.into());
        }
        if let Some(error) = consumer.fatal_error() {
            return Err(error.into());
        }
    }
}
