//! `POST /api/v1/reload`: reads the configuration again, as SIGHUP does, and says what came of it.

use super::{HttpState, problem_with};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What came of reading the configuration again: every error as a sentence, or none.
pub type Reloaded = Result<(), Vec<String>>;

/// Where the answer to one request is to be sent.
pub type ReloadRequest = oneshot::Sender<Reloaded>;

/// Requests on their way to whoever holds the configuration; one waits at a time.
pub fn channel() -> (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>) {
    mpsc::channel(1)
}

pub(super) async fn reload(State(state): State<Arc<HttpState>>) -> Response {
    let (answer, answered) = oneshot::channel();
    let gone = || problem_with(StatusCode::SERVICE_UNAVAILABLE, "the process is ending", json!({}));
    if state.reload.send(answer).await.is_err() {
        return gone();
    }
    match answered.await {
        Ok(Ok(())) => Json(json!({"outcome": "taken"})).into_response(),
        Ok(Err(errors)) => problem_with(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the changed configuration is refused; the old one stays",
            json!({ "errors": errors }),
        ),
        Err(_) => gone(),
    }
}
