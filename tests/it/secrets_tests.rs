//! No value of a payload and no secret is in any log, error, answer or header, whatever goes wrong.

use super::acls::grant;
use super::broker::{Broker, Message, wait_until};
use super::security_tests::{ALICE, by_scram, minimal};
use super::serve_tests::{event, now_ms, regression, rollout, wait_counted};
use super::service::{Bench, LIMIT, Replica};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Values of payloads; each stands in an event, good or bad.
const PAYLOADS: [&str; 5] =
    ["plantedcategory77", "31415.92653589", "plantedbroken77", "plantedrequest77", "plantedextra77"];
const TOKEN: &str = "plantedtoken77";
const WRONG_TOKEN: &str = "plantedwrongtoken77";
const QUERY: &str = "plantedquery77";
const USER_INFO: &str = "plantedbasic77";

/// Asks with headers; the whole answer.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the service");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn answers(replica: &Replica) -> String {
    let get = |path: &str, more: &str| {
        ask(replica.port(), &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n"))
    };
    let wrong = format!("authorization: Bearer {WRONG_TOKEN}\r\n");
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    [
        get("/metrics", ""),
        get("/readyz", ""),
        get("/api/v1/models", ""),
        get("/api/v1/models", &wrong),
        get("/api/v1/models?key=plantedkey77", &wrong),
        get("/api/v1/models", &right),
        get("/api/v1/models/m", &right),
        get("/api/v1/models/m/reports", &right),
        get("/", &right),
        get("/api/v1/models/m?nonsense=1", &right),
        ask(replica.port(), &format!("POST /api/v1/reload HTTP/1.1\r\nhost: x\r\n{right}\r\n")),
    ]
    .join("\n")
}

fn assert_free(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        if let Some(at) = text.find(secret.as_str()) {
            let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
            let line = text[from..].lines().next().unwrap_or_default();
            panic!("{what} holds {secret}: {line}");
        }
    }
}

#[test]
fn planted_values_and_secrets_are_nowhere_in_the_output() {
    let Some(broker) = Broker::secure() else { return };
    let url = format!("http://{USER_INFO}:{USER_INFO}@127.0.0.1:1/hook?key={QUERY}");
    let bench = rollout(by_scram(Bench::new(broker, "planted", 2)), &url);
    let token_file = bench.dir.path().join("token");
    std::fs::write(&token_file, TOKEN).expect("written");
    let token = format!(
        "[[http.token]]\nname = \"dashboard\"\nfile = \"{}\"\nscope = \"read\"\n",
        token_file.display()
    );
    let bench = bench.extra(&token).environment("RUST_LOG", "trace");
    grant(&broker.address(), ALICE, &minimal(&bench));
    let start = now_ms() - 20_000;
    let mut events = regression(start, 4);
    let odd = |from: &str, to: &str| event("v1", "stable", start, 1, 0.5).replace(from, to);
    events.push(odd("\"x\":1", "\"x\":\"plantedcategory77\""));
    events.push(odd("\"x\":1", "\"x\":31415.92653589,\"more\":\"plantedextra77\""));
    events.push(odd("{\"model\"", "{\"request_id\":\"plantedrequest77\",\"model\""));
    let counted = events.len() as u64;
    bench.produce(&events);
    let bad = [
        "{\"model\": \"plantedbroken77".to_owned(),
        odd("\"model\":\"m\"", "\"model\":{\"plantedbroken77\":1}"),
        odd("\"features\":{", "\"features\":{\"x\":plantedbroken77,"),
        odd(&format!("{start}"), "\"plantedbroken77\""),
        odd("\"stable\"", "\"plantedbroken77\""),
        odd("\"v1\"", "\"plantedbroken77\""),
    ];
    let bad: Vec<Message> = bad.iter().map(|text| Message::new(text.as_bytes())).collect();
    broker.produce(&bench.events, &bad);
    let mut replica = bench.serve("a");
    wait_counted(&bench, counted);
    let dead = broker.read_until(&bench.own("dead-letters"), LIMIT, |dead| dead.len() >= 3);
    wait_until(LIMIT, "an action", || (!bench.read_json("actions").is_empty()).then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(3)); // a few attempts at the closed port
    let answers = answers(&replica);
    assert!(answers.contains(" 401 ") && answers.contains(" 403 ") && answers.contains(" 200 "), "{answers}");
    assert_eq!(replica.terminate(), Some(0));
    let log = replica.log();
    assert!(log.contains("TRACE") && log.contains("token=\"dashboard\""), "the log is as loud as it gets");

    let password = std::fs::read_to_string(broker.tls_file("alice.password")).expect("a password");
    let mut secrets: Vec<String> = PAYLOADS.iter().map(|value| (*value).to_owned()).collect();
    secrets.extend([TOKEN, WRONG_TOKEN, QUERY, USER_INFO, "plantedkey77"].map(str::to_owned));
    secrets.push(password.trim().to_owned());
    secrets.extend(["MDEyMzQ1Njc4OTAxMjM0", "012345678901234567890123"].map(str::to_owned));
    assert_free("the log", &log, &secrets);
    assert_free("an answer", &answers, &secrets);
    for letter in dead {
        let own = letter.headers.iter().filter(|(name, _)| name.starts_with("__"));
        for (name, value) in own {
            assert_free(name, &String::from_utf8_lossy(value.as_deref().unwrap_or_default()), &secrets);
        }
    }
    for topic in ["alerts", "actions", "actions.outcomes"] {
        for record in broker.read_all(&bench.own(topic)) {
            assert_free(topic, &record.text(), &secrets);
        }
    }
}
