//! Stage 2: deltas → windows → reports, alerts, actions; with panes and state in the same transaction.
//!
//! A partition's judge is restored when the partition is assigned, and thrown away when it is revoked or a
//! transaction fails: everything it needs stands in Kafka.

use super::judge_gauges::{CATCH_UP_EVERY, catch_up};
use super::judge_metrics::{note, publish, retire};
use super::judge_resume::go_back;
use super::restore::{self, Slot, note_refused};
use super::supervise::StageEnd;
use super::tally_stage::Shared;
use crate::config::OwnTopics;
use crate::event::{EventTime, ModelId};
use crate::http::board::Board;
use crate::http::gauges::DriftGauges;
use crate::http::health::Stage;
use crate::judge::{JudgeConfig, Step, pane_key};
use crate::metrics::Metrics;
use crate::policy::evaluate::{Conclusion, ModelRules, evaluate};
use crate::source::kafka::{
    Assignment, ClientSettings, GroupConsumer, Member, Outgoing, STATISTICS, StartOffset, TopicPartition,
    Transaction, TransactionalProducer, Using, explain,
};
use crate::tally::SourceKey;
use crate::tally::record::TallyRecord;
use prost::Message;
use rdkafka::error::KafkaError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// Progress without anything to report is stored this often, so that a restart has little to replay.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// How long writing what was judged may take; then it is discarded, and judged again.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);
/// Records applied before their outputs are written: bounds a transaction when history is read at full speed.
const MAX_RECORDS_PER_COMMIT: usize = 5_000;
/// Bytes of outputs before which they are written, likewise.
const MAX_BYTES_PER_COMMIT: usize = 16 << 20;
/// Panes with data closed at once: their windows are held together.
const PANES_AT_ONCE: usize = 1;
/// How long panes may be closed before the consumer is polled again, so that slow work costs no membership.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(1);
/// How often the source topics' partition counts are looked at.
const COUNT_PARTITIONS_EVERY: Duration = Duration::from_secs(30);

/// The rules of all models of a watch, in its order.
pub type RulesOf = Arc<dyn Fn(&crate::baseline::Watch) -> Vec<ModelRules> + Send + Sync>;

/// What the judge stage is told.
#[derive(Clone)]
pub struct JudgeSettings {
    pub client: ClientSettings,
    pub group: String,
    pub instance: String,
    pub sources: Vec<String>,
    pub own: OwnTopics,
    pub judge: JudgeConfig,
    /// Per model of the watch: its rules. Replaced together with the watch.
    pub rules: RulesOf,
    pub max_exported_series: usize,
    /// How much earlier than its pane's start a pane's record may have been written.
    pub clock_margin_ms: i64,
}

pub(super) struct JudgeAssignment {
    pub(super) settings: JudgeSettings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stage: Stage,
    pub(super) watch: Arc<crate::baseline::Watch>,
    pub(super) expected: Mutex<BTreeSet<SourceKey>>,
    pub(super) slots: Mutex<BTreeMap<i32, Slot>>,
    /// Partition → how often it was restored: tells its present slot from an earlier one.
    pub(super) lives: Mutex<BTreeMap<i32, u64>>,
    pub(super) gauges: Mutex<DriftGauges>,
    /// End of the last window of each version.
    pub(super) seen: Mutex<BTreeMap<ModelId, BTreeMap<String, EventTime>>>,
    /// Why the stage must be rebuilt.
    pub(super) broken: Mutex<Option<String>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Assignment for JudgeAssignment {
    fn assigned(&self, member: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        self.stage.joined();
        self.metrics.rebalances.with_label_values(&["judge"]).inc();
        self.restore(member, partitions)
    }

    fn revoked(&self, _: &Member<Self>, partitions: &[TopicPartition], lost: bool) {
        self.stage.joined();
        self.metrics.rebalances.with_label_values(&["judge"]).inc();
        for partition in partitions {
            lock(&self.slots).remove(&partition.partition);
        }
        self.retire_lost_models();
        tracing::info!(partitions = partitions.len(), lost, "judge: partitions revoked");
    }

    fn error(&self, error: &KafkaError) {
        tracing::debug!(%error, "judge: kafka error");
        self.metrics.kafka_errors.with_label_values(&["judge"]).inc();
    }
}

impl JudgeAssignment {
    /// Only the judge that owns a model exports its gauges.
    fn retire_lost_models(&self) {
        let slots = lock(&self.slots);
        let lost = |id: &&ModelId| !slots.values().any(|slot| slot.owns(id));
        for id in self.watch.models.iter().map(|model| &model.id).filter(lost) {
            lock(&self.gauges).retire(&self.metrics, &id.namespace, &id.name, None);
            retire(&self.metrics, id);
        }
    }
}

/// Outputs of records applied since the last commit.
#[derive(Default)]
pub(super) struct Pending {
    records: Vec<Outgoing>,
    conclusions: Vec<Conclusion>,
    touched: BTreeSet<i32>,
    applied: usize,
    /// Bytes in `records`.
    bytes: usize,
}

impl Pending {
    fn is_full(&self) -> bool {
        self.applied >= MAX_RECORDS_PER_COMMIT || self.bytes >= MAX_BYTES_PER_COMMIT
    }

    fn push(&mut self, records: impl IntoIterator<Item = Outgoing>) {
        let before = self.records.len();
        self.records.extend(records);
        let payload = |one: &Outgoing| one.payload.as_ref().map_or(0, Vec::len);
        self.bytes += self.records[before..].iter().map(payload).sum::<usize>();
    }
}

/// Runs the judge stage until the process stops or the clients must be rebuilt.
///
/// # Errors
/// A sentence that says why everything must be made anew.
pub(super) fn run(settings: &JudgeSettings, board: &Board, shared: &Shared) -> Result<(), StageEnd> {
    let mut producer = connect(settings)?;
    let mut watch = shared.watch.clone();
    let assignment = Arc::new(JudgeAssignment {
        settings: settings.clone(),
        metrics: Arc::clone(&shared.metrics),
        stage: shared.stage.clone(),
        watch: Arc::clone(&watch.borrow_and_update()),
        expected: Mutex::new(expected_sources(settings)?),
        slots: Mutex::new(BTreeMap::new()),
        lives: Mutex::new(BTreeMap::new()),
        gauges: Mutex::new(DriftGauges::new()),
        seen: Mutex::new(BTreeMap::new()),
        broken: Mutex::new(None),
    });
    let group = format!("{}-judge", settings.group);
    let consumer = GroupConsumer::join(
        &settings.client,
        &group,
        "judge",
        &[&settings.own.tallies],
        STATISTICS,
        Arc::clone(&assignment),
    )
    .map_err(|error| format!("the consumer could not be made: {error}"))?;
    let result = drive(&consumer, &assignment, &mut producer, (board, shared), &mut watch);
    lock(&assignment.slots).clear();
    assignment.retire_lost_models();
    consumer.close();
    result
}

pub(super) fn connect(settings: &JudgeSettings) -> Result<TransactionalProducer, String> {
    let id = format!("{}-{}-judge-0", settings.group, settings.instance);
    TransactionalProducer::connect(&settings.client, "judge", &id)
        .map_err(|error| explain(&error, Using { transactional_id: Some(&id), ..Using::default() }))
        .map_err(|why| format!("transactional id {id}: {why}"))
}

fn expected_sources(settings: &JudgeSettings) -> Result<BTreeSet<SourceKey>, String> {
    let counts = crate::source::kafka::partition_counts(&settings.client)
        .map_err(|error| format!("source topics could not be looked up: {error}"))?;
    let mut expected = BTreeSet::new();
    for topic in &settings.sources {
        let partitions = counts.get(topic).copied().unwrap_or(0);
        expected.extend((0..partitions).map(|partition| SourceKey { topic: topic.clone(), partition }));
    }
    Ok(expected)
}

fn drive(
    consumer: &GroupConsumer<JudgeAssignment>,
    assignment: &JudgeAssignment,
    producer: &mut TransactionalProducer,
    (board, shared): (&Board, &Shared),
    watch: &mut tokio::sync::watch::Receiver<Arc<crate::baseline::Watch>>,
) -> Result<(), StageEnd> {
    let mut pending = Pending::default();
    let [mut stored, mut counted, mut caught_up] = [Instant::now(); 3];
    let mut member = None;
    loop {
        shared.stage.beat();
        shared.stage.member(&mut member, || consumer.metadata().is_some());
        let mut batch: Vec<(i32, i64, Vec<u8>)> = Vec::new();
        let mut gone = false;
        consumer.poll(POLL, |record| match record.error() {
            Some(code) => gone |= crate::source::kafka::is_offset_gone(code),
            None => {
                let payload = record.payload().unwrap_or_default().to_vec();
                batch.push((record.partition(), record.offset(), payload));
            }
        });
        if !consumer.leaked().is_empty() {
            return Err("a message went astray inside librdkafka".to_owned().into());
        }
        if let Some(why) = lock(&assignment.broken).take() {
            return Err(why.into());
        }
        if gone {
            assignment
                .metrics
                .offset_out_of_range
                .with_label_values(&[&assignment.settings.own.tallies, ""])
                .inc();
            return Err("tallies are gone from the log before they were judged".to_owned().into());
        }
        let lives = lock(&assignment.lives).clone();
        for (partition, offset, payload) in batch {
            // Given up, and perhaps taken again, since this was read: it will be read again.
            if lock(&assignment.lives).get(&partition) != lives.get(&partition) {
                continue;
            }
            apply(assignment, partition, offset, &payload, &mut pending);
            let mut polled = Instant::now();
            while pending.is_full() || is_due(assignment, partition) {
                if pending.is_full() || polled.elapsed() >= KEEP_ALIVE_EVERY {
                    commit(consumer, assignment, producer, &mut pending)?;
                    consumer.keep_alive();
                    polled = Instant::now();
                }
                close_more(assignment, partition, &mut pending);
            }
        }
        let due = stored.elapsed() >= STORE_EVERY || shared.is_stopping();
        if !pending.records.is_empty() || (due && !pending.touched.is_empty()) {
            commit(consumer, assignment, producer, &mut pending)?;
            stored = Instant::now();
        }
        if shared.is_stopping() {
            return Ok(());
        }
        if watch.has_changed().unwrap_or(false) {
            return Err("the configuration has changed".to_owned().into());
        }
        if caught_up.elapsed() >= CATCH_UP_EVERY {
            caught_up = Instant::now();
            catch_up(assignment, board);
        }
        if counted.elapsed() >= COUNT_PARTITIONS_EVERY {
            counted = Instant::now();
            recount(assignment);
        }
        if producer.is_stale() {
            // What it wrote is there; a request of it that is still on its way is fenced by the next one.
            *producer = connect(&assignment.settings)?;
        }
        if let Some(why) = consumer.denied() {
            return Err(why.into());
        }
        if let Some(error) = consumer.fatal_error() {
            return Err(error.into());
        }
    }
}

fn recount(assignment: &JudgeAssignment) {
    match expected_sources(&assignment.settings) {
        Ok(expected) => {
            let mut known = lock(&assignment.expected);
            if *known != expected {
                lock(&assignment.slots).values_mut().for_each(|slot| slot.judge.expect(expected.clone()));
                *known = expected;
            }
        }
        Err(why) => tracing::warn!(why, "source partitions could not be counted"),
    }
}

fn apply(assignment: &JudgeAssignment, partition: i32, offset: i64, payload: &[u8], pending: &mut Pending) {
    let mut slots = lock(&assignment.slots);
    let Some(slot) = slots.get_mut(&partition) else { return };
    if offset < slot.judge.applied() {
        return;
    }
    pending.applied += 1;
    pending.touched.insert(partition);
    let step = match TallyRecord::read(payload) {
        Ok(record) => slot.judge.apply_in_part(offset, &record, PANES_AT_ONCE),
        Err(error) => {
            tracing::error!(%error, partition, offset, "a tally record is not used: its flush will show as a gap");
            note_refused(&assignment.metrics, &assignment.settings.own.tallies, &error);
            slot.judge.skip(offset);
            return;
        }
    };
    note(assignment, slot, &step);
    conclude(assignment, slot, partition, step, pending);
}

/// Whether panes of this partition wait to be closed.
fn is_due(assignment: &JudgeAssignment, partition: i32) -> bool {
    lock(&assignment.slots).get(&partition).is_some_and(|slot| slot.judge.is_due())
}

fn close_more(assignment: &JudgeAssignment, partition: i32, pending: &mut Pending) {
    let mut slots = lock(&assignment.slots);
    let Some(slot) = slots.get_mut(&partition) else { return };
    if let Some(step) = slot.judge.close_more(PANES_AT_ONCE) {
        pending.touched.insert(partition);
        note(assignment, slot, &step);
        conclude(assignment, slot, partition, step, pending);
    }
}

fn conclude(
    assignment: &JudgeAssignment,
    slot: &mut Slot,
    partition: i32,
    step: Step,
    pending: &mut Pending,
) {
    let own = &assignment.settings.own;
    for record in &step.panes {
        pending.push([Outgoing {
            topic: own.panes.clone(),
            partition: Some(partition),
            key: Some(pane_key(record).into_bytes()),
            payload: Some(record.encode_to_vec()),
            ..Outgoing::default()
        }]);
    }
    for window in &step.windows {
        let Some((rules, memory)) = slot.model(window.model) else { continue };
        let conclusion = evaluate(rules, window, memory);
        pending.push(restore::conclusion_records(own, window, &conclusion));
        pending.conclusions.push(conclusion);
    }
}

fn commit(
    consumer: &GroupConsumer<JudgeAssignment>,
    assignment: &JudgeAssignment,
    producer: &mut TransactionalProducer,
    pending: &mut Pending,
) -> Result<(), StageEnd> {
    let mut transaction = Transaction {
        records: std::mem::take(&mut pending.records),
        offsets: Vec::new(),
        group: consumer.metadata(),
    };
    for partition in &pending.touched {
        let slots = lock(&assignment.slots);
        let Some(slot) = slots.get(partition).filter(|slot| !slot.judge.is_replaying()) else { continue };
        let tallies =
            TopicPartition { topic: assignment.settings.own.tallies.clone(), partition: *partition };
        transaction.offsets.push((tallies, slot.judge.applied()));
        transaction.records.extend(slot.state_records(&assignment.settings.own, *partition));
    }
    if transaction.group.is_none() {
        return Err("the consumer is no member of its group".to_owned().into());
    }
    if let Err(error) = producer.run(transaction, COMMIT_LIMIT) {
        return go_back(consumer, assignment, producer, pending, error);
    }
    lock(&assignment.slots).values_mut().for_each(Slot::note_stored);
    assignment.stage.succeeded();
    publish(assignment, &std::mem::take(&mut pending.conclusions));
    *pending = Pending::default();
    Ok(())
}
