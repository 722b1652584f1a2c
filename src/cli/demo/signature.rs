//! Standard Webhooks, the receiver's side.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Whether one of the signatures in `header` (space separated, `v1,<base64>`) is the HMAC-SHA256 of
/// `{id}.{timestamp}.{body}` under `key`. Compares in constant time.
pub fn verify(key: &[u8], id: &str, timestamp: &str, body: &[u8], header: &str) -> bool {
    header
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| mac(key, id, timestamp, body).verify_slice(&signature).is_ok())
}

fn mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
pub(super) fn sign(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(mac(key, id, timestamp, body).finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example_verifies() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let verified = |body: &[u8], header: &str| {
            verify(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body, header)
        };
        assert!(verified(body, signature));
        assert!(verified(body, &format!("v1,AAAA {signature}")));
        assert!(!verified(b"{}", signature));
        assert!(!verified(body, "") && !verified(body, "v1,") && !verified(body, "v2,AAAA"));
    }
}
