//! Builders of one table: the rows of one watched version's features, or of its predictions.
//!
//! Only watched series are materialised. A key is first compared with the one that followed its
//! predecessor the last time (producers keep their key order), and only then looked up by hash.

use super::{Column, Table};
use crate::baseline::{VersionIndex, WatchedVersion};
use crate::cells::{Categories, Grid};
use crate::event::{EventTime, SeriesOf};
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, DictionaryArray, Float64Array, Int64Array, StringArray,
    UInt16Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::UInt16Type;
use hashbrown::HashMap;
use simd_json::{Node, StaticNode};
use std::mem::take;
use std::sync::Arc;

/// The nodes of a value, itself included.
pub(super) fn width(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

/// The builders of one table.
pub(super) struct Section {
    version: VersionIndex,
    of: SeriesOf,
    times: Vec<i64>,
    columns: Vec<Builder>,
    names: Names,
}

/// Finds the column of a key.
struct Names {
    names: Vec<String>,
    by_name: HashMap<String, u32>,
    /// The columns below a path, for every path that is a proper prefix of a watched name.
    below: HashMap<String, Vec<u32>>,
    /// `successor[0]`: the column a row started with the last time; `successor[i + 1]`: the one after i.
    successor: Vec<u32>,
    slot: usize,
}

impl Names {
    fn new(names: Vec<String>) -> Names {
        let mut by_name = HashMap::new();
        let mut below: HashMap<String, Vec<u32>> = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            by_name.entry(name.clone()).or_insert(index as u32);
            for (dot, _) in name.match_indices('.') {
                below.entry(name[..dot].to_owned()).or_default().push(index as u32);
            }
        }
        let successor = (0..=names.len() as u32).collect();
        Names { names, by_name, below, successor, slot: 0 }
    }

    fn find(&mut self, name: &str) -> Option<usize> {
        let expected = self.successor[self.slot];
        let found = match self.names.get(expected as usize) {
            Some(next) if same_key(next, name) => expected,
            _ => {
                let found = *self.by_name.get(name)?;
                self.successor[self.slot] = found;
                found
            }
        };
        self.slot = found as usize + 1;
        Some(found as usize)
    }
}

/// Equality, without a call for the 8 to 16 bytes that most keys have.
fn same_key(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() || left.len() > 16 {
        return left == right;
    }
    match (left.first_chunk::<8>(), right.first_chunk::<8>()) {
        (Some(l), Some(r)) => l == r && left.last_chunk::<8>() == right.last_chunk::<8>(),
        _ => left == right,
    }
}

impl Section {
    pub(super) fn new(version: VersionIndex, of: SeriesOf, watched: &WatchedVersion) -> Section {
        let columns = watched.of(of).map(|(_, series)| Builder::new(&series.reference.grid)).collect();
        let names = watched.of(of).map(|(_, series)| series.reference.name.clone()).collect();
        Section { version, of, times: Vec::new(), columns, names: Names::new(names) }
    }

    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    /// Appends one row. `object` is the tape of an object, its own node first. Cannot fail: whatever is
    /// wrong with a value is counted for its series.
    pub(super) fn append(&mut self, time: EventTime, object: &[Node<'_>]) {
        let row = self.times.len();
        self.names.slot = 0;
        self.walk(row, None, object);
        self.times.push(time.0);
    }

    /// `parent`: the dotted path of a nested object, or nothing for the outermost one. A nested object with
    /// watched keys allocates its paths; a plain field never does.
    fn walk(&mut self, row: usize, parent: Option<&str>, object: &[Node<'_>]) {
        let mut at = 1;
        while let Some(Node::String(key)) = object.get(at) {
            let width = width(&object[at + 1]);
            let value = &object[at + 1..at + 1 + width];
            match parent {
                None => self.field(row, key, value),
                Some(parent) => self.field(row, &format!("{parent}.{key}"), value),
            }
            at += 1 + width;
        }
    }

    /// One key, with its whole path. It replaces what an earlier key of that path said, and all below it.
    fn field(&mut self, row: usize, path: &str, value: &[Node<'_>]) {
        if let Some(column) = self.names.find(path) {
            self.columns[column].set(row, &value[0]);
        }
        if self.names.below.is_empty() {
            return;
        }
        let Some(below) = self.names.below.get(path) else { return };
        for &column in below {
            self.columns[column as usize].clear(row);
        }
        if matches!(value[0], Node::Object { .. }) {
            self.walk(row, Some(path), value);
        }
    }

    /// The rows so far as a table, if there are any; the builders are empty afterwards.
    pub(super) fn finish(&mut self) -> Option<Table> {
        if self.times.is_empty() {
            return None;
        }
        let rows = self.times.len();
        let times = Int64Array::from(take(&mut self.times));
        self.times.reserve(rows);
        let columns = self.columns.iter_mut().map(|column| column.finish(rows)).collect();
        Some(Table { version: self.version, of: self.of, times, columns })
    }
}

/// The values of one series so far. A row is settled once a value (or, for a wrong one, a placeholder)
/// stands at its place; rows that were passed over become null when a later one is settled. So a column
/// without gaps costs one comparison and one push per row, and its validity is never written.
struct Builder {
    values: Values,
    /// The settled rows without a value, ascending.
    nulls: Vec<u32>,
    type_errors: Vec<u32>,
}

enum Values {
    Numeric(Vec<f64>),
    Categorical { keys: Vec<u16>, grid: Arc<Grid>, names: ArrayRef },
    Boolean(Vec<bool>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Numeric(values) => values.len(),
            Values::Categorical { keys, .. } => keys.len(),
            Values::Boolean(values) => values.len(),
        }
    }

    fn resize(&mut self, rows: usize) {
        match self {
            Values::Numeric(values) => values.resize(rows, 0.0),
            Values::Categorical { keys, .. } => keys.resize(rows, 0),
            Values::Boolean(values) => values.resize(rows, false),
        }
    }

    /// Appends the value, if it is of this type.
    fn push(&mut self, node: &Node<'_>) -> bool {
        match (self, node) {
            (Values::Numeric(values), Node::Static(number)) => match as_f64(number) {
                Some(number) => values.push(number),
                None => return false,
            },
            (Values::Categorical { keys, grid, .. }, Node::String(name)) => match grid.as_ref() {
                Grid::Categorical(categories) => keys.push(categories.cell_of(name)),
                Grid::Numeric(_) | Grid::Boolean => return false,
            },
            (Values::Boolean(values), Node::Static(StaticNode::Bool(truth))) => values.push(*truth),
            _ => return false,
        }
        true
    }
}

impl Builder {
    fn new(grid: &Arc<Grid>) -> Builder {
        let values = match grid.as_ref() {
            Grid::Numeric(_) => Values::Numeric(Vec::new()),
            Grid::Boolean => Values::Boolean(Vec::new()),
            Grid::Categorical(categories) => Values::Categorical {
                keys: Vec::new(),
                grid: grid.clone(),
                names: Arc::new(category_names(categories)),
            },
        };
        Builder { values, nulls: Vec::new(), type_errors: Vec::new() }
    }

    /// Sets the value of the row being filled, in place of one it may have.
    fn set(&mut self, row: usize, node: &Node<'_>) {
        if self.values.len() != row {
            self.clear(row);
            self.pass_to(row);
        }
        if self.values.push(node) || *node == Node::Static(StaticNode::Null) {
            return;
        }
        self.pass_to(row + 1);
        self.type_errors.push(row as u32);
    }

    /// Forgets what was set in `row`, the row being filled.
    fn clear(&mut self, row: usize) {
        if self.values.len() > row {
            self.values.resize(row);
            self.nulls.pop_if(|last| *last == row as u32);
            self.type_errors.pop_if(|last| *last == row as u32);
        }
    }

    /// Settles the rows before `row` as null.
    fn pass_to(&mut self, row: usize) {
        self.nulls.extend(self.values.len() as u32..row as u32);
        self.values.resize(row);
    }

    fn finish(&mut self, rows: usize) -> Column {
        self.pass_to(rows);
        let nulls = validity(rows, &self.nulls);
        self.nulls.clear();
        let array: ArrayRef = match &mut self.values {
            Values::Numeric(values) => Arc::new(Float64Array::new(handed_over(values).into(), nulls)),
            Values::Boolean(values) => {
                let array = BooleanArray::new(BooleanBuffer::from(values.as_slice()), nulls);
                values.clear();
                Arc::new(array)
            }
            Values::Categorical { keys, names, .. } => {
                let keys = UInt16Array::new(handed_over(keys).into(), nulls);
                let array = DictionaryArray::<UInt16Type>::try_new(keys, names.clone());
                Arc::new(array.expect("every key is a cell of the categories"))
            }
        };
        Column { array, type_errors: take(&mut self.type_errors) }
    }
}

/// The validity of `rows` rows of which `nulls` are null; none if all are valid.
fn validity(rows: usize, nulls: &[u32]) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    nulls.iter().for_each(|row| valid.set_bit(*row as usize, false));
    Some(NullBuffer::new(valid.finish()))
}

/// The values; an empty vector of the same capacity stays behind.
fn handed_over<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

/// Integers beyond 2^53 go to the nearest double.
fn as_f64(number: &StaticNode) -> Option<f64> {
    match number {
        StaticNode::F64(number) => Some(*number),
        StaticNode::I64(number) => Some(*number as f64),
        StaticNode::U64(number) => Some(*number as f64),
        StaticNode::Bool(_) | StaticNode::Null => None,
    }
}

fn category_names(categories: &Categories) -> StringArray {
    let named = categories.named().iter().map(String::as_str);
    StringArray::from_iter_values(named.chain(["other", "unseen"]))
}
