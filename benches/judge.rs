//! Measures one window of 51 numeric series on 2,000 cut points, of stable against its baseline and of the
//! canary against its baseline and stable; and evaluates windows of all four scales to the decision.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tidegate::baseline::{Baseline, BaselineSeries, Rollout, SeriesTraits, VersionIndex, WatchedModel};
use tidegate::cells::{Grid, NumericGrid, Sums};
use tidegate::event::{EventTime, ModelId, SeriesKind, SeriesOf};
use tidegate::judge::dispersion::Dispersion;
use tidegate::judge::measure::measure;
use tidegate::judge::plan::MeasurePlan;
use tidegate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use tidegate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use tidegate::policy::PolicyConfig;
use tidegate::policy::evaluate::{ModelMemory, ModelRules, evaluate};

const SERIES: usize = 51;
const CUTS: usize = 2_000;
const EVENTS: u64 = 10_000;

fn grid() -> NumericGrid {
    NumericGrid::new((0..CUTS).map(|i| i as f64).collect())
}

/// The sums of values that stand in the middle of gaps and on cuts.
fn sums(counts: &[u64]) -> Sums {
    let grid = grid();
    let cells =
        counts.iter().enumerate().flat_map(|(cell, &count)| std::iter::repeat_n(cell, count as usize));
    Sums::of(grid.scale(), cells.map(|cell| (cell as f64 / 2.0 - 0.5, cell)), counts.len())
}

fn baseline(version: &str, random: &mut fastrand::Rng) -> Arc<Baseline> {
    let grid = Arc::new(Grid::Numeric(grid()));
    let series = (0..SERIES).map(|number| {
        let of = if number + 1 < SERIES { SeriesOf::Feature } else { SeriesOf::Prediction };
        let counts: Vec<u64> = (0..2 * CUTS + 1).map(|_| random.u64(10..40)).collect();
        Arc::new(BaselineSeries {
            name: format!("series_{number}"),
            of,
            kind: SeriesKind::Numeric,
            grid: grid.clone(),
            traits: SeriesTraits { sums: Some(sums(&counts)), ..SeriesTraits::default() },
            counts,
            missing: 0,
            distinct: 100_000,
            range: Some((0.0, CUTS as f64)),
        })
    });
    Arc::new(Baseline {
        model: "bench".to_owned(),
        version: version.to_owned(),
        rows: 100_000,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: series.collect(),
    })
}

fn arm(version: u32, random: &mut fastrand::Rng) -> ArmWindow {
    let series = (0..SERIES).map(|_| {
        let mut cells = vec![0; 2 * CUTS + 1];
        (0..EVENTS).for_each(|_| cells[random.usize(0..2 * CUTS + 1)] += 1);
        SeriesCounts { sums: sums(&cells), cells, rows: EVENTS, ..SeriesCounts::default() }
    });
    ArmWindow {
        version: VersionIndex { model: 0, version },
        unset_events: EVENTS,
        series: series.collect(),
        panes: 1,
        complete: true,
        ..ArmWindow::default()
    }
}

fn window_of_51_series(criterion: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(1);
    let id = ModelId { namespace: "bench".to_owned(), name: "bench".to_owned() };
    let rollout = Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v2".to_owned()) };
    let baselines = [baseline("v1", &mut random), baseline("v2", &mut random)];
    let watched = WatchedModel::new(id, rollout, &baselines).expect("stable has a baseline");
    let plan = MeasurePlan::new(&watched);
    let dispersion = Dispersion::default();
    let (start, end) = (EventTime(0), EventTime(60_000));
    let both = vec![arm(0, &mut random), arm(1, &mut random)];
    let alone = vec![both[0].clone()];
    for (name, arms) in [("measure/51_series/baseline", alone), ("measure/51_series/both_arms", both)] {
        let window = ModelWindow {
            model: 0,
            start,
            end,
            scale: 1,
            revised: false,
            set_weight: Default::default(),
            arms,
        };
        criterion
            .bench_function(name, |bencher| bencher.iter(|| measure(&plan, black_box(&window), &dispersion)));
    }
}

/// One evaluation: measured against baseline and stable, judged within a budget, compared over the rollout and
/// decided, at each of the four scales.
fn evaluation_of_51_series(criterion: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(2);
    let id = ModelId { namespace: "bench".to_owned(), name: "bench".to_owned() };
    let rollout = Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v2".to_owned()) };
    let baselines = [baseline("v1", &mut random), baseline("v2", &mut random)];
    let watched = WatchedModel::new(id, rollout, &baselines).expect("stable has a baseline");
    let plan = MeasurePlan::new(&watched);
    let verdicts = VerdictRules::Budget(Budget::new(&BudgetConfig::default(), &plan, 60_000));
    let rules = ModelRules { plan, verdicts, policy: PolicyConfig::default(), read_at: EventTime(0) };
    let arms = vec![arm(0, &mut random), arm(1, &mut random)];
    let window = |scale: u32| ModelWindow {
        model: 0,
        start: EventTime(0),
        end: EventTime(i64::from(scale) * 60_000),
        scale,
        revised: false,
        set_weight: Default::default(),
        arms: arms.clone(),
    };
    let windows = [1, 4, 16, 64].map(window);
    let mut memory = ModelMemory::default();
    criterion.bench_function("evaluate/51_series_4_scales_2_references", |bencher| {
        bencher.iter(|| {
            windows
                .iter()
                .map(|one| evaluate(&rules, black_box(one), &mut memory).reports.len())
                .sum::<usize>()
        });
    });
}

criterion_group!(benches, window_of_51_series, evaluation_of_51_series);
criterion_main!(benches);
