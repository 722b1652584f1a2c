//! The configuration: what `tidegate serve` is told in one TOML file (`schemas/config.schema.json`).
//! Components take their own part of it, never the whole.

mod duration;
mod http;
mod load;
mod model;
mod notify;
mod reader;
mod watch;

pub use duration::parse_duration;
pub use load::{MINIMAL, load, parse};
pub use reader::ConfigError;
pub use watch::{load_watch, out_of_reach};

use crate::event::ModelId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub kafka: KafkaConfig,
    pub topics: TopicsConfig,
    pub windows: WindowsConfig,
    pub dead_letters: DeadLettersConfig,
    pub http: HttpConfig,
    pub models: Vec<ModelConfig>,
    pub notify: NotifyConfig,
}

/// Where a new consumer group starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    Latest,
    Earliest,
    /// Milliseconds since 1970.
    Time(i64),
}

/// The exit code of a program whose configuration is wrong (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;

/// `[kafka]`
#[derive(Clone, PartialEq)]
pub struct KafkaConfig {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Consumer group; `-judge` and `-notify` are appended for those stages. Default `tidegate`.
    pub group: String,
    /// Stable name of this replica, part of its transactional ids. Default: the host name.
    pub instance: String,
    /// Default `latest`.
    pub start: StartAt,
    /// Consumers (one thread each) of the tally stage. Default 1.
    pub consumers: usize,
    /// `client.*`: any librdkafka property, passed to every client.
    pub client: BTreeMap<String, String>,
}

/// Shows the names of client properties, never their values: some are secrets.
impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("start", &self.start)
            .field("consumers", &self.consumers)
            .field("client", &self.client.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// `[topics]`
#[derive(Debug, Clone, PartialEq)]
pub struct TopicsConfig {
    /// Source topics; at least one.
    pub events: Vec<String>,
    /// Prefix of Tidegate's own topics. Default `tidegate`.
    pub prefix: String,
    /// Create missing own topics at start. Default true.
    pub create: bool,
    /// Partitions of the own topics (merge partitions); fixed once created. Default 8.
    pub partitions: i32,
    /// Replication factor of created topics; -1: the broker's default. Default -1.
    pub replication: i32,
    /// Retention of tallies. Default 6 h.
    pub tallies_retention: Duration,
    /// Retention of panes, reports, alerts, actions and dead letters. Default 7 d.
    pub retention: Duration,
}

/// `[windows]`; durations as `60s`, `5m`, `1h30m`.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowsConfig {
    /// Length of a pane. Default 60 s; at least 100 ms.
    pub pane: Duration,
    /// How long a pane waits for late events. Default 30 s.
    pub lateness: Duration,
    /// How long after closing late events still revise a pane. Default 10 min.
    pub allowed_lateness: Duration,
    /// Default 5 s.
    pub flush_interval: Duration,
    /// After how long with nothing to read a source partition no longer holds the watermark. Default 30 s.
    pub idle_timeout: Duration,
    /// After how long a source that holds the watermark back is left out. Default 10 min.
    pub max_stall: Duration,
    /// How far ahead of the clock an event may be. Default 5 min.
    pub max_future: Duration,
    /// How old an event may be; default: any age.
    pub max_past: Option<Duration>,
}

/// `[dead_letters]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLettersConfig {
    /// What happens when more than 1 % and more than 100 of a topic's records are dead within a minute.
    /// Default `continue`.
    pub on_budget: OnBudget,
    /// Dead letters written per second, for each source topic and reason; ten seconds' worth may come at once.
    /// Default 10.
    pub per_second: u32,
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        DeadLettersConfig { on_budget: OnBudget::Continue, per_second: 10 }
    }
}

/// What follows when a producer's schema has broken; there is an alert in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBudget {
    /// Read on; dead letters beyond the budget are counted only.
    Continue,
    /// Stop reading the topic, until the next start or configuration reload. Other topics go on.
    Pause,
    /// End the process.
    Fail,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConfig {
    /// Default `127.0.0.1:9464`.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are served instead. Default: on `listen`.
    pub probes_listen: Option<SocketAddr>,
    /// Open connections of a listener. Default 256.
    pub max_connections: usize,
    /// `[[http.token]]`; without any the API is open for reading. Probes and metrics never ask for one.
    pub tokens: Vec<TokenConfig>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            probes_listen: None,
            max_connections: 256,
            tokens: Vec::new(),
        }
    }
}

/// `[[http.token]]`
#[derive(Debug, Clone, PartialEq)]
pub struct TokenConfig {
    /// Who holds it; named in the log in place of the token.
    pub name: String,
    /// A file that holds the bearer token.
    pub file: PathBuf,
    /// Default `read`.
    pub scope: crate::http::Scope,
}

/// `[[model]]`
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    pub id: ModelId,
    /// Version and baseline file, in file order.
    pub baselines: Vec<(String, PathBuf)>,
    /// `rollout = "auto"` or `{ stable = "v1", canary = "v2" }`. Default `auto`.
    pub rollout: crate::baseline::Rollout,
    pub policy: crate::policy::PolicyConfig,
    pub verdicts: VerdictConfig,
    /// `[[model.noise]]`: what is usual of series, in place of what their baselines say.
    pub noise: Vec<crate::baseline::AcceptedNoise>,
    /// `[model.labels]`: how labels that come in events of their own are joined; default: they are not.
    pub labels: Option<crate::baseline::LabelJoin>,
    /// Most series of one version exported as gauges; beyond it only the aggregates. Default 200.
    pub max_exported_series: usize,
}

/// How a model's measurements become verdicts: `mode`, with `[model.budget]` or `[model.thresholds]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VerdictConfig {
    /// The default.
    Budget(crate::judge::verdict::BudgetConfig),
    Thresholds(crate::judge::verdict::Thresholds),
}

impl Default for VerdictConfig {
    fn default() -> Self {
        VerdictConfig::Budget(crate::judge::verdict::BudgetConfig::default())
    }
}

impl VerdictConfig {
    /// The rules for a model laid out as `plan`, in panes of `pane_ms`.
    pub fn rules(
        &self,
        plan: &crate::judge::plan::MeasurePlan,
        pane_ms: i64,
    ) -> crate::judge::verdict::VerdictRules {
        use crate::judge::verdict::{Budget, VerdictRules};
        match self {
            VerdictConfig::Budget(config) => VerdictRules::Budget(Budget::new(config, plan, pane_ms)),
            VerdictConfig::Thresholds(thresholds) => VerdictRules::Thresholds(*thresholds),
        }
    }
}

/// `[notify]`
#[derive(Debug, Clone, PartialEq)]
pub struct NotifyConfig {
    pub webhooks: Vec<WebhookConfig>,
    /// How long after its window's end an action may still be sent. Default 15 min.
    pub max_action_age: Duration,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        NotifyConfig { webhooks: Vec::new(), max_action_age: Duration::from_secs(15 * 60) }
    }
}

/// `[[notify.webhook]]`
#[derive(Clone, PartialEq)]
pub struct WebhookConfig {
    /// Sink name in metrics and outcomes. Default `webhook-1`, `webhook-2`, …
    pub name: String,
    /// `http://` or `https://`.
    pub url: String,
    /// A file that holds the signing secret, `whsec_<base64 of 24 to 64 bytes>`.
    pub secret_file: PathBuf,
    /// Certificates (PEM) trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Kinds of action sent here. Default: all.
    pub kinds: Vec<crate::policy::action::Decision>,
}

/// Does not show the URL: its user information or its query may be secret.
impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WebhookConfig")
            .field("name", &self.name)
            .field("secret_file", &self.secret_file)
            .field("ca_file", &self.ca_file)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

/// The names of Tidegate's own topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTopics {
    pub tallies: String,
    pub panes: String,
    pub state: String,
    pub reports: String,
    pub alerts: String,
    pub actions: String,
    pub outcomes: String,
    pub dead_letters: String,
}

impl TopicsConfig {
    pub fn own(&self) -> OwnTopics {
        let name = |last: &str| format!("{}.{last}", self.prefix);
        OwnTopics {
            tallies: name("tallies"),
            panes: name("panes"),
            state: name("state"),
            reports: name("reports"),
            alerts: name("alerts"),
            actions: name("actions"),
            outcomes: name("actions.outcomes"),
            dead_letters: name("dead-letters"),
        }
    }
}

impl OwnTopics {
    /// All of them.
    pub fn names(&self) -> [&str; 8] {
        [
            &self.tallies,
            &self.panes,
            &self.state,
            &self.reports,
            &self.alerts,
            &self.actions,
            &self.outcomes,
            &self.dead_letters,
        ]
    }
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
