//! `tidegate check`: everything that is wrong with a configuration, before it is served.

use super::output;
use crate::baseline::Watch;
use crate::config::{self, Config, ConfigError, EXIT_CONFIG, TopicsConfig};
use crate::pipeline;
use crate::source::kafka::partition_counts;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `tidegate check FILE`
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration file (TOML).
    file: PathBuf,
    /// Also connect to the brokers, and say what they lack.
    #[arg(long)]
    online: bool,
}

/// Checks and tells. Exit code 0, 64 for a bad configuration, 1 when the brokers lack something that `serve`
/// would not make.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: CheckArgs) -> anyhow::Result<u8> {
    let (config, watch) = match load(&args.file) {
        Ok(loaded) => loaded,
        Err(errors) => {
            errors.iter().for_each(output::tell);
            return Ok(EXIT_CONFIG);
        }
    };
    output::print(&(summary(&config, &watch) + "\n"))?;
    if !args.online {
        return Ok(0);
    }
    // A broker that is not there is waited for.
    output::tell(format_args!("asking {} …", config.kafka.brokers));
    let counts = match partition_counts(&pipeline::client_settings(&config)) {
        Ok(counts) => counts,
        Err(error) => {
            output::tell(format_args!("no broker of {} answers: {error}", config.kafka.brokers));
            return Ok(1);
        }
    };
    let (notes, problems) = compare(&config.topics, &counts);
    let problems: Vec<String> = match refused(&config) {
        // A topic that may not be described looks as if it did not exist.
        Ok(refused) if refused.is_empty() => problems,
        Ok(refused) => refused,
        Err(error) => vec![error.to_string()],
    };
    let notes: String = notes.iter().map(|note| note.to_owned() + "\n").collect();
    output::print(&notes)?;
    problems.iter().for_each(output::tell);
    Ok(u8::from(!problems.is_empty()))
}

/// What the brokers refuse to the principal.
fn refused(config: &Config) -> std::io::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(pipeline::access::check(config)))
}

fn load(file: &Path) -> Result<(Config, Watch), Vec<ConfigError>> {
    let config = config::load(file)?;
    let watch = config::load_watch(&config)?;
    Ok((config, watch))
}

fn summary(config: &Config, watch: &Watch) -> String {
    let mut lines = vec![
        format!("sources: {} on {}", config.topics.events.join(", "), config.kafka.brokers),
        format!(
            "windows: panes of {:?}, closed {:?} after their end, in windows of 1, 4, 16 and 64",
            config.windows.pane, config.windows.lateness
        ),
    ];
    for model in &watch.models {
        for version in &model.versions {
            lines.push(format!("model {} {}: {} series", model.id, version.version, version.series.len()));
        }
    }
    lines.extend(config::out_of_reach(config, watch).into_iter().map(|said| format!("warning: {said}")));
    lines.join("\n")
}

/// What the cluster lacks: what `serve` will make (notes), and what it cannot do without (problems).
fn compare(topics: &TopicsConfig, counts: &BTreeMap<String, i32>) -> (Vec<String>, Vec<String>) {
    let (mut notes, mut problems) = (Vec::new(), Vec::new());
    for source in &topics.events {
        match counts.get(source) {
            Some(partitions) => notes.push(format!("source topic {source}: {partitions} partitions")),
            None => problems
                .push(format!("source topic {source} does not exist; create it, or correct topics.events")),
        }
    }
    for spec in pipeline::topics::specs(topics) {
        match counts.get(&spec.name) {
            Some(found) if *found != spec.partitions => problems.push(format!(
                "topic {} has {found} partitions, configured are {}; set topics.partitions = {found} or use another topics.prefix",
                spec.name, spec.partitions
            )),
            Some(_) => {}
            None if topics.create => notes.push(format!("topic {} will be created by serve", spec.name)),
            None => problems.push(format!("topic {} is missing and topics.create is false", spec.name)),
        }
    }
    (notes, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plan::tests::configured;
    use std::time::Duration;

    fn topics(create: bool) -> TopicsConfig {
        TopicsConfig {
            events: vec!["events".to_owned()],
            prefix: "tidegate".to_owned(),
            create,
            partitions: 8,
            replication: -1,
            tallies_retention: Duration::from_secs(60),
            retention: Duration::from_secs(60),
        }
    }

    #[test]
    fn every_missing_or_wrong_topic_is_named() {
        let counts = BTreeMap::from([("tidegate.tallies".to_owned(), 3)]);
        let (notes, problems) = compare(&topics(false), &counts);
        assert!(notes.is_empty());
        assert_eq!(problems.len(), 9, "{problems:#?}");
        assert!(problems.iter().any(|one| one.contains("has 3 partitions, configured are 8")));
    }

    #[test]
    fn what_serve_makes_is_no_problem() {
        let counts = BTreeMap::from([("events".to_owned(), 3)]);
        let (notes, problems) = compare(&topics(true), &counts);
        assert_eq!((notes.len(), problems.len()), (9, 0));
    }

    #[test]
    fn what_can_never_be_promoted_is_a_warning() {
        let warned = |rows: usize| {
            let (_folder, file) = configured(rows, "");
            let (config, watch) = load(&file).expect("whole");
            summary(&config, &watch)
        };
        let small = warned(2_000);
        assert!(
            small.contains("\nwarning: model default/fraud: v2 beside v1 is never called good"),
            "{small}"
        );
        assert!(!warned(20_000).contains("warning"));
    }
}
