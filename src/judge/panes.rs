//! Open panes: dense counts that deltas are folded into.

use super::service::Service;
use super::window::SeriesCounts;
use crate::baseline::{VersionIndex, Watch, WatchedVersion};
use crate::cells::{Sums, UNIT_CELLS, runs};
use crate::tally::checked::{MAX_COUNT, add_counts_up};
use crate::tally::labels::Labels;
use crate::tally::of_from_number;
use crate::tally::record::{Counts, Delta, RoleCount};
use crate::tally::scores::Scores;
use std::collections::BTreeMap;

/// One version's counts in an open pane.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ArmCounts {
    pub(super) stable: u64,
    pub(super) canary: u64,
    pub(super) unset: u64,
    pub(super) service: Service,
    pub(super) labels: Labels,
    pub(super) scores: Scores,
    /// One for each watched series, once a delta of it came.
    pub(super) series: Vec<Option<SeriesCounts>>,
}

/// A pane that still takes deltas.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpenPane {
    /// Offset (in the tallies) of the first flush that touched it.
    pub(super) first_offset: i64,
    pub(super) complete: bool,
    pub(super) arms: BTreeMap<VersionIndex, ArmCounts>,
}

impl OpenPane {
    pub(super) fn new(first_offset: i64) -> OpenPane {
        OpenPane { first_offset, complete: true, arms: BTreeMap::new() }
    }

    /// Bytes held in memory.
    pub(super) fn bytes(&self) -> usize {
        let units = |counts: &SeriesCounts| if counts.units.is_some() { UNIT_CELLS } else { 0 };
        let counts = |counts: &SeriesCounts| (counts.cells.len() + units(counts)) * size_of::<u64>();
        let of_arm = |arm: &ArmCounts| {
            let dense: usize = arm.series.iter().flatten().map(counts).sum();
            256 + arm.service.bytes()
                + arm.labels.bytes()
                + arm.scores.bytes()
                + arm.series.len() * size_of::<Option<SeriesCounts>>()
                + dense
        };
        256 + self.arms.values().map(of_arm).sum::<usize>()
    }

    pub(super) fn arm(&mut self, version: VersionIndex, width: usize) -> &mut ArmCounts {
        self.arms
            .entry(version)
            .or_insert_with(|| ArmCounts { series: vec![None; width], ..ArmCounts::default() })
    }
}

/// A delta that fits what is watched: which version, which of its series.
pub(super) struct Place {
    pub(super) version: VersionIndex,
    pub(super) series: usize,
    pub(super) cells: usize,
    pub(super) width: usize,
}

/// Finds the series a delta counts; `None` when it is not watched here, or counted on another grid.
pub(super) fn place(watch: &Watch, delta: &Delta) -> Option<Place> {
    let version = version_of(watch, &delta.namespace, &delta.model, &delta.version)?;
    let of = of_from_number(delta.of)?;
    let watched = watch.version(version);
    let series = watched.place(of, &delta.series, delta.grid_hash)?;
    let cells = watched.series[series].reference.grid.cells();
    Some(Place { version, series, cells, width: watched.series.len() })
}

/// The version of a delta that counts a watched series on a grid that is not its present one.
pub(super) fn on_another_grid(watch: &Watch, delta: &Delta) -> Option<VersionIndex> {
    let version = version_of(watch, &delta.namespace, &delta.model, &delta.version)?;
    let found = watch.version(version).find(of_from_number(delta.of)?, &delta.series)?;
    (found.grid_hash != delta.grid_hash).then_some(version)
}

pub(super) fn version_of(watch: &Watch, namespace: &str, model: &str, version: &str) -> Option<VersionIndex> {
    let model = watch.index_of(namespace, model)?;
    let version = watch.models[model as usize].find_version(version)?;
    Some(VersionIndex { model, version })
}

/// Adds a record's counts to dense ones. Returns whether they fitted: on the grid, and below the largest count,
/// which bounds all parts as it bounds the rows.
pub(super) fn add_counts(into: &mut SeriesCounts, counts: &Counts) -> bool {
    let rows = into.rows.saturating_add(counts.rows);
    let Ok(sums) = Sums::decode(&counts.sums, counts.summed) else { return false };
    if rows > MAX_COUNT || runs::add(&counts.cells, &mut into.cells).is_err() {
        return false;
    }
    if !add_units(&mut into.units, &counts.units) {
        runs::take_back(&counts.cells, &mut into.cells);
        return false;
    }
    into.sums.merge(&sums);
    into.rows = rows;
    into.missing += counts.missing;
    into.type_errors += counts.type_errors;
    into.out_of_range += counts.out_of_range;
    into.non_finite += counts.non_finite;
    true
}

/// Returns whether they fitted; otherwise nothing is changed.
fn add_units(into: &mut Option<Box<[u64; UNIT_CELLS]>>, units: &[u64]) -> bool {
    if units.is_empty() {
        return true;
    }
    let before = into.is_some();
    let fits = runs::add(units, &mut into.get_or_insert_with(|| Box::new([0; UNIT_CELLS]))[..]).is_ok();
    if !fits && !before {
        *into = None;
    }
    fits
}

/// The record form of dense counts.
pub(super) fn to_record(counts: &SeriesCounts) -> Counts {
    Counts {
        rows: counts.rows,
        missing: counts.missing,
        type_errors: counts.type_errors,
        out_of_range: counts.out_of_range,
        non_finite: counts.non_finite,
        cells: runs::encode(&counts.cells),
        units: counts.units.as_ref().map_or_else(Vec::new, |units| runs::encode(&units[..])),
        sums: counts.sums.encode(),
        summed: counts.sums.values,
    }
}

/// Empty counts over `cells` cells.
pub(super) fn empty(cells: usize) -> SeriesCounts {
    SeriesCounts { cells: vec![0; cells], ..SeriesCounts::default() }
}

impl ArmCounts {
    /// Returns whether what it says of service levels and labels fitted, or it says nothing.
    pub(super) fn add_roles(&mut self, watched: &WatchedVersion, roles: &RoleCount) -> bool {
        self.stable = add_counts_up(self.stable, roles.stable);
        self.canary = add_counts_up(self.canary, roles.canary);
        self.unset = add_counts_up(self.unset, roles.unset);
        let labels = self.labels.add(watched, &roles.labels);
        let scores = self.scores.add(watched, &roles.scores);
        roles.service.as_ref().is_none_or(|counts| self.service.add(counts)) && labels && scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn record(units: &[(usize, u64)]) -> Counts {
        let mut all = [0; UNIT_CELLS];
        units.iter().for_each(|(cell, count)| all[*cell] = *count);
        Counts { rows: 3, cells: runs::encode(&[1, 0, 2]), units: runs::encode(&all), ..Counts::default() }
    }

    #[test]
    fn units_add_up_and_survive_their_record() {
        let mut sum = empty(3);
        for counts in [record(&[]), record(&[(0, 2), (255, 1)]), record(&[(255, 2)])] {
            assert!(add_counts(&mut sum, &counts));
        }
        let units = sum.units.as_ref().expect("two of them had units");
        assert_eq!((units[0], units[255], units.iter().sum::<u64>()), (2, 3, 5));
        assert_eq!((sum.rows, sum.cells.as_slice()), (9, [3, 0, 6].as_slice()));
        let bytes = to_record(&sum).encode_to_vec();
        let mut back = empty(3);
        assert!(add_counts(&mut back, &Counts::decode(bytes.as_slice()).expect("a record")));
        assert_eq!(back, sum);
    }

    #[test]
    fn records_without_units_are_read_as_before() {
        // rows = 3, cells = [0, 1, 1, 2], as they were written before there were units.
        let counts = Counts::decode([0x08, 3, 0x32, 4, 0, 1, 1, 2].as_slice()).expect("a record");
        assert_eq!(counts, record(&[]));
        let mut sum = empty(3);
        assert!(add_counts(&mut sum, &counts));
        assert_eq!((sum.units.as_ref(), sum.sums), (None, Sums::default()));
        assert_eq!(to_record(&sum), counts);
    }

    #[test]
    fn sums_add_up_and_survive_their_record() {
        let grid = crate::cells::NumericGrid::new(vec![0.5]);
        let sums = |values: &[f64]| {
            let placed = values.iter().map(|value| (*value, grid.rank_one(*value) as usize));
            Sums::of(grid.scale(), placed, grid.cells())
        };
        let of = |values: &[f64]| Counts { sums: sums(values).encode(), summed: 3, ..record(&[]) };
        let mut sum = empty(3);
        // The second is of an older program: its values are in no sum.
        for counts in [of(&[-1.0, 0.75, 2.0]), record(&[]), of(&[0.25, 0.5, 8.0])] {
            assert!(add_counts(&mut sum, &counts));
        }
        assert_eq!(sum.sums, sums(&[-1.0, 0.75, 2.0, 0.25, 0.5, 8.0]));
        let bytes = to_record(&sum).encode_to_vec();
        let mut back = empty(3);
        assert!(add_counts(&mut back, &Counts::decode(bytes.as_slice()).expect("a record")));
        assert_eq!(back, sum);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let beyond = Counts { units: vec![UNIT_CELLS as u64, 1], ..record(&[]) };
        let other_grid = Counts { cells: vec![3, 1], ..record(&[(1, 1)]) };
        let odd = Counts { units: vec![0], ..record(&[]) };
        let short = Counts { sums: vec![0; 3], summed: 1, ..record(&[(1, 1)]) };
        let mut sum = empty(3);
        for start in [record(&[]), record(&[(7, u64::MAX)])] {
            assert!(add_counts(&mut sum, &start));
            let overflow = record(&[(7, u64::MAX)]);
            let wrong = [&beyond, &other_grid, &odd, &short, &overflow];
            for wrong in wrong.into_iter().take(if sum.units.is_some() { 5 } else { 4 }) {
                let before = sum.clone();
                assert!(!add_counts(&mut sum, wrong), "{wrong:?}");
                assert_eq!(sum, before);
            }
        }
    }
}
