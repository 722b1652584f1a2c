//! The broker of a run: source logs, the tallies log, group offsets, what judges have committed.

use super::schedule::Ending;
use super::traffic::Body;
use crate::judge::MergeState;
use crate::judge::window::ModelWindow;
use crate::tally::record::{PaneRecord, TallyRecord};
use crate::tally::{FlushRecord, SourceKey};
use std::collections::{BTreeMap, BTreeSet};

/// A partition of the source topic. Records stay here for the naive count even when retention took them.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceLog {
    pub(super) topic_uuid: String,
    /// The first offset that can still be read.
    pub(super) low: i64,
    /// The next offset to be written.
    pub(super) high: i64,
    pub(super) records: BTreeMap<i64, Body>,
}

/// A record of the tallies, visible to readers of committed records or not.
#[derive(Debug, Clone)]
pub(super) struct TallyEntry {
    pub(super) record: TallyRecord,
    pub(super) visible: bool,
}

/// When a judge began to know something else (at this offset of its tallies).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// Another baseline, by generation.
    Watch(usize),
    /// This many source partitions.
    Expect(usize),
}

/// What the judge of one merge partition has committed.
#[derive(Debug, Clone, Default)]
pub(super) struct Committed {
    pub(super) state: Option<MergeState>,
    pub(super) panes: BTreeMap<String, PaneRecord>,
    /// Everything, in the order of its emission.
    pub(super) all_panes: Vec<PaneRecord>,
    pub(super) windows: Vec<ModelWindow>,
    pub(super) switches: Vec<(i64, Switch)>,
}

/// Kafka, as far as the protocol can see it.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Milliseconds.
    pub(super) clock: i64,
    pub(super) sources: Vec<SourceLog>,
    /// Earlier lives of recreated partitions, by topic id and partition.
    pub(super) past: BTreeMap<(String, usize), SourceLog>,
    pub(super) tallies: Vec<Vec<TallyEntry>>,
    /// The tally group's committed offsets.
    pub(super) offsets: BTreeMap<usize, i64>,
    pub(super) committed: Vec<Committed>,
    /// Generation of the tally group's assignment.
    pub(super) generation: u64,
    pub(super) owners: Vec<usize>,
    /// Baselines so far.
    pub(super) baseline: usize,
    /// Something was done that no protocol can undo: incomplete reports are to be expected.
    pub(super) destroyed: bool,
    /// Judges may commit between the parts in which panes are closed. Not where partitions or baselines change:
    /// a judge that is restored there closes the rest by what it knows then.
    pub(super) in_parts: bool,
    /// Records of the last flush that was committed whole.
    pub(super) last_flush: Vec<FlushRecord>,
}

pub(super) const TOPIC: &str = "events";

pub(super) fn key(source: usize) -> SourceKey {
    SourceKey { topic: TOPIC.to_owned(), partition: source as i32 }
}

impl World {
    pub(super) fn expected(&self, sources: usize) -> BTreeSet<SourceKey> {
        (0..sources).map(key).collect()
    }

    /// The log of a source's life under a topic id.
    pub(super) fn source_life(&self, topic_uuid: &str, source: usize) -> Option<&SourceLog> {
        let present = self.sources.get(source).filter(|log| log.topic_uuid == topic_uuid);
        present.or_else(|| self.past.get(&(topic_uuid.to_owned(), source)))
    }

    fn append(&mut self, records: &[FlushRecord], visible: impl Fn(usize, usize) -> bool) {
        let mut place = vec![0; self.tallies.len()];
        for one in records {
            let partition = one.partition as usize;
            let visible = visible(partition, place[partition]);
            place[partition] += 1;
            self.tallies[partition].push(TallyEntry { record: one.record.clone(), visible });
        }
    }

    fn move_offsets(&mut self, offsets: &[(usize, i64)]) {
        self.offsets.extend(offsets.iter().copied());
    }

    /// A transaction of a tally. Returns whether the client believes that it was committed.
    pub(super) fn transact(
        &mut self,
        records: &[FlushRecord],
        offsets: &[(usize, i64)],
        ending: Ending,
    ) -> bool {
        match ending {
            Ending::Committed | Ending::Ambiguous { applied: true } => {
                self.append(records, |_, _| true);
                self.move_offsets(offsets);
                self.last_flush = records.to_vec();
                ending == Ending::Committed
            }
            Ending::Aborted | Ending::Ambiguous { applied: false } => {
                self.append(records, |_, _| false);
                false
            }
            Ending::Torn { cut, head, offsets: moved, told } => {
                self.append(records, |_, place| (place < cut as usize) == head);
                if moved {
                    self.move_offsets(offsets);
                }
                self.destroyed = true;
                told
            }
        }
    }

    /// The transaction of the last flush comes once more.
    pub(super) fn repeat(&mut self) {
        let records = std::mem::take(&mut self.last_flush);
        self.append(&records, |_, _| true);
    }
}
