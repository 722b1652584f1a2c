//! One watched version: what it is called and what it has to say.

use super::section::Section;
use crate::baseline::{VersionIndex, WatchedVersion};
use crate::event::{ModelId, SeriesOf};

/// The names of a watched version and the builders of its tables.
pub(super) struct VersionSections {
    pub(super) namespace: String,
    pub(super) model_name: String,
    pub(super) version_name: String,
    pub(super) version: VersionIndex,
    pub(super) features: Section,
    pub(super) predictions: Section,
}

impl VersionSections {
    pub(super) fn new(model: &ModelId, version: VersionIndex, watched: &WatchedVersion) -> VersionSections {
        VersionSections {
            namespace: model.namespace.clone(),
            model_name: model.name.clone(),
            version_name: watched.version.clone(),
            version,
            features: Section::new(version, SeriesOf::Feature, watched),
            predictions: Section::new(version, SeriesOf::Prediction, watched),
        }
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
