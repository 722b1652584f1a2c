//! Access control lists by the plain protocol: the rdkafka crate cannot make them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a list is about, as the protocol numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Topic = 2,
    Group = 3,
    TransactionalId = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Describe = 8,
}

/// One permission; `prefix`: on all names that begin with `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub resource: Resource,
    pub name: String,
    pub prefix: bool,
    pub operation: Operation,
}

const CREATE: i16 = 30;
const DELETE: i16 = 31;
const VERSION: i16 = 1;
const ALLOW: u8 = 3;
const LITERAL: u8 = 3;
const PREFIXED: u8 = 4;

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(i16::try_from(text.len()).expect("a short name").to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn body(principal: &str, acls: &[Acl]) -> Vec<u8> {
    let mut bytes = i32::try_from(acls.len()).expect("few").to_be_bytes().to_vec();
    for acl in acls {
        bytes.push(acl.resource as u8);
        string(&mut bytes, &acl.name);
        bytes.push(if acl.prefix { PREFIXED } else { LITERAL });
        string(&mut bytes, principal);
        string(&mut bytes, "*");
        bytes.push(acl.operation as u8);
        bytes.push(ALLOW);
    }
    bytes
}

/// Sends one request; returns the answer behind its correlation id and throttle time.
fn ask(address: &str, key: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1i32.to_be_bytes());
    string(&mut request, "tidegate-test");
    request.extend(body);
    let mut stream = TcpStream::connect(address).expect("the broker");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(&i32::try_from(request.len()).expect("short").to_be_bytes()).expect("sent");
    stream.write_all(&request).expect("sent");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("a whole answer");
    answer.split_off(8)
}

/// Checks that the error code of each of `count` results is 0, and that nothing follows them.
fn check(answer: &[u8], count: usize) {
    let (found, mut rest) = answer.split_at(4);
    assert_eq!(i32::from_be_bytes(found.try_into().expect("four bytes")) as usize, count);
    for _ in 0..count {
        assert_eq!(&rest[..2], [0, 0], "error code 0: {rest:?}");
        let message = i16::from_be_bytes([rest[2], rest[3]]);
        rest = &rest[4 + usize::try_from(message).unwrap_or(0)..];
    }
    assert!(rest.is_empty(), "{rest:?}");
}

/// Grants; the broker knows it when this returns, or within a moment.
pub fn grant(address: &str, principal: &str, acls: &[Acl]) {
    check(&ask(address, CREATE, &body(principal, acls)), acls.len());
    std::thread::sleep(Duration::from_millis(300));
}

/// Takes one permission back.
pub fn revoke(address: &str, principal: &str, acl: &Acl) {
    let answer = ask(address, DELETE, &body(principal, std::slice::from_ref(acl)));
    // One filter result: code, message, and how many lists it matched.
    assert_eq!(&answer[..6], [0, 0, 0, 1, 0, 0], "{answer:?}");
    let message = usize::try_from(i16::from_be_bytes([answer[6], answer[7]])).unwrap_or(0);
    assert_eq!(answer[8 + message..12 + message], 1i32.to_be_bytes(), "one list is gone: {answer:?}");
    std::thread::sleep(Duration::from_millis(300));
}
