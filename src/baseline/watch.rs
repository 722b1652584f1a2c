//! What is watched: models, their versions, and per version the series with the grid each is counted on.
//!
//! The arms of a rollout must be counted on one grid to be compared, so a feature that the grid owner's
//! baseline has is counted on the grid owner's grid by every version; a feature only another version has, on
//! that version's own. Predictions are counted on the version's own baseline (answers are compared as ranks
//! within it); a version without one borrows the grid owner's.

use super::{Baseline, BaselineSeries, ScoreGrid};
use crate::cells::Octiles;
use crate::event::{EventTime, ModelId, Role, SeriesOf};
use std::sync::Arc;

/// How a model's arms are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// By the role that events carry.
    Auto,
    /// By configuration.
    Fixed { stable: String, canary: Option<String> },
}

/// All watched models, in configuration order.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    pub models: Vec<WatchedModel>,
}

/// One watched model.
#[derive(Debug, Clone)]
pub struct WatchedModel {
    pub id: ModelId,
    pub rollout: Rollout,
    pub versions: Vec<WatchedVersion>,
    /// How labels that come in events of their own are joined; `None`: they are not.
    pub labels: Option<LabelJoin>,
}

/// How labels are joined with the answers that they are of, by the id of the request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelJoin {
    /// How long after its answer a label may come, in milliseconds of event time.
    pub horizon_ms: i64,
    /// Answers (each output's for itself) and labels that wait for each other at most, of all versions of the model.
    pub max_pending: usize,
    /// The share of the requests that is joined, above 0 and at most 1.
    pub sample: f64,
}

impl LabelJoin {
    /// Whether the request with this hash is joined: answers and labels are chosen alike.
    pub fn takes(&self, request: u64) -> bool {
        // The unit's bucket is in the other half.
        f64::from(request as u32) < self.sample * 4_294_967_296.0
    }
}

/// One watched version of a model.
#[derive(Debug, Clone)]
pub struct WatchedVersion {
    pub version: String,
    /// Features first, then predictions, each in baseline order.
    pub series: Vec<WatchedSeries>,
    /// Whether this version has a prediction baseline of its own.
    pub own_predictions: bool,
    /// Whether that prediction baseline is held out.
    pub held_out: bool,
    /// When the baseline that it is judged against was made.
    pub baseline_made: EventTime,
}

/// One series of a watched version: what to count it on, and what to judge it against.
#[derive(Debug, Clone)]
pub struct WatchedSeries {
    pub reference: Arc<BaselineSeries>,
    pub grid_hash: u64,
    /// The octiles of the reference, on the cells of its grid.
    pub octiles: Arc<Octiles>,
    /// What labelled scores are counted on; `None` unless it is a numeric output.
    pub scores: Option<Arc<ScoreGrid>>,
    /// Counted by more than one version on this grid, so that the arms can be compared.
    pub shared: bool,
}

/// Where a version stands in a [`Watch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VersionIndex {
    pub model: u32,
    pub version: u32,
}

impl Watch {
    pub fn find_model(&self, name: &str) -> Option<u32> {
        self.models.iter().position(|model| model.id.name == name).map(|index| index as u32)
    }

    /// The index of a model by its whole id.
    pub fn index_of(&self, namespace: &str, name: &str) -> Option<u32> {
        let is_it = |model: &WatchedModel| model.id.namespace == namespace && model.id.name == name;
        self.models.iter().position(is_it).map(|index| index as u32)
    }

    pub fn find(&self, model: &str, version: &str) -> Option<VersionIndex> {
        let model = self.find_model(model)?;
        let version = self.models[model as usize].find_version(version)?;
        Some(VersionIndex { model, version })
    }

    pub fn model(&self, index: VersionIndex) -> &WatchedModel {
        &self.models[index.model as usize]
    }

    pub fn version(&self, index: VersionIndex) -> &WatchedVersion {
        &self.models[index.model as usize].versions[index.version as usize]
    }
}

impl WatchedVersion {
    pub fn of(&self, of: SeriesOf) -> impl Iterator<Item = (usize, &WatchedSeries)> {
        self.series.iter().enumerate().filter(move |(_, series)| series.reference.of == of)
    }

    /// The place of a series that is counted on the grid with this hash.
    pub fn place(&self, of: SeriesOf, name: &str, grid_hash: u64) -> Option<usize> {
        let is_it = |series: &WatchedSeries| {
            series.reference.of == of && series.reference.name == name && series.grid_hash == grid_hash
        };
        self.series.iter().position(is_it)
    }

    pub fn find(&self, of: SeriesOf, name: &str) -> Option<&WatchedSeries> {
        self.series.iter().find(|series| series.reference.of == of && series.reference.name == name)
    }
}

impl WatchedModel {
    pub fn find_version(&self, version: &str) -> Option<u32> {
        self.versions.iter().position(|watched| watched.version == version).map(|index| index as u32)
    }

    /// The role that configuration gives a version, if it gives one.
    pub fn configured_role(&self, version: &str) -> Option<Role> {
        match &self.rollout {
            Rollout::Auto => None,
            Rollout::Fixed { stable, .. } if stable == version => Some(Role::Stable),
            Rollout::Fixed { canary: Some(canary), .. } if canary == version => Some(Role::Canary),
            Rollout::Fixed { .. } => None,
        }
    }

    /// Lays out the versions of a model on common grids.
    ///
    /// `baselines` are in configuration order. The grid owner is the rollout's stable version or, with
    /// [`Rollout::Auto`], the first baseline. A rollout's canary without a baseline is watched on the grid
    /// owner's. Returns `None` when there is no baseline to start from.
    pub fn new(id: ModelId, rollout: Rollout, baselines: &[Arc<Baseline>]) -> Option<WatchedModel> {
        let owner = match &rollout {
            Rollout::Auto => baselines.first()?,
            Rollout::Fixed { stable, .. } => baselines.iter().find(|one| one.version == *stable)?,
        };
        let mut versions: Vec<WatchedVersion> =
            baselines.iter().map(|own| watch_version(&own.version, owner, Some(own))).collect();
        if let Rollout::Fixed { canary: Some(canary), .. } = &rollout
            && !baselines.iter().any(|one| one.version == *canary)
        {
            versions.push(watch_version(canary, owner, None));
        }
        mark_shared(&mut versions);
        Some(WatchedModel { id, rollout, versions, labels: None })
    }
}

fn watch_version(version: &str, owner: &Arc<Baseline>, own: Option<&Arc<Baseline>>) -> WatchedVersion {
    let own_predictions =
        own.is_some_and(|own| own.series.iter().any(|series| series.of == SeriesOf::Prediction));
    let source = own.unwrap_or(owner);
    let mut chosen: Vec<Arc<BaselineSeries>> = Vec::new();
    for series in source.series.iter().filter(|series| series.of == SeriesOf::Feature) {
        let shared = owner.find(SeriesOf::Feature, &series.name).filter(|of| of.kind == series.kind);
        chosen.push(shared.unwrap_or(series).clone());
    }
    let predictions = if own_predictions { source } else { owner };
    chosen.extend(predictions.series.iter().filter(|series| series.of == SeriesOf::Prediction).cloned());
    let series = chosen
        .into_iter()
        .map(|reference| WatchedSeries {
            grid_hash: reference.grid.hash(),
            octiles: Arc::new(Octiles::of(&reference.counts)),
            scores: ScoreGrid::of(&reference).map(Arc::new),
            reference,
            shared: false,
        })
        .collect();
    WatchedVersion {
        version: version.to_owned(),
        series,
        own_predictions,
        held_out: own.is_some_and(|own| own.held_out),
        baseline_made: source.created,
    }
}

fn mark_shared(versions: &mut [WatchedVersion]) {
    let keys: Vec<Vec<(SeriesOf, String, u64)>> = versions
        .iter()
        .map(|version| {
            let key = |one: &WatchedSeries| (one.reference.of, one.reference.name.clone(), one.grid_hash);
            version.series.iter().map(key).collect()
        })
        .collect();
    for (index, version) in versions.iter_mut().enumerate() {
        for (series, key) in version.series.iter_mut().zip(&keys[index]) {
            series.shared = keys.iter().enumerate().any(|(other, keys)| other != index && keys.contains(key));
        }
    }
}
