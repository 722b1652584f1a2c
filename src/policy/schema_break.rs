//! Tells a schema break from single bad messages: too large a share of a topic's records is dead-lettered for
//! one reason over a minute. Pure: the clock is an argument.

use super::action::{Alert, Decision, Finding};
use crate::event::{EventTime, Outcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What "over a minute" means, in milliseconds of the wall clock.
const WINDOW_MS: i64 = 60_000;
/// Flushes that are closer together share a slot, so that a topic takes at most 13 of them.
const SLOT_MS: i64 = 5_000;
/// More than this share of the records must be dead …
pub const MAX_SHARE: f64 = 0.01;
/// … and more than this many.
pub const MAX_DEAD: u64 = 100;

/// What one flush read of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicCounts {
    pub records: u64,
    /// Of them, dead ones by reason.
    pub dead: BTreeMap<Outcome, u64>,
}

/// A topic whose producers have stopped to write what Tidegate reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaBreak {
    pub topic: String,
    pub reason: Outcome,
    /// Dead records of the last minute, for this reason.
    pub dead: u64,
    /// All records of the last minute.
    pub records: u64,
    /// When it was seen, by the wall clock.
    pub at: EventTime,
}

/// The last minute of every source topic, as one reader sees it. Bounded by the configured topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaWatch {
    topics: BTreeMap<String, TopicMinute>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct TopicMinute {
    slots: VecDeque<(i64, TopicCounts)>,
    broken: BTreeSet<Outcome>,
}

impl SchemaWatch {
    /// Takes in what a flush read of `topic`; returns the breaks that begin with it. One that lasts is told
    /// once; it is over when a minute with records has had at most half of either limit.
    pub fn note(&mut self, topic: &str, counts: &TopicCounts, now: EventTime) -> Vec<SchemaBreak> {
        let minute = self.topics.entry(topic.to_owned()).or_default();
        minute.add(counts, now.0);
        let sum = minute.sum();
        let mut begun = Vec::new();
        for reason in Outcome::ALL.into_iter().filter(|outcome| outcome.is_dead_letter()) {
            let dead = sum.dead.get(&reason).copied().unwrap_or(0);
            let share = dead as f64 / sum.records.max(1) as f64;
            if dead > MAX_DEAD && share > MAX_SHARE {
                if minute.broken.insert(reason) {
                    let (topic, records) = (topic.to_owned(), sum.records);
                    begun.push(SchemaBreak { topic, reason, dead, records, at: now });
                }
            } else if sum.records > 0 && (dead <= MAX_DEAD / 2 || share <= MAX_SHARE / 2.0) {
                minute.broken.remove(&reason);
            }
        }
        begun
    }

    /// Whether a break of `topic` for this reason was told and is not over.
    pub fn is_broken(&self, topic: &str, reason: Outcome) -> bool {
        self.topics.get(topic).is_some_and(|minute| minute.broken.contains(&reason))
    }

    /// Forgets the breaks of a topic: the next flush may tell them again.
    pub fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }
}

impl TopicMinute {
    fn add(&mut self, counts: &TopicCounts, now: i64) {
        let slot = now.div_euclid(SLOT_MS);
        match self.slots.back_mut() {
            Some((at, held)) if *at == slot => {
                held.records += counts.records;
                for (reason, count) in &counts.dead {
                    *held.dead.entry(*reason).or_default() += count;
                }
            }
            _ => self.slots.push_back((slot, counts.clone())),
        }
        // A clock that was set back leaves slots of the future behind: they go too.
        let oldest = slot - WINDOW_MS / SLOT_MS;
        self.slots.retain(|(at, _)| (oldest..=slot).contains(at));
    }

    fn sum(&self) -> TopicCounts {
        let mut sum = TopicCounts::default();
        for (_, counts) in &self.slots {
            sum.records += counts.records;
            for (reason, count) in &counts.dead {
                *sum.dead.entry(*reason).or_default() += count;
            }
        }
        sum
    }
}

impl SchemaBreak {
    /// What people are told. `consequence` ends the sentence: what becomes of the topic.
    pub fn alert(&self, consequence: &str) -> Alert {
        let (topic, reason) = (&self.topic, self.reason.as_str());
        let share = self.dead as f64 / self.records.max(1) as f64;
        let minute = self.at.pane_start(WINDOW_MS).to_rfc3339();
        Alert {
            alert_id: format!("{topic}/{reason}/schema_break/{minute}"),
            kind: "schema_break".to_owned(),
            namespace: String::new(),
            model: String::new(),
            model_version: String::new(),
            topic: Some(topic.clone()),
            window_start: EventTime(self.at.0 - WINDOW_MS).to_rfc3339(),
            window_end: self.at.to_rfc3339(),
            findings: vec![Finding {
                kind: "quality".to_owned(),
                name: reason.to_owned(),
                metric: "dead_ratio".to_owned(),
                reference: "limit".to_owned(),
                value: share,
                threshold: MAX_SHARE,
            }],
            decision: Decision::Continue,
            reason: format!(
                "{} of {} records of topic {topic} in the last minute were {reason} ({:.1} %, limit {:.0} %): \
                 a producer's schema has changed; {consequence}.",
                self.dead,
                self.records,
                100.0 * share,
                100.0 * MAX_SHARE,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(records: u64, dead: u64) -> TopicCounts {
        TopicCounts { records, dead: BTreeMap::from([(Outcome::Unreadable, dead)]) }
    }

    fn begun(watch: &mut SchemaWatch, second: i64, records: u64, dead: u64) -> usize {
        watch.note("events", &counts(records, dead), EventTime(second * 1_000)).len()
    }

    #[test]
    fn a_break_is_told_once_until_it_is_over() {
        let mut watch = SchemaWatch::default();
        assert_eq!(begun(&mut watch, 0, 5_000, 100), 0, "100 is not more than 100");
        assert_eq!(begun(&mut watch, 1, 0, 1), 1);
        assert!(watch.is_broken("events", Outcome::Unreadable));
        assert_eq!(begun(&mut watch, 30, 5_000, 500), 0, "it lasts");
        assert_eq!(begun(&mut watch, 80, 5_000, 500), 0, "it lasts");
        assert_eq!(begun(&mut watch, 150, 5_000, 10), 0);
        assert!(!watch.is_broken("events", Outcome::Unreadable), "a minute with 10 of 5,000 is calm");
        assert_eq!(begun(&mut watch, 160, 5_000, 500), 1, "it is back");
    }

    #[test]
    fn few_dead_records_or_a_small_share_are_no_break() {
        let mut watch = SchemaWatch::default();
        assert_eq!(begun(&mut watch, 0, 50, 50), 0, "all of 50");
        assert_eq!(begun(&mut watch, 1, 1_000_000, 2_000), 0, "0.2 % of a million");
    }

    #[test]
    fn a_topic_without_records_is_not_over_its_break() {
        let mut watch = SchemaWatch::default();
        assert_eq!(begun(&mut watch, 0, 1_000, 1_000), 1);
        assert_eq!(begun(&mut watch, 200, 0, 0), 0);
        assert!(watch.is_broken("events", Outcome::Unreadable));
        watch.forget("events");
        assert!(!watch.is_broken("events", Outcome::Unreadable));
    }

    #[test]
    fn topics_and_reasons_are_told_apart_and_a_minute_takes_few_slots() {
        let mut watch = SchemaWatch::default();
        for second in 0..600 {
            watch.note("a", &counts(10, 10), EventTime(second * 1_000));
        }
        assert!(watch.topics["a"].slots.len() <= 13);
        assert!(watch.is_broken("a", Outcome::Unreadable));
        assert!(
            !watch.is_broken("a", Outcome::TimeOutOfBounds) && !watch.is_broken("b", Outcome::Unreadable)
        );
        let late = TopicCounts { records: 500, dead: BTreeMap::from([(Outcome::TimeOutOfBounds, 300)]) };
        let told = watch.note("a", &late, EventTime(600_000));
        assert_eq!(told.iter().map(|one| one.reason).collect::<Vec<_>>(), vec![Outcome::TimeOutOfBounds]);
    }

    #[test]
    fn the_alert_names_topic_reason_numbers_and_what_follows() {
        let told = SchemaWatch::default().note("events", &counts(1_000, 250), EventTime(1_795_428_000_000));
        let alert = told[0].alert("reading goes on");
        assert_eq!(alert.alert_id, "events/unreadable/schema_break/2026-11-23T10:00:00.000Z");
        assert_eq!(alert.topic.as_deref(), Some("events"));
        assert!(alert.reason.starts_with("250 of 1000 records of topic events"), "{}", alert.reason);
        assert!(alert.reason.contains("25.0 %") && alert.reason.ends_with("reading goes on."));
    }
}
