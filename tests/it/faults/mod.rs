//! What the service promises, kept while replicas and brokers are killed, stopped, cut off and filled up.
//!
//! Each test is seeded and prints its seed; `TIDEGATE_FAULT_SEED` repeats it. After the faults the oracle compares
//! everything that was written with what anyone finds by reading the source topic. The long runs are the same
//! tests with other numbers: see `tests/faults.sh`.

mod brokers;
mod disk;
mod held_commits;
mod kills;
mod oracle;
mod proxy;
mod rolling;
mod storms;
mod topics;
mod traffic;
mod watcher;
mod zombies;

use super::receiver::Receiver;
use super::service::{Bench, baseline};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Distinct values of `x`: a lost or doubled event shows in the cell of its serial number.
pub const VALUES: u64 = 1_000;
/// Distinct values of `score`.
pub const SCORES: u64 = 100;

/// Broker properties with which a member that was killed is missed after two seconds.
pub const IMPATIENT: &str = "group.consumer.min.session.timeout.ms=1000\n\
    group.consumer.session.timeout.ms=2000\n\
    group.consumer.min.heartbeat.interval.ms=200\n\
    group.consumer.heartbeat.interval.ms=400\n";

/// A fault test that keeps both cores busy, or waits for clocks, holds this, so that such tests do not starve
/// each other.
pub fn heavy() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The dice of a test, and what to print about them.
pub fn dice(test: &str) -> fastrand::Rng {
    let given = std::env::var("TIDEGATE_FAULT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| fastrand::u64(1..1_000_000_000));
    println!("{test}: TIDEGATE_FAULT_SEED={seed} repeats it");
    fastrand::Rng::with_seed(seed)
}

/// A number from the environment that makes a test longer.
pub fn from_environment(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// A duration between two numbers of seconds.
pub fn between(dice: &mut fastrand::Rng, from: f64, to: f64) -> Duration {
    Duration::from_secs_f64(from + dice.f64() * (to - from))
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

/// Training data in which every value that the traffic has occurs.
fn training() -> Vec<Vec<String>> {
    let row = |n: u64| {
        vec![
            (n % VALUES).to_string(),
            (n % traffic::LANES).to_string(),
            traffic::score(n % SCORES).to_string(),
        ]
    };
    (0..4 * VALUES).map(row).collect()
}

/// A rollout of `m` from v1 to v2 whose actions go to `receiver`.
pub fn rollout<'a>(bench: Bench<'a>, receiver: &Receiver) -> Bench<'a> {
    let dir = bench.dir.path().to_owned();
    let of = |version| baseline(&dir, "m", version, &["x", "lane", "score"], &training(), &["score"]);
    let secret = dir.join("secret");
    std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").expect("a secret");
    let (v1, v2) = (of("v1"), of("v2"));
    bench
        .model(
            "m",
            &[("v1", v1), ("v2", v2)],
            "mode = \"thresholds\"\n[model.thresholds]\nmin_samples = 200\n",
        )
        .extra(&format!(
            "[[notify.webhook]]\nname = \"controller\"\nurl = \"{}\"\nsecret_file = \"{}\"\n",
            receiver.url(),
            secret.display()
        ))
}
