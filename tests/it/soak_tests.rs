//! The service for a long time in a short one: event time runs 60 times as fast as the clock while a second
//! replica comes, is killed and leaves. What the first one holds stays flat and below the budget it printed.
//!
//! `TIDEGATE_SOAK_MINUTES=30 cargo test --release --test it soak_tests -- --nocapture` is the long form.

use super::broker::{Broker, Message, TestProducer, wait_until};
use super::process;
use super::service::{Bench, LIMIT, Replica, baseline};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SWITCH: &str = "TIDEGATE_SOAK_MINUTES";
/// Event time passes so many times as fast as the clock.
const SPEED: i64 = 60;
const PER_SECOND: i64 = 500;
const PARTITIONS: i64 = 4;
/// How long the service may take to come to its working size before it is measured.
const WARM_UP: Duration = Duration::from_secs(8);
const PANES: &str = "pane = \"60s\"\nlateness = \"30s\"\nallowed_lateness = \"30m\"\nflush_interval = \"500ms\"\nidle_timeout = \"10s\"\n";

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Seconds since the first sample.
    at: f64,
    rss: f64,
    descriptors: f64,
    threads: f64,
}

fn sample(pid: &str, started: Instant) -> Sample {
    Sample {
        at: started.elapsed().as_secs_f64(),
        rss: process::rss(pid) as f64,
        descriptors: process::descriptors(pid) as f64,
        threads: process::threads(pid) as f64,
    }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(&of).sum::<f64>() / samples.len().max(1) as f64
}

/// Least squares, per hour.
fn slope(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let (at, value) = (mean(samples, |one| one.at), mean(samples, &of));
    let together: f64 = samples.iter().map(|one| (one.at - at) * (of(one) - value)).sum();
    let alone: f64 = samples.iter().map(|one| (one.at - at).powi(2)).sum();
    3_600.0 * together / alone.max(1e-9)
}

/// What the service said that it may hold, in bytes.
fn budget(log: &str) -> f64 {
    let said = log.split("memory budget: at most ").nth(1).expect("the budget is printed at start");
    let mib = said.split(' ').next().and_then(|number| number.parse::<f64>().ok()).expect("a number");
    mib * f64::from(1 << 20)
}

/// Sends events in step with the clock.
struct Traffic<'a> {
    producer: TestProducer,
    topic: &'a str,
    start: i64,
    began: Instant,
    sent: i64,
}

impl Traffic<'_> {
    fn catch_up(&mut self) {
        let wanted = (self.began.elapsed().as_secs_f64() * PER_SECOND as f64) as i64;
        while self.sent < wanted {
            let n = self.sent;
            let time = self.start + n * 1_000 * SPEED / PER_SECOND;
            let (version, role) = if n % 10 == 0 { ("v2", "canary") } else { ("v1", "stable") };
            let event = format!(
                r#"{{"model":"m","model_version":"{version}","role":"{role}","timestamp":{time},"features":{{"x":{},"y":{}}},"predictions":{{"score":{}}}}}"#,
                n * 7 % 100,
                (n * 13 % 1_000) as f64 / 10.0,
                (n * 31 % 100) as f64 / 100.0,
            );
            self.producer.send(self.topic, &Message::new(event).partition((n % PARTITIONS) as i32));
            self.sent += 1;
        }
    }
}

/// A second replica that comes and goes.
struct Churn<'a, 'b> {
    bench: &'a Bench<'b>,
    random: fastrand::Rng,
    replica: Option<Replica>,
    next: Instant,
    kills: u32,
    leaves: u32,
}

impl Churn<'_, '_> {
    fn turn(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.replica = match self.replica.take() {
            None => Some(self.bench.spawn("b")),
            Some(mut replica) if self.random.bool() => {
                replica.kill();
                self.kills += 1;
                None
            }
            Some(mut replica) => {
                // It may not have come as far as to handle the signal.
                replica.terminate();
                self.leaves += 1;
                None
            }
        };
        self.next = Instant::now() + Duration::from_millis(self.random.u64(3_000..7_000));
    }
}

fn bench(broker: &Broker) -> Bench<'_> {
    let bench = Bench::new(broker, "soak", PARTITIONS as i32).windows(PANES);
    let rows: Vec<Vec<String>> = (0..2_000)
        .map(|n| {
            vec![
                (n % 100).to_string(),
                format!("{}", f64::from(n % 1_000) / 10.0),
                format!("{}", f64::from(n % 100) / 100.0),
            ]
        })
        .collect();
    let of =
        |version: &str| baseline(bench.dir.path(), "m", version, &["x", "y", "score"], &rows, &["score"]);
    let baselines = [("v1", of("v1")), ("v2", of("v2"))];
    bench.model("m", &baselines, "")
}

#[test]
fn memory_descriptors_and_threads_stay_flat_and_below_the_printed_budget() {
    let minutes: Option<f64> = std::env::var(SWITCH).ok().map(|text| text.parse().expect("minutes"));
    let span = minutes.map_or(Duration::from_secs(24), |minutes| Duration::from_secs_f64(60.0 * minutes));
    let every = if minutes.is_some() { Duration::from_secs(5) } else { Duration::from_millis(500) };
    let seed = fastrand::u64(..);
    println!("soak of {span:?}, seed {seed}");
    let Some(broker) = Broker::shared() else { return };
    let bench = bench(broker);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64;
    let start = now - (span + WARM_UP + Duration::from_secs(60)).as_millis() as i64 * SPEED;
    let first = bench.serve("a");
    let pid = first.pid().to_string();
    let producer = broker.producer(&[("linger.ms", "20")]);
    let began = Instant::now();
    let mut traffic = Traffic { producer, topic: &bench.events, start, began, sent: 0 };
    let next = began + WARM_UP / 2;
    let mut churn = Churn {
        bench: &bench,
        random: fastrand::Rng::with_seed(seed),
        replica: None,
        next,
        kills: 0,
        leaves: 0,
    };
    let (mut samples, mut due) = (Vec::new(), began + WARM_UP);
    while began.elapsed() < span + WARM_UP {
        traffic.catch_up();
        churn.turn();
        if Instant::now() >= due {
            samples.push(sample(&pid, began));
            due += every;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    traffic.producer.flush();
    let (sent, kills, leaves) = (traffic.sent, churn.kills, churn.leaves);
    drop(churn);
    let rebalances = ["tally", "judge"].map(|stage| {
        let sample = format!("tidegate_rebalances_total{{stage=\"{stage}\"}}");
        first.metric(&sample).expect("the rebalances are counted")
    });
    wait_until(2 * LIMIT, "every offset to be committed", || {
        (broker.committed(&bench.group, &bench.events).values().sum::<i64>() == sent).then_some(())
    });
    wait_until(2 * LIMIT, "every event in a closed pane", || {
        (bench.counted_events() >= sent as u64).then_some(())
    });
    assert_eq!(bench.counted_events(), sent as u64, "each once");
    let incomplete = bench.reports().values().filter(|report| report["complete"] == false).count();
    assert_eq!(incomplete, 0, "reports that miss offsets");
    judge(&samples, budget(&first.log()), minutes.is_some_and(|minutes| minutes >= 10.0));
    println!("{sent} events; of the second replica {kills} kills and {leaves} orderly ends");
    println!("rebalances of the first replica: tally {}, judge {}", rebalances[0], rebalances[1]);
    // Its first assignment of each stage is one as well.
    assert!(kills + leaves > 0 && rebalances.iter().sum::<f64>() > 2.0, "the second replica came and went");
}

fn judge(samples: &[Sample], budget: f64, long: bool) {
    let mib = f64::from(1 << 20);
    let quarter = samples.len() / 4;
    let (head, tail) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    type Of = fn(&Sample) -> f64;
    let measured: [(&str, Of); 3] = [
        ("RSS in MiB", |one| one.rss / f64::from(1 << 20)),
        ("descriptors", |one| one.descriptors),
        ("threads", |one| one.threads),
    ];
    for (name, of) in measured {
        println!(
            "{name}: first quarter {:.1}, last quarter {:.1}, slope {:.2} per hour",
            mean(head, of),
            mean(tail, of),
            slope(samples, of)
        );
    }
    for (when, one) in
        [("begin", samples.first()), ("middle", samples.get(samples.len() / 2)), ("end", samples.last())]
    {
        let one = one.expect("samples");
        println!(
            "{when}, at {:.0} s: RSS {:.1} MiB, {} descriptors, {} threads",
            one.at,
            one.rss / mib,
            one.descriptors,
            one.threads
        );
    }
    let highest = samples.iter().map(|one| one.rss).fold(0.0, f64::max);
    println!("highest RSS {:.1} MiB of a budget of {:.0} MiB", highest / mib, budget / mib);
    assert!(highest > 0.0 && highest < budget, "{highest} bytes of {budget}");
    let grown = |of: Of| mean(tail, of) - mean(head, of);
    assert!(grown(|one| one.threads) <= 2.0, "threads grow: {samples:#?}");
    assert!(grown(|one| one.descriptors) <= 6.0, "descriptors grow: {samples:#?}");
    // For some minutes the windows of 64 panes and the board's 64 reports of each still fill.
    let (settled, most) = if long { (&samples[quarter..2 * quarter], 4.0 * mib) } else { (head, 48.0 * mib) };
    let more = mean(tail, |one| one.rss) - mean(settled, |one| one.rss);
    assert!(more <= most, "memory grows by {more} bytes: {samples:#?}");
}
