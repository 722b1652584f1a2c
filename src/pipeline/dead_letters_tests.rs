//! The budget is kept, whatever was counted is counted once, and a refusal does not come again and again.

use super::*;
use crate::source::kafka::Cut;
use crate::tally::FlushRecord;
use crate::tally::record::{Marker, OutcomeCount, TallyRecord};

const TOPIC: &str = "events";

fn letters(per_second: u32) -> DeadLetters {
    DeadLetters::new(DeadLettersConfig { on_budget: OnBudget::Continue, per_second })
}

fn letter() -> DeadLetter {
    DeadLetter {
        topic: TOPIC.to_owned(),
        partition: 0,
        offset: 7,
        timestamp: None,
        key: Some(b"key".to_vec()),
        payload: Some(b"{".to_vec()),
        headers: Vec::new(),
        cut: Cut::default(),
        code: "unreadable",
        message: "not JSON".to_owned(),
    }
}

/// Offers `count` letters at `ms`; how many were held.
fn offer(letters: &mut DeadLetters, count: usize, ms: i64) -> usize {
    let kind = (TOPIC.to_owned(), Outcome::Unreadable);
    let before = letters.held.len();
    for _ in 0..count {
        if letters.has_budget(&kind, EventTime(ms)) {
            letters.hold(Outcome::Unreadable, letter());
        } else {
            *letters.over_budget.entry(kind.clone()).or_default() += 1;
        }
    }
    letters.held.len() - before
}

fn flush(records: u64, unreadable: u64) -> Flush {
    let outcome = |outcome: Outcome, count| OutcomeCount { outcome: outcome.as_str().to_owned(), count };
    let source = SourceRange {
        topic: TOPIC.to_owned(),
        outcomes: vec![
            outcome(Outcome::Counted, records - unreadable),
            outcome(Outcome::Unreadable, unreadable),
        ],
        ..SourceRange::default()
    };
    let marker = Marker { sources: vec![source], ..Marker::default() };
    let record = TallyRecord { format: 1, body: Some(TallyBody::Marker(marker)) };
    Flush { records: vec![FlushRecord { partition: 0, record }], offsets: Vec::new() }
}

fn own() -> OwnTopics {
    let config = crate::config::TopicsConfig {
        events: vec![TOPIC.to_owned()],
        prefix: "own".to_owned(),
        create: true,
        partitions: 1,
        replication: 1,
        tallies_retention: Duration::from_secs(60),
        retention: Duration::from_secs(60),
    };
    config.own()
}

#[test]
fn ten_seconds_worth_may_come_at_once_and_then_only_the_rate() {
    let mut letters = letters(10);
    assert_eq!(offer(&mut letters, 1_000, 0), 100);
    assert_eq!(offer(&mut letters, 1_000, 2_000), 20);
    assert_eq!(offer(&mut letters, 1_000, 1_000), 0, "a clock that was set back gives nothing");
    assert_eq!(letters.over_budget.values().sum::<u64>(), 3_000 - 120);
}

#[test]
fn a_discarded_flush_gives_its_budget_back() {
    let mut letters = letters(1);
    assert_eq!(offer(&mut letters, 30, 0), 10);
    letters.discard();
    assert_eq!((letters.held.len(), letters.bytes, letters.over_budget.len()), (0, 0, 0));
    assert_eq!(offer(&mut letters, 30, 0), 10, "the same records, read again");
    let (records, posted) = letters.post(&flush(30, 30), &own(), "a", EventTime(0));
    assert_eq!(records.len(), 10);
    let metrics = Metrics::new();
    letters.committed(&posted, &metrics);
    letters.discard();
    assert_eq!(offer(&mut letters, 30, 0), 0, "what was written is spent");
    let text = metrics.render();
    assert!(text.contains("tidegate_dead_letters_total{reason=\"unreadable\"} 10"), "{text}");
    let over = "tidegate_dead_letters_over_budget_total{reason=\"unreadable\",topic=\"events\"} 20";
    assert!(text.contains(over), "{text}");
}

#[test]
fn refused_letters_lose_their_content_and_then_are_only_counted() {
    let mut letters = letters(1_000);
    letters.refused();
    offer(&mut letters, 3, 0);
    let (records, _) = letters.post(&flush(3, 3), &own(), "a", EventTime(0));
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|one| one.payload.is_none() && one.key.is_none() && !one.headers.is_empty()));
    letters.refused();
    offer(&mut letters, 3, 0);
    let (records, posted) = letters.post(&flush(3, 3), &own(), "a", EventTime(0));
    assert_eq!(records.len(), 0);
    let metrics = Metrics::new();
    letters.committed(&posted, &metrics);
    let refused = "tidegate_dead_letters_refused_total{reason=\"unreadable\",topic=\"events\"} 3";
    assert!(metrics.render().contains(refused), "{}", metrics.render());
    letters.careful_until = Some(Instant::now());
    offer(&mut letters, 1, 0);
    let (records, _) = letters.post(&flush(1, 1), &own(), "a", EventTime(0));
    assert!(records[0].payload.is_some(), "after a while whole letters are tried again");
}

#[test]
fn a_schema_break_is_told_again_only_when_its_flush_was_not_written() {
    let mut letters = letters(10);
    let alerts = |letters: &mut DeadLetters| {
        let (records, posted) = letters.post(&flush(1_000, 500), &own(), "a", EventTime(0));
        assert_eq!(records.iter().filter(|one| one.topic == "own.alerts").count(), posted.breaks.len());
        posted
    };
    assert_eq!(alerts(&mut letters).breaks.len(), 1);
    letters.discard();
    let posted = alerts(&mut letters);
    assert_eq!(posted.breaks.len(), 1, "the first one was never visible");
    letters.committed(&posted, &Metrics::new());
    assert_eq!(alerts(&mut letters).breaks.len(), 0);
    letters.forget_break(TOPIC);
    assert_eq!(alerts(&mut letters).breaks.len(), 1);
}
