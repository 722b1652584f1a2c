//! The cells that labelled scores are counted in: a few cuts of the output's own grid.

use super::BaselineSeries;
use crate::cells::{Grid, NumericGrid};
use crate::event::SeriesOf;
use crate::stats::quantile::cuts_at_levels;

/// Cuts at most, so that counts by unit bucket and truth value stay small.
const MAX_CUTS: usize = 32;

/// Up to 32 cuts of a numeric output's grid, and so up to 65 rank cells: all cuts where there are no more, else those
/// at the levels i/33 of its baseline, whose values stand in a gap then by one in 33 or hardly more. It follows from the
/// baseline alone, so that the counts of all replicas add up.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreGrid {
    grid: NumericGrid,
    hash: u64,
}

impl ScoreGrid {
    /// `None` unless the series is a numeric output.
    pub fn of(series: &BaselineSeries) -> Option<ScoreGrid> {
        let Grid::Numeric(fine) = &*series.grid else { return None };
        if series.of != SeriesOf::Prediction {
            return None;
        }
        let cuts = match fine.cuts() {
            few if few.len() <= MAX_CUTS => few.to_vec(),
            cuts => {
                let levels = cuts_at_levels(&series.counts, MAX_CUTS as u32 + 1).into_iter().flatten();
                levels.filter_map(|cut| cuts.get(cut).copied()).collect()
            }
        };
        let grid = if fine.is_single() { NumericGrid::of_single(cuts) } else { NumericGrid::new(cuts) };
        let hash = Grid::Numeric(grid.clone()).hash();
        Some(ScoreGrid { grid, hash })
    }

    /// 2k+1 for k cuts.
    pub fn cells(&self) -> usize {
        self.grid.cells()
    }

    /// The rank cell of a score; `None` of what is not a number.
    pub fn cell(&self, score: f64) -> Option<usize> {
        let cell = self.grid.rank_one(self.grid.rounded(score)) as usize;
        (cell < self.cells()).then_some(cell)
    }

    /// [`Grid::hash`] of these cuts. Counts of other ones are never added.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::numeric_series;

    fn grid(values: Vec<f64>) -> ScoreGrid {
        ScoreGrid::of(&numeric_series("score", SeriesOf::Prediction, values, 0)).expect("a numeric output")
    }

    #[test]
    fn few_values_are_all_told_apart() {
        let found = grid(vec![0.25, 0.5, 0.75, 0.5]);
        let cells = [0.1, 0.25, 0.3, 0.5, 0.75, f64::INFINITY].map(|score| found.cell(score));
        assert_eq!(cells, [0, 1, 2, 3, 5, 6].map(Some));
        assert_eq!((found.cells(), found.cell(f64::NAN)), (7, None));
    }

    #[test]
    fn a_gap_between_cuts_of_many_values_holds_one_in_33_of_them_at_most() {
        let mut random = fastrand::Rng::with_seed(3);
        // Half of them are one value.
        let value = |random: &mut fastrand::Rng| if random.bool() { 0.0 } else { random.f64().powi(3) };
        let values: Vec<f64> = (0..20_000).map(|_| value(&mut random)).collect();
        let found = grid(values.clone());
        assert!((20..=2 * MAX_CUTS + 1).contains(&found.cells()), "{}", found.cells());
        let mut counts = vec![0_u32; found.cells()];
        values.iter().for_each(|score| counts[found.cell(*score).expect("a number")] += 1);
        let largest = counts.iter().step_by(2).max().expect("gaps");
        assert!(*largest <= 20_000 / 33 + 20, "{largest}");
        assert_eq!(found, grid(values), "the same wherever it is made");
    }

    #[test]
    fn only_numeric_outputs_have_one() {
        let feature = numeric_series("x", SeriesOf::Feature, vec![1.0, 2.0], 0);
        assert_eq!(ScoreGrid::of(&feature), None);
    }
}
