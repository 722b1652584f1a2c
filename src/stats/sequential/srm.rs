//! Whether the traffic is split as it was set: a sequential test of the sample ratio (Lindon and Malek 2022;
//! statistics.md §5, §9.6).

use statrs::function::gamma::ln_gamma;

/// The weight of the prior around the set shares, in events.
const PRIOR: f64 = 100.0;

/// How far the true share may lie from the set one.
pub const DEFAULT_TOLERANCE: f64 = 0.01;

/// Events of the two arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    pub canary: u64,
    pub stable: u64,
}

/// The share of each arm's requests whose events are sent: above 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    pub stable: f64,
    pub canary: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { stable: 1.0, canary: 1.0 }
    }
}

impl Sampling {
    /// The canary's share of the events when `weight` (0 to 1) of the requests are its: `w·f_c / (w·f_c + (1−w)·f_s)`
    /// (statistics.md §9.6). `None` unless it is strictly between 0 and 1.
    pub fn expected_share(self, weight: f64) -> Option<f64> {
        let share = weight * self.canary / self.events_per_request(weight);
        (share > 0.0 && share < 1.0).then_some(share)
    }

    /// Events per request, of both arms together: `w·f_c + (1−w)·f_s`.
    pub fn events_per_request(self, weight: f64) -> f64 {
        weight * self.canary + (1.0 - weight) * self.stable
    }
}

/// The logarithm of the Bayes factor of "another split" against "split by `share`", with aᵢ = 100·wᵢ, A = 100:
/// `lnΓ(A) − lnΓ(A+n) + Σ(lnΓ(aᵢ+nᵢ) − lnΓ(aᵢ)) − Σ nᵢ·ln w̃ᵢ`. w̃ is the observed share, clamped to within
/// `tolerance` of the expected one (0: the expected one itself): the likeliest of all splits that are let pass.
///
/// `share` is the canary's, strictly between 0 and 1.
pub fn ln_bayes_factor(share: f64, tolerance: f64, split: Split) -> f64 {
    let (canary, stable) = (split.canary as f64, split.stable as f64);
    let n = canary + stable;
    if n <= 0.0 {
        return 0.0;
    }
    let evidence = |weight: f64, events: f64| ln_gamma(PRIOR * weight + events) - ln_gamma(PRIOR * weight);
    let tolerance = tolerance.max(0.0);
    let tolerated = (canary / n).clamp((share - tolerance).max(0.0), (share + tolerance).min(1.0));
    ln_gamma(PRIOR) - ln_gamma(PRIOR + n) + evidence(share, canary) + evidence(1.0 - share, stable)
        - likelihood(canary, tolerated)
        - likelihood(stable, 1.0 - tolerated)
}

/// `n·ln w`, 0 for no events.
fn likelihood(events: f64, weight: f64) -> f64 {
    if events > 0.0 { events * weight.ln() } else { 0.0 }
}

/// The test of one rollout. Plain numbers, to be stored as they are.
///
/// Panes with one weight are one run, and their counts are added; when the weight changes, the run's factor is
/// multiplied to those before. Each factor has mean 1 when the split is as set, so the largest product ever
/// reached exceeds 1/α with probability at most α (Ville).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SampleRatio {
    /// Σ ln BF of the runs that are closed.
    pub closed: f64,
    /// The expected share of the run; 0 before the first one.
    pub share: f64,
    /// Events of the run.
    pub canary: u64,
    /// Events of the run.
    pub stable: u64,
    /// The largest Σ ln BF so far, at least 0.
    pub largest: f64,
}

impl SampleRatio {
    /// Adds a pane whose canary was expected to get `share` of the events ([`Sampling::expected_share`]) and returns the
    /// sequential p-value. Panes near a change of weight are the caller's to leave out; a share outside of
    /// 0 … 1, or at an end of it, is left out here.
    pub fn add(&mut self, share: f64, tolerance: f64, pane: Split) -> f64 {
        let known = share > 0.0 && share < 1.0;
        if !known {
            return self.p_value();
        }
        if share != self.share {
            self.closed += self.run(tolerance);
            (self.share, self.canary, self.stable) = (share, 0, 0);
        }
        self.canary = self.canary.saturating_add(pane.canary);
        self.stable = self.stable.saturating_add(pane.stable);
        self.largest = self.largest.max(self.ln_bayes_factor(tolerance));
        self.p_value()
    }

    /// Σ ln BF up to the last pane.
    pub fn ln_bayes_factor(&self, tolerance: f64) -> f64 {
        self.closed + self.run(tolerance)
    }

    /// `min(1, 1/largest factor)`.
    pub fn p_value(&self) -> f64 {
        (-self.largest).exp().min(1.0)
    }

    fn run(&self, tolerance: f64) -> f64 {
        if self.share <= 0.0 {
            return 0.0;
        }
        ln_bayes_factor(self.share, tolerance, Split { canary: self.canary, stable: self.stable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(stable: u64, canary: u64) -> Split {
        Split { canary, stable }
    }

    fn assert_close(found: f64, expected: f64, relative: f64) {
        assert!((found / expected - 1.0).abs() <= relative, "{found:e} is not {expected:e}");
    }

    /// Vector J.
    #[test]
    fn bayes_factors_are_the_published_ones() {
        for (stable, canary, ln, p) in [
            (8_800, 1_200, 18.432146, 9.885995e-9),
            (9_100, 900, 3.401299, 0.0333300),
            (8_950, 1_050, -0.981847, 1.0),
            (880, 120, 0.640383, 0.527090),
        ] {
            assert_close(ln_bayes_factor(0.1, 0.0, split(stable, canary)), ln, 2e-6);
            let found = SampleRatio::default().add(0.1, 0.0, split(stable, canary));
            assert_close(found, p, 2e-6);
        }
        let mut test = SampleRatio::default();
        test.add(0.01, 0.0, split(980, 20));
        assert_close(test.ln_bayes_factor(0.0), 2.030476, 1e-6);
        let p = test.add(0.1, 0.0, split(860, 140));
        assert_close(test.ln_bayes_factor(0.0), 2.030476 + 6.001169, 1e-6);
        assert_close(p, 3.250129e-4, 1e-5);
    }

    #[test]
    fn a_run_adds_its_counts_and_the_smallest_p_stays() {
        let mut test = SampleRatio::default();
        test.add(0.1, 0.0, split(440, 60));
        test.add(0.1, 0.0, split(440, 60));
        assert_close(test.ln_bayes_factor(0.0), 0.640383, 2e-6);
        let found = test.add(0.1, 0.0, split(8_000, 1_300));
        assert!(found < 1e-8);
        assert_eq!(test.add(0.1, 0.0, split(9_000_000, 1_000_000)), found, "what was found stays");
        assert_eq!(test.add(0.0, 0.0, split(0, 1_000)), found, "a canary without traffic is left out");
        assert_eq!(test.share, 0.1);
    }

    #[test]
    fn sampling_moves_the_expected_share() {
        let tenth = Sampling { stable: 0.1, canary: 1.0 };
        assert_eq!(Sampling::default().expected_share(0.1), Some(0.1));
        assert_close(tenth.expected_share(0.1).unwrap(), 0.1 / 0.19, 1e-12);
        assert_close(tenth.events_per_request(0.1), 0.19, 1e-12);
        let all_zero = Sampling { stable: 0.0, canary: 0.0 };
        for (sampling, weight) in [(tenth, 0.0), (tenth, 1.0), (tenth, f64::NAN), (all_zero, 0.5)] {
            assert_eq!(sampling.expected_share(weight), None);
        }
    }

    /// statistics.md §9.6: .105 for .10 never fires, .13 always does.
    #[test]
    fn the_tolerance_excuses_a_hundredth() {
        let mut rng = fastrand::Rng::with_seed(11);
        for (share, fires) in [(0.10, false), (0.105, false), (0.13, true)] {
            for _ in 0..20 {
                let mut test = SampleRatio::default();
                let mut p = 1.0;
                for _ in 0..200 {
                    let canary = (0..250).filter(|_| rng.f64() < share).count() as u64;
                    p = test.add(0.1, DEFAULT_TOLERANCE, split(250 - canary, canary));
                }
                assert_eq!(p < 1e-3, fires, "{share}: {p}");
            }
        }
        // Nothing of a share that small is a split within the tolerance.
        assert!(ln_bayes_factor(0.005, DEFAULT_TOLERANCE, split(10_000, 0)).is_finite());
        assert!(ln_bayes_factor(0.005, DEFAULT_TOLERANCE, split(10_000, 0)) < 0.0);
    }

    /// statistics.md §5: .020 over 200 looks at .05, in one run.
    #[test]
    fn two_hundred_looks_keep_the_level() {
        let mut rng = fastrand::Rng::with_seed(12);
        let rejected = (0..1_500)
            .filter(|_| {
                let mut test = SampleRatio::default();
                (0..200).any(|_| {
                    let canary = (0..50).filter(|_| rng.f64() < 0.1).count() as u64;
                    test.add(0.1, 0.0, split(50 - canary, canary)) <= 0.05
                })
            })
            .count();
        assert!((8..=75).contains(&rejected), "{rejected} of 1500 at .05");
    }
}
