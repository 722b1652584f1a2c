//! What the principal may do, asked of the broker before anything depends on it (KIP-430).

use super::denial::{Operation, Using, denied, sentence};
use super::native::{self, TopicRights};
use super::{ClientSettings, Quiet, TransactionalProducer};
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic, and what will be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicUse {
    pub topic: String,
    pub operations: Vec<Operation>,
}

/// One sentence for each permission on a topic that is missing. A topic that does not exist, and a broker that does
/// not tell rights (before 2.3), miss nothing here.
///
/// # Errors
/// When the broker cannot be asked.
pub fn missing_topic_rights(settings: &ClientSettings, uses: &[TopicUse]) -> Result<Vec<String>, String> {
    let why = |error: rdkafka::error::KafkaError| format!("permissions could not be asked for: {error}");
    let admin: AdminClient<Quiet> =
        AdminClient::from_config_and_context(&settings.plain("rights"), Quiet).map_err(why)?;
    let topics: Vec<&str> = uses.iter().map(|one| one.topic.as_str()).collect();
    let rights = native::topic_rights(admin.inner(), &topics, CALL_TIMEOUT)
        .map_err(|error| format!("permissions could not be asked for: {error}"))?;
    Ok(uses.iter().flat_map(|wanted| missing(wanted, &rights)).collect())
}

fn missing(wanted: &TopicUse, rights: &[TopicRights]) -> Vec<String> {
    let Some(found) = rights.iter().find(|one| one.topic == wanted.topic) else { return Vec::new() };
    match (found.error, &found.operations) {
        (Some(RDKafkaErrorCode::TopicAuthorizationFailed), _) => {
            vec![sentence(Operation::Describe, "Topic", &wanted.topic)]
        }
        (None, Some(granted)) => wanted
            .operations
            .iter()
            .filter(|operation| !granted.contains(operation))
            .map(|operation| sentence(*operation, "Topic", &wanted.topic))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a transactional id may be used, by using it. No other producer may have the same.
pub fn missing_transactional_right(settings: &ClientSettings, id: &str) -> Option<String> {
    let error = TransactionalProducer::connect(settings, "check", id).err()?;
    denied(&error, Using { transactional_id: Some(id), ..Using::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> TopicUse {
        TopicUse { topic: "t".to_owned(), operations: vec![Operation::Read, Operation::Write] }
    }

    fn rights(error: Option<RDKafkaErrorCode>, operations: Option<Vec<Operation>>) -> Vec<TopicRights> {
        vec![TopicRights { topic: "t".to_owned(), error, operations }]
    }

    #[test]
    fn only_what_is_known_to_be_missing_is_said() {
        use RDKafkaErrorCode::{TopicAuthorizationFailed, UnknownTopicOrPartition};
        let all = Some(vec![Operation::Describe, Operation::Read, Operation::Write]);
        assert!(missing(&wanted(), &rights(None, all)).is_empty());
        assert!(missing(&wanted(), &rights(None, None)).is_empty(), "an old broker does not say");
        assert!(missing(&wanted(), &rights(Some(UnknownTopicOrPartition), None)).is_empty());
        let read = missing(&wanted(), &rights(None, Some(vec![Operation::Read])));
        assert_eq!(read, [sentence(Operation::Write, "Topic", "t")]);
        let none = missing(&wanted(), &rights(Some(TopicAuthorizationFailed), None));
        assert_eq!(none, [sentence(Operation::Describe, "Topic", "t")]);
    }
}
