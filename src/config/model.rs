//! `[[model]]`: one watched model.

mod labels;
mod noise;

use super::load::Files;
use super::reader::Reader;
use super::{ModelConfig, VerdictConfig};
use crate::baseline::Rollout;
use crate::event::{EventTime, ModelId};
use crate::judge::verdict::{BudgetConfig, Thresholds};
use crate::policy::action::Decision;
use crate::policy::{Change, ExpectedChange, PolicyConfig};
use crate::stats::sequential::srm::Sampling;
use std::path::PathBuf;
use std::time::Duration;

/// `longest_horizon`: for how long labels can be waited for.
pub(super) fn read_model(reader: Reader, files: &Files, longest_horizon: Duration) -> ModelConfig {
    let name = reader.string("name");
    if reader.find("name").is_none() {
        reader.missing("name", "the model's name, as events carry it");
    }
    let namespace = reader.string("namespace").unwrap_or_else(|| "default".to_owned());
    let baselines = read_baselines(&reader, files);
    let model = ModelConfig {
        id: ModelId { namespace, name: name.unwrap_or_default() },
        rollout: read_rollout(&reader, &baselines),
        baselines,
        policy: read_policy(reader.table("policy"), read_expected(&reader)),
        verdicts: read_verdicts(&reader),
        noise: noise::read_noise(&reader),
        labels: labels::read_labels(&reader, longest_horizon),
        max_exported_series: reader.integer("max_exported_series", 200, 0, 100_000) as usize,
    };
    reader.finish();
    model
}

/// Version → file, in file order. A version whose file is missing stays, so that a rollout can name it.
fn read_baselines(reader: &Reader, files: &Files) -> Vec<(String, PathBuf)> {
    let Some(found) = reader.find("baselines") else {
        reader.missing("baselines", "at least one, e.g. { v1 = \"fraud-v1.parquet\" }");
        return Vec::new();
    };
    let entries = reader.table_of(&found).entries();
    if entries.is_empty() && found.value.is_table() {
        reader.refuse(&found, "is empty", "expected at least one, e.g. { v1 = \"fraud-v1.parquet\" }");
    }
    let mut baselines = Vec::new();
    for (version, found) in entries {
        let Some(path) = reader.string_of(&found) else { continue };
        let path = files.resolve(&path).unwrap_or_else(|problem| {
            reader.refuse(&found, problem, "expected a file made by `tidegate baseline`");
            PathBuf::from(path)
        });
        baselines.push((version, path));
    }
    baselines
}

fn read_rollout(reader: &Reader, baselines: &[(String, PathBuf)]) -> Rollout {
    let Some(found) = reader.find("rollout") else { return Rollout::Auto };
    if found.value.as_str() == Some("auto") {
        return Rollout::Auto;
    }
    if !found.value.is_table() {
        let expected = "expected \"auto\" or { stable = \"v1\", canary = \"v2\" }";
        reader.refuse(&found, "is no rollout", expected);
        return Rollout::Auto;
    }
    let rollout = reader.table_of(&found);
    let (stable, canary) = (rollout.string("stable"), rollout.string("canary"));
    match (rollout.find("stable"), &stable) {
        (None, _) => rollout.missing("stable", "the version that serves by default"),
        (Some(at), Some(stable)) if !baselines.iter().any(|(version, _)| version == stable) => {
            reader.refuse(&at, format!("\"{stable}\" has no baseline"), "expected a version of `baselines`");
        }
        _ => {}
    }
    if let Some(at) = rollout.find("canary").filter(|_| canary.is_some() && canary == stable) {
        reader.refuse(&at, "is the stable version", "expected another version");
    }
    rollout.finish();
    Rollout::Fixed { stable: stable.unwrap_or_default(), canary }
}

fn read_policy(reader: Reader, expected: Vec<ExpectedChange>) -> PolicyConfig {
    let default = PolicyConfig::default();
    let policy = PolicyConfig {
        prediction_drift: reader.positive("prediction_drift", default.prediction_drift, 1.0),
        feature_drift: reader.positive("feature_drift", default.feature_drift, 1.0),
        resume: reader.bool("resume", default.resume),
        alpha: reader.positive("alpha", default.alpha, 0.5),
        rollback_effect: reader.positive("rollback_effect", default.rollback_effect, 1.0),
        promote_below: reader.positive("promote_below", default.promote_below, 1.0),
        unattributed: read_unattributed(&reader),
        canary_weight: reader.find("canary_weight").map(|_| reader.positive("canary_weight", 0.1, 1.0)),
        sampling: read_sampling(&reader),
        expected,
    };
    reader.finish();
    policy
}

fn read_sampling(reader: &Reader) -> Sampling {
    let Some(found) = reader.find("sampling") else { return Sampling::default() };
    let fractions = reader.table_of(&found);
    let sampling = Sampling {
        stable: fractions.positive("stable", 1.0, 1.0),
        canary: fractions.positive("canary", 1.0, 1.0),
    };
    fractions.finish();
    sampling
}

fn read_unattributed(reader: &Reader) -> Decision {
    let Some(found) = reader.find("unattributed") else { return Decision::Pause };
    match reader.string_of(&found).as_deref() {
        Some("rollback") => Decision::Rollback,
        Some("pause") | None => Decision::Pause,
        Some(_) => {
            reader.refuse(&found, "is no decision", "expected \"pause\" or \"rollback\"");
            Decision::Pause
        }
    }
}

/// `[[model.expect]]`: what is meant to differ. All five are required, so that nobody wonders later.
fn read_expected(reader: &Reader) -> Vec<ExpectedChange> {
    reader.tables("expect").into_iter().map(read_expected_change).collect()
}

fn read_expected_change(reader: Reader) -> ExpectedChange {
    let text = |key: &'static str, what: &str| {
        if reader.find(key).is_none() {
            reader.missing(key, what);
        }
        reader.string(key).unwrap_or_default()
    };
    let change = text("change", "new, removed, rescaled or shifted");
    let until = text("until", "an RFC 3339 time, e.g. 2026-12-31T00:00:00Z");
    let found = ExpectedChange {
        version: text("version", "a version of `baselines`"),
        series: text("series", "a feature or prediction, as events carry it"),
        change: Change::ALL.into_iter().find(|one| one.as_str() == change).unwrap_or_else(|| {
            if let Some(at) = reader.find("change").filter(|at| at.value.is_str()) {
                reader.refuse(&at, "is no change", "expected new, removed, rescaled or shifted");
            }
            Change::Shifted
        }),
        until: EventTime::parse_rfc3339(&until).unwrap_or_else(|_| {
            if let Some(at) = reader.find("until").filter(|at| at.value.is_str()) {
                reader.refuse(&at, "is no time", "expected RFC 3339, e.g. 2026-12-31T00:00:00Z");
            }
            EventTime(0)
        }),
        reason: text("reason", "why it is expected, in a few words"),
    };
    reader.finish();
    found
}

/// `mode`, and the table that belongs to it; the other one would have no effect and is refused.
fn read_verdicts(reader: &Reader) -> VerdictConfig {
    let plain = match reader.find("mode") {
        None => false,
        Some(found) => match reader.string_of(&found).as_deref() {
            Some("thresholds") => true,
            Some("budget") | None => false,
            Some(_) => {
                reader.refuse(&found, "is no mode", "expected \"budget\" or \"thresholds\"");
                false
            }
        },
    };
    let (idle, mode) = if plain { ("budget", "budget") } else { ("thresholds", "thresholds") };
    if let Some(found) = reader.find(idle).filter(|found| found.value.is_table()) {
        let expected = format!("expected mode = \"{mode}\" beside it");
        reader.refuse(&found, "has no effect in this mode", expected);
    }
    let thresholds = read_thresholds(reader.table("thresholds"));
    let budget = read_budget(reader.table("budget"));
    if plain { VerdictConfig::Thresholds(thresholds) } else { VerdictConfig::Budget(budget) }
}

fn read_budget(reader: Reader) -> BudgetConfig {
    let default = BudgetConfig::default();
    let budget = BudgetConfig {
        false_alarms_per_day: reader.positive("false_alarms_per_day", default.false_alarms_per_day, 1_000.0),
        min_samples: reader.integer("min_samples", default.min_samples as i64, 50, 1_000_000_000) as u64,
        tolerance: reader.positive("tolerance", default.tolerance, 0.5),
    };
    reader.finish();
    budget
}

fn read_thresholds(reader: Reader) -> Thresholds {
    let default = Thresholds::default();
    let thresholds = Thresholds {
        psi_warning: reader.positive("psi_warning", default.psi_warning, 100.0),
        psi_drift: reader.positive("psi_drift", default.psi_drift, 100.0),
        ks_warning: reader.positive("ks_warning", default.ks_warning, 1.0),
        ks_drift: reader.positive("ks_drift", default.ks_drift, 1.0),
        min_samples: reader.integer("min_samples", default.min_samples as i64, 1, 1_000_000_000) as u64,
        evaluations: reader.integer("evaluations", i64::from(default.evaluations), 1, 1_000) as u32,
    };
    check_order(&reader, ("psi_warning", thresholds.psi_warning), ("psi_drift", thresholds.psi_drift));
    check_order(&reader, ("ks_warning", thresholds.ks_warning), ("ks_drift", thresholds.ks_drift));
    reader.finish();
    thresholds
}

/// A warning comes no later than drift. Either may be a default, so the one that is written down is refused.
fn check_order(reader: &Reader, warning: (&'static str, f64), drift: (&'static str, f64)) {
    if warning.1 <= drift.1 {
        return;
    }
    if let Some(found) = reader.find(warning.0).or_else(|| reader.find(drift.0)) {
        let problem = format!("makes {} ({}) exceed {} ({})", warning.0, warning.1, drift.0, drift.1);
        reader.refuse(&found, problem, format!("expected {} at most {}", warning.0, drift.0));
    }
}
