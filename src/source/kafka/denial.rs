//! What the broker refuses, in one sentence: the operation, the resource, and what to grant.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// What a client was about to use, by name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Using<'a> {
    /// The operation on the topic, and the topic.
    pub topic: Option<(Operation, &'a str)>,
    pub group: Option<&'a str>,
    pub transactional_id: Option<&'a str>,
}

/// What a principal may do with a topic. Each of the others includes `Describe` in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Describe,
    Read,
    Write,
    Create,
}

impl Operation {
    /// The name as Kafka's tools write it, with the word that leads to its object.
    fn phrase(self) -> &'static str {
        match self {
            Operation::Describe => "Describe",
            Operation::Read => "Read from",
            Operation::Write => "Write to",
            Operation::Create => "Create",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Describe => "Describe",
            Operation::Read => "Read",
            Operation::Write => "Write",
            Operation::Create => "Create",
        }
    }
}

/// The sentence that names what is missing.
pub fn sentence(operation: Operation, kind: &str, name: &str) -> String {
    format!(
        "the principal may not {} {kind} {name}: grant {} on {kind} {name}, or on a prefix of it",
        operation.phrase(),
        operation.as_str()
    )
}

/// The sentence for an error that is a missing permission; `None` for every other error.
pub fn denied(error: &KafkaError, using: Using<'_>) -> Option<String> {
    denied_code(error.rdkafka_error_code()?, using)
}

/// As [`denied`], for an error's code.
pub fn denied_code(code: RDKafkaErrorCode, using: Using<'_>) -> Option<String> {
    let unnamed = "(the one that was used)";
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            let (operation, name) = using.topic.unwrap_or((Operation::Read, unnamed));
            Some(sentence(operation, "Topic", name))
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            Some(sentence(Operation::Read, "Group", using.group.unwrap_or(unnamed)))
        }
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            let name = using.transactional_id.unwrap_or(unnamed);
            Some(sentence(Operation::Write, "TransactionalId", name))
        }
        _ => None,
    }
}

/// As [`denied`], out of what librdkafka says of a transaction.
pub fn denied_text(why: &str, using: Using<'_>) -> Option<String> {
    let texts = [
        ("Topic authorization failed", RDKafkaErrorCode::TopicAuthorizationFailed),
        ("Group authorization failed", RDKafkaErrorCode::GroupAuthorizationFailed),
        ("Transactional Id authorization failed", RDKafkaErrorCode::TransactionalIdAuthorizationFailed),
    ];
    let (_, code) = texts.into_iter().find(|(text, _)| why.contains(text))?;
    denied_code(code, using)
}

/// [`denied`], or the error as it says itself.
pub fn explain(error: &KafkaError, using: Using<'_>) -> String {
    denied(error, using).unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_in_librdkafka_s_words() {
        let using = Using { topic: Some((Operation::Write, "own.panes")), ..Using::default() };
        let said = denied_text("Failed to add partition: Broker: Topic authorization failed", using);
        assert_eq!(said, Some(sentence(Operation::Write, "Topic", "own.panes")));
        assert_eq!(denied_text("Local: Timed out", using), None);
    }

    #[test]
    fn a_refusal_names_operation_and_resource_and_nothing_else_is_one() {
        let using = Using {
            topic: Some((Operation::Write, "own.tallies")),
            group: Some("g"),
            transactional_id: Some("g-a-tally-0"),
        };
        let said = |code| denied(&KafkaError::MessageConsumption(code), using);
        assert_eq!(
            said(RDKafkaErrorCode::TransactionalIdAuthorizationFailed).as_deref(),
            Some(
                "the principal may not Write to TransactionalId g-a-tally-0: grant Write on TransactionalId \
                 g-a-tally-0, or on a prefix of it"
            )
        );
        let topic = said(RDKafkaErrorCode::TopicAuthorizationFailed).expect("a refusal");
        assert!(topic.starts_with("the principal may not Write to Topic own.tallies:"), "{topic}");
        let group = said(RDKafkaErrorCode::GroupAuthorizationFailed).expect("a refusal");
        assert!(group.contains("grant Read on Group g,"), "{group}");
        assert_eq!(said(RDKafkaErrorCode::BrokerTransportFailure), None);
    }
}
