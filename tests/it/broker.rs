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
use crate::messages::record_of;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

pub use crate::messages::{Message, Record, TestProducer};

/// How long a broker may take to answer, once its jars are there.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How much longer the very first start may take, when Maven has to fetch the jars.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How long any one request to a running broker may take.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// A running broker. Dropping a private one ends it; the shared one ends with the process.
pub struct Broker {
    guard: Mutex<Guard>,
    port: u16,
    controller_port: u16,
    pid: AtomicU32,
    /// Where clients begin: this broker, or all of its cluster.
    bootstrap: String,
    /// Ports of SCRAM over TLS, and of TLS with client certificates.
    secure: Option<(u16, u16)>,
    dir: PathBuf,
}

impl Broker {
    /// The broker of this test process, started by whoever asks first.
    pub fn shared() -> Option<&'static Broker> {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        wanted().then(|| SHARED.get_or_init(|| Broker::launch(false)))
    }

    /// A broker of the caller's own, which it may kill and restart.
    pub fn own() -> Option<Broker> {
        wanted().then(|| Broker::launch(false))
    }

    /// The broker with an authorizer, of this test process; see `start.sh` for its users. On [`Broker::address`]
    /// everybody may do everything.
    pub fn secure() -> Option<&'static Broker> {
        static SECURE: OnceLock<Broker> = OnceLock::new();
        wanted().then(|| SECURE.get_or_init(|| Broker::launch(true)))
    }

    /// `host:port` of SCRAM over TLS, and of TLS with client certificates.
    pub fn secure_addresses(&self) -> (String, String) {
        let (sasl, ssl) = self.secure.expect("a broker with security");
        (format!("127.0.0.1:{sasl}"), format!("127.0.0.1:{ssl}"))
    }

    /// A file that `start.sh` made for the secure listeners.
    pub fn tls_file(&self, name: &str) -> PathBuf {
        self.dir.join("data/tls").join(name)
    }

    /// As [`Broker::own`]; `prepare` is called before it is started.
    pub fn own_prepared(prepare: impl Fn(&Broker)) -> Option<Broker> {
        wanted().then(|| Broker::launch_with(false, prepare))
    }

    /// Adds properties to those of start.sh; they hold from the next start on.
    pub fn set_properties(&self, properties: &str) {
        self.write("extra.properties", properties);
    }

    /// A cluster of `nodes` brokers that hold everything in common; any of them stands for all.
    pub fn cluster(nodes: usize, properties: &str) -> Option<Vec<Broker>> {
        wanted().then(|| Broker::launch_cluster(nodes, properties))
    }

    /// `host:port`, for `bootstrap.servers`; of all nodes of a cluster.
    pub fn address(&self) -> String {
        self.bootstrap.clone()
    }

    /// The port of this node.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the broker keeps its properties and its data.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Sends a signal, such as `STOP`, to the broker's process.
    pub fn signal(&self, name: &str) {
        let pid = self.pid.load(Ordering::Acquire).to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill").success(), "the broker takes {name}");
    }

    /// Whether the broker's process is there.
    pub fn is_alive(&self) -> bool {
        self.order("alive") == "yes"
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
        // -1: as the broker is told to.
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
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

    /// Makes a topic, if none of that name is there; says whether it was made.
    pub fn try_create_topic(&self, name: &str, partitions: i32) -> bool {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("admin client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        let results = runtime.block_on(admin.create_topics([&topic], &options)).expect("the broker answers");
        results.into_iter().all(|result| result.is_ok())
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
        // A batch that is sent again, because its answer was late, must not be there twice.
        config.set("acks", "all").set("enable.idempotence", "true").set("compression.type", "lz4");
        for (key, value) in properties {
            config.set(*key, *value);
        }
        TestProducer::new(&config)
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

    /// Gives a topic more partitions.
    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("admin client");
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let more = NewPartitions::new(topic, partitions);
        let results = runtime.block_on(admin.create_partitions([&more], &options)).expect("an answer");
        results.into_iter().for_each(|result| assert!(result.is_ok(), "{result:?}"));
    }

    /// Sets a group's committed offset by hand; the group must have no members.
    pub fn set_committed(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().expect("consumer");
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        consumer.commit(&offsets, rdkafka::consumer::CommitMode::Sync).expect("an offset is committed");
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

    /// A consumer for assignments by hand that sees committed records and ends of partitions.
    pub fn reader(&self) -> BaseConsumer {
        let mut config = self.client();
        // librdkafka wants a group even for an assignment by hand; nothing is ever committed to it.
        config.set("group.id", "tidegate-test-reader").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error").set("fetch.wait.max.ms", "50");
        config.create().expect("consumer")
    }

    fn launch(secure: bool) -> Broker {
        Broker::launch_with(secure, |_| {})
    }

    fn launch_with(secure: bool, prepare: impl Fn(&Broker)) -> Broker {
        let mut why = String::new();
        for _ in 0..3 {
            let broker = Broker::unstarted(secure);
            prepare(&broker);
            match broker.start() {
                Ok(()) => return broker,
                // Between our look at the port and the broker's, somebody else can have taken it.
                Err(message) if message.contains("Address already in use") => why = message,
                Err(message) => panic!("{message}"),
            }
        }
        panic!("{why}");
    }

    fn launch_cluster(nodes: usize, properties: &str) -> Vec<Broker> {
        let mut brokers: Vec<Broker> = (0..nodes).map(|_| Broker::unstarted(false)).collect();
        let all = |text: &dyn Fn(usize, &Broker) -> String| {
            brokers.iter().enumerate().map(|(n, b)| text(n + 1, b)).collect::<Vec<_>>().join(",")
        };
        let voters = all(&|n, broker| format!("{n}@127.0.0.1:{}", broker.controller_port));
        let bootstrap = all(&|_, broker| broker.bootstrap.clone());
        for (n, broker) in brokers.iter_mut().enumerate() {
            let own = format!("node.id={}\ncontroller.quorum.voters={voters}\n{properties}", n + 1);
            broker.write("extra.properties", &own);
            broker.write("cluster.id", "dGlkZWdhdGUtdGVzdC1j");
            broker.bootstrap.clone_from(&bootstrap);
        }
        brokers.iter().for_each(Broker::begin);
        for broker in &brokers {
            broker.await_answer().unwrap_or_else(|why| panic!("{why}"));
        }
        let reader = brokers[0].reader();
        wait_until(START_LIMIT, "brokers that know each other", || {
            let metadata = reader.fetch_metadata(None, Duration::from_secs(5)).ok()?;
            (metadata.brokers().len() == nodes).then_some(())
        });
        drop(reader);
        brokers
    }

    fn unstarted(secure: bool) -> Broker {
        let (port, controller_port) = free_ports();
        let secure = secure.then(free_ports);
        let more = secure.into_iter().flat_map(|(sasl, ssl)| [sasl, ssl]);
        let ports: Vec<u16> = [port, controller_port].into_iter().chain(more).collect();
        let (guard, dir) = Guard::spawn(&ports);
        let bootstrap = format!("127.0.0.1:{port}");
        let guard = Mutex::new(guard);
        Broker { guard, port, controller_port, pid: AtomicU32::new(0), bootstrap, secure, dir }
    }

    /// Writes a file that start.sh reads.
    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.data()).expect("the data directory");
        std::fs::write(self.data().join(name), text).expect("a file for the broker");
    }

    /// Lays a file system of this size (`64m`) under the broker's data; false where that is not allowed.
    pub fn mount(&self, size: &str) -> bool {
        self.order(&format!("mount {size}")) == "mounted"
    }

    fn start(&self) -> Result<(), String> {
        self.begin();
        self.await_answer()
    }

    /// Starts the broker's process, without waiting for it to answer.
    pub fn begin(&self) {
        let answer = self.order("start");
        let pid = answer.strip_prefix("started ").and_then(|pid| pid.parse().ok());
        self.pid.store(pid.unwrap_or_else(|| panic!("the guard said {answer:?}")), Ordering::Release);
    }

    /// Waits until the broker answers.
    ///
    /// # Errors
    /// Its last lines, when it ended or does not answer in time.
    pub fn await_answer(&self) -> Result<(), String> {
        let limit = if jars().exists() { START_LIMIT } else { START_LIMIT + FETCH_LIMIT };
        let started = Instant::now();
        let reader = self.reader();
        loop {
            if reader.fetch_metadata(None, Duration::from_millis(500)).is_ok_and(|m| !m.brokers().is_empty())
            {
                return Ok(());
            }
            if !self.is_alive() {
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
