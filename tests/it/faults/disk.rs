//! The broker's disk fills up.

use super::{dice, heavy, oracle, rollout, traffic::Traffic};
use crate::broker::Broker;
use crate::receiver::Receiver;
use crate::service::Bench;
use std::io::Write;
use std::time::Duration;

#[test]
fn a_full_disk_of_the_broker_is_outlived_and_nothing_is_lost() {
    if std::env::var("TIDEGATE_TEST_MOUNT").is_ok_and(|value| value == "off") {
        println!("left out: TIDEGATE_TEST_MOUNT=off, so no disk was filled here");
        return;
    }
    let _heavy = heavy();
    let mut dice = dice("disk");
    let Some(broker) = Broker::own_prepared(|broker| {
        assert!(
            broker.mount("400m"),
            "no tmpfs can be mounted here: run as root, or leave this test out by TIDEGATE_TEST_MOUNT=off"
        );
    }) else {
        return;
    };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(&broker, "disk", 4), &receiver);
    let mut replica = bench.serve("a");
    let traffic = Traffic::start(&broker, &bench.events, 4, 400);
    std::thread::sleep(super::between(&mut dice, 3.0, 5.0));
    let filler = broker.data().join("filler");
    fill(&filler);
    // Kafka gives up a log directory that it cannot write to, and with its only one itself.
    crate::broker::wait_until(Duration::from_secs(60), "end of the broker", || {
        (!broker.is_alive()).then_some(())
    });
    std::thread::sleep(super::between(&mut dice, 1.0, 3.0));
    assert_eq!(replica.ended(), None, "the service stands\n{}", replica.log());
    std::fs::remove_file(&filler).expect("the filler is there");
    broker.restart();
    std::thread::sleep(super::between(&mut dice, 3.0, 5.0));
    traffic.stop();
    oracle::settle(&bench, Duration::from_secs(90));
    let verdict = oracle::judge(&bench, &receiver);
    println!("disk: {verdict}");
    verdict.demand();
    assert_eq!(replica.ended(), None, "the service stands\n{}", replica.log());
}

/// Writes until nothing more fits.
fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).expect("a file on the broker's disk");
    let block = vec![0xa5_u8; 1 << 16];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[0xa5]).is_ok() {}
}
