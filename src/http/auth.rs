//! Who asks, and what they may: named bearer tokens, each with a scope.

use super::{HttpState, problem};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use hmac::digest::{CtOutput, Digest};
use sha2::Sha256;
use std::sync::Arc;

/// What a token may do; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Ask the API and look at the page.
    Read,
    /// Change what runs.
    Admin,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Admin => "admin",
        }
    }
}

/// One token; of its secret only the SHA-256 is kept.
struct Token {
    name: String,
    scope: Scope,
    digest: CtOutput<Sha256>,
}

/// Why a token is not taken. Holds no secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("http.token {0} is empty")]
    Empty(String),
    #[error("http.token {0} is the same secret as http.token {1}")]
    Twice(String, String),
}

/// The tokens of the API. None: everybody may read, and nobody may do more.
#[derive(Default)]
pub struct Tokens(Vec<Token>);

fn digest(secret: &str) -> CtOutput<Sha256> {
    CtOutput::new(Sha256::digest(secret.as_bytes()))
}

impl Tokens {
    /// Adds a token; white space around the secret is not part of it.
    ///
    /// # Errors
    /// When the secret is empty, or is that of another name.
    pub fn add(&mut self, name: &str, scope: Scope, secret: &str) -> Result<(), TokenError> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(TokenError::Empty(name.to_owned()));
        }
        if let Some(other) = self.holder(secret) {
            return Err(TokenError::Twice(name.to_owned(), other.name.clone()));
        }
        self.0.push(Token { name: name.to_owned(), scope, digest: digest(secret) });
        Ok(())
    }

    /// Compares digests, and always with every token: the time says nothing of any secret.
    fn holder(&self, offered: &str) -> Option<&Token> {
        let offered = digest(offered);
        self.0.iter().fold(None, |found, token| if token.digest == offered { Some(token) } else { found })
    }
}

/// What came in an `Authorization` header.
struct Offer {
    secret: String,
    /// A password that a browser sends by itself, also when another site's page asks for it.
    is_password: bool,
}

fn offer(headers: &HeaderMap) -> Option<Offer> {
    let (scheme, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Offer { secret: credentials.trim().to_owned(), is_password: false });
    }
    let basic = scheme.eq_ignore_ascii_case("basic").then_some(credentials.trim())?;
    let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(basic).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| Offer { secret: password.to_owned(), is_password: true })
}

/// The layer that lets only tokens of a scope through: `from_fn_with_state((state, scope), auth::require)`.
pub(super) async fn require(
    State((state, scope)): State<(Arc<HttpState>, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (name, response) = match admit(&state.tokens, scope, request.headers(), &path) {
        Ok(name) => (name, next.run(request).await),
        Err((name, refusal)) => (name, *refusal),
    };
    tracing::debug!(token = name, %method, path, status = response.status().as_u16(), "request");
    response
}

/// The name of the token, or its name with the refusal.
fn admit<'a>(
    tokens: &'a Tokens,
    scope: Scope,
    headers: &HeaderMap,
    path: &str,
) -> Result<&'a str, (&'a str, Box<Response>)> {
    if tokens.0.is_empty() {
        let detail = "no http.token of scope admin is configured, so nobody may do this";
        return if scope == Scope::Read { Ok("") } else { Err(("", forbidden(scope, detail))) };
    }
    let Some(offer) = offer(headers) else {
        // A browser cannot send a bearer token by itself: it asks for a password when the page says so.
        let page = "Basic realm=\"tidegate\", charset=\"UTF-8\"";
        let challenge = if path == "/" { page } else { "Bearer realm=\"tidegate\"" };
        return Err(("", unauthorized("a bearer token is needed", challenge)));
    };
    let Some(token) = tokens.holder(&offer.secret) else {
        let challenge = if path == "/" && offer.is_password {
            "Basic realm=\"tidegate\", charset=\"UTF-8\""
        } else {
            "Bearer realm=\"tidegate\", error=\"invalid_token\""
        };
        return Err(("", unauthorized("no such token is configured", challenge)));
    };
    if offer.is_password && scope > Scope::Read {
        let detail = "this needs `Authorization: Bearer`: a browser sends passwords unasked";
        return Err((&token.name, forbidden(scope, detail)));
    }
    if token.scope < scope {
        let detail =
            format!("the token has scope {}, and scope {} is needed", token.scope.as_str(), scope.as_str());
        return Err((&token.name, forbidden(scope, &detail)));
    }
    Ok(&token.name)
}

fn unauthorized(detail: &str, challenge: &'static str) -> Box<Response> {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    Box::new(response)
}

fn forbidden(scope: Scope, detail: &str) -> Box<Response> {
    let challenge = match scope {
        Scope::Read => "Bearer realm=\"tidegate\", error=\"insufficient_scope\", scope=\"read\"",
        Scope::Admin => "Bearer realm=\"tidegate\", error=\"insufficient_scope\", scope=\"admin\"",
    };
    let mut response = problem(StatusCode::FORBIDDEN, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    Box::new(response)
}
