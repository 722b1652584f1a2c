//! The canary's weight, told over HTTP or configured by a reload, and what follows from a split that is not as set.

use super::acls::{Operation, Resource, grant, revoke};
use super::broker::{Broker, wait_until};
use super::security_tests::{ALICE, by_scram, minimal};
use super::serve_tests::{event, now_ms, training};
use super::service::{Bench, LIMIT, Replica, baseline};
use prost::Message as _;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use tidegate::event::EventTime;
use tidegate::tally::record::PaneRecord;

const TOKEN: &str = "weights of a test";
const PER_SECOND: i64 = 200;
/// A minute in which the rollout begins, and some panes more.
const SECONDS: i64 = 90;
const HOUR_MS: i64 = 3_600_000;

fn with_models<'a>(mut bench: Bench<'a>, names: &[&str]) -> Bench<'a> {
    for name in names {
        let of =
            |version| baseline(bench.dir.path(), name, version, &["x", "score"], &training(), &["score"]);
        let files = [("v1", of("v1")), ("v2", of("v2"))];
        bench = bench.model(name, &files, "");
    }
    bench
}

fn with_token(bench: Bench<'_>) -> Bench<'_> {
    let file = bench.dir.path().join("token");
    std::fs::write(&file, TOKEN).expect("written");
    let token =
        format!("[[http.token]]\nname = \"controller\"\nfile = \"{}\"\nscope = \"admin\"\n", file.display());
    bench.extra(&token)
}

/// Events of one model over [`SECONDS`]: of every ten, `canaries` are served by the canary, all answered alike.
fn split(model: &str, start: i64, canaries: i64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(start as u64);
    let one = |n: i64| {
        let (version, role) = if n % 10 < canaries { ("v2", "canary") } else { ("v1", "stable") };
        let (x, score) = (random.u64(..8), random.u32(..100) as f64 / 100.0);
        let event = event(version, role, start + n * 1_000 / PER_SECOND, x, score);
        event.replace("\"m\"", &format!("\"{model}\""))
    };
    (0..SECONDS * PER_SECOND).map(one).collect()
}

fn put(replica: &Replica, model: &str, body: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", replica.port())).expect("the service");
    let request = format!(
        "PUT /api/v1/models/{model}/weight HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    (status, serde_json::from_str(body).expect("JSON"))
}

/// Actions about a wrong split, by their models.
fn wrong_splits(bench: &Bench<'_>) -> Vec<(String, String)> {
    let is_split = |action: &&serde_json::Value| action["findings"][0]["name"] == "traffic";
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let actions = bench.read_json("actions");
    actions
        .iter()
        .filter(is_split)
        .map(|one| (text(&one["rollout"]["model"]), text(&one["reason"])))
        .collect()
}

/// Waits until so many events of all models are in closed panes.
fn wait_counted(bench: &Bench<'_>, events: usize) {
    wait_until(LIMIT, &format!("{events} events in closed panes"), || {
        let mut panes = BTreeMap::new();
        for record in bench.broker.read_all(&bench.own("panes")) {
            let pane = PaneRecord::decode(record.value?.as_slice()).expect("a pane record");
            let events =
                pane.roles.filter(|_| pane.panes == 1).map_or(0, |roles| roles.stable + roles.canary);
            panes.insert(record.key, events);
        }
        (panes.into_values().sum::<u64>() >= events as u64).then_some(())
    });
}

#[test]
fn a_split_that_is_not_as_told_pauses_also_after_kills_and_one_that_is_does_not() {
    let Some(broker) = Broker::shared() else { return };
    let bench = with_token(with_models(Bench::new(broker, "weights", 2), &["right", "wrong", "silent"]));
    let mut replica = bench.serve("a");
    let since = EventTime(now_ms() - HOUR_MS).to_rfc3339();
    for model in ["right", "wrong"] {
        let (status, told) =
            put(&replica, model, &format!("{{\"canary_weight\": 0.1, \"since\": \"{since}\"}}"));
        assert_eq!((status, &told["since"]), (200, &since.as_str().into()), "{told}");
        assert_eq!((&told["model"], &told["canary_weight"]), (&model.into(), &0.1.into()));
    }
    assert_eq!(put(&replica, "other", "{\"canary_weight\": 0.1}").0, 404);
    let ahead = EventTime(now_ms() + HOUR_MS).to_rfc3339();
    assert_eq!(put(&replica, "right", &format!("{{\"canary_weight\": 2, \"since\": \"{ahead}\"}}")).0, 422);
    // What was answered is written, whatever becomes of who answered.
    replica.kill();
    let mut replica = bench.serve("a");
    let start = now_ms() - (SECONDS + 10) * 1_000;
    let of =
        [("right", 1), ("wrong", 3), ("silent", 3)].map(|(model, canaries)| split(model, start, canaries));
    // As time goes.
    let events: Vec<String> =
        (0..of[0].len()).flat_map(|n| of.iter().map(move |one| one[n].clone())).collect();
    let half = events.len() / 2;
    bench.produce(&events[..half]);
    wait_counted(&bench, half * 9 / 10);
    replica.kill();
    let mut replica = bench.serve("a");
    bench.produce(&events[half..]);
    let found = wait_until(LIMIT, "an action about the split", || {
        Some(wrong_splits(&bench)).filter(|found| !found.is_empty())
    });
    let reason = &found[0].1;
    assert!(reason.contains("% of the traffic where 10.0 % is set (p = "), "{reason}");
    wait_counted(&bench, events.len());
    let gauge = r#"tidegate_rollout_weight_ratio{model="right",model_namespace="default"}"#;
    assert_eq!(replica.metric(gauge), Some(0.1));
    assert_eq!(replica.metric(&gauge.replace("right", "silent")), None);
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
    let models: Vec<String> = wrong_splits(&bench).into_iter().map(|(model, _)| model).collect();
    assert_eq!(models, ["wrong"]);
}

#[test]
fn a_weight_that_a_reload_configures_counts() {
    let Some(broker) = Broker::shared() else { return };
    let bench = with_models(Bench::new(broker, "configured", 1), &["wrong"]);
    let replica = bench.serve("a");
    let path = bench.dir.path().join("a.toml");
    let before = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, format!("{before}\n[model.policy]\ncanary_weight = 0.1\n")).expect("written");
    replica.signal("HUP");
    wait_until(LIMIT, "the new configuration", || replica.log().contains("was read again").then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let events = split("wrong", now_ms() - (SECONDS + 10) * 1_000, 3);
    bench.produce(&events);
    wait_until(LIMIT, "an action about the split", || (!wrong_splits(&bench).is_empty()).then_some(()));
}

#[test]
fn the_minimal_permissions_are_enough_to_tell_a_weight_and_a_missing_one_is_named() {
    let Some(broker) = Broker::secure() else { return };
    let bench = with_token(with_models(by_scram(Bench::new(broker, "telling", 1)), &["right"]));
    let acls = minimal(&bench);
    grant(&broker.address(), ALICE, &acls);
    let replica = bench.serve("a");
    let (status, told) = put(&replica, "right", "{\"canary_weight\": 0.1}");
    assert_eq!(status, 200, "{told}");
    let gauge = r#"tidegate_rollout_weight_ratio{model="right",model_namespace="default"}"#;
    bench.produce(&split("right", now_ms() - (SECONDS + 10) * 1_000, 1));
    wait_until(LIMIT, "the weight at the judge", || (replica.metric(gauge) == Some(0.1)).then_some(()));
    let writing =
        acls.iter().find(|acl| (acl.resource, acl.operation) == (Resource::Topic, Operation::Write));
    revoke(&broker.address(), ALICE, writing.expect("a permission to write"));
    let (status, refused) = put(&replica, "right", "{\"canary_weight\": 0.2}");
    assert_eq!(status, 503, "{refused}");
    let sentence = format!("the principal may not Write to Topic {}: grant Write", bench.own("tallies"));
    assert!(refused["detail"].as_str().is_some_and(|said| said.contains(&sentence)), "{refused}");
}
