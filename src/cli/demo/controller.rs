//! A small rollout controller: takes Tidegate's webhook, checks its signature, and moves the canary's weight.

use super::story::StoryEvent;
use crate::notify::signature::{Secret, SignatureError, verify};
use crate::pipeline::now;
use crate::policy::action::{Action, Decision};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde::Deserialize;
use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;

const MILLION: f64 = 1_000_000.0;

/// The canary's share of the traffic, shared between the controller and the traffic. Clones are the same.
#[derive(Debug, Clone)]
pub struct CanaryWeight(Arc<AtomicU32>);

impl CanaryWeight {
    /// `share`: 0 to 1.
    pub fn new(share: f64) -> CanaryWeight {
        CanaryWeight(Arc::new(AtomicU32::new(millionths(share))))
    }

    /// 0 to 1.
    pub fn get(&self) -> f64 {
        f64::from(self.0.load(Ordering::Relaxed)) / MILLION
    }

    /// Sets the share and returns the one before.
    pub fn swap(&self, share: f64) -> f64 {
        f64::from(self.0.swap(millionths(share), Ordering::Relaxed)) / MILLION
    }
}

fn millionths(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * MILLION).round() as u32
}

/// The controller's state. Clones are the same controller.
#[derive(Clone)]
pub struct Controller(Arc<Inner>);

struct Inner {
    secret: [Secret; 1],
    weight: CanaryWeight,
    /// Whether the rollout's steps are stopped.
    paused: AtomicBool,
    /// Webhook ids that were carried out.
    done: Mutex<HashSet<String>>,
    story: UnboundedSender<StoryEvent>,
}

/// A CloudEvent, as far as the controller reads it.
#[derive(Deserialize)]
struct CloudEvent {
    data: Action,
}

impl Controller {
    /// `secret`: what webhooks are signed with.
    pub fn new(secret: Secret, weight: CanaryWeight, story: UnboundedSender<StoryEvent>) -> Controller {
        let (paused, done) = (AtomicBool::new(false), Mutex::new(HashSet::new()));
        Controller(Arc::new(Inner { secret: [secret], weight, paused, done, story }))
    }

    /// Binds a free loopback port and returns its address with the future that serves it until `stop` ends.
    pub async fn listen<S>(
        self,
        stop: S,
    ) -> std::io::Result<(SocketAddr, impl Future<Output = std::io::Result<()>>)>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/webhook", post(receive)).with_state(self);
        let server = axum::serve(listener, router).with_graceful_shutdown(stop);
        Ok((address, std::future::IntoFuture::into_future(server)))
    }

    /// Carries an action out unless its webhook id was seen; the status to answer with.
    fn accept(&self, id: &str, body: &[u8]) -> StatusCode {
        let Ok(CloudEvent { data: action }) = serde_json::from_slice(body) else {
            self.refuse("the body is not a CloudEvent with an action");
            return StatusCode::BAD_REQUEST;
        };
        let first = self.0.done.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        self.tell(StoryEvent::ControllerVerified {
            id: id.to_owned(),
            action: action.action,
            duplicate: !first,
        });
        if first {
            self.carry_out(action.action);
        }
        StatusCode::NO_CONTENT
    }

    fn carry_out(&self, decision: Decision) {
        match decision {
            Decision::Rollback => {
                let from = self.0.weight.swap(0.0);
                self.tell(StoryEvent::WeightChanged { from, to: 0.0 });
            }
            Decision::Pause => self.pause(true),
            Decision::Resume => self.pause(false),
            Decision::Continue | Decision::Hold | Decision::Inconclusive | Decision::Promote => {}
        }
    }

    /// Stops or goes on with the rollout's steps; the weight stays as it is.
    fn pause(&self, paused: bool) {
        if self.0.paused.swap(paused, Ordering::Relaxed) != paused {
            self.tell(StoryEvent::Paused { paused, canary_weight: self.0.weight.get() });
        }
    }

    fn refuse(&self, reason: &'static str) {
        self.tell(StoryEvent::ControllerRefused { reason });
    }

    /// The listener may be gone at shutdown; the controller's own work does not depend on it.
    fn tell(&self, event: StoryEvent) {
        let _ = self.0.story.send(event);
    }
}

/// `POST /webhook`: 204 carried out (or was before), 400 unreadable, 401 not signed by the secret or too old.
async fn receive(State(controller): State<Controller>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature");
    let verified = verify(&controller.0.secret, id, timestamp, signature, &body, now().0.div_euclid(1000));
    let refused = match verified {
        Err(SignatureError::BadTimestamp) => Some("its timestamp is missing or too far from now"),
        Err(_) => Some("its signature is wrong"),
        Ok(()) => id.is_empty().then_some("it has no id"),
    };
    if let Some(reason) = refused {
        controller.refuse(reason);
        return StatusCode::UNAUTHORIZED;
    }
    controller.accept(id, &body)
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
