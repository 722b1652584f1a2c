//! Deliveries over TLS: who is trusted, and how much of an answer is read.

use super::schedule::Schedule;
use super::tests::{SECRET, action, never, now, settings};
use super::webhook::{Webhook, WebhookError, WebhookSettings};
use native_tls::{Identity, TlsAcceptor};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Makes a self-signed certificate for `name` (as in subjectAltName) and its key.
fn certificate(dir: &Path, file: &str, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.join(format!("{file}.pem")), dir.join(format!("{file}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=receiver", "-addext", &format!("subjectAltName={name}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

/// An HTTPS receiver that answers 204 until the test process ends: its port, and how many requests came through.
fn receiver((cert, key): &(PathBuf, PathBuf)) -> (u16, Arc<AtomicUsize>) {
    let (cert, key) = (std::fs::read(cert).expect("a certificate"), std::fs::read(key).expect("a key"));
    let identity = Identity::from_pkcs8(&cert, &key).expect("an identity");
    let acceptor = TlsAcceptor::new(identity).expect("an acceptor");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let mut buffer = [0; 16 * 1024];
            if stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                shared.fetch_add(1, Ordering::SeqCst);
                // The client may be gone.
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
            }
        }
    });
    (port, count)
}

fn sink(url: &str, dir: &Path, ca_file: Option<PathBuf>) -> Result<Webhook, WebhookError> {
    let secret = dir.join("secret");
    std::fs::write(&secret, SECRET).expect("a secret");
    let settings = settings(url, &secret, Duration::from_secs(2));
    let delays = vec![Duration::ZERO, Duration::from_millis(10)];
    let schedule = Schedule { delays, then: Duration::from_millis(100) };
    Ok(Webhook::new(WebhookSettings { ca_file, ..settings })?.with_schedule(schedule))
}

#[tokio::test]
async fn only_a_receiver_with_a_trusted_certificate_of_its_name_gets_anything() {
    let dir = tempfile::tempdir().unwrap();
    let here = certificate(dir.path(), "here", "IP:127.0.0.1");
    let elsewhere = certificate(dir.path(), "elsewhere", "DNS:elsewhere.example");
    let (port, count) = receiver(&here);
    let url = format!("https://127.0.0.1:{port}/hook");
    for ca_file in [None, Some(elsewhere.0.clone())] {
        let outcome = sink(&url, dir.path(), ca_file).unwrap().deliver(&action(), now, never()).await;
        assert_eq!((outcome.outcome.as_str(), outcome.status), ("expired", None));
        assert!(outcome.attempts >= 2, "{outcome:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing was sent to a stranger");
    let trusted = sink(&url, dir.path(), Some(here.0.clone())).unwrap();
    let outcome = trusted.deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("delivered", 1, Some(204)));
    let (port, count) = receiver(&elsewhere);
    let url = format!("https://127.0.0.1:{port}/hook");
    let misnamed = sink(&url, dir.path(), Some(elsewhere.0.clone())).unwrap();
    assert_eq!(misnamed.deliver(&action(), now, never()).await.outcome, "expired");
    assert_eq!(count.load(Ordering::SeqCst), 0, "the certificate is trusted, but another host's");
}

#[test]
fn a_ca_file_without_a_certificate_makes_no_sink() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for file in [broken, dir.path().join("nowhere")] {
        assert!(sink("https://x/", dir.path(), Some(file)).is_err());
    }
}

#[tokio::test]
async fn an_answer_without_end_is_left_unread() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let wrote = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a delivery");
        // An answer that comes before the request is none.
        let request = stream.read(&mut [0; 1024]).expect("the request");
        assert!(request > 0);
        // Without a length the answer lasts as long as the connection.
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("the head");
        (0..100_000).take_while(|_| stream.write_all(&[b'x'; 16 * 1024]).is_ok()).count()
    });
    let started = Instant::now();
    let outcome = sink(&url, dir.path(), None).unwrap().deliver(&action(), now, never()).await;
    assert_eq!((outcome.outcome.as_str(), outcome.attempts, outcome.status), ("delivered", 1, Some(200)));
    assert!(started.elapsed() < Duration::from_secs(2), "not by a timeout");
    let blocks = tokio::task::spawn_blocking(|| wrote.join().unwrap()).await.unwrap();
    assert!(blocks < 1_000, "the connection was closed after {blocks} blocks of 16 KiB");
}

#[test]
fn a_url_with_secrets_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    for url in ["ftp://user:planted@host/?key=planted", "http://planted:99999999/"] {
        let error = sink(url, dir.path(), None).err().expect("no sink");
        assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
    }
    let shown =
        format!("{:?}", settings("http://user:planted@host/?key=planted", dir.path(), Duration::ZERO));
    assert!(!shown.contains("planted"), "{shown}");
}
