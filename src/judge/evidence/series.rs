//! What a rollout has shown of one series so far.

use super::labelled::LabelEvidence;
use crate::cells::{OCTILE_BINS, UNIT_CELLS};
use crate::stats::rates::Change;
use crate::stats::sequential::betting::{Betting, Terms};
use crate::stats::sequential::boundary::{DEFAULT_HORIZON, Looks};
use crate::stats::sequential::dispersion::{self, Below};
use crate::stats::sequential::stratified::Stratified;

/// One pane of one series: both arms on the same cells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pane {
    /// Says which cells these are: evidence on others cannot go on.
    pub layout: u64,
    pub canary: Vec<u64>,
    pub stable: Vec<u64>,
    /// Rows without and with a usable value: canary, stable.
    pub missing: [[u64; 2]; 2],
    /// Stable's values by unit bucket and octile, for φ_u.
    pub units: Option<Box<[u64; UNIT_CELLS]>>,
}

/// The sums of one series over the panes of a rollout. Bounded by the series' cells; see
/// [`super::record::EvidenceRecord`] for how it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEvidence {
    pub(super) layout: u64,
    pub(super) strata: Stratified,
    pub(super) looks: Looks,
    pub(super) missing: Betting,
    pub(super) labels: LabelEvidence,
    /// Stable's values by unit bucket and octile, over the whole rollout.
    pub(super) units: Box<[u64; UNIT_CELLS]>,
}

impl SeriesEvidence {
    pub(super) fn new(pane: &Pane) -> SeriesEvidence {
        SeriesEvidence {
            layout: pane.layout,
            strata: Stratified::new(pane.canary.len()),
            looks: Looks::new(DEFAULT_HORIZON),
            missing: Betting::of_rate(),
            labels: LabelEvidence::new(),
            units: Box::new([0; UNIT_CELLS]),
        }
    }

    /// Adds a pane of values with the autocorrelation factor `phi`, known without this pane; `true` when the arms
    /// could be compared in it. `bets`: φ is known, so that bets on the missing values may be placed.
    pub(super) fn add(&mut self, pane: &Pane, (tolerance, phi): (f64, f64), bets: bool) -> bool {
        if bets {
            let [canary, stable] = pane.missing;
            let terms = Terms { tolerance, phi, change: Change::Differs };
            // A pane that cannot be counted changes nothing.
            let _ = self.missing.add(&canary, &stable, terms);
        }
        for (sum, count) in self.units.iter_mut().zip(pane.units.iter().flat_map(|units| units.iter())) {
            *sum = sum.saturating_add(*count);
        }
        self.strata.add(&pane.canary, &pane.stable)
    }

    /// φ_u: how much more than independent values the buckets of stable's units differ; at least 1
    /// (statistics.md §9.5).
    pub(super) fn unit_phi(&self) -> f64 {
        let (bins, _) = self.units.as_chunks::<OCTILE_BINS>();
        let buckets: Vec<Below> = bins.iter().map(below_octiles).collect();
        dispersion::of_units(&buckets).unwrap_or(1.0).max(1.0)
    }

    /// Begins the next epoch when the information has outgrown this one (statistics.md §4.5).
    pub(super) fn turn_epoch(&mut self) {
        if self.looks.is_over(self.strata.strata().information) {
            self.looks.begin_epoch();
            self.strata.clear();
        }
    }

    /// Takes a look at z, if one is due; z is asked for only then.
    pub(super) fn look(&mut self, z: impl FnOnce(&Stratified) -> Option<f64>) {
        let (information, events) = {
            let strata = self.strata.strata();
            (strata.information, strata.canary_events)
        };
        if self.looks.is_due(information, events)
            && let Some(z) = z(&self.strata)
        {
            self.looks.take(information, z);
        }
    }
}

/// Counts of the bins between seven octiles → counts at or below each.
fn below_octiles(bins: &[u64; OCTILE_BINS]) -> Below {
    let mut below = Below::default();
    for (bin, count) in bins.iter().enumerate() {
        below.values = below.values.saturating_add(*count);
        if let Some(at_point) = below.at_points.get_mut(bin) {
            *at_point = below.values;
        }
    }
    below
}
