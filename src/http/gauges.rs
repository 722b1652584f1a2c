//! Reports → drift gauges. Remembers what it exported, so that what is gone disappears.

use crate::event::ModelId;
use crate::judge::report::{LabelReport, MeasuredOf, Report, ScoreReport, SeriesReport, Verdict};
use crate::metrics::Metrics;
use prometheus::GaugeVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// Namespace, model, version, scale.
type Key = (String, String, String, u32);
/// A gauge's name and its labels.
type Exported = BTreeSet<(&'static str, Vec<String>)>;

/// What is exported of one version and scale.
#[derive(Default)]
struct Shown {
    /// RFC 3339 with a fixed width, so that text order is time order.
    window_end: String,
    revision: u32,
    exported: Exported,
}

impl Shown {
    fn is_later_than(&self, report: &Report) -> bool {
        (self.window_end.as_str(), self.revision) > (report.window.end.as_str(), report.revision)
    }
}

/// The drift gauges of the models that this judge owns.
#[derive(Default)]
pub struct DriftGauges(Mutex<BTreeMap<Key, Shown>>);

/// Name (for memory only), gauge, labels and value of one sample.
type Sample<'a> = (&'static str, &'a GaugeVec, Vec<String>, f64);

impl DriftGauges {
    pub fn new() -> DriftGauges {
        DriftGauges::default()
    }

    /// Sets the gauges of a report; at most `max_series` of its series, then only the aggregates. Series that the
    /// last report of this version and scale had and this one lacks are removed. A report of an earlier window than
    /// the one that is shown, as late events revise it, changes nothing.
    pub fn publish(&self, metrics: &Metrics, report: &Report, max_series: usize) {
        let mut memory = self.memory();
        let shown = memory.entry(key(report)).or_default();
        if shown.is_later_than(report) {
            return;
        }
        let mut after = Exported::new();
        for (name, gauge, labels, value) in samples(metrics, report, max_series) {
            gauge.with_label_values(&labels).set(value);
            after.insert((name, labels));
        }
        shown.exported.difference(&after).for_each(|gone| remove(metrics, gone));
        let window_end = report.window.end.clone();
        *shown = Shown { window_end, revision: report.revision, exported: after };
    }

    /// Whether the gauges show this report already, or a later one of its version and scale.
    pub fn shows(&self, report: &Report) -> bool {
        let same = |shown: &Shown| {
            (shown.window_end.as_str(), shown.revision) == (report.window.end.as_str(), report.revision)
        };
        self.memory().get(&key(report)).is_some_and(|shown| same(shown) || shown.is_later_than(report))
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<Key, Shown>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Removes the gauges of all models but these: the others went to another judge.
    pub fn keep_only(&self, metrics: &Metrics, owned: &[&ModelId]) {
        self.memory().retain(|(namespace, model, ..), shown| {
            let stays = owned.iter().any(|id| id.namespace == *namespace && id.name == *model);
            if !stays {
                shown.exported.iter().for_each(|gone| remove(metrics, gone));
            }
            stays
        });
    }

    /// Removes all gauges of a model (its partition went to another judge), or of one version of it.
    pub fn retire(&self, metrics: &Metrics, namespace: &str, model: &str, version: Option<&str>) {
        self.memory().retain(|(of_namespace, of_model, of_version, _), shown| {
            let goes =
                of_namespace == namespace && of_model == model && version.is_none_or(|v| v == of_version);
            if goes {
                shown.exported.iter().for_each(|gone| remove(metrics, gone));
            }
            !goes
        });
    }
}

fn key(report: &Report) -> Key {
    let (namespace, model) = (report.namespace.clone(), report.model.clone());
    (namespace, model, report.model_version.clone(), report.window.scale)
}

macro_rules! gauges {
    ($($field:ident)*) => {
        fn remove(metrics: &Metrics, (name, labels): &(&'static str, Vec<String>)) {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let gauge = match *name {
                $(stringify!($field) => &metrics.$field,)*
                _ => return,
            };
            // Already gone is as good as removed.
            let _ = gauge.remove_label_values(&labels);
        }
    };
}

gauges! {
    feature_psi feature_ks_statistic feature_ks_p_value feature_js_distance
    feature_missing_ratio feature_unseen_ratio feature_out_of_range_ratio
    prediction_psi prediction_ks_statistic prediction_ks_p_value prediction_js_distance
    prediction_missing_ratio prediction_unseen_ratio prediction_out_of_range_ratio
    feature_drift_score prediction_drift_score drift_threshold drift_state window_samples window_end
    series_not_exported request_errors request_latency model_accuracy model_labelled
    model_auc model_brier
}

fn samples<'a>(metrics: &'a Metrics, report: &Report, max_series: usize) -> Vec<Sample<'a>> {
    let role = report.role.map_or("", |role| role.as_str());
    let arm = [&report.model, &report.namespace, &report.model_version, role].map(str::to_owned);
    let scale = report.window.scale.to_string();
    let mut samples = Vec::new();
    let all = report.series.iter().filter(|series| series.of != MeasuredOf::Quality);
    let left_out = all.clone().count().saturating_sub(max_series);
    for series in all.take(max_series) {
        let mut labels = arm.to_vec();
        labels.extend([series.name.clone(), series.reference.as_str().to_owned(), scale.clone()]);
        samples.extend(
            of_series(metrics, series)
                .into_iter()
                .filter_map(|(name, gauge, value)| value.map(|value| (name, gauge, labels.clone(), value))),
        );
    }
    let mut labels = arm.to_vec();
    labels.push(scale);
    let end = report.window.end.parse::<jiff::Timestamp>().ok().map(|end| end.as_millisecond() as f64 / 1e3);
    let whole = [
        ("feature_drift_score", &metrics.feature_drift_score, report.feature_drift_score),
        ("prediction_drift_score", &metrics.prediction_drift_score, report.prediction_drift_score),
        ("drift_threshold", &metrics.drift_threshold, Some(report.threshold)),
        ("window_samples", &metrics.window_samples, Some(report.events as f64)),
        ("window_end", &metrics.window_end, end),
        ("series_not_exported", &metrics.series_not_exported, (left_out > 0).then_some(left_out as f64)),
    ];
    for (name, gauge, value) in whole {
        samples.extend(value.map(|value| (name, gauge, labels.clone(), value)));
    }
    samples.extend(of_service(metrics, report, &labels));
    samples
        .extend(report.labels.iter().take(max_series).flat_map(|output| of_labels(metrics, output, &labels)));
    samples
        .extend(report.scores.iter().take(max_series).flat_map(|output| of_scores(metrics, output, &labels)));
    for verdict in Verdict::ALL {
        let mut labels = labels.clone();
        labels.push(verdict.as_str().to_owned());
        let value = f64::from(u8::from(verdict == report.verdict));
        samples.push(("drift_state", &metrics.drift_state, labels, value));
    }
    samples
}

fn of_service<'a>(metrics: &'a Metrics, report: &Report, labels: &[String]) -> Vec<Sample<'a>> {
    let Some(service) = &report.service else { return Vec::new() };
    let errors = service
        .error_ratio
        .map(|ratio| ("request_errors", &metrics.request_errors, labels.to_vec(), ratio.value));
    let quantiles = service.latency.iter().flat_map(|latency| &latency.quantiles);
    let latency = quantiles.map(|quantile| {
        let mut labels = labels.to_vec();
        labels.push((quantile.level * 100.0).round().to_string());
        ("request_latency", &metrics.request_latency, labels, quantile.seconds)
    });
    errors.into_iter().chain(latency).collect()
}

/// `labels`: those of the version, and the window.
fn of_labels<'a>(metrics: &'a Metrics, output: &LabelReport, labels: &[String]) -> Vec<Sample<'a>> {
    let values = [
        ("model_accuracy", &metrics.model_accuracy, output.accuracy.map(|ratio| ratio.value)),
        ("model_labelled", &metrics.model_labelled, share(output.labelled, output.answers)),
    ];
    of_output(&output.output, labels, &values)
}

/// As [`of_labels`].
fn of_scores<'a>(metrics: &'a Metrics, output: &ScoreReport, labels: &[String]) -> Vec<Sample<'a>> {
    let values = [
        ("model_auc", &metrics.model_auc, output.auc.map(|auc| auc.value)),
        ("model_brier", &metrics.model_brier, output.brier.map(|brier| brier.value)),
        ("model_labelled", &metrics.model_labelled, share(output.labelled, output.answers)),
    ];
    of_output(&output.output, labels, &values)
}

fn share(labelled: u64, answers: u64) -> Option<f64> {
    (answers > 0 && labelled <= answers).then(|| labelled as f64 / answers as f64)
}

fn of_output<'a>(
    output: &str,
    labels: &[String],
    values: &[(&'static str, &'a GaugeVec, Option<f64>)],
) -> Vec<Sample<'a>> {
    let mut labels = labels.to_vec();
    labels.insert(labels.len() - 1, output.to_owned());
    let sample =
        |(name, gauge, value): &(_, _, Option<f64>)| Some((*name, *gauge, labels.clone(), (*value)?));
    values.iter().filter_map(sample).collect()
}

fn of_series<'a>(
    metrics: &'a Metrics,
    series: &SeriesReport,
) -> [(&'static str, &'a GaugeVec, Option<f64>); 7] {
    let (psi, ks) = (series.psi.map(|psi| psi.value), series.ks.map(|ks| ks.statistic));
    let p_value = series.ks.map(|ks| ks.p_value);
    macro_rules! seven {
        ($psi:ident $ks:ident $p:ident $js:ident $missing:ident $unseen:ident $out:ident) => {
            [
                (stringify!($psi), &metrics.$psi, psi),
                (stringify!($ks), &metrics.$ks, ks),
                (stringify!($p), &metrics.$p, p_value),
                (stringify!($js), &metrics.$js, series.js),
                (stringify!($missing), &metrics.$missing, series.missing_ratio),
                (stringify!($unseen), &metrics.$unseen, series.unseen_ratio),
                (stringify!($out), &metrics.$out, series.out_of_range_ratio),
            ]
        };
    }
    if series.of == MeasuredOf::Feature {
        seven!(feature_psi feature_ks_statistic feature_ks_p_value feature_js_distance
               feature_missing_ratio feature_unseen_ratio feature_out_of_range_ratio)
    } else {
        seven!(prediction_psi prediction_ks_statistic prediction_ks_p_value prediction_js_distance
               prediction_missing_ratio prediction_unseen_ratio prediction_out_of_range_ratio)
    }
}
