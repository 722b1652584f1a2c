//! `tidegate serve` as a user runs it: a configuration file, a process, signals; and what it wrote to Kafka.

use super::broker::{Broker, Message, Record, wait_until};
use prost::Message as _;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tidegate::cells::runs;
use tidegate::tally::record::PaneRecord;

/// How long a service may take to do what a test waits for.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A test's own topics, baselines and configuration.
pub struct Bench<'a> {
    pub broker: &'a Broker,
    pub events: String,
    /// Further source topics.
    also: Vec<String>,
    pub prefix: String,
    pub group: String,
    pub dir: tempfile::TempDir,
    models: String,
    windows: String,
    extra: String,
    start: &'static str,
    client: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    bootstrap: String,
    /// Lines for `[kafka.client]`.
    client_lines: String,
}

impl<'a> Bench<'a> {
    /// A source topic with `partitions` partitions, and no model yet.
    pub fn new(broker: &'a Broker, name: &str, partitions: i32) -> Bench<'a> {
        let events = broker.unique(name);
        if partitions > 0 {
            broker.create_topic(&events, partitions);
        }
        Bench {
            broker,
            prefix: format!("{events}-own"),
            group: format!("{events}-group"),
            events,
            also: Vec::new(),
            dir: tempfile::tempdir().expect("a directory"),
            models: String::new(),
            windows:
                "pane = \"1s\"\nlateness = \"500ms\"\nflush_interval = \"250ms\"\nidle_timeout = \"2s\"\n"
                    .to_owned(),
            extra: String::new(),
            start: "earliest",
            client: BTreeMap::from([("group.protocol".to_owned(), "consumer".to_owned())]),
            environment: Vec::new(),
            bootstrap: broker.address(),
            client_lines: String::new(),
        }
    }

    /// Replaces the `[windows]` of the configuration.
    pub fn windows(mut self, toml: &str) -> Self {
        self.windows = toml.to_owned();
        self
    }

    /// Adds a source topic, which the caller makes.
    pub fn also(mut self, topic: &str) -> Self {
        self.also.push(topic.to_owned());
        self
    }

    /// Another listener of the broker, with lines for `[kafka.client]`.
    pub fn listener(mut self, brokers: &str, lines: &str) -> Self {
        self.bootstrap = brokers.to_owned();
        self.client_lines = lines.to_owned();
        self
    }

    /// Adds tables to the configuration.
    pub fn extra(mut self, toml: &str) -> Self {
        self.extra.push_str(toml);
        self
    }

    /// Sets a librdkafka property of the service.
    pub fn client(mut self, property: &str, value: &str) -> Self {
        self.client.insert(property.to_owned(), value.to_owned());
        self
    }

    /// Sets an environment variable of the service.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where the service finds the broker, if not where the test does.
    pub fn bootstrap(mut self, address: &str) -> Self {
        self.bootstrap = address.to_owned();
        self
    }

    /// Adds a model with these baselines (version, file); `more` goes into its table.
    pub fn model(mut self, name: &str, baselines: &[(&str, PathBuf)], more: &str) -> Self {
        let files: Vec<String> =
            baselines.iter().map(|(version, path)| format!("{version} = \"{}\"", path.display())).collect();
        self.models.push_str(&format!(
            "[[model]]\nname = \"{name}\"\nbaselines = {{ {} }}\n{more}\n",
            files.join(", ")
        ));
        self
    }

    pub fn own(&self, topic: &str) -> String {
        format!("{}.{topic}", self.prefix)
    }

    /// Writes the configuration for one instance and returns its path.
    pub fn config(&self, instance: &str, port: u16) -> PathBuf {
        let events = self.also.iter().chain([&self.events]).map(|topic| format!("\"{topic}\""));
        let events: Vec<String> = events.collect();
        let client: String =
            self.client.iter().map(|(name, value)| format!("\"{name}\" = \"{value}\"\n")).collect();
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\ngroup = \"{}\"\ninstance = \"{instance}\"\nstart = \"{}\"\n\
             [kafka.client]\n{client}{}\n\
             [topics]\nevents = [{}]\nprefix = \"{}\"\npartitions = 2\n\
             [windows]\n{}\n[http]\nlisten = \"127.0.0.1:{port}\"\n{}\n{}",
            self.bootstrap,
            self.group,
            self.start,
            self.client_lines,
            events.join(", "),
            self.prefix,
            self.windows,
            self.extra,
            self.models,
        );
        let path = self.dir.path().join(format!("{instance}.toml"));
        fs::write(&path, text).expect("the configuration");
        path
    }

    /// Starts a replica and waits until it is ready.
    pub fn serve(&self, instance: &str) -> Replica {
        let replica = self.spawn(instance);
        wait_until(LIMIT, "the service to be ready", || (replica.get("/readyz").0 == 200).then_some(()));
        replica
    }

    /// Starts a replica without waiting.
    pub fn spawn(&self, instance: &str) -> Replica {
        self.spawn_role(instance, "all")
    }

    /// Starts a process that runs only these stages, without waiting.
    pub fn spawn_role(&self, instance: &str, role: &str) -> Replica {
        let port = free_port();
        let log = self.dir.path().join(format!("{instance}-{port}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--role", role])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg(self.config(instance, port))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log file"))
            .spawn()
            .expect("the service starts");
        Replica { child, port, log }
    }

    /// The newest report of each (version, scale, window start).
    pub fn reports(&self) -> BTreeMap<(String, u64, String), serde_json::Value> {
        let mut found = BTreeMap::new();
        for record in self.broker.read_all(&self.own("reports")) {
            let report: serde_json::Value = serde_json::from_str(&record.text()).expect("a report is JSON");
            let key = (
                report["model_version"].as_str().expect("a version").to_owned(),
                report["window"]["scale"].as_u64().expect("a scale"),
                report["window"]["start"].as_str().expect("a start").to_owned(),
            );
            found.insert(key, report);
        }
        found
    }

    /// The newest record of each single closed pane and series: (version, series, start) → record.
    pub fn panes(&self) -> BTreeMap<(String, String, i64), PaneRecord> {
        let mut found = BTreeMap::new();
        for record in self.broker.read_all(&self.own("panes")) {
            let Some(value) = record.value else { continue };
            let pane = PaneRecord::decode(value.as_slice()).expect("a pane record");
            if pane.panes == 1 {
                found.insert((pane.version.clone(), pane.series.clone(), pane.start), pane);
            }
        }
        found
    }

    /// Events counted in closed panes, all versions together.
    pub fn counted_events(&self) -> u64 {
        let roles = self.panes().into_values().filter_map(|pane| pane.roles);
        roles.map(|roles| roles.stable + roles.canary + roles.unset).sum()
    }

    pub fn read_json(&self, topic: &str) -> Vec<serde_json::Value> {
        let all = self.broker.read_all(&self.own(topic));
        all.iter().map(|record: &Record| serde_json::from_str(&record.text()).expect("JSON")).collect()
    }

    pub fn produce(&self, events: &[String]) {
        let messages: Vec<Message> = events.iter().map(|event| Message::new(event.as_bytes())).collect();
        self.broker.produce(&self.events, &messages);
    }
}

/// The cells of a pane record.
pub fn cells(pane: &PaneRecord, count: usize) -> Vec<u64> {
    let counts = pane.counts.as_ref().expect("a series' record has counts");
    runs::decode(&counts.cells, count).expect("the grid's cells")
}

/// A running service; killed when it is dropped.
pub struct Replica {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Replica {
    /// SIGKILL.
    pub fn kill(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        self.child.wait().expect("the process ends");
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        let limit = Duration::from_secs(12);
        wait_until(limit, "the service to drain", || self.child.try_wait().expect("a status")).code()
    }

    /// Whether the process has ended by itself, and with which code.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("a status").map(|status| status.code())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill").success());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The value of a sample of `/metrics`, e.g. `tidegate_flushes_total{outcome="committed"}`.
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics");
        let line =
            body.lines().find(|line| line.starts_with(sample) && line[sample.len()..].starts_with(' '))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Source records by outcome, all models together.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        for line in self.get("/metrics").1.lines().filter(|line| line.starts_with("tidegate_events_total{")) {
            let outcome = line.split("outcome=\"").nth(1).and_then(|rest| rest.split('"').next());
            let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
            *found.entry(outcome.expect("an outcome").to_owned()).or_default() += count;
        }
        found
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A plain GET: status and body; status 0 when nobody listens.
    pub fn get(&self, path: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return (0, String::new()) };
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        if stream.write_all(request.as_bytes()).is_err() || stream.read_to_string(&mut answer).is_err() {
            return (0, String::new());
        }
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            eprintln!("--- last lines of {}:", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Builds a baseline file from columns of text cells, by way of CSV.
pub fn baseline(
    dir: &Path,
    model: &str,
    version: &str,
    header: &[&str],
    rows: &[Vec<String>],
    predictions: &[&str],
) -> PathBuf {
    let csv = dir.join(format!("{model}-{version}.csv"));
    let mut text = header.join(",");
    for row in rows {
        text.push('\n');
        text.push_str(&row.join(","));
    }
    fs::write(&csv, text).expect("training data");
    let options = tidegate::baseline::BuildOptions {
        model: model.to_owned(),
        version: version.to_owned(),
        predictions: predictions.iter().map(|name| (*name).to_owned()).collect(),
        include: Vec::new(),
        exclude: Vec::new(),
        held_out: true,
        created: tidegate::event::EventTime(0),
        types: Vec::new(),
        time: None,
    };
    let report = tidegate::baseline::build(&csv, &options, &mut |_, _, _| {}).expect("a baseline");
    let path = dir.join(format!("{model}-{version}.parquet"));
    tidegate::baseline::file::write(&report.baseline, &path).expect("a baseline file");
    path
}
