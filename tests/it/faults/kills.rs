//! SIGKILL of one to three replicas at random moments, again and again, under traffic.

use super::watcher::Watcher;
use super::{IMPATIENT, between, dice, from_environment, heavy, now_ms, oracle, rollout, traffic::Traffic};
use crate::broker::Broker;
use crate::receiver::Receiver;
use crate::service::{Bench, Replica};
use std::io::Write;
use std::time::{Duration, Instant};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Up to three replicas, each with its name.
struct Fleet<'a> {
    bench: &'a Bench<'a>,
    replicas: [Option<Replica>; 3],
}

impl Fleet<'_> {
    fn running(&self) -> Vec<usize> {
        (0..NAMES.len()).filter(|n| self.replicas[*n].is_some()).collect()
    }

    fn spawn(&mut self, n: usize) {
        self.replicas[n] = Some(self.bench.spawn(NAMES[n]));
    }

    /// Kills at least one and at most `most` replicas at once; returns how many.
    fn kill(&mut self, dice: &mut fastrand::Rng, most: u64) -> u64 {
        let mut running = self.running();
        dice.shuffle(&mut running);
        let victims = dice.usize(1..=running.len()).min(most as usize);
        running.iter().take(victims).for_each(|n| drop(self.replicas[*n].take()));
        victims as u64
    }

    /// Brings up one to three replicas.
    fn fill(&mut self, dice: &mut fastrand::Rng) {
        let wanted = dice.usize(1..=NAMES.len()).max(self.running().len());
        let mut missing: Vec<usize> = (0..NAMES.len()).filter(|n| self.replicas[*n].is_none()).collect();
        dice.shuffle(&mut missing);
        while self.running().len() < wanted
            && let Some(n) = missing.pop()
        {
            self.spawn(n);
        }
    }
}

#[test]
fn sigkills_at_random_moments_lose_and_double_nothing() {
    let _heavy = heavy();
    let kills = from_environment("TIDEGATE_FAULT_KILLS", 20);
    let mut dice = dice("kills");
    let Some(broker) = Broker::own_prepared(|broker| broker.set_properties(IMPATIENT)) else { return };
    let receiver = Receiver::start();
    let bench = rollout(Bench::new(&broker, "kills", 6), &receiver);
    let (started, seed) = (Instant::now(), dice.get_seed());
    let traffic = Traffic::start(&broker, &bench.events, 6, 600);
    let mut fleet = Fleet { bench: &bench, replicas: [None, None, None] };
    fleet.replicas[0] = Some(bench.serve("a"));
    let watcher = Watcher::start(&broker, &bench.own("reports"));
    let (mut killed, mut after_a_pane, mut last, mut patient) = (0, 0, now_ms(), true);
    while killed < kills {
        // Every other time the service may first get so far as to close a pane.
        if patient {
            watcher.wait_closed(last, Duration::from_secs(30));
            std::thread::sleep(between(&mut dice, 0.0, 1.0));
        } else {
            std::thread::sleep(between(&mut dice, 0.2, 3.0));
        }
        let closed = watcher.closed_since(last);
        // One at most in a hurry, so that a pane has closed before at least half of the kills.
        let most = if patient { kills - killed } else { 1 };
        let now = fleet.kill(&mut dice, most);
        patient = !patient;
        killed += now;
        after_a_pane += if closed { now } else { 0 };
        last = now_ms();
        fleet.fill(&mut dice);
    }
    let running = started.elapsed();
    traffic.stop();
    oracle::settle(&bench, Duration::from_secs(60));
    let verdict = oracle::judge(&bench, &receiver);
    let line = format!(
        "seed={seed} kills={killed} after_a_pane={after_a_pane} running_s={} settled_s={} {verdict} wrong={}",
        running.as_secs(),
        started.elapsed().as_secs(),
        verdict.wrong.len()
    );
    println!("{line}");
    if let Some(path) = std::env::var_os("TIDEGATE_FAULT_RESULTS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
        writeln!(file, "{line}").expect("a line");
    }
    verdict.demand();
    assert!(verdict.actions > 0, "the bad canary is rolled back");
    assert!(2 * after_a_pane >= killed, "a pane has closed before {after_a_pane} of {killed} kills only");
}
