//! The verdicts as they are shipped: measured, judged, held and told of by what runs live, on a model of 51 series of
//! all types in which nothing happens but the time of day.

use super::mixture::{Drawn, Shape, shapes};
use super::model::{PANE_MS, rules};
use super::monitor::{Baseline as Training, Course, PANES_PER_DAY, SCALES, stride};
use super::values::Normal;
use crate::baseline::BaselineSeries;
use crate::event::EventTime;
use crate::judge::report::{Report, Verdict};
use crate::judge::verdict::BudgetConfig;
use crate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::policy::PolicyConfig;
use crate::policy::evaluate::{Conclusion, ModelMemory, evaluate};
use crate::simulation::dice::Dice;
use std::collections::VecDeque;

/// When the live panes begin.
const START: i64 = 1_800_000_000_000;

/// A model without drift, watched for so many panes.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipped {
    pub panes: usize,
    /// Events of a pane.
    pub events: usize,
    pub baseline: Training,
    pub counted: Counted,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Alerts of drift: what pages.
    Alarms,
    /// Reports whose verdict is at least a warning.
    Warnings,
}

/// The traffic of one series.
struct Live {
    shape: Shape,
    /// The smallest and the largest value of training.
    trained: (f64, f64),
    course: Course,
    dice: Dice,
}

impl Shipped {
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let tolerance = match self.baseline {
            Training::Independent { tolerance, .. } => tolerance,
            Training::Timed { .. } => BudgetConfig::default().tolerance,
        };
        let (mut series, baselines): (Vec<Live>, Vec<BaselineSeries>) =
            shapes(normal).into_iter().map(|shape| self.train(shape, normal, dice)).unzip();
        let budget = BudgetConfig { tolerance, ..BudgetConfig::default() };
        let rules = rules(vec![baselines], budget, PolicyConfig::default());
        let mut windows = Windows::new(&series);
        let (mut memory, mut counted) = (ModelMemory::default(), 0);
        for _ in 0..self.panes {
            windows.push(series.iter_mut().map(|one| one.pane(normal, self.events)).collect());
            for window in windows.due() {
                counted += self.counted.of(&evaluate(&rules, &window, &mut memory));
            }
        }
        counted as f64
    }

    /// The baseline of one series, and its traffic from then on.
    fn train(&self, shape: Shape, normal: &Normal, dice: &mut Dice) -> (Live, BaselineSeries) {
        let mut dice = Dice::new(dice.bits());
        let (mut course, panes, events) = match self.baseline {
            Training::Independent { values, .. } => (Course::still(), 1, values),
            Training::Timed { days, traffic } => {
                (Course::new(traffic, &mut dice), days * PANES_PER_DAY, self.events)
            }
        };
        let draw = |_| {
            let shift = course.next(normal, &mut dice);
            shape.draw(normal, &mut dice, (events, shift), None)
        };
        let panes: Vec<Drawn> = (0..panes).map(draw).collect();
        let timed = matches!(self.baseline, Training::Timed { .. });
        let (baseline, trained) = shape.baseline(normal, &panes, timed);
        (Live { shape, trained, course, dice }, baseline)
    }
}

impl Counted {
    fn of(self, conclusion: &Conclusion) -> usize {
        match self {
            Counted::Alarms => conclusion.alerts.iter().filter(|alert| alert.kind == "drift").count(),
            Counted::Warnings => {
                let warns = |report: &&Report| matches!(report.verdict, Verdict::Warning | Verdict::Drift);
                conclusion.reports.iter().filter(warns).count()
            }
        }
    }
}

impl Live {
    fn pane(&mut self, normal: &Normal, events: usize) -> Drawn {
        let shift = self.course.next(normal, &mut self.dice);
        self.shape.draw(normal, &mut self.dice, (events, shift), Some(self.trained))
    }
}

/// The last panes, and their sums on every scale.
struct Windows {
    /// Per pane: each series.
    panes: VecDeque<Vec<Drawn>>,
    /// Per scale: each series.
    sums: [Vec<SeriesCounts>; 4],
    pushed: usize,
}

impl Windows {
    fn new(series: &[Live]) -> Windows {
        let empty = |one: &Live| SeriesCounts { cells: vec![0; one.shape.width], ..SeriesCounts::default() };
        let sums = std::array::from_fn(|_| series.iter().map(empty).collect());
        Windows { panes: VecDeque::new(), sums, pushed: 0 }
    }

    fn push(&mut self, pane: Vec<Drawn>) {
        for (scale, sums) in SCALES.iter().zip(&mut self.sums) {
            for (sum, drawn) in sums.iter_mut().zip(&pane) {
                drawn.add_to(&mut sum.cells);
                sum.rows += drawn.rows();
                sum.missing += drawn.missing;
                sum.out_of_range += drawn.out_of_range;
            }
            let Some(oldest) = self.panes.len().checked_sub(*scale) else { continue };
            for (sum, drawn) in sums.iter_mut().zip(&self.panes[oldest]) {
                drawn.take_from(&mut sum.cells);
                sum.rows -= drawn.rows();
                sum.missing -= drawn.missing;
                sum.out_of_range -= drawn.out_of_range;
            }
        }
        if self.panes.len() == SCALES[3] {
            self.panes.pop_front();
        }
        self.panes.push_back(pane);
        self.pushed += 1;
    }

    /// The windows that end with the last pane.
    fn due(&self) -> impl Iterator<Item = ModelWindow> + '_ {
        let is_due = |scale: usize| self.pushed >= scale && self.pushed.is_multiple_of(stride(scale));
        (0..SCALES.len()).filter(move |&at| is_due(SCALES[at])).map(|at| self.window(at))
    }

    fn window(&self, at: usize) -> ModelWindow {
        let (sums, scale) = (&self.sums[at], SCALES[at]);
        let end = START + self.pushed as i64 * PANE_MS;
        let arm = ArmWindow {
            stable_events: sums.first().map_or(0, |one| one.rows),
            series: sums.clone(),
            panes: scale as u32,
            complete: true,
            ..ArmWindow::default()
        };
        ModelWindow {
            model: 0,
            start: EventTime(end - scale as i64 * PANE_MS),
            end: EventTime(end),
            scale: scale as u32,
            revised: false,
            set_weight: Default::default(),
            arms: vec![arm],
        }
    }
}
