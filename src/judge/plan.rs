//! What every measurement of a model needs and no window changes: bins and folded references.

use super::distances;
use super::evidence::Thin;
use super::report::ToleranceSource;
use super::verdict::tests_of_values;
use crate::baseline::{BaselineSeries, WatchedModel, WatchedSeries, WatchedVersion};
use crate::cells::{Grid, Sums};
use crate::event::{SeriesKind, SeriesOf};
use crate::stats::pit::LevelBins;
use crate::stats::psi::{Bins, Shares};
use crate::stats::sequential::dispersion::Octiles;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Distinct values up to which a baseline's grid holds every one of them, so that the distance to it is exact.
pub const EXACT_DISTINCT: u64 = 2_048;

/// The measurements of one model, laid out once per configuration.
#[derive(Debug, Clone)]
pub struct MeasurePlan {
    watched: WatchedModel,
    pub(super) versions: Vec<VersionPlan>,
}

#[derive(Debug, Clone)]
pub(super) struct VersionPlan {
    /// In the order of [`WatchedVersion::series`].
    pub series: Vec<SeriesPlan>,
    /// Positions in `series`.
    by_name: BTreeMap<SeriesOf, BTreeMap<String, usize>>,
}

#[derive(Debug, Clone)]
pub(super) struct SeriesPlan {
    pub reference: Arc<BaselineSeries>,
    pub grid_hash: u64,
    /// What distances of shares are shown on: ten quantile bins of numbers, else every category.
    pub bins: Bins,
    /// The baseline's counts on `bins`.
    pub folded: Vec<u64>,
    /// How a budget verdict compares the shares.
    pub shares: Shares,
    /// Of a discrete series, whose shares are judged by value: its bins, and the baseline's counts on them.
    pub values: Option<(Bins, Vec<u64>)>,
    /// Values of the baseline.
    pub m: u64,
    /// Every distinct value of the baseline is a cut point.
    pub exact: bool,
    /// The cells that a rollout's evidence is kept on (features).
    pub thin: Thin,
    /// The levels i/256 of the baseline (numeric predictions).
    pub levels: LevelBins,
    /// Where φ is taken.
    pub octiles: Octiles,
    /// The sums of the baseline's values, where they are known.
    pub sums: Option<Sums>,
    /// The spread of the baseline's values, of numeric series whose quartiles differ.
    pub spread: Option<f64>,
    /// The cell of categories that training never saw.
    pub unseen_cell: Option<usize>,
    /// Categories that training saw once, at most: those behind `other` may all have come once.
    pub singletons: u64,
}

impl MeasurePlan {
    pub fn new(watched: &WatchedModel) -> MeasurePlan {
        let versions = watched.versions.iter().map(VersionPlan::new).collect();
        MeasurePlan { watched: watched.clone(), versions }
    }

    pub fn watched(&self) -> &WatchedModel {
        &self.watched
    }

    /// Tests of one evaluation of all versions, of features, predictions and data quality: every version against
    /// its baseline, and the largest of them (as the canary) against stable.
    pub fn tests(&self) -> [u64; 3] {
        let of_version = |version: &VersionPlan| {
            let mut tests = [0; 3];
            for series in &version.series {
                let values = tests_of_values(series.reference.kind);
                match series.reference.of {
                    SeriesOf::Feature => tests[0] += values,
                    SeriesOf::Prediction => tests[1] += values,
                }
                tests[2] += if series.reference.kind == SeriesKind::Boolean { 1 } else { 2 };
            }
            tests
        };
        let mut all = [0; 3];
        let mut largest = [0; 3];
        for tests in self.versions.iter().map(of_version) {
            for class in 0..3 {
                all[class] += tests[class];
                largest[class] = tests[class].max(largest[class]);
            }
        }
        // Data quality is compared with the baseline only.
        [all[0] + largest[0], all[1] + largest[1], all[2]]
    }
}

impl VersionPlan {
    fn new(version: &WatchedVersion) -> VersionPlan {
        let series: Vec<SeriesPlan> = version.series.iter().map(SeriesPlan::new).collect();
        let mut by_name: BTreeMap<SeriesOf, BTreeMap<String, usize>> = BTreeMap::new();
        for (position, one) in series.iter().enumerate() {
            let names = by_name.entry(one.reference.of).or_default();
            names.entry(one.reference.name.clone()).or_insert(position);
        }
        VersionPlan { series, by_name }
    }

    /// The position of a series.
    pub fn find(&self, of: SeriesOf, name: &str) -> Option<usize> {
        self.by_name.get(&of)?.get(name).copied()
    }
}

impl SeriesPlan {
    fn new(series: &WatchedSeries) -> SeriesPlan {
        let reference = series.reference.clone();
        let numeric = reference.kind == SeriesKind::Numeric;
        let shown = if numeric { Shares::Deciles } else { Shares::Categories };
        let (shares, bins) = (reference.shares(), Bins::new(shown, &reference.counts));
        let values = (shares == Shares::Values).then(|| {
            let bins = Bins::new(shares, &reference.counts);
            let folded = bins.fold(&reference.counts);
            (bins, folded)
        });
        let (unseen_cell, singletons) = match &*reference.grid {
            Grid::Categorical(categories) => {
                let once = reference.counts[..categories.named().len()].iter().filter(|n| **n == 1).count();
                let others = reference.counts[usize::from(categories.other_cell())];
                (Some(usize::from(categories.unseen_cell())), once as u64 + others)
            }
            Grid::Numeric(_) | Grid::Boolean => (None, 0),
        };
        SeriesPlan {
            thin: if numeric {
                Thin::from_reference(&reference.counts)
            } else {
                Thin::none(reference.counts.len())
            },
            levels: LevelBins::from_reference(&reference.counts),
            octiles: Octiles::from_reference(&reference.counts, numeric),
            grid_hash: series.grid_hash,
            folded: bins.fold(&reference.counts),
            m: reference.n(),
            exact: reference.distinct <= EXACT_DISTINCT,
            bins,
            sums: reference.sums(),
            shares,
            values,
            spread: distances::spread(&reference.grid, &reference.counts),
            unseen_cell,
            singletons,
            reference,
        }
    }

    /// What is no drift of this series in windows of `scale` panes, as far as anything says so.
    pub fn usual(&self, scale: u32) -> Usual {
        let traits = &self.reference.traits;
        self.reference.tolerance(scale).map_or_else(Usual::default, |one| Usual {
            distance: one.delta,
            psi: one.psi.unwrap_or_default(),
            from: if traits.accepted { ToleranceSource::Configuration } else { ToleranceSource::Baseline },
        })
    }
}

/// What is no drift of a series in windows of some length; nothing is said by 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usual {
    /// A KS distance, a difference of shares or of rates.
    pub distance: f64,
    pub psi: f64,
    pub from: ToleranceSource,
}
