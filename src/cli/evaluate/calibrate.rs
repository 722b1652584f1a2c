//! `tidegate evaluate --calibrate`: the detector's false alarms and delays by simulation, as a table.

use crate::pipeline::calibrated::calibrate;
use crate::simulation::calibration::{Bar, Case, Normal, Outcome, Summary, cases};
use indicatif::{ProgressBar, ProgressStyle};

/// Bins of equal mass on which values are counted.
const BINS: u16 = 1_025;
/// Canaries are followed over thousands of panes; fewer bins lose 3 % of a critical value.
const CANARY_BINS: u16 = 257;
/// Repetitions at most: a day of computing.
const MOST_REPETITIONS: u64 = 1_000_000;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub struct Calibration {
    pub seed: u64,
    pub repetitions: u64,
}

impl Calibration {
    /// The errors are sentences.
    pub fn new(seed: &str, repetitions: &str) -> Result<Calibration, Vec<String>> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let seed = number(seed).ok_or_else(|| format!("--seed: {seed} is not a whole number from 0."));
        let repetitions =
            number(repetitions).filter(|number| (1..=MOST_REPETITIONS).contains(number)).ok_or_else(|| {
                format!("--repetitions: {repetitions} is not a number from 1 to {MOST_REPETITIONS}.")
            });
        match (seed, repetitions) {
            (Ok(seed), Ok(repetitions)) => Ok(Calibration { seed, repetitions }),
            (seed, repetitions) => Err([seed.err(), repetitions.err()].into_iter().flatten().collect()),
        }
    }

    /// Runs all cases; the table (Markdown), and whether every bar held.
    pub fn run(&self) -> (String, bool) {
        let cases = cases(self.repetitions);
        let bar = ProgressBar::new(cases.iter().map(|case| case.repetitions).sum());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} repetitions, {elapsed}: {msg}")
        {
            bar.set_style(style);
        }
        let (bins, canary_bins) = (Normal::new(BINS), Normal::new(CANARY_BINS));
        let mut text = format!(
            "`tidegate evaluate --calibrate --seed {} --repetitions {}`\n\n| what | conditions | repetitions | measured | bar |\n|---|---|---|---|---|\n",
            self.seed, self.repetitions
        );
        let mut all_held = true;
        for (place, case) in cases.iter().enumerate() {
            bar.set_message(case.what);
            let normal = if case.follows_a_canary() { &canary_bins } else { &bins };
            let outcome = calibrate(case, normal, self.seed, place as u64, &|| bar.inc(1));
            all_held &= outcome.held;
            text += &row(case, outcome);
        }
        bar.finish_and_clear();
        (text, all_held)
    }
}

fn row(case: &Case, outcome: Outcome) -> String {
    let number = |value: f64| match case.summary {
        Summary::Mean => format!("{value:.4}"),
        Summary::Sum | Summary::Median | Summary::Ninetieth => value.to_string(),
    };
    let bar = match case.bar {
        Bar::AtMost(most) => format!("≤ {most}"),
        Bar::AtLeast(least) => format!("≥ {least}"),
        Bar::None => String::new(),
    };
    let mark = if outcome.held { "" } else { " **not held**" };
    format!(
        "| {} | {} | {} | {} | {bar}{mark} |\n",
        case.what,
        case.conditions,
        case.repetitions,
        number(outcome.value)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_numbers_are_sentences() {
        assert_eq!(Calibration::new("7", "10"), Ok(Calibration { seed: 7, repetitions: 10 }));
        assert_eq!(
            Calibration::new("x", "0").unwrap_err(),
            [
                "--seed: x is not a whole number from 0.",
                "--repetitions: 0 is not a number from 1 to 1000000."
            ]
        );
    }

    #[test]
    fn rows_name_bar_and_result() {
        let case = cases(1).swap_remove(0);
        let held = row(&case, Outcome { value: 2.0, held: true });
        assert!(held.ends_with("| 51 | 2 | ≤ 3 |\n"), "{held}");
        assert!(row(&case, Outcome { value: 4.0, held: false }).ends_with("| 4 | ≤ 3 **not held** |\n"));
    }
}
