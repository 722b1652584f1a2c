use super::*;
use crate::baseline::Rollout;
use crate::policy::action::Decision;
use std::path::Path;

const FILE: &str = "t.toml";

/// A folder with the files that the texts below name.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["fraud-v1.parquet", "b.parquet", "secret"] {
        std::fs::write(folder.path().join(name), "pa55word\n").expect("a file");
    }
    std::fs::write(folder.path().join("empty"), "\n").expect("a file");
    folder
}

fn read(text: &str) -> Result<Config, Vec<ConfigError>> {
    let folder = folder();
    parse(text, Path::new(FILE), folder.path())
}

fn errors(text: &str) -> Vec<(usize, String)> {
    let errors = read(text).expect_err(text);
    errors.into_iter().map(|error| (error.line, error.key)).collect()
}

/// The only error of the minimal configuration with `more` after its two first lines, or in its model.
fn only_error(more: &str) -> (usize, String) {
    let text = with(more);
    let mut found = errors(&text);
    assert_eq!(found.len(), 1, "{more}: {found:?}");
    found.remove(0)
}

fn with(more: &str) -> String {
    MINIMAL.replace("\n\n[[model]]", &format!("\n{more}\n[[model]]"))
}

#[test]
fn six_lines_are_a_whole_configuration() {
    assert!(MINIMAL.lines().count() <= 6);
    let config = read(MINIMAL).expect("the minimal configuration");
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.models[0].baselines.len(), 1);
}

#[test]
fn what_is_not_said_has_its_documented_default() {
    let config = read(MINIMAL).expect("the minimal configuration");
    let (kafka, topics, windows) = (&config.kafka, &config.topics, &config.windows);
    assert_eq!((kafka.group.as_str(), kafka.start, kafka.consumers), ("tidegate", StartAt::Latest, 1));
    assert_eq!((topics.prefix.as_str(), topics.create), ("tidegate", true));
    assert_eq!((topics.partitions, topics.replication), (8, -1));
    assert_eq!(topics.tallies_retention.as_secs(), 6 * 3_600);
    assert_eq!(topics.retention.as_secs(), 7 * 86_400);
    let seconds = [
        windows.pane,
        windows.lateness,
        windows.allowed_lateness,
        windows.flush_interval,
        windows.idle_timeout,
        windows.max_stall,
        windows.max_future,
    ];
    assert_eq!(seconds.map(|one| one.as_secs()), [60, 30, 600, 5, 30, 600, 300]);
    assert_eq!(windows.max_past, None);
    assert_eq!(config.http, HttpConfig::default());
    assert_eq!(
        (config.http.listen.to_string().as_str(), config.http.max_connections),
        ("127.0.0.1:9464", 256)
    );
    assert!(config.http.probes_listen.is_none() && config.http.tokens.is_empty());
    let model = &config.models[0];
    assert_eq!((model.id.namespace.as_str(), &model.rollout), ("default", &Rollout::Auto));
    assert_eq!(model.policy, crate::policy::PolicyConfig::default());
    assert_eq!(model.verdicts, VerdictConfig::Budget(crate::judge::verdict::BudgetConfig::default()));
    assert_eq!(model.max_exported_series, 200);
    assert_eq!(config.notify, NotifyConfig::default());
    assert_eq!(config.notify.max_action_age.as_secs(), 15 * 60);
}

#[test]
fn many_errors_are_found_at_once_in_file_order() {
    let text = "kafka.brokerss = \"a\"\ntopics.events = 3\nwindows.pane = \"5x\"\n\n[[model]]\nname = \"m\"\n\
                baselines = { v1 = \"/nowhere\" }\nmax_exported_series = -1\n";
    let found = errors(text);
    for (line, key) in [
        (1, "kafka.brokerss"),
        (1, "kafka.brokers"),
        (2, "topics.events"),
        (3, "windows.pane"),
        (7, "model[0].baselines.v1"),
        (8, "model[0].max_exported_series"),
    ] {
        assert!(found.contains(&(line, key.to_owned())), "{line} {key}: {found:?}");
    }
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(found.is_sorted_by_key(|one| one.0), "{found:?}");
}

#[test]
fn every_kind_of_error_is_on_its_line_under_its_key() {
    for (more, key) in [
        ("kafka.consumers = \"two\"", "kafka.consumers"),
        ("kafka.consumers = 0", "kafka.consumers"),
        ("kafka.group = \"\"", "kafka.group"),
        ("kafka.start = \"yesterday\"", "kafka.start"),
        ("kafka.client = { \"group.id\" = \"x\" }", "kafka.client.group.id"),
        ("topics.replication = 0", "topics.replication"),
        ("topics.create = \"no\"", "topics.create"),
        ("topics.prefix = \"a b\"", "topics.prefix"),
        ("topics.prefix = \"..\"", "topics.prefix"),
        ("windows.pane = \"50ms\"", "windows.pane"),
        ("windows.pane = 60", "windows.pane"),
        ("windows.lateness = \"soon\"", "windows.lateness"),
        ("windows.size = \"5m\"", "windows.size"),
        ("http.listen = \"here\"", "http.listen"),
        ("http.probes_listen = \"9465\"", "http.probes_listen"),
        ("http.probes_listen = \"127.0.0.1:9464\"", "http.probes_listen"),
        ("http.max_connections = 1", "http.max_connections"),
        ("http.token = [{ name = \"x\", file = \"nowhere\" }]", "http.token[0].file"),
        ("http.token = [{ name = \"x\", file = \"empty\" }]", "http.token[0].file"),
        ("http.token = [{ file = \"secret\" }]", "http.token[0].name"),
        ("http.token = [{ name = \"x\" }]", "http.token[0].file"),
        ("http.token = [{ name = \"x\", file = \"secret\", scope = \"all\" }]", "http.token[0].scope"),
        ("http = 3", "http"),
        ("notify.max_action_age = \"0s\"", "notify.max_action_age"),
        ("notify.webhook = [{ url = \"ftp://x\", secret_file = \"secret\" }]", "notify.webhook[0].url"),
        ("notify.webhook = [{ url = \"http://x\" }]", "notify.webhook[0].secret_file"),
        ("elsewhere = 1", "elsewhere"),
    ] {
        assert_eq!(only_error(more), (3, key.to_owned()), "{more}");
    }
}

#[test]
fn every_error_of_a_model_is_on_its_line_under_its_key() {
    for (line, key) in [
        ("rollout = \"blue\"", "rollout"),
        ("rollout = { stable = \"v9\" }", "rollout.stable"),
        ("rollout = { canary = \"v1\" }", "rollout.stable"),
        ("rollout = { stable = \"v1\", canary = \"v1\" }", "rollout.canary"),
        ("policy.prediction_drift = 1.5", "policy.prediction_drift"),
        ("policy.resume = 1", "policy.resume"),
        ("mode = \"plain\"", "mode"),
        ("policy.unattributed = \"hold\"", "policy.unattributed"),
        ("policy.canary_weight = 2", "policy.canary_weight"),
        ("policy.sampling = 0.1", "policy.sampling"),
        ("policy.sampling = { stable = 0, canary = 1 }", "policy.sampling.stable"),
        ("policy.sampling = { canary = 1.5 }", "policy.sampling.canary"),
        ("policy.sampling = { v1 = 0.5 }", "policy.sampling.v1"),
        (
            "expect = [{ version = \"v1\", series = \"a\", change = \"worse\", until = \"2026-12-31T00:00:00Z\", reason = \"x\" }]",
            "expect[0].change",
        ),
        (
            "expect = [{ version = \"v1\", series = \"a\", change = \"new\", until = \"soon\", reason = \"x\" }]",
            "expect[0].until",
        ),
        (
            "expect = [{ version = \"v1\", series = \"a\", change = \"new\", until = \"2026-12-31T00:00:00Z\" }]",
            "expect[0].reason",
        ),
        ("budget.false_alarms_per_day = 0", "budget.false_alarms_per_day"),
        ("budget.min_samples = 49", "budget.min_samples"),
        ("budget.tolerance = 0.6", "budget.tolerance"),
        ("thresholds.psi_warning = 0.05", "thresholds"),
        ("noise = [{ ks = { 1 = 0.1 } }]", "noise[0].series"),
        ("noise = [{ series = \"a\" }]", "noise[0].ks"),
        ("labels = {}", "labels.horizon"),
        ("labels = { horizon = \"6h\" }", "labels.horizon"),
        ("labels = { horizon = \"1h\", max_pending = 999 }", "labels.max_pending"),
        ("labels = { horizon = \"1h\", sample = 0.0 }", "labels.sample"),
        ("noise = [{ series = \"a\", ks = {} }]", "noise[0].ks"),
        ("noise = [{ series = \"a\", ks = { 2 = 0.1 } }]", "noise[0].ks.2"),
        ("noise = [{ series = \"a\", ks = { 4 = 1.5 } }]", "noise[0].ks.4"),
        ("noise = [{ series = \"a\", psi = { 64 = 0 } }]", "noise[0].psi.64"),
        (
            "noise = [{ series = \"a\", psi = { 1 = 1 } }, { series = \"a\", psi = { 1 = 1 } }]",
            "noise[1].series",
        ),
        ("weight = 3", "weight"),
    ] {
        let found = errors(&format!("{MINIMAL}{line}\n"));
        assert_eq!(found, [(7, format!("model[0].{key}"))], "{line}");
    }
    for (line, key) in [
        ("thresholds.psi_warning = 0.3", "thresholds.psi_warning"),
        ("thresholds.psi_drift = 0.05", "thresholds.psi_drift"),
        ("thresholds.ks_drift = nan", "thresholds.ks_drift"),
        ("thresholds.evaluations = 0", "thresholds.evaluations"),
        ("budget.tolerance = 0.1", "budget"),
        ("noise = [{ series = \"a\", ks = { 1 = 0.1 } }]", "noise"),
    ] {
        let found = errors(&format!("{MINIMAL}mode = \"thresholds\"\n{line}\n"));
        assert_eq!(found, [(8, format!("model[0].{key}"))], "{line}");
    }
}

#[test]
fn sampling_is_read_by_arm_and_what_is_not_said_is_all() {
    for (line, stable, canary) in [
        ("{ stable = 0.1 }", 0.1, 1.0),
        ("{ canary = 0.5 }", 1.0, 0.5),
        ("{ stable = 1, canary = 0.25 }", 1.0, 0.25),
    ] {
        let config = read(&format!("{MINIMAL}policy.sampling = {line}\n")).expect("it is right");
        let found = config.models[0].policy.sampling;
        assert_eq!((found.stable, found.canary), (stable, canary), "{line}");
    }
}

#[test]
fn what_is_required_is_missed_by_name() {
    let found = errors("");
    let keys: Vec<&str> = found.iter().map(|one| one.1.as_str()).collect();
    assert_eq!(keys, ["kafka.brokers", "topics.events", "model"]);
    let found = errors("kafka.brokers = \"a\"\ntopics.events = [\"b\"]\n[[model]]\n");
    assert_eq!(found, [(3, "model[0].name".to_owned()), (3, "model[0].baselines".to_owned())]);
}

#[test]
fn broken_toml_is_told_with_its_line_and_does_not_hide_the_rest() {
    let found = errors(&with("windows.pane = \nwindows.lateness = 1"));
    assert!(found.contains(&(3, "syntax".to_owned())), "{found:?}");
    assert!(found.contains(&(4, "windows.lateness".to_owned())), "{found:?}");
}

#[test]
fn a_misspelt_key_is_told_the_right_one() {
    let error = read(&with("windows.latenes = \"5s\"")).expect_err("unknown").remove(0);
    assert_eq!(error.to_string(), "t.toml:3: windows.latenes: is an unknown key; did you mean `lateness`?");
}

#[test]
fn nothing_may_be_there_twice() {
    let text = MINIMAL.replace("[\"model-events\"]", "[\"a\", \"a\"]");
    assert_eq!(errors(&text), [(2, "topics.events[1]".to_owned())]);
    let twice = "\n[[model]]\nname = \"fraud\"\nbaselines = { v1 = \"b.parquet\" }\n";
    assert_eq!(errors(&format!("{MINIMAL}{twice}")), [(9, "model[1].name".to_owned())]);
    let one = "{ name = \"x\", url = \"http://x\", secret_file = \"secret\" }";
    assert_eq!(only_error(&format!("notify.webhook = [{one}, {one}]")).1, "notify.webhook[1].name");
}

#[test]
fn tokens_have_names_of_their_own_and_read_unless_told_otherwise() {
    let one = "{ name = \"x\", file = \"secret\" }";
    assert_eq!(only_error(&format!("http.token = [{one}, {one}]")).1, "http.token[1].name");
    let admin = "{ name = \"y\", file = \"secret\", scope = \"admin\" }";
    let config = read(&with(&format!("http.token = [{one}, {admin}]"))).expect("two tokens");
    let scopes: Vec<_> = config.http.tokens.iter().map(|token| (token.name.as_str(), token.scope)).collect();
    assert_eq!(scopes, [("x", crate::http::Scope::Read), ("y", crate::http::Scope::Admin)]);
    assert!(!format!("{config:?}").contains("pa55word"));
}

#[test]
fn own_topics_and_patterns_are_no_sources() {
    for name in ["tidegate.tallies", "^model-.*", "..", "a b"] {
        let text = MINIMAL.replace("model-events", name);
        assert_eq!(errors(&text), [(2, "topics.events[0]".to_owned())], "{name}");
    }
}

#[test]
fn baselines_keep_the_order_of_the_file() {
    let text = MINIMAL.replace(
        "{ v1 = \"fraud-v1.parquet\" }",
        "{ v9 = \"b.parquet\", a = \"b.parquet\", v10 = \"b.parquet\" }",
    );
    let config = read(&text).expect("three baselines");
    let versions: Vec<&str> = config.models[0].baselines.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(versions, ["v9", "a", "v10"]);
}

#[test]
fn secrets_in_the_file_are_refused_and_not_repeated() {
    let error =
        read(&with("kafka.client = { \"sasl.password\" = \"hunter2\" }")).expect_err("refused").remove(0);
    assert_eq!((error.line, error.key.as_str()), (3, "kafka.client.sasl.password"));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_webhook_s_url_is_not_repeated() {
    let secret_url = |scheme: &str| {
        format!(
            "notify.webhook = [{{ url = \"{scheme}://me:hunter2@x/?key=hunter2\", secret_file = \"secret\" }}]"
        )
    };
    let error = read(&with(&secret_url("ftp"))).expect_err("refused").remove(0);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    let config = read(&with(&secret_url("http"))).expect("a webhook");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn secrets_from_files_are_read_and_never_shown() {
    let more = "kafka.client = { \"sasl.password_file\" = \"secret\", \"sasl.username\" = \"me\" }";
    let config = read(&with(more)).expect("a secret in a file");
    assert_eq!(config.kafka.client["sasl.password"], "pa55word");
    let shown = format!("{config:?}");
    assert!(shown.contains("sasl.password") && !shown.contains("pa55word"), "{shown}");
    let missing = "kafka.client = { \"sasl.password_env\" = \"TIDEGATE_TEST_NOT_SET\" }";
    assert_eq!(only_error(missing), (3, "kafka.client.sasl.password_env".to_owned()));
}

#[test]
fn client_properties_may_be_nested_and_of_any_scalar_type() {
    let config = read(&with("kafka.client.fetch.min.bytes = 5\nkafka.client.\"check.crcs\" = false"))
        .expect("client properties");
    assert_eq!(config.kafka.client["fetch.min.bytes"], "5");
    assert_eq!(config.kafka.client["check.crcs"], "false");
    let config = read(&with("kafka.client.\"fetch.min.bytes\" = 0x10")).expect("a hexadecimal number");
    assert_eq!(config.kafka.client["fetch.min.bytes"], "16", "librdkafka reads decimal numbers");
    let too_large = "kafka.client.\"fetch.min.bytes\" = 9223372036854775808";
    assert_eq!(only_error(too_large), (3, "kafka.client.fetch.min.bytes".to_owned()));
}

#[test]
fn a_key_without_a_name_is_told_as_such() {
    assert_eq!(only_error("\"\" = 1"), (3, "\"\"".to_owned()));
}

#[test]
fn a_full_webhook_and_a_starting_time_are_read() {
    let more = "kafka.start = 2026-01-01T00:00:00Z\n[[notify.webhook]]\nurl = \"https://x/y\"\n\
                secret_file = \"secret\"\nca_file = \"secret\"\nkinds = [\"rollback\"]\n";
    let config = read(&with(more)).expect("a webhook");
    assert_eq!(config.kafka.start, StartAt::Time(1_767_225_600_000));
    let webhook = &config.notify.webhooks[0];
    assert_eq!((webhook.name.as_str(), &webhook.kinds[..]), ("webhook-1", &[Decision::Rollback][..]));
}

#[test]
fn a_file_that_is_no_baseline_is_told_by_its_key() {
    let folder = folder();
    let config = parse(MINIMAL, Path::new(FILE), folder.path()).expect("the minimal configuration");
    let errors = load_watch(&config).expect_err("a password is no baseline");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].key, "model[0].baselines.v1");
    assert!(!errors[0].to_string().contains(":0:"), "{}", errors[0]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_error() {
    let found = load(Path::new("/nowhere/t.toml")).expect_err("there is no such file");
    assert_eq!((found.len(), found[0].line), (1, 0));
}

#[test]
fn accepted_noise_is_laid_over_the_baselines_and_must_be_of_one_of_their_series() {
    use crate::baseline::{LEAST_PSI, file};
    use crate::judge::fixture::baseline;
    let folder = folder();
    file::write(&baseline("v1", 1.0, true), &folder.path().join("fraud-v1.parquet")).expect("written");
    let read = |more: &str| {
        let text = format!("{MINIMAL}{more}\n");
        load_watch(&parse(&text, Path::new(FILE), folder.path()).expect("a configuration"))
    };
    let watch = read("noise = [{ series = \"amount\", ks = { 1 = 0.07, 16 = 0.03 }, psi = { 1 = 0.2 } }]");
    let watch = watch.expect("amount is a series");
    let series = |name: &str| {
        let all = &watch.models[0].versions[0].series;
        all.iter().find(|one| one.reference.name == name).expect("a series").reference.clone()
    };
    let amount = series("amount");
    let said = |scale| amount.tolerance(scale).map(|one| (one.delta, one.psi));
    assert_eq!([1, 4, 16].map(said), [Some((0.07, Some(0.2))), None, Some((0.03, None))]);
    assert!(amount.traits.accepted && !series("age").traits.accepted && LEAST_PSI < 0.2);
    let watch = read("labels = { horizon = \"5h\", sample = 0.25 }").expect("labels are kept so long");
    let join = watch.models[0].labels.expect("labels are joined");
    assert_eq!((join.horizon_ms, join.max_pending, join.sample), (18_000_000, 1_000_000, 0.25));
    let errors = read("noise = [{ series = \"amout\", ks = { 1 = 0.07 } }]").expect_err("no such series");
    assert_eq!(errors[0].key, "model[0].noise[0].series");
    assert!(
        errors[0].to_string().contains("no baseline of the model has a series \"amout\""),
        "{}",
        errors[0]
    );
}
