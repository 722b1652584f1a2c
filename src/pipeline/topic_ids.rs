//! Which topic a name stands for: a topic that is deleted and made again keeps its name and gets another id.

use super::tally_stage::{Counting, TallyAssignment};
use crate::source::kafka::{Member, topic_ids};
use rdkafka::consumer::Consumer;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the broker may take to answer. Where it does not, what was known stays.
const LIMIT: Duration = Duration::from_secs(1);
/// How often topics are asked for.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(5);

/// Learns the ids of the source topics, where they are not known yet.
pub(super) fn learn(counting: &mut Counting, member: &Member<TallyAssignment>) {
    if counting.settings.sources.iter().any(|topic| !counting.topic_ids.contains_key(topic)) {
        let found = topic_ids(member.client(), &counting.settings.sources, LIMIT);
        for (topic, id) in found {
            counting.topic_ids.entry(topic).or_insert(id);
        }
    }
}

/// Looks whether a source topic has been made anew. Then everything counted since the last flush is given up,
/// since it cannot be told apart from what was counted of the old topic, and the new one is read from its
/// beginning, behind a start marker that tells the judge.
pub(super) fn look_for_recreated(counting: &mut Counting, member: &Member<TallyAssignment>) {
    let found = topic_ids(member.client(), &counting.settings.sources, LIMIT);
    let mut recreated = BTreeSet::new();
    for (topic, id) in found {
        let before = counting.topic_ids.insert(topic.clone(), id.clone());
        if before.is_some_and(|before| before != id) {
            recreated.insert(topic);
        }
    }
    if recreated.is_empty() {
        return;
    }
    for topic in &recreated {
        tracing::error!(
            topic,
            "the source topic was deleted and made again: what was not read of it is lost"
        );
        counting.metrics.offset_out_of_range.with_label_values(&[topic.as_str(), ""]).inc();
    }
    counting.starting.recreated(recreated);
    counting.give_up("a source topic was made anew");
}
