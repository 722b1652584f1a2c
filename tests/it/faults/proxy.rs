//! A TCP proxy between the service and its broker that reads request headers, and holds back what it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
pub const ADD_OFFSETS_TO_TXN: i16 = 25;
pub const END_TXN: i16 = 26;

/// One request on its way to the broker.
#[derive(Debug, Clone)]
pub struct Frame {
    pub api_key: i16,
    /// What the body begins with when it is a transactional request: the transactional id.
    pub id: String,
    bytes: Vec<u8>,
}

impl Frame {
    /// Reads one request: its length, then the header (key, version, correlation id, client id), then the body.
    fn read(stream: &mut TcpStream) -> std::io::Result<Frame> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let size = u32::from_be_bytes(length) as usize;
        let mut bytes = length.to_vec();
        bytes.resize(4 + size, 0);
        stream.read_exact(&mut bytes[4..])?;
        let api_key = bytes.get(4..6).map_or(-1, |key| i16::from_be_bytes([key[0], key[1]]));
        let id = match api_key {
            ADD_PARTITIONS_TO_TXN | ADD_OFFSETS_TO_TXN | END_TXN => {
                let (_, body) = text(&bytes, 12).unwrap_or_default();
                text(&bytes, body).map_or_else(String::new, |(id, _)| id)
            }
            _ => String::new(),
        };
        Ok(Frame { api_key, id, bytes })
    }
}

/// A string with a length of 16 bits at `at`, and where it ends.
fn text(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::try_from(i16::from_be_bytes([length[0], length[1]])).unwrap_or(0);
    let text = bytes.get(at + 2..at + 2 + length)?;
    Some((String::from_utf8_lossy(text).into_owned(), at + 2 + length))
}

/// Which commits are held back, and until when.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The transactional id ends so.
    pub id_ends_with: String,
    /// Every so many commits one is held.
    pub every: u64,
    /// How long the broker is kept waiting for one at most.
    pub at_most: Duration,
    /// What of the id's next transaction lets it go, and how long after.
    pub until: i16,
    pub after: Duration,
}

#[derive(Default)]
struct Held {
    /// Commits seen of the rule's id.
    seen: AtomicU64,
    /// The id of the commit that is held now.
    waiting: Mutex<Option<String>>,
    released: AtomicU64,
    expired: AtomicU64,
    off: AtomicBool,
}

/// Listens until the test process ends.
pub struct Proxy {
    pub port: u16,
    held: Arc<Vec<(Rule, Held)>>,
}

impl Proxy {
    /// A port for a proxy: the broker must know it before it is there.
    pub fn bind() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("a port")
    }

    /// Passes everything to the broker at `target`, by these rules.
    pub fn start(listener: TcpListener, target: u16, rules: Vec<Rule>) -> Proxy {
        let port = listener.local_addr().expect("an address").port();
        let held = Arc::new(rules.into_iter().map(|rule| (rule, Held::default())).collect::<Vec<_>>());
        let rules = Arc::clone(&held);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let rules = Arc::clone(&rules);
                std::thread::spawn(move || serve(client, target, &rules));
            }
        });
        Proxy { port, held }
    }

    /// Commits that were held until the next transaction, and those for which none came in time.
    pub fn counts(&self) -> (u64, u64) {
        let sum = |of: fn(&Held) -> &AtomicU64| {
            self.held.iter().map(|(_, held)| of(held).load(Ordering::Relaxed)).sum()
        };
        (sum(|held| &held.released), sum(|held| &held.expired))
    }

    /// Holds nothing back any more.
    pub fn rest(&self) {
        self.held.iter().for_each(|(_, held)| held.off.store(true, Ordering::Relaxed));
    }
}

fn serve(client: TcpStream, target: u16, rules: &Arc<Vec<(Rule, Held)>>) {
    let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let (Ok(mut from_broker), Ok(mut to_client)) = (broker.try_clone(), client.try_clone()) else { return };
    std::thread::spawn(move || {
        // Either side may go; then the other one is told.
        let _ = std::io::copy(&mut from_broker, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let broker = Arc::new(Mutex::new(broker));
    let mut client = client;
    while let Ok(frame) = Frame::read(&mut client) {
        if let Some(index) = rules.iter().position(|(rule, held)| is_to_hold(rule, held, &frame)) {
            // The connection stays open for it, also when the client gives it up.
            let (rules, broker) = (Arc::clone(rules), Arc::clone(&broker));
            std::thread::spawn(move || hold(&rules[index], &frame, &broker));
            continue;
        }
        let (key, id) = (frame.api_key, frame.id.clone());
        if send(&broker, &frame).is_err() {
            break;
        }
        for (rule, held) in rules.iter().filter(|(rule, _)| rule.until == key) {
            let mut waiting = held.waiting.lock().expect("no holder panics");
            if *waiting == Some(id.clone()) {
                std::thread::sleep(rule.after);
                *waiting = None;
            }
        }
    }
    let stream = Arc::clone(&broker);
    // What is held still has to reach the broker by this connection; responses to it go nowhere.
    if Arc::strong_count(&stream) == 2 {
        let _ = stream.lock().expect("no sender panics").shutdown(Shutdown::Both);
    }
}

fn send(broker: &Mutex<TcpStream>, frame: &Frame) -> std::io::Result<()> {
    broker.lock().expect("no sender panics").write_all(&frame.bytes)
}

fn is_to_hold(rule: &Rule, held: &Held, frame: &Frame) -> bool {
    if frame.api_key != END_TXN || !frame.id.ends_with(&rule.id_ends_with) || held.off.load(Ordering::Relaxed)
    {
        return false;
    }
    let mut waiting = held.waiting.lock().expect("no holder panics");
    // The client's second try of a commit that is held goes through.
    if waiting.is_some() || held.seen.fetch_add(1, Ordering::Relaxed) % rule.every != rule.every - 1 {
        return false;
    }
    *waiting = Some(frame.id.clone());
    true
}

fn hold((rule, held): &(Rule, Held), frame: &Frame, broker: &Mutex<TcpStream>) {
    let started = Instant::now();
    while held.waiting.lock().expect("no one else panics").is_some() && started.elapsed() < rule.at_most {
        std::thread::sleep(Duration::from_millis(1));
    }
    let freed = held.waiting.lock().expect("no one else panics").take().is_none();
    let counter = if freed { &held.released } else { &held.expired };
    counter.fetch_add(1, Ordering::Relaxed);
    // The broker may have closed the connection meanwhile; then it never hears of the commit.
    let _ = send(broker, frame);
    // Its answer is awaited a little before the connection may be closed.
    std::thread::sleep(Duration::from_millis(500));
}
