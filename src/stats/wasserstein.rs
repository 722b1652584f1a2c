//! The Wasserstein-1 distance on rank cells, as a bracket.
//!
//! W1 = ∫ |A(x) − B(x)| dx, A the window's distribution function, B the reference's. Cells say A and B at the
//! cuts; between two cuts e < e₊ (a gap of length L) A − B stays within `l = A(e) − B(e₊−)` and
//! `h = A(e₊−) − B(e)`. With the sums of a gap's values its integral I is known too (statistics.md §1.4).
//! Both kinds of comparison use the same formulas: a reference whose values are all cuts has nothing in its
//! gaps, and two windows have something in both.

use super::fixed::{FixedScale, FixedSum, MOST_VALUES};
use super::total;

/// What is certain about a distance: it lies in `lower ..= upper`, in the values' own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bracket {
    pub lower: f64,
    /// `None`: nothing bounds it from above.
    pub upper: Option<f64>,
}

impl Bracket {
    /// The bracket in units of `spread`, the reference's standard deviation: Evidently's "normed" distance.
    /// `None` unless the spread is positive.
    pub fn normed(self, spread: f64) -> Option<Self> {
        let positive = spread > 0.0 && spread.is_finite();
        positive
            .then(|| Bracket { lower: self.lower / spread, upper: self.upper.map(|upper| upper / spread) })
    }
}

/// One side of a comparison: the count and the sum of the values in each of the 2k+1 cells of k cuts.
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a> {
    pub counts: &'a [u64],
    pub sums: &'a [FixedSum],
}

/// The mean of all values, over the sums of [`FixedScale`]. `None` as for [`FixedScale::mean`], also when
/// lengths differ.
pub fn mean(scale: FixedScale, cells: Cells<'_>) -> Option<f64> {
    if cells.counts.len() != cells.sums.len() {
        return None;
    }
    scale.mean(cells.sums.iter().copied().sum(), total(cells.counts)?)
}

/// The bracket from counts and sums. Per gap, with the values' sums S,
/// `I = (A(e)−B(e))·L + (a·e₊−S_A)/n − (b·e₊−S_B)/m`: |I| at least, and at most `((h+l)I − 2lhL)/(h−l)` where
/// l < 0 < h, else |I|. Beyond the outermost cuts each side has a tail of area I_A or I_B: |I_A − I_B| at
/// least, I_A + I_B at most, which is exact where the reference's smallest and largest value are cuts.
///
/// One pass, no allocation; a·e₊ − S is integer arithmetic. Values beyond the scale's range
/// ([`FixedScale::holds`]) make both ends too low by what was cut.
///
/// `None` when there is no cut, a cut is infinite, a side is empty or has more than [`MOST_VALUES`] values, or
/// the lengths do not fit.
pub fn from_sums(
    cuts: &[f64],
    scale: FixedScale,
    reference: Cells<'_>,
    window: Cells<'_>,
) -> Option<Bracket> {
    let (m, n) = sizes(cuts, reference.counts, window.counts)?;
    let misaligned =
        reference.sums.len() != reference.counts.len() || window.sums.len() != window.counts.len();
    if misaligned || m.max(n) > MOST_VALUES {
        return None;
    }
    let (m, n) = (m as f64, n as f64);
    // The area between the values of a cell and a cut, positive where they lie below it.
    let area = |side: &Cells<'_>, cell: usize, cut: f64, size: f64| {
        let count = side.counts[cell];
        if count == 0 {
            return 0.0;
        }
        let units = i128::from(count) * scale.sum_of(cut).units() - side.sums[cell].units();
        scale.value(units as f64) / size
    };
    let (mut lower, mut upper) = (0.0, 0.0);
    for (cell, cut) in [(0, cuts[0]), (2 * cuts.len(), cuts[cuts.len() - 1])] {
        let (a, b) = (area(&window, cell, cut, n), area(&reference, cell, cut, m));
        lower += (a - b).abs();
        upper += a.abs() + b.abs();
    }
    for gap in gaps(cuts, (reference.counts, m), (window.counts, n)) {
        let inside = area(&window, gap.cell, gap.end, n) - area(&reference, gap.cell, gap.end, m);
        let integral = gap.start_difference() * gap.length + inside;
        let (l, h) = (gap.lowest(), gap.highest());
        let extreme =
            if l < 0.0 && 0.0 < h { ((h + l) * integral - 2.0 * l * h * gap.length) / (h - l) } else { 0.0 };
        lower += integral.abs();
        upper += extreme.max(integral.abs());
    }
    Some(Bracket { lower, upper: Some(upper) })
}

/// The bracket from counts alone: in each gap, `L·max(0, l, −h)` at least, where the two functions keep apart
/// however the values lie, and `L·max(−l, h)` at most. With a value beyond the outermost cuts nothing bounds
/// the distance from above.
///
/// One pass, no allocation. `None` when there is no cut, a cut is infinite, a side is empty or its total
/// exceeds 63 bits, or the lengths do not fit.
pub fn from_counts(cuts: &[f64], reference: &[u64], window: &[u64]) -> Option<Bracket> {
    let (m, n) = sizes(cuts, reference, window)?;
    let (mut lower, mut upper) = (0.0, 0.0);
    for gap in gaps(cuts, (reference, m as f64), (window, n as f64)) {
        let (l, h) = (gap.lowest(), gap.highest());
        lower += gap.length * l.max(-h).max(0.0);
        upper += gap.length * h.max(-l);
    }
    let last = 2 * cuts.len();
    let inside = [reference, window].iter().all(|counts| counts[0] == 0 && counts[last] == 0);
    Some(Bracket { lower, upper: inside.then_some(upper) })
}

/// The totals of reference and window, when everything fits together.
fn sizes(cuts: &[f64], reference: &[u64], window: &[u64]) -> Option<(u64, u64)> {
    let cells = 2 * cuts.len() + 1;
    let fits = reference.len() == cells && window.len() == cells;
    if cuts.is_empty() || !fits || cuts.iter().any(|cut| !cut.is_finite()) {
        return None;
    }
    Some((total(reference)?, total(window)?))
}

/// A gap between two neighbouring cuts.
struct Gap {
    /// Its cell.
    cell: usize,
    length: f64,
    /// The cut above it.
    end: f64,
    /// A and B at the cut below it.
    start: (f64, f64),
    /// A and B just before the cut above it.
    before_end: (f64, f64),
}

impl Gap {
    fn start_difference(&self) -> f64 {
        self.start.0 - self.start.1
    }

    /// l: the least that A − B may be inside.
    fn lowest(&self) -> f64 {
        self.start.0 - self.before_end.1
    }

    /// h: the most that A − B may be inside.
    fn highest(&self) -> f64 {
        self.before_end.0 - self.start.1
    }
}

/// The gaps between cuts, from counts that [`sizes`] accepts, each side with its total.
fn gaps<'a>(
    cuts: &'a [f64],
    (reference, m): (&'a [u64], f64),
    (window, n): (&'a [u64], f64),
) -> impl Iterator<Item = Gap> + 'a {
    let (mut below_reference, mut below_window) = (0u64, 0u64);
    // Four products are several times as fast as four quotients.
    let (of_n, of_m) = (1.0 / n, 1.0 / m);
    cuts.windows(2).enumerate().map(move |(index, ends)| {
        // The gap below the lower cut, and the cut itself.
        let before = 2 * index;
        below_reference += reference[before] + reference[before + 1];
        below_window += window[before] + window[before + 1];
        let cell = before + 2;
        Gap {
            cell,
            length: ends[1] - ends[0],
            end: ends[1],
            start: (below_window as f64 * of_n, below_reference as f64 * of_m),
            before_end: (
                (below_window + window[cell]) as f64 * of_n,
                (below_reference + reference[cell]) as f64 * of_m,
            ),
        }
    })
}

#[cfg(test)]
mod tests;
