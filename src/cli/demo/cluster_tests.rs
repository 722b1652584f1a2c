use super::super::fixture::{action, alert, outcome, report};
use super::super::setup;
use super::super::traffic::{Scenario, TrafficOptions};
use super::*;
use crate::judge::report::Verdict;
use crate::policy::action::Decision;
use std::collections::BTreeSet;

fn traffic() -> Traffic {
    let start_ms = jiff::Timestamp::now().as_millisecond();
    let options = TrafficOptions {
        seed: 7,
        scenario: Scenario::Healthy,
        start_ms,
        change_ms: start_ms + 10_000,
        partitions: EVENT_PARTITIONS,
    };
    Traffic::new(options, 0.1)
}

#[test]
fn traffic_comes_out_of_every_partition_of_the_mock_cluster() {
    let cluster = Cluster::start(&setup::topics()).expect("a cluster");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..EVENT_PARTITIONS {
        all.add_partition_offset(EVENTS_TOPIC, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("assigned");
    let worker = produce(&cluster.bootstrap(), traffic(), 2_000, CanaryWeight::new(0.1)).expect("a producer");
    let (mut partitions, mut events) = (BTreeSet::new(), 0);
    let limit = Instant::now() + Duration::from_secs(10);
    while events < 1_000 && Instant::now() < limit {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let event: serde_json::Value =
            serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
        assert_eq!(event["model"], "fraud");
        partitions.insert(message.partition());
        events += 1;
    }
    drop(worker);
    assert_eq!((events, partitions.len()), (1_000, EVENT_PARTITIONS as usize));
}

#[test]
fn what_tidegate_says_becomes_the_story() {
    let topics = setup::topics();
    let cluster = Cluster::start(&topics).expect("a cluster");
    let own = topics.own();
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().expect("a producer");
    let json = |value: serde_json::Result<Vec<u8>>| value.expect("JSON");
    let records = [
        (&own.reports, json(serde_json::to_vec(&report(Verdict::Healthy)))),
        (&own.alerts, json(serde_json::to_vec(&alert("drift", Decision::Hold)))),
        (&own.actions, b"not JSON".to_vec()),
        (&own.actions, json(serde_json::to_vec(&action(Decision::Pause)))),
        (&own.outcomes, json(serde_json::to_vec(&outcome(Decision::Pause, "delivered")))),
        (&own.outcomes, Vec::new()),
    ];
    for (index, (topic, value)) in records.iter().enumerate() {
        let record =
            BaseRecord::<(), [u8]>::to(topic).partition(index as i32 % topics.partitions).payload(value);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(10)).expect("written");
    let (sender, mut story) = tokio::sync::mpsc::unbounded_channel();
    let worker = read_own_topics(&cluster.bootstrap(), &topics, sender).expect("a reader");
    let mut heard = Vec::new();
    let limit = Instant::now() + Duration::from_secs(10);
    while heard.len() < 4 && Instant::now() < limit {
        match story.try_recv() {
            Ok(event) => heard.push(event),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    drop(worker);
    let expected = [
        StoryEvent::Report(report(Verdict::Healthy)),
        StoryEvent::Alert(alert("drift", Decision::Hold)),
        StoryEvent::Action(action(Decision::Pause)),
        StoryEvent::Outcome(outcome(Decision::Pause, "delivered")),
    ];
    assert!(heard.len() == 4 && expected.iter().all(|event| heard.contains(event)), "{heard:?}");
}
