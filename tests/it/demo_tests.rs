//! `tidegate demo --once`: every scenario ends in its own outcome, within a minute, with exit code 0.

use std::process::Command;

fn told(scenario: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--once", "--scenario", scenario])
        .output()
        .expect("the demo runs");
    let story = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{story}\n{errors}");
    story
}

fn assert_in_order(story: &str, parts: &[&str]) {
    let mut rest = story;
    for part in parts {
        let at =
            rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or out of order in:\n{story}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn a_model_regression_ends_in_a_rollback() {
    let story = told("model-regression");
    assert_in_order(
        &story,
        &[
            "page: http://127.0.0.1:",
            "traffic:",
            "first measurement:",
            "change:",
            "10 % → 0 %",
            "verdict: rollback",
        ],
    );
    assert!(story.contains("rollback received, signature verified"), "{story}");
}

#[test]
fn a_broken_feature_ends_in_a_pause() {
    let story = told("broken-feature");
    assert_in_order(&story, &["change:", "pause received, signature verified", "verdict: pause"]);
    assert!(story.contains("amount"), "{story}");
}

#[test]
fn an_upstream_drift_ends_in_a_hold() {
    let story = told("upstream-drift");
    assert_in_order(&story, &["change:", "alert: upstream_drift", "verdict: hold"]);
    assert!(!story.contains("action:"), "{story}");
}

#[test]
fn healthy_traffic_goes_on_without_an_action() {
    let story = told("healthy");
    assert_in_order(&story, &["first measurement:", "verdict: continue"]);
    assert!(!story.contains("action:"), "{story}");
}
