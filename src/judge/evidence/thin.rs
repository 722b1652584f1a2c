//! A grid with fewer cuts, for what is kept per series of a rollout.

use crate::stats::{quantile, sums_of_ranges};

/// Cuts at equal masses of the reference: a distance loses at most 1/128 by what lies between them, on average
/// a twenty-fifth of the critical value (statistics.md §1.2).
const MASSES: u32 = 128;
/// Cuts kept beyond either end of the reference, of the grid's guards there.
const GUARDS: usize = 8;

/// Some of the cuts of a numeric grid, as ranges of its rank cells: a gap and a tie for each, and the last gap.
/// So an atom of the reference with more than 1/128 of its mass stays a tie of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thin {
    /// One past the last cell of each range.
    ends: Vec<usize>,
}

impl Thin {
    /// Of a grid on which the reference has these counts per rank cell.
    pub fn from_reference(counts: &[u64]) -> Thin {
        let cuts = counts.len() / 2;
        let mut chosen: Vec<usize> = quantile::cuts_at_levels(counts, MASSES).into_iter().flatten().collect();
        let holds = |cut: &usize| counts[2 * cut + 1] > 0 || counts[2 * cut] > 0;
        let first = (0..cuts).find(holds).unwrap_or(0);
        let last = (0..cuts).rfind(holds).unwrap_or(cuts.saturating_sub(1));
        chosen.extend([first, last].into_iter().filter(|cut| *cut < cuts));
        chosen.extend(spread(0..first));
        chosen.extend(spread(last + 1..cuts));
        chosen.sort_unstable();
        chosen.dedup();
        let mut ends: Vec<usize> = chosen.iter().flat_map(|cut| [2 * cut + 1, 2 * cut + 2]).collect();
        ends.push(counts.len());
        Thin { ends }
    }

    /// Every cell for itself.
    pub fn none(cells: usize) -> Thin {
        Thin { ends: (1..=cells).collect() }
    }

    /// How many cells are left.
    pub fn cells(&self) -> usize {
        self.ends.len()
    }

    /// Counts per cell of the grid → counts per range.
    pub fn fold(&self, counts: &[u64]) -> Vec<u64> {
        sums_of_ranges(&self.ends, counts).collect()
    }
}

/// At most [`GUARDS`] of a range, evenly.
fn spread(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    let step = range.len().div_ceil(GUARDS).max(1);
    range.step_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 cuts, of which the middle 600 hold the reference; one value in five is the same one.
    fn reference() -> Vec<u64> {
        let mut counts = vec![0; 2_001];
        (200..800).for_each(|cut| counts[2 * cut + 1] = 4);
        counts[2 * 500 + 1] += 600;
        counts
    }

    #[test]
    fn atoms_stay_ties_and_the_guards_are_kept() {
        let counts = reference();
        let thin = Thin::from_reference(&counts);
        assert!(thin.cells() % 2 == 1 && thin.cells() <= 2 * (127 + 2 + 2 * GUARDS) + 1, "{}", thin.cells());
        let folded = thin.fold(&counts);
        assert_eq!(folded.iter().sum::<u64>(), counts.iter().sum::<u64>());
        let total: u64 = counts.iter().sum();
        let largest_gap = folded.iter().step_by(2).max().expect("gaps");
        assert!(*largest_gap as f64 / total as f64 <= 1.0 / 128.0, "{largest_gap} of {total}");
        assert!(folded.iter().skip(1).step_by(2).any(|tie| *tie >= 600), "the atom is a tie");
        // Values beyond the range stand in several cells.
        let mut beyond = vec![0; 2_001];
        (800..1_000).for_each(|cut| beyond[2 * cut + 1] = 1);
        assert!(thin.fold(&beyond).iter().filter(|count| **count > 0).count() > GUARDS);
    }

    #[test]
    fn a_grid_without_cuts_or_counts_is_left_as_it_is() {
        assert_eq!(Thin::from_reference(&[7]).fold(&[7]), [7]);
        assert_eq!(Thin::from_reference(&[0, 0, 0]).fold(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(Thin::none(3).fold(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(Thin::none(3).fold(&[1]), [1, 0, 0], "what is missing is nothing");
    }
}
