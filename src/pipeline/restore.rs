//! A merge partition's judge, out of Kafka and back into it.

use super::judge_stage::JudgeSettings;
use crate::baseline::{Watch, WatchedModel};
use crate::config::OwnTopics;
use crate::event::ModelId;
use crate::judge::dispersion::DispersionRecord;
use crate::judge::evidence::{EvidenceHead, EvidenceRecord};
use crate::judge::window::ModelWindow;
use crate::judge::{Judge, MergeState};
use crate::metrics::Metrics;
use crate::policy::evaluate::{Conclusion, ModelMemory, ModelRules};
use crate::source::kafka::{Operation, Outgoing, PartitionReader, ReadFrom, Using, ends_of, explain};
use crate::tally::SourceKey;
use crate::tally::checked::RecordError;
use crate::tally::merge_partition;
use crate::tally::record::PaneRecord;
use prost::Message;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long reading a partition's state or panes may take before the stage starts over.
const READ_LIMIT: Duration = Duration::from_secs(60);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One merge partition: its judge and what its models remember.
pub(super) struct Slot {
    pub(super) judge: Judge,
    /// Index in the watch → rules and memory, of the models that meet in this partition.
    models: BTreeMap<u32, (ModelRules, ModelMemory)>,
    /// Models whose evidence and dispersion are stored as they are: by index, the evidence's head and the panes
    /// of the dispersion.
    stored: BTreeMap<u32, (EvidenceHead, u64)>,
}

impl Slot {
    pub(super) fn model(&mut self, index: u32) -> Option<(&ModelRules, &mut ModelMemory)> {
        self.models.get_mut(&index).map(|(rules, memory)| (&*rules, memory))
    }

    pub(super) fn watched(&self) -> impl Iterator<Item = &WatchedModel> {
        self.models.values().map(|(rules, _)| rules.plan.watched())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &ModelId> {
        self.watched().map(|model| &model.id)
    }

    /// The weight that is set now, of the models whose owner has told one.
    pub(super) fn weights(&self) -> impl Iterator<Item = (&ModelId, f64)> {
        let weight = |index: &u32| self.judge.weight_now(*index);
        self.models
            .iter()
            .filter_map(move |(index, (rules, _))| Some((&rules.plan.watched().id, weight(index)?)))
    }

    pub(super) fn owns(&self, id: &ModelId) -> bool {
        self.models.values().any(|(rules, _)| rules.plan.watched().id == *id)
    }

    /// State records to be committed with the applied offset.
    pub(super) fn state_records(&self, own: &OwnTopics, partition: i32) -> Vec<Outgoing> {
        let record = |key: String, payload: Vec<u8>| Outgoing {
            topic: own.state.clone(),
            partition: Some(partition),
            key: Some(key.into_bytes()),
            payload: Some(payload),
            ..Outgoing::default()
        };
        let mut records = vec![record(MERGE_KEY.to_owned(), self.judge.state().encode_to_vec())];
        for (index, (rules, memory)) in &self.models {
            let id = &rules.plan.watched().id;
            match serde_json::to_vec(memory) {
                Ok(json) => records.push(record(memory_key(id), json)),
                Err(error) => tracing::error!(%error, "a model's memory could not be written"),
            }
            let stored = self.stored.get(index);
            if stored.is_none_or(|(head, _)| *head != memory.evidence.head) {
                let evidence = memory.evidence.records(id);
                records.extend(evidence.map(|one| record(one.key(), one.encode_to_vec())));
            }
            if stored.is_none_or(|(_, taken)| *taken != memory.dispersion.taken) {
                let dispersion = memory.dispersion.records(id);
                records.extend(dispersion.map(|one| record(one.key(), one.encode_to_vec())));
            }
        }
        records
    }

    /// What [`Slot::state_records`] gave has been committed: evidence is written again when it has grown.
    pub(super) fn note_stored(&mut self) {
        let state = |memory: &ModelMemory| (memory.evidence.head.clone(), memory.dispersion.taken);
        self.stored = self.models.iter().map(|(index, (_, memory))| (*index, state(memory))).collect();
    }
}

pub(super) const MERGE_KEY: &str = "merge";

fn memory_key(id: &ModelId) -> String {
    format!("model|{}|{}", id.namespace, id.name)
}

/// Where a partition is restored from, and where records that are not used are counted.
pub(super) struct Stored<'a> {
    pub(super) reader: &'a PartitionReader,
    pub(super) metrics: &'a Metrics,
}

pub(super) fn note_refused(metrics: &Metrics, topic: &str, error: &RecordError) {
    metrics.own_records_refused.with_label_values(&[topic, error.reason()]).inc();
}

/// Restores a partition from `tidegate.state` and `tidegate.panes`. `rules`: of all models of the watch.
///
/// # Errors
/// A sentence that says what could not be read.
pub(super) fn slot<C: ConsumerContext>(
    settings: &JudgeSettings,
    stored: &Stored<'_>,
    member: &BaseConsumer<C>,
    watch: &Arc<Watch>,
    rules: &[ModelRules],
    expected: BTreeSet<SourceKey>,
    partition: i32,
) -> Result<Slot, String> {
    let own = &settings.own;
    let (low, partitions) = tallies(member, own, partition)?;
    let mut state: Option<MergeState> = None;
    let mut memories: BTreeMap<Vec<u8>, ModelMemory> = BTreeMap::new();
    let mut evidence: BTreeMap<Vec<u8>, EvidenceRecord> = BTreeMap::new();
    let mut dispersions: BTreeMap<Vec<u8>, DispersionRecord> = BTreeMap::new();
    let mut refused: Vec<RecordError> = Vec::new();
    read(stored.reader, &own.state, partition, ReadFrom::Beginning, |key, payload| match payload {
        Some(payload) if key == MERGE_KEY.as_bytes() => match MergeState::read(payload) {
            Ok(found) => state = Some(found),
            Err(error) => refused.push(error),
        },
        Some(payload) if EvidenceRecord::is_key(key) => match EvidenceRecord::decode(payload) {
            Ok(found) => {
                evidence.insert(key.to_vec(), found);
            }
            Err(error) => refused.push(error.into()),
        },
        Some(payload) if DispersionRecord::is_key(key) => match DispersionRecord::decode(payload) {
            Ok(found) => {
                dispersions.insert(key.to_vec(), found);
            }
            Err(error) => refused.push(error.into()),
        },
        Some(payload) => match serde_json::from_slice(payload) {
            Ok(found) => {
                memories.insert(key.to_vec(), found);
            }
            Err(_) => refused.push(RecordError::OutOfRange("memory of a model")),
        },
        None => {}
    })?;
    for error in &refused {
        note_refused(stored.metrics, &own.state, error);
        if matches!(error, RecordError::Format(_)) {
            // Written by a newer program: going on would write over it.
            return Err(format!("a record of {}[{partition}] cannot be used: {error}", own.state));
        }
        tracing::error!(%error, partition, "a state record is not used; what it held is begun anew");
    }
    let mut judge = match state {
        Some(mut state) => {
            let lost = state.begin_at(low);
            let mut judge = Judge::restore(settings.judge, Arc::clone(watch), expected, &state);
            if lost {
                tracing::warn!(
                    partition,
                    "answers that wait for labels are older than the tallies: left out"
                );
                judge.lose_joins();
            }
            judge
        }
        None => Judge::new(settings.judge, Arc::clone(watch), expected, low),
    };
    if let Some(oldest) = judge.oldest_pane_needed() {
        let from = ReadFrom::Time(oldest.saturating_sub(settings.clock_margin_ms));
        read(stored.reader, &own.panes, partition, from, |key, payload| {
            let needed = part_of(key).is_none_or(|(panes, start)| judge.needs_pane(panes, start));
            match payload.filter(|_| needed).map(PaneRecord::read) {
                Some(Ok(record)) => judge.restore_pane(&record),
                Some(Err(error)) => {
                    note_refused(stored.metrics, &own.panes, &error);
                    tracing::warn!(%error, partition, "a stored pane is not used");
                }
                None => {}
            }
        })?;
    }
    let mut models = BTreeMap::new();
    for (index, rules) in rules.iter().enumerate() {
        let id = &rules.plan.watched().id;
        if merge_partition(&id.namespace, &id.name, partitions) as i32 == partition {
            let mut memory = memories.remove(memory_key(id).as_bytes()).unwrap_or_default();
            memory.streaks.retain_watched(rules.plan.watched());
            memory.rollout.retain_watched(rules.plan.watched());
            let of_model = |one: &&EvidenceRecord| one.namespace == id.namespace && one.model == id.name;
            evidence.values().filter(of_model).for_each(|one| memory.evidence.restore(one));
            let of_model = |one: &&DispersionRecord| one.namespace == id.namespace && one.model == id.name;
            dispersions.values().filter(of_model).for_each(|one| memory.dispersion.restore(one));
            memory.dispersion.retain_watched(rules.plan.watched());
            models.insert(index as u32, (rules.clone(), memory));
        }
    }
    let mut slot = Slot { judge, models, stored: BTreeMap::new() };
    slot.note_stored();
    Ok(slot)
}

/// The first offset of a tallies partition, and how many partitions there are.
fn tallies<C: ConsumerContext>(
    member: &BaseConsumer<C>,
    own: &OwnTopics,
    partition: i32,
) -> Result<(i64, u32), String> {
    let why = |error: rdkafka::error::KafkaError| format!("{} could not be looked up: {error}", own.tallies);
    let (low, _) = ends_of(member, &own.tallies, partition).map_err(why)?;
    let metadata = member.fetch_metadata(Some(&own.tallies), CALL_TIMEOUT).map_err(why)?;
    let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    Ok((low, count as u32))
}

fn read(
    reader: &PartitionReader,
    topic: &str,
    partition: i32,
    from: ReadFrom,
    mut take: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(), String> {
    let all = |key: &[u8], payload: Option<&[u8]>| {
        take(key, payload);
        true
    };
    reader.read(topic, partition, from, Instant::now() + READ_LIMIT, all).map_err(|error| {
        let using = Using { topic: Some((Operation::Read, topic)), ..Using::default() };
        format!("{topic}[{partition}] could not be read: {}", explain(&error, using))
    })
}

/// Length in panes and start of a record of `tidegate.panes`, by its key ([`crate::judge::pane_key`]).
pub(super) fn part_of(key: &[u8]) -> Option<(u32, i64)> {
    let mut parts = std::str::from_utf8(key).ok()?.rsplit('|');
    let start = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, start))
}

/// The records a conclusion becomes: reports, alerts, actions.
pub(super) fn conclusion_records(
    own: &OwnTopics,
    window: &ModelWindow,
    conclusion: &Conclusion,
) -> Vec<Outgoing> {
    let mut records = Vec::new();
    for report in &conclusion.reports {
        let key = format!(
            "{}|{}|{}|{}|{}",
            report.namespace, report.model, report.model_version, window.scale, report.window.start
        );
        records.extend(json_record(&own.reports, key, report));
    }
    records.extend(
        conclusion.alerts.iter().filter_map(|one| json_record(&own.alerts, one.alert_id.clone(), one)),
    );
    let actions = conclusion.actions.iter();
    records.extend(actions.filter_map(|one| json_record(&own.actions, one.idempotency_key.clone(), one)));
    records
}

fn json_record<T: serde::Serialize>(topic: &str, key: String, value: &T) -> Option<Outgoing> {
    match serde_json::to_vec(value) {
        Ok(payload) => Some(Outgoing {
            topic: topic.to_owned(),
            key: Some(key.into_bytes()),
            payload: Some(payload),
            ..Outgoing::default()
        }),
        Err(error) => {
            tracing::error!(%error, topic, "a record could not be written as JSON");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_length_and_start_whatever_the_names_are() {
        for (model, series) in [("fraud", "amount"), ("a|b", "c|16|5"), ("", "")] {
            let (model, series) = (model.to_owned(), series.to_owned());
            let record = PaneRecord { model, series, panes: 4, start: -60_000, ..PaneRecord::default() };
            assert_eq!(part_of(crate::judge::pane_key(&record).as_bytes()), Some((4, -60_000)));
        }
        assert_eq!(part_of(b"no key of ours"), None);
        assert_eq!(part_of(&[0xff, b'|', b'1', b'|', b'2']), None);
    }
}
