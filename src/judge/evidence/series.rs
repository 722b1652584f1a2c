//! What a rollout has shown of one series so far.

use crate::stats::rates::Change;
use crate::stats::sequential::betting::{Betting, Terms};
use crate::stats::sequential::boundary::{DEFAULT_HORIZON, Looks};
use crate::stats::sequential::dispersion::{Below, PaneDispersion};
use crate::stats::sequential::stratified::Stratified;

/// One pane of one series: both arms on the same cells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pane {
    /// Says which cells these are: evidence on others cannot go on.
    pub layout: u64,
    pub canary: Vec<u64>,
    pub stable: Vec<u64>,
    /// Stable's values below the octiles of its reference, for φ.
    pub below: Below,
    /// Rows without and with a usable value: canary, stable.
    pub missing: [[u64; 2]; 2],
}

/// The sums of one series over the panes of a rollout. Bounded by the series' cells; see
/// [`super::record::EvidenceRecord`] for how it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEvidence {
    pub(super) layout: u64,
    pub(super) strata: Stratified,
    pub(super) looks: Looks,
    pub(super) panes: PaneDispersion,
    pub(super) missing: Betting,
}

impl SeriesEvidence {
    pub(super) fn new(pane: &Pane) -> SeriesEvidence {
        SeriesEvidence {
            layout: pane.layout,
            strata: Stratified::new(pane.canary.len()),
            looks: Looks::new(DEFAULT_HORIZON),
            panes: PaneDispersion::default(),
            missing: Betting::of_rate(),
        }
    }

    /// Adds a pane; `true` when the arms could be compared in it.
    pub(super) fn add(&mut self, pane: &Pane, tolerance: f64) -> bool {
        let phi = self.phi();
        let [canary, stable] = pane.missing;
        // Terms of the bet come from the panes before: φ, too, is known without this one.
        let terms = Terms { tolerance, phi, change: Change::Differs };
        // A pane that cannot be counted changes nothing.
        let _ = self.missing.add(&canary, &stable, terms);
        self.panes.add(pane.below);
        self.strata.add(&pane.canary, &pane.stable)
    }

    /// φ of the stable arm, from successive panes; at least 1 (statistics.md §4.4).
    pub fn phi(&self) -> f64 {
        self.panes.phi().unwrap_or(1.0).max(1.0)
    }

    /// Begins the next epoch when the information has outgrown this one (statistics.md §4.5).
    pub(super) fn turn_epoch(&mut self) {
        if self.looks.is_over(self.strata.strata().information) {
            self.looks.begin_epoch();
            self.strata.clear();
        }
    }

    /// Takes a look at z, if one is due; z is asked for only then.
    pub(super) fn look(&mut self, z: impl FnOnce(&Stratified, f64) -> Option<f64>) {
        let (information, events) = {
            let strata = self.strata.strata();
            (strata.information, strata.canary_events)
        };
        if self.looks.is_due(information, events)
            && let Some(z) = z(&self.strata, self.phi())
        {
            self.looks.take(information, z);
        }
    }
}
