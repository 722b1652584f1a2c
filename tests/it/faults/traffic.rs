//! Traffic that goes on whatever happens: events with a serial number per partition, at the time they are sent.

use super::{SCORES, VALUES, now_ms};
use crate::broker::{Broker, Message, TestProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Values of `lane`, the partition an event was sent to.
pub const LANES: u64 = 20;
/// From this serial number on the canary's scores are all the same.
const GOOD: u64 = 1_000;

/// The score that stands for a number below [`SCORES`].
pub fn score(number: u64) -> f64 {
    number as f64 / SCORES as f64
}

/// One event: its serial number in its partition decides everything but the time.
pub fn event(partition: i32, serial: u64, time: i64) -> Message {
    let canary = serial % 2 == 1;
    let (version, role) = if canary { ("v2", "canary") } else { ("v1", "stable") };
    let score = if canary && serial > GOOD { score(SCORES - 1) } else { score(serial / 2 % SCORES) };
    let x = serial / 2 % VALUES;
    Message::new(format!(
        r#"{{"request_id":"{partition}-{serial}","model":"m","model_version":"{version}","role":"{role}","timestamp":{time},"features":{{"x":{x},"lane":{partition}}},"predictions":{{"score":{score}}}}}"#
    ))
    .partition(partition)
}

/// A producer in a thread of its own.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    partitions: Arc<AtomicI32>,
    thread: JoinHandle<u64>,
}

impl Traffic {
    /// Sends `per_second` events a second, in turn to each of `partitions`.
    pub fn start(broker: &Broker, topic: &str, partitions: i32, per_second: u64) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let partitions = Arc::new(AtomicI32::new(partitions));
        // Each event once, in order, however often it must be sent; a broker may be away for two minutes.
        let producer = broker.producer(&[
            ("enable.idempotence", "true"),
            ("linger.ms", "20"),
            ("message.timeout.ms", "120000"),
            ("socket.timeout.ms", "5000"),
            ("topic.metadata.refresh.interval.ms", "1000"),
        ]);
        let (topic, ends, spread) = (topic.to_owned(), Arc::clone(&stop), Arc::clone(&partitions));
        let thread = std::thread::spawn(move || send_until(&producer, &topic, &spread, per_second, &ends));
        Traffic { stop, partitions, thread }
    }

    /// Sends to this many partitions from now on.
    pub fn widen(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// Ends, and returns how many events were sent, once the broker has them all.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every event is delivered")
    }
}

fn send_until(
    producer: &TestProducer,
    topic: &str,
    partitions: &AtomicI32,
    per_second: u64,
    stop: &AtomicBool,
) -> u64 {
    let started = Instant::now();
    let (mut sent, mut serials) = (0, Vec::<u64>::new());
    while !stop.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * per_second as f64) as u64;
        serials.resize(partitions.load(Ordering::Relaxed) as usize, 0);
        while sent < due {
            let partition = sent as usize % serials.len();
            producer.send(topic, &event(partition as i32, serials[partition], now_ms()));
            serials[partition] += 1;
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    producer.flush_within(Duration::from_secs(120));
    sent
}
