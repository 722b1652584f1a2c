//! Configurations of every shape, whole and damaged: each is accepted or refused with errors that say where.
//! What the loader accepts, the schema accepts too, and it says the same when it is written down otherwise.

use super::tests::folder;
use super::{Config, ConfigError, MINIMAL, parse};
use crate::event::fuzz::{cases, damage, edge, seed};
use fastrand::Rng;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const FILE: &str = "t.toml";
const MARKS: &[u8] = b"[]{}=\".,#'\n\r\t -_0189abtfnz\\";
/// Keys at the top, with values that are right for them.
const TOP: [(&str, &[&str]); 31] = [
    ("kafka.group", &["\"g\""]),
    ("kafka.instance", &["\"i-1\""]),
    ("kafka.start", &["\"latest\"", "\"earliest\"", "\"2026-01-01T00:00:00Z\""]),
    ("kafka.consumers", &["1", "256", "0x10"]),
    ("kafka.client.\"fetch.min.bytes\"", &["5", "\"5\""]),
    ("kafka.client.\"check.crcs\"", &["true"]),
    ("kafka.client.sasl.username", &["\"me\""]),
    ("kafka.client.\"sasl.password_file\"", &["\"secret\""]),
    ("topics.prefix", &["\"own\""]),
    ("topics.create", &["true", "false"]),
    ("topics.partitions", &["1", "1_024"]),
    ("topics.replication", &["-1", "3"]),
    ("topics.tallies_retention", &["\"6h\""]),
    ("topics.retention", &["\"7d\"", "\"36500d\""]),
    ("windows.pane", &["\"60s\"", "\"100ms\"", "\"1h30m\""]),
    ("windows.lateness", &["\"0s\"", "\"30s\""]),
    ("windows.allowed_lateness", &["\"10m\""]),
    ("windows.flush_interval", &["\"10ms\""]),
    ("windows.idle_timeout", &["\"1s\""]),
    ("windows.max_stall", &["\"1h\""]),
    ("windows.max_future", &["\"5m\""]),
    ("windows.max_past", &["\"7d\""]),
    ("dead_letters.on_budget", &["\"continue\"", "\"pause\"", "\"fail\""]),
    ("dead_letters.per_second", &["0", "10_000"]),
    ("http.listen", &["\"[::1]:9464\"", "\"127.0.0.1:1\""]),
    ("http.probes_listen", &["\"127.0.0.1:2\""]),
    ("http.max_connections", &["8"]),
    ("http.token", &["[{ name = \"x\", file = \"secret\", scope = \"admin\" }]", "[]"]),
    ("notify.max_action_age", &["\"1s\""]),
    (
        "notify.webhook",
        &["[{ url = \"https://x/y\", secret_file = \"secret\", kinds = [\"pause\"], name = \"w\" }]"],
    ),
    ("elsewhere", &["1"]),
];
const MODEL: [(&str, &[&str]); 14] = [
    ("namespace", &["\"ml\""]),
    ("rollout", &["\"auto\"", "{ stable = \"v1\" }", "{ stable = \"v1\", canary = \"v2\" }"]),
    ("policy.prediction_drift", &["1", "0.5"]),
    ("policy.feature_drift", &["1e-3"]),
    ("policy.resume", &["true"]),
    ("thresholds.psi_warning", &["0.05"]),
    ("thresholds.psi_drift", &["0.3", "1e2"]),
    ("thresholds.ks_warning", &["0.1"]),
    ("thresholds.ks_drift", &["1.0"]),
    ("thresholds.min_samples", &["1", "1_000_000_000"]),
    ("thresholds.evaluations", &["1", "1000"]),
    ("max_exported_series", &["0", "100000"]),
    ("noise", &["[{ series = \"a\", ks = { 1 = 0.1, 64 = 0.02 }, psi = { 4 = 2 } }]", "[]"]),
    ("weight", &["3"]),
];
/// Values that are right for few keys.
const VALUES: [&str; 26] = [
    "\"\"",
    "\"x\"",
    "\"ภาษา\"",
    "\"a\\u0000b\"",
    "'''a\nb'''",
    "\"5x\"",
    "\"99999999999999999999d\"",
    "\"1m1h\"",
    "\"-1s\"",
    "\"..\"",
    "\"tidegate.tallies\"",
    "\"/nowhere\"",
    "\"\\u202e\"",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "0b11",
    "nan",
    "-inf",
    "1e400",
    "true",
    "2026-01-01T00:00:00Z",
    "1979-05-27",
    "[]",
    "{}",
    "[[1], {a.b = [\"x\"]}]",
];

fn value(random: &mut Rng, right: &[&str]) -> String {
    match random.u8(..12) {
        0 => VALUES[random.usize(..VALUES.len())].to_owned(),
        1 if random.bool() => edge(random).to_string(),
        2 if random.bool() => format!("\"{}ms\"", edge(random)),
        _ => right[random.usize(..right.len())].to_owned(),
    }
}

fn lines(random: &mut Rng, keys: &[(&str, &[&str])], most: usize) -> String {
    let mut text = String::new();
    for _ in 0..random.usize(..=most) {
        let (key, right) = keys[random.usize(..keys.len())];
        text += &format!("{key} = {}\n", value(random, right));
    }
    text
}

/// A configuration text; damaged one time in three.
fn text(random: &mut Rng) -> (String, bool) {
    let mut text = MINIMAL.replace("\n\n[[model]]", &format!("\n{}\n[[model]]", lines(random, &TOP, 6)));
    if random.bool() {
        text = text.replace("{ v1 =", "{ v2 = \"b.parquet\", v1 =");
    }
    text += &lines(random, &MODEL, 4);
    if random.u8(..4) == 0 {
        text += "\n[[model]]\nname = \"other\"\nbaselines.v1 = \"b.parquet\"\n";
        text += &lines(random, &MODEL, 2);
    }
    let damaged = random.u8(..3) == 0;
    let mut bytes = text.into_bytes();
    (0..if damaged { random.u8(1..4) } else { 0 }).for_each(|_| damage(random, &mut bytes, MARKS));
    (String::from_utf8_lossy(&bytes).into_owned(), damaged)
}

/// Every error names a place in the text, what is wrong there, and what would be right.
fn check_errors(errors: &[ConfigError], text: &str) {
    assert!(!errors.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    for error in errors {
        assert!((1..=lines.len()).contains(&error.line), "{error:?}");
        let width = lines[error.line - 1].chars().count();
        assert!((1..=width + 1).contains(&error.column), "{error:?}");
        assert!(
            !error.key.is_empty() && !error.problem.is_empty() && !error.expected.is_empty(),
            "{error:?}"
        );
        assert!(error.to_string().starts_with(&format!("{FILE}:{}: ", error.line)), "{error}");
        assert!(!error.to_string().contains("pa55word"), "{error}");
    }
    assert!(errors.is_sorted_by_key(|error| (error.line, error.column)));
}

/// The same configuration on one line for each key at the top, as TOML that looks otherwise.
fn rewritten(text: &str) -> String {
    let table: toml::Table = toml::from_str(text).expect("what the loader accepts is TOML");
    let mut out = String::new();
    for (key, value) in &table {
        out += &format!("{} = ", quoted(key));
        write(&mut out, value);
        out.push_str(" # a comment\r\n");
    }
    out
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.chars() {
        match unit {
            'a'..='z' | ' ' | '.' | '/' | ':' | '-' | '_' | '0'..='9' => out.push(unit),
            other => write!(out, "\\U{:08X}", u32::from(other)).expect("memory"),
        }
    }
    out + "\""
}

fn write(out: &mut String, value: &toml::Value) {
    match value {
        toml::Value::String(text) => *out += &quoted(text),
        toml::Value::Integer(number) => *out += &number.to_string(),
        toml::Value::Float(number) => *out += &format!("{number:?}"),
        toml::Value::Boolean(flag) => *out += &flag.to_string(),
        toml::Value::Datetime(moment) => *out += &moment.to_string(),
        toml::Value::Array(items) => {
            out.push('[');
            items.iter().for_each(|item| {
                write(out, item);
                out.push_str(", ");
            });
            out.push(']');
        }
        toml::Value::Table(table) => {
            out.push('{');
            for (number, (key, item)) in table.iter().enumerate() {
                *out += &format!("{}{} = ", if number == 0 { " " } else { ", " }, quoted(key));
                write(out, item);
            }
            out.push_str(" }");
        }
    }
}

/// The schema sees a TOML time as the text that it is.
fn to_json(text: &str) -> serde_json::Value {
    fn json(value: toml::Value) -> serde_json::Value {
        match value {
            toml::Value::Datetime(moment) => moment.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(json).collect(),
            toml::Value::Table(table) => table.into_iter().map(|(key, one)| (key, json(one))).collect(),
            other => serde_json::to_value(other).expect("a scalar"),
        }
    }
    json(toml::Value::Table(toml::from_str(text).expect("what the loader accepts is TOML")))
}

/// A table keeps no order; of a configuration only the baselines' order follows the file.
fn sorted(mut config: Config) -> Config {
    config.models.iter_mut().for_each(|model| model.baselines.sort());
    config
}

#[test]
fn every_configuration_is_accepted_or_told_where_it_is_wrong() {
    let seed = seed(0xc0f);
    let (mut random, folder) = (Rng::with_seed(seed), folder());
    let schema = serde_json::from_str(include_str!("../../schemas/config.schema.json")).expect("JSON");
    let schema = jsonschema::draft202012::new(&schema).expect("a schema");
    let read = |text: &str| parse(text, Path::new(FILE), folder.path());
    let (wanted, mut accepted, mut accepted_damaged) = (cases(10), 0, 0);
    for case in 0..wanted {
        let (text, damaged) = text(&mut random);
        let place = || format!("seed {seed}, case {case}:\n{text}");
        let found = catch_unwind(AssertUnwindSafe(|| match read(&text) {
            Ok(config) => {
                assert!(schema.is_valid(&to_json(&text)), "refused by the schema");
                let again = read(&rewritten(&text)).expect("the same configuration");
                assert!(sorted(again) == sorted(config), "written down otherwise it says something else");
                true
            }
            Err(errors) => {
                check_errors(&errors, &text);
                false
            }
        }));
        let Ok(is_accepted) = found else { panic!("{}", place()) };
        accepted += u64::from(is_accepted);
        accepted_damaged += u64::from(is_accepted && damaged);
    }
    println!("{wanted} configurations: {accepted} accepted, {accepted_damaged} of them damaged");
    assert!(accepted * 20 > wanted && accepted < wanted * 9 / 10, "{accepted} of {wanted} accepted");
    assert!(accepted_damaged * 1_000 > wanted, "{accepted_damaged} of {wanted} accepted although damaged");
}
