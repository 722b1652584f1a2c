//! The HTTP side: metrics, probes and the API; reads the published board, decides nothing.

pub mod archive;
pub mod board;
pub mod gauges;
pub mod page;
pub mod panes;

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;

pub use board::Board;

use crate::event::ModelId;
use crate::metrics::{self, Metrics};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::{Json, Router, routing::get};
use base64::Engine;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest time a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Paths that scrapers and probes read without a token.
const OPEN_PATHS: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// The page loads nothing and runs nothing.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// What the endpoints read.
pub struct HttpState {
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    pub ready: Arc<AtomicBool>,
    pub healthy: Arc<AtomicBool>,
    /// Bearer token of the API; `None`: open.
    pub token: Option<String>,
    /// What is read from Kafka on demand.
    pub archive: archive::ArchiveAccess,
    /// The configured models.
    pub models: Vec<ModelId>,
}

/// An RFC 9457 problem document.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// All endpoints. With a token, everything but [`OPEN_PATHS`] asks for it first, unknown paths too.
pub fn router(state: Arc<HttpState>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/api/v1/models", get(models))
        .route("/api/v1/models/{model}", get(model))
        .route("/api/v1/models/{model}/reports", get(reports))
        .route("/api/v1/models/{model}/panes", get(archive::stored_panes))
        .route("/api/v1/accounting", get(archive::accounting))
        .route("/metrics", get(render_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|method: Method| async move {
            problem(StatusCode::METHOD_NOT_ALLOWED, &format!("{method} is not allowed here"))
        })
        .layer(from_fn_with_state(state.clone(), authorise))
        .layer(from_fn(limit_time))
        .with_state(state)
}

/// Serves until `shutdown` completes, then finishes the requests under way.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long"),
    }
}

async fn authorise(State(state): State<Arc<HttpState>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(token) = state.token.as_deref().filter(|_| !OPEN_PATHS.contains(&path)) else {
        return next.run(request).await;
    };
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if header.and_then(offered_token).is_some_and(|offered| same(token, &offered)) {
        return next.run(request).await;
    }
    // A browser cannot send a bearer token by itself: it asks for a password when the page says so.
    let challenge = if path == "/" { "Basic realm=\"tidegate\", charset=\"UTF-8\"" } else { "Bearer" };
    let mut response = problem(StatusCode::UNAUTHORIZED, "a bearer token is needed");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// The token in an `Authorization` header: `Bearer TOKEN`, or the password of `Basic`.
fn offered_token(header: &str) -> Option<String> {
    let (scheme, credentials) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    let basic = scheme.eq_ignore_ascii_case("basic").then_some(credentials.trim())?;
    let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(basic).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Compares in a time that says nothing of where two tokens differ: by their MACs under one key.
fn same(left: &str, right: &str) -> bool {
    let mac = |text: &str| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(left.as_bytes()).expect("HMAC takes any key");
        mac.update(text.as_bytes());
        mac
    };
    mac(left).verify_slice(&mac(right).finalize().into_bytes()).is_ok()
}

fn probe(flag: &AtomicBool, detail: &str) -> Response {
    if flag.load(Ordering::Relaxed) {
        "ok\n".into_response()
    } else {
        problem(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

async fn render_metrics(State(state): State<Arc<HttpState>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.render()).into_response()
}

async fn healthz(State(state): State<Arc<HttpState>>) -> Response {
    probe(&state.healthy, "not healthy")
}

async fn readyz(State(state): State<Arc<HttpState>>) -> Response {
    probe(&state.ready, "not ready yet")
}

async fn page(State(state): State<Arc<HttpState>>) -> Response {
    let views: Vec<_> = state.models.iter().map(|id| state.board.model(id)).collect();
    let headers = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY), (header::CACHE_CONTROL, "no-store")];
    (headers, Html(page::render(&views))).into_response()
}

async fn models(State(state): State<Arc<HttpState>>) -> Response {
    let models: Vec<_> = state.models.iter().map(|id| state.board.summary(id)).collect();
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
    let found: Vec<&ModelId> = state.models.iter().filter(fits).collect();
    match found[..] {
        [id] => Ok(id.clone()),
        [] => Err(Box::new(problem(StatusCode::NOT_FOUND, "no such model is configured"))),
        _ => Err(Box::new(bad_request("several namespaces have this model: add ?namespace="))),
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
            let reports: Vec<&_> = reports.iter().map(Arc::as_ref).collect();
            Json(json!({ "reports": reports })).into_response()
        }
        Err(response) => *response,
    }
}
