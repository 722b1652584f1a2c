//! Folding deltas into open panes: 50 numeric series on grids of about 2,000 cuts, one flush of 10,000 events.
//! Beside it, the plain addition of the same dense counts.

use arrow::array::{Float64Array, Int64Array, UInt8Array};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tidegate::baseline::{Baseline, BaselineSeries, Rollout, VersionIndex, Watch, WatchedModel};
use tidegate::cells::{Grid, NumericGrid};
use tidegate::decode::{Accepted, Column, Served, Table};
use tidegate::event::{EventTime, ModelId, Outcome, SeriesKind, SeriesOf};
use tidegate::judge::{Judge, JudgeConfig};
use tidegate::tally::record::TallyRecord;
use tidegate::tally::{FlushStamp, SourceKey, SourceStart, Tally};

const SERIES: usize = 50;
const EVENTS: usize = 10_000;

fn watch() -> Arc<Watch> {
    let grid = Arc::new(Grid::Numeric(NumericGrid::new((0..2_000).map(f64::from).collect())));
    let series = (0..SERIES).map(|index| {
        Arc::new(BaselineSeries {
            name: format!("feature_{index}"),
            of: SeriesOf::Feature,
            kind: SeriesKind::Numeric,
            counts: vec![1; grid.cells()],
            grid: Arc::clone(&grid),
            missing: 0,
            distinct: 2_000,
            range: Some((0.0, 1_999.0)),
            traits: Default::default(),
        })
    });
    let baseline = Baseline {
        model: "m".to_owned(),
        version: "v1".to_owned(),
        rows: 1,
        created: EventTime(0),
        held_out: false,
        times: None,
        series: series.collect(),
    };
    let id = ModelId { namespace: "default".to_owned(), name: "m".to_owned() };
    let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("one baseline");
    Arc::new(Watch { models: vec![model] })
}

/// The records of one flush of `EVENTS` events, after the init marker.
fn records(watch: &Arc<Watch>) -> Vec<TallyRecord> {
    let source = SourceKey { topic: "events".to_owned(), partition: 0 };
    let stamp = |range_id| FlushStamp {
        range_id,
        instance: "bench",
        wall_clock: EventTime(0),
        flush_interval_ms: 1_000,
        lateness_ms: 1_000,
        partitions: 1,
    };
    let version = VersionIndex { model: 0, version: 0 };
    let mut tally = Tally::new(Arc::clone(watch), 60_000);
    let start =
        SourceStart { source: source.clone(), topic_uuid: String::new(), offset: 0, instead_of: None };
    tally.start_source(start.clone());
    let accepted = Accepted {
        version,
        role: None,
        time: EventTime(1),
        unit: 0,
        served: Served::default(),
        moves_watermark: true,
        foreign_namespace: false,
    };
    for offset in 0..EVENTS as i64 {
        tally.record(&source, offset, Outcome::Counted, Some(&accepted), EventTime(1));
    }
    let mut random = fastrand::Rng::with_seed(3);
    let columns = (0..SERIES).map(|_| {
        let values: Vec<f64> = (0..EVENTS).map(|_| random.f64() * 2_000.0).collect();
        Column { array: Arc::new(Float64Array::from(values)), type_errors: Vec::new() }
    });
    let table = Table {
        version,
        of: SeriesOf::Feature,
        times: Int64Array::from(vec![1; EVENTS]),
        units: UInt8Array::from((0..EVENTS).map(|event| (event % 32) as u8).collect::<Vec<u8>>()),
        columns: columns.collect(),
        labels: Vec::new(),
        joins: Default::default(),
        scores: Vec::new(),
    };
    tally.count(&[table]).expect("the columns fit");
    let init = Tally::init_markers(&stamp("init"), &[start]);
    init.into_iter().chain(tally.flush(&stamp("flush")).records).map(|one| one.record).collect()
}

fn fold(criterion: &mut Criterion) {
    let watch = watch();
    let records = records(&watch);
    let config = JudgeConfig {
        pane_ms: 60_000,
        lateness_ms: 1_000,
        allowed_lateness_ms: 60_000,
        max_stall_ms: 60_000,
        max_future_ms: 300_000,
    };
    let source = SourceKey { topic: "events".to_owned(), partition: 0 };
    let judge = Judge::new(config, watch, [source].into(), 0);
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("deltas of 50 series through the judge", |bencher| {
        let run = |mut judge: Judge| {
            for (offset, record) in records.iter().enumerate() {
                black_box(judge.apply(offset as i64, record));
            }
            judge
        };
        bencher.iter_batched(|| judge.clone(), run, BatchSize::SmallInput);
    });
    let (counts, mut sums) = (vec![1_u64; SERIES * 4_001], vec![0_u64; SERIES * 4_001]);
    group.bench_function("plain addition of dense counts", |bencher| {
        bencher.iter(|| black_box(&mut sums).iter_mut().zip(&counts).for_each(|(sum, count)| *sum += count));
    });
    group.finish();
}

criterion_group!(benches, fold);
criterion_main!(benches);
