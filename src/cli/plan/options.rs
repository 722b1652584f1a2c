//! The arguments of `tidegate plan`, checked.

use super::PlanArgs;
use crate::config::parse_duration;
use crate::policy::forecast::{MOST_PANES, Ramp, Step};
use std::str::FromStr;
use std::time::Duration;

/// Steps at most.
const MOST_STEPS: usize = 64;
/// Requests a second at most: more than any topic carries.
const MOST_REQUESTS: f64 = 1e9;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub struct Options {
    pub model: String,
    pub namespace: Option<String>,
    pub stable: Option<String>,
    pub canary: Option<String>,
    /// As written.
    pub rate: String,
    pub ramp: Ramp,
}

impl Options {
    /// The errors are sentences. A step lasts as many whole panes of `pane` as it holds.
    pub fn new(args: &PlanArgs, pane: Duration) -> Result<Options, Vec<String>> {
        let mut errors = Vec::new();
        let model = required("--model: which one?", args.model.as_deref());
        let rate = required("--rate: how many requests, such as 50/min?", args.rate.as_deref());
        let per_second = rate.as_deref().map_err(Clone::clone).and_then(per_second);
        let weights =
            required("--weight: which shares in percent, such as 10,25,50?", args.weight.as_deref())
                .and_then(|text| weights(&text));
        let panes = required("--step: how long is a step, such as 10m?", args.step.as_deref())
            .and_then(|text| panes(&text, pane));
        let phi = number("--phi", &args.phi, "a number from 1 to 1000", |phi| (1.0..=1_000.0).contains(&phi));
        let error_rate = number("--error-rate", &args.error_rate, "a share between 0 and 1", |rate| {
            rate > 0.0 && rate < 1.0
        });
        let mut keep = |problem: Option<&String>| errors.extend(problem.cloned());
        keep(model.as_ref().err());
        keep(per_second.as_ref().err());
        keep(weights.as_ref().err());
        keep(panes.as_ref().err());
        keep(phi.as_ref().err());
        keep(error_rate.as_ref().err());
        if let (Ok(weights), Ok(panes)) = (&weights, &panes)
            && panes.saturating_mul(weights.len() as u64) > MOST_PANES
        {
            errors.push(format!("--step: a plan has at most {MOST_PANES} panes of {pane:?}."));
        }
        match (model, rate, per_second, weights, panes, phi, error_rate) {
            (Ok(model), Ok(rate), Ok(per_second), Ok(weights), Ok(panes), Ok(phi), Ok(error_rate))
                if errors.is_empty() =>
            {
                let steps = weights.into_iter().map(|weight| Step { weight, panes }).collect();
                let ramp =
                    Ramp { requests_per_pane: per_second * pane.as_secs_f64(), steps, phi, error_rate };
                let (namespace, stable, canary) =
                    (args.namespace.clone(), args.stable.clone(), args.canary.clone());
                Ok(Options { model, namespace, stable, canary, rate, ramp })
            }
            _ => Err(errors),
        }
    }
}

fn required(question: &str, value: Option<&str>) -> Result<String, String> {
    value.map(str::to_owned).ok_or_else(|| question.to_owned())
}

fn number(option: &str, text: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    f64::from_str(text)
        .ok()
        .filter(|value| fits(*value))
        .ok_or_else(|| format!("{option}: {text} is not {expected}."))
}

/// `50/min` → requests a second.
fn per_second(text: &str) -> Result<f64, String> {
    let wrong = || format!("--rate: {text} is not a number of requests per s, min or h, such as 50/min.");
    let (requests, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let rate = f64::from_str(requests.trim()).map_err(|_| wrong())? / seconds;
    if rate > 0.0 && rate <= MOST_REQUESTS { Ok(rate) } else { Err(wrong()) }
}

/// `10,25,50` → shares.
fn weights(text: &str) -> Result<Vec<f64>, String> {
    let one = |word: &str| {
        f64::from_str(word.trim()).ok().filter(|weight| *weight > 0.0 && *weight < 100.0).ok_or_else(|| {
            format!(
                "--weight: {word} is not between 0 and 100; at either end there is nothing to compare the canary with."
            )
        })
    };
    let found: Vec<f64> = text.split(',').map(one).collect::<Result<_, _>>()?;
    if found.len() > MOST_STEPS {
        return Err(format!("--weight: at most {MOST_STEPS} steps."));
    }
    Ok(found.into_iter().map(|weight| weight / 100.0).collect())
}

fn panes(text: &str, pane: Duration) -> Result<u64, String> {
    let step = parse_duration(text)
        .ok_or_else(|| format!("--step: {text} is not a duration such as 90s, 10m or 1h30m."))?;
    match step.as_nanos().checked_div(pane.as_nanos()).and_then(|panes| u64::try_from(panes).ok()) {
        None | Some(0) => Err(format!("--step: {text} is shorter than a pane ({pane:?}).")),
        Some(panes) => Ok(panes),
    }
}
