//! Reads reports as they come, to know when a pane has closed.

use crate::broker::Broker;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Knows the newest first report of a single pane.
pub struct Watcher {
    newest: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches the two partitions of a reports topic, which must exist.
    pub fn start(broker: &Broker, reports: &str) -> Watcher {
        let (newest, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, ends) = (Arc::clone(&newest), Arc::clone(&stop));
        let reader = broker.reader();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..2 {
            assignment.add_partition_offset(reports, partition, Offset::Beginning).expect("an assignment");
        }
        reader.assign(&assignment).expect("assign");
        drop(assignment);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // Errors are those of a broker that is being tested.
                let Some(Ok(message)) = reader.poll(Duration::from_millis(50)) else { continue };
                let report: serde_json::Value =
                    serde_json::from_slice(message.payload().unwrap_or_default()).expect("a report");
                if report["window"]["scale"] == 1 && report["revision"] == 0 {
                    seen.fetch_max(message.timestamp().to_millis().unwrap_or(0), Ordering::Relaxed);
                }
            }
        });
        Watcher { newest, stop, thread: Some(thread) }
    }

    /// Whether a pane was closed after this time (milliseconds since 1970).
    pub fn closed_since(&self, time: i64) -> bool {
        self.newest.load(Ordering::Relaxed) > time
    }

    /// Waits until a pane is closed after `time`, but not longer than `limit`. Says whether one was.
    pub fn wait_closed(&self, time: i64, limit: Duration) -> bool {
        let started = std::time::Instant::now();
        while !self.closed_since(time) && started.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.closed_since(time)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let panicked = thread.join().is_err();
            assert!(!panicked || std::thread::panicking(), "a report was unreadable");
        }
    }
}
