//! What the baselines of two versions bring to a rollout.

use crate::baseline::{WatchedModel, WatchedSeries, WatchedVersion};
use crate::event::SeriesOf;
use crate::tally::labels::classes;
use serde::Serialize;

/// Two versions of a model, as far as a forecast needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arms {
    pub stable: String,
    pub canary: String,
    /// Features that both count on one grid.
    pub inputs: usize,
    /// Prediction outputs that both have with one kind.
    pub answers: usize,
    /// Those of them that can be right or wrong: labels of theirs share a level with the errors.
    pub labelled: usize,
    /// Values of the smallest of these outputs' baselines: the canary's, and stable's.
    pub answer_values: [u64; 2],
    /// Values of the smallest baseline among stable's inputs and answers.
    pub stable_values: u64,
    /// A version whose answers cannot be blamed, and why.
    pub unfit: Option<String>,
}

impl Arms {
    /// Of two versions of a model; `None` when one is not watched.
    pub fn of(watched: &WatchedModel, stable: &str, canary: &str) -> Option<Arms> {
        let version = |name: &str| watched.find_version(name).map(|found| &watched.versions[found as usize]);
        let (stable, canary) = (version(stable)?, version(canary)?);
        let shared = |of: SeriesOf| {
            let pairs = canary.of(of).filter_map(move |(_, own)| {
                let other = stable.find(of, &own.reference.name)?;
                let fits = match of {
                    SeriesOf::Feature => own.grid_hash == other.grid_hash,
                    SeriesOf::Prediction => own.reference.kind == other.reference.kind,
                };
                fits.then(|| [own.reference.n(), other.reference.n()])
            });
            pairs.collect::<Vec<[u64; 2]>>()
        };
        let is_class = |one: &&WatchedSeries| classes(&one.reference.grid).is_some();
        let of_canary = canary.of(SeriesOf::Prediction).map(|(_, own)| own).filter(is_class);
        let labelled = of_canary.filter(|own| {
            let other = stable.find(SeriesOf::Prediction, &own.reference.name);
            other.is_some_and(|other| other.reference.kind == own.reference.kind)
        });
        let labelled = labelled.count();
        let (inputs, answers) = (shared(SeriesOf::Feature), shared(SeriesOf::Prediction));
        let least = |arm: usize| answers.iter().map(|values| values[arm]).min().unwrap_or(0);
        let of_stable = inputs.iter().chain(&answers).map(|values| values[1]);
        Some(Arms {
            stable: stable.version.clone(),
            canary: canary.version.clone(),
            inputs: inputs.len(),
            answers: answers.len(),
            labelled,
            answer_values: [least(0), least(1)],
            stable_values: of_stable.min().unwrap_or(0),
            unfit: unfit(canary).or_else(|| unfit(stable)),
        })
    }

    /// Why answers that differ would not be blamed on the canary's model, however sure the difference.
    pub fn doubt(&self) -> Option<String> {
        let no_inputs = || "there is no shared input to compare the arms by".to_owned();
        self.unfit.clone().or_else(|| (self.inputs == 0).then(no_inputs))
    }

    /// `√(1/m_c + 1/m_s)`: what the baselines alone leave unknown of a PIT-D, in units of c.
    pub fn noise_of_baselines(&self) -> f64 {
        self.answer_values.iter().map(|values| 1.0 / *values as f64).sum::<f64>().sqrt()
    }
}

fn unfit(version: &WatchedVersion) -> Option<String> {
    let name = &version.version;
    if !version.own_predictions {
        return Some(format!("version {name} has no prediction baseline of its own"));
    }
    (!version.held_out).then(|| {
        format!("the prediction baseline of version {name} is not held out (`tidegate baseline --held-out`)")
    })
}
