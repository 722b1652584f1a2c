//! A partition that is taken out of the assignment and put back goes on delivering, every time.

use super::broker::{Broker, Message, wait_until};
use super::service::LIMIT;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate::source::kafka::{
    Assignment, ClientSettings, GroupConsumer, Member, StartOffset, TopicPartition,
};

/// Takes every partition from its beginning.
#[derive(Default)]
struct Whole {
    assigned: AtomicBool,
}

impl Assignment for Whole {
    fn assigned(&self, _: &Member<Self>, partitions: &[TopicPartition]) -> Vec<StartOffset> {
        self.assigned.store(!partitions.is_empty(), Ordering::Relaxed);
        partitions.iter().map(|one| StartOffset { partition: one.clone(), offset: 0 }).collect()
    }

    fn revoked(&self, _: &Member<Self>, _: &[TopicPartition], _: bool) {}

    fn error(&self, _: &KafkaError) {}
}

#[test]
fn a_partition_opened_again_delivers_again_every_time() {
    const TIMES: usize = 150;
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.unique("reopened");
    broker.create_topic(&topic, 1);
    broker.produce(&topic, &[Message::new("a"), Message::new("b")]);
    let settings = ClientSettings {
        brokers: broker.address(),
        properties: BTreeMap::from([("group.protocol".to_owned(), "consumer".to_owned())]),
        client_id: topic.clone(),
    };
    let whole = Arc::new(Whole::default());
    let consumer = GroupConsumer::join(
        &settings,
        &topic,
        "reopen",
        &[&topic],
        Duration::from_secs(5),
        Arc::clone(&whole),
    )
    .expect("a consumer");
    let partition = TopicPartition { topic, partition: 0 };
    wait_until(LIMIT, "the partition", || {
        consumer.poll(Duration::from_millis(20), |_| {});
        whole.assigned.load(Ordering::Relaxed).then_some(())
    });
    for time in 0..TIMES {
        consumer.reopen(&partition, 0).expect("a partition of its own");
        let (mut first, started) = (false, Instant::now());
        while !first {
            assert!(started.elapsed() < Duration::from_secs(10), "nothing came after time {time}");
            consumer.poll(Duration::from_millis(5), |record| first |= record.offset() == 0);
            for partition in consumer.leaked() {
                wait_until(LIMIT, "the seek", || consumer.seek(&partition, 0).ok());
            }
        }
    }
    consumer.close();
}
