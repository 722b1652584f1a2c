//! Closed panes and their sums, from which every window is four additions: a window of 4, 16 or 64 panes is
//! four sums of 1, 4 or 16.

use super::joins::Matured;
use super::pane_holes::PaneHoles;
use super::panes::{ArmCounts, add_counts, empty, to_record};
use super::service::Service;
use super::weights::SetWeight;
use super::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::baseline::{VersionIndex, Watch, WatchedVersion};
use crate::event::EventTime;
use crate::tally::checked::add_counts_up;
use crate::tally::labels::Labels;
use crate::tally::record::{Counts, LabelCounts, MaturedCounts, ScoreCounts, ServiceCounts};
use crate::tally::scores::Scores;
use std::collections::BTreeMap;

/// Lengths, in panes, of what is kept: panes, sums of 4, sums of 16.
pub(super) const TIERS: [i64; 3] = [1, 4, 16];
/// Windows, in panes.
pub(super) const SCALES: [i64; 4] = [1, 4, 16, 64];

/// One version's counts over a closed pane or sum of panes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ArmSum {
    /// Panes of it that hold data.
    pub(super) filled: u32,
    pub(super) complete: bool,
    pub(super) revision: u32,
    pub(super) stable: u64,
    pub(super) canary: u64,
    pub(super) unset: u64,
    /// Some pane held events of both roles.
    pub(super) mixed: bool,
    pub(super) service: Option<ServiceCounts>,
    pub(super) labels: Vec<LabelCounts>,
    pub(super) scores: Vec<ScoreCounts>,
    /// Answers of earlier panes that matured when its panes closed.
    pub(super) matured: Option<MaturedCounts>,
    /// One for each watched series, in record form (run-length coded).
    pub(super) series: Vec<Option<Counts>>,
}

/// What is kept of one model.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ModelHistory {
    /// Index of the model's first pane with data, ever.
    pub(super) first: i64,
    /// Version → index of its first pane on the present grids, where panes before it were counted on others.
    pub(super) since: BTreeMap<u32, i64>,
    /// Per tier: start index → version → counts.
    pub(super) tiers: [BTreeMap<i64, BTreeMap<u32, ArmSum>>; 3],
}

/// Panes or sums of one version added up: the head, and dense counts.
#[derive(Default)]
struct Added {
    head: ArmSum,
    service: Service,
    labels: Labels,
    scores: Scores,
    matured: Option<Matured>,
    series: Vec<Option<SeriesCounts>>,
}

impl ArmSum {
    pub(super) fn of_pane(watched: &WatchedVersion, arm: &ArmCounts, complete: bool) -> ArmSum {
        ArmSum {
            filled: 1,
            complete,
            revision: 0,
            stable: arm.stable,
            canary: arm.canary,
            unset: arm.unset,
            mixed: arm.stable > 0 && arm.canary > 0,
            service: arm.service.record(),
            labels: arm.labels.record(watched),
            scores: arm.scores.record(watched),
            matured: None,
            series: arm.series.iter().map(|counts| counts.as_ref().map(to_record)).collect(),
        }
    }

    /// A pane whose offsets are missing and that shows nothing of this version.
    pub(super) fn unknown() -> ArmSum {
        ArmSum { complete: false, ..ArmSum::default() }
    }

    fn add_head(&mut self, other: &ArmSum) {
        self.filled = self.filled.saturating_add(other.filled);
        self.stable = add_counts_up(self.stable, other.stable);
        self.canary = add_counts_up(self.canary, other.canary);
        self.unset = add_counts_up(self.unset, other.unset);
        self.mixed |= other.mixed;
    }
}

/// The cells of each watched series of a version.
fn widths(watch: &Watch, version: VersionIndex) -> Vec<usize> {
    watch.version(version).series.iter().map(|series| series.reference.grid.cells()).collect()
}

impl ModelHistory {
    /// The first pane that may hold counts of `version` on its present grids.
    pub(super) fn since(&self, version: u32) -> i64 {
        self.since.get(&version).copied().unwrap_or(i64::MIN)
    }

    /// Adds up what tier `tier` holds at `starts`, per version, with dense series.
    fn add_up(
        &self,
        watch: &Watch,
        model: u32,
        tier: usize,
        starts: impl Iterator<Item = i64>,
    ) -> BTreeMap<u32, Added> {
        let mut sums: BTreeMap<u32, Added> = BTreeMap::new();
        // One for all versions: a revised window reports all of them again, and offsets that are missing may
        // have held events of any.
        let (mut revision, mut complete) = (0_u32, true);
        for part in starts.filter_map(|start| self.tiers[tier].get(&start)) {
            revision = revision.saturating_add(part.values().map(|arm| arm.revision).max().unwrap_or(0));
            complete &= part.values().all(|arm| arm.complete);
            for (version, arm) in part {
                let index = VersionIndex { model, version: *version };
                let cells = widths(watch, index);
                let sum = sums.entry(*version).or_default();
                sum.series.resize(cells.len(), None);
                sum.head.add_head(arm);
                if let Some(service) = &arm.service {
                    sum.service.add(service);
                }
                sum.labels.add(watch.version(index), &arm.labels);
                sum.scores.add(watch.version(index), &arm.scores);
                if let Some(matured) = &arm.matured {
                    Matured::join(&mut sum.matured, watch.version(index), matured);
                }
                for (index, counts) in arm.series.iter().enumerate().take(cells.len()) {
                    if let Some(counts) = counts {
                        add_counts(sum.series[index].get_or_insert_with(|| empty(cells[index])), counts);
                    }
                }
            }
        }
        sums.values_mut().for_each(|sum| (sum.head.revision, sum.head.complete) = (revision, complete));
        sums
    }

    /// Makes the sum of tier `tier` that starts at `start` from the tier below. `whole`: no offsets are known to
    /// be missing from it. Returns whether it holds anything.
    pub(super) fn make_sum(
        &mut self,
        watch: &Watch,
        model: u32,
        tier: usize,
        start: i64,
        whole: bool,
    ) -> bool {
        let step = TIERS[tier - 1];
        let sums = self.add_up(watch, model, tier - 1, (0..4).map(|part| start + part * step));
        if sums.is_empty() {
            return false;
        }
        let sums = sums.into_iter().map(
            |(version, Added { mut head, service, labels, scores, matured, series })| {
                let watched = watch.version(VersionIndex { model, version });
                head.complete &= whole;
                head.service = service.record();
                head.labels = labels.record(watched);
                head.scores = scores.record(watched);
                head.matured = matured.map(|matured| matured.record(watched));
                head.series = series.iter().map(|counts| counts.as_ref().map(to_record)).collect();
                (version, head)
            },
        );
        self.tiers[tier].insert(start, sums.collect());
        true
    }

    /// The window of `scale` panes that ends before pane `end`; `None` when the model is younger than it, or
    /// it holds no data.
    pub(super) fn window(
        &self,
        watch: &Watch,
        model: u32,
        scale: i64,
        end: i64,
        pane_ms: i64,
        holes: &PaneHoles,
    ) -> Option<ModelWindow> {
        if self.first > end - scale {
            return None;
        }
        let (tier, parts) = if scale == 1 { (0, 1) } else { (tier_of(scale / 4), 4) };
        let step = scale / parts;
        let sums = self.add_up(watch, model, tier, (0..parts).map(|part| end - scale + part * step));
        if sums.values().all(|sum| sum.head.filled == 0) {
            return None;
        }
        let whole = !holes.touch(end - scale..end);
        let arm = |(version, Added { head, service, labels, scores, matured, series }): (u32, Added)| {
            let version = VersionIndex { model, version };
            let cells = widths(watch, version);
            ArmWindow {
                version,
                stable_events: head.stable,
                canary_events: head.canary,
                unset_events: head.unset,
                mixed_roles: head.mixed,
                service,
                labels,
                scores,
                matured,
                series: series
                    .into_iter()
                    .zip(cells)
                    .map(|(held, cells)| held.unwrap_or_else(|| empty(cells)))
                    .collect(),
                panes: head.filled,
                complete: head.complete && whole,
                revision: head.revision,
            }
        };
        Some(ModelWindow {
            model,
            start: EventTime((end - scale) * pane_ms),
            end: EventTime(end * pane_ms),
            scale: scale as u32,
            revised: false,
            set_weight: SetWeight::Untold,
            arms: sums.into_iter().map(arm).collect(),
        })
    }

    /// Drops what no window and no late event can need once pane `closed_to - 1` is closed.
    pub(super) fn prune(&mut self, closed_to: i64, late_panes: i64) {
        for (tier, length) in TIERS.iter().enumerate() {
            let oldest = closed_to - 4 * length - late_panes - 4 * length;
            self.tiers[tier] = self.tiers[tier].split_off(&oldest);
        }
    }

    /// Versions seen lately.
    pub(super) fn versions(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self.tiers[0].values().flat_map(|arms| arms.keys().copied()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The tier whose entries are `length` panes long.
pub(super) fn tier_of(length: i64) -> usize {
    TIERS.iter().position(|tier| *tier == length).expect("a window is made of sums of 1, 4 or 16 panes")
}
