//! `tidegate baseline`: makes a baseline of training data, and shows one.

use super::table::{percent, render, short_number, sparkline};
use super::{output, recorded};
use crate::baseline::{
    Baseline, BaselineSeries, BuildOptions, BuildReport, SCALES, SeriesType, TimeOptions, Tolerance, build,
    file,
};
use crate::config::parse_duration;
use crate::event::{EventTime, SeriesOf};
use crate::source::file::holds_json_lines;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};

/// Make a baseline of training data, or show one
///
/// Reads Parquet, Arrow IPC or CSV, or recorded events (NDJSON, one event a line), counts every column exactly on
/// a grid of its own, and writes one Parquet file that `tidegate serve` measures drift against and that pandas,
/// Polars and DuckDB open too.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BaselineArgs {
    #[command(subcommand)]
    command: Option<BaselineCommand>,
    #[command(flatten)]
    build: Option<BuildArgs>,
}

#[derive(Debug, Subcommand)]
enum BaselineCommand {
    /// Print the series of a baseline
    Show {
        /// A file made by `tidegate baseline`
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// Training data: Parquet, Arrow IPC (Feather) or CSV; or recorded events, of which those of `--model` and
    /// `--version` are taken (NDJSON)
    data: PathBuf,
    /// Name of the model, as its events call it
    #[arg(long)]
    model: String,
    /// Version of the model, as its events call it
    #[arg(long)]
    version: String,
    /// Columns that the model answered; all others are features. Recorded events say it themselves
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    predictions: Vec<String>,
    /// Columns to keep although their strings are nearly all distinct
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    include: Vec<String>,
    /// Columns to leave out: labels, identifiers
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    exclude: Vec<String>,
    /// The predictions were made on rows that no version was trained on; without it, a rollout is paused at
    /// most for its predictions
    #[arg(long)]
    held_out: bool,
    /// The type of a column, where its values do not tell: COLUMN=continuous, discrete, categorical or boolean
    #[arg(long = "type", value_delimiter = ',', value_name = "COLUMN=TYPE", value_parser = column_type)]
    types: Vec<(String, SeriesType)>,
    /// The column with the time of each row: how far windows usually stray from the whole is then told from the
    /// data itself. A timestamp, RFC 3339 text, or a number since 1970
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// The length of a pane, as `windows.pane` has it where the baseline is used
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = pane)]
    pane: i64,
    /// The baseline file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs `tidegate baseline`. The table goes to stdout, progress to a terminal on stderr.
pub fn run(args: BaselineArgs) -> anyhow::Result<()> {
    let text = match (args.command, args.build) {
        (Some(BaselineCommand::Show { file }), _) => describe(&file::read(&file)?, &[]),
        (None, Some(args)) => make(args)?,
        (None, None) => bail!("a file of training data or of events, or `show`, is needed"),
    };
    output::print(&text)
}

fn make(args: BuildArgs) -> anyhow::Result<String> {
    if same_file(&args.data, &args.output) {
        bail!("{} is the training data; the baseline needs a file of its own", args.output.display());
    }
    let options = BuildOptions {
        model: args.model,
        version: args.version,
        predictions: args.predictions,
        include: args.include,
        exclude: args.exclude,
        held_out: args.held_out,
        created: EventTime(jiff::Timestamp::now().as_millisecond()),
        types: args.types,
        time: args.time.map(|column| TimeOptions { column, pane_ms: args.pane }),
    };
    let events =
        holds_json_lines(&args.data).with_context(|| format!("{} cannot be opened", args.data.display()))?;
    let (report, read) =
        if events { of_events(&args.data, &options)? } else { of_columns(&args.data, &options)? };
    file::write(&report.baseline, &args.output)?;
    let mut text = describe(&report.baseline, &report.left_out);
    if !report.notes.is_empty() {
        text += "\nkept, although:\n";
        report.notes.iter().for_each(|(series, note)| text += &format!("  {series}: {note}\n"));
    }
    Ok(text + &format!("\n{read}written to {}\n", args.output.display()))
}

/// `COLUMN=TYPE`; a column's name may hold equals signs.
fn column_type(text: &str) -> Result<(String, SeriesType), String> {
    let (column, wanted) = text.rsplit_once('=').ok_or("it is not COLUMN=TYPE")?;
    Ok((column.to_owned(), wanted.parse()?))
}

fn pane(text: &str) -> Result<i64, String> {
    let length = parse_duration(text).and_then(|length| i64::try_from(length.as_millis()).ok());
    length.filter(|&length| length > 0).ok_or_else(|| "it is not a duration such as 60s".to_owned())
}

fn of_columns(data: &Path, options: &BuildOptions) -> anyhow::Result<(BuildReport, String)> {
    let bar = progress_bar("{bar:30} {pos}/{len} columns, {elapsed}: {msg}");
    let report = build(data, options, &mut |column, done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(column.to_owned());
    });
    bar.finish_and_clear();
    Ok((report?, String::new()))
}

fn of_events(data: &Path, options: &BuildOptions) -> anyhow::Result<(BuildReport, String)> {
    let bar = progress_bar("{bar:30} {bytes} of {total_bytes}, {elapsed}");
    let built = recorded::build(data, options, &bar);
    bar.finish_and_clear();
    let (report, counts) = built?;
    let read = format!("read: {}\n", counts.describe(&options.model, &options.version));
    Ok((report, read))
}

fn same_file(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

fn progress_bar(template: &str) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template(template).expect("templates are constants that indicatif accepts");
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style)
}

/// What `baseline` and `baseline show` print.
fn describe(baseline: &Baseline, left_out: &[(String, String)]) -> String {
    let mut text = format!(
        "{} {}: {} rows, {} series, made {}\n\n",
        baseline.model,
        baseline.version,
        baseline.rows,
        baseline.series.len(),
        baseline.created.to_rfc3339()
    );
    let header = ["series", "of", "type", "rows", "distinct", "missing", "range", "distribution"];
    let rows: Vec<Vec<String>> = baseline.series.iter().map(|series| row(series, baseline.rows)).collect();
    text += &render(&header, &rows, &[3, 4, 5]);
    text += &usual(baseline);
    if !left_out.is_empty() {
        text += "\nleft out:\n";
        left_out.iter().for_each(|(column, reason)| text += &format!("  {column}: {reason}\n"));
    }
    let predictions = baseline.series.iter().any(|series| series.of == SeriesOf::Prediction);
    if predictions && !baseline.held_out {
        text += "\nThe predictions are not marked as held out (--held-out): on rows that a version was trained on, its answers\nlook better than they will be.\n";
    } else if !predictions {
        text +=
            "\nNo column is a prediction (--predictions): only what the model is asked will be watched.\n";
    }
    text
}

/// When the rows are from, and how far windows of each length usually stray.
fn usual(baseline: &Baseline) -> String {
    let Some(times) = &baseline.times else { return String::new() };
    let delta = |series: &BaselineSeries, scale: u32| {
        series.tolerance(scale).map_or_else(|| "too few".to_owned(), stray)
    };
    let row = |series: &std::sync::Arc<BaselineSeries>| {
        let deltas = SCALES.into_iter().map(|scale| delta(series, scale));
        std::iter::once(series.name.clone()).chain(deltas).collect()
    };
    let rows: Vec<Vec<String>> = baseline.series.iter().map(row).collect();
    format!(
        "\nfrom {} to {} ({}); what windows of so many panes of {} s may stray, by KS (categories: one's share) and PSI (\"too few\": blocks of that length):\n\n{}",
        times.from.to_rfc3339(),
        times.to.to_rfc3339(),
        times.column,
        times.pane_ms as f64 / 1e3,
        render(&["series", "1", "4", "16", "64"], &rows, &[1, 2, 3, 4])
    )
}

/// δ0 and PSI0: `0.034, 0.021`.
fn stray(tolerance: &Tolerance) -> String {
    let psi = tolerance.psi.map_or_else(String::new, |psi| format!(", {psi:.3}"));
    format!("{:.3}{psi}", tolerance.delta)
}

fn row(series: &BaselineSeries, rows: u64) -> Vec<String> {
    vec![
        series.name.clone(),
        series.of.as_str().to_owned(),
        series.series_type().as_str().to_owned(),
        series.n().to_string(),
        series.distinct.to_string(),
        percent(series.missing, rows),
        series
            .range
            .map_or_else(String::new, |(min, max)| format!("{} to {}", short_number(min), short_number(max))),
        sparkline(series),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parse(words: &[&str]) -> Result<BaselineArgs, clap::Error> {
        let command = BaselineArgs::augment_args(Command::new("baseline"));
        command.clone().debug_assert();
        BaselineArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn a_file_builds_and_show_shows() {
        let words = "baseline train.parquet --model fraud --version v1 --predictions score,class --exclude y -o b.parquet";
        let args = parse(&words.split(' ').collect::<Vec<_>>()).expect("the words of the README");
        let build = args.build.expect("build");
        assert_eq!(build.predictions, ["score", "class"]);
        assert_eq!((build.exclude, build.held_out), (vec!["y".to_owned()], false));
        let show = parse(&["baseline", "show", "b.parquet"]).expect("show");
        assert!(
            matches!(show.command, Some(BaselineCommand::Show { file }) if file == Path::new("b.parquet"))
        );
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        assert!(parse(&["baseline", "train.parquet", "--model", "fraud"]).is_err());
        let nothing = parse(&["baseline"]);
        assert!(nothing.is_err() || run(nothing.expect("parsed")).is_err());
    }

    #[test]
    fn a_build_and_a_show_print_the_same_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, output) = (folder.path().join("train.csv"), folder.path().join("b.parquet"));
        let rows: String =
            (0..100).map(|i| format!("{},{},{}\n", f64::from(i) / 8.0, i % 3 == 0, i % 7)).collect();
        std::fs::write(&data, format!("amount,new,score\n{rows}")).expect("written");
        let args = BuildArgs {
            data: data.clone(),
            model: "fraud".to_owned(),
            version: "v1".to_owned(),
            predictions: vec!["score".to_owned()],
            include: Vec::new(),
            exclude: Vec::new(),
            held_out: true,
            types: vec![("score".to_owned(), SeriesType::Continuous)],
            time: None,
            pane: 60_000,
            output: output.clone(),
        };
        let made = make(args).expect("made");
        let shown = describe(&file::read(&output).expect("read"), &[]);
        assert!(made.starts_with(&shown), "{made}\n{shown}");
        assert!(shown.contains("0 to 12.375") && shown.contains("prediction"), "{shown}");
        assert!(same_file(&data, &data));
    }
}
