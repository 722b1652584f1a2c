//! What is written to Kafka as JSON is what the schemas say, both ways: every record validates, and a schema
//! has no field that the code does not write.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tidegate::event::{EventTime, Outcome, Role, SeriesKind};
use tidegate::judge::report::{
    AucReport, BrierReport, ClassReport, DifferenceReport, EffectReport, KsReport, LabelReport,
    LatencyReport, MeasuredOf, PsiReport, QuantileReport, QuantilesReport, RatioReport, Reference, Report,
    ScoreReport, SeriesReport, ServiceReport, ToleranceSource, Verdict, WassersteinReport, Window,
};
use tidegate::policy::action::{Action, ActionOutcome, Alert, Decision, Finding, RolloutRef};
use tidegate::policy::schema_break::SchemaBreak;

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.schema.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a schema")).expect("JSON")
}

/// Validates a record, and compares the keys of each object with the schema's.
fn assert_fits(name: &str, record: &Value) {
    let schema = schema(name);
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<String> =
        validator.iter_errors(record).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
    assert_same_keys(name, &schema, record);
}

fn assert_same_keys(at: &str, schema: &Value, record: &Value) {
    if let Some(items) = schema.get("items") {
        record.as_array().into_iter().flatten().for_each(|item| assert_same_keys(at, items, item));
    }
    if let Some(first) = schema["anyOf"].get(0).filter(|_| !record.is_null()) {
        assert_same_keys(at, first, record);
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let record = record.as_object().unwrap_or_else(|| panic!("{at} is an object"));
    let (schema_keys, keys): (Vec<_>, Vec<_>) = (properties.keys().collect(), record.keys().collect());
    assert_eq!(schema_keys, keys, "{at}");
    properties
        .iter()
        .for_each(|(key, schema)| assert_same_keys(&format!("{at}.{key}"), schema, &record[key]));
}

fn class_report(class: &str) -> ClassReport {
    let ratio = (!class.is_empty()).then_some(RatioReport { value: 0.9, lower: 0.8, upper: 0.95 });
    ClassReport {
        class: (!class.is_empty()).then(|| class.to_owned()),
        labelled: 250,
        predicted: 240,
        precision: ratio,
        recall: ratio,
        f1: ratio,
    }
}

pub fn report() -> Report {
    let series = SeriesReport {
        name: "amount".to_owned(),
        of: MeasuredOf::Feature,
        kind: SeriesKind::Numeric,
        reference: Reference::Baseline,
        n: 1_000,
        m: 10_000,
        missing: 3,
        type_errors: 1,
        unseen: 0,
        out_of_range: 2,
        missing_ratio: Some(0.003),
        unseen_ratio: None,
        out_of_range_ratio: Some(0.002),
        ks: Some(KsReport { statistic: 0.1, upper: 0.101, p_value: 0.5 }),
        psi: Some(PsiReport { value: 0.02, p_value: 0.9, corrected: 0.0 }),
        js: Some(0.03),
        hellinger: Some(0.02),
        total_variation: Some(0.03),
        wasserstein: Some(WassersteinReport { lower: 0.1, upper: Some(0.2), normed: Some(0.01) }),
        quantiles: Some(QuantilesReport {
            p05: Some(1.0),
            p25: Some(2.0),
            p50: Some(3.0),
            p75: Some(4.0),
            p95: None,
        }),
        mean: Some(2.9),
        verdict: Verdict::Healthy,
        effect: Some(EffectReport {
            metric: "ks".to_owned(),
            value: 0.1,
            lower: Some(0.01),
            upper: Some(0.2),
            tolerance: 0.02,
            tolerance_from: ToleranceSource::Baseline,
            p_value: 0.3,
            alpha: 1e-6,
            phi: 1.0,
            smallest: Some(0.12),
        }),
        severity: None,
    };
    Report {
        model: "fraud".to_owned(),
        namespace: "default".to_owned(),
        model_version: "v1".to_owned(),
        role: Some(Role::Stable),
        window: Window {
            start: "2026-11-23T10:00:00.000Z".to_owned(),
            end: "2026-11-23T10:01:00.000Z".to_owned(),
            panes: 1,
            scale: 1,
        },
        revision: 0,
        baseline_age_seconds: Some(86_400.0),
        events: 1_003,
        traffic_share: 0.9,
        series: vec![series],
        service: Some(ServiceReport {
            answers: 1_000,
            errors: 10,
            error_ratio: Some(RatioReport { value: 0.01, lower: 0.005, upper: 0.018 }),
            latency: Some(LatencyReport {
                n: 900,
                unusable: 1,
                quantiles: vec![
                    QuantileReport { level: 0.5, seconds: 0.012, lower: Some(0.011), upper: Some(0.013) },
                    QuantileReport { level: 0.99, seconds: 0.2, lower: None, upper: None },
                ],
            }),
        }),
        labels: vec![LabelReport {
            start: Some("2026-01-01T00:00:00Z".to_owned()),
            end: Some("2026-01-01T00:01:00Z".to_owned()),
            output: "class".to_owned(),
            answers: 1_000,
            labelled: 500,
            unusable: 2,
            accuracy: Some(RatioReport { value: 0.9, lower: 0.87, upper: 0.92 }),
            accuracy_difference: Some(DifferenceReport { value: -0.02, lower: -0.05, upper: 0.01 }),
            macro_f1: Some(0.9),
            classes: ["fraud", ""].map(class_report).to_vec(),
        }],
        scores: vec![ScoreReport {
            start: Some("2026-01-01T00:00:00Z".to_owned()),
            end: Some("2026-01-01T00:01:00Z".to_owned()),
            output: "score".to_owned(),
            answers: 1_000,
            labelled: 500,
            positives: 40,
            unusable: 2,
            auc: Some(AucReport { value: 0.9, lower: Some(0.87), upper: None, bracket: Some(0.01) }),
            auc_difference: Some(DifferenceReport { value: -0.02, lower: -0.05, upper: 0.01 }),
            brier: Some(BrierReport { value: 0.1, lower: Some(0.09), upper: None }),
            brier_difference: Some(DifferenceReport { value: 0.02, lower: -0.05, upper: 0.01 }),
        }],
        feature_drift_score: Some(0.02),
        prediction_drift_score: None,
        threshold: 0.25,
        verdict: Verdict::Healthy,
        severity: None,
        reason: "Nothing moved.".to_owned(),
        complete: true,
    }
}

fn finding() -> Finding {
    let text = |text: &str| text.to_owned();
    Finding {
        kind: text("prediction"),
        name: text("score"),
        metric: text("pit_d"),
        reference: text("stable"),
        value: 0.4,
        threshold: 0.2,
    }
}

#[test]
fn a_report_is_what_its_schema_says() {
    assert_fits("report", &serde_json::to_value(report()).expect("JSON"));
    let bare =
        Report { series: Vec::new(), service: None, role: None, feature_drift_score: None, ..report() };
    assert_fits("report", &serde_json::to_value(bare).expect("JSON"));
}

#[test]
fn actions_alerts_and_outcomes_are_what_their_schemas_say() {
    let text = |text: &str| text.to_owned();
    let action = Action {
        idempotency_key: text("default/fraud/v2/rollback"),
        action: Decision::Rollback,
        rollout: RolloutRef {
            namespace: text("default"),
            model: text("fraud"),
            stable: text("v1"),
            canary: text("v2"),
            revision: text("v2"),
        },
        window_start: text("2026-11-23T10:00:00.000Z"),
        window_end: text("2026-11-23T10:01:00.000Z"),
        events: 10,
        findings: vec![finding()],
        reason: text("The canary answers differently."),
    };
    assert_fits("action", &serde_json::to_value(&action).expect("JSON"));
    let alert = Alert {
        alert_id: text("a"),
        kind: text("drift"),
        namespace: text("default"),
        model: text("fraud"),
        model_version: text("v2"),
        topic: None,
        window_start: action.window_start.clone(),
        window_end: action.window_end.clone(),
        findings: vec![finding()],
        decision: Decision::Hold,
        reason: text("It moved."),
    };
    assert_fits("alert", &serde_json::to_value(alert).expect("JSON"));
    let broken = SchemaBreak {
        topic: text("events"),
        reason: Outcome::Unreadable,
        dead: 200,
        records: 1_000,
        at: EventTime(1_795_428_000_000),
    };
    assert_fits("alert", &serde_json::to_value(broken.alert("reading goes on")).expect("JSON"));
    let outcome = ActionOutcome {
        idempotency_key: action.idempotency_key,
        sink: text("controller"),
        outcome: text("delivered"),
        attempts: 1,
        status: Some(204),
        at: action.window_end,
    };
    assert_fits("outcome", &serde_json::to_value(outcome).expect("JSON"));
}

#[test]
fn a_schema_refuses_what_is_no_report() {
    let validator = jsonschema::validator_for(&schema("report")).expect("a valid schema");
    assert!(!validator.is_valid(&json!({})));
    let mut wrong = serde_json::to_value(report()).expect("JSON");
    wrong["verdict"] = json!("fine");
    assert!(!validator.is_valid(&wrong));
}

/// Whatever a report may measure, and may not always.
#[test]
fn the_manual_names_every_block_of_a_report() {
    let manual =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a manual");
    let row = manual.lines().find(|line| line.starts_with("| `tidegate.reports` |")).expect("its row");
    let schema = schema("report");
    let properties = |schema: &Value| schema["properties"].as_object().expect("properties").clone();
    let of_report = properties(&schema).into_iter();
    let blocks = of_report.filter(|(name, one)| one["type"] == "array" || name == "service");
    let of_series = properties(&schema["properties"]["series"]["items"]).into_iter();
    let measured = of_series.filter(|(_, one)| one.get("anyOf").is_some());
    let names: Vec<String> = blocks.chain(measured).map(|(name, _)| format!("`{name}`")).collect();
    assert!(names.len() > 12, "{names:?}");
    let left_out: Vec<&String> = names.iter().filter(|name| !row.contains(*name)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
