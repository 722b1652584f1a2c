//! The page: one plain HTML document from what the board holds. Pure; it loads nothing and runs no script.

use super::board::{ActionView, ModelView, gravity};
use crate::judge::report::{KsReport, MeasuredOf, Reference, Report, SeriesReport, Verdict};
use crate::policy::action::Alert;
use std::fmt::{Display, Formatter, Result as Formatted, Write};

const STYLE: &str = include_str!("page.css");

/// Seconds after which a browser asks again.
const REFRESH_SECONDS: u32 = 5;

/// Rows of one table; of a wider report the rows that say most come first.
const MAX_ROWS: usize = 200;

/// Text that came from outside, safe between tags and inside quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        self.0.chars().try_for_each(|character| match character {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            other => out.write_char(other),
        })
    }
}

/// A number with three decimals; a dash where nothing could be measured.
struct Number(Option<f64>);

impl Display for Number {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        match self.0 {
            Some(value) => write!(out, "{value:.3}"),
            None => out.write_char('–'),
        }
    }
}

/// A share of 0 to 1 in percent.
struct Percent(Option<f64>);

impl Display for Percent {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        match self.0 {
            Some(share) => write!(out, "{:.1} %", share * 100.0),
            None => out.write_char('–'),
        }
    }
}

/// With three decimals, and not above (`outwards` −1) or not below (1) the value.
fn rounded(value: f64, outwards: f64) -> f64 {
    let nearest: f64 = format!("{value:.3}").parse().unwrap_or(value);
    if (nearest - value) * outwards < 0.0 { nearest + outwards * 0.001 } else { nearest }
}

/// The Kolmogorov–Smirnov distance: one number where it is exact, else its bracket, which rounding never narrows.
struct Ks(Option<KsReport>);

impl Display for Ks {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        match self.0 {
            Some(ks) if ks.upper > ks.statistic => {
                write!(out, "[{:.3}, {:.3}]", rounded(ks.statistic, -1.0), rounded(ks.upper, 1.0))
            }
            ks => Number(ks.map(|ks| ks.statistic)).fmt(out),
        }
    }
}

/// A counted thing with its thousands apart.
struct Count(u64);

impl Display for Count {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                out.write_char('\u{202f}')?;
            }
            out.write_char(digit)?;
        }
        Ok(())
    }
}

/// An RFC 3339 time as people write it, with no fraction when that is zero; other text as it is.
struct Time<'a>(&'a str);

impl Display for Time<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        match self.0.parse::<jiff::Timestamp>() {
            Ok(time) => out.write_str(&time.to_string().replace('T', " ").replace('Z', " UTC")),
            Err(_) => Escaped(self.0).fmt(out),
        }
    }
}

/// A bar filled to `share`, which is cut to 0 to 1.
struct Bar(f64);

impl Display for Bar {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        let percent = 100.0 * if self.0.is_finite() { self.0.clamp(0.0, 1.0) } else { 0.0 };
        write!(out, "<span class=\"track\"><i style=\"width:{percent:.1}%\"></i></span>")
    }
}

struct Badge(Verdict);

impl Display for Badge {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        write!(out, "<span class=\"badge {}\">{}</span>", self.0.as_str(), in_words(self.0))
    }
}

fn in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Warning => "warning",
        Verdict::Drift => "drift",
        Verdict::Inconclusive => "too little data",
    }
}

/// The whole document, with the models in the given order.
pub fn render(models: &[ModelView]) -> String {
    Document(models).to_string()
}

struct Document<'a>(&'a [ModelView]);

impl Display for Document<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> Formatted {
        write!(
            out,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\
             <title>Tidegate</title><style>{STYLE}</style></head><body>\
             <header><h1>Tidegate</h1><span class=\"soft small\">{} · refreshed every {REFRESH_SECONDS} s</span>\
             </header><main>",
            env!("CARGO_PKG_VERSION")
        )?;
        if self.0.is_empty() {
            out.write_str("<p>No model is configured.</p>")?;
        }
        self.0.iter().try_for_each(|view| model(out, view))?;
        out.write_str("</main></body></html>\n")
    }
}

fn model(out: &mut Formatter<'_>, view: &ModelView) -> Formatted {
    let (name, namespace) = (Escaped(&view.model.name), Escaped(&view.model.namespace));
    write!(out, "<section class=\"model\"><header><h2>{name}</h2><span class=\"soft\">{namespace}</span>")?;
    if let Some(verdict) = view.verdict() {
        Badge(verdict).fmt(out)?;
    }
    out.write_str("</header>")?;
    let reports = view.newest();
    if reports.is_empty() {
        out.write_str(
            "<p class=\"soft\">No report yet: this model waits for its first window. A window closes when \
             every source partition has moved past its end.</p>",
        )?;
    } else {
        out.write_str("<div class=\"arms\">")?;
        let newest = reports.iter().map(|report| report.window.end.as_str()).max();
        reports.iter().try_for_each(|report| arm(out, report, newest))?;
        out.write_str("</div>")?;
    }
    out.write_str("<dl><dt>Last action</dt><dd>")?;
    last_action(out, view.actions.first())?;
    out.write_str("</dd><dt>Last alert</dt><dd>")?;
    last_alert(out, view.alerts.first())?;
    out.write_str("</dd></dl>")?;
    reports.iter().try_for_each(|report| table(out, report))?;
    out.write_str("</section>")
}

/// One version's card; `newest`: the end of the model's newest window, to tell a version that has fallen silent.
fn arm(out: &mut Formatter<'_>, report: &Report, newest: Option<&str>) -> Formatted {
    let silent = newest.is_some_and(|newest| report.window.end.as_str() < newest);
    let role = report.role.map_or("", |role| role.as_str());
    let (version, reason) = (Escaped(&report.model_version), Escaped(&report.reason));
    write!(
        out,
        "<div class=\"arm\"><header>{version}<span class=\"role\">{role}</span>{}</header>\
         <div class=\"share\" title=\"share of the model's events in the window\">{}<span>{} of traffic</span></div>\
         <p>{reason}</p><p class=\"soft small\">{} events in the window that ended at {}{}{}</p></div>",
        Badge(report.verdict),
        Bar(report.traffic_share),
        Percent(Some(report.traffic_share)),
        Count(report.events),
        Time(&report.window.end),
        if silent { " · <span class=\"warning\">no newer window of this version</span>" } else { "" },
        if report.complete { "" } else { " · <span class=\"warning\">source offsets are missing</span>" },
    )
}

fn last_action(out: &mut Formatter<'_>, newest: Option<&ActionView>) -> Formatted {
    let Some(view) = newest else { return out.write_str("<span class=\"soft\">none was asked for</span>") };
    let action = &view.action;
    write!(
        out,
        "<strong>{}</strong> of {} at {}: {}",
        action.action.as_str(),
        Escaped(&action.rollout.canary),
        Time(&action.window_end),
        Escaped(&action.reason)
    )?;
    if view.outcomes.is_empty() {
        out.write_str(" <span class=\"soft\">(no answer from a sink yet)</span>")?;
    }
    for outcome in &view.outcomes {
        let class = if outcome.outcome == "delivered" { "healthy" } else { "drift" };
        let (sink, word) = (Escaped(&outcome.sink), Escaped(&outcome.outcome));
        write!(out, " <span class=\"small {class}\">{sink}: {word}")?;
        if let Some(status) = outcome.status {
            write!(out, " ({status})")?;
        }
        let plural = if outcome.attempts == 1 { "" } else { "s" };
        write!(out, " after {} attempt{plural}</span>", outcome.attempts)?;
    }
    Ok(())
}

fn last_alert(out: &mut Formatter<'_>, newest: Option<&Alert>) -> Formatted {
    let Some(alert) = newest else { return out.write_str("<span class=\"soft\">none</span>") };
    write!(
        out,
        "<strong>{}</strong> of {} at {}: {}",
        Escaped(&alert.kind.replace('_', " ")),
        Escaped(&alert.model_version),
        Time(&alert.window_end),
        Escaped(&alert.reason)
    )
}

fn table(out: &mut Formatter<'_>, report: &Report) -> Formatted {
    let role = report.role.map_or(String::new(), |role| format!(" ({})", role.as_str()));
    let panes = if report.window.scale == 1 { "pane" } else { "panes" };
    write!(
        out,
        "<h3>Series of {}{role}<span class=\"soft small\"> · window of {} {panes}</span></h3>\
         <div class=\"scroll\"><table><thead><tr><th>series</th><th>of</th><th class=\"n\">values</th>\
         <th class=\"n\" title=\"Kolmogorov-Smirnov distance; a bracket where the grid is coarser than the data\">KS</th>\
         <th class=\"n\" title=\"population stability index; the bar is full at the PSI of a drift\">PSI</th>\
         <th class=\"n\" title=\"Jensen-Shannon distance, base 2\">JS</th><th class=\"n\">missing</th><th>verdict</th>\
         </tr></thead>",
        Escaped(&report.model_version),
        report.window.scale,
    )?;
    for reference in [Reference::Baseline, Reference::Stable] {
        rows(out, report, reference)?;
    }
    out.write_str("</table></div>")
}

fn rows(out: &mut Formatter<'_>, report: &Report, reference: Reference) -> Formatted {
    let mut series: Vec<&SeriesReport> =
        report.series.iter().filter(|series| series.reference == reference).collect();
    if series.is_empty() {
        return Ok(());
    }
    let against = match reference {
        Reference::Baseline => "against the training baseline",
        Reference::Stable => "against the stable arm, same panes",
    };
    write!(out, "<tbody><tr><th colspan=\"8\">{against}</th></tr>")?;
    // What is missing has a column of its own: a quality series gets a row only for what was found in it.
    let measured = series.len();
    let found = |verdict| matches!(verdict, Verdict::Warning | Verdict::Drift);
    series.retain(|series| series.of != MeasuredOf::Quality || found(series.verdict));
    let quiet = measured - series.len();
    series.sort_by_key(|series| std::cmp::Reverse(gravity(series.verdict)));
    series.iter().take(MAX_ROWS).try_for_each(|series| row(out, series, report.threshold))?;
    let more = series.len().saturating_sub(MAX_ROWS);
    for (count, what) in [(more, "more series"), (quiet, "quality series without a finding")] {
        if count > 0 {
            write!(
                out,
                "<tr><td colspan=\"8\" class=\"soft\">and {count} {what}, in the API's report</td></tr>"
            )?;
        }
    }
    out.write_str("</tbody>")
}

fn row(out: &mut Formatter<'_>, series: &SeriesReport, threshold: f64) -> Formatted {
    let of = match series.of {
        MeasuredOf::Feature => "feature",
        MeasuredOf::Prediction => "prediction",
        MeasuredOf::Quality => "quality",
    };
    let (class, psi) = (series.verdict.as_str(), series.psi.map(|psi| psi.value));
    write!(
        out,
        "<tr><td>{}</td><td class=\"of\">{of}, {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n psi\"><span class=\"{class}\">{}</span>{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"{class}\">{}</td></tr>",
        Escaped(&series.name),
        series.kind.as_str(),
        Count(series.n),
        Ks(series.ks),
        Bar(psi.unwrap_or(0.0) / psi_of_drift(series, threshold)),
        Number(psi),
        Number(series.js),
        Percent(series.missing_ratio),
        in_words(series.verdict),
    )
}

/// The model's, or the series' own tolerance where that is known to be larger.
fn psi_of_drift(series: &SeriesReport, threshold: f64) -> f64 {
    let of_psi = series.effect.as_ref().filter(|effect| effect.metric == "psi");
    of_psi.map_or(threshold, |effect| effect.tolerance.max(threshold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::series;
    use crate::judge::report::EffectReport;

    #[test]
    fn a_psi_bar_is_full_at_the_limit_of_its_series() {
        let limit = |metric: &str, tolerance| {
            let effect = EffectReport {
                metric: metric.to_owned(),
                value: 0.1,
                lower: None,
                upper: None,
                tolerance,
                tolerance_from: Default::default(),
                p_value: 0.5,
                alpha: 1e-7,
                phi: 1.0,
                smallest: None,
            };
            let series = SeriesReport { effect: Some(effect), ..series("amount", MeasuredOf::Feature) };
            psi_of_drift(&series, 0.06)
        };
        assert_eq!([limit("psi", 0.02), limit("psi", 0.3), limit("ks", 0.3)], [0.06, 0.3, 0.06]);
        assert_eq!(psi_of_drift(&series("amount", MeasuredOf::Feature), 0.25), 0.25);
    }

    #[test]
    fn a_bracket_is_rounded_outwards_and_an_exact_distance_to_the_nearest() {
        let shown = |statistic, upper| Ks(Some(KsReport { statistic, upper, p_value: 0.5 })).to_string();
        assert_eq!(shown(0.01465, 0.0155), "[0.014, 0.016]");
        assert_eq!(shown(0.029, 0.0290001), "[0.029, 0.030]");
        assert_eq!(shown(0.0, 0.0004), "[0.000, 0.001]");
        assert_eq!(shown(0.9996, 1.0), "[0.999, 1.000]");
        assert_eq!(shown(0.01465, 0.01465), "0.015");
        assert_eq!(Ks(None).to_string(), "–");
        // What has three decimals stays as it is.
        for thousandth in 0..1_000 {
            let (low, high) = (f64::from(thousandth) / 1e3, f64::from(thousandth + 1) / 1e3);
            assert_eq!(shown(low, high), format!("[{low:.3}, {high:.3}]"));
        }
    }
}
