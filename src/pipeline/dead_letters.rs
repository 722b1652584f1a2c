//! Dead letters between two flushes: taken within a budget, written in the flush's transaction, counted
//! whatever becomes of them.
//!
//! A letter that the dead-letter topic refuses must not fail flush after flush: its transaction is aborted and
//! read again, and for a while letters are written as headers only; if even those are refused, they are counted.

use crate::config::{DeadLettersConfig, OnBudget, OwnTopics};
use crate::event::{EventTime, Outcome};
use crate::metrics::Metrics;
use crate::policy::schema_break::{SchemaBreak, SchemaWatch, TopicCounts};
use crate::source::kafka::{BorrowedRecord, DeadLetter, Outgoing};
use crate::tally::Flush;
use crate::tally::record::{SourceRange, TallyBody};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Letters held between two flushes, in bytes. At half of it a flush does not wait for its timer; beyond it
/// letters are only counted.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// So many seconds' worth of letters may come at once.
const BURST_SECONDS: f64 = 10.0;
/// How long letters are written with less in them after the topic has refused one.
const CAREFUL_FOR: Duration = Duration::from_secs(600);

/// A source topic and why a message of it was dead. Bounded: topics are configured, reasons are outcomes.
type Kind = (String, Outcome);

/// How much of a letter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    HeadersOnly,
    /// Nothing: it is counted.
    Counted,
}

/// The letters of one tally thread.
pub(super) struct DeadLetters {
    config: DeadLettersConfig,
    held: Vec<(Outcome, DeadLetter)>,
    bytes: usize,
    buckets: BTreeMap<Kind, Bucket>,
    over_budget: BTreeMap<Kind, u64>,
    form: Form,
    careful_until: Option<Instant>,
    schema: SchemaWatch,
    /// What `schema` is once the running flush is written.
    schema_after: SchemaWatch,
}

/// What a flush did with the letters, to be counted once it is written.
#[derive(Debug, Default)]
pub(super) struct Posted {
    written: BTreeMap<Outcome, u64>,
    refused: BTreeMap<Kind, u64>,
    /// Topics whose schema has broken, as told by an alert of the flush.
    pub(super) breaks: Vec<SchemaBreak>,
}

/// Letters that may be written: refilled by time, emptied by letters.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: EventTime,
    /// Taken since the last commit: given back when the flush is discarded.
    taken: f64,
}

impl Bucket {
    fn take(&mut self, per_second: f64, now: EventTime) -> bool {
        let passed = (now.0 - self.at.0).max(0) as f64 / 1_000.0;
        self.at = now;
        self.tokens = (self.tokens + passed * per_second).min(per_second * BURST_SECONDS);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
            self.taken += 1.0;
        }
        enough
    }
}

impl DeadLetters {
    pub(super) fn new(config: DeadLettersConfig) -> DeadLetters {
        DeadLetters {
            config,
            held: Vec::new(),
            bytes: 0,
            buckets: BTreeMap::new(),
            over_budget: BTreeMap::new(),
            form: Form::Whole,
            careful_until: None,
            schema: SchemaWatch::default(),
            schema_after: SchemaWatch::default(),
        }
    }

    /// Takes a record that ended as `outcome`, if the budget of its topic and reason has room for it.
    pub(super) fn take(
        &mut self,
        record: &BorrowedRecord<'_>,
        outcome: Outcome,
        message: String,
        now: EventTime,
    ) {
        let kind = (record.topic().to_owned(), outcome);
        if self.has_budget(&kind, now) && self.bytes < MAX_BYTES {
            self.hold(outcome, DeadLetter::new(record, outcome.as_str(), message));
        } else {
            *self.over_budget.entry(kind).or_default() += 1;
        }
    }

    fn has_budget(&mut self, kind: &Kind, now: EventTime) -> bool {
        let per_second = f64::from(self.config.per_second);
        let full = Bucket { tokens: per_second * BURST_SECONDS, at: now, taken: 0.0 };
        self.buckets.entry(kind.clone()).or_insert(full).take(per_second, now)
    }

    fn hold(&mut self, outcome: Outcome, letter: DeadLetter) {
        self.bytes += letter.size();
        self.held.push((outcome, letter));
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES / 2
    }

    /// The letters and alerts to be written with `flush`. Nothing is forgotten for good before
    /// [`DeadLetters::committed`].
    pub(super) fn post(
        &mut self,
        flush: &Flush,
        own: &OwnTopics,
        instance: &str,
        now: EventTime,
    ) -> (Vec<Outgoing>, Posted) {
        if self.careful_until.is_some_and(|until| Instant::now() >= until) {
            self.careful_until = None;
            self.form = Form::Whole;
        }
        self.bytes = 0;
        let (mut records, mut posted) = (Vec::new(), Posted::default());
        for (outcome, mut letter) in std::mem::take(&mut self.held) {
            if self.form == Form::Counted {
                *posted.refused.entry((letter.topic, outcome)).or_default() += 1;
                continue;
            }
            if self.form == Form::HeadersOnly {
                letter.strip();
            }
            *posted.written.entry(outcome).or_default() += 1;
            records.push(letter.into_record(&own.dead_letters, instance));
        }
        self.schema_after = self.schema.clone();
        for (topic, counts) in counts_by_topic(flush) {
            posted.breaks.extend(self.schema_after.note(&topic, &counts, now));
        }
        records.extend(posted.breaks.iter().filter_map(|one| self.alert(one, &own.alerts)));
        (records, posted)
    }

    fn alert(&self, one: &SchemaBreak, topic: &str) -> Option<Outgoing> {
        let alert = one.alert(match self.config.on_budget {
            OnBudget::Continue => "reading goes on, and dead letters beyond the budget are only counted",
            OnBudget::Pause => "reading of the topic stops until the next start or configuration reload",
            OnBudget::Fail => "the service ends",
        });
        let payload = serde_json::to_vec(&alert);
        let payload = payload.inspect_err(|error| tracing::error!(%error, "an alert could not be written"));
        Some(Outgoing {
            topic: topic.to_owned(),
            key: Some(alert.alert_id.into_bytes()),
            payload: Some(payload.ok()?),
            ..Outgoing::default()
        })
    }

    /// The flush is written.
    pub(super) fn committed(&mut self, posted: &Posted, metrics: &Metrics) {
        self.schema = std::mem::take(&mut self.schema_after);
        self.buckets.values_mut().for_each(|bucket| bucket.taken = 0.0);
        for (outcome, count) in &posted.written {
            metrics.dead_letters.with_label_values(&[outcome.as_str()]).inc_by(*count);
        }
        for ((topic, outcome), count) in &posted.refused {
            metrics.dead_letters_refused.with_label_values(&[topic, outcome.as_str()]).inc_by(*count);
        }
        for ((topic, outcome), count) in std::mem::take(&mut self.over_budget) {
            metrics
                .dead_letters_over_budget
                .with_label_values(&[topic.as_str(), outcome.as_str()])
                .inc_by(count);
        }
        for one in &posted.breaks {
            let (dead, records, reason) = (one.dead, one.records, one.reason.as_str());
            tracing::error!(topic = one.topic, reason, dead, records, "a producer's schema has changed");
        }
    }

    /// The flush came to nothing: its records will be read again.
    pub(super) fn discard(&mut self) {
        self.held.clear();
        self.bytes = 0;
        self.over_budget.clear();
        for bucket in self.buckets.values_mut() {
            bucket.tokens += std::mem::take(&mut bucket.taken);
        }
    }

    /// The dead-letter topic refused a letter: the next ones have less in them, for a while.
    pub(super) fn refused(&mut self) {
        self.form = match self.form {
            Form::Whole => Form::HeadersOnly,
            Form::HeadersOnly | Form::Counted => Form::Counted,
        };
        self.careful_until = Some(Instant::now() + CAREFUL_FOR);
        tracing::error!(
            form = ?self.form,
            minutes = CAREFUL_FOR.as_secs() / 60,
            "the dead-letter topic refused a dead letter; letters are written in this form for a while"
        );
    }

    /// Forgets what was told of a topic that is read again.
    pub(super) fn forget_break(&mut self, topic: &str) {
        self.schema.forget(topic);
    }
}

/// What the sources of a flush read, by topic: every marker of it says so.
fn counts_by_topic(flush: &Flush) -> BTreeMap<String, TopicCounts> {
    let marker = flush.records.iter().rev().find_map(|one| match &one.record.body {
        Some(TallyBody::Marker(marker)) => Some(marker),
        _ => None,
    });
    let mut topics: BTreeMap<String, TopicCounts> = BTreeMap::new();
    for source in marker.map(|marker| marker.sources.as_slice()).unwrap_or_default() {
        add(topics.entry(source.topic.clone()).or_default(), source);
    }
    topics
}

fn add(counts: &mut TopicCounts, source: &SourceRange) {
    for one in &source.outcomes {
        counts.records += one.count;
        let dead = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == one.outcome);
        if let Some(outcome) = dead.filter(|outcome| outcome.is_dead_letter()) {
            *counts.dead.entry(outcome).or_default() += one.count;
        }
    }
}

#[cfg(test)]
#[path = "dead_letters_tests.rs"]
mod tests;
