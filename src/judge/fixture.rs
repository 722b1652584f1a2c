//! A small fraud model with two versions, and seeded traffic for it.

use super::JudgeConfig;
use super::dispersion::Dispersion;
use super::measure::{ArmMeasurement, measure};
use super::plan::MeasurePlan;
use super::report::Report;
use super::streaks::Streaks;
use super::summary::build_reports;
use super::verdict::VerdictRules;
use super::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::baseline::{Baseline, BaselineSeries, Rollout, VersionIndex, WatchedModel};
use crate::cells::{Categories, Grid, NumericGrid};
use crate::event::{EventTime, ModelId, SeriesKind, SeriesOf};
use crate::tally::record::LabelCounts;
use std::sync::Arc;

pub const COUNTRIES: [&str; 4] = ["TH", "DE", "US", "BR"];
const CUTS: usize = 400;

/// A judge of the tests that feed it flushes, with panes of [`crate::tally::tests::PANE_MS`].
pub const CONFIG: JudgeConfig = JudgeConfig {
    pane_ms: crate::tally::tests::PANE_MS,
    lateness_ms: 500,
    allowed_lateness_ms: 3_000,
    max_stall_ms: 60_000,
    max_future_ms: 0,
};

/// How the traffic of one version departs from training.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    pub events: u64,
    /// Added to `amount`, which is uniform on 0 to 1 in training.
    pub amount: f64,
    /// Added to `score`, which is uniform on 0 to 1 in training.
    pub score: f64,
    /// Share of events without `age`.
    pub age_missing: f64,
    /// Share of events whose class is `fraud`; a quarter in training.
    pub fraud: f64,
}

pub const HEALTHY: Traffic =
    Traffic { events: 2_000, amount: 0.0, score: 0.0, age_missing: 0.0, fraud: 0.25 };

fn uniform_series(name: &str, of: SeriesOf, scale: f64) -> BaselineSeries {
    let cuts: Vec<f64> = (0..CUTS).map(|i| scale * i as f64 / CUTS as f64).collect();
    let range = Some((cuts[0], cuts[CUTS - 1]));
    let counts = (0..2 * CUTS + 1).map(|cell| if cell % 2 == 1 { 50 } else { 0 }).collect();
    let grid = Arc::new(Grid::Numeric(NumericGrid::new(cuts)));
    let (name, kind, distinct) = (name.to_owned(), SeriesKind::Numeric, CUTS as u64);
    BaselineSeries { name, of, kind, grid, counts, missing: 0, distinct, range, traits: Default::default() }
}

fn categories(name: &str, of: SeriesOf, names: &[&str], counts: &[u64]) -> BaselineSeries {
    let named = names.iter().map(|one| (*one).to_owned()).collect();
    let grid = Arc::new(Grid::Categorical(Categories::new(named, Vec::new())));
    let counts = counts.iter().copied().chain([0, 0]).collect();
    let (name, kind, distinct) = (name.to_owned(), SeriesKind::Categorical, names.len() as u64);
    BaselineSeries {
        name,
        of,
        kind,
        grid,
        counts,
        missing: 0,
        distinct,
        range: None,
        traits: Default::default(),
    }
}

/// A baseline; the scores of version v run from 0 to `score_scale`, the classes stand in `classes`' order.
pub fn baseline(version: &str, score_scale: f64, predictions: bool) -> Arc<Baseline> {
    let mut series = vec![
        uniform_series("amount", SeriesOf::Feature, 1.0),
        uniform_series("age", SeriesOf::Feature, 1.0),
        categories("country", SeriesOf::Feature, &COUNTRIES, &[5_000; 4]),
        BaselineSeries {
            name: "is_new".to_owned(),
            of: SeriesOf::Feature,
            kind: SeriesKind::Boolean,
            grid: Arc::new(Grid::Boolean),
            counts: vec![10_000, 10_000],
            missing: 0,
            distinct: 2,
            range: None,
            traits: Default::default(),
        },
    ];
    if predictions {
        series.push(uniform_series("score", SeriesOf::Prediction, score_scale));
        let (names, counts) = (["legit", "fraud"], [15_000, 5_000]);
        series.push(categories("class", SeriesOf::Prediction, &names, &counts));
    }
    Arc::new(Baseline {
        model: "fraud".to_owned(),
        version: version.to_owned(),
        rows: 20_000,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: series.into_iter().map(Arc::new).collect(),
    })
}

/// v1 is stable, v2 the canary; v2's scores are twice as large by design.
pub fn watched(canary_predictions: bool) -> WatchedModel {
    let rollout = Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v2".to_owned()) };
    with_rollout(rollout, canary_predictions)
}

pub fn with_rollout(rollout: Rollout, canary_predictions: bool) -> WatchedModel {
    let id = ModelId { namespace: "ml".to_owned(), name: "fraud".to_owned() };
    let baselines =
        [baseline("v1", 1.0, true), baseline("v2", 2.0, canary_predictions), baseline("v3", 1.0, true)];
    WatchedModel::new(id, rollout, &baselines).expect("there are baselines")
}

fn count(counts: &mut SeriesCounts, grid: &Grid, value: f64) {
    let Grid::Numeric(grid) = grid else { unreachable!("a numeric series") };
    let cuts = grid.cuts();
    let cell = cuts.partition_point(|cut| *cut < value) + cuts.partition_point(|cut| *cut <= value);
    counts.cells[cell] += 1;
    counts.out_of_range += u64::from(value < cuts[0] || value > cuts[cuts.len() - 1]);
}

/// Seeded traffic of one version, with its events' role unset.
pub fn arm(watched: &WatchedModel, version: u32, traffic: Traffic, random: &mut fastrand::Rng) -> ArmWindow {
    let plan = &watched.versions[version as usize];
    let mut series: Vec<SeriesCounts> = plan
        .series
        .iter()
        .map(|one| SeriesCounts { cells: vec![0; one.reference.counts.len()], ..SeriesCounts::default() })
        .collect();
    for (one, counts) in plan.series.iter().zip(&mut series) {
        for _ in 0..traffic.events {
            counts.rows += 1;
            let unit = random.f64();
            let grid = &one.reference.grid;
            match one.reference.name.as_str() {
                "amount" => count(counts, grid, unit + traffic.amount),
                "age" if random.f64() < traffic.age_missing => counts.missing += 1,
                "age" => count(counts, grid, unit),
                "country" => counts.cells[random.usize(0..4)] += 1,
                "is_new" => counts.cells[random.usize(0..2)] += 1,
                "class" => counts.cells[usize::from(unit < traffic.fraud)] += 1,
                _ => {
                    let scale = if one.reference.range.is_some_and(|(_, max)| max > 1.5) { 2.0 } else { 1.0 };
                    count(counts, grid, scale * (unit + traffic.score));
                }
            }
        }
    }
    ArmWindow {
        version: VersionIndex { model: 0, version },
        stable_events: 0,
        canary_events: 0,
        unset_events: traffic.events,
        mixed_roles: false,
        service: Default::default(),
        labels: Default::default(),
        matured: None,
        scores: Default::default(),
        series,
        panes: 1,
        complete: true,
        revision: 0,
    }
}

/// Gives a share (`covered`) of an arm's classes labels, of which `accuracy` agree.
pub fn label(
    watched: &WatchedModel,
    arm: &mut ArmWindow,
    [covered, accuracy]: [f64; 2],
    random: &mut fastrand::Rng,
) {
    let version = &watched.versions[arm.version.version as usize];
    let place = version.series.iter().position(|one| one.reference.name == "class").expect("an output");
    let classes = crate::tally::labels::classes(&version.series[place].reference.grid).expect("categories");
    let mut pairs = vec![0; classes * classes];
    for class in 0..2 {
        for _ in 0..arm.series[place].cells[class] {
            if random.f64() < covered {
                let truth = if random.f64() < accuracy { class } else { 1 - class };
                pairs[class * classes + truth] += 1;
            }
        }
    }
    let counts = LabelCounts {
        output: "class".to_owned(),
        grid_hash: version.series[place].grid_hash,
        pairs: crate::cells::runs::encode(&pairs),
        ..LabelCounts::default()
    };
    assert!(arm.labels.add(version, &[counts]));
}

/// The `number`th one-pane window of v1 and v2.
pub fn window(
    watched: &WatchedModel,
    number: i64,
    stable: Traffic,
    canary: Traffic,
    seed: u64,
) -> ModelWindow {
    let mut random = fastrand::Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let arms = vec![arm(watched, 0, stable, &mut random), arm(watched, 1, canary, &mut random)];
    let start = EventTime(1_700_000_000_000 + number * 60_000);
    ModelWindow {
        model: 0,
        start,
        end: EventTime(start.0 + 60_000),
        scale: 1,
        revised: false,
        set_weight: Default::default(),
        arms,
    }
}

/// Measures and reports one window.
pub fn judge(
    watched: &WatchedModel,
    window: &ModelWindow,
    rules: &VerdictRules,
    streaks: &mut Streaks,
) -> (Vec<ArmMeasurement>, Vec<Report>) {
    let measurements = measure(&MeasurePlan::new(watched), window, &Dispersion::default());
    let reports = build_reports(watched, window, &measurements, rules, streaks);
    (measurements, reports)
}
