//! Windows → measurements: every series against its baseline, and the canary's against stable on the same
//! panes. Thresholds come later: a measurement says how far, a verdict says whether that is too far.

use super::arms::{self, Arms};
use super::differences::{self, ArmDifferences};
use super::dispersion::Dispersion;
use super::distances;
use super::labels::{self, OutputLabels};
use super::plan::{MeasurePlan, SeriesPlan, Usual, VersionPlan};
use super::rates::{self, RateMeasurement};
use super::report::{KsReport, MeasuredOf, PsiReport, QuantilesReport, Reference, WassersteinReport};
use super::scores::{self, ScoreMeasurement};
use super::service::Service;
use super::verdict;
use super::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::baseline::VersionIndex;
use crate::cells::Sums;
use crate::event::{Role, SeriesKind, SeriesOf};
use crate::stats::psi::Shares;
use crate::stats::rates::Rate;
use crate::stats::{Counted, jensen_shannon, psi, rare};

/// No test of a budget runs at a higher level.
const LARGEST_ALPHA: f64 = 0.05;

/// One version's measurements over one window.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmMeasurement {
    pub version: VersionIndex,
    pub role: Option<Role>,
    /// Why this version's role is in doubt, if it is.
    pub conflict: Option<String>,
    pub events: u64,
    /// Share of the model's events in the window, 0 to 1.
    pub traffic_share: f64,
    /// Panes of the window that hold data of this version.
    pub panes: u32,
    pub complete: bool,
    pub revision: u32,
    /// In series order: against the baseline, its missing values, and (canary) against stable.
    pub series: Vec<SeriesMeasurement>,
    /// How its events were served.
    pub service: Service,
    /// Its outputs whose answers have labels.
    pub labels: Vec<OutputLabels>,
    /// Its numeric outputs whose answers have labels.
    pub scores: Vec<ScoreMeasurement>,
    /// The canary's inputs and answers beside stable's, for the policy. Only on the canary's measurement,
    /// and only when stable is in the window too.
    pub differences: Option<ArmDifferences>,
}

/// One series of a window against one reference.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesMeasurement {
    pub name: String,
    pub of: MeasuredOf,
    pub kind: SeriesKind,
    pub reference: Reference,
    /// Values in the window.
    pub n: u64,
    /// Values in the reference.
    pub m: u64,
    /// Rows of the window that should have held a value.
    pub rows: u64,
    pub missing: u64,
    pub type_errors: u64,
    pub unseen: u64,
    pub out_of_range: u64,
    pub ks: Option<KsReport>,
    pub psi: Option<PsiReport>,
    pub js: Option<f64>,
    pub hellinger: Option<f64>,
    pub total_variation: Option<f64>,
    pub wasserstein: Option<WassersteinReport>,
    pub quantiles: Option<QuantilesReport>,
    pub mean: Option<f64>,
    /// How a budget verdict compares the shares of values.
    pub shares: Shares,
    /// What is no drift of this series at this scale, beside the default.
    pub usual: Usual,
    /// The autocorrelation factor of the window's values, at least 1: n of them are worth n/φ independent ones.
    pub phi: f64,
    /// PSI at the limits of a budget verdict.
    pub psi_test: Option<PsiTest>,
    /// Of categories in a small window: the one that is least likely to have come about by chance.
    pub rare: Option<RareCategory>,
    /// Of a quality series.
    pub rate: Option<RateMeasurement>,
}

/// A PSI held against the limits of a warning, a drift, a severe drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PsiTest {
    /// On the bins that are judged: of discrete series by value, of categories with the rare ones joined.
    pub value: f64,
    pub limits: [f64; 3],
    /// P(an index this large when the true one is the limit).
    pub beyond: [f64; 3],
}

/// The category of a small window that chance explains least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RareCategory {
    pub window: Rate,
    pub reference: Rate,
    /// Fisher's, times `tests`.
    pub p_value: f64,
    /// Categories that occur.
    pub tests: u32,
}

/// Measures all versions of a closed window, in the window's order. `dispersion`: φ of each series.
///
/// A version or series beyond the plan, or counted on another number of cells, is left out: its counts
/// cannot be compared with anything.
pub fn measure(plan: &MeasurePlan, window: &ModelWindow, dispersion: &Dispersion) -> Vec<ArmMeasurement> {
    let arms = arms::resolve(plan.watched(), window);
    let joined = plan.watched().labels.is_some();
    let total: u64 = window.arms.iter().map(ArmWindow::events).sum();
    let measure_arm = |(position, arm): (usize, &ArmWindow)| {
        let version = plan.versions.get(arm.version.version as usize)?;
        let stable = stable_beside(plan, window, &arms, position);
        let mut series = Vec::with_capacity(version.series.len() * if stable.is_some() { 4 } else { 3 });
        let mut inputs = Vec::new();
        let name = plan.watched().versions.get(arm.version.version as usize).map_or("", |one| &one.version);
        let phis = dispersion.of_version(name, version);
        for ((series_plan, counts), phi) in version.series.iter().zip(&arm.series).zip(phis) {
            let other = measure_series(series_plan, counts, stable, (window.scale, phi), &mut series);
            if let Some((beside, other)) = series.last().zip(other) {
                inputs.extend(differences::input(series_plan, (counts, other), beside));
            }
        }
        Some(ArmMeasurement {
            version: arm.version,
            role: arms.role(position),
            conflict: arms.conflict_of(arm.version).map(str::to_owned),
            events: arm.events(),
            traffic_share: ratio(arm.events(), total).unwrap_or(0.0),
            panes: arm.panes,
            complete: arm.complete,
            revision: arm.revision,
            series,
            service: arm.service.clone(),
            labels: labels::of_arm(arm, joined),
            scores: scores::of_arm(arm, joined),
            differences: stable.map(|stable| differences::of_arms((version, arm), stable, inputs)),
        })
    };
    window.arms.iter().enumerate().filter_map(measure_arm).collect()
}

/// A version's plan and its window.
pub(super) type Arm<'a> = (&'a VersionPlan, &'a ArmWindow);

/// The stable arm, when `position` is the canary.
fn stable_beside<'a>(
    plan: &'a MeasurePlan,
    window: &'a ModelWindow,
    arms: &Arms,
    position: usize,
) -> Option<Arm<'a>> {
    let stable = &window.arms[arms.stable.filter(|_| arms.canary == Some(position))?];
    Some((plan.versions.get(stable.version.version as usize)?, stable))
}

/// Returns stable's counts when the last measurement is one against them.
fn measure_series<'a>(
    plan: &SeriesPlan,
    counts: &SeriesCounts,
    stable: Option<Arm<'a>>,
    (scale, phi): (u32, f64),
    into: &mut Vec<SeriesMeasurement>,
) -> Option<&'a SeriesCounts> {
    if counts.cells.len() != plan.reference.counts.len() {
        return None;
    }
    let binned = Binned::new(plan, counts);
    let window = binned.side();
    let blank = || SeriesMeasurement { phi, ..without_statistics(plan, counts, window.n) };
    let beside_training = SeriesMeasurement { usual: plan.usual(scale), ..blank() };
    into.push(compare(plan, counts, (of_training(plan), window), plan.exact, beside_training));
    rates::measure(plan, counts, window.n, phi, into);
    let other = stable.and_then(|stable| on_the_same_grid(plan, stable));
    if let Some(other) = other {
        // On the baseline's bins, with stable in the same panes as the reference.
        let beside_stable = SeriesMeasurement { reference: Reference::Stable, ..blank() };
        let binned = Binned::new(plan, other);
        into.push(compare(plan, counts, (binned.side(), window), false, beside_stable));
    }
    other
}

/// The counts of the same series of another version, if they stand on the same grid.
pub(super) fn on_the_same_grid<'a>(plan: &SeriesPlan, (version, arm): Arm<'a>) -> Option<&'a SeriesCounts> {
    let position = version.find(plan.reference.of, &plan.reference.name)?;
    let same = version.series[position].grid_hash == plan.grid_hash;
    arm.series.get(position).filter(|counts| same && counts.cells.len() == plan.reference.counts.len())
}

/// One side of a comparison.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub counted: Option<Counted<'a>>,
    /// Values.
    pub n: u64,
    /// Their counts on the bins that distances of shares are shown on.
    pub shown: &'a [u64],
    /// Those on the bins that a budget judges.
    judged: &'a [u64],
    /// The sums of the values, where they are known.
    pub sums: Option<&'a Sums>,
}

fn of_training(plan: &SeriesPlan) -> Side<'_> {
    Side {
        counted: Counted::of_total(&plan.reference.counts, plan.m),
        n: plan.m,
        shown: &plan.folded,
        judged: plan.values.as_ref().map_or(&plan.folded, |(_, folded)| folded),
        sums: plan.sums.as_ref(),
    }
}

/// Live counts on the bins of a baseline.
struct Binned<'a> {
    counts: &'a SeriesCounts,
    shown: Vec<u64>,
    by_value: Option<Vec<u64>>,
}

impl<'a> Binned<'a> {
    fn new(plan: &SeriesPlan, counts: &'a SeriesCounts) -> Binned<'a> {
        let by_value = plan.values.as_ref().map(|(bins, _)| bins.fold(&counts.cells));
        Binned { counts, shown: plan.bins.fold(&counts.cells), by_value }
    }

    fn side(&self) -> Side<'_> {
        // Every cell is in a bin.
        let n = self.shown.iter().sum();
        Side {
            counted: Counted::of_total(&self.counts.cells, n),
            n,
            shown: &self.shown,
            judged: self.by_value.as_ref().unwrap_or(&self.shown),
            sums: Some(&self.counts.sums),
        }
    }
}

/// Fills in the statistics of a measurement. `exact`: every value of the reference is a cut.
fn compare(
    plan: &SeriesPlan,
    counts: &SeriesCounts,
    (reference, window): (Side<'_>, Side<'_>),
    exact: bool,
    mut measurement: SeriesMeasurement,
) -> SeriesMeasurement {
    measurement.m = reference.n;
    measurement.psi = psi_report(reference.shown, window.shown, window.n, reference.n);
    measurement.js = jensen_shannon::distance(reference.shown, window.shown);
    judge_shares(&mut measurement, reference.judged, window.judged);
    distances::measure(&mut measurement, plan, counts, (reference, window), exact);
    measurement
}

pub(super) fn without_statistics(plan: &SeriesPlan, counts: &SeriesCounts, n: u64) -> SeriesMeasurement {
    SeriesMeasurement {
        name: plan.reference.name.clone(),
        of: match plan.reference.of {
            SeriesOf::Feature => MeasuredOf::Feature,
            SeriesOf::Prediction => MeasuredOf::Prediction,
        },
        kind: plan.reference.kind,
        reference: Reference::Baseline,
        n,
        m: 0,
        rows: counts.rows,
        missing: counts.missing,
        type_errors: counts.type_errors,
        unseen: plan.unseen_cell.map_or(0, |cell| counts.cells[cell]),
        out_of_range: counts.out_of_range,
        ks: None,
        psi: None,
        js: None,
        hellinger: None,
        total_variation: None,
        wasserstein: None,
        quantiles: None,
        mean: None,
        shares: plan.shares,
        usual: Usual::default(),
        phi: 1.0,
        psi_test: None,
        rare: None,
        rate: None,
    }
}

/// What a budget verdict needs of the counts on the bins that it judges: PSI at its limits, or of categories in small
/// windows the rarest one.
fn judge_shares(measurement: &mut SeriesMeasurement, reference: &[u64], window: &[u64]) {
    let phi = measurement.phi;
    let n_eff = measurement.n as f64 / phi;
    let small = n_eff < rare::EXACT_BELOW;
    match measurement.shares {
        Shares::Categories if small => measurement.rare = rarest(reference, window, phi),
        // KS says what so few values can.
        Shares::Values if small => {}
        Shares::Values | Shares::Categories => {
            let limits = verdict::psi_limits(measurement.usual.psi);
            measurement.psi_test = psi::merge_sparse(reference, window).and_then(|(reference, window)| {
                let value = psi::psi(&reference, &window)?;
                let p = |limit| psi::p_value_categorical(&reference, &window, n_eff, limit).unwrap_or(1.0);
                Some(PsiTest { value, limits, beyond: beyond(value, limits, p) })
            });
        }
        Shares::Deciles => {
            let (limits, m) = (verdict::psi_limits(measurement.usual.psi), measurement.m as f64);
            measurement.psi_test = measurement.psi.map(|PsiReport { value, p_value, .. }| {
                let p = |limit| match p_value {
                    // With a tolerance, and of fewer effective values, no index is less likely than without.
                    p if p > LARGEST_ALPHA => 1.0,
                    _ => psi::p_value(value, n_eff, m, reference.len(), limit),
                };
                PsiTest { value, limits, beyond: beyond(value, limits, p) }
            });
        }
    }
}

/// The p-values of an index at its limits, up to the first that no test could reject.
fn beyond(value: f64, limits: [f64; 3], p: impl Fn(f64) -> f64) -> [f64; 3] {
    let mut beyond = [1.0; 3];
    for (found, limit) in beyond.iter_mut().zip(limits) {
        // An index of the limit's size is what the limit leads to expect.
        if value <= limit {
            break;
        }
        *found = p(limit);
        if *found > LARGEST_ALPHA {
            break;
        }
    }
    beyond
}

fn rarest(reference: &[u64], window: &[u64], phi: f64) -> Option<RareCategory> {
    let found = rare::p_value(reference, window, phi)?;
    let rate = |counts: &[u64]| Rate::new(counts[found.cell], counts.iter().sum());
    let tests = reference.iter().zip(window).filter(|(r, w)| **r > 0 || **w > 0).count() as u32;
    Some(RareCategory { window: rate(window)?, reference: rate(reference)?, p_value: found.p_value, tests })
}

pub(super) fn psi_report(reference: &[u64], window: &[u64], n: u64, m: u64) -> Option<PsiReport> {
    let value = psi::psi(reference, window)?;
    let (n, m, bins) = (n as f64, m as f64, reference.len());
    let p_value = psi::p_value(value, n, m, bins, 0.0);
    Some(PsiReport { value, p_value, corrected: psi::corrected(value, n, m, bins) })
}

/// `part / whole`; `None` of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
