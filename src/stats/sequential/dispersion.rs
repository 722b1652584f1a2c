//! How much less than independent values dependent ones are worth: n of them as much as n/φ
//! (statistics.md §4.4, §9.5).
//!
//! φ compares how much the distribution function really varies, between panes or between groups of units, with
//! how much it would if values were independent. It is taken at seven points, the octiles of a reference.

use crate::stats::{quantile, sums_of_ranges, total};

/// Points at which distribution functions are compared.
pub const POINTS: usize = 7;

/// Groups of units (users, sessions, requests), by a hash.
pub const BUCKETS: usize = 32;

/// The octiles of a reference, as ends of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Octiles {
    /// One past the last cell at or below each point.
    ends: [usize; POINTS],
}

/// How many values lie at or below each of the seven points, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Below {
    pub at_points: [u64; POINTS],
    pub values: u64,
}

impl Octiles {
    /// The octiles of a reference with these counts per cell: rank cells if `ordered`, else categories in their
    /// own order, where a point is the end of the category that reaches it, or of the last but one. With fewer
    /// than two cells, or no counts, every point is at or above everything.
    pub fn from_reference(counts: &[u64], ordered: bool) -> Self {
        if ordered {
            let cuts = quantile::cuts_at_levels(counts, POINTS as u32 + 1);
            let end = |at: usize| cuts[at].map_or(counts.len(), |cut| 2 * cut + 2);
            return Octiles { ends: std::array::from_fn(end) };
        }
        let Some(m) = total(counts) else { return Octiles { ends: [counts.len(); POINTS] } };
        let last = counts.len().saturating_sub(1).max(1);
        let end = |point: usize| {
            let least = (u128::from(m) * (point as u128 + 1)).div_ceil(POINTS as u128 + 1);
            let mut below = 0;
            let reaches = |&count: &u64| {
                below += u128::from(count);
                below >= least
            };
            counts.iter().position(reaches).map_or(last, |cell| (cell + 1).min(last))
        };
        Octiles { ends: std::array::from_fn(end) }
    }

    /// The counts at or below the points, of counts per cell on the reference's grid.
    pub fn below(&self, counts: &[u64]) -> Below {
        let mut below = Below::default();
        for (at_point, sum) in below.at_points.iter_mut().zip(sums_of_ranges(&self.ends, counts)) {
            below.values = below.values.saturating_add(sum);
            *at_point = below.values;
        }
        let above = sums_of_ranges(&[self.ends[POINTS - 1], counts.len()], counts).last();
        below.values = below.values.saturating_add(above.unwrap_or(0));
        below
    }
}

impl Below {
    fn share(&self, point: usize) -> f64 {
        self.at_points[point] as f64 / self.values as f64
    }

    fn add(&mut self, other: Below) {
        self.values = self.values.saturating_add(other.values);
        for (sum, count) in self.at_points.iter_mut().zip(other.at_points) {
            *sum = sum.saturating_add(count);
        }
    }
}

/// φ from the panes of one arm: successive differences, in which a slow drift cancels. Plain numbers, to be
/// stored as they are.
///
/// It takes some twenty panes to be sure of it, and no test should rest on fewer than ten: the stable arm's
/// from before the rollout are as good as any. With an autoregressive series of ρ = .9, bets at .05 that begin
/// with the second pane of a rollout are lost in .21 of healthy ones, those that begin with the eleventh in
/// .04, and Kiefer and Pocock's boundary is crossed in .15 and .03.
///
/// Per point `Σ_p (F_{p+1} − F_p)² / (F̄(1−F̄)·Σ_p (1/n_p + 1/n_{p+1}))`, F̄ the share of all values, averaged
/// over the points with 0 < F̄ < 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PaneDispersion {
    /// The pane before; no values: none.
    pub previous: Below,
    /// All panes.
    pub all: Below,
    /// Σ (F_{p+1} − F_p)² per point.
    pub squares: [f64; POINTS],
    /// Σ (1/n_p + 1/n_{p+1}).
    pub inverse_sizes: f64,
}

impl PaneDispersion {
    /// Adds the next pane. One without values is passed over: the panes around it count as successive.
    pub fn add(&mut self, pane: Below) {
        if pane.values == 0 {
            return;
        }
        if self.previous.values > 0 {
            for (point, squares) in self.squares.iter_mut().enumerate() {
                *squares += (pane.share(point) - self.previous.share(point)).powi(2);
            }
            self.inverse_sizes += 1.0 / pane.values as f64 + 1.0 / self.previous.values as f64;
        }
        self.all.add(pane);
        self.previous = pane;
    }

    /// φ, at least 1. `None` with fewer than two panes, or where all values are on one side of every point.
    pub fn phi(&self) -> Option<f64> {
        if self.inverse_sizes <= 0.0 {
            return None;
        }
        let ratio =
            |point: usize, mean: f64| self.squares[point] / (mean * (1.0 - mean) * self.inverse_sizes);
        mean_over_points(&self.all, ratio)
    }
}

/// φ_u, from groups of units: whoever sends many requests makes the buckets differ more than independent values
/// would, however long one waits, and successive panes cannot see it.
///
/// `mean over points of Σ_b n_b(F_b − F̄)² / (B − 1) / (F̄(1−F̄))` over the B buckets that have values, counted
/// over the whole rollout. At least 1. `None` with fewer than two such buckets, or where all values are on one
/// side of every point.
pub fn of_units(buckets: &[Below]) -> Option<f64> {
    let mut all = Below::default();
    buckets.iter().for_each(|&bucket| all.add(bucket));
    let occupied = || buckets.iter().filter(|bucket| bucket.values > 0);
    let degrees = occupied().count().checked_sub(1).filter(|&degrees| degrees > 0)? as f64;
    let ratio = |point: usize, mean: f64| {
        let squares = occupied().map(|bucket| bucket.values as f64 * (bucket.share(point) - mean).powi(2));
        squares.sum::<f64>() / (degrees * mean * (1.0 - mean))
    };
    mean_over_points(&all, ratio)
}

/// The φ to reckon with: the larger of both, at least 1.
pub fn combined(of_panes: Option<f64>, of_units: Option<f64>) -> f64 {
    of_panes.unwrap_or(1.0).max(of_units.unwrap_or(1.0)).max(1.0)
}

fn mean_over_points(all: &Below, ratio: impl Fn(usize, f64) -> f64) -> Option<f64> {
    let inside =
        (0..POINTS).map(|point| (point, all.share(point))).filter(|&(_, mean)| mean > 0.0 && mean < 1.0);
    let (sum, points) =
        inside.fold((0.0, 0u32), |(sum, points), (point, mean)| (sum + ratio(point, mean), points + 1));
    (points > 0).then(|| (sum / f64::from(points)).max(1.0))
}

#[cfg(test)]
mod tests;
