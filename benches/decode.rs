//! A 690-byte event of 20 numbers and 5 short strings to columns, in batches of 1,000, beside the same
//! through `serde_json::Value`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tidegate::baseline::{Baseline, BaselineSeries, Rollout, Watch, WatchedModel};
use tidegate::cells::{Categories, Grid, NumericGrid};
use tidegate::decode::{Arrival, Decoder, TimeBounds};
use tidegate::event::{EventTime, ModelId, SeriesKind, SeriesOf};

const BATCH: usize = 1_000;
const EVENT_BYTES: usize = 690;

fn watch() -> Watch {
    let numeric = (0..20).map(|index| (format!("feature_{index:02}"), SeriesKind::Numeric));
    let categorical = (0..5).map(|index| (format!("category_{index}"), SeriesKind::Categorical));
    let series = numeric.chain(categorical).map(|(name, kind)| {
        let grid = match kind {
            SeriesKind::Categorical => {
                Grid::Categorical(Categories::new((0..10).map(|c| format!("val{c}")).collect(), vec![]))
            }
            _ => Grid::Numeric(NumericGrid::new(vec![0.0])),
        };
        let (of, counts, grid) = (SeriesOf::Feature, vec![0; grid.cells()], Arc::new(grid));
        Arc::new(BaselineSeries { name, of, kind, grid, counts, missing: 0, distinct: 0, range: None })
    });
    let baseline = Baseline {
        model: "fraud".into(),
        version: "v1".into(),
        rows: 0,
        created: EventTime(0),
        held_out: false,
        series: series.collect(),
    };
    let id = ModelId { namespace: "ml".into(), name: "fraud".into() };
    let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("one baseline");
    Watch { models: vec![model] }
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
        let head = r#""timestamp":"2026-11-23T10:00:00.123Z","model":"fraud","model_version":"v1""#;
        let rest = format!(r#""latency_ms":{:.2},"features":{{{numbers},{texts}}}}}"#, random.f64() * 90.0);
        let taken = head.len() + rest.len() + r#"{"request_id":"",,"#.len();
        let id: String = (taken..EVENT_BYTES).map(|_| random.digit(16)).collect();
        format!(r#"{{"request_id":"{id}",{head},{rest}"#).into_bytes()
    };
    let events: Vec<Vec<u8>> = (0..BATCH).map(&mut one).collect();
    assert!(events.iter().all(|event| event.len() == EVENT_BYTES));
    events
}

/// The plain way: a value tree per event, then columns by name.
fn through_values(events: &[Vec<u8>], numbers: &[String], texts: &[String]) -> usize {
    let mut columns = vec![Vec::with_capacity(BATCH); numbers.len()];
    let mut names = vec![Vec::with_capacity(BATCH); texts.len()];
    for event in events {
        let value: serde_json::Value = serde_json::from_slice(event).expect("an event");
        let features = &value["features"];
        for (column, name) in columns.iter_mut().zip(numbers) {
            column.push(features[name.as_str()].as_f64());
        }
        for (column, name) in names.iter_mut().zip(texts) {
            column.push(features[name.as_str()].as_str().map(str::len));
        }
    }
    black_box(columns).len() + black_box(names).len()
}

fn decode(criterion: &mut Criterion) {
    let events = events();
    let bounds = TimeBounds { max_future_ms: i64::MAX, max_past_ms: None };
    let mut decoder = Decoder::new(Arc::new(watch()), bounds);
    let arrival = Arrival { record_time: None, now: EventTime(1_795_428_000_000) };
    let numbers: Vec<String> = (0..20).map(|i| format!("feature_{i:02}")).collect();
    let texts: Vec<String> = (0..5).map(|i| format!("category_{i}")).collect();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("tape_to_columns", |bench| {
        bench.iter(|| {
            for event in &events {
                decoder.push(event, arrival).expect("an event");
            }
            black_box(decoder.take())
        });
    });
    group.bench_function("serde_json_value_to_columns", |bench| {
        bench.iter(|| through_values(&events, &numbers, &texts));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
