//! Values of a normal distribution, counted on bins of equal mass.

use crate::simulation::dice::Dice;
use crate::stats::normal::upper_quantile;

/// Pieces of the quantile function.
const KNOTS: usize = 4_096;
/// Where the outermost piece ends.
const TAIL: f64 = 1e-5;
/// The range in which bins are looked up, in standard deviations, and the steps in it.
const REACH: f64 = 8.0;
const STEPS: usize = 1 << 14;

/// The standard normal distribution, its quantile function in straight pieces, and an odd number of bins of equal
/// mass: no value lies on an edge, so each bin may stand for a rank cell.
#[derive(Debug)]
pub struct Normal {
    /// At i/KNOTS.
    quantiles: Vec<f64>,
    /// Upper edges of all bins, the last one infinite.
    edges: Vec<f64>,
    /// The bin at the beginning of each step.
    first: Vec<u16>,
}

impl Normal {
    /// With an odd number of bins, at most 65,535.
    pub fn new(bins: u16) -> Normal {
        let quantile = |level: f64| -upper_quantile(level.clamp(TAIL, 1.0 - TAIL));
        let quantiles = (0..=KNOTS).map(|knot| quantile(knot as f64 / KNOTS as f64)).collect();
        let mut edges: Vec<f64> = (1..bins).map(|bin| quantile(f64::from(bin) / f64::from(bins))).collect();
        edges.push(f64::INFINITY);
        let start = |step: usize| (step as f64 / STEPS as f64 * 2.0 - 1.0) * REACH;
        let first =
            (0..STEPS).map(|step| edges.partition_point(|edge| *edge <= start(step)) as u16).collect();
        Normal { quantiles, edges, first }
    }

    /// The number of bins.
    pub fn bins(&self) -> usize {
        self.edges.len()
    }

    /// Where a bin ends; infinite for the last one.
    pub fn upper_edge(&self, bin: usize) -> f64 {
        self.edges[bin]
    }

    /// A standard normal value.
    pub fn value(&self, dice: &mut Dice) -> f64 {
        let bits = dice.bits();
        let knot = (bits >> 52) as usize;
        let part = (bits & ((1 << 52) - 1)) as f64 / (1u64 << 52) as f64;
        let (low, high) = (self.quantiles[knot], self.quantiles[knot + 1]);
        low + part * (high - low)
    }

    /// The bin of a value.
    pub fn bin(&self, value: f64) -> u16 {
        let step = ((value / REACH + 1.0) / 2.0 * STEPS as f64).clamp(0.0, (STEPS - 1) as f64) as usize;
        let mut bin = self.first[step];
        while value >= self.edges[usize::from(bin)] {
            bin += 1;
        }
        bin
    }

    /// The bin of a value of this distribution shifted by `shift` standard deviations.
    pub fn draw(&self, dice: &mut Dice, shift: f64) -> u16 {
        self.bin(self.value(dice) + shift)
    }

    /// Adds the bins of `events` shifted values to `counts`.
    pub fn count(&self, dice: &mut Dice, events: usize, shift: f64, counts: &mut [u64]) {
        (0..events).for_each(|_| counts[usize::from(self.draw(dice, shift))] += 1);
    }

    /// The shift at which the Kolmogorov–Smirnov distance is `distance`: 2·Φ⁻¹((1 + distance)/2).
    pub fn shift_of(distance: f64) -> f64 {
        2.0 * upper_quantile((1.0 - distance) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_equal_mass_and_shifts_their_distance() {
        let normal = Normal::new(101);
        let mut dice = Dice::new(3);
        let mut counts = vec![0u64; normal.bins()];
        normal.count(&mut dice, 1_010_000, 0.0, &mut counts);
        // Five standard deviations of a bin of 10,000.
        assert!(counts.iter().all(|count| (9_500..=10_500).contains(count)), "{counts:?}");
        let mut shifted = vec![0u64; normal.bins()];
        normal.count(&mut dice, 1_010_000, Normal::shift_of(0.1), &mut shifted);
        let distance = crate::stats::ks::two_sample(&counts, &shifted, true).unwrap().statistic;
        assert!((distance - 0.1).abs() < 0.004, "{distance}");
        assert_eq!((normal.bin(-99.0), normal.bin(99.0), normal.bin(0.0)), (0, 100, 50));
    }
}
