//! The values of one series on their way into a column.

use super::Column;
use super::category::ShortNames;
use super::joins::Answer;
use super::number;
use super::scan;
use crate::cells::{Categories, Grid};
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, DictionaryArray, Float64Array, StringArray, UInt16Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::UInt16Type;
use simd_json::{Node, StaticNode};
use std::mem::take;
use std::sync::Arc;

/// The values of one series so far. A row is settled once a value (or, for a wrong one, a placeholder)
/// stands at its place; rows that were passed over become null when a later one is settled. So a column
/// without gaps costs one comparison and one push per row, and its validity is never written.
pub(super) struct Builder {
    values: Values,
    /// The settled rows without a value, ascending.
    nulls: Vec<u32>,
    type_errors: Vec<u32>,
}

enum Values {
    Numeric(Vec<f64>),
    Categorical { keys: Vec<u16>, short: ShortNames, grid: Arc<Grid>, names: ArrayRef },
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
    pub(super) fn new(grid: &Arc<Grid>) -> Builder {
        let values = match grid.as_ref() {
            Grid::Numeric(_) => Values::Numeric(Vec::new()),
            Grid::Boolean => Values::Boolean(Vec::new()),
            Grid::Categorical(categories) => Values::Categorical {
                keys: Vec::new(),
                short: ShortNames::new(categories),
                grid: grid.clone(),
                names: Arc::new(category_names(categories)),
            },
        };
        Builder { values, nulls: Vec::new(), type_errors: Vec::new() }
    }

    /// Sets the value of the row being filled, in place of one it may have.
    pub(super) fn set(&mut self, row: usize, node: &Node<'_>) {
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

    /// Sets the value of the row being filled from the raw text at `at`; where it ends. Nothing of this row
    /// may have been set yet. `None`: the value is wrong or doubtful; what was set is to be cleared.
    #[inline(always)]
    pub(super) fn read(&mut self, row: usize, text: &str, at: usize) -> Option<usize> {
        if self.values.len() != row {
            self.pass_to(row);
        }
        let bytes = text.as_bytes();
        match (&mut self.values, bytes.get(at)?) {
            (Values::Numeric(values), b'0'..=b'9') => {
                let (number, end) = number::read_positive(bytes, at)?;
                values.push(number.as_f64());
                Some(end)
            }
            (Values::Numeric(values), b'-') => {
                let (number, end) = number::read_negative(bytes, at)?;
                values.push(number.as_f64());
                Some(end)
            }
            (Values::Categorical { keys, short, grid, .. }, b'"') => {
                let Grid::Categorical(categories) = grid.as_ref() else { return None };
                let (cell, end) = short.read(categories, text, at)?;
                keys.push(cell);
                Some(end)
            }
            (Values::Boolean(values), first @ (b't' | b'f')) => {
                let truth = *first == b't';
                let end = scan::skip_word(bytes, at, if truth { b"true" } else { b"false" })?;
                values.push(truth);
                Some(end)
            }
            _ => self.read_other_type(row, bytes, at),
        }
    }

    /// A null leaves the row unset, anything else is a type error.
    fn read_other_type(&mut self, row: usize, text: &[u8], at: usize) -> Option<usize> {
        let end = scan::skip_value(text, at)?;
        if text[at] != b'n' {
            self.pass_to(row + 1);
            self.type_errors.push(row as u32);
        }
        Some(end)
    }

    /// Forgets what was set in `row`, the row being filled.
    pub(super) fn clear(&mut self, row: usize) {
        if self.values.len() > row {
            self.values.resize(row);
            self.nulls.pop_if(|last| *last == row as u32);
            self.type_errors.pop_if(|last| *last == row as u32);
        }
    }

    /// The value in `row`, the last one; `None`: there is none.
    pub(super) fn answer(&self, row: usize) -> Option<Answer> {
        if self.nulls.last() == Some(&(row as u32)) {
            return None;
        }
        match &self.values {
            Values::Numeric(values) => values.get(row).map(|score| Answer::Score(*score)),
            Values::Categorical { keys, .. } => keys.get(row).map(|cell| Answer::Cell(*cell)),
            Values::Boolean(values) => values.get(row).map(|truth| Answer::Cell(u16::from(*truth))),
        }
    }

    /// Settles the rows before `row` as null.
    fn pass_to(&mut self, row: usize) {
        self.nulls.extend(self.values.len() as u32..row as u32);
        self.values.resize(row);
    }

    pub(super) fn finish(&mut self, rows: usize) -> Column {
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
pub(super) fn as_f64(number: &StaticNode) -> Option<f64> {
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
