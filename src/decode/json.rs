//! Tidegate's own JSON events (schemas/event.schema.json) straight into Arrow builders, in two tiers: events
//! that look like earlier ones are read from their text (`speculative.rs`), the others from simd-json's tape.
//! The tape has the last word: whatever the first tier is not sure of goes there, so the two tiers cannot
//! differ in what they accept, and only the second one refuses.
//!
//! - The last of equal keys wins, as in `serde_json::Value`. Nested objects flatten with dots; `{"a.b": 1}`
//!   and `{"a": {"b": 1}}` name the same series, and a key replaces all that stands below its path.
//! - An object or array is a type error of the series named like its key.
//! - A number beyond the range of a double (`1e400`) makes the event unreadable; JSON knows no NaN or
//!   infinity, and a string that says so is a type error.

use super::envelope::{Envelope, Wrong};
use super::speculative::Speculation;
use super::version::VersionSections;
use super::{Accepted, Arrival, Rejection, Table, TimeBounds};
use crate::baseline::{VersionIndex, Watch};
use crate::event::{EventTime, Outcome};
use hashbrown::HashMap;
use simd_json::{Buffers, INPUT_PADDING, Node, Tape};
use std::mem::take;
use std::sync::Arc;

/// The longest event that is read, in bytes.
pub const MAX_EVENT_BYTES: usize = 10 * 1024 * 1024;
/// Buffers that an event beyond this size has grown are not kept.
const LARGE: usize = 256 * 1024;
/// The deepest nesting of objects and arrays that is read; the event's own object is the first level.
pub const MAX_DEPTH: usize = 128;

/// Decodes events one by one into columns, until [`Decoder::take`] hands them over. Allocates nothing per
/// event once its buffers have grown to the size of the traffic, except for nested objects and rejections.
pub struct Decoder {
    bounds: TimeBounds,
    /// Model → version → place in `sections`.
    models: HashMap<String, HashMap<String, usize>>,
    sections: Vec<VersionSections>,
    /// Where the last event went: the next one is mostly of the same model and version.
    last: usize,
    /// `None`: the tape decodes everything.
    speculation: Option<Speculation>,
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

/// What a readable event says about itself.
struct Head {
    sections: usize,
    accepted: Accepted,
}

impl Decoder {
    /// A decoder for what is watched. Models are found by name only; of two with one name the first counts.
    pub fn new(watch: Arc<Watch>, bounds: TimeBounds) -> Decoder {
        let mut models: HashMap<String, HashMap<String, usize>> = HashMap::new();
        let mut sections = Vec::new();
        for (model, watched) in watch.models.iter().enumerate() {
            if models.contains_key(&watched.id.name) {
                continue;
            }
            let mut versions = HashMap::new();
            for (version, one) in watched.versions.iter().enumerate() {
                let index = VersionIndex { model: model as u32, version: version as u32 };
                versions.entry(one.version.clone()).or_insert(sections.len());
                sections.push(VersionSections::new(watched, index, one));
            }
            models.insert(watched.id.name.clone(), versions);
        }
        Decoder {
            bounds,
            models,
            sections,
            last: 0,
            speculation: Some(Speculation::default()),
            scratch: Vec::new(),
            buffers: Buffers::with_max_depth(4096, MAX_DEPTH),
            tape: Tape(Vec::new()),
        }
    }

    /// The same decoder without its first tier: slower, otherwise no different. For tests and measurements.
    #[must_use]
    pub fn without_speculation(mut self) -> Decoder {
        self.speculation = None;
        self
    }

    /// The same decoder with a first tier that never stops trying.
    #[cfg(test)]
    pub(super) fn without_pauses(mut self) -> Decoder {
        self.speculation = Some(Speculation::without_pauses());
        self
    }

    /// Events so far that were decoded by the shape of earlier ones.
    pub fn speculated(&self) -> u64 {
        self.speculation.as_ref().map_or(0, Speculation::hits)
    }

    /// Decodes one event into the builders. A rejected event leaves nothing behind.
    pub fn push(&mut self, payload: &[u8], arrival: Arrival) -> Result<Accepted, Rejection> {
        check_size(payload).map_err(rejection)?;
        if let Some(accepted) = self.push_by_shape(payload, arrival) {
            return Ok(accepted);
        }
        let accepted = self.push_by_tape(payload, arrival)?;
        if let Some(speculation) = &mut self.speculation {
            speculation.learn(payload, self.last, &self.sections[self.last]);
        }
        Ok(accepted)
    }

    /// The first tier. `None`: it is not sure, and has left nothing behind.
    fn push_by_shape(&mut self, payload: &[u8], arrival: Arrival) -> Option<Accepted> {
        let speculation = self.speculation.as_mut()?;
        let bounds = self.bounds;
        let time_of = |own: Option<EventTime>| {
            let time = own.or(arrival.record_time).unwrap_or(arrival.now);
            check_bounds(time, arrival.now, bounds).ok().map(|()| time)
        };
        speculation.read(payload, &mut self.sections, time_of)
    }

    /// The second tier.
    fn push_by_tape(&mut self, payload: &[u8], arrival: Arrival) -> Result<Accepted, Rejection> {
        // The scratch and the tape that borrows from it leave the decoder for the time of the call.
        let mut scratch = take(&mut self.scratch);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        scratch.clear();
        scratch.extend_from_slice(payload);
        scratch.resize(payload.len() + INPUT_PADDING, b' ');
        let parsed = simd_json::fill_tape_padded(&mut scratch, payload.len(), &mut self.buffers, &mut tape);
        let result = match parsed {
            Ok(()) => self.push_tape(&tape.0, arrival).map_err(rejection),
            Err(error) => Err(unreadable(&error)),
        };
        self.tape = tape.reset();
        self.scratch = scratch;
        if payload.len() > LARGE {
            self.release();
        }
        result
    }

    /// Lets go of what a large event has made the buffers grow to: many times its size.
    fn release(&mut self) {
        self.scratch = Vec::new();
        self.tape = Tape(Vec::new());
        self.buffers = Buffers::with_max_depth(4096, MAX_DEPTH);
    }

    fn push_tape(&mut self, tape: &[Node<'_>], arrival: Arrival) -> Result<Accepted, Wrong> {
        let envelope = Envelope::read(tape)?;
        let head = self.read_head(&envelope, arrival)?;
        self.last = head.sections;
        let sections = &mut self.sections[head.sections];
        if let Some(features) = envelope.features {
            sections.features.append(&head.accepted, features);
        }
        if let Some(predictions) = envelope.predictions {
            sections.predictions.append(&head.accepted, predictions);
        }
        if sections.labels.are_read(envelope.labels.is_some(), envelope.predictions.is_some()) {
            sections.labels.start();
            envelope.labels.into_iter().for_each(|labels| sections.labels.read_tape(labels));
            let predictions = envelope.predictions.map(|_| &sections.predictions);
            sections.labels.keep(&head.accepted, envelope.request(), predictions);
        }
        Ok(head.accepted)
    }

    /// Everything that can reject an event.
    fn read_head(&self, envelope: &Envelope<'_, '_>, arrival: Arrival) -> Result<Head, Wrong> {
        let sections = self.find_sections(envelope.model()?, envelope.version()?)?;
        envelope.check_content()?;
        let time = envelope.time()?.or(arrival.record_time).unwrap_or(arrival.now);
        check_bounds(time, arrival.now, self.bounds)?;
        let accepted = Accepted {
            version: self.sections[sections].version,
            role: envelope.role(),
            time,
            unit: envelope.unit(),
            served: envelope.served(),
            moves_watermark: envelope.features.is_some() || envelope.predictions.is_some(),
            foreign_namespace: envelope.is_foreign(&self.sections[sections].namespace),
        };
        Ok(Head { sections, accepted })
    }

    fn find_sections(&self, model: &str, version: &str) -> Result<usize, Wrong> {
        let last = self.sections.get(self.last);
        if last.is_some_and(|last| last.model_name == model && last.version_name == version) {
            return Ok(self.last);
        }
        let versions = self.models.get(model).ok_or((Outcome::UnknownModel, "the model is not watched"))?;
        let place = versions.get(version).ok_or((Outcome::UnknownVersion, "the version is not watched"))?;
        Ok(*place)
    }

    /// Drains the builders: the tables that have rows, in the order of the watch, features first.
    pub fn take(&mut self) -> Vec<Table> {
        self.sections.iter_mut().flat_map(VersionSections::finish).collect()
    }

    /// Rows that wait in the builders of all tables, and labels without a row.
    pub fn pending_rows(&self) -> usize {
        let rows = |one: &VersionSections| one.features.rows() + one.predictions.rows() + one.labels.alone();
        self.sections.iter().map(rows).sum()
    }
}

pub(super) fn check_size(payload: &[u8]) -> Result<(), Wrong> {
    if payload.is_empty() {
        return Err((Outcome::Unreadable, "empty"));
    }
    if payload.len() > MAX_EVENT_BYTES {
        return Err((Outcome::Unreadable, "longer than 10 MiB"));
    }
    Ok(())
}

fn check_bounds(time: EventTime, now: EventTime, bounds: TimeBounds) -> Result<(), Wrong> {
    if time.0.saturating_sub(now.0) > bounds.max_future_ms {
        return Err((Outcome::TimeOutOfBounds, "event time is too far in the future"));
    }
    if bounds.max_past_ms.is_some_and(|past| now.0.saturating_sub(time.0) > past) {
        return Err((Outcome::TimeOutOfBounds, "event time is too far in the past"));
    }
    Ok(())
}

fn rejection((outcome, reason): Wrong) -> Rejection {
    Rejection { outcome, reason: reason.to_owned() }
}

fn unreadable(error: &simd_json::Error) -> Rejection {
    // The kind only: the error's own text holds a character of the payload.
    let reason = format!("not JSON: {:?} at byte {}", error.error(), error.index());
    Rejection { outcome: Outcome::Unreadable, reason }
}
