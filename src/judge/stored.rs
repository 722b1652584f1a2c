//! Windows of any length out of stored panes and sums: the past judged again, without raw data.

use super::history::TIERS;
use super::joins::Matured;
use super::panes::{add_counts, empty, version_of};
use super::weights::SetWeight;
use super::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::baseline::{VersionIndex, Watch};
use crate::event::EventTime;
use crate::tally::checked::add_counts_up;
use crate::tally::of_from_number;
use crate::tally::record::PaneRecord;
use std::collections::{BTreeMap, BTreeSet};

/// A stored pane or sum: its length in panes, and its start in milliseconds since 1970.
pub type Part = (u32, i64);

/// The fewest panes and sums that make up `[from, to)`; both are multiples of `pane_ms`, and so is every start.
pub fn cover(from: EventTime, to: EventTime, pane_ms: i64) -> BTreeSet<Part> {
    let (mut at, end) = (from.0.div_euclid(pane_ms), to.0.div_euclid(pane_ms));
    let mut parts = BTreeSet::new();
    while at < end {
        let fits = |length: &&i64| at.rem_euclid(**length) == 0 && at + **length <= end;
        let length = *TIERS.iter().rev().find(fits).unwrap_or(&1);
        parts.insert((length as u32, at * pane_ms));
        at += length;
    }
    parts
}

/// The single panes within the sums of `parts` that `records` holds nothing of: late events may have made a
/// pane where there was nothing to sum up before.
pub fn unseen_panes(parts: &BTreeSet<Part>, records: &[PaneRecord], pane_ms: i64) -> BTreeSet<Part> {
    let seen: BTreeSet<Part> = records.iter().map(|record| (record.panes, record.start)).collect();
    let unseen = parts.iter().filter(|part| part.0 > 1 && !seen.contains(part));
    unseen
        .flat_map(|(length, start)| (0..i64::from(*length)).map(move |n| (1, start + n * pane_ms)))
        .collect()
}

/// The window that these parts add up to, and how many records were left out because their version, series or
/// grid is not watched any more. `records` holds each part once; `model` is its index in the watch. A window
/// without any event has no arms.
pub fn window(
    watch: &Watch,
    model: u32,
    (from, to, pane_ms): (EventTime, EventTime, i64),
    records: &[PaneRecord],
) -> (ModelWindow, u64) {
    let mut arms: BTreeMap<u32, ArmWindow> = BTreeMap::new();
    let mut left_out = 0;
    for record in records {
        let version = version_of(watch, &record.namespace, &record.model, &record.version);
        let Some(version) = version.filter(|version| version.model == model) else {
            left_out += 1;
            continue;
        };
        let arm = arms.entry(version.version).or_insert_with(|| arm(watch, version));
        arm.complete &= record.complete;
        match &record.roles {
            Some(roles) => {
                arm.stable_events = add_counts_up(arm.stable_events, roles.stable);
                arm.canary_events = add_counts_up(arm.canary_events, roles.canary);
                arm.unset_events = add_counts_up(arm.unset_events, roles.unset);
                arm.mixed_roles |= record.mixed_roles;
                left_out += u64::from(!roles.service.as_ref().is_none_or(|counts| arm.service.add(counts)));
                let watched = watch.version(version);
                left_out += u64::from(!arm.labels.add(watched, &roles.labels));
                left_out += u64::from(!arm.scores.add(watched, &roles.scores));
                let matured = roles.matured.as_ref();
                let fits = matured.is_none_or(|counts| Matured::join(&mut arm.matured, watched, counts));
                left_out += u64::from(!fits);
                arm.panes = arm.panes.saturating_add(record.filled);
                arm.revision = arm.revision.saturating_add(record.revision);
            }
            None => left_out += u64::from(!add(watch, version, record, &mut arm.series)),
        }
    }
    let scale = (to.0 - from.0).div_euclid(pane_ms);
    let window = ModelWindow {
        model,
        start: from,
        end: to,
        scale: u32::try_from(scale).unwrap_or(u32::MAX),
        revised: false,
        set_weight: SetWeight::Untold,
        arms: arms.into_values().collect(),
    };
    (window, left_out)
}

fn arm(watch: &Watch, version: VersionIndex) -> ArmWindow {
    let series = watch.version(version).series.iter();
    ArmWindow {
        version,
        series: series.map(|series| empty(series.reference.grid.cells())).collect(),
        complete: true,
        ..ArmWindow::default()
    }
}

fn add(watch: &Watch, version: VersionIndex, record: &PaneRecord, into: &mut [SeriesCounts]) -> bool {
    let of = of_from_number(record.of);
    let place = of.and_then(|of| watch.version(version).place(of, &record.series, record.grid_hash));
    match (place, &record.counts) {
        (Some(place), Some(counts)) => add_counts(&mut into[place], counts),
        _ => false,
    }
}
