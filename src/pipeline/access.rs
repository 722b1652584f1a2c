//! What each stage does with which topic, and whether the brokers let it.

use super::{Stages, topics};
use crate::config::Config;
use crate::http::Scope;
use crate::source::kafka::Operation::{Describe, Read, Write};
use crate::source::kafka::{
    ClientSettings, Operation, TopicUse, missing_topic_rights, missing_transactional_right, refused_topics,
};

/// The topics that the stages use, and how.
pub(super) fn uses(config: &Config, stages: Stages) -> Vec<TopicUse> {
    let own = config.topics.own();
    let runs = |stage: Stages| stages == Stages::All || stages == stage;
    let mut uses: Vec<TopicUse> = Vec::new();
    let mut add = |topic: &str, operations: &[Operation]| match uses.iter_mut().find(|one| one.topic == topic)
    {
        Some(known) => known.operations.extend(operations),
        None => uses.push(TopicUse { topic: topic.to_owned(), operations: operations.to_vec() }),
    };
    for source in &config.topics.events {
        add(source, if runs(Stages::Tally) { &[Read] } else { &[Describe] });
    }
    if runs(Stages::Tally) {
        add(&own.tallies, &[Write]);
        add(&own.dead_letters, &[Write]);
    }
    if runs(Stages::Judge) {
        add(&own.tallies, &[Read]);
        for topic in [&own.panes, &own.state] {
            add(topic, &[Read, Write]);
        }
        for topic in [&own.reports, &own.alerts, &own.actions] {
            add(topic, &[Write]);
        }
    }
    if runs(Stages::Notify) {
        add(&own.actions, &[Read]);
        add(&own.outcomes, &[Read, Write]);
        add(&own.alerts, &[Write]);
    }
    if config.http.tokens.iter().any(|token| token.scope == Scope::Admin) {
        // Its bearer may tell weights.
        add(&own.tallies, &[Write]);
    }
    // The board of every process.
    for topic in [&own.reports, &own.alerts, &own.actions, &own.outcomes] {
        add(topic, &[Read]);
    }
    for one in &mut uses {
        one.operations.sort_unstable();
        one.operations.dedup();
    }
    uses
}

/// Permissions on existing topics, and on transactional ids, that are missing: one sentence each. An id of its own
/// is tried, `…-check`, so that no running replica is fenced. Whether the groups may be read shows when they are
/// joined.
pub(super) async fn missing(config: &Config, client: &ClientSettings, stages: Stages) -> Vec<String> {
    let (asked, uses) = (client.clone(), uses(config, stages));
    let id = format!("{}-{}-check", config.kafka.group, config.kafka.instance);
    let transactional = {
        let client = client.clone();
        tokio::task::spawn_blocking(move || missing_transactional_right(&client, &id))
    };
    let topics = tokio::task::spawn_blocking(move || missing_topic_rights(&asked, &uses)).await;
    let mut problems = match topics {
        Ok(Ok(missing)) => missing,
        Ok(Err(why)) => vec![why],
        Err(error) => vec![format!("permissions could not be asked for: {error}")],
    };
    match transactional.await {
        Ok(missing) => problems.extend(missing),
        Err(error) => problems.push(format!("a transactional id could not be tried: {error}")),
    }
    problems
}

/// Everything that the brokers would refuse to a process that runs all stages; makes nothing.
pub async fn check(config: &Config) -> Vec<String> {
    let client = super::client_settings(config);
    let mut problems = missing(config, &client, Stages::All).await;
    if config.topics.create {
        problems.extend(refused_topics(&client, &topics::specs(&config.topics)).await);
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenConfig;
    use std::path::Path;

    #[test]
    fn a_stage_asks_for_what_it_does_and_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("fraud-v1.parquet"), "x").expect("a file");
        let config = crate::config::parse(crate::config::MINIMAL, Path::new("t.toml"), folder.path());
        let mut config = config.expect("the minimal configuration");
        let of = |config: &Config, stages, topic: &str| {
            let found = uses(config, stages).into_iter().find(|one| one.topic == topic);
            found.map(|one| one.operations).unwrap_or_default()
        };
        let operations = |stages, topic: &str| of(&config, stages, topic);
        assert_eq!(operations(Stages::All, "model-events"), [Read]);
        assert_eq!(operations(Stages::Judge, "model-events"), [Describe]);
        assert_eq!(operations(Stages::All, "tidegate.tallies"), [Read, Write]);
        assert_eq!(operations(Stages::Tally, "tidegate.tallies"), [Write]);
        assert_eq!(operations(Stages::Judge, "tidegate.tallies"), [Read]);
        assert_eq!(operations(Stages::Notify, "tidegate.panes"), []);
        assert_eq!(operations(Stages::Tally, "tidegate.reports"), [Read]);
        assert_eq!(uses(&config, Stages::All).len(), 9);
        for (scope, expected) in [(Scope::Read, vec![Read]), (Scope::Admin, vec![Read, Write])] {
            config.http.tokens = vec![TokenConfig { name: "a".to_owned(), file: "a".into(), scope }];
            assert_eq!(of(&config, Stages::Judge, "tidegate.tallies"), expected);
        }
    }
}
