//! Reads what the topics keep, when somebody asks.

use crate::config::OwnTopics;
use crate::http::archive::Archive;
use crate::judge::MergeState;
use crate::judge::accounting::{self, Accounting};
use crate::source::kafka::{ClientSettings, PartitionReader, ReadFrom};
use prost::Message;
use rdkafka::error::KafkaError;
use std::time::{Duration, Instant};

/// The end of a state partition that holds its newest record almost always: one is written with every commit.
const STATE_TAIL: i64 = 4_096;

/// The topics of one Tidegate.
#[derive(Clone)]
pub struct TopicArchive {
    client: ClientSettings,
    own: OwnTopics,
    limit: Duration,
}

impl TopicArchive {
    /// `limit`: how long one reading may take.
    pub fn new(client: ClientSettings, own: OwnTopics, limit: Duration) -> TopicArchive {
        TopicArchive { client, own, limit }
    }

    fn reader(&self) -> Result<PartitionReader, String> {
        PartitionReader::new(&self.client, "archive").map_err(|error| error.to_string())
    }
}

fn why(topic: &str, error: &KafkaError) -> String {
    match error {
        KafkaError::Canceled => format!("{topic} could not be read in time"),
        other => format!("{topic} could not be read: {other}"),
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
                        newest = payload.and_then(|payload| MergeState::decode(payload).ok());
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
}
