//! Bad input on a real Apache Kafka: every record ends in one outcome, nothing stops the service, and the good
//! events around it are all counted.

use super::broker::{Broker, Message, wait_until};
use super::service::{Bench, LIMIT, baseline};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate::decode::MAX_EVENT_BYTES;

const WINDOWS: &str =
    "pane = \"1s\"\nlateness = \"500ms\"\nflush_interval = \"250ms\"\nidle_timeout = \"2s\"\n";

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

fn plain(bench: Bench<'_>) -> Bench<'_> {
    let rows: Vec<Vec<String>> = (0..800)
        .map(|row| vec![(row % 8).to_string(), format!("{}", f64::from(row % 100) / 100.0)])
        .collect();
    let path = baseline(bench.dir.path(), "m", "v1", &["x", "score"], &rows, &["score"]);
    bench.model("m", &[("v1", path)], "")
}

/// An event whose `timestamp` is this JSON text.
fn event_at(timestamp: &str) -> String {
    format!(
        r#"{{"model":"m","model_version":"v1","timestamp":{timestamp},"features":{{"x":3}},"predictions":{{"score":0.5}}}}"#
    )
}

/// Good events, a second's worth per 100, from `start`.
fn good(start: i64, count: i64) -> Vec<Message> {
    (0..count).map(|n| Message::new(event_at(&(start + n * 10).to_string()))).collect()
}

/// A good event of exactly so many bytes.
fn padded(start: i64, bytes: usize) -> String {
    let event = event_at(&start.to_string());
    let tail = r#","padding":""}"#;
    let fill = bytes - event.len() + 1 - tail.len();
    let text = format!(
        "{}{}{}{}",
        &event[..event.len() - 1],
        &tail[..tail.len() - 2],
        "p".repeat(fill),
        &tail[tail.len() - 2..]
    );
    assert_eq!(text.len(), bytes);
    text
}

/// Each bad message with the outcome it must end in.
fn zoo(start: i64, now: i64) -> Vec<(&'static str, Message)> {
    let deep = format!(
        r#"{{"model":"m","model_version":"v1","features":{{"x":{}1{}}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let mut cut_utf8 = event_at(&start.to_string()).into_bytes();
    cut_utf8.splice(10..11, [0xe2, 0x82]);
    let twice = format!(
        r#"{{"model":"other","model":"m","model_version":"v1","timestamp":{start},"features":{{"x":1,"x":2}}}}"#
    );
    let many_headers =
        (0..1_000).fold(Message::new("junk"), |message, n| message.header(&format!("h{n}"), "v"));
    let at = |text: String| Message::new(event_at(&text));
    vec![
        ("counted", Message::new(padded(start, MAX_EVENT_BYTES))),
        ("unreadable", Message::new(padded(start, MAX_EVENT_BYTES + 1)).key("large")),
        ("unreadable", Message::new(deep)),
        ("unreadable", Message::new(cut_utf8)),
        ("counted", Message::new(twice)),
        ("tombstone", Message { key: Some(b"gone".to_vec()), ..Message::default() }),
        ("counted", Message::new(event_at(&start.to_string())).key("")),
        ("unreadable", Message::new("")),
        ("unreadable", Message::new("[1, 2]")),
        ("unreadable", Message::new("junk").key(vec![b'k'; 100_000])),
        ("unreadable", many_headers.key("many")),
        ("unreadable", at("1e400".to_owned())),
        ("counted", at((now + 240_000).to_string())),
        ("time_out_of_bounds", at((now + 420_000).to_string())),
        ("time_out_of_bounds", at("0".to_owned())),
        ("time_out_of_bounds", at("-1".to_owned())),
        ("time_out_of_bounds", at(format!("\"{start}\""))),
        ("time_out_of_bounds", at("true".to_owned())),
        // The unit of a number is told by its magnitude.
        ("counted", at(format!("{start}000000"))),
        ("counted", at((start / 1_000).to_string())),
        ("counted", at("null".to_owned())),
        ("unknown_model", Message::new(event_at(&start.to_string()).replace("\"m\"", "\"n\""))),
        ("unknown_version", Message::new(event_at(&start.to_string()).replace("\"v1\"", "\"v9\""))),
    ]
}

fn add_up<'a>(outcomes: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    outcomes.for_each(|outcome| *sums.entry(outcome.to_owned()).or_default() += 1);
    sums
}

#[test]
fn every_kind_of_bad_message_ends_in_its_outcome_and_the_good_ones_are_counted() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "zoo", 0)).windows(&format!("{WINDOWS}max_past = \"1h\"\n"));
    broker.create_topic_with(&bench.events, 2, &[("max.message.bytes", "12000000")]);
    let now = now_ms();
    let start = now - 20_000;
    let zoo = zoo(start, now);
    let producer = broker.producer(&[
        ("message.max.bytes", "12000000"),
        ("compression.type", "none"),
        ("linger.ms", "0"),
    ]);
    let mut expected = add_up(zoo.iter().map(|(outcome, _)| *outcome));
    for (n, (_, message)) in zoo.iter().enumerate() {
        for one in good(start + n as i64 * 100, 10) {
            producer.send(&bench.events, &one.partition(n as i32 % 2));
        }
        producer.send(&bench.events, &message.clone().partition(n as i32 % 2));
    }
    producer.flush();
    *expected.entry("counted".to_owned()).or_default() += 10 * zoo.len() as u64;
    let replica = bench.serve("a");
    let total: u64 = expected.values().sum();
    wait_until(LIMIT, "all outcomes", || (replica.outcomes().values().sum::<u64>() >= total).then_some(()));
    assert_eq!(replica.outcomes(), expected);
    wait_until(LIMIT, "all counted events in closed panes", || {
        (bench.counted_events() >= expected["counted"]).then_some(())
    });
    assert_eq!(bench.counted_events(), expected["counted"]);
    let committed: i64 = broker.committed(&bench.group, &bench.events).values().sum();
    assert_eq!(committed as u64, total, "every offset is behind us");
    check_letters(broker, &bench, expected["unreadable"] + expected["time_out_of_bounds"]);
}

/// Every dead letter names a record of the source topic, and is it, as far as the caps let it.
fn check_letters(broker: &Broker, bench: &Bench<'_>, expected: u64) {
    let source = broker.read_all(&bench.events);
    let letters = broker.read_all(&bench.own("dead-letters"));
    assert_eq!(letters.len() as u64, expected);
    let mut cuts = Vec::new();
    for letter in &letters {
        let header = |name: &str| letter.header(name).unwrap_or_else(|| panic!("header {name}"));
        let number = |name: &str| header(name).parse::<i64>().expect("a number");
        let place = (number("__tidegate.errors.partition"), number("__tidegate.errors.offset"));
        let of =
            source.iter().find(|one| (i64::from(one.partition), one.offset) == place).expect("its source");
        let (value, whole) = (letter.value.as_deref().unwrap_or(b""), of.value.as_deref().unwrap_or(b""));
        assert_eq!(value, &whole[..whole.len().min(512 * 1024)]);
        let (key, whole) = (letter.key.as_deref().unwrap_or(b""), of.key.as_deref().unwrap_or(b""));
        assert_eq!(key, &whole[..whole.len().min(16 * 1024)]);
        assert_eq!(letter.timestamp, of.timestamp);
        assert_eq!(header("__tidegate.errors.topic"), bench.events);
        assert_eq!(header("__tidegate.errors.code"), header("__streams.errors.exception"));
        assert!(!header("__tidegate.errors.message").contains("junk"), "no payload in a reason");
        let cut = header("__tidegate.errors.cut");
        assert_eq!(header("__tidegate.errors.truncated"), (!cut.is_empty()).to_string());
        if !cut.is_empty() {
            cuts.push(cut);
        }
        let own = letter.headers.iter().filter(|(name, _)| !name.starts_with("__")).count();
        assert_eq!(own, of.headers.len().min(256));
    }
    cuts.sort();
    assert_eq!(cuts, ["headers", "key", "value"]);
}

#[test]
fn events_in_every_compression_codec_are_counted() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "codecs", 1));
    let start = now_ms() - 20_000;
    for (n, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let producer = broker.producer(&[("compression.type", codec), ("linger.ms", "50")]);
        good(start + n as i64 * 1_000, 100).iter().for_each(|one| producer.send(&bench.events, one));
        producer.flush();
    }
    let replica = bench.serve("a");
    wait_until(LIMIT, "500 events", || (bench.counted_events() >= 500).then_some(()));
    assert_eq!(replica.outcomes(), BTreeMap::from([("counted".to_owned(), 500)]));
}

#[test]
fn without_a_bound_on_the_past_an_event_of_1970_is_late_and_holds_nothing_up() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "epoch", 1));
    let start = now_ms() - 20_000;
    let replica = bench.serve("a");
    broker.produce(&bench.events, &good(start, 300));
    wait_until(LIMIT, "300 events", || (bench.counted_events() >= 300).then_some(()));
    broker.produce(&bench.events, &[Message::new(event_at("0")), Message::new(event_at("-1"))]);
    broker.produce(&bench.events, &good(start + 10_000, 300));
    wait_until(LIMIT, "600 events", || (bench.counted_events() >= 600).then_some(()));
    let late = "tidegate_late_events_total{outcome=\"late_dropped\"}";
    wait_until(LIMIT, "two late events", || (replica.metric(late) == Some(2.0)).then_some(()));
    assert_eq!(replica.outcomes(), BTreeMap::from([("counted".to_owned(), 602)]));
}

/// A topic for dead letters that takes no message above `max` bytes.
fn strict<'a>(broker: &'a Broker, name: &str, max: &str) -> Bench<'a> {
    let bench = plain(Bench::new(broker, name, 1));
    broker.create_topic_with(&bench.own("dead-letters"), 2, &[("max.message.bytes", max)]);
    bench
}

#[test]
fn a_refused_dead_letter_is_written_as_headers_and_does_not_hold_the_flush() {
    let Some(broker) = Broker::shared() else { return };
    let bench = strict(broker, "refused", "4000");
    let start = now_ms() - 20_000;
    broker.produce(&bench.events, &good(start, 200));
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(20_000).collect();
    broker.produce(&bench.events, &[Message::new(noise).key("k")]);
    broker.produce(&bench.events, &good(start + 2_000, 200));
    let replica = bench.serve("a");
    wait_until(LIMIT, "400 events", || (bench.counted_events() >= 400).then_some(()));
    let letters = broker.read_until(&bench.own("dead-letters"), LIMIT, |letters| !letters.is_empty());
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].key, &letters[0].value), (&None, &None));
    assert_eq!(letters[0].header("__tidegate.errors.offset").as_deref(), Some("200"));
    assert_eq!(letters[0].header("__tidegate.errors.cut").as_deref(), Some("value,key"));
    assert_eq!(bench.counted_events(), 400, "nothing is counted twice");
    assert_eq!(replica.outcomes()["unreadable"], 1);
    assert!(replica.log().contains("the dead-letter topic refused a dead letter"), "{}", replica.log());
}

#[test]
fn dead_letters_that_are_refused_even_as_headers_are_counted() {
    let Some(broker) = Broker::shared() else { return };
    let bench = strict(broker, "shut", "100");
    broker.produce(&bench.events, &good(now_ms() - 20_000, 200));
    broker.produce(&bench.events, &[Message::new("junk"), Message::new("more junk")]);
    let replica = bench.serve("a");
    let sample =
        format!("tidegate_dead_letters_refused_total{{reason=\"unreadable\",topic=\"{}\"}}", bench.events);
    wait_until(LIMIT, "two refused letters", || (replica.metric(&sample) == Some(2.0)).then_some(()));
    wait_until(LIMIT, "200 events", || (bench.counted_events() >= 200).then_some(()));
    assert_eq!(
        replica.outcomes(),
        BTreeMap::from([("counted".to_owned(), 200), ("unreadable".to_owned(), 2)])
    );
    assert_eq!(broker.read_all(&bench.own("dead-letters")).len(), 0);
}

/// Messages that are no events.
fn bad(count: usize) -> Vec<Message> {
    (0..count).map(|n| Message::new(format!("no event {n}"))).collect()
}

#[test]
fn a_flood_of_bad_messages_is_dead_lettered_within_the_budget_and_told_once() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "flood", 1)).extra("[dead_letters]\nper_second = 1\n");
    let start = now_ms() - 20_000;
    broker.produce(&bench.events, &good(start, 500));
    broker.produce(&bench.events, &bad(400));
    let replica = bench.serve("a");
    wait_until(LIMIT, "all outcomes", || (replica.outcomes().values().sum::<u64>() == 900).then_some(()));
    broker.produce(&bench.events, &bad(400));
    broker.produce(&bench.events, &good(start + 5_000, 500));
    wait_until(LIMIT, "all outcomes", || (replica.outcomes().values().sum::<u64>() == 1_800).then_some(()));
    let expected = BTreeMap::from([("counted".to_owned(), 1_000), ("unreadable".to_owned(), 800)]);
    assert_eq!(replica.outcomes(), expected);
    wait_until(LIMIT, "1000 events", || (bench.counted_events() >= 1_000).then_some(()));
    let letters = broker.read_all(&bench.own("dead-letters")).len() as f64;
    assert!((10.0..=100.0).contains(&letters), "ten at once and one a second, not {letters}");
    assert_eq!(replica.metric("tidegate_dead_letters_total{reason=\"unreadable\"}"), Some(letters));
    let over = format!(
        "tidegate_dead_letters_over_budget_total{{reason=\"unreadable\",topic=\"{}\"}}",
        bench.events
    );
    assert_eq!(replica.metric(&over), Some(800.0 - letters));
    let alerts = bench.read_json("alerts");
    let told: Vec<_> = alerts.iter().filter(|one| one["kind"] == "schema_break").collect();
    assert_eq!(told.len(), 1, "{alerts:#?}");
    assert_eq!(
        (told[0]["topic"].as_str(), told[0]["findings"][0]["name"].as_str()),
        (Some(bench.events.as_str()), Some("unreadable"))
    );
    let listed = wait_until(LIMIT, "the alert in the API", || {
        let (_, body) = replica.get("/api/v1/models");
        let body: serde_json::Value = serde_json::from_str(&body).ok()?;
        body["alerts"].get(0).cloned()
    });
    assert_eq!(listed["alert_id"], told[0]["alert_id"]);
}

#[test]
fn a_topic_may_be_stopped_by_its_schema_break_while_others_go_on() {
    let Some(broker) = Broker::shared() else { return };
    let other = broker.unique("calm");
    broker.create_topic(&other, 1);
    let bench =
        plain(Bench::new(broker, "stop", 1)).also(&other).extra("[dead_letters]\non_budget = \"pause\"\n");
    let start = now_ms() - 20_000;
    broker.produce(&bench.events, &good(start, 100));
    broker.produce(&bench.events, &bad(300));
    let replica = bench.serve("a");
    let stopped = format!("tidegate_topic_stopped{{topic=\"{}\"}}", bench.events);
    wait_until(LIMIT, "the topic to stop", || (replica.metric(&stopped) == Some(1.0)).then_some(()));
    let rebalances = replica.metric("tidegate_rebalances_total{stage=\"tally\"}");
    broker.produce(&bench.events, &good(start + 1_000, 200));
    broker.produce(&other, &good(start, 500));
    wait_until(LIMIT, "the other topic", || (replica.outcomes().get("counted") == Some(&600)).then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(replica.outcomes()["counted"], 600, "nothing more of the stopped one");
    assert_eq!(broker.committed(&bench.group, &bench.events).get(&0), Some(&400));
    assert_eq!(
        replica.metric("tidegate_rebalances_total{stage=\"tally\"}"),
        rebalances,
        "the group saw nothing"
    );
    let alerts = bench.read_json("alerts");
    assert!(alerts[0]["reason"].as_str().is_some_and(|reason| reason.contains("stops")), "{alerts:#?}");
    replica.signal("HUP");
    wait_until(LIMIT, "the stopped topic to go on", || (replica.metric(&stopped) == Some(0.0)).then_some(()));
    wait_until(LIMIT, "800 events", || (bench.counted_events() >= 800).then_some(()));
    let expected = BTreeMap::from([("counted".to_owned(), 800), ("unreadable".to_owned(), 300)]);
    assert_eq!(replica.outcomes(), expected);
    assert_eq!(bench.counted_events(), 800);
}

#[test]
fn a_schema_break_may_end_the_service_with_a_sentence() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "end", 1)).extra("[dead_letters]\non_budget = \"fail\"\n");
    broker.produce(&bench.events, &bad(300));
    // It may end before it is ready.
    let mut replica = bench.spawn("a");
    let said = format!("300 of 300 records of topic {} in the last minute were unreadable", bench.events);
    wait_until(LIMIT, "the end", || replica.log().contains(&said).then_some(()));
    assert_eq!(replica.terminate(), Some(1));
    assert!(replica.log().contains(&said), "{}", replica.log());
    assert_eq!(broker.committed(&bench.group, &bench.events).get(&0), Some(&300), "counted before it ended");
}
