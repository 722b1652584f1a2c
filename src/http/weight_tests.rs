//! Weights told over real connections: who may, what is refused, and what the answer says.

use super::Scope;
use super::tests::{Answer, Server};
use super::weight::{Teller, WeightAccess};
use crate::event::EventTime;
use crate::tally::record::Weight;
use reqwest::Method;
use std::sync::{Arc, Mutex};

const ADMIN: &str = "battery staple";
const NOW: EventTime = EventTime(1_700_000_000_000);
const MAX_FUTURE_MS: i64 = 300_000;
const FRAUD: &str = "/api/v1/models/fraud/weight";

/// Keeps what is told, or refuses it.
#[derive(Default)]
struct Ear {
    told: Mutex<Vec<Weight>>,
    broken: bool,
}

impl Teller for Ear {
    fn tell(&self, weight: &Weight) -> Result<(), String> {
        if self.broken {
            return Err("no broker answers".to_owned());
        }
        self.told.lock().unwrap().push(weight.clone());
        Ok(())
    }
}

fn access(ear: &Arc<Ear>) -> WeightAccess {
    WeightAccess::new(Arc::clone(ear) as Arc<dyn Teller>, MAX_FUTURE_MS, || NOW)
}

/// Everything that is told is taken and forgotten.
pub(super) fn deaf() -> WeightAccess {
    access(&Arc::default())
}

async fn server(ear: &Arc<Ear>) -> Server {
    let tokens = [("reader", Scope::Read, "correct horse"), ("ops", Scope::Admin, ADMIN)];
    Server::telling(&tokens, access(ear)).await
}

async fn put(server: &Server, path: &str, body: &str) -> Answer {
    server.send(Method::PUT, path, Some(&format!("Bearer {ADMIN}")), body.to_owned()).await
}

#[tokio::test]
async fn a_weight_is_written_as_it_is_answered() {
    let ear = Arc::<Ear>::default();
    let server = server(&ear).await;
    let now = put(&server, FRAUD, r#"{"canary_weight": 0.25}"#).await;
    assert_eq!(now.status, 200, "{}", now.body);
    let expected = serde_json::json!({
        "namespace": "default", "model": "fraud", "canary_weight": 0.25, "since": NOW.to_rfc3339()
    });
    assert_eq!(now.json(), expected);
    let body = r#"{"canary_weight": 1, "since": "2023-11-14T23:18:20+01:00", "namespace": "b"}"#;
    let later = put(&server, "/api/v1/models/twice/weight", body).await;
    assert_eq!(later.json()["since"], EventTime(NOW.0 + MAX_FUTURE_MS).to_rfc3339(), "as far as it may");
    let of = |namespace: &str, model: &str, canary_weight, since| Weight {
        namespace: namespace.to_owned(),
        model: model.to_owned(),
        canary_weight,
        since,
    };
    let expected = [of("default", "fraud", 0.25, NOW.0), of("b", "twice", 1.0, NOW.0 + MAX_FUTURE_MS)];
    assert_eq!(*ear.told.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_bad_weight_is_refused_with_every_error_at_once() {
    let ear = Arc::<Ear>::default();
    let server = server(&ear).await;
    for body in ["", "0.25", "[]", "{\"canary_weight\": 0.25", "{\"canary_weight\": NaN}"] {
        put(&server, FRAUD, body).await.is_problem(400);
    }
    let refused = async |body: &str| -> Vec<String> {
        let answer = put(&server, FRAUD, body).await;
        answer.is_problem(422);
        serde_json::from_value(answer.json()["errors"].clone()).unwrap()
    };
    for weight in ["-0.01", "1.01", "\"0.1\"", "null", "[0.1]", "1e300"] {
        let errors = refused(&format!("{{\"canary_weight\": {weight}}}")).await;
        assert_eq!(errors, ["canary_weight is required: a number from 0 to 1"], "{weight}");
    }
    let all = refused(r#"{"weight": 0.1, "since": "now", "namespace": 3}"#).await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all[0].starts_with("not known: weight;"), "{all:?}");
    // A millisecond beyond the bound.
    let ahead = refused(r#"{"canary_weight": 0.1, "since": "2023-11-14T22:18:20.001Z"}"#).await;
    assert_eq!(ahead, ["since is at most 300 s ahead of now (windows.max_future)"]);
    let many: Vec<String> = (0..1_000).map(|n| format!("\"{}{n}\": 0", "x".repeat(40))).collect();
    let long = refused(&format!("{{{}}}", many.join(","))).await;
    assert!(long.len() == 2 && long[0].len() < 500, "{long:?}");
    assert!(ear.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_weight_is_of_one_configured_model() {
    let ear = Arc::<Ear>::default();
    let server = server(&ear).await;
    let body = r#"{"canary_weight": 0.25}"#;
    put(&server, "/api/v1/models/nobody/weight", body).await.is_problem(404);
    put(&server, "/api/v1/models/twice/weight", body).await.is_problem(400);
    let elsewhere = r#"{"canary_weight": 0.25, "namespace": "nowhere"}"#;
    put(&server, "/api/v1/models/twice/weight", elsewhere).await.is_problem(404);
    put(&server, "/api/v1/models/%FF/weight", body).await.is_problem(400);
    assert!(ear.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_a_bearer_of_the_admin_scope_may_tell_one() {
    let ear = Arc::<Ear>::default();
    let server = server(&ear).await;
    let tell = async |authorization: Option<&str>| {
        server.send(Method::PUT, FRAUD, authorization, r#"{"canary_weight": 0.25}"#.to_owned()).await
    };
    tell(None).await.is_problem(401);
    tell(Some("Bearer nobody")).await.is_problem(401);
    tell(Some("Bearer correct horse")).await.is_problem(403);
    // As a browser would send it unasked.
    tell(Some("Basic YW55b25lOmJhdHRlcnkgc3RhcGxl")).await.is_problem(403);
    server.send(Method::GET, FRAUD, Some(&format!("Bearer {ADMIN}")), String::new()).await.is_problem(405);
    assert!(ear.told.lock().unwrap().is_empty());
    let open = Server::telling(&[], access(&ear)).await;
    open.send(Method::PUT, FRAUD, None, r#"{"canary_weight": 0.25}"#.to_owned()).await.is_problem(403);
    assert!(ear.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_is_said() {
    let ear = Arc::new(Ear { broken: true, ..Ear::default() });
    let answer = put(&server(&ear).await, FRAUD, r#"{"canary_weight": 0.25}"#).await;
    answer.is_problem(503);
    assert_eq!(answer.json()["detail"], "no broker answers");
}
