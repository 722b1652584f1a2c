//! Recorded events → baseline: columns of values, taken in batch by batch.
//!
//! What a series is follows from its values. Those of another type than most are counted as missing, as `serve`
//! counts them, while they are few ([`MINORITY`]); a series of truly mixed types is left out.

use super::build::{
    BuildOptions, BuildReport, INCLUDE, PREDICTIONS, TYPE, check_names, left_out_entirely, measure,
};
use super::categorical::NameCounts;
use super::column::{Column, ColumnError, Values, check_integer};
use super::{Baseline, BaselineError, BaselineSeries};
use crate::event::SeriesOf;
use arrow::array::{Array, BooleanArray, Float64Array, StringArray};
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Numbers held at once, of all series: 2 GiB. A file with more has to become Parquet, which is read one column
/// at a time.
pub const MAX_NUMBERS: usize = 1 << 28;
/// Values of another type than most, at most one in this many.
pub const MINORITY: u64 = 20;

/// The values of one series in a batch of events, by their types. No array holds nulls: events without a value
/// are the batch's rows less the values.
#[derive(Debug, Clone)]
pub struct RecordedChunk {
    pub of: SeriesOf,
    /// Nested keys joined by dots.
    pub name: String,
    pub numbers: Float64Array,
    pub strings: StringArray,
    pub booleans: BooleanArray,
    /// Lists, and objects where other events have a value.
    pub others: u64,
    /// Among the numbers: integers that a double cannot tell from their neighbours.
    pub wide_integers: u64,
}

/// What a batch of events of one model version holds.
#[derive(Debug, Clone, Default)]
pub struct RecordedBatch {
    /// Events with `features`.
    pub feature_rows: u64,
    /// Events with `predictions`.
    pub prediction_rows: u64,
    pub chunks: Vec<RecordedChunk>,
    /// There are more series than are told apart.
    pub too_many_series: bool,
}

/// A baseline in the making.
pub struct Recording {
    path: PathBuf,
    series: Vec<Recorded>,
    places: HashMap<(SeriesOf, String), usize>,
    feature_rows: u64,
    prediction_rows: u64,
    numbers: usize,
}

/// All values of one series so far.
struct Recorded {
    of: SeriesOf,
    name: String,
    numbers: Vec<f64>,
    wide_integers: u64,
    strings: u64,
    names: Result<NameCounts, String>,
    booleans: [u64; 2],
    others: u64,
}

impl Recording {
    /// `path` is the file that errors name.
    pub fn new(path: &Path) -> Recording {
        Recording {
            path: path.to_owned(),
            series: Vec::new(),
            places: HashMap::new(),
            feature_rows: 0,
            prediction_rows: 0,
            numbers: 0,
        }
    }

    /// Takes in the next events.
    ///
    /// # Errors
    /// When there are more series or numbers than a baseline is made of.
    pub fn add(&mut self, batch: &RecordedBatch) -> Result<(), BaselineError> {
        self.feature_rows += batch.feature_rows;
        self.prediction_rows += batch.prediction_rows;
        for chunk in &batch.chunks {
            self.numbers += chunk.numbers.len();
            let place = *self.places.entry((chunk.of, chunk.name.clone())).or_insert(self.series.len());
            if place == self.series.len() {
                self.series.push(Recorded::new(chunk.of, &chunk.name));
            }
            self.series[place].add(chunk);
        }
        let reason = if batch.too_many_series {
            "its events have thousands of different keys, which are data rather than names of series"
                .to_owned()
        } else if self.numbers > MAX_NUMBERS {
            format!("it holds more than {MAX_NUMBERS} numbers; Parquet files are read one column at a time")
        } else {
            return Ok(());
        };
        Err(BaselineError::Unreadable { path: self.path.clone(), format: "recorded events", reason })
    }

    /// The baseline: features, then predictions, each in the order of their first appearance.
    ///
    /// # Errors
    /// As for [`super::build`]; and when `options.predictions` is not empty and not what the events call
    /// predictions.
    pub fn finish(mut self, options: &BuildOptions) -> Result<BuildReport, BaselineError> {
        let rows = self.feature_rows.max(self.prediction_rows);
        if options.time.is_some() {
            let reason = "recorded events are not split by time; write them as columns for --time".to_owned();
            return Err(BaselineError::Unreadable { path: self.path, format: "training data", reason });
        }
        if rows == 0 {
            return Err(BaselineError::NoRows { path: self.path });
        }
        self.series.sort_by_key(|series| series.of);
        self.check(options)?;
        let (mut series, mut left_out, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for recorded in self.series {
            let section =
                if recorded.of == SeriesOf::Feature { self.feature_rows } else { self.prediction_rows };
            let name = recorded.name.clone();
            let typed = options.type_of(&name).is_some();
            let asked = options.include.contains(&name) || typed;
            match recorded.build(options, section) {
                Ok((built, note)) => {
                    notes.extend(note.map(|note| (name, note)));
                    series.push(Arc::new(built));
                }
                Err(reason) if asked => {
                    let option = if typed { TYPE } else { INCLUDE };
                    return Err(BaselineError::Refused { column: name, option, reason });
                }
                Err(reason) => left_out.push((name, reason)),
            }
        }
        if series.is_empty() {
            return Err(left_out_entirely(&self.path, &left_out));
        }
        let baseline = Baseline {
            model: options.model.clone(),
            version: options.version.clone(),
            rows,
            created: options.created,
            held_out: options.held_out,
            times: None,
            series,
        };
        Ok(BuildReport { baseline, left_out, notes })
    }

    fn check(&self, options: &BuildOptions) -> Result<(), BaselineError> {
        let names = |wanted: Option<SeriesOf>| -> Vec<&str> {
            let fits = |one: &&Recorded| wanted.is_none_or(|of| one.of == of);
            self.series.iter().filter(fits).map(|one| one.name.as_str()).collect()
        };
        let predictions = names(Some(SeriesOf::Prediction));
        check_names(options, &names(None), &predictions)?;
        let unnamed = |name: &&&str| {
            !options.predictions.iter().any(|one| one == **name)
                && !options.exclude.iter().any(|one| one == **name)
        };
        match predictions.iter().find(unnamed) {
            Some(name) if !options.predictions.is_empty() => Err(BaselineError::Disagreement {
                option: PREDICTIONS,
                unnamed: (*name).to_owned(),
                predictions: predictions.join(", "),
            }),
            _ => Ok(()),
        }
    }
}

impl Recorded {
    fn new(of: SeriesOf, name: &str) -> Recorded {
        Recorded {
            of,
            name: name.to_owned(),
            numbers: Vec::new(),
            wide_integers: 0,
            strings: 0,
            names: Ok(NameCounts::default()),
            booleans: [0; 2],
            others: 0,
        }
    }

    fn add(&mut self, chunk: &RecordedChunk) {
        self.numbers.extend_from_slice(chunk.numbers.values());
        self.wide_integers += chunk.wide_integers;
        self.strings += chunk.strings.len() as u64;
        if let Ok(names) = &mut self.names
            && let Err(error) = chunk.strings.iter().flatten().try_for_each(|name| names.add(name))
        {
            self.names = Err(reason(error.into()));
        }
        let truths = chunk.booleans.true_count() as u64;
        self.booleans[1] += truths;
        self.booleans[0] += chunk.booleans.len() as u64 - truths;
        self.others += chunk.others;
    }

    /// The series and what is to be said of it, or why it is left out. `rows`: events that could have held it.
    fn build(self, options: &BuildOptions, rows: u64) -> Result<(BaselineSeries, Option<String>), String> {
        if options.exclude.contains(&self.name) {
            return Err("excluded on request".to_owned());
        }
        let included = options.include.contains(&self.name);
        let types = [
            ("numbers", self.numbers.len() as u64),
            ("strings", self.strings),
            ("booleans", self.booleans.iter().sum()),
            ("lists or objects", self.others),
        ];
        let values: u64 = types.iter().map(|(_, count)| count).sum();
        let Some((place, &(what, most))) = types
            .iter()
            .enumerate()
            .filter(|(_, one)| one.1 > 0)
            .max_by_key(|(place, one)| (one.1, Reverse(*place)))
        else {
            return Err("every value is missing".to_owned());
        };
        let note = others_beside(&types, place);
        if let Some(mixed) = &note
            && (values - most) * MINORITY > values
            && !included
        {
            return Err(format!(
                "its values are of mixed types: {most} {what}, {mixed}; {INCLUDE} {} counts the {what} and \
                 takes the rest as missing",
                self.name
            ));
        }
        let values = match place {
            0 if self.wide_integers > 0 => {
                return Err(check_integer(u64::MAX).map_or_else(reason, |()| String::new()));
            }
            0 => Values::Numeric(self.numbers),
            1 => Values::Categorical(self.names?),
            2 => Values::Boolean(self.booleans),
            _ => return Err("its values are lists or objects".to_owned()),
        };
        let column = Column { values, missing: rows - most, single: false };
        let series = measure(&self.name, self.of, column, included, options.type_of(&self.name))?;
        Ok((series, note.map(|note| format!("{note} counted as missing"))))
    }
}

/// "3 strings, 1 booleans": what there is of other types than the one at `place`.
fn others_beside(types: &[(&str, u64)], place: usize) -> Option<String> {
    let others = types.iter().enumerate().filter(|(index, one)| *index != place && one.1 > 0);
    let told: Vec<String> = others.map(|(_, (what, count))| format!("{count} {what}")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn reason(error: ColumnError) -> String {
    match error {
        ColumnError::Refused(reason) => reason,
        ColumnError::Polars(error) => error.to_string(),
    }
}
