//! The canary's share of the traffic as its owner sets it: told through the tallies while Tidegate runs, so that
//! a replay hears it in the same place again (statistics.md §9.6).

use super::merge::{Judge, Notes};
use crate::tally::record::Weight;
use prost::Message;

/// A pane tells nothing of the split when a change of the weight lies in it or less than so many milliseconds
/// before or after it: a router takes its time, and clocks are not the same.
pub const NEAR_CHANGE_MS: i64 = 60_000;
/// Changes that are kept of a model, the newest. Before the oldest of them nothing is known.
const MAX_CHANGES: usize = 32;

/// A moment from which on a weight is set.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct WeightChange {
    /// Event time in milliseconds since 1970.
    #[prost(sint64, tag = "1")]
    pub since: i64,
    /// 0 to 1.
    #[prost(double, tag = "2")]
    pub canary_weight: f64,
}

/// The weights that were told for a model, by their times.
#[derive(Clone, PartialEq, Message)]
pub struct ModelWeights {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub model: String,
    #[prost(message, repeated, tag = "3")]
    pub changes: Vec<WeightChange>,
}

/// What its owner has told of the canary's share of the traffic over a window.
///
/// Only what was told by the time the window closed counts. Its last minute may lie ahead then, so a change that
/// is told late, or told just after the window closed, is not seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum SetWeight {
    /// Nothing was ever told for the model.
    #[default]
    Untold,
    /// It changed in the window or within [`NEAR_CHANGE_MS`] of it, or was told only from a later time on.
    Unclear,
    /// This one (0 to 1) all the time, and [`NEAR_CHANGE_MS`] before and after.
    Known(f64),
}

/// The changes of one model, by their times, each at another time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Weights(Vec<WeightChange>);

impl Weights {
    /// As it was stored; at most [`MAX_CHANGES`] of it are taken.
    pub(super) fn restore(changes: &[WeightChange]) -> Weights {
        let mut weights = Weights::default();
        changes.iter().for_each(|change| weights.tell(*change));
        weights
    }

    /// Takes a change in, in whatever order they are told. What is told again for the same moment replaces it.
    pub(super) fn tell(&mut self, change: WeightChange) {
        match self.0.binary_search_by_key(&change.since, |one| one.since) {
            Ok(place) => self.0[place] = change,
            Err(place) => self.0.insert(place, change),
        }
        self.thin();
        let surplus = self.0.len().saturating_sub(MAX_CHANGES);
        self.0.drain(..surplus);
    }

    /// Of a weight that is told again and again the first and the last time say everything.
    fn thin(&mut self) {
        let mut place = 1;
        while place + 1 < self.0.len() {
            let weight = self.0[place].canary_weight;
            let is_inner =
                self.0[place - 1].canary_weight == weight && self.0[place + 1].canary_weight == weight;
            if is_inner {
                self.0.remove(place);
            } else {
                place += 1;
            }
        }
    }

    /// The weight over `[start, end)` (milliseconds since 1970), if it is one from [`NEAR_CHANGE_MS`] before it to
    /// as long after it.
    pub(super) fn over(&self, start: i64, end: i64) -> SetWeight {
        if self.0.is_empty() {
            return SetWeight::Untold;
        }
        let begun = self.0.partition_point(|one| one.since <= start.saturating_sub(NEAR_CHANGE_MS));
        let Some(set) = begun.checked_sub(1).map(|place| self.0[place].canary_weight) else {
            return SetWeight::Unclear;
        };
        let last = end.saturating_add(NEAR_CHANGE_MS);
        let changes = self.0[begun..].iter().take_while(|one| one.since < last);
        match changes.map(|one| one.canary_weight).all(|weight| weight == set) {
            true => SetWeight::Known(set),
            false => SetWeight::Unclear,
        }
    }

    /// The weight that is set at a time.
    fn at(&self, time: i64) -> Option<f64> {
        let begun = self.0.partition_point(|one| one.since <= time);
        begun.checked_sub(1).map(|place| self.0[place].canary_weight)
    }

    pub(super) fn changes(&self) -> &[WeightChange] {
        &self.0
    }
}

impl Judge {
    /// Takes in what the owner tells. What a replay repeats stands in the state already, together with what
    /// followed it.
    pub(super) fn hear_weight(&mut self, told: &Weight, notes: &mut Notes) {
        if self.is_replaying() {
            return;
        }
        match self.watch.0.index_of(&told.namespace, &told.model) {
            Some(model) => {
                let change = WeightChange { since: told.since, canary_weight: told.canary_weight };
                self.weights.entry(model).or_default().tell(change);
            }
            None => notes.foreign_deltas += 1,
        }
    }

    /// The weight that is set for a model (by its index in the watch) at the newest marker's clock, where its owner
    /// has told one.
    pub fn weight_now(&self, model: u32) -> Option<f64> {
        self.weights.get(&model)?.at(self.sources.clock)
    }

    pub(super) fn weight_over(&self, model: u32, start: i64, end: i64) -> SetWeight {
        self.weights.get(&model).map_or(SetWeight::Untold, |weights| weights.over(start, end))
    }

    pub(super) fn weight_records(&self) -> Vec<ModelWeights> {
        let record = |(model, weights): (&u32, &Weights)| {
            let id = &self.watch.0.models[*model as usize].id;
            let (namespace, model) = (id.namespace.clone(), id.name.clone());
            ModelWeights { namespace, model, changes: weights.changes().to_vec() }
        };
        self.weights.iter().map(record).collect()
    }

    pub(super) fn restore_weights(&mut self, records: &[ModelWeights]) {
        for record in records.iter().filter(|record| !record.changes.is_empty()) {
            if let Some(model) = self.watch.0.index_of(&record.namespace, &record.model) {
                self.weights.insert(model, Weights::restore(&record.changes));
            }
        }
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
