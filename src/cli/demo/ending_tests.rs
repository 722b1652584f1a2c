use super::super::fixture::{action, alert, outcome, report};
use super::*;

fn changed(scenario: Scenario) -> Ending {
    let mut ending = Ending::new(scenario);
    assert_eq!(ending.observe(&StoryEvent::Change { scenario }, seconds(10)), None);
    ending
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn delivered(decision: Decision) -> StoryEvent {
    StoryEvent::Outcome(outcome(decision, "delivered"))
}

#[test]
fn a_rollback_is_over_when_delivered_and_the_weight_is_zero_in_any_order() {
    let events = [
        StoryEvent::Action(action(Decision::Rollback)),
        StoryEvent::WeightChanged { from: 0.1, to: 0.0 },
        delivered(Decision::Rollback),
    ];
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut ending = changed(Scenario::ModelRegression);
        let end = order.iter().find_map(|index| ending.observe(&events[*index], seconds(14)));
        assert_eq!(end, Some(End::AsExpected(Decision::Rollback)));
    }
    let mut ending = changed(Scenario::ModelRegression);
    assert_eq!(ending.observe(&events[2], seconds(14)), None, "the weight has not moved");
}

#[test]
fn a_pause_is_over_when_delivered() {
    let mut ending = changed(Scenario::BrokenFeature);
    assert_eq!(ending.observe(&StoryEvent::Action(action(Decision::Pause)), seconds(13)), None);
    assert_eq!(
        ending.observe(&delivered(Decision::Pause), seconds(14)),
        Some(End::AsExpected(Decision::Pause))
    );
}

#[test]
fn a_hold_is_over_at_its_alert_and_not_at_another() {
    let mut ending = changed(Scenario::UpstreamDrift);
    let drift = StoryEvent::Alert(alert("drift", Decision::Hold));
    assert_eq!(ending.observe(&drift, seconds(12)), None);
    let upstream = StoryEvent::Alert(alert("upstream_drift", Decision::Hold));
    assert_eq!(ending.observe(&upstream, seconds(14)), Some(End::AsExpected(Decision::Hold)));
    let mut early = Ending::new(Scenario::UpstreamDrift);
    assert_eq!(early.observe(&upstream, seconds(5)), None, "nothing had moved yet");
}

#[test]
fn healthy_is_over_after_thirty_quiet_seconds_in_which_the_canary_was_judged() {
    let mut ending = changed(Scenario::Healthy);
    assert_eq!(ending.tick(seconds(31)), None, "silence alone proves nothing");
    let healthy = StoryEvent::Report(report(Verdict::Healthy));
    assert_eq!(ending.observe(&healthy, seconds(29)), None);
    assert_eq!(ending.tick(seconds(30)), Some(End::AsExpected(Decision::Continue)));
}

#[test]
fn any_other_action_fails_every_scenario() {
    let all =
        [Scenario::ModelRegression, Scenario::BrokenFeature, Scenario::UpstreamDrift, Scenario::Healthy];
    for scenario in all {
        for decision in [Decision::Pause, Decision::Rollback, Decision::Resume] {
            let taken = StoryEvent::Action(action(decision));
            let end = changed(scenario).observe(&taken, seconds(12));
            let wrong = Some(End::WrongAction(decision));
            let on_the_way = scenario == Scenario::ModelRegression && decision == Decision::Pause;
            assert_eq!(end, if decision == scenario.expected() || on_the_way { None } else { wrong });
            let early = Ending::new(scenario).observe(&taken, seconds(5));
            assert_eq!(early, wrong, "before the change any action is a false alarm");
        }
    }
}

#[test]
fn an_action_that_does_not_arrive_and_a_demo_without_an_end_fail() {
    let mut ending = changed(Scenario::ModelRegression);
    let failed = StoryEvent::Outcome(outcome(Decision::Rollback, "refused"));
    assert_eq!(ending.observe(&failed, seconds(14)), Some(End::NotDelivered(Decision::Rollback)));
    let ending = changed(Scenario::ModelRegression);
    assert_eq!((ending.tick(seconds(59)), ending.tick(seconds(60))), (None, Some(End::TimedOut)));
}

#[test]
fn only_the_expected_end_is_a_success() {
    assert_eq!(End::AsExpected(Decision::Hold).exit_code(), 0);
    for end in [End::WrongAction(Decision::Pause), End::NotDelivered(Decision::Pause), End::TimedOut] {
        assert_eq!(end.exit_code(), 1);
    }
}
