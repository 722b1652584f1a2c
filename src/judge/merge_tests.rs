//! The merge: ranges are checked, panes close once and in order, a restart changes nothing.

use super::fixture::CONFIG;
use super::weights::SetWeight;
use super::*;
use crate::event::ModelId;
use crate::tally::record::{FORMAT, TallyBody, TallyRecord, Weight};
use crate::tally::tests::{Event, PANE_MS, feed, source, stamp, start, watch};
use crate::tally::{SourceKey, SourceStart, Tally};
use proptest::prelude::*;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

fn expected(partitions: i32) -> BTreeSet<SourceKey> {
    (0..partitions).map(source).collect()
}

fn judge(partitions: i32) -> Judge {
    Judge::new(CONFIG, shared_watch(), expected(partitions), 0)
}

/// One watch for all judges of a test: they are compared.
fn shared_watch() -> std::sync::Arc<crate::baseline::Watch> {
    static WATCH: std::sync::OnceLock<std::sync::Arc<crate::baseline::Watch>> = std::sync::OnceLock::new();
    WATCH.get_or_init(watch).clone()
}

/// The tallies topic of a test.
#[derive(Default)]
struct Log {
    records: Vec<TallyRecord>,
    flushes: u64,
}

impl Log {
    fn init(&mut self, partitions: i32) {
        let starts: Vec<SourceStart> = (0..partitions).map(|one| start(one, 0)).collect();
        self.records
            .extend(Tally::init_markers(&stamp("init", 0), &starts).into_iter().map(|one| one.record));
    }

    fn flush(&mut self, tally: &mut Tally, wall_clock: i64) {
        self.flushes += 1;
        let id = format!("flush-{}", self.flushes);
        self.records.extend(tally.flush(&stamp(&id, wall_clock)).records.into_iter().map(|one| one.record));
        tally.commit(500);
    }

    fn tell(&mut self, canary_weight: f64, since: i64) {
        let ModelId { namespace, name: model } = shared_watch().models[0].id.clone();
        let told = TallyBody::Weight(Weight { namespace, model, canary_weight, since });
        self.records.push(TallyRecord { format: FORMAT, body: Some(told) });
    }
}

fn event(time: i64) -> Event {
    Event { version: 0, time, x: Some(1.0) }
}

fn tally_of(partition: i32) -> Tally {
    let mut tally = Tally::new(shared_watch(), PANE_MS);
    tally.start_source(start(partition, 0));
    tally
}

fn run(judge: &mut Judge, records: &[TallyRecord], from: usize) -> Vec<Step> {
    records.iter().enumerate().map(|(index, record)| judge.apply((from + index) as i64, record)).collect()
}

/// A log of one source with an event every 100 ms up to `until`, flushed every 300 ms.
fn steady(until: i64) -> Log {
    let mut log = Log::default();
    log.init(1);
    let mut tally = tally_of(0);
    for time in (0..until).step_by(100) {
        feed(&mut tally, 0, &[event(time)]);
        if time % 300 == 0 {
            log.flush(&mut tally, time);
        }
    }
    log
}

fn windows(steps: &[Step]) -> Vec<(u32, i64, u64)> {
    let all = steps.iter().flat_map(|step| &step.windows);
    all.map(|window| (window.scale, window.end.0, window.arms[0].unset_events)).collect()
}

#[test]
fn panes_close_once_in_order_and_only_behind_the_watermark() {
    let log = steady(6_000);
    let mut judge = judge(1);
    let mut ends = Vec::new();
    for (offset, record) in log.records.iter().enumerate() {
        let step = judge.apply(offset as i64, record);
        let watermark = step.notes.watermark;
        for window in step.windows.iter().filter(|window| window.scale == 1) {
            assert!(watermark.is_some_and(|low| low >= window.end.0 + CONFIG.lateness_ms));
            assert_eq!(window.arms[0].unset_events, 10);
            ends.push(window.end.0);
        }
    }
    assert_eq!(ends, vec![1_000, 2_000, 3_000, 4_000, 5_000]);
}

#[test]
fn the_watermark_is_known_again_after_a_restart_while_the_panes_are_still_read() {
    let log = steady(6_000);
    let (mut judge, mut told, mut replaying) = (judge(1), None, 0);
    for (offset, record) in log.records.iter().enumerate() {
        let step = judge.apply(offset as i64, record);
        told = step.notes.watermark.or(told);
        let stored = MergeState::read(&judge.state().encode_to_vec()).expect("what it wrote itself");
        let again = Judge::restore(CONFIG, shared_watch(), expected(1), &stored);
        assert_eq!((judge.watermark(), again.watermark()), (told, told), "after {offset}");
        replaying += usize::from(again.is_replaying());
    }
    assert!(told > Some(5_000) && replaying > 10, "{told:?}, {replaying} in a replay");
    let other = Judge::restore(CONFIG, shared_watch(), expected(2), &judge.state());
    assert_eq!(other.watermark(), None, "of a source nobody has heard of");
}

#[test]
fn a_window_of_four_is_the_sum_of_four_panes() {
    let mut judge = judge(1);
    let steps = run(&mut judge, &steady(8_000).records, 0);
    let fours: Vec<(u32, i64, u64)> = windows(&steps).into_iter().filter(|(scale, ..)| *scale == 4).collect();
    assert_eq!(fours, vec![(4, 4_000, 40), (4, 5_000, 40), (4, 6_000, 40), (4, 7_000, 40)]);
}

#[test]
fn all_scales_come_with_a_long_history() {
    let mut judge = judge(1);
    let steps = run(&mut judge, &steady(100_000).records, 0);
    let of = |scale| windows(&steps).into_iter().filter(|(one, ..)| *one == scale).collect::<Vec<_>>();
    assert_eq!(of(16).first(), Some(&(16, 16_000, 160)));
    assert_eq!(of(16)[1].1, 20_000);
    assert_eq!(of(64), vec![(64, 64_000, 640), (64, 80_000, 640), (64, 96_000, 640)]);
}

#[test]
fn a_flush_that_comes_twice_is_counted_once() {
    let log = steady(3_000);
    let mut doubled: Vec<TallyRecord> = Vec::new();
    for chunk in log.records.split_inclusive(|record| matches!(record.body, Some(TallyBody::Marker(_)))) {
        doubled.extend_from_slice(chunk);
        doubled.extend_from_slice(chunk);
    }
    let (mut once, mut twice) = (judge(1), judge(1));
    let (a, b) = (run(&mut once, &log.records, 0), run(&mut twice, &doubled, 0));
    assert_eq!(windows(&a), windows(&b));
    let duplicates: u64 = b.iter().map(|step| step.notes.duplicate_flushes).sum();
    assert!(duplicates > 5, "{duplicates} duplicates seen");
}

#[test]
fn a_missing_flush_marks_the_window_incomplete() {
    let log = steady(4_000);
    let chunks: Vec<&[TallyRecord]> =
        log.records.split_inclusive(|record| matches!(record.body, Some(TallyBody::Marker(_)))).collect();
    let holed: Vec<TallyRecord> = chunks
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != 5)
        .flat_map(|(_, chunk)| chunk.to_vec())
        .collect();
    let mut judge = judge(1);
    let steps = run(&mut judge, &holed, 0);
    let incomplete: Vec<&Incomplete> = steps.iter().flat_map(|step| &step.notes.incomplete).collect();
    assert_eq!(incomplete.len(), 1);
    assert_eq!(incomplete[0].fit, Fit::Gap);
    let marked: Vec<bool> = steps
        .iter()
        .flat_map(|step| &step.windows)
        .filter(|one| one.scale == 1)
        .map(|one| one.arms[0].complete)
        .collect();
    assert!(marked.contains(&false), "the hole must show");
    assert!(marked.contains(&true), "later panes are whole again");
}

#[test]
fn a_hole_is_marked_up_to_the_first_event_behind_it() {
    let mut log = steady(6_000);
    let mut judge = judge(1);
    run(&mut judge, &log.records, 0);
    let next = log.records.len();
    log.records.clear();
    let read = judge.state().sources[0].next.expect("initialised");
    // Events of the next three seconds are lost, and a flush that counted nothing is the first to show it.
    let mut tally = Tally::new(shared_watch(), PANE_MS);
    tally.start_source(start(0, read + 30));
    log.flush(&mut tally, 9_000);
    for time in (9_000..12_000).step_by(100) {
        feed(&mut tally, 0, &[event(time)]);
        log.flush(&mut tally, time);
    }
    // A restart between the two must not forget it.
    let mut steps = run(&mut judge, &log.records[..2], next);
    let state = judge.state();
    assert!(state.replay_from <= next as i64, "the flush that shows the hole is read again");
    steps.extend(run(&mut judge, &log.records[2..], next + 2));
    let panes: std::collections::BTreeMap<i64, bool> = steps
        .iter()
        .flat_map(|step| &step.windows)
        .filter(|window| window.scale == 1)
        .map(|window| (window.start.0, window.arms[0].complete))
        .collect();
    for start in panes.keys().filter(|start| (6_000..9_000).contains(*start)) {
        assert!(!panes[start], "the pane at {start} is in the hole: {panes:?}");
    }
    assert_eq!(panes.get(&10_000), Some(&true), "{panes:?}");
    assert!(panes.values().any(|complete| !complete), "{panes:?}");
}

#[test]
fn a_flush_without_all_its_deltas_is_torn_and_shows() {
    let log = steady(3_000);
    let mut deltas =
        log.records.iter().enumerate().filter(|(_, one)| matches!(one.body, Some(TallyBody::Delta(_))));
    let (torn_at, _) = deltas.nth(3).expect("a flush in the middle has a delta");
    let mut records = log.records.clone();
    records.remove(torn_at);
    let mut judge = judge(1);
    let steps = run(&mut judge, &records, 0);
    assert_eq!(steps.iter().map(|step| step.notes.torn_flushes).sum::<u64>(), 1);
    assert!(steps.iter().flat_map(|step| &step.windows).any(|window| !window.arms[0].complete));
}

#[test]
fn an_idle_source_does_not_hold_the_others_back_but_a_silent_one_does() {
    for idle in [true, false] {
        let mut log = Log::default();
        log.init(2);
        let (mut busy, mut quiet) = (tally_of(0), tally_of(1));
        for time in (0..4_000).step_by(100) {
            feed(&mut busy, 0, &[event(time)]);
            if time % 500 == 0 {
                log.flush(&mut busy, time);
                quiet.set_idle(&source(1), idle);
                log.flush(&mut quiet, time);
            }
        }
        let mut judge = judge(2);
        let closed = windows(&run(&mut judge, &log.records, 0)).len();
        assert_eq!(closed > 0, idle);
    }
}

#[test]
fn an_idle_mark_lapses_with_the_tally_that_gave_it() {
    let mut log = Log::default();
    log.init(2);
    let (mut busy, mut quiet) = (tally_of(0), tally_of(1));
    quiet.set_idle(&source(1), true);
    log.flush(&mut quiet, 0);
    for time in (0..20_000).step_by(100) {
        feed(&mut busy, 0, &[event(time)]);
        if time % 500 == 0 {
            log.flush(&mut busy, time);
        }
    }
    let mut judge = judge(2);
    let last = windows(&run(&mut judge, &log.records, 0)).iter().map(|(_, end, _)| *end).max();
    assert!(last.is_some_and(|end| end <= 4_000), "closed up to {last:?} on a dead tally's word");
}

#[test]
fn a_stalled_source_is_left_out_in_the_end_and_it_shows() {
    let mut log = Log::default();
    log.init(2);
    let (mut busy, mut stuck) = (tally_of(0), tally_of(1));
    for time in (0..90_000).step_by(100) {
        feed(&mut busy, 0, &[event(time)]);
        if time % 500 == 0 {
            log.flush(&mut busy, time);
            log.flush(&mut stuck, time);
        }
    }
    let mut judge = judge(2);
    let steps = run(&mut judge, &log.records, 0);
    let all: Vec<&crate::judge::window::ModelWindow> = steps.iter().flat_map(|step| &step.windows).collect();
    assert!(!all.is_empty());
    assert!(all.iter().all(|window| !window.arms[0].complete));
    assert!(steps.iter().any(|step| step.notes.left_out == vec![source(1)]));
}

#[test]
fn late_events_revise_and_then_are_dropped() {
    let mut log = steady(6_000);
    let mut late = tally_of(0);
    late.start_source(start(0, 60));
    feed(&mut late, 0, &[event(3_500), event(100)]);
    let mut judge = judge(1);
    // The steady log ends with two events that were never flushed.
    let steps = run(&mut judge, &log.records, 0);
    let next = log.records.len();
    log.records.clear();
    let read = judge.state().sources[0].next.expect("initialised");
    let mut late_tally = Tally::new(shared_watch(), PANE_MS);
    late_tally.start_source(start(0, read));
    feed(&mut late_tally, 0, &[event(3_500), event(100)]);
    log.flush(&mut late_tally, 20_000);
    let more = run(&mut judge, &log.records, next);
    let notes = &more.last().expect("a marker").notes;
    assert_eq!((notes.late_revised, notes.late_dropped), (1, 1));
    let revised: Vec<_> = more.iter().flat_map(|step| &step.windows).collect();
    assert!(!revised.is_empty() && revised.iter().all(|window| window.revised));
    let pane = revised.iter().find(|window| window.scale == 1).expect("the pane itself");
    assert_eq!((pane.end.0, pane.arms[0].unset_events, pane.arms[0].revision), (4_000, 11, 1));
    assert!(windows(&steps).contains(&(1, 4_000, 10)));
}

#[test]
fn a_window_that_is_first_reported_after_a_late_event_is_not_reported_again_for_it() {
    let mut log = steady(6_000);
    let mut judge = judge(1);
    let mut steps = run(&mut judge, &log.records, 0);
    let next = log.records.len();
    log.records.clear();
    let read = judge.state().sources[0].next.expect("initialised");
    let mut tally = Tally::new(shared_watch(), PANE_MS);
    tally.start_source(start(0, read));
    // A late event and, later in marker time than revisions wait, panes that close.
    feed(&mut tally, 0, &[event(3_500)]);
    log.flush(&mut tally, 5_800);
    for time in (6_000..9_000).step_by(100) {
        feed(&mut tally, 0, &[event(time)]);
        if time % 300 == 0 {
            log.flush(&mut tally, time);
        }
    }
    steps.extend(run(&mut judge, &log.records, next));
    let mut seen = BTreeSet::new();
    for window in steps.iter().flat_map(|step| &step.windows) {
        let key = (window.scale, window.start.0, window.arms[0].revision);
        assert!(seen.insert(key), "window {key:?} is reported twice");
    }
    assert!(seen.iter().any(|(scale, _, revision)| *scale == 4 && *revision == 1), "{seen:?}");
}

#[test]
fn when_nothing_is_left_to_read_everything_closes() {
    let mut log = Log::default();
    log.init(1);
    let mut tally = tally_of(0);
    feed(&mut tally, 0, &[event(100), event(1_100)]);
    log.flush(&mut tally, 2_000);
    tally.set_idle(&source(0), true);
    log.flush(&mut tally, 3_000);
    let mut judge = judge(1);
    let steps = run(&mut judge, &log.records, 0);
    assert_eq!(windows(&steps), vec![(1, 1_000, 1), (1, 2_000, 1)]);
}

#[test]
fn a_window_knows_what_was_told_before_it_closed() {
    let steady = steady(200_000).records;
    let closing = |judge: &mut Judge, records: &[TallyRecord]| -> BTreeMap<i64, SetWeight> {
        let steps = run(judge, records, judge.applied() as usize);
        let single = steps.into_iter().flat_map(|step| step.windows).filter(|one| one.scale == 1);
        single.map(|window| (window.start.0, window.set_weight)).collect()
    };
    let (mut judge, mut told) = (judge(1), Log::default());
    let half = steady.len() / 2;
    let before = closing(&mut judge, &steady[..half]);
    assert!(before.values().all(|weight| *weight == SetWeight::Untold) && before.len() > 90);
    told.tell(0.1, -60_000);
    told.tell(0.25, 170_000);
    // Of a model that is not watched.
    told.records.push(told.records[0].clone());
    let Some(TallyBody::Weight(other)) = &mut told.records[2].body else { unreachable!("a weight") };
    other.model.push('x');
    let notes: u64 = run(&mut judge, &told.records, half).iter().map(|step| step.notes.foreign_deltas).sum();
    assert_eq!(notes, 1);
    let after = closing(&mut judge, &steady[half..]);
    let of = |start: i64| after.get(&start).copied();
    assert_eq!(of(101_000), Some(SetWeight::Known(0.1)));
    assert_eq!([of(109_000), of(110_000)], [Some(SetWeight::Known(0.1)), Some(SetWeight::Unclear)]);
    assert_eq!(judge.weight_now(0), Some(0.25));
    assert_eq!(judge.state().weights[0].changes.len(), 2);
}

/// Everything a judge emits from `from` on.
fn emitted(steps: Vec<Step>) -> Vec<(Vec<crate::tally::record::PaneRecord>, Vec<window::ModelWindow>)> {
    steps.into_iter().map(|step| (step.panes, step.windows)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Restarted anywhere, from what was stored there, a judge goes on exactly as the one that never stopped.
    #[test]
    fn a_restart_changes_nothing(
        times in prop::collection::vec((0..2_i32, 0..200_i64), 50..300), flush in 2..12_usize, stop in 0.0..1.0_f64,
    ) {
        let mut log = Log::default();
        log.init(2);
        let mut tallies = [tally_of(0), tally_of(1)];
        let mut clock = 0;
        for (index, (partition, step)) in times.iter().enumerate() {
            clock += step;
            let jitter = (index as i64 * 37) % 900;
            feed(&mut tallies[*partition as usize], *partition, &[event((clock - jitter).max(0))]);
            if index % flush == 0 {
                log.flush(&mut tallies[(index / flush) % 2], clock);
            }
            // Told for now, for long ago, and again.
            if index % 7 == 0 {
                log.tell((index % 5) as f64 / 5.0, clock - if index % 2 == 0 { 0 } else { 70_000 });
            }
        }
        let cut = ((log.records.len() as f64 * stop) as usize).max(1);
        let mut steady = judge(2);
        let mut panes = BTreeMap::new();
        for step in run(&mut steady, &log.records[..cut], 0) {
            for pane in step.panes {
                panes.insert(pane_key(&pane), pane);
            }
        }
        let state = steady.state();
        let mut restarted = Judge::restore(CONFIG, shared_watch(), expected(2), &state);
        panes.values().for_each(|pane| restarted.restore_pane(pane));
        let from = state.replay_from as usize;
        for step in run(&mut restarted, &log.records[from..cut], from) {
            prop_assert!(step.windows.is_empty() && step.panes.is_empty(), "a replay emits nothing");
        }
        let (a, b) = (run(&mut steady, &log.records[cut..], cut), run(&mut restarted, &log.records[cut..], cut));
        prop_assert_eq!(emitted(a), emitted(b));
        prop_assert_eq!(steady.state().sources, restarted.state().sources);
        prop_assert_eq!(steady.state().weights, restarted.state().weights);
    }
}
