//! Wires the stages to Kafka, threads and shutdown. The only room that spawns.
//!
//! ```text
//! tally threads ─► tidegate.tallies ─► judge thread ─► reports, alerts, actions ─► board thread ─► http
//!                                                                         └─────► notify thread ─► sinks
//! ```
//!
//! Each thread runs one stage and is started again, with a growing pause, when its clients must be rebuilt.

pub mod access;
pub mod calibrated;
mod archive;
mod board_stage;
mod clock;
mod dead_letters;
mod http_side;
mod idle;
mod judge_gauges;
mod judge_metrics;
mod judge_resume;
mod judge_stage;
mod memory;
mod notify_stage;
mod restore;
pub mod simulated;
mod starting;
mod stopped;
mod supervise;
mod tally_assignment;
mod tally_stage;
mod topic_ids;
pub mod topics;
mod weights;

use crate::baseline::Watch;
use crate::config::{Config, ModelConfig, NotifyConfig, WebhookConfig, load_watch, out_of_reach};
use crate::decode::TimeBounds;
use crate::event::EventTime;
use crate::http::HttpState;
use crate::http::archive::ArchiveAccess;
use crate::http::board::Board;
use crate::http::health::Health;
use crate::http::reload::ReloadRequest;
use crate::http::weight::WeightAccess;
use crate::judge::JudgeConfig;
use crate::judge::plan::MeasurePlan;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::notify::webhook::{Webhook, WebhookSettings};
use crate::policy::evaluate::ModelRules;
use crate::source::kafka::{
    ClientSettings, broker_count, ensure_topics, missing_topic_rights, partition_counts,
};
use anyhow::{Context, bail};
use http_side::HttpSide;
use memory::{Clients, Cluster, MemoryBudget};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use supervise::supervise;
use tally_stage::Shared;
use tokio::sync::mpsc;
use weights::TallyTeller;

pub use archive::TopicArchive;
pub use clock::now;

/// Which stages a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stages {
    All,
    Tally,
    Judge,
    Notify,
}

/// How long stages may take to end; then the process leaves anyway.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);
/// How long a reading that an HTTP request asks for may take; the request has 10 s.
const READ_LIMIT: Duration = Duration::from_secs(8);

/// A running service.
pub struct Service {
    /// Where the HTTP side listens.
    pub address: SocketAddr,
    /// Requests by HTTP to read the configuration again; who serves answers them.
    pub reloads: mpsc::Receiver<ReloadRequest>,
    shared: Shared,
    watch: tokio::sync::watch::Sender<Arc<Watch>>,
    latest: Latest,
    threads: Vec<JoinHandle<()>>,
    http: HttpSide,
    config: Config,
}

/// The models as the configuration was read last, and when.
type Latest = Arc<RwLock<(Vec<ModelConfig>, EventTime)>>;

/// Checks the cluster, makes missing topics, starts the stages and the HTTP side.
///
/// # Errors
/// When a baseline cannot be read, no broker answers, a permission is missing, topics are missing and may not be
/// created, or the listen address is taken.
pub async fn start(config: Config, stages: Stages) -> anyhow::Result<Service> {
    let cluster = check_cluster(&config, stages).await?;
    launch(config, stages, cluster).await
}

/// As [`start`], on a cluster that lets everybody do everything, and cannot be asked.
///
/// # Errors
/// As for [`start`].
pub async fn start_trusted(config: Config, stages: Stages) -> anyhow::Result<Service> {
    let cluster = check_topics(&config, &client_settings(&config)).await?;
    launch(config, stages, cluster).await
}

async fn launch(config: Config, stages: Stages, cluster: Cluster) -> anyhow::Result<Service> {
    let watch = read_watch(&config)?;
    let client = client_settings(&config);
    let budget = MemoryBudget::new(&config, &watch, stages, cluster);
    tracing::info!("memory budget: {}", budget.sentence());
    let clients = Clients::new(&config, &client, cluster);
    let metrics = Arc::new(Metrics::new());
    let board = Arc::new(Board::new());
    let (watch_sender, watch_receiver) = tokio::sync::watch::channel(Arc::new(watch));
    let health = Health::new();
    let shared = Shared {
        metrics: Arc::clone(&metrics),
        stop: Arc::new(AtomicBool::new(false)),
        stage: health.nobody(),
        health,
        watch: watch_receiver,
        failure: Arc::new(tokio::sync::watch::Sender::new(None)),
    };
    let (reload, reloads) = crate::http::reload::channel();
    let state = Arc::new(HttpState {
        board: Arc::clone(&board),
        metrics,
        health: Arc::clone(&shared.health),
        tokens: http_side::read_tokens(&config.http)?,
        reload,
        archive: ArchiveAccess::new(Arc::new(TopicArchive::new(&config, READ_LIMIT))),
        weights: WeightAccess::new(
            Arc::new(TallyTeller::new(&config)),
            millis(config.windows.max_future),
            now,
        ),
        watch: shared.watch.clone(),
    });
    let http = HttpSide::start(&config.http, state).await?;
    let latest = Arc::new(RwLock::new((config.models.clone(), now())));
    let threads = start_stages(&config, stages, &clients, (&board, &latest), &shared)?;
    let (address, watch) = (http.address, watch_sender);
    Ok(Service { address, reloads, shared, watch, latest, threads, http, config })
}

fn read_watch(config: &Config) -> anyhow::Result<Watch> {
    load_watch(config).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// How to reach the configured cluster.
pub fn client_settings(config: &Config) -> ClientSettings {
    ClientSettings {
        brokers: config.kafka.brokers.clone(),
        properties: config.kafka.client.clone(),
        client_id: format!("{}-{}", config.kafka.group, config.kafka.instance),
    }
}

/// What can be known before anything runs: whether a broker answers, what the principal may do, which topics are
/// there.
async fn check_cluster(config: &Config, stages: Stages) -> anyhow::Result<Cluster> {
    let client = &client_settings(config);
    let asked = client.clone();
    let answers = tokio::task::spawn_blocking(move || partition_counts(&asked)).await?;
    answers.map_err(|why| anyhow::anyhow!("no broker of {} answers: {why}", config.kafka.brokers))?;
    let refused = access::missing(config, client, stages).await;
    if !refused.is_empty() {
        bail!("{}", refused.join("\n"));
    }
    let cluster = check_topics(config, client).await?;
    // Of topics that were missing before.
    let (asked, uses) = (client.clone(), access::uses(config, stages));
    let refused = tokio::task::spawn_blocking(move || missing_topic_rights(&asked, &uses)).await?;
    match refused {
        Ok(refused) if refused.is_empty() => Ok(cluster),
        Ok(refused) => bail!("{}", refused.join("\n")),
        Err(why) => bail!("{why}"),
    }
}

/// How much earlier than its pane's start a record of a closed pane may have been written: events may be ahead
/// of the clock by `max_future`, and clocks are not the same.
fn clock_margin_ms(config: &Config) -> i64 {
    millis(config.windows.max_future).saturating_add(3_600_000)
}

async fn check_topics(config: &Config, client: &ClientSettings) -> anyhow::Result<Cluster> {
    let specs = topics::specs(&config.topics);
    let mut problems = ensure_topics(client, &specs, config.topics.create).await.err().unwrap_or_default();
    let asked = client.clone();
    let mut cluster = Cluster { brokers: 1, source_partitions: config.topics.events.len() };
    let ask = move || Ok((partition_counts(&asked)?, broker_count(&asked)?));
    let answer: Result<Result<_, String>, _> = tokio::task::spawn_blocking(ask).await;
    if let Ok(Ok((counts, brokers))) = answer {
        let found = config.topics.events.iter().filter_map(|topic| counts.get(topic));
        cluster =
            Cluster { brokers: brokers.max(1), source_partitions: found.map(|count| *count as usize).sum() };
        let missing = config.topics.events.iter().filter(|topic| !counts.contains_key(*topic));
        problems.extend(missing.map(|topic| {
            format!("source topic {topic} does not exist; create it, or correct topics.events")
        }));
    }
    if problems.is_empty() {
        return Ok(cluster);
    }
    bail!("{}", problems.join("\n"))
}

fn start_stages(
    config: &Config,
    stages: Stages,
    clients: &Clients,
    (board, latest): (&Arc<Board>, &Latest),
    shared: &Shared,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let runs = |stage: Stages| stages == Stages::All || stages == stage;
    let mut threads = Vec::new();
    if runs(Stages::Judge) {
        let (settings, board) = (judge_settings(config, &clients.judge, latest), Arc::clone(board));
        let run = move |shared: &Shared| judge_stage::run(&settings, &board, shared);
        threads.push(supervise("judge", shared, run)?);
    }
    if runs(Stages::Notify) {
        let settings = notify_settings(config, &clients.small)?;
        let runtime = tokio::runtime::Handle::current();
        let run = move |shared: &Shared| notify_stage::run(&settings, shared, &runtime);
        threads.push(supervise("notify", shared, run)?);
    }
    if runs(Stages::Tally) {
        for thread in 0..config.kafka.consumers {
            let settings = tally_settings(config, &clients.tally, thread);
            let name = format!("tally-{thread}");
            threads.push(supervise(&name, shared, move |shared| tally_stage::run(&settings, shared))?);
        }
    }
    let (client, own, board) = (clients.small.clone(), config.topics.own(), Arc::clone(board));
    let run = move |shared: &Shared| Ok(board_stage::run(&client, &own, &board, shared)?);
    threads.push(supervise("board", shared, run)?);
    Ok(threads)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn tally_settings(config: &Config, client: &ClientSettings, thread: usize) -> tally_stage::TallySettings {
    let windows = &config.windows;
    tally_stage::TallySettings {
        client: client.clone(),
        group: config.kafka.group.clone(),
        instance: config.kafka.instance.clone(),
        thread,
        sources: config.topics.events.clone(),
        own: config.topics.own(),
        merge_partitions: config.topics.partitions.max(1) as u32,
        start: config.kafka.start,
        bounds: TimeBounds {
            max_future_ms: millis(windows.max_future),
            max_past_ms: windows.max_past.map(millis),
        },
        pane_ms: millis(windows.pane),
        lateness_ms: millis(windows.lateness),
        flush_interval: windows.flush_interval,
        idle_timeout: windows.idle_timeout,
        dead_letters: config.dead_letters,
    }
}

fn judge_settings(config: &Config, client: &ClientSettings, latest: &Latest) -> judge_stage::JudgeSettings {
    let windows = &config.windows;
    let latest = Arc::clone(latest);
    let pane_ms = millis(windows.pane);
    let rules = move |watch: &Watch| -> Vec<ModelRules> {
        let latest = latest.read().unwrap_or_else(PoisonError::into_inner);
        let (models, read_at) = &*latest;
        let rules_of = |watched: &crate::baseline::WatchedModel| {
            let found = models.iter().find(|model| model.id == watched.id);
            let plan = MeasurePlan::new(watched);
            ModelRules {
                verdicts: found.map(|model| model.verdicts).unwrap_or_default().rules(&plan, pane_ms),
                plan,
                policy: found.map(|model| model.policy.clone()).unwrap_or_default(),
                read_at: *read_at,
            }
        };
        watch.models.iter().map(rules_of).collect()
    };
    judge_stage::JudgeSettings {
        client: client.clone(),
        group: config.kafka.group.clone(),
        instance: config.kafka.instance.clone(),
        sources: config.topics.events.clone(),
        own: config.topics.own(),
        judge: JudgeConfig {
            pane_ms: millis(windows.pane),
            lateness_ms: millis(windows.lateness),
            allowed_lateness_ms: millis(windows.allowed_lateness),
            max_stall_ms: millis(windows.max_stall),
            max_future_ms: millis(windows.max_future),
        },
        rules: Arc::new(rules),
        clock_margin_ms: clock_margin_ms(config),
        max_exported_series: config.models.iter().map(|model| model.max_exported_series).max().unwrap_or(200),
    }
}

fn notify_settings(config: &Config, client: &ClientSettings) -> anyhow::Result<notify_stage::NotifySettings> {
    Ok(notify_stage::NotifySettings {
        client: client.clone(),
        group: config.kafka.group.clone(),
        instance: config.kafka.instance.clone(),
        own: config.topics.own(),
        notifier: Arc::new(Notifier { sinks: sinks(&config.notify)? }),
    })
}

fn sinks(config: &NotifyConfig) -> anyhow::Result<Vec<Arc<Webhook>>> {
    let sink = |webhook: &WebhookConfig| {
        let settings = WebhookSettings {
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            secret_file: webhook.secret_file.clone(),
            ca_file: webhook.ca_file.clone(),
            kinds: webhook.kinds.clone(),
            max_action_age: config.max_action_age,
        };
        let sink = Webhook::new(settings).with_context(|| format!("notify.webhook {}", webhook.name))?;
        Ok(Arc::new(sink))
    };
    config.webhooks.iter().map(sink).collect()
}

impl Service {
    /// Takes over a configuration that was read again: models, baselines, thresholds. What needs new clients
    /// (brokers, topics, windows, listen address) is kept as it was and named in the log.
    ///
    /// # Errors
    /// Every error of the new configuration; the old one then stays.
    pub fn reload(&mut self, path: &Path) -> Result<(), Vec<crate::config::ConfigError>> {
        let outcome = crate::config::load(path).and_then(|config| {
            let watch = load_watch(&config)?;
            Ok((config, watch))
        });
        let label = if outcome.is_ok() { "taken" } else { "refused" };
        self.shared.metrics.config_reloads.with_label_values(&[label]).inc();
        let (config, watch) = outcome?;
        if (&config.kafka, &config.topics, &config.windows, &config.http)
            != (&self.config.kafka, &self.config.topics, &self.config.windows, &self.config.http)
            || config.dead_letters != self.config.dead_letters
        {
            tracing::warn!(
                "changes of [kafka], [topics], [windows], [dead_letters] and [http] take effect with the next start"
            );
        }
        out_of_reach(&config, &watch).iter().for_each(|said| tracing::warn!("{said}"));
        self.config.models = config.models;
        let models = self.config.models.clone();
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = (models, now());
        self.watch.send_replace(Arc::new(watch));
        Ok(())
    }

    /// Waits until the service cannot go on, and says why. Never comes back from a service that can.
    pub fn failed(&self) -> impl Future<Output = String> + use<> {
        let mut failure = self.shared.failure.subscribe();
        async move {
            match failure.wait_for(Option::is_some).await {
                Ok(why) => why.clone().unwrap_or_default(),
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Flushes, commits, leaves the groups and ends, within [`DRAIN_LIMIT`].
    pub async fn stop(self) {
        self.shared.health.drain();
        self.shared.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + DRAIN_LIMIT;
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() > deadline {
                tracing::warn!("stages did not end in time; leaving without them");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.http.stop().await;
    }
}
