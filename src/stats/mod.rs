//! Statistics of drift: slices of counts in, numbers out. Pure.
//!
//! Counts come in two shapes: *rank cells* of a numeric grid (2k+1 for k cuts, see [`crate::cells`]), or one
//! cell per category. Whatever cannot be measured (an empty side, sides of different lengths, totals beyond
//! 63 bits) is `None`, never a made-up number.

mod binomial;
pub mod bounds;
pub mod chi_square;
pub mod compat;
pub mod divergence;
pub mod homogeneity;
pub mod jensen_shannon;
pub mod ks;
pub mod labelled;
pub mod normal;
pub mod own_blocks;
pub mod pit;
pub mod psi;
pub mod quantile;
pub mod rare;
pub mod rates;
pub mod scan;
pub mod sequential;
pub mod unseen;
pub mod wasserstein;

/// Counts per cell with their sum, so that statistics of the same counts need not add them up each.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    cells: &'a [u64],
    total: u64,
}

impl<'a> Counted<'a> {
    /// `None` when nothing is counted, or the sum does not fit an `i64`.
    pub fn new(cells: &'a [u64]) -> Option<Counted<'a>> {
        Some(Counted { cells, total: total(cells)? })
    }

    /// Of counts whose sum is known to be `total`; `None` as for [`Counted::new`].
    pub fn of_total(cells: &'a [u64], total: u64) -> Option<Counted<'a>> {
        debug_assert_eq!(cells.iter().sum::<u64>(), total, "the sum of the counts");
        is_total(total).then_some(Counted { cells, total })
    }
}

/// The sum of counts; `None` when it is zero or does not fit an `i64` (so that products of two totals fit an
/// `i128`).
fn total(counts: &[u64]) -> Option<u64> {
    checked_sum(counts).filter(|sum| is_total(*sum))
}

fn is_total(sum: u64) -> bool {
    sum > 0 && i64::try_from(sum).is_ok()
}

/// The sum of counts; `None` when it exceeds 64 bits.
fn checked_sum(counts: &[u64]) -> Option<u64> {
    // Without a branch several are added at once; up to 2¹⁵ counts of 48 bits cannot exceed 63 bits together.
    let add = |(sum, bits): (u64, u64), &count: &u64| (sum.wrapping_add(count), bits | count);
    let (sum, bits) = counts.iter().fold((0, 0), add);
    if bits < 1 << 48 && counts.len() <= 1 << 15 {
        return Some(sum);
    }
    counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count))
}

/// The sums of ranges of cells; each begins where the one before it ends, and ends before its entry of `ends`.
/// Beyond 64 bits a sum is the largest number.
pub(crate) fn sums_of_ranges<'a>(ends: &'a [usize], counts: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
    let mut start = 0;
    ends.iter().map(move |&end| {
        let cells = counts.get(start..end).unwrap_or_default();
        start = end;
        checked_sum(cells).unwrap_or(u64::MAX)
    })
}

/// Σ of a function of both shares over the bins: the reference's share, then the window's. `None` when a side
/// is empty or the numbers of bins differ.
fn sum_over_shares(reference: &[u64], window: &[u64], of: impl Fn(f64, f64) -> f64) -> Option<f64> {
    if reference.len() != window.len() {
        return None;
    }
    let (m, n) = (total(reference)? as f64, total(window)? as f64);
    let bins = reference.iter().zip(window);
    Some(bins.map(|(&r, &w)| of(r as f64 / m, w as f64 / n)).sum())
}
