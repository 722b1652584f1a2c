//! What is read from Kafka on demand, with an archive in memory.

use super::archive::{Archive, ArchiveAccess, PanesError, PanesQuery};
use super::tests::{Server, id};
use crate::baseline::{Rollout, Watch, WatchedModel};
use crate::event::ModelId;
use crate::judge::accounting::{self, Accounting};
use crate::judge::fixture::with_rollout;
use crate::judge::{MergeState, OutcomeTotal, SourceRecord};
use crate::tally::record::{Counts, PaneRecord, RoleCount};
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::watch::Sender;

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

/// Three models of versions v1, v2 and v3, with `amount` and other series.
pub(super) fn watch() -> Sender<Arc<Watch>> {
    let model = |id: ModelId| WatchedModel { id, ..with_rollout(Rollout::Auto, true) };
    let models = [id("default", "fraud"), id("a", "twice"), id("b", "twice")].map(model).into();
    Sender::new(Arc::new(Watch { models }))
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

fn pane(start: i64) -> [PaneRecord; 2] {
    let (pane_len, version, complete) = (1_000, "v1".to_owned(), start != 5_000);
    let head =
        PaneRecord { start, pane_len, panes: 1, filled: 1, version, complete, ..PaneRecord::default() };
    let roles = RoleCount { stable: 7, ..RoleCount::default() };
    let counts = Counts { rows: 7, missing: 1, cells: vec![1, 4, 0, 2], ..Counts::default() };
    let (series, grid_hash) = ("amount".to_owned(), 0xabc);
    [
        PaneRecord { of: 2, roles: Some(roles), ..head.clone() },
        PaneRecord { series, grid_hash, counts: Some(counts), ..head },
    ]
}

impl Archive for Fake {
    fn accounting(&self) -> Result<Accounting, String> {
        if let Some(gate) = &self.open {
            let open = gate.0.lock().unwrap();
            drop(gate.1.wait_while(open, |open| !*open).unwrap());
        }
        if self.broken { Err("no broker answers".to_owned()) } else { Ok(accounting::account(&[state()])) }
    }

    /// Ten panes of one second of v1 with a numeric series.
    fn panes(&self, query: &PanesQuery) -> Result<Vec<PaneRecord>, PanesError> {
        assert_eq!((query.model.namespace.as_str(), query.model.name.as_str()), ("default", "fraud"));
        let wanted = |start: &i64| query.parts.contains(1, *start);
        let mut records: Vec<PaneRecord> = (0..10).map(|n| n * 1_000).filter(wanted).flat_map(pane).collect();
        let of_series = |one: &PaneRecord| query.series.as_ref().is_none_or(|series| *series == one.series);
        records.retain(|one| query.version.as_ref().is_none_or(|version| *version == one.version));
        records.retain(|one| one.roles.is_some() || of_series(one));
        if records.len() > query.limit { Err(PanesError::TooMany(query.limit)) } else { Ok(records) }
    }
}

#[tokio::test]
async fn the_accounts_are_told_as_json() {
    let answer = Server::start(&[]).await.get("/api/v1/accounting").await;
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
    let server = Server::start(&[("reader", super::Scope::Read, "secret")]).await;
    server.get("/api/v1/accounting").await.is_problem(401);
    let broken = ArchiveAccess::new(Arc::new(Fake { broken: true, open: None }));
    let answer = Server::with_archive(broken).await.get("/api/v1/accounting").await;
    answer.is_problem(503);
    assert!(answer.body.contains("no broker answers"), "{}", answer.body);
}

#[tokio::test]
async fn readings_are_bounded_and_the_next_one_is_told_to_come_again() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let archive = Fake { broken: false, open: Some(Arc::clone(&gate)) };
    let server = Arc::new(Server::with_archive(ArchiveAccess::new(Arc::new(archive))).await);
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

#[tokio::test]
async fn panes_are_told_with_their_cells() {
    let server = Server::start(&[]).await;
    let path = "/api/v1/models/fraud/panes?from=1970-01-01T00:00:04Z&to=1970-01-01T00:00:06Z";
    let answer = server.get(path).await;
    assert_eq!(answer.status, 200);
    let panes = answer.json()["panes"].clone();
    assert_eq!(panes.as_array().map(Vec::len), Some(2));
    assert_eq!((&panes[0]["complete"], &panes[1]["complete"]), (&true.into(), &false.into()));
    let expected = serde_json::json!({
        "model_version": "v1", "start": "1970-01-01T00:00:04.000Z", "end": "1970-01-01T00:00:05.000Z",
        "length": 1, "filled": 1, "complete": true, "revision": 0,
        "events": {"stable": 7, "canary": 0, "unset": 0},
        "series": [{"name": "amount", "of": "feature", "grid": "0000000000000abc", "rows": 7, "n": 6, "missing": 1,
            "type_errors": 0, "out_of_range": 0, "non_finite": 0, "cells": [[1, 4], [2, 2]]}]
    });
    assert_eq!(panes[0], expected);
}

#[tokio::test]
async fn bad_and_too_large_ranges_are_problems() {
    let server = Server::start(&[]).await;
    let path = |query: &str| format!("/api/v1/models/fraud/panes?{query}");
    let all = "from=1970-01-01T00:00:00Z&to=1970-01-01T00:01:00Z";
    for query in [
        String::new(),
        "from=yesterday&to=1970-01-01T00:01:00Z".to_owned(),
        "to=1970-01-01T00:00:00Z&from=1970-01-01T00:00:00Z".to_owned(),
        format!("{all}&length=2"),
        format!("{all}&limit=0"),
        format!("{all}&limit=20001"),
        format!("{all}&colour=red"),
        // Ten panes have twenty records.
        format!("{all}&limit=19"),
    ] {
        server.get(&path(&query)).await.is_problem(400);
    }
    assert_eq!(server.get(&path(&format!("{all}&limit=20"))).await.status, 200);
    server
        .get("/api/v1/models/other/panes?from=1970-01-01T00:00:00Z&to=1970-01-01T00:01:00Z")
        .await
        .is_problem(404);
}

#[tokio::test]
async fn a_version_or_series_that_is_neither_configured_nor_found_is_a_problem() {
    let server = Server::start(&[]).await;
    let path = |query: &str| {
        format!("/api/v1/models/fraud/panes?from=1970-01-01T00:00:00Z&to=1970-01-01T00:01:00Z&{query}")
    };
    // v1 has panes; v2 has none, and is configured; age is in no pane, and in the baselines.
    for (query, count) in [("version=v1&series=amount", 10), ("version=v2", 0), ("series=age", 10)] {
        let answer = server.get(&path(query)).await;
        let panes = answer.json()["panes"].as_array().map(Vec::len);
        assert_eq!((answer.status, panes), (200, Some(count)), "{query}");
    }
    for (query, sentence) in [
        (
            "version=v9",
            "version v9 of model fraud is not configured, and no pane of this time is of it; configured: v1, v2, v3",
        ),
        (
            "series=colour",
            "series colour of model fraud is in no baseline, and in no pane of this time; in the baselines: amount, \
             age, country, is_new, score, class",
        ),
    ] {
        let answer = server.get(&path(query)).await;
        answer.is_problem(404);
        assert_eq!(answer.json()["detail"], sentence);
    }
    let reports = |version: &str| format!("/api/v1/models/fraud/reports?version={version}");
    assert_eq!(server.get(&reports("v2")).await.status, 200);
    server.get(&reports("v9")).await.is_problem(404);
}

#[tokio::test]
async fn what_is_configured_is_what_was_read_last() {
    let server = Server::start(&[]).await;
    server.get("/api/v1/models/late").await.is_problem(404);
    let mut watch = Watch::clone(&server.state.watched());
    watch.models[0].id = id("default", "late");
    server.watch.send_replace(Arc::new(watch));
    assert_eq!(server.get("/api/v1/models/late").await.status, 200);
    server.get("/api/v1/models/fraud").await.is_problem(404);
}
