use super::*;
use crate::cells::{Categories, OCTILE_BINS, UNIT_CELLS};
use crate::event::NO_UNIT;
use arrow::array::{ArrayRef, DictionaryArray, StringArray, UInt16Array};
use proptest::prelude::*;
use std::sync::Arc;

fn count(grid: &Grid, range: Option<(f64, f64)>, array: &dyn Array, rows: Range<usize>) -> CellCounts {
    let mut into = CellCounts::new(grid.cells());
    count_column(grid, range, array, rows, None, &mut Scratch::default(), &mut into).unwrap();
    into
}

fn categories() -> Grid {
    Grid::Categorical(Categories::new(vec!["a".into(), "b".into()], vec!["c".into()]))
}

fn keys(keys: Vec<Option<u16>>) -> ArrayRef {
    let values = StringArray::from(vec!["a", "b", "other", "unseen", "no cell"]);
    Arc::new(DictionaryArray::new(UInt16Array::from(keys), Arc::new(values)))
}

fn numeric_value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        6 => (-12i32..12).prop_map(|whole| Some(f64::from(whole) / 2.0)),
        1 => any::<f64>().prop_map(Some),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0]).prop_map(Some),
        1 => Just(None),
    ]
}

/// A grid with a column for it: numeric (with or without nulls), categorical or boolean.
fn column() -> impl Strategy<Value = (Grid, ArrayRef)> {
    let grid = prop::collection::vec(-5.0..5.0f64, 0..12).prop_map(|mut cuts| {
        cuts.extend([0.0, 1.5]);
        Grid::Numeric(NumericGrid::new(cuts))
    });
    let values = prop::collection::vec(numeric_value(), 0..90);
    let numeric = (grid, values, any::<bool>()).prop_map(|(grid, mut values, dense)| {
        if dense {
            values.retain(Option::is_some);
        }
        (grid, Arc::new(Float64Array::from(values)) as ArrayRef)
    });
    let categorical = prop::collection::vec(prop::option::weighted(0.8, 0u16..4), 0..90)
        .prop_map(|codes| (categories(), keys(codes)));
    let boolean = prop::collection::vec(prop::option::weighted(0.8, any::<bool>()), 0..90)
        .prop_map(|values| (Grid::Boolean, Arc::new(BooleanArray::from(values)) as ArrayRef));
    prop_oneof![3 => numeric, 1 => categorical, 1 => boolean]
}

fn any_counts() -> impl Strategy<Value = CellCounts> {
    (prop::collection::vec(prop_oneof![0u64..50, any::<u64>()], 5), prop::array::uniform4(any::<u64>()))
        .prop_map(|(cells, [rows, missing, out_of_range, non_finite])| CellCounts {
            cells,
            rows,
            missing,
            out_of_range,
            non_finite,
        })
}

fn merged(left: &CellCounts, right: &CellCounts) -> CellCounts {
    let mut sum = left.clone();
    sum.merge(right).unwrap();
    sum
}

proptest! {
    #[test]
    fn merge_is_associative_and_commutative(a in any_counts(), b in any_counts(), c in any_counts()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &CellCounts::new(5)), a);
    }

    #[test]
    fn any_cut_into_ranges_counts_the_same((grid, array) in column(), ends in prop::collection::vec(0usize..90, 0..6)) {
        let range = Some((-2.0, 3.0));
        let whole = count(&grid, range, &array, 0..array.len());
        let mut ends: Vec<usize> = ends.into_iter().map(|end| end.min(array.len())).collect();
        ends.push(array.len());
        ends.sort_unstable();
        let mut parts = CellCounts::new(grid.cells());
        let mut start = 0;
        for end in ends {
            parts.merge(&count(&grid, range, &array, start..end)).unwrap();
            start = end;
        }
        prop_assert_eq!(&parts, &whole);
        let offset = array.len() / 3;
        let sliced = array.slice(offset, array.len() - offset);
        prop_assert_eq!(count(&grid, range, &sliced, 0..sliced.len()), count(&grid, range, &array, offset..array.len()));
    }

    #[test]
    fn units_are_counted_as_one_by_one_whatever_the_cut(
        (grid, array) in column(), seed in any::<u64>(), cut in 0.0..1.0,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let weights: Vec<u64> = (0..grid.cells()).map(|_| random.u64(..9)).collect();
        let octiles = Octiles::of(&weights);
        let buckets: Vec<u8> = (0..array.len()).map(|_| random.u8(..=NO_UNIT)).collect();
        let (mut into, mut by_unit) = (CellCounts::new(grid.cells()), UnitCounts::default());
        let mut sums = Sums::default();
        let at = (cut * array.len() as f64) as usize;
        for rows in [0..at, at..array.len()] {
            let units =
                UnitRows { buckets: &buckets, octiles: &octiles, into: &mut by_unit, sums: &mut sums };
            count_column(&grid, None, &array, rows, Some(units), &mut Scratch::default(), &mut into).unwrap();
        }
        prop_assert_eq!(&into, &count(&grid, None, &array, 0..array.len()));
        let mut expected = vec![0; UNIT_CELLS];
        for (row, bucket) in buckets.iter().enumerate() {
            let cells = count(&grid, None, &array, row..row + 1).cells;
            if let Some(cell) = cells.iter().position(|count| *count == 1).filter(|_| *bucket < NO_UNIT) {
                expected[usize::from(*bucket) * OCTILE_BINS + usize::from(octiles.bin(cell))] += 1;
            }
        }
        prop_assert_eq!(by_unit.cells(), expected);
        let numbers = array.as_primitive_opt::<Float64Type>();
        if let (Grid::Numeric(grid), Some(values)) = (&grid, numbers) {
            let placed = values.iter().flatten().map(|value| (value, grid.rank_one(value) as usize));
            prop_assert_eq!(sums, Sums::of(grid.scale(), placed, grid.cells()));
        } else {
            prop_assert_eq!(sums, Sums::default());
        }
    }

    #[test]
    fn every_row_is_accounted_for((grid, array) in column()) {
        let counts = count(&grid, None, &array, 0..array.len());
        let not_a_number = array
            .as_primitive_opt::<Float64Type>()
            .map_or(0, |values| values.iter().flatten().filter(|value| value.is_nan()).count() as u64);
        prop_assert_eq!(counts.rows, array.len() as u64);
        prop_assert_eq!(counts.cells.iter().sum::<u64>() + counts.missing + not_a_number, counts.rows);
        prop_assert_eq!(counts.out_of_range, 0);
    }
}

#[test]
fn numbers_beyond_range_and_infinities_are_named_and_still_counted() {
    let grid = Grid::Numeric(NumericGrid::new(vec![0.0, 1.0]));
    let values = [Some(-1.0), Some(-0.0), None, Some(0.5), Some(f64::NAN), Some(f64::INFINITY), Some(1.0)];
    let array = Float64Array::from(values.to_vec());
    let counts = count(&grid, Some((0.0, 1.0)), &array, 0..7);
    let expected =
        CellCounts { cells: vec![1, 1, 1, 1, 1], rows: 7, missing: 1, out_of_range: 2, non_finite: 2 };
    assert_eq!(counts, expected);
}

#[test]
fn columns_longer_than_a_block_are_counted_whole() {
    let grid = Grid::Numeric(NumericGrid::new(vec![0.0, 10.0]));
    let array: Float64Array = (0..3 * BLOCK + 5).map(|row| Some((row % 20) as f64)).collect();
    let counts = count(&grid, None, &array, 0..array.len());
    assert_eq!(counts.cells.iter().sum::<u64>(), array.len() as u64);
    assert_eq!(counts.cells[0], 0);
}

#[test]
fn keys_are_cells_and_nulls_are_missing() {
    let array = keys(vec![Some(0), Some(3), None, Some(3), Some(2)]);
    let counts = count(&categories(), None, &array, 0..5);
    assert_eq!(counts.cells, [1, 0, 1, 2]);
    assert_eq!((counts.rows, counts.missing), (5, 1));
}

#[test]
fn booleans_fill_two_cells() {
    let array = BooleanArray::from(vec![Some(true), None, Some(false), Some(true), Some(true)]);
    let counts = count(&Grid::Boolean, None, &array, 1..5);
    assert_eq!((counts.cells.as_slice(), counts.rows, counts.missing), ([1, 2].as_slice(), 4, 1));
}

#[test]
fn what_cannot_be_counted_is_refused_and_changes_nothing() {
    let refused = |grid: &Grid, array: &dyn Array, rows: Range<usize>, cells: usize| {
        let mut into = CellCounts::new(cells);
        let error =
            count_column(grid, None, array, rows, None, &mut Scratch::default(), &mut into).unwrap_err();
        assert_eq!(into, CellCounts::new(cells));
        error
    };
    let booleans = BooleanArray::from(vec![true, false]);
    for grid in [Grid::Numeric(NumericGrid::new(vec![1.0])), categories()] {
        let error = refused(&grid, &booleans, 0..2, grid.cells());
        assert!(matches!(error, CountError::WrongArray { array: DataType::Boolean, .. }), "{error}");
    }
    let numbers = Float64Array::from(vec![1.0]);
    assert!(matches!(refused(&Grid::Boolean, &numbers, 0..1, 2), CountError::WrongArray { .. }));
    assert!(matches!(refused(&Grid::Boolean, &booleans, 1..3, 2), CountError::RowsBeyondColumn { .. }));
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake that must not panic")]
    let reversed = refused(&Grid::Boolean, &booleans, 2..1, 2);
    assert!(matches!(reversed, CountError::RowsBeyondColumn { .. }));
    assert_eq!(
        refused(&categories(), &keys(vec![Some(1), Some(4)]), 0..2, 4),
        CountError::CellBeyondGrid { cell: 4, cells: 4 }
    );
    assert_eq!(refused(&Grid::Boolean, &booleans, 0..2, 3), CountError::OtherGrid { expected: 2, found: 3 });
    let refused = |buckets: &[u8], weights: &[u64]| {
        let (mut into, mut by_unit, mut sums) = (CellCounts::new(2), UnitCounts::default(), Sums::default());
        let octiles = Octiles::of(weights);
        let units = UnitRows { buckets, octiles: &octiles, into: &mut by_unit, sums: &mut sums };
        let scratch = &mut Scratch::default();
        let error = count_column(&Grid::Boolean, None, &booleans, 0..1, Some(units), scratch, &mut into);
        assert_eq!((into, by_unit), (CellCounts::new(2), UnitCounts::default()));
        error.unwrap_err()
    };
    assert_eq!(refused(&[1, 2], &[1]), CountError::OtherGrid { expected: 2, found: 1 });
    assert_eq!(refused(&[1], &[1, 1]), CountError::UnitsOfOtherRows { rows: 2, found: 1 });
}
