//! `tidegate plan`: what a rollout will be able to show, before it begins.

mod options;
mod report;
#[cfg(test)]
pub(in crate::cli) mod tests;

use super::output;
use crate::baseline::{Rollout, Watch, WatchedModel};
use crate::config::{self, Config, ConfigError, EXIT_CONFIG, VerdictConfig};
use crate::judge::plan::MeasurePlan;
use crate::judge::verdict::Budget;
use crate::policy::forecast::{Arms, forecast, reference_sights};
use options::Options;
use report::Planned;
use std::path::PathBuf;

/// Foretell what a rollout can show: the smallest differences seen at each step, rollback, promotion
///
/// From the configured baselines and budget and the traffic that is expected. "Seen" means with a power of .8, for a
/// change of the whole distribution; narrower ones need up to a third more. Nothing is read from Kafka. Exit code 64
/// for a bad configuration or arguments that cannot be used.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The configuration file (TOML)
    config: PathBuf,
    /// Name of the model
    #[arg(long)]
    model: Option<String>,
    /// Its namespace, when several have a model of this name
    #[arg(long)]
    namespace: Option<String>,
    /// The version that serves, when the configuration leaves it open
    #[arg(long, value_name = "VERSION")]
    stable: Option<String>,
    /// The version that is rolled out, when the configuration leaves it open
    #[arg(long, value_name = "VERSION")]
    canary: Option<String>,
    /// Requests to the model, both versions together, such as 50/min, 2000/s or 300/h
    #[arg(long)]
    rate: Option<String>,
    /// The canary's share of the traffic in percent, step by step, such as 10,25,50
    #[arg(long, value_name = "PERCENT")]
    weight: Option<String>,
    /// How long each step lasts, such as 10m
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    /// How many dependent values are worth one: the autocorrelation factor
    #[arg(long, default_value = "1")]
    phi: String,
    /// Stable's share of failed requests
    #[arg(long, value_name = "SHARE", default_value = "0.01")]
    error_rate: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tidegate plan`.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &PlanArgs) -> anyhow::Result<u8> {
    match plan(args) {
        Ok(planned) if args.json => output::print_json(&planned)?,
        Ok(planned) => output::print(&report::describe(&planned))?,
        Err(sentences) => {
            sentences.iter().for_each(output::tell);
            return Ok(EXIT_CONFIG);
        }
    }
    Ok(0)
}

/// The forecast, or what is wrong with the configuration or the arguments, each a sentence.
fn plan(args: &PlanArgs) -> Result<Planned, Vec<String>> {
    let said = |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let config = config::load(&args.config).map_err(said)?;
    let options = Options::new(args, config.windows.pane)?;
    let watch = config::load_watch(&config).map_err(said)?;
    of_watched(&options, &config, &watch).map_err(|sentence| vec![sentence])
}

fn of_watched(options: &Options, config: &Config, watch: &Watch) -> Result<Planned, String> {
    let index = find(options, watch)?;
    let (model, watched) = (&config.models[index], &watch.models[index]);
    let VerdictConfig::Budget(budget) = model.verdicts else {
        return Err(format!("{}: mode = \"thresholds\" knows no power; a plan needs \"budget\".", model.id));
    };
    let pane_ms =
        i64::try_from(config.windows.pane.as_millis()).map_err(|_| "windows.pane is too long.".to_owned())?;
    let budget = Budget::new(&budget, &MeasurePlan::new(watched), pane_ms);
    let [stable, canary] = versions(options, watched)?;
    let arms = Arms::of(watched, &stable, &canary).ok_or_else(|| {
        let known: Vec<&str> = watched.versions.iter().map(|one| &*one.version).collect();
        format!("{}: {stable} or {canary} has no baseline; there are {}.", model.id, known.join(", "))
    })?;
    let serving = watched.find_version(&stable).map(|found| &watched.versions[found as usize]);
    let ramp = &options.ramp;
    let of_stable = ramp.requests_per_pane * model.policy.sampling.stable;
    Ok(Planned {
        model: model.id.to_string(),
        rate: options.rate.clone(),
        pane_seconds: config.windows.pane.as_secs_f64(),
        phi: ramp.phi,
        error_rate: ramp.error_rate,
        alpha: model.policy.alpha,
        tolerance: budget.tolerance,
        rollback_effect: model.policy.rollback_effect,
        promote_below: model.policy.promote_below,
        false_alarms_alpha: budget.alpha,
        forecast: forecast(&arms, &model.policy, budget.tolerance, ramp),
        baseline: serving
            .map(|version| reference_sights(version, &budget, of_stable, ramp.phi))
            .unwrap_or_default(),
        arms,
    })
}

fn find(options: &Options, watch: &Watch) -> Result<usize, String> {
    let fits = |(_, model): &(usize, &WatchedModel)| {
        model.id.name == options.model
            && options.namespace.as_ref().is_none_or(|one| *one == model.id.namespace)
    };
    let found: Vec<usize> = watch.models.iter().enumerate().filter(fits).map(|(index, _)| index).collect();
    match found[..] {
        [index] => Ok(index),
        [] => Err(format!("--model: {} is not configured.", options.model)),
        _ => Err(format!("--model: several namespaces have a model {}; add --namespace.", options.model)),
    }
}

/// Stable and canary: as asked for, else as configured, else the only two that there are.
fn versions(options: &Options, watched: &WatchedModel) -> Result<[String; 2], String> {
    let configured = match &watched.rollout {
        Rollout::Fixed { stable, canary } => [Some(stable.clone()), canary.clone()],
        Rollout::Auto => [None, None],
    };
    let [of_config, canary] = configured;
    let first = || watched.versions.first().map(|one| one.version.clone());
    let stable = options.stable.clone().or(of_config).or_else(first).unwrap_or_default();
    let mut others = watched.versions.iter().map(|one| &one.version).filter(|one| **one != stable);
    let only = match (others.next(), others.next()) {
        (Some(one), None) => Some(one.clone()),
        _ => None,
    };
    let canary = options.canary.clone().or(canary).or(only);
    match canary {
        Some(canary) if canary == stable => Err(format!("--canary: {canary} is the stable version.")),
        Some(canary) => Ok([stable, canary]),
        None => Err(format!("{}: which version is rolled out? Add --canary.", watched.id)),
    }
}
