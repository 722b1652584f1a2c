//! A member of a consumer group: rebalances become two calls, partition queues are drained together.

use super::client::log;
use super::denial::{Operation, Using, denied, denied_code};
use super::native;
use super::{BatchQueue, BorrowedRecord, ClientSettings, Lifeline, TopicPartition, ends_of};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that are served in one round: a bound on how long it takes.
const MOST_SERVED: usize = 10_000;

/// What a stage does when partitions come and go. Called in the thread that polls, inside the poll.
pub trait Assignment: Send + Sync + 'static {
    /// Partitions that are to be read from now on. Returns where each starts; one that is not named starts at
    /// its end and is expected to be moved by [`GroupConsumer::seek`].
    fn assigned(&self, member: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset>
    where
        Self: Sized;

    /// Partitions that are read no more. `lost`: another member may have them already, so nothing of them may
    /// be committed.
    fn revoked(&self, member: &Member<Self>, partitions: &[TopicPartition], lost: bool)
    where
        Self: Sized;

    /// An error that librdkafka reports on its own.
    fn error(&self, error: &KafkaError);
}

/// The librdkafka consumer a callback is given.
pub type Member<A> = BaseConsumer<GroupContext<A>>;

/// Where a partition is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartOffset {
    pub partition: TopicPartition,
    pub offset: i64,
}

/// What statistics tell of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionEnd {
    /// One past the last offset that a read-committed consumer may see.
    pub stable: i64,
    /// When they told it.
    pub told: Instant,
}

/// Callbacks of a [`GroupConsumer`].
pub struct GroupContext<A: Assignment> {
    handler: Arc<A>,
    queue: Mutex<Option<BatchQueue>>,
    ends: Mutex<HashMap<TopicPartition, PartitionEnd>>,
    /// Partitions a message of which came by the consumer's own queue, and was not handed over.
    leaked: Mutex<Vec<TopicPartition>>,
    lifeline: Lifeline,
    group: String,
    topics: String,
    /// The permission that the broker said is missing.
    denied: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<A: Assignment> ClientContext for GroupContext<A> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer error");
        self.note(&error);
    }

    fn stats(&self, statistics: Statistics) {
        self.lifeline.note(&statistics);
        let (mut ends, told) = (lock(&self.ends), Instant::now());
        for topic in statistics.topics.values() {
            for partition in topic.partitions.values().filter(|partition| partition.partition >= 0) {
                let stable = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
                if stable >= 0 {
                    let key = TopicPartition { topic: topic.topic.clone(), partition: partition.partition };
                    ends.insert(key, PartitionEnd { stable, told });
                }
            }
        }
    }
}

impl<A: Assignment> ConsumerContext for GroupContext<A> {
    fn rebalance(&self, member: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(member.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let partitions = partitions_of(list);
        let result = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let starts = self.handler.assigned(member, &partitions);
                self.forward(&partitions);
                assign(member, &start_list(&partitions, &starts), cooperative)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.handler.revoked(member, &partitions, member.assignment_lost());
                if cooperative { member.incremental_unassign(list) } else { member.unassign() }
            }
            other => {
                tracing::warn!(code = ?other, "rebalance failed");
                self.handler.revoked(member, &partitions, true);
                member.unassign()
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "assignment refused");
            self.handler.error(&error);
        }
    }
}

impl<A: Assignment> GroupContext<A> {
    fn using(&self) -> Using<'_> {
        let topic = Some((Operation::Read, self.topics.as_str()));
        Using { topic, group: Some(&self.group), ..Using::default() }
    }

    fn note(&self, error: &KafkaError) {
        if let Some(why) = denied(error, self.using()) {
            lock(&self.denied).get_or_insert(why);
        }
        self.handler.error(error);
    }

    fn forward(&self, partitions: &[TopicPartition]) {
        if let Some(queue) = &*lock(&self.queue) {
            partitions.iter().for_each(|one| queue.forward(&one.topic, one.partition));
        }
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let own = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| TopicPartition {
        topic: element.topic().to_owned(),
        partition: element.partition(),
    };
    list.elements().iter().map(own).collect()
}

fn start_list(partitions: &[TopicPartition], starts: &[StartOffset]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for one in partitions {
        let start = starts.iter().find(|start| start.partition == *one);
        let offset = start.map_or(Offset::End, |start| Offset::Offset(start.offset));
        if let Err(error) = list.add_partition_offset(&one.topic, one.partition, offset) {
            tracing::warn!(%error, partition = %one, "start offset refused");
        }
    }
    list
}

fn assign<A: Assignment>(
    member: &Member<A>,
    list: &TopicPartitionList,
    cooperative: bool,
) -> KafkaResult<()> {
    if cooperative { member.incremental_assign(list) } else { member.assign(list) }
}

/// Committed offsets of the member's group; `None` where there is none.
///
/// # Errors
/// When no broker answers, or a transaction that holds an offset is still pending.
pub fn committed<C: ConsumerContext>(
    member: &BaseConsumer<C>,
    partitions: &[TopicPartition],
) -> KafkaResult<Vec<Option<i64>>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for one in partitions {
        list.add_partition(&one.topic, one.partition);
    }
    let found = member.committed_offsets(list, CALL_TIMEOUT)?;
    let offset = |one: &TopicPartition| {
        let Some(element) = found.find_partition(&one.topic, one.partition) else { return Ok(None) };
        // An offset that is not known yet must not be taken for one that was never committed.
        element.error()?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    };
    partitions.iter().map(offset).collect()
}

/// As [`committed`], asking again while a transaction is pending, for at most `limit`.
///
/// # Errors
/// When no broker answers, or the transaction does not end within `limit`.
pub fn committed_when_stable<C: ConsumerContext>(
    member: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    limit: Duration,
) -> KafkaResult<Vec<Option<i64>>> {
    let deadline = Instant::now() + limit;
    loop {
        match committed(member, partitions) {
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::UnstableOffsetCommit))
                if Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return other,
        }
    }
}

/// The membership as of now, for a transaction. `None` while the member is not part of the group, or has lost
/// what it was assigned: a commit would not be checked then, and could be a zombie's.
pub fn membership<C: ConsumerContext>(member: &BaseConsumer<C>) -> Option<ConsumerGroupMetadata> {
    let metadata = member.group_metadata()?;
    (native::is_member(member.client()) && !member.assignment_lost()).then_some(metadata)
}

/// A group member whose partitions are drained in batches. Poll, drain and seek from one thread.
pub struct GroupConsumer<A: Assignment> {
    member: Arc<Member<A>>,
}

impl<A: Assignment> GroupConsumer<A> {
    /// Joins `group` for `topics`. Without statistics nobody notices when it has lost every broker.
    ///
    /// # Errors
    /// When librdkafka refuses a property. An unreachable broker is not an error here: librdkafka keeps trying.
    pub fn join(
        settings: &ClientSettings,
        group: &str,
        role: &str,
        topics: &[&str],
        statistics_interval: Duration,
        handler: Arc<A>,
    ) -> KafkaResult<Self> {
        let mut config = settings.consumer(role);
        config
            .set("group.id", group)
            .set("statistics.interval.ms", statistics_interval.as_millis().to_string());
        let context = GroupContext {
            handler,
            queue: Mutex::new(None),
            ends: Mutex::new(HashMap::new()),
            leaked: Mutex::new(Vec::new()),
            lifeline: Lifeline::new(settings),
            group: group.to_owned(),
            topics: topics.join(", "),
            denied: Mutex::new(None),
        };
        let member: Member<A> = BaseConsumer::from_config_and_context(&config, context)?;
        *lock(&member.context().queue) = Some(BatchQueue::new(member.client()));
        member.subscribe(topics)?;
        Ok(GroupConsumer { member: Arc::new(member) })
    }

    /// Serves rebalances, statistics and errors, then hands over what was fetched, waiting at most `wait`.
    ///
    /// A partition named by [`GroupConsumer::leaked`] afterwards has lost a message on the way; it must be
    /// moved back by [`GroupConsumer::seek`] before anything more of it is used.
    pub fn poll(&self, wait: Duration, mut take: impl FnMut(BorrowedRecord<'_>)) -> usize {
        if self.serve() {
            return 0;
        }
        let context = self.member.context();
        let queue = lock(&context.queue);
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let mut take_noted = |record: BorrowedRecord<'_>| {
            if let Some(code) = record.error() {
                let using = Using { topic: Some((Operation::Read, record.topic())), ..Using::default() };
                if let Some(why) = denied_code(code, using) {
                    lock(&context.denied).get_or_insert(why);
                }
            }
            take(record);
        };
        queue.as_ref().map_or(0, |queue| queue.drain(wait, &mut take_noted))
    }

    /// The permission that the broker has said is missing, since the last call.
    pub fn denied(&self) -> Option<String> {
        lock(&self.member.context().denied).take()
    }

    /// Serves rebalances and statistics only: keeps membership alive while nothing may be taken.
    pub fn keep_alive(&self) {
        self.serve();
    }

    /// Serves what waits in the consumer's own queue; true, and the rest is left, when a message came out of it.
    ///
    /// All of it, for librdkafka reports every failed attempt to connect, some hundred a second: served one a round,
    /// they would outlast an outage by its own length, with the rebalance that ends it behind them.
    fn serve(&self) -> bool {
        let client = self.member.client();
        self.member.context().lifeline.rescue(client);
        let waiting = native::waiting(client);
        (0..waiting.clamp(1, MOST_SERVED)).any(|_| self.serve_one())
    }

    /// Serves one event. Partition queues are forwarded, so a message comes only when librdkafka undid a forward
    /// while it reopened a partition: it is forwarded anew.
    fn serve_one(&self) -> bool {
        let context = self.member.context();
        match self.member.poll(Duration::ZERO) {
            Some(Ok(message)) => {
                let partition =
                    TopicPartition { topic: message.topic().to_owned(), partition: message.partition() };
                context.forward(std::slice::from_ref(&partition));
                lock(&context.leaked).push(partition);
                true
            }
            Some(Err(error)) => {
                context.note(&error);
                false
            }
            None => false,
        }
    }

    /// Partitions a message of which was not handed over since the last call.
    pub fn leaked(&self) -> Vec<TopicPartition> {
        std::mem::take(&mut lock(&self.member.context().leaked))
    }

    pub fn member(&self) -> &Member<A> {
        &self.member
    }

    /// The group membership as of now, for a transaction; see [`membership`].
    pub fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        membership(&self.member)
    }

    pub fn committed(&self, partitions: &[TopicPartition]) -> KafkaResult<Vec<Option<i64>>> {
        committed(&self.member, partitions)
    }

    /// First and next offset of a partition, asked of the broker.
    pub fn offsets_range(&self, partition: &TopicPartition) -> KafkaResult<(i64, i64)> {
        ends_of(&self.member, &partition.topic, partition.partition)
    }

    /// Fetches nothing more of `partition`, which stays assigned. What was fetched before may still come.
    pub fn pause(&self, partition: &TopicPartition) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&partition.topic, partition.partition);
        self.member.pause(&list)
    }

    /// Undoes [`GroupConsumer::pause`]; seek to where reading is to go on.
    pub fn resume(&self, partition: &TopicPartition) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&partition.topic, partition.partition);
        self.member.resume(&list)
    }

    /// Reads `partition` from `offset` on; what was fetched before is thrown away.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> KafkaResult<()> {
        self.member.seek(&partition.topic, partition.partition, Offset::Offset(offset), CALL_TIMEOUT)
    }

    /// Reads `partition` from `offset` on after its fetcher has given up: a seek is refused then, so the
    /// partition is taken out of the assignment and put back. The group does not notice.
    pub fn reopen(&self, partition: &TopicPartition, offset: i64) -> KafkaResult<()> {
        let one = std::slice::from_ref(partition);
        self.member.incremental_unassign(&start_list(one, &[]))?;
        // Stopping the fetcher undoes the forward, in librdkafka's own thread and some time later: a forward made
        // before it is lost, and with it whatever is fetched then. A request that is served in turn behind the
        // stop says that it is over; a stopped fetcher refuses to be moved.
        let _ = self.seek(partition, offset);
        self.member.context().forward(one);
        let start = StartOffset { partition: partition.clone(), offset };
        self.member.incremental_assign(&start_list(one, &[start]))
    }

    /// The consumer's position, which moves over control records, if it is ahead of the last message.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let list = self.member.position().ok()?;
        match list.find_partition(&partition.topic, partition.partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// The end of a partition as of the last statistics.
    pub fn end(&self, partition: &TopicPartition) -> Option<PartitionEnd> {
        lock(&self.member.context().ends).get(partition).copied()
    }

    /// Whether this member must be rebuilt, and why.
    pub fn fatal_error(&self) -> Option<String> {
        let (code, reason) = self.member.client().fatal_error()?;
        let context = self.member.context();
        denied_code(code, context.using()).or_else(|| Some(format!("{code}: {reason}")))
    }

    /// Leaves the group. Waits at most five seconds: closing is known to hang in librdkafka, and a process
    /// that is done must not.
    pub fn close(self) {
        lock(&self.member.context().queue).take();
        let (done, wait) = std::sync::mpsc::channel();
        let member = self.member;
        std::thread::spawn(move || {
            drop(member);
            // The receiver may have given up already.
            let _ = done.send(());
        });
        if wait.recv_timeout(Duration::from_secs(5)).is_err() {
            tracing::warn!("a kafka consumer did not close within 5 s; leaving it to the end of the process");
        }
    }
}

/// Whether an error in place of a record says that the offset asked for is gone.
pub fn is_offset_gone(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Nobody;

    impl Assignment for Nobody {
        fn assigned(&self, _: &Member<Self>, _: &[TopicPartition]) -> Vec<StartOffset> {
            Vec::new()
        }
        fn revoked(&self, _: &Member<Self>, _: &[TopicPartition], _: bool) {}
        fn error(&self, _: &KafkaError) {}
    }

    /// Nobody listens there: the port was ours, and is closed.
    fn nowhere() -> GroupConsumer<Nobody> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let brokers = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let settings = ClientSettings { brokers, properties: BTreeMap::new(), client_id: "test".to_owned() };
        GroupConsumer::join(&settings, "test", "test", &["test"], Duration::ZERO, Arc::new(Nobody))
            .expect("joins")
    }

    #[test]
    fn what_an_outage_left_in_the_queue_is_served_in_one_round() {
        let consumer = nowhere();
        let waiting = || native::waiting(consumer.member.client());
        let started = Instant::now();
        while waiting() < 200 {
            assert!(started.elapsed() < Duration::from_secs(120), "{} events", waiting());
            std::thread::sleep(Duration::from_millis(20));
        }
        consumer.keep_alive();
        assert!(waiting() < 100, "{} events are left", waiting());
        consumer.close();
    }

    #[test]
    fn statistics_without_a_broker_are_acted_upon_at_the_next_round() {
        let consumer = nowhere();
        let (context, client) = (consumer.member.context(), consumer.member.client());
        context.stats(Statistics::default());
        assert!(context.lifeline.rescue(client), "they are noted");
        context.stats(Statistics::default());
        consumer.keep_alive();
        assert!(!context.lifeline.rescue(client), "it is done");
        consumer.close();
    }
}
