//! Labels: which cell an output's label is in, beside the cell of its answer; of a number, whether it came true. Keys
//! follow the rules of predictions: the last of equal ones wins, nested objects flatten with dots.
//!
//! A label that does not come with its prediction is joined with it later, by the hash of the request: then the
//! answers without a label are handed on, and the labels without an answer.

use super::builder::as_f64;
use super::joins::{Answer, JoinAnswer, JoinLabel, Joins};
use super::number;
use super::scan::{plain_string, skip_space, skip_value};
use super::section::{Names, Section, width};
use super::{Accepted, LabelPair, ScorePair};
use crate::baseline::{LabelJoin, WatchedVersion};
use crate::cells::Grid;
use crate::event::SeriesOf;
use simd_json::{Node, StaticNode};
use std::mem::take;
use std::sync::Arc;

/// The labels of one watched version's outputs.
pub(super) struct Labels {
    outputs: Vec<Output>,
    names: Names,
    /// Of the event being read, one for each output.
    truths: Vec<Truth>,
    pairs: Vec<LabelPair>,
    scores: Vec<ScorePair>,
    /// How labels that come later are joined, if they are.
    join: Option<LabelJoin>,
    joins: Joins,
}

/// A watched output.
struct Output {
    /// Among the version's series, and among its predictions.
    series: u32,
    column: u32,
    grid: Arc<Grid>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// Absent or null.
    None,
    /// Of another type than the output.
    Wrong,
    /// Of numeric outputs 0 (false) or 1 (true).
    Cell(u16),
}

impl Output {
    fn text(&self, label: &str) -> Truth {
        match self.grid.as_ref() {
            Grid::Categorical(categories) => Truth::Cell(categories.cell_of(label)),
            Grid::Boolean | Grid::Numeric(_) => Truth::Wrong,
        }
    }

    fn boolean(&self, label: bool) -> Truth {
        match self.grid.as_ref() {
            Grid::Boolean | Grid::Numeric(_) => Truth::Cell(u16::from(label)),
            Grid::Categorical(_) => Truth::Wrong,
        }
    }

    /// A number is a label of numeric outputs only: what a score foretells happened once, or not.
    fn number(&self, label: f64) -> Truth {
        match self.grid.as_ref() {
            Grid::Numeric(_) if label == 1.0 => Truth::Cell(1),
            Grid::Numeric(_) if label == 0.0 => Truth::Cell(0),
            Grid::Numeric(_) | Grid::Categorical(_) | Grid::Boolean => Truth::Wrong,
        }
    }

    fn node(&self, label: &Node<'_>) -> Truth {
        match label {
            Node::Static(StaticNode::Null) => Truth::None,
            Node::Static(StaticNode::Bool(truth)) => self.boolean(*truth),
            Node::String(text) => self.text(text),
            Node::Static(number) => as_f64(number).map_or(Truth::Wrong, |number| self.number(number)),
            Node::Object { .. } | Node::Array { .. } => Truth::Wrong,
        }
    }

    /// The label whose raw text starts at `at`; `None`: in doubt.
    fn raw(&self, text: &str, at: usize) -> Option<Truth> {
        Some(match text.as_bytes().get(at)? {
            b'n' => Truth::None,
            b'"' => self.text(plain_string(text, at)?.0),
            first @ (b't' | b'f') => self.boolean(*first == b't'),
            b'-' | b'0'..=b'9' => self.number(number::read(text.as_bytes(), at)?.0.as_f64()),
            _ => Truth::Wrong,
        })
    }
}

impl Labels {
    pub(super) fn new(watched: &WatchedVersion, join: Option<LabelJoin>) -> Labels {
        let mut outputs = Vec::new();
        let mut names = Vec::new();
        for (column, (series, one)) in watched.of(SeriesOf::Prediction).enumerate() {
            let grid = one.reference.grid.clone();
            outputs.push(Output { series: series as u32, column: column as u32, grid });
            names.push(one.reference.name.clone());
        }
        let truths = vec![Truth::None; outputs.len()];
        Labels {
            outputs,
            names: Names::new(names),
            truths,
            pairs: Vec::new(),
            scores: Vec::new(),
            join,
            joins: Joins::default(),
        }
    }

    /// Whether an event has anything to be read here or handed on. `labels`, `predictions`: whether it carries them.
    pub(super) fn are_read(&self, labels: bool, predictions: bool) -> bool {
        !self.outputs.is_empty()
            && match self.join {
                Some(_) => labels || predictions,
                None => labels && predictions,
            }
    }

    /// An event begins, without labels so far.
    pub(super) fn start(&mut self) {
        self.names.start_row();
        self.truths.fill(Truth::None);
    }

    /// Reads the labels of an event. `object` is the tape of an object, its own node first.
    pub(super) fn read_tape(&mut self, object: &[Node<'_>]) {
        self.walk(None, object);
    }

    fn walk(&mut self, parent: Option<&str>, object: &[Node<'_>]) {
        let mut at = 1;
        while let Some(Node::String(key)) = object.get(at) {
            let width = width(&object[at + 1]);
            let value = &object[at + 1..at + 1 + width];
            match parent {
                None => self.field(key, value),
                Some(parent) => self.field(&format!("{parent}.{key}"), value),
            }
            at += 1 + width;
        }
    }

    fn field(&mut self, path: &str, value: &[Node<'_>]) {
        if let Some(output) = self.names.find(path) {
            self.truths[output] = self.outputs[output].node(&value[0]);
        }
        let below = self.names.below(path);
        if below.is_empty() {
            return;
        }
        below.iter().for_each(|output| self.truths[*output as usize] = Truth::None);
        if matches!(value[0], Node::Object { .. }) {
            self.walk(Some(path), value);
        }
    }

    /// Reads the labels from the raw text of an object, which [`skip_value`] has passed. `None`: it takes the rules of
    /// the tape.
    pub(super) fn read(&mut self, object: &str) -> Option<()> {
        let bytes = object.as_bytes();
        let mut at = skip_space(bytes, 1);
        while bytes.get(at)? != &b'}' {
            let (key, end) = plain_string(object, at)?;
            at = skip_space(bytes, skip_space(bytes, end) + 1);
            if !self.names.below(key).is_empty() {
                return None;
            }
            if let Some(output) = self.names.find(key) {
                self.truths[output] = self.outputs[output].raw(object, at)?;
            }
            at = skip_space(bytes, skip_value(bytes, at)?);
            if bytes.get(at)? == &b',' {
                at = skip_space(bytes, at + 1);
            }
        }
        Some(())
    }

    /// Keeps what was read of `event`, once its `predictions`, if it has some, have their row. `request`: the hash of
    /// its request.
    pub(super) fn keep(&mut self, event: &Accepted, request: Option<u64>, predictions: Option<&Section>) {
        // Of a sample, answers with a label beside them are no more than their share either.
        if self.join.is_some_and(|join| request.map_or(join.sample < 1.0, |hash| !join.takes(hash))) {
            return;
        }
        let request = request.filter(|_| self.join.is_some());
        match predictions {
            Some(predictions) => self.keep_answers(predictions, request),
            None => self.keep_alone(event, request),
        }
    }

    /// Puts labels beside the answers in the last row of `predictions`. An output without an answer has no use for a
    /// label.
    fn keep_answers(&mut self, predictions: &Section, request: Option<u64>) {
        let Some(row) = predictions.rows().checked_sub(1) else { return };
        for (output, truth) in self.outputs.iter().zip(&self.truths) {
            let (row, series) = (row as u32, output.series);
            let truth = match (truth, request) {
                (Truth::Wrong, _) => None,
                (Truth::Cell(cell), _) => Some(*cell),
                (Truth::None, Some(request)) => {
                    let answer = predictions.answer(output.column, row as usize);
                    let waits = |answer| JoinAnswer { row, request, series, answer };
                    self.joins.answers.extend(answer.map(waits));
                    continue;
                }
                (Truth::None, None) => continue,
            };
            match predictions.answer(output.column, row as usize) {
                Some(Answer::Cell(predicted)) => {
                    self.pairs.push(LabelPair { row, series, predicted, truth });
                }
                Some(Answer::Score(score)) => {
                    let truth = truth.map(|cell| cell == 1);
                    self.scores.push(ScorePair { row, series, score, truth });
                }
                None => {}
            }
        }
    }

    /// Labels whose answers came in another event, or will.
    fn keep_alone(&mut self, event: &Accepted, request: Option<u64>) {
        let Some(request) = request else { return };
        for (output, truth) in self.outputs.iter().zip(&self.truths) {
            let truth = match truth {
                Truth::None => continue,
                Truth::Wrong => None,
                Truth::Cell(cell) => Some(*cell),
            };
            let (time, series) = (event.time.0, output.series);
            self.joins.labels.push(JoinLabel { time, request, series, truth });
        }
    }

    /// The pairs of all rows so far, and what is to be joined.
    pub(super) fn take(&mut self) -> (Vec<LabelPair>, Vec<ScorePair>, Joins) {
        (take(&mut self.pairs), take(&mut self.scores), take(&mut self.joins))
    }

    /// Labels without an answer that wait here.
    pub(super) fn alone(&self) -> usize {
        self.joins.labels.len()
    }
}
