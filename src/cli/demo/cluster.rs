//! librdkafka's mock cluster inside the process, the traffic that is written to it, and a reader of what
//! Tidegate says there.

use super::controller::CanaryWeight;
use super::story::StoryEvent;
use super::traffic::{Traffic, TrafficEvent};
use crate::config::{OwnTopics, TopicsConfig};
use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// The source topic.
pub const EVENTS_TOPIC: &str = "inference-events";
/// Partitions of the source topic.
pub const EVENT_PARTITIONS: i32 = 4;

/// How often a batch of traffic is written.
const TICK: Duration = Duration::from_millis(25);
/// How long a full producer queue is waited for before it is tried again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// A broker in this process, with all topics; gone when dropped. It keeps 5 MiB per partition.
pub struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    /// Starts one broker on loopback and makes the source topics and Tidegate's own.
    pub fn start(topics: &TopicsConfig) -> anyhow::Result<Cluster> {
        let mock = MockCluster::new(1).context("cannot start the mock cluster")?;
        let create = |name: &str, partitions: i32| {
            mock.create_topic(name, partitions, 1).with_context(|| format!("cannot make the topic {name}"))
        };
        for name in &topics.events {
            create(name, EVENT_PARTITIONS)?;
        }
        for name in own_topic_names(&topics.own()) {
            create(&name, topics.partitions)?;
        }
        Ok(Cluster { mock })
    }

    /// `host:port` to connect to.
    pub fn bootstrap(&self) -> String {
        self.mock.bootstrap_servers()
    }
}

fn own_topic_names(own: &OwnTopics) -> [String; 8] {
    [
        &own.tallies,
        &own.panes,
        &own.state,
        &own.reports,
        &own.alerts,
        &own.actions,
        &own.outcomes,
        &own.dead_letters,
    ]
    .map(String::clone)
}

/// A thread of the demo; told to stop and waited for when dropped.
pub struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn spawn(name: &str, work: impl FnOnce(&AtomicBool) + Send + 'static) -> anyhow::Result<Worker> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&seen))
            .with_context(|| format!("cannot start the thread {name}"))?;
        Ok(Worker { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread of the demo panicked");
        }
    }
}

/// Writes `per_second` events each second to the source topic, the canary's share as `weight` says at the
/// time, until the worker is dropped.
pub fn produce(
    bootstrap: &str,
    traffic: Traffic,
    per_second: u32,
    weight: CanaryWeight,
) -> anyhow::Result<Worker> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "demo-traffic")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "20000")
        .create()
        .context("cannot make the traffic's producer")?;
    Worker::spawn("demo-traffic", move |stop| {
        write_traffic(&producer, traffic, per_second, &weight, stop);
        if let Err(error) = producer.flush(Duration::from_secs(1)) {
            tracing::warn!(%error, "the last events of the demo's traffic were not written");
        }
    })
}

fn write_traffic(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut traffic: Traffic,
    per_second: u32,
    weight: &CanaryWeight,
    stop: &AtomicBool,
) {
    let (start, mut written) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        traffic.set_canary_weight(weight.get());
        let now_ms = jiff::Timestamp::now().as_millisecond();
        for event in traffic.next_batch(now_ms, due.saturating_sub(written) as usize) {
            send(producer, &event, stop);
        }
        written = due;
    }
}

/// Waits while the producer's queue is full, so that a slow machine makes the traffic late, not thin.
fn send(producer: &ThreadedProducer<DefaultProducerContext>, event: &TrafficEvent, stop: &AtomicBool) {
    let record = || {
        BaseRecord::<(), [u8]>::to(EVENTS_TOPIC).partition(event.partition).payload(event.payload.as_slice())
    };
    while let Err((error, _)) = producer.send(record()) {
        if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            tracing::warn!(%error, "an event of the demo's traffic was not written");
            return;
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(QUEUE_FULL_PAUSE);
    }
}

/// Reads reports, alerts, actions and outcomes from their beginning and passes them on as they come, until
/// the worker is dropped.
pub fn read_own_topics(
    bootstrap: &str,
    topics: &TopicsConfig,
    story: UnboundedSender<StoryEvent>,
) -> anyhow::Result<Worker> {
    let own = topics.own();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "demo-reader")
        // librdkafka assigns nothing without a group's name; the group itself is never joined
        .set("group.id", "demo-reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        .create()
        .context("cannot make the demo's reader")?;
    let mut assignment = TopicPartitionList::new();
    for topic in [&own.reports, &own.alerts, &own.actions, &own.outcomes] {
        for partition in 0..topics.partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&assignment).context("cannot read Tidegate's topics")?;
    drop(assignment);
    Worker::spawn("demo-reader", move |stop| {
        while !stop.load(Ordering::Relaxed) {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let event = story_event(&own, message.topic(), message.payload().unwrap_or_default());
                    if let Some(event) = event {
                        // Nobody listens any more only at shutdown.
                        let _ = story.send(event);
                    }
                }
                Some(Err(error)) => tracing::debug!(%error, "the demo's reader"),
                None => {}
            }
        }
    })
}

/// One record of Tidegate's topics; nothing for a deleted key (an empty value) and for what cannot be read.
fn story_event(own: &OwnTopics, topic: &str, value: &[u8]) -> Option<StoryEvent> {
    fn read<T: DeserializeOwned>(topic: &str, value: &[u8]) -> Option<T> {
        serde_json::from_slice(value)
            .inspect_err(|error| tracing::warn!(%error, topic, "the demo cannot read a record"))
            .ok()
    }
    if value.is_empty() {
        return None;
    }
    match topic {
        name if name == own.reports => read(topic, value).map(Box::new).map(StoryEvent::Report),
        name if name == own.alerts => read(topic, value).map(StoryEvent::Alert),
        name if name == own.actions => read(topic, value).map(StoryEvent::Action),
        name if name == own.outcomes => read(topic, value).map(StoryEvent::Outcome),
        _ => None,
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
