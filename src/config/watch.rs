//! Configuration → what is watched: every baseline read, checked and laid out on common grids.

use super::{Config, ConfigError, ModelConfig, VerdictConfig};
use crate::baseline::{Baseline, Watch, WatchedModel, file};
use crate::policy::forecast::unreachable_promotions;
use std::path::Path;
use std::sync::Arc;

/// Reads the baselines of all models.
///
/// # Errors
/// One for each baseline file that cannot be read, or is of another model or version than the configuration says.
pub fn load_watch(config: &Config) -> Result<Watch, Vec<ConfigError>> {
    let (mut watch, mut errors) = (Watch::default(), Vec::new());
    for (index, model) in config.models.iter().enumerate() {
        let mut baselines = read_baselines(index, model, &mut errors);
        if baselines.len() < model.baselines.len() {
            continue;
        }
        lay_noise_over(index, model, &mut baselines, &mut errors);
        match WatchedModel::new(model.id.clone(), model.rollout.clone(), &baselines) {
            Some(watched) => watch.models.push(WatchedModel { labels: model.labels, ..watched }),
            None => errors.push(error(
                Path::new(""),
                format!("model[{index}].rollout.stable"),
                "the stable version has no baseline".to_owned(),
                "expected a version of `baselines`".to_owned(),
            )),
        }
    }
    if errors.is_empty() { Ok(watch) } else { Err(errors) }
}

/// What is configured and can never come about with these baselines: sentences. `watch` is what
/// [`load_watch`] made of `config`.
pub fn out_of_reach(config: &Config, watch: &Watch) -> Vec<String> {
    let judged = config.models.iter().zip(&watch.models);
    let budgeted = judged.filter(|(model, _)| matches!(model.verdicts, VerdictConfig::Budget(_)));
    budgeted.flat_map(|(model, watched)| unreachable_promotions(watched, &model.policy)).collect()
}

fn read_baselines(index: usize, model: &ModelConfig, errors: &mut Vec<ConfigError>) -> Vec<Arc<Baseline>> {
    let mut baselines = Vec::new();
    for (version, path) in &model.baselines {
        let key = format!("model[{index}].baselines.{version}");
        match file::read(path) {
            Err(problem) => errors.push(error(
                path,
                key,
                problem.to_string(),
                format!(
                    "expected a file that `tidegate baseline --model {} --version {version}` wrote",
                    model.id.name
                ),
            )),
            Ok(found) if found.model != model.id.name || found.version != *version => errors.push(error(
                path,
                key,
                format!("the file is the baseline of {} {}", found.model, found.version),
                format!("expected the baseline of {} {version}", model.id.name),
            )),
            Ok(found) => baselines.push(Arc::new(found)),
        }
    }
    baselines
}

/// What a person accepted wins over what the baselines say. Each entry must be of a series that one of them has.
fn lay_noise_over(
    index: usize,
    model: &ModelConfig,
    baselines: &mut [Arc<Baseline>],
    errors: &mut Vec<ConfigError>,
) {
    for (entry, noise) in model.noise.iter().enumerate() {
        let mut found = false;
        for baseline in baselines.iter_mut() {
            found |= noise.lay_over(Arc::make_mut(baseline));
        }
        if !found {
            errors.push(error(
                Path::new(""),
                format!("model[{index}].noise[{entry}].series"),
                format!("no baseline of the model has a series \"{}\"", noise.series),
                "expected a series of `baselines` (`tidegate baseline show FILE` lists them)".to_owned(),
            ));
        }
    }
}

fn error(file: &Path, key: String, problem: String, expected: String) -> ConfigError {
    ConfigError { file: file.to_owned(), line: 0, column: 0, key, problem, expected }
}
