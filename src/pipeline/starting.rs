//! Where source partitions begin: at committed offsets, at the configured start of a new group, or behind a
//! hole in the log.
//!
//! A new group's start is committed, with an init marker, before the first record is read. The owner of a
//! topic's partition 0 does it for all its partitions at once; so a partition that has no committed offset
//! while partition 0 has one was added later, and is read from its beginning.

use super::tally_stage::{Counting, FLUSH_LIMIT, TallyAssignment, outgoing, topic_partition};
use crate::config::StartAt;
use crate::source::kafka::{GroupConsumer, Member, TopicPartition, Transaction};
use crate::tally::{SourceKey, SourceStart, Tally};
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long to wait before asking again whether partition 0 has been started.
const ASK_AGAIN: Duration = Duration::from_millis(200);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long committing a start may take.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Sources that may not be read yet.
#[derive(Debug, Default)]
pub(super) struct Starting {
    sources: BTreeSet<SourceKey>,
    /// Topics made anew: started from their beginning, whatever is committed for them.
    recreated: BTreeSet<String>,
    /// A topic was made anew and started. The consumer's fetchers still know the old one and may never read
    /// of the new: everything is to be built again.
    is_stale: bool,
    /// Started, but the consumer still has to be moved there.
    seeks: BTreeMap<SourceKey, i64>,
    asked: Option<Instant>,
}

impl Starting {
    pub(super) fn add(&mut self, source: SourceKey) {
        self.sources.insert(source);
        self.asked = None;
    }

    /// Whether the consumer must be made anew.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Notes topics that were made anew.
    pub(super) fn recreated(&mut self, topics: BTreeSet<String>) {
        self.recreated.extend(topics);
    }

    /// Leaves out sources of topics that were made anew: they are read from their beginning, whatever the consumer,
    /// which still asks for an offset of the old topic, finds gone.
    fn drop_recreated(&self, gone: &mut BTreeSet<SourceKey>) {
        gone.retain(|source| !self.recreated.contains(&source.topic));
    }

    pub(super) fn remove(&mut self, source: &SourceKey) {
        self.sources.remove(source);
        self.seeks.remove(source);
    }

    /// Moves the consumer of a source with the next [`settle`].
    pub(super) fn move_to(&mut self, source: SourceKey, offset: i64) {
        self.seeks.insert(source, offset);
    }

    /// Whether what arrives of this source is still from where the consumer stood before.
    pub(super) fn is_moving(&self, source: &SourceKey) -> bool {
        self.seeks.contains_key(source)
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    fn is_due(&mut self) -> bool {
        let due = !self.sources.is_empty() && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN);
        if due {
            self.asked = Some(Instant::now());
        }
        due
    }
}

/// Committed offsets; a broker that does not answer counts as "none yet": the partitions are asked for again
/// before they are read.
pub(super) fn committed_or_none(
    member: &Member<TallyAssignment>,
    partitions: &[TopicPartition],
) -> Vec<Option<i64>> {
    crate::source::kafka::committed(member, partitions).unwrap_or_else(|error| {
        tracing::warn!(%error, "committed offsets could not be read");
        vec![None; partitions.len()]
    })
}

/// Starts, moves and resumes whatever waits for it.
pub(super) fn settle(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) {
    if counting.rewind
        && let Err(why) = rewind(counting, consumer)
    {
        tracing::warn!(why, "nothing is read before the committed offsets are known");
        return;
    }
    for partition in consumer.leaked() {
        let source = super::tally_stage::source_key(&partition);
        if let Some(next) = counting.tally.next_offset(&source) {
            tracing::debug!(%partition, next, "a message went astray; reading again from before it");
            counting.starting.seeks.insert(source, next);
        }
    }
    resume_behind_holes(counting, consumer);
    if counting.starting.is_due() && counting.producer.is_some() {
        start_new(counting, consumer);
    }
    seek(counting, consumer);
}

fn rewind(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) -> Result<(), String> {
    let assignment = consumer.member().assignment().map_err(|error| error.to_string())?;
    let partitions: Vec<TopicPartition> = assignment
        .elements()
        .iter()
        .map(|element| TopicPartition { topic: element.topic().to_owned(), partition: element.partition() })
        .collect();
    drop(assignment);
    let committed = consumer
        .committed(&partitions)
        .map_err(|error| format!("committed offsets could not be read: {error}"))?;
    for (partition, offset) in partitions.iter().zip(committed) {
        let source = super::tally_stage::source_key(partition);
        match offset {
            Some(offset) if !counting.starting.recreated.contains(&source.topic) => {
                start(counting, source, offset);
            }
            _ => counting.starting.add(source),
        }
    }
    counting.rewind = false;
    Ok(())
}

fn start(counting: &mut Counting, source: SourceKey, offset: i64) {
    counting.starting.sources.remove(&source);
    counting.starting.seeks.insert(source.clone(), offset);
    let start = counting.start_of(&topic_partition(&source), offset);
    counting.tally.start_source(start);
}

/// Retention has overtaken a source: an alarm, and on from the log's start. The judge sees the hole.
fn resume_behind_holes(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) {
    if counting.gone.is_empty() {
        return;
    }
    super::topic_ids::look_for_recreated(counting, consumer.member());
    counting.starting.drop_recreated(&mut counting.gone);
    for source in std::mem::take(&mut counting.gone) {
        if let Err(why) = resume(counting, consumer, &source) {
            tracing::warn!(why, topic = source.topic, partition = source.partition, "not resumed yet");
            counting.gone.insert(source);
        }
    }
}

fn resume(
    counting: &mut Counting,
    consumer: &GroupConsumer<TallyAssignment>,
    source: &SourceKey,
) -> Result<(), String> {
    let partition = topic_partition(source);
    let Some(next) = counting.tally.next_offset(source) else { return Ok(()) };
    let (low, high) = consumer.offsets_range(&partition).map_err(|error| error.to_string())?;
    if (low..=high).contains(&next) {
        // An error that was under way when the consumer was moved here: nothing is lost.
        return consumer.reopen(&partition, next).map_err(|error| error.to_string());
    }
    let at = if next < low { low } else { high };
    tracing::error!(source = %partition, lost_from = next, resume = at, "offsets are gone from the log");
    let labels = [source.topic.as_str(), &source.partition.to_string()];
    counting.metrics.offset_out_of_range.with_label_values(&labels).inc();
    if next > high {
        return begin_anew(counting, consumer, &partition, high);
    }
    // What was read before the hole belongs to a range of its own.
    counting.flush(consumer.metadata(), FLUSH_LIMIT);
    if counting.rewind {
        return Err("what was counted before the hole could not be written".to_owned());
    }
    consumer.reopen(&partition, at).map_err(|error| error.to_string())?;
    counting.tally.skip_to(source, at);
    Ok(())
}

/// The log ends before what was to be read next: it was cut, or made anew while nobody looked. It is read from
/// its end on, behind a start marker that tells the judge.
fn begin_anew(
    counting: &mut Counting,
    consumer: &GroupConsumer<TallyAssignment>,
    partition: &TopicPartition,
    high: i64,
) -> Result<(), String> {
    counting.give_up("the log ends before what was to be read next");
    let committed = consumer.committed(std::slice::from_ref(partition)).map_err(|error| error.to_string())?;
    if let Some(committed) = committed[0].filter(|committed| *committed > high) {
        let start = SourceStart { instead_of: Some(committed), ..counting.start_of(partition, high) };
        init(counting, consumer, &[start])?;
    }
    consumer.reopen(partition, high).map_err(|error| error.to_string())
}

fn start_new(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) {
    let topics: BTreeSet<String> =
        counting.starting.sources.iter().map(|source| source.topic.clone()).collect();
    for topic in topics {
        if let Err(why) = start_topic(counting, consumer, &topic) {
            tracing::warn!(topic, why, "source partitions could not be started yet");
        }
    }
}

fn start_topic(
    counting: &mut Counting,
    consumer: &GroupConsumer<TallyAssignment>,
    topic: &str,
) -> Result<(), String> {
    let mine: Vec<SourceKey> =
        counting.starting.sources.iter().filter(|source| source.topic == topic).cloned().collect();
    let all = partitions_of(consumer, topic)?;
    let committed = consumer.committed(&all).map_err(|error| error.to_string())?;
    let known: BTreeMap<i32, i64> =
        all.iter().zip(committed).filter_map(|(one, offset)| Some((one.partition, offset?))).collect();
    let recreated = counting.starting.recreated.contains(topic);
    let (to_init, at): (Vec<TopicPartition>, StartAt) = if recreated {
        (mine.iter().map(topic_partition).collect(), StartAt::Earliest)
    } else if known.contains_key(&0) {
        // Added after the group began.
        let added = mine.iter().filter(|source| !known.contains_key(&source.partition));
        (added.map(topic_partition).collect(), StartAt::Earliest)
    } else if mine.iter().any(|source| source.partition == 0) {
        (all.into_iter().filter(|one| !known.contains_key(&one.partition)).collect(), counting.settings.start)
    } else {
        return Ok(());
    };
    let mut started = known;
    if !to_init.is_empty() {
        let offsets = start_offsets(consumer, &to_init, at)?;
        let starts: Vec<SourceStart> =
            to_init.iter().zip(&offsets).map(|(one, offset)| counting.start_of(one, *offset)).collect();
        init(counting, consumer, &starts)?;
        started.extend(to_init.iter().zip(offsets).map(|(one, offset)| (one.partition, offset)));
    }
    for source in mine {
        if let Some(offset) = started.get(&source.partition) {
            start(counting, source, *offset);
        }
    }
    counting.starting.is_stale |= recreated;
    counting.starting.recreated.remove(topic);
    Ok(())
}

fn partitions_of(
    consumer: &GroupConsumer<TallyAssignment>,
    topic: &str,
) -> Result<Vec<TopicPartition>, String> {
    let metadata =
        consumer.member().fetch_metadata(Some(topic), CALL_TIMEOUT).map_err(|error| error.to_string())?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let ids =
        found.map(|found| found.partitions()).unwrap_or_default().iter().map(|partition| partition.id());
    Ok(ids.map(|partition| TopicPartition { topic: topic.to_owned(), partition }).collect())
}

fn start_offsets(
    consumer: &GroupConsumer<TallyAssignment>,
    partitions: &[TopicPartition],
    at: StartAt,
) -> Result<Vec<i64>, String> {
    if let StartAt::Time(time) = at {
        return offsets_at(consumer, partitions, time);
    }
    let one = |partition: &TopicPartition| {
        let (low, high) = consumer.offsets_range(partition).map_err(|error| error.to_string())?;
        Ok(if at == StartAt::Earliest { low } else { high })
    };
    partitions.iter().map(one).collect()
}

fn offsets_at(
    consumer: &GroupConsumer<TallyAssignment>,
    partitions: &[TopicPartition],
    time: i64,
) -> Result<Vec<i64>, String> {
    let mut list = TopicPartitionList::new();
    for one in partitions {
        list.add_partition_offset(&one.topic, one.partition, Offset::Offset(time))
            .map_err(|error| error.to_string())?;
    }
    let found = consumer.member().offsets_for_times(list, CALL_TIMEOUT).map_err(|error| error.to_string())?;
    let one = |partition: &TopicPartition| {
        match found.find_partition(&partition.topic, partition.partition).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            // No record is that young.
            _ => consumer.offsets_range(partition).map(|(_, high)| high).map_err(|error| error.to_string()),
        }
    };
    partitions.iter().map(one).collect()
}

fn init(
    counting: &mut Counting,
    consumer: &GroupConsumer<TallyAssignment>,
    starts: &[SourceStart],
) -> Result<(), String> {
    let (range_id, instance) = (counting.next_range_id(), counting.settings.instance.clone());
    let markers = Tally::init_markers(&counting.stamp(&range_id, &instance), starts);
    let transaction = Transaction {
        records: outgoing(&counting.settings.own.tallies, &markers),
        offsets: starts.iter().map(|start| (topic_partition(&start.source), start.offset)).collect(),
        group: consumer.metadata(),
    };
    counting.run(transaction, START_LIMIT)?;
    tracing::info!(partitions = starts.len(), "tally: new source partitions started");
    Ok(())
}

fn seek(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) {
    let seeks = std::mem::take(&mut counting.starting.seeks);
    for (source, offset) in seeks {
        // Right after an assignment the fetcher is not ready to be moved; it is asked again with the next poll.
        if let Err(error) = consumer.seek(&topic_partition(&source), offset) {
            tracing::debug!(%error, partition = source.partition, "seek is to be tried again");
            counting.starting.seeks.insert(source, offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_of_the_old_topic_is_no_hole_of_the_new_one() {
        let source = |topic: &str, partition| SourceKey { topic: topic.to_owned(), partition };
        let mut starting = Starting::default();
        starting.recreated(BTreeSet::from(["anew".to_owned()]));
        // Heard after the topic was found to be another one, and before it is started.
        let mut gone = BTreeSet::from([source("anew", 0), source("old", 0), source("anew", 1)]);
        starting.drop_recreated(&mut gone);
        assert_eq!(gone, BTreeSet::from([source("old", 0)]));
    }
}
