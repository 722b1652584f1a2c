//! The population stability index: symmetrised Kullback–Leibler divergence on bins of the reference.

use super::{chi_square, normal, quantile, sums_of_ranges, total};

/// Quantile bins of a numeric reference.
const NUMERIC_BINS: u32 = 10;

/// Counts that a bin must expect on both sides for the chi-square law to hold.
const LEAST_EXPECTED: f64 = 5.0;

/// A cell of so large a share of the reference is a bin of its own, where values are compared one by one.
const OWN_BIN: u64 = 100;

/// How the shares of a series are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shares {
    /// Rank cells, on ten quantile bins of the reference.
    Deciles,
    /// Rank cells of which a few values fill most: by value.
    Values,
    /// Each cell is a category.
    Categories,
}

/// The bins of a reference, as ranges of its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bins {
    /// One past the last cell of each bin.
    ends: Vec<usize>,
}

impl Bins {
    /// The bins of a reference with these counts per cell.
    pub fn new(shares: Shares, counts: &[u64]) -> Self {
        match shares {
            Shares::Deciles => Bins::deciles(counts),
            Shares::Values => Bins::values(counts),
            Shares::Categories => Bins { ends: (1..=counts.len()).collect() },
        }
    }

    /// (−∞,e₁], (e₁,e₂], …, (eₖ,∞) with eᵢ the order statistic `r[ceil(i*m/10) - 1]` (on a compressed grid: the
    /// first cut at or above it), equal edges taken once.
    fn deciles(counts: &[u64]) -> Self {
        // A bin ends with the tie cell of its edge.
        let mut ends: Vec<usize> = quantile::cuts_at_levels(counts, NUMERIC_BINS)
            .into_iter()
            .flatten()
            .map(|cut| 2 * cut + 2)
            .collect();
        ends.push(counts.len());
        ends.dedup();
        Bins { ends }
    }

    /// Each cell of a hundredth of the reference or more by itself; what lies between is joined until it is as much.
    /// So at most 201 bins, of which [`merge_sparse`] joins those that a window is too small for.
    fn values(counts: &[u64]) -> Self {
        let all: u128 = counts.iter().map(|&count| u128::from(count)).sum();
        let fills = |count: u128| count > 0 && count * u128::from(OWN_BIN) >= all;
        let (mut ends, mut joined) = (Vec::new(), 0u128);
        for (cell, &count) in counts.iter().enumerate() {
            if fills(u128::from(count)) && joined > 0 {
                ends.push(cell);
                joined = 0;
            }
            joined += u128::from(count);
            if fills(joined) {
                ends.push(cell + 1);
                joined = 0;
            }
        }
        ends.push(counts.len());
        ends.dedup();
        Bins { ends }
    }

    /// The number of bins.
    pub fn bins(&self) -> usize {
        self.ends.len()
    }

    /// The counts per bin of counts per cell, which must be on the reference's grid.
    pub fn fold(&self, counts: &[u64]) -> Vec<u64> {
        sums_of_ranges(&self.ends, counts).collect()
    }
}

/// The index of two histograms on the same bins, with Jeffreys' half count added to every bin of both sides:
/// `Σ (qᵢ−pᵢ) ln(qᵢ/pᵢ)`, `pᵢ = (reference + ½)/(m + B/2)` and `qᵢ` likewise of the window. At least 0.
/// `None` with fewer than two bins, an empty side, or different numbers of bins.
pub fn psi(reference: &[u64], window: &[u64]) -> Option<f64> {
    let bins = reference.len();
    if bins < 2 || bins != window.len() {
        return None;
    }
    total(reference).and(total(window))?;
    let sum = jeffreys(reference).zip(jeffreys(window)).map(|(p, q)| (q - p) * (q / p).ln()).sum();
    Some(sum)
}

/// P(PSI at least this large) when the true index is `tolerance` (0: no drift at all): the law
/// `PSI ≈ v·χ²(bins−1; λ = tolerance/v)` with `v = 1/n_eff + 1/m` (statistics.md §3).
///
/// `n_eff`: values of the window over its autocorrelation factor; `m`: values of the reference. Sound down to
/// about 1e-3 for n_eff < 500, to 1e-6 from 1,000. 1 when nothing can be said.
pub fn p_value(psi: f64, n_eff: f64, m: f64, bins: usize, tolerance: f64) -> f64 {
    let variance = 1.0 / n_eff + 1.0 / m;
    if bins < 2 || !(variance > 0.0 && variance.is_finite()) {
        return 1.0;
    }
    let p = chi_square::sf(psi / variance, (bins - 1) as f64, tolerance.max(0.0) / variance);
    if p.is_nan() { 1.0 } else { p }
}

/// [`p_value`] of two histograms of categories or values, sound for rare ones too. With a tolerance the chi-square law
/// rejects a rare category that grew to just that index several times too often, so the larger of it and of
/// the normal law with the index' own standard error counts (statistics.md §9.9). `None` as for [`psi`].
pub fn p_value_categorical(reference: &[u64], window: &[u64], n_eff: f64, tolerance: f64) -> Option<f64> {
    let index = psi(reference, window)?;
    let m = total(reference)? as f64;
    let by_law = p_value(index, n_eff, m, reference.len(), tolerance);
    if tolerance <= 0.0 {
        return Some(by_law);
    }
    let error = standard_error(reference, window, n_eff, m);
    let by_error = normal::sf((index - tolerance) / error);
    // NaN (no error to divide by) leaves the law.
    Some(by_law.max(by_error))
}

/// `se² = Var_q(L+1−p/q)/n + Var_p(1−q/p−L)/m`, `L = ln(q/p)`, on Jeffreys' shares.
fn standard_error(reference: &[u64], window: &[u64], n_eff: f64, m: f64) -> f64 {
    let (p, q) = (jeffreys(reference), jeffreys(window));
    let (mut of_window, mut of_reference) = (Moments::default(), Moments::default());
    for (p, q) in p.zip(q) {
        let log = (q / p).ln();
        of_window.add(q, log + 1.0 - p / q);
        of_reference.add(p, 1.0 - q / p - log);
    }
    (of_window.variance() / n_eff + of_reference.variance() / m).sqrt()
}

/// Shares with half a count added to every bin.
fn jeffreys(counts: &[u64]) -> impl Iterator<Item = f64> {
    let sum = counts.iter().map(|&count| count as f64).sum::<f64>() + counts.len() as f64 / 2.0;
    counts.iter().map(move |&count| (count as f64 + 0.5) / sum)
}

/// First and second moment of a function under a discrete distribution.
#[derive(Default)]
struct Moments {
    first: f64,
    second: f64,
}

impl Moments {
    fn add(&mut self, share: f64, value: f64) {
        self.first += share * value;
        self.second += share * value * value;
    }

    fn variance(&self) -> f64 {
        (self.second - self.first * self.first).max(0.0)
    }
}

/// The index less what sampling alone adds to it: `max(0, PSI − (B−1)(1/n + 1/m))`. For display.
pub fn corrected(psi: f64, n: f64, m: f64, bins: usize) -> f64 {
    (psi - bins.saturating_sub(1) as f64 * (1.0 / n + 1.0 / m)).max(0.0)
}

/// Both histograms with adjacent bins joined until the reference's share of each bin expects at least five
/// counts on either side, as the law of [`p_value`] asks. Categories stand by falling frequency, so what is
/// joined there are the rare ones. `None` as for [`psi`], also when fewer than two bins are left.
pub fn merge_sparse(reference: &[u64], window: &[u64]) -> Option<(Vec<u64>, Vec<u64>)> {
    if reference.len() != window.len() {
        return None;
    }
    let (m, n) = (total(reference)? as f64, total(window)? as f64);
    let least = LEAST_EXPECTED * (m / n).max(1.0);
    let (mut merged_reference, mut merged_window) = (Vec::new(), Vec::new());
    let (mut r, mut w) = (0, 0);
    for (&reference, &window) in reference.iter().zip(window) {
        r += reference;
        w += window;
        if r as f64 >= least {
            merged_reference.push(r);
            merged_window.push(w);
            (r, w) = (0, 0);
        }
    }
    *merged_reference.last_mut()? += r;
    *merged_window.last_mut()? += w;
    (merged_reference.len() >= 2).then_some((merged_reference, merged_window))
}

#[cfg(test)]
mod tests;
