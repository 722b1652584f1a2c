//! Valid records with some of their fields changed, and the bytes of records damaged.

use crate::event::fuzz::{damage, edge};
use crate::judge::weights::WeightChange;
use crate::judge::{MergeState, OffsetRange, PaneRange};
use crate::tally::checked::MAX_COUNT;
use crate::tally::record::{
    Counts, Delta, Joins, Marker, OutcomeCount, PaneRecord, RoleCount, ScoreCounts, ServiceCounts,
    SourceRange, TallyBody, TallyRecord, Weight,
};
use fastrand::Rng;
use prost::Message;

/// Bytes that mean something in Protocol Buffers: tags of low fields, long and short lengths, ends of varints.
const MARKS: &[u8] = &[0x00, 0x01, 0x08, 0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x32, 0x40, 0x52, 0x7f, 0x80, 0xff];

/// The bytes of a record, up to three places of them damaged.
pub(super) fn damaged(random: &mut Rng, record: &impl Message) -> Vec<u8> {
    let mut bytes = record.encode_to_vec();
    for _ in 0..random.u8(1..4) {
        damage(random, &mut bytes, MARKS);
    }
    bytes
}

pub(super) fn noise(random: &mut Rng) -> Vec<u8> {
    (0..random.usize(..64)).map(|_| random.u8(..)).collect()
}

/// A number near what stands there, or an edge.
fn near(random: &mut Rng, number: i64) -> i64 {
    match random.u8(..3) {
        0 => number.wrapping_add(random.i64(-3..=3)),
        1 => number.wrapping_add(1 << random.u8(..40)),
        _ => edge(random),
    }
}

fn name(random: &mut Rng, name: &mut String) {
    match random.u8(..4) {
        0 => name.clear(),
        1 => name.push('x'),
        2 => *name = "ภาษา|\u{0}".to_owned(),
        _ => *name = random.u16(..).to_string(),
    }
}

fn count(random: &mut Rng) -> u64 {
    match random.u8(..4) {
        0 => MAX_COUNT - random.u64(..3),
        1 => MAX_COUNT / 2 + random.u64(..3),
        2 => random.u64(..1_000),
        _ => edge(random) as u64,
    }
}

fn twist_counts(random: &mut Rng, counts: &mut Counts) {
    match random.u8(..10) {
        // As large as one may be, and still a whole.
        0 | 1 => {
            counts.rows = MAX_COUNT;
            let cell = random.u64(..7);
            counts.cells = vec![cell, MAX_COUNT - random.u64(..5)];
            (counts.missing, counts.type_errors) = (0, 0);
            counts.units = vec![random.u64(..256), MAX_COUNT];
        }
        2 => counts.rows = count(random),
        3 => counts.missing = count(random),
        4 => counts.type_errors = count(random),
        5 => counts.out_of_range = count(random),
        6 => counts.non_finite = count(random),
        7 => counts.cells = (0..random.usize(..9)).map(|_| count(random)).collect(),
        8 => counts.units = (0..random.usize(..7)).map(|_| count(random)).collect(),
        _ => counts.cells.push(edge(random) as u64),
    }
}

fn twist_delta(random: &mut Rng, delta: &mut Delta) {
    match random.u8(..10) {
        0 => delta.range_id = random.u8(..9).to_string(),
        1 => name(random, &mut delta.model),
        2 => name(random, &mut delta.version),
        3 => name(random, &mut delta.series),
        4 => delta.of = random.u32(..4),
        5 => delta.grid_hash ^= 1,
        6 => delta.pane_start = near(random, delta.pane_start),
        7 => delta.pane_len = near(random, delta.pane_len),
        8 => delta.counts = None,
        _ => delta.counts.iter_mut().for_each(|counts| twist_counts(random, counts)),
    }
}

fn twist_joins(random: &mut Rng, joins: &mut Joins) {
    match random.u8(..10) {
        0 => joins.range_id = random.u8(..9).to_string(),
        1 => name(random, &mut joins.version),
        2 => name(random, &mut joins.output),
        3 => joins.grid_hash ^= 1,
        4 => joins.pane_start = near(random, joins.pane_start),
        5 => joins.pane_len = near(random, joins.pane_len),
        6 => joins.answers.iter_mut().chain(&mut joins.labels).for_each(|cell| *cell = random.u32(..)),
        7 => joins.answered.push(random.u64(..)),
        8 => joins.scores.iter_mut().for_each(|score| *score = f64::from_bits(random.u64(..))),
        _ => {
            joins.labelled.extend([0, u64::MAX, random.u64(..)]);
            joins.labels.extend([0, 1, random.u32(..4)]);
        }
    }
}

fn twist_range(random: &mut Rng, range: &mut SourceRange) {
    match random.u8(..10) {
        0 => name(random, &mut range.topic),
        1 => name(random, &mut range.topic_uuid),
        2 => range.partition = edge(random) as i32,
        3 => range.from = near(random, range.from),
        4 => range.to = near(random, range.to),
        5 => {
            range.from = near(random, range.from);
            range.to = range.from;
        }
        6 => range.watermark = Some(near(random, range.watermark.unwrap_or(0))),
        7 => range.watermark = None,
        8 => range.idle = !range.idle,
        _ => range.outcomes.push(OutcomeCount { outcome: "ราด".to_owned(), count: count(random) }),
    }
}

fn twist_scores(random: &mut Rng, scores: &mut ScoreCounts) {
    match random.u8(..8) {
        // As many as there may be, all of them wrong.
        0 => {
            let bucket = random.u64(..33);
            scores.cells = vec![14 * bucket, MAX_COUNT - random.u64(..3)];
            scores.probabilities = vec![bucket, scores.cells[1]];
            scores.squares = (i128::from(scores.cells[1]) << 62).to_le_bytes().to_vec();
        }
        1 => name(random, &mut scores.output),
        2 => scores.grid_hash ^= 1,
        3 => scores.cells = (0..random.usize(..9)).map(|_| count(random)).collect(),
        4 => scores.probabilities = (0..random.usize(..5)).map(|_| count(random)).collect(),
        5 => scores.squares = (0..random.usize(..49)).map(|_| random.u8(..)).collect(),
        6 => scores.unusable = count(random),
        _ => scores.cells.push(edge(random) as u64),
    }
}

fn twist_roles(random: &mut Rng, roles: &mut RoleCount) {
    match random.u8(..8) {
        0 => roles.pane_start = near(random, roles.pane_start),
        1 => roles.stable = count(random),
        2 => roles.canary = count(random),
        3 => roles.unset = count(random),
        4 => name(random, &mut roles.version),
        5 => {
            let twice = roles.scores.first().cloned();
            roles.scores.extend(twice);
        }
        6 => {
            let (answers, errors, latency_unusable) = (count(random), count(random), count(random));
            let latency = (0..2).flat_map(|_| [random.u64(..9), count(random)]).collect();
            roles.service = Some(ServiceCounts { answers, errors, latency_unusable, latency });
        }
        _ => roles.scores.iter_mut().for_each(|scores| twist_scores(random, scores)),
    }
}

fn twist_marker(random: &mut Rng, marker: &mut Marker) {
    match random.u8(..9) {
        0 => marker.range_id = random.u8(..9).to_string(),
        1 => marker.wall_clock = near(random, marker.wall_clock),
        2 => marker.n_deltas_here = count(random),
        3 => marker.init = !marker.init,
        4 => marker.flush_interval = near(random, marker.flush_interval),
        5 => marker.roles.iter_mut().for_each(|roles| twist_roles(random, roles)),
        6 => {
            let twice = marker.sources.first().cloned();
            marker.sources.extend(twice);
        }
        _ => {
            let at = random.usize(..marker.sources.len().max(1));
            marker.sources.iter_mut().skip(at).take(1).for_each(|range| twist_range(random, range));
        }
    }
}

fn twist_weight(random: &mut Rng, weight: &mut Weight) {
    match random.u8(..4) {
        0 => name(random, &mut weight.model),
        1 => weight.since = near(random, weight.since),
        2 => weight.canary_weight = f64::from_bits(random.u64(..)),
        _ => weight.canary_weight = random.f64(),
    }
}

/// Changes a field of a tally record, or the bytes of it.
pub(super) fn tally(random: &mut Rng, record: &TallyRecord) -> Vec<u8> {
    let mut record = record.clone();
    match random.u8(..40) {
        0 => return noise(random),
        1..10 => return damaged(random, &record),
        10 => record.format = random.u32(..3),
        11 => record.body = None,
        _ => {
            for _ in 0..random.u8(1..3) {
                match &mut record.body {
                    Some(TallyBody::Delta(delta)) => twist_delta(random, delta),
                    Some(TallyBody::Marker(marker)) => twist_marker(random, marker),
                    Some(TallyBody::Joins(joins)) => twist_joins(random, joins),
                    Some(TallyBody::Weight(weight)) => twist_weight(random, weight),
                    None => {}
                }
            }
        }
    }
    record.encode_to_vec()
}

/// Changes a field of a stored pane, or the bytes of it.
pub(super) fn pane(random: &mut Rng, record: &PaneRecord) -> Vec<u8> {
    let mut record = record.clone();
    match random.u8(..12) {
        0 => return damaged(random, &record),
        1 => return noise(random),
        2 => record.start = near(random, record.start),
        3 => record.pane_len = near(random, record.pane_len),
        4 => record.panes = [0, 1, 4, 16, 64, u32::MAX][random.usize(..6)],
        5 => record.filled = edge(random) as u32,
        6 => record.revision = u32::MAX - random.u32(..3),
        7 => record.complete = !record.complete,
        8 => name(random, &mut record.series),
        9 => record.roles.iter_mut().for_each(|roles| twist_roles(random, roles)),
        _ => record.counts.iter_mut().for_each(|counts| twist_counts(random, counts)),
    }
    record.encode_to_vec()
}

/// Changes a field of a partition's state, or the bytes of it.
pub(super) fn state(random: &mut Rng, state: &MergeState) -> Vec<u8> {
    let mut state = state.clone();
    match random.u8(..15) {
        0 => return damaged(random, &state),
        1 => return noise(random),
        2 => state.applied = near(random, state.applied),
        3 if random.bool() => state.joins_from = Some(near(random, state.replay_from)),
        3 => state.replay_from = near(random, state.replay_from),
        4 => state.closed_to = Some(near(random, state.closed_to.unwrap_or(0))),
        5 => state.closed_to = None,
        6 => state.clock = near(random, state.clock),
        7 => state.revised_at = near(random, state.revised_at),
        8 if random.bool() => state.joins.iter_mut().for_each(|one| {
            one.unmatured = Some(near(random, one.unmatured.unwrap_or(0)));
            one.unjoined.push(PaneRange { start: edge(random), end: edge(random) });
        }),
        8 => state.holes.push(PaneRange { start: edge(random), end: edge(random) }),
        9 => state.models.iter_mut().for_each(|span| {
            span.first = near(random, span.first);
            span.versions.iter_mut().for_each(|one| one.since = Some(near(random, one.since.unwrap_or(0))));
        }),
        10 => state.dirty.iter_mut().for_each(|one| {
            one.index = near(random, one.index);
            one.closed_to = near(random, one.closed_to);
        }),
        11 => state.replay_next.iter_mut().for_each(|one| one.next = near(random, one.next)),
        12 => state.weights.iter_mut().for_each(|one| {
            let weight = if random.bool() { random.f64() } else { f64::from_bits(random.u64(..)) };
            one.changes.push(WeightChange { since: edge(random), canary_weight: weight });
            one.changes = one.changes.repeat(random.usize(..50));
        }),
        _ => {
            let at = random.usize(..state.sources.len().max(1));
            for source in state.sources.iter_mut().skip(at).take(1) {
                match random.u8(..8) {
                    0 => source.next = Some(near(random, source.next.unwrap_or(0))),
                    1 => source.watermark = Some(near(random, source.watermark.unwrap_or(0))),
                    2 => source.last_marker = near(random, source.last_marker),
                    3 => source.flush_interval = near(random, source.flush_interval),
                    4 => source.stalled_since = Some(edge(random)),
                    5 => source.outcomes.iter_mut().for_each(|total| total.count = count(random)),
                    6 => source.missing = vec![OffsetRange { from: edge(random), to: edge(random) }; 120],
                    _ => source.missing_offsets = u64::MAX - random.u64(..3),
                }
            }
        }
    }
    state.encode_to_vec()
}
