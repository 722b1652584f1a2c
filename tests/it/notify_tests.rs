//! Notify on a real broker: receivers that fail in every way delay nothing else, crashes keep one key, and what
//! is superseded or expired is not sent.

use super::broker::{Broker, Message, wait_until};
use super::receiver::{Behaviour, Receiver};
use super::serve_tests::{now_ms, regression, training, wait_counted};
use super::service::{Bench, LIMIT, Replica, baseline, free_port};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidegate::event::EventTime;
use tidegate::policy::action::{Action, Decision, RolloutRef};

/// A rollout of the model `m` whose actions go to these sinks (name, address).
fn rollout<'a>(bench: Bench<'a>, max_age: &str, sinks: &[(&str, String)]) -> Bench<'a> {
    let dir = bench.dir.path().to_owned();
    let of = |version| baseline(&dir, "m", version, &["x", "score"], &training(), &["score"]);
    let secret = dir.join("secret");
    std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").expect("a secret");
    let mut notify = format!("[notify]\nmax_action_age = \"{max_age}\"\n");
    for (name, url) in sinks {
        let file = secret.display();
        notify +=
            &format!("[[notify.webhook]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret_file = \"{file}\"\n");
    }
    let thresholds = "mode = \"thresholds\"\n[model.thresholds]\nmin_samples = 200\n";
    bench.model("m", &[("v1", of("v1")), ("v2", of("v2"))], thresholds).extra(&notify)
}

/// Sink → the outcomes that were written for it, one for each action.
fn outcomes(bench: &Bench<'_>) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for outcome in bench.read_json("actions.outcomes") {
        found.entry(outcome["sink"].as_str().expect("a sink").to_owned()).or_default().push(outcome);
    }
    found
}

fn ids(receiver: &Receiver) -> BTreeSet<String> {
    receiver.requests().into_iter().map(|request| request.id).collect()
}

#[test]
fn failing_receivers_delay_neither_counting_nor_other_receivers() {
    let Some(broker) = Broker::shared() else { return };
    let [hung, limited, failing, slow, healthy] = [
        Behaviour::Never,
        Behaviour::Answer(429, "retry-after: 7\r\n"),
        Behaviour::Answer(500, ""),
        Behaviour::After(Duration::from_secs(6), 204),
        Behaviour::Answer(200, ""),
    ]
    .map(Receiver::that);
    let sinks = [
        ("hung", hung.url()),
        ("limited", limited.url()),
        ("failing", failing.url()),
        ("slow", slow.url()),
        ("healthy", healthy.url()),
        ("nowhere", "http://no-such-host.invalid/hook".to_owned()),
        ("plain", format!("https://127.0.0.1:{}/hook", free_port())),
        ("no-tls", healthy.url().replace("http://", "https://")),
    ];
    let bench = rollout(Bench::new(broker, "sinks", 2), "25s", &sinks);
    let events = regression(now_ms() - 8_000, 8);
    let replica = bench.serve("a");
    bench.produce(&events);
    wait_until(LIMIT, "an action", || (!bench.read_json("actions").is_empty()).then_some(()));
    let asked = Instant::now();
    wait_until(Duration::from_secs(10), "the healthy receiver's webhook", || {
        (!healthy.requests().is_empty()).then_some(())
    });
    wait_counted(&bench, events.len() as u64);
    // The dead receivers are still being tried, and everything else is done.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let metrics = replica.get("/metrics").1;
    let lags: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("tidegate_consumer_lag_records{")).collect();
    assert!(!lags.is_empty() && lags.iter().all(|line| line.ends_with(" 0")), "{lags:#?}");
    assert!(!outcomes(&bench).contains_key("hung"));

    let found = wait_until(LIMIT, "an outcome at every sink", || {
        Some(outcomes(&bench)).filter(|found| found.len() == sinks.len())
    });
    for (sink, expected) in [
        ("healthy", "delivered"),
        ("slow", "delivered"),
        ("hung", "expired"),
        ("limited", "expired"),
        ("failing", "expired"),
        ("nowhere", "expired"),
        ("plain", "expired"),
        ("no-tls", "expired"),
    ] {
        assert_eq!(found[sink].len(), 1, "{found:#?}");
        assert_eq!(found[sink][0]["outcome"], expected, "{sink}: {found:#?}");
    }
    assert_eq!((&found["failing"][0]["status"], &found["limited"][0]["status"]), (&500.into(), &429.into()));
    assert!(failing.requests().len() > limited.requests().len(), "Retry-After is kept");
    let pauses: Vec<Duration> = limited.requests().windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(6_950)), "{pauses:?}");
    let key = BTreeSet::from(["default/m/v2/rollback".to_owned()]);
    for receiver in [&hung, &limited, &failing, &slow, &healthy] {
        assert_eq!(ids(receiver), key);
    }
    assert_eq!((healthy.requests().len(), slow.requests().len()), (1, 1));
    let told: BTreeSet<String> = wait_until(LIMIT, "alerts of what expired", || {
        let alerts = bench.read_json("alerts");
        let expired = alerts.iter().filter(|alert| alert["kind"] == "action_expired");
        let ids: BTreeSet<String> =
            expired.map(|alert| alert["alert_id"].as_str().unwrap_or("").to_owned()).collect();
        (ids.len() == 6).then_some(ids)
    });
    assert!(told.contains("default/m/v2/rollback@hung/expired"), "{told:?}");
    let metrics = replica.get("/metrics").1;
    for line in [
        r#"tidegate_notifications_total{outcome="expired",sink="hung"} 1"#,
        r#"tidegate_notifications_total{outcome="delivered",sink="slow"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[test]
fn an_action_keeps_its_key_over_crashes_of_notify() {
    let Some(broker) = Broker::shared() else { return };
    let (first, second) = (Receiver::that(Behaviour::Never), Receiver::start());
    let sinks = [("first", first.url()), ("second", second.url())];
    let bench = rollout(Bench::new(broker, "keys", 2), "15m", &sinks);
    let workers = ["tally", "judge"].map(|role| bench.spawn_role(role, role));
    let mut notify = bench.spawn_role("notify", "notify");
    let events = regression(now_ms() - 20_000, 8);
    wait_until(LIMIT, "the group", || (workers[0].get("/readyz").0 == 200).then_some(()));
    bench.produce(&events);
    let seen = |count: usize| (first.requests().len() >= count).then_some(());
    wait_until(LIMIT, "the webhook", || seen(1));
    wait_until(LIMIT, "the outcome at the other sink", || {
        outcomes(&bench).contains_key("second").then_some(())
    });
    for count in [2, 3] {
        notify.kill();
        notify = bench.spawn_role("notify", "notify");
        wait_until(LIMIT, "the webhook again", || seen(count));
    }
    first.turn(Behaviour::Answer(204, ""));
    notify.kill();
    let _notify: Replica = bench.spawn_role("notify", "notify");
    let found = wait_until(LIMIT, "its outcome", || {
        Some(outcomes(&bench)).filter(|found| found.contains_key("first"))
    });
    assert_eq!(found["first"][0]["outcome"], "delivered");
    assert_eq!(ids(&first), BTreeSet::from(["default/m/v2/rollback".to_owned()]));
    assert_eq!(second.requests().len(), 1, "what has ended at one sink is not sent there again");
    let bodies: BTreeSet<Vec<u8>> = first.requests().into_iter().map(|request| request.raw).collect();
    assert_eq!(bodies.len(), 1, "every attempt carries the same event");
}

fn action(canary: &str, kind: Decision, window_end: i64) -> Action {
    Action {
        idempotency_key: format!("default/m/{canary}/{}", kind.as_str()),
        action: kind,
        rollout: RolloutRef {
            namespace: "default".to_owned(),
            model: "m".to_owned(),
            stable: "v1".to_owned(),
            canary: canary.to_owned(),
            revision: canary.to_owned(),
        },
        window_start: EventTime(window_end - 1_000).to_rfc3339(),
        window_end: EventTime(window_end).to_rfc3339(),
        events: 1_000,
        findings: Vec::new(),
        reason: "Asked for by a test.".to_owned(),
    }
}

#[test]
fn superseded_and_expired_actions_are_not_sent() {
    let Some(broker) = Broker::shared() else { return };
    let receiver = Receiver::that(Behaviour::Answer(503, ""));
    let bench = rollout(Bench::new(broker, "superseded", 1), "15m", &[("controller", receiver.url())]);
    let _replica = bench.serve("a");
    let ask = |action: &Action| {
        let json = serde_json::to_vec(action).expect("JSON");
        let message = Message::new(json).key(action.idempotency_key.as_bytes());
        broker.produce(&bench.own("actions"), [&message]);
    };
    let now = now_ms();
    let outcome = |key: &str| {
        wait_until(LIMIT, &format!("the outcome of {key}"), || {
            let all = outcomes(&bench).remove("controller").unwrap_or_default();
            all.into_iter().find(|outcome| outcome["idempotency_key"] == key)
        })
    };
    let sent = |key: &str| receiver.requests().iter().filter(|request| request.id == key).count();
    ask(&action("v2", Decision::Pause, now - 5_000));
    wait_until(LIMIT, "the pause", || (sent("default/m/v2/pause") > 0).then_some(()));
    ask(&action("v2", Decision::Rollback, now));
    let pause = outcome("default/m/v2/pause");
    assert_eq!((&pause["outcome"], &pause["status"]), (&"superseded".into(), &503.into()));
    let attempts = sent("default/m/v2/pause");
    wait_until(LIMIT, "the rollback", || (sent("default/m/v2/rollback") > 0).then_some(()));
    // A resume of the version that is rolled back, and what was asked for a version before it.
    ask(&action("v2", Decision::Resume, now - 1_000));
    ask(&action("v0", Decision::Rollback, now - 9_000));
    for key in ["default/m/v2/resume", "default/m/v0/rollback"] {
        let never = outcome(key);
        assert_eq!((&never["outcome"], &never["attempts"], sent(key)), (&"superseded".into(), &0.into(), 0));
    }
    // The rollout has moved on.
    ask(&action("v3", Decision::Pause, now + 1_000));
    assert_eq!(outcome("default/m/v2/rollback")["outcome"], "superseded");
    receiver.turn(Behaviour::Answer(200, ""));
    assert_eq!(outcome("default/m/v3/pause")["outcome"], "delivered");
    // Of another model, and from an hour ago.
    let mut old = action("v9", Decision::Rollback, now - 3_600_000);
    old.rollout.model = "other".to_owned();
    old.idempotency_key = "default/other/v9/rollback".to_owned();
    ask(&old);
    let expired = outcome(&old.idempotency_key);
    assert_eq!((&expired["outcome"], &expired["attempts"]), (&"expired".into(), &0.into()));
    assert_eq!((sent(&old.idempotency_key), sent("default/m/v2/pause")), (0, attempts));
}
