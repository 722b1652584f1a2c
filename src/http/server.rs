//! Connections: how many there may be, and how long and how large a request may get.
//!
//! A connection serves one request and is closed behind it, so the one deadline of a connection bounds everything
//! a slow or silent client can hold: an unfinished head, a trickled body, an answer that nobody reads.

use super::problem;
use crate::metrics::Metrics;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// What a listener holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; one more is closed at once, and counted.
    pub connections: usize,
    /// Bytes of a request's line and headers, at least 8192; a longer head is answered 431.
    pub head: usize,
    /// Headers of a request; more are answered 431.
    pub headers: usize,
    /// Bytes of a request's body; a longer one is answered 413.
    pub body: usize,
    /// From connecting to the end of the request's head.
    pub head_time: Duration,
    /// For the body and the work on it; then the answer is 503.
    pub work_time: Duration,
    /// From connecting to the answer's last byte; then the connection is cut.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 256,
            head: 16 * 1024,
            headers: 64,
            body: 64 * 1024,
            head_time: Duration::from_secs(5),
            work_time: Duration::from_secs(10),
            time: Duration::from_secs(30),
        }
    }
}

/// How long to wait after a failed accept: mostly the process has no file descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, then finishes the requests under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let router = router.layer(from_fn_with_state(limits, bound));
    let free = Arc::new(Semaphore::new(limits.connections));
    let (ending, ended) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "http: a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            metrics.http_connections_refused.inc();
            continue;
        };
        let (router, ended) = (router.clone(), ended.clone());
        tokio::spawn(async move {
            connection(stream, router, limits, ended).await;
            drop(permit);
        });
    }
    drop(listener);
    ending.send_replace(true);
    // Every connection gives its permit back, at the latest when its time is up.
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = free.acquire_many(all).await;
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, mut ended: watch::Receiver<bool>) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head)
        .max_headers(limits.headers)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let whole = async {
        let mut served = pin!(served);
        tokio::select! {
            result = served.as_mut() => return result,
            _ = ended.wait_for(|ended| *ended) => served.as_mut().graceful_shutdown(),
        }
        served.await
    };
    match tokio::time::timeout(limits.time, whole).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "http: a connection ended early"),
        Err(_) => tracing::debug!("http: a connection took too long and is cut"),
    }
}

/// Bounds the body's size, and the time for it and the answer.
async fn bound(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let work = async {
        let (head, body) = request.into_parts();
        match to_bytes(body, limits.body).await {
            Ok(bytes) => next.run(Request::from_parts(head, Body::from(bytes))).await,
            Err(_) => problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the request's body is cut off or has more than {} bytes", limits.body),
            ),
        }
    };
    match tokio::time::timeout(limits.work_time, work).await {
        Ok(response) => response,
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the request took too long"),
    }
}
