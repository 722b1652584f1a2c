//! Deliveries to a real receiver over HTTP, on schedules of milliseconds.

use super::lanes::Ending;
use super::ledger::{Ledger, time_left};
use super::schedule::Schedule;
use super::signature::{Secret, verify};
use super::webhook::{Webhook, WebhookError, WebhookSettings, is_forbidden};
use super::{Notifier, cloudevent};
use crate::event::EventTime;
use crate::policy::action::{Action, ActionOutcome, Decision, RolloutRef};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const HOUR: Duration = Duration::from_secs(3600);

/// What the receiver says next.
#[derive(Clone)]
pub(super) enum Answer {
    Status(u16),
    With(u16, &'static str, String),
    Never,
    After(Duration, u16),
}

pub(super) struct Received {
    at: Instant,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).expect(name).to_str().unwrap()
    }
}

/// Answers with its script, then with its last answer for ever.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    pub(super) received: Arc<Mutex<Vec<Received>>>,
}

type Script = Arc<Mutex<VecDeque<Answer>>>;

async fn hook(
    State((script, received)): State<(Script, Arc<Mutex<Vec<Received>>>)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    received.lock().unwrap().push(Received {
        at: Instant::now(),
        path: uri.path().to_owned(),
        headers,
        body,
    });
    let answer = {
        let mut script = script.lock().unwrap();
        if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
    };
    match answer {
        Answer::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
        Answer::With(code, name, value) => {
            (StatusCode::from_u16(code).unwrap(), [(name, value)]).into_response()
        }
        Answer::Never => std::future::pending().await,
        Answer::After(pause, code) => {
            tokio::time::sleep(pause).await;
            StatusCode::from_u16(code).unwrap().into_response()
        }
    }
}

impl Receiver {
    pub(super) async fn start(script: impl IntoIterator<Item = Answer>) -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(Mutex::new(script.into_iter().collect()));
        let router = Router::new().fallback(hook).with_state((script, received.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { address, received }
    }

    pub(super) fn webhook(&self, max_action_age: Duration) -> Webhook {
        let (delays, then) = ([0, 5, 10].map(Duration::from_millis).to_vec(), Duration::from_secs(20));
        let sink = webhook(&format!("http://{}/hook", self.address), max_action_age).unwrap();
        sink.with_schedule(Schedule { delays, then }).with_timeout(Duration::from_secs(5))
    }

    pub(super) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

pub(super) fn now() -> EventTime {
    EventTime(jiff::Timestamp::now().as_millisecond())
}

/// Nobody ends the delivery.
pub(super) fn never() -> tokio::sync::watch::Receiver<Ending> {
    tokio::sync::watch::channel(None).1
}

pub(super) fn settings(
    url: &str,
    secret_file: &std::path::Path,
    max_action_age: Duration,
) -> WebhookSettings {
    let (name, url, secret_file) = ("controller".to_owned(), url.to_owned(), secret_file.to_owned());
    WebhookSettings { name, url, secret_file, ca_file: None, kinds: Vec::new(), max_action_age }
}

pub(super) fn webhook(url: &str, max_action_age: Duration) -> Result<Webhook, WebhookError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    Webhook::new(settings(url, file.path(), max_action_age))
}

/// A rollback whose window has just ended.
pub(super) fn action() -> Action {
    let end = now();
    Action {
        idempotency_key: "default/fraud/v2/rollback".to_owned(),
        action: Decision::Rollback,
        rollout: RolloutRef {
            namespace: "default".to_owned(),
            model: "fraud".to_owned(),
            stable: "v1".to_owned(),
            canary: "v2".to_owned(),
            revision: "v2".to_owned(),
        },
        window_start: EventTime(end.0 - 60_000).to_rfc3339(),
        window_end: end.to_rfc3339(),
        events: 1_000,
        findings: Vec::new(),
        reason: "The canary answers differently.".to_owned(),
    }
}

fn outcome(key: &str, sink: &str) -> ActionOutcome {
    ActionOutcome {
        idempotency_key: key.to_owned(),
        sink: sink.to_owned(),
        outcome: "delivered".to_owned(),
        attempts: 1,
        status: Some(200),
        at: "2026-01-01T00:00:00.000Z".to_owned(),
    }
}

#[tokio::test]
async fn an_action_is_retried_as_the_same_signed_event_until_it_is_delivered() {
    let receiver = Receiver::start([500, 500, 200].map(Answer::Status)).await;
    let action = action();
    let outcome = receiver.webhook(HOUR).deliver(&action, now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("delivered", 3, Some(200)));
    let received = receiver.received.lock().unwrap();
    assert_eq!(received.len(), 3);
    let secrets = [Secret::parse(SECRET).unwrap()];
    for request in received.iter() {
        assert_eq!(request.path, "/hook");
        assert_eq!(request.header("webhook-id"), action.idempotency_key);
        assert_eq!(request.header("idempotency-key"), action.idempotency_key);
        assert_eq!(request.header("content-type"), cloudevent::CONTENT_TYPE);
        let (timestamp, signature) =
            (request.header("webhook-timestamp"), request.header("webhook-signature"));
        let seconds = now().0 / 1000;
        verify(&secrets, &action.idempotency_key, timestamp, signature, &request.body, seconds).unwrap();
        assert_eq!(request.body, received[0].body);
    }
    let event: serde_json::Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "io.tidegate.rollout.rollback.v1");
    assert_eq!(event["id"], action.idempotency_key);
    assert_eq!(event["subject"], "fraud/v2");
    assert_eq!(event["data"]["action"], "rollback");
}

#[tokio::test]
async fn retry_after_in_seconds_puts_off_the_next_attempt() {
    let receiver =
        Receiver::start([Answer::With(429, "retry-after", "1".to_owned()), Answer::Status(204)]).await;
    let outcome = receiver.webhook(HOUR).deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts), ("delivered", 2));
    let received = receiver.received.lock().unwrap();
    let pause = received[1].at - received[0].at;
    assert!(pause >= Duration::from_millis(990), "{pause:?}");
}

#[tokio::test]
async fn retry_after_as_a_date_puts_off_the_next_attempt() {
    let due = jiff::Timestamp::from_second(now().0 / 1000 + 2).unwrap();
    let date = due.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let receiver = Receiver::start([Answer::With(503, "retry-after", date), Answer::Status(204)]).await;
    let outcome = receiver.webhook(HOUR).deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts), ("delivered", 2));
    assert!(now().0 >= due.as_millisecond() - 10);
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let other = Receiver::start([Answer::Status(200)]).await;
    let there = format!("http://{}/elsewhere", other.address);
    for code in [301, 302, 307, 308] {
        let receiver = Receiver::start([Answer::With(code, "location", there.clone())]).await;
        let outcome = receiver.webhook(HOUR).deliver(&action(), now, never()).await;
        assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("refused", 1, Some(code)));
    }
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_final_client_error_is_refused_at_once() {
    for code in [400, 401, 404, 410, 422] {
        let receiver = Receiver::start([Answer::Status(code)]).await;
        let outcome = receiver.webhook(HOUR).deliver(&action(), now, never()).await;
        assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("refused", 1, Some(code)));
        assert_eq!(receiver.count(), 1);
    }
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_asked_again_until_expiry() {
    let receiver = Receiver::start([Answer::Never]).await;
    let sink = receiver.webhook(Duration::from_millis(600)).with_timeout(Duration::from_millis(100));
    let started = Instant::now();
    let outcome = sink.deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.status), ("expired", None));
    assert!(outcome.attempts >= 2, "{outcome:?}");
    assert!(receiver.count() >= 2);
    // The schedule's next pause is 20 s.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_attempt_under_way_ends_at_expiry() {
    let receiver = Receiver::start([Answer::Never]).await;
    let sink = receiver.webhook(Duration::from_millis(300)).with_timeout(Duration::from_secs(60));
    let started = Instant::now();
    let outcome = sink.deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts), ("expired", 1));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_unreachable_receiver_is_tried_until_expiry() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sink = webhook(&format!("http://{address}/"), Duration::from_millis(500)).unwrap();
    let delays = vec![Duration::ZERO, Duration::from_millis(5)];
    let sink = sink.with_schedule(Schedule { delays, then: Duration::from_secs(20) });
    let outcome = sink.deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("expired", 2, None));
}

#[tokio::test]
async fn an_action_that_has_expired_is_never_sent() {
    let receiver = Receiver::start([Answer::Status(200)]).await;
    let old = Action { window_end: EventTime(now().0 - 60_000).to_rfc3339(), ..action() };
    let ageless = Action { window_end: "yesterday".to_owned(), ..action() };
    for action in [old, ageless] {
        let outcome = receiver.webhook(Duration::from_secs(59)).deliver(&action, now, never()).await;
        assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("expired", 0, None));
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_sink_gets_only_its_kinds_and_nothing_that_has_ended_there() {
    let receiver = Receiver::start([Answer::Status(200)]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    let url = format!("http://{}/", receiver.address);
    let sink = |name: &str, kinds: &[Decision]| {
        let (name, kinds) = (name.to_owned(), kinds.to_vec());
        let settings = WebhookSettings { name, kinds, ..settings(&url, file.path(), HOUR) };
        Arc::new(Webhook::new(settings).unwrap())
    };
    let sinks = vec![sink("all", &[]), sink("pauses", &[Decision::Pause]), sink("done", &[])];
    let notifier = Notifier { sinks };
    let (action, mut ledger) = (action(), Ledger::new(10));
    ledger.apply(&outcome(&action.idempotency_key, "done"));
    let open = notifier.open_at(&action, &ledger);
    assert_eq!(open.iter().map(|sink| sink.name()).collect::<Vec<_>>(), ["all"]);
    assert_eq!(open[0].deliver(&action, now, never()).await.outcome, "delivered");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn the_ledger_remembers_the_latest_pairs_and_no_more() {
    let mut ledger = Ledger::new(2);
    for key in ["a", "b", "b", "c"] {
        ledger.apply(&outcome(key, "sink"));
    }
    assert_eq!(["a", "b", "c"].map(|key| ledger.has_ended(key, "sink")), [false, true, true]);
    assert!(!ledger.has_ended("b", "other sink"));
}

#[test]
fn an_action_lives_for_its_maximum_age_after_its_window() {
    let action = Action { window_end: "1970-01-01T00:01:40.000Z".to_owned(), ..action() };
    let left = |now| time_left(&action, EventTime(now), Duration::from_secs(10));
    assert_eq!(left(100_000), Some(Duration::from_millis(10_001)));
    assert_eq!(left(110_000), Some(Duration::from_millis(1)));
    assert_eq!(left(110_001), None);
    assert_eq!(left(i64::MAX), None);
    assert!(time_left(&action, EventTime(i64::MIN), Duration::MAX).is_some());
}

#[test]
fn link_local_and_metadata_addresses_are_forbidden_however_they_are_written() {
    let check = |text: &str| is_forbidden(text.parse().unwrap());
    for bad in [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a9fe:1",
    ] {
        assert!(check(bad), "{bad}");
    }
    for good in
        ["127.0.0.1", "10.0.0.1", "169.253.1.1", "::1", "::", "fd00::1", "64:ff9b::10.0.0.1", "fec0::1"]
    {
        assert!(!check(good), "{good}");
    }
}

#[test]
fn a_url_to_a_forbidden_address_makes_no_sink() {
    for url in [
        "http://169.254.169.254/",
        "http://0xA9FEA9FE/",
        "http://2852039166/",
        "http://[::ffff:a9fe:a9fe]/",
        "https://[64:ff9b::a9fe:a9fe]/",
    ] {
        assert!(matches!(webhook(url, HOUR), Err(WebhookError::ForbiddenAddress(_))), "{url}");
    }
    for url in ["ftp://controller/", "controller", "file:///etc/passwd", ""] {
        assert!(matches!(webhook(url, HOUR), Err(WebhookError::Url)), "{url}");
    }
}
