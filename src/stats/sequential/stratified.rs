//! Canary against stable, pane by pane (statistics.md §5).
//!
//! Each pane p compares its own events only and weighs n_e = n_c·n_s/(n_c+n_s). So a common drift, or a weight
//! that changes with the time of day, moves both arms alike and cancels:
//! `Δ(x) = Σ_p n_e,p·(F_c,p(x) − F_s,p(x)) / I`, `I = Σ_p n_e,p`, and `z = √I·sup|Δ|` is at most as large in
//! law as for values of one distribution.

use crate::stats::total;

/// The running sums over panes on shared cells, of any kind and number. Plain numbers, to be stored as they
/// are; 16 bytes per cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Strata {
    /// Σ n_e·(share of the canary's events in the cell).
    pub canary: Vec<f64>,
    /// Σ n_e·(share of the stable arm's events in the cell).
    pub stable: Vec<f64>,
    /// I = Σ n_e.
    pub information: f64,
    /// Events of the panes in which both arms had some.
    pub canary_events: u64,
    pub stable_events: u64,
}

/// Accumulates panes; allocates once.
#[derive(Debug, Clone, PartialEq)]
pub struct Stratified {
    strata: Strata,
}

/// How the two arms differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// sup|Δ| over the ends of cells: at most 1, or 2 as a difference in differences.
    pub statistic: f64,
    /// sup|Δ| over all values is at most this; `statistic` itself where cells hide nothing.
    pub upper: f64,
    /// The first cell at whose end the statistic is attained.
    pub cell: usize,
    /// What the panes are worth in independent pairs: `I/φ`, or `1/(φ/I + 1/m_c + 1/m_s)`.
    pub n_eff: f64,
}

impl Difference {
    /// `√n_eff · max(0, sup|Δ| − tolerance)`, for [`super::boundary::p_value`] (at every look) or
    /// [`crate::stats::ks::q`] (at a single one).
    pub fn z(&self, tolerance: f64) -> f64 {
        self.n_eff.sqrt() * (self.statistic - tolerance.max(0.0)).max(0.0)
    }

    /// LCB: the true difference is at least `max(0, sup|Δ| − c/√n_eff)`, at the level (and over the looks) of
    /// the critical value `c`.
    pub fn lower_bound(&self, c: f64) -> f64 {
        (self.statistic - c / self.n_eff.sqrt()).max(0.0)
    }

    /// UCB: it is at most `upper + c/√n_eff`, which exceeds 1 while little is known (statistics.md §8.2).
    pub fn upper_bound(&self, c: f64) -> f64 {
        self.upper + c / self.n_eff.sqrt()
    }
}

impl Stratified {
    /// No panes yet, on so many cells.
    pub fn new(cells: usize) -> Self {
        let (canary, stable) = (vec![0.0; cells], vec![0.0; cells]);
        Stratified { strata: Strata { canary, stable, ..Strata::default() } }
    }

    /// Goes on from stored sums. `None` when they cannot be any: different lengths, or a number that is not
    /// finite or negative.
    pub fn from_strata(strata: Strata) -> Option<Self> {
        let possible = |number: &f64| number.is_finite() && *number >= 0.0;
        let sound = strata.canary.len() == strata.stable.len()
            && strata.canary.iter().chain(&strata.stable).all(possible)
            && possible(&strata.information);
        sound.then_some(Stratified { strata })
    }

    /// The sums, for storing them.
    pub fn strata(&self) -> &Strata {
        &self.strata
    }

    /// Forgets all panes; keeps the memory.
    pub fn clear(&mut self) {
        let strata = &mut self.strata;
        strata.canary.fill(0.0);
        strata.stable.fill(0.0);
        (strata.information, strata.canary_events, strata.stable_events) = (0.0, 0, 0);
    }

    /// Adds a pane's counts per cell. `false`, and nothing added, when an arm is empty (the pane says nothing
    /// about the difference), a length is not the number of cells, or a total exceeds 63 bits.
    pub fn add(&mut self, canary: &[u64], stable: &[u64]) -> bool {
        let cells = self.strata.canary.len();
        let (Some(n_c), Some(n_s)) = (total(canary), total(stable)) else { return false };
        if canary.len() != cells || stable.len() != cells {
            return false;
        }
        let (canary_size, stable_size) = (n_c as f64, n_s as f64);
        let weight = canary_size * stable_size / (canary_size + stable_size);
        let strata = &mut self.strata;
        strata.information += weight;
        strata.canary_events = strata.canary_events.saturating_add(n_c);
        strata.stable_events = strata.stable_events.saturating_add(n_s);
        add_weighted(&mut strata.canary, canary, weight / canary_size);
        add_weighted(&mut strata.stable, stable, weight / stable_size);
        true
    }

    /// The difference of what both arms were asked.
    ///
    /// `exact`: as for categories, nothing is hidden inside a cell. Otherwise the cells are rank cells, and
    /// `upper` is the largest of `A(e₊) − B(e₋)` and `B(e₊) − A(e₋)` over their gaps (§1.3), A and B the
    /// stratified distribution functions. `phi`: the autocorrelation factor, below 1 as 1. `None` before the
    /// first pane.
    pub fn difference(&self, exact: bool, phi: f64) -> Option<Difference> {
        let Strata { canary, stable, information, .. } = &self.strata;
        let n_eff = self.n_eff(phi, 0.0)?;
        let (mut largest, mut in_gap) = (Largest::default(), 0.0f64);
        let (mut a, mut b) = (0.0, 0.0);
        for (cell, (canary, stable)) in canary.iter().zip(stable).enumerate() {
            if cell.is_multiple_of(2) {
                in_gap = in_gap.max(a + canary - b).max(b + stable - a);
            }
            a += canary;
            b += stable;
            largest.offer(a - b, cell);
        }
        let statistic = largest.size / information;
        let upper = if exact { statistic } else { statistic.max(in_gap / information) };
        Some(Difference { statistic, upper, cell: largest.cell, n_eff })
    }

    /// The difference of what both arms have answered, each against its own reference, on bins of equal
    /// levels ([`crate::stats::pit::LevelBins`]) or shared categories:
    /// `Δ(j) = (G_c(j) − M_c(j)) − (G_s(j) − M_s(j))`, G and M the shares in bins up to j of the panes and of
    /// the reference's counts. Both references' own noise counts: n_eff = 1/(φ/I + 1/m_c + 1/m_s).
    ///
    /// `None` before the first pane, for an empty reference, or lengths that differ.
    pub fn difference_in_differences(
        &self,
        canary_reference: &[u64],
        stable_reference: &[u64],
        phi: f64,
    ) -> Option<Difference> {
        let Strata { canary, stable, information, .. } = &self.strata;
        if canary_reference.len() != canary.len() || stable_reference.len() != canary.len() {
            return None;
        }
        let (m_c, m_s) = (total(canary_reference)? as f64, total(stable_reference)? as f64);
        let n_eff = self.n_eff(phi, 1.0 / m_c + 1.0 / m_s)?;
        let mut largest = Largest::default();
        // Live sums and reference counts are added up apart, so that equal shares cancel to rounding.
        let (mut live, mut of_canary, mut of_stable) = (0.0, 0u64, 0u64);
        for cell in 0..canary.len() {
            live += canary[cell] - stable[cell];
            of_canary += canary_reference[cell];
            of_stable += stable_reference[cell];
            let expected = of_canary as f64 / m_c - of_stable as f64 / m_s;
            largest.offer(live / information - expected, cell);
        }
        Some(Difference { statistic: largest.size, upper: largest.size, cell: largest.cell, n_eff })
    }

    fn n_eff(&self, phi: f64, of_references: f64) -> Option<f64> {
        let information = self.strata.information;
        (information > 0.0).then(|| 1.0 / (phi.max(1.0) / information + of_references))
    }
}

/// The first cell with the largest |Δ|.
#[derive(Default)]
struct Largest {
    size: f64,
    cell: usize,
}

impl Largest {
    fn offer(&mut self, delta: f64, cell: usize) {
        if delta.abs() > self.size {
            (self.size, self.cell) = (delta.abs(), cell);
        }
    }
}

fn add_weighted(sums: &mut [f64], counts: &[u64], weight: f64) {
    for (sum, &count) in sums.iter_mut().zip(counts) {
        *sum += weight * count as f64;
    }
}

#[cfg(test)]
mod tests;
