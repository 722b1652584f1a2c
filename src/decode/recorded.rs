//! Recorded events of one model version, before anything is known of its series: every value under `features`
//! and `predictions` goes to a column of its own, with the rules of names and equal keys that live events have.

use super::envelope::{Envelope, Wrong};
use super::json::{MAX_DEPTH, check_size};
use super::section::width;
use crate::baseline::{RecordedBatch, RecordedChunk};
use crate::event::{Outcome, SeriesOf};
use arrow::array::{BooleanArray, Float64Array, StringBuilder};
use hashbrown::HashMap;
use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape};
use std::mem::take;

/// Series of a section that are told apart; further keys are not kept, and the batch says so.
const MAX_SERIES: usize = 4_096;
/// A batch is full when its values take this many bytes.
const BATCH_BYTES: usize = 16 << 20;
/// Integers beyond it have neighbours that are the same double.
const MAX_INTEGER: u64 = 1 << 53;
/// Models and versions that are named when none of their events is wanted.
const MAX_OTHERS: usize = 8;

/// Decodes events one by one into columns, until [`RecordedDecoder::take`] hands them over.
pub struct RecordedDecoder {
    model: String,
    version: String,
    features: Section,
    predictions: Section,
    /// Model and version of events that were passed over, the first few.
    others: Vec<(String, String)>,
    bytes: usize,
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

/// The rows of one section so far.
struct Section {
    of: SeriesOf,
    rows: u64,
    /// Counts events without an end, to tell this row's values from older ones.
    row: u64,
    columns: Vec<Column>,
    by_name: HashMap<String, u32>,
    /// The columns below a path.
    below: HashMap<String, Vec<u32>>,
    too_many: bool,
}

struct Column {
    name: String,
    numbers: Vec<f64>,
    wide_integers: u64,
    strings: StringBuilder,
    booleans: Vec<bool>,
    others: u64,
    /// The last row in which it was set, and where that value waits.
    row: u64,
    slot: usize,
}

/// The values of the row being read: a later key may take one back.
type Slots<'input> = Vec<(u32, Option<Node<'input>>)>;

impl RecordedDecoder {
    pub fn new(model: &str, version: &str) -> RecordedDecoder {
        RecordedDecoder {
            model: model.to_owned(),
            version: version.to_owned(),
            features: Section::new(SeriesOf::Feature),
            predictions: Section::new(SeriesOf::Prediction),
            others: Vec::new(),
            bytes: 0,
            scratch: Vec::new(),
            buffers: Buffers::with_max_depth(4096, MAX_DEPTH),
            tape: Tape(Vec::new()),
        }
    }

    /// Decodes one event. What live events would not be counted for is not taken here either: the outcome says
    /// why. Event times only have to be readable.
    pub fn push(&mut self, payload: &[u8]) -> Outcome {
        if let Err((outcome, _)) = check_size(payload) {
            return outcome;
        }
        // The scratch and the tape that borrows from it leave the decoder for the time of the call.
        let mut scratch = take(&mut self.scratch);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        scratch.clear();
        scratch.extend_from_slice(payload);
        scratch.resize(payload.len() + INPUT_PADDING, b' ');
        let parsed = simd_json::fill_tape_padded(&mut scratch, payload.len(), &mut self.buffers, &mut tape);
        let outcome = match parsed {
            Ok(()) => self.push_tape(&tape.0).map_or_else(|(outcome, _)| outcome, |()| Outcome::Counted),
            Err(_) => Outcome::Unreadable,
        };
        self.tape = tape.reset();
        self.scratch = scratch;
        if outcome == Outcome::Counted {
            self.bytes += payload.len();
        }
        outcome
    }

    fn push_tape(&mut self, tape: &[Node<'_>]) -> Result<(), Wrong> {
        let envelope = Envelope::read(tape)?;
        let (model, version) = (envelope.model()?, envelope.version()?);
        envelope.check_content()?;
        if (model, version) != (self.model.as_str(), self.version.as_str()) {
            self.note_other(model, version);
            let other_model = model != self.model;
            let outcome = if other_model { Outcome::UnknownModel } else { Outcome::UnknownVersion };
            return Err((outcome, "another model or version"));
        }
        envelope.time()?;
        if let Some(features) = envelope.features {
            self.features.append(features);
        }
        if let Some(predictions) = envelope.predictions {
            self.predictions.append(predictions);
        }
        Ok(())
    }

    fn note_other(&mut self, model: &str, version: &str) {
        let known = self.others.iter().any(|(m, v)| m == model && v == version);
        if !known && self.others.len() < MAX_OTHERS {
            self.others.push((model.to_owned(), version.to_owned()));
        }
    }

    /// Models and versions whose events were passed over, the first eight of them.
    pub fn others(&self) -> &[(String, String)] {
        &self.others
    }

    /// Whether it is time to [`RecordedDecoder::take`] what there is.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Hands the columns over; they are empty afterwards.
    pub fn take(&mut self) -> RecordedBatch {
        self.bytes = 0;
        let too_many_series = self.features.too_many || self.predictions.too_many;
        let (feature_rows, prediction_rows) =
            (take(&mut self.features.rows), take(&mut self.predictions.rows));
        let sections = [&mut self.features, &mut self.predictions].into_iter();
        let chunks = sections.flat_map(Section::take).collect();
        RecordedBatch { feature_rows, prediction_rows, chunks, too_many_series }
    }
}

impl Section {
    fn new(of: SeriesOf) -> Section {
        let (columns, by_name, below) = (Vec::new(), HashMap::new(), HashMap::new());
        Section { of, rows: 0, row: 0, columns, by_name, below, too_many: false }
    }

    fn append(&mut self, object: &[Node<'_>]) {
        self.row += 1;
        self.rows += 1;
        let mut slots = Slots::with_capacity(self.columns.len());
        self.walk(None, object, &mut slots);
        for (column, node) in slots {
            if let Some(node) = node {
                self.columns[column as usize].push(&node);
            }
        }
    }

    fn walk<'input>(&mut self, parent: Option<&str>, object: &[Node<'input>], slots: &mut Slots<'input>) {
        let mut at = 1;
        while let Some(Node::String(key)) = object.get(at) {
            let width = width(&object[at + 1]);
            let value = &object[at + 1..at + 1 + width];
            match parent {
                None => self.field(key, value, slots),
                Some(parent) => self.field(&format!("{parent}.{key}"), value, slots),
            }
            at += 1 + width;
        }
    }

    /// One key, with its whole path. It replaces what an earlier key of that path said, and all below it. An
    /// object is a value only of a series that has others.
    fn field<'input>(&mut self, path: &str, value: &[Node<'input>], slots: &mut Slots<'input>) {
        let is_object = matches!(value[0], Node::Object { .. });
        let column = match self.by_name.get(path) {
            None if !is_object => self.create(path),
            found => found.copied(),
        };
        if let Some(column) = column {
            self.set(column, value[0], slots);
        }
        for column in self.below.get(path).into_iter().flatten() {
            let column = &self.columns[*column as usize];
            if column.row == self.row {
                slots[column.slot].1 = None;
            }
        }
        if is_object {
            self.walk(Some(path), value, slots);
        }
    }

    fn create(&mut self, path: &str) -> Option<u32> {
        if self.columns.len() >= MAX_SERIES {
            self.too_many = true;
            return None;
        }
        let index = self.columns.len() as u32;
        self.columns.push(Column::new(path));
        self.by_name.insert(path.to_owned(), index);
        for (dot, _) in path.match_indices('.') {
            self.below.entry(path[..dot].to_owned()).or_default().push(index);
        }
        Some(index)
    }

    fn set<'input>(&mut self, index: u32, node: Node<'input>, slots: &mut Slots<'input>) {
        let column = &mut self.columns[index as usize];
        if column.row == self.row {
            slots[column.slot].1 = Some(node);
        } else {
            (column.row, column.slot) = (self.row, slots.len());
            slots.push((index, Some(node)));
        }
    }

    fn take(&mut self) -> Vec<RecordedChunk> {
        let of = self.of;
        self.columns.iter_mut().map(|column| column.take(of)).collect()
    }
}

impl Column {
    fn new(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            numbers: Vec::new(),
            wide_integers: 0,
            strings: StringBuilder::new(),
            booleans: Vec::new(),
            others: 0,
            row: 0,
            slot: 0,
        }
    }

    fn push(&mut self, node: &Node<'_>) {
        let mut integer = |value: f64, magnitude: u64| {
            self.wide_integers += u64::from(magnitude > MAX_INTEGER);
            self.numbers.push(value);
        };
        match node {
            Node::Static(StaticNode::F64(value)) => self.numbers.push(*value),
            Node::Static(StaticNode::I64(value)) => integer(*value as f64, value.unsigned_abs()),
            Node::Static(StaticNode::U64(value)) => integer(*value as f64, *value),
            Node::Static(StaticNode::Bool(value)) => self.booleans.push(*value),
            Node::Static(StaticNode::Null) => {}
            Node::String(value) => self.strings.append_value(value),
            Node::Array { .. } | Node::Object { .. } => self.others += 1,
        }
    }

    fn take(&mut self, of: SeriesOf) -> RecordedChunk {
        RecordedChunk {
            of,
            name: self.name.clone(),
            numbers: Float64Array::from(take(&mut self.numbers)),
            strings: self.strings.finish(),
            booleans: BooleanArray::from(take(&mut self.booleans)),
            others: take(&mut self.others),
            wide_integers: take(&mut self.wide_integers),
        }
    }
}
