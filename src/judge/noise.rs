//! What is usual of a version's live traffic, out of stored panes and sums: δ0 and PSI0 for baselines that have no times
//! (statistics.md §9.7).

use super::history::TIERS;
use super::stored::Part;
use crate::baseline::{BaselineSeries, Tolerance, WatchedSeries, WatchedVersion};
use crate::cells::runs;
use crate::event::EventTime;
use crate::stats::own_blocks::{OwnBlocks, distance};
use crate::stats::psi;
use crate::tally::of_number;
use crate::tally::record::PaneRecord;
use std::collections::{BTreeMap, BTreeSet};

/// The sums that all traffic is made up of, in panes.
const SUM: i64 = 16;
/// The longest windows, in panes, are made up of so many sums.
const LONGEST: i64 = 64;
/// Panes and sums of 4 that are looked at, evenly spread; sums of 16 are all.
const MOST_BLOCKS: usize = 512;

/// What one series' traffic comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct UsualTraffic {
    pub series: String,
    /// Values.
    pub n: u64,
    /// By scale, increasing; without those of fewer than 20 windows of 50 values.
    pub tolerances: Vec<Tolerance>,
    /// How far all of the traffic is from training: KS distance (categories: the largest change of a share), and PSI. That
    /// is drift and no noise, whatever is accepted.
    pub from_training: (f64, Option<f64>),
}

/// The sums of 16 panes between `from` and `to`, from the beginning of a longest window on.
pub fn sums(from: EventTime, to: EventTime, pane_ms: i64) -> BTreeSet<Part> {
    let (from, to) = (from.0.div_euclid(pane_ms * LONGEST) * LONGEST, to.0.div_euclid(pane_ms * SUM) * SUM);
    (from..to).step_by(SUM as usize).map(|pane| (SUM as u32, pane * pane_ms)).collect()
}

/// Evenly spread panes and sums of 4 within the sums of 16 that `records` holds.
pub fn samples(records: &[PaneRecord], pane_ms: i64) -> BTreeSet<Part> {
    let of_sum = |record: &&PaneRecord| i64::from(record.panes) == SUM && record.pane_len == pane_ms;
    let found: BTreeSet<i64> = records.iter().filter(of_sum).map(|record| record.start).collect();
    let within = |length: i64| {
        let blocks = (0..SUM / length).map(move |block| block * length * pane_ms);
        let starts: Vec<i64> =
            found.iter().flat_map(|sum| blocks.clone().map(move |block| sum + block)).collect();
        let step = starts.len().div_ceil(MOST_BLOCKS).max(1);
        starts.into_iter().step_by(step).map(move |start| (length as u32, start))
    };
    within(1).chain(within(4)).collect()
}

/// What `records`, each part once, say of every series of `version`. Incomplete ones are left out, and so are those on
/// another grid.
pub fn usual(version: &WatchedVersion, records: &[PaneRecord], pane_ms: i64) -> Vec<UsualTraffic> {
    let mut by_series: BTreeMap<(u32, &str), Vec<&PaneRecord>> = BTreeMap::new();
    for record in records.iter().filter(|record| {
        record.version == version.version
            && record.pane_len == pane_ms
            && record.complete
            && record.roles.is_none()
    }) {
        by_series.entry((record.of, &record.series)).or_default().push(record);
    }
    let of_series = |series: &WatchedSeries| {
        let key = (of_number(series.reference.of), series.reference.name.as_str());
        let of_grid = |record: &&PaneRecord| record.grid_hash == series.grid_hash;
        let records: Vec<&PaneRecord> =
            by_series.get(&key).into_iter().flatten().copied().filter(of_grid).collect();
        of_series(&series.reference, &records, pane_ms)
    };
    version.series.iter().filter_map(of_series).collect()
}

/// `None` without any traffic.
fn of_series(series: &BaselineSeries, records: &[&PaneRecord], pane_ms: i64) -> Option<UsualTraffic> {
    let mut whole = vec![0; series.counts.len()];
    let sums = || records.iter().filter(|record| i64::from(record.panes) == SUM);
    sums().for_each(|record| add(record, &mut whole));
    let n: u64 = whole.iter().sum();
    if n == 0 {
        return None;
    }
    let mut tolerances = Vec::new();
    for scale in TIERS.map(|panes| panes as u32) {
        let mut own = series.own_blocks(&whole);
        for record in records.iter().filter(|record| record.panes == scale) {
            add_block(&mut own, &[record], whole.len());
        }
        tolerances.extend(Tolerance::of_blocks(scale, own));
    }
    let mut longest: BTreeMap<i64, Vec<&PaneRecord>> = BTreeMap::new();
    for record in sums() {
        longest.entry(record.start.div_euclid(pane_ms * LONGEST)).or_default().push(record);
    }
    let mut own = series.own_blocks(&whole);
    longest.values().for_each(|records| add_block(&mut own, records, whole.len()));
    tolerances.extend(Tolerance::of_blocks(LONGEST as u32, own));
    let from_training = from_training(series, &whole);
    Some(UsualTraffic { series: series.name.clone(), n, tolerances, from_training })
}

/// Counts that cannot be read are none.
fn add(record: &PaneRecord, counts: &mut [u64]) {
    if let Some(found) = &record.counts {
        let _ = runs::add(&found.cells, counts);
    }
}

fn add_block(own: &mut OwnBlocks<'_>, records: &[&PaneRecord], cells: usize) {
    let mut block = vec![0; cells];
    records.iter().for_each(|record| add(record, &mut block));
    own.add(&block);
}

fn from_training(series: &BaselineSeries, whole: &[u64]) -> (f64, Option<f64>) {
    let bins = psi::Bins::new(series.shares(), &series.counts);
    let merged = psi::merge_sparse(&bins.fold(&series.counts), &bins.fold(whole));
    let index = merged.and_then(|(reference, window)| psi::psi(&reference, &window));
    (distance(series.shares(), &series.counts, whole), index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{LEAST_PSI, LEAST_TOLERANCE};
    use crate::cells::Grid;
    use crate::judge::fixture::watched;
    use crate::tally::record::{Counts, RoleCount};
    use fastrand::Rng;

    const PANE_MS: i64 = 60_000;

    /// Panes and sums of a version of the fixture: `amount` swings by ±`swing` once in 240 panes.
    fn traffic(panes: i64, swing: f64, rng: &mut Rng) -> (WatchedVersion, Vec<PaneRecord>) {
        let version = watched(true).versions.swap_remove(0);
        let series = version.series.iter().find(|one| one.reference.name == "amount").expect("a series");
        let Grid::Numeric(grid) = &*series.reference.grid else { panic!("numbers") };
        let mut records: BTreeMap<Part, Vec<u64>> = BTreeMap::new();
        for pane in 0..panes {
            let shift = swing * (std::f64::consts::TAU * pane as f64 / 240.0).sin();
            let mut counts = vec![0; grid.cells()];
            (0..600).for_each(|_| counts[grid.rank_one(rng.f64() + shift) as usize] += 1);
            for length in [1, 4, 16] {
                let start = pane.div_euclid(length) * length * PANE_MS;
                let sum = records.entry((length as u32, start)).or_insert_with(|| vec![0; counts.len()]);
                sum.iter_mut().zip(&counts).for_each(|(sum, count)| *sum += count);
            }
        }
        let record = |((panes, start), counts): (Part, Vec<u64>)| PaneRecord {
            version: "v1".to_owned(),
            series: "amount".to_owned(),
            grid_hash: series.grid_hash,
            start,
            pane_len: PANE_MS,
            panes,
            complete: true,
            counts: Some(Counts { cells: runs::encode(&counts), ..Counts::default() }),
            ..PaneRecord::default()
        };
        let records = records.into_iter().map(record).collect();
        (version, records)
    }

    #[test]
    fn sums_are_all_read_and_panes_evenly_spread() {
        let panes = |parts: BTreeSet<Part>, length: u32| -> Vec<i64> {
            parts.iter().filter(|part| part.0 == length).map(|part| part.1 / PANE_MS).collect()
        };
        let week = sums(EventTime(0), EventTime(10_080 * PANE_MS), PANE_MS);
        let record = |part: &Part| PaneRecord {
            panes: part.0,
            start: part.1,
            pane_len: PANE_MS,
            ..PaneRecord::default()
        };
        let records: Vec<PaneRecord> = week.iter().map(record).collect();
        let (one, four) = (panes(samples(&records, PANE_MS), 1), panes(samples(&records, PANE_MS), 4));
        assert_eq!((week.len(), four.len(), one.len()), (630, 504, 504));
        assert_eq!((&four[..2], &one[..2]), (&[0, 20][..], &[0, 20][..]));
        // Of a week in which there was only an hour of traffic, all of it.
        let hour = samples(&records[100..104], PANE_MS);
        assert_eq!(panes(hour.clone(), 1), (1_600..1_664).collect::<Vec<_>>());
        assert_eq!(panes(hour, 4).len(), 16);
        // From the beginning of a longest window to the end of a sum.
        let short = sums(EventTime(70 * PANE_MS), EventTime(100 * PANE_MS), PANE_MS);
        assert_eq!(panes(short, 16), [64, 80]);
        assert!(sums(EventTime(90), EventTime(0), PANE_MS).is_empty() && samples(&[], PANE_MS).is_empty());
    }

    #[test]
    fn a_swing_is_proposed_as_what_is_usual() {
        let mut rng = Rng::with_seed(4);
        let (version, records) = traffic(1_920, 0.1, &mut rng);
        let found = usual(&version, &records, PANE_MS);
        assert_eq!(found.len(), 1, "the others have no traffic");
        let UsualTraffic { series, n, tolerances, from_training } = &found[0];
        assert_eq!((series.as_str(), *n), ("amount", 1_920 * 600));
        let of = |scale: u32| tolerances.iter().find(|one| one.scale == scale).expect("enough of them");
        assert_eq!([1, 4, 16, 64].map(|scale| of(scale).blocks), [1_920, 480, 120, 30]);
        for scale in [1, 4, 16, 64] {
            let Tolerance { delta, psi, .. } = *of(scale);
            assert!((0.08..0.25).contains(&delta) && psi.is_some_and(|psi| psi > 0.04), "{tolerances:?}");
        }
        assert!(from_training.0 < 0.05 && from_training.1.is_some_and(|psi| psi < 0.05), "{from_training:?}");
        let (version, quiet) = traffic(640, 0.0, &mut rng);
        let quiet = usual(&version, &quiet, PANE_MS).swap_remove(0).tolerances;
        assert_eq!(quiet.iter().map(|one| one.scale).collect::<Vec<_>>(), [1, 4, 16], "10 of 64 are too few");
        assert!(
            quiet[1..].iter().all(|one| one.delta == LEAST_TOLERANCE && one.psi == Some(LEAST_PSI)),
            "{quiet:?}"
        );
    }

    #[test]
    fn what_is_not_of_this_traffic_is_left_out() {
        let (version, records) = traffic(640, 0.1, &mut Rng::with_seed(5));
        let found = usual(&version, &records, PANE_MS);
        let with = |change: fn(&mut PaneRecord)| {
            let mut more = records.clone();
            more.extend(records.iter().cloned().map(|mut record| {
                change(&mut record);
                record
            }));
            usual(&version, &more, PANE_MS)
        };
        assert_eq!(with(|record| record.version = "v2".to_owned()), found);
        assert_eq!(with(|record| record.complete = false), found);
        assert_eq!(with(|record| record.grid_hash += 1), found);
        assert_eq!(with(|record| record.pane_len = 1), found);
        assert_eq!(with(|record| record.of = 1), found);
        assert_eq!(with(|record| record.roles = Some(RoleCount::default())), found);
        assert_eq!(usual(&version, &[], PANE_MS), []);
        // Counts beyond the grid are none.
        let broken = |record: &PaneRecord| PaneRecord {
            counts: Some(Counts { cells: vec![9_999, 1], ..Counts::default() }),
            ..record.clone()
        };
        assert_eq!(usual(&version, &records.iter().map(broken).collect::<Vec<_>>(), PANE_MS), []);
    }
}
