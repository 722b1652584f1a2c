//! What became of every offset of the sources: outcomes, holes, and what is no record of ours.
//!
//! Offsets may be sparse: control records, aborted transactions and compaction leave offsets that no reader is
//! given. So the promise is not that records and offsets are equally many, but that the counted ranges continue
//! each other from the first one on (no hole), and that nothing was counted twice (never more records than
//! offsets).

use super::state_record::{MergeState, OffsetRange, SourceRecord};
use crate::event::EventTime;
use crate::tally::SourceKey;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Holes of a source that are listed one by one; older ones are only counted.
pub const MAX_RANGES: usize = 100;

/// Offsets of a source that were not counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Holes {
    newest: VecDeque<OffsetRange>,
    ranges: u64,
    offsets: u64,
}

impl Holes {
    /// Adds the offsets `from` up to `to`, if there are any; ranges that touch become one.
    pub(super) fn add(&mut self, from: i64, to: i64) {
        let Some(offsets) = u64::try_from(to.saturating_sub(from)).ok().filter(|offsets| *offsets > 0) else {
            return;
        };
        self.offsets = self.offsets.saturating_add(offsets);
        if let Some(last) = self.newest.back_mut().filter(|last| last.to == from) {
            last.to = to;
            return;
        }
        self.ranges = self.ranges.saturating_add(1);
        self.newest.push_back(OffsetRange { from, to });
        if self.newest.len() > MAX_RANGES {
            self.newest.pop_front();
        }
    }

    pub(super) fn restore(newest: &[OffsetRange], ranges: u64, offsets: u64) -> Holes {
        let listed = newest.len().saturating_sub(MAX_RANGES);
        Holes { newest: newest[listed..].iter().copied().collect(), ranges, offsets }
    }

    pub(super) fn newest(&self) -> impl Iterator<Item = OffsetRange> {
        self.newest.iter().copied()
    }

    pub(super) fn ranges(&self) -> u64 {
        self.ranges
    }

    pub(super) fn offsets(&self) -> u64 {
        self.offsets
    }
}

/// All sources' accounts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accounting {
    /// Every source adds up.
    pub adds_up: bool,
    /// By topic and partition.
    pub sources: Vec<SourceAccount>,
}

/// The account of one source partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceAccount {
    pub topic: String,
    pub partition: i32,
    /// The first offset that is counted; `null` when that is not known any more.
    pub start: Option<i64>,
    /// One past the last offset that was judged; `null` before the first.
    pub next: Option<i64>,
    /// Records counted, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Their sum.
    pub records: u64,
    /// Offsets between `start` and `next` that hold no record: control records, aborted or compacted ones.
    /// `null` when `start` is not known.
    pub not_records: Option<i64>,
    /// Offsets that were not counted.
    pub missing: MissingOffsets,
    /// Records that came again after they were counted, and were dropped.
    pub doubled: u64,
    /// Event time up to which the source is known complete (RFC 3339); `null` before its first event.
    pub watermark: Option<String>,
    /// Nothing was left to read.
    pub idle: bool,
    /// No hole, and not more records than offsets.
    pub adds_up: bool,
}

/// Offsets that were not counted in the panes of at least one merge partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingOffsets {
    pub offsets: u64,
    pub ranges: u64,
    /// The newest ranges, `[from, to)`, oldest first; at most [`MAX_RANGES`].
    pub newest: Vec<[i64; 2]>,
}

/// The accounts that the merge partitions' state records tell.
///
/// Every merge partition hears of every source; of each source the one that has come furthest speaks for its
/// records. A hole counts if any merge partition has it: the models that meet there miss its events.
pub fn account(states: &[MergeState]) -> Accounting {
    let mut told: BTreeMap<SourceKey, Vec<&SourceRecord>> = BTreeMap::new();
    for source in states.iter().flat_map(|state| &state.sources) {
        let key = SourceKey { topic: source.topic.clone(), partition: source.partition };
        told.entry(key).or_default().push(source);
    }
    let sources: Vec<SourceAccount> =
        told.into_values().filter_map(|records| account_one(&records)).collect();
    Accounting { adds_up: sources.iter().all(|source| source.adds_up), sources }
}

fn account_one(told: &[&SourceRecord]) -> Option<SourceAccount> {
    let furthest = told.iter().max_by_key(|source| source.next)?;
    let outcomes: BTreeMap<String, u64> =
        furthest.outcomes.iter().map(|total| (total.outcome.clone(), total.count)).collect();
    let records = outcomes.values().copied().fold(0, u64::saturating_add);
    let span = furthest.start.zip(furthest.next).map(|(start, next)| next - start);
    let own = i64::try_from(furthest.missing_offsets).unwrap_or(i64::MAX);
    let not_records =
        span.map(|span| span.saturating_sub(own).saturating_sub(i64::try_from(records).unwrap_or(i64::MAX)));
    let missing = missing(told);
    Some(SourceAccount {
        topic: furthest.topic.clone(),
        partition: furthest.partition,
        start: furthest.start,
        next: furthest.next,
        records,
        not_records,
        adds_up: missing.offsets == 0 && not_records.is_none_or(|rest| rest >= 0),
        outcomes,
        missing,
        doubled: told.iter().map(|source| source.doubled).max().unwrap_or(0),
        watermark: furthest.watermark.map(|time| EventTime(time).to_rfc3339()),
        idle: furthest.idle,
    })
}

fn missing(told: &[&SourceRecord]) -> MissingOffsets {
    let mut union: BTreeSet<[i64; 2]> = BTreeSet::new();
    union.extend(told.iter().flat_map(|source| &source.missing).map(|range| [range.from, range.to]));
    let mut merged: Vec<[i64; 2]> = Vec::new();
    for [from, to] in union {
        match merged.last_mut() {
            Some(last) if from <= last[1] => last[1] = last[1].max(to),
            _ => merged.push([from, to]),
        }
    }
    let listed = merged.iter().map(|[from, to]| to.abs_diff(*from)).fold(0, u64::saturating_add);
    let at_least =
        |field: fn(&SourceRecord) -> u64| told.iter().map(|source| field(source)).max().unwrap_or(0);
    MissingOffsets {
        offsets: listed.max(at_least(|source| source.missing_offsets)),
        ranges: (merged.len() as u64).max(at_least(|source| source.missing_ranges)),
        newest: merged.split_off(merged.len().saturating_sub(MAX_RANGES)),
    }
}
