//! What a window hands to the measurements.

use super::joins::Matured;
use super::service::Service;
use super::weights::SetWeight;
use crate::baseline::VersionIndex;
use crate::cells::{Sums, UNIT_CELLS};
use crate::event::EventTime;
use crate::tally::labels::Labels;
use crate::tally::scores::Scores;

/// The dense counts of one series over a window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesCounts {
    /// One per cell of the series' grid.
    pub cells: Vec<u64>,
    /// See [`crate::tally::record::Counts`] for these.
    pub rows: u64,
    pub missing: u64,
    pub type_errors: u64,
    pub out_of_range: u64,
    pub non_finite: u64,
    /// Counts by unit bucket and octile bin, at bucket · [`crate::cells::OCTILE_BINS`] + bin, of the values whose
    /// events name a unit or a request; none if no event did.
    pub units: Option<Box<[u64; UNIT_CELLS]>>,
    /// Of numbers: the sums of values by span of the grid.
    pub sums: Sums,
}

impl SeriesCounts {
    /// Values in cells.
    pub fn n(&self) -> u64 {
        self.cells.iter().sum()
    }
}

/// One version's part of a closed window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArmWindow {
    pub version: VersionIndex,
    /// Events of this version by the role they carried.
    pub stable_events: u64,
    pub canary_events: u64,
    pub unset_events: u64,
    /// Whether the same pane held events of both roles for this version.
    pub mixed_roles: bool,
    /// How its events were served.
    pub service: Service,
    /// Answers that came with their label.
    pub labels: Labels,
    /// Where labels are joined: answers of earlier panes that matured when the window's panes closed, in a steady
    /// stream those of the window of its length that ended a horizon earlier.
    pub matured: Option<Matured>,
    /// Those of numeric outputs.
    pub scores: Scores,
    /// One for each watched series of the version, in its order.
    pub series: Vec<SeriesCounts>,
    /// Panes of the window that hold data of this version.
    pub panes: u32,
    /// No offsets are missing from it.
    pub complete: bool,
    /// 0 at first; counts the revisions by late data.
    pub revision: u32,
}

/// A closed (or revised) window of one model: all versions seen in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelWindow {
    /// Index of the model in the watch.
    pub model: u32,
    pub start: EventTime,
    pub end: EventTime,
    /// 1, 4, 16 or 64 panes.
    pub scale: u32,
    /// A late revision: changes reports only, moves no streak, decides nothing.
    pub revised: bool,
    /// What the owner of the canary's share of the traffic has told of it.
    pub set_weight: SetWeight,
    pub arms: Vec<ArmWindow>,
}

impl ArmWindow {
    /// Events of this version, whatever role they carried.
    pub fn events(&self) -> u64 {
        self.stable_events + self.canary_events + self.unset_events
    }
}
