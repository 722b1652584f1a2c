//! What a rollout has shown so far: the canary beside stable, pane by pane, looked at after each without
//! cheating (statistics.md §4.5, §5, §9).
//!
//! Every complete pane that holds both arms is one stratum: its events are compared with each other only, so
//! that a common drift and a changed weight cancel. Late revisions are left out: what was looked at stays.

mod compare;
mod labelled;
mod pane;
mod record;
mod series;
mod split;
mod thin;

#[cfg(test)]
mod tests;

pub use compare::{Compared, Comparison, ErrorRates, Terms};
pub use labelled::{ArmLabels, LABEL_TOLERANCE, LabelledAnswers, LabelledRates};
pub use record::EvidenceRecord;
pub use series::SeriesEvidence;
pub use split::{Sampled, SplitTest, Weight};
pub use thin::Thin;

use super::arms;
use super::dispersion::Dispersion;
use super::plan::MeasurePlan;
use super::service::Service;
use super::window::{ArmWindow, ModelWindow};
use crate::event::{ModelId, SeriesOf};
use crate::stats::rates::Change;
use crate::stats::sequential::betting::{self, Betting, Wealth};
use crate::stats::sequential::joint::{Input, Spread};
use crate::stats::sequential::srm::Split;
use serde::{Deserialize, Serialize};
use split::RatioRecord;
use std::collections::BTreeMap;

/// A rise of the error rate by up to this is let pass.
pub const ERROR_TOLERANCE: f64 = 0.005;

/// The evidence of one rollout: of one canary version beside one stable version. Bounded by their series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    pub head: EvidenceHead,
    series: BTreeMap<(SeriesOf, String), SeriesEvidence>,
}

/// What is not of one series.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EvidenceHead {
    /// The versions compared; empty before the first pane.
    pub stable: String,
    pub canary: String,
    /// Panes that held both.
    pub panes: u64,
    pub canary_events: u64,
    pub stable_events: u64,
    /// Of Σ n_e·D² over all inputs, pane by pane: s_J.
    spread: SpreadRecord,
    /// Of the sample ratio, where the weight is known.
    ratio: RatioRecord,
    /// Of the answers that are errors.
    #[serde(default)]
    errors: ErrorsRecord,
    /// Panes whose labels were taken in; the bets on them are stored with the series.
    #[serde(default)]
    pub labelled_panes: u64,
}

/// Bets on the canary's errors: answers that are errors and that are none, of either arm.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct ErrorsRecord {
    canary: [u64; 2],
    stable: [u64; 2],
    ln_wealth: f64,
    largest_ln_wealth: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct SpreadRecord {
    comparisons: u64,
    mean: f64,
    squares: f64,
}

impl Evidence {
    /// Evidence whose series are still to be [restored](Evidence::restore).
    pub fn from_head(head: EvidenceHead) -> Evidence {
        Evidence { head, ..Evidence::default() }
    }

    /// Takes a window in, if it is a pane that can be evidence: of one pane, complete, seen for the first time,
    /// and with both arms in it. `true` when it was. `dispersion`: stable's φ, known without this window.
    pub fn add(
        &mut self,
        plan: &MeasurePlan,
        window: &ModelWindow,
        terms: &Terms,
        dispersion: &Dispersion,
    ) -> bool {
        let complete = window.arms.iter().all(|arm| arm.complete);
        if window.scale != 1 || window.revised || !complete {
            return false;
        }
        let arms = arms::resolve(plan.watched(), window);
        let (Some(stable), Some(canary)) = (arms.stable, arms.canary) else { return false };
        let span = (window.start.0, window.end.0);
        self.add_pane(plan, span, [&window.arms[stable], &window.arms[canary]], terms, dispersion);
        true
    }

    fn add_pane(
        &mut self,
        plan: &MeasurePlan,
        span: (i64, i64),
        [stable, canary]: [&ArmWindow; 2],
        terms: &Terms,
        dispersion: &Dispersion,
    ) {
        let name = |arm: &ArmWindow| {
            plan.watched().versions.get(arm.version.version as usize).map_or("", |one| &one.version)
        };
        self.turn_to(name(stable), name(canary));
        let version = |arm: &ArmWindow| plan.versions.get(arm.version.version as usize);
        let (Some(canary_plan), Some(stable_plan)) = (version(canary), version(stable)) else { return };
        self.head.count(canary.events(), stable.events());
        let split = Split { canary: canary.events(), stable: stable.events() };
        self.head.ratio.add((terms.weight, terms.sampled), span, split, self.head.panes == 1);
        self.head.add_errors(&canary.service, &stable.service);
        let (mut inputs, known) = (Vec::new(), dispersion.is_known(&self.head.stable));
        for (series, counts) in canary_plan.series.iter().zip(&canary.series) {
            let Some(pane) = pane::of_series(series, counts, (stable_plan, stable)) else { continue };
            let key = (series.reference.of, series.reference.name.clone());
            let held = self.series.entry(key).or_insert_with(|| SeriesEvidence::new(&pane));
            if held.layout != pane.layout {
                // Other cells: what was seen on the old ones cannot go on.
                *held = SeriesEvidence::new(&pane);
            }
            let of_panes = dispersion.phi(&self.head.stable, series.reference.of, &series.reference.name);
            // Known without this pane.
            let phi = of_panes.max(held.unit_phi());
            if held.add(&pane, (terms.tolerance, phi), known) && series.reference.of == SeriesOf::Feature {
                inputs.extend(distance(&pane.canary, &pane.stable));
            }
            if known {
                compare::look(held, series, stable_plan, terms, phi);
            }
        }
        if !inputs.is_empty() {
            let mut spread = self.head.spread();
            spread.add(&inputs);
            self.head.set_spread(spread);
        }
        let joined = plan.watched().labels.is_some();
        let labels = [
            labelled::of_arm(name(stable), stable_plan, stable, joined),
            labelled::of_arm(name(canary), canary_plan, canary, joined),
        ];
        self.add_labels(plan, labels.each_ref(), dispersion);
    }

    /// Another pair of versions: nothing of the old one counts.
    fn turn_to(&mut self, stable: &str, canary: &str) {
        if self.head.stable != stable || self.head.canary != canary {
            *self = Evidence::default();
            (self.head.stable, self.head.canary) = (stable.to_owned(), canary.to_owned());
        }
    }

    /// The canary beside stable as far as it has been seen, without the series that `left_out` names. `None`
    /// before the first pane, or when a version is no longer watched.
    pub fn compare(
        &self,
        plan: &MeasurePlan,
        terms: &Terms,
        dispersion: &Dispersion,
        left_out: &dyn Fn(&str) -> bool,
    ) -> Option<Comparison> {
        compare::compare(self, plan, terms, dispersion, left_out)
    }

    /// What is to be stored of each series, for the model `id`.
    pub fn records<'a>(&'a self, id: &'a ModelId) -> impl Iterator<Item = EvidenceRecord> + 'a {
        self.series
            .iter()
            .map(move |((of, name), held)| EvidenceRecord::new(id, (*of, name), &self.head, held))
    }

    /// Takes a stored series up again. Left out: what belongs to another pair of versions, or cannot be right.
    pub fn restore(&mut self, record: &EvidenceRecord) {
        if let Some((key, held)) = record.read(&self.head) {
            self.series.insert(key, held);
        }
    }
}

impl EvidenceHead {
    /// Counts a pane. What was stored may be any numbers.
    fn count(&mut self, canary_events: u64, stable_events: u64) {
        self.panes = self.panes.saturating_add(1);
        self.canary_events = self.canary_events.saturating_add(canary_events);
        self.stable_events = self.stable_events.saturating_add(stable_events);
    }

    fn errors(&self) -> Betting {
        let ErrorsRecord { canary, stable, ln_wealth, largest_ln_wealth } = self.errors;
        let wealth =
            Wealth { canary: canary.to_vec(), stable: stable.to_vec(), ln_wealth, largest_ln_wealth };
        Betting::from_wealth(wealth).unwrap_or_else(Betting::of_rate)
    }

    fn add_errors(&mut self, canary: &Service, stable: &Service) {
        if canary.answers == 0 || stable.answers == 0 {
            return;
        }
        let split = |of: &Service| [of.errors, of.answers.saturating_sub(of.errors)];
        let mut bets = self.errors();
        let terms = betting::Terms { tolerance: ERROR_TOLERANCE, phi: 1.0, change: Change::Rose };
        // A pane that cannot be counted changes nothing.
        let _ = bets.add(&split(canary), &split(stable), terms);
        let wealth = bets.wealth();
        self.errors = ErrorsRecord {
            canary: [wealth.canary[0], wealth.canary[1]],
            stable: [wealth.stable[0], wealth.stable[1]],
            ln_wealth: wealth.ln_wealth,
            largest_ln_wealth: wealth.largest_ln_wealth,
        };
    }

    fn spread(&self) -> Spread {
        let SpreadRecord { comparisons, mean, squares } = self.spread;
        Spread { comparisons, mean, squares }
    }

    fn set_spread(&mut self, Spread { comparisons, mean, squares }: Spread) {
        self.spread = SpreadRecord { comparisons, mean, squares };
    }
}

/// sup|F_c − F_s| of one pane, and its n_e.
fn distance(canary: &[u64], stable: &[u64]) -> Option<Input> {
    let (n, m) = (canary.iter().sum::<u64>() as f64, stable.iter().sum::<u64>() as f64);
    if n <= 0.0 || m <= 0.0 {
        return None;
    }
    let (mut a, mut b, mut largest) = (0u64, 0u64, 0.0f64);
    for (c, s) in canary.iter().zip(stable) {
        a += c;
        b += s;
        largest = largest.max((a as f64 / n - b as f64 / m).abs());
    }
    Some(Input { distance: largest, n_e: n * m / (n + m) })
}
