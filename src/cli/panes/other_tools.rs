//! `--as`: what another tool would say of the same window against the same baseline.
//!
//! Those tools see raw values, here there are counts: a value on a cut of the grid is itself, one between two cuts
//! stands in the middle. KS does not notice; distances, bins and deciles do, a little. A column says whether
//! nothing had to be moved.

use crate::baseline::{BaselineSeries, WatchedModel};
use crate::cells::Grid;
use crate::cli::table::{render, short_number};
use crate::event::SeriesOf;
use crate::judge::window::{ArmWindow, ModelWindow, SeriesCounts};
use crate::stats::compat::Sample;
use crate::stats::compat::alibi_detect::{self, Correction};
use crate::stats::compat::evidently::{self, Score, Test};
use crate::stats::compat::scouter::{self, Threshold};
use serde::Serialize;

/// The level of Alibi Detect and Scouter unless another is named.
const LEVEL: f64 = 0.05;

const RAW_VALUES: &str = "raw = no: the tool sees raw values, here are counts. Values between two cuts of the grid stand in the gap's \
     middle, those beyond the last next to it; categories behind the 255th and those that training never saw count as one \
     each. KS and its p-value stay the tool's own while the baseline has at most 2,048 different values.\n";

/// A tool whose numbers can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// Evidently 0.7: its default test per column, drift by its own thresholds
    Evidently,
    /// Alibi Detect: KS and χ², Bonferroni over all columns
    AlibiDetect,
    /// Scouter 0.9: PSI on deciles, the χ² threshold
    Scouter,
}

/// What the tool says of one version.
#[derive(Debug, Serialize)]
pub struct Opinion {
    pub tool: Tool,
    pub model_version: String,
    pub columns: Vec<Column>,
    /// Of all features, and of all predictions together; `None` where nothing was measured.
    pub features_drifted: Option<bool>,
    pub predictions_drifted: Option<bool>,
}

/// One series by the tool's own test.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    pub name: String,
    pub of: SeriesOf,
    /// Values in the window.
    pub n: u64,
    /// The tool's own name for the test.
    pub test: &'static str,
    /// A p-value or a distance; `None` when the tool measures nothing.
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub drifted: Option<bool>,
    /// All values are as they came: none stands in the middle of a gap, no categories are thrown together.
    pub from_raw_values: bool,
}

/// What `tool` would say of each version in the window.
pub fn opinions(tool: Tool, watched: &WatchedModel, window: &ModelWindow) -> Vec<Opinion> {
    let of_arm = |arm: &ArmWindow| {
        let version = watched.versions.get(arm.version.version as usize)?;
        let pairs = version.series.iter().zip(&arm.series);
        let mut columns: Vec<Column> =
            pairs.map(|(series, counts)| column(tool, &series.reference, counts)).collect();
        let [features_drifted, predictions_drifted] =
            [SeriesOf::Feature, SeriesOf::Prediction].map(|of| decide(tool, of, &mut columns));
        let model_version = version.version.clone();
        Some(Opinion { tool, model_version, columns, features_drifted, predictions_drifted })
    };
    window.arms.iter().filter_map(of_arm).collect()
}

fn column(tool: Tool, reference: &BaselineSeries, counts: &SeriesCounts) -> Column {
    let found = match &*reference.grid {
        Grid::Numeric(grid) => {
            let sample = |counts: &[u64]| Sample::of_counts(grid.cuts(), counts);
            match (sample(&reference.counts), sample(&counts.cells)) {
                (Some(baseline), Some(window)) => numeric(tool, &baseline, &window),
                _ => Measured::default(),
            }
        }
        Grid::Categorical(_) | Grid::Boolean => categorical(tool, &reference.counts, &counts.cells),
    };
    Column {
        name: reference.name.clone(),
        of: reference.of,
        n: counts.n(),
        test: found.test,
        value: found.value,
        threshold: found.threshold,
        drifted: found.drifted,
        from_raw_values: from_raw_values(reference, &counts.cells),
    }
}

/// What one test gives.
#[derive(Default)]
struct Measured {
    test: &'static str,
    value: Option<f64>,
    threshold: Option<f64>,
    drifted: Option<bool>,
}

fn numeric(tool: Tool, baseline: &Sample, window: &Sample) -> Measured {
    match tool {
        Tool::Evidently => {
            let test = evidently::numeric_default(baseline, window);
            by_evidently(test, evidently::numeric(test, baseline, window))
        }
        Tool::AlibiDetect => by_alibi_detect("ks", Some(alibi_detect::numeric(baseline, window))),
        Tool::Scouter => {
            let psi = scouter::numeric_psi(baseline, window);
            by_scouter(scouter::BINS as usize, window.total(), psi)
        }
    }
}

fn categorical(tool: Tool, baseline: &[u64], window: &[u64]) -> Measured {
    match tool {
        Tool::Evidently => {
            let test = evidently::categorical_default(baseline, window);
            by_evidently(test, evidently::categorical(test, baseline, window))
        }
        Tool::AlibiDetect => by_alibi_detect("chisquare", alibi_detect::categorical(baseline, window)),
        Tool::Scouter => {
            let occurs = |(reference, window): &(&u64, &u64)| **reference > 0 || **window > 0;
            let (baseline, window): (Vec<u64>, Vec<u64>) = baseline.iter().zip(window).filter(occurs).unzip();
            by_scouter(baseline.len(), window.iter().sum(), scouter::psi(&baseline, &window))
        }
    }
}

fn by_evidently(test: Test, score: Option<Score>) -> Measured {
    Measured {
        test: test.name(),
        value: score.map(|one| one.value),
        threshold: Some(test.threshold()),
        drifted: score.map(|one| one.drifted),
    }
}

/// Its threshold is one for all columns: [`decide`].
fn by_alibi_detect(test: &'static str, p_value: Option<f64>) -> Measured {
    Measured { test, value: p_value, ..Measured::default() }
}

fn by_scouter(bins: usize, n: u64, psi: Option<f64>) -> Measured {
    let psi = psi.filter(|_| scouter::is_measured(bins, n));
    let threshold = Threshold::ChiSquare { alpha: LEVEL }.value(bins, n);
    Measured {
        test: "psi",
        value: psi,
        threshold: Some(threshold).filter(|one| one.is_finite()),
        drifted: psi.map(|psi| psi > threshold),
    }
}

/// Whether all columns together have drifted.
fn decide(tool: Tool, of: SeriesOf, columns: &mut [Column]) -> Option<bool> {
    let mut measured: Vec<&mut Column> =
        columns.iter_mut().filter(|one| one.of == of && one.value.is_some()).collect();
    if tool == Tool::AlibiDetect {
        let p_values: Vec<f64> = measured.iter().filter_map(|one| one.value).collect();
        let threshold = alibi_detect::threshold(&p_values, LEVEL, Correction::Bonferroni);
        for (column, p_value) in measured.iter_mut().zip(p_values) {
            (column.threshold, column.drifted) = (Some(threshold), Some(p_value < threshold));
        }
    }
    let drifted: Vec<bool> = measured.iter().filter_map(|one| one.drifted).collect();
    (!drifted.is_empty()).then(|| match tool {
        Tool::Evidently => evidently::dataset_drifted(&drifted),
        Tool::AlibiDetect | Tool::Scouter => drifted.contains(&true),
    })
}

fn from_raw_values(reference: &BaselineSeries, window: &[u64]) -> bool {
    match &*reference.grid {
        Grid::Numeric(_) => {
            let between = |counts: &[u64]| counts.iter().step_by(2).any(|count| *count > 0);
            !between(&reference.counts) && !between(window)
        }
        Grid::Categorical(categories) => {
            let together = [categories.other_cell(), categories.unseen_cell()].map(usize::from);
            let held =
                |counts: &[u64]| together.iter().any(|cell| counts.get(*cell).is_some_and(|one| *one > 0));
            !held(&reference.counts) && !held(window)
        }
        Grid::Boolean => true,
    }
}

/// A table per version, and where the numbers are not quite the tool's own.
pub fn describe(opinions: &[Opinion]) -> String {
    let header = ["column", "of", "values", "test", "value", "threshold", "drifted", "raw"];
    let mut text = String::new();
    for opinion in opinions {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), short_number);
        let said = |found: Option<bool>| match found {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let row = |one: &Column| {
            let of = match one.of {
                SeriesOf::Feature => "feature",
                SeriesOf::Prediction => "prediction",
            };
            let head = [one.name.clone(), of.to_owned(), one.n.to_string(), one.test.to_owned()];
            let found = [number(one.value), number(one.threshold), said(one.drifted).to_owned()];
            let raw = if one.from_raw_values { "yes" } else { "no" };
            head.into_iter().chain(found).chain([raw.to_owned()]).collect()
        };
        let rows: Vec<Vec<String>> = opinion.columns.iter().map(row).collect();
        text += &format!("{}:\n{}", opinion.model_version, render(&header, &rows, &[2, 4, 5]));
        text += &format!(
            "features drifted: {}, predictions drifted: {}\n\n",
            said(opinion.features_drifted),
            said(opinion.predictions_drifted)
        );
    }
    let moved = opinions.iter().flat_map(|one| &one.columns).any(|one| !one.from_raw_values);
    if moved {
        text += RAW_VALUES;
    }
    if opinions.is_empty() { "no closed pane\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{Baseline, Rollout, numeric_series};
    use crate::event::{EventTime, ModelId};
    use crate::judge::window::ArmWindow;
    use std::sync::Arc;

    /// Values with the baseline of `reference`, counted as the service counts them.
    fn watched(reference: &[f64], values: &[f64]) -> (WatchedModel, ModelWindow) {
        let series = numeric_series("x", SeriesOf::Feature, reference.to_vec(), 0);
        let baseline = Baseline {
            model: "m".to_owned(),
            version: "v1".to_owned(),
            rows: reference.len() as u64,
            created: EventTime(0),
            held_out: false,
            times: None,
            series: vec![Arc::new(series)],
        };
        let id = ModelId { namespace: "ml".to_owned(), name: "m".to_owned() };
        let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("a baseline");
        let Grid::Numeric(grid) = &*model.versions[0].series[0].reference.grid else {
            unreachable!("numbers")
        };
        let mut cells = vec![0; grid.cells()];
        values.iter().for_each(|value| cells[grid.rank_one(*value) as usize] += 1);
        let counts = SeriesCounts { cells, rows: values.len() as u64, ..SeriesCounts::default() };
        let arm = ArmWindow {
            unset_events: values.len() as u64,
            series: vec![counts],
            panes: 1,
            complete: true,
            ..ArmWindow::default()
        };
        let (start, end) = (EventTime(0), EventTime(60_000));
        let window = ModelWindow {
            model: 0,
            start,
            end,
            scale: 1,
            revised: false,
            set_weight: Default::default(),
            arms: vec![arm],
        };
        (model, window)
    }

    fn only(tool: Tool, reference: &[f64], values: &[f64]) -> (Column, Opinion) {
        let (model, window) = watched(reference, values);
        let mut found = opinions(tool, &model, &window);
        assert_eq!((found.len(), found[0].columns.len()), (1, 1));
        let opinion = found.remove(0);
        (opinion.columns[0].clone(), opinion)
    }

    fn assert_close(found: &Column, test: &str, expected: f64, relative: f64) {
        let value = found.value.expect("measured");
        assert!((value / expected - 1.0).abs() <= relative, "{value:e} is not {expected:e}");
        assert_eq!(found.test, test);
    }

    /// A handful of whole numbers, of which the window has some that the baseline lacks: scipy 1.17 and numpy 2.4
    /// on the raw values.
    #[test]
    fn whole_numbers_give_the_tools_own_numbers() {
        let reference: Vec<f64> = (0..90u32).map(|i| f64::from(i * i % 7)).collect();
        let values: Vec<f64> = (0..60u32).map(|i| f64::from((5 * i + i * i * i) % 9)).collect();
        let (evidently, opinion) = only(Tool::Evidently, &reference, &values);
        assert_close(&evidently, "ks", 4.759934558447473e-05, 1e-9);
        assert_eq!((evidently.drifted, opinion.features_drifted), (Some(true), Some(true)));
        assert_eq!((evidently.from_raw_values, opinion.predictions_drifted), (false, None));
        let (alibi, _) = only(Tool::AlibiDetect, &reference, &values);
        assert_close(&alibi, "ks", 3.989354887682338e-05, 1e-9);
        assert_eq!((alibi.threshold, alibi.drifted), (Some(0.05), Some(true)));
        // Scouter measures from more than a hundred values on: each value twice, which changes no share.
        let (few, unmeasured) = only(Tool::Scouter, &reference, &values);
        assert_eq!((few.value, few.drifted, unmeasured.features_drifted), (None, None, None));
        let twice: Vec<f64> = values.iter().chain(&values).copied().collect();
        let (scouter, opinion) = only(Tool::Scouter, &reference, &twice);
        assert_close(&scouter, "psi", 20.185568361406638, 1e-9);
        assert_eq!(opinion.features_drifted, Some(true));
        assert!(describe(&[opinion]).contains("stand in the gap's middle"));
    }

    /// 12,000 values of 1,009 different ones, and 400 that all lie between them: the distance is that of values in
    /// the middle of gaps, within a fiftieth of scipy's.
    #[test]
    fn values_between_cuts_are_taken_in_the_middle() {
        let sequence = |count: u32, a: u32, b: u32, shift: f64| -> Vec<f64> {
            let value = |i: u32| f64::from((i * a + b) % 1_009) / 100.0;
            (0..count).map(|i| value(i) * value(i) + shift).collect()
        };
        let reference = sequence(12_000, 7_919, 13, 0.0);
        let (evidently, opinion) = only(Tool::Evidently, &reference, &sequence(400, 104_729, 7, 0.5));
        assert_close(&evidently, "wasserstein", 0.01650883289475958, 0.02);
        assert_eq!((evidently.drifted, opinion.features_drifted), (Some(false), Some(false)));
        assert!(!evidently.from_raw_values);
        let (alibi, _) = only(Tool::AlibiDetect, &reference, &sequence(400, 104_729, 7, 0.5));
        assert_close(&alibi, "ks", 0.04064265214244622, 1e-9);
        // The same values again need not be moved.
        let (same, opinion) = only(Tool::Evidently, &reference, &reference[..2_000]);
        assert!(same.from_raw_values && same.drifted == Some(false));
        assert!(!describe(&[opinion]).contains("stand in the gap's middle"));
    }
}
