//! A real Apache Kafka broker for tests: one shared by the whole test process, or a private one that a test may
//! kill and start again.
//!
//! A broker test begins with `let Some(broker) = Broker::shared() else { return };`. There is `None` only for
//! the person who set `TIDEGATE_TEST_KAFKA=off` (no Java, no network); a line says so. Every other failure to
//! start is a failure of the test.
//!
//! The broker is a child of `tests/kafka/guard.sh`, which kills it when the pipe from this process closes. The
//! kernel closes that pipe however the process ends, so no broker is left behind by a panic or a SIGKILL.

use crate::guard::{Guard, free_ports};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a broker may take to answer, once its jars are there.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How much longer the very first start may take, when Maven has to fetch the jars.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How long any one request to a running broker may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// A running broker. Dropping a private one ends it; the shared one ends with the process.
pub struct Broker {
    guard: Mutex<Guard>,
    port: u16,
    dir: PathBuf,
}

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

impl Broker {
    /// The broker of this test process, started by whoever asks first.
    pub fn shared() -> Option<&'static Broker> {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        wanted().then(|| SHARED.get_or_init(Broker::launch))
    }

    /// A broker of the caller's own, which it may kill and restart.
    pub fn own() -> Option<Broker> {
        wanted().then(Broker::launch)
    }

    /// `host:port`, for `bootstrap.servers`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client configuration that finds this broker.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config.set("reconnect.backoff.max.ms", "500");
        config
    }

    /// A name that no other test uses, also not in a run before this one.
    pub fn unique(&self, name: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends the broker as a power cut would: SIGKILL. Its data stays.
    pub fn kill(&self) {
        assert_eq!(self.order("kill"), "ended");
    }

    /// Ends the broker in order (SIGTERM) and waits for it. Its data stays.
    pub fn stop(&self) {
        assert_eq!(self.order("stop"), "ended");
    }

    /// Starts a killed or stopped broker again: same port, same data.
    pub fn restart(&self) {
        if let Err(why) = self.start() {
            panic!("{why}");
        }
    }

    /// Makes a topic and waits until every partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// As [`Broker::create_topic`], with topic configuration such as `("cleanup.policy", "compact")`.
    pub fn create_topic_with(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        // On a thread of its own, so that it works from inside an async test too.
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                let admin: AdminClient<DefaultClientContext> = self.client().create().expect("admin client");
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
                runtime.expect("tokio runtime").block_on(admin.create_topics([&topic], &options))
            });
            let results = made.join().expect("the admin thread").expect("the broker answers");
            for result in results {
                result.unwrap_or_else(|(topic, code)| panic!("topic {topic} was not made: {code}"));
            }
        });
        let reader = self.reader();
        wait_until(REQUEST_LIMIT, &format!("a leader for each partition of {name}"), || {
            let metadata = reader.fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
            let partitions_led =
                metadata.topics().first()?.partitions().iter().filter(|p| p.leader() >= 0).count();
            (partitions_led == partitions as usize).then_some(())
        });
    }

    /// Sends the messages in their order and waits until the broker has all of them.
    pub fn produce<'a>(&self, topic: &str, messages: impl IntoIterator<Item = &'a Message>) {
        let producer = self.producer(&[("linger.ms", "5")]);
        for message in messages {
            producer.send(topic, message);
        }
        producer.flush();
    }

    /// A producer for tests that need more than [`Broker::produce`], with these librdkafka properties.
    pub fn producer(&self, properties: &[(&str, &str)]) -> TestProducer {
        let mut config = self.client();
        config.set("acks", "all").set("compression.type", "lz4");
        for (key, value) in properties {
            config.set(*key, *value);
        }
        let refused = Arc::new(AtomicU64::new(0));
        let inner = config.create_with_context(Deliveries { refused: refused.clone() }).expect("producer");
        TestProducer { inner, refused }
    }

    /// Deletes the records of a partition before this offset, as retention would.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("admin client");
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(admin.delete_records(&offsets, &options)).expect("records deleted");
    }

    /// Everything a `read_committed` reader sees in the topic now, ordered by partition and offset.
    pub fn read_all(&self, topic: &str) -> Vec<Record> {
        let reader = self.reader();
        let partitions = partitions_of(&reader, topic);
        let mut assignment = TopicPartitionList::new();
        for &partition in &partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an assignment");
        }
        reader.assign(&assignment).expect("assign");
        drop(assignment); // a list that outlives its consumer can keep it from closing
        let mut records = Vec::new();
        let mut open = partitions;
        let mut last_news = Instant::now();
        while !open.is_empty() {
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(record_of(&message)),
                // Under read_committed this is the last stable offset: an open transaction ends the view.
                Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|&p| p != partition),
                Some(Err(KafkaError::MessageConsumption(code))) if is_transient(code) => {}
                Some(Err(error)) => panic!("reading {topic}: {error}"),
                None => {
                    let waited = last_news.elapsed();
                    assert!(waited < REQUEST_LIMIT, "{topic}: no end of partitions {open:?} in {waited:?}");
                    continue;
                }
            }
            last_news = Instant::now();
        }
        records.sort_by_key(|r| (r.partition, r.offset));
        records
    }

    /// Reads the topic again and again until `enough` says yes of all that is in it.
    ///
    /// Panics with the number of records and the last ones when `limit` has passed.
    pub fn read_until(
        &self,
        topic: &str,
        limit: Duration,
        enough: impl Fn(&[Record]) -> bool,
    ) -> Vec<Record> {
        let started = Instant::now();
        loop {
            let records = self.read_all(topic);
            if enough(&records) {
                return records;
            }
            if started.elapsed() > limit {
                let last: Vec<String> = records.iter().rev().take(3).map(Record::text).collect();
                panic!("{topic}: not enough in {limit:?}; {} records, the last: {last:#?}", records.len());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The group's committed offset of every partition it has committed.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let reader: BaseConsumer = self.client().set("group.id", group).create().expect("consumer");
        let mut asked = TopicPartitionList::new();
        for partition in partitions_of(&reader, topic) {
            asked.add_partition(topic, partition);
        }
        let answer = reader.committed_offsets(asked, REQUEST_LIMIT).expect("committed offsets");
        let offsets = answer.elements();
        offsets
            .iter()
            .filter_map(|e| Some((e.partition(), e.offset().to_raw().filter(|&o| o >= 0)?)))
            .collect()
    }

    /// The first and the next offset of every partition; the next is the high watermark.
    pub fn watermarks(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let reader = self.reader();
        let ask = |partition| {
            let offsets = reader.fetch_watermarks(topic, partition, REQUEST_LIMIT).expect("watermarks");
            (partition, offsets)
        };
        partitions_of(&reader, topic).into_iter().map(ask).collect()
    }

    fn reader(&self) -> BaseConsumer {
        let mut config = self.client();
        // librdkafka wants a group even for an assignment by hand; nothing is ever committed to it.
        config.set("group.id", "tidegate-test-reader").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error").set("fetch.wait.max.ms", "50");
        config.create().expect("consumer")
    }

    fn launch() -> Broker {
        let mut why = String::new();
        for _ in 0..3 {
            let (port, controller_port) = free_ports();
            let (guard, dir) = Guard::spawn(port, controller_port);
            let broker = Broker { guard: Mutex::new(guard), port, dir };
            match broker.start() {
                Ok(()) => return broker,
                // Between our look at the port and the broker's, somebody else can have taken it.
                Err(message) if message.contains("Address already in use") => why = message,
                Err(message) => panic!("{message}"),
            }
        }
        panic!("{why}");
    }

    fn start(&self) -> Result<(), String> {
        let limit = if jars().exists() { START_LIMIT } else { START_LIMIT + FETCH_LIMIT };
        let started = Instant::now();
        let answer = self.order("start");
        assert!(answer.starts_with("started "), "the guard said {answer:?}");
        let reader = self.reader();
        loop {
            if reader.fetch_metadata(None, Duration::from_millis(500)).is_ok_and(|m| !m.brokers().is_empty())
            {
                return Ok(());
            }
            if self.order("alive") != "yes" {
                return Err(format!("the test broker ended while starting:\n{}", self.last_lines()));
            }
            if started.elapsed() > limit {
                return Err(format!("the test broker did not answer in {limit:?}:\n{}", self.last_lines()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn order(&self, order: &str) -> String {
        // A test that panicked while it held the lock left nothing half done: an order is one line.
        let mut guard = self.guard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        guard.order(order).unwrap_or_else(|error| panic!("the broker's guard is gone: {error}"))
    }

    fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("broker.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// A producer that counts what the broker did not take.
pub struct TestProducer {
    /// The client itself, for transactions.
    pub inner: ThreadedProducer<Deliveries>,
    refused: Arc<AtomicU64>,
}

impl TestProducer {
    /// Queues one message; waits while the queue is full.
    pub fn send(&self, topic: &str, message: &Message) {
        let mut record = message.record(topic);
        loop {
            match self.inner.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, _)) => panic!("producing to {topic}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything is delivered. Panics if something was not.
    pub fn flush(&self) {
        self.inner.flush(REQUEST_LIMIT).expect("everything delivered in time");
        assert_eq!(self.refused.load(Ordering::Acquire), 0, "messages that the broker did not take");
    }
}

/// Counts failed deliveries.
pub struct Deliveries {
    refused: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.refused.fetch_add(1, Ordering::Release);
        }
    }
}

/// Asks until there is an answer. Panics when `limit` has passed, naming `what` was waited for.
pub fn wait_until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < limit, "no {what} in {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wanted() -> bool {
    let off = std::env::var("TIDEGATE_TEST_KAFKA").is_ok_and(|v| v == "off");
    if off {
        println!("left out: TIDEGATE_TEST_KAFKA=off, so nothing was tested on a real broker here");
    }
    !off
}

/// Where start.sh puts the jars.
fn jars() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate");
    std::env::var_os("TIDEGATE_KAFKA_CACHE").map_or_else(home, PathBuf::from).join("kafka-4.3.1")
}

fn partitions_of(reader: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = reader.fetch_metadata(Some(topic), Timeout::After(REQUEST_LIMIT)).expect("metadata");
    let found = metadata.topics().first().filter(|t| t.error().is_none()).expect("the topic exists");
    found.partitions().iter().map(|p| p.id()).collect()
}

fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, NotLeaderForPartition, OperationTimedOut,
    };
    matches!(code, AllBrokersDown | BrokerTransportFailure | NotLeaderForPartition | OperationTimedOut)
}

fn record_of(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
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
