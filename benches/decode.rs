//! A 690-byte event of 20 numbers and 5 short strings to columns, in batches of 1,000: by the shape of the
//! events before it, from the tape, and through `serde_json::Value`; and by shape with doubles of full
//! length and with the white space that Python writes.

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
        Arc::new(BaselineSeries {
            name,
            of,
            kind,
            grid,
            counts,
            missing: 0,
            distinct: 0,
            range: None,
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

/// The same event as Python's `json.dumps` writes it, its numbers with all their digits.
fn as_python(event: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(event).expect("UTF-8");
    let mut random = fastrand::Rng::with_seed(event.iter().map(|byte| u64::from(*byte)).sum());
    let fields = text.split(',').map(|field| {
        let (key, value) = field.split_at(field.rfind(':').expect("a field") + 1);
        match value.trim_end_matches('}').parse::<f64>() {
            Ok(number) => format!(
                "{key}{:?}{}",
                number + random.f64(),
                &value[value.find('}').unwrap_or(value.len())..]
            ),
            Err(_) => field.to_owned(),
        }
    });
    let text: Vec<String> = fields.collect();
    text.join(", ").replace("\":", "\": ").into_bytes()
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
    let watch = Arc::new(watch());
    let arrival = Arrival { record_time: None, now: EventTime(1_795_428_000_000) };
    let numbers: Vec<String> = (0..20).map(|i| format!("feature_{i:02}")).collect();
    let texts: Vec<String> = (0..5).map(|i| format!("category_{i}")).collect();
    let mut group = criterion.benchmark_group("decode");
    let mut columns = |name: &str, mut decoder: Decoder, events: &[Vec<u8>], by_shape: u64| {
        events.iter().for_each(|event| {
            decoder.push(event, arrival).expect("an event");
        });
        assert_eq!((decoder.speculated(), decoder.take().len()), (by_shape, 1), "{name}");
        group.throughput(Throughput::ElementsAndBytes {
            elements: events.len() as u64,
            bytes: events.iter().map(|event| event.len() as u64).sum(),
        });
        group.bench_function(name, |bench| {
            bench.iter(|| {
                for event in events {
                    decoder.push(event, arrival).expect("an event");
                }
                black_box(decoder.take())
            });
        });
    };
    let new = || Decoder::new(Arc::clone(&watch), bounds);
    columns("shape_to_columns", new(), &events, BATCH as u64 - 1);
    columns("tape_to_columns", new().without_speculation(), &events, 0);
    let long: Vec<Vec<u8>> = events.iter().map(|event| as_python(event)).collect();
    columns("python_shape_to_columns", new(), &long, BATCH as u64 - 1);
    columns("python_tape_to_columns", new().without_speculation(), &long, 0);
    group.bench_function("serde_json_value_to_columns", |bench| {
        bench.iter(|| through_values(&events, &numbers, &texts));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
