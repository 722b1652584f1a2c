//! `tidegate noise`: what is usual of live traffic, for a person to accept.

use super::model_args::ModelArgs;
use super::output;
use super::panes::{LIMIT, pane_ms, refuse, time};
use super::table::render;
use crate::baseline::{LEAST_PSI, LEAST_TOLERANCE, Rollout, SCALES, Tolerance, WatchedModel, WatchedVersion};
use crate::config::{self, Config};
use crate::event::EventTime;
use crate::http::archive::{Archive, PanesError, PanesQuery, Parts};
use crate::judge::noise::{UsualTraffic, samples, sums, usual};
use crate::pipeline::TopicArchive;
use anyhow::{anyhow, bail};

const DAY_MS: i64 = 86_400_000;
/// Records of one reading: a week of 1,500 series. What is kept of them is bounded by [`MOST_BYTES`] first.
const MOST_RECORDS: usize = 2_500_000;
const MOST_BYTES: usize = 256 << 20;

/// Propose what is no drift, from the traffic of the last days
///
/// Traffic that moves with the time of day is never distributed as a baseline is. Where the baseline has no times
/// (`tidegate baseline --time`), stable's closed panes of the last days tell how far its windows usually stray, on each
/// scale, by KS distance and PSI. Prints a table, and what to add to the configuration to accept it. Look at the days
/// first: what went wrong in them would be accepted too.
#[derive(Debug, clap::Args)]
pub struct NoiseArgs {
    #[command(flatten)]
    of: ModelArgs,
    /// The version that serves, when the configuration leaves it open
    #[arg(long)]
    version: Option<String>,
    /// One feature or prediction only
    #[arg(long)]
    series: Option<String>,
    /// Days of event time; panes are kept for `topics.retention`
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// Up to this event time (RFC 3339) [default: now]
    #[arg(long)]
    until: Option<String>,
}

/// Runs `tidegate noise`. Exit code 0, or 64 for a bad configuration.
///
/// # Errors
/// When the model or the version is unknown, Kafka cannot be read, or there is too little or too much traffic.
pub fn run(args: &NoiseArgs) -> anyhow::Result<u8> {
    let loaded = config::load(&args.of.config).and_then(|config| {
        let watch = config::load_watch(&config)?;
        Ok((config, watch))
    });
    let (config, watch) = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => return Ok(refuse(&errors)),
    };
    let (index, _) = args.of.find(&config)?;
    let now = EventTime(jiff::Timestamp::now().as_millisecond());
    let archive = TopicArchive::new(&config, LIMIT).keeping(MOST_BYTES);
    output::print(&propose(args, &config, &watch.models[index], &archive, now)?)?;
    Ok(0)
}

fn propose(
    args: &NoiseArgs,
    config: &Config,
    model: &WatchedModel,
    archive: &dyn Archive,
    now: EventTime,
) -> anyhow::Result<String> {
    let version = version(args, model)?;
    let known = |name: &String| version.series.iter().any(|one| one.reference.name == *name);
    if let Some(series) = args.series.as_ref().filter(|series| !known(series)) {
        bail!(
            "series {series} of model {} is not in the baseline of version {}",
            model.id.name,
            version.version
        );
    }
    let until = args.until.as_ref().map_or(Ok(now), |text| time("--until", text))?;
    let from = EventTime(until.0 - i64::from(args.days) * DAY_MS);
    let pane_ms = pane_ms(config)?;
    let mut query = PanesQuery {
        model: model.id.clone(),
        version: Some(version.version.clone()),
        series: args.series.clone(),
        parts: Parts::These(sums(from, until, pane_ms)),
        limit: MOST_RECORDS,
    };
    let mut records = archive.panes(&query).map_err(too_many)?;
    query.parts = Parts::These(samples(&records, pane_ms));
    records.extend(archive.panes(&query).map_err(too_many)?);
    let found = usual(version, &records, pane_ms);
    if found.iter().all(|one| one.tolerances.is_empty()) {
        bail!(
            "version {} of model {} has too few panes between {} and {}: it takes 20 with 50 values of a series each",
            version.version,
            model.id.name,
            from.to_rfc3339(),
            until.to_rfc3339()
        );
    }
    Ok(table(&found) + &fragment(&args.of.model, version, (from, until), &found))
}

fn too_many(error: PanesError) -> anyhow::Error {
    match error {
        PanesError::TooMany(_) => {
            anyhow!(
                "there is more than fits in memory: ask for fewer --days, or one --series after the other"
            )
        }
        PanesError::Unavailable(_) => error.into(),
    }
}

/// The version that serves: as asked for, as configured, or the only one.
fn version<'a>(args: &NoiseArgs, model: &'a WatchedModel) -> anyhow::Result<&'a WatchedVersion> {
    let names: Vec<&str> = model.versions.iter().map(|one| one.version.as_str()).collect();
    let wanted = match (&args.version, &model.rollout) {
        (Some(version), _) | (None, Rollout::Fixed { stable: version, .. }) => version.as_str(),
        (None, Rollout::Auto) if names.len() == 1 => names[0],
        (None, Rollout::Auto) => {
            bail!("which version serves is open: add --version, one of {}", names.join(", "))
        }
    };
    match model.find_version(wanted) {
        Some(index) => Ok(&model.versions[index as usize]),
        None => bail!(
            "version {wanted} of model {} is not configured; configured: {}",
            model.id.name,
            names.join(", ")
        ),
    }
}

fn table(found: &[UsualTraffic]) -> String {
    let on = |one: &UsualTraffic, scale: u32| {
        let of_scale = one.tolerances.iter().find(|tolerance| tolerance.scale == scale);
        of_scale.map_or_else(|| "too few".to_owned(), |tolerance| pair(tolerance.delta, tolerance.psi))
    };
    let row = |one: &UsualTraffic| {
        let head = [one.series.clone(), one.n.to_string()];
        let scales = SCALES.into_iter().map(|scale| on(one, scale));
        head.into_iter().chain(scales).chain([pair(one.from_training.0, one.from_training.1)]).collect()
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let header = ["series", "values", "1", "4", "16", "64", "from training"];
    let table = render(&header, &rows, &[1, 2, 3, 4, 5, 6]);
    format!(
        "How far windows of so many panes usually stray from all of this traffic, by KS (categories: one's share) and PSI \
         (\"too\nfew\": windows of that length); and how far all of it is from training, which no tolerance is for:\n\n{table}"
    )
}

fn pair(distance: f64, psi: Option<f64>) -> String {
    psi.map_or_else(|| format!("{distance:.3}"), |psi| format!("{distance:.3}, {psi:.3}"))
}

/// What to add to the configuration: of the series that stray farther than any may.
fn fragment(
    model: &str,
    version: &WatchedVersion,
    (from, until): (EventTime, EventTime),
    found: &[UsualTraffic],
) -> String {
    let strays = |one: &&UsualTraffic| {
        let beyond = |of: &Tolerance| of.delta > LEAST_TOLERANCE || of.psi.is_some_and(|psi| psi > LEAST_PSI);
        one.tolerances.iter().any(beyond)
    };
    let entries: Vec<String> = found.iter().filter(strays).map(entry).collect();
    if entries.is_empty() {
        return format!(
            "\nNo series strays farther than the defaults allow (KS {LEAST_TOLERANCE}, PSI {LEAST_PSI}): there is nothing to \
             accept.\n"
        );
    }
    format!(
        "\nTo accept it, add this below the [[model]] of {model}:\n\n# {} from {} to {}, by `tidegate noise`\n{}",
        version.version,
        from.to_rfc3339(),
        until.to_rfc3339(),
        entries.join("\n")
    )
}

fn entry(one: &UsualTraffic) -> String {
    // Rounded up, so that what was seen is within.
    let number = |scale: u32, value: f64| format!("{scale} = {:.3}", (value * 1e3).ceil() / 1e3);
    let ks: Vec<String> = one.tolerances.iter().map(|of| number(of.scale, of.delta)).collect();
    let psi: Vec<String> = one.tolerances.iter().filter_map(|of| Some(number(of.scale, of.psi?))).collect();
    let psi = if psi.is_empty() { String::new() } else { format!("psi = {{ {} }}\n", psi.join(", ")) };
    // A string of JSON is one of TOML.
    let name = serde_json::Value::from(one.series.as_str());
    format!("[[model.noise]]\nseries = {name}\nks = {{ {} }}\n{psi}", ks.join(", "))
}

#[cfg(test)]
mod tests;
