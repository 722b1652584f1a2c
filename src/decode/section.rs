//! Builders of one table: the rows of one watched version's features, or of its predictions.
//!
//! Only watched series are materialised. A key is first compared with the one that followed its
//! predecessor the last time (producers keep their key order), and only then looked up by hash.

use super::builder::Builder;
use super::{Accepted, Answer, Joins, Table};
use crate::baseline::{VersionIndex, WatchedVersion};
use crate::event::SeriesOf;
use arrow::array::{Int64Array, UInt8Array};
use hashbrown::HashMap;
use simd_json::Node;
use std::mem::take;

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
    units: Vec<u8>,
    columns: Vec<Builder>,
    names: Names,
}

/// Finds the column of a key.
pub(super) struct Names {
    names: Vec<String>,
    by_name: HashMap<String, u32>,
    /// The columns below a path, for every path that is a proper prefix of a watched name.
    below: HashMap<String, Vec<u32>>,
    /// `successor[0]`: the column a row started with the last time; `successor[i + 1]`: the one after i.
    successor: Vec<u32>,
    slot: usize,
}

impl Names {
    pub(super) fn new(names: Vec<String>) -> Names {
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

    /// A row begins: the key of its first column is expected.
    pub(super) fn start_row(&mut self) {
        self.slot = 0;
    }

    /// The columns below a path, which a value of that path empties.
    pub(super) fn below(&self, path: &str) -> &[u32] {
        self.below.get(path).map_or(&[], Vec::as_slice)
    }

    pub(super) fn find(&mut self, name: &str) -> Option<usize> {
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
        Section { version, of, times: Vec::new(), units: Vec::new(), columns, names: Names::new(names) }
    }

    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    /// Appends one row of `event`. `object` is the tape of an object, its own node first. Cannot fail: whatever
    /// is wrong with a value is counted for its series.
    pub(super) fn append(&mut self, event: &Accepted, object: &[Node<'_>]) {
        let row = self.times.len();
        self.names.start_row();
        self.walk(row, None, object);
        self.keep_row(event);
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

    /// How many columns there are.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// The column of a whole path.
    pub(super) fn column_of(&self, path: &str) -> Option<u32> {
        self.names.by_name.get(path).copied()
    }

    /// The columns below a path, which a value of that path empties.
    pub(super) fn columns_below(&self, path: &str) -> &[u32] {
        self.names.below(path)
    }

    /// Sets a column of the row being filled from the raw text: see [`Builder::read`].
    #[inline]
    pub(super) fn read(&mut self, column: u32, text: &str, at: usize) -> Option<usize> {
        self.columns[column as usize].read(self.times.len(), text, at)
    }

    /// The value of a column in the last row; `None`: it has none there.
    pub(super) fn answer(&self, column: u32, row: usize) -> Option<Answer> {
        self.columns[column as usize].answer(row)
    }

    /// Settles the row that has been filled.
    pub(super) fn keep_row(&mut self, event: &Accepted) {
        self.times.push(event.time.0);
        self.units.push(event.unit);
    }

    /// Forgets what [`Section::read`] has filled of a row.
    pub(super) fn drop_row(&mut self) {
        let row = self.times.len();
        self.columns.iter_mut().for_each(|column| column.clear(row));
    }

    /// The rows so far as a table, if there are any or it is wanted `empty` too; the builders are empty afterwards.
    pub(super) fn finish(&mut self, empty: bool) -> Option<Table> {
        if self.times.is_empty() && !empty {
            return None;
        }
        let rows = self.times.len();
        let times = Int64Array::from(take(&mut self.times));
        let units = UInt8Array::from(take(&mut self.units));
        self.times.reserve(rows);
        self.units.reserve(rows);
        let columns = self.columns.iter_mut().map(|column| column.finish(rows)).collect();
        Some(Table {
            version: self.version,
            of: self.of,
            times,
            units,
            columns,
            labels: Vec::new(),
            scores: Vec::new(),
            joins: Joins::default(),
        })
    }
}
