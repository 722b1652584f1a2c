//! A rollout's evidence, pane by pane, on expected counts.

use crate::stats::sequential::betting::smallest_detectable_rate;
use crate::stats::sequential::boundary::{DEFAULT_HORIZON, Looks};

/// What a rollout has come to so far.
pub(super) struct Walk {
    phi: f64,
    pub panes: u64,
    /// Expected events since the start.
    pub canary_events: f64,
    pub stable_events: f64,
    /// Events of the first pane, on which no bet is placed: canary, stable.
    first: [f64; 2],
    epoch: Epoch,
    /// The looks of the epoch that ended with the last pane, if one did.
    pub closed: Option<Looks>,
}

/// The evidence since it was last emptied.
#[derive(Clone, Copy)]
struct Epoch {
    looks: Looks,
    /// Expected I.
    information: f64,
    canary_events: f64,
    stable_events: f64,
}

impl Walk {
    pub fn new(phi: f64) -> Walk {
        let looks = Looks::new(DEFAULT_HORIZON);
        Walk {
            phi: phi.max(1.0),
            panes: 0,
            canary_events: 0.0,
            stable_events: 0.0,
            first: [0.0; 2],
            epoch: Epoch { looks, information: 0.0, canary_events: 0.0, stable_events: 0.0 },
            closed: None,
        }
    }

    /// Adds a pane of so many expected events, of which `weight` are the canary's.
    ///
    /// With N events, of which each is the canary's by chance, n_c·n_s/N is (N − 1)·w·(1 − w) on average; N itself
    /// is taken as Poisson's.
    pub fn add_pane(&mut self, events: f64, weight: f64) {
        let [canary, stable] = [events * weight, events * (1.0 - weight)];
        if self.panes == 0 {
            self.first = [canary, stable];
        }
        self.panes += 1;
        self.canary_events += canary;
        self.stable_events += stable;
        let epoch = &mut self.epoch;
        epoch.canary_events += canary;
        epoch.stable_events += stable;
        epoch.information += (events + (-events).exp_m1()) * weight * (1.0 - weight);
        self.closed = epoch.looks.is_over(epoch.information).then_some(epoch.looks);
        if self.closed.is_some() {
            epoch.looks.begin_epoch();
            (epoch.information, epoch.canary_events, epoch.stable_events) = (0.0, 0.0, 0.0);
        }
        if epoch.looks.is_due(epoch.information, epoch.canary_events as u64) {
            // Of a healthy canary; only when it was taken counts.
            epoch.looks.take(epoch.information, 0.0);
        }
    }

    /// The looks of this epoch, from the first one on.
    pub fn looks(&self) -> Option<Looks> {
        (self.epoch.looks.first > 0.0).then_some(self.epoch.looks)
    }

    /// I/φ: what an input's distance is worth in independent pairs.
    pub fn size(&self) -> f64 {
        self.epoch.information / self.phi
    }

    /// φ/n_s.
    pub fn stable_noise(&self) -> f64 {
        self.phi / self.epoch.stable_events
    }

    /// The smallest rise above stable's rate `rate` that bets at `alpha` find; `None` when none. The guardrail takes
    /// failures as independent.
    pub fn error_rise(&self, rate: f64, alpha: f64, tolerance: f64) -> Option<f64> {
        let (canary, stable) = (self.canary_events - self.first[0], self.stable_events - self.first[1]);
        smallest_detectable_rate(rate, canary, stable, alpha, tolerance).map(|found| found - rate)
    }
}
