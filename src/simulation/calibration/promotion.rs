//! How much traffic it takes to call a healthy canary good, by what runs live (statistics.md §9.10).

use super::mixture::{Drawn, Shape, Shown};
use super::model::{PANE_MS, rules};
use super::values::Normal;
use crate::baseline::VersionIndex;
use crate::event::{EventTime, SeriesOf};
use crate::judge::verdict::BudgetConfig;
use crate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::policy::PolicyConfig;
use crate::policy::action::Decision;
use crate::policy::evaluate::{ModelMemory, ModelRules, evaluate};
use crate::simulation::dice::Dice;

/// A canary that answers as stable does, one score to each request.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    /// Held-out rows of either version's prediction baseline.
    pub baseline: usize,
    pub policy: PolicyConfig,
    /// Events of a pane: stable, canary.
    pub events: [usize; 2],
    /// Canary events after which it is given up.
    pub until: usize,
    /// The result: after how many canary events it is promoted, or whether it is (0 or 1).
    pub counts_events: bool,
}

impl Promotion {
    pub fn run(&self, normal: &Normal, dice: &mut Dice) -> f64 {
        let shape = Shape::new("score".to_owned(), SeriesOf::Prediction, Shown::Number, 0.0, normal);
        let (rules, trained) = self.rules(&shape, normal, dice);
        let mut memory = ModelMemory::default();
        for pane in 1..=self.until / self.events[1] {
            let arms = [0, 1].map(|version| {
                let rows = self.events[version];
                arm(version, shape.width, &shape.draw(normal, dice, (rows, 0.0), Some(trained[version])))
            });
            let end = pane as i64 * PANE_MS;
            let window = ModelWindow {
                model: 0,
                start: EventTime(end - PANE_MS),
                end: EventTime(end),
                scale: 1,
                revised: false,
                set_weight: Default::default(),
                arms: arms.into(),
            };
            if evaluate(&rules, &window, &mut memory).decision == Some(Decision::Promote) {
                return if self.counts_events { (pane * self.events[1]) as f64 } else { 1.0 };
            }
        }
        if self.counts_events { self.until as f64 } else { 0.0 }
    }

    /// Two versions with baselines of their own, and the range of each.
    fn rules(&self, shape: &Shape, normal: &Normal, dice: &mut Dice) -> (ModelRules, [(f64, f64); 2]) {
        let [(stable, of_stable), (canary, of_canary)] = [(); 2].map(|()| {
            let drawn = shape.draw(normal, dice, (self.baseline, 0.0), None);
            shape.baseline(normal, &[drawn], false)
        });
        let rules = rules(vec![vec![stable], vec![canary]], BudgetConfig::default(), self.policy.clone());
        (rules, [of_stable, of_canary])
    }
}

fn arm(version: usize, width: usize, drawn: &Drawn) -> ArmWindow {
    let mut counts = SeriesCounts {
        cells: vec![0; width],
        rows: drawn.rows(),
        missing: drawn.missing,
        out_of_range: drawn.out_of_range,
        ..SeriesCounts::default()
    };
    drawn.add_to(&mut counts.cells);
    ArmWindow {
        version: VersionIndex { model: 0, version: version as u32 },
        unset_events: drawn.rows(),
        series: vec![counts],
        panes: 1,
        complete: true,
        ..ArmWindow::default()
    }
}
