//! What a client may hold, over real connections: how many, how large, how long.

use super::Limits;
use super::tests::Server;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const HEAD: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n";
/// Longer than any limit of these tests: a connection that is still open by then is not bounded.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        connections: 8,
        head_time: Duration::from_millis(400),
        work_time: Duration::from_millis(600),
        time: Duration::from_millis(1_500),
        ..Limits::default()
    }
}

/// Everything until the server closes, as far as it is text; panics if it never does.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it as well as an orderly close.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may refuse before everything is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    rest(&mut stream).await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_connection_serves_one_request_and_is_closed() {
    let server = Server::bounded(&[], limits()).await;
    let started = Instant::now();
    let answer = ask(&server, &format!("{HEAD}connection: keep-alive\r\n\r\n")).await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(started.elapsed() < limits().head_time, "not by a timeout");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_counted_and_the_others_stay() {
    let server = Server::bounded(&[], Limits { head_time: PATIENCE, time: PATIENCE, ..limits() }).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    let started = Instant::now();
    assert_eq!(ask(&server, &format!("{HEAD}\r\n")).await, "");
    assert!(started.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!(server.state.metrics.http_connections_refused.get(), 1);
    let mut first = held.remove(0);
    first.write_all(format!("{HEAD}\r\n").as_bytes()).await.unwrap();
    assert_eq!(status(&rest(&mut first).await), "200");
    // The place of the first is free again, as soon as the server has noticed.
    let again = async {
        while status(&ask(&server, &format!("{HEAD}\r\n")).await) != "200" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("a free place");
}

#[tokio::test]
async fn a_silent_and_a_trickling_client_are_cut_at_the_head_s_deadline() {
    let server = Server::bounded(&[], limits()).await;
    let started = Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    rest(&mut silent).await;
    assert!(started.elapsed() >= limits().head_time / 2 && started.elapsed() < PATIENCE / 2);
    let started = Instant::now();
    let mut trickling = TcpStream::connect(server.address).await.unwrap();
    trickling.write_all(HEAD.as_bytes()).await.unwrap();
    let trickle = async {
        while trickling.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("the server cuts the connection");
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = Server::bounded(&[], limits()).await;
    let long = format!("{HEAD}x-long: {}\r\n\r\n", "a".repeat(limits().head));
    assert_eq!(status(&ask(&server, &long).await), "431");
    let many = format!("{HEAD}{}\r\n", "x-a: b\r\n".repeat(limits().headers));
    assert_eq!(status(&ask(&server, &many).await), "431");
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(limits().head));
    assert!(["414", "431"].contains(&status(&ask(&server, &long_path).await)));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_its_length_is_told_or_not() {
    let server = Server::bounded(&[], limits()).await;
    let body = "x".repeat(limits().body + 1);
    let told = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let answer = ask(&server, &told).await;
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(status(&ask(&server, &chunked).await), "413");
    let fits = "x".repeat(limits().body);
    let small = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{fits}", fits.len());
    assert_eq!(status(&ask(&server, &small).await), "405", "read whole, then refused for its method");
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_in_time() {
    let server = Server::bounded(&[], limits()).await;
    let started = Instant::now();
    let answer = ask(&server, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf").await;
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut() {
    let server = Server::bounded(&[], limits()).await;
    // More than the sockets' buffers hold.
    let name = "m".repeat(50_000);
    for minute in 0..200 {
        let mut report = super::tests::report("v1", minute);
        report.reason.clone_from(&name);
        server.state.board.apply_report(report);
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /api/v1/models/fraud/reports?limit=1000 HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(limits().time + Duration::from_millis(500)).await;
    let got = rest(&mut stream).await;
    assert!(got.len() < 200 * 50_000, "cut before its end: {} bytes", got.len());
}
