//! Commits that reach the broker only after the next transaction has begun: the hole that transactions had
//! before KIP-890.

use super::proxy::{ADD_OFFSETS_TO_TXN, ADD_PARTITIONS_TO_TXN, Proxy, Rule};
use super::{IMPATIENT, dice, heavy, oracle, rollout, traffic::Traffic};
use crate::broker::Broker;
use crate::receiver::Receiver;
use crate::service::{Bench, LIMIT, Replica};
use std::time::Duration;

/// A broker to which the service finds only through a proxy, and what went through it.
struct Run {
    verdict: oracle::Verdict,
    log: String,
    held: u64,
}

fn run(name: &str, keeps: bool) -> Option<Run> {
    let _heavy = heavy();
    let mut dice = dice(name);
    let listener = Proxy::bind();
    let advertised = listener.local_addr().expect("an address").port();
    let inner = crate::service::free_port();
    let broker = Broker::own_prepared(|broker| {
        let (port, controller) = (broker.port(), broker.port() + 1);
        broker.set_properties(&format!(
            "{IMPATIENT}\
             listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{advertised}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT\n"
        ));
    })?;
    let rule = |stage: &str, every, until, dice: &mut fastrand::Rng| Rule {
        id_ends_with: format!("-{stage}-0"),
        every,
        at_most: Duration::from_secs(8),
        until,
        after: Duration::from_millis(dice.u64(0..30)),
    };
    let rules = vec![
        rule("tally", 8, ADD_OFFSETS_TO_TXN, &mut dice),
        rule("judge", 6, ADD_PARTITIONS_TO_TXN, &mut dice),
    ];
    let proxy = Proxy::start(listener, inner, rules);
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(&broker, name, 4), &receiver)
        .bootstrap(&format!("127.0.0.1:{}", proxy.port))
        // After this the client takes a commit for lost, and asks again by another connection.
        .client("socket.timeout.ms", "1200");
    let bench = if keeps { bench.environment("TIDEGATE_TEST_KEEP_SLOW_PRODUCER", "1") } else { bench };
    let replica: Replica = bench.serve("a");
    let traffic = Traffic::start(&broker, &bench.events, 4, 400);
    std::thread::sleep(Duration::from_secs(25));
    proxy.rest();
    // A hole is told by what comes behind it.
    std::thread::sleep(Duration::from_secs(6));
    traffic.stop();
    settle(&bench, keeps);
    let verdict = oracle::judge(&bench, &receiver);
    let (released, expired) = proxy.counts();
    println!("{name}: held until the next transaction {released}, not so long {expired}; {verdict}");
    Some(Run { verdict, log: replica.log(), held: released })
}

/// What a torn transaction has lost never comes: then the counts only have to stand still.
fn settle(bench: &Bench<'_>, may_miss: bool) {
    if !may_miss {
        return oracle::settle(bench, LIMIT);
    }
    let mut last = u64::MAX;
    crate::broker::wait_until(LIMIT, "counts that stand still", || {
        let counted = bench.counted_events();
        std::thread::sleep(Duration::from_secs(4));
        let still = counted == last;
        last = counted;
        still.then_some(())
    });
}

#[test]
fn commits_held_past_the_next_transaction_do_no_harm() {
    let Some(run) = run("held-fresh", false) else { return };
    run.verdict.demand();
    assert!(run.held > 0, "a commit was held past the next transaction's begin");
    assert!(!run.log.contains("TIDEGATE_TEST_KEEP_SLOW_PRODUCER"));
}

#[test]
fn without_fresh_producers_a_held_commit_is_harmless_or_its_hole_is_marked() {
    let Some(run) = run("held-kept", true) else { return };
    assert!(run.log.contains("TIDEGATE_TEST_KEEP_SLOW_PRODUCER is set"), "a warning says so:\n{}", run.log);
    assert!(run.held > 0, "a commit was held past the next transaction's begin");
    if run.verdict.wrong.is_empty() {
        return;
    }
    println!("held-kept: {}", run.verdict.wrong.join("\n"));
    assert!(run.verdict.incomplete > 0, "{}\n{}", run.verdict, run.verdict.wrong.join("\n"));
    assert_eq!(run.verdict.doubled, 0, "{}", run.verdict);
    assert_eq!(run.verdict.unmarked, Vec::<String>::new(), "what is not marked is exact");
}
