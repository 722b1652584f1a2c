//! An exact test of two arms that bets on their difference, pane by pane (after Turner, Ly and Grünwald;
//! statistics.md §4.6).
//!
//! Given how many events of a pane lie at or below a boundary, those of the canary are hypergeometric, whatever
//! the distribution and the weight of the pane. So a bet placed by earlier panes only has a mean of 1 while the
//! arms are alike, and the product of all bets (the wealth) exceeds 1/α with probability at most α, over any
//! number of panes.

mod power;

pub use power::smallest_detectable_rate;

use crate::stats::rates::Change;
use crate::stats::total;
use statrs::function::gamma::ln_gamma;

/// Events of an arm in a pane beyond which a bet is not settled: a bet is a sum of some ten standard deviations of steps,
/// a million here, and no pane of real traffic holds so many.
pub const LARGEST_PANE: u64 = 1 << 36;

/// What a bet is placed against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// A difference of the two shares up to this is let pass.
    pub tolerance: f64,
    /// The autocorrelation factor; below 1 as 1. A bet of dependent events counts as its φ-th root.
    pub phi: f64,
    /// Which change of the canary's share at or below the boundary counts.
    pub change: Change,
}

/// The wealth, and the counts that the next bet is placed by. Plain numbers, to be stored as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wealth {
    /// Counts of closed panes per bin, of either arm. The boundaries are the ends of all bins but the last.
    pub canary: Vec<u64>,
    pub stable: Vec<u64>,
    /// ln of the wealth, and the largest it has ever been (at least 0).
    pub ln_wealth: f64,
    pub largest_ln_wealth: f64,
}

/// The test of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Betting {
    wealth: Wealth,
}

impl Betting {
    /// Of a rate: two bins, the events that count (failures, say) and those that do not.
    pub fn of_rate() -> Self {
        Self::of_bins(2)
    }

    /// Of a distribution on so many bins (64 are plenty), in an order that means something. With fewer than two
    /// there is nothing to bet on.
    pub fn of_bins(bins: usize) -> Self {
        Betting { wealth: Wealth { canary: vec![0; bins], stable: vec![0; bins], ..Wealth::default() } }
    }

    /// Goes on from stored numbers. `None` when they cannot be any: different lengths, totals beyond 63 bits, a
    /// wealth that is not finite or above its own largest.
    pub fn from_wealth(wealth: Wealth) -> Option<Self> {
        let fits = |counts: &[u64]| counts.iter().all(|&count| count == 0) || total(counts).is_some();
        let sound = wealth.canary.len() == wealth.stable.len()
            && fits(&wealth.canary)
            && fits(&wealth.stable)
            && wealth.ln_wealth.is_finite()
            && wealth.largest_ln_wealth.is_finite()
            && wealth.largest_ln_wealth >= wealth.ln_wealth.max(0.0);
        sound.then_some(Betting { wealth })
    }

    /// The numbers, for storing them.
    pub fn wealth(&self) -> &Wealth {
        &self.wealth
    }

    /// `min(1, 1/largest wealth)`: the sequential p-value. Once at α, it stays.
    pub fn p_value(&self) -> f64 {
        (-self.wealth.largest_ln_wealth).exp().min(1.0)
    }

    /// Adds a pane's counts per bin: settles the bet on it, and only then lets it count for the next one.
    /// Returns the logarithm of the factor, ln E/φ: 0 where nothing was bet. `None`, and nothing added, when
    /// lengths differ, a total exceeds 63 bits, or an arm's pane exceeds [`LARGEST_PANE`].
    pub fn add(&mut self, canary: &[u64], stable: &[u64], terms: Terms) -> Option<f64> {
        let wealth = &mut self.wealth;
        if canary.len() != wealth.canary.len() || stable.len() != wealth.stable.len() {
            return None;
        }
        let grown = |sums: &[u64], pane: &[u64]| {
            let sum = sums.iter().chain(pane).try_fold(0u64, |sum, &count| sum.checked_add(count));
            sum.filter(|&sum| i64::try_from(sum).is_ok())
        };
        grown(&wealth.canary, canary)?;
        grown(&wealth.stable, stable)?;
        if [canary, stable].iter().any(|pane| pane.iter().sum::<u64>() > LARGEST_PANE) {
            return None;
        }
        let bet = place(&wealth.canary, &wealth.stable, terms);
        let ln_factor = bet.map_or(0.0, |bet| bet.settle(canary, stable)) / terms.phi.max(1.0);
        wealth.ln_wealth += ln_factor;
        wealth.largest_ln_wealth = wealth.largest_ln_wealth.max(wealth.ln_wealth);
        wealth.canary.iter_mut().zip(canary).for_each(|(sum, count)| *sum += count);
        wealth.stable.iter_mut().zip(stable).for_each(|(sum, count)| *sum += count);
        Some(ln_factor)
    }
}

/// That the canary has more (or fewer) events at or below a boundary than its share.
struct Bet {
    /// The boundary is the end of this bin.
    bin: usize,
    /// The log odds ratio that is bet on.
    lambda: f64,
    /// The one of the largest difference that is let pass, of the same sign.
    tolerated: f64,
}

/// Bets on the boundary where the earlier panes differ most, and on half a standard error less than they
/// differ there. `None` when there is nothing to go by, or they differ by no more than is let pass.
fn place(canary: &[u64], stable: &[u64], terms: Terms) -> Option<Bet> {
    let (n_c, n_s) = (total(canary)? as f64, total(stable)? as f64);
    let (mut below_c, mut below_s) = (0u64, 0u64);
    let mut widest: Option<(f64, usize, f64, f64)> = None;
    for bin in 0..canary.len().saturating_sub(1) {
        below_c += canary[bin];
        below_s += stable[bin];
        let difference = below_c as f64 / n_c - below_s as f64 / n_s;
        let counts = match terms.change {
            Change::Differs => difference.abs(),
            Change::Rose => difference,
            Change::Fell => -difference,
        };
        if counts > widest.map_or(0.0, |(most, ..)| most) {
            widest = Some((counts, bin, below_c as f64, below_s as f64));
        }
    }
    let (_, bin, below_c, below_s) = widest?;
    let (f_c, f_s) = ((below_c + 1.0) / (n_c + 2.0), (below_s + 1.0) / (n_s + 2.0));
    let difference = logit(f_c) - logit(f_s);
    let error = (1.0 / (n_c * f_c * (1.0 - f_c)) + 1.0 / (n_s * f_s * (1.0 - f_s))).sqrt();
    let lambda = (difference.abs() - error / 2.0).max(0.0).copysign(difference);
    let right_way = match terms.change {
        Change::Differs => true,
        Change::Rose => lambda > 0.0,
        Change::Fell => lambda < 0.0,
    };
    let tolerated = tolerated(f_s, terms.tolerance.max(0.0).copysign(difference));
    (right_way && lambda.abs() > tolerated.abs()).then_some(Bet { bin, lambda, tolerated })
}

/// The log odds ratio of a share that is off the stable arm's by `tolerance`; infinite where that is no share.
///
/// statistics.md §9.4 has the tangent of it, δ0/(f(1−f)), which is the same near ½. For a rare failure the
/// tangent is too steep: a tolerance of .02 would let a rate of .01 grow to .07.
fn tolerated(stable: f64, tolerance: f64) -> f64 {
    let share = stable + tolerance;
    if share <= 0.0 {
        f64::NEG_INFINITY
    } else if share >= 1.0 {
        f64::INFINITY
    } else {
        logit(share) - logit(stable)
    }
}

fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

impl Bet {
    /// `ln E = (λ−λ0)·a + K(λ0) − K(λ)`, with a = the pane's canary events at or below the boundary.
    fn settle(&self, canary: &[u64], stable: &[u64]) -> f64 {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        let (n_c, n_s) = (sum(canary), sum(stable));
        let (a, b) = (sum(&canary[..=self.bin]), sum(&stable[..=self.bin]));
        let certain = n_c == 0 || n_s == 0 || a + b == 0 || a + b == n_c + n_s;
        if certain {
            return 0.0;
        }
        (self.lambda - self.tolerated) * a as f64 + ln_tilted_sum(n_c, n_s, a + b, self.tolerated)
            - ln_tilted_sum(n_c, n_s, a + b, self.lambda)
    }
}

/// `K(λ) = ln Σ_k C(n_c,k)·C(n_s,t−k)·e^(λk)` over all k that are possible, 0 < t < n_c + n_s: Fisher's
/// noncentral hypergeometric law before it is normalised. Summed outwards from about its largest term, in some
/// forty standard deviations of steps.
fn ln_tilted_sum(n_c: u64, n_s: u64, t: u64, lambda: f64) -> f64 {
    let (lowest, highest) = (t.saturating_sub(n_s), n_c.min(t));
    let psi = lambda.exp();
    let (canary, stable, both) = (n_c as f64, n_s as f64, t as f64);
    // Where C(n_c,k)·C(n_s,t−k)·ψᵏ neither rises nor falls: (n_c−k)(t−k)ψ = k(n_s−t+k).
    let linear = psi * (canary + both) + stable - both;
    let (quadratic, constant) = (psi - 1.0, psi * canary * both);
    let root = 2.0 * constant / (linear + (linear * linear - 4.0 * quadratic * constant).max(0.0).sqrt());
    let start = (root as u64).clamp(lowest, highest);
    // The term at k+1 over the term at k.
    let step = |k: u64| {
        let k = k as f64;
        psi * (canary - k) / (k + 1.0) * ((both - k) / (stable - both + k + 1.0))
    };
    let (mut sum, mut term) = (1.0, 1.0);
    for k in start..highest {
        term *= step(k);
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    term = 1.0;
    for k in (lowest..start).rev() {
        term /= step(k);
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    ln_choose(n_c, start) + ln_choose(n_s, t - start) + lambda * start as f64 + sum.ln()
}

fn ln_choose(n: u64, k: u64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

#[cfg(test)]
mod tests;
