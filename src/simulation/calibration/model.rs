//! A model of drawn series, watched and judged by what runs live.

use super::monitor::PANES_PER_DAY;
use crate::baseline::{Baseline, BaselineSeries, Rollout, WatchedModel};
use crate::event::{EventTime, ModelId};
use crate::judge::plan::MeasurePlan;
use crate::judge::verdict::{Budget, BudgetConfig, VerdictRules};
use crate::policy::PolicyConfig;
use crate::policy::evaluate::ModelRules;
use std::sync::Arc;

/// Milliseconds of a pane.
pub const PANE_MS: i64 = 86_400_000 / PANES_PER_DAY as i64;
/// Stable, and the canary if there is one.
const VERSIONS: [&str; 2] = ["v1", "v2"];

/// The rules of a model whose versions (stable first, at most two) have been trained on these series.
pub fn rules(versions: Vec<Vec<BaselineSeries>>, budget: BudgetConfig, policy: PolicyConfig) -> ModelRules {
    let trained = |(version, series): (&str, Vec<BaselineSeries>)| {
        Arc::new(Baseline {
            model: "simulated".to_owned(),
            version: version.to_owned(),
            rows: series.first().map_or(0, |one| one.n() + one.missing),
            created: EventTime(0),
            held_out: true,
            times: None,
            series: series.into_iter().map(Arc::new).collect(),
        })
    };
    let baselines: Vec<Arc<Baseline>> = VERSIONS.into_iter().zip(versions).map(trained).collect();
    let canary = baselines.get(1).map(|one| one.version.clone());
    let rollout = Rollout::Fixed { stable: VERSIONS[0].to_owned(), canary };
    let id = ModelId { namespace: "default".to_owned(), name: "simulated".to_owned() };
    let watched = WatchedModel::new(id, rollout, &baselines).expect("stable is trained");
    let plan = MeasurePlan::new(&watched);
    let verdicts = VerdictRules::Budget(Budget::new(&budget, &plan, PANE_MS));
    ModelRules { plan, verdicts, policy, read_at: EventTime(0) }
}
