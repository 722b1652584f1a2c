//! `PUT /api/v1/models/{model}/weight`: the owner of the canary's share of the traffic tells it.

use super::{HttpState, Named, bad_request, find, problem, problem_with};
use crate::event::EventTime;
use crate::tally::record::Weight;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Weights that are written at once; further ones wait.
const MAX_WRITINGS: usize = 4;
const KEYS: [&str; 3] = ["canary_weight", "since", "namespace"];
/// Unknown keys that an answer names, and how much of each.
const NAMED_KEYS: usize = 5;
const NAMED_CHARS: usize = 64;

/// Where the judges hear of weights.
pub trait Teller: Send + Sync {
    /// Writes a weight into Kafka, blocking, within a bounded time.
    ///
    /// # Errors
    /// A sentence, when it is not known to be written.
    fn tell(&self, weight: &Weight) -> Result<(), String>;
}

/// The way to the judges, for a bounded number of writers at once.
#[derive(Clone)]
pub struct WeightAccess {
    teller: Arc<dyn Teller>,
    writings: Arc<Semaphore>,
    /// How far a change may lie ahead, in milliseconds.
    max_future_ms: i64,
    now: fn() -> EventTime,
}

impl WeightAccess {
    /// `max_future_ms`: how far ahead of the clock `now` a change may lie.
    pub fn new(teller: Arc<dyn Teller>, max_future_ms: i64, now: fn() -> EventTime) -> WeightAccess {
        WeightAccess { teller, writings: Arc::new(Semaphore::new(MAX_WRITINGS)), max_future_ms, now }
    }

    /// In a thread of its own; the permit goes with it, also when the client has gone.
    async fn tell(&self, weight: &Weight) -> Result<(), String> {
        let ended = |_| "the writing ended abnormally".to_owned();
        let permit = Arc::clone(&self.writings).acquire_owned().await.map_err(|error| error.to_string())?;
        let (teller, weight) = (Arc::clone(&self.teller), weight.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let told = teller.tell(&weight);
            drop(permit);
            told
        });
        writing.await.map_err(ended)?
    }
}

/// What a body asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    canary_weight: f64,
    since: EventTime,
    namespace: Option<String>,
}

/// Every error as a sentence.
fn asked(body: &Map<String, Value>, now: EventTime, max_future_ms: i64) -> Result<Asked, Vec<String>> {
    let mut errors = Vec::new();
    let unknown: Vec<String> = body
        .keys()
        .filter(|key| !KEYS.contains(&key.as_str()))
        .take(NAMED_KEYS)
        .map(|key| key.chars().take(NAMED_CHARS).collect())
        .collect();
    if !unknown.is_empty() {
        errors.push(format!("not known: {}; a body holds {}", unknown.join(", "), KEYS.join(", ")));
    }
    let found = |key: &str| body.get(key).filter(|value| !value.is_null());
    let weight = match found("canary_weight") {
        Some(value) => value.as_f64().filter(|weight| (0.0..=1.0).contains(weight)),
        None => None,
    };
    if weight.is_none() {
        errors.push("canary_weight is required: a number from 0 to 1".to_owned());
    }
    let since =
        found("since").map(|value| value.as_str().and_then(|text| EventTime::parse_rfc3339(text).ok()));
    match since {
        Some(None) => errors.push("since is an RFC 3339 time".to_owned()),
        Some(Some(since)) if since.0 > now.0.saturating_add(max_future_ms) => {
            errors.push(format!(
                "since is at most {} s ahead of now (windows.max_future)",
                max_future_ms / 1_000
            ));
        }
        _ => {}
    }
    let namespace = found("namespace").map(|value| value.as_str().map(str::to_owned));
    if namespace == Some(None) {
        errors.push("namespace is a text".to_owned());
    }
    match weight {
        Some(canary_weight) if errors.is_empty() => {
            Ok(Asked { canary_weight, since: since.flatten().unwrap_or(now), namespace: namespace.flatten() })
        }
        _ => Err(errors),
    }
}

pub(super) async fn put(State(state): State<Arc<HttpState>>, name: Named, body: Bytes) -> Response {
    let access = &state.weights;
    let Ok(body) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return bad_request("the body is a JSON object, e.g. {\"canary_weight\": 0.25}");
    };
    let asked = match asked(&body, (access.now)(), access.max_future_ms) {
        Ok(asked) => asked,
        Err(errors) => {
            let errors = json!({ "errors": errors });
            return problem_with(StatusCode::UNPROCESSABLE_ENTITY, "the weight is refused", errors);
        }
    };
    let model = match find(&state, name, asked.namespace.as_deref()) {
        Ok(model) => model,
        Err(response) => return *response,
    };
    let (Asked { canary_weight, since, .. }, namespace) = (asked, model.namespace);
    let weight = Weight { namespace, model: model.name, canary_weight, since: since.0 };
    match access.tell(&weight).await {
        Ok(()) => Json(json!({
            "namespace": weight.namespace,
            "model": weight.model,
            "canary_weight": canary_weight,
            "since": since.to_rfc3339(),
        }))
        .into_response(),
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}
