//! The rooms of `src/` and the order in which they may import each other, read from the source text.
//!
//! Each room may use only what stands after it in [`ORDER`], which also rules out circles. The pure rooms have no
//! I/O, clock, threads or randomness: time is an argument, and the same input gives the same output.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Each room may import only what stands after it.
const ORDER: [&str; 16] = [
    "cli",
    "pipeline",
    "config",
    "http",
    "simulation",
    "notify",
    "policy",
    "judge",
    "tally",
    "decode",
    "source",
    "baseline",
    "stats",
    "cells",
    "event",
    "metrics",
];

const PURE: [&str; 6] = ["cells", "stats", "tally", "judge", "policy", "simulation"];

/// What a pure room may not name, as the beginning of a path.
const IMPURE: [&[&str]; 14] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "io"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "hash", "RandomState"],
    &["tokio"],
    &["rdkafka"],
    &["reqwest"],
    &["fastrand"],
    &["rand"],
];

/// Macros that write to the process's own output, and panic when nobody reads it: `cli/output.rs` does it for all.
const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// The only file with `unsafe`: batch consumption through librdkafka's own API.
const UNSAFE_FILE: &str = "source/kafka/native.rs";

const LINE_LIMIT: usize = 500;

#[test]
fn rooms_import_only_downwards_and_pure_rooms_are_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > ORDER.len(), "the sources are there");
    let mut found = String::new();
    for file in files {
        let name = file.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
        let source = std::fs::read_to_string(&file).expect("a source file is text");
        for violation in violations(&name, &source) {
            writeln!(found, "src/{name}{violation}").expect("a string takes it");
        }
    }
    assert!(found.is_empty(), "against the rules of the rooms:\n{found}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a folder entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// What a file does against the rules, each as `:line: what`. `name` is its path below `src/`.
fn violations(name: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > LINE_LIMIT {
        found.push(format!(": {lines} lines, more than {LINE_LIMIT}"));
    }
    let tokens = tokens(source);
    if name != UNSAFE_FILE {
        let unsafes = tokens.iter().filter(|t| t.text == "unsafe");
        found.extend(unsafes.map(|t| format!(":{}: unsafe outside {UNSAFE_FILE}", t.line)));
    }
    let module = module_of(name);
    let Some(room) = module.first() else { return found }; // lib.rs and main.rs hold the rooms together
    let Some(height) = ORDER.iter().position(|r| r == room) else {
        found.push(format!(": {room} is not in the order of rooms"));
        return found;
    };
    for path in paths(&tokens) {
        let Some(target) = room_of(&path, &module) else { continue };
        let allowed = ORDER.iter().position(|r| *r == target).is_some_and(|at| at >= height);
        if !allowed {
            found.push(format!(":{}: {room} may not use {target} ({})", path.line, path.segments.join("::")));
        }
    }
    if !is_test_file(name) {
        let tokens = without_tests(tokens);
        found.extend(printing(&tokens));
        if PURE.contains(&room.as_str()) {
            found.extend(impurities(room, &tokens));
        }
    }
    found
}

fn printing(tokens: &[Token]) -> Vec<String> {
    let calls = |found: &&[Token]| {
        PRINTING.contains(&found[0].text.as_str()) && found[1].text == "!" && found[2].text != "="
    };
    let found = tokens.windows(3).filter(calls);
    found.map(|call| format!(":{}: calls {}!", call[0].line, call[0].text)).collect()
}

/// Files of their own that only tests include.
fn is_test_file(name: &str) -> bool {
    ["/tests.rs", "_tests.rs", "/fixture.rs"].iter().any(|end| name.ends_with(end))
}

fn impurities(room: &str, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths(tokens) {
        let mut segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let clock = segments.len() > 1 && segments.last() == Some(&"now");
        // `use std::time::{self}` and `use std::io::*` let in what the module holds
        while segments.last().is_some_and(|s| ["self", "*"].contains(s)) {
            segments.pop();
        }
        let named = |words: &[&str]| {
            let shared = words.iter().zip(&segments).take_while(|(a, b)| a == b).count();
            shared == words.len().min(segments.len()) && shared > 0
        };
        // A lone word in an expression is a local name.
        let is_name = segments.len() == 1 && !path.imported;
        if clock || (!is_name && IMPURE.iter().any(|words| named(words))) {
            found.push(format!(":{}: {room} is pure, but names {}", path.line, path.segments.join("::")));
        }
    }
    found
}

/// `judge/window.rs` → `[judge, window]`; `judge/mod.rs` → `[judge]`; `lib.rs` → `[]`.
fn module_of(name: &str) -> Vec<String> {
    let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|m| m == "mod") || name == "lib.rs" || name == "main.rs" {
        module.pop();
    }
    module
}

/// The room that a path of the crate leads to; `None` for paths of other crates and of the file's own module.
fn room_of(path: &PathUse, module: &[String]) -> Option<String> {
    let mut rest = path.segments.as_slice();
    let mut place: Vec<String> =
        module.iter().cloned().chain((0..path.depth).map(|_| "inline".into())).collect();
    match rest.first()?.as_str() {
        "crate" | "tidegate" => place.clear(),
        "self" | "super" => {}
        _ => return None,
    }
    if rest[0] != "super" {
        rest = &rest[1..];
    }
    while rest.first().is_some_and(|s| s == "super") {
        place.pop();
        rest = &rest[1..];
    }
    let target = place.first().or(rest.first()).cloned();
    Some(target.unwrap_or_else(|| "the crate's root".to_owned()))
}

#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// One path as the source names it, with groups written out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug)]
struct PathUse {
    segments: Vec<String>,
    line: usize,
    /// How many inline modules (`mod x { … }`) it stands in.
    depth: usize,
    /// It stands in a `use` or `extern crate`.
    imported: bool,
}

/// The words and signs of a source, without comments and the insides of literals.
fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::new();
    while at < text.len() {
        let end = match literal_end(&text, at) {
            Some(end) => end,
            None if is_word(text[at]) => {
                let end = (at..text.len()).find(|&i| !is_word(text[i])).unwrap_or(text.len());
                found.push(Token { text: text[at..end].iter().collect(), line });
                end
            }
            None if text[at..].starts_with(&[':', ':']) => {
                found.push(Token { text: "::".to_owned(), line });
                at + 2
            }
            None => {
                if !text[at].is_whitespace() {
                    found.push(Token { text: text[at].to_string(), line });
                }
                at + 1
            }
        };
        line += text[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a comment or a literal that begins here ends; `None` if none begins here.
fn literal_end(text: &[char], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let end_of = |what: Option<usize>| what.unwrap_or(text.len());
    if rest.starts_with(&['/', '/']) {
        return Some(end_of((at..text.len()).find(|&i| text[i] == '\n')));
    }
    if rest.starts_with(&['/', '*']) {
        return Some(block_comment_end(text, at));
    }
    if at > 0 && is_word(text[at - 1]) {
        return None; // the tail of a number or a name, such as the `r` of `for`
    }
    let prefix = rest.iter().take_while(|c| ['b', 'c', 'r'].contains(c)).count();
    let body = &rest[prefix..];
    if prefix > 0 && rest[..prefix].contains(&'r') {
        let hashes = body.iter().take_while(|c| **c == '#').count();
        if body.get(hashes) == Some(&'"') {
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let from = at + prefix + hashes + 1;
            return Some(end_of(
                (from..text.len()).find(|&i| text[i..].starts_with(&close)).map(|i| i + close.len()),
            ));
        }
        return None;
    }
    match body.first()? {
        '"' => Some(quoted_end(text, at + prefix + 1, '"')),
        // 'a' and '\n' are characters, 'a without an end is a lifetime
        '\'' if body.get(1) == Some(&'\\') || body.get(2) == Some(&'\'') => {
            Some(quoted_end(text, at + prefix + 1, '\''))
        }
        _ => None,
    }
}

fn quoted_end(text: &[char], mut at: usize, quote: char) -> usize {
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

fn block_comment_end(text: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        if text[at..].starts_with(&['/', '*']) {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with(&['*', '/']) {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The tokens without the items under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if rest.len() > TEST.len() && rest.iter().zip(TEST).all(|(t, w)| t.text == w) {
            at = item_end(&tokens, at + TEST.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The token after the item that begins here: after its `;`, or after the `}` of its body.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token.text == ";" || token.text == "}") {
            return at + 1;
        }
    }
    tokens.len()
}

fn paths(tokens: &[Token]) -> Vec<PathUse> {
    let mut found = Vec::new();
    let mut braces: Vec<bool> = Vec::new(); // for every open brace: does it open an inline module?
    let word = |at: usize| tokens.get(at).map_or("", |t| t.text.as_str());
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => braces.push(at >= 2 && word(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        let field = at > 0 && word(at - 1) == "." && (at < 2 || word(at - 2) != ".");
        let starts = word(at).starts_with(|c: char| c.is_alphabetic() || c == '_') || word(at) == "::";
        let visibility = word(at) == "in" || (at > 1 && word(at - 1) == "(" && word(at - 2) == "pub");
        if field || !starts || visibility {
            at += 1;
            continue;
        }
        let before = |back: usize| at.checked_sub(back).map_or("", word);
        let imported = before(1) == "use" || (before(1) == "crate" && before(2) == "extern");
        let (leaves, end) = tree(tokens, at + usize::from(word(at) == "::"));
        let depth = braces.iter().filter(|b| **b).count();
        let line = tokens[at].line;
        let grouped = imported || word(at) == "use";
        let uses = leaves.into_iter().filter(|l| !l.is_empty());
        found.extend(uses.map(|segments| PathUse { segments, line, depth, imported: grouped }));
        at = end.max(at + 1);
    }
    found
}

/// The paths of the use tree that begins here, and where it ends.
fn tree(tokens: &[Token], from: usize) -> (Vec<Vec<String>>, usize) {
    let word = |at: usize| tokens.get(at).map_or("", |t| t.text.as_str());
    let mut segments = Vec::new();
    let mut at = from;
    loop {
        if word(at) == "{" && (at > 0 && word(at - 1) == "::" || at == from) {
            let (leaves, end) = group(tokens, at + 1);
            let whole = |leaf: Vec<String>| segments.iter().cloned().chain(leaf).collect();
            return (leaves.into_iter().map(whole).collect(), end);
        }
        let is_segment = word(at) == "*" || word(at).starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if !is_segment {
            return (vec![segments], at);
        }
        segments.push(word(at).to_owned());
        at += 1;
        if word(at) != "::" {
            return (vec![segments], at);
        }
        at += 1;
    }
}

/// The paths between the braces of a group, and the token after it.
fn group(tokens: &[Token], mut at: usize) -> (Vec<Vec<String>>, usize) {
    let mut found = Vec::new();
    while at < tokens.len() && tokens[at].text != "}" {
        let (leaves, end) = tree(tokens, at);
        found.extend(leaves);
        at = end.max(at + 1);
        if tokens.get(at).is_some_and(|t| t.text == "as") {
            at += 2; // what it is called here does not matter
        }
        if tokens.get(at).is_some_and(|t| t.text == ",") {
            at += 1;
        }
    }
    (found, at + 1)
}

#[test]
fn rooms_test_finds_what_is_planted() {
    let planted = [
        ("stats/mod.rs", "use crate::judge::Report;", "stats may not use judge"),
        ("stats/mod.rs", "use crate::{cells::Grid, policy::{self as p}};", "stats may not use policy"),
        ("stats/ks.rs", "fn f() { super::super::http::serve() }", "stats may not use http"),
        ("stats/ks.rs", "mod inner { use super::super::super::cli::run; }", "stats may not use cli"),
        ("stats/ks.rs", "use self::super::super::{event::Role, tally};", "stats may not use tally"),
        ("metrics.rs", "use super::event::Role;", "metrics may not use event"),
        ("cells/mod.rs", "fn f(g: Vec<crate\n::\nstats::Psi>) {}", ":1: cells may not use stats"),
        ("cells/mod.rs", "use crate as all;", "cells may not use the crate's root"),
        ("cells/mod.rs", "use crate::*;", "cells may not use *"),
        ("attic/mod.rs", "", "attic is not in the order"),
        ("tally/mod.rs", "use std::{fmt, io::{self as i}};", "names std::io::self"),
        ("tally/mod.rs", "fn f() { ::std::fs::read(p); }", "names std::fs::read"),
        ("judge/mod.rs", "use std::time::{Duration, Instant};", "names std::time::Instant"),
        ("judge/mod.rs", "use std::time::*;", "names std::time::*"),
        ("judge/mod.rs", "use std::time as t;", "names std::time"),
        ("judge/mod.rs", "let t = jiff::Timestamp::now();", "names jiff::Timestamp::now"),
        ("policy/mod.rs", "let a = 'x'; let r = fastrand::u64(..);", "names fastrand::u64"),
        ("policy/mod.rs", "use rand;", "names rand"),
        ("policy/mod.rs", "fn f<'a>(x: &'a str) { println!(\"{x}\") }", "calls println!"),
        ("cli/check.rs", "fn f() { eprintln!(); }", "calls eprintln!"),
        ("cells/mod.rs", "async fn f() { tokio::spawn(g()); }", "names tokio::spawn"),
        ("cells/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; }\nuse std::net;", ":3: cells is pure"),
        ("source/kafka/mod.rs", "fn f() { unsafe { g() } }", "unsafe outside"),
        ("main.rs", "unsafe fn f() {}", "unsafe outside"),
    ];
    for (name, source, expected) in planted {
        let found = violations(name, source);
        assert_eq!(found.len(), 1, "{name}: {source}: {found:?}");
        assert!(found[0].contains(expected), "{name}: {source}: {found:?}");
    }
    assert_eq!(violations("cli/mod.rs", &"\n".repeat(501)).len(), 1);
}

#[test]
fn rooms_test_lets_pass_what_is_allowed() {
    let allowed = [
        ("main.rs", "use tidegate::cli; use std::io::Write; fn main() { tidegate::cli::run() }"),
        ("lib.rs", "pub mod judge; pub use crate::event::Role;"),
        ("judge/mod.rs", "use crate::{cells::Grid, stats}; mod window; pub use self::window::Window;"),
        ("judge/mod.rs", "// use std::fs;\n/* std::io /* nested */ unsafe */ /// `crate::http`\nfn f() {}"),
        (
            "judge/mod.rs",
            "const A: &str = \"unsafe { crate::http::serve() }\"; const B: &str = r#\"std::fs \" \"#;",
        ),
        ("judge/mod.rs", "const Q: char = '\"'; const R: char = '\\''; const S: &[u8] = b\"std::io::\\\"\";"),
        ("judge/mod.rs", "fn f(rand: f64, s: &S) -> f64 { s.tokio + rand + s.now() }"),
        ("judge/mod.rs", "use std::time::Duration; pub(crate) fn f() {} pub(in crate::judge) fn g() {}"),
        ("judge/window.rs", "use super::Report; use super::super::stats::psi; pub(super) fn f() {}"),
        (
            "judge/mod.rs",
            "#[cfg(test)]\n#[allow(x)]\nmod tests { use super::*; use std::fs; fn f() { rand::x() } }",
        ),
        ("judge/mod.rs", "#[cfg(test)]\nmod tests;\nfn f() {}"),
        ("judge/tests.rs", "use super::*; use std::fs;"),
        ("simulation/tests.rs", "fn f() { println!(); }"),
        ("cli/demo/mod.rs", "fn print(x: &X) -> bool { print != x }"),
        ("source/kafka/native.rs", "fn f() { unsafe { g() } }"),
        ("http/mod.rs", "use tokio::net::TcpListener; use std::{fs, io}; use std::time::Instant;"),
        ("cli/mod.rs", "use crate::{pipeline, config, http, notify, policy, judge, metrics};"),
    ];
    for (name, source) in allowed {
        assert_eq!(violations(name, source), Vec::<String>::new(), "{name}: {source}");
    }
}
