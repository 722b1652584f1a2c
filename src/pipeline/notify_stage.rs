//! Carries actions out: reads `tidegate.actions`, delivers each to its sinks, records what became of it.
//!
//! At least once, under one key. An action that already has a final outcome at a sink is not sent there again,
//! also after a restart; offsets are committed only behind actions that are done, so a crash forgets none.

use super::supervise::StageEnd;
use super::tally_stage::Shared;
use crate::config::OwnTopics;
use crate::notify::Notifier;
use crate::notify::ledger::Ledger;
use crate::policy::action::{Action, ActionOutcome};
use crate::source::kafka::{
    Assignment, ClientSettings, GroupConsumer, Member, Outgoing, StartOffset, TopicPartition, TopicReader,
    Transaction, TransactionalProducer,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// How long reading the outcomes topic may take at start.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How long writing outcomes may take.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);
/// Deliveries under way at once; when it is reached, no further action is taken from Kafka.
const MAX_IN_FLIGHT: usize = 256;
/// Final outcomes remembered, so that nothing is sent twice.
const LEDGER: usize = 100_000;

/// What the notify stage is told.
#[derive(Clone)]
pub struct NotifySettings {
    pub client: ClientSettings,
    pub group: String,
    pub instance: String,
    pub own: OwnTopics,
    pub notifier: Arc<Notifier>,
}

struct NotifyAssignment {
    shared: Shared,
    positions: Mutex<BTreeMap<TopicPartition, Progress>>,
}

/// Actions of one partition: offsets that are done, and the next one to commit.
#[derive(Debug, Default)]
struct Progress {
    next: i64,
    committed: i64,
    /// Taken, not done yet.
    open: std::collections::BTreeSet<i64>,
}

impl Progress {
    /// One past the last offset before which everything is done.
    fn done_up_to(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Assignment for NotifyAssignment {
    fn assigned(&self, member: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        self.shared.ready.store(true, Ordering::Relaxed);
        self.shared.metrics.rebalances.with_label_values(&["notify"]).inc();
        let committed = crate::source::kafka::committed(member, partitions).unwrap_or_else(|error| {
            tracing::warn!(%error, "notify: committed offsets could not be read; outcomes prevent repetition");
            vec![None; partitions.len()]
        });
        let mut starts = Vec::new();
        for (partition, offset) in partitions.iter().zip(committed) {
            let low =
                || member.fetch_watermarks(&partition.topic, partition.partition, Duration::from_secs(10));
            let offset = offset.or_else(|| low().ok().map(|(low, _)| low)).unwrap_or(0);
            let progress = Progress { next: offset, committed: offset, ..Progress::default() };
            lock(&self.positions).insert(partition.clone(), progress);
            starts.push(StartOffset { partition: partition.clone(), offset });
        }
        starts
    }

    fn revoked(&self, _: &Member<Self>, partitions: &[TopicPartition], _: bool) {
        self.shared.ready.store(true, Ordering::Relaxed);
        self.shared.metrics.rebalances.with_label_values(&["notify"]).inc();
        partitions.iter().for_each(|partition| {
            lock(&self.positions).remove(partition);
        });
    }

    fn error(&self, error: &KafkaError) {
        tracing::debug!(%error, "notify: kafka error");
        self.shared.metrics.kafka_errors.with_label_values(&["notify"]).inc();
    }
}

/// A finished delivery, on its way back to the polling thread.
struct Delivered {
    partition: TopicPartition,
    offset: i64,
    outcomes: Vec<ActionOutcome>,
}

/// Runs the notify stage until the process stops or the clients must be rebuilt.
///
/// # Errors
/// A sentence that says why everything must be made anew.
pub(super) fn run(
    settings: &NotifySettings,
    shared: &Shared,
    runtime: &tokio::runtime::Handle,
) -> Result<(), StageEnd> {
    let mut ledger = read_outcomes(settings)?;
    let id = format!("{}-{}-notify-0", settings.group, settings.instance);
    let mut producer = TransactionalProducer::connect(&settings.client, "notify", &id)
        .map_err(|error| format!("transactional id {id}: {error}"))?;
    let assignment =
        Arc::new(NotifyAssignment { shared: shared.clone(), positions: Mutex::new(BTreeMap::new()) });
    let consumer = GroupConsumer::join(
        &settings.client,
        &format!("{}-notify", settings.group),
        "notify",
        &[&settings.own.actions],
        Duration::from_secs(5),
        Arc::clone(&assignment),
    )
    .map_err(|error| format!("the consumer could not be made: {error}"))?;
    let result = drive(settings, shared, runtime, &consumer, &assignment, &mut producer, &mut ledger);
    consumer.close();
    result
}

fn read_outcomes(settings: &NotifySettings) -> Result<Ledger, String> {
    let why = |error: KafkaError| format!("{} could not be read: {error}", settings.own.outcomes);
    let mut reader =
        TopicReader::from_beginning(&settings.client, "outcomes", &[&settings.own.outcomes]).map_err(why)?;
    let mut ledger = Ledger::new(LEDGER);
    let deadline = Instant::now() + READ_LIMIT;
    while !reader.is_caught_up() {
        reader.poll(POLL, |_, _, payload| {
            if let Some(Ok(outcome)) = payload.map(serde_json::from_slice::<ActionOutcome>) {
                ledger.apply(&outcome);
            }
        });
        if Instant::now() > deadline {
            return Err(format!("{} could not be read in time", settings.own.outcomes));
        }
    }
    Ok(ledger)
}

fn drive(
    settings: &NotifySettings,
    shared: &Shared,
    runtime: &tokio::runtime::Handle,
    consumer: &GroupConsumer<NotifyAssignment>,
    assignment: &NotifyAssignment,
    producer: &mut TransactionalProducer,
    ledger: &mut Ledger,
) -> Result<(), StageEnd> {
    let (done, finished) = mpsc::sync_channel::<Delivered>(MAX_IN_FLIGHT);
    let mut in_flight = 0;
    while !shared.is_stopping() {
        let mut arrived: Vec<(TopicPartition, i64, Vec<u8>)> = Vec::new();
        if in_flight < MAX_IN_FLIGHT {
            consumer.poll(POLL, |record| {
                if record.error().is_none() {
                    let partition =
                        TopicPartition { topic: record.topic().to_owned(), partition: record.partition() };
                    arrived.push((partition, record.offset(), record.payload().unwrap_or_default().to_vec()));
                }
            });
        } else {
            consumer.keep_alive();
            std::thread::sleep(POLL);
        }
        for (partition, offset, payload) in arrived {
            if take(assignment, &partition, offset)
                && let Some(action) = read_action(&payload)
            {
                let done_with = settings.notifier.done_with(&action, ledger);
                in_flight += 1;
                let (done, notifier) = (done.clone(), Arc::clone(&settings.notifier));
                runtime.spawn(async move {
                    let outcomes = notifier.deliver_all(action, &done_with).await;
                    // The polling thread may be gone: the action is then delivered again under its key.
                    let _ = done.try_send(Delivered { partition, offset, outcomes });
                });
            } else {
                finish(assignment, &partition, offset);
            }
        }
        if !consumer.leaked().is_empty() {
            return Err("a message went astray inside librdkafka".to_owned().into());
        }
        let finished: Vec<Delivered> = finished.try_iter().collect();
        in_flight -= finished.len();
        settle(settings, shared, consumer, assignment, producer, ledger, finished)?;
        if producer.is_stale() {
            return Err("the last commit was slow or unclear".to_owned().into());
        }
        if let Some(error) = consumer.fatal_error() {
            return Err(error.into());
        }
    }
    Ok(())
}

fn read_action(payload: &[u8]) -> Option<Action> {
    match serde_json::from_slice(payload) {
        Ok(action) => Some(action),
        Err(error) => {
            tracing::error!(%error, "an action record is unreadable and is passed over");
            None
        }
    }
}

/// Marks an action as taken; false when its partition is not ours or it was taken before.
fn take(assignment: &NotifyAssignment, partition: &TopicPartition, offset: i64) -> bool {
    let mut positions = lock(&assignment.positions);
    let Some(progress) = positions.get_mut(partition).filter(|progress| offset >= progress.next) else {
        return false;
    };
    progress.next = offset + 1;
    progress.open.insert(offset)
}

fn finish(assignment: &NotifyAssignment, partition: &TopicPartition, offset: i64) {
    if let Some(progress) = lock(&assignment.positions).get_mut(partition) {
        progress.open.remove(&offset);
    }
}

/// Writes outcomes, and commits what is done with them.
fn settle(
    settings: &NotifySettings,
    shared: &Shared,
    consumer: &GroupConsumer<NotifyAssignment>,
    assignment: &NotifyAssignment,
    producer: &mut TransactionalProducer,
    ledger: &mut Ledger,
    finished: Vec<Delivered>,
) -> Result<(), StageEnd> {
    let mut records = Vec::new();
    for delivered in finished {
        for outcome in &delivered.outcomes {
            shared.metrics.notifications.with_label_values(&[&outcome.sink, &outcome.outcome]).inc();
            tracing::info!(
                key = outcome.idempotency_key,
                sink = outcome.sink,
                outcome = outcome.outcome,
                attempts = outcome.attempts,
                status = ?outcome.status,
                "action notified"
            );
            ledger.apply(outcome);
            records.push(outcome_record(&settings.own.outcomes, outcome));
        }
        finish(assignment, &delivered.partition, delivered.offset);
    }
    let group = consumer.metadata();
    // Outcomes are written also of partitions that are lost; offsets only by a member.
    let offsets: Vec<(TopicPartition, i64)> = lock(&assignment.positions)
        .iter()
        .filter(|(_, progress)| group.is_some() && progress.done_up_to() > progress.committed)
        .map(|(partition, progress)| (partition.clone(), progress.done_up_to()))
        .collect();
    if records.is_empty() && offsets.is_empty() {
        return Ok(());
    }
    let transaction = Transaction { records, offsets: offsets.clone(), group };
    producer.run(&transaction, COMMIT_LIMIT)?;
    let mut positions = lock(&assignment.positions);
    for (partition, offset) in offsets {
        if let Some(progress) = positions.get_mut(&partition) {
            progress.committed = progress.committed.max(offset);
        }
    }
    Ok(())
}

fn outcome_record(topic: &str, outcome: &ActionOutcome) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        key: Some(format!("{}@{}", outcome.idempotency_key, outcome.sink).into_bytes()),
        payload: serde_json::to_vec(outcome).ok(),
        ..Outgoing::default()
    }
}
