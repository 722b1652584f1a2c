//! TOML text → [`Config`], with every error found at once.

use super::http::read_http;
use super::model::read_model;
use super::notify::read_notify;
use super::reader::{ConfigError, Errors, Found, Reader, check_readable};
use super::{
    Config, DeadLettersConfig, KafkaConfig, ModelConfig, OnBudget, StartAt, TopicsConfig, WindowsConfig,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// The smallest configuration: everything else has a default.
pub const MINIMAL: &str = "\
kafka.brokers = \"localhost:9092\"
topics.events = [\"model-events\"]

[[model]]
name = \"fraud\"
baselines = { v1 = \"fraud-v1.parquet\" }
";

/// What [`read_model`] and its like need besides the table.
pub(super) struct Files<'a> {
    pub base_dir: &'a Path,
}

impl Files<'_> {
    /// A path relative to the configuration file, checked to be readable.
    pub(super) fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let path = self.base_dir.join(path);
        check_readable(&path).map(|()| path)
    }
}

/// Reads and validates a file. Paths in it are relative to its folder.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load(path: &Path) -> Result<Config, Vec<ConfigError>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![ConfigError {
            file: path.to_owned(),
            line: 0,
            column: 0,
            key: "file".to_owned(),
            problem: format!("cannot be read: {error}"),
            expected: "expected a readable TOML file in UTF-8".to_owned(),
        }]
    })?;
    parse(&text, path, path.parent().unwrap_or(Path::new("")))
}

/// Validates TOML text; `origin` names it in errors, and relative paths start at `base_dir`.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn parse(text: &str, origin: &Path, base_dir: &Path) -> Result<Config, Vec<ConfigError>> {
    let errors = Errors::new(origin, text);
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().map_or(0, |span| span.start);
        errors.add(at, "syntax", error.message(), "expected valid TOML");
    }
    let config = read_config(&errors, root.get_ref(), &Files { base_dir });
    let list = errors.into_sorted();
    if list.is_empty() { Ok(config) } else { Err(list) }
}

fn read_config(errors: &Errors, table: &DeTable, files: &Files) -> Config {
    let root = Reader::new(errors, String::new(), 0, Some(table));
    let kafka = read_kafka(root.table("kafka"), files);
    let topics = read_topics(root.table("topics"));
    let windows = read_windows(root.table("windows"));
    // After a restart, answers that wait for labels are read again from the tallies.
    let taken = windows.lateness.saturating_add(4 * windows.pane);
    let longest_horizon = topics.tallies_retention.saturating_sub(taken);
    let config = Config {
        kafka,
        topics,
        windows,
        dead_letters: read_dead_letters(root.table("dead_letters")),
        http: read_http(root.table("http"), files),
        models: read_models(&root, files, longest_horizon),
        notify: read_notify(root.table("notify"), files),
    };
    root.finish();
    config
}

fn read_models(root: &Reader, files: &Files, longest_horizon: Duration) -> Vec<ModelConfig> {
    let mut models: Vec<ModelConfig> = Vec::new();
    for reader in root.tables("model") {
        let name = reader.find("name");
        let model = read_model(reader, files, longest_horizon);
        // Events carry no namespace, so the name alone must tell models apart.
        if let Some(name) = name.filter(|_| models.iter().any(|other| other.id.name == model.id.name)) {
            root.refuse(
                &name,
                format!("\"{}\" is there twice", model.id.name),
                "expected one entry per model",
            );
        }
        models.push(model);
    }
    if models.is_empty() && root.find("model").is_none() {
        root.missing("model", "at least one [[model]]");
    }
    models
}

fn read_kafka(reader: Reader, files: &Files) -> KafkaConfig {
    let brokers = reader.string("brokers");
    if brokers.is_none() && reader.find("brokers").is_none() {
        reader.missing("brokers", "\"host:port\", comma separated");
    }
    let kafka = KafkaConfig {
        brokers: brokers.unwrap_or_default(),
        group: reader.string("group").unwrap_or_else(|| "tidegate".to_owned()),
        instance: reader.string("instance").unwrap_or_else(host_name),
        start: read_start(&reader),
        consumers: reader.integer("consumers", 1, 1, 256) as usize,
        client: read_client(reader.table("client"), files),
    };
    reader.finish();
    kafka
}

/// The name of this machine (in Kubernetes: of the pod).
fn host_name() -> String {
    let from_file = || std::fs::read_to_string("/etc/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().or_else(from_file).unwrap_or_default();
    if name.trim().is_empty() { "tidegate".to_owned() } else { name.trim().to_owned() }
}

fn read_start(reader: &Reader) -> StartAt {
    let Some(found) = reader.find("start") else { return StartAt::Latest };
    let text = match found.value {
        toml::de::DeValue::Datetime(moment) => moment.to_string(),
        _ => reader.string("start").unwrap_or_else(|| "latest".to_owned()),
    };
    match text.as_str() {
        "latest" => StartAt::Latest,
        "earliest" => StartAt::Earliest,
        time => match time.parse::<jiff::Timestamp>() {
            Ok(moment) => StartAt::Time(moment.as_millisecond()),
            Err(_) => {
                let expected = "expected \"latest\", \"earliest\" or an RFC 3339 time";
                reader.refuse(&found, format!("\"{time}\" is no starting point"), expected);
                StartAt::Latest
            }
        },
    }
}

/// Properties that the exactly-once protocol sets itself.
const OWNED: [&str; 8] = [
    "enable.auto.commit",
    "enable.auto.offset.store",
    "isolation.level",
    "auto.offset.reset",
    "transactional.id",
    "group.id",
    "bootstrap.servers",
    "enable.partition.eof",
];

fn is_secret(property: &str) -> bool {
    ["password", "secret", "key.pem", "passphrase"].iter().any(|end| property.ends_with(end))
}

/// The secret that `key` says where to read, and whether that is a file.
fn source_of(key: &str) -> Option<(&str, bool)> {
    let source = key.strip_suffix("_file").map(|name| (name, true));
    let source = source.or_else(|| key.strip_suffix("_env").map(|name| (name, false)));
    source.filter(|(name, _)| is_secret(name))
}

fn read_client(reader: Reader, files: &Files) -> BTreeMap<String, String> {
    use toml::de::DeValue;
    let mut client = BTreeMap::new();
    let mut pending: Vec<_> = reader.entries();
    pending.reverse();
    while let Some((key, found)) = pending.pop() {
        // `sasl.password = …` without quotes is TOML for nested tables: the same property.
        if let DeValue::Table(table) = found.value
            && source_of(&key).is_none()
        {
            let inner = Reader::new(reader.errors, found.key.clone(), found.at, Some(table));
            let nested = inner.entries().into_iter().map(|(last, found)| (format!("{key}.{last}"), found));
            pending.extend(nested.collect::<Vec<_>>().into_iter().rev());
            continue;
        }
        if let Some((name, from_file)) = source_of(&key) {
            let Some(place) = reader.string_of(&found) else { continue };
            let loaded = if from_file { read_secret_file(&place, files) } else { read_secret_env(&place) };
            match loaded {
                Ok(secret) => drop(client.insert(name.to_owned(), secret)),
                Err(problem) => reader.refuse(&found, problem, "expected where the secret can be read"),
            }
        } else if OWNED.contains(&key.as_str()) {
            let expected = "remove it (brokers, group and start have keys of their own in [kafka])";
            reader.refuse(&found, "is set by Tidegate itself, so that nothing is lost or doubled", expected);
        } else if is_secret(&key) {
            let expected =
                format!("secrets come from files or the environment: use `{key}_file` or `{key}_env`");
            reader.refuse(&found, "is a secret in the configuration", expected);
        } else {
            let value = match found.value {
                DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => number.to_string(),
                    Err(_) => {
                        reader.refuse(
                            &found,
                            format!("{number} is out of range"),
                            "expected 64 bits at most",
                        );
                        continue;
                    }
                },
                DeValue::Boolean(flag) => flag.to_string(),
                _ => reader.string_of(&found).unwrap_or_default(),
            };
            client.insert(key, value);
        }
    }
    client
}

/// The secret in a file, without white space at its end.
pub(super) fn read_secret_file(path: &str, files: &Files) -> Result<String, String> {
    let path = files.resolve(path)?;
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Some(text.trim_end().to_owned())
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| format!("{} is empty", path.display()))
}

fn read_secret_env(name: &str) -> Result<String, String> {
    std::env::var(name)
        .ok()
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| format!("the environment variable {name} is not set"))
}

fn read_topics(reader: Reader) -> TopicsConfig {
    let mut events: Vec<String> = Vec::new();
    let sources = reader.strings("events");
    for (name, found) in &sources {
        check_topic_name(&reader, name, found);
        if events.contains(name) {
            reader.refuse(found, format!("\"{name}\" is there twice"), "expected each topic once");
        }
        events.push(name.clone());
    }
    if events.is_empty() && reader.find("events").is_none_or(|found| found.value.is_array()) {
        reader.missing("events", "at least one source topic, e.g. [\"model-events\"]");
    }
    let topics = TopicsConfig {
        events,
        prefix: reader.string("prefix").unwrap_or_else(|| "tidegate".to_owned()),
        create: reader.bool("create", true),
        partitions: reader.integer("partitions", 8, 1, 1_024) as i32,
        replication: read_replication(&reader),
        tallies_retention: read_duration(&reader, "tallies_retention", 60_000, 6 * 3_600),
        retention: read_duration(&reader, "retention", 60_000, 7 * 86_400),
    };
    if let Some(found) = reader.find("prefix") {
        // Of all own names this is the longest; the prefix itself is to look like a topic, too.
        let is_dots = matches!(topics.prefix.as_str(), "." | "..");
        let name = if is_dots { topics.prefix.clone() } else { topics.own().outcomes };
        check_topic_name(&reader, &name, &found);
    }
    for (name, found) in &sources {
        if topics.own().names().contains(&name.as_str()) {
            let expected = "expected a topic that model servers write; or use another topics.prefix";
            reader.refuse(found, format!("\"{name}\" is one of Tidegate's own topics"), expected);
        }
    }
    reader.finish();
    topics
}

/// Kafka's rule for topic names; it also keeps librdkafka from taking a name for a pattern.
fn check_topic_name(reader: &Reader, name: &str, found: &Found) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > 249 || !name.chars().all(legal) || matches!(name, "." | "..") {
        let expected =
            "expected at most 249 letters, digits, dots, underscores and hyphens in a topic's name";
        reader.refuse(found, format!("\"{name}\" is no name of a topic"), expected);
    }
}

fn read_replication(reader: &Reader) -> i32 {
    let replication = reader.integer("replication", -1, -1, 32) as i32;
    if let Some(found) = reader.find("replication").filter(|_| replication == 0) {
        reader.refuse(&found, "0 is out of range", "expected 1 to 32, or -1 for the broker's default");
    }
    replication
}

fn read_duration(reader: &Reader, key: &'static str, least_ms: u64, default_s: u64) -> Duration {
    reader.duration(key, Duration::from_millis(least_ms)).unwrap_or(Duration::from_secs(default_s))
}

fn read_windows(reader: Reader) -> WindowsConfig {
    let windows = WindowsConfig {
        pane: read_duration(&reader, "pane", 100, 60),
        lateness: read_duration(&reader, "lateness", 0, 30),
        allowed_lateness: read_duration(&reader, "allowed_lateness", 0, 600),
        flush_interval: read_duration(&reader, "flush_interval", 10, 5),
        idle_timeout: read_duration(&reader, "idle_timeout", 100, 30),
        max_stall: read_duration(&reader, "max_stall", 100, 600),
        max_future: read_duration(&reader, "max_future", 0, 300),
        max_past: reader.duration("max_past", Duration::from_millis(1)),
    };
    reader.finish();
    windows
}

fn read_dead_letters(reader: Reader) -> DeadLettersConfig {
    let choices = [("continue", OnBudget::Continue), ("pause", OnBudget::Pause), ("fail", OnBudget::Fail)];
    let default = DeadLettersConfig::default();
    let mut on_budget = default.on_budget;
    if let (Some(found), Some(text)) = (reader.find("on_budget"), reader.string("on_budget")) {
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => on_budget = *choice,
            None => {
                let expected = "expected \"continue\", \"pause\" or \"fail\"";
                reader.refuse(&found, format!("\"{text}\" is none of them"), expected);
            }
        }
    }
    let per_second = reader.integer("per_second", i64::from(default.per_second), 0, 10_000) as u32;
    reader.finish();
    DeadLettersConfig { on_budget, per_second }
}

/// The path of a readable file.
pub(super) fn read_file(reader: &Reader, key: &'static str, files: &Files) -> Option<PathBuf> {
    let (found, text) = (reader.find(key)?, reader.string(key)?);
    let resolved = files.resolve(&text);
    resolved.map_err(|problem| reader.refuse(&found, problem, "expected a readable file")).ok()
}
