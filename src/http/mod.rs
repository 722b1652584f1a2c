//! The HTTP side: metrics, probes and the API; reads the published board, decides nothing.

pub mod archive;
pub mod auth;
pub mod board;
pub mod gauges;
pub mod health;
pub mod page;
pub mod panes;
pub mod reload;
mod server;
pub mod weight;

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod weight_tests;

pub use auth::{Scope, Tokens};
pub use board::Board;
pub use health::Health;
pub use server::{Limits, serve};

use crate::baseline::Watch;
use crate::event::ModelId;
use crate::metrics::{self, Metrics};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// The page loads nothing and runs nothing.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// What the endpoints read.
pub struct HttpState {
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    /// What is read from Kafka on demand.
    pub archive: archive::ArchiveAccess,
    pub health: Arc<Health>,
    pub tokens: Tokens,
    /// Where requests to read the configuration again go.
    pub reload: mpsc::Sender<reload::ReloadRequest>,
    /// The way of a weight to the judges.
    pub weights: weight::WeightAccess,
    /// What is configured, as it was last read.
    pub watch: watch::Receiver<Arc<Watch>>,
}

impl HttpState {
    fn watched(&self) -> Arc<Watch> {
        Arc::clone(&self.watch.borrow())
    }

    /// Why there is nothing of a version that is not configured.
    fn unknown_version(&self, id: &ModelId, version: Option<&str>, besides: &str) -> Option<String> {
        let watch = self.watched();
        let model = watch.models.iter().find(|model| model.id == *id)?;
        let configured: Vec<&str> = model.versions.iter().map(|one| &*one.version).collect();
        panes::unknown_version(&id.name, version?, &configured, besides)
    }
}

/// An RFC 9457 problem document.
fn problem(status: StatusCode, detail: &str) -> Response {
    problem_with(status, detail, json!({}))
}

/// A problem document with members of its own.
fn problem_with(status: StatusCode, detail: &str, members: Value) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    if let (Some(body), Value::Object(members)) = (body.as_object_mut(), members) {
        body.extend(members);
    }
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

async fn not_allowed(method: Method) -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, &format!("{method} is not allowed here"))
}

/// The page and the API. With tokens, everything asks for one first, unknown paths too.
pub fn api(state: &Arc<HttpState>) -> Router {
    let guard = |scope| from_fn_with_state((Arc::clone(state), scope), auth::require);
    let read = Router::new()
        .route("/", get(page))
        .route("/api/v1/models", get(models))
        .route("/api/v1/models/{model}", get(model))
        .route("/api/v1/models/{model}/reports", get(reports))
        .route("/api/v1/models/{model}/panes", get(archive::stored_panes))
        .route("/api/v1/accounting", get(archive::accounting))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(not_allowed)
        .layer(guard(Scope::Read));
    let admin = Router::new()
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/models/{model}/weight", put(weight::put))
        .method_not_allowed_fallback(not_allowed)
        .layer(guard(Scope::Admin));
    read.merge(admin).with_state(Arc::clone(state))
}

/// What scrapers and probes read, without a token.
pub fn probes(state: &Arc<HttpState>) -> Router {
    Router::new()
        .route("/metrics", get(render_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::clone(state))
}

/// [`probes`] on a listener of their own.
pub fn probes_apart(state: &Arc<HttpState>) -> Router {
    probes(state).fallback(|| async { problem(StatusCode::NOT_FOUND, "no such path") })
}

fn probe(answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => "ok\n".into_response(),
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

async fn render_metrics(State(state): State<Arc<HttpState>>) -> Response {
    state.health.export(&state.metrics);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.render()).into_response()
}

async fn healthz(State(state): State<Arc<HttpState>>) -> Response {
    probe(state.health.live(Instant::now()))
}

async fn readyz(State(state): State<Arc<HttpState>>) -> Response {
    probe(state.health.ready(Instant::now()))
}

async fn page(State(state): State<Arc<HttpState>>) -> Response {
    let views: Vec<_> = state.watched().models.iter().map(|one| state.board.model(&one.id)).collect();
    let headers = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY), (header::CACHE_CONTROL, "no-store")];
    (headers, Html(page::render(&views))).into_response()
}

async fn models(State(state): State<Arc<HttpState>>) -> Response {
    let models: Vec<_> = state.watched().models.iter().map(|one| state.board.summary(&one.id)).collect();
    Json(json!({ "models": models, "alerts": state.board.source_alerts() })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelQuery {
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportsQuery {
    namespace: Option<String>,
    version: Option<String>,
    scale: Option<u32>,
    limit: Option<usize>,
}

type Asked<Q> = Result<Query<Q>, QueryRejection>;
type Named = Result<Path<String>, PathRejection>;

fn bad_request(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, detail)
}

fn find(state: &HttpState, name: Named, namespace: Option<&str>) -> Result<ModelId, Box<Response>> {
    let Path(name) = name.map_err(|error| Box::new(bad_request(&error.body_text())))?;
    let fits = |id: &&ModelId| id.name == name && namespace.is_none_or(|wanted| wanted == id.namespace);
    let watch = state.watched();
    let found: Vec<&ModelId> = watch.models.iter().map(|model| &model.id).filter(fits).collect();
    match found[..] {
        [id] => Ok(id.clone()),
        [] => Err(Box::new(problem(StatusCode::NOT_FOUND, "no such model is configured"))),
        _ => Err(Box::new(bad_request("several namespaces have this model: say which by `namespace`"))),
    }
}

async fn model(State(state): State<Arc<HttpState>>, name: Named, query: Asked<ModelQuery>) -> Response {
    let Query(query) = match query {
        Ok(query) => query,
        Err(error) => return bad_request(&error.body_text()),
    };
    match find(&state, name, query.namespace.as_deref()) {
        Ok(id) => Json(state.board.model(&id)).into_response(),
        Err(response) => *response,
    }
}

async fn reports(State(state): State<Arc<HttpState>>, name: Named, query: Asked<ReportsQuery>) -> Response {
    let Query(query) = match query {
        Ok(query) => query,
        Err(error) => return bad_request(&error.body_text()),
    };
    let limit = query.limit.unwrap_or(50);
    if !(1..=1000).contains(&limit) {
        return bad_request("limit is 1 to 1000");
    }
    match find(&state, name, query.namespace.as_deref()) {
        Ok(id) => {
            let reports = state.board.reports(&id, query.version.as_deref(), query.scale, limit);
            let unknown = state.unknown_version(&id, query.version.as_deref(), " and has no report");
            if let Some(why) = unknown.filter(|_| reports.is_empty()) {
                return problem(StatusCode::NOT_FOUND, &why);
            }
            let reports: Vec<&_> = reports.iter().map(Arc::as_ref).collect();
            Json(json!({ "reports": reports })).into_response()
        }
        Err(response) => *response,
    }
}
