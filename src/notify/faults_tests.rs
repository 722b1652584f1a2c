//! Receivers that fail in every way, and lanes that keep them apart.

use super::lanes::{Begun, LANE, Lanes};
use super::schedule::Schedule;
use super::superseded::Rollouts;
use super::tests::{Answer, Receiver, action, never, now, webhook};
use crate::event::EventTime;
use crate::policy::action::{Action, Decision, RolloutRef};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(3);

/// An action for a canary version, on a window that ends at this second.
fn of(canary: &str, kind: Decision, end: i64) -> Action {
    let rollout = RolloutRef { canary: canary.to_owned(), revision: canary.to_owned(), ..action().rollout };
    Action {
        idempotency_key: format!("default/fraud/{canary}/{}", kind.as_str()),
        action: kind,
        rollout,
        window_end: EventTime(end * 1_000).to_rfc3339(),
        ..action()
    }
}

fn fast() -> Schedule {
    Schedule { delays: vec![Duration::ZERO, Duration::from_millis(5)], then: Duration::from_millis(50) }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_and_a_receiver_without_tls_are_tried_until_expiry() {
    let plain = Receiver::start([Answer::Status(200)]).await;
    for url in ["http://no-such-host.invalid/hook".to_owned(), format!("https://{}/hook", plain.address)] {
        let sink = webhook(&url, Duration::from_millis(700)).unwrap().with_schedule(fast());
        let started = Instant::now();
        let outcome = sink.deliver(&action(), now, never()).await;
        assert_eq!((outcome.outcome.as_str(), outcome.status), ("expired", None), "{url}");
        assert!(outcome.attempts >= 2, "{url}: {outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{url}: {:?}", started.elapsed());
    }
    assert_eq!(plain.count(), 0, "nothing is ever sent without TLS to an https:// address");
}

#[tokio::test]
async fn server_errors_are_tried_again_until_one_attempt_succeeds() {
    let script = [500, 502, 503, 504, 408, 425, 202].map(Answer::Status);
    let receiver = Receiver::start(script).await;
    let sink = receiver.webhook(Duration::from_secs(3600)).with_schedule(fast());
    let outcome = sink.deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("delivered", 7, Some(202)));
}

#[tokio::test]
async fn a_slow_answer_counts_when_it_comes_within_the_limit_of_an_attempt() {
    let receiver = Receiver::start([Answer::After(Duration::from_millis(400), 200)]).await;
    let patient = receiver.webhook(Duration::from_secs(3600)).with_timeout(Duration::from_secs(5));
    let outcome = patient.deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts), ("delivered", 1));
    let hasty = receiver.webhook(Duration::from_millis(900)).with_timeout(Duration::from_millis(100));
    let outcome = hasty.with_schedule(fast()).deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.status), ("expired", None));
}

#[tokio::test]
async fn a_superseded_action_is_not_sent_again_and_an_attempt_under_way_goes_to_its_end() {
    let receiver = Receiver::start([Answer::Status(500)]).await;
    let (stop, told) = tokio::sync::watch::channel(None);
    let sink = receiver.webhook(Duration::from_secs(3600));
    let schedule = Schedule { delays: vec![Duration::ZERO], then: Duration::from_secs(600) };
    let sink = sink.with_schedule(schedule);
    let waiting = tokio::spawn(async move { sink.deliver(&action(), now, told).await });
    while receiver.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send_replace(Some("superseded"));
    let outcome = tokio::time::timeout(SOON, waiting).await.expect("the pause is cut short").unwrap();
    assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("superseded", 1, Some(500)));
    assert_eq!(receiver.count(), 1);

    let receiver = Receiver::start([Answer::After(Duration::from_millis(300), 200)]).await;
    let (stop, told) = tokio::sync::watch::channel(None);
    let sink = receiver.webhook(Duration::from_secs(3600));
    let running = tokio::spawn(async move { sink.deliver(&action(), now, told).await });
    while receiver.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send_replace(Some("superseded"));
    assert_eq!(running.await.unwrap().outcome, "delivered");
}

#[tokio::test]
async fn whoever_could_end_a_delivery_may_go() {
    let receiver = Receiver::start([500, 200].map(Answer::Status)).await;
    let sink = receiver.webhook(Duration::from_secs(3600));
    let outcome = tokio::time::timeout(SOON, sink.deliver(&action(), now, never())).await.expect("in time");
    assert_eq!((outcome.outcome.as_str(), outcome.attempts), ("delivered", 2));
}

#[test]
fn later_actions_of_a_rollout_supersede_what_they_contradict() {
    use Decision::{Pause, Resume, Rollback};
    let (old, new) = ("v2", "v3");
    let cases = [
        // The other action, and whether it makes an undelivered one pointless.
        (of(old, Pause, 100), of(old, Resume, 200), true),
        (of(old, Resume, 200), of(old, Pause, 100), false),
        (of(old, Pause, 100), of(old, Rollback, 100), true),
        (of(old, Rollback, 100), of(old, Pause, 100), false),
        (of(old, Resume, 100), of(old, Rollback, 300), true),
        (of(old, Rollback, 100), of(new, Pause, 200), true),
        (of(new, Pause, 200), of(old, Rollback, 100), false),
        (of(old, Pause, 100), of(new, Pause, 100), false),
    ];
    for (waiting, other, superseded) in cases {
        let mut rollouts = Rollouts::default();
        rollouts.note(&waiting);
        assert!(!rollouts.is_superseded(&waiting), "an action does not supersede itself");
        rollouts.note(&other);
        assert_eq!(rollouts.is_superseded(&waiting), superseded, "{other:?} after {waiting:?}");
        let mut elsewhere = waiting.clone();
        elsewhere.rollout.model = "other".to_owned();
        assert!(!rollouts.is_superseded(&elsewhere));
    }
}

#[test]
fn a_rollout_that_flaps_is_remembered_within_bounds() {
    let mut rollouts = Rollouts::default();
    for n in 0..1_000 {
        rollouts.note(&of(&format!("v{n}"), Decision::Pause, n));
    }
    assert!(rollouts.is_superseded(&of("v998", Decision::Pause, 998)));
    assert!(!rollouts.is_superseded(&of("v999", Decision::Pause, 999)));
    assert!(rollouts.is_superseded(&of("v1", Decision::Rollback, 1)), "the newest ones are kept");
}

#[test]
fn a_dead_sink_fills_its_own_lane_only_and_gives_up_the_oldest() {
    let (mut lanes, rollouts) = (Lanes::default(), Rollouts::default());
    let numbered = |n: usize| Arc::new(of(&format!("v{n}"), Decision::Pause, 100));
    let mut receivers = Vec::new();
    for n in 0..LANE {
        match lanes.begin("dead", &numbered(n), &rollouts) {
            Begun::Deliver(stop) => receivers.push(stop),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(lanes.begin("dead", &numbered(0), &rollouts), Begun::UnderWay));
    assert!(matches!(lanes.begin("healthy", &numbered(0), &rollouts), Begun::Deliver(_)));
    assert!(receivers.iter().all(|stop| stop.borrow().is_none()));
    for n in LANE..2 * LANE {
        assert!(matches!(lanes.begin("dead", &numbered(n), &rollouts), Begun::Deliver(_)));
        assert_eq!(*receivers[n - LANE].borrow(), Some("failed"));
    }
    assert!(matches!(lanes.begin("dead", &numbered(9_999), &rollouts), Begun::Never("failed")));
    assert_eq!((lanes.len("dead"), lanes.len("healthy")), (2 * LANE, 1));
    lanes.end("dead", &numbered(0).idempotency_key);
    assert!(matches!(lanes.begin("dead", &numbered(9_999), &rollouts), Begun::Deliver(_)));
}

#[test]
fn what_is_superseded_is_never_begun_and_what_runs_is_ended() {
    let (mut lanes, mut rollouts) = (Lanes::default(), Rollouts::default());
    let (pause, rollback) = (Arc::new(of("v2", Decision::Pause, 100)), of("v2", Decision::Rollback, 200));
    let Begun::Deliver(stop) = lanes.begin("a", &pause, &rollouts) else { panic!("nothing is known yet") };
    rollouts.note(&rollback);
    lanes.end_superseded(&rollouts);
    assert_eq!(*stop.borrow(), Some("superseded"));
    assert!(matches!(lanes.begin("b", &pause, &rollouts), Begun::Never("superseded")));
    lanes.end("a", &pause.idempotency_key);
    assert!(lanes.is_empty());
}
