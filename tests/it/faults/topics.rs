//! A source topic grows, or its group is set back by hand.

use super::{dice, now_ms, oracle, rollout, traffic, traffic::Traffic};
use crate::broker::{Broker, Message, wait_until};
use crate::receiver::Receiver;
use crate::service::{Bench, LIMIT};
use std::time::Duration;

/// So that a change of the topic is seen at once.
const REFRESH: (&str, &str) = ("topic.metadata.refresh.interval.ms", "1000");

/// Events of one partition, with serial numbers `serials`, spread over a second for every hundred.
fn events(partition: i32, start: i64, serials: std::ops::Range<u64>) -> Vec<Message> {
    serials.map(|serial| traffic::event(partition, serial, start + serial as i64 * 10)).collect()
}

#[test]
fn partitions_added_while_it_runs_are_read_from_their_beginning() {
    let mut dice = dice("more partitions");
    let Some(broker) = Broker::shared() else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(broker, "wider", 2), &receiver).client(REFRESH.0, REFRESH.1);
    let replicas = [bench.serve("a"), bench.serve("b")];
    let traffic = Traffic::start(broker, &bench.events, 2, 300);
    std::thread::sleep(super::between(&mut dice, 2.0, 4.0));
    broker.add_partitions(&bench.events, 4);
    // Sent before the service knows of them.
    traffic.widen(4);
    wait_until(LIMIT, "offsets of the added partitions", || {
        let committed = broker.committed(&bench.group, &bench.events);
        (committed.get(&2) > Some(&0) && committed.get(&3) > Some(&0)).then_some(())
    });
    std::thread::sleep(super::between(&mut dice, 1.0, 3.0));
    traffic.stop();
    oracle::settle(&bench, LIMIT);
    let verdict = oracle::judge(&bench, &receiver);
    println!("more partitions: {verdict}");
    verdict.demand();
    drop(replicas);
}

#[test]
fn offsets_set_back_by_hand_are_recognised_and_nothing_is_counted_twice() {
    let _dice = dice("set back");
    let Some(broker) = Broker::shared() else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(broker, "set-back", 1), &receiver);
    let mut replica = bench.serve("a");
    let start = now_ms() - 60_000;
    broker.produce(&bench.events, &events(0, start, 0..900));
    wait_until(LIMIT, "the events' panes", || (bench.counted_events() == 900).then_some(()));
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
    broker.set_committed(&bench.group, &bench.events, 0, 300);
    let replica = bench.serve("a");
    wait_until(LIMIT, "the flushes that came twice", || {
        // Every merge partition hears of every flush; there are two.
        let (_, metrics) = replica.get("/metrics");
        let found = metrics.lines().find(|line| line.starts_with("tidegate_duplicate_flushes_total"))?;
        found.rsplit(' ').next()?.parse::<f64>().ok().filter(|flushes| *flushes >= 2.0)
    });
    wait_until(LIMIT, "the offset where it was", || {
        (broker.committed(&bench.group, &bench.events).get(&0) == Some(&900)).then_some(())
    });
    broker.produce(&bench.events, &events(0, start, 900..1_500));
    oracle::settle(&bench, LIMIT);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bench.counted_events(), 1_500, "each event once");
    assert_eq!(bench.reports().values().filter(|report| report["complete"] == false).count(), 0);
    drop(replica);
}
