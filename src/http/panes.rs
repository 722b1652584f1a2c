//! Stored panes as JSON: what was counted of each series, cell by cell.

use crate::baseline::{WatchedModel, WatchedVersion};
use crate::event::EventTime;
use crate::tally::record::{Counts, PaneRecord, RoleCount};
use serde::Serialize;
use std::collections::BTreeMap;

/// Names of series that a sentence lists.
const LISTED: usize = 20;

/// One version's counts over a closed pane, or a sum of 4 or 16 panes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaneView {
    pub model_version: String,
    pub start: String,
    pub end: String,
    /// Its length in panes: 1, 4 or 16.
    pub length: u32,
    /// Panes among them that hold data.
    pub filled: u32,
    /// No source offsets are missing from it.
    pub complete: bool,
    /// 0 at first; counts the revisions by late events.
    pub revision: u32,
    pub events: EventsView,
    /// Features, then predictions, by name.
    pub series: Vec<StoredSeries>,
}

/// Events by the role they carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EventsView {
    pub stable: u64,
    pub canary: u64,
    pub unset: u64,
}

/// The counts of one series on one grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredSeries {
    pub name: String,
    pub of: &'static str,
    /// The grid's hash, 16 hexadecimal digits: cells are comparable on one grid only.
    pub grid: String,
    pub rows: u64,
    /// Values in cells.
    pub n: u64,
    pub missing: u64,
    pub type_errors: u64,
    pub out_of_range: u64,
    pub non_finite: u64,
    /// Cell and count of every cell that is not empty, ascending.
    pub cells: Vec<[u64; 2]>,
}

/// Puts records together that are of one version and stretch of time; in order of start, then version.
pub fn views(records: &[PaneRecord]) -> Vec<PaneView> {
    let mut views: BTreeMap<(i64, u32, &str), PaneView> = BTreeMap::new();
    for record in records {
        let key = (record.start, record.panes, record.version.as_str());
        let view = views.entry(key).or_insert_with(|| empty(record));
        view.complete &= record.complete;
        view.revision = view.revision.max(record.revision);
        if let Some(roles) = &record.roles {
            view.events = events(roles);
        } else if let Some(counts) = &record.counts {
            view.series.push(series(record, counts));
        }
    }
    let mut views: Vec<PaneView> = views.into_values().collect();
    views.iter_mut().for_each(|view| view.series.sort_by(|a, b| (a.of, &a.name).cmp(&(b.of, &b.name))));
    views
}

fn empty(record: &PaneRecord) -> PaneView {
    PaneView {
        model_version: record.version.clone(),
        start: EventTime(record.start).to_rfc3339(),
        end: EventTime(record.start + i64::from(record.panes) * record.pane_len).to_rfc3339(),
        length: record.panes,
        filled: record.filled,
        complete: true,
        revision: 0,
        events: EventsView::default(),
        series: Vec::new(),
    }
}

fn events(roles: &RoleCount) -> EventsView {
    EventsView { stable: roles.stable, canary: roles.canary, unset: roles.unset }
}

fn series(record: &PaneRecord, counts: &Counts) -> StoredSeries {
    let mut cells = Vec::with_capacity(counts.cells.len() / 2);
    let mut at = 0;
    for pair in counts.cells.chunks_exact(2) {
        at += pair[0];
        cells.push([at, pair[1]]);
        at += 1;
    }
    StoredSeries {
        name: record.series.clone(),
        of: if record.of == 0 { "feature" } else { "prediction" },
        grid: format!("{:016x}", record.grid_hash),
        rows: counts.rows,
        n: cells.iter().map(|cell| cell[1]).sum(),
        missing: counts.missing,
        type_errors: counts.type_errors,
        out_of_range: counts.out_of_range,
        non_finite: counts.non_finite,
        cells,
    }
}

/// Whether one of these panes has counts of the series.
pub fn holds(panes: &[PaneView], series: &str) -> bool {
    panes.iter().flat_map(|pane| &pane.series).any(|one| one.name == series)
}

/// Why there is nothing of a version of `model` that is not `configured`; `besides`: what else is wrong with it.
pub fn unknown_version(model: &str, version: &str, configured: &[&str], besides: &str) -> Option<String> {
    (!configured.contains(&version)).then(|| {
        let known = configured.join(", ");
        format!("version {version} of model {model} is not configured{besides}; configured: {known}")
    })
}

/// Why there is nothing of a series that no pane holds: it is in no baseline of `version`, or of any.
pub fn unknown_series(model: &WatchedModel, version: Option<&str>, series: &str) -> Option<String> {
    let wanted = |one: &&WatchedVersion| version.is_none_or(|version| *version == one.version);
    let mut names: Vec<&str> = Vec::new();
    for one in model.versions.iter().filter(wanted).flat_map(|version| &version.series) {
        if !names.contains(&one.reference.name.as_str()) {
            names.push(&one.reference.name);
        }
    }
    if names.contains(&series) {
        return None;
    }
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "series {series} of model {} is in no baseline, and in no pane of this time; in the baselines: {}{more}",
        model.id.name,
        names.join(", ")
    ))
}
