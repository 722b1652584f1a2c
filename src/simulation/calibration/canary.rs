//! Canary against stable, looked at after every pane (statistics.md §9.4, §9.10).

use super::values::Normal;
use crate::simulation::dice::Dice;
use crate::stats::sequential::boundary::Looks;
use crate::stats::sequential::stratified::Stratified;
use std::f64::consts::TAU;

/// A rollout of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Kolmogorov–Smirnov distance of the arms.
    pub distance: f64,
    /// δ0.
    pub tolerance: f64,
    /// Of the first epoch; epoch k runs at 2/(k(k+1)) of it.
    pub alpha: f64,
    /// R.
    pub horizon: f64,
    pub rollout: Rollout,
    /// The result: whether it is rejected (0 or 1), or after how many canary events.
    pub counts_events: bool,
}

/// How the traffic is split over the panes.
#[derive(Debug, Clone, PartialEq)]
pub enum Rollout {
    /// Equal panes, until the canary has so many events.
    Even { canary: usize, stable: usize, until: u64 },
    /// Panes of `events`, of which the canary gets a share that rises evenly, while both arms swing once by
    /// `swing` standard deviations.
    Ramp { panes: usize, events: usize, from: f64, to: f64, swing: f64 },
    /// The weight rises by .05 with every pane of `events`, from .05 on. `reset`: every change of the weight
    /// begins a new epoch.
    Steps { panes: usize, events: usize, reset: bool },
}

/// What a pane is made of.
struct Pane {
    canary: usize,
    stable: usize,
    /// Of both arms.
    common: f64,
    begins_epoch: bool,
}

impl Rollout {
    /// The pane at `place`; `None` when the rollout is over. `seen`: canary events before it.
    fn pane(&self, place: usize, seen: u64) -> Option<Pane> {
        let still = |canary: usize, stable: usize| Pane { canary, stable, common: 0.0, begins_epoch: false };
        match *self {
            Rollout::Even { canary, stable, until } => (seen < until).then(|| still(canary, stable)),
            Rollout::Ramp { panes, events, from, to, swing } => (place < panes).then(|| {
                let time = place as f64 / panes as f64;
                let canary = (events as f64 * (from + (to - from) * time)) as usize;
                Pane { common: swing * (TAU * time).sin(), ..still(canary, events - canary) }
            }),
            Rollout::Steps { panes, events, reset } => (place < panes).then(|| {
                let canary = events * (place + 1) / 20;
                Pane { begins_epoch: reset && place > 0, ..still(canary, events - canary) }
            }),
        }
    }
}

impl Canary {
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let shift = Normal::shift_of(self.distance);
        let mut sums = Stratified::new(normal.bins());
        let mut looks = Looks::new(self.horizon);
        let (mut canary, mut stable) = (vec![0; normal.bins()], vec![0; normal.bins()]);
        let (mut place, mut seen, mut rejected) = (0, 0, false);
        while let Some(pane) = self.rollout.pane(place, seen).filter(|_| !rejected) {
            if pane.begins_epoch || looks.is_over(sums.strata().information) {
                sums.clear();
                looks.begin_epoch();
            }
            canary.fill(0);
            stable.fill(0);
            normal.count(dice, pane.canary, pane.common + shift, &mut canary);
            normal.count(dice, pane.stable, pane.common, &mut stable);
            sums.add(&canary, &stable);
            seen += pane.canary as u64;
            place += 1;
            let (information, events) = (sums.strata().information, sums.strata().canary_events);
            if looks.is_due(information, events)
                && let Some(difference) = sums.difference(true, 1.0)
            {
                rejected = looks.take(information, difference.z(self.tolerance)) <= 2.0 * self.alpha;
            }
        }
        if self.counts_events { seen as f64 } else { f64::from(u8::from(rejected)) }
    }
}
