//! What the process may hold in memory, worked out from the configuration, the baselines and the cluster: a
//! bound for each part, and how librdkafka's queues are sized for it.
//!
//! The parts are upper bounds, not forecasts: a quiet service holds a small share of them.

use super::Stages;
use super::dead_letters;
use crate::baseline::Watch;
use crate::config::Config;
use crate::decode::MAX_EVENT_BYTES;
use crate::http::board;
use crate::judge::{MAX_OPEN_BYTES, MIN_OPEN_PANES};
use crate::source::kafka::{ClientSettings, MAX_BATCH, PRODUCER_QUEUE_KIB};
use crate::tally::{MAX_HELD_BYTES, label_bytes, merge_partition, pane_bytes};
use std::collections::BTreeMap;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// The program itself, its threads, TLS, and what its runtime keeps.
const PROGRAM: usize = 96 * MIB;
/// All consumer queues of the source topics together, if there are not too many partitions.
const SOURCE_QUEUES: usize = 256 * MIB;
/// The queues of the tallies' consumer together, likewise.
const TALLY_QUEUES: usize = 64 * MIB;
/// A partition's queue, at least and at most.
const QUEUE: (usize, usize) = (MIB, 16 * MIB);
/// One answer of a broker to a fetch.
const FETCH: usize = 16 * MIB;
const SMALL_FETCH: usize = 4 * MIB;
/// A decoded event of the largest size: its copy, where its structure is, and its tape, in multiples of it.
const DECODER_FACTOR: usize = 17;
/// An encoded cell, at most as a rule: what it skips, and a count below two million.
const ENCODED_CELL: usize = 4;
/// One drift gauge: the sample, its labels, and the memory of having exported it.
const GAUGE: usize = 1_024;
/// Gauges of a series: seven statistics, four scales, two references; and AUC, Brier score and coverage of an output's
/// labels at each scale (accuracy and coverage where it is no number).
const GAUGES_PER_SERIES: usize = 68;
/// A rollout's evidence of one series: two numbers for each of up to 300 cells, and what goes with them.
const EVIDENCE_PER_SERIES: usize = 6 * 1_024;
/// An answer or a label that waits to be joined: its request, its cell, and its share of a search tree's nodes.
const WAITING: usize = 80;
/// Panes that are still open, and a rounded-up horizon.
const LATE_PANES: usize = 16;
/// Windows that one pane with data ends up in, with the empty panes behind it.
const WINDOWS_PER_PANE: usize = 13;
/// What the allocator keeps beside what was asked of it: a fifth.
const SLACK: usize = 5;

/// The cluster, as far as memory depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) brokers: usize,
    /// Partitions of all source topics.
    pub(super) source_partitions: usize,
}

/// Bounds by part, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryBudget {
    pub(super) parts: Vec<(&'static str, usize)>,
}

impl MemoryBudget {
    pub(super) fn total(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// `total 523 MiB: program 96, …`.
    pub(super) fn sentence(&self) -> String {
        let part = |(name, bytes): &(&str, usize)| format!("{name} {}", bytes.div_ceil(MIB));
        let parts: Vec<String> = self.parts.iter().map(part).collect();
        format!("at most {} MiB: {}", self.total().div_ceil(MIB), parts.join(", "))
    }

    pub(super) fn new(config: &Config, watch: &Watch, stages: Stages, cluster: Cluster) -> MemoryBudget {
        let runs = |stage: Stages| stages == Stages::All || stages == stage;
        let mut parts = vec![("program", PROGRAM)];
        if runs(Stages::Tally) {
            parts.extend(tally(config, watch, cluster));
        }
        if runs(Stages::Judge) {
            parts.extend(judge(config, watch, cluster));
        }
        let small = config.topics.partitions as usize * QUEUE.0 + cluster.brokers * SMALL_FETCH;
        if runs(Stages::Notify) {
            parts.push(("notify", small + 32 * MIB));
        }
        parts.push((
            "board",
            4 * config.topics.partitions as usize * QUEUE.0
                + cluster.brokers * SMALL_FETCH
                + board::MAX_BYTES,
        ));
        let sum: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        parts.push(("allocator", sum / SLACK));
        MemoryBudget { parts }
    }
}

fn tally(config: &Config, watch: &Watch, cluster: Cluster) -> Vec<(&'static str, usize)> {
    let threads = config.kafka.consumers;
    let queue = source_queue(config, cluster);
    let everything: usize = versions(watch).map(pane_bytes).sum();
    let counts = MAX_HELD_BYTES.max(2 * everything);
    // Encoded, as the records of a transaction and once more inside librdkafka.
    let flush = counts / 8 * ENCODED_CELL + (PRODUCER_QUEUE_KIB << 10).min(counts / 8 * ENCODED_CELL);
    let series: usize = versions(watch).map(|version| version.series.len()).sum();
    vec![
        ("source queues", cluster.source_partitions * queue),
        ("source fetches", threads * cluster.brokers * FETCH),
        ("counts", threads * counts),
        ("flush", threads * flush),
        ("dead letters", threads * 2 * dead_letters::MAX_BYTES),
        ("decoder", threads * (DECODER_FACTOR * MAX_EVENT_BYTES + series * MAX_BATCH * 9)),
    ]
}

fn judge(config: &Config, watch: &Watch, cluster: Cluster) -> Vec<(&'static str, usize)> {
    let queues = config.topics.partitions as usize * tally_queue(config);
    let fetches = cluster.brokers * SMALL_FETCH;
    let dense = dense_by_partition(config, watch);
    let open = |bytes: &usize| MAX_OPEN_BYTES.max(MIN_OPEN_PANES * bytes);
    let everything: usize = dense.values().sum();
    let largest = dense.values().max().copied().unwrap_or(0);
    let kept = kept_sums(config) * everything / 8 * ENCODED_CELL;
    let exported = |(model, most): (&crate::baseline::WatchedModel, usize)| -> usize {
        model.versions.iter().map(|version| version.series.len().min(most) * GAUGES_PER_SERIES * GAUGE).sum()
    };
    let most = config.models.iter().map(|model| model.max_exported_series).max().unwrap_or(0);
    vec![
        // Once in librdkafka, once as the batch being applied.
        ("tally queues", 2 * queues + fetches),
        ("open panes", dense.values().map(open).sum()),
        ("kept sums", kept),
        ("windows", WINDOWS_PER_PANE * largest + 3 * 16 * MIB),
        // In the slot, and as the records of a transaction.
        ("labels", watch.models.iter().map(|model| waiting(config, model)).sum()),
        ("evidence", 2 * largest_versions(watch) * EVIDENCE_PER_SERIES),
        ("gauges", watch.models.iter().map(|model| exported((model, most))).sum()),
    ]
}

/// What waits of a model: requests, and of each pane the labels that came beside its answers, encoded.
fn waiting(config: &Config, model: &crate::baseline::WatchedModel) -> usize {
    let Some(join) = &model.labels else { return 0 };
    let pane = config.windows.pane.as_millis().max(1) as usize;
    let panes = join.horizon_ms as usize / pane + LATE_PANES;
    let beside: usize = model.versions.iter().map(|version| 2 * label_bytes(version)).sum();
    join.max_pending.saturating_mul(WAITING).saturating_add(panes.saturating_mul(beside))
}

/// Series that a canary may have, of all models: what evidence is kept of.
fn largest_versions(watch: &Watch) -> usize {
    let largest = |model: &crate::baseline::WatchedModel| {
        model.versions.iter().map(|version| version.series.len()).max().unwrap_or(0)
    };
    watch.models.iter().map(largest).sum()
}

fn versions(watch: &Watch) -> impl Iterator<Item = &crate::baseline::WatchedVersion> {
    watch.models.iter().flat_map(|model| &model.versions)
}

/// One pane of all models that meet in a merge partition, dense.
fn dense_by_partition(config: &Config, watch: &Watch) -> BTreeMap<u32, usize> {
    let mut dense = BTreeMap::new();
    for model in &watch.models {
        let partition = merge_partition(&model.id.namespace, &model.id.name, config.topics.partitions as u32);
        // What matured stands beside what came with the answers.
        let matured = |version| if model.labels.is_some() { label_bytes(version) } else { 0 };
        let of_version = |version| pane_bytes(version) + matured(version);
        *dense.entry(partition).or_default() += model.versions.iter().map(of_version).sum::<usize>();
    }
    dense
}

/// Panes and sums kept of each version: four tiers' worth of windows and what late events may reach.
fn kept_sums(config: &Config) -> usize {
    let panes = |duration: Duration| (duration.as_millis() / config.windows.pane.as_millis().max(1)) as usize;
    let late = panes(config.windows.allowed_lateness).max(1);
    [1, 4, 16].iter().map(|length| (8 * length + late) / length + 1).sum()
}

fn source_queue(config: &Config, cluster: Cluster) -> usize {
    set_by_user(config).unwrap_or((SOURCE_QUEUES / cluster.source_partitions.max(1)).clamp(QUEUE.0, QUEUE.1))
}

fn tally_queue(config: &Config) -> usize {
    set_by_user(config)
        .unwrap_or((TALLY_QUEUES / config.topics.partitions.max(1) as usize).clamp(QUEUE.0, QUEUE.1))
}

const QUEUE_PROPERTY: &str = "queued.max.messages.kbytes";

fn set_by_user(config: &Config) -> Option<usize> {
    config.kafka.client.get(QUEUE_PROPERTY)?.parse().ok().map(|kib: usize| kib << 10)
}

/// The clients of the stages, with queues that fit the budget unless the configuration sizes them.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) tally: ClientSettings,
    pub(super) judge: ClientSettings,
    /// Of everything that reads little.
    pub(super) small: ClientSettings,
}

impl Clients {
    pub(super) fn new(config: &Config, client: &ClientSettings, cluster: Cluster) -> Clients {
        let sized = |queue: usize, fetch: usize| {
            let client = client.with_default(QUEUE_PROPERTY, (queue >> 10).to_string());
            client.with_default("fetch.max.bytes", fetch.to_string())
        };
        Clients {
            tally: sized(source_queue(config, cluster), FETCH),
            judge: sized(tally_queue(config), SMALL_FETCH),
            small: sized(QUEUE.0, SMALL_FETCH),
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
