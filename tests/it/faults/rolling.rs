//! Three brokers, killed one after the other under traffic, those that coordinate groups and transactions among
//! them.

use super::{between, dice, from_environment, heavy, oracle, rollout, traffic::Traffic, watcher::Watcher};
use crate::broker::{Broker, wait_until};
use crate::receiver::Receiver;
use crate::service::Bench;
use rdkafka::consumer::Consumer;
use std::collections::BTreeSet;
use std::time::Duration;

/// Three copies of everything, two of which must be in step.
const PROPERTIES: &str = "offsets.topic.replication.factor=3\n\
    transaction.state.log.replication.factor=3\n\
    transaction.state.log.min.isr=2\n\
    share.coordinator.state.topic.replication.factor=3\n\
    share.coordinator.state.topic.min.isr=2\n\
    default.replication.factor=3\n\
    min.insync.replicas=2\n\
    unclean.leader.election.enable=false\n\
    broker.session.timeout.ms=3000\n\
    broker.heartbeat.interval.ms=500\n";

/// Nodes (from 0 on) that lead a partition of the topics by which groups and transactions are coordinated.
fn coordinators(broker: &Broker) -> [BTreeSet<usize>; 2] {
    let metadata = broker.reader().fetch_metadata(None, Duration::from_secs(10)).expect("metadata");
    ["__consumer_offsets", "__transaction_state"].map(|name| {
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let partitions = topic.map(|topic| topic.partitions()).unwrap_or_default();
        partitions.iter().filter_map(|one| usize::try_from(one.leader() - 1).ok()).collect()
    })
}

/// Whether every partition has all three copies in step.
fn is_whole(broker: &Broker) -> bool {
    let metadata = broker.reader().fetch_metadata(None, Duration::from_secs(10));
    metadata.is_ok_and(|metadata| {
        metadata.topics().iter().flat_map(|topic| topic.partitions()).all(|one| one.isr().len() == 3)
    })
}

#[test]
fn three_brokers_may_be_killed_one_after_the_other() {
    // Three brokers are more than a usual run has room for; `tests/faults.sh rolling` kills each of them, twice.
    let kills = from_environment("TIDEGATE_FAULT_ROLLING", 0) as usize;
    if kills == 0 {
        println!("left out: TIDEGATE_FAULT_ROLLING is not set, so no cluster was rolled here");
        return;
    }
    let _heavy = heavy();
    let mut dice = dice("rolling");
    let Some(brokers) = Broker::cluster(3, PROPERTIES) else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(&brokers[0], "rolling", 6), &receiver);
    let mut replicas = [bench.serve("a"), bench.serve("b")];
    let traffic = Traffic::start(&brokers[0], &bench.events, 6, 400);
    let watcher = Watcher::start(&brokers[0], &bench.own("reports"));
    let (mut killed, mut led) = (Vec::new(), [0, 0]);
    std::thread::sleep(between(&mut dice, 2.0, 4.0));
    let first = dice.usize(0..3);
    for round in 0..kills {
        wait_until(Duration::from_secs(90), "three copies of everything", || {
            is_whole(&brokers[0]).then_some(())
        });
        let coordinators = coordinators(&brokers[0]);
        // A run of one kill takes a node that coordinates both.
        let both = coordinators[0].intersection(&coordinators[1]).next().copied();
        let victim = if kills == 1 { both.unwrap_or(first) } else { (first + round) % 3 };
        led.iter_mut()
            .zip(&coordinators)
            .for_each(|(led, leaders)| *led += usize::from(leaders.contains(&victim)));
        brokers[victim].kill();
        killed.push(victim + 1);
        std::thread::sleep(between(&mut dice, 4.0, 8.0));
        let closed = watcher.wait_closed(super::now_ms(), Duration::from_secs(60));
        brokers[victim].begin();
        assert!(closed, "panes are closed while broker {} is away", victim + 1);
        brokers[victim].await_answer().unwrap_or_else(|why| panic!("{why}"));
        std::thread::sleep(between(&mut dice, 2.0, 4.0));
    }
    traffic.stop();
    oracle::settle(&bench, Duration::from_secs(90));
    let verdict = oracle::judge(&bench, &receiver);
    println!("rolling: killed {killed:?}; {} led groups, {} led transactions; {verdict}", led[0], led[1]);
    verdict.demand();
    assert!(led[0] > 0 && led[1] > 0, "leaders of both coordinators were killed");
    replicas.iter_mut().for_each(|replica| assert_eq!(replica.ended(), None, "{}", replica.log()));
}
