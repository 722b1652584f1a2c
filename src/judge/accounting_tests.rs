//! Accounts: every offset ends in an outcome, in a hole, or is no record.

use super::accounting::{Accounting, MAX_RANGES, SourceAccount, account};
use super::fixture::CONFIG;
use super::*;
use crate::tally::record::{FORMAT, Marker, OutcomeCount, SourceRange, TallyBody, TallyRecord};
use crate::tally::tests::{source, watch};
use std::collections::BTreeSet;

fn judge() -> Judge {
    Judge::new(CONFIG, watch(), BTreeSet::from([source(0), source(1)]), 0)
}

fn range(partition: i32, from: i64, to: i64, records: u64) -> SourceRange {
    let key = source(partition);
    SourceRange {
        topic: key.topic,
        partition,
        from,
        to,
        outcomes: vec![
            OutcomeCount { outcome: "counted".to_owned(), count: records - records / 4 },
            OutcomeCount { outcome: "unreadable".to_owned(), count: records / 4 },
        ],
        ..SourceRange::default()
    }
}

/// A marker without deltas over these ranges; `deltas`: how many it says there are.
fn marker(sources: Vec<SourceRange>, init: bool, deltas: u64) -> TallyRecord {
    let marker = Marker { sources, init, n_deltas_here: deltas, flush_interval: 100, ..Marker::default() };
    TallyRecord { format: FORMAT, body: Some(TallyBody::Marker(marker)) }
}

fn run(judge: &mut Judge, markers: &[TallyRecord]) {
    let from = judge.applied();
    for (index, marker) in markers.iter().enumerate() {
        judge.apply(from + index as i64, marker);
    }
}

fn of(accounting: &Accounting, partition: i32) -> &SourceAccount {
    accounting.sources.iter().find(|source| source.partition == partition).expect("an account")
}

fn started() -> Judge {
    let mut judge = judge();
    run(&mut judge, &[marker(vec![range(0, 100, 100, 0), range(1, 0, 0, 0)], true, 0)]);
    judge
}

#[test]
fn contiguous_ranges_add_up_and_sparse_offsets_are_no_records() {
    let mut judge = started();
    let flushes = [vec![range(0, 100, 110, 10), range(1, 0, 4, 4)], vec![range(0, 110, 130, 16)]];
    run(&mut judge, &flushes.map(|ranges| marker(ranges, false, 0)));
    let found = account(&[judge.state()]);
    assert!(found.adds_up);
    let first = of(&found, 0);
    assert_eq!(
        (first.start, first.next, first.records, first.not_records),
        (Some(100), Some(130), 26, Some(4))
    );
    assert_eq!((first.outcomes["counted"], first.outcomes["unreadable"]), (20, 6));
    assert_eq!((of(&found, 1).records, of(&found, 1).not_records), (4, Some(0)));
}

#[test]
fn every_way_to_lose_or_double_offsets_is_told() {
    let mut judge = started();
    let flushes = [
        marker(vec![range(0, 100, 110, 10)], false, 0),
        // Again: dropped.
        marker(vec![range(0, 100, 110, 10)], false, 0),
        // 110 to 119 never came; what follows is counted.
        marker(vec![range(0, 120, 130, 10)], false, 0),
        // 125 to 129 were counted, so all of it is dropped.
        marker(vec![range(0, 125, 140, 15)], false, 0),
        // A delta is said and did not come.
        marker(vec![range(0, 140, 150, 10)], false, 1),
        marker(vec![range(0, 150, 160, 10)], false, 0),
    ];
    run(&mut judge, &flushes);
    let found = account(&[judge.state()]);
    let first = of(&found, 0);
    assert_eq!(first.missing.newest, [[110, 120], [130, 150]]);
    assert_eq!((first.missing.offsets, first.missing.ranges, first.doubled), (30, 2, 15));
    assert_eq!((first.records, first.not_records), (30, Some(0)));
    assert!(!found.adds_up && !first.adds_up && of(&found, 1).adds_up);
}

#[test]
fn a_flush_that_is_dropped_for_one_source_is_missing_from_the_others() {
    let mut judge = started();
    run(&mut judge, &[marker(vec![range(0, 100, 110, 10)], false, 0)]);
    run(&mut judge, &[marker(vec![range(0, 100, 110, 10), range(1, 0, 8, 8)], false, 0)]);
    let found = account(&[judge.state()]);
    assert_eq!((of(&found, 0).doubled, of(&found, 0).missing.offsets), (10, 0));
    assert_eq!((of(&found, 1).records, &of(&found, 1).missing.newest[..]), (0, &[[0, 8]][..]));
}

#[test]
fn holes_are_listed_up_to_a_bound_and_counted_beyond_it() {
    let mut judge = started();
    let holes: Vec<TallyRecord> =
        (0..150).map(|n| marker(vec![range(1, 10 * n + 5, 10 * n + 10, 5)], false, 0)).collect();
    run(&mut judge, &holes);
    let found = account(&[judge.state()]);
    let missing = &of(&found, 1).missing;
    assert_eq!((missing.ranges, missing.offsets, missing.newest.len()), (150, 750, MAX_RANGES));
    assert_eq!((missing.newest[0], missing.newest[99]), ([500, 505], [1_490, 1_495]));
}

#[test]
fn accounts_survive_a_restart_and_merge_partitions_are_read_together() {
    let mut judge = started();
    run(&mut judge, &[marker(vec![range(0, 105, 110, 5)], false, 0)]);
    let stored = judge.state();
    let mut again = Judge::restore(CONFIG, watch(), BTreeSet::from([source(0), source(1)]), &stored);
    for offset in stored.replay_from..stored.applied {
        again.skip(offset);
    }
    assert_eq!(again.state().sources, stored.sources);
    // Another merge partition has come further and has no hole of its own.
    let mut other = started();
    run(
        &mut other,
        &[marker(vec![range(0, 100, 110, 10)], false, 0), marker(vec![range(0, 110, 120, 10)], false, 0)],
    );
    let found = account(&[stored, other.state()]);
    let first = of(&found, 0);
    assert_eq!((first.next, first.records, first.not_records), (Some(120), 20, Some(0)));
    assert_eq!((&first.missing.newest[..], found.adds_up), (&[[100, 105]][..], false));
}
