//! Stored panes add up to what live windows hold.

use super::fixture::CONFIG;
use super::stored::{cover, unseen_panes, window};
use super::window::ModelWindow;
use super::*;
use crate::event::EventTime;
use crate::tally::Tally;
use crate::tally::record::PaneRecord;
use crate::tally::tests::{Event, PANE_MS, feed, source, stamp, start, watch};
use std::collections::{BTreeMap, BTreeSet};

/// The newest stored records of 40 s of events every 100 ms, and the windows that were handed out. The events of
/// second 20 come two seconds late.
fn run() -> (Vec<PaneRecord>, Vec<ModelWindow>) {
    let watch = watch();
    let mut judge = Judge::new(CONFIG, watch.clone(), BTreeSet::from([source(0)]), 0);
    let mut tally = Tally::new(watch, PANE_MS);
    tally.start_source(start(0, 0));
    let starts = [start(0, 0)];
    let mut log: Vec<_> = Tally::init_markers(&stamp("init", 0), &starts).into_iter().collect();
    for time in (0..40_000).step_by(100) {
        let late = if (22_500..23_500).contains(&time) { Some(time - 2_500) } else { None };
        let skipped = (20_000..21_000).contains(&time);
        let times = [Some(time).filter(|_| !skipped), late];
        let events: Vec<Event> = times
            .into_iter()
            .flatten()
            .map(|time| Event { version: 0, time, x: Some(time as f64 / 1_000.0) })
            .collect();
        feed(&mut tally, 0, &events);
        if time % 300 == 0 {
            log.extend(tally.flush(&stamp(&format!("flush-{time}"), time)).records);
            tally.commit(500);
        }
    }
    let mut stored: BTreeMap<String, PaneRecord> = BTreeMap::new();
    let mut windows = Vec::new();
    for (offset, record) in log.iter().enumerate() {
        let step = judge.apply(offset as i64, &record.record);
        stored.extend(step.panes.into_iter().map(|pane| (pane_key(&pane), pane)));
        windows.extend(step.windows);
    }
    (stored.into_values().collect(), windows)
}

fn parts(records: &[PaneRecord], wanted: &BTreeSet<(u32, i64)>) -> Vec<PaneRecord> {
    records.iter().filter(|record| wanted.contains(&(record.panes, record.start))).cloned().collect()
}

#[test]
fn a_cover_is_exact_and_uses_the_longest_sums() {
    for (from, to) in [(0, 16), (1, 64), (3, 5), (15, 17), (-20, 37), (7, 7)] {
        let found = cover(EventTime(from * PANE_MS), EventTime(to * PANE_MS), PANE_MS);
        let mut panes: Vec<i64> = found
            .iter()
            .flat_map(|(length, start)| (0..i64::from(*length)).map(move |n| start / PANE_MS + n))
            .collect();
        panes.sort_unstable();
        assert_eq!(panes, (from..to).collect::<Vec<i64>>());
        assert!(found.iter().all(|(length, start)| (start / PANE_MS).rem_euclid(i64::from(*length)) == 0));
    }
    let month = cover(EventTime(0), EventTime(10_080 * PANE_MS), PANE_MS);
    assert_eq!(month.len(), 630);
}

#[test]
fn stored_panes_add_up_to_the_live_window_of_the_same_time() {
    let (records, live) = run();
    let watch = watch();
    // Windows that were handed out again after the late events are the last of their time.
    let mut newest: BTreeMap<(u32, i64), ModelWindow> = BTreeMap::new();
    for window in live {
        newest.insert((window.scale, window.end.0), window);
    }
    let mut compared = 0;
    for live in newest.values().filter(|window| window.scale > 1) {
        let wanted = cover(live.start, live.end, PANE_MS);
        let records = parts(&records, &wanted);
        let (found, left_out) = window(&watch, live.model, (live.start, live.end, PANE_MS), &records);
        assert_eq!(left_out, 0);
        assert_eq!(found.scale, live.scale);
        for (found, live) in found.arms.iter().zip(&live.arms) {
            assert_eq!(
                (&found.series, found.events(), found.complete),
                (&live.series, live.events(), live.complete)
            );
        }
        assert_eq!(found.arms.len(), live.arms.len());
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn any_stretch_has_each_of_its_events_once() {
    let (records, _) = run();
    let watch = watch();
    for (from, to) in [(0, 38), (1, 30), (19, 22), (5, 6)] {
        let (from, to) = (EventTime(from * PANE_MS), EventTime(to * PANE_MS));
        let records = parts(&records, &cover(from, to, PANE_MS));
        let (found, _) = window(&watch, 0, (from, to, PANE_MS), &records);
        let events = (to.0 - from.0) as u64 / 100;
        assert_eq!((found.arms[0].events(), found.arms[0].series[0].n()), (events, events));
    }
}

#[test]
fn sums_that_were_never_made_are_looked_for_pane_by_pane() {
    let wanted = cover(EventTime(0), EventTime(20 * PANE_MS), PANE_MS);
    let four = PaneRecord { panes: 4, start: 16 * PANE_MS, ..PaneRecord::default() };
    let unseen = unseen_panes(&wanted, &[four], PANE_MS);
    assert_eq!(unseen, (0..16).map(|n| (1, n * PANE_MS)).collect());
}

#[test]
fn records_of_another_grid_are_left_out_and_told() {
    let (mut records, _) = run();
    let watch = watch();
    let wanted = cover(EventTime(0), EventTime(4 * PANE_MS), PANE_MS);
    records = parts(&records, &wanted);
    records.iter_mut().filter(|record| record.counts.is_some()).for_each(|record| record.grid_hash ^= 1);
    let (found, left_out) = window(&watch, 0, (EventTime(0), EventTime(4 * PANE_MS), PANE_MS), &records);
    assert!(left_out > 0);
    assert_eq!((found.arms[0].events(), found.arms[0].series[0].n()), (40, 0));
}
