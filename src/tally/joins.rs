//! Answers whose label may still come, and labels that came by themselves: nothing to be counted here, only handed on.

use super::record::Joins;
use crate::baseline::{WatchedModel, WatchedVersion};
use crate::decode::{Answer, JoinLabel};
use std::collections::BTreeMap;

/// Requests in one record: at most some 600 KiB, and Kafka takes a MiB.
const MAX_REQUESTS: usize = 1 << 15;
/// What a request is held with here.
pub(super) const REQUEST_BYTES: usize = 32;

/// Of one version and pane since the last flush.
#[derive(Debug, Default)]
pub(super) struct PaneJoins(BTreeMap<u32, OutputJoins>);

#[derive(Debug, Default)]
struct OutputJoins {
    /// Hash of the request, and a cell.
    answers: Vec<(u64, u16)>,
    /// Of numeric outputs: hash of the request, the number, and the bucket of the event's unit.
    scores: Vec<(u64, f64, u8)>,
    labels: Vec<(u64, Option<u16>)>,
}

impl PaneJoins {
    /// Notes an answer of the output at `place`, of an event whose unit is in `bucket`.
    pub(super) fn note_answer(&mut self, place: u32, request: u64, answer: Answer, bucket: u8) {
        let output = self.0.entry(place).or_default();
        match answer {
            Answer::Cell(cell) => output.answers.push((request, cell)),
            Answer::Score(score) => output.scores.push((request, score, bucket)),
        }
    }

    pub(super) fn note_label(&mut self, label: &JoinLabel) {
        self.0.entry(label.series).or_default().labels.push((label.request, label.truth));
    }

    /// The records of this pane; `head`: what they share.
    pub(super) fn records<'a>(
        &'a self,
        watched: &'a WatchedVersion,
        head: &'a Joins,
    ) -> impl Iterator<Item = Joins> + 'a {
        let of_output = move |(place, output): (&u32, &'a OutputJoins)| {
            let series = watched.series.get(*place as usize)?;
            let name = series.reference.name.clone();
            Some(output.records(Joins { output: name, grid_hash: series.grid_hash, ..head.clone() }))
        };
        self.0.iter().filter_map(of_output).flatten()
    }
}

impl OutputJoins {
    fn records(&self, head: Joins) -> impl Iterator<Item = Joins> + '_ {
        let (of_scores, of_labels) = (head.clone(), head.clone());
        let answers = self.answers.chunks(MAX_REQUESTS).map(move |part| Joins {
            answered: part.iter().map(|(request, _)| *request).collect(),
            answers: part.iter().map(|(_, cell)| u32::from(*cell)).collect(),
            ..head.clone()
        });
        let scores = self.scores.chunks(MAX_REQUESTS).map(move |part| Joins {
            answered: part.iter().map(|(request, ..)| *request).collect(),
            scores: part.iter().map(|(_, score, _)| *score).collect(),
            buckets: part.iter().map(|(.., bucket)| *bucket).collect(),
            ..of_scores.clone()
        });
        let number = |truth: Option<u16>| truth.map_or(0, |cell| u32::from(cell) + 1);
        let labels = self.labels.chunks(MAX_REQUESTS).map(move |part| Joins {
            labelled: part.iter().map(|(request, _)| *request).collect(),
            labels: part.iter().map(|(_, truth)| number(*truth)).collect(),
            ..of_labels.clone()
        });
        answers.chain(scores).chain(labels)
    }
}

/// What the records of a version's pane share.
pub(super) fn head(
    model: &WatchedModel,
    watched: &WatchedVersion,
    pane: (i64, i64),
    range_id: &str,
) -> Joins {
    Joins {
        range_id: range_id.to_owned(),
        namespace: model.id.namespace.clone(),
        model: model.id.name.clone(),
        version: watched.version.clone(),
        pane_start: pane.0,
        pane_len: pane.1,
        ..Joins::default()
    }
}
