//! Slow work and a silent broker cost no membership: what cannot be written now is written later, once.

use super::broker::{Broker, Message, wait_until};
use super::process;
use super::service::{Bench, LIMIT, baseline};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn events(start: i64, count: i64) -> Vec<Message> {
    let event = |n: i64| {
        let time = start + n * 10;
        format!(r#"{{"model":"m","model_version":"v1","timestamp":{time},"features":{{"x":{}}}}}"#, n % 8)
    };
    (0..count).map(|n| Message::new(event(n)).partition((n % 2) as i32)).collect()
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill").success(), "{pid} takes {name}");
}

#[test]
fn a_broker_that_is_silent_for_eight_seconds_in_a_flush_costs_readers_no_membership_and_no_event() {
    // The broker forgets members it has not heard of, and after a pause it counts the time that it slept: its
    // patience is longer than that here, so that a lost membership would be our doing.
    let patient = |broker: &Broker| broker.set_properties("group.consumer.session.timeout.ms=30000\n");
    let Some(broker) = Broker::own_prepared(patient) else { return };
    let bench = Bench::new(&broker, "silent", 2);
    let rows: Vec<Vec<String>> = (0..800).map(|row| vec![(row % 8).to_string()]).collect();
    let path = baseline(bench.dir.path(), "m", "v1", &["x"], &rows, &[]);
    let bench = bench.model("m", &[("v1", path)], "");
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64;
    let start = start - 60_000;
    broker.produce(&bench.events, &events(start, 1_000));
    let replica = bench.serve("a");
    wait_until(LIMIT, "the first events", || {
        (replica.outcomes().get("counted") == Some(&1_000)).then_some(())
    });
    wait_until(LIMIT, "closed panes", || (bench.counted_events() >= 900).then_some(()));
    // The judge commits several times a second too: panes are closed all the time.
    let of = |name: &str, stage: &str| replica.metric(&format!("tidegate_{name}_total{{stage=\"{stage}\"}}"));
    let rebalances = || ["tally", "judge", "notify"].map(|stage| of("rebalances", stage));
    let before = rebalances();
    assert!(
        before.iter().all(|count| count.is_some_and(|count| count >= 1.0)),
        "all have joined: {before:?}"
    );
    let port = broker.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let pid = process::listener(port).expect("the broker listens");
    // Flushes come four times a second, so one is under way.
    signal(pid, "STOP");
    std::thread::sleep(Duration::from_secs(8));
    signal(pid, "CONT");
    broker.produce(&bench.events, &events(start + 10_000, 1_000));
    wait_until(2 * LIMIT, "all events", || (bench.counted_events() >= 2_000).then_some(()));
    assert_eq!(bench.counted_events(), 2_000);
    assert_eq!(rebalances(), before, "the groups saw nothing: {}", replica.log());
    for stage in ["tally-0", "judge", "notify"] {
        assert_eq!(of("stage_restarts", stage), None, "{stage}: {}", replica.log());
    }
    assert_eq!(bench.reports().values().filter(|report| report["complete"] == false).count(), 0);
}
