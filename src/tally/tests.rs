//! Counts do not depend on how a stream is cut into batches, flushes and replicas.

use super::record::{Delta, TallyBody};
use super::*;
use crate::baseline::{Baseline, BaselineSeries, Rollout, WatchedModel};
use crate::cells::{LATENCY_CELLS, NumericGrid, OCTILE_BINS, runs};
use crate::decode::{Column, Latency, Served};
use crate::event::{ModelId, NO_UNIT, SeriesKind};
use arrow::array::{Float64Array, Int64Array, UInt8Array};
use proptest::prelude::*;

pub(crate) const PANE_MS: i64 = 1_000;

/// A model `m` with versions v1 and v2, a numeric feature `x` on the cuts 0, 1, 2 and a prediction `y`.
pub(crate) fn watch() -> Arc<Watch> {
    let series = |name: &str, of| {
        Arc::new(BaselineSeries {
            name: name.to_owned(),
            of,
            kind: SeriesKind::Numeric,
            grid: Arc::new(Grid::Numeric(NumericGrid::new(vec![0.0, 1.0, 2.0]))),
            counts: vec![0, 10, 0, 10, 0, 10, 0],
            missing: 0,
            distinct: 3,
            range: Some((0.0, 2.0)),
            traits: Default::default(),
        })
    };
    let baseline = |version: &str| {
        Arc::new(Baseline {
            model: "m".to_owned(),
            version: version.to_owned(),
            rows: 30,
            created: EventTime(0),
            held_out: false,
            times: None,
            series: vec![series("x", SeriesOf::Feature), series("y", SeriesOf::Prediction)],
        })
    };
    let id = ModelId { namespace: "default".to_owned(), name: "m".to_owned() };
    let model =
        WatchedModel::new(id, Rollout::Auto, &[baseline("v1"), baseline("v2")]).expect("two baselines");
    Arc::new(Watch { models: vec![model] })
}

/// An event of the tests: version, time, value of `x` (`None`: missing).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) version: u32,
    pub(crate) time: i64,
    pub(crate) x: Option<f64>,
}

impl Event {
    /// Every tenth event failed, one in eleven says nothing of its latency.
    pub(crate) fn served(&self) -> Served {
        let latency = match self.time.rem_euclid(11) {
            0 => Latency::None,
            1 => Latency::Unusable,
            tick => Latency::Cell(80 * tick as u16),
        };
        Served { answered: true, failed: self.time.rem_euclid(10) == 0, latency }
    }

    /// The bucket of its unit: whatever the rest of it makes of it.
    pub(crate) fn unit(&self) -> u8 {
        (self.time.rem_euclid(i64::from(NO_UNIT) + 1)) as u8
    }
}

pub(crate) fn source(partition: i32) -> SourceKey {
    SourceKey { topic: "events".to_owned(), partition }
}

/// Partition `partition` read from `offset` on.
pub(crate) fn start(partition: i32, offset: i64) -> SourceStart {
    SourceStart { source: source(partition), topic_uuid: "topic-1".to_owned(), offset, instead_of: None }
}

/// Feeds events to a tally as one batch, from `partition`, at the next offsets.
pub(crate) fn feed(tally: &mut Tally, partition: i32, events: &[Event]) {
    let key = source(partition);
    for event in events {
        let accepted = Accepted {
            version: VersionIndex { model: 0, version: event.version },
            role: None,
            time: EventTime(event.time),
            unit: event.unit(),
            served: event.served(),
            moves_watermark: true,
            foreign_namespace: false,
        };
        let offset = tally.next_offset(&key).expect("started");
        tally.record(&key, offset, Outcome::Counted, Some(&accepted), EventTime(i64::MAX));
    }
    for version in 0..2 {
        let rows: Vec<&Event> = events.iter().filter(|event| event.version == version).collect();
        if rows.is_empty() {
            continue;
        }
        let table = Table {
            version: VersionIndex { model: 0, version },
            of: SeriesOf::Feature,
            times: Int64Array::from(rows.iter().map(|event| event.time).collect::<Vec<i64>>()),
            units: UInt8Array::from(rows.iter().map(|event| event.unit()).collect::<Vec<u8>>()),
            columns: vec![Column {
                array: Arc::new(Float64Array::from(rows.iter().map(|event| event.x).collect::<Vec<_>>())),
                type_errors: Vec::new(),
            }],
            labels: Vec::new(),
            joins: Default::default(),
            scores: Vec::new(),
        };
        tally.count(&[table]).expect("the column fits");
    }
}

pub(crate) fn stamp(range_id: &str, wall_clock: i64) -> FlushStamp<'_> {
    FlushStamp {
        range_id,
        instance: "test",
        wall_clock: EventTime(wall_clock),
        flush_interval_ms: 1_000,
        lateness_ms: 500,
        partitions: 1,
    }
}

type Sums = BTreeMap<(String, i64), (u64, u64, Vec<u64>, Vec<u64>)>;

fn add_up(sums: &mut Sums, delta: &Delta) {
    let counts = delta.counts.as_ref().expect("a delta has counts");
    let sum = sums
        .entry((delta.version.clone(), delta.pane_start))
        .or_insert_with(|| (0, 0, vec![0; 7], vec![0; UNIT_CELLS]));
    sum.0 += counts.rows;
    sum.1 += counts.missing;
    runs::add(&counts.cells, &mut sum.2).expect("the grid's cells");
    runs::add(&counts.units, &mut sum.3).expect("buckets and bins");
}

fn deltas_of(flush: &Flush) -> impl Iterator<Item = &Delta> {
    flush.records.iter().filter_map(|one| match &one.record.body {
        Some(TallyBody::Delta(delta)) => Some(delta),
        _ => None,
    })
}

/// The sums of all deltas when `events` are spread over `replicas` and flushed after every `cut` of them.
fn tallied(events: &[Event], replicas: usize, cut: usize) -> Sums {
    let mut sums = Sums::new();
    for replica in 0..replicas {
        let mut tally = Tally::new(watch(), PANE_MS);
        tally.start_source(start(replica as i32, 0));
        let own: Vec<Event> = events.iter().skip(replica).step_by(replicas).copied().collect();
        for batch in own.chunks(cut.max(1)) {
            feed(&mut tally, replica as i32, batch);
            deltas_of(&tally.flush(&stamp("r", 0))).for_each(|delta| add_up(&mut sums, delta));
            tally.commit(500);
        }
        assert!(tally.is_empty());
    }
    sums
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let x = prop_oneof![
        3 => (-3..6_i32).prop_map(|half| Some(f64::from(half) / 2.0)),
        1 => Just(None),
        1 => prop::sample::select(vec![Some(f64::NAN), Some(f64::INFINITY), Some(-0.0)]),
    ];
    let event = (0..2_u32, 0..5_000_i64, x).prop_map(|(version, time, x)| Event { version, time, x });
    prop::collection::vec(event, 0..200)
}

proptest! {
    #[test]
    fn any_cut_into_flushes_and_replicas_gives_the_same_counts(
        events in events(), replicas in 1..4_usize, cut in 1..50_usize,
    ) {
        prop_assert_eq!(tallied(&events, replicas, cut), tallied(&events, 1, usize::MAX));
    }

    #[test]
    fn errors_and_latencies_are_counted_as_by_hand(events in events(), cut in 1..50_usize) {
        let mut tally = Tally::new(watch(), PANE_MS);
        tally.start_source(start(0, 0));
        let mut found = Sums::new();
        let mut expected = found.clone();
        let place = |version: &str, pane| (version.to_owned(), pane);
        let none = || (0, 0, vec![0; 1], vec![0; LATENCY_CELLS]);
        for batch in events.chunks(cut) {
            feed(&mut tally, 0, batch);
            let flush = tally.flush(&stamp("r", 0));
            let Some(TallyBody::Marker(marker)) = &flush.records.last().expect("a marker").record.body else {
                panic!("markers come last")
            };
            for roles in &marker.roles {
                let counts = roles.service.as_ref().expect("every event is an answer");
                let sum = found.entry(place(&roles.version, roles.pane_start)).or_insert_with(none);
                sum.0 += counts.answers;
                sum.1 += counts.errors;
                sum.2[0] += counts.latency_unusable;
                runs::add(&counts.latency, &mut sum.3).expect("latency cells");
            }
            tally.commit(500);
        }
        for event in &events {
            let version = ["v1", "v2"][event.version as usize];
            let sum = expected.entry(place(version, event.time - event.time % PANE_MS)).or_insert_with(none);
            sum.0 += 1;
            sum.1 += u64::from(event.time % 10 == 0);
            match event.time % 11 {
                0 => {}
                1 => sum.2[0] += 1,
                tick => sum.3[80 * tick as usize] += 1,
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn units_are_counted_as_by_hand(events in events(), cut in 1..50_usize) {
        let mut expected: BTreeMap<(String, i64), Vec<u64>> = BTreeMap::new();
        for event in &events {
            let place = (format!("v{}", event.version + 1), event.time - event.time % PANE_MS);
            let cells = expected.entry(place).or_insert_with(|| vec![0; UNIT_CELLS]);
            // Seven cells: each is a bin of its own.
            let below = |x: f64| [0.0, 1.0, 2.0].iter().map(|cut| usize::from(*cut < x) + usize::from(*cut <= x)).sum::<usize>();
            if let Some(x) = event.x.filter(|x| !x.is_nan() && event.unit() != NO_UNIT) {
                cells[usize::from(event.unit()) * OCTILE_BINS + below(x)] += 1;
            }
        }
        let found = tallied(&events, 2, cut).into_iter().map(|(place, sums)| (place, sums.3));
        prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn the_order_of_events_does_not_matter(events in events().prop_shuffle(), cut in 1..50_usize) {
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| (event.time, event.version));
        prop_assert_eq!(tallied(&events, 1, cut), tallied(&sorted, 1, cut));
    }
}

#[test]
fn a_flush_names_the_offsets_it_covers_and_the_next_one_continues() {
    let mut tally = Tally::new(watch(), PANE_MS);
    tally.start_source(start(0, 7));
    let event = Event { version: 0, time: 10, x: Some(1.0) };
    feed(&mut tally, 0, &[event; 3]);
    let first = tally.flush(&stamp("a", 0));
    assert_eq!(first.offsets, vec![(source(0), 10)]);
    tally.commit(500);
    feed(&mut tally, 0, &[event]);
    let second = tally.flush(&stamp("b", 0));
    let Some(TallyBody::Marker(marker)) = &second.records.last().expect("a marker").record.body else {
        panic!("markers come last")
    };
    assert_eq!((marker.sources[0].from, marker.sources[0].to, marker.n_deltas_here), (10, 11, 1));
    assert_eq!(marker.sources[0].outcomes[0].count, 1);
}

#[test]
fn every_merge_partition_hears_of_every_flush() {
    let mut tally = Tally::new(watch(), PANE_MS);
    tally.start_source(start(0, 0));
    let flush = tally.flush(&FlushStamp { partitions: 5, ..stamp("a", 0) });
    let partitions: Vec<u32> = flush.records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions, vec![0, 1, 2, 3, 4]);
}

#[test]
fn a_watermark_is_never_ahead_of_the_wall_clock() {
    let mut tally = Tally::new(watch(), PANE_MS);
    tally.start_source(start(0, 0));
    let accepted = Accepted {
        version: VersionIndex { model: 0, version: 0 },
        role: None,
        time: EventTime(9_000),
        unit: NO_UNIT,
        served: Served::default(),
        moves_watermark: true,
        foreign_namespace: false,
    };
    tally.record(&source(0), 0, Outcome::Counted, Some(&accepted), EventTime(5_000));
    let flush = tally.flush(&stamp("a", 5_000));
    let Some(TallyBody::Marker(marker)) = &flush.records.last().expect("a marker").record.body else {
        panic!("markers come last")
    };
    assert_eq!(marker.sources[0].watermark, Some(5_000));
}

#[test]
fn a_discarded_flush_leaves_nothing_behind() {
    let mut tally = Tally::new(watch(), PANE_MS);
    tally.start_source(start(0, 0));
    feed(&mut tally, 0, &[Event { version: 0, time: 10, x: None }; 5]);
    tally.discard();
    assert!(tally.is_empty());
    assert_eq!(tally.held_bytes(), 0);
    assert_eq!(tally.next_offset(&source(0)), None);
}

#[test]
fn labels_that_go_on_coming_keep_an_idle_source_idle_and_panes_complete_without_it() {
    let mut tally = Tally::new(watch(), PANE_MS);
    tally.start_source(start(0, 0));
    tally.start_source(start(1, 0));
    feed(&mut tally, 0, &[Event { version: 0, time: 2_600, x: None }]);
    let label = |tally: &mut Tally, moves_watermark| {
        let accepted = Accepted {
            version: VersionIndex { model: 0, version: 0 },
            role: None,
            time: EventTime(700),
            unit: NO_UNIT,
            served: Served::default(),
            moves_watermark,
            foreign_namespace: false,
        };
        let offset = tally.next_offset(&source(1)).expect("started");
        tally.record(&source(1), offset, Outcome::Counted, Some(&accepted), EventTime(i64::MAX));
    };
    label(&mut tally, false);
    assert!(!tally.completes_pane(500), "there may be predictions too");
    tally.set_idle(&source(1), true);
    label(&mut tally, false);
    assert!(tally.completes_pane(500));
    assert_eq!((tally.next_offset(&source(1)), tally.last_moving(&source(1))), (Some(2), None));
    tally.commit(500);
    feed(&mut tally, 0, &[Event { version: 0, time: 3_600, x: None }]);
    assert!(tally.completes_pane(500));
    label(&mut tally, true);
    assert!(!tally.completes_pane(500));
    assert_eq!(tally.last_moving(&source(1)), Some(2));
}
