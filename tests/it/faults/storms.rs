//! Members join and leave without end, on both group protocols.

use super::{between, dice, heavy, oracle, rollout, traffic::Traffic};
use crate::broker::Broker;
use crate::receiver::Receiver;
use crate::service::{Bench, Replica};
use std::time::{Duration, Instant};

const STORM: Duration = Duration::from_secs(25);

fn storm(protocol: &str, properties: &[(&str, &str)]) {
    let _heavy = heavy();
    let mut dice = dice(&format!("storm, {protocol} protocol"));
    let Some(broker) = Broker::shared() else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(broker, &format!("storm-{protocol}"), 6), &receiver);
    let bench = properties.iter().fold(bench, |bench, (name, value)| bench.client(name, value));
    let stays = bench.serve("a");
    let traffic = Traffic::start(broker, &bench.events, 6, 400);
    let started = Instant::now();
    let mut guests: Vec<(usize, Replica)> = Vec::new();
    let (mut joined, mut left) = (0, 0);
    while started.elapsed() < STORM {
        let names = ["b", "c"];
        let absent = (0..names.len()).find(|n| guests.iter().all(|(guest, _)| guest != n));
        match absent {
            Some(n) if guests.is_empty() || dice.bool() => {
                guests.push((n, bench.spawn(names[n])));
                joined += 1;
            }
            _ => {
                let (_, mut guest) = guests.swap_remove(dice.usize(0..guests.len()));
                assert_eq!(guest.terminate(), Some(0), "{}", guest.log());
                left += 1;
            }
        }
        std::thread::sleep(between(&mut dice, 1.0, 3.0));
    }
    traffic.stop();
    oracle::settle(&bench, Duration::from_secs(60));
    let verdict = oracle::judge(&bench, &receiver);
    println!("storm: {protocol}: joined={joined} left={left} {verdict}");
    verdict.demand();
    assert!(joined >= 4 && left >= 3, "{joined} joined, {left} left");
    assert!(stays.log().matches("tally: partitions revoked").count() >= 3, "{}", stays.log());
}

#[test]
fn a_storm_of_rebalances_on_the_consumer_protocol_loses_and_doubles_nothing() {
    storm("consumer", &[]);
}

#[test]
fn a_storm_of_rebalances_on_the_classic_protocol_loses_and_doubles_nothing() {
    storm(
        "classic",
        &[("group.protocol", "classic"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")],
    );
}
