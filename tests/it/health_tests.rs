//! Probes and the reload endpoint of the real service on a real broker.

use super::broker::{Broker, wait_until};
use super::serve_tests::plain;
use super::service::{Bench, LIMIT, Replica};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn ready(replica: &Replica) -> bool {
    replica.get("/readyz").0 == 200
}

/// `POST /api/v1/reload`; the whole answer.
fn reload(replica: &Replica, token: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", replica.port())).expect("the service");
    let request = format!("POST /api/v1/reload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn replicas_without_partitions_are_ready_too() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "surplus", 1));
    // One source partition and two of its own: two of three replicas have nothing to count, one nothing to judge.
    let replicas = ["a", "b", "c"].map(|name| bench.spawn(name));
    wait_until(LIMIT, "all three to be ready", || replicas.iter().all(ready).then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    assert!(replicas.iter().all(ready), "and they stay so");
}

#[test]
fn a_draining_process_is_not_ready_and_ends_in_order() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "drain", 1));
    let mut replica = bench.serve("a");
    replica.signal("TERM");
    // Until nobody listens any more, the probe says that no more is to be sent here.
    let limit = Duration::from_secs(12);
    let seen =
        wait_until(limit, "the probe to change", || Some(replica.get("/readyz")).filter(|one| one.0 != 200));
    assert!(seen.0 == 0 || (seen.0 == 503 && seen.1.contains("draining")), "{seen:?}");
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}

#[test]
fn a_reload_by_http_is_that_of_sighup_and_tells_every_error() {
    let Some(broker) = Broker::shared() else { return };
    let bench = plain(Bench::new(broker, "post", 1));
    let token = bench.dir.path().join("token");
    std::fs::write(&token, "ops-token\n").expect("written");
    let more = format!("[[http.token]]\nname = \"ops\"\nfile = \"{}\"\nscope = \"admin\"\n", token.display());
    let bench = bench.extra(&more);
    let replica = bench.serve("a");
    let path = bench.dir.path().join("a.toml");
    let before = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, format!("{before}\nnonsense = 1\nmore = 2\n")).expect("written");
    let refused = reload(&replica, "ops-token");
    assert!(refused.starts_with("HTTP/1.1 422 "), "{refused}");
    assert!(refused.contains("nonsense") && refused.contains("more: is an unknown key"), "{refused}");
    std::fs::write(&path, &before).expect("written");
    let taken = reload(&replica, "ops-token");
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken}");
    assert!(reload(&replica, "another").starts_with("HTTP/1.1 401 "));
    let metrics = replica.get("/metrics").1;
    assert!(metrics.contains("tidegate_config_reloads_total{outcome=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("tidegate_config_reloads_total{outcome=\"taken\"} 1"), "{metrics}");
}
