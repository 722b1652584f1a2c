//! What is left out, where not everything is known or can be held.

use super::*;

/// Also where restarts come in between, which hold less again than they had held.
#[test]
fn what_is_refused_at_the_bound_leaves_its_panes_out_and_nothing_else_is_wrong() {
    let mut random = fastrand::Rng::with_seed(31);
    let requests = requests(&mut random, 60_000);
    for (bound, restarts) in [(20, false), (120, true), (240, false), (320, true), (320, false)] {
        let watch = watch(bound);
        let log = log(&watch, &requests, on_time);
        let (mut run, mut most) = (Run::new(&watch), 0);
        for offset in 0..log.len() {
            run.apply(offset, &log);
            most = most.max(run.judge.joins.held(0));
            if restarts && random.u8(0..20) == 0 {
                run.restart(&watch, &log, 0);
            }
        }
        assert!(most <= bound, "{most} of {bound}");
        let matured = run.matured();
        check_all(&watch, &requests, &matured);
        let left_out = run.noted(|notes| notes.panes_left_out);
        assert!(run.noted(|notes| notes.refused + notes.answers_refused) > 0, "bound {bound}");
        assert!(left_out + matured.len() as u64 >= 108, "bound {bound}: every pane");
        if bound > 300 {
            // A few too many cost a few panes, not all of them.
            assert!(matured.len() > 65, "bound {bound}: {} panes", matured.len());
        }
    }
}

/// Some source is not read as far as the others: what matures without it is left out, and it alone.
#[test]
fn panes_that_mature_while_a_source_is_left_out_are_left_out() {
    let watch = watch(usize::MAX);
    let requests = requests(&mut fastrand::Rng::with_seed(71), 30_000);
    let log = log(&watch, &requests, on_time);
    let mut run = Run::new(&watch);
    let middle = log.len() / 2;
    for offset in 0..log.len() {
        if offset == middle {
            // Nothing is known of a third source, and nobody waits for it long.
            run.judge.expect((0..3).map(source).collect());
            run.judge.config.max_stall_ms = 2_000;
        } else if offset == middle + log.len() / 6 {
            run.judge.expect(sources());
            run.judge.config = CONFIG;
        }
        run.apply(offset, &log);
    }
    let matured = run.matured();
    check_all(&watch, &requests, &matured);
    let left_out = run.noted(|notes| notes.panes_left_out);
    assert!((4..=20).contains(&left_out), "{left_out} of 48");
    // Of three versions, one of them without traffic.
    assert_eq!(left_out / 3 * 2 + matured.len() as u64, 48);
}

#[test]
fn what_the_tallies_do_not_tell_any_more_is_left_out_after_a_restart() {
    let watch = watch(usize::MAX);
    let requests = requests(&mut fastrand::Rng::with_seed(41), 30_000);
    let log = log(&watch, &requests, on_time);
    let (mut run, middle) = (Run::new(&watch), log.len() / 2);
    (0..middle).for_each(|offset| run.apply(offset, &log));
    let (before, closed) = (run.matured(), run.judge.closed_up_to().expect("closed panes"));
    let state = run.judge.state();
    assert!(state.joins_from.is_some_and(|from| from < state.replay_from));
    run.restart(&watch, &log, state.replay_from);
    (middle..log.len()).for_each(|offset| run.apply(offset, &log));
    let after: BTreeMap<_, _> =
        run.matured().into_iter().filter(|(key, _)| !before.contains_key(key)).collect();
    assert!(!after.is_empty());
    check_all(&watch, &requests, &after);
    let first = after.values().map(|found| found.start.0).min().expect("panes");
    // Labels may have been read up to the newest clock.
    assert!((closed..=closed + 4 * PANE_MS).contains(&first), "closed to {closed}, first {first}");
    assert_eq!(after.len() as i64, 2 * (24 - first / PANE_MS), "all others matured");
}

/// A flush is lost: it may have held labels of any pane that waits.
#[test]
fn missing_offsets_leave_out_every_pane_that_waited() {
    let watch = watch(usize::MAX);
    let requests = requests(&mut fastrand::Rng::with_seed(51), 30_000);
    let whole = log(&watch, &requests, on_time);
    let range_of = |record: &TallyRecord| match &record.body {
        Some(crate::tally::record::TallyBody::Joins(joins)) => joins.range_id.clone(),
        Some(crate::tally::record::TallyBody::Delta(delta)) => delta.range_id.clone(),
        Some(crate::tally::record::TallyBody::Marker(marker)) => marker.range_id.clone(),
        Some(crate::tally::record::TallyBody::Weight(_)) | None => String::new(),
    };
    let lost = range_of(&whole[whole.len() / 2]);
    let log: Vec<TallyRecord> = whole.into_iter().filter(|one| range_of(one) != lost).collect();
    let run = run(&watch, &log);
    check_all(&watch, &requests, &run.matured());
    let left_out = run.noted(|notes| notes.panes_left_out);
    assert!((2 * HORIZON as u64..30).contains(&left_out), "{left_out}");
}

/// Records that somebody else wrote: nothing panics, and nothing is held beyond the bound.
#[test]
fn twisted_records_are_refused_or_held_within_the_bound() {
    let watch = watch(400);
    let mut random = fastrand::Rng::with_seed(seed(0x1abe1));
    let requests = requests(&mut random, 9_000);
    let log = log(&watch, &requests, on_time);
    let (mut used, mut refused) = (0, 0);
    for _ in 0..cases(2).div_ceil(log.len() as u64) {
        let mut run = Run::new(&watch);
        for (offset, record) in log.iter().enumerate() {
            let bytes =
                if random.bool() { twist::tally(&mut random, record) } else { record.encode_to_vec() };
            match TallyRecord::read(&bytes) {
                Ok(record) => {
                    let step = run.judge.apply(offset as i64, &record);
                    for pane in &step.panes {
                        assert_eq!(PaneRecord::read(&pane.encode_to_vec()).as_ref(), Ok(pane));
                    }
                    used += 1;
                }
                Err(_) => refused += 1,
            }
            assert!(run.judge.joins.held(0) <= 400);
        }
        let state = run.judge.state().encode_to_vec();
        assert!(MergeState::read(&state).is_ok(), "what it wrote itself");
        if let Ok(state) = MergeState::read(&twist::state(&mut random, &run.judge.state())) {
            let mut judge = Judge::restore(CONFIG, Arc::clone(&watch), sources(), &state);
            judge.lose_joins();
            log.iter().enumerate().for_each(|(offset, record)| drop(judge.apply(offset as i64, record)));
        }
    }
    assert!(used > 500 && refused > 50, "{used} used, {refused} refused");
}
