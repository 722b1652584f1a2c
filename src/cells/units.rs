//! How the units of a series are spread over its distribution: counts of each unit bucket between the octiles
//! of the baseline, from which the noise between units can be told (statistics.md 9.5).

use super::spans::span_of;
use crate::event::UNIT_BUCKETS;

/// The parts that seven octiles cut a distribution into.
pub const OCTILE_BINS: usize = 8;
/// Counts of a series by unit bucket and octile bin: bucket · 8 + bin.
pub const UNIT_CELLS: usize = UNIT_BUCKETS * OCTILE_BINS;
/// One more bucket, for rows of no unit, so that counting need not ask.
const COUNTED_CELLS: usize = UNIT_CELLS + OCTILE_BINS;

/// The octile bin of every cell of a grid. The j-th octile (1 to 7) is the lowest cell up to and with which at
/// least j/8 of the baseline's values stand; bin b holds the cells above octile b and not above octile b + 1. So
/// the share of values at or below octile j is the share of the bins below j, ties included. Categories have the
/// order of their cells. On a grid of at most eight cells every cell is a bin of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Octiles {
    places: Vec<Place>,
}

/// Where the values of a cell are counted beside it: one byte, so that counting looks up one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u8);

impl Place {
    fn new(bin: u8, cell: usize, cells: usize) -> Place {
        Place(bin | (span_of(cell, cells) as u8) << 4)
    }

    /// The octile bin.
    #[inline(always)]
    pub(super) fn bin(self) -> u8 {
        self.0 & 0xf
    }

    /// The span of a numeric grid, below 16.
    #[inline(always)]
    pub(super) fn span(self) -> usize {
        usize::from(self.0 >> 4)
    }
}

impl Octiles {
    /// The octiles of a baseline that holds `counts` values in the cells of its grid. A baseline without
    /// values puts everything into the last bin.
    pub fn of(counts: &[u64]) -> Octiles {
        let cells = counts.len();
        let place = |(cell, bin): (usize, u8)| Place::new(bin, cell, cells);
        if cells <= OCTILE_BINS {
            return Octiles { places: (0..cells as u8).enumerate().map(place).collect() };
        }
        let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
        let mut below = 0_u128;
        let bin = |count: &u64| {
            // An octile lies below this cell when the cells before it hold as much as it asks for.
            let bin = (1..OCTILE_BINS as u128).take_while(|octile| 8 * below >= octile * total).count();
            below += u128::from(*count);
            bin as u8
        };
        Octiles { places: counts.iter().map(bin).enumerate().map(place).collect() }
    }

    /// The cells of the grid.
    pub fn cells(&self) -> usize {
        self.places.len()
    }

    /// The bin of a cell, below [`OCTILE_BINS`].
    pub fn bin(&self, cell: usize) -> u8 {
        self.places[cell].bin()
    }

    /// One for each cell.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }
}

/// Counts of one series by unit bucket and octile bin between two flushes. Rows of no unit are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCounts(Box<[u32; COUNTED_CELLS]>);

impl Default for UnitCounts {
    fn default() -> UnitCounts {
        UnitCounts(Box::new([0; COUNTED_CELLS]))
    }
}

impl UnitCounts {
    /// Bytes that one takes beside itself.
    pub const BYTES: usize = COUNTED_CELLS * size_of::<u32>();

    /// Counts a row of `bucket` (a bucket, or [`crate::event::NO_UNIT`]) in the octile bin `bin`.
    #[inline(always)]
    pub(super) fn add(&mut self, bucket: u8, bin: u8) {
        let cell = usize::from(bucket) * OCTILE_BINS + usize::from(bin);
        if let Some(count) = self.0.get_mut(cell) {
            *count = count.wrapping_add(1);
        }
    }

    /// The counts, by bucket · 8 + bin.
    pub fn cells(&self) -> Vec<u64> {
        self.0[..UNIT_CELLS].iter().map(|count| u64::from(*count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bins(octiles: &Octiles) -> Vec<u8> {
        (0..octiles.cells()).map(|cell| octiles.bin(cell)).collect()
    }

    proptest! {
        #[test]
        fn the_bins_below_an_octile_hold_what_stands_at_or_below_it(
            counts in prop::collection::vec(0_u64..50, 9..60),
        ) {
            let octiles = Octiles::of(&counts);
            let total: u64 = counts.iter().sum();
            prop_assume!(total > 0);
            for octile in 1..OCTILE_BINS {
                let mut sum = 0;
                let reaches = |count: &u64| {
                    sum += count;
                    8 * sum >= octile as u64 * total
                };
                let at = counts.iter().position(reaches).expect("the last cell reaches everything");
                for (cell, bin) in bins(&octiles).iter().enumerate() {
                    prop_assert_eq!(usize::from(*bin) < octile, cell <= at, "octile {}, cell {}", octile, cell);
                }
            }
        }
    }

    #[test]
    fn even_counts_fill_even_bins() {
        let octiles = Octiles::of(&[5; 16]);
        assert_eq!(bins(&octiles), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]);
        assert_eq!(bins(&Octiles::of(&[0, 0, 0, 9, 0, 0, 0, 0, 1])), [0, 0, 0, 0, 7, 7, 7, 7, 7]);
        assert_eq!(bins(&Octiles::of(&[u64::MAX; 9])), [0, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(bins(&Octiles::of(&[0; 10])), [7; 10]);
        assert_eq!(bins(&Octiles::of(&[1, 99])), [0, 1], "a rare answer has a bin of its own");
        assert_eq!(bins(&Octiles::of(&[7; 8])), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
