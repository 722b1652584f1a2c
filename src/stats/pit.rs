//! Comparing what two versions answer: a difference in differences on ranks.
//!
//! A better model has other scores by design, so raw scores are never compared. Each version's answers are
//! ranked within that version's own held-out reference (the probability integral transform, PIT) at the
//! fixed levels i/256, and Δ(i) = (G_c−M_c)(i) − (G_s−M_s)(i) compares how far each arm has moved from its
//! reference: G is the live share at or below the level's edge, M the reference's own share, c the canary, s
//! the stable arm. The grids of the arms may differ (statistics.md §5, §9.2).

use super::{chi_square, ks, quantile, sums_of_ranges, total};

/// Levels are i/256.
const LEVELS: u32 = 256;

/// The bins between the levels i/256 of one version's reference, as ranges of its rank cells. Edges that
/// coincide are kept, with nothing between them, so that every version has the same number of bins and bin j
/// of one is compared with bin j of the other (statistics.md §9.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelBins {
    /// One past the last cell of each bin.
    ends: Vec<usize>,
}

impl LevelBins {
    /// The number of bins.
    pub const BINS: usize = LEVELS as usize;

    /// The bins of a reference with these counts per rank cell. A level that lies above the last cut ends its
    /// bin with the last cell.
    pub fn from_reference(counts: &[u64]) -> Self {
        let end = |cut: Option<usize>| cut.map_or(counts.len(), |cut| 2 * cut + 2);
        let levels = quantile::cuts_at_levels(counts, LEVELS).into_iter().map(end);
        LevelBins { ends: levels.chain([counts.len()]).collect() }
    }

    /// The counts per bin of counts per cell, which must be on the reference's grid.
    pub fn fold(&self, counts: &[u64]) -> [u64; Self::BINS] {
        let mut bins = [0; Self::BINS];
        bins.iter_mut().zip(sums_of_ranges(&self.ends, counts)).for_each(|(bin, sum)| *bin = sum);
        bins
    }
}

/// One version's answers: counts per cell, live and in that version's own reference, on the same grid.
#[derive(Debug, Clone, Copy)]
pub struct Arm<'a> {
    pub window: &'a [u64],
    pub reference: &'a [u64],
}

/// How differently the canary's answers have moved from its reference than the stable arm's from its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pit {
    /// Numeric: sup|Δ|. Categorical: ½Σ|Δ|. 0 to 2.
    pub statistic: f64,
    /// 1/(1/n_c + 1/n_s + 1/m_c + 1/m_s).
    pub n_eff: f64,
    /// P(a statistic at least this large without a regression).
    pub p_value: f64,
}

/// Of numeric answers, on rank cells. `p_value` is Q(√n_eff·sup|Δ|). `None` when any side is empty or an
/// arm's slices differ in length.
pub fn numeric(canary: Arm<'_>, stable: Arm<'_>) -> Option<Pit> {
    let n_eff = effective_size(canary, stable)?;
    let statistic = shifts(canary)?
        .iter()
        .zip(shifts(stable)?)
        .map(|(canary, stable)| (canary - stable).abs())
        .fold(0.0, f64::max);
    Some(Pit { statistic, n_eff, p_value: ks::q(n_eff.sqrt() * statistic) })
}

/// Of categorical or boolean answers: all four slices count the same categories in the same order. The
/// p-value is that of n_eff·ΣΔ²/p̄ as a χ² with one degree less than categories, p̄ the mean share of the
/// four samples. `None` when any side is empty or lengths differ.
pub fn categorical(canary: Arm<'_>, stable: Arm<'_>) -> Option<Pit> {
    if canary.window.len() != stable.window.len() {
        return None;
    }
    let n_eff = effective_size(canary, stable)?;
    let [g_c, m_c, g_s, m_s] = [canary.window, canary.reference, stable.window, stable.reference].map(shares);
    let (mut distance, mut chi_square, mut present) = (0.0, 0.0, 0u32);
    for cell in 0..canary.window.len() {
        let delta = (g_c[cell] - m_c[cell]) - (g_s[cell] - m_s[cell]);
        let mean = (g_c[cell] + m_c[cell] + g_s[cell] + m_s[cell]) / 4.0;
        if mean > 0.0 {
            distance += delta.abs() / 2.0;
            chi_square += delta * delta / mean;
            present += 1;
        }
    }
    let p_value =
        if present < 2 { 1.0 } else { chi_square::sf(n_eff * chi_square, f64::from(present - 1), 0.0) };
    Some(Pit { statistic: distance, n_eff, p_value })
}

impl Pit {
    /// The p-value of a numeric comparison against "differs by at most `tolerance`".
    pub fn p_value_beyond(&self, tolerance: f64) -> f64 {
        ks::q(self.n_eff.sqrt() * (self.statistic - tolerance).max(0.0))
    }
}

fn effective_size(canary: Arm<'_>, stable: Arm<'_>) -> Option<f64> {
    let mut inverse = 0.0;
    for arm in [canary, stable] {
        if arm.window.len() != arm.reference.len() {
            return None;
        }
        inverse += 1.0 / total(arm.window)? as f64 + 1.0 / total(arm.reference)? as f64;
    }
    Some(1.0 / inverse)
}

/// G − M at each level's edge. Where no cut reaches a level its edge is infinity, and both shares are 1.
fn shifts(arm: Arm<'_>) -> Option<Vec<f64>> {
    let (n, m) = (total(arm.window)? as f64, total(arm.reference)? as f64);
    let bins = LevelBins::from_reference(arm.reference);
    let (live, own) = (bins.fold(arm.window), bins.fold(arm.reference));
    let (mut g, mut r) = (0u64, 0u64);
    let shift = |(live, own): (u64, u64)| {
        g += live;
        r += own;
        g as f64 / n - r as f64 / m
    };
    Some(live.into_iter().zip(own).map(shift).collect())
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let sum = counts.iter().map(|&count| count as f64).sum::<f64>().max(1.0);
    counts.iter().map(|&count| count as f64 / sum).collect()
}

#[cfg(test)]
mod tests;
