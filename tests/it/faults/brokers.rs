//! The broker is killed, stands still, and is restarted in order, under traffic.

use super::{dice, from_environment, heavy, oracle, rollout, traffic::Traffic};
use crate::broker::Broker;
use crate::receiver::Receiver;
use crate::service::{Bench, Replica};
use std::time::Duration;

/// Longer than a member's session (6 s) and than a transaction may take (10 s), so that a longer stop meets the
/// same code: the producer is given up, its successor waits for the broker, the members are thrown out.
const STALL: u64 = 13;

/// Longer than the broker takes to end a commit that it has begun.
const COMMITTED: Duration = Duration::from_millis(300);

/// Ends the broker while transactions are open, but none is being committed: replicas stand still for a moment.
///
/// Kafka 4.3.1 takes a partition for deleted that has no leader, as all have when their only broker comes back, and then
/// leaves out its marker of a commit that is under way (`getPartitionLeaderEndpoint` knows no leader -1): some of its
/// records are visible, and others never. No client can mend that.
fn end_between_commits(replicas: &[Replica], end: impl FnOnce()) {
    replicas.iter().for_each(|replica| replica.signal("STOP"));
    std::thread::sleep(COMMITTED);
    end();
    replicas.iter().for_each(|replica| replica.signal("CONT"));
}

#[test]
fn the_broker_may_be_killed_stopped_and_restarted() {
    let _heavy = heavy();
    let mut dice = dice("broker");
    let Some(broker) = Broker::own() else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(&broker, "broker", 4), &receiver);
    let mut replicas = [bench.serve("a"), bench.serve("b")];
    let traffic = Traffic::start(&broker, &bench.events, 4, 400);
    let pause = |dice: &mut fastrand::Rng| std::thread::sleep(super::between(dice, 2.0, 4.0));
    pause(&mut dice);
    end_between_commits(&replicas, || broker.kill());
    pause(&mut dice);
    broker.restart();
    pause(&mut dice);
    broker.signal("STOP");
    std::thread::sleep(Duration::from_secs(from_environment("TIDEGATE_FAULT_STALL_S", STALL)));
    broker.signal("CONT");
    pause(&mut dice);
    end_between_commits(&replicas, || broker.stop());
    pause(&mut dice);
    broker.restart();
    pause(&mut dice);
    traffic.stop();
    oracle::settle(&bench, Duration::from_secs(90));
    let verdict = oracle::judge(&bench, &receiver);
    println!("broker: {verdict}");
    verdict.demand();
    for replica in &mut replicas {
        assert_eq!(replica.ended(), None, "a replica outlives its broker\n{}", replica.log());
        assert!(replica.log().contains("counts since the last flush are discarded"), "{}", replica.log());
    }
}
