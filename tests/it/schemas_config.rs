//! schemas/config.schema.json and the loader accept the same configurations and know the same keys; the
//! configuration that k8s/base ships passes both.

use serde_json::Value;
use std::path::Path;
use tidegate::config::{ConfigError, MINIMAL, parse};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schemas/config.schema.json")).expect("the schema is JSON")
}

fn schema_accepts(text: &str) -> bool {
    let validator = jsonschema::draft202012::new(&schema()).expect("the schema is a draft 2020-12 schema");
    let value: Value = toml::from_str(text).expect(text);
    validator.is_valid(&value)
}

fn load(text: &str) -> Result<(), Vec<ConfigError>> {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["fraud-v1.parquet", "secret"] {
        std::fs::write(folder.path().join(name), "x").expect("a file");
    }
    parse(text, Path::new("t.toml"), folder.path()).map(drop)
}

/// Lines for the top of the minimal configuration, and whether they are right.
const TOP: [(bool, &str); 37] = [
    (true, ""),
    (true, "kafka.start = \"earliest\""),
    (true, "kafka.start = \"2026-01-01T00:00:00Z\""),
    (true, "kafka.client = { \"fetch.min.bytes\" = 5, \"check.crcs\" = true }"),
    (true, "kafka.client.sasl.username = \"me\""),
    (true, "kafka.client = { \"sasl.password_file\" = \"secret\" }"),
    (true, "topics.replication = 3"),
    (true, "windows = { pane = \"1h30m\", lateness = \"0s\", max_past = \"7d\" }"),
    (true, "http.listen = \"[::1]:9464\""),
    (true, "notify.webhook = [{ url = \"https://x/y\", secret_file = \"secret\", kinds = [\"pause\"] }]"),
    (true, "dead_letters = { on_budget = \"pause\", per_second = 0 }"),
    (true, "dead_letters.on_budget = \"fail\""),
    (false, "dead_letters.on_budget = \"stop\""),
    (false, "dead_letters.per_second = -1"),
    (
        true,
        "http = { probes_listen = \"127.0.0.1:1\", max_connections = 8, token = [{ name = \"x\", file = \"secret\", scope = \"admin\" }] }",
    ),
    (false, "kafka.start = \"yesterday\""),
    (false, "kafka.consumers = 0"),
    (false, "kafka.group = \"\""),
    (false, "kafka.client = { \"sasl.password\" = \"x\" }"),
    (false, "kafka.client = { \"group.id\" = \"x\" }"),
    (false, "topics.replication = 0"),
    (false, "topics.create = \"yes\""),
    (false, "topics.prefix = \"a b\""),
    (false, "windows.pane = \"5x\""),
    (false, "windows.pane = \"\""),
    (false, "windows.pane = \"1m1h\""),
    (false, "windows.panes = \"60s\""),
    (false, "http.listen = \"here\""),
    (false, "http = 3"),
    (false, "http.max_connections = 1"),
    (false, "http.token = [{ name = \"x\" }]"),
    (false, "http.token = [{ name = \"x\", file = \"secret\", scope = \"all\" }]"),
    (false, "notify.webhook = [{ url = \"ftp://x\", secret_file = \"secret\" }]"),
    (false, "notify.webhook = [{ url = \"http://x\" }]"),
    (false, "notify.webhook = [{ url = \"http://x\", secret_file = \"secret\", kinds = [\"hold\"] }]"),
    (false, "elsewhere = 1"),
    (false, "kafka.brokerss = \"x\""),
];

/// Lines for the model of the minimal configuration.
const MODEL: [(bool, &str); 35] = [
    (true, "rollout = \"auto\""),
    (true, "rollout = { stable = \"v1\", canary = \"v2\" }"),
    (true, "policy = { prediction_drift = 1, resume = true }"),
    (true, "mode = \"budget\""),
    (true, "policy = { alpha = 0.05, rollback_effect = 0.2, promote_below = 0.1, canary_weight = 0.25 }"),
    (true, "policy.unattributed = \"rollback\""),
    (true, "policy.sampling = { stable = 0.1 }"),
    (false, "policy.sampling = { stable = 0 }"),
    (false, "policy.sampling = { v1 = 0.5 }"),
    (false, "policy.unattributed = \"hold\""),
    (false, "policy.alpha = 0.6"),
    (
        true,
        "expect = [{ version = \"v1\", series = \"amount\", change = \"rescaled\", until = \"2026-12-31T00:00:00Z\", reason = \"cents\" }]",
    ),
    (
        false,
        "expect = [{ version = \"v1\", series = \"amount\", change = \"better\", until = \"2026-12-31T00:00:00Z\", reason = \"cents\" }]",
    ),
    (
        false,
        "expect = [{ version = \"v1\", series = \"amount\", change = \"new\", until = \"soon\", reason = \"x\" }]",
    ),
    (true, "budget = { false_alarms_per_day = 1, min_samples = 100, tolerance = 0.05 }"),
    (true, "mode = \"thresholds\"\nthresholds = { psi_warning = 0.2, min_samples = 1 }"),
    (false, "thresholds = { psi_warning = 0.2, min_samples = 1 }"),
    (false, "mode = \"thresholds\"\nbudget = { min_samples = 100 }"),
    (false, "mode = \"both\""),
    (false, "budget.min_samples = 10"),
    (false, "budget.tolerance = 0"),
    (false, "rollout = \"blue\""),
    (false, "rollout = { canary = \"v2\" }"),
    (false, "policy.prediction_drift = 1.5"),
    (false, "policy.feature_drift = 0"),
    (false, "mode = \"thresholds\"\nthresholds.ks_drift = \"high\""),
    (false, "mode = \"thresholds\"\nthresholds.evaluations = 0"),
    (false, "max_exported_series = -1"),
    (true, "noise = [{ series = \"amount\", ks = { 1 = 0.05, 4 = 0.04 }, psi = { 64 = 0.3 } }]"),
    (false, "noise = [{ series = \"amount\" }]"),
    (false, "noise = [{ series = \"amount\", ks = { 8 = 0.05 } }]"),
    (false, "noise = [{ series = \"amount\", psi = { 1 = 0 } }]"),
    (false, "noise = [{ ks = { 1 = 0.05 } }]"),
    (false, "mode = \"thresholds\"\nnoise = [{ series = \"amount\", ks = { 1 = 0.05 } }]"),
    (false, "weight = 3"),
];

#[test]
fn the_schema_and_the_loader_accept_the_same_configurations() {
    let top = TOP.iter().map(|(good, line)| (*good, MINIMAL.replace("\n\n", &format!("\n{line}\n\n"))));
    let model = MODEL.iter().map(|(good, line)| (*good, format!("{MINIMAL}{line}\n")));
    let cut =
        MINIMAL.lines().filter(|line| line.contains('=')).map(|line| (false, MINIMAL.replace(line, "")));
    let emptied = [
        (false, MINIMAL.replace("\"model-events\"", "")),
        (false, MINIMAL.replace("\"fraud\"", "\"\"")),
        (false, MINIMAL.replace("v1 = \"fraud-v1.parquet\"", "")),
    ];
    for (good, text) in top.chain(model).chain(cut).chain(emptied) {
        assert_eq!(schema_accepts(&text), good, "schema: {text}");
        let loaded = load(&text);
        assert_eq!(loaded.is_ok(), good, "loader: {text}: {loaded:?}");
    }
}

/// Every key that the schema lists, as a path; `0` stands for the first item of an array.
fn keys(schema: &Value, at: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(name) = at["$ref"].as_str() {
        let target = schema.pointer(&name[1..]).expect(name);
        keys(schema, target, path, found);
    }
    for branch in at["oneOf"].as_array().into_iter().flatten() {
        keys(schema, branch, path, found);
    }
    if at["items"].is_object() {
        keys(schema, &at["items"], &format!("{path}[0]"), found);
    }
    for (name, inner) in at["properties"].as_object().into_iter().flatten() {
        let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push(inner_path.clone());
        keys(schema, inner, &inner_path, found);
    }
}

/// TOML that sets the key at `path` to a moment, which no key takes but `kafka.start`.
fn set(path: &str) -> String {
    let (mut before, mut after) = (String::new(), String::new());
    for part in path.split('.') {
        let separator = if before.is_empty() { "" } else { "{ " };
        let close = if before.is_empty() { "" } else { " }" };
        match part.strip_suffix("[0]") {
            Some(name) => {
                before += &format!("{separator}{name} = [");
                after = format!("]{close}{after}");
            }
            None => {
                before += &format!("{separator}{part} = ");
                after = format!("{close}{after}");
            }
        }
    }
    format!("{before}1979-05-27{after}\n")
}

#[test]
fn the_loader_knows_every_key_of_the_schema() {
    let (schema, mut paths) = (schema(), Vec::new());
    keys(&schema, &schema, "", &mut paths);
    assert!(paths.len() > 40 && paths.contains(&"model[0].rollout.canary".to_owned()), "{paths:?}");
    for path in paths {
        let errors = load(&set(&path)).expect_err(&path);
        let of_key: Vec<_> = errors.iter().filter(|error| error.key == path).collect();
        assert!(!of_key.is_empty(), "{path}: {errors:?}");
        assert!(of_key.iter().all(|error| !error.problem.contains("unknown key")), "{path}: {of_key:?}");
    }
}

#[test]
fn the_configuration_of_the_kubernetes_base_lacks_only_its_files() {
    let manifest = include_str!("../../k8s/base/configmap.yaml");
    let lines = manifest.lines().skip_while(|line| line.trim() != "tidegate.toml: |").skip(1);
    let text: String = lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    assert!(schema_accepts(&text), "{text}");
    let errors = parse(&text, Path::new("configmap.yaml"), Path::new("/nowhere")).err().unwrap_or_default();
    let others: Vec<_> = errors.iter().filter(|error| !error.problem.starts_with("cannot read")).collect();
    assert!(others.is_empty(), "{others:?}");
}
