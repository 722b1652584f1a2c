//! An always-on A/A test: the stable version's own traffic, split in two halves by a hash of the unit. Its false
//! alarms are those of the canary's tests too, so it tells whether their levels hold on this traffic.

use super::arms;
use super::dispersion::Dispersion;
use super::plan::{MeasurePlan, SeriesPlan};
use super::window::{ModelWindow, SeriesCounts};
use crate::cells::OCTILE_BINS;
use crate::event::SeriesOf;
use crate::stats::homogeneity;
use crate::stats::rates::{self, Rate};
use serde::{Deserialize, Serialize};

/// Tests at this level are counted.
pub const LEVEL: f64 = 0.01;
/// Features that are tested, besides all predictions.
const FEATURES: usize = 5;
/// Values a half needs.
const LEAST_VALUES: u64 = 100;
/// Tests after which the counts are halved: they follow the traffic of the last days.
const MOST_TESTS: u64 = 20_000;
/// The interval of the share that is shown misses the true one this often …
const ALPHA: f64 = 0.05;
/// … and the one that warns, since it is looked at after every pane, this often …
const WARNING_ALPHA: f64 = 1e-4;
/// … and not before so many tests.
const TESTS_TO_WARN: u64 = 200;

/// What the tests of one model have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelfCheck {
    pub tests: u64,
    /// Of them, those with p ≤ [`LEVEL`].
    pub rejected: u64,
    /// Whether the warning has been given.
    pub warned: bool,
}

/// The share of rejected tests, with Wilson's interval at 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfCheckReport {
    pub tests: u64,
    pub ratio: f64,
    pub lower: f64,
    pub upper: f64,
    /// The share surely lies above [`LEVEL`], and did not before.
    pub warning: bool,
}

impl SelfCheck {
    /// Takes a window in, if it is a complete pane seen for the first time, and tests stable's halves: all its
    /// predictions and its first five features. `None` when nothing could be tested.
    ///
    /// Each test is χ² of homogeneity over the bins between the octiles, on n/φ values (`dispersion`).
    pub fn add(
        &mut self,
        plan: &MeasurePlan,
        window: &ModelWindow,
        dispersion: &Dispersion,
    ) -> Option<SelfCheckReport> {
        let complete = window.arms.iter().all(|arm| arm.complete);
        if window.scale != 1 || window.revised || !complete {
            return None;
        }
        let found = arms::resolve(plan.watched(), window);
        // Without a rollout the one version there is.
        let position = found.stable.or((window.arms.len() == 1).then_some(0))?;
        let arm = &window.arms[position];
        let index = arm.version.version as usize;
        let (version, watched) = (plan.versions.get(index)?, plan.watched().versions.get(index)?);
        let features = version.series.iter().filter(|one| one.reference.of == SeriesOf::Feature).count();
        let mut feature = 0;
        let before = self.tests;
        for (series, counts) in version.series.iter().zip(&arm.series) {
            if series.reference.of == SeriesOf::Feature {
                feature += 1;
                if feature > FEATURES.min(features) {
                    continue;
                }
            }
            let phi = dispersion.phi(&watched.version, series.reference.of, &series.reference.name);
            self.test(series, counts, phi);
        }
        (self.tests > before).then(|| self.report())
    }

    fn test(&mut self, _: &SeriesPlan, counts: &SeriesCounts, phi: f64) {
        let Some(units) = &counts.units else { return };
        let (buckets, _) = units.as_chunks::<OCTILE_BINS>();
        let mut halves = [[0u64; OCTILE_BINS]; 2];
        for (bucket, bins) in buckets.iter().enumerate() {
            halves[bucket % 2].iter_mut().zip(bins).for_each(|(sum, count)| *sum += count);
        }
        if halves.iter().any(|half| half.iter().sum::<u64>() < LEAST_VALUES) {
            return;
        }
        let Some(found) = homogeneity::two_sample(&halves[0], &halves[1], phi) else { return };
        self.tests = self.tests.saturating_add(1);
        self.rejected = self.rejected.saturating_add(u64::from(found.p_value <= LEVEL));
        if self.tests >= MOST_TESTS {
            (self.tests, self.rejected) = (self.tests / 2, self.rejected / 2);
        }
    }

    fn report(&mut self) -> SelfCheckReport {
        let rate = Rate::new(self.rejected, self.tests);
        let shown = rate.map(|rate| rates::wilson(rate, ALPHA));
        let (ratio, lower, upper) = shown.map_or((0.0, 0.0, 1.0), |one| (one.value, one.lower, one.upper));
        let sure = rate.is_some_and(|rate| rates::wilson(rate, WARNING_ALPHA).lower > LEVEL);
        let above = sure && self.tests >= TESTS_TO_WARN;
        let warning = above && !self.warned;
        self.warned = above;
        SelfCheckReport { tests: self.tests, ratio, lower, upper, warning }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::UNIT_CELLS;
    use crate::judge::fixture::{HEALTHY, watched, window};

    /// A pane of v1 and v2 with units; `sticky`: a unit's values all stand in one bin.
    fn pane(plan: &MeasurePlan, number: i64, sticky: bool, random: &mut fastrand::Rng) -> ModelWindow {
        let mut pane = window(plan.watched(), number, HEALTHY, HEALTHY, 3);
        for counts in &mut pane.arms[0].series {
            let mut units = Box::new([0; UNIT_CELLS]);
            for bucket in 0..UNIT_CELLS / OCTILE_BINS {
                let own = random.usize(0..OCTILE_BINS);
                for _ in 0..40 {
                    let bin = if sticky { own } else { random.usize(0..OCTILE_BINS) };
                    units[bucket * OCTILE_BINS + bin] += 1;
                }
            }
            counts.units = Some(units);
        }
        pane
    }

    fn run(panes: i64, sticky: bool) -> (SelfCheck, Vec<SelfCheckReport>) {
        let plan = MeasurePlan::new(&watched(true));
        let (mut check, mut random) = (SelfCheck::default(), fastrand::Rng::with_seed(4));
        let reports = (0..panes)
            .filter_map(|number| {
                let pane = pane(&plan, number, sticky, &mut random);
                check.add(&plan, &pane, &Dispersion::default())
            })
            .collect();
        (check, reports)
    }

    #[test]
    fn independent_units_keep_the_level() {
        let (check, reports) = run(400, false);
        // Four features and two predictions.
        assert_eq!((check.tests, reports.len()), (400 * 6, 400));
        let last = reports.last().expect("tested");
        assert!(last.lower <= LEVEL && last.upper < 0.03 && !check.warned, "{last:?}");
    }

    #[test]
    fn units_that_stick_together_are_warned_of_once() {
        let (check, reports) = run(60, true);
        assert!(check.warned && reports.last().is_some_and(|last| last.lower > 0.5));
        assert_eq!(reports.iter().filter(|report| report.warning).count(), 1);
        let first = reports.iter().position(|report| report.warning);
        assert_eq!(first, Some(33), "at the 200th test");
    }

    #[test]
    fn stored_counts_at_their_end_are_halved_as_others_are() {
        let (plan, mut random) = (MeasurePlan::new(&watched(true)), fastrand::Rng::with_seed(4));
        let mut check = SelfCheck { tests: u64::MAX, rejected: u64::MAX, warned: true };
        check.add(&plan, &pane(&plan, 0, true, &mut random), &Dispersion::default());
        // Six tests, each halved at once.
        assert!((u64::MAX >> 6..u64::MAX >> 5).contains(&check.tests), "{check:?}");
        assert!(check.rejected <= check.tests && check.rejected >= u64::MAX >> 6);
    }

    #[test]
    fn what_cannot_be_tested_is_not() {
        let plan = MeasurePlan::new(&watched(true));
        let mut check = SelfCheck::default();
        let bare = window(plan.watched(), 0, HEALTHY, HEALTHY, 3);
        assert_eq!(check.add(&plan, &bare, &Dispersion::default()), None, "no units");
        let mut random = fastrand::Rng::with_seed(4);
        let revised = ModelWindow { revised: true, ..pane(&plan, 0, false, &mut random) };
        assert_eq!(check.add(&plan, &revised, &Dispersion::default()), None);
        assert_eq!(check, SelfCheck::default());
    }
}
