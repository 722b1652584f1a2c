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
}

impl TallyTeller {
    pub(super) fn new(config: &Config) -> TallyTeller {
        TallyTeller {
            client: super::client_settings(config),
            tallies: config.topics.own().tallies,
            partitions: config.topics.partitions.max(1) as u32,
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
        write_one(&self.client, "weights", &record, WRITE_LIMIT).map_err(|error| {
            let using = Using { topic: Some((Operation::Write, &self.tallies)), ..Using::default() };
            format!("the weight could not be written: {}", explain(&error, using))
        })
    }
}
