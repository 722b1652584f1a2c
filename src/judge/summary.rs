//! Measurements → reports: verdicts of all series, the worst of them, and why in one sentence.

use super::measure::{ArmMeasurement, SeriesMeasurement, ratio};
use super::report::{MeasuredOf, Reference, Report, SeriesReport, Verdict, Window};
use super::streaks::{Streak, Streaks};
use super::verdict::{Excess, Level, Thresholds, excess, verdict};
use super::window::ModelWindow;
use crate::baseline::WatchedModel;
use crate::event::SeriesKind;

/// The reports of a window, one for each measured version.
///
/// Moves the streaks by one window, except for a revised window (it was counted when it closed), a version
/// whose role is in doubt and a window with missing source offsets: those are inconclusive and change nothing.
pub fn build_reports(
    watched: &WatchedModel,
    window: &ModelWindow,
    measurements: &[ArmMeasurement],
    thresholds: &Thresholds,
    streaks: &mut Streaks,
) -> Vec<Report> {
    measurements.iter().map(|arm| build_report(watched, window, arm, thresholds, streaks)).collect()
}

/// A series that weighs in its report's verdict.
struct Judged<'a> {
    measurement: &'a SeriesMeasurement,
    verdict: Verdict,
    excess: Option<Excess>,
    streak: Streak,
}

fn build_report(
    watched: &WatchedModel,
    window: &ModelWindow,
    arm: &ArmMeasurement,
    thresholds: &Thresholds,
    streaks: &mut Streaks,
) -> Report {
    let version = watched.versions.get(arm.version.version as usize).map_or("", |one| &one.version);
    let obstacle = obstacle(arm);
    let judge_one = |measurement| judge_series(version, window, measurement, &obstacle, thresholds, streaks);
    let judged: Vec<Judged<'_>> = arm.series.iter().map(judge_one).collect();
    let (verdict, reason) = match obstacle {
        Some(reason) => (Verdict::Inconclusive, reason),
        None => conclude(&judged, arm.events, thresholds),
    };
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
        events: arm.events,
        traffic_share: arm.traffic_share,
        series: judged.iter().map(series_report).collect(),
        feature_drift_score: largest_psi(&arm.series, MeasuredOf::Feature),
        prediction_drift_score: largest_psi(&arm.series, MeasuredOf::Prediction),
        threshold: thresholds.psi_drift,
        verdict,
        reason,
        complete: arm.complete,
    }
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
    thresholds: &Thresholds,
    streaks: &mut Streaks,
) -> Judged<'a> {
    let excess = excess(thresholds, measurement);
    let streak = match excess {
        Some(excess) if obstacle.is_none() && !window.revised => {
            streaks.advance(version, window.scale, measurement, excess.level)
        }
        _ => streaks.get(version, window.scale, measurement),
    };
    let verdict = match obstacle {
        Some(_) => Verdict::Inconclusive,
        None => verdict(thresholds, measurement, streak),
    };
    Judged { measurement, verdict, excess, streak }
}

/// The worst verdict against the baseline, and the sentence for it.
fn conclude(judged: &[Judged<'_>], events: u64, thresholds: &Thresholds) -> (Verdict, String) {
    let against_baseline = || {
        judged.iter().filter(|one| one.measurement.reference == Reference::Baseline && one.excess.is_some())
    };
    for verdict in [Verdict::Drift, Verdict::Warning] {
        let with_it = || against_baseline().filter(|one| one.verdict == verdict);
        if let Some(worst) = with_it().max_by(|a, b| weight(a).total_cmp(&weight(b))) {
            let others = with_it().count() - 1;
            let more = if others > 0 { format!(" ({others} more series too)") } else { String::new() };
            return (verdict, format!("{} for {}{more}.", describe(worst), windows(worst, verdict)));
        }
    }
    if against_baseline().next().is_none() {
        return (Verdict::Inconclusive, too_little(events, thresholds.min_samples));
    }
    let suspects = against_baseline().filter(|one| level(one) > Level::Below);
    let reason = match suspects.max_by(|a, b| weight(a).total_cmp(&weight(b))) {
        Some(worst) => {
            let wanted = thresholds.evaluations.max(1);
            format!("{} in {} of the {wanted} windows needed.", describe(worst), worst.streak.warning.max(1))
        }
        None => format!(
            "No series of {} reaches PSI {} or KS {} against the baseline.",
            against_baseline().count(),
            thresholds.psi_warning,
            thresholds.ks_warning
        ),
    };
    (Verdict::Healthy, reason)
}

fn weight(judged: &Judged<'_>) -> f64 {
    judged.excess.map_or(0.0, |excess| excess.weight)
}

fn level(judged: &Judged<'_>) -> Level {
    judged.excess.map_or(Level::Below, |excess| excess.level)
}

fn describe(judged: &Judged<'_>) -> String {
    let Some(excess) = judged.excess else {
        return String::new();
    };
    let of = match judged.measurement.of {
        MeasuredOf::Feature => "Feature",
        MeasuredOf::Prediction => "Prediction",
        MeasuredOf::Quality => "Data quality",
    };
    let (name, metric) = (&judged.measurement.name, excess.metric.to_uppercase());
    format!("{of} {name}: {metric} {:.3} against the baseline reaches {}", excess.value, excess.threshold)
}

fn windows(judged: &Judged<'_>, verdict: Verdict) -> String {
    let count = if verdict == Verdict::Drift { judged.streak.drift } else { judged.streak.warning };
    if count == 1 { "1 window".to_owned() } else { format!("{count} windows in a row") }
}

fn too_little(events: u64, min_samples: u64) -> String {
    if events < min_samples {
        return format!(
            "{events} events, {} short of the {min_samples} a verdict needs.",
            min_samples - events
        );
    }
    format!("{events} events, but no series has the {min_samples} values a verdict needs.")
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
        verdict: judged.verdict,
    }
}
