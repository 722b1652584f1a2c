//! Source topics that are read no more because their producers' schema has broken (`on_budget = "pause"`).
//!
//! Their partitions stay assigned and paused: the group sees no change, the other topics go on, and the offsets
//! stay where they are. The watermark waits for them until `max_stall` leaves them out. Bounded by the
//! configured topics.

use super::dead_letters::Posted;
use super::tally_stage::{Counting, TallyAssignment, topic_partition};
use crate::config::OnBudget;
use crate::source::kafka::GroupConsumer;
use crate::tally::SourceKey;
use std::collections::BTreeSet;

/// What is stopped.
#[derive(Debug, Default)]
pub(super) struct Stopped {
    topics: BTreeSet<String>,
    /// Sources that the consumer has been told to pause.
    paused: BTreeSet<SourceKey>,
}

impl Stopped {
    pub(super) fn holds(&self, topic: &str) -> bool {
        !self.topics.is_empty() && self.topics.contains(topic)
    }

    /// A source that is owned no more is paused no more.
    pub(super) fn remove(&mut self, source: &SourceKey) {
        self.paused.remove(source);
    }
}

impl Counting {
    /// What the configuration wants done about topics whose schema has broken.
    pub(super) fn answer_breaks(&mut self, posted: &Posted) {
        for one in &posted.breaks {
            match self.settings.dead_letters.on_budget {
                OnBudget::Continue => {}
                OnBudget::Pause => {
                    tracing::error!(topic = one.topic, "the topic is read no more until the next start or reload");
                    self.metrics.topic_stopped.with_label_values(&[&one.topic]).set(1.0);
                    self.stopped.topics.insert(one.topic.clone());
                    self.look_again();
                }
                OnBudget::Fail => self.shared.fail(&format!(
                    "{} of {} records of topic {} in the last minute were {}, and dead_letters.on_budget is \"fail\"",
                    one.dead,
                    one.records,
                    one.topic,
                    one.reason.as_str()
                )),
            }
        }
    }

    /// Whether the current source is stopped must be looked up again.
    fn look_again(&mut self) {
        self.current.partition = -1;
    }
}

/// Pauses what is stopped and was assigned since.
pub(super) fn pause(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) {
    if counting.stopped.topics.is_empty() {
        return;
    }
    let stopped = &counting.stopped;
    let sources = counting.tally.sources().map(|(source, _)| source);
    let new: Vec<SourceKey> = sources
        .filter(|source| stopped.holds(&source.topic) && !stopped.paused.contains(source))
        .cloned()
        .collect();
    for source in new {
        match consumer.pause(&topic_partition(&source)) {
            Ok(()) => drop(counting.stopped.paused.insert(source)),
            Err(error) => tracing::debug!(%error, "a pause is to be tried again"),
        }
    }
}

/// Reads every stopped topic again, from where it stopped.
pub(super) fn resume(counting: &mut Counting, consumer: &GroupConsumer<TallyAssignment>) {
    let Stopped { topics, paused } = std::mem::take(&mut counting.stopped);
    for topic in topics {
        tracing::info!(topic, "the topic is read again");
        counting.metrics.topic_stopped.with_label_values(&[&topic]).set(0.0);
        counting.dead.forget_break(&topic);
    }
    for source in paused {
        if let Err(error) = consumer.resume(&topic_partition(&source)) {
            tracing::warn!(%error, partition = source.partition, "a paused partition could not be resumed");
        }
        if let Some(next) = counting.tally.next_offset(&source) {
            counting.starting.move_to(source, next);
        }
    }
    counting.look_again();
}
