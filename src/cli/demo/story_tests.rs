use super::super::fixture::{action, alert, outcome, report};
use super::*;

fn at(tenths: u64) -> Duration {
    Duration::from_millis(tenths * 100)
}

#[test]
fn a_rollback_is_told_from_the_page_to_the_verdict() {
    let mut story = Story::new(false);
    let end = End::AsExpected(Decision::Rollback);
    let id = "demo/fraud/v2/rollback".to_owned();
    let events = [
        StoryEvent::Page("http://127.0.0.1:4711/".to_owned()),
        StoryEvent::TrafficStarted { per_second: 2_000, canary_weight: 0.1 },
        StoryEvent::Report(report(Verdict::Healthy)),
        StoryEvent::Report(report(Verdict::Healthy)),
        StoryEvent::Report(report(Verdict::Drift)),
        StoryEvent::Report(report(Verdict::Drift)),
        StoryEvent::Action(action(Decision::Rollback)),
        StoryEvent::ControllerVerified { id, action: Decision::Rollback, duplicate: false },
        StoryEvent::WeightChanged { from: 0.1, to: 0.0 },
        StoryEvent::Outcome(outcome(Decision::Rollback, "delivered")),
        StoryEvent::Ended { end, expected: Decision::Rollback },
    ];
    let lines: Vec<String> = events.iter().filter_map(|event| story.tell(at(124), event)).collect();
    let expected = [
        "[ 12.4 s] page: http://127.0.0.1:4711/",
        "[ 12.4 s] traffic: 2000 events/s, 10 % of them answered by the canary",
        "[ 12.4 s] first measurement: v2 (canary), window of 1 pane, 203 events, healthy",
        "[ 12.4 s] first suspicion: v2 (canary), window of 1 pane: score against baseline: PSI 1.42, KS 0.61 (203 values)",
        "[ 12.4 s] action: rollback v2; Only the canary's answers changed. [score PIT-D 0.61 against stable (limit 0.2)]",
        "[ 12.4 s] controller: rollback received, signature verified",
        "[ 12.4 s] controller: canary weight 10 % → 0 %",
        "[ 12.4 s] notify: delivered to controller after 1 attempt, HTTP 204",
        "[ 12.4 s] verdict: rollback",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_state_is_told_again_when_nothing_else_was_for_a_while() {
    let mut story = Story::new(false);
    let healthy = StoryEvent::Report(report(Verdict::Healthy));
    let told: Vec<u64> = (0..40).filter(|second| story.tell(at(second * 10), &healthy).is_some()).collect();
    assert_eq!(told, [0, 10, 20, 30]);
}

#[test]
fn alerts_refusals_and_failed_ends_are_told() {
    let mut story = Story::new(false);
    let mut line = |event| story.tell(at(5), &event).expect("a line");
    let upstream = line(StoryEvent::Alert(alert("upstream_drift", Decision::Hold)));
    assert_eq!(upstream, "[  0.5 s] alert: upstream_drift of v2, decision hold; Both arms moved.");
    assert!(line(StoryEvent::ControllerRefused { reason: "its signature is wrong" }).contains("refused"));
    assert!(
        line(StoryEvent::Paused { paused: true, canary_weight: 0.1 })
            .ends_with("paused, canary weight stays 10 %")
    );
    let ended = |end| StoryEvent::Ended { end, expected: Decision::Rollback };
    assert!(line(ended(End::TimedOut)).ends_with("none in time, where rollback was expected"));
    assert!(line(ended(End::WrongAction(Decision::Pause))).ends_with("pause, where rollback was expected"));
}

#[test]
fn colours_are_for_terminals_only() {
    let page = StoryEvent::Page("http://127.0.0.1:1/".to_owned());
    let tell = |colours| Story::new(colours).tell(at(0), &page).expect("a line");
    assert!(!tell(false).contains('\u{1b}'));
    assert!(tell(true).contains('\u{1b}'));
}
