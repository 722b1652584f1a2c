//! What the demo tells, in plain lines with the time since its start. Pure: events in, lines out.

use super::ending::End;
use super::traffic::Scenario;
use crate::judge::report::{Report, SeriesReport, Verdict};
use crate::policy::action::{Action, ActionOutcome, Alert, Decision, Finding};
use std::time::Duration;

/// What happens in a demo.
#[derive(Debug, Clone, PartialEq)]
pub enum StoryEvent {
    /// The address of the page.
    Page(String),
    TrafficStarted {
        /// Events.
        per_second: u32,
        /// 0 to 1.
        canary_weight: f64,
    },
    /// The scenario's change sets in.
    Change {
        scenario: Scenario,
    },
    Report(Box<Report>),
    Alert(Alert),
    Action(Action),
    Outcome(ActionOutcome),
    /// The controller took a webhook whose signature is right.
    ControllerVerified {
        id: String,
        action: Decision,
        duplicate: bool,
    },
    /// The controller refused a webhook.
    ControllerRefused {
        reason: &'static str,
    },
    /// The canary's share of the traffic, 0 to 1.
    WeightChanged {
        from: f64,
        to: f64,
    },
    /// The controller stopped the rollout's steps, or goes on with them.
    Paused {
        paused: bool,
        /// 0 to 1; unchanged by it.
        canary_weight: f64,
    },
    /// How it ended, and what the scenario should end in.
    Ended {
        end: End,
        expected: Decision,
    },
}

/// How often the latest state is told when nothing else is.
const STATUS_EVERY: Duration = Duration::from_secs(10);
const MAX_FINDINGS: usize = 3;

/// The teller: remembers what was said.
#[derive(Debug, Default)]
pub struct Story {
    /// Whether lines carry ANSI colours.
    colours: bool,
    measured: bool,
    suspected: bool,
    last_status: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Tone {
    Plain,
    Good,
    Bad,
}

impl Story {
    /// `colours`: only for a terminal.
    pub fn new(colours: bool) -> Story {
        Story { colours, ..Story::default() }
    }

    /// The line of an event that came `elapsed` after the start, `[ 12.4 s] …`, if it is worth one.
    pub fn tell(&mut self, elapsed: Duration, event: &StoryEvent) -> Option<String> {
        let (tone, text) = self.words(elapsed, event)?;
        let time = format!("[{:5.1} s]", elapsed.as_secs_f64());
        Some(match (self.colours, tone) {
            (false, _) => format!("{time} {text}"),
            (true, Tone::Plain) => format!("\u{1b}[2m{time}\u{1b}[0m {text}"),
            (true, Tone::Good) => format!("\u{1b}[2m{time}\u{1b}[0m \u{1b}[32m{text}\u{1b}[0m"),
            (true, Tone::Bad) => format!("\u{1b}[2m{time}\u{1b}[0m \u{1b}[31m{text}\u{1b}[0m"),
        })
    }

    fn words(&mut self, elapsed: Duration, event: &StoryEvent) -> Option<(Tone, String)> {
        let plain = |text: String| Some((Tone::Plain, text));
        match event {
            StoryEvent::Page(url) => plain(format!("page: {url}")),
            StoryEvent::TrafficStarted { per_second, canary_weight } => plain(format!(
                "traffic: {per_second} events/s, {} of them answered by the canary",
                share(*canary_weight)
            )),
            StoryEvent::Change { scenario } => plain(format!("change: {}", change_words(*scenario))),
            StoryEvent::Report(report) => self.report(elapsed, report),
            StoryEvent::Alert(alert) => Some((Tone::Bad, alert_words(alert))),
            StoryEvent::Action(action) => Some((Tone::Bad, action_words(action))),
            StoryEvent::Outcome(outcome) => Some(outcome_words(outcome)),
            StoryEvent::ControllerVerified { action, duplicate, .. } => {
                let again = if *duplicate { "; it was carried out before" } else { "" };
                plain(format!("controller: {} received, signature verified{again}", action.as_str()))
            }
            StoryEvent::ControllerRefused { reason } => {
                Some((Tone::Bad, format!("controller: webhook refused, {reason}")))
            }
            StoryEvent::WeightChanged { from, to } => {
                Some((Tone::Good, format!("controller: canary weight {} → {}", share(*from), share(*to))))
            }
            StoryEvent::Paused { paused, canary_weight } => {
                let said = if *paused { "paused" } else { "resumed" };
                let weight = share(*canary_weight);
                Some((Tone::Good, format!("controller: rollout {said}, canary weight stays {weight}")))
            }
            StoryEvent::Ended { end, expected } => Some(end_words(*end, *expected)),
        }
    }

    /// The first measurement, the first suspicion, and the state now and then.
    fn report(&mut self, elapsed: Duration, report: &Report) -> Option<(Tone, String)> {
        if report.verdict == Verdict::Drift && !self.suspected {
            self.suspected = true;
            self.measured = true;
            self.last_status = elapsed;
            return Some((Tone::Bad, suspicion_words(report)));
        }
        let first = !self.measured;
        let due = elapsed >= self.last_status + STATUS_EVERY;
        if !first && !due {
            return None;
        }
        self.measured = true;
        self.last_status = elapsed;
        let what = if first { "first measurement" } else { "measured" };
        let verdict = report.verdict.as_str();
        Some((Tone::Plain, format!("{what}: {}, {} events, {verdict}", window_words(report), report.events)))
    }
}

fn change_words(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::ModelRegression => {
            "the canary starts to answer differently; what it is asked stays the same"
        }
        Scenario::BrokenFeature => "the canary's amount comes in cents instead of euros",
        Scenario::UpstreamDrift => "amount and distance_km move, in both arms alike",
        Scenario::Healthy => "none; nothing will happen",
    }
}

/// `v2 (canary), window of 4 panes`
fn window_words(report: &Report) -> String {
    let role = report.role.map_or_else(String::new, |role| format!(" ({})", role.as_str()));
    let panes = if report.window.scale == 1 { "pane" } else { "panes" };
    format!("{}{role}, window of {} {panes}", report.model_version, report.window.scale)
}

fn suspicion_words(report: &Report) -> String {
    let head = format!("first suspicion: {}", window_words(report));
    match farthest(report) {
        Some(series) => format!("{head}: {}", series_words(series)),
        None => format!("{head}: {}", report.reason),
    }
}

/// The series that drifted the farthest.
fn farthest(report: &Report) -> Option<&SeriesReport> {
    let distance = |series: &SeriesReport| {
        let ks = series.ks.map_or(0.0, |ks| ks.statistic);
        ks.max(series.psi.map_or(0.0, |psi| psi.value))
    };
    let drifted = report.series.iter().filter(|series| series.verdict == Verdict::Drift);
    drifted.max_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// `score against baseline: PSI 1.42, KS 0.61 (203 values)`
fn series_words(series: &SeriesReport) -> String {
    let psi = series.psi.map(|psi| format!("PSI {:.2}", psi.value));
    let ks = series.ks.map(|ks| format!("KS {:.2}", ks.statistic));
    let numbers: Vec<String> = psi.into_iter().chain(ks).collect();
    format!(
        "{} against {}: {} ({} values)",
        series.name,
        series.reference.as_str(),
        numbers.join(", "),
        series.n
    )
}

fn alert_words(alert: &Alert) -> String {
    let (kind, version, decision) = (&alert.kind, &alert.model_version, alert.decision.as_str());
    format!("alert: {kind} of {version}, decision {decision}; {}{}", alert.reason, findings(&alert.findings))
}

fn action_words(action: &Action) -> String {
    let (kind, canary) = (action.action.as_str(), &action.rollout.canary);
    format!("action: {kind} {canary}; {}{}", action.reason, findings(&action.findings))
}

fn findings(findings: &[Finding]) -> String {
    let words = |finding: &Finding| {
        let metric = finding.metric.to_uppercase().replace('_', "-");
        let (name, reference) = (&finding.name, &finding.reference);
        format!("{name} {metric} {:.2} against {reference} (limit {})", finding.value, finding.threshold)
    };
    let listed: Vec<String> = findings.iter().take(MAX_FINDINGS).map(words).collect();
    if listed.is_empty() { String::new() } else { format!(" [{}]", listed.join("; ")) }
}

fn outcome_words(outcome: &ActionOutcome) -> (Tone, String) {
    let status = outcome.status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    let tone = if outcome.outcome == "delivered" { Tone::Plain } else { Tone::Bad };
    let attempts = if outcome.attempts == 1 { "attempt" } else { "attempts" };
    let (said, sink, tries) = (&outcome.outcome, &outcome.sink, outcome.attempts);
    (tone, format!("notify: {said} to {sink} after {tries} {attempts}{status}"))
}

fn end_words(end: End, expected: Decision) -> (Tone, String) {
    let expected = expected.as_str();
    match end {
        End::AsExpected(decision) => (Tone::Good, format!("verdict: {}", decision.as_str())),
        End::WrongAction(decision) => {
            (Tone::Bad, format!("verdict: {}, where {expected} was expected", decision.as_str()))
        }
        End::NotDelivered(decision) => {
            (Tone::Bad, format!("verdict: {}, but it did not reach the controller", decision.as_str()))
        }
        End::TimedOut => (Tone::Bad, format!("verdict: none in time, where {expected} was expected")),
    }
}

/// `10 %`
fn share(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
