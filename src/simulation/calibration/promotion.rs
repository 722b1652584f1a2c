//! How much traffic it takes to call a healthy canary good, by what runs live (statistics.md §9.10).

use super::mixture::{Drawn, Shape, Shown};
use super::values::Normal;
use crate::baseline::{Baseline, Rollout, VersionIndex, WatchedModel};
use crate::event::{EventTime, ModelId, SeriesOf};
use crate::judge::plan::MeasurePlan;
use crate::judge::service::Service;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use crate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::policy::PolicyConfig;
use crate::policy::action::Decision;
use crate::policy::evaluate::{ModelMemory, ModelRules, evaluate};
use crate::simulation::dice::Dice;
use crate::tally::labels::Labels;
use std::sync::Arc;

const PANE_MS: i64 = 60_000;
const VERSIONS: [&str; 2] = ["v1", "v2"];

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
        let mut baseline = |version: &str| {
            let drawn = shape.draw(normal, dice, (self.baseline, 0.0), None);
            let (series, trained) = shape.baseline(normal, &[drawn], false);
            let baseline = Baseline {
                model: "scores".to_owned(),
                version: version.to_owned(),
                rows: self.baseline as u64,
                created: EventTime(0),
                held_out: true,
                times: None,
                series: vec![Arc::new(series)],
            };
            (Arc::new(baseline), trained)
        };
        let [(stable, of_stable), (canary, of_canary)] = VERSIONS.map(&mut baseline);
        let id = ModelId { namespace: "default".to_owned(), name: "scores".to_owned() };
        let rollout = Rollout::Fixed { stable: VERSIONS[0].to_owned(), canary: Some(VERSIONS[1].to_owned()) };
        let watched = WatchedModel::new(id, rollout, &[stable, canary]).expect("there are baselines");
        let plan = MeasurePlan::new(&watched);
        let verdicts = VerdictRules::Budget(Budget::new(&BudgetConfig::default(), &plan, PANE_MS));
        (ModelRules { plan, verdicts, policy: self.policy.clone() }, [of_stable, of_canary])
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
        stable_events: 0,
        canary_events: 0,
        unset_events: drawn.rows(),
        mixed_roles: false,
        service: Service::default(),
        labels: Labels::default(),
        series: vec![counts],
        panes: 1,
        complete: true,
        revision: 0,
    }
}
