//! The service against a real Apache Kafka: what is counted, what survives, what is said once.

use super::broker::{Broker, Message, wait_until};
use super::service::{Bench, LIMIT, baseline, cells};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Distinct values of the test feature: each is a cut, so cell 2v+1 counts the value v.
const VALUES: u64 = 8;

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

/// Training data of the model `m`: `x` evenly over 0..8, `score` over 0..1 in hundredths.
pub fn training() -> Vec<Vec<String>> {
    (0..4_000)
        .map(|row| vec![(row % VALUES).to_string(), format!("{}", (row % 100) as f64 / 100.0)])
        .collect()
}

pub fn plain(bench: Bench<'_>) -> Bench<'_> {
    let path = baseline(bench.dir.path(), "m", "v1", &["x", "score"], &training(), &["score"]);
    bench.model("m", &[("v1", path)], "")
}

pub fn event(version: &str, role: &str, time: i64, x: u64, score: f64) -> String {
    format!(
        r#"{{"model":"m","model_version":"{version}","role":"{role}","timestamp":{time},"features":{{"x":{x}}},"predictions":{{"score":{score}}}}}"#
    )
}

/// Events spread over `seconds` of event time from `start`; the n-th has x = n mod 8.
pub fn stream(start: i64, seconds: i64, per_second: i64) -> Vec<String> {
    let count = seconds * per_second;
    let one = |n: i64| {
        event("v1", "stable", start + n * 1_000 / per_second, n as u64 % VALUES, (n % 100) as f64 / 100.0)
    };
    (0..count).map(one).collect()
}

/// Cell counts of `x` per pane by brute force over the events.
fn brute_force(events: &[String]) -> BTreeMap<i64, Vec<u64>> {
    let mut panes: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for event in events {
        let event: serde_json::Value = serde_json::from_str(event).expect("an event");
        let time = event["timestamp"].as_i64().expect("a time");
        let x = event["features"]["x"].as_u64().expect("a value") as usize;
        let cells =
            panes.entry(time - time.rem_euclid(1_000)).or_insert_with(|| vec![0; 2 * VALUES as usize + 1]);
        cells[2 * x + 1] += 1;
    }
    panes
}

fn counted(bench: &Bench<'_>) -> BTreeMap<i64, Vec<u64>> {
    let panes = bench.panes().into_iter().filter(|((_, series, _), _)| series == "x");
    panes.map(|((.., start), pane)| (start, cells(&pane, 2 * VALUES as usize + 1))).collect()
}

pub fn wait_counted(bench: &Bench<'_>, events: u64) {
    wait_until(LIMIT, &format!("{events} events in closed panes"), || {
        (bench.counted_events() >= events).then_some(())
    });
}

#[test]
fn events_become_exact_panes_reports_and_gauges() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "path", 3));
    let events = stream(now_ms() - 20_000, 5, 1_000);
    bench.produce(&events);
    let mut replica = bench.serve("a");
    wait_counted(&bench, events.len() as u64);
    assert_eq!(counted(&bench), brute_force(&events));
    wait_until(LIMIT, "a report of four panes", || {
        bench.reports().keys().any(|(_, scale, _)| *scale == 4).then_some(())
    });
    let metrics = wait_until(LIMIT, "gauges", || {
        let (_, body) = replica.get("/metrics");
        body.contains("tidegate_feature_psi{").then_some(body)
    });
    assert!(
        metrics.contains(r#"tidegate_events_total{model="m",model_version="v1",outcome="counted"} 5000"#),
        "{metrics}"
    );
    let (status, body) = wait_until(LIMIT, "the API", || {
        let answer = replica.get("/api/v1/models/m");
        (answer.0 == 200 && answer.1.contains("v1")).then_some(answer)
    });
    assert_eq!(status, 200, "{body}");
    assert!(replica.get("/").1.contains("<html"));
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}

#[test]
fn errors_and_latencies_of_every_pane_are_those_of_its_events() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "service", 3));
    let mut events = stream(now_ms() - 20_000, 4, 1_000);
    // Per pane: answers, errors, latencies in milliseconds.
    let mut panes: BTreeMap<i64, (u64, u64, Vec<f64>)> = BTreeMap::new();
    for (n, event) in events.iter_mut().enumerate() {
        let latency = 5.0 + (n * 37 % 1_000) as f64;
        let error = if n % 20 == 0 { "\"timeout\"" } else { "null" };
        *event = event.replacen('{', &format!("{{\"latency_ms\":{latency:.1},\"error\":{error},"), 1);
        let parsed: serde_json::Value = serde_json::from_str(event).expect("an event");
        let time = parsed["timestamp"].as_i64().expect("a time");
        let pane = panes.entry(time - time.rem_euclid(1_000)).or_default();
        (pane.0, pane.1) = (pane.0 + 1, pane.1 + u64::from(n % 20 == 0));
        pane.2.push(latency);
    }
    bench.produce(&events);
    let mut replica = bench.serve("a");
    wait_counted(&bench, events.len() as u64);
    let reports = wait_until(LIMIT, "a report of each pane", || {
        let reports: Vec<serde_json::Value> = bench
            .reports()
            .into_iter()
            .filter(|((_, scale, _), _)| *scale == 1)
            .map(|(_, one)| one)
            .collect();
        (reports.len() == panes.len()).then_some(reports)
    });
    for (report, (answers, errors, mut latencies)) in reports.iter().zip(panes.into_values()) {
        let service = &report["service"];
        assert_eq!((&service["answers"], &service["errors"]), (&answers.into(), &errors.into()), "{report}");
        latencies.sort_by(f64::total_cmp);
        assert_eq!(service["latency"]["n"], latencies.len());
        for quantile in service["latency"]["quantiles"].as_array().expect("quantiles") {
            let number = |key: &str| quantile[key].as_f64().expect("a number");
            let rank = (number("level") * latencies.len() as f64).ceil() as usize;
            let exact = latencies[rank - 1] / 1e3;
            assert!((number("seconds") / exact - 1.0).abs() < 0.016, "{quantile}, {exact}");
        }
    }
    let metrics = wait_until(LIMIT, "gauges", || {
        let (_, body) = replica.get("/metrics");
        body.contains("tidegate_request_latency_seconds{").then_some(body)
    });
    let samples = |name: &str| -> Vec<f64> {
        let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(r#"window="1""#));
        lines
            .map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a value"))
            .collect()
    };
    let errors = samples("tidegate_request_errors_ratio{");
    assert!(errors.len() == 1 && (0.04..0.06).contains(&errors[0]), "{errors:?}");
    let latencies = samples("tidegate_request_latency_seconds{");
    assert!(
        latencies.len() == 3 && latencies.iter().all(|value| (0.4..1.1).contains(value)),
        "{latencies:?}"
    );
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}

#[test]
fn two_replicas_share_the_work_and_a_rebalance_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "two", 4));
    let start = now_ms() - 30_000;
    let events = stream(start, 8, 1_000);
    let (early, late) = events.split_at(4_000);
    let first = bench.serve("a");
    bench.produce(early);
    let mut second = bench.serve("b");
    bench.produce(&late[..2_000]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(second.terminate(), Some(0), "{}", second.log());
    bench.produce(&late[2_000..]);
    wait_counted(&bench, events.len() as u64);
    assert_eq!(counted(&bench), brute_force(&events));
    assert_eq!(bench.reports().values().filter(|report| report["complete"] == false).count(), 0);
    drop(first);
}

#[test]
fn a_kill_in_the_middle_loses_and_doubles_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "kill", 4));
    let events = stream(now_ms() - 30_000, 10, 1_000);
    let mut replica = bench.serve("a");
    for (round, chunk) in events.chunks(2_500).enumerate() {
        bench.produce(chunk);
        std::thread::sleep(Duration::from_millis(300 + 250 * round as u64));
        replica.kill();
        replica = bench.serve("a");
    }
    wait_counted(&bench, events.len() as u64);
    assert_eq!(counted(&bench), brute_force(&events));
    assert_eq!(bench.reports().values().filter(|report| report["complete"] == false).count(), 0);
    drop(replica);
}

#[test]
fn aborted_transactions_are_not_counted() {
    let Some(broker) = Broker::shared() else { return };
    use rdkafka::producer::Producer;
    let bench = plain(Bench::new(broker, "aborted", 1));
    let start = now_ms() - 20_000;
    let transactional = bench.events.clone() + "-producer";
    let producer: rdkafka::producer::ThreadedProducer<rdkafka::producer::DefaultProducerContext> =
        broker.client().set("transactional.id", &transactional).create().expect("a producer");
    producer.init_transactions(LIMIT).expect("transactions");
    let send = |count: i64| {
        for event in stream(start, 2, count / 2) {
            let record = rdkafka::producer::BaseRecord::<(), str>::to(&bench.events).payload(&event);
            producer.send(record).map_err(|(error, _)| error).expect("sent");
        }
    };
    producer.begin_transaction().expect("begun");
    send(400);
    producer.abort_transaction(LIMIT).expect("aborted");
    producer.begin_transaction().expect("begun");
    send(600);
    producer.commit_transaction(LIMIT).expect("committed");
    let replica = bench.serve("a");
    wait_counted(&bench, 600);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bench.counted_events(), 600);
    drop(replica);
}

#[test]
fn a_late_event_revises_its_pane_and_a_later_one_is_dropped() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "late", 1)).windows(
        "pane = \"1s\"\nlateness = \"500ms\"\nallowed_lateness = \"4s\"\nflush_interval = \"250ms\"\nidle_timeout = \"2s\"\n",
    );
    let start = (now_ms() - 60_000) / 1_000 * 1_000;
    let replica = bench.serve("a");
    bench.produce(&stream(start, 6, 100));
    wait_until(LIMIT, "five panes", || (bench.counted_events() >= 500).then_some(()));
    bench.produce(&[
        event("v1", "stable", start + 4_200, 3, 0.5),
        event("v1", "stable", start - 30_000, 3, 0.5),
    ]);
    bench.produce(&stream(start + 6_000, 3, 100));
    let pane = wait_until(LIMIT, "a revision", || {
        bench
            .panes()
            .remove(&("v1".to_owned(), "x".to_owned(), start + 4_000))
            .filter(|pane| pane.revision == 1)
    });
    assert_eq!(cells(&pane, 17).iter().sum::<u64>(), 101);
    let metrics = wait_until(LIMIT, "late events in the metrics", || {
        let (_, body) = replica.get("/metrics");
        body.contains(r#"tidegate_late_events_total{outcome="late_dropped"} 1"#).then_some(body)
    });
    assert!(metrics.contains(r#"tidegate_late_events_total{outcome="revised"} 1"#), "{metrics}");
}

#[test]
fn a_poison_message_goes_to_the_dead_letters_with_its_coordinates() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "poison", 2));
    let start = now_ms() - 20_000;
    bench.produce(&stream(start, 3, 100));
    let poison = Message::new("{\"model\": \"m\", tru")
        .partition(1)
        .key("k-1")
        .header("trace", "abc")
        .timestamp(start);
    let early = Message::new(event("v1", "stable", now_ms() + 3_600_000, 1, 0.5)).partition(1);
    let unknown =
        Message::new(event("v1", "stable", start, 1, 0.5).replace("\"m\"", "\"other\"")).partition(1);
    broker.produce(&bench.events, [&poison, &early, &unknown]);
    let replica = bench.serve("a");
    wait_counted(&bench, 300);
    let dead = broker.read_until(&bench.own("dead-letters"), LIMIT, |dead| dead.len() >= 2);
    assert_eq!(dead.len(), 2, "an unknown model is counted, not dead-lettered");
    let letter = dead.iter().find(|one| one.key.is_some()).expect("the poison message");
    assert_eq!(letter.text(), "{\"model\": \"m\", tru");
    assert_eq!((letter.key.as_deref(), letter.timestamp), (Some(b"k-1".as_slice()), Some(start)));
    let header = |name: &str| letter.header(name).unwrap_or_else(|| panic!("header {name}"));
    assert_eq!(header("trace"), "abc");
    assert_eq!(header("__tidegate.errors.topic"), bench.events);
    assert_eq!(header("__tidegate.errors.partition"), "1");
    assert_eq!(header("__tidegate.errors.code"), "unreadable");
    assert_eq!(header("__streams.errors.topic"), bench.events);
    let offset: i64 = header("__tidegate.errors.offset").parse().expect("an offset");
    let source = broker.read_all(&bench.events);
    assert!(source.iter().any(|one| one.partition == 1 && one.offset == offset && one.key.is_some()));
    let other = dead.iter().find(|one| one.key.is_none()).expect("the event of tomorrow");
    assert_eq!(other.header("__tidegate.errors.code").as_deref(), Some("time_out_of_bounds"));
    let metrics = wait_until(LIMIT, "every outcome in the metrics", || {
        let (_, body) = replica.get("/metrics");
        let found = ["unreadable", "time_out_of_bounds", "unknown_model"].iter().all(|outcome| {
            body.contains(&format!(
                r#"tidegate_events_total{{model="",model_version="",outcome="{outcome}"}} 1"#
            ))
        });
        found.then_some(body)
    });
    assert!(metrics.contains(r#"tidegate_dead_letters_total{reason="unreadable"} 1"#), "{metrics}");
}

#[test]
fn missing_topics_are_named_in_one_error() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "missing", 0));
    let path = bench.config("a", 0);
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, text.replace("[topics]\n", "[topics]\ncreate = false\n")).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", path.to_str().expect("UTF-8")])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&bench.events), "the source topic: {said}");
    for topic in
        ["tallies", "panes", "state", "reports", "alerts", "actions", "actions.outcomes", "dead-letters"]
    {
        assert!(said.contains(&bench.own(topic)), "{topic}: {said}");
    }
}

#[test]
fn the_stages_may_run_in_processes_of_their_own() {
    let Some(broker) = Broker::shared() else { return };
    let controller = super::receiver::Receiver::start();
    let bench = rollout(Bench::new(broker, "roles", 2), &controller.url());
    let stages: Vec<_> =
        ["tally", "judge", "notify"].map(|role| bench.spawn_role(role, role)).into_iter().collect();
    wait_until(LIMIT, "every process to be ready", || {
        stages.iter().all(|stage| stage.get("/readyz").0 == 200).then_some(())
    });
    let events = regression(now_ms() - 20_000, 6);
    bench.produce(&events);
    wait_counted(&bench, events.len() as u64);
    wait_until(LIMIT, "the webhook", || (!controller.requests().is_empty()).then_some(()));
    let (_, of_tally) = stages[0].get("/metrics");
    assert!(!of_tally.contains("tidegate_feature_psi{"), "only the judge exports drift");
    let (_, of_judge) = wait_until(LIMIT, "the judge's gauges", || {
        Some(stages[1].get("/metrics")).filter(|(_, body)| body.contains("tidegate_feature_psi{"))
    });
    assert!(!of_judge.contains("tidegate_events_total{"), "only the tally counts events");
}

#[test]
fn a_changed_configuration_is_taken_over_and_a_bad_one_refused() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "reload", 1));
    let start = now_ms() - 30_000;
    let replica = bench.serve("a");
    let path = bench.dir.path().join("a.toml");
    let before = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, format!("{before}\nnonsense = 1\n")).expect("written");
    replica.signal("HUP");
    wait_until(LIMIT, "the refusal", || {
        replica.log().contains("the changed configuration is refused").then_some(())
    });
    let other = baseline(bench.dir.path(), "n", "v1", &["x", "score"], &training(), &["score"]);
    let more = format!("{before}\n[[model]]\nname = \"n\"\nbaselines = {{ v1 = \"{}\" }}\n", other.display());
    std::fs::write(&path, more).expect("written");
    replica.signal("HUP");
    wait_until(LIMIT, "the new configuration", || replica.log().contains("was read again").then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    let events: Vec<String> =
        stream(start, 4, 200).iter().map(|event| event.replace("\"m\"", "\"n\"")).collect();
    bench.produce(&events);
    wait_counted(&bench, events.len() as u64);
    let reloads = replica.get("/metrics").1;
    assert!(reloads.contains("tidegate_config_reloads_total{outcome=\"refused\"} 1"), "{reloads}");
    assert!(reloads.contains("tidegate_config_reloads_total{outcome=\"taken\"} 1"), "{reloads}");
}

#[test]
fn offsets_gone_from_the_log_raise_an_alarm_and_show_in_the_reports() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "retention", 1));
    let events = stream(now_ms() - 40_000, 8, 200);
    let mut replica = bench.serve("a");
    bench.produce(&events[..600]);
    wait_until(LIMIT, "the first flush", || {
        (broker.committed(&bench.group, &bench.events).get(&0) == Some(&600)).then_some(())
    });
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
    bench.produce(&events[600..1_000]);
    broker.delete_before(&bench.events, 0, 800);
    let replica = bench.serve("a");
    bench.produce(&events[1_000..]);
    let counted = events.len() as u64 - 200;
    wait_counted(&bench, counted);
    assert_eq!(
        bench.counted_events(),
        counted,
        "what is gone is not invented, what is there is counted once"
    );
    let metrics = replica.get("/metrics").1;
    let alarm = format!("tidegate_offset_out_of_range_total{{partition=\"0\",topic=\"{}\"}} 1", bench.events);
    assert!(metrics.contains(&alarm), "{metrics}");
    // Every merge partition hears of every flush; there are two.
    assert!(metrics.contains("tidegate_incomplete_flushes_total{kind=\"gap\"} 2"), "{metrics}");
    let reports = bench.reports();
    assert!(reports.values().any(|report| report["complete"] == false), "{reports:#?}");
    assert!(reports.values().any(|report| report["complete"] == true), "panes before the hole are whole");
    wait_until(LIMIT, "an alert", || {
        bench.read_json("alerts").iter().any(|one| one["kind"] == "incomplete").then_some(())
    });
}

#[test]
fn the_broker_may_be_restarted() {
    let Some(broker) = Broker::own() else { return };
    let bench = plain(Bench::new(&broker, "restart", 2));
    let events = stream(now_ms() - 40_000, 6, 500);
    let replica = bench.serve("a");
    bench.produce(&events[..1_500]);
    std::thread::sleep(Duration::from_secs(1));
    broker.kill();
    std::thread::sleep(Duration::from_secs(2));
    broker.restart();
    bench.produce(&events[1_500..]);
    wait_until(2 * LIMIT, "all events in closed panes", || {
        (bench.counted_events() >= events.len() as u64).then_some(())
    });
    assert_eq!(counted(&bench), brute_force(&events));
    drop(replica);
}

/// Two versions: the canary's scores are all high while its inputs are the stable version's.
pub fn regression(start: i64, seconds: i64) -> Vec<String> {
    let mut events = Vec::new();
    for n in 0..seconds * 600 {
        let (time, x) = (start + n * 1_000 / 600, (n / 2) as u64 % VALUES);
        events.push(if n % 2 == 0 {
            event("v1", "stable", time, x, (n % 100) as f64 / 100.0)
        } else {
            event("v2", "canary", time, x, 0.99)
        });
    }
    events
}

pub(super) fn rollout<'a>(bench: Bench<'a>, url: &str) -> Bench<'a> {
    let dir: PathBuf = bench.dir.path().to_owned();
    let of = |version| baseline(&dir, "m", version, &["x", "score"], &training(), &["score"]);
    let secret = dir.join("secret");
    std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").expect("a secret");
    let webhook = format!(
        "[[notify.webhook]]\nname = \"controller\"\nurl = \"{url}\"\nsecret_file = \"{}\"\n",
        secret.display()
    );
    bench
        .model(
            "m",
            &[("v1", of("v1")), ("v2", of("v2"))],
            "mode = \"thresholds\"\n[model.thresholds]\nmin_samples = 200\n",
        )
        .extra(&webhook)
}

#[test]
fn a_bad_canary_is_rolled_back_once_also_after_a_restart() {
    let Some(broker) = Broker::shared() else { return };
    let controller = super::receiver::Receiver::start();
    let bench = rollout(Bench::new(broker, "rollback", 2), &controller.url());
    let start = now_ms() - 20_000;
    let events = regression(start, 8);
    let mut replica = bench.serve("a");
    bench.produce(&events[..3_000]);
    let actions =
        wait_until(LIMIT, "an action", || Some(bench.read_json("actions")).filter(|all| !all.is_empty()));
    assert_eq!(actions[0]["action"], "rollback", "{actions:#?}");
    assert_eq!(actions[0]["idempotency_key"], "default/m/v2/rollback");
    wait_until(LIMIT, "the webhook", || (!controller.requests().is_empty()).then_some(()));
    replica.kill();
    let replica = bench.serve("a");
    bench.produce(&events[3_000..]);
    wait_counted(&bench, events.len() as u64);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bench.read_json("actions").len(), 1, "one action for one rollout and kind");
    let keys: std::collections::BTreeSet<String> =
        controller.requests().iter().map(|request| request.id.clone()).collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), vec!["default/m/v2/rollback".to_owned()]);
    for request in controller.requests() {
        assert!(request.is_signed_with(b"01234567890123456789012345678901"), "{request:?}");
        assert_eq!(request.body["specversion"], "1.0");
        assert_eq!(request.body["data"]["action"], "rollback");
    }
    let outcomes = wait_until(LIMIT, "an outcome", || {
        Some(bench.read_json("actions.outcomes")).filter(|all| !all.is_empty())
    });
    assert_eq!(outcomes[0]["outcome"], "delivered");
    drop(replica);
}
