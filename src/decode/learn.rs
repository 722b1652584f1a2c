//! Learns the shape of an event that the tape parser has accepted.
//!
//! Not every event has one. Equal keys, escaped keys, and a path that replaces what an earlier key said of a
//! watched series need the rules of the full decoder; such an event teaches nothing.

use super::scan::{plain_string, skip_space, skip_value, skip_word};
use super::shape::{Run, RunText, Shape, Step, Value};
use super::version::VersionSections;
use crate::event::SeriesOf;
use hashbrown::HashSet;

/// Events longer than this are not learnt, which bounds a shape to 700 KiB (ten bytes a byte).
const MAX_LEARNT_BYTES: usize = 64 * 1024;
/// Objects below this depth are not followed.
const MAX_SHAPE_DEPTH: u8 = 32;

/// The shape of `text`, an event of `sections` (the `version`th) that the tape parser has accepted.
pub(super) fn learn(text: &str, version: usize, sections: &VersionSections) -> Option<Shape> {
    if text.len() > MAX_LEARNT_BYTES {
        return None;
    }
    let mut learner = Learner {
        text,
        at: skip_space(text.as_bytes(), 0),
        run_start: 0,
        run_is_fixed: false,
        sections,
        set: [vec![false; sections.features.width()], vec![false; sections.predictions.width()]],
        runs: RunText::default(),
        steps: Vec::new(),
        content: [false; 2],
    };
    learner.object(MAX_SHAPE_DEPTH, &mut |learner, key| learner.event_member(key))?;
    learner.at = skip_space(text.as_bytes(), learner.at);
    (learner.at == text.len()).then_some(())?;
    let tail = learner.end_run();
    let [has_features, has_predictions] = learner.content;
    let (steps, text) = (learner.steps, learner.runs);
    let is_series = |step: &Step| matches!(step.value, Value::Series(..));
    let first_series = steps.iter().position(is_series).unwrap_or(steps.len());
    Some(Shape { version, steps, first_series, tail, has_features, has_predictions, text })
}

struct Learner<'a> {
    text: &'a str,
    at: usize,
    /// Where the run begins that the next value ends.
    run_start: usize,
    /// Whether that run holds a value that every event of the shape has to have.
    run_is_fixed: bool,
    sections: &'a VersionSections,
    /// The columns that have been set, of features and of predictions.
    set: [Vec<bool>; 2],
    runs: RunText,
    steps: Vec<Step>,
    /// Whether there are features and predictions.
    content: [bool; 2],
}

/// What stands behind a key: called with the place at the value, moves it to the value's end.
type Member<'a, 'f> = dyn FnMut(&mut Learner<'a>, &'a str) -> Option<()> + 'f;

impl<'a> Learner<'a> {
    fn object(&mut self, depth: u8, member: &mut Member<'a, '_>) -> Option<()> {
        depth.checked_sub(1)?;
        self.expect(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            return self.expect(b'}');
        }
        let mut keys = HashSet::new();
        loop {
            let (key, end) = plain_string(self.text, self.at)?;
            keys.insert(key).then_some(())?;
            self.at = end;
            self.space();
            self.expect(b':')?;
            self.space();
            member(self, key)?;
            self.space();
            if self.peek()? == b'}' {
                return self.expect(b'}');
            }
            self.expect(b',')?;
            self.space();
        }
    }

    fn event_member(&mut self, key: &str) -> Option<()> {
        match key {
            "model" | "model_version" => {
                let (_, end) = plain_string(self.text, self.at)?;
                self.fix(end)
            }
            "features" => self.content(SeriesOf::Feature),
            "predictions" => self.content(SeriesOf::Prediction),
            "labels" => self.step(Value::Labels),
            "timestamp" => self.step(Value::Timestamp),
            "role" => self.step(Value::Role),
            "namespace" => self.step(Value::Namespace),
            "unit" => self.step(Value::Unit),
            "request_id" => self.step(Value::RequestId),
            "latency_ms" => self.step(Value::Latency),
            "error" => self.step(Value::Error),
            _ => self.step(Value::Ignored),
        }
    }

    fn content(&mut self, of: SeriesOf) -> Option<()> {
        if self.peek()? == b'n' {
            return self.fix_null();
        }
        self.content[of as usize] = true;
        self.object(MAX_SHAPE_DEPTH, &mut |learner, key| learner.series_member(of, key, MAX_SHAPE_DEPTH - 1))
    }

    /// A key of the features or predictions, with its whole path.
    fn series_member(&mut self, of: SeriesOf, path: &str, depth: u8) -> Option<()> {
        let sections = self.sections;
        let section = sections.section(of);
        let (column, below) = (section.column_of(path), section.columns_below(path));
        let set = &mut self.set[of as usize];
        if below.iter().chain(&column).any(|column| set[*column as usize]) {
            return None;
        }
        if let Some(column) = column {
            set[column as usize] = true;
        }
        match (below.is_empty(), column, self.peek()?) {
            (true, None, _) => self.step(Value::Ignored),
            (true, Some(column), _) => self.step(Value::Series(of, column)),
            (false, None, b'{') => self.object(depth, &mut |learner, key| {
                learner.series_member(of, &format!("{path}.{key}"), depth - 1)
            }),
            (false, _, b'n') => self.fix_null(),
            (false, ..) => None,
        }
    }

    /// Ends the run at the value that stands here.
    fn step(&mut self, value: Value) -> Option<()> {
        let fixed = self.run_is_fixed;
        let bytes = &self.text.as_bytes()[self.run_start..self.at];
        let has_brace = bytes.iter().any(|byte| matches!(byte, b'{' | b'}'));
        let run = self.end_run();
        self.steps.push(Step { run, value, may_be_absent: !fixed && !has_brace });
        self.at = skip_value(self.text.as_bytes(), self.at)?;
        self.run_start = self.at;
        self.run_is_fixed = false;
        Some(())
    }

    fn end_run(&mut self) -> Run {
        self.runs.add(&self.text.as_bytes()[self.run_start..self.at])
    }

    /// Makes the value that ends at `end` a part of the run.
    fn fix(&mut self, end: usize) -> Option<()> {
        self.at = end;
        self.run_is_fixed = true;
        Some(())
    }

    fn fix_null(&mut self) -> Option<()> {
        let end = skip_word(self.text.as_bytes(), self.at, b"null")?;
        self.fix(end)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        self.at = skip_space(self.text.as_bytes(), self.at);
    }
}
