//! Records as they are read back from topics: decoded, and refused where their numbers cannot be true.
//!
//! Whoever may write to Tidegate's own topics may write anything there. What passes here can be added up and
//! compared without an overflow, however it was made.

use super::record::{
    Counts, Delta, FORMAT, Joins, Marker, PaneRecord, SourceRange, TallyBody, TallyRecord, Weight,
};
use crate::cells::Sums;
use prost::Message;

/// Event times and clocks lie within so many milliseconds of 1970: a quarter of a million years.
pub const MAX_TIME_MS: i64 = 1 << 53;
/// The largest offset.
pub const MAX_OFFSET: i64 = 1 << 62;
/// The largest count; every sum stops there. Doubles hold all whole numbers up to it.
pub const MAX_COUNT: u64 = 1 << 53;
/// Kafka's bound on a topic's name.
const MAX_TOPIC: usize = 249;
/// A topic's id takes 22 or 36 characters.
const MAX_UUID: usize = 64;

/// Why a record is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("it cannot be decoded: {0}")]
    Unreadable(#[from] prost::DecodeError),
    #[error("it is of format {0}, and this program reads {FORMAT}; upgrade first")]
    Format(u32),
    #[error("it holds nothing that is known here")]
    Empty,
    #[error("its {0} cannot be true")]
    OutOfRange(&'static str),
}

impl RecordError {
    /// How metrics name it.
    pub fn reason(&self) -> &'static str {
        match self {
            RecordError::Unreadable(_) => "unreadable",
            RecordError::Format(_) => "format",
            RecordError::Empty => "empty",
            RecordError::OutOfRange(_) => "out_of_range",
        }
    }
}

/// `Err` names the field when `holds` does not hold.
pub(crate) fn demand(holds: bool, field: &'static str) -> Result<(), RecordError> {
    if holds { Ok(()) } else { Err(RecordError::OutOfRange(field)) }
}

pub(crate) fn is_time(time: i64) -> bool {
    (-MAX_TIME_MS..=MAX_TIME_MS).contains(&time)
}

pub(crate) fn is_offset(offset: i64) -> bool {
    (0..=MAX_OFFSET).contains(&offset)
}

/// A share of the traffic, 0 to 1.
pub(crate) fn is_weight(weight: f64) -> bool {
    (0.0..=1.0).contains(&weight)
}

pub(crate) fn demand_format(format: u32) -> Result<(), RecordError> {
    if format == FORMAT { Ok(()) } else { Err(RecordError::Format(format)) }
}

/// The sum, or the largest count where that is exceeded. Both are at most [`MAX_COUNT`].
pub fn add_counts_up(left: u64, right: u64) -> u64 {
    left.saturating_add(right).min(MAX_COUNT)
}

impl TallyRecord {
    /// Decodes a record of `tidegate.tallies`.
    ///
    /// # Errors
    /// When it cannot be decoded, is of another format, or holds numbers that cannot be true.
    pub fn read(payload: &[u8]) -> Result<TallyRecord, RecordError> {
        let record = TallyRecord::decode(payload)?;
        demand_format(record.format)?;
        match &record.body {
            Some(TallyBody::Delta(delta)) => check_delta(delta)?,
            Some(TallyBody::Marker(marker)) => check_marker(marker)?,
            Some(TallyBody::Joins(joins)) => check_joins(joins)?,
            Some(TallyBody::Weight(weight)) => check_weight(weight)?,
            None => return Err(RecordError::Empty),
        }
        Ok(record)
    }
}

impl PaneRecord {
    /// Decodes a record of `tidegate.panes`.
    ///
    /// # Errors
    /// As [`TallyRecord::read`].
    pub fn read(payload: &[u8]) -> Result<PaneRecord, RecordError> {
        let record = PaneRecord::decode(payload)?;
        demand_format(record.format)?;
        // The pane that holds the earliest time starts before it.
        demand(is_time(record.start / 2) && is_time(record.pane_len), "time")?;
        record.counts.as_ref().map_or(Ok(()), check_counts)?;
        record.roles.iter().try_for_each(|roles| {
            check_events([roles.stable, roles.canary, roles.unset])?;
            let matured = roles.matured.as_ref();
            demand(matured.is_none_or(|one| is_time(one.start / 2) && is_time(one.end / 2)), "time")
        })?;
        Ok(record)
    }
}

fn check_delta(delta: &Delta) -> Result<(), RecordError> {
    demand(is_time(delta.pane_start) && is_time(delta.pane_len), "pane")?;
    delta.counts.as_ref().map_or(Ok(()), check_counts)
}

/// One cell for every request, or one score and one bucket.
fn check_joins(joins: &Joins) -> Result<(), RecordError> {
    demand(is_time(joins.pane_start) && is_time(joins.pane_len), "pane")?;
    let (answers, scores) = (joins.answers.len(), joins.scores.len());
    demand(answers == 0 || scores == 0, "answers")?;
    demand(joins.answered.len() == answers + scores && joins.buckets.len() == scores, "requests")?;
    demand(joins.labelled.len() == joins.labels.len(), "requests")
}

/// Every row is in a cell, missing, of another type, or not a number.
fn check_counts(counts: &Counts) -> Result<(), RecordError> {
    let in_cells = counts.cells.iter().skip(1).step_by(2).copied();
    let known = in_cells.chain([counts.missing, counts.type_errors]).fold(0, u64::saturating_add);
    let units = counts.units.iter().skip(1).step_by(2).copied().fold(0, u64::saturating_add);
    let parts = [known, units, counts.out_of_range, counts.non_finite, counts.summed];
    demand(Sums::decode(&counts.sums, counts.summed).is_ok(), "sums")?;
    demand(counts.rows <= MAX_COUNT && parts.iter().all(|part| *part <= counts.rows), "counts")
}

fn check_events(events: [u64; 3]) -> Result<(), RecordError> {
    demand(events.iter().all(|count| *count <= MAX_COUNT), "events")
}

fn check_marker(marker: &Marker) -> Result<(), RecordError> {
    demand(is_time(marker.wall_clock), "clock")?;
    demand((0..=MAX_TIME_MS).contains(&marker.flush_interval), "flush interval")?;
    marker.sources.iter().try_for_each(check_range)?;
    marker.roles.iter().try_for_each(|roles| {
        demand(is_time(roles.pane_start), "pane")?;
        check_events([roles.stable, roles.canary, roles.unset])
    })
}

fn check_weight(weight: &Weight) -> Result<(), RecordError> {
    demand(is_time(weight.since), "time")?;
    demand(is_weight(weight.canary_weight), "weight")
}

fn check_range(range: &SourceRange) -> Result<(), RecordError> {
    demand(range.topic.len() <= MAX_TOPIC && range.topic_uuid.len() <= MAX_UUID, "topic")?;
    demand(is_offset(range.from) && is_offset(range.to), "offsets")?;
    demand(range.watermark.is_none_or(is_time), "watermark")?;
    demand(range.outcomes.iter().all(|outcome| outcome.count <= MAX_COUNT), "outcomes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(change: impl FnOnce(&mut Marker)) -> Vec<u8> {
        let sources = vec![SourceRange { to: 5, ..SourceRange::default() }];
        let mut marker = Marker { sources, ..Marker::default() };
        change(&mut marker);
        TallyRecord { format: FORMAT, body: Some(TallyBody::Marker(marker)) }.encode_to_vec()
    }

    fn delta(counts: Counts) -> Vec<u8> {
        let delta = Delta { counts: Some(counts), ..Delta::default() };
        TallyRecord { format: FORMAT, body: Some(TallyBody::Delta(delta)) }.encode_to_vec()
    }

    fn refused(payload: &[u8]) -> RecordError {
        TallyRecord::read(payload).expect_err("refused")
    }

    #[test]
    fn what_cannot_be_true_is_refused_by_name() {
        assert!(TallyRecord::read(&marker(|_| {})).is_ok());
        let out = |name| RecordError::OutOfRange(name);
        assert_eq!(refused(&marker(|one| one.wall_clock = i64::MAX)), out("clock"));
        assert_eq!(refused(&marker(|one| one.sources[0].to = i64::MAX)), out("offsets"));
        assert_eq!(refused(&marker(|one| one.sources[0].from = -1)), out("offsets"));
        assert_eq!(refused(&marker(|one| one.sources[0].watermark = Some(i64::MIN))), out("watermark"));
        assert_eq!(refused(&marker(|one| one.sources[0].topic = "x".repeat(250))), out("topic"));
        assert_eq!(refused(&marker(|one| one.flush_interval = -1)), out("flush interval"));
        let counts = Counts { rows: 3, missing: 1, cells: vec![0, 2], ..Counts::default() };
        assert!(TallyRecord::read(&delta(counts.clone())).is_ok());
        assert_eq!(refused(&delta(Counts { rows: 2, ..counts.clone() })), out("counts"));
        assert_eq!(refused(&delta(Counts { rows: u64::MAX, ..counts.clone() })), out("counts"));
        let sums = |sums: Vec<u8>, summed| refused(&delta(Counts { sums, summed, ..counts.clone() }));
        assert_eq!(sums(vec![0; 160], 4), out("counts"));
        assert_eq!(sums(vec![0; 16], 2), out("sums"));
        assert_eq!(sums(vec![0xff; 160], 0), out("sums"));
    }

    #[test]
    fn a_weight_is_a_share_from_a_time_on() {
        let read = |canary_weight, since| {
            let weight = Weight { canary_weight, since, ..Weight::default() };
            TallyRecord::read(
                &TallyRecord { format: FORMAT, body: Some(TallyBody::Weight(weight)) }.encode_to_vec(),
            )
        };
        assert!([0.0, 0.25, 1.0].into_iter().all(|weight| read(weight, -1).is_ok()));
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(read(wrong, 0), Err(RecordError::OutOfRange("weight")));
        }
        assert_eq!(read(0.5, i64::MAX), Err(RecordError::OutOfRange("time")));
    }

    #[test]
    fn other_formats_and_empty_records_are_told_apart_from_unreadable_ones() {
        let newer = TallyRecord { format: FORMAT + 1, ..TallyRecord::default() };
        let reasons = [newer.encode_to_vec(), vec![8, FORMAT as u8], vec![0xff], Vec::new()]
            .map(|payload| refused(&payload).reason());
        assert_eq!(reasons, ["format", "empty", "unreadable", "format"]);
    }

    #[test]
    fn sums_stop_at_the_largest_count() {
        assert_eq!(add_counts_up(1, 2), 3);
        assert_eq!(add_counts_up(MAX_COUNT, MAX_COUNT), MAX_COUNT);
    }
}
