//! The service on a broker with an authorizer: what permissions are enough, and what is said of each that is
//! missing, of a wrong password and of a certificate that nobody trusts.

use super::acls::Operation::{Create, Describe, Read, Write};
use super::acls::{Acl, Resource, grant, revoke};
use super::broker::{Broker, Message, wait_until};
use super::serve_tests::{now_ms, plain, stream, wait_counted};
use super::service::{Bench, LIMIT};
use std::process::{Command, Output};

pub(super) const ALICE: &str = "User:alice";
const CLIENT: &str = "User:CN=tidegate-client";

/// Logs in as alice, by SCRAM over TLS.
pub(super) fn by_scram<'a>(bench: Bench<'a>) -> Bench<'a> {
    by_scram_with(bench, "ca.pem", "alice.password")
}

fn by_scram_with<'a>(bench: Bench<'a>, ca: &str, password: &str) -> Bench<'a> {
    let (address, _) = bench.broker.secure_addresses();
    let (ca, password) = (bench.broker.tls_file(ca), bench.broker.tls_file(password));
    let properties = format!(
        "\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = \"alice\"\n\"sasl.password_file\" = \"{}\"\n\"ssl.ca.location\" = \"{}\"\n",
        password.display(),
        ca.display()
    );
    bench.listener(&address, &properties)
}

/// Logs in by a client certificate.
fn by_certificate(bench: Bench<'_>) -> Bench<'_> {
    let (_, address) = bench.broker.secure_addresses();
    let file = |name| bench.broker.tls_file(name).display().to_string();
    let properties = format!(
        "\"security.protocol\" = \"SSL\"\n\"ssl.ca.location\" = \"{}\"\n\
         \"ssl.certificate.location\" = \"{}\"\n\"ssl.key.location\" = \"{}\"\n",
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    bench.listener(&address, &properties)
}

/// All that the service needs, and nothing more.
pub(super) fn minimal(bench: &Bench<'_>) -> Vec<Acl> {
    let acl =
        |resource, name: &str, prefix, operation| Acl { resource, name: name.to_owned(), prefix, operation };
    let own = format!("{}.", bench.prefix);
    let id = format!("{}-", bench.group);
    vec![
        acl(Resource::Topic, &bench.events, false, Read),
        acl(Resource::Topic, &bench.events, false, Describe),
        acl(Resource::Group, &bench.group, true, Read),
        acl(Resource::Group, &bench.group, true, Describe),
        acl(Resource::TransactionalId, &id, true, Write),
        acl(Resource::TransactionalId, &id, true, Describe),
        acl(Resource::Topic, &own, true, Create),
        acl(Resource::Topic, &own, true, Read),
        acl(Resource::Topic, &own, true, Write),
        acl(Resource::Topic, &own, true, Describe),
    ]
}

/// The minimal list without what grants `operation` on `resource` (of that name).
fn without(bench: &Bench<'_>, resource: Resource, name: &str, operation: super::acls::Operation) -> Vec<Acl> {
    let all = minimal(bench);
    let kept: Vec<Acl> = all
        .iter()
        .filter(|acl| (acl.resource, acl.name.as_str(), acl.operation) != (resource, name, operation))
        .cloned()
        .collect();
    assert_eq!(kept.len() + 1, all.len(), "one is left out");
    kept
}

fn tidegate(bench: &Bench<'_>, command: &[&str]) -> Output {
    let config = bench.config("a", 0);
    let mut words = command.to_vec();
    words.insert(1, config.to_str().expect("UTF-8"));
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(words).output().expect("it runs")
}

/// Both commands end with exit code 1 and say the sentence.
fn assert_said(bench: &Bench<'_>, sentence: &str) {
    for command in [&["serve"][..], &["check", "--online"]] {
        let output = tidegate(bench, command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains(sentence), "{command:?} does not say {sentence:?}: {said}");
    }
}

/// Events become reports, and what is no event a dead letter.
fn works(bench: &Bench<'_>) {
    let start = now_ms() - 20_000;
    bench.produce(&stream(start, 4, 100));
    bench.broker.produce(&bench.events, [&Message::new("{\"model\": tru").partition(0)]);
    let mut replica = bench.serve("a");
    wait_counted(bench, 400);
    wait_until(LIMIT, "reports", || (!bench.reports().is_empty()).then_some(()));
    let dead = bench.broker.read_until(&bench.own("dead-letters"), LIMIT, |dead| !dead.is_empty());
    assert_eq!(dead[0].text(), "{\"model\": tru");
    let metrics = replica.get("/metrics").1;
    for stage in ["tally-0", "judge", "notify", "board"] {
        assert!(metrics.contains(&format!("tidegate_stage_up{{stage=\"{stage}\"}} 1")), "{metrics}");
    }
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
    let log = replica.log();
    assert!(!log.contains("authorization failed") && !log.contains("may not"), "{log}");
}

#[test]
fn over_scram_and_tls_the_minimal_permissions_are_enough() {
    let Some(broker) = Broker::secure() else { return };
    let bench = by_scram(plain(Bench::new(broker, "scram", 2)));
    grant(&broker.address(), ALICE, &minimal(&bench));
    let checked = tidegate(&bench, &["check", "--online"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    works(&bench);
}

#[test]
fn with_a_client_certificate_the_minimal_permissions_are_enough() {
    let Some(broker) = Broker::secure() else { return };
    let bench = by_certificate(plain(Bench::new(broker, "mtls", 2)));
    grant(&broker.address(), CLIENT, &minimal(&bench));
    works(&bench);
}

#[test]
fn each_missing_permission_that_can_be_known_at_start_is_named_there() {
    let Some(broker) = Broker::secure() else { return };
    let bench = |name: &str| by_scram(plain(Bench::new(broker, name, 1)));
    let address = broker.address();

    let one = bench("no-source-read");
    grant(&address, ALICE, &without(&one, Resource::Topic, &one.events, Read));
    assert_said(&one, &format!("the principal may not Read from Topic {}: grant Read on Topic", one.events));

    // Read includes Describe, so this one has neither.
    let one = bench("no-source");
    let acls: Vec<Acl> = minimal(&one).into_iter().filter(|acl| acl.name != one.events).collect();
    grant(&address, ALICE, &acls);
    assert_said(&one, &format!("the principal may not Describe Topic {}: grant", one.events));

    let one = bench("no-id");
    let id = format!("{}-", one.group);
    grant(&address, ALICE, &without(&one, Resource::TransactionalId, &id, Write));
    assert_said(&one, &format!("the principal may not Write to TransactionalId {id}a-check: grant Write on"));

    let one = bench("no-create");
    let own = format!("{}.", one.prefix);
    grant(&address, ALICE, &without(&one, Resource::Topic, &own, Create));
    assert_said(&one, &format!("the principal may not Create Topic {own}tallies: grant Create on Topic"));

    let one = bench("no-own-write");
    let own = format!("{}.", one.prefix);
    grant(&address, ALICE, &without(&one, Resource::Topic, &own, Write));
    assert_said(&one, &format!("the principal may not Write to Topic {own}dead-letters: grant Write on"));

    let one = bench("no-own-read");
    let own = format!("{}.", one.prefix);
    grant(&address, ALICE, &without(&one, Resource::Topic, &own, Read));
    assert_said(&one, &format!("the principal may not Read from Topic {own}state: grant Read on Topic"));
}

#[test]
fn a_group_that_may_not_be_read_is_named_until_it_may() {
    let Some(broker) = Broker::secure() else { return };
    let bench = by_scram(plain(Bench::new(broker, "no-group", 1)));
    grant(&broker.address(), ALICE, &without(&bench, Resource::Group, &bench.group, Read));
    let replica = bench.spawn("a");
    let sentence = format!("the principal may not Read from Group {}", bench.group);
    let (_, body) = wait_until(LIMIT, "the sentence in the readiness probe", || {
        Some(replica.get("/readyz")).filter(|(status, body)| *status == 503 && body.contains(&sentence))
    });
    assert!(body.contains(": grant Read on Group"), "{body}");
    assert!(replica.log().contains(&sentence), "{}", replica.log());
    assert!(replica.get("/metrics").1.contains("tidegate_stage_up{stage=\"tally-0\"} 0"));
    assert_eq!(replica.get("/healthz").0, 200, "a restart would change nothing");
    grant(&broker.address(), ALICE, &minimal(&bench));
    wait_until(LIMIT, "readiness", || (replica.get("/readyz").0 == 200).then_some(()));
}

#[test]
fn a_permission_that_is_taken_away_is_named_and_nothing_is_lost_when_it_comes_back() {
    let Some(broker) = Broker::secure() else { return };
    let bench = by_scram(plain(Bench::new(broker, "revoked", 1)));
    let acls = minimal(&bench);
    grant(&broker.address(), ALICE, &acls);
    let start = now_ms() - 20_000;
    let events = stream(start, 6, 100);
    let replica = bench.serve("a");
    bench.produce(&events[..200]);
    wait_until(LIMIT, "the first flush", || {
        (broker.committed(&bench.group, &bench.events).get(&0) == Some(&200)).then_some(())
    });
    let own = format!("{}.", bench.prefix);
    let write = acls.iter().find(|acl| acl.name == own && acl.operation == Write).expect("it is there");
    revoke(&broker.address(), ALICE, write);
    bench.produce(&events[200..]);
    let sentence = format!("the principal may not Write to Topic {own}tallies");
    wait_until(LIMIT, "the sentence in the log", || replica.log().contains(&sentence).then_some(()));
    wait_until(LIMIT, "the sentence in the readiness probe", || {
        Some(replica.get("/readyz"))
            .filter(|(status, body)| *status == 503 && body.contains("may not Write to"))
    });
    grant(&broker.address(), ALICE, std::slice::from_ref(write));
    wait_counted(&bench, 600);
    assert_eq!(bench.counted_events(), 600);
    wait_until(LIMIT, "readiness", || (replica.get("/readyz").0 == 200).then_some(()));
}

#[test]
fn a_wrong_password_and_an_unknown_authority_are_told_without_secrets() {
    let Some(broker) = Broker::secure() else { return };
    let wrong = "planted-wrong-password-4711";
    let file = broker.tls_file("wrong.password");
    std::fs::write(&file, wrong).expect("written");
    let right = std::fs::read_to_string(broker.tls_file("alice.password")).expect("a password");
    let cases = [
        ("ca.pem", "wrong.password", "Authentication failed"),
        ("stranger-ca.pem", "alice.password", "certificate verify failed"),
    ];
    for (ca, password, reason) in cases {
        let bench = by_scram_with(plain(Bench::new(broker, "login", 1)), ca, password);
        for command in [&["serve"][..], &["check", "--online"]] {
            let output = tidegate(&bench, command);
            let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
            assert!(said.contains("answers: ") && said.contains(reason), "{command:?}: {said}");
            assert!(!said.contains(wrong) && !said.contains(right.trim()), "{command:?}: {said}");
        }
    }
}
