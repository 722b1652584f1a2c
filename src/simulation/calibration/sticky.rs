//! Users who stay on their arm: their values are alike, and those of the canary's users are other people's
//! (statistics.md §9.5).

use super::values::Normal;
use crate::simulation::dice::Dice;
use crate::stats::sequential::boundary::Looks;
use crate::stats::sequential::dispersion::{BUCKETS, Below, Octiles, PaneDispersion, combined, of_units};
use crate::stats::sequential::stratified::Stratified;

/// A rollout without any difference but that of the users.
#[derive(Debug, Clone, PartialEq)]
pub struct Sticky {
    pub users: usize,
    /// The users' share in the variance of a value.
    pub icc: f64,
    /// Kolmogorov–Smirnov distance that the canary adds, beyond its users' own.
    pub distance: f64,
    pub panes: usize,
    /// Events of a pane; a tenth is the canary's.
    pub events: usize,
    pub alpha: f64,
    pub horizon: f64,
    /// Whether z is divided by √φ.
    pub corrected: bool,
}

/// One user: what their values have in common, and the bucket of their name.
struct User {
    own: f64,
    bucket: usize,
}

impl Sticky {
    /// 1 when the canary is rejected, else 0.
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let mut user = || User { own: self.icc.sqrt() * normal.value(dice), bucket: dice.index(BUCKETS) };
        let users: Vec<User> = (0..self.users).map(|_| user()).collect();
        let (canary_users, stable_users) = users.split_at(self.users / 10);
        let mut sums = Stratified::new(normal.bins());
        let mut looks = Looks::new(self.horizon);
        let octiles = Octiles::from_reference(&vec![1; normal.bins()], false);
        let mut dispersion = PaneDispersion::default();
        let mut buckets = vec![vec![0; normal.bins()]; BUCKETS];
        let (mut canary, mut stable) = (vec![0; normal.bins()], vec![0; normal.bins()]);
        for _ in 0..self.panes {
            canary.fill(0);
            stable.fill(0);
            for _ in 0..self.events / 10 {
                let user = &canary_users[dice.index(canary_users.len())];
                canary[self.bin(normal, dice, user, Normal::shift_of(self.distance))] += 1;
            }
            for _ in 0..self.events - self.events / 10 {
                let user = &stable_users[dice.index(stable_users.len())];
                let bin = self.bin(normal, dice, user, 0.0);
                stable[bin] += 1;
                buckets[user.bucket][bin] += 1;
            }
            sums.add(&canary, &stable);
            dispersion.add(octiles.below(&stable));
            let (information, events) = (sums.strata().information, sums.strata().canary_events);
            if looks.is_due(information, events) {
                let phi = if self.corrected { phi(&octiles, &dispersion, &buckets) } else { 1.0 };
                let z = sums.difference(true, phi).map_or(0.0, |difference| difference.z(0.0));
                if looks.take(information, z) / 2.0 <= self.alpha {
                    return 1.0;
                }
            }
        }
        0.0
    }

    fn bin(&self, normal: &Normal, dice: &mut Dice, user: &User, shift: f64) -> usize {
        usize::from(normal.bin(user.own + (1.0 - self.icc).sqrt() * normal.value(dice) + shift))
    }
}

fn phi(octiles: &Octiles, dispersion: &PaneDispersion, buckets: &[Vec<u64>]) -> f64 {
    let buckets: Vec<Below> = buckets.iter().map(|counts| octiles.below(counts)).collect();
    combined(dispersion.phi(), of_units(&buckets))
}
