//! Training data → baseline.

use super::blocks::Times;
use super::column::{Column, Values};
use super::series_type::{SeriesType, convert};
use super::training::TrainingData;
use super::{Baseline, BaselineError, BaselineSeries, categorical, numeric};
use crate::event::{EventTime, SeriesOf};
use std::path::Path;
use std::sync::Arc;

pub(super) const PREDICTIONS: &str = "--predictions";
pub(super) const INCLUDE: &str = "--include";
const EXCLUDE: &str = "--exclude";
pub(super) const TYPE: &str = "--type";
const TIME: &str = "--time";

/// What a baseline is made for and which columns are what.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildOptions {
    pub model: String,
    pub version: String,
    /// Columns the model answered; all others are features.
    pub predictions: Vec<String>,
    /// Strings that are nearly all distinct and yet to be monitored.
    pub include: Vec<String>,
    /// Columns that are no series: labels, identifiers.
    pub exclude: Vec<String>,
    /// The predictions were made on rows that no version was trained on.
    pub held_out: bool,
    pub created: EventTime,
    /// Columns whose type is not to be told from their values.
    pub types: Vec<(String, SeriesType)>,
    /// The rows have times: how far the series usually stray is told from them.
    pub time: Option<TimeOptions>,
}

/// Where the time of a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOptions {
    pub column: String,
    /// The length of a pane of live traffic, in milliseconds, at least 1.
    pub pane_ms: i64,
}

impl BuildOptions {
    pub(super) fn type_of(&self, column: &str) -> Option<SeriesType> {
        self.types.iter().find(|(name, _)| name == column).map(|(_, wanted)| *wanted)
    }
}

/// A baseline, and the columns that are not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildReport {
    pub baseline: Baseline,
    /// Column and reason, in the order of the training data.
    pub left_out: Vec<(String, String)>,
    /// Series of the baseline and what is to be said of them.
    pub notes: Vec<(String, String)>,
}

/// Builds a baseline from a Parquet, Arrow IPC or CSV file, with exact counts of every row.
///
/// Parquet and IPC are read one column at a time, so the largest numeric column decides the memory: 8 bytes a
/// row, plus a million rows being decoded. `progress` hears of each column before it is read: its name, the
/// columns done and the columns there are.
///
/// A column that cannot be monitored is left out with its reason; when an option asks for it by name, that is an
/// error instead. So are unknown names, a file without rows and a file without any usable column.
pub fn build(
    path: &Path,
    options: &BuildOptions,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<BuildReport, BaselineError> {
    let data = TrainingData::open(path)?;
    check_options(options, &data)?;
    let times = options.time.as_ref().map(|time| read_times(&data, time)).transpose()?;
    let (mut series, mut left_out) = (Vec::new(), Vec::new());
    for (index, column) in data.columns.iter().enumerate() {
        progress(&column.name, index, data.columns.len());
        match build_series(&data, index, options)? {
            Ok(mut built) => {
                if let Some(times) = &times {
                    let cells = data.cells(index, &built.grid)?;
                    built.traits.tolerances = times.tolerances(&built, &cells);
                }
                series.push(Arc::new(built));
            }
            Err(reason) => left_out.push((column.name.clone(), reason)),
        }
    }
    if series.is_empty() {
        return Err(left_out_entirely(path, &left_out));
    }
    let baseline = Baseline {
        model: options.model.clone(),
        version: options.version.clone(),
        rows: data.rows as u64,
        created: options.created,
        held_out: options.held_out,
        times: times.map(|times| times.range),
        series,
    };
    Ok(BuildReport { baseline, left_out, notes: Vec::new() })
}

fn read_times(data: &TrainingData, time: &TimeOptions) -> Result<Times, BaselineError> {
    let refused = |reason| BaselineError::Refused { column: time.column.clone(), option: TIME, reason };
    let index = data.columns.iter().position(|column| column.name == time.column);
    let times = data.times(index.unwrap_or_default())?.map_err(refused)?;
    Times::new(&time.column, &times, time.pane_ms).ok_or_else(|| refused("every value is missing".to_owned()))
}

/// The series of one column. The inner error is why it is left out.
fn build_series(
    data: &TrainingData,
    index: usize,
    options: &BuildOptions,
) -> Result<Result<BaselineSeries, String>, BaselineError> {
    let name = &data.columns[index].name;
    if options.exclude.contains(name) {
        return Ok(Err("excluded on request".to_owned()));
    }
    if options.time.as_ref().is_some_and(|time| time.column == *name) {
        return Ok(Err(format!("it is the time of the rows ({TIME})")));
    }
    let wanted = options.type_of(name);
    let included = options.include.contains(name);
    let prediction = options.predictions.contains(name);
    let of = if prediction { SeriesOf::Prediction } else { SeriesOf::Feature };
    let column = data.read(index)?;
    match column.and_then(|column| measure(name, of, column, included, wanted)) {
        Err(reason) if prediction || included || wanted.is_some() => {
            let option = match wanted {
                Some(_) => TYPE,
                None if prediction => PREDICTIONS,
                None => INCLUDE,
            };
            Err(BaselineError::Refused { column: name.clone(), option, reason })
        }
        result => Ok(result),
    }
}

pub(super) fn measure(
    name: &str,
    of: SeriesOf,
    column: Column,
    included: bool,
    wanted: Option<SeriesType>,
) -> Result<BaselineSeries, String> {
    if column.n() == 0 {
        return Err("every value is missing".to_owned());
    }
    let (missing, single) = (column.missing, column.single);
    let values = match wanted {
        Some(wanted) => convert(column.values, wanted)?,
        None => column.values,
    };
    // Whoever names a type wants the column.
    let included = included || wanted.is_some();
    match values {
        Values::Numeric(values) => {
            let mut series = numeric::series_of_width(name, of, values, missing, single);
            let discrete = wanted.map_or(series.traits.discrete, |wanted| wanted == SeriesType::Discrete);
            series.traits.discrete = discrete;
            Ok(series)
        }
        Values::Boolean(counts) => Ok(categorical::boolean(name, of, counts, missing)),
        Values::Categorical(names) if names.nearly_all_distinct() && !included => Err(format!(
            "its strings are nearly all distinct ({} in {} rows), as identifiers are; {INCLUDE} {name} keeps it",
            names.distinct(),
            names.n()
        )),
        Values::Categorical(names) => Ok(categorical::series(name, of, names, missing)),
    }
}

/// Every series was left out.
pub(super) fn left_out_entirely(path: &Path, left_out: &[(String, String)]) -> BaselineError {
    let reasons: Vec<String> = left_out.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    BaselineError::NothingToMonitor { path: path.to_owned(), left_out: reasons.join("; ") }
}

fn check_options(options: &BuildOptions, data: &TrainingData) -> Result<(), BaselineError> {
    let columns: Vec<&str> = data.columns.iter().map(|column| column.name.as_str()).collect();
    check_names(options, &columns, &columns)
}

/// Checks that options name what there is, and that none contradicts another. `predictions`: columns that may be
/// predictions.
pub(super) fn check_names(
    options: &BuildOptions,
    columns: &[&str],
    predictions: &[&str],
) -> Result<(), BaselineError> {
    let typed: Vec<String> = options.types.iter().map(|(name, _)| name.clone()).collect();
    let time: Vec<String> = options.time.iter().map(|time| time.column.clone()).collect();
    let lists = [
        (PREDICTIONS, &options.predictions, predictions),
        (INCLUDE, &options.include, columns),
        (TYPE, &typed, columns),
        (EXCLUDE, &options.exclude, columns),
        (TIME, &time, columns),
    ];
    for (option, names, columns) in lists {
        let unknown: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !columns.contains(name)).collect();
        if !unknown.is_empty() {
            let (unknown, columns) = (unknown.join(", "), columns.join(", "));
            return Err(BaselineError::UnknownColumns { option, unknown, columns });
        }
    }
    for (first, names, _) in &lists[..3] {
        for (second, others) in [(EXCLUDE, &options.exclude), (TIME, &time)] {
            if let Some(column) = names.iter().find(|name| others.contains(name)) {
                return Err(BaselineError::Conflict { column: column.clone(), first, second });
            }
        }
    }
    Ok(())
}
