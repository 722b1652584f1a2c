//! `tidegate panes`: what was counted in the past, and the past judged again.

mod other_tools;

use super::model_args::ModelArgs;
use super::output;
use super::table::{percent, render};
use crate::baseline::{Watch, WatchedModel};
use crate::config::{self, Config, ConfigError, EXIT_CONFIG, ModelConfig, VerdictConfig};
use crate::event::EventTime;
use crate::http::archive::{Archive, PanesQuery, Parts};
use crate::http::panes::{PaneView, holds, unknown_series, unknown_version, views};
use crate::judge::build_reports;
use crate::judge::dispersion::Dispersion;
use crate::judge::measure::measure;
use crate::judge::plan::MeasurePlan;
use crate::judge::report::Report;
use crate::judge::stored;
use crate::judge::streaks::Streaks;
use crate::judge::verdict::{BudgetConfig, Thresholds};
use crate::judge::window::ModelWindow;
use crate::pipeline::TopicArchive;
use anyhow::{Context, anyhow, bail};
use other_tools::Tool;
use std::time::Duration;

/// How long one reading of the panes may take.
pub(super) const LIMIT: Duration = Duration::from_secs(600);
/// Records a judgement may be made of: a week of a model with hundreds of series, in sums.
const JUDGE_LIMIT: usize = 200_000;

/// Show what was counted in a stretch of event time, or judge it again
///
/// Reads closed panes and sums of panes, which are kept for `topics.retention`. With `--judge`, their sum is
/// measured against the configured baselines and the report of each version is printed as JSON; one window, so
/// thresholds need to be reached once only.
#[derive(Debug, clap::Args)]
pub struct PanesArgs {
    #[command(flatten)]
    of: ModelArgs,
    /// One version only
    #[arg(long)]
    version: Option<String>,
    /// One feature or prediction only
    #[arg(long, conflicts_with = "judge")]
    series: Option<String>,
    /// From this event time on (RFC 3339)
    #[arg(long)]
    from: String,
    /// Up to this event time (RFC 3339)
    #[arg(long)]
    to: String,
    /// Panes, or sums of 4 or 16
    #[arg(long, default_value_t = 1, value_parser = length, conflicts_with = "judge")]
    length: u32,
    /// The most records (a pane's events, or one series of it) to be read
    #[arg(long, default_value_t = 20_000, conflicts_with = "judge")]
    limit: usize,
    /// Print JSON, with the counts of every cell
    #[arg(long)]
    json: bool,
    /// Measure the sum of all of it against the baselines, and canary against stable; print reports as JSON
    #[arg(long)]
    judge: bool,
    /// Say instead what another tool would of the same window against the same baselines
    #[arg(
        long = "as",
        value_enum,
        value_name = "TOOL",
        requires = "judge",
        conflicts_with_all = ["psi_warning", "psi_drift", "ks_warning", "ks_drift", "min_samples"]
    )]
    tool: Option<Tool>,
    /// Another threshold than the configured one
    #[arg(long, requires = "judge")]
    psi_warning: Option<f64>,
    /// Another threshold than the configured one
    #[arg(long, requires = "judge")]
    psi_drift: Option<f64>,
    /// Another threshold than the configured one
    #[arg(long, requires = "judge")]
    ks_warning: Option<f64>,
    /// Another threshold than the configured one
    #[arg(long, requires = "judge")]
    ks_drift: Option<f64>,
    /// Another number of values than the configured one
    #[arg(long, requires = "judge")]
    min_samples: Option<u64>,
}

fn length(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|length| [1, 4, 16].contains(length))
        .ok_or_else(|| "1, 4 or 16 panes".to_owned())
}

/// Runs `tidegate panes`. Exit code 0, or 64 for a bad configuration.
///
/// # Errors
/// When the model, the version or the series is unknown, a time is none, Kafka cannot be read, or there is too much
/// to print.
pub fn run(args: PanesArgs) -> anyhow::Result<u8> {
    let config = match config::load(&args.of.config) {
        Ok(config) => config,
        Err(errors) => return Ok(refuse(&errors)),
    };
    let archive = TopicArchive::new(&config, LIMIT);
    if args.judge {
        configured_version(&args, args.of.find(&config)?.1, "")?;
        let watch = match config::load_watch(&config) {
            Ok(watch) => watch,
            Err(errors) => return Ok(refuse(&errors)),
        };
        output::print(&judged(&args, &config, &watch, &archive)?)?;
        return Ok(0);
    }
    let panes = counted(&args, &config, &archive)?;
    if let Some(series) = args.series.as_ref().filter(|series| !holds(&panes, series)) {
        let watch = match config::load_watch(&config) {
            Ok(watch) => watch,
            Err(errors) => return Ok(refuse(&errors)),
        };
        known_series(&args, &watch.models[args.of.find(&config)?.0], series)?;
    }
    if args.json {
        output::print_json(&serde_json::json!({ "panes": panes }))?;
    } else {
        output::print(&describe(&panes))?;
    }
    Ok(0)
}

pub(super) fn refuse(errors: &[ConfigError]) -> u8 {
    errors.iter().for_each(output::tell);
    EXIT_CONFIG
}

/// The wanted panes. A version that is no longer configured may still have some.
pub(super) fn counted(
    args: &PanesArgs,
    config: &Config,
    archive: &dyn Archive,
) -> anyhow::Result<Vec<PaneView>> {
    let panes = views(&archive.panes(&query(args, config)?)?);
    if panes.is_empty() {
        configured_version(args, args.of.find(config)?.1, ", and no pane of this time is of it")?;
    }
    Ok(panes)
}

/// Refuses a version that is not configured; `besides`: what else is wrong with it.
pub(super) fn configured_version(args: &PanesArgs, model: &ModelConfig, besides: &str) -> anyhow::Result<()> {
    let versions: Vec<&str> = model.baselines.iter().map(|(version, _)| version.as_str()).collect();
    let unknown = |version: &String| unknown_version(&model.id.name, version, &versions, besides);
    args.version.as_ref().and_then(unknown).map_or(Ok(()), |why| Err(anyhow!(why)))
}

/// Refuses a series that no pane holds, unless a baseline has it.
pub(super) fn known_series(args: &PanesArgs, model: &WatchedModel, series: &str) -> anyhow::Result<()> {
    unknown_series(model, args.version.as_deref(), series).map_or(Ok(()), |why| Err(anyhow!(why)))
}

/// Reads a time, or says what would be one: the text with what it lacks, where that makes one.
pub(super) fn time(option: &str, text: &str) -> anyhow::Result<EventTime> {
    EventTime::parse_rfc3339(text).map_err(|_| {
        let whole = |tail: &str| EventTime::parse_rfc3339(&format!("{text}{tail}")).ok();
        let meant = ["Z", ":00Z", "T00:00:00Z"].into_iter().find_map(whole);
        let right =
            meant.map_or("2026-11-23T10:00:00Z".to_owned(), |time| time.to_rfc3339().replace(".000Z", "Z"));
        anyhow!("{option} {text} is no RFC 3339 time, as {right} is")
    })
}

fn times(args: &PanesArgs) -> anyhow::Result<(EventTime, EventTime)> {
    let (from, to) = (time("--from", &args.from)?, time("--to", &args.to)?);
    if from >= to {
        bail!("--from is not before --to");
    }
    Ok((from, to))
}

fn query(args: &PanesArgs, config: &Config) -> anyhow::Result<PanesQuery> {
    let (from, to) = times(args)?;
    Ok(PanesQuery {
        model: args.of.find(config)?.1.id.clone(),
        version: args.version.clone(),
        series: args.series.clone(),
        parts: Parts::Between { length: args.length, from, to },
        limit: args.limit,
    })
}

/// What is printed of the sum of the panes: reports, or what another tool would say.
fn judged(args: &PanesArgs, config: &Config, watch: &Watch, archive: &dyn Archive) -> anyhow::Result<String> {
    let (window, left_out) = sum(args, config, watch, archive)?;
    if left_out > 0 {
        output::tell(format_args!(
            "{left_out} records are of versions, series or grids that are not configured, and left out"
        ));
    }
    let wanted = |version: &str| args.version.as_ref().is_none_or(|one| one == version);
    let document = match args.tool {
        None => {
            let mut reports = reports(args, config, watch, &window)?;
            reports.retain(|report| wanted(&report.model_version));
            serde_json::json!({ "reports": reports })
        }
        Some(tool) => {
            let watched = &watch.models[window.model as usize];
            let mut opinions = other_tools::opinions(tool, watched, &window);
            opinions.retain(|opinion| wanted(&opinion.model_version));
            if !args.json {
                return Ok(other_tools::describe(&opinions));
            }
            serde_json::json!({ "opinions": opinions })
        }
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

pub(super) fn pane_ms(config: &Config) -> anyhow::Result<i64> {
    i64::try_from(config.windows.pane.as_millis()).context("windows.pane is too long")
}

/// The sum of the panes, and how many records no longer fit.
fn sum(
    args: &PanesArgs,
    config: &Config,
    watch: &Watch,
    archive: &dyn Archive,
) -> anyhow::Result<(ModelWindow, u64)> {
    let (from, to) = times(args)?;
    let (index, model) = args.of.find(config)?;
    let pane_ms = pane_ms(config)?;
    if from.0.rem_euclid(pane_ms) != 0 || to.0.rem_euclid(pane_ms) != 0 {
        let floor = |time: EventTime| time.pane_start(pane_ms).to_rfc3339();
        bail!(
            "--from and --to are pane boundaries, as {} and {} are ({:?} panes)",
            floor(from),
            floor(to),
            config.windows.pane
        );
    }
    let mut query = PanesQuery {
        model: model.id.clone(),
        // Canary and stable are compared: all versions are needed.
        version: None,
        series: None,
        parts: Parts::These(stored::cover(from, to, pane_ms)),
        limit: JUDGE_LIMIT,
    };
    let mut records = archive.panes(&query)?;
    if let Parts::These(parts) = &query.parts {
        let unseen = stored::unseen_panes(parts, &records, pane_ms);
        query.parts = Parts::These(unseen);
        records.extend(archive.panes(&query)?);
    }
    Ok(stored::window(watch, index as u32, (from, to, pane_ms), &records))
}

/// Judges the sum of the panes.
fn reports(
    args: &PanesArgs,
    config: &Config,
    watch: &Watch,
    window: &ModelWindow,
) -> anyhow::Result<Vec<Report>> {
    let index = window.model as usize;
    let plan = MeasurePlan::new(&watch.models[index]);
    let measurements = measure(&plan, window, &Dispersion::default());
    let rules = verdicts(args, config.models[index].verdicts).rules(&plan, pane_ms(config)?);
    Ok(build_reports(&watch.models[index], window, &measurements, &rules, &mut Streaks::default()))
}

/// What is configured but for what the command line says. Its limits are plain thresholds, whatever the
/// configured mode; there is one window, so one must do.
fn verdicts(args: &PanesArgs, configured: VerdictConfig) -> VerdictConfig {
    let limits = [args.psi_warning, args.psi_drift, args.ks_warning, args.ks_drift];
    let plain = match configured {
        VerdictConfig::Budget(budget) if limits.iter().all(Option::is_none) => {
            let min_samples = args.min_samples.unwrap_or(budget.min_samples);
            return VerdictConfig::Budget(BudgetConfig { min_samples, ..budget });
        }
        VerdictConfig::Budget(_) => Thresholds::default(),
        VerdictConfig::Thresholds(thresholds) => thresholds,
    };
    VerdictConfig::Thresholds(Thresholds {
        psi_warning: args.psi_warning.unwrap_or(plain.psi_warning),
        psi_drift: args.psi_drift.unwrap_or(plain.psi_drift),
        ks_warning: args.ks_warning.unwrap_or(plain.ks_warning),
        ks_drift: args.ks_drift.unwrap_or(plain.ks_drift),
        min_samples: args.min_samples.unwrap_or(plain.min_samples),
        evaluations: 1,
    })
}

fn describe(panes: &[PaneView]) -> String {
    let header =
        ["start", "version", "panes", "events", "series", "values", "missing", "type errors", "complete"];
    let mut rows = Vec::new();
    for pane in panes {
        let events = pane.events.stable + pane.events.canary + pane.events.unset;
        let head = |series: &str| {
            let (start, version) = (pane.start.clone(), pane.model_version.clone());
            vec![
                start,
                version,
                format!("{}/{}", pane.filled, pane.length),
                events.to_string(),
                series.to_owned(),
            ]
        };
        let complete = if pane.complete { "yes" } else { "no" }.to_owned();
        for series in &pane.series {
            let counts =
                [series.n.to_string(), percent(series.missing, series.rows), series.type_errors.to_string()];
            rows.push(head(&series.name).into_iter().chain(counts).chain([complete.clone()]).collect());
        }
        if pane.series.is_empty() {
            rows.push(
                head("").into_iter().chain([String::new(), String::new(), String::new(), complete]).collect(),
            );
        }
    }
    if rows.is_empty() { "no closed pane\n".to_owned() } else { render(&header, &rows, &[2, 3, 5, 6, 7]) }
}
