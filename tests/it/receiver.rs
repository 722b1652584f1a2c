//! A webhook receiver: an HTTP server of a few lines that keeps what it was sent, and answers as it is told.

use base64::Engine;
use hmac::{Hmac, Mac};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request that came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
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

/// What a receiver does with a request, once it has read it.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers with this status and these further header lines.
    Answer(u16, &'static str),
    After(Duration, u16),
    /// Keeps the connection open and says nothing.
    Never,
}

/// Listens until the test process ends.
pub struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub fn start() -> Receiver {
        Receiver::that(Behaviour::Answer(200, ""))
    }

    pub fn that(behaviour: Behaviour) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let receiver = Receiver {
            port,
            requests: Arc::new(Mutex::new(Vec::new())),
            behaviour: Arc::new(Mutex::new(behaviour)),
        };
        let (kept, told) = (Arc::clone(&receiver.requests), Arc::clone(&receiver.behaviour));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (kept, told) = (Arc::clone(&kept), Arc::clone(&told));
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    kept.lock().expect("no reader panics").push(request);
                    let behaviour = told.lock().expect("no writer panics").clone();
                    // The other side may have gone.
                    let _ = behave(&mut stream, &behaviour);
                });
            }
        });
        receiver
    }

    /// Answers differently from the next request on.
    pub fn turn(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no reader panics") = behaviour;
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no writer panics").clone()
    }
}

fn behave(stream: &mut TcpStream, behaviour: &Behaviour) -> std::io::Result<()> {
    let (status, headers) = match behaviour {
        Behaviour::Answer(status, headers) => (*status, *headers),
        Behaviour::After(pause, status) => {
            std::thread::sleep(*pause);
            (*status, "")
        }
        Behaviour::Never => {
            // Until the other side hangs up.
            return stream.read_to_end(&mut Vec::new()).map(|_| ());
        }
    };
    let answer = format!("HTTP/1.1 {status} Said\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes())
}

fn read(stream: &TcpStream) -> Option<Request> {
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
    let body = serde_json::from_slice(&raw).ok()?;
    Some(Request { at: Instant::now(), id: headers.get("webhook-id")?.clone(), headers, raw, body })
}
