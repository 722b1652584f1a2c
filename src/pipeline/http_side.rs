//! Listeners of the HTTP side, and its tokens.

use crate::config::HttpConfig;
use crate::http::{self, HttpState, Limits, Tokens};
use anyhow::Context;
use axum::Router;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long requests under way may take to end with the process.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The running servers.
pub(super) struct HttpSide {
    /// Where the API listens.
    pub(super) address: SocketAddr,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// Reads the secret of each configured token.
pub(super) fn read_tokens(config: &HttpConfig) -> anyhow::Result<Tokens> {
    let mut tokens = Tokens::default();
    for token in &config.tokens {
        let secret = std::fs::read_to_string(&token.file)
            .with_context(|| format!("http.token {}: {}", token.name, token.file.display()))?;
        tokens.add(&token.name, token.scope, &secret)?;
    }
    Ok(tokens)
}

impl HttpSide {
    /// Listens and serves: everything on one listener, or metrics and probes apart.
    pub(super) async fn start(config: &HttpConfig, state: Arc<HttpState>) -> anyhow::Result<HttpSide> {
        let limits = Limits { connections: config.max_connections, ..Limits::default() };
        let (stop, stopped) = watch::channel(false);
        let serve = |listener: TcpListener, router: Router| {
            let mut stopped = stopped.clone();
            let shutdown = async move {
                // A dropped sender ends the server too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            tokio::spawn(http::serve(listener, router, limits, Arc::clone(&state.metrics), shutdown))
        };
        let listener = bind("listen", config.listen).await?;
        let address = listener.local_addr()?;
        let mut servers = Vec::new();
        match config.probes_listen {
            Some(apart) => {
                servers.push(serve(bind("probes_listen", apart).await?, http::probes_apart(&state)));
                servers.push(serve(listener, http::api(&state)));
            }
            None => servers.push(serve(listener, http::api(&state).merge(http::probes(&state)))),
        }
        Ok(HttpSide { address, stop, servers })
    }

    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        let ended = async {
            for server in self.servers {
                // It may have ended on its own.
                let _ = server.await;
            }
        };
        if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
            tracing::debug!("http: requests under way are cut");
        }
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("http.{key}: {address} cannot be bound"))
}
