//! One webhook sink: signed, without redirects, bounded in time and size.

use super::lanes::Ending;
use super::schedule::Schedule;
use super::signature::Secret;
use super::{cloudevent, ledger};
use crate::event::EventTime;
use crate::policy::action::{Action, ActionOutcome, Decision};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest time one attempt may take, unless set.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read (so that the connection can be used again); the rest is dropped.
const MAX_ANSWER: usize = 64 * 1024;

/// What a sink is told by configuration.
#[derive(Clone)]
pub struct WebhookSettings {
    pub name: String,
    /// May hold secrets, in its user information or its query: never shown.
    pub url: String,
    pub secret_file: PathBuf,
    /// Certificates (PEM) trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Kinds of action sent here; empty: all.
    pub kinds: Vec<Decision>,
    /// How long after its window's end an action may still be sent.
    pub max_action_age: Duration,
}

impl std::fmt::Debug for WebhookSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WebhookSettings")
            .field("name", &self.name)
            .field("secret_file", &self.secret_file)
            .field("ca_file", &self.ca_file)
            .field("kinds", &self.kinds)
            .field("max_action_age", &self.max_action_age)
            .finish_non_exhaustive()
    }
}

/// Why a sink could not be made. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("{path}: {source}")]
    SecretFile { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Secret { path: PathBuf, source: super::signature::SignatureError },
    #[error("{path}: {source}")]
    CaFile { path: PathBuf, source: std::io::Error },
    #[error("{path}: no certificate in PEM: {source}")]
    Certificate { path: PathBuf, source: reqwest::Error },
    #[error("url is no http:// or https:// address")]
    Url,
    #[error("{0}: link-local and metadata addresses are refused")]
    ForbiddenAddress(IpAddr),
    #[error("HTTP client: {0}")]
    Client(reqwest::Error),
}

/// A configured sink.
pub struct Webhook {
    settings: WebhookSettings,
    url: reqwest::Url,
    secret: Secret,
    schedule: Schedule,
    attempt_timeout: Duration,
    client: reqwest::Client,
}

/// Link-local and metadata addresses, also when written as IPv4 inside IPv6: mapped (`::ffff:0:0/96`),
/// compatible (`::/96`) or through NAT64 (`64:ff9b::/96`, RFC 6052), where a gateway connects to the IPv4 part.
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
                || v6.to_ipv4().or_else(|| behind_nat64(v6)).is_some_and(|v4| v4.is_link_local())
        }
    }
}

fn behind_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [prefix @ .., a, b, c, d] = address.octets();
    (prefix == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]).then(|| Ipv4Addr::new(a, b, c, d))
}

/// Resolves by the system and refuses an answer that holds a forbidden address: the address that was checked
/// is the address that is connected to.
struct CheckedResolver;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(bad) = found.iter().find(|address| is_forbidden(address.ip())) {
                return Err(Box::new(WebhookError::ForbiddenAddress(bad.ip())).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The certificates of a PEM file; none without one.
fn certificates(path: Option<&Path>) -> Result<Vec<reqwest::Certificate>, WebhookError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|source| WebhookError::CaFile { path: path.to_owned(), source })?;
    reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(|source| WebhookError::Certificate { path: path.to_owned(), source })
}

/// How one attempt ended.
enum Attempt {
    Delivered(u16),
    Refused(u16),
    Retry(Option<u16>, Option<Duration>),
}

impl Webhook {
    /// Reads the secret file and checks the URL.
    pub fn new(settings: WebhookSettings) -> Result<Webhook, WebhookError> {
        let path = settings.secret_file.clone();
        let text = std::fs::read_to_string(&path)
            .map_err(|source| WebhookError::SecretFile { path: path.clone(), source })?;
        let secret = Secret::parse(&text).map_err(|source| WebhookError::Secret { path, source })?;
        let url = reqwest::Url::parse(&settings.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
            .ok_or(WebhookError::Url)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if let Some(literal) = host.parse::<IpAddr>().ok().filter(|address| is_forbidden(*address)) {
            return Err(WebhookError::ForbiddenAddress(literal));
        }
        // A proxy from the environment would resolve the name itself, past the check.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(CheckedResolver))
            .tls_certs_merge(certificates(settings.ca_file.as_deref())?)
            .build()
            .map_err(WebhookError::Client)?;
        Ok(Webhook {
            settings,
            url,
            secret,
            schedule: Schedule::default(),
            attempt_timeout: ATTEMPT_TIMEOUT,
            client,
        })
    }

    /// Another retry schedule than the default.
    pub fn with_schedule(mut self, schedule: Schedule) -> Webhook {
        self.schedule = schedule;
        self
    }

    /// Another bound on one attempt, from connecting to the end of the answer, than 10 s.
    pub fn with_timeout(mut self, attempt_timeout: Duration) -> Webhook {
        self.attempt_timeout = attempt_timeout;
        self
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether this kind of action is sent here.
    pub fn takes(&self, kind: Decision) -> bool {
        self.settings.kinds.is_empty() || self.settings.kinds.contains(&kind)
    }

    /// Tries until the action is `delivered`, `refused` or `expired`, or until `stop` names another end; `now` is
    /// the wall clock. Neither a pause between attempts nor an attempt outlasts the moment of expiry; `stop` ends
    /// a pause, while an attempt under way goes to its own end, since what it carried may have arrived.
    pub async fn deliver(
        &self,
        action: &Action,
        now: impl Fn() -> EventTime,
        mut stop: watch::Receiver<Ending>,
    ) -> ActionOutcome {
        let body = cloudevent::body(action);
        let left = || ledger::time_left(action, now(), self.settings.max_action_age);
        let (mut attempts, mut status, mut retry_after) = (0u32, None, None);
        let outcome = loop {
            let Some(before_pause) = left() else { break ActionOutcome::EXPIRED };
            let pause = self.schedule.delay(attempts, retry_after).min(before_pause);
            if let Some(ending) = pause_until(pause, &mut stop).await {
                break ending;
            }
            let Some(before_attempt) = left() else { break ActionOutcome::EXPIRED };
            attempts += 1;
            let timeout = self.attempt_timeout.min(before_attempt);
            match self.attempt(&action.idempotency_key, &body, now(), timeout).await {
                Attempt::Delivered(code) => {
                    status = Some(code);
                    break ActionOutcome::DELIVERED;
                }
                Attempt::Refused(code) => {
                    status = Some(code);
                    break ActionOutcome::REFUSED;
                }
                Attempt::Retry(code, after) => (status, retry_after) = (code.or(status), after),
            }
        };
        tracing::info!(
            sink = self.name(),
            key = action.idempotency_key,
            outcome,
            attempts,
            ?status,
            "action ended"
        );
        ActionOutcome { attempts, status, ..self.ended(action, outcome, now()) }
    }

    /// The outcome of an action that was never sent here.
    pub fn ended(&self, action: &Action, outcome: &'static str, now: EventTime) -> ActionOutcome {
        ActionOutcome {
            idempotency_key: action.idempotency_key.clone(),
            sink: self.name().to_owned(),
            outcome: outcome.to_owned(),
            attempts: 0,
            status: None,
            at: now.to_rfc3339(),
        }
    }

    async fn attempt(&self, id: &str, body: &[u8], now: EventTime, timeout: Duration) -> Attempt {
        let seconds = now.0.div_euclid(1000);
        let request = self
            .client
            .post(self.url.clone())
            .timeout(timeout)
            .header("content-type", cloudevent::CONTENT_TYPE)
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", self.secret.sign(id, seconds, body))
            .header("idempotency-key", id)
            .body(body.to_vec());
        let Ok(mut response) = request.send().await else { return Attempt::Retry(None, None) };
        let code = response.status().as_u16();
        let after =
            response.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?, now));
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > MAX_ANSWER {
                break;
            }
        }
        match code {
            200..=299 => Attempt::Delivered(code),
            408 | 425 | 429 | 500..=599 => Attempt::Retry(Some(code), after),
            _ => Attempt::Refused(code),
        }
    }
}

/// Waits; returns early with the end that `stop` names.
async fn pause_until(pause: Duration, stop: &mut watch::Receiver<Ending>) -> Ending {
    let told = async {
        let told = stop.wait_for(Option::is_some).await.map(|ending| *ending);
        match told {
            Ok(ending) => ending,
            // Nobody can tell any more: the pause is waited for.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ending = told => ending,
        () = tokio::time::sleep(pause) => None,
    }
}

/// The pause that a `Retry-After` header asks for: seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(value: &str, now: EventTime) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(date.saturating_sub(now.0)).unwrap_or(0)))
}
