//! Standard Webhooks signatures, `v1`: HMAC-SHA256 over `{id}.{timestamp}.{body}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How far a timestamp may be from the verifier's clock, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

/// A signing key of 24 to 64 bytes. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Why a secret or a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("a signing secret is written whsec_<base64 of 24 to 64 bytes>")]
    BadSecret,
    #[error("the timestamp is more than five minutes away")]
    BadTimestamp,
    #[error("no signature matches")]
    NoMatch,
}

impl Secret {
    /// Parses `whsec_<base64>`; white space around it is ignored.
    pub fn parse(text: &str) -> Result<Secret, SignatureError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SignatureError::BadSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SignatureError::BadSecret)?;
        if (24..=64).contains(&bytes.len()) { Ok(Secret(bytes)) } else { Err(SignatureError::BadSecret) }
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }

    /// The `webhook-signature` header. `timestamp`: seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, timestamp, body).finalize().into_bytes()))
    }
}

/// Accepts when any key of `secrets` made any signature of the space-separated list in `header`, in constant
/// time per comparison, and `timestamp` is within five minutes of `now` (both seconds since 1970).
pub fn verify(
    secrets: &[Secret],
    id: &str,
    timestamp: &str,
    header: &str,
    body: &[u8],
    now: i64,
) -> Result<(), SignatureError> {
    let seconds: i64 = timestamp.parse().map_err(|_| SignatureError::BadTimestamp)?;
    if now.abs_diff(seconds) > TOLERANCE_SECONDS as u64 {
        return Err(SignatureError::BadTimestamp);
    }
    let offered = header.split(' ').filter_map(|item| STANDARD.decode(item.strip_prefix("v1,")?).ok());
    for bytes in offered {
        if secrets.iter().any(|secret| secret.mac(id, seconds, body).verify_slice(&bytes).is_ok()) {
            return Ok(());
        }
    }
    Err(SignatureError::NoMatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::parse(&format!("whsec_{}", STANDARD.encode([byte; 32]))).unwrap()
    }

    #[test]
    fn what_was_signed_verifies_and_nothing_else_does() {
        let header = secret(1).sign("a", 1000, b"body");
        assert_eq!(verify(&[secret(2), secret(1)], "a", "1000", &header, b"body", 1300), Ok(()));
        assert_eq!(verify(&[secret(2)], "a", "1000", &header, b"body", 1000), Err(SignatureError::NoMatch));
        assert_eq!(verify(&[secret(1)], "a", "1000", &header, b"bodY", 1000), Err(SignatureError::NoMatch));
        assert_eq!(
            verify(&[secret(1)], "a", "1000", &header, b"body", 1301),
            Err(SignatureError::BadTimestamp)
        );
    }

    #[test]
    fn the_standards_own_example_verifies() {
        let secret = [Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let verified = |body: &[u8], header: &str| {
            verify(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", header, body, 1_614_265_330).is_ok()
        };
        assert!(verified(body, signature));
        assert!(verified(body, &format!("v1,AAAA {signature}")));
        assert!(!verified(b"{}", signature));
        assert!(!verified(body, "") && !verified(body, "v1,") && !verified(body, "v2,AAAA"));
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(Secret::parse(&format!("whsec_{}", STANDARD.encode([1; 23]))).is_err());
    }
}
