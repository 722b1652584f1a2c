//! The harness itself: what it says it does, it does on a real broker.

use crate::broker::{Broker, Message, Record, wait_until};
use rdkafka::producer::Producer;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn broker_gives_back_what_was_produced() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.unique("round-trip");
    broker.create_topic(&topic, 3);
    let full =
        Message::new("first").key("k").partition(2).timestamp(1_700_000_000_123).header("why", "because");
    let tombstone = Message { value: None, ..Message::default().key("gone").partition(0) };
    broker.produce(&topic, &[full, tombstone, Message::new("second").partition(2)]);

    let records = broker.read_all(&topic);
    assert_eq!(records.len(), 3);
    assert_eq!((records[0].partition, records[0].offset, &records[0].value), (0, 0, &None));
    assert_eq!(records[0].key.as_deref(), Some(&b"gone"[..]));
    assert_eq!((records[1].partition, records[1].text()), (2, "first".to_owned()));
    assert_eq!(records[1].timestamp, Some(1_700_000_000_123));
    assert_eq!(records[1].header("why").as_deref(), Some("because"));
    assert_eq!((records[2].offset, records[2].text()), (1, "second".to_owned()));
    assert_eq!(broker.watermarks(&topic), BTreeMap::from([(0, (0, 1)), (1, (0, 0)), (2, (0, 2))]));
}

#[test]
fn broker_takes_a_large_batch_in_order() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.unique("batch");
    broker.create_topic(&topic, 1);
    let messages: Vec<Message> = (0..50_000).map(|i| Message::new(format!("{i:0>200}"))).collect();
    broker.produce(&topic, &messages);
    let whole = |records: &[Record]| records.len() == messages.len();
    let records = broker.read_until(&topic, Duration::from_secs(30), whole);
    assert!(records.iter().zip(&messages).all(|(r, m)| r.value == m.value));
}

#[test]
fn broker_hides_aborted_and_open_transactions_and_moves_offsets_with_committed_ones() {
    let Some(broker) = Broker::shared() else { return };
    let (topic, group) = (broker.unique("transactions"), broker.unique("group"));
    broker.create_topic(&topic, 1);
    let producer = broker.producer(&[("transactional.id", &topic), ("retry.backoff.ms", "5")]);
    producer.inner.init_transactions(Duration::from_secs(30)).unwrap();

    producer.inner.begin_transaction().unwrap();
    (0..5).for_each(|i| producer.send(&topic, &Message::new(format!("aborted {i}"))));
    producer.flush();
    producer.inner.abort_transaction(Timeout::Never).unwrap();

    producer.inner.begin_transaction().unwrap();
    (0..3).for_each(|i| producer.send(&topic, &Message::new(format!("committed {i}"))));
    let consumer: rdkafka::consumer::BaseConsumer = broker.client().set("group.id", &group).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(42)).unwrap();
    let metadata = rdkafka::consumer::Consumer::group_metadata(&consumer).unwrap();
    producer.inner.send_offsets_to_transaction(&offsets, &metadata, Duration::from_secs(30)).unwrap();
    producer.inner.commit_transaction(Timeout::Never).unwrap();

    producer.inner.begin_transaction().unwrap();
    producer.send(&topic, &Message::new("open"));
    producer.flush();
    let seen: Vec<String> = broker.read_all(&topic).iter().map(|r| r.text()).collect();
    assert_eq!(seen, ["committed 0", "committed 1", "committed 2"]);
    assert_eq!(broker.committed(&group, &topic), BTreeMap::from([(0, 42)]));
    producer.inner.abort_transaction(Timeout::Never).unwrap();
}

#[test]
fn broker_keeps_its_data_when_killed_and_when_stopped() {
    let Some(broker) = Broker::own() else { return };
    broker.create_topic("kept", 2);
    broker.produce("kept", &[Message::new("before").partition(1)]);
    let address = broker.address();
    broker.kill();
    broker.restart();
    broker.produce("kept", &[Message::new("between").partition(1)]);
    broker.stop();
    broker.restart();
    assert_eq!(broker.address(), address);
    let seen: Vec<String> = broker.read_all("kept").iter().map(|r| r.text()).collect();
    assert_eq!(seen, ["before", "between"]);
}

#[test]
fn broker_ends_when_the_process_that_started_it_is_killed() {
    if Broker::shared().is_none() {
        return; // also makes sure that the jars are there
    }
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("broker");
    std::fs::create_dir(&kept).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/guard.sh");
    // A shell that stands for the test process: it holds the guard's pipe, and is killed without warning.
    let holder =
        "exec 9> >(setsid bash \"$0\" \"$1\" 31990 31991 >\"$1.answers\"); echo start >&9; exec sleep 600";
    let mut parent = Command::new("bash").args(["-c", holder]).arg(&script).arg(&kept).spawn().unwrap();
    let pid = wait_until(Duration::from_secs(30), "broker process", || {
        let answers = std::fs::read_to_string(dir.path().join("broker.answers")).ok()?;
        answers.strip_prefix("started ")?.trim_end().parse::<u32>().ok()
    });
    let process = format!("/proc/{pid}");
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until(Duration::from_secs(30), "end of the broker", || {
        (!Path::new(&process).exists()).then_some(())
    });
    wait_until(Duration::from_secs(30), "tidy directory", || (!kept.exists()).then_some(()));
}
