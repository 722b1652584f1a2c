//! How many windows in a row each series has been beyond its thresholds: the verdicts' memory.

use super::measure::SeriesMeasurement;
use super::report::{MeasuredOf, Reference};
use super::verdict::Level;
use crate::baseline::WatchedModel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Windows in a row at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streak {
    /// At warning level or worse.
    pub warning: u32,
    pub drift: u32,
}

impl Streak {
    /// The streak after one more window: a window below a level ends that level's streak.
    pub fn advance(self, level: Level) -> Streak {
        let next = |count: u32, reached: bool| if reached { count.saturating_add(1) } else { 0 };
        Streak {
            warning: next(self.warning, level >= Level::Warning),
            drift: next(self.drift, level >= Level::Drift),
        }
    }
}

/// The streaks of one model. Holds only series that are beyond a threshold, so it is bounded by the
/// configured series × scales × references. Stored in `tidegate.state` and taken up again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<StreakEntry>", into = "Vec<StreakEntry>")]
pub struct Streaks {
    counts: BTreeMap<StreakKey, Streak>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct StreakKey {
    version: String,
    scale: u32,
    of: MeasuredOf,
    series: String,
    reference: Reference,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StreakEntry {
    #[serde(flatten)]
    key: StreakKey,
    #[serde(flatten)]
    streak: Streak,
}

impl From<Vec<StreakEntry>> for Streaks {
    fn from(entries: Vec<StreakEntry>) -> Streaks {
        Streaks { counts: entries.into_iter().map(|entry| (entry.key, entry.streak)).collect() }
    }
}

impl From<Streaks> for Vec<StreakEntry> {
    fn from(streaks: Streaks) -> Vec<StreakEntry> {
        streaks.counts.into_iter().map(|(key, streak)| StreakEntry { key, streak }).collect()
    }
}

impl Streaks {
    /// The streak of a series of `version` at `scale`, without moving it.
    pub fn get(&self, version: &str, scale: u32, measurement: &SeriesMeasurement) -> Streak {
        self.counts.get(&StreakKey::new(version, scale, measurement)).copied().unwrap_or_default()
    }

    /// Counts one more window at `level` and returns the streak with it.
    pub fn advance(
        &mut self,
        version: &str,
        scale: u32,
        measurement: &SeriesMeasurement,
        level: Level,
    ) -> Streak {
        let key = StreakKey::new(version, scale, measurement);
        if level == Level::Below {
            self.counts.remove(&key);
            return Streak::default();
        }
        let streak = self.counts.entry(key).or_default();
        *streak = streak.advance(level);
        *streak
    }

    /// Forgets versions and series that are no longer watched. Call after restoring and on a new configuration.
    pub fn retain_watched(&mut self, watched: &WatchedModel) {
        self.counts.retain(|key, _| {
            let version = watched.versions.iter().find(|version| version.version == key.version);
            let name = match key.of {
                MeasuredOf::Quality => key.series.strip_suffix(".missing").unwrap_or(&key.series),
                MeasuredOf::Feature | MeasuredOf::Prediction => &key.series,
            };
            version.is_some_and(|version| version.series.iter().any(|one| one.reference.name == name))
        });
    }

    pub fn len(&self) -> usize {
        self.counts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl StreakKey {
    fn new(version: &str, scale: u32, measurement: &SeriesMeasurement) -> StreakKey {
        StreakKey {
            version: version.to_owned(),
            scale,
            of: measurement.of,
            series: measurement.name.clone(),
            reference: measurement.reference,
        }
    }
}
