//! Training data → baseline.

use super::column::{Column, Values};
use super::training::TrainingData;
use super::{Baseline, BaselineError, BaselineSeries, categorical, numeric};
use crate::event::{EventTime, SeriesOf};
use std::path::Path;
use std::sync::Arc;

pub(super) const PREDICTIONS: &str = "--predictions";
pub(super) const INCLUDE: &str = "--include";
const EXCLUDE: &str = "--exclude";

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
    let (mut series, mut left_out) = (Vec::new(), Vec::new());
    for (index, column) in data.columns.iter().enumerate() {
        progress(&column.name, index, data.columns.len());
        match build_series(&data, index, options)? {
            Ok(built) => series.push(Arc::new(built)),
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
        series,
    };
    Ok(BuildReport { baseline, left_out, notes: Vec::new() })
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
    let included = options.include.contains(name);
    let prediction = options.predictions.contains(name);
    let of = if prediction { SeriesOf::Prediction } else { SeriesOf::Feature };
    let column = data.read(index)?;
    match column.and_then(|column| measure(name, of, column, included)) {
        Err(reason) if prediction || included => {
            let option = if prediction { PREDICTIONS } else { INCLUDE };
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
) -> Result<BaselineSeries, String> {
    if column.n() == 0 {
        return Err("every value is missing".to_owned());
    }
    let missing = column.missing;
    match column.values {
        Values::Numeric(values) => Ok(numeric::series(name, of, values, missing)),
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
    let lists = [
        (PREDICTIONS, &options.predictions, predictions),
        (INCLUDE, &options.include, columns),
        (EXCLUDE, &options.exclude, columns),
    ];
    for (option, names, columns) in lists {
        let unknown: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !columns.contains(name)).collect();
        if !unknown.is_empty() {
            let (unknown, columns) = (unknown.join(", "), columns.join(", "));
            return Err(BaselineError::UnknownColumns { option, unknown, columns });
        }
    }
    for (first, names, _) in &lists[..2] {
        if let Some(column) = names.iter().find(|name| options.exclude.contains(name)) {
            return Err(BaselineError::Conflict { column: column.clone(), first, second: EXCLUDE });
        }
    }
    Ok(())
}
