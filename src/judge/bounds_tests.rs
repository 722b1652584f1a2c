//! What a judge holds is bounded: panes are closed in parts, and early when too many are open.

use super::fixture::CONFIG;
use super::*;
use crate::tally::record::{Delta, FORMAT, Marker, PaneRecord, SourceRange, TallyBody, TallyRecord};
use crate::tally::tests::{Event, PANE_MS, feed, source, stamp, start, watch};
use crate::tally::{SourceKey, SourceStart, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn expected(partitions: i32) -> BTreeSet<SourceKey> {
    (0..partitions).map(source).collect()
}

/// The tallies of `partitions` sources, of which the first has an event at each of the times, flushed together
/// in runs of `per_flush`.
fn log(
    watch: &Arc<crate::baseline::Watch>,
    partitions: i32,
    times: &[i64],
    per_flush: usize,
) -> Vec<TallyRecord> {
    let starts: Vec<SourceStart> = (0..partitions).map(|one| start(one, 0)).collect();
    let mut records: Vec<TallyRecord> =
        Tally::init_markers(&stamp("init", 0), &starts).into_iter().map(|one| one.record).collect();
    let mut tally = Tally::new(Arc::clone(watch), PANE_MS);
    tally.start_source(start(0, 0));
    for (number, chunk) in times.chunks(per_flush).enumerate() {
        let events: Vec<Event> =
            chunk.iter().map(|time| Event { version: 0, time: *time, x: Some(1.0) }).collect();
        feed(&mut tally, 0, &events);
        let id = format!("flush-{number}");
        let flush = tally.flush(&stamp(&id, number as i64 * 1_000));
        records.extend(flush.records.into_iter().map(|one| one.record));
        tally.commit(500);
    }
    records
}

type Emitted = (Vec<PaneRecord>, Vec<window::ModelWindow>);

fn keep(emitted: &mut Emitted, step: Step) {
    emitted.0.extend(step.panes);
    emitted.1.extend(step.windows);
}

fn whole(judge: &mut Judge, records: &[TallyRecord], from: usize) -> Emitted {
    let mut emitted = Emitted::default();
    for (index, record) in records.iter().enumerate() {
        keep(&mut emitted, judge.apply((from + index) as i64, record));
    }
    emitted
}

/// History with holes of every length: a day's worth in one flush.
fn history() -> Vec<i64> {
    let mut time = 0;
    let next = |n: i64| {
        time += PANE_MS * [1, 1, 1, 3, 1, 17, 1, 200][(n % 8) as usize];
        time + n % 700
    };
    (0..240).map(next).collect()
}

#[test]
fn panes_closed_in_parts_say_what_they_say_closed_at_once() {
    let watch = watch();
    let records = log(&watch, 1, &history(), 100);
    let at_once = whole(&mut Judge::new(CONFIG, Arc::clone(&watch), expected(1), 0), &records, 0);
    let mut judge = Judge::new(CONFIG, watch, expected(1), 0);
    let (mut in_parts, mut largest, mut parts) = (Emitted::default(), 0, 0);
    for (offset, record) in records.iter().enumerate() {
        let mut step = Some(judge.apply_in_part(offset as i64, record, 5));
        while let Some(part) = step {
            largest = largest.max(part.windows.len());
            parts += 1;
            keep(&mut in_parts, part);
            step = judge.close_more(5);
        }
    }
    assert_eq!(in_parts, at_once);
    assert!(at_once.1.len() > 500 && parts > 40, "{} windows in {parts} parts", at_once.1.len());
    assert!(largest <= 5 * 13, "{largest} windows at once");
}

#[test]
fn a_crash_between_two_parts_changes_nothing() {
    let watch = watch();
    let records = log(&watch, 1, &history(), 120);
    let at_once = whole(&mut Judge::new(CONFIG, Arc::clone(&watch), expected(1), 0), &records, 0);
    let marker =
        |record: &TallyRecord| matches!(&record.body, Some(TallyBody::Marker(marker)) if !marker.init);
    let first = records.iter().position(marker).expect("a flush");
    for parts in 0..12 {
        let mut judge = Judge::new(CONFIG, Arc::clone(&watch), expected(1), 0);
        let mut emitted = whole(&mut judge, &records[..first], 0);
        keep(&mut emitted, judge.apply_in_part(first as i64, &records[first], 3));
        (0..parts).filter_map(|_| judge.close_more(3)).for_each(|step| keep(&mut emitted, step));
        let state = judge.state();
        let mut restarted = Judge::restore(CONFIG, Arc::clone(&watch), expected(1), &state);
        let stored: BTreeMap<String, &PaneRecord> =
            emitted.0.iter().map(|pane| (pane_key(pane), pane)).collect();
        stored.values().for_each(|pane| restarted.restore_pane(pane));
        let from = state.replay_from as usize;
        let replayed = whole(&mut restarted, &records[from..=first], from);
        assert_eq!(replayed, Emitted::default(), "a replay emits nothing");
        let rest = whole(&mut restarted, &records[first + 1..], first + 1);
        emitted.0.extend(rest.0);
        emitted.1.extend(rest.1);
        assert_eq!(emitted, at_once, "crashed after {parts} parts");
    }
}

#[test]
fn event_times_scattered_over_years_close_the_oldest_panes_early() {
    let watch = watch();
    let mut random = fastrand::Rng::with_seed(11);
    let times: Vec<i64> = (0..4_000).map(|_| random.i64(0..30 * 365 * 86_400_000)).collect();
    // The second source never says anything, so nothing is complete and nothing would ever be closed.
    let records = log(&watch, 2, &times, 100);
    let mut judge = Judge::new(CONFIG, watch, expected(2), 0);
    judge.open_limit = 3_000_000;
    let (mut early, mut dropped, mut reported) = (0, 0, 0);
    for (offset, record) in records.iter().enumerate() {
        let step = judge.apply(offset as i64, record);
        early += step.notes.closed_early;
        dropped += step.notes.late_dropped + step.notes.late_revised;
        for window in step.windows.iter().filter(|window| window.scale == 1) {
            assert!(!window.arms[0].complete, "a pane closed early is marked");
            reported += window.arms[0].unset_events;
        }
        let bytes: usize = judge.open.values().map(|pane| pane.bytes()).sum();
        assert!(bytes <= 3_000_000, "{bytes} bytes after a marker");
    }
    let open: u64 = judge.open.values().flat_map(|pane| pane.arms.values()).map(|arm| arm.unset).sum();
    assert_eq!(reported + dropped + open, 4_000, "every event is in a pane, late, or still open");
    assert!(early > 500 && dropped > 100, "{early} early, {dropped} late");
}

/// A marker of these sources that says it comes with no delta.
fn marker(wall_clock: i64, init: bool, sources: Vec<SourceRange>) -> TallyRecord {
    let marker = Marker { wall_clock, init, sources, flush_interval: 1_000, ..Marker::default() };
    TallyRecord { format: FORMAT, body: Some(TallyBody::Marker(marker)) }
}

#[test]
fn sources_that_nobody_expects_are_remembered_up_to_a_bound_and_mark_what_they_touch_beyond_it() {
    let mut judge = Judge::new(CONFIG, watch(), expected(1), 0);
    let mut beyond = 0;
    for number in 0..3_000_i64 {
        let topic = format!("foreign-{number}");
        let step =
            judge.apply(number, &marker(0, true, vec![SourceRange { topic, ..SourceRange::default() }]));
        beyond += step.notes.incomplete.iter().filter(|one| one.fit == Fit::Unexpected).count();
    }
    assert_eq!((judge.state().sources.len(), beyond), (1 + 1_024, 3_000 - 1_024));
    assert!(judge.holes.touch(0..1));
    // Those that are expected always have room.
    let (topic, partition) = ("events".to_owned(), 0);
    judge.apply(3_000, &marker(0, true, vec![SourceRange { topic, partition, ..SourceRange::default() }]));
    assert_eq!(judge.sources.known[&source(0)].next, Some(0));
}

#[test]
fn deltas_without_a_marker_are_held_up_to_a_bound_and_their_flush_is_torn() {
    let watch = watch();
    let records = log(&watch, 1, &[100, 200, 1_300], 3);
    let delta = records
        .iter()
        .find_map(|record| match &record.body {
            Some(TallyBody::Delta(delta)) => Some(delta.clone()),
            _ => None,
        })
        .expect("a delta");
    let mut judge = Judge::new(CONFIG, watch, expected(1), 0);
    judge.staged_limit = 10_000;
    let mut torn = 0;
    for number in 0..1_000_i64 {
        let delta = Delta { range_id: format!("never-{}", number / 3), ..delta.clone() };
        let record = TallyRecord { format: FORMAT, body: Some(TallyBody::Delta(delta)) };
        torn += judge.apply(number, &record).notes.torn_flushes;
        assert!(judge.staged.len() <= 20, "{} flushes held", judge.staged.len());
    }
    assert!(torn > 300, "{torn} torn");
}

#[test]
fn places_to_restart_from_are_bounded_and_the_oldest_needed_one_stays() {
    let watch = watch();
    // The second source never says anything: the first pane stays open, and every marker makes a boundary.
    let times: Vec<i64> = (0..2_000).map(|n| n * 7).collect();
    let records = log(&watch, 2, &times, 1);
    let mut judge = Judge::new(CONFIG, watch, expected(2), 0);
    for (offset, record) in records.iter().enumerate() {
        judge.apply(offset as i64, record);
        assert!(judge.boundaries.len() <= 512, "{} boundaries", judge.boundaries.len());
    }
    let state = judge.state();
    assert!(judge.open_panes() > 0 && state.replay_from <= judge.oldest_needed_offset(), "{state:?}");
    assert!(state.replay_from > 0, "not from the beginning: {}", state.replay_from);
}
