//! What matures, where everything is known.

use super::*;

#[test]
fn every_pane_matures_once_a_horizon_later_with_exactly_its_labels() {
    for seed in 0..8 {
        let watch = watch(usize::MAX);
        let requests = requests(&mut fastrand::Rng::with_seed(seed), 30_000);
        let run = run(&watch, &log(&watch, &requests, on_time));
        let (expected, matured) = (expected(&watch, &requests), run.matured());
        let panes = |version: u32| matured.keys().filter(|key| key.0 == version).count();
        assert_eq!((panes(0), panes(1)), (24, 24), "30 panes, less the open one and the horizon");
        for ((version, end), found) in &matured {
            let start = end - (HORIZON + 1) * PANE_MS;
            assert_eq!((found.start.0, found.end.0), (start, start + PANE_MS));
            assert_eq!(counts(found), expected[&(*version, start / PANE_MS)], "seed {seed}, pane at {start}");
        }
        assert!(run.noted(|notes| notes.joined) > 100 && run.noted(|notes| notes.unmatched) > 0);
        assert_eq!(run.noted(|notes| notes.refused + notes.answers_refused + notes.panes_left_out), 0);
    }
}

#[test]
fn longer_windows_and_stored_panes_hold_the_sums() {
    let watch = watch(usize::MAX);
    let requests = requests(&mut fastrand::Rng::with_seed(11), 40_000);
    let run = run(&watch, &log(&watch, &requests, on_time));
    let expected = expected(&watch, &requests);
    let mut compared = 0;
    for window in run.windows.values().filter(|window| window.scale > 1) {
        let [from, to] = [window.start, window.end].map(|time| time.0 - HORIZON * PANE_MS);
        for arm in &window.arms {
            let version = watch.version(arm.version);
            let (mut sum, mut scores) = (Labels::default(), Scores::default());
            let panes =
                expected.range((arm.version.version, from / PANE_MS)..(arm.version.version, to / PANE_MS));
            panes.for_each(|(_, (labels, scored))| {
                assert!(sum.add(version, &labels.record(version)));
                assert!(scores.add(version, &scored.record(version)));
            });
            let found = arm.matured.as_ref().map(|found| (counts(found), found.end.0));
            assert_eq!(found, (to > 0).then_some(((sum, scores), to)), "{from} to {to}");
            compared += usize::from(to > 0);
        }
        let parts = cover(window.start, window.end, PANE_MS);
        let records = run.stored.values().filter(|record| parts.contains(&(record.panes, record.start)));
        let records: Vec<PaneRecord> = records.cloned().collect();
        let (again, left_out) = self::window(&watch, 0, (window.start, window.end, PANE_MS), &records);
        let labels =
            |window: &ModelWindow| window.arms.iter().map(|arm| arm.matured.clone()).collect::<Vec<_>>();
        assert_eq!((labels(&again), left_out), (labels(window), 0));
    }
    assert!(compared > 60, "{compared}");
}

/// Also answers that are late: read when their pane is closed, and when it has matured.
#[test]
fn a_restart_anywhere_changes_nothing() {
    for seed in 20..28 {
        let mut random = fastrand::Rng::with_seed(seed);
        let watch = watch(usize::MAX);
        let requests = requests(&mut random, 24_000);
        let lags: Vec<i64> =
            requests.iter().map(|_| [0, 0, 0, 700, 3_000, 9_000][random.usize(0..6)]).collect();
        let log = log(&watch, &requests, |number| lags[number]);
        let whole = run(&watch, &log);
        assert!(whole.noted(|notes| notes.answers_late) > 0 && whole.matured().len() > 20);
        let mut broken = Run::new(&watch);
        for offset in 0..log.len() {
            broken.apply(offset, &log);
            if random.u8(0..6) == 0 {
                broken.restart(&watch, &log, 0);
            }
        }
        assert_eq!(broken.matured(), whole.matured(), "seed {seed}");
        assert_eq!(broken.windows, whole.windows, "seed {seed}");
        let counts: [fn(&LabelNotes) -> u64; 4] =
            [|notes| notes.joined, |notes| notes.answers_late, |notes| notes.late, |notes| notes.panes];
        for of in counts {
            assert_eq!(broken.noted(of), whole.noted(of), "seed {seed}");
        }
    }
}

/// A version that is rarely seen takes up all that matured since; nothing is lost, also not by a restart.
#[test]
fn a_version_without_traffic_takes_up_what_matured_when_it_is_seen_again() {
    let mut random = fastrand::Rng::with_seed(61);
    let watch = watch(usize::MAX);
    let mut requests = requests(&mut random, 120_000);
    requests.retain(|request| request.version == 0 || (request.time / PANE_MS) % 25 < 2);
    let log = log(&watch, &requests, on_time);
    let mut run = Run::new(&watch);
    for offset in 0..log.len() {
        run.apply(offset, &log);
        if random.u8(0..10) == 0 {
            run.restart(&watch, &log, 0);
        }
    }
    let matured = run.matured();
    check_all(&watch, &requests, &matured);
    let spans = matured.iter().filter(|(key, _)| key.0 == 1).map(|(_, found)| (found.start.0, found.end.0));
    let spans: Vec<_> = spans.map(|(start, end)| (start / PANE_MS, end / PANE_MS)).collect();
    assert_eq!(spans, [(0, 2), (25, 27), (50, 52), (75, 77)]);
    let events = |labels: &Labels| labels.outputs().map(|(_, one)| one.answers()).sum::<u64>();
    let all: u64 = matured.iter().filter(|(key, _)| key.0 == 1).map(|(_, found)| events(&found.labels)).sum();
    let of_version = expected(&watch, &requests);
    let of_version = of_version.iter().filter(|((version, pane), _)| *version == 1 && *pane < 77);
    assert_eq!(all, of_version.map(|(_, (labels, _))| events(labels)).sum::<u64>());
}

/// However long the horizon is, and however often the judge is restarted, it reads back little more than that.
#[test]
fn the_tallies_are_read_again_from_a_horizon_back_and_not_from_the_beginning() {
    const PANES: i64 = 3_000;
    let join = LabelJoin { horizon_ms: PANES * PANE_MS, max_pending: usize::MAX, sample: 1.0 };
    let model = crate::baseline::WatchedModel { labels: Some(join), ..watched(true) };
    let watch = Arc::new(Watch { models: vec![model] });
    let request = |number: i64| Request {
        version: 0,
        time: number * PANE_MS,
        id: number as u64,
        cell: 0,
        beside: None,
        label: None,
    };
    let requests: Vec<Request> = (0..2 * PANES).map(request).collect();
    let log = log(&watch, &requests, on_time);
    let mut run = Run::new(&watch);
    let by_pane = (log.len() as i64 + PANES) / (2 * PANES);
    for offset in 0..log.len() {
        let step = run.judge.apply(offset as i64, &log[offset]);
        run.stored.extend(step.panes.into_iter().map(|pane| (pane_key(&pane), pane)));
        if offset as i64 % (by_pane * PANES / 3) == 0 && offset > 0 {
            run.stored.retain(|_, pane| run.judge.needs_pane(pane.panes, pane.start));
            run.restart(&watch, &log, 0);
        }
    }
    let state = run.judge.state();
    let back = (state.applied - state.read_from()) / by_pane;
    assert!((PANES..PANES + PANES / 50).contains(&back), "{back} panes back");
    assert!(state.applied - state.replay_from < by_pane * PANES / 50, "{state:?}");
}
