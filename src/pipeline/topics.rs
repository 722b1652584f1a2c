//! Tidegate's own topics, as they must be.

use crate::config::TopicsConfig;
use crate::source::kafka::TopicSpec;
use std::time::Duration;

/// The topics to be made: name, partitions, replication and settings of each.
pub fn specs(config: &TopicsConfig) -> Vec<TopicSpec> {
    let own = config.own();
    let delete = |retention: Duration| vec![cleanup("delete"), retention_ms(retention)];
    let compact = || vec![cleanup("compact"), ("segment.bytes", "16777216".to_owned())];
    // The broker deletes whole segments, and never the one being written: a day in each keeps the promise of
    // the retention to within a day.
    let both = || {
        let segments = [("segment.ms", "86400000".to_owned()), ("segment.bytes", "268435456".to_owned())];
        [vec![cleanup("compact,delete"), retention_ms(config.retention)], segments.to_vec()].concat()
    };
    let spec = |name: String, settings| TopicSpec {
        name,
        partitions: config.partitions,
        replication: config.replication,
        settings,
    };
    vec![
        spec(own.tallies, delete(config.tallies_retention)),
        spec(own.panes, both()),
        spec(own.state, compact()),
        spec(own.reports, both()),
        spec(own.alerts, both()),
        spec(own.actions, both()),
        spec(own.outcomes, both()),
        spec(own.dead_letters, delete(config.retention)),
    ]
}

fn cleanup(policy: &str) -> (&'static str, String) {
    ("cleanup.policy", policy.to_owned())
}

fn retention_ms(retention: Duration) -> (&'static str, String) {
    ("retention.ms", retention.as_millis().to_string())
}
