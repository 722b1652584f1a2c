//! Settings common to all clients.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::Duration;

/// How to reach the cluster.
#[derive(Clone)]
pub struct ClientSettings {
    pub brokers: String,
    /// Any librdkafka properties of the user, secrets among them: never logged.
    pub properties: BTreeMap<String, String>,
    /// Prefix of the client ids.
    pub client_id: String,
}

/// Properties that only consumers know; librdkafka warns when a producer is given one.
const CONSUMER_ONLY: [&str; 9] = [
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "group.protocol",
    "session.timeout.ms",
    "partition.assignment.strategy",
    "fetch.wait.max.ms",
    "fetch.min.bytes",
];

/// Bytes (in KiB) that a producer holds at most; a flush beyond it waits for the broker.
pub const PRODUCER_QUEUE_KIB: usize = 64 << 10;

impl ClientSettings {
    /// These settings with a property more, unless it is set already.
    pub fn with_default(&self, property: &str, value: String) -> ClientSettings {
        let mut settings = self.clone();
        settings.properties.entry(property.to_owned()).or_insert(value);
        settings
    }

    /// A consumer's configuration: explicit offsets, committed records only, errors instead of jumps.
    pub fn consumer(&self, role: &str) -> ClientConfig {
        let mut config = self.base(role);
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.message.max.bytes", "4194304")
            .set("queued.max.messages.kbytes", "16384")
            .set("queued.min.messages", "100000")
            // A metadata request that is lost, with a connection that librdkafka gave up while it learned of the
            // brokers, is not sent again before this has passed: 60 s, the default, is a long time to wait for. But a
            // whole fetch must come within it.
            .set("socket.timeout.ms", "30000")
            .set("topic.metadata.refresh.interval.ms", "60000");
        if self.properties.get("group.protocol").is_none_or(|protocol| protocol == "classic") {
            // Partitions that stay with a member go on being read through a rebalance. The newer protocol
            // (brokers from 4.0 on) does so by itself and refuses this property.
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        self.add_user_properties(&mut config, |_| true);
        config
    }

    /// A transactional producer's configuration.
    pub fn transactional_producer(&self, role: &str, transactional_id: &str) -> ClientConfig {
        let mut config = self.base(role);
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", "15000")
            .set("message.timeout.ms", "14000")
            .set("linger.ms", "1")
            .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB.to_string())
            .set("compression.type", "lz4")
            // The broker is still ending the transaction before: 100 ms, the default, is a long wait for it.
            .set("retry.backoff.ms", "5");
        self.add_user_properties(&mut config, |key| !CONSUMER_ONLY.contains(&key));
        config
    }

    /// The configuration of a producer without transactions, whose records are written within `limit` or given up.
    /// Not idempotent: that would ask for a right of its own on brokers before 2.8.
    pub fn plain_producer(&self, role: &str, limit: Duration) -> ClientConfig {
        let mut config = self.base(role);
        config
            .set("acks", "all")
            .set("message.timeout.ms", limit.as_millis().to_string())
            .set("linger.ms", "0");
        self.add_user_properties(&mut config, |key| !CONSUMER_ONLY.contains(&key));
        config
    }

    /// For administration and metadata.
    pub fn plain(&self, role: &str) -> ClientConfig {
        let mut config = self.base(role);
        self.add_user_properties(&mut config, |key| !CONSUMER_ONLY.contains(&key));
        config
    }

    fn base(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", format!("{}-{role}", self.client_id))
            .set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    fn add_user_properties(&self, config: &mut ClientConfig, wanted: impl Fn(&str) -> bool) {
        for (key, value) in self.properties.iter().filter(|(key, _)| wanted(key)) {
            config.set(key, value);
        }
    }
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.properties.keys().collect();
        formatter
            .debug_struct("ClientSettings")
            .field("brokers", &self.brokers)
            .field("properties", &keys)
            .field("client_id", &self.client_id)
            .finish()
    }
}

/// A context that sends librdkafka's messages to `tracing` and needs no callbacks.
#[derive(Debug, Clone, Default)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka client error");
    }
}

impl ConsumerContext for Quiet {}

/// librdkafka's log lines carry host names and states, never payloads or credentials.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::debug!(facility, "librdkafka: {message}")
        }
        _ => tracing::trace!(facility, "librdkafka: {message}"),
    }
}
