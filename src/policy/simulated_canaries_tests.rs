//! Healthy canaries stay, regressed ones do not: rollouts of an additive model, event by event.

use super::PolicyConfig;
use super::action::Decision;
use super::evaluate::{ModelMemory, ModelRules, evaluate};
use crate::baseline::{Baseline, BaselineSeries, Rollout, VersionIndex, WatchedModel, numeric_series};
use crate::cells::Grid;
use crate::event::{EventTime, ModelId, SeriesOf};
use crate::judge::plan::MeasurePlan;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use crate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use fastrand::Rng;
use std::f64::consts::TAU;
use std::sync::Arc;

/// Rows that both versions scored, and neither was trained on.
const ROWS: usize = 20_000;
const PANES: i64 = 90;
/// Events of a pane: stable, canary.
const EVENTS: [usize; 2] = [900, 100];

/// One request: its inputs, and what no version knows (a part of which a better version learns).
struct Request {
    inputs: Vec<f64>,
    hidden: f64,
    luck: f64,
}

/// A version's score for a request.
type Score = fn(&Request, &mut Rng) -> f64;

/// A rollout of two versions of one model.
struct World {
    inputs: usize,
    /// The canary's baseline has one input that stable's lacks.
    new_input: bool,
    stable: Score,
    canary: Score,
    /// What the canary answers live, when it is broken.
    live: Option<Score>,
    /// Added to every input of the canary's requests, in σ.
    shift: f64,
}

const HEALTHY: World =
    World { inputs: 12, new_input: false, stable: plain, canary: plain, live: None, shift: 0.0 };

/// The part of the log odds that stable knows: standard normal.
fn logit(request: &Request) -> f64 {
    request.inputs.iter().sum::<f64>() / (request.inputs.len() as f64).sqrt()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

fn plain(request: &Request, _: &mut Rng) -> f64 {
    sigmoid(logit(request) + 0.3 * request.luck - 2.0)
}

fn recalibrated(request: &Request, _: &mut Rng) -> f64 {
    sigmoid(0.7 * (logit(request) + 0.3 * request.luck) - 1.0)
}

/// Trained with other class weights: other scores throughout, nearly the same order.
fn reweighted(request: &Request, _: &mut Rng) -> f64 {
    sigmoid(logit(request) + 0.3 * request.luck + 0.1 * request.hidden + 1.5)
}

/// Knows some of what stable does not: scores correlate by about .9.
fn better(request: &Request, _: &mut Rng) -> f64 {
    sigmoid(logit(request) + 0.5 * request.hidden - 2.0)
}

fn stuck(request: &Request, rng: &mut Rng) -> f64 {
    if rng.f64() < 0.25 { 0.5 } else { plain(request, rng) }
}

/// Half a standard deviation too high.
fn too_high(request: &Request, _: &mut Rng) -> f64 {
    sigmoid(logit(request) + 0.3 * request.luck + 0.522 - 2.0)
}

fn noisy(request: &Request, rng: &mut Rng) -> f64 {
    if rng.f64() < 0.3 { rng.f64() } else { plain(request, rng) }
}

fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos()
}

fn request(inputs: usize, shift: f64, rng: &mut Rng) -> Request {
    let values = (0..inputs).map(|_| normal(rng) + shift).collect();
    Request { inputs: values, hidden: normal(rng), luck: normal(rng) }
}

impl World {
    fn watched(&self, rng: &mut Rng) -> WatchedModel {
        let requests: Vec<Request> = (0..ROWS).map(|_| request(self.inputs, 0.0, rng)).collect();
        let baseline = |version: &str, score: Score, new_input: bool, rng: &mut Rng| {
            let mut series: Vec<BaselineSeries> = (0..self.inputs)
                .map(|input| {
                    let values = requests.iter().map(|one| one.inputs[input]).collect();
                    numeric_series(&format!("x{input}"), SeriesOf::Feature, values, 0)
                })
                .collect();
            if new_input {
                let values = requests.iter().map(|one| one.hidden).collect();
                series.push(numeric_series("hidden", SeriesOf::Feature, values, 0));
            }
            let scores = requests.iter().map(|one| score(one, rng)).collect();
            series.push(numeric_series("score", SeriesOf::Prediction, scores, 0));
            Arc::new(Baseline {
                model: "fraud".to_owned(),
                version: version.to_owned(),
                rows: ROWS as u64,
                created: EventTime(0),
                held_out: true,
                times: None,
                series: series.into_iter().map(Arc::new).collect(),
            })
        };
        let baselines =
            [baseline("v1", self.stable, false, rng), baseline("v2", self.canary, self.new_input, rng)];
        let rollout = Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v2".to_owned()) };
        let id = ModelId { namespace: "ml".to_owned(), name: "fraud".to_owned() };
        WatchedModel::new(id, rollout, &baselines).expect("there are baselines")
    }

    fn arm(&self, watched: &WatchedModel, version: usize, rng: &mut Rng) -> ArmWindow {
        let series = &watched.versions[version].series;
        let mut counts: Vec<SeriesCounts> = series
            .iter()
            .map(|one| SeriesCounts {
                cells: vec![0; one.reference.grid.cells()],
                rows: EVENTS[version] as u64,
                ..SeriesCounts::default()
            })
            .collect();
        let (score, shift) = match version {
            0 => (self.stable, 0.0),
            _ => (self.live.unwrap_or(self.canary), self.shift),
        };
        for _ in 0..EVENTS[version] {
            let request = request(self.inputs, shift, rng);
            let answer = score(&request, rng);
            for (one, counts) in series.iter().zip(&mut counts) {
                let value = match (one.reference.name.strip_prefix('x'), one.reference.of) {
                    (Some(input), _) => request.inputs[input.parse::<usize>().expect("a number")],
                    (None, SeriesOf::Feature) => request.hidden,
                    (None, SeriesOf::Prediction) => answer,
                };
                let Grid::Numeric(grid) = &*one.reference.grid else { unreachable!("all are numbers") };
                counts.cells[grid.rank_one(value) as usize] += 1;
            }
        }
        ArmWindow {
            version: VersionIndex { model: 0, version: version as u32 },
            stable_events: 0,
            canary_events: 0,
            unset_events: EVENTS[version] as u64,
            mixed_roles: false,
            service: Default::default(),
            labels: Default::default(),
            matured: None,
            scores: Default::default(),
            series: counts,
            panes: 1,
            complete: true,
            revision: 0,
        }
    }

    /// What was sent, and the last sentence.
    fn roll_out(&self, seed: u64) -> (Vec<Decision>, String) {
        let mut rng = Rng::with_seed(seed);
        let watched = self.watched(&mut rng);
        let plan = MeasurePlan::new(&watched);
        let budget = Budget::new(&BudgetConfig::default(), &plan, 60_000);
        let verdicts = VerdictRules::Budget(budget);
        let rules = ModelRules { plan, verdicts, policy: PolicyConfig::default(), read_at: EventTime(0) };
        let (mut memory, mut sent) = (ModelMemory::default(), Vec::new());
        for pane in 0..PANES {
            let start = EventTime(1_700_000_000_000 + pane * 60_000);
            let window = ModelWindow {
                model: 0,
                start,
                end: EventTime(start.0 + 60_000),
                scale: 1,
                revised: false,
                set_weight: Default::default(),
                arms: vec![self.arm(&watched, 0, &mut rng), self.arm(&watched, 1, &mut rng)],
            };
            let conclusion = evaluate(&rules, &window, &mut memory);
            sent.extend(conclusion.actions.iter().map(|action| action.action));
            if sent.last() == Some(&Decision::Rollback) {
                break;
            }
        }
        (sent, memory.rollout.last_reason)
    }
}

#[test]
fn healthy_canaries_are_left_alone() {
    for (name, world) in [
        ("recalibrated", World { canary: recalibrated, ..HEALTHY }),
        ("other class weights", World { canary: reweighted, ..HEALTHY }),
        ("better", World { canary: better, ..HEALTHY }),
        ("a new input", World { canary: better, new_input: true, ..HEALTHY }),
    ] {
        for seed in 1..=2 {
            let (sent, reason) = world.roll_out(seed);
            assert!(sent.is_empty(), "{name}, seed {seed}: {sent:?} {reason}");
        }
    }
}

/// statistics.md §9.1: the answer adds up what no input shows by itself, so it is found first.
#[test]
fn many_small_shifts_of_inputs_are_never_blamed_on_the_model() {
    for seed in 1..=2 {
        let (sent, reason) = World { inputs: 50, shift: 0.05, ..HEALTHY }.roll_out(seed);
        assert_eq!(sent, [Decision::Pause], "seed {seed}: {reason}");
    }
}

#[test]
fn regressed_canaries_are_rolled_back() {
    for (name, live) in [("a constant for a quarter", stuck as Score), ("half a σ too high", too_high)] {
        for seed in 1..=2 {
            let (sent, reason) = World { live: Some(live), ..HEALTHY }.roll_out(seed);
            assert_eq!(sent.last(), Some(&Decision::Rollback), "{name}, seed {seed}: {sent:?} {reason}");
        }
    }
}

#[test]
fn noise_for_three_scores_in_ten_is_at_least_paused() {
    for seed in 1..=2 {
        let (sent, reason) = World { live: Some(noisy), ..HEALTHY }.roll_out(seed);
        assert!(!sent.is_empty(), "seed {seed}: {reason}");
    }
}
