//! The first tier of the decoder: reads an event by the shape of an earlier one.
//!
//! It accepts or it abstains. It abstains as soon as a run of the shape is not where it should be, a value is
//! wrong or unusual, or the event would be refused; the row is then cleared and the tape parser decides. So
//! nothing depends on it but the time an event takes.
//!
//! Trying costs time too. The shapes that fitted last stand in front, and an event may waste about its own
//! length on shapes that do not fit. When more than twice as much text is walked in vain as is read over a
//! [`WINDOW`] (the tape takes about three times as long), trying stops for a while: first for [`FIRST_PAUSE`]
//! events, then for twice as many each time that it was no use again.

use super::learn::learn;
use super::number::{self, Number};
use super::scan::{plain_string, skip_value, skip_word};
use super::shape::{Shape, Value};
use super::version::VersionSections;
use super::{Accepted, Latency, Served};
use crate::event::{EventTime, NO_UNIT, Role, bucket_of, double_hash, integer_hash, unit_hash};
use std::ops::Range;

/// The shapes that are kept: a few producers times a few versions.
const MAX_SHAPES: usize = 8;
/// Events after which the use of trying is looked at.
const WINDOW: u32 = 1_024;
/// Shapes that are learnt at most during a window: learning takes longer than decoding.
const MAX_LEARNT: u32 = 16;
/// Events that are not tried after the first window that was no use, and at most.
const FIRST_PAUSE: u32 = 8 * WINDOW;
const LONGEST_PAUSE: u32 = 256 * WINDOW;
/// What it costs to try a shape at all, in bytes of text walked.
const TRIAL: usize = 32;

/// The shapes, and whether they are of use.
pub(super) struct Speculation {
    /// The one that fitted last comes first.
    shapes: Vec<Shape>,
    hits: u64,
    /// Events left in this window.
    left: u32,
    /// Learnt in this window.
    learnt: u32,
    /// Bytes in this window that were read, and that were walked in vain.
    read: usize,
    wasted: usize,
    /// Events that are not tried any more before the next window.
    pause: u32,
    next_pause: u32,
    longest_pause: u32,
}

impl Default for Speculation {
    fn default() -> Speculation {
        Speculation {
            shapes: Vec::with_capacity(MAX_SHAPES),
            hits: 0,
            left: WINDOW,
            learnt: 0,
            read: 0,
            wasted: 0,
            pause: 0,
            next_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
        }
    }
}

/// What the top level of an event says besides its features and predictions.
#[derive(Default)]
struct Head<'a> {
    time: Option<EventTime>,
    role: Option<Role>,
    foreign_namespace: bool,
    unit: Option<Unit<'a>>,
    request_id: Option<Unit<'a>>,
    latency: Latency,
    failed: bool,
    /// Where its labels stand.
    labels: Option<Range<usize>>,
}

/// A unit that is not hashed yet: a request's id is of use only where there is no unit, or where labels are joined.
#[derive(Clone, Copy)]
enum Unit<'a> {
    Text(&'a str),
    Hash(u64),
}

impl Unit<'_> {
    #[inline]
    fn hash(self) -> u64 {
        match self {
            Unit::Text(text) => unit_hash(text.as_bytes()),
            Unit::Hash(hash) => hash,
        }
    }
}

/// No event of the shape: how far it was walked, in bytes and in steps.
struct Misfit {
    at: usize,
    steps: usize,
}

impl Speculation {
    /// One that goes on trying, however little it is of use.
    #[cfg(test)]
    pub(super) fn without_pauses() -> Speculation {
        Speculation { longest_pause: 0, ..Speculation::default() }
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits
    }

    /// Reads an event into the builders of its version, if it has a known shape. `time_of` makes the event
    /// time of the event's own one; `None`: it is out of bounds.
    pub(super) fn read(
        &mut self,
        payload: &[u8],
        sections: &mut [VersionSections],
        time_of: impl Fn(Option<EventTime>) -> Option<EventTime>,
    ) -> Option<Accepted> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        self.left -= 1;
        if self.left == 0 {
            self.end_window();
        }
        let text = simdutf8::basic::from_utf8(payload).ok()?;
        let mut walked = 0;
        for index in 0..self.shapes.len() {
            let shape = &self.shapes[index];
            match read_by(shape, text, &mut sections[shape.version], &time_of) {
                Ok(accepted) => {
                    self.shapes[..=index].rotate_right(1);
                    self.hits += 1;
                    self.read += text.len();
                    return Some(accepted);
                }
                Err(misfit) => {
                    walked += misfit.at;
                    self.wasted += misfit.at + TRIAL;
                }
            }
            if walked > text.len() {
                break;
            }
        }
        None
    }

    /// Learns from an event that no shape fitted and that the tape parser has accepted.
    pub(super) fn learn(&mut self, payload: &[u8], version: usize, sections: &VersionSections) {
        if self.pause > 0 || self.learnt == MAX_LEARNT {
            return;
        }
        self.learnt += 1;
        let Some(shape) = std::str::from_utf8(payload).ok().and_then(|text| learn(text, version, sections))
        else {
            return;
        };
        // It may be known: not every event is tried with all shapes, nor has only values that are plain.
        if let Some(known) = self.shapes.iter().position(|known| *known == shape) {
            self.shapes[..=known].rotate_right(1);
            return;
        }
        self.shapes.truncate(MAX_SHAPES - 1);
        self.shapes.insert(0, shape);
    }

    fn end_window(&mut self) {
        if self.wasted > 2 * self.read {
            self.pause = self.next_pause.min(self.longest_pause);
            self.next_pause = (2 * self.next_pause).min(LONGEST_PAUSE);
        } else {
            self.next_pause = FIRST_PAUSE;
        }
        (self.left, self.learnt, self.read, self.wasted) = (WINDOW, 0, 0, 0);
    }
}

/// Reads an event of `shape` into a new row, or leaves the builders as they were.
fn read_by(
    shape: &Shape,
    text: &str,
    sections: &mut VersionSections,
    time_of: impl Fn(Option<EventTime>) -> Option<EventTime>,
) -> Result<Accepted, Misfit> {
    let mut head = Head::default();
    let result = walk(shape, text, sections, &mut head).and_then(|()| {
        let carries_something = shape.has_features || shape.has_predictions || head.labels.is_some();
        let time = time_of(head.time).filter(|_| carries_something);
        let labels = read_labels(shape, text, sections, &head);
        time.zip(labels).map(|(time, ())| time).ok_or(Misfit { at: text.len(), steps: shape.steps.len() })
    });
    let time = match result {
        Ok(time) => time,
        Err(misfit) => {
            if misfit.steps > shape.first_series {
                sections.features.drop_row();
                sections.predictions.drop_row();
            }
            return Err(misfit);
        }
    };
    let accepted = Accepted {
        version: sections.version,
        role: head.role,
        time,
        served: Served {
            answered: shape.has_predictions || head.failed,
            failed: head.failed,
            latency: head.latency,
        },
        unit: head.unit.or(head.request_id).map_or(NO_UNIT, |unit| bucket_of(unit.hash())),
        moves_watermark: shape.has_features || shape.has_predictions,
        foreign_namespace: head.foreign_namespace,
    };
    if shape.has_features {
        sections.features.keep_row(&accepted);
    }
    if shape.has_predictions {
        sections.predictions.keep_row(&accepted);
    }
    if sections.labels.are_read(head.labels.is_some(), shape.has_predictions) {
        let request = head.request_id.map(Unit::hash);
        sections.labels.keep(&accepted, request, shape.has_predictions.then_some(&sections.predictions));
    }
    Ok(accepted)
}

/// Reads the labels of an event. `None`: in doubt.
fn read_labels(shape: &Shape, text: &str, sections: &mut VersionSections, head: &Head<'_>) -> Option<()> {
    if !sections.labels.are_read(head.labels.is_some(), shape.has_predictions) {
        return Some(());
    }
    sections.labels.start();
    head.labels.as_ref().map_or(Some(()), |at| sections.labels.read(&text[at.clone()]))
}

fn walk<'a>(
    shape: &Shape,
    text: &'a str,
    sections: &mut VersionSections,
    head: &mut Head<'a>,
) -> Result<(), Misfit> {
    let bytes = text.as_bytes();
    let mut at = 0;
    for (steps, step) in shape.steps.iter().enumerate() {
        if !shape.text.is_at(&step.run, bytes, at) {
            if step.may_be_absent {
                continue;
            }
            return Err(Misfit { at, steps });
        }
        at += step.run.len();
        let end = match step.value {
            Value::Series(of, column) => sections.section_mut(of).read(column, text, at),
            Value::Ignored => skip_value(bytes, at),
            _ => head.read(step.value, text, at, &sections.namespace),
        };
        at = end.ok_or(Misfit { at, steps: steps + 1 })?;
    }
    let fits = shape.text.is_at(&shape.tail, bytes, at) && at + shape.tail.len() == bytes.len();
    fits.then_some(()).ok_or(Misfit { at, steps: shape.steps.len() })
}

impl<'a> Head<'a> {
    /// Reads a value of the top level; where it ends.
    fn read(&mut self, value: Value, text: &'a str, at: usize, namespace: &str) -> Option<usize> {
        let bytes = text.as_bytes();
        if bytes.get(at) == Some(&b'n') {
            return skip_word(bytes, at, b"null");
        }
        match value {
            Value::Timestamp => {
                let (time, end) = read_time(text, at)?;
                self.time = Some(time);
                Some(end)
            }
            Value::Role => {
                let (role, end) = plain_string(text, at)?;
                self.role = [Role::Stable, Role::Canary].into_iter().find(|known| known.as_str() == role);
                Some(end)
            }
            Value::Namespace => {
                let (found, end) = plain_string(text, at)?;
                self.foreign_namespace = found != namespace;
                Some(end)
            }
            Value::Unit => {
                let (unit, end) = read_unit(text, at)?;
                self.unit = unit;
                Some(end)
            }
            Value::RequestId => {
                let (unit, end) = read_unit(text, at)?;
                self.request_id = unit;
                Some(end)
            }
            Value::Latency => match bytes.get(at)? {
                b'-' | b'0'..=b'9' => {
                    let (latency, end) = number::read(bytes, at)?;
                    self.latency = Latency::of(latency.as_f64());
                    Some(end)
                }
                _ => {
                    self.latency = Latency::Unusable;
                    skip_value(bytes, at)
                }
            },
            Value::Error => {
                let end = skip_value(bytes, at)?;
                self.failed = match bytes[at] {
                    b'-' | b'0'..=b'9' => number::read(bytes, at)?.0.as_f64() != 0.0,
                    _ => !matches!(&text[at..end], "false" | "\"\""),
                };
                Some(end)
            }
            Value::Labels => {
                let end = (bytes.get(at) == Some(&b'{')).then(|| skip_value(bytes, at))??;
                self.labels = Some(at..end);
                Some(end)
            }
            Value::Series(..) | Value::Ignored => None,
        }
    }
}

/// A unit, if the value is one, and where it ends.
fn read_unit(text: &str, at: usize) -> Option<(Option<Unit<'_>>, usize)> {
    let bytes = text.as_bytes();
    match bytes.get(at)? {
        b'"' => plain_string(text, at).map(|(unit, end)| (Some(Unit::Text(unit)), end)),
        b'-' | b'0'..=b'9' => number::read(bytes, at).map(|(number, end)| match number {
            Number::Integer(unit) => (Some(Unit::Hash(integer_hash(i128::from(unit)))), end),
            Number::Double(unit) => (double_hash(unit).map(Unit::Hash), end),
        }),
        _ => skip_value(bytes, at).map(|end| (None, end)),
    }
}

fn read_time(text: &str, at: usize) -> Option<(EventTime, usize)> {
    if let Some((time, end)) = plain_string(text, at) {
        return Some((EventTime::parse_rfc3339(time).ok()?, end));
    }
    let (number, end) = number::read(text.as_bytes(), at)?;
    let time = match number {
        Number::Integer(epoch) => EventTime::from_epoch_integer(epoch),
        Number::Double(epoch) => EventTime::from_epoch(epoch).ok()?,
    };
    Some((time, end))
}
