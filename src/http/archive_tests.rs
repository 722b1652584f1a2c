//! What is read from Kafka on demand, with an archive in memory.

use super::archive::{Archive, ArchiveAccess};
use super::tests::Server;
use crate::judge::accounting::{self, Accounting};
use crate::judge::{MergeState, OutcomeTotal, SourceRecord};
use std::sync::{Arc, Condvar, Mutex};

/// An archive that answers as it is told.
#[derive(Default)]
pub(super) struct Fake {
    broken: bool,
    /// Readers wait until it is true.
    open: Option<Arc<(Mutex<bool>, Condvar)>>,
}

pub(super) fn access() -> ArchiveAccess {
    ArchiveAccess::new(Arc::new(Fake::default()))
}

fn state() -> MergeState {
    let source = SourceRecord {
        topic: "events".to_owned(),
        partition: 3,
        start: Some(10),
        next: Some(20),
        watermark: Some(60_000),
        outcomes: vec![OutcomeTotal { outcome: "counted".to_owned(), count: 9 }],
        ..SourceRecord::default()
    };
    MergeState { sources: vec![source], ..MergeState::default() }
}

impl Archive for Fake {
    fn accounting(&self) -> Result<Accounting, String> {
        if let Some(gate) = &self.open {
            let open = gate.0.lock().unwrap();
            drop(gate.1.wait_while(open, |open| !*open).unwrap());
        }
        if self.broken { Err("no broker answers".to_owned()) } else { Ok(accounting::account(&[state()])) }
    }
}

#[tokio::test]
async fn the_accounts_are_told_as_json() {
    let answer = Server::start(None).await.get("/api/v1/accounting").await;
    assert_eq!(answer.status, 200);
    let expected = serde_json::json!({"adds_up": true, "sources": [{
        "topic": "events", "partition": 3, "start": 10, "next": 20, "outcomes": {"counted": 9}, "records": 9,
        "not_records": 1, "missing": {"offsets": 0, "ranges": 0, "newest": []}, "doubled": 0,
        "watermark": "1970-01-01T00:01:00.000Z", "idle": false, "adds_up": true
    }]});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn the_archive_is_behind_the_token_and_says_when_kafka_is_away() {
    let server = Server::start(Some("secret")).await;
    server.get("/api/v1/accounting").await.is_problem(401);
    let broken = ArchiveAccess::new(Arc::new(Fake { broken: true, open: None }));
    let answer = Server::with_archive(None, broken).await.get("/api/v1/accounting").await;
    answer.is_problem(503);
    assert!(answer.body.contains("no broker answers"), "{}", answer.body);
}

#[tokio::test]
async fn readings_are_bounded_and_the_next_one_is_told_to_come_again() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let archive = Fake { broken: false, open: Some(Arc::clone(&gate)) };
    let server = Arc::new(Server::with_archive(None, ArchiveAccess::new(Arc::new(archive))).await);
    let ask = |server: &Arc<Server>| {
        let server = Arc::clone(server);
        tokio::spawn(async move { server.get("/api/v1/accounting").await.status })
    };
    let (first, second) = (ask(&server), ask(&server));
    let mut refused = 0;
    for _ in 0..100 {
        refused = ask(&server).await.unwrap_or(0);
        if refused == 503 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(refused, 503);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200, 200));
    assert_eq!(server.get("/api/v1/accounting").await.status, 200);
}
