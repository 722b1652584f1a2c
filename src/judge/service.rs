//! How well a version answered in a window: its error rate, and quantiles of its latency.

use super::report::{LatencyReport, QuantileReport, RatioReport, ServiceReport};
use crate::cells::{LATENCY_CELLS, latency_edge, runs};
use crate::stats::quantile::quantile_interval;
use crate::stats::rates::{Rate, wilson};
use crate::tally::checked::{MAX_COUNT, add_counts_up};
use crate::tally::record::ServiceCounts;

/// The level of the intervals that reports show: they miss the true value once in twenty times.
const ALPHA: f64 = 0.05;
/// The quantiles of latency that are reported.
pub const LATENCY_LEVELS: [f64; 3] = [0.5, 0.95, 0.99];

/// What a window hands to the measurements of service levels. All fields add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Events that carry predictions or an error.
    pub answers: u64,
    /// Those of them that carry an error.
    pub errors: u64,
    /// Values of `latency_ms` that are no latency.
    pub latency_unusable: u64,
    /// Latencies by cell ([`crate::cells::latency_cell`]), [`MAX_COUNT`] in all at most; empty if there are none.
    pub latency: Vec<u64>,
}

impl Service {
    /// Adds a record's counts. Returns whether they fitted; otherwise nothing is added.
    pub(super) fn add(&mut self, counts: &ServiceCounts) -> bool {
        if !counts.latency.is_empty() {
            let fits = match self.latency.is_empty() {
                true => runs::check(&counts.latency, &[0; LATENCY_CELLS]),
                false => runs::check(&counts.latency, &self.latency),
            };
            let added = counts.latency.iter().skip(1).step_by(2).copied().fold(0, u64::saturating_add);
            if fits.is_err() || added.saturating_add(self.latencies()) > MAX_COUNT {
                return false;
            }
            self.latency.resize(LATENCY_CELLS, 0);
            // It was checked that they fit.
            let _ = runs::add(&counts.latency, &mut self.latency);
        }
        self.answers = add_counts_up(self.answers, counts.answers);
        self.errors = add_counts_up(self.errors, counts.errors);
        self.latency_unusable = add_counts_up(self.latency_unusable, counts.latency_unusable);
        true
    }

    /// The record form; nothing if there is nothing to say.
    pub(super) fn record(&self) -> Option<ServiceCounts> {
        (*self != Service::default()).then(|| ServiceCounts {
            answers: self.answers,
            errors: self.errors,
            latency_unusable: self.latency_unusable,
            latency: runs::encode(&self.latency),
        })
    }

    /// Bytes held in memory beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.latency.len() * size_of::<u64>()
    }

    /// Errors of all answers; `None` without answers.
    pub fn error_rate(&self) -> Option<Rate> {
        Rate::new(self.errors, self.answers)
    }

    /// Values of latency that were counted.
    pub fn latencies(&self) -> u64 {
        self.latency.iter().sum()
    }

    /// The `level` quantile (0 to 1, neither end) of the latency in seconds: the middle of its cell, which is
    /// within 1.6 % of it, and the order-statistic interval at `alpha` moved to the edges of its cells. `None`
    /// without latencies.
    pub fn latency_quantile(&self, level: f64, alpha: f64) -> Option<QuantileReport> {
        // Edge e, from the first on, is cut e - 1; no latency stands on a cut.
        let mut ranks = vec![0; 2 * LATENCY_CELLS - 1];
        self.latency.iter().enumerate().for_each(|(cell, count)| ranks[2 * cell] = *count);
        let interval = quantile_interval(&ranks, level, alpha, 1.0)?;
        let last = LATENCY_CELLS - 1;
        let seconds = |edge: usize| latency_edge(edge) / 1e3;
        // The first cut at or above the quantile is the upper end of its cell.
        let cell = interval.cut.unwrap_or(last);
        let value = match cell {
            0 => seconds(1),
            cell if cell == last => seconds(last),
            cell => (seconds(cell) + seconds(cell + 1)) / 2.0,
        };
        Some(QuantileReport {
            level,
            seconds: value,
            lower: interval.lower.map(|cut| seconds(cut + 1)),
            upper: interval.upper.map(|cut| seconds(cut + 1)),
        })
    }

    /// What a report says of it; nothing where events say nothing.
    pub(super) fn report(&self) -> Option<ServiceReport> {
        let error_ratio = self.error_rate().map(|rate| {
            let interval = wilson(rate, ALPHA);
            RatioReport { value: rate.value(), lower: interval.lower, upper: interval.upper }
        });
        let quantile = |level: f64| self.latency_quantile(level, ALPHA);
        let quantiles: Vec<QuantileReport> = LATENCY_LEVELS.into_iter().filter_map(quantile).collect();
        let n = self.latencies();
        let latency = (n > 0).then_some(LatencyReport { n, unusable: self.latency_unusable, quantiles });
        (*self != Service::default()).then_some(ServiceReport {
            answers: self.answers,
            errors: self.errors,
            error_ratio,
            latency,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::latency_cell;

    fn counts(answers: u64, errors: u64, latencies: &[f64]) -> ServiceCounts {
        let mut cells = vec![0; LATENCY_CELLS];
        for latency in latencies {
            cells[usize::from(latency_cell(*latency).expect("a latency"))] += 1;
        }
        ServiceCounts { answers, errors, latency_unusable: 1, latency: runs::encode(&cells) }
    }

    #[test]
    fn counts_add_up_and_survive_their_record() {
        let (first, second) = (counts(10, 1, &[1.0, 5.0]), counts(5, 0, &[5.0]));
        let mut sum = Service::default();
        assert_eq!((sum.record(), sum.report()), (None, None));
        assert!(sum.add(&ServiceCounts { answers: 3, ..ServiceCounts::default() }));
        assert!(sum.latency.is_empty());
        assert!(sum.add(&first) && sum.add(&second));
        assert_eq!((sum.answers, sum.errors, sum.latency_unusable, sum.latencies()), (18, 1, 2, 3));
        let mut back = Service::default();
        assert!(back.add(&sum.record().expect("something")));
        assert_eq!(back, sum);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut sum = Service::default();
        for _ in 0..2 {
            for latency in [vec![LATENCY_CELLS as u64, 1], vec![0], vec![5, u64::MAX, 0, 1, 7]] {
                let before = sum.clone();
                assert!(!sum.add(&ServiceCounts { answers: 1, latency, ..ServiceCounts::default() }));
                assert_eq!(sum, before);
            }
            assert!(sum.add(&counts(1, 0, &[3.0])));
        }
        let most = ServiceCounts { latency: vec![7, MAX_COUNT - 2], ..ServiceCounts::default() };
        assert!(sum.add(&most), "with the two before them");
        let before = sum.clone();
        assert!(!sum.add(&counts(1, 0, &[3.0])) && !sum.add(&most));
        assert_eq!((sum.latencies(), &sum), (MAX_COUNT, &before));
    }

    #[test]
    fn quantiles_are_those_of_the_latencies_within_two_percent_and_their_intervals_hold_them() {
        let mut random = fastrand::Rng::with_seed(3);
        for n in [1, 20, 400, 5_000] {
            let mut latencies: Vec<f64> = (0..n).map(|_| 4.0 * 300_f64.powf(random.f64())).collect();
            let mut service = Service::default();
            assert!(service.add(&counts(n, 0, &latencies)));
            latencies.sort_by(f64::total_cmp);
            for level in LATENCY_LEVELS {
                let rank = ((level * n as f64).ceil() as usize).max(1);
                let exact = latencies[rank - 1] / 1e3;
                let found = service.latency_quantile(level, 0.05).expect("latencies");
                assert!((found.seconds / exact - 1.0).abs() < 0.016, "{level} of {n}: {found:?}, {exact}");
                assert!(found.lower.is_none_or(|lower| lower <= found.seconds));
                assert!(found.upper.is_none_or(|upper| upper >= found.seconds));
            }
        }
    }

    /// 10,000 latencies: the interval of the median holds the true one, 4·√300 ms, and is a few percent wide.
    #[test]
    fn intervals_are_narrow_where_there_is_much_and_open_where_there_is_little() {
        let latencies: Vec<f64> =
            (0..10_000).map(|i| 4.0 * 300_f64.powf((f64::from(i) + 0.5) / 1e4)).collect();
        let mut service = Service::default();
        assert!(service.add(&counts(10_000, 0, &latencies)));
        let median = service.latency_quantile(0.5, 0.05).expect("latencies");
        let (lower, upper) = (median.lower.expect("enough"), median.upper.expect("enough"));
        let truth = 4.0 * 300_f64.sqrt() / 1e3;
        assert!(lower < truth && truth < upper && upper / lower < 1.25, "{median:?}");
        let mut few = Service::default();
        assert!(few.add(&counts(3, 0, &latencies[..3])));
        assert_eq!(few.latency_quantile(0.99, 0.05).expect("three").upper, None);
    }

    #[test]
    fn latencies_beyond_the_cells_are_reported_at_their_ends() {
        let mut service = Service::default();
        assert!(service.add(&counts(4, 4, &[0.0, 1e-9, 1e9, 2e9])));
        let report = service.report().expect("something");
        let ratio = report.error_ratio.expect("answers");
        assert_eq!((ratio.value, ratio.upper), (1.0, 1.0));
        assert!((ratio.lower - 0.5101).abs() < 1e-4, "Wilson's interval of 4 of 4: {}", ratio.lower);
        let quantiles = report.latency.expect("latencies").quantiles;
        assert_eq!((quantiles[0].seconds, quantiles[2].seconds), (7.8125e-6, 1048.576));
    }
}
