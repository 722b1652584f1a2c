//! A model of 51 series of all types. Each shows one normal value, which may move with the time: as it is, as one of a
//! few numbers, as a category or as a truth.

use super::monitor::{SCALES, SERIES};
use super::values::Normal;
use crate::baseline::{BaselineSeries, SeriesTraits, Tolerance};
use crate::cells::{Categories, Grid, NumericGrid};
use crate::event::{SeriesKind, SeriesOf};
use crate::simulation::dice::Dice;
use std::sync::Arc;

/// Rows without a value, in every third series.
const MISSING: f64 = 0.02;
/// Values of a category that never comes again.
const NEW_NAMES: f64 = 5e-4;

/// What a series shows of its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shown {
    Number,
    /// One of so many numbers, evenly spaced over ±2.5 standard deviations.
    Discrete(u16),
    /// One of so many categories, the k-th of them 1/k times as frequent as the first.
    Category(u16),
    /// Whether the value is above this quantile.
    Truth(f64),
}

/// How a series is drawn.
#[derive(Debug, Clone)]
pub struct Shape {
    pub name: String,
    pub of: SeriesOf,
    shown: Shown,
    missing: f64,
    /// The cell of each bin of the normal distribution.
    cells: Vec<u16>,
    /// Cells of the grid.
    pub width: usize,
}

/// Some values of one series, in cells.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    pub cells: Vec<u16>,
    pub missing: u64,
    pub out_of_range: u64,
    lowest: f64,
    highest: f64,
}

/// 50 features of all types, and a score.
pub fn shapes(normal: &Normal) -> Vec<Shape> {
    (0..SERIES as u16)
        .map(|number| {
            let shown = match number {
                0..28 => Shown::Number,
                28..38 => Shown::Discrete(6 + 4 * (number - 28)),
                38..46 => Shown::Category(3 + 9 * (number - 38)),
                46..50 => Shown::Truth([0.5, 0.7, 0.9, 0.99][usize::from(number - 46)]),
                _ => Shown::Number,
            };
            let of = if number < 50 { SeriesOf::Feature } else { SeriesOf::Prediction };
            let missing = if number % 3 == 0 { MISSING } else { 0.0 };
            Shape::new(format!("s{number}"), of, shown, missing, normal)
        })
        .collect()
}

impl Shape {
    pub fn new(name: String, of: SeriesOf, shown: Shown, missing: f64, normal: &Normal) -> Shape {
        let bins = normal.bins();
        let share = |bin: usize| (bin as f64 + 0.5) / bins as f64;
        let cells: Vec<u16> = match shown {
            Shown::Number => (0..bins).map(|bin| 2 * bin as u16).collect(),
            Shown::Discrete(values) => {
                let step = |bin: usize| (normal.upper_edge(bin).min(9.0) / 5.0 + 0.5) * f64::from(values);
                (0..bins).map(|bin| 2 * step(bin).clamp(0.0, f64::from(values - 1)) as u16 + 1).collect()
            }
            Shown::Category(names) => {
                let all: f64 = (1..=names).map(|rank| 1.0 / f64::from(rank)).sum();
                let ends: Vec<f64> = (1..=names)
                    .scan(0.0, |sum, rank| {
                        *sum += 1.0 / (f64::from(rank) * all);
                        Some(*sum)
                    })
                    .collect();
                let last = names - 1;
                (0..bins)
                    .map(|bin| (ends.partition_point(|end| *end < share(bin)) as u16).min(last))
                    .collect()
            }
            Shown::Truth(above) => (0..bins).map(|bin| u16::from(share(bin) > above)).collect(),
        };
        let width = match shown {
            Shown::Number => 2 * bins - 1,
            Shown::Discrete(values) => 2 * usize::from(values) + 1,
            Shown::Category(names) => usize::from(names) + 2,
            Shown::Truth(_) => 2,
        };
        Shape { name, of, shown, missing, cells, width }
    }

    /// `rows` rows around `shift`. `trained`: what training has seen of the value. A category that never comes again
    /// stands in the cell of rare names in training, and in that of unknown ones since.
    pub fn draw(
        &self,
        normal: &Normal,
        dice: &mut Dice,
        (rows, shift): (usize, f64),
        trained: Option<(f64, f64)>,
    ) -> Drawn {
        let mut drawn = Drawn { lowest: f64::INFINITY, highest: f64::NEG_INFINITY, ..Drawn::default() };
        drawn.cells.reserve(rows);
        for _ in 0..rows {
            if self.missing > 0.0 && dice.unit() < self.missing {
                drawn.missing += 1;
                continue;
            }
            let value = normal.value(dice) + shift;
            drawn.lowest = drawn.lowest.min(value);
            drawn.highest = drawn.highest.max(value);
            let beyond = trained.is_some_and(|(low, high)| value < low || value > high);
            drawn.out_of_range += u64::from(beyond && self.shown == Shown::Number);
            let cell = match self.shown {
                Shown::Category(names) if dice.unit() < NEW_NAMES => names + u16::from(trained.is_some()),
                _ => self.cells[usize::from(normal.bin(value))],
            };
            drawn.cells.push(cell);
        }
        drawn
    }

    fn kind(&self) -> SeriesKind {
        match self.shown {
            Shown::Number | Shown::Discrete(_) => SeriesKind::Numeric,
            Shown::Category(_) => SeriesKind::Categorical,
            Shown::Truth(_) => SeriesKind::Boolean,
        }
    }

    /// `once`: categories that came once.
    fn grid(&self, normal: &Normal, once: u64) -> Grid {
        match self.shown {
            Shown::Number => {
                let cuts = (0..normal.bins() - 1).map(|bin| normal.upper_edge(bin)).collect();
                Grid::Numeric(NumericGrid::new(cuts))
            }
            Shown::Discrete(values) => Grid::Numeric(NumericGrid::new((0..values).map(f64::from).collect())),
            Shown::Category(names) => {
                let named = (0..names).map(|name| format!("n{name}")).collect();
                let others = (0..once).map(|name| format!("once{name}")).collect();
                Grid::Categorical(Categories::new(named, others))
            }
            Shown::Truth(_) => Grid::Boolean,
        }
    }

    /// The baseline of these panes and what they hold of the value. `timed`: they tell how far the series strays.
    pub fn baseline(&self, normal: &Normal, panes: &[Drawn], timed: bool) -> (BaselineSeries, (f64, f64)) {
        let mut counts = vec![0; self.width];
        let (mut missing, mut trained) = (0, (f64::INFINITY, f64::NEG_INFINITY));
        for drawn in panes {
            drawn.add_to(&mut counts);
            missing += drawn.missing;
            trained = (trained.0.min(drawn.lowest), trained.1.max(drawn.highest));
        }
        let once = if let Shown::Category(names) = self.shown { counts[usize::from(names)] } else { 0 };
        let (distinct, range) = match self.shown {
            Shown::Number => (counts.iter().sum(), Some(trained)),
            Shown::Discrete(values) => (u64::from(values), Some((0.0, f64::from(values - 1)))),
            Shown::Category(names) => (u64::from(names) + once, None),
            Shown::Truth(_) => (2, None),
        };
        let discrete = matches!(self.shown, Shown::Discrete(_));
        let mut series = BaselineSeries {
            name: self.name.clone(),
            of: self.of,
            kind: self.kind(),
            grid: Arc::new(self.grid(normal, once)),
            counts,
            missing,
            distinct,
            range,
            traits: SeriesTraits { discrete, ..SeriesTraits::default() },
        };
        if timed {
            let usual = |scale: &usize| tolerance(&series, panes, *scale);
            series.traits.tolerances = SCALES.iter().filter_map(usual).collect();
        }
        (series, trained)
    }
}

impl Drawn {
    pub fn add_to(&self, counts: &mut [u64]) {
        self.cells.iter().for_each(|&cell| counts[usize::from(cell)] += 1);
    }

    pub fn take_from(&self, counts: &mut [u64]) {
        self.cells.iter().for_each(|&cell| counts[usize::from(cell)] -= 1);
    }

    /// Rows.
    pub fn rows(&self) -> u64 {
        self.cells.len() as u64 + self.missing
    }
}

/// What the panes' own blocks of `scale` say is usual, as `tidegate baseline --time` does.
fn tolerance(series: &BaselineSeries, panes: &[Drawn], scale: usize) -> Option<Tolerance> {
    let mut own = series.own_blocks(&series.counts);
    let mut block = vec![0; series.counts.len()];
    for panes in panes.chunks_exact(scale) {
        block.fill(0);
        panes.iter().for_each(|pane| pane.add_to(&mut block));
        own.add(&block);
    }
    Tolerance::of_blocks(scale as u32, own)
}
