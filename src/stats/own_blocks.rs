//! How far an ordinary hour of a series lies from its whole baseline: the change that is no drift (statistics.md §9.7).
//!
//! Traffic that moves with the time of day is never distributed as the whole baseline is. The baseline's own blocks,
//! each as long as a window, show how far it strays.
//!
//! statistics.md takes the 99th percentile of the blocks' distances. One window in a hundred is beyond it by its
//! nature, and the distances of short blocks are mostly sampling noise, which the test then pays for twice. By
//! simulation (51 series, 7 days, a wander of sd .1σ within two hours) it lets 174 windows alarm. So the tail of the
//! squared distances is extrapolated, and the part of it that is noise taken off:
//!
//! `δ0² = q₉₀ + β·ln(.1/p) − 4v·½ln(2/p)·mean(1/n_e)`, p = 1e-5, with q₉₀ and β the 90th percentile of D² over the
//! blocks and the mean excess over it, and v the largest F(1−F) of the baseline (of categories p(1−p)). Kolmogorov's law
//! and the normal one both have such tails in D², so that blocks without any drift come to about 0, and no window alarms in
//! the same simulation. Of a swing that is bounded and smaller than the noise of a block, δ0 is up to twice its size.
//!
//! PSI is a squared distance already, and its tail is extrapolated in the same way. Its noise is that of its law (§3):
//!
//! `PSI0 = q₉₀ + β·ln(.1/p) − mean(χ²_{B−1}(p)/n_e)`, χ²_{B−1}(p) what a χ² of B−1 degrees exceeds with probability p,
//! B the bins that the block was compared on.

use super::psi::{self, Bins, Shares};
use super::{chi_square, ks, total};
use std::collections::BTreeMap;

/// Blocks with fewer values say more about chance than about time.
pub const LEAST_VALUES: u64 = 50;
/// With fewer blocks there is no tail.
pub const LEAST_BLOCKS: usize = 20;
/// The share of windows that may stray farther.
const BEYOND: f64 = 1e-5;
/// The share of blocks in the tail.
const TAIL: f64 = 0.1;

/// The distances of blocks of one length from the rest of the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnBlocks<'a> {
    whole: &'a [u64],
    shares: Shares,
    bins: Bins,
    /// D² of each block.
    squares: Vec<f64>,
    /// Σ 1/n_e.
    inverse_sizes: f64,
    /// PSI of each block that has one.
    indices: Vec<f64>,
    /// By the degrees of freedom of these: Σ 1/n_e.
    of_degrees: BTreeMap<usize, f64>,
}

/// What blocks of one length come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Blocks that were compared.
    pub blocks: usize,
    /// δ0, 0 to 1: of rank cells a Kolmogorov–Smirnov distance, of categories the change of one's share.
    pub distance: f64,
    /// PSI0. `None` with fewer than [`LEAST_BLOCKS`] blocks that have a PSI, which takes two bins.
    pub psi: Option<f64>,
}

impl<'a> OwnBlocks<'a> {
    /// No blocks yet of a baseline with these counts per cell, whose shares are compared on `bins`.
    pub fn new(whole: &'a [u64], shares: Shares, bins: Bins) -> Self {
        OwnBlocks {
            whole,
            shares,
            bins,
            squares: Vec::new(),
            inverse_sizes: 0.0,
            indices: Vec::new(),
            of_degrees: BTreeMap::new(),
        }
    }

    fn ordered(&self) -> bool {
        self.shares != Shares::Categories
    }

    /// Compares a block of the baseline with the rest of it. Blocks of fewer than [`LEAST_VALUES`] are passed over, as
    /// is what is no part of the baseline or all of it.
    pub fn add(&mut self, block: &[u64]) {
        let Some(n) = total(block).filter(|&n| n >= LEAST_VALUES && self.whole.len() == block.len()) else {
            return;
        };
        let rest: Option<Vec<u64>> =
            self.whole.iter().zip(block).map(|(all, part)| all.checked_sub(*part)).collect();
        let Some((rest, m)) = rest.and_then(|rest| total(&rest).map(|m| (rest, m))) else { return };
        let (n, m) = (n as f64, m as f64);
        let distance = distance(self.shares, &rest, block);
        self.squares.push(distance * distance);
        self.inverse_sizes += 1.0 / n + 1.0 / m;
        let (reference, window) = (self.bins.fold(&rest), self.bins.fold(block));
        let compared = match self.shares {
            Shares::Deciles => Some((reference, window)),
            Shares::Values | Shares::Categories => psi::merge_sparse(&reference, &window),
        };
        if let Some((reference, window)) = compared
            && let Some(index) = psi::psi(&reference, &window)
        {
            self.indices.push(index);
            *self.of_degrees.entry(reference.len() - 1).or_default() += 1.0 / n + 1.0 / m;
        }
    }

    /// `None` with fewer than [`LEAST_BLOCKS`] blocks.
    pub fn usual(mut self) -> Option<Usual> {
        let blocks = self.squares.len();
        if blocks < LEAST_BLOCKS {
            return None;
        }
        let noise = 4.0 * self.variance() * (2.0 / BEYOND).ln() / 2.0 * self.inverse_sizes / blocks as f64;
        let square = extrapolated(&mut self.squares) - noise;
        Some(Usual { blocks, distance: square.max(0.0).sqrt().min(1.0), psi: self.index() })
    }

    fn index(&mut self) -> Option<f64> {
        if self.indices.len() < LEAST_BLOCKS {
            return None;
        }
        let of_degrees =
            |(&degrees, sizes): (&usize, &f64)| sizes * chi_square::upper_quantile(BEYOND, degrees as f64);
        let noise = self.of_degrees.iter().map(of_degrees).sum::<f64>() / self.indices.len() as f64;
        Some((extrapolated(&mut self.indices) - noise).max(0.0))
    }

    /// The largest F(1−F), or p(1−p).
    fn variance(&self) -> f64 {
        let all = self.whole.iter().map(|&count| count as f64).sum::<f64>();
        let mut below = 0.0;
        let shares = self.whole.iter().map(|&count| {
            below = if self.ordered() { below + count as f64 } else { count as f64 };
            below / all
        });
        shares.map(|share| share * (1.0 - share)).fold(0.0, f64::max)
    }
}

/// How far two sets of counts on the same cells are apart, 0 to 1: the Kolmogorov–Smirnov distance; of categories the
/// largest change of one's share. 0 where there is nothing to compare.
pub fn distance(shares: Shares, reference: &[u64], window: &[u64]) -> f64 {
    if shares != Shares::Categories {
        return ks::two_sample(reference, window, true).map_or(0.0, |ks| ks.statistic);
    }
    let all = |counts: &[u64]| counts.iter().sum::<u64>().max(1) as f64;
    let (m, n) = (all(reference), all(window));
    let change = |(&r, &w): (&u64, &u64)| (r as f64 / m - w as f64 / n).abs();
    reference.iter().zip(window).map(change).fold(0.0, f64::max)
}

/// What a share [`BEYOND`] of the values exceeds: the largest [`TAIL`] of them, continued exponentially. The values are
/// not none.
fn extrapolated(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (bulk, tail) = values.split_at(values.len() - (TAIL * values.len() as f64).ceil() as usize);
    let threshold = bulk.last().copied().unwrap_or_default();
    let excess = tail.iter().map(|value| value - threshold).sum::<f64>() / tail.len() as f64;
    threshold + excess * (TAIL / BEYOND).ln()
}

#[cfg(test)]
mod tests;
