//! A source topic that is deleted and made again under its name while the service reads it.

use super::broker::{Broker, Message, wait_until};
use super::serve_tests::{event, now_ms, plain};
use super::service::{Bench, LIMIT};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

fn delete(broker: &Broker, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = broker.client().create().expect("admin client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let results = runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new())).expect("an answer");
    results.into_iter().for_each(|result| assert!(result.is_ok(), "{result:?}"));
}

/// Messages of `count` events of the second at `start`.
fn second(start: i64, count: i64) -> Vec<Message> {
    let one = |n: i64| event("v1", "stable", start + n * 1_000 / count, n as u64 % 8, 0.5);
    (0..count).map(|n| Message::new(one(n)).partition((n % 2) as i32)).collect()
}

#[test]
fn a_topic_made_anew_is_counted_from_its_beginning_and_the_loss_is_marked() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "recreated", 2));
    let replica = bench.serve("a");
    let start = now_ms() - 30_000;
    broker.produce(&bench.events, &second(start, 400));
    wait_until(LIMIT, "the old topic's events", || (bench.counted_events() == 400).then_some(()));
    delete(broker, &bench.events);
    wait_until(LIMIT, "the topic to be gone", || broker.try_create_topic(&bench.events, 2).then_some(()));
    // Fewer than the old one had: no offset is out of range that could give it away.
    let again = now_ms() - 10_000;
    broker.produce(&bench.events, &second(again, 200));
    wait_until(LIMIT, "the new topic's events", || (bench.counted_events() == 600).then_some(()));
    wait_until(LIMIT, "the alarm", || {
        let (_, metrics) = replica.get("/metrics");
        let alarm =
            format!("tidegate_offset_out_of_range_total{{partition=\"\",topic=\"{}\"}}", bench.events);
        metrics.contains(&alarm).then_some(())
    });
    broker.produce(&bench.events, &second(now_ms() - 5_000, 200));
    wait_until(LIMIT, "what follows", || (bench.counted_events() == 800).then_some(()));
    let marked = bench.reports().into_values().filter(|report| report["complete"] == false).count();
    assert!(marked > 0, "what the old topic still held is lost, and the reports say so");
}
