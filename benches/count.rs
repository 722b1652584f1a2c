//! The whole counting path of one consumer thread: 690-byte events of 20 numbers and 5 short strings, from
//! their bytes through columns into the cells of a pane, in batches of 1,000. The grids have 1,026 cuts, as
//! the baseline of a continuous feature has. Every event names its user.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tidegate::baseline::{Baseline, BaselineSeries, Rollout, Watch, WatchedModel};
use tidegate::cells::{Categories, Grid, NumericGrid};
use tidegate::decode::{Arrival, Decoder, TimeBounds};
use tidegate::event::{EventTime, ModelId, SeriesKind, SeriesOf};
use tidegate::tally::Tally;

const BATCH: usize = 1_000;
const EVENT_BYTES: usize = 690;
const CUTS: usize = 1_026;

fn watch() -> Arc<Watch> {
    let numeric = (0..20).map(|index| (format!("feature_{index:02}"), SeriesKind::Numeric));
    let categorical = (0..5).map(|index| (format!("category_{index}"), SeriesKind::Categorical));
    let series = numeric.chain(categorical).map(|(name, kind)| {
        let grid = match kind {
            SeriesKind::Categorical => {
                Grid::Categorical(Categories::new((0..10).map(|c| format!("val{c}")).collect(), vec![]))
            }
            _ => Grid::Numeric(NumericGrid::new(
                (0..CUTS).map(|cut| 100.0 * cut as f64 / CUTS as f64).collect(),
            )),
        };
        let range = (kind == SeriesKind::Numeric).then_some((0.0, 100.0));
        let (of, counts, grid) = (SeriesOf::Feature, vec![1; grid.cells()], Arc::new(grid));
        Arc::new(BaselineSeries {
            name,
            of,
            kind,
            grid,
            counts,
            missing: 0,
            distinct: 0,
            range,
            traits: Default::default(),
        })
    });
    let baseline = Baseline {
        model: "fraud".into(),
        version: "v1".into(),
        rows: 0,
        created: EventTime(0),
        held_out: false,
        times: None,
        series: series.collect(),
    };
    let id = ModelId { namespace: "ml".into(), name: "fraud".into() };
    let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("one baseline");
    Arc::new(Watch { models: vec![model] })
}

/// Events of exactly [`EVENT_BYTES`]; the request id takes what the numbers leave.
fn events() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut one = |_| {
        let numbers = (0..20).map(|i| format!(r#""feature_{i:02}":{:.4}"#, random.f64() * 100.0));
        let numbers: Vec<String> = numbers.collect();
        let texts: Vec<String> =
            (0..5).map(|i| format!(r#""category_{i}":"val{}""#, random.u8(..10))).collect();
        let (numbers, texts) = (numbers.join(","), texts.join(","));
        let unit = format!(r#""unit":"user-{:05}""#, random.u32(..20_000));
        let head = r#""timestamp":"2026-11-23T10:00:00.123Z","model":"fraud","model_version":"v1""#;
        let rest = format!(r#"{unit},"features":{{{numbers},{texts}}}}}"#);
        let taken = head.len() + rest.len() + r#"{"request_id":"",,"#.len();
        let id: String = (taken..EVENT_BYTES).map(|_| random.digit(16)).collect();
        format!(r#"{{"request_id":"{id}",{head},{rest}"#).into_bytes()
    };
    let events: Vec<Vec<u8>> = (0..BATCH).map(&mut one).collect();
    assert!(events.iter().all(|event| event.len() == EVENT_BYTES));
    events
}

fn count(criterion: &mut Criterion) {
    let (watch, events) = (watch(), events());
    let bounds = TimeBounds { max_future_ms: i64::MAX, max_past_ms: None };
    let arrival = Arrival { record_time: None, now: EventTime(1_795_428_000_000) };
    let mut decoder = Decoder::new(Arc::clone(&watch), bounds);
    let mut tally = Tally::new(watch, 60_000);
    let mut group = criterion.benchmark_group("count");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut decode = || {
        for event in &events {
            decoder.push(event, arrival).expect("an event");
        }
        decoder.take()
    };
    let tables = decode();
    group.bench_function("bytes to cells", |bench| {
        bench.iter(|| tally.count(black_box(&decode())).expect("the columns fit"));
    });
    group.bench_function("columns to cells", |bench| {
        bench.iter(|| tally.count(black_box(&tables)).expect("the columns fit"));
    });
    group.finish();
}

criterion_group!(benches, count);
criterion_main!(benches);
