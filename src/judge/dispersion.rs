//! How much the values of each series depend on each other from pane to pane: φ, remembered by version, so that a
//! rollout finds stable's when it begins (statistics.md §4.4, §9.5).

use super::plan::{MeasurePlan, VersionPlan};
use super::window::ModelWindow;
use crate::baseline::WatchedModel;
use crate::event::{ModelId, SeriesOf};
use crate::stats::sequential::dispersion::{Below, POINTS, PaneDispersion};
use crate::tally::{of_from_number, of_number};
use prost::Message;
use std::collections::BTreeMap;

/// Panes without which φ is not known; until then it counts as 1.
pub const LEAST_PANES: u32 = 10;
/// One pane adds at most so many times what φ lets expect: a step of the distribution is drift, not noise, and
/// must not hide itself.
const MOST_OF_ONE_PANE: f64 = 9.0;

/// The dispersions of one model. Bounded by its configured versions and their series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dispersion {
    versions: BTreeMap<String, VersionDispersion>,
    /// Panes taken in, ever: tells whether something is to be stored.
    pub taken: u64,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct VersionDispersion {
    /// Since what was seen was last halved.
    panes: u32,
    /// Ever.
    seen: u32,
    series: BTreeMap<(SeriesOf, String), SeriesDispersion>,
}

#[derive(Debug, Clone, PartialEq)]
struct SeriesDispersion {
    grid_hash: u64,
    panes: u32,
    sums: PaneDispersion,
}

impl Dispersion {
    /// Takes a window in, if it is a complete pane seen for the first time. After every `panes_per_day` panes
    /// what was seen is halved, so that φ follows the traffic of the last days.
    pub fn add(&mut self, plan: &MeasurePlan, window: &ModelWindow, panes_per_day: u32) {
        let complete = window.arms.iter().all(|arm| arm.complete);
        if window.scale != 1 || window.revised || !complete {
            return;
        }
        self.taken += 1;
        for arm in &window.arms {
            let index = arm.version.version as usize;
            let (Some(version), Some(watched)) =
                (plan.versions.get(index), plan.watched().versions.get(index))
            else {
                continue;
            };
            let held = self.versions.entry(watched.version.clone()).or_default();
            held.panes = held.panes.saturating_add(1);
            held.seen = held.seen.saturating_add(1);
            for (series, counts) in version.series.iter().zip(&arm.series) {
                if counts.cells.len() == series.reference.counts.len() {
                    let key = (series.reference.of, series.reference.name.clone());
                    held.add(key, series.grid_hash, series.octiles.below(&counts.cells));
                }
            }
            if held.panes >= panes_per_day.max(LEAST_PANES) {
                held.halve();
            }
        }
    }

    /// Whether enough panes of a version were seen to know φ. No test of a rollout should rest on fewer: bets that
    /// begin with the second pane are lost in one of five healthy rollouts of strongly dependent values.
    pub fn is_known(&self, version: &str) -> bool {
        self.versions.get(version).is_some_and(|held| held.seen >= LEAST_PANES)
    }

    /// φ of a version's series, at least 1; 1 while too few panes were seen.
    pub fn phi(&self, version: &str, of: SeriesOf, series: &str) -> f64 {
        let found = || {
            let held = self.versions.get(version)?.series.get(&(of, series.to_owned()))?;
            if held.panes >= LEAST_PANES { held.sums.phi() } else { None }
        };
        found().unwrap_or(1.0).max(1.0)
    }

    /// φ of every series of a version, in the plan's order.
    pub(super) fn of_version(&self, version: &str, plan: &VersionPlan) -> Vec<f64> {
        let of_series =
            |series: &super::plan::SeriesPlan| self.phi(version, series.reference.of, &series.reference.name);
        plan.series.iter().map(of_series).collect()
    }

    /// Forgets versions and series that are no longer watched. Call after restoring.
    pub fn retain_watched(&mut self, watched: &WatchedModel) {
        self.versions.retain(|version, held| {
            let Some(index) = watched.find_version(version) else { return false };
            let of = &watched.versions[index as usize];
            held.series.retain(|(kind, name), _| of.find(*kind, name).is_some());
            true
        });
    }

    /// What is to be stored of each version of the model `id`.
    pub fn records<'a>(&'a self, id: &'a ModelId) -> impl Iterator<Item = DispersionRecord> + 'a {
        self.versions.iter().map(move |(version, held)| DispersionRecord::new(id, version, held))
    }

    /// Takes a stored version up again; series whose numbers cannot be any are left out.
    pub fn restore(&mut self, record: &DispersionRecord) {
        let held = self.versions.entry(record.version.clone()).or_default();
        (held.panes, held.seen) = (record.panes, record.seen);
        held.series.extend(record.series.iter().filter_map(SeriesDispersionRecord::read));
    }
}

impl VersionDispersion {
    fn add(&mut self, key: (SeriesOf, String), grid_hash: u64, pane: Below) {
        let fresh = || SeriesDispersion { grid_hash, panes: 0, sums: PaneDispersion::default() };
        let held = self.series.entry(key).or_insert_with(fresh);
        if held.grid_hash != grid_hash {
            *held = fresh();
        }
        if pane.values == 0 {
            return;
        }
        held.panes = held.panes.saturating_add(1);
        add_tempered(&mut held.sums, pane);
    }

    fn halve(&mut self) {
        self.panes = 0;
        for held in self.series.values_mut() {
            let sums = &mut held.sums;
            sums.all.values /= 2;
            sums.all.at_points.iter_mut().for_each(|count| *count /= 2);
            sums.squares.iter_mut().for_each(|square| *square /= 2.0);
            sums.inverse_sizes /= 2.0;
        }
    }
}

fn add_tempered(sums: &mut PaneDispersion, pane: Below) {
    let (before, phi) = (*sums, sums.phi().unwrap_or(1.0).max(1.0));
    sums.add(pane);
    let sizes = sums.inverse_sizes - before.inverse_sizes;
    for (point, square) in sums.squares.iter_mut().enumerate() {
        let mean = sums.all.at_points[point] as f64 / sums.all.values as f64;
        let most = MOST_OF_ONE_PANE * phi * mean * (1.0 - mean) * sizes;
        *square = square.min(before.squares[point] + most);
    }
}

/// The dispersion of one version (`tidegate.state`, key `dispersion|namespace|model|version`).
#[derive(Clone, PartialEq, Message)]
pub struct DispersionRecord {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    #[prost(string, tag = "3")]
    pub version: String,
    /// Panes since what was seen was last halved.
    #[prost(uint32, tag = "4")]
    pub panes: u32,
    #[prost(message, repeated, tag = "5")]
    pub series: Vec<SeriesDispersionRecord>,
    /// Panes, ever.
    #[prost(uint32, tag = "6")]
    pub seen: u32,
}

/// The dispersion of one series.
#[derive(Clone, PartialEq, Message)]
pub struct SeriesDispersionRecord {
    /// 0: feature, 1: prediction.
    #[prost(uint32, tag = "1")]
    pub of: u32,
    #[prost(string, tag = "2")]
    pub series: String,
    #[prost(fixed64, tag = "3")]
    pub grid_hash: u64,
    #[prost(uint32, tag = "4")]
    pub panes: u32,
    /// Values at or below seven octiles, and all: of the pane before, of all panes.
    #[prost(uint64, repeated, tag = "5")]
    pub previous_below: Vec<u64>,
    #[prost(uint64, repeated, tag = "6")]
    pub all_below: Vec<u64>,
    /// Per octile: the sum of squared differences of successive panes.
    #[prost(double, repeated, tag = "7")]
    pub squares: Vec<f64>,
    /// The sum of 1/n of successive panes.
    #[prost(double, tag = "8")]
    pub inverse_sizes: f64,
}

const KEY: &str = "dispersion";

impl DispersionRecord {
    fn new(id: &ModelId, version: &str, held: &VersionDispersion) -> Self {
        let series = held.series.iter().map(|((of, name), held)| SeriesDispersionRecord {
            of: of_number(*of),
            series: name.clone(),
            grid_hash: held.grid_hash,
            panes: held.panes,
            previous_below: below(held.sums.previous),
            all_below: below(held.sums.all),
            squares: held.sums.squares.to_vec(),
            inverse_sizes: held.sums.inverse_sizes,
        });
        DispersionRecord {
            namespace: id.namespace.clone(),
            model: id.name.clone(),
            version: version.to_owned(),
            panes: held.panes,
            series: series.collect(),
            seen: held.seen,
        }
    }

    /// The key of this record in `tidegate.state`.
    pub fn key(&self) -> String {
        format!("{KEY}|{}|{}|{}", self.namespace, self.model, self.version)
    }

    /// Whether a key of `tidegate.state` is that of such a record.
    pub fn is_key(key: &[u8]) -> bool {
        key.strip_prefix(KEY.as_bytes()).is_some_and(|rest| rest.starts_with(b"|"))
    }
}

impl SeriesDispersionRecord {
    fn read(&self) -> Option<((SeriesOf, String), SeriesDispersion)> {
        let sums = PaneDispersion {
            previous: read_below(&self.previous_below)?,
            all: read_below(&self.all_below)?,
            squares: self.squares.clone().try_into().ok()?,
            inverse_sizes: self.inverse_sizes,
        };
        let possible = |number: &f64| number.is_finite() && *number >= 0.0;
        let sound = sums.squares.iter().chain([&sums.inverse_sizes]).all(possible);
        let held = SeriesDispersion { grid_hash: self.grid_hash, panes: self.panes, sums };
        sound.then_some(((of_from_number(self.of)?, self.series.clone()), held))
    }
}

fn below(of: Below) -> Vec<u64> {
    of.at_points.iter().copied().chain([of.values]).collect()
}

fn read_below(numbers: &[u64]) -> Option<Below> {
    let (at_points, values) = numbers.split_at_checked(POINTS)?;
    Some(Below { at_points: at_points.try_into().ok()?, values: *values.first()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::fixture::{HEALTHY, Traffic, watched, window};

    const DAY: u32 = 1_440;

    /// φ of stable's `amount` after panes whose shift follows `shifts`.
    fn phi_after(shifts: impl Iterator<Item = f64>, panes_per_day: u32) -> (Dispersion, f64) {
        let plan = MeasurePlan::new(&watched(true));
        let mut dispersion = Dispersion::default();
        for (number, shift) in shifts.enumerate() {
            let traffic = Traffic { amount: shift, events: 500, ..HEALTHY };
            let pane = window(plan.watched(), number as i64, traffic, HEALTHY, 5);
            dispersion.add(&plan, &pane, panes_per_day);
        }
        let phi = dispersion.phi("v1", SeriesOf::Feature, "amount");
        (dispersion, phi)
    }

    #[test]
    fn independent_values_have_a_phi_near_one_and_swinging_ones_a_large_one() {
        let (_, quiet) = phi_after((0..60).map(|_| 0.0), DAY);
        assert!((1.0..1.5).contains(&quiet), "{quiet}");
        let swing = |pane: i32| if pane % 2 == 0 { 0.0 } else { 0.15 };
        let (_, swinging) = phi_after((0..60).map(swing), DAY);
        assert!(swinging > 5.0, "{swinging}");
        let (_, few) = phi_after((0..9).map(swing), DAY);
        assert_eq!(few, 1.0, "too few panes to know");
    }

    #[test]
    fn a_step_is_drift_and_does_not_hide_itself() {
        let (_, phi) = phi_after((0..30).map(|pane| if pane < 15 { 0.0 } else { 0.4 }), DAY);
        assert!(phi < 1.6, "{phi}");
    }

    #[test]
    fn what_is_old_fades() {
        let early = |pane: i32| if pane < 40 && pane % 2 == 0 { 0.15 } else { 0.0 };
        let (_, remembered) = phi_after((0..120).map(early), DAY);
        let (_, faded) = phi_after((0..120).map(early), 20);
        assert!(faded < remembered / 3.0, "{faded} {remembered}");
    }

    #[test]
    fn it_survives_storing_and_wrong_records_are_left_out() {
        let (dispersion, phi) = phi_after((0..12).map(|_| 0.0), DAY);
        let id = watched(true).id;
        let mut restored = Dispersion::default();
        for record in dispersion.records(&id) {
            assert!(DispersionRecord::is_key(record.key().as_bytes()));
            restored.restore(&record);
        }
        assert_eq!((restored.versions.clone(), phi), (dispersion.versions.clone(), phi));
        let mut largest = dispersion.records(&id).next().expect("a version");
        (largest.panes, largest.seen) = (u32::MAX, u32::MAX);
        let mut full = Dispersion::default();
        full.restore(&largest);
        let plan = MeasurePlan::new(&watched(true));
        full.add(&plan, &window(plan.watched(), 12, HEALTHY, HEALTHY, 5), u32::MAX);
        let of_amount =
            |of: &Dispersion| of.versions["v1"].series.values().next().map(|one| one.sums.all.values);
        assert!(full.is_known("v1") && of_amount(&full) < of_amount(&dispersion), "a full day is halved");
        let mut wrong = dispersion.records(&id).next().expect("a version");
        wrong.series[0].squares.pop();
        wrong.series[1].inverse_sizes = f64::NAN;
        let (mut others, all) = (Dispersion::default(), wrong.series.len());
        others.restore(&wrong);
        assert_eq!(others.versions["v1"].series.len(), all - 2);
        restored.retain_watched(&crate::judge::fixture::with_rollout(crate::baseline::Rollout::Auto, false));
        assert!(restored.versions.contains_key("v1"));
    }
}
