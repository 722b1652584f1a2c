//! The Wasserstein-1 distance on rank cells, as a bracket.
//!
//! W1 = ∫ |Δ(x)| dx with Δ = A − B, A the window's distribution function, B the reference's. Cells say A and B at the
//! cuts; between two cuts e < e₊ (a gap of length L) Δ stays within `l = A(e) − B(e₊−)` and `h = A(e₊−) − B(e)`.
//! With the sum of the values between two farther cuts the integral of Δ between them is known too
//! (statistics.md §1.4). Both kinds of comparison use the same formulas: a reference whose values are all cuts has
//! nothing in its gaps, and two windows have something in both.

use super::Counted;
use super::ks::{Ks, Scan};
use crate::cells::{NumericGrid, SPANS, Sums, stretches};

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

/// One side of a comparison: the count of each of the 2k+1 cells of k cuts, and the sums of its values by span.
#[derive(Debug, Clone, Copy)]
struct Side<'a> {
    counts: Counted<'a>,
    sums: &'a Sums,
}

/// The bracket of [`from_sums`] or, where that gives none, of [`from_counts`]; and the KS distance, which is
/// [`super::ks::between`]'s to the bit: numerators are whole, and exact as doubles while n·m is at most 2⁵³. Beyond
/// that, and without a bracket, it takes a pass of its own. `sums`: of reference and window. `exact`: as for KS.
pub fn with_ks(
    grid: &NumericGrid,
    (reference, window): (Counted<'_>, Counted<'_>),
    sums: Option<(&Sums, &Sums)>,
    exact: bool,
) -> (Option<Bracket>, Option<Ks>) {
    let by_sums = sums.and_then(|(of_reference, of_window)| {
        let reference = Side { counts: reference, sums: of_reference };
        from_sums(grid, reference, Side { counts: window, sums: of_window })
    });
    let found = by_sums.or_else(|| from_counts(grid.cuts(), reference, window));
    let (bracket, scan) = found.map_or((None, None), |(bracket, walk)| (Some(bracket), walk.scan()));
    let ks = match scan {
        Some(scan) => Some(scan.distance((window.total, reference.total), exact)),
        None => super::ks::between(reference, window, exact),
    };
    (bracket, ks)
}

/// The bracket from counts and the sums of spans. Of a stretch from cut e to cut f that holds a values of the window
/// (sum S) and b of the reference (sum T), `I = ∫Δ = (A(e−)−B(e−))·(f−e) + (a·f − S)/n − (b·f − T)/m`. With P the
/// integral of Δ where it is positive and N that of −Δ where it is negative, `I = P − N`, and the stretch's part of
/// the distance is `P + N = I + 2N = 2P − I`: the counts bound P by ΣL·max(0, l) and ΣL·max(0, h), N by ΣL·max(0, −h)
/// and ΣL·max(0, −l). Where Δ surely keeps its sign it is |I|, exactly. Beyond the outermost cuts each side has a
/// tail of area I_A or I_B: |I_A − I_B| at least, I_A + I_B at most, which is exact where the reference's smallest and
/// largest value are cuts.
///
/// One pass, no allocation; a·f − S is integer arithmetic. `None` when there is no cut, a cut is infinite, a side is
/// empty or has values that its sums do not hold, or the lengths do not fit.
///
/// With it the walk over all gaps that found it.
fn from_sums<'a>(
    grid: &'a NumericGrid,
    reference: Side<'a>,
    window: Side<'a>,
) -> Option<(Bracket, Walk<'a>)> {
    let (cuts, scale) = (grid.cuts(), grid.scale());
    let (m, n) = (reference.counts.total, window.counts.total);
    let (of_reference, of_window) = cells(cuts, reference.counts, window.counts)?;
    if reference.sums.values != m || window.sums.values != n {
        return None;
    }
    // ∫ of a side's own function over a span: its values there (so many) fill the area up to a cut.
    let area = |side: &Side<'_>, span: usize, count: u64, cut: f64, size: u64| {
        let units = i128::from(count) * scale.sum_of(cut)?.units() - side.sums.spans[span].units();
        Some(scale.value(units as f64) / size as f64)
    };
    let last = 2 * cuts.len();
    let (mut lower, mut upper) = (0.0, 0.0);
    for (span, cell, cut) in [(0, 0, cuts[0]), (SPANS - 1, last, cuts[cuts.len() - 1])] {
        let a = area(&window, span, of_window[cell], cut, n)?;
        let b = area(&reference, span, of_reference[cell], cut, m)?;
        lower += (a - b).abs();
        upper += a.abs() + b.abs();
    }
    let mut walk = Walk::new(cuts, reference.counts, window.counts);
    for (stretch, range) in stretches(cuts.len()).enumerate().filter(|(_, range)| !range.is_empty()) {
        let (before, start) = (walk.below, cuts[range.start]);
        let bounds = walk.over(range.len());
        // The last cut ends the last stretch, with the values on it.
        let (end, ties) = match cuts.get(range.end) {
            Some(end) => (*end, (0, 0)),
            None => (cuts[cuts.len() - 1], (of_window[last - 1], of_reference[last - 1])),
        };
        let counts = (walk.below.0 - before.0 + ties.0, walk.below.1 - before.1 + ties.1);
        let a = area(&window, stretch + 1, counts.0, end, n)?;
        let b = area(&reference, stretch + 1, counts.1, end, m)?;
        let at_start = before.0 as f64 / n as f64 - before.1 as f64 / m as f64;
        let (low, high) = bounds.of_integral(at_start * (end - start) + a - b);
        lower += low;
        upper += high;
    }
    Some((Bracket { lower, upper: Some(upper) }, walk))
}

/// The bracket from counts alone: in each gap, `L·max(0, l, −h)` at least, where the two functions keep apart
/// however the values lie, and `L·max(−l, h)` at most. With a value beyond the outermost cuts nothing bounds
/// the distance from above.
///
/// One pass, no allocation. `None` when there is no cut, a cut is infinite, a side is empty or its total
/// exceeds 63 bits, or the lengths do not fit.
///
/// As [`from_sums`], with the walk.
fn from_counts<'a>(
    cuts: &'a [f64],
    reference: Counted<'a>,
    window: Counted<'a>,
) -> Option<(Bracket, Walk<'a>)> {
    let cells = cells(cuts, reference, window)?;
    let mut walk = Walk::new(cuts, reference, window);
    let bounds = walk.over(cuts.len());
    let last = 2 * cuts.len();
    let inside = [cells.0, cells.1].iter().all(|counts| counts[0] == 0 && counts[last] == 0);
    let lower = (bounds.positive.0 + bounds.negative.0).max(0.0);
    Some((Bracket { lower, upper: inside.then_some(bounds.most) }, walk))
}

/// The cells of reference and window, when everything fits together.
fn cells<'a>(cuts: &[f64], reference: Counted<'a>, window: Counted<'a>) -> Option<(&'a [u64], &'a [u64])> {
    let wanted = 2 * cuts.len() + 1;
    let fits = reference.cells.len() == wanted && window.cells.len() == wanted;
    // Cuts increase: if any is infinite, an outermost one is.
    let finite = cuts.first()?.is_finite() && cuts.last()?.is_finite();
    (fits && finite).then_some((reference.cells, window.cells))
}

/// What counts say of some gaps: at least and at most so much.
struct Bounds {
    /// Of P.
    positive: (f64, f64),
    /// Of N.
    negative: (f64, f64),
    /// Of P + N, at most.
    most: f64,
}

impl Bounds {
    /// P + N at least and at most, with I = P − N known.
    fn of_integral(&self, integral: f64) -> (f64, f64) {
        let least = (integral + 2.0 * self.negative.0).max(2.0 * self.positive.0 - integral);
        let most = (integral + 2.0 * self.negative.1).min(2.0 * self.positive.1 - integral);
        // |I| is a bound whatever the counts say; rounding may put the others a hair beyond it.
        let least = least.max(integral.abs());
        (least, most.min(self.most).max(least))
    }
}

/// Doubles hold every whole number up to this one.
const WHOLE: u128 = 1 << 53;

/// Extremes of Δ in units of 1/(n·m).
#[derive(Debug, Clone, Copy)]
struct Extremes {
    /// At cuts, and below them.
    lowest: f64,
    highest: f64,
    /// What Δ may come to inside a gap.
    lowest_in_gap: f64,
    highest_in_gap: f64,
}

impl Extremes {
    /// Takes in a gap at whose ends the functions have these values.
    #[inline]
    fn add(&mut self, [a_start, a_end]: [f64; 2], [b_start, b_end]: [f64; 2]) {
        // Comparisons as one instruction each: nothing here is NaN.
        let (less, more) =
            (|a: f64, b: f64| if a < b { a } else { b }, |a: f64, b: f64| if a > b { a } else { b });
        let (start, end) = (a_start - b_start, a_end - b_end);
        self.lowest = less(less(self.lowest, start), end);
        self.highest = more(more(self.highest, start), end);
        self.lowest_in_gap = less(self.lowest_in_gap, a_start - b_end);
        self.highest_in_gap = more(self.highest_in_gap, a_end - b_start);
    }
}

/// Walks over the gaps between cuts, of counts that [`cells`] accepts.
struct Walk<'a> {
    /// Ends of the gaps that are left.
    cuts: &'a [f64],
    /// The tie below each of them and its own count, of window and reference.
    window: &'a [[u64; 2]],
    reference: &'a [[u64; 2]],
    /// Values of window and reference below the next cut.
    below: (u64, u64),
    /// n and m.
    sizes: (u64, u64),
    /// Of the gaps so far, the one below the first cut among them.
    extremes: Extremes,
}

impl<'a> Walk<'a> {
    fn new(cuts: &'a [f64], reference: Counted<'a>, window: Counted<'a>) -> Walk<'a> {
        let (n, m) = (window.total as f64, reference.total as f64);
        let below = (window.cells[0], reference.cells[0]);
        let mut extremes = Extremes { lowest: 0.0, highest: 0.0, lowest_in_gap: 0.0, highest_in_gap: 0.0 };
        extremes.add([0.0, m * below.0 as f64], [0.0, n * below.1 as f64]);
        Walk {
            cuts,
            window: window.cells[1..].as_chunks::<2>().0,
            reference: reference.cells[1..].as_chunks::<2>().0,
            below,
            sizes: (window.total, reference.total),
            extremes,
        }
    }

    /// The bounds of the next `gaps` gaps, or of those that are left.
    fn over(&mut self, gaps: usize) -> Bounds {
        let gaps = gaps.min(self.cuts.len() - 1);
        let (window, reference) = (&self.window[..gaps], &self.reference[..gaps]);
        let ends = self.cuts[..gaps].iter().zip(&self.cuts[1..]);
        let (n, m) = (self.sizes.0 as f64, self.sizes.1 as f64);
        // Signed: totals fit, and such a number takes one instruction to become a double.
        let times = |count: i64, size: f64| count as f64 * size;
        let (mut w, mut r) = (self.below.0 as i64, self.below.1 as i64);
        // Σ of L·max(0, l), L·max(0, h), L·l, L·h and L·max(h, −l), l and h in units of 1/(n·m), which lengths take in:
        // of them, unlike of whole numbers, even the largest may be.
        let unit = 1.0 / (n * m);
        let (mut positive, mut all, mut most) = ((0.0, 0.0), (0.0, 0.0), 0.0);
        let mut extremes = self.extremes;
        for (((from, to), [tied_w, in_w]), [tied_r, in_r]) in ends.zip(window).zip(reference) {
            let length = (to - from) * unit;
            let (w_start, r_start) = (w + *tied_w as i64, r + *tied_r as i64);
            (w, r) = (w_start + *in_w as i64, r_start + *in_r as i64);
            let (a, b) = ([times(w_start, m), times(w, m)], [times(r_start, n), times(r, n)]);
            extremes.add(a, b);
            let (lowest, highest) = (length * (a[0] - b[1]), length * (a[1] - b[0]));
            positive.0 += if lowest > 0.0 { lowest } else { 0.0 };
            positive.1 += if highest > 0.0 { highest } else { 0.0 };
            all.0 += lowest;
            all.1 += highest;
            most += if highest > -lowest { highest } else { -lowest };
        }
        self.below = (w as u64, r as u64);
        self.extremes = extremes;
        self.cuts = &self.cuts[gaps..];
        (self.window, self.reference) = (&self.window[gaps..], &self.reference[gaps..]);
        // max(0, −x) = max(0, x) − x.
        Bounds { positive, negative: (positive.1 - all.1, positive.0 - all.0), most }
    }

    /// The extremes of Δ, once all gaps between cuts are behind. `None` where doubles do not hold them exactly.
    fn scan(mut self) -> Option<Scan> {
        let (n, m) = self.sizes;
        if u128::from(n) * u128::from(m) > WHOLE {
            return None;
        }
        // What is left is the last cut, and the gap above it, where both functions come to 1.
        let [tied_w, _] = self.window.first()?;
        let [tied_r, _] = self.reference.first()?;
        let (a, b) = ((self.below.0 + tied_w) as f64 * m as f64, (self.below.1 + tied_r) as f64 * n as f64);
        let one = n as f64 * m as f64;
        self.extremes.add([a, one], [b, one]);
        let Extremes { lowest, highest, lowest_in_gap, highest_in_gap } = self.extremes;
        let whole = |low: f64, high: f64| high.max(-low) as u128;
        Some(Scan { largest: whole(lowest, highest), largest_in_gap: whole(lowest_in_gap, highest_in_gap) })
    }
}

#[cfg(test)]
mod tests;
