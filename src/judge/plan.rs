//! What every measurement of a model needs and no window changes: bins and folded references.

use crate::baseline::{BaselineSeries, WatchedModel, WatchedSeries, WatchedVersion};
use crate::cells::Grid;
use crate::event::{SeriesKind, SeriesOf};
use crate::stats::psi::DecileBins;
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
    pub bins: DecileBins,
    /// The baseline's counts on `bins`.
    pub folded: Vec<u64>,
    /// Values of the baseline.
    pub m: u64,
    /// Every distinct value of the baseline is a cut point.
    pub exact: bool,
    /// The cell of categories that training never saw.
    pub unseen_cell: Option<usize>,
}

impl MeasurePlan {
    pub fn new(watched: &WatchedModel) -> MeasurePlan {
        let versions = watched.versions.iter().map(VersionPlan::new).collect();
        MeasurePlan { watched: watched.clone(), versions }
    }

    pub fn watched(&self) -> &WatchedModel {
        &self.watched
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
        let bins = DecileBins::from_reference(&reference.counts, reference.kind == SeriesKind::Numeric);
        let unseen_cell = match &*reference.grid {
            Grid::Categorical(categories) => Some(usize::from(categories.unseen_cell())),
            Grid::Numeric(_) | Grid::Boolean => None,
        };
        SeriesPlan {
            grid_hash: series.grid_hash,
            folded: bins.fold(&reference.counts),
            m: reference.n(),
            exact: reference.distinct <= EXACT_DISTINCT,
            bins,
            unseen_cell,
            reference,
        }
    }
}
