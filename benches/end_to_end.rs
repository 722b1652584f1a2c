//! Events per second through the whole service on a real Apache Kafka, beside a consumer that only drains the
//! same topic in batches, in the same run: `cargo bench --bench end_to_end`.
//!
//! `TIDEGATE_BENCH_EVENTS` sets the number of events (default 1,500,000, of about 690 bytes, in 4 partitions).

#[path = "../tests/it/broker.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod broker;
#[path = "../tests/it/guard.rs"]
mod guard;
#[path = "../tests/it/messages.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod messages;

use broker::{Broker, Message, wait_until};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate::source::kafka::{
    Assignment, ClientSettings, GroupConsumer, Member, StartOffset, TopicPartition,
};

const LIMIT: Duration = Duration::from_secs(300);
const PARTITIONS: i32 = 4;

fn main() {
    // `cargo test --benches` and `--no-run` builds ask for nothing to be measured.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let Some(broker) = Broker::own() else { return };
    let wanted = std::env::var("TIDEGATE_BENCH_EVENTS").ok().and_then(|text| text.parse().ok());
    let events: u64 = wanted.unwrap_or(1_500_000);
    let topic = broker.unique("bench");
    broker.create_topic(&topic, PARTITIONS);
    let bytes = produce(&broker, &topic, events);
    println!("{events} events of {} bytes on average in {PARTITIONS} partitions", bytes / events);
    let bare = drain(&broker, &topic, events);
    println!("bare batch consumer: {:>9.0} events/s", events as f64 / bare.as_secs_f64());
    let served = serve(&broker, &topic, events);
    println!("tidegate serve:      {:>9.0} events/s", events as f64 / served.as_secs_f64());
    println!("ratio: {:.0} %", 100.0 * bare.as_secs_f64() / served.as_secs_f64());
}

fn features(random: &mut fastrand::Rng) -> Vec<String> {
    let numbers = (0..20).map(|index| format!("\"feature_{index:02}\":{:.6}", random.f64() * 100.0));
    let numbers: Vec<String> = numbers.collect();
    let words = (0..5).map(|index| format!("\"category_{index}\":\"val{}\"", random.u8(0..10)));
    numbers.into_iter().chain(words.collect::<Vec<String>>()).collect()
}

fn produce(broker: &Broker, topic: &str, events: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(1);
    let producer = broker.producer(&[("linger.ms", "20"), ("batch.size", "1000000")]);
    let start = 1_790_000_000_000_u64;
    let mut bytes = 0;
    for n in 0..events {
        let event = format!(
            r#"{{"request_id":"{:016x}","timestamp":{},"model":"bench","model_version":"v1","role":"stable","features":{{{}}},"predictions":{{"score":{:.4}}}}}"#,
            random.u64(..),
            start + n / 10,
            features(&mut random).join(","),
            random.f64(),
        );
        bytes += event.len() as u64;
        producer.send(topic, &Message::new(event).partition((n % PARTITIONS as u64) as i32));
    }
    producer.flush();
    bytes
}

/// Drains the topic and counts.
struct Counter(AtomicU64);

impl Assignment for Counter {
    fn assigned(&self, _: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        partitions.iter().map(|one| StartOffset { partition: one.clone(), offset: 0 }).collect()
    }

    fn revoked(&self, _: &Member<Self>, _: &[TopicPartition], _: bool) {}

    fn error(&self, _: &rdkafka::error::KafkaError) {}
}

fn drain(broker: &Broker, topic: &str, events: u64) -> Duration {
    let settings = ClientSettings {
        brokers: broker.address(),
        properties: [("group.protocol".to_owned(), "consumer".to_owned())].into(),
        client_id: "bench".to_owned(),
    };
    let counter = Arc::new(Counter(AtomicU64::new(0)));
    let group = broker.unique("bare");
    let consumer = GroupConsumer::join(&settings, &group, "bare", &[topic], LIMIT, Arc::clone(&counter))
        .expect("a consumer");
    let mut started: Option<Instant> = None;
    while counter.0.load(Ordering::Relaxed) < events {
        consumer.poll(Duration::from_millis(20), |record| {
            started.get_or_insert_with(Instant::now);
            counter.0.fetch_add(u64::from(record.payload().is_some()), Ordering::Relaxed);
        });
    }
    let took = started.map_or(Duration::ZERO, |started| started.elapsed());
    consumer.close();
    took
}

/// From the first event counted to the last, as the service's own metrics say.
fn serve(broker: &Broker, topic: &str, events: u64) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let port = guard::free_ports().0;
    let config = write_config(broker, topic, dir.path(), port);
    let mut service = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("serve")
        .arg(config)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .expect("the service starts");
    let began = wait_until(LIMIT, "the first events", || (counted(port) > 0).then(Instant::now));
    let before = counted(port);
    wait_until(LIMIT, "all events", || (counted(port) >= events).then_some(()));
    let took = began.elapsed();
    service.kill().expect("the service is ours");
    service.wait().expect("it ends");
    // What was counted before the clock ran is left out of the rate.
    took.mul_f64(events as f64 / (events - before).max(1) as f64)
}

fn write_config(broker: &Broker, topic: &str, dir: &Path, port: u16) -> std::path::PathBuf {
    let mut random = fastrand::Rng::with_seed(2);
    let names: Vec<String> =
        features(&mut random).iter().map(|one| one.split('"').nth(1).expect("a name").to_owned()).collect();
    let mut csv = names.join(",") + ",score\n";
    for _ in 0..20_000 {
        let values: Vec<String> = features(&mut random)
            .iter()
            .map(|one| one.split_once(':').expect("a value").1.trim_matches('"').to_owned())
            .collect();
        writeln!(csv, "{},{:.4}", values.join(","), random.f64()).expect("a string takes anything");
    }
    let training = dir.join("train.csv");
    std::fs::write(&training, csv).expect("training data");
    let baseline = dir.join("bench-v1.parquet");
    let made = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["baseline", training.to_str().expect("UTF-8"), "--model", "bench", "--version", "v1"])
        .args(["--predictions", "score", "-o", baseline.to_str().expect("UTF-8")])
        .stdout(Stdio::null())
        .status()
        .expect("it runs");
    assert!(made.success());
    let config = dir.join("tidegate.toml");
    let text = format!(
        "[kafka]\nbrokers = \"{}\"\ngroup = \"{}\"\nstart = \"earliest\"\n[kafka.client]\n\"group.protocol\" = \"consumer\"\n\
         [topics]\nevents = [\"{topic}\"]\nprefix = \"{topic}-own\"\n[windows]\nflush_interval = \"500ms\"\n\
         [http]\nlisten = \"127.0.0.1:{port}\"\n[[model]]\nname = \"bench\"\nbaselines = {{ v1 = \"{}\" }}\n",
        broker.address(),
        broker.unique("bench-group"),
        baseline.display(),
    );
    std::fs::write(&config, text).expect("the configuration");
    config
}

fn counted(port: u16) -> u64 {
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return 0 };
    let mut text = String::new();
    let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    if asked.is_err() || stream.read_to_string(&mut text).is_err() {
        return 0;
    }
    let line =
        text.lines().find(|line| line.starts_with("tidegate_events_total{") && line.contains("\"counted\""));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}
