//! Tidegate's own topics: what they must look like, and making those that are missing.

use super::client::log;
use super::denial::{Operation, sentence};
use super::{ClientSettings, Quiet};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a new topic may take until every broker knows it.
const VISIBLE_WITHIN: Duration = Duration::from_secs(15);

/// A topic that Tidegate needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication: i32,
    pub settings: Vec<(&'static str, String)>,
}

/// Keeps what librdkafka says of a connection that does not come about.
#[derive(Default)]
struct Reasons(Mutex<Option<(KafkaError, String)>>);

impl ClientContext for Reasons {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client error");
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // "All brokers are down" comes after the reason, and says less.
        let says_more = error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown);
        if says_more && !kept.as_ref().is_some_and(|(before, _)| is_final(before)) {
            *kept = Some((error, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Reasons {}

/// Whether trying again is of no use: the login or the broker's certificate is refused.
fn is_final(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL))
}

/// Partition counts of all topics of the cluster that exist, are usable, and that the principal may describe.
///
/// # Errors
/// Why no broker answers: at once when it refuses the login or its certificate is not trusted, else after 10 s.
pub fn partition_counts(settings: &ClientSettings) -> Result<BTreeMap<String, i32>, String> {
    let metadata = metadata(settings)?;
    let usable = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(usable.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32)).collect())
}

/// How many brokers the cluster has.
///
/// # Errors
/// As for [`partition_counts`].
pub fn broker_count(settings: &ClientSettings) -> Result<usize, String> {
    Ok(metadata(settings)?.brokers().len())
}

fn metadata(settings: &ClientSettings) -> Result<Metadata, String> {
    let consumer: BaseConsumer<Reasons> =
        BaseConsumer::from_config_and_context(&settings.plain("metadata"), Reasons::default())
            .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + CALL_TIMEOUT;
    loop {
        let error = match consumer.fetch_metadata(None, CALL_TIMEOUT / 20) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        // Errors come by the queue that is polled, between log lines.
        let until = Instant::now() + CALL_TIMEOUT / 100;
        while Instant::now() < until {
            // Nothing is subscribed to: what comes are errors, which the context keeps.
            let _ = consumer.poll(until.saturating_duration_since(Instant::now()));
        }
        let kept = consumer.context().0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if kept.as_ref().is_some_and(|(error, _)| is_final(error)) || Instant::now() > deadline {
            return Err(kept.as_ref().map_or(error.to_string(), |(_, reason)| reason.clone()));
        }
    }
}

/// Those of `specs` that are missing and may not be made, one sentence for each; nothing is made.
pub async fn refused_topics(settings: &ClientSettings, specs: &[TopicSpec]) -> Vec<String> {
    let existing = match counts(settings).await {
        Ok(existing) => existing,
        Err(problems) => return problems,
    };
    let missing: Vec<&TopicSpec> = specs.iter().filter(|spec| !existing.contains_key(&spec.name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    make(settings, &missing, true).await.unwrap_or_else(|problems| problems)
}

/// Makes the topics that are missing, if `create`.
///
/// # Errors
/// One sentence for each topic that is missing and could not be made, or has another partition count than
/// `spec` (a count is fixed once created: keys are spread by it).
pub async fn ensure_topics(
    settings: &ClientSettings,
    specs: &[TopicSpec],
    create: bool,
) -> Result<(), Vec<String>> {
    let existing = counts(settings).await?;
    let missing: Vec<&TopicSpec> = specs.iter().filter(|spec| !existing.contains_key(&spec.name)).collect();
    let mut problems = wrong_counts(specs, &existing);
    if !missing.is_empty() && !create {
        problems.extend(
            missing.iter().map(|spec| format!("topic {} is missing ({})", spec.name, describe(spec))),
        );
    } else if !missing.is_empty() {
        problems.extend(make(settings, &missing, false).await?);
    }
    if problems.is_empty() { wait_visible(settings, specs).await } else { Err(problems) }
}

fn wrong_counts(specs: &[TopicSpec], existing: &BTreeMap<String, i32>) -> Vec<String> {
    let wrong = |spec: &TopicSpec| {
        let found = *existing.get(&spec.name)?;
        (found != spec.partitions).then(|| {
            format!(
                "topic {} has {found} partitions, configured are {}; set topics.partitions = {found} or use another topics.prefix",
                spec.name, spec.partitions
            )
        })
    };
    specs.iter().filter_map(wrong).collect()
}

fn describe(spec: &TopicSpec) -> String {
    let settings: Vec<String> = spec.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{} partitions, {}", spec.partitions, settings.join(", "))
}

async fn counts(settings: &ClientSettings) -> Result<BTreeMap<String, i32>, Vec<String>> {
    let settings = settings.clone();
    let asked = tokio::task::spawn_blocking(move || partition_counts(&settings)).await;
    match asked {
        Ok(Ok(counts)) => Ok(counts),
        Ok(Err(error)) => Err(vec![format!("no broker answers: {error}")]),
        Err(error) => Err(vec![format!("asking for topics failed: {error}")]),
    }
}

async fn make(
    settings: &ClientSettings,
    missing: &[&TopicSpec],
    only_check: bool,
) -> Result<Vec<String>, Vec<String>> {
    let admin: AdminClient<Quiet> = AdminClient::from_config_and_context(&settings.plain("admin"), Quiet)
        .map_err(|error| vec![format!("admin client: {error}")])?;
    let topics: Vec<NewTopic<'_>> = missing.iter().map(|spec| new_topic(spec)).collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(CALL_TIMEOUT))
        .request_timeout(Some(CALL_TIMEOUT))
        .validate_only(only_check);
    let results = admin
        .create_topics(&topics, &options)
        .await
        .map_err(|error| vec![format!("topics could not be created: {error}")])?;
    let problem = |result: Result<String, (String, RDKafkaErrorCode)>| match result {
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
        Err((name, RDKafkaErrorCode::TopicAuthorizationFailed)) => {
            Some(format!("{}; or make it beforehand", sentence(Operation::Create, "Topic", &name)))
        }
        Err((name, code)) => Some(format!("topic {name} could not be created: {code}")),
    };
    Ok(results.into_iter().filter_map(problem).collect())
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
    spec.settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

/// Topics all of whose partitions have a leader.
async fn led_topics(settings: &ClientSettings) -> Result<BTreeSet<String>, Vec<String>> {
    let settings = settings.clone();
    let ask = move || -> Result<BTreeSet<String>, String> {
        let metadata = metadata(&settings)?;
        let led = |topic: &&rdkafka::metadata::MetadataTopic| {
            !topic.partitions().is_empty() && topic.partitions().iter().all(|one| one.leader() >= 0)
        };
        Ok(metadata.topics().iter().filter(led).map(|topic| topic.name().to_owned()).collect())
    };
    match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(led)) => Ok(led),
        Ok(Err(error)) => Err(vec![format!("no broker answers: {error}")]),
        Err(error) => Err(vec![format!("asking for topics failed: {error}")]),
    }
}

async fn wait_visible(settings: &ClientSettings, specs: &[TopicSpec]) -> Result<(), Vec<String>> {
    let deadline = Instant::now() + VISIBLE_WITHIN;
    loop {
        let led = led_topics(settings).await?;
        let absent: Vec<String> = specs
            .iter()
            .filter(|spec| !led.contains(&spec.name))
            .map(|spec| format!("topic {} has partitions without a leader", spec.name))
            .collect();
        if absent.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(absent);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
