//! Accounts and stored panes on a real broker: what the API and the commands read back.

use super::broker::{Broker, Message};
use super::cli_tests::CLOSED_PIPE;
use super::serve_tests::{event, now_ms, plain, stream, wait_counted};
use super::service::{Bench, LIMIT};
use serde_json::Value;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The accounts, once their sources have been judged up to `ends`.
fn accounts(ask: impl Fn() -> Option<Value>, ends: &[i64], log: impl Fn() -> String) -> Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = ask();
        let is_end = |found: &Value| {
            let sources = found["sources"].as_array().expect("sources");
            sources.len() == ends.len() && sources.iter().zip(ends).all(|(one, end)| one["next"] == *end)
        };
        match found {
            Some(found) if is_end(&found) => return found,
            found => {
                assert!(Instant::now() < deadline, "not {ends:?} in {LIMIT:?}: {found:#?}\n{}", log());
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn every_offset_is_accounted_for_and_a_hole_is_told() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "accounts", 2));
    let events = stream(now_ms() - 40_000, 8, 200);
    let to = |partition: i32| move |event: &String| Message::new(event.as_bytes()).partition(partition);
    let config = bench.config("cli", 0);
    let config = config.to_str().expect("a path");
    let mut replica = bench.serve("a");
    assert_eq!(tidegate(&["accounting", config]).status.code(), Some(1), "nothing was counted yet");
    broker.produce(&bench.events, &events[..600].iter().map(to(0)).collect::<Vec<_>>());
    broker.produce(&bench.events, &[Message::new("no event").partition(1), Message::default().partition(1)]);
    broker.produce(
        &bench.events,
        &[Message::new(r#"{"model":"other","model_version":"v1","features":{}}"#).partition(1)],
    );
    let api = || {
        let (status, body) = replica.get("/api/v1/accounting");
        (status == 200).then(|| serde_json::from_str(&body).expect("JSON"))
    };
    let found = accounts(api, &[600, 3], || replica.log());
    assert_eq!(
        (&found["adds_up"], &found["sources"][0]["records"]),
        (&true.into(), &600.into()),
        "{found:#}"
    );
    let outcomes = serde_json::json!({"unreadable": 1, "tombstone": 1, "unknown_model": 1});
    assert_eq!(
        (&found["sources"][1]["outcomes"], &found["sources"][1]["not_records"]),
        (&outcomes, &0.into())
    );
    let printed = tidegate(&["accounting", config]);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let table = text(&printed.stdout);
    assert!(table.contains("everything adds up") && table.contains("counted 600"), "{table}");

    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
    broker.produce(&bench.events, &events[600..1_000].iter().map(to(0)).collect::<Vec<_>>());
    broker.delete_before(&bench.events, 0, 800);
    let restarted = bench.serve("a");
    broker.produce(&bench.events, &events[1_000..].iter().map(to(0)).collect::<Vec<_>>());
    let ask = || serde_json::from_slice(&tidegate(&["accounting", config, "--json"]).stdout).ok();
    let found = accounts(ask, &[1_600, 3], || restarted.log());
    let source = &found["sources"][0];
    assert_eq!(source["missing"], serde_json::json!({"offsets": 200, "ranges": 1, "newest": [[600, 800]]}));
    assert_eq!((&source["records"], &source["not_records"]), (&1_400.into(), &0.into()), "{found:#}");
    let printed = tidegate(&["accounting", config]);
    assert_eq!(printed.status.code(), Some(1));
    assert!(text(&printed.stdout).contains("offsets 600 to 799"), "{}", text(&printed.stdout));
    let nowhere = tidegate(&["accounting", "/nowhere.toml"]);
    assert_eq!(nowhere.status.code(), Some(64), "{}", text(&nowhere.stderr));
}

#[test]
fn any_stretch_of_the_past_is_read_and_judged_again() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "past", 1));
    // On a pane boundary, so that every pane is whole.
    let start = (now_ms() - 60_000) / 4_000 * 4_000;
    let events = stream(start, 12, 200);
    let replica = bench.serve("a");
    bench.produce(&events);
    wait_counted(&bench, events.len() as u64);
    let time = |ms: i64| tidegate::event::EventTime(ms).to_rfc3339();
    let (from, to) = (time(start), time(start + 10_000));
    let config = bench.config("cli", 0);
    let config = config.to_str().expect("a path");
    let range = ["panes", config, "--model", "m", "--from", &from, "--to", &to];

    let path = format!("/api/v1/models/m/panes?from={from}&to={to}&series=x");
    let (status, body) = replica.get(&path);
    assert_eq!(status, 200, "{body}");
    let answered: Value = serde_json::from_str(&body).expect("JSON");
    let panes = answered["panes"].as_array().expect("panes");
    assert_eq!(panes.len(), 10);
    for pane in panes {
        // 200 events a second: 25 of each of the 8 values, each in its own cell.
        assert_eq!((&pane["events"]["stable"], &pane["series"][0]["n"]), (&200.into(), &200.into()));
        let cells: Vec<Value> = (0..8).map(|value| serde_json::json!([2 * value + 1, 25])).collect();
        assert_eq!((&pane["series"][0]["name"], &pane["series"][0]["cells"]), (&"x".into(), &cells.into()));
    }
    let too_large = format!("/api/v1/models/m/panes?from={from}&to={to}&limit=5");
    let (status, body) = replica.get(&too_large);
    assert!(status == 400 && body.contains("shorter time"), "{status} {body}");
    let printed = json(&tidegate(&[&range[..], &["--json", "--series", "x"]].concat()));
    assert_eq!(printed, answered);
    let sums = json(&tidegate(&[&range[..], &["--json", "--length", "4"]].concat()));
    assert_eq!(sums["panes"][0]["events"]["stable"], 800, "{sums:#}");
    assert_eq!(sums["panes"].as_array().map(Vec::len), Some(3), "{sums:#}");

    let judged =
        |more: &[&str]| json(&tidegate(&[&range[..], &["--judge"], more].concat()))["reports"][0].clone();
    let report = judged(&[]);
    assert_eq!((&report["events"], &report["window"]["panes"]), (&2_000.into(), &10.into()), "{report:#}");
    assert_eq!((&report["verdict"], &report["complete"]), (&"healthy".into(), &true.into()));
    assert_eq!(judged(&["--psi-drift", "0.000000001", "--psi-warning", "0.000000001"])["verdict"], "drift");
    assert_eq!(judged(&["--min-samples", "2001"])["verdict"], "inconclusive");
    // The live report of the same four panes says the same.
    let four = ["panes", config, "--model", "m", "--from", &from, "--to", &time(start + 4_000), "--judge"];
    let again = json(&tidegate(&four))["reports"][0].clone();
    let live = &bench.reports()[&("v1".to_owned(), 4, from.clone())];
    assert_eq!(again["series"], live["series"]);
    let crooked =
        tidegate(&["panes", config, "--model", "m", "--from", &time(start + 1), "--to", &to, "--judge"]);
    assert!(text(&crooked.stderr).contains("pane boundaries"), "{}", text(&crooked.stderr));

    for unread in [&["--json"][..], &[], &["--judge"]] {
        let output = super::cli_tests::unread(&[&range[..], unread].concat());
        assert_eq!((output.status.code(), text(&output.stderr)), (CLOSED_PIPE, String::new()), "{unread:?}");
    }
    let output = super::cli_tests::unread(&["accounting", config]);
    assert_eq!((output.status.code(), text(&output.stderr)), (CLOSED_PIPE, String::new()));
    let refused = |more: &[&str]| {
        let output = tidegate(&[&range[..], more].concat());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{more:?}");
        text(&output.stderr)
    };
    let unknown = "version v9 of model m is not configured";
    assert!(refused(&["--version", "v9"]).contains(unknown));
    assert!(refused(&["--version", "v9", "--judge"]).contains(unknown));
    assert!(refused(&["--series", "nope"]).contains("in the baselines: x, score"));
    assert_eq!(tidegate(&[&range[..], &["--series", "score"]].concat()).status.code(), Some(0));
}

/// The lower and the upper half of the values come in turns, pane by pane: usual for this traffic, and drift for a
/// baseline that knows nothing of it.
#[test]
fn what_is_usual_is_proposed_from_stored_panes_and_accepted_by_the_configuration() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "noise", 1));
    // Whole sums of 16 panes, all closed by now.
    let start = (now_ms() - 130_000) / 16_000 * 16_000;
    let x = |n: i64| (n % 4 + n / 400 % 2 * 4) as u64;
    let one = |n: i64| event("v1", "stable", start + n * 1_000 / 400, x(n), (n % 100) as f64 / 100.0);
    let events: Vec<String> = (0..96 * 400).map(one).collect();
    let mut replica = bench.serve("a");
    let config = bench.config("cli", 0);
    let path = config.to_str().expect("a path");
    let propose = |more: &[&str]| tidegate(&[&["noise", path, "--model", "m", "--days", "1"], more].concat());
    let early = propose(&[]);
    assert_eq!(early.status.code(), Some(1));
    assert!(text(&early.stderr).contains("it takes 20 with 50 values"), "{}", text(&early.stderr));
    bench.produce(&events);
    wait_counted(&bench, events.len() as u64);
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());

    let output = propose(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let proposal = text(&output.stdout);
    assert!(proposal.contains("38400") && proposal.contains("too few"), "{proposal}");
    let (_, fragment) = proposal.split_once("[[model]] of m:\n").expect("what to add");
    assert!(
        fragment.contains("series = \"x\"\nks = { 1 = 0.4") && fragment.contains("\npsi = { 1 = "),
        "{fragment}"
    );
    assert!(!fragment.contains("\"score\""), "{fragment}");

    let (from, to) = (start + 1_000, start + 2_000);
    let [from, to] = [from, to].map(|ms| tidegate::event::EventTime(ms).to_rfc3339());
    let judged = |path: &str| {
        let range = ["panes", path, "--model", "m", "--from", &from, "--to", &to, "--judge"];
        let report = json(&tidegate(&range))["reports"][0].clone();
        let all = report["series"].as_array().expect("series").clone();
        (report["verdict"].clone(), all.into_iter().find(|one| one["name"] == "x").expect("x"))
    };
    let (verdict, before) = judged(path);
    assert_eq!((&verdict, &before["effect"]["tolerance_from"]), (&"drift".into(), &"default".into()));
    let accepted = bench.dir.path().join("accepted.toml");
    let whole = std::fs::read_to_string(&config).expect("the configuration");
    std::fs::write(&accepted, format!("{whole}\n{fragment}")).expect("written");
    let (verdict, after) = judged(accepted.to_str().expect("a path"));
    assert_eq!((&verdict, &after["effect"]["tolerance_from"]), (&"healthy".into(), &"configuration".into()));
    assert!(after["effect"]["tolerance"].as_f64() > Some(0.4), "{after}");
}
