//! How long a judge takes from its start until it judges again, with 100 models of 50 series and two versions in
//! `tidegate.panes` on a real Apache Kafka: `cargo bench --bench restart`.
//!
//! The topic holds every closed pane and sum that the longest windows need, as a service that has run for hours
//! leaves them: 18 panes, and the sums of 4 and 16, among all panes of more than two hours
//! (`TIDEGATE_BENCH_PANES`, default 150 panes of 60 s).

#[path = "../tests/it/broker.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod broker;
#[path = "../tests/it/guard.rs"]
mod guard;
#[path = "../tests/it/messages.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod messages;

use broker::{Broker, Message, wait_until};
use prost::Message as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate::baseline::{Baseline, BaselineSeries, file};
use tidegate::cells::{Grid, NumericGrid, Sums, runs};
use tidegate::event::{EventTime, SeriesKind, SeriesOf};
use tidegate::judge::{MergeState, ModelSpan, pane_key};
use tidegate::tally::merge_partition;
use tidegate::tally::record::{Counts, FORMAT, PaneRecord, RoleCount};

const LIMIT: Duration = Duration::from_secs(300);
const MODELS: usize = 100;
const SERIES: usize = 50;
const CUTS: usize = 200;
const PARTITIONS: i32 = 8;
const PANE_MS: i64 = 60_000;
/// Events of a version in a pane.
const EVENTS: u64 = 500;

fn main() {
    // `cargo test --benches` and `--no-run` builds ask for nothing to be measured.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let Some(broker) = Broker::own() else { return };
    let wanted = std::env::var("TIDEGATE_BENCH_PANES").ok().and_then(|text| text.parse().ok());
    let panes: i64 = wanted.unwrap_or(150);
    let dir = tempfile::tempdir().expect("a directory");
    let bench =
        Bench { config: write_config(&broker, dir.path()), log: dir.path().join("log"), prefix: "bench" };
    // The first start makes the topics and begins the source; what it stored is then given a past.
    let mut first = bench.serve("all");
    wait_until(LIMIT, "the topics", || bench.restored());
    wait_until(LIMIT, "stored state", || (bench.states(&broker).len() == PARTITIONS as usize).then_some(()));
    stop(&mut first);
    let (records, bytes) = bench.fill(&broker, panes);
    println!("{MODELS} models × {SERIES} series × 2 versions: {records} records, {} MB", bytes >> 20);
    let began = Instant::now();
    let mut judge = bench.serve("judge");
    let restored = wait_until(LIMIT, "the judge", || bench.restored());
    let took = began.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", judge.id())).unwrap_or_default();
    let cpu = cpu_seconds(judge.id());
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: ?").to_owned();
    stop(&mut judge);
    println!(
        "panes and state read back in {:.2} s; from the start of the process, with {} baselines and joining \
              the group, {:.2} s",
        restored.as_secs_f64(),
        2 * MODELS,
        took.as_secs_f64()
    );
    println!("{cpu:.2} CPU seconds; {memory}");
}

/// What a process has used so far, of all its threads: on a busy machine a fairer measure than the clock.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // utime and stime, in ticks of 10 ms.
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn stop(service: &mut Child) {
    let pid = service.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    service.wait().expect("it ends");
}

fn version(version: usize) -> &'static str {
    ["v1", "v2"][version]
}

/// A baseline of numeric series with [`CUTS`] cut points each.
fn baseline(model: &str, version: &str) -> Baseline {
    let series = |n: usize| {
        let cuts: Vec<f64> = (0..CUTS).map(|cut| (n * CUTS + cut) as f64).collect();
        let range = Some((cuts[0], cuts[CUTS - 1]));
        let counts = (0..2 * CUTS + 1).map(|cell| if cell % 2 == 1 { 50 } else { 0 }).collect();
        Arc::new(BaselineSeries {
            name: format!("feature_{n:02}"),
            of: SeriesOf::Feature,
            kind: SeriesKind::Numeric,
            grid: Arc::new(Grid::Numeric(NumericGrid::new(cuts))),
            counts,
            missing: 0,
            distinct: CUTS as u64,
            range,
            traits: Default::default(),
        })
    };
    Baseline {
        model: model.to_owned(),
        version: version.to_owned(),
        rows: 50 * CUTS as u64,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: (0..SERIES).map(series).collect(),
    }
}

fn write_config(broker: &Broker, dir: &Path) -> PathBuf {
    broker.create_topic("bench-events", 1);
    let mut text = format!(
        "[kafka]\nbrokers = \"{}\"\ngroup = \"bench\"\ninstance = \"bench\"\n[kafka.client]\n\
         \"group.protocol\" = \"consumer\"\n[topics]\nevents = [\"bench-events\"]\nprefix = \"bench\"\n\
         partitions = {PARTITIONS}\n[windows]\npane = \"60s\"\nflush_interval = \"250ms\"\n[http]\n\
         listen = \"127.0.0.1:{}\"\n",
        broker.address(),
        guard::free_ports().0,
    );
    for model in 0..MODELS {
        let name = format!("model-{model:03}");
        let files: Vec<String> = (0..2)
            .map(|one| {
                let path = dir.join(format!("{name}-{}.parquet", version(one)));
                file::write(&baseline(&name, version(one)), &path).expect("a baseline");
                format!("{} = \"{}\"", version(one), path.display())
            })
            .collect();
        writeln!(text, "[[model]]\nname = \"{name}\"\nbaselines = {{ {} }}", files.join(", ")).expect("text");
    }
    let config = dir.join("tidegate.toml");
    std::fs::write(&config, text).expect("the configuration");
    config
}

struct Bench {
    config: PathBuf,
    log: PathBuf,
    prefix: &'static str,
}

impl Bench {
    fn serve(&self, role: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--role", role, "--log-json"])
            .arg(&self.config)
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&self.log).expect("a log"))
            .spawn()
            .expect("the service starts")
    }

    /// How long the judge read, once it has all partitions.
    fn restored(&self) -> Option<Duration> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains("judge: partitions taken out of Kafka"));
        let (mut partitions, mut took) = (0, 0);
        for line in lines {
            let fields = &serde_json::from_str::<serde_json::Value>(line).ok()?["fields"];
            partitions += fields["partitions"].as_i64()?;
            took += fields["took_ms"].as_u64()?;
        }
        (partitions == i64::from(PARTITIONS)).then(|| Duration::from_millis(took))
    }

    /// The newest state of each merge partition that has stored one.
    fn states(&self, broker: &Broker) -> Vec<(i32, MergeState)> {
        let mut found = std::collections::BTreeMap::new();
        for record in broker.read_all(&format!("{}.state", self.prefix)) {
            if record.key.as_deref() == Some(b"merge".as_slice())
                && let Some(value) = &record.value
            {
                found.insert(record.partition, MergeState::decode(value.as_slice()).expect("a state"));
            }
        }
        found.into_iter().collect()
    }

    /// Writes panes and sums up to now, and a state that has closed them. Returns records and bytes.
    fn fill(&self, broker: &Broker, panes: i64) -> (u64, u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        let closed = now / PANE_MS / 16 * 16;
        let producer = broker.producer(&[("linger.ms", "50"), ("batch.size", "1000000")]);
        let (mut records, mut bytes) = (0, 0);
        let counts: Vec<Counts> = (0..16).map(counts).collect();
        for end in closed - panes + 1..=closed {
            for length in [1, 4, 16] {
                if end % length != 0 {
                    continue;
                }
                let written = end * PANE_MS;
                for (partition, record) in arms(length, (end - length) * PANE_MS, &counts) {
                    let payload = record.encode_to_vec();
                    (records, bytes) = (records + 1, bytes + payload.len() as u64);
                    let message =
                        Message::new(payload).key(pane_key(&record)).partition(partition).timestamp(written);
                    producer.send(&format!("{}.panes", self.prefix), &message);
                }
            }
        }
        for (partition, mut state) in self.states(broker) {
            state.closed_to = Some(closed);
            let spans = (0..MODELS).map(|model| format!("model-{model:03}"));
            let here = spans.filter(|name| partition_of(name) == partition);
            state.models = here
                .map(|model| ModelSpan {
                    namespace: "default".to_owned(),
                    model,
                    first: closed - panes,
                    versions: Vec::new(),
                })
                .collect();
            let message = Message::new(state.encode_to_vec()).key("merge").partition(partition);
            producer.send(&format!("{}.state", self.prefix), &message);
        }
        producer.flush();
        (records, bytes)
    }
}

fn partition_of(model: &str) -> i32 {
    merge_partition("default", model, PARTITIONS as u32) as i32
}

/// [`EVENTS`] values, spread over the grid's ties, with sums as of the first series.
fn counts(seed: u64) -> Counts {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cells = vec![0; 2 * CUTS + 1];
    (0..EVENTS).for_each(|_| cells[2 * random.usize(0..CUTS) + 1] += 1);
    let grid = NumericGrid::new((0..CUTS).map(|cut| cut as f64).collect());
    let sums = Sums::of_ties(grid.scale(), grid.cuts(), &cells).expect("every value is a cut");
    let (sums, summed) = (sums.encode(), sums.values);
    Counts { rows: EVENTS, cells: runs::encode(&cells), sums, summed, ..Counts::default() }
}

/// The records of all models' pane or sum, with their merge partitions.
fn arms(length: i64, start: i64, counts: &[Counts]) -> impl Iterator<Item = (i32, PaneRecord)> {
    let hashes: Vec<u64> = baseline("", "").series.iter().map(|series| series.grid.hash()).collect();
    (0..MODELS * 2).flat_map(move |arm| {
        let name = format!("model-{:03}", arm / 2);
        let head = PaneRecord {
            format: FORMAT,
            namespace: "default".to_owned(),
            model: name.clone(),
            version: version(arm % 2).to_owned(),
            start,
            pane_len: PANE_MS,
            panes: length as u32,
            filled: length as u32,
            complete: true,
            ..PaneRecord::default()
        };
        let roles = RoleCount { stable: EVENTS * length as u64, ..RoleCount::default() };
        let events = PaneRecord { of: 2, roles: Some(roles), ..head.clone() };
        let series = |n: usize| PaneRecord {
            series: format!("feature_{n:02}"),
            grid_hash: hashes[n],
            counts: Some(counts[(n + arm) % counts.len()].clone()),
            ..head.clone()
        };
        let records: Vec<PaneRecord> = std::iter::once(events).chain((0..SERIES).map(series)).collect();
        let partition = partition_of(&name);
        records.into_iter().map(move |record| (partition, record))
    })
}
