//! Replicas that come back from the dead, and replicas that take each other for dead.

use super::{IMPATIENT, dice, heavy, now_ms, oracle, rollout, traffic::Traffic, watcher::Watcher};
use crate::broker::{Broker, wait_until};
use crate::receiver::Receiver;
use crate::service::{Bench, LIMIT};
use std::time::Duration;

#[test]
fn a_replica_that_was_stopped_and_replaced_commits_nothing_when_it_goes_on() {
    let _heavy = heavy();
    let mut dice = dice("zombie");
    let Some(broker) = Broker::own_prepared(|broker| broker.set_properties(IMPATIENT)) else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(&broker, "zombie", 4), &receiver);
    let zombies = [bench.serve("a"), bench.serve("b")];
    let watcher = Watcher::start(&broker, &bench.own("reports"));
    let traffic = Traffic::start(&broker, &bench.events, 4, 600);
    for round in 0..4 {
        let zombie = &zombies[round % 2];
        assert!(watcher.wait_closed(now_ms(), LIMIT), "panes are closed before round {round}");
        std::thread::sleep(super::between(&mut dice, 0.0, 1.0));
        zombie.signal("STOP");
        // The other one closes panes again: it has taken over the source partitions and the merge partitions.
        std::thread::sleep(Duration::from_secs(4));
        let taken_over = watcher.wait_closed(now_ms(), LIMIT);
        zombie.signal("CONT");
        assert!(taken_over, "panes are closed without the one that stands still");
    }
    traffic.stop();
    oracle::settle(&bench, LIMIT);
    let verdict = oracle::judge(&bench, &receiver);
    println!("zombie: {verdict}");
    verdict.demand();
    let logs: String = zombies.iter().map(|zombie| zombie.log()).collect();
    let discards = logs.matches("counts since the last flush are discarded").count();
    let judged_again = logs.matches("lost=true").count() + logs.matches("stage=\"judge\"").count();
    println!("zombie: counts discarded {discards} times, judges thrown away {judged_again} times");
    assert!(discards >= 3 && judged_again >= 3, "{logs}");
}

#[test]
fn two_replicas_of_one_name_end_with_a_sentence_that_names_the_id() {
    let _heavy = heavy();
    let Some(broker) = Broker::shared() else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(broker, "twins", 4), &receiver);
    let first = bench.serve("twin");
    let traffic = Traffic::start(broker, &bench.events, 4, 200);
    let mut twins = [first, bench.spawn("twin")];
    let code =
        wait_until(LIMIT, "end of one of the twins", || twins.iter_mut().find_map(|twin| twin.ended()));
    assert_eq!(code, Some(1), "not as if all were well");
    let said: Vec<String> = twins.iter().map(|twin| twin.log()).collect();
    let sentence = format!("transactional id {}-twin-", bench.group);
    let named = |log: &&String| log.contains(&sentence) && log.contains("is used by another process too");
    let gone = said.iter().find(named).unwrap_or_else(|| panic!("no sentence:\n{}", said.join("\n---\n")));
    assert!(gone.contains("give every replica its own kafka.instance"), "{gone}");
    // The one that is left goes on, and the pair has counted nothing twice.
    traffic.stop();
    oracle::settle(&bench, LIMIT);
    oracle::judge(&bench, &receiver).demand();
}
