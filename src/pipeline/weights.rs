//! Weights that their owners tell, on their way into the tallies.

use crate::config::Config;
use crate::http::weight::Teller;
use crate::source::kafka::{ClientSettings, Operation, Outgoing, Using, explain, write_one};
use crate::tally::merge_partition;
use crate::tally::record::{FORMAT, TallyBody, TallyRecord, Weight};
use prost::Message;
use std::time::Duration;

/// How long writing one may take; the request that asks for it has 10 s.
const WRITE_LIMIT: Duration = Duration::from_secs(6);

/// Writes each weight into the merge partition of its model, where the judge hears it between two flushes.
pub(super) struct TallyTeller {
    client: ClientSettings,
    tallies: String,
    partitions: u32,
    limit: Duration,
}

impl TallyTeller {
    pub(super) fn new(config: &Config) -> TallyTeller {
        TallyTeller {
            client: super::client_settings(config),
            tallies: config.topics.own().tallies,
            partitions: config.topics.partitions.max(1) as u32,
            limit: WRITE_LIMIT,
        }
    }
}

impl Teller for TallyTeller {
    fn tell(&self, weight: &Weight) -> Result<(), String> {
        let partition = merge_partition(&weight.namespace, &weight.model, self.partitions);
        let told = TallyRecord { format: FORMAT, body: Some(TallyBody::Weight(weight.clone())) };
        let record = Outgoing {
            topic: self.tallies.clone(),
            partition: Some(partition as i32),
            payload: Some(told.encode_to_vec()),
            ..Outgoing::default()
        };
        write_one(&self.client, "weights", &record, self.limit).map_err(|error| {
            let using = Using { topic: Some((Operation::Write, &self.tallies)), ..Using::default() };
            format!("the weight could not be written: {}", explain(&error, using))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Instant;

    #[test]
    fn a_broker_that_is_not_there_is_told_in_time() {
        // A port that nobody listens on.
        let (brokers, client_id) = ("127.0.0.1:1".to_owned(), "test".to_owned());
        let teller = TallyTeller {
            client: ClientSettings { brokers, client_id, properties: BTreeMap::new() },
            tallies: "own.tallies".to_owned(),
            partitions: 8,
            limit: Duration::from_millis(300),
        };
        let started = Instant::now();
        let why = teller.tell(&Weight::default()).expect_err("nobody listens");
        assert!(why.starts_with("the weight could not be written: "), "{why}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
