//! One watched version: what it is called and what it has to say.

use super::Table;
use super::labels::Labels;
use super::section::Section;
use crate::baseline::{VersionIndex, WatchedModel, WatchedVersion};
use crate::event::SeriesOf;

/// The names of a watched version and the builders of its tables.
pub(super) struct VersionSections {
    pub(super) namespace: String,
    pub(super) model_name: String,
    pub(super) version_name: String,
    pub(super) version: VersionIndex,
    pub(super) features: Section,
    pub(super) predictions: Section,
    pub(super) labels: Labels,
}

impl VersionSections {
    pub(super) fn new(
        model: &WatchedModel,
        version: VersionIndex,
        watched: &WatchedVersion,
    ) -> VersionSections {
        VersionSections {
            namespace: model.id.namespace.clone(),
            model_name: model.id.name.clone(),
            version_name: watched.version.clone(),
            version,
            features: Section::new(version, SeriesOf::Feature, watched),
            predictions: Section::new(version, SeriesOf::Prediction, watched),
            labels: Labels::new(watched, model.labels),
        }
    }

    /// The rows so far as tables, features first; the builders are empty afterwards.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = Table> + use<> {
        let (labels, scores, joins) = self.labels.take();
        let alone = !joins.labels.is_empty();
        let predictions = self.predictions.finish(alone);
        let predictions = predictions.map(|table| Table { labels, scores, joins, ..table });
        self.features.finish(false).into_iter().chain(predictions)
    }

    pub(super) fn section(&self, of: SeriesOf) -> &Section {
        match of {
            SeriesOf::Feature => &self.features,
            SeriesOf::Prediction => &self.predictions,
        }
    }

    #[inline]
    pub(super) fn section_mut(&mut self, of: SeriesOf) -> &mut Section {
        match of {
            SeriesOf::Feature => &mut self.features,
            SeriesOf::Prediction => &mut self.predictions,
        }
    }
}
