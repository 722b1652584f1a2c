//! Series in which each value is like the one before it: an autoregressive series in each arm (statistics.md §9.5).

use super::values::Normal;
use crate::simulation::dice::Dice;
use crate::stats::sequential::boundary::Looks;
use crate::stats::sequential::dispersion::{Octiles, PaneDispersion};
use crate::stats::sequential::stratified::Stratified;

/// A rollout without any difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependent {
    /// The correlation of successive values.
    pub rho: f64,
    /// Stable's panes from before the rollout.
    pub before: usize,
    pub panes: usize,
    /// Events of a pane.
    pub canary: usize,
    pub stable: usize,
    pub alpha: f64,
    pub horizon: f64,
    /// Whether z is divided by √φ.
    pub corrected: bool,
}

/// A stationary series of standard normal values.
struct Chain {
    rho: f64,
    value: f64,
}

impl Chain {
    fn new(rho: f64, normal: &Normal, dice: &mut Dice) -> Chain {
        Chain { rho, value: normal.value(dice) }
    }

    fn count(&mut self, normal: &Normal, dice: &mut Dice, events: usize) -> Vec<u64> {
        let mut counts = vec![0; normal.bins()];
        let fresh = (1.0 - self.rho * self.rho).sqrt();
        for _ in 0..events {
            self.value = self.rho * self.value + fresh * normal.value(dice);
            counts[usize::from(normal.bin(self.value))] += 1;
        }
        counts
    }
}

impl Dependent {
    /// 1 when the canary is rejected, else 0.
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let mut arms = [(); 2].map(|()| Chain::new(self.rho, normal, dice));
        let octiles = Octiles::from_reference(&vec![1; normal.bins()], false);
        let mut dispersion = PaneDispersion::default();
        for _ in 0..self.before {
            dispersion.add(octiles.below(&arms[1].count(normal, dice, self.stable)));
        }
        let (mut sums, mut looks) = (Stratified::new(normal.bins()), Looks::new(self.horizon));
        for _ in 0..self.panes {
            let canary = arms[0].count(normal, dice, self.canary);
            let stable = arms[1].count(normal, dice, self.stable);
            sums.add(&canary, &stable);
            let (information, events) = (sums.strata().information, sums.strata().canary_events);
            if looks.is_due(information, events) {
                // Known without this pane.
                let phi = dispersion.phi().filter(|_| self.corrected).unwrap_or(1.0);
                let z = sums.difference(true, phi).map_or(0.0, |difference| difference.z(0.0));
                if looks.take(information, z) / 2.0 <= self.alpha {
                    return 1.0;
                }
            }
            dispersion.add(octiles.below(&stable));
        }
        0.0
    }
}
