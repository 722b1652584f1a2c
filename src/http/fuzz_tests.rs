//! Requests of every shape, whole and damaged, through the whole router: each gets an answer that says what it
//! is, and none of them is a 500.

use super::archive_tests::{access, watch};
use super::tests::{action, report};
use super::{Board, Health, HttpState, Scope, Tokens, api, probes, reload};
use crate::event::fuzz::{cases, damage, edge, seed};
use crate::metrics::Metrics;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, Uri};
use fastrand::Rng;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MARKS: &[u8] = b"/?&=%+.;#:[]{}\"'\\<>^`|~ \0\x7f\xff\r\n0aZ";
const PATHS: [&str; 15] = [
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/models",
    "/api/v1/accounting",
    "/api/v1/reload",
    "/api/v1/nothing",
    "/api/v1/models/fraud",
    "/api/v1/models/twice",
    "/api/v1/models/fraud/reports",
    "/api/v1/models/twice/reports",
    "/api/v1/models/fraud/panes",
    "/api/v1/models/fraud/weight",
    "/api/v1/models/%66raud/panes",
];
const NAMES: [&str; 9] =
    ["namespace", "version", "scale", "limit", "from", "to", "length", "series", "other"];
const VALUES: [&str; 22] = [
    "",
    "default",
    "a",
    "b",
    "v1",
    "v2",
    "amount",
    "1",
    "4",
    "16",
    "64",
    "20000",
    "20001",
    "-1",
    "1e3",
    "%00",
    "%FF",
    "%E0%B8",
    "a%20b",
    "+",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:05.5%2B00:00",
];
const TIMES: [&str; 8] = [
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:03Z",
    "1970-01-01T00:00:10Z",
    "-009999-01-02T01:59:59Z",
    "9999-12-31T23:59:59Z",
    "1969-12-31T23:59:60Z",
    "1970-01-01T00:00:00%2B23:59",
    "1970-01-01",
];

fn pick<'a>(random: &mut Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

fn value(random: &mut Rng, name: &str) -> String {
    match random.u8(..12) {
        0 => pick(random, &VALUES).to_owned(),
        1 => edge(random).to_string(),
        2 => "9".repeat(random.usize(..40)),
        _ => match name {
            "from" => pick(random, &TIMES[..2]).to_owned(),
            "to" => pick(random, &TIMES[1..]).to_owned(),
            "scale" | "length" => pick(random, &["1", "4", "16", "64"]).to_owned(),
            "limit" => random.u16(1..1_000).to_string(),
            "namespace" => pick(random, &["default", "a", "b"]).to_owned(),
            _ => pick(random, &VALUES).to_owned(),
        },
    }
}

/// A path with a query, mostly of its endpoint's own parameters, some of them damaged.
fn target(random: &mut Rng) -> Vec<u8> {
    let path = pick(random, &PATHS);
    let mut target = path.to_owned();
    let own: &[&str] = match path.rsplit('/').next() {
        Some("reports") => &["namespace", "version", "scale", "limit"],
        Some("panes") => &["from", "to", "namespace", "version", "length", "limit", "series"],
        Some("fraud" | "twice") => &["namespace"],
        _ => &[],
    };
    let mut names: Vec<&str> = own.iter().copied().filter(|_| random.u8(..8) > 0).collect();
    names.extend((0..random.usize(..8).saturating_sub(5)).map(|_| pick(random, &NAMES)));
    for (number, name) in names.iter().enumerate() {
        target.push(if number == 0 { '?' } else { '&' });
        target += &format!("{name}={}", value(random, name));
    }
    let mut bytes = target.into_bytes();
    if random.u8(..3) == 0 {
        (0..random.u8(1..4)).for_each(|_| damage(random, &mut bytes, MARKS));
    }
    bytes
}

/// A body of a weight, with members that fit or do not, some of it damaged.
fn weight(random: &mut Rng) -> Vec<u8> {
    let member = |random: &mut Rng, values: &[&str]| pick(random, values).to_owned();
    let weight = member(random, &["0", "0.25", "1", "1.5", "-1", "1e999", "null", "\"0.1\"", "[]"]);
    let since =
        member(random, &["null", "\"1970-01-01T00:00:00Z\"", "\"9999-12-31T23:59:59Z\"", "\"x\"", "5"]);
    let namespace = member(random, &["null", "\"default\"", "\"nobody\"", "{}"]);
    let text = format!("{{\"canary_weight\":{weight},\"since\":{since},\"namespace\":{namespace}}}");
    let mut bytes = text.into_bytes();
    if random.u8(..4) == 0 {
        damage(random, &mut bytes, MARKS);
    }
    bytes
}

fn request(random: &mut Rng, with_tokens: bool) -> Option<Request<Body>> {
    let target = Uri::from_maybe_shared(target(random)).ok().filter(|uri| uri.path().starts_with('/'))?;
    let method = match random.u8(..16) {
        0 => Method::POST,
        1 => Method::HEAD,
        2 => {
            Method::from_bytes(pick(random, &["PUT", "DELETE", "OPTIONS", "TRACE", "M-X"]).as_bytes()).ok()?
        }
        _ if target.path() == "/api/v1/reload" => Method::POST,
        _ if target.path().ends_with("/weight") => Method::PUT,
        _ => Method::GET,
    };
    let is_weight = target.path().ends_with("/weight");
    let mut request = Request::builder().method(method).uri(target);
    if with_tokens && random.u8(..8) > 0 {
        let others = ["Bearer x", "Basic eDp5", "bearer", "Basic %"];
        let offer = if random.bool() { "Bearer battery staple" } else { pick(random, &others) };
        let mut offer = offer.as_bytes().to_vec();
        if random.u8(..4) == 0 {
            damage(random, &mut offer, MARKS);
        }
        request = request.header("authorization", offer);
    }
    let body = match random.u8(..8) {
        0 => vec![b'x'; random.usize(..100)],
        _ if is_weight => weight(random),
        _ => Vec::new(),
    };
    request.body(Body::from(body)).ok()
}

fn state(tokens: Tokens) -> Arc<HttpState> {
    let (reload, mut asked) = reload::channel();
    tokio::spawn(async move {
        let mut refuses = false;
        while let Some(answer) = asked.recv().await {
            refuses = !refuses;
            // Whoever asked may be gone.
            let _ = answer.send(if refuses { Err(vec!["t.toml:1: x".to_owned()]) } else { Ok(()) });
        }
    });
    let board = Board::new();
    for minute in 1..6 {
        ["v1", "v2"].iter().for_each(|version| board.apply_report(report(version, minute)));
    }
    board.apply_action(action("v2"));
    Arc::new(HttpState {
        board: Arc::new(board),
        metrics: Arc::new(Metrics::new()),
        health: Health::new(),
        tokens,
        reload,
        archive: access(),
        weights: super::weight_tests::deaf(),
        watch: watch().subscribe(),
    })
}

/// The status, checked against what the answer says it is.
async fn answer(service: &TowerToHyperService<axum::Router>, request: Request<Body>) -> StatusCode {
    let head = request.method() == Method::HEAD;
    let response = service.call(request).await.expect("a router does not fail");
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let (is_problem, is_json) = (kind == "application/problem+json", kind.ends_with("json"));
    let body = to_bytes(response.into_body(), 16 << 20).await.expect("a body");
    if head {
        return status;
    }
    let text = std::str::from_utf8(&body).expect("text");
    assert_eq!(is_problem, status.is_client_error() || status.is_server_error(), "{status} {kind} {text}");
    if is_json {
        let json: Value = serde_json::from_str(text).expect("JSON");
        assert!(!is_problem || json["status"] == status.as_u16(), "{status} {text}");
        assert!(!is_problem || json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
    }
    status
}

#[tokio::test]
async fn every_request_is_answered_with_what_it_is() {
    let seed = seed(0x477);
    let mut random = Rng::with_seed(seed);
    let mut tokens = Tokens::default();
    tokens.add("operator", Scope::Admin, "battery staple").expect("a token");
    let states = [state(Tokens::default()), state(tokens)];
    let services = states.map(|state| TowerToHyperService::new(api(&state).merge(probes(&state))));
    let (wanted, mut asked) = (cases(20), 0_u64);
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    while asked < wanted {
        let which = random.usize(..2);
        asked += 1;
        let Some(request) = request(&mut random, which == 1) else {
            // What is no URI, hyper answers itself with 400.
            *statuses.entry(0).or_default() += 1;
            continue;
        };
        let place = format!("seed {seed}, request {asked}: {} {}", request.method(), request.uri());
        let answered = tokio::time::timeout(Duration::from_secs(20), answer(&services[which], request)).await;
        let status = answered.unwrap_or_else(|_| panic!("no answer: {place}"));
        let known = [200, 400, 401, 403, 404, 405, 422].contains(&status.as_u16());
        assert!(known || (status == 503 && place.contains("z")), "{status} {place}");
        *statuses.entry(status.as_u16()).or_default() += 1;
    }
    println!("{asked} requests: {statuses:?}");
    for status in [0, 200, 400, 401, 403, 404, 405, 422] {
        let count: u64 = statuses.get(&status).copied().unwrap_or(0);
        assert!(count * 5_000 > wanted, "{status}: {count} of {wanted}");
    }
}
