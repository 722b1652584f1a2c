//! Categorical and boolean series: from counts by name to a grid and the counts on it.

use crate::baseline::{BaselineSeries, SeriesTraits};
use crate::cells::{Categories, Grid, MAX_CATEGORIES};
use crate::event::{SeriesKind, SeriesOf};
use hashbrown::HashMap;
use std::sync::Arc;

/// Known categories of a series, the ones in `other` included.
pub const MAX_NAMES: usize = 65_536;

/// How often each string occurs.
#[derive(Debug, Default)]
pub(super) struct NameCounts {
    counts: HashMap<String, u64>,
    n: u64,
}

/// More than [`MAX_NAMES`] different strings.
pub(super) struct TooManyNames;

impl NameCounts {
    pub(super) fn add(&mut self, name: &str) -> Result<(), TooManyNames> {
        *self.counts.entry_ref(name).or_insert(0) += 1;
        self.n += 1;
        if self.counts.len() > MAX_NAMES { Err(TooManyNames) } else { Ok(()) }
    }

    /// Adds one name, `times` over; nothing for 0.
    pub(super) fn add_times(&mut self, name: &str, times: u64) {
        if times > 0 {
            *self.counts.entry_ref(name).or_insert(0) += times;
            self.n += times;
        }
    }

    /// Strings counted.
    pub(super) fn n(&self) -> u64 {
        self.n
    }

    pub(super) fn distinct(&self) -> u64 {
        self.counts.len() as u64
    }

    /// Identifiers and free text: more names than cells, and more than half of the strings occur once or are
    /// as good as alone. Almost every new value would be unseen, which says nothing about drift.
    pub(super) fn nearly_all_distinct(&self) -> bool {
        self.counts.len() > MAX_CATEGORIES && 2 * self.distinct() > self.n
    }
}

/// A categorical series: the most frequent names get a cell each (ties by name), the rest share `other`.
pub(super) fn series(name: &str, of: SeriesOf, names: NameCounts, missing: u64) -> BaselineSeries {
    let distinct = names.distinct();
    let mut ranked: Vec<(String, u64)> = names.counts.into_iter().collect();
    ranked.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest = ranked.split_off(ranked.len().min(MAX_CATEGORIES));
    let mut counts: Vec<u64> = ranked.iter().map(|(_, count)| *count).collect();
    counts.push(rest.iter().map(|(_, count)| count).sum());
    counts.push(0); // what training never saw
    let only_names = |list: Vec<(String, u64)>| list.into_iter().map(|(name, _)| name).collect();
    BaselineSeries {
        name: name.to_owned(),
        of,
        kind: SeriesKind::Categorical,
        grid: Arc::new(Grid::Categorical(Categories::new(only_names(ranked), only_names(rest)))),
        counts,
        missing,
        distinct,
        range: None,
        traits: SeriesTraits::default(),
    }
}

/// A boolean series from how often it was false and true.
pub(super) fn boolean(name: &str, of: SeriesOf, counts: [u64; 2], missing: u64) -> BaselineSeries {
    BaselineSeries {
        name: name.to_owned(),
        of,
        kind: SeriesKind::Boolean,
        grid: Arc::new(Grid::Boolean),
        distinct: counts.iter().filter(|count| **count > 0).count() as u64,
        counts: counts.to_vec(),
        missing,
        range: None,
        traits: SeriesTraits::default(),
    }
}
