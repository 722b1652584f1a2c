//! Run-length coding of cell counts: pairs (cells to skip, count of the next one). A pane of a few hundred
//! values on a grid of thousands of cells is nearly all zeros.

/// Why run-length coded cells cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    #[error("the last pair of the coded cells is cut in half")]
    OddLength,
    #[error("coded cells reach beyond the grid's {cells} cells")]
    BeyondGrid { cells: usize },
    #[error("the count of cell {cell} exceeds 64 bits")]
    Overflow { cell: usize },
}

/// Codes counts; zeros at the end are left out.
pub fn encode(counts: &[u64]) -> Vec<u64> {
    let mut encoded = Vec::new();
    let mut next = 0;
    for (cell, &count) in counts.iter().enumerate() {
        if count > 0 {
            encoded.extend([(cell - next) as u64, count]);
            next = cell + 1;
        }
    }
    encoded
}

/// The counts of a grid of `cells` cells.
///
/// # Errors
/// When a pair is incomplete or reaches beyond the grid.
pub fn decode(encoded: &[u64], cells: usize) -> Result<Vec<u64>, RunsError> {
    let mut counts = vec![0; cells];
    add(encoded, &mut counts)?;
    Ok(counts)
}

/// Adds coded counts to `counts`, which hold one number per cell of the same grid.
///
/// # Errors
/// As [`decode`], and when a sum exceeds 64 bits. `counts` are then unchanged.
pub fn add(encoded: &[u64], counts: &mut [u64]) -> Result<(), RunsError> {
    let mut added = 0;
    let done = walk(encoded, counts.len(), |cell, count| {
        counts[cell] = counts[cell].checked_add(count).ok_or(RunsError::Overflow { cell })?;
        added += 2;
        Ok(())
    });
    if done.is_err() {
        take_back(&encoded[..added], counts);
    }
    done
}

/// Undoes [`add`].
pub fn take_back(encoded: &[u64], counts: &mut [u64]) {
    // What was added can be walked over.
    let _ = walk(encoded, counts.len(), |cell, count| {
        counts[cell] = counts[cell].wrapping_sub(count);
        Ok(())
    });
}

/// Whether coded counts can be added to `counts`.
///
/// # Errors
/// As [`add`].
pub fn check(encoded: &[u64], counts: &[u64]) -> Result<(), RunsError> {
    walk(encoded, counts.len(), |cell, count| {
        counts[cell].checked_add(count).map(|_| ()).ok_or(RunsError::Overflow { cell })
    })
}

/// Whether coded counts can be read on a grid of `cells` cells.
pub fn fit(encoded: &[u64], cells: usize) -> bool {
    walk(encoded, cells, |_, _| Ok(())).is_ok()
}

/// Calls `each` with every coded cell, which is below `cells`, and its count.
fn walk(
    encoded: &[u64],
    cells: usize,
    mut each: impl FnMut(usize, u64) -> Result<(), RunsError>,
) -> Result<(), RunsError> {
    let (pairs, rest) = encoded.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(RunsError::OddLength);
    }
    let mut next = 0usize;
    for &[skip, count] in pairs {
        let cell = usize::try_from(skip)
            .ok()
            .and_then(|skip| next.checked_add(skip))
            .filter(|&cell| cell < cells)
            .ok_or(RunsError::BeyondGrid { cells })?;
        each(cell, count)?;
        next = cell + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![3 => Just(0), 1 => 1u64..1000, 1 => any::<u64>()], 0..60)
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(counts in counts()) {
            prop_assert_eq!(decode(&encode(&counts), counts.len()), Ok(counts));
        }

        #[test]
        fn adding_equals_adding_cell_by_cell(left in prop::collection::vec(0u64..9, 20), right in prop::collection::vec(0u64..9, 20)) {
            let mut sum = left.clone();
            add(&encode(&right), &mut sum).unwrap();
            let expected: Vec<u64> = left.iter().zip(&right).map(|(a, b)| a + b).collect();
            prop_assert_eq!(&sum, &expected);
            take_back(&encode(&right), &mut sum);
            prop_assert_eq!(sum, left);
        }

        #[test]
        fn any_input_is_read_or_refused(encoded in prop::collection::vec(any::<u64>(), 0..8), cells in 0usize..10) {
            let decoded = decode(&encoded, cells);
            prop_assert_eq!(fit(&encoded, cells), decoded.is_ok());
            prop_assert!(decoded.is_err() || decoded.is_ok_and(|counts| counts.len() == cells));
        }
    }

    #[test]
    fn zeros_cost_nothing() {
        assert_eq!(encode(&[0, 0, 5, 0, 7, 0, 0]), [2, 5, 1, 7]);
        assert!(encode(&[0; 4000]).is_empty());
    }

    #[test]
    fn broken_codes_are_refused() {
        assert_eq!(decode(&[0], 3), Err(RunsError::OddLength));
        assert_eq!(decode(&[3, 1], 3), Err(RunsError::BeyondGrid { cells: 3 }));
        assert_eq!(decode(&[0, 1, u64::MAX, 1], 3), Err(RunsError::BeyondGrid { cells: 3 }));
        assert_eq!(decode(&[0, 1], 0), Err(RunsError::BeyondGrid { cells: 0 }));
    }

    #[test]
    fn a_refused_sum_leaves_the_counts_alone() {
        let mut counts = [1, u64::MAX];
        assert_eq!(add(&[0, 1, 0, 1], &mut counts), Err(RunsError::Overflow { cell: 1 }));
        assert_eq!(counts, [1, u64::MAX]);
        assert_eq!(add(&[0, 1, 5, 1], &mut counts), Err(RunsError::BeyondGrid { cells: 2 }));
        assert_eq!(counts, [1, u64::MAX]);
    }
}
