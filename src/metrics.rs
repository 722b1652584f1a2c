//! One struct with every gauge and counter; its doc comments are the HELP texts.

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of latency buckets in seconds.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// How one kind of metric is made from its name, help and labels.
trait Build: Collector + Clone + Sized + 'static {
    fn build(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! build {
    ($($kind:ty => |$name:ident, $help:ident, $labels:ident| $make:expr;)*) => {
        $(impl Build for $kind {
            fn build($name: &str, $help: &str, $labels: &[&str]) -> prometheus::Result<Self> { $make }
        })*
    };
}

build! {
    IntCounterVec => |name, help, labels| IntCounterVec::new(Opts::new(name, help), labels);
    GaugeVec => |name, help, labels| GaugeVec::new(Opts::new(name, help), labels);
    HistogramVec => |name, help, labels|
        HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels);
    IntCounter => |name, help, _labels| IntCounter::new(name, help);
    IntGauge => |name, help, _labels| IntGauge::new(name, help);
}

macro_rules! metrics {
    ($(#[doc = $help:literal] $field:ident: $kind:ty = $name:literal [$($label:literal),*];)*) => {
        /// Every metric of this process, in a registry of its own.
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Metrics {
            /// A fresh registry with every metric in it and the build's information set.
            pub fn new() -> Metrics {
                let registry = Registry::new();
                $(let $field = register::<$kind>(&registry, $name, $help.trim(), &[$($label),*]);)*
                let metrics = Metrics { registry, $($field,)* };
                metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
                metrics
            }
        }
    };
}

fn register<M: Build>(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> M {
    let metric = M::build(name, help, labels).expect("names and labels are literals of this file, tested");
    registry.register(Box::new(metric.clone())).expect("names are unique in this file, tested");
    metric
}

metrics! {
    /// Population stability index of a feature in the window (Jeffreys, decile bins).
    feature_psi: GaugeVec = "tidegate_feature_psi" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// Kolmogorov-Smirnov distance of a feature in the window, 0 to 1.
    feature_ks_statistic: GaugeVec = "tidegate_feature_ks_statistic" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// p-value of the Kolmogorov-Smirnov distance of a feature.
    feature_ks_p_value: GaugeVec = "tidegate_feature_ks_p_value" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// Jensen-Shannon distance of a feature (base 2), 0 to 1.
    feature_js_distance: GaugeVec = "tidegate_feature_js_distance" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// Share of the window's rows without a value of the feature, 0 to 1.
    feature_missing_ratio: GaugeVec = "tidegate_feature_missing_ratio" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// Share of the feature's values in categories that training never saw, 0 to 1.
    feature_unseen_ratio: GaugeVec = "tidegate_feature_unseen_ratio" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// Share of the feature's values beyond the baseline's range, 0 to 1.
    feature_out_of_range_ratio: GaugeVec = "tidegate_feature_out_of_range_ratio" ["model", "model_namespace", "model_version", "role", "feature", "reference", "window"];
    /// Population stability index of a prediction output in the window (Jeffreys, decile bins).
    prediction_psi: GaugeVec = "tidegate_prediction_psi" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// Kolmogorov-Smirnov distance of a prediction output in the window, 0 to 1.
    prediction_ks_statistic: GaugeVec = "tidegate_prediction_ks_statistic" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// p-value of the Kolmogorov-Smirnov distance of a prediction output.
    prediction_ks_p_value: GaugeVec = "tidegate_prediction_ks_p_value" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// Jensen-Shannon distance of a prediction output (base 2), 0 to 1.
    prediction_js_distance: GaugeVec = "tidegate_prediction_js_distance" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// Share of the window's rows without a value of the prediction output, 0 to 1.
    prediction_missing_ratio: GaugeVec = "tidegate_prediction_missing_ratio" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// Share of the prediction output's values in categories that training never saw, 0 to 1.
    prediction_unseen_ratio: GaugeVec = "tidegate_prediction_unseen_ratio" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// Share of the prediction output's values beyond the baseline's range, 0 to 1.
    prediction_out_of_range_ratio: GaugeVec = "tidegate_prediction_out_of_range_ratio" ["model", "model_namespace", "model_version", "role", "output", "reference", "window"];
    /// Largest PSI of a feature against the baseline.
    feature_drift_score: GaugeVec = "tidegate_feature_drift_score" ["model", "model_namespace", "model_version", "role", "window"];
    /// Largest PSI of a prediction output against the baseline.
    prediction_drift_score: GaugeVec = "tidegate_prediction_drift_score" ["model", "model_namespace", "model_version", "role", "window"];
    /// PSI from which a series counts as drift, unless its own tolerance is larger: the state tells.
    drift_threshold: GaugeVec = "tidegate_drift_threshold" ["model", "model_namespace", "model_version", "role", "window"];
    /// Verdict of the newest window: 1 at the state it is in, 0 at the others.
    drift_state: GaugeVec = "tidegate_drift_state" ["model", "model_namespace", "model_version", "role", "window", "state"];
    /// Events of the version in the newest window.
    window_samples: GaugeVec = "tidegate_window_samples" ["model", "model_namespace", "model_version", "role", "window"];
    /// End of the newest window in seconds since 1970.
    window_end: GaugeVec = "tidegate_window_end_timestamp_seconds" ["model", "model_namespace", "model_version", "role", "window"];
    /// Share of the version's answers in the window that are errors, 0 to 1.
    request_errors: GaugeVec = "tidegate_request_errors_ratio" ["model", "model_namespace", "model_version", "role", "window"];
    /// Latency of the version's requests in the window: the median, the 95th and the 99th percentile.
    request_latency: GaugeVec = "tidegate_request_latency_seconds" ["model", "model_namespace", "model_version", "role", "window", "percentile"];
    /// Share of the labelled answers of an output that are right, 0 to 1.
    model_accuracy: GaugeVec = "tidegate_model_accuracy_ratio" ["model", "model_namespace", "model_version", "role", "output", "window"];
    /// Area under the ROC curve of the labelled scores of an output, 0 to 1.
    model_auc: GaugeVec = "tidegate_model_auc_ratio" ["model", "model_namespace", "model_version", "role", "output", "window"];
    /// Brier score of the labelled probabilities of an output: 0 (certain and right) to 1.
    model_brier: GaugeVec = "tidegate_model_brier_ratio" ["model", "model_namespace", "model_version", "role", "output", "window"];
    /// Share of an output's answers that came with a usable label, 0 to 1.
    model_labelled: GaugeVec = "tidegate_model_labelled_ratio" ["model", "model_namespace", "model_version", "role", "output", "window"];
    /// Measured series left out of the gauges by the bound on series per version.
    series_not_exported: GaugeVec = "tidegate_series_not_exported" ["model", "model_namespace", "model_version", "role", "window"];
    /// Source records by what became of them.
    events: IntCounterVec = "tidegate_events_total" ["model", "model_version", "outcome"];
    /// Messages written to the dead-letter topic.
    dead_letters: IntCounterVec = "tidegate_dead_letters_total" ["reason"];
    /// Messages that were dead, but only counted: their topic and reason had used up the budget of dead letters.
    dead_letters_over_budget: IntCounterVec = "tidegate_dead_letters_over_budget_total" ["topic", "reason"];
    /// Messages that were dead, but only counted: the dead-letter topic refused even their headers.
    dead_letters_refused: IntCounterVec = "tidegate_dead_letters_refused_total" ["topic", "reason"];
    /// Whether a source topic is read no more because its schema has broken: 1, or 0 once it is read again.
    topic_stopped: GaugeVec = "tidegate_topic_stopped" ["topic"];
    /// Records between the position of this consumer and the end of the partition.
    consumer_lag: GaugeVec = "tidegate_consumer_lag_records" ["topic", "partition"];
    /// Time from the start of a flush to its committed transaction.
    flush_duration: HistogramVec = "tidegate_flush_duration_seconds" ["stage"];
    /// Time to read back what a stage needs of the partitions it was assigned.
    restore_duration: HistogramVec = "tidegate_restore_duration_seconds" ["stage"];
    /// Flushes by outcome.
    flushes: IntCounterVec = "tidegate_flushes_total" ["outcome"];
    /// Transactions of a stage that did not happen: what was to be written is made again.
    commits_discarded: IntCounterVec = "tidegate_commits_discarded_total" ["stage"];
    /// Event time up to which a model's sources are complete, in seconds since 1970.
    watermark: GaugeVec = "tidegate_watermark_timestamp_seconds" ["model", "model_namespace"];
    /// The canary's share of the traffic, as its owner has told it for now, 0 to 1.
    rollout_weight: GaugeVec = "tidegate_rollout_weight_ratio" ["model", "model_namespace"];
    /// Share of stable's own panes, split in halves by unit, that a test at .01 rejects.
    self_check: GaugeVec = "tidegate_self_check_false_alarm_ratio" ["model", "model_namespace"];
    /// The interval of that share at 95 %: its lower and its upper end.
    self_check_bound: GaugeVec = "tidegate_self_check_false_alarm_bound_ratio" ["model", "model_namespace", "bound"];
    /// Time from the end of a window to its report.
    event_to_report: HistogramVec = "tidegate_event_to_report_seconds" ["model", "model_namespace"];
    /// Actions by sink and what became of them.
    notifications: IntCounterVec = "tidegate_notifications_total" ["sink", "outcome"];
    /// Version of this program; always 1.
    build_info: GaugeVec = "tidegate_build_info" ["version"];
    /// Consumer group rebalances.
    rebalances: IntCounterVec = "tidegate_rebalances_total" ["stage"];
    /// Errors that the Kafka client reported.
    kafka_errors: IntCounterVec = "tidegate_kafka_errors_total" ["stage"];
    /// Times the wanted offset was gone from the broker (retention overran the reader); any increase is an alarm.
    offset_out_of_range: IntCounterVec = "tidegate_offset_out_of_range_total" ["topic", "partition"];
    /// Reports whose counts lack source offsets.
    incomplete: IntCounterVec = "tidegate_incomplete_total" ["model"];
    /// Flushes whose offset range did not continue the last one.
    incomplete_flushes: IntCounterVec = "tidegate_incomplete_flushes_total" ["kind"];
    /// Flushes that came twice and were counted once.
    duplicate_flushes: IntCounter = "tidegate_duplicate_flushes_total" [];
    /// Deltas of models, series or grids that are not watched here.
    foreign_deltas: IntCounter = "tidegate_foreign_deltas_total" [];
    /// Times a stage was started again because its clients had to be rebuilt.
    stage_restarts: IntCounterVec = "tidegate_stage_restarts_total" ["stage"];
    /// Whether a stage of this process does its work: 1, or 0 before it has joined its group and while it fails.
    stage_up: GaugeVec = "tidegate_stage_up" ["stage"];
    /// HTTP connections closed at once because there were as many as may be open.
    http_connections_refused: IntCounter = "tidegate_http_connections_refused_total" [];
    /// Events that came after their pane was closed.
    late_events: IntCounterVec = "tidegate_late_events_total" ["outcome"];
    /// Labels that came in events of their own and are joined with answers, by what became of them.
    labels: IntCounterVec = "tidegate_labels_total" ["outcome"];
    /// Answers without a label that could not wait for one.
    answers_not_joined: IntCounterVec = "tidegate_answers_not_joined_total" ["outcome"];
    /// Panes of versions whose answers had their time to be labelled: matured, or left out because not all is known.
    label_panes: IntCounterVec = "tidegate_label_panes_total" ["outcome"];
    /// Panes closed before their time and marked incomplete, because the open ones held too much.
    panes_closed_early: IntCounter = "tidegate_panes_closed_early_total" [];
    /// Records of Tidegate's own topics that are not used: unreadable, of another format, or with impossible numbers.
    own_records_refused: IntCounterVec = "tidegate_own_records_refused_total" ["topic", "reason"];
    /// Events whose namespace is not the configured one of their model.
    foreign_namespace: IntCounter = "tidegate_foreign_namespace_total" [];
    /// Reports held for the API and the page.
    board_reports: IntGauge = "tidegate_board_reports" [];
    /// Times that something was dropped from the board at one of its bounds.
    board_evictions: IntCounter = "tidegate_board_evictions_total" [];
    /// Attempts to take over a changed configuration.
    config_reloads: IntCounterVec = "tidegate_config_reloads_total" ["outcome"];
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics in the Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => {
                tracing::error!(%error, "metrics could not be encoded");
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_the_build_is_named() {
        assert!(Metrics::new().render().contains("tidegate_build_info{version="));
    }
}
