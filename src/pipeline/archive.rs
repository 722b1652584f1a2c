//! Reads what the topics keep, when somebody asks.

use crate::config::{Config, OwnTopics};
use crate::http::archive::{Archive, PanesError, PanesQuery};
use crate::judge::MergeState;
use crate::judge::accounting::{self, Accounting};
use crate::source::kafka::{ClientSettings, Operation, PartitionReader, ReadFrom, Using, explain};
use crate::tally::merge_partition;
use crate::tally::record::PaneRecord;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The end of a state partition that holds its newest record almost always: one is written with every commit.
const STATE_TAIL: i64 = 4_096;

/// Bytes of pane records that one reading keeps, unless told otherwise.
const MAX_PANE_BYTES: usize = 64 << 20;

/// The topics of one Tidegate.
#[derive(Clone)]
pub struct TopicArchive {
    client: ClientSettings,
    own: OwnTopics,
    limit: Duration,
    clock_margin_ms: i64,
    pane_bytes: usize,
}

impl TopicArchive {
    /// `limit`: how long one reading may take.
    pub fn new(config: &Config, limit: Duration) -> TopicArchive {
        TopicArchive {
            client: super::client_settings(config),
            own: config.topics.own(),
            limit,
            clock_margin_ms: super::clock_margin_ms(config),
            pane_bytes: MAX_PANE_BYTES,
        }
    }

    /// Keeps so many bytes of pane records in one reading.
    pub fn keeping(self, pane_bytes: usize) -> TopicArchive {
        TopicArchive { pane_bytes, ..self }
    }

    fn reader(&self) -> Result<PartitionReader, String> {
        PartitionReader::new(&self.client, "archive").map_err(|error| error.to_string())
    }
}

fn why(topic: &str, error: &KafkaError) -> String {
    match error {
        KafkaError::Canceled => format!("{topic} could not be read in time"),
        other => {
            let using = Using { topic: Some((Operation::Read, topic)), ..Using::default() };
            format!("{topic} could not be read: {}", explain(other, using))
        }
    }
}

impl Archive for TopicArchive {
    fn accounting(&self) -> Result<Accounting, String> {
        let deadline = Instant::now() + self.limit;
        let (reader, topic) = (self.reader()?, &self.own.state);
        let partitions = reader.partitions(topic).map_err(|error| why(topic, &error))?;
        let mut states = Vec::new();
        for partition in 0..partitions {
            let newest = |from| {
                let mut newest = None;
                let take = |key: &[u8], payload: Option<&[u8]>| {
                    if key == super::restore::MERGE_KEY.as_bytes() {
                        newest = payload.and_then(|payload| MergeState::read(payload).ok());
                    }
                    true
                };
                reader.read(topic, partition, from, deadline, take).map(|()| newest)
            };
            let found = match newest(ReadFrom::Last(STATE_TAIL)) {
                Ok(None) => newest(ReadFrom::Beginning),
                found => found,
            };
            states.extend(found.map_err(|error| why(topic, &error))?);
        }
        Ok(accounting::account(&states))
    }

    fn panes(&self, query: &PanesQuery) -> Result<Vec<PaneRecord>, PanesError> {
        let Some(earliest) = query.parts.earliest() else { return Ok(Vec::new()) };
        let (deadline, topic) = (Instant::now() + self.limit, &self.own.panes);
        let unavailable = |error: &KafkaError| PanesError::Unavailable(why(topic, error));
        let reader = self.reader().map_err(PanesError::Unavailable)?;
        let partitions = reader.partitions(topic).map_err(|error| unavailable(&error))?;
        if partitions == 0 {
            return Err(PanesError::Unavailable(format!("topic {topic} does not exist")));
        }
        let (namespace, name) = (&query.model.namespace, &query.model.name);
        let partition = merge_partition(namespace, name, partitions as u32) as i32;
        let mut found = Found::new(query, self.pane_bytes);
        let from = ReadFrom::Time(earliest.saturating_sub(self.clock_margin_ms));
        reader
            .read(topic, partition, from, deadline, |key, payload| found.take(key, payload))
            .map_err(|error| unavailable(&error))?;
        found.end()
    }
}

/// The records of a query so far.
struct Found<'a> {
    query: &'a PanesQuery,
    prefix: String,
    /// Key → record and its size.
    records: BTreeMap<Vec<u8>, (PaneRecord, usize)>,
    bytes: usize,
    most_bytes: usize,
    too_many: bool,
}

impl<'a> Found<'a> {
    fn new(query: &'a PanesQuery, most_bytes: usize) -> Found<'a> {
        let prefix = format!("{}|{}|", query.model.namespace, query.model.name);
        Found { query, prefix, records: BTreeMap::new(), bytes: 0, most_bytes, too_many: false }
    }

    /// Returns whether more may follow.
    fn take(&mut self, key: &[u8], payload: Option<&[u8]>) -> bool {
        if !key.starts_with(self.prefix.as_bytes()) || !self.is_wanted(key) {
            return true;
        }
        let Some(payload) = payload else {
            if let Some((_, bytes)) = self.records.remove(key) {
                self.bytes -= bytes;
            }
            return true;
        };
        let Some(record) = PaneRecord::read(payload).ok().filter(|record| self.fits(record)) else {
            return true;
        };
        if self.records.get(key).is_some_and(|(known, _)| known.revision > record.revision) {
            return true;
        }
        self.bytes += payload.len();
        if let Some((_, before)) = self.records.insert(key.to_vec(), (record, payload.len())) {
            self.bytes -= before;
        }
        self.too_many = self.records.len() > self.query.limit || self.bytes > self.most_bytes;
        !self.too_many
    }

    /// By the key alone, which ends in the length in panes and the start: most records need no decoding.
    fn is_wanted(&self, key: &[u8]) -> bool {
        super::restore::part_of(key).is_none_or(|(panes, start)| self.query.parts.contains(panes, start))
    }

    fn fits(&self, record: &PaneRecord) -> bool {
        let PanesQuery { model, version, series, parts, .. } = self.query;
        (&record.namespace, &record.model) == (&model.namespace, &model.name)
            && version.as_ref().is_none_or(|version| *version == record.version)
            && (record.roles.is_some() || series.as_ref().is_none_or(|series| *series == record.series))
            && parts.contains(record.panes, record.start)
    }

    fn end(self) -> Result<Vec<PaneRecord>, PanesError> {
        if self.too_many {
            return Err(PanesError::TooMany(self.query.limit));
        }
        let mut records: Vec<PaneRecord> = self.records.into_values().map(|(record, _)| record).collect();
        records.sort_by(|a, b| {
            let order = |one: &PaneRecord| (one.start, one.panes);
            order(a).cmp(&order(b)).then_with(|| a.version.cmp(&b.version))
        });
        Ok(records)
    }
}
