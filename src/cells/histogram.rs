//! Counts a range of rows of an Arrow column into the cells of its grid.

use super::fixed::FixedSum;
use super::{Grid, NumericGrid, Octiles, Sums, UnitCounts};
use arrow::array::{Array, AsArray, BooleanArray, Float64Array, PrimitiveArray};
use arrow::datatypes::{DataType, Float64Type, UInt16Type};
use std::ops::Range;

/// Values ranked at a time: their ranks (16 KiB) stay in the first-level cache until they are counted.
const BLOCK: usize = 4096;

/// What was counted of one series. All fields add up, so any split of the rows gives the same sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellCounts {
    /// Rows per cell of the grid.
    pub cells: Vec<u64>,
    /// Rows looked at: cells + missing + NaN.
    pub rows: u64,
    /// Null rows.
    pub missing: u64,
    /// Values below the range's minimum or above its maximum; they stand in cells too.
    pub out_of_range: u64,
    /// NaN and ±infinity; infinities stand in cells too, NaN does not.
    pub non_finite: u64,
}

/// Buffers kept from one call to the next. Holds nothing that outlives a call.
#[derive(Debug, Default)]
pub struct Scratch {
    values: Vec<f64>,
    ranks: Vec<u32>,
    buckets: Vec<u8>,
}

/// The units of a column's rows, and what is counted beside cells.
#[derive(Debug)]
pub struct UnitRows<'a> {
    /// One for each row of the column: a bucket, or [`crate::event::NO_UNIT`].
    pub buckets: &'a [u8],
    /// Of the column's grid.
    pub octiles: &'a Octiles,
    /// Values in cells are counted here too, by bucket and octile bin.
    pub into: &'a mut UnitCounts,
    /// And those of numeric grids are summed here, by span.
    pub sums: &'a mut Sums,
}

impl UnitRows<'_> {
    /// The part for some of the rows.
    fn of(&mut self, rows: Range<usize>) -> UnitRows<'_> {
        UnitRows { buckets: &self.buckets[rows], octiles: self.octiles, into: self.into, sums: self.sums }
    }
}

/// Why a column cannot be counted. Nothing of it has been counted then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    #[error("a {grid} series cannot be counted from a column of {array}")]
    WrongArray { grid: &'static str, array: DataType },
    #[error("rows {start}..{end} of a column of {len}")]
    RowsBeyondColumn { start: usize, end: usize, len: usize },
    #[error("cell {cell} of a grid of {cells} cells")]
    CellBeyondGrid { cell: usize, cells: usize },
    #[error("{found} units of {rows} rows")]
    UnitsOfOtherRows { rows: usize, found: usize },
    #[error("counts of {found} cells where the grid has {expected}")]
    OtherGrid { expected: usize, found: usize },
}

impl CellCounts {
    /// Nothing counted yet, on a grid of `cells` cells.
    pub fn new(cells: usize) -> Self {
        CellCounts { cells: vec![0; cells], ..CellCounts::default() }
    }

    /// Adds `other`, counted on the same grid.
    ///
    /// # Errors
    /// When the numbers of cells differ; `self` is then unchanged.
    pub fn merge(&mut self, other: &CellCounts) -> Result<(), CountError> {
        if self.cells.len() != other.cells.len() {
            return Err(CountError::OtherGrid { expected: self.cells.len(), found: other.cells.len() });
        }
        for (cell, &count) in self.cells.iter_mut().zip(&other.cells) {
            *cell = cell.saturating_add(count);
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.missing = self.missing.saturating_add(other.missing);
        self.out_of_range = self.out_of_range.saturating_add(other.out_of_range);
        self.non_finite = self.non_finite.saturating_add(other.non_finite);
        Ok(())
    }
}

/// Counts `rows` of `array` on `grid` and adds them to `into`, and by unit to that of `units`.
///
/// - A numeric grid takes a `Float64Array`; one of 32-bit floats rounds it. Values outside `range` (inclusive, if there is one) are also
///   `out_of_range`; infinities are also `non_finite`; NaN is `non_finite` only.
/// - A categorical grid takes a `DictionaryArray<UInt16Type>` whose keys are cells.
/// - A boolean grid takes a `BooleanArray`.
///
/// Null rows are `missing`.
///
/// # Errors
/// When the array is of another type, the rows are not all in it, a key is no cell, `into` or the octiles have
/// another number of cells than the grid, or there is not one unit for each row. Nothing is counted then.
pub fn count_column(
    grid: &Grid,
    range: Option<(f64, f64)>,
    array: &dyn Array,
    rows: Range<usize>,
    units: Option<UnitRows<'_>>,
    scratch: &mut Scratch,
    into: &mut CellCounts,
) -> Result<(), CountError> {
    let of_grid = |found: usize| match found == grid.cells() {
        true => Ok(()),
        false => Err(CountError::OtherGrid { expected: grid.cells(), found }),
    };
    of_grid(into.cells.len())?;
    if rows.start > rows.end || rows.end > array.len() {
        return Err(CountError::RowsBeyondColumn { start: rows.start, end: rows.end, len: array.len() });
    }
    let mut units = units;
    if let Some(units) = &units {
        of_grid(units.octiles.cells())?;
        if units.buckets.len() != array.len() {
            return Err(CountError::UnitsOfOtherRows { rows: array.len(), found: units.buckets.len() });
        }
    }
    let units = units.as_mut().map(|units| units.of(rows.clone()));
    let wrong = |grid| CountError::WrongArray { grid, array: array.data_type().clone() };
    match grid {
        Grid::Numeric(grid) => {
            let array = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong("numeric"))?;
            count_numeric(grid, range, &array.slice(rows.start, rows.len()), units, scratch, into);
        }
        Grid::Categorical(_) => {
            let array = array.as_dictionary_opt::<UInt16Type>().ok_or_else(|| wrong("categorical"))?;
            count_keys(&array.keys().slice(rows.start, rows.len()), units, into)?;
        }
        Grid::Boolean => {
            let array = array.as_boolean_opt().ok_or_else(|| wrong("boolean"))?;
            count_booleans(&array.slice(rows.start, rows.len()), units, into);
        }
    }
    Ok(())
}

fn count_numeric(
    grid: &NumericGrid,
    range: Option<(f64, f64)>,
    array: &Float64Array,
    units: Option<UnitRows<'_>>,
    scratch: &mut Scratch,
    into: &mut CellCounts,
) {
    let Scratch { values, ranks, buckets } = scratch;
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None if grid.is_single() => {
            values.clear();
            values.extend(array.values().iter().map(|&value| grid.rounded(value)));
            count_blocks(grid, range, values, units, ranks, into);
        }
        None => count_blocks(grid, range, array.values(), units, ranks, into),
        Some(nulls) => {
            // Null slots hold anything: the valid values are copied together, then counted like the others.
            values.clear();
            values.extend(nulls.valid_indices().map(|row| grid.rounded(array.values()[row])));
            let units = units.map(|units| {
                buckets.clear();
                buckets.extend(nulls.valid_indices().map(|row| units.buckets[row]));
                UnitRows { buckets, ..units }
            });
            count_blocks(grid, range, values, units, ranks, into);
        }
    }
    into.rows += array.len() as u64;
    into.missing += array.null_count() as u64;
}

fn count_blocks(
    grid: &NumericGrid,
    range: Option<(f64, f64)>,
    values: &[f64],
    mut units: Option<UnitRows<'_>>,
    ranks: &mut Vec<u32>,
    into: &mut CellCounts,
) {
    for (number, block) in values.chunks(BLOCK).enumerate() {
        let start = number * BLOCK;
        let units = units.as_mut().map(|units| units.of(start..start + block.len()));
        count_values(grid, range, block, units, ranks, into);
    }
}

#[inline(never)]
fn count_values(
    grid: &NumericGrid,
    range: Option<(f64, f64)>,
    values: &[f64],
    units: Option<UnitRows<'_>>,
    ranks: &mut Vec<u32>,
    into: &mut CellCounts,
) {
    grid.rank_into(values, ranks);
    let whole = note_extremes(grid, range, values, into);
    // NOT_A_NUMBER is beyond every grid.
    let Some(UnitRows { buckets, octiles, into: by_unit, sums }) = units else {
        for &rank in ranks.iter() {
            if let Some(count) = into.cells.get_mut(rank as usize) {
                *count += 1;
            }
        }
        return;
    };
    let (places, scale) = (octiles.places(), grid.scale());
    let cells = &mut into.cells[..places.len()];
    // A block of values that are all near enough fits.
    let mut by_span = [0_i64; 16];
    for ((&value, &rank), &bucket) in values.iter().zip(ranks.iter()).zip(buckets) {
        if let Some(count) = cells.get_mut(rank as usize) {
            *count += 1;
            let place = places[rank as usize];
            by_unit.add(bucket, place.bin());
            by_span[place.span()] = by_span[place.span()].wrapping_add(scale.units(value));
        }
    }
    if whole {
        let spans = by_span.map(|units| FixedSum::from_units(i128::from(units)));
        sums.spans.iter_mut().zip(spans).for_each(|(sum, units)| *sum += units);
        sums.values += values.len() as u64;
    } else {
        let placed = values.iter().zip(ranks.iter()).map(|(value, rank)| (*value, *rank as usize));
        sums.merge(&Sums::of(scale, placed, into.cells.len()));
    }
}

/// Counts what is not finite and what is out of range. Returns whether every value is near enough to be summed.
fn note_extremes(
    grid: &NumericGrid,
    range: Option<(f64, f64)>,
    values: &[f64],
    into: &mut CellCounts,
) -> bool {
    let scale = grid.scale();
    let (min, max) = range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    let (mut far, mut out_of_range) = (0_u64, 0_u64);
    for &value in values {
        far += u64::from(!scale.holds(value));
        out_of_range += u64::from((value < min) | (value > max));
    }
    into.out_of_range += out_of_range;
    // What is not finite is not near.
    if far > 0 {
        into.non_finite += values.iter().map(|value| u64::from(!value.is_finite())).sum::<u64>();
    }
    far == 0
}

fn count_keys(
    keys: &PrimitiveArray<UInt16Type>,
    units: Option<UnitRows<'_>>,
    into: &mut CellCounts,
) -> Result<(), CountError> {
    let nulls = keys.nulls().filter(|nulls| nulls.null_count() > 0);
    let cells = into.cells.len();
    let highest = match nulls {
        None => keys.values().iter().copied().max(),
        Some(nulls) => nulls.valid_indices().map(|row| keys.values()[row]).max(),
    };
    if let Some(cell) = highest.map(usize::from).filter(|&cell| cell >= cells) {
        return Err(CountError::CellBeyondGrid { cell, cells });
    }
    match nulls {
        None => keys.values().iter().for_each(|&key| into.cells[usize::from(key)] += 1),
        Some(nulls) => {
            nulls.valid_indices().for_each(|row| into.cells[usize::from(keys.values()[row])] += 1);
        }
    }
    if let Some(UnitRows { buckets, octiles, into, .. }) = units {
        let places = octiles.places();
        let mut add = |row: usize| into.add(buckets[row], places[usize::from(keys.values()[row])].bin());
        match nulls {
            None => (0..keys.len()).for_each(add),
            Some(nulls) => nulls.valid_indices().for_each(&mut add),
        }
    }
    into.rows += keys.len() as u64;
    into.missing += keys.null_count() as u64;
    Ok(())
}

fn count_booleans(array: &BooleanArray, units: Option<UnitRows<'_>>, into: &mut CellCounts) {
    let (rows, missing) = (array.len() as u64, array.null_count() as u64);
    let yes = array.true_count() as u64;
    into.cells[0] += rows - missing - yes;
    into.cells[1] += yes;
    into.rows += rows;
    into.missing += missing;
    if let Some(UnitRows { buckets, octiles, into, .. }) = units {
        for (value, bucket) in array.iter().zip(buckets) {
            if let Some(value) = value {
                into.add(*bucket, octiles.bin(usize::from(value)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
