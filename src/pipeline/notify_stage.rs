//! Carries actions out: reads `tidegate.actions`, delivers each to its sinks, records what became of it.
//!
//! At least once, under one key. An action that already has a final outcome at a sink is not sent there again,
//! also after a restart; offsets are committed only behind actions that are done, so a crash forgets none. Each
//! sink has its own lane: one that is dead holds back the commit, and nothing else.

use super::clock::now;
use super::supervise::StageEnd;
use super::tally_stage::Shared;
use crate::config::OwnTopics;
use crate::notify::Notifier;
use crate::notify::lanes::{Begun, Lanes};
use crate::notify::ledger::Ledger;
use crate::notify::superseded::Rollouts;
use crate::notify::webhook::Webhook;
use crate::policy::action::{Action, ActionOutcome, Alert};
use crate::source::kafka::{
    Assignment, ClientSettings, GroupConsumer, Member, Operation, Outgoing, STATISTICS, StartOffset,
    TopicPartition, TopicReader, Transaction, TransactionalProducer, Using, ends_of, explain,
};
use rdkafka::error::KafkaError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// How long reading the outcomes topic may take at start.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How long writing outcomes may take.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);
/// Records of actions and outcomes that are looked at between two polls for actions to carry out.
const LOOK: usize = 1_000;
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
    /// Taken, not done yet: the action's key, and the sinks where it has not ended.
    open: BTreeMap<i64, (String, BTreeSet<String>)>,
}

impl Progress {
    /// One past the last offset before which everything is done.
    fn done_up_to(&self) -> i64 {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    /// An action has ended at a sink, whichever delivery it was.
    fn ended(&mut self, key: &str, sink: &str) {
        self.open.retain(|_, (open, sinks)| {
            if open == key {
                sinks.remove(sink);
            }
            !sinks.is_empty()
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Assignment for NotifyAssignment {
    fn assigned(&self, member: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        self.shared.stage.joined();
        self.shared.metrics.rebalances.with_label_values(&["notify"]).inc();
        let committed = crate::source::kafka::committed(member, partitions).unwrap_or_else(|error| {
            tracing::warn!(%error, "notify: committed offsets could not be read; outcomes prevent repetition");
            vec![None; partitions.len()]
        });
        let mut starts = Vec::new();
        for (partition, offset) in partitions.iter().zip(committed) {
            let low = || ends_of(member, &partition.topic, partition.partition);
            let offset = offset.or_else(|| low().ok().map(|(low, _)| low)).unwrap_or(0);
            let progress = Progress { next: offset, committed: offset, ..Progress::default() };
            lock(&self.positions).insert(partition.clone(), progress);
            starts.push(StartOffset { partition: partition.clone(), offset });
        }
        starts
    }

    fn revoked(&self, _: &Member<Self>, partitions: &[TopicPartition], _: bool) {
        self.shared.stage.joined();
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
    action: Arc<Action>,
    outcome: ActionOutcome,
}

/// What the polling thread knows.
struct Desk<'a> {
    settings: &'a NotifySettings,
    assignment: &'a NotifyAssignment,
    runtime: &'a tokio::runtime::Handle,
    /// Outcomes and actions of all replicas.
    reader: TopicReader,
    ledger: Ledger,
    rollouts: Rollouts,
    lanes: Lanes,
    done: mpsc::Sender<Delivered>,
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
    let id = format!("{}-{}-notify-0", settings.group, settings.instance);
    let mut producer = TransactionalProducer::connect(&settings.client, "notify", &id)
        .map_err(|error| explain(&error, Using { transactional_id: Some(&id), ..Using::default() }))
        .map_err(|why| format!("transactional id {id}: {why}"))?;
    let assignment =
        Arc::new(NotifyAssignment { shared: shared.clone(), positions: Mutex::new(BTreeMap::new()) });
    let consumer = GroupConsumer::join(
        &settings.client,
        &format!("{}-notify", settings.group),
        "notify",
        &[&settings.own.actions],
        STATISTICS,
        Arc::clone(&assignment),
    )
    .map_err(|error| format!("the consumer could not be made: {error}"))?;
    let result = work(settings, shared, runtime, &consumer, &assignment, &mut producer);
    consumer.close();
    result
}

fn work(
    settings: &NotifySettings,
    shared: &Shared,
    runtime: &tokio::runtime::Handle,
    consumer: &GroupConsumer<NotifyAssignment>,
    assignment: &NotifyAssignment,
    producer: &mut TransactionalProducer,
) -> Result<(), StageEnd> {
    let topics = [settings.own.outcomes.as_str(), settings.own.actions.as_str()];
    let reader = TopicReader::from_beginning(&settings.client, "outcomes", &topics).map_err(|error| {
        let names = topics.join(" and ");
        let using = Using { topic: Some((Operation::Read, &names)), ..Using::default() };
        format!("{names} could not be read: {}", explain(&error, using))
    })?;
    // Every delivery holds a place in a lane, which bounds what waits here.
    let (done, finished) = mpsc::channel::<Delivered>();
    let (ledger, rollouts, lanes) = (Ledger::new(LEDGER), Rollouts::default(), Lanes::default());
    let mut desk = Desk { settings, assignment, runtime, reader, ledger, rollouts, lanes, done };
    desk.catch_up(shared)?;
    let mut member = None;
    while !shared.is_stopping() {
        shared.stage.beat();
        shared.stage.member(&mut member, || consumer.metadata().is_some());
        let mut arrived: Vec<(TopicPartition, i64, Vec<u8>)> = Vec::new();
        consumer.poll(POLL, |record| {
            if record.error().is_none() {
                let partition =
                    TopicPartition { topic: record.topic().to_owned(), partition: record.partition() };
                arrived.push((partition, record.offset(), record.payload().unwrap_or_default().to_vec()));
            }
        });
        desk.look();
        if let Some(why) = desk.reader.denied() {
            return Err(why.into());
        }
        for (partition, offset, payload) in arrived {
            desk.take(partition, offset, &payload);
        }
        desk.lanes.end_superseded(&desk.rollouts);
        if !consumer.leaked().is_empty() {
            return Err("a message went astray inside librdkafka".to_owned().into());
        }
        let finished: Vec<Delivered> = finished.try_iter().collect();
        desk.settle(shared, consumer, producer, &finished)?;
        if producer.is_stale() {
            return Err("the last commit was slow or unclear".to_owned().into());
        }
        if let Some(why) = consumer.denied() {
            return Err(why.into());
        }
        if let Some(error) = consumer.fatal_error() {
            return Err(error.into());
        }
    }
    Ok(())
}

impl Desk<'_> {
    /// Reads all outcomes and actions there are, before anything is sent.
    fn catch_up(&mut self, shared: &Shared) -> Result<(), String> {
        let deadline = Instant::now() + READ_LIMIT;
        while !self.reader.is_caught_up() {
            self.look();
            if let Some(why) = self.reader.denied() {
                return Err(why);
            }
            if shared.is_stopping() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("outcomes and actions could not be read in time".to_owned());
            }
        }
        Ok(())
    }

    /// Takes note of outcomes and actions, also of those that other replicas carry out.
    fn look(&mut self) {
        let Desk { settings, reader, ledger, rollouts, .. } = self;
        for _ in 0..LOOK {
            let any = reader.poll(Duration::from_millis(1), |topic, _, payload| {
                let Some(payload) = payload else { return };
                if topic == settings.own.outcomes {
                    serde_json::from_slice(payload).iter().for_each(|outcome| ledger.apply(outcome));
                } else {
                    serde_json::from_slice(payload).iter().for_each(|action| rollouts.note(action));
                }
            });
            if !any {
                return;
            }
        }
    }

    /// Begins to deliver an action, unless it is not ours or was taken before.
    fn take(&mut self, partition: TopicPartition, offset: i64, payload: &[u8]) {
        let mut positions = lock(&self.assignment.positions);
        let Some(progress) = positions.get_mut(&partition).filter(|progress| offset >= progress.next) else {
            return;
        };
        progress.next = offset + 1;
        let Some(action) = read_action(payload).map(Arc::new) else { return };
        self.rollouts.note(&action);
        let sinks = self.settings.notifier.open_at(&action, &self.ledger);
        if !sinks.is_empty() {
            let names = sinks.iter().map(|sink| sink.name().to_owned()).collect();
            progress.open.insert(offset, (action.idempotency_key.clone(), names));
        }
        drop(positions);
        for sink in sinks {
            self.begin(sink, &action);
        }
    }

    fn begin(&mut self, sink: Arc<Webhook>, action: &Arc<Action>) {
        let (action, done) = (Arc::clone(action), self.done.clone());
        match self.lanes.begin(sink.name(), &action, &self.rollouts) {
            Begun::Deliver(stop) => {
                self.runtime.spawn(async move {
                    let outcome = sink.deliver(&action, now, stop).await;
                    // The polling thread may be gone: the action is then delivered again under its key.
                    let _ = done.send(Delivered { action, outcome });
                });
            }
            Begun::UnderWay => {}
            Begun::Never(why) => {
                let outcome = sink.ended(&action, why, now());
                // This thread reads what is sent here.
                let _ = done.send(Delivered { action, outcome });
            }
        }
    }

    /// Writes outcomes, and commits what is done with them.
    fn settle(
        &mut self,
        shared: &Shared,
        consumer: &GroupConsumer<NotifyAssignment>,
        producer: &mut TransactionalProducer,
        finished: &[Delivered],
    ) -> Result<(), StageEnd> {
        let mut records = Vec::new();
        for Delivered { action, outcome } in finished {
            shared.metrics.notifications.with_label_values(&[&outcome.sink, &outcome.outcome]).inc();
            self.ledger.apply(outcome);
            self.lanes.end(&outcome.sink, &outcome.idempotency_key);
            records.push(outcome_record(&self.settings.own.outcomes, outcome));
            records.extend(expired_alert(&self.settings.own.alerts, action, outcome));
            let mut positions = lock(&self.assignment.positions);
            positions
                .values_mut()
                .for_each(|progress| progress.ended(&outcome.idempotency_key, &outcome.sink));
        }
        let group = consumer.metadata();
        let offsets: Vec<(TopicPartition, i64)> = lock(&self.assignment.positions)
            .iter()
            .filter(|(_, progress)| group.is_some() && progress.done_up_to() > progress.committed)
            .map(|(partition, progress)| (partition.clone(), progress.done_up_to()))
            .collect();
        if records.is_empty() && offsets.is_empty() {
            return Ok(());
        }
        let transaction = Transaction { records, offsets: offsets.clone(), group };
        producer.run(transaction, COMMIT_LIMIT)?;
        shared.stage.succeeded();
        let mut positions = lock(&self.assignment.positions);
        for (partition, offset) in offsets {
            if let Some(progress) = positions.get_mut(&partition) {
                progress.committed = progress.committed.max(offset);
            }
        }
        Ok(())
    }
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

fn outcome_record(topic: &str, outcome: &ActionOutcome) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        key: Some(format!("{}@{}", outcome.idempotency_key, outcome.sink).into_bytes()),
        payload: serde_json::to_vec(outcome).ok(),
        ..Outgoing::default()
    }
}

/// A controller that was not reached in time is worth a person's attention.
fn expired_alert(topic: &str, action: &Action, outcome: &ActionOutcome) -> Option<Outgoing> {
    if outcome.outcome != ActionOutcome::EXPIRED {
        return None;
    }
    let (rollout, kind, sink) = (&action.rollout, action.action.as_str(), &outcome.sink);
    let alert = Alert {
        alert_id: format!("{}@{sink}/expired", action.idempotency_key),
        kind: "action_expired".to_owned(),
        namespace: rollout.namespace.clone(),
        model: rollout.model.clone(),
        model_version: rollout.canary.clone(),
        topic: None,
        window_start: action.window_start.clone(),
        window_end: action.window_end.clone(),
        findings: action.findings.clone(),
        decision: action.action,
        reason: format!(
            "The {kind} of {} did not reach {sink} in time ({} attempts): it is not sent any more.",
            rollout.canary, outcome.attempts
        ),
    };
    Some(Outgoing {
        topic: topic.to_owned(),
        key: Some(alert.alert_id.clone().into_bytes()),
        payload: serde_json::to_vec(&alert).ok(),
        ..Outgoing::default()
    })
}
