//! A webhook receiver: an HTTP server of a few lines that keeps what it was sent.

use base64::Engine;
use hmac::{Hmac, Mac};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request that came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: String,
    pub headers: BTreeMap<String, String>,
    pub raw: Vec<u8>,
    pub body: serde_json::Value,
}

impl Request {
    /// Whether the Standard Webhooks signature is that of `key`.
    pub fn is_signed_with(&self, key: &[u8]) -> bool {
        let header = |name: &str| self.headers.get(name).cloned().unwrap_or_default();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("any key length");
        mac.update(format!("{}.{}.", self.id, header("webhook-timestamp")).as_bytes());
        mac.update(&self.raw);
        let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        header("webhook-signature").split(' ').any(|one| one == format!("v1,{expected}"))
    }
}

/// Listens until the test process ends; answers 200 to everything.
pub struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = read(stream) {
                    kept.lock().expect("no reader panics").push(request);
                }
            }
        });
        Receiver { port, requests }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no writer panics").clone()
    }
}

fn read(mut stream: TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let mut raw = vec![0; length];
    reader.read_exact(&mut raw).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    let body = serde_json::from_slice(&raw).ok()?;
    Some(Request { id: headers.get("webhook-id")?.clone(), headers, raw, body })
}
