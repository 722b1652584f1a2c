//! What is watched in a run, what is produced, and what a naive count of it gives.

use super::dice::Dice;
use super::schedule::Load;
use crate::baseline::{Baseline, BaselineSeries, Rollout, VersionIndex, Watch, WatchedModel};
use crate::cells::{Grid, NumericGrid, OCTILE_BINS};
use crate::decode::{Accepted, Column, Latency, Served, Table};
use crate::event::{EventTime, ModelId, NO_UNIT, Outcome, Role, SeriesKind, SeriesOf, UNIT_BUCKETS};
use crate::tally::merge_partition;
use arrow::array::{Float64Array, Int64Array, UInt8Array};
use std::sync::{Arc, OnceLock};

/// Two models, so that two merge partitions have one each; two versions of each: stable and canary.
pub(super) const MODELS: usize = 2;
/// Cut points of the only series, `x`, before and after a new baseline.
const CUTS: [[f64; 3]; 2] = [[0.0, 1.0, 2.0], [0.0, 0.5, 1.5]];
/// What `x` may be; `None` is missing.
const VALUES: [Option<f64>; 7] = [Some(-1.0), Some(0.0), Some(0.5), Some(1.0), Some(1.5), Some(3.0), None];
pub(super) const CELLS: usize = 7;
/// Latency cells that occur: the first ones.
pub(super) const LATENCIES: usize = 5;
/// How far ahead of a replica's clock an event may be (milliseconds).
pub(super) const MAX_FUTURE: i64 = 8_000;

/// One record of a source partition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Body {
    Event(Event),
    /// A record that ends in an outcome of its own.
    Other(Outcome),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event {
    pub(super) model: usize,
    pub(super) canary: bool,
    /// Milliseconds.
    pub(super) time: i64,
    pub(super) x: Option<f64>,
    /// The bucket of its unit, or none.
    pub(super) unit: u8,
}

impl Event {
    pub(super) fn version(&self) -> VersionIndex {
        VersionIndex { model: self.model as u32, version: u32::from(self.canary) }
    }

    fn has_failed(&self) -> bool {
        self.time % 7 == 0
    }

    /// The cell of its latency: one of few, so that they add up.
    fn latency(&self) -> u16 {
        self.time.rem_euclid(LATENCIES as i64) as u16
    }

    /// As the decoder would hand it over.
    pub(super) fn accepted(&self) -> Accepted {
        Accepted {
            version: self.version(),
            role: Some(if self.canary { Role::Canary } else { Role::Stable }),
            time: EventTime(self.time),
            unit: self.unit,
            served: Served {
                answered: true,
                failed: self.has_failed(),
                latency: Latency::Cell(self.latency()),
            },
            moves_watermark: true,
            foreign_namespace: false,
        }
    }

    pub(super) fn table(&self) -> Table {
        Table {
            version: self.version(),
            of: SeriesOf::Feature,
            times: Int64Array::from(vec![self.time]),
            units: UInt8Array::from(vec![self.unit]),
            columns: vec![Column {
                array: Arc::new(Float64Array::from(vec![self.x])),
                type_errors: Vec::new(),
            }],
            labels: Vec::new(),
            joins: Default::default(),
            scores: Vec::new(),
        }
    }
}

/// A record of this kind of load, at wall clock `clock`. `None`: an offset without a record.
pub(super) fn draw(dice: &mut Dice, load: Load, clock: i64) -> Option<Body> {
    let bad = [Outcome::Unreadable, Outcome::TimeOutOfBounds, Outcome::UnknownModel, Outcome::Tombstone];
    let time = match load {
        Load::Fresh => clock + dice.between(-900, 300),
        Load::Late => clock - dice.between(900, 12_000),
        Load::Ahead => clock + dice.between(300, 4_000),
        Load::Bad => return Some(Body::Other(bad[dice.index(bad.len())])),
        Load::Holes => return None,
    };
    Some(Body::Event(Event {
        model: dice.index(MODELS),
        canary: dice.chance(20),
        time,
        x: VALUES[dice.index(VALUES.len())],
        unit: dice.index(usize::from(NO_UNIT) + 1) as u8,
    }))
}

/// What is watched; `generation` counts the baselines, of which every other one is the same.
pub(super) fn watch(generation: usize) -> Arc<Watch> {
    static WATCHES: [OnceLock<Arc<Watch>>; 2] = [OnceLock::new(), OnceLock::new()];
    Arc::clone(WATCHES[generation % 2].get_or_init(|| make_watch(generation)))
}

fn make_watch(generation: usize) -> Arc<Watch> {
    let series = Arc::new(BaselineSeries {
        name: "x".to_owned(),
        of: SeriesOf::Feature,
        kind: SeriesKind::Numeric,
        grid: Arc::new(Grid::Numeric(NumericGrid::new(CUTS[generation % 2].to_vec()))),
        counts: vec![1; CELLS],
        missing: 0,
        distinct: 3,
        range: Some((-1.0, 3.0)),
        traits: Default::default(),
    });
    let model = |name: &str| {
        let baseline = |version: &str| {
            Arc::new(Baseline {
                model: name.to_owned(),
                version: version.to_owned(),
                rows: CELLS as u64,
                created: EventTime(0),
                held_out: true,
                times: None,
                series: vec![Arc::clone(&series)],
            })
        };
        let id = ModelId { namespace: "default".to_owned(), name: name.to_owned() };
        WatchedModel::new(id, Rollout::Auto, &[baseline("v1"), baseline("v2")])
            .expect("two baselines are enough to start from")
    };
    Arc::new(Watch { models: model_names().iter().map(|name| model(name)).collect() })
}

/// Names that two merge partitions keep apart.
fn model_names() -> [String; MODELS] {
    let first = "m0".to_owned();
    let partition = |name: &str| merge_partition("default", name, 2);
    let other = (1..).map(|number| format!("m{number}")).find(|name| partition(name) != partition(&first));
    [first, other.expect("names are spread over both partitions")]
}

/// Counts of one version in one pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Naive {
    pub(super) events: u64,
    pub(super) missing: u64,
    pub(super) cells: [u64; CELLS],
    /// By bucket of the unit and bin; on a grid of seven cells each is a bin.
    pub(super) units: [[u64; OCTILE_BINS]; UNIT_BUCKETS],
    /// How they were served.
    pub(super) service: NaiveService,
}

/// Errors and latencies of one version in one pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NaiveService {
    errors: u64,
    latencies: [u64; LATENCIES],
}

impl NaiveService {
    /// From what was counted; cells of latency that no event has are left out.
    pub(super) fn of(errors: u64, latency: &[u64]) -> NaiveService {
        let latencies = std::array::from_fn(|cell| latency.get(cell).copied().unwrap_or(0));
        NaiveService { errors, latencies }
    }

    /// Whether no count is above `other`'s.
    pub(super) fn is_within(&self, other: &NaiveService) -> bool {
        self.errors <= other.errors
            && self.latencies.iter().zip(&other.latencies).all(|(own, other)| own <= other)
    }
}

impl Naive {
    /// Adds an event, its cell found by walking the cuts.
    pub(super) fn add(&mut self, event: &Event, generation: usize) {
        self.events += 1;
        self.service.errors += u64::from(event.has_failed());
        self.service.latencies[usize::from(event.latency())] += 1;
        let Some(x) = event.x else {
            self.missing += 1;
            return;
        };
        let mut cell = 0;
        for cut in CUTS[generation % 2] {
            if x > cut {
                cell += 2;
            } else if x == cut {
                cell += 1;
            }
        }
        self.cells[cell] += 1;
        if let Some(bins) = self.units.get_mut(usize::from(event.unit)) {
            bins[cell] += 1;
        }
    }

    /// Whether no count is above `other`'s, but for how they were served.
    pub(super) fn is_within(&self, other: &Naive) -> bool {
        self.events <= other.events
            && self.missing <= other.missing
            && self.cells.iter().zip(&other.cells).all(|(own, other)| own <= other)
            && self.units.iter().flatten().zip(other.units.iter().flatten()).all(|(own, other)| own <= other)
    }
}
