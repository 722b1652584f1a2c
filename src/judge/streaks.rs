//! How many windows in a row each series has been beyond its thresholds: the verdicts' memory.

use super::measure::SeriesMeasurement;
use super::rates::SUFFIXES;
use super::report::{MeasuredOf, Reference};
use super::verdict::Level;
use crate::baseline::WatchedModel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Evaluations in a row below the held level after which it falls.
pub const CALM_TO_CLEAR: u32 = 2;
/// Panes a level is held at least.
const LEAST_HOLD: u32 = 3;

/// What the windows of a series of one scale have been: windows in a row at a level (plain thresholds), or the
/// level that is held (budget).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Streak {
    /// Windows in a row at warning level or worse.
    pub warning: u32,
    /// Windows in a row at drift level or worse.
    pub drift: u32,
    /// The level that was raised and is not cleared yet.
    pub held: Level,
    /// Evaluations in a row below it.
    pub calm: u32,
    /// Evaluations since it was raised.
    pub age: u32,
}

impl Streak {
    /// The streak after one more window: a window below a level ends that level's streak.
    pub fn advance(self, level: Level) -> Streak {
        let next = |count: u32, reached: bool| if reached { count.saturating_add(1) } else { 0 };
        Streak {
            warning: next(self.warning, level >= Level::Warning),
            drift: next(self.drift, level >= Level::Drift),
            ..self
        }
    }

    /// Nothing to remember.
    fn is_quiet(self) -> bool {
        self.warning == 0 && self.drift == 0 && self.held == Level::Below
    }

    /// The held level after one more window of `scale` panes: raised at once (the budget has paid for it),
    /// lowered to what is seen after [`CALM_TO_CLEAR`] evaluations in a row below it, and held for at least three
    /// panes of event time (statistics.md §8.2).
    pub fn hold(self, scale: u32, level: Level) -> Streak {
        if level >= self.held {
            let age = if level > self.held { 0 } else { self.age.saturating_add(1) };
            return Streak { held: level, calm: 0, age, ..self };
        }
        let (calm, age) = (self.calm.saturating_add(1), self.age.saturating_add(1));
        let panes = age.saturating_mul((scale / 4).max(1));
        if calm >= CALM_TO_CLEAR && panes >= LEAST_HOLD {
            return Streak { held: level, calm: 0, age: 0, ..self };
        }
        Streak { calm, age, ..self }
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

    /// Moves the streak of a series by one window and returns it.
    pub fn follow(
        &mut self,
        version: &str,
        scale: u32,
        measurement: &SeriesMeasurement,
        next: impl FnOnce(Streak) -> Streak,
    ) -> Streak {
        let key = StreakKey::new(version, scale, measurement);
        let streak = next(self.counts.get(&key).copied().unwrap_or_default());
        if streak.is_quiet() {
            self.counts.remove(&key);
        } else {
            self.counts.insert(key, streak);
        }
        streak
    }

    /// Forgets versions and series that are no longer watched. Call after restoring and on a new configuration.
    pub fn retain_watched(&mut self, watched: &WatchedModel) {
        self.counts.retain(|key, _| {
            let version = watched.versions.iter().find(|version| version.version == key.version);
            let name = match key.of {
                MeasuredOf::Quality => of_series(&key.series),
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

/// The series that a quality series is of.
fn of_series(name: &str) -> &str {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
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
