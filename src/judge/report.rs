//! The report: one JSON record of `tidegate.reports` per (model, version, scale, window), as
//! `schemas/report.schema.json` says. Numbers are never rounded; times are RFC 3339 UTC.

use crate::event::{Role, SeriesKind};
use serde::{Deserialize, Serialize};

/// What a window says of a version or of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Healthy,
    Warning,
    Drift,
    Inconclusive,
}

impl Verdict {
    pub const ALL: [Verdict; 4] = [Verdict::Healthy, Verdict::Warning, Verdict::Drift, Verdict::Inconclusive];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::Warning => "warning",
            Verdict::Drift => "drift",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// How grave a shown effect is: beyond the tolerance, beyond .10, beyond .20 (KS, rates, shares), or PSI beyond
/// .02, .06, .25; none of these is less than the series' own tolerance. Only a drift or worse pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Drift,
    Severe,
}

/// What a measured series is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredOf {
    Feature,
    Prediction,
    Quality,
}

/// What a window is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reference {
    /// The training baseline of the series.
    Baseline,
    /// The stable arm in the same panes.
    Stable,
}

impl Reference {
    pub fn as_str(self) -> &'static str {
        match self {
            Reference::Baseline => "baseline",
            Reference::Stable => "stable",
        }
    }
}

/// Where it comes from what a series may stray.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToleranceSource {
    /// `budget.tolerance`, and .02 of PSI.
    #[default]
    Default,
    /// The baseline's own blocks (`tidegate baseline --time`).
    Baseline,
    /// `[[model.noise]]`, which a person accepted.
    Configuration,
}

/// One version's measurements over one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub model: String,
    pub namespace: String,
    pub model_version: String,
    /// The part this version plays; `null` without a rollout.
    pub role: Option<Role>,
    pub window: Window,
    /// 0 at first; counts revisions by late data.
    pub revision: u32,
    /// Seconds from the making of this version's baseline to the window's end; negative for windows before it.
    pub baseline_age_seconds: Option<f64>,
    /// Events of this version in the window.
    pub events: u64,
    /// This version's share of the model's events in the window, 0 to 1.
    pub traffic_share: f64,
    pub series: Vec<SeriesReport>,
    /// How its events were served; `null` where they say nothing of it.
    pub service: Option<ServiceReport>,
    /// How right its answers were, for each output that came with labels.
    #[serde(default)]
    pub labels: Vec<LabelReport>,
    /// How well its scores told what was true, for each numeric output that came with labels.
    #[serde(default)]
    pub scores: Vec<ScoreReport>,
    /// The largest PSI of a feature against the baseline; `null` when none could be measured.
    pub feature_drift_score: Option<f64>,
    /// The largest PSI of a prediction output against the baseline; `null` when none could be measured.
    pub prediction_drift_score: Option<f64>,
    /// The PSI from which a series counts as drift. A series whose own tolerance is larger (`effect.tolerance`) does
    /// from there on only, so a score beyond the threshold is not always a drift: `verdict` knows.
    pub threshold: f64,
    pub verdict: Verdict,
    /// Of the worst series; `null` when none is beyond its tolerance, and with plain thresholds.
    pub severity: Option<Severity>,
    /// One sentence: which series, how far, or why nothing can be said.
    pub reason: String,
    /// False when source offsets are missing from the window's counts.
    pub complete: bool,
}

/// A stretch of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub start: String,
    pub end: String,
    /// Panes of it that hold data of this version.
    pub panes: u32,
    /// Its length in panes: 1, 4, 16 or 64.
    pub scale: u32,
}

/// One series of a window against one reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    pub name: String,
    pub of: MeasuredOf,
    pub kind: SeriesKind,
    pub reference: Reference,
    /// Values in the window.
    pub n: u64,
    /// Values in the reference.
    pub m: u64,
    /// Rows of the window without a value (absent or null).
    pub missing: u64,
    pub type_errors: u64,
    /// Values of categories that training never saw.
    pub unseen: u64,
    /// Values beyond the baseline's range.
    pub out_of_range: u64,
    pub missing_ratio: Option<f64>,
    pub unseen_ratio: Option<f64>,
    pub out_of_range_ratio: Option<f64>,
    /// `null` for categorical series, and when a side is empty.
    pub ks: Option<KsReport>,
    /// `null` when fewer than two bins are left or a side is empty.
    pub psi: Option<PsiReport>,
    /// Jensen–Shannon distance (base 2, 0 to 1) on PSI's bins.
    pub js: Option<f64>,
    /// Hellinger distance `sqrt(½ Σ (√pᵢ − √qᵢ)²)`, 0 to 1, on PSI's bins (statistics.md §1.4).
    pub hellinger: Option<f64>,
    /// Total variation `½ Σ |pᵢ − qᵢ|`, 0 to 1, on PSI's bins (§1.4).
    pub total_variation: Option<f64>,
    /// `null` unless numeric with finite cuts.
    pub wasserstein: Option<WassersteinReport>,
    /// Of the window's values; `null` unless numeric.
    pub quantiles: Option<QuantilesReport>,
    /// The mean of the window's finite values, Σv/n, beside the baseline; each is summed as an integer, to within 4e-12
    /// of the grid's size ([`crate::cells::fixed::FixedScale`]). `null` unless numeric, and when a value is farther out
    /// than 4,096 times that, or was counted by a program that kept no sums.
    #[serde(default)]
    pub mean: Option<f64>,
    pub verdict: Verdict,
    /// What the verdict rests on; `null` with plain thresholds and where nothing could be tested.
    pub effect: Option<EffectReport>,
    pub severity: Option<Severity>,
}

/// The statistic of a series that stands highest, and how sure it is (statistics.md §8.2, §8.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectReport {
    /// `ks`, `psi` (of a discrete series by value, of categories with the rare ones joined), `share` (difference of one
    /// category's shares) or `rate` (difference of rates).
    pub metric: String,
    /// The measured effect.
    pub value: f64,
    /// The interval of the true effect at 1 − `alpha`: KS distance ∓ sqrt(ln(2/α)/(2·n_e)), n_e = nm/(n+m) of n/φ
    /// values; differences by Newcombe's rule (§6). `null` for PSI, which is tested at its limits instead.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    /// Effects up to here are no drift: δ0, or of PSI PSI0 (§9.7).
    pub tolerance: f64,
    /// Where that comes from.
    #[serde(default)]
    pub tolerance_from: ToleranceSource,
    /// P(an effect this large when the true one is `tolerance`): P1 (§2) of KS, noncentral χ² (§3) of PSI, exact
    /// or normal 2×2 tests of shares and rates.
    pub p_value: f64,
    /// The level of this test: the model's budget of false alarms over all tests of a day (§4.3).
    pub alpha: f64,
    /// The autocorrelation factor φ: n values count as n/φ (§4.4).
    pub phi: f64,
    /// The smallest effect that this window shows with power .8: `tolerance + (c + .42)/√n_e`,
    /// c = sqrt(ln(2/α)/2), of KS (§8.3); `tolerance + (z_{α/2} + .84)·sqrt(P(1−P)/n_e)` of rates and shares.
    pub smallest: Option<f64>,
}

/// Two-sample Kolmogorov–Smirnov on rank cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KsReport {
    /// The distance on the grid: exact with `upper == statistic`, else a lower bound.
    pub statistic: f64,
    /// The certified upper bound of the true distance.
    pub upper: f64,
    /// P1 of statistics.md §2.
    pub p_value: f64,
}

/// The Wasserstein-1 distance `∫ |F_n − F_m|`, bracketed from the counts and the sums of ten spans of the grid
/// ([`crate::stats::wasserstein::with_ks`]); from the counts alone where a side has values that are in no sum
/// (statistics.md §1.4).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WassersteinReport {
    /// In the values' own unit.
    pub lower: f64,
    /// `null` when, without sums, a value beyond the outermost cuts leaves it without a bound.
    pub upper: Option<f64>,
    /// `lower` over the reference's spread, its interquartile range / 1.349 (the standard deviation of a normal
    /// series; §1.3). `null` when the quartiles coincide.
    pub normed: Option<f64>,
}

/// Quantiles of the window's values: for each level the first cut with at least that share of the values at or
/// below it. `null` above the last cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantilesReport {
    pub p05: Option<f64>,
    pub p25: Option<f64>,
    pub p50: Option<f64>,
    pub p75: Option<f64>,
    pub p95: Option<f64>,
}

/// Population stability index on the reference's decile bins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PsiReport {
    /// With Jeffreys' half count per bin on both sides.
    pub value: f64,
    /// Two-sample law without tolerance (statistics.md §3, λ = 0).
    pub p_value: f64,
    /// Less what sampling alone adds: `max(0, PSI − (B−1)(1/n + 1/m))`, B bins (§3).
    pub corrected: f64,
}

/// How a version's events were served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Events that carry predictions or an error.
    pub answers: u64,
    /// Those of them that carry an error.
    pub errors: u64,
    /// Errors of all answers; `null` without answers.
    pub error_ratio: Option<RatioReport>,
    /// `null` where no event carries a usable latency.
    pub latency: Option<LatencyReport>,
}

/// A share of counted things, 0 to 1, with the interval that misses the true one once in twenty times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatioReport {
    pub value: f64,
    /// Wilson's interval (statistics.md §6): events are taken as independent.
    pub lower: f64,
    pub upper: f64,
}

/// A difference of two numbers from 0 to 1, with the interval that misses the true one once in twenty times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DifferenceReport {
    pub value: f64,
    /// By Newcombe's rule, of the intervals of both (statistics.md §6).
    pub lower: f64,
    pub upper: f64,
}

/// How right the answers of a categorical or boolean output were, of those whose label is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelReport {
    /// The key in `predictions` and `labels`.
    pub output: String,
    /// Where labels are joined: the event time of these answers (RFC 3339), from and to. In a steady stream they are
    /// those of the window of this length that ended a horizon earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Values of the output; where labels are joined, those with a label beside them or with a request that is
    /// joined.
    pub answers: u64,
    /// Those of them that have a usable label.
    pub labelled: u64,
    /// Labels of another type than the output, and those that like their answer are none of the baseline's 255 most
    /// frequent categories, so that nobody knows whether they are the same.
    pub unusable: u64,
    /// Right answers of all labelled ones; `null` without any.
    pub accuracy: Option<RatioReport>,
    /// Of a canary: its accuracy less stable's of the same time; `null` where either has none.
    #[serde(default)]
    pub accuracy_difference: Option<DifferenceReport>,
    /// The mean F1 of all classes that occurred or were predicted, 0 to 1; `null` without any.
    pub macro_f1: Option<f64>,
    /// The classes that occurred or were predicted most often, at most 16, in the baseline's order.
    pub classes: Vec<ClassReport>,
}

/// How well the scores of a numeric output told what was true, of those whose label is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreReport {
    /// The key in `predictions` and `labels`.
    pub output: String,
    /// As in [`LabelReport`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// As in [`LabelReport`].
    pub answers: u64,
    /// Those of them that have a usable label.
    pub labelled: u64,
    /// Labelled ones that came true.
    pub positives: u64,
    /// Labels of another type than a truth value, 1 or 0.
    pub unusable: u64,
    /// `null` unless some came true and some did not.
    pub auc: Option<AucReport>,
    /// Of a canary: its AUC less stable's in the same window; `null` where either has no interval.
    pub auc_difference: Option<DifferenceReport>,
    /// `null` where a labelled score is no probability: below 0 or above 1.
    pub brier: Option<BrierReport>,
    /// Of a canary: its Brier score less stable's in the same window; `null` where either has no interval.
    pub brier_difference: Option<DifferenceReport>,
}

/// The area under the ROC curve: P(what came true has a higher score than what did not) + ½·P(both have the same),
/// `Σ_c p⁺_c·(P⁻_{<c} + ½p⁻_c)` over rank cells c of at most 32 cuts (statistics.md §1.4). 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AucReport {
    pub value: f64,
    /// The interval that misses the true one once in twenty times, by the jackknife over the buckets that units are
    /// spread over ([`crate::stats::labelled::jackknife`]), so that events of one unit may be alike, and half of
    /// `bracket` at either end. `null` where less than half of the buckets have labelled scores, as when events name no
    /// units, or all agree.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    /// `Σ p⁺_c·p⁻_c` over the gaps between cuts, inside of which the order of scores is not known: the exact AUC of the
    /// labelled scores is within half of it from `value`. `null`: it is `value`.
    pub bracket: Option<f64>,
}

/// The Brier score `Σ(p − y)²/n` of labelled probabilities p, y = 1 for what came true, else 0. 0 (certain and right) to
/// 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BrierReport {
    pub value: f64,
    /// As of [`AucReport`], without a bracket: squares are summed exactly.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
}

/// One class of an output against all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// One of the baseline's 32 most frequent categories, `false` or `true`; `null`: all other categories together.
    pub class: Option<String>,
    /// Labelled answers that are truly of the class.
    pub labelled: u64,
    /// Labelled answers that say so.
    pub predicted: u64,
    /// Right ones of those predicted; `null` where none was.
    pub precision: Option<RatioReport>,
    /// Right ones of those that are of the class; `null` where none is.
    pub recall: Option<RatioReport>,
    /// `2J/(1+J)`, J the right ones of all that were predicted, or are, of the class; its interval is that of J.
    pub f1: Option<RatioReport>,
}

/// The latency of a version's requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// Latencies counted.
    pub n: u64,
    /// Values of `latency_ms` that are no latency.
    pub unusable: u64,
    /// The median, the 95th and the 99th percentile.
    pub quantiles: Vec<QuantileReport>,
}

/// A quantile of latency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantileReport {
    /// 0 to 1, neither end.
    pub level: f64,
    /// The middle of the quantile's cell, within 1.6 % of the quantile.
    pub seconds: f64,
    /// The interval of order statistics that misses the true quantile at most once in twenty times, from edge to
    /// edge of their cells; `null`: there are too few latencies to bound it on this side.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
}
