//! Measurements → reports: verdicts of all series, the worst of them, and why in one sentence.

use super::labels::{self, Labelled};
use super::measure::{ArmMeasurement, SeriesMeasurement, ratio};
use super::report::{EffectReport, MeasuredOf, Reference, Report, SeriesReport, Severity, Verdict, Window};
use super::scores;
use super::streaks::{Streak, Streaks};
use super::verdict::{Excess, Judgement, Level, VerdictRules};
use super::window::ModelWindow;
use crate::baseline::WatchedModel;
use crate::event::{Role, SeriesKind};

/// The reports of a window, one for each measured version.
///
/// Moves the streaks by one window, except for a revised window (it was counted when it closed), a version
/// whose role is in doubt and a window with missing source offsets: those are inconclusive and change nothing.
pub fn build_reports(
    watched: &WatchedModel,
    window: &ModelWindow,
    measurements: &[ArmMeasurement],
    rules: &VerdictRules,
    streaks: &mut Streaks,
) -> Vec<Report> {
    let stable = measurements.iter().find(|arm| arm.role == Some(Role::Stable));
    measurements.iter().map(|arm| build_report(watched, window, (arm, stable), rules, streaks)).collect()
}

/// A series that weighs in its report's verdict.
struct Judged<'a> {
    measurement: &'a SeriesMeasurement,
    verdict: Verdict,
    severity: Option<Severity>,
    excess: Option<Excess>,
    streak: Streak,
    /// The smallest effect that would have been seen.
    smallest: Option<(&'static str, f64)>,
}

fn build_report(
    watched: &WatchedModel,
    window: &ModelWindow,
    (arm, stable): (&ArmMeasurement, Option<&ArmMeasurement>),
    rules: &VerdictRules,
    streaks: &mut Streaks,
) -> Report {
    let version = watched.versions.get(arm.version.version as usize).map_or("", |one| &one.version);
    let obstacle = obstacle(arm);
    let judge_one = |measurement| judge_series(version, window, measurement, &obstacle, rules, streaks);
    let judged: Vec<Judged<'_>> = arm.series.iter().filter(|one| rules.judges(one)).map(judge_one).collect();
    let (verdict, reason) = match obstacle {
        Some(reason) => (Verdict::Inconclusive, reason),
        None => conclude(&judged, arm.events, rules),
    };
    let against_baseline = judged.iter().filter(|one| one.measurement.reference == Reference::Baseline);
    Report {
        model: watched.id.name.clone(),
        namespace: watched.id.namespace.clone(),
        model_version: version.to_owned(),
        role: arm.role,
        window: Window {
            start: window.start.to_rfc3339(),
            end: window.end.to_rfc3339(),
            panes: arm.panes,
            scale: window.scale,
        },
        revision: arm.revision,
        baseline_age_seconds: watched
            .versions
            .get(arm.version.version as usize)
            .map(|one| (window.end.0 - one.baseline_made.0) as f64 / 1e3),
        events: arm.events,
        traffic_share: arm.traffic_share,
        series: judged.iter().map(series_report).collect(),
        service: arm.service.report(),
        labels: labelled(watched, arm).map_or_else(Vec::new, |own| {
            let stable = stable.filter(|_| arm.role == Some(Role::Canary));
            labels::report(own, stable.and_then(|stable| labelled(watched, stable)))
        }),
        scores: scores::report(watched, arm, stable.filter(|_| arm.role == Some(Role::Canary))),
        feature_drift_score: largest_psi(&arm.series, MeasuredOf::Feature),
        prediction_drift_score: largest_psi(&arm.series, MeasuredOf::Prediction),
        threshold: rules.psi_of_drift(),
        verdict,
        severity: against_baseline.filter_map(|one| one.severity).max(),
        reason,
        complete: arm.complete,
    }
}

fn labelled<'a>(watched: &'a WatchedModel, arm: &'a ArmMeasurement) -> Option<Labelled<'a>> {
    let watched = watched.versions.get(arm.version.version as usize)?;
    Some(Labelled { watched, outputs: &arm.labels })
}

/// Why nothing can be said of a version, whatever was measured.
fn obstacle(arm: &ArmMeasurement) -> Option<String> {
    if let Some(conflict) = &arm.conflict {
        return Some(format!("{conflict}."));
    }
    (!arm.complete).then(|| "Source offsets are missing from this window's counts.".to_owned())
}

fn judge_series<'a>(
    version: &str,
    window: &ModelWindow,
    measurement: &'a SeriesMeasurement,
    obstacle: &Option<String>,
    rules: &VerdictRules,
    streaks: &mut Streaks,
) -> Judged<'a> {
    let Judgement { excess, smallest } = rules.judge(measurement);
    let streak = match excess {
        Some(excess) if obstacle.is_none() && !window.revised => {
            let next = |streak| rules.follow(streak, window.scale, excess.level);
            streaks.follow(version, window.scale, measurement, next)
        }
        _ => streaks.get(version, window.scale, measurement),
    };
    let (verdict, severity) = match (obstacle, excess) {
        (None, Some(excess)) => rules.verdict(excess.level, streak),
        _ => (Verdict::Inconclusive, None),
    };
    Judged { measurement, verdict, severity, excess, streak, smallest }
}

/// The worst verdict against the baseline, and the sentence for it.
fn conclude(judged: &[Judged<'_>], events: u64, rules: &VerdictRules) -> (Verdict, String) {
    let against_baseline = || {
        judged.iter().filter(|one| one.measurement.reference == Reference::Baseline && one.excess.is_some())
    };
    for verdict in [Verdict::Drift, Verdict::Warning] {
        let with_it = || against_baseline().filter(|one| one.verdict == verdict);
        if let Some(worst) = with_it().max_by(|a, b| rank(a).total_cmp(&rank(b))) {
            let others = with_it().count() - 1;
            let more = if others > 0 { format!(" ({others} more series too)") } else { String::new() };
            return (verdict, format!("{}{more}.", describe(worst, verdict)));
        }
    }
    if !against_baseline().any(|one| one.measurement.of != MeasuredOf::Quality) {
        return (Verdict::Inconclusive, too_little(judged, events, rules.min_samples()));
    }
    let suspects = against_baseline().filter(|one| level(one) > Level::Below);
    let reason = match (suspects.max_by(|a, b| rank(a).total_cmp(&rank(b))), rules) {
        (Some(worst), VerdictRules::Thresholds(thresholds)) => {
            let wanted = thresholds.evaluations.max(1);
            let count = worst.streak.warning.max(1);
            format!("{} in {count} of the {wanted} windows needed.", against(worst))
        }
        (_, VerdictRules::Thresholds(thresholds)) => format!(
            "No series of {} reaches PSI {} or KS {} against the baseline.",
            against_baseline().count(),
            thresholds.psi_warning,
            thresholds.ks_warning
        ),
        (_, VerdictRules::Budget(_)) => all_within(against_baseline()),
    };
    (Verdict::Healthy, reason)
}

/// Nothing was found: how much would have been.
fn all_within<'a>(judged: impl Iterator<Item = &'a Judged<'a>>) -> String {
    let (mut count, mut largest) = (0, None);
    for one in judged {
        count += 1;
        if one.measurement.of != MeasuredOf::Quality
            && let Some((metric, effect)) = one.smallest
            && largest.is_none_or(|(_, other)| effect > other)
        {
            largest = Some((metric, effect));
        }
    }
    let seen = largest.map_or(String::new(), |(metric, effect)| {
        format!("; {} of {effect:.2} or more would have been seen in any", metric_name(metric))
    });
    format!("No series of {count} is shown to be beyond its tolerance{seen}.")
}

fn rank(judged: &Judged<'_>) -> f64 {
    // By what is seen now before what is only held.
    judged.excess.map_or(0.0, |excess| f64::from(excess.level as u8) * 1e3 + excess.weight)
}

fn level(judged: &Judged<'_>) -> Level {
    judged.excess.map_or(Level::Below, |excess| excess.level)
}

fn metric_name(metric: &str) -> String {
    match metric {
        "share" => "a share's change".to_owned(),
        "rate" => "a rate's change".to_owned(),
        metric => metric.to_uppercase(),
    }
}

/// Which series, how far, and how sure.
fn describe(judged: &Judged<'_>, verdict: Verdict) -> String {
    let Some(excess) = judged.excess else {
        return String::new();
    };
    let Some(certainty) = excess.certainty else {
        return format!("{} for {}", against(judged), windows(judged, verdict));
    };
    let shown = match certainty.interval {
        _ if excess.level == Level::Below => {
            "is back within its tolerance, not yet for long enough".to_owned()
        }
        Some((lower, _)) => format!("at least {lower:.3} is certain (limit {})", excess.threshold),
        None => format!("surely beyond {}", excess.threshold),
    };
    format!("{} {:.3} against the baseline, {shown}", named(judged, excess.metric), excess.value)
}

fn named(judged: &Judged<'_>, metric: &str) -> String {
    let of = match judged.measurement.of {
        MeasuredOf::Feature => "Feature",
        MeasuredOf::Prediction => "Prediction",
        MeasuredOf::Quality => "Data quality",
    };
    format!("{of} {}: {}", judged.measurement.name, metric_name(metric))
}

/// With plain thresholds: which series reaches which.
fn against(judged: &Judged<'_>) -> String {
    let Some(excess) = judged.excess else {
        return String::new();
    };
    let named = named(judged, excess.metric);
    format!("{named} {:.3} against the baseline reaches {}", excess.value, excess.threshold)
}

fn windows(judged: &Judged<'_>, verdict: Verdict) -> String {
    let count = if verdict == Verdict::Drift { judged.streak.drift } else { judged.streak.warning };
    if count == 1 { "1 window".to_owned() } else { format!("{count} windows in a row") }
}

fn too_little(judged: &[Judged<'_>], events: u64, min_samples: u64) -> String {
    if events < min_samples {
        return format!(
            "{events} events, {} short of the {min_samples} a verdict needs.",
            min_samples - events
        );
    }
    let values = judged.iter().filter(|one| {
        one.measurement.reference == Reference::Baseline && one.measurement.of != MeasuredOf::Quality
    });
    let smallest = values.filter_map(|one| one.smallest).reduce(|a, b| if b.1 < a.1 { b } else { a });
    match smallest {
        Some((metric, effect)) => format!(
            "{events} events, too few: {} below {effect:.2} would not have been seen in any series.",
            metric_name(metric)
        ),
        None => format!("{events} events, but no series has the {min_samples} values a verdict needs."),
    }
}

fn largest_psi(series: &[SeriesMeasurement], of: MeasuredOf) -> Option<f64> {
    let measured = series.iter().filter(|one| one.of == of && one.reference == Reference::Baseline);
    measured.filter_map(|one| one.psi.map(|psi| psi.value)).reduce(f64::max)
}

fn series_report(judged: &Judged<'_>) -> SeriesReport {
    let measurement = judged.measurement;
    let values = |kind: SeriesKind, count: u64| {
        if measurement.kind == kind { ratio(count, measurement.n) } else { None }
    };
    SeriesReport {
        name: measurement.name.clone(),
        of: measurement.of,
        kind: measurement.kind,
        reference: measurement.reference,
        n: measurement.n,
        m: measurement.m,
        missing: measurement.missing,
        type_errors: measurement.type_errors,
        unseen: measurement.unseen,
        out_of_range: measurement.out_of_range,
        missing_ratio: ratio(measurement.missing, measurement.rows),
        unseen_ratio: values(SeriesKind::Categorical, measurement.unseen),
        out_of_range_ratio: values(SeriesKind::Numeric, measurement.out_of_range),
        ks: measurement.ks,
        psi: measurement.psi,
        js: measurement.js,
        hellinger: measurement.hellinger,
        total_variation: measurement.total_variation,
        wasserstein: measurement.wasserstein,
        quantiles: measurement.quantiles,
        mean: measurement.mean,
        verdict: judged.verdict,
        effect: effect_report(judged),
        severity: judged.severity,
    }
}

fn effect_report(judged: &Judged<'_>) -> Option<EffectReport> {
    let excess = judged.excess?;
    let certainty = excess.certainty?;
    Some(EffectReport {
        metric: excess.metric.to_owned(),
        value: excess.value,
        lower: certainty.interval.map(|(lower, _)| lower),
        upper: certainty.interval.map(|(_, upper)| upper),
        tolerance: certainty.tolerance,
        tolerance_from: certainty.tolerance_from,
        p_value: certainty.p_value,
        alpha: certainty.alpha,
        phi: judged.measurement.phi,
        smallest: judged.smallest.map(|(_, effect)| effect),
    })
}
