//! The budget follows what it is made of, and the queues share theirs.

use super::*;
use crate::config::MINIMAL;
use crate::judge::fixture;
use std::path::Path;

fn config(more: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("fraud-v1.parquet"), "x").expect("a file");
    let text = MINIMAL.replace("\n\n[[model]]", &format!("\n{more}\n[[model]]"));
    crate::config::parse(&text, Path::new("t.toml"), folder.path()).expect("a configuration")
}

fn watch(models: usize) -> Watch {
    let named = |index: usize| {
        let mut model = fixture::watched(true);
        model.id.name = format!("m{index}");
        model
    };
    Watch { models: (0..models).map(named).collect() }
}

const CLUSTER: Cluster = Cluster { brokers: 3, source_partitions: 12 };

fn part(budget: &MemoryBudget, name: &str) -> usize {
    let found = budget.parts.iter().find(|(part, _)| *part == name);
    found.map(|(_, bytes)| *bytes).unwrap_or_else(|| panic!("{name} in {budget:?}"))
}

#[test]
fn queues_share_their_bytes_and_keep_a_minimum() {
    let config = config("");
    for (partitions, expected) in [(1, 16 * MIB), (12, 16 * MIB), (64, 4 * MIB), (1_000, MIB)] {
        let cluster = Cluster { source_partitions: partitions, ..CLUSTER };
        assert_eq!(source_queue(&config, cluster), expected, "{partitions} partitions");
        let budget = MemoryBudget::new(&config, &watch(1), Stages::All, cluster);
        assert_eq!(part(&budget, "source queues"), partitions * expected);
    }
    let own = self::config("kafka.client = { \"queued.max.messages.kbytes\" = 2048 }");
    assert_eq!((source_queue(&own, CLUSTER), tally_queue(&own)), (2 * MIB, 2 * MIB));
}

#[test]
fn clients_are_given_what_the_budget_says() {
    let client = ClientSettings {
        brokers: "b:9092".to_owned(),
        properties: BTreeMap::from([("fetch.max.bytes".to_owned(), "77".to_owned())]),
        client_id: "t".to_owned(),
    };
    let clients = Clients::new(&config(""), &client, Cluster { source_partitions: 64, ..CLUSTER });
    let of = |client: &ClientSettings, key: &str| client.consumer("r").get(key).map(str::to_owned);
    assert_eq!(of(&clients.tally, QUEUE_PROPERTY).as_deref(), Some("4096"));
    assert_eq!(of(&clients.judge, QUEUE_PROPERTY).as_deref(), Some("8192"));
    assert_eq!(of(&clients.small, QUEUE_PROPERTY).as_deref(), Some("1024"));
    assert_eq!(of(&clients.tally, "fetch.max.bytes").as_deref(), Some("77"), "the user's word counts");
    assert_eq!(clients.tally.transactional_producer("r", "id").get(QUEUE_PROPERTY), None);
}

#[test]
fn the_budget_grows_with_threads_models_and_stages_and_its_sentence_adds_up() {
    let one = MemoryBudget::new(&config(""), &watch(1), Stages::All, CLUSTER);
    let many = MemoryBudget::new(&config(""), &watch(200), Stages::All, CLUSTER);
    let threads = MemoryBudget::new(&config("kafka.consumers = 4"), &watch(1), Stages::All, CLUSTER);
    let tally = MemoryBudget::new(&config(""), &watch(1), Stages::Tally, CLUSTER);
    assert!(many.total() > one.total() && threads.total() > one.total() && tally.total() < one.total());
    assert_eq!(part(&threads, "counts"), 4 * part(&one, "counts"));
    assert_eq!(part(&one, "open panes"), MAX_OPEN_BYTES);
    let mib: usize = one.parts.iter().map(|(_, bytes)| bytes.div_ceil(MIB)).sum();
    let said = one.sentence();
    assert!(said.starts_with(&format!("at most {} MiB: program 96, ", one.total().div_ceil(MIB))), "{said}");
    assert!(mib >= one.total() / MIB && mib <= one.total() / MIB + one.parts.len());
}

#[test]
fn many_models_with_many_cells_may_count_two_panes_of_each() {
    let watch = watch(1_000);
    let everything: usize = versions(&watch).map(pane_bytes).sum();
    assert!(2 * everything > MAX_HELD_BYTES, "enough to matter");
    let budget = MemoryBudget::new(&config(""), &watch, Stages::Tally, CLUSTER);
    assert_eq!(part(&budget, "counts"), 2 * everything);
}
