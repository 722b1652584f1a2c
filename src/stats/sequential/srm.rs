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
        let share = share_of(weight, self.ratio());
        (share > 0.0 && share < 1.0).then_some(share)
    }

    /// The canary's fraction over stable's: all that the split depends on.
    pub fn ratio(self) -> f64 {
        self.canary / self.stable
    }

    /// Events per request, of both arms together: `w·f_c + (1−w)·f_s`.
    pub fn events_per_request(self, weight: f64) -> f64 {
        weight * self.canary + (1.0 - weight) * self.stable
    }
}

/// `r·w / (r·w + 1 − w)`: the weight itself, to the bit, where r is 1.
fn share_of(weight: f64, ratio: f64) -> f64 {
    let canary = weight * ratio;
    canary / (canary + (1.0 - weight))
}

/// Which splits are let pass beside the one that is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// How far the true weight may lie from the set one (τ), at least 0.
    pub weight: f64,
    /// [`Sampling::ratio`]: a tolerance of requests is another one of events.
    pub ratio: f64,
}

impl Tolerance {
    /// The smallest and the largest share of the events that are let pass where `share` is expected.
    fn around(self, share: f64) -> [f64; 2] {
        let weight = share_of(share, 1.0 / self.ratio);
        let [low, high] = [weight - self.weight, weight + self.weight];
        [share_of(low.max(0.0), self.ratio).min(share), share_of(high.min(1.0), self.ratio).max(share)]
    }
}

/// The logarithm of the Bayes factor of "another split" against "split by `share`", with aᵢ = 100·wᵢ, A = 100:
/// `lnΓ(A) − lnΓ(A+n) + Σ(lnΓ(aᵢ+nᵢ) − lnΓ(aᵢ)) − Σ nᵢ·ln w̃ᵢ`. w̃ is the observed share, clamped to within
/// what is tolerated beside the expected one: the likeliest of all splits that are let pass.
///
/// `share` is the canary's, strictly between 0 and 1.
pub fn ln_bayes_factor(share: f64, tolerance: Tolerance, split: Split) -> f64 {
    let (canary, stable) = (split.canary as f64, split.stable as f64);
    let n = canary + stable;
    if n <= 0.0 {
        return 0.0;
    }
    let evidence = |weight: f64, events: f64| ln_gamma(PRIOR * weight + events) - ln_gamma(PRIOR * weight);
    let [low, high] = tolerance.around(share);
    let tolerated = (canary / n).clamp(low, high);
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
    pub fn add(&mut self, share: f64, tolerance: Tolerance, pane: Split) -> f64 {
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
    pub fn ln_bayes_factor(&self, tolerance: Tolerance) -> f64 {
        self.closed + self.run(tolerance)
    }

    /// `min(1, 1/largest factor)`.
    pub fn p_value(&self) -> f64 {
        (-self.largest).exp().min(1.0)
    }

    fn run(&self, tolerance: Tolerance) -> f64 {
        if self.share <= 0.0 {
            return 0.0;
        }
        ln_bayes_factor(self.share, tolerance, Split { canary: self.canary, stable: self.stable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Tolerance = Tolerance { weight: 0.0, ratio: 1.0 };
    const DEFAULT: Tolerance = Tolerance { weight: DEFAULT_TOLERANCE, ratio: 1.0 };

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
            assert_close(ln_bayes_factor(0.1, NONE, split(stable, canary)), ln, 2e-6);
            let found = SampleRatio::default().add(0.1, NONE, split(stable, canary));
            assert_close(found, p, 2e-6);
        }
        let mut test = SampleRatio::default();
        test.add(0.01, NONE, split(980, 20));
        assert_close(test.ln_bayes_factor(NONE), 2.030476, 1e-6);
        let p = test.add(0.1, NONE, split(860, 140));
        assert_close(test.ln_bayes_factor(NONE), 2.030476 + 6.001169, 1e-6);
        assert_close(p, 3.250129e-4, 1e-5);
    }

    #[test]
    fn a_run_adds_its_counts_and_the_smallest_p_stays() {
        let mut test = SampleRatio::default();
        test.add(0.1, NONE, split(440, 60));
        test.add(0.1, NONE, split(440, 60));
        assert_close(test.ln_bayes_factor(NONE), 0.640383, 2e-6);
        let found = test.add(0.1, NONE, split(8_000, 1_300));
        assert!(found < 1e-8);
        assert_eq!(test.add(0.1, NONE, split(9_000_000, 1_000_000)), found, "what was found stays");
        assert_eq!(test.add(0.0, NONE, split(0, 1_000)), found, "a canary without traffic is left out");
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
        let both = Sampling { stable: 0.1, canary: 0.1 };
        assert!((1..100).map(f64::from).all(|w| both.expected_share(w / 100.0) == Some(w / 100.0)));
    }

    /// What passes is a weight between .09 and .11, whatever of its events is sent.
    #[test]
    fn the_tolerance_is_one_of_requests() {
        for (stable, canary) in [(1.0, 1.0), (0.1, 1.0), (1.0, 0.1)] {
            let sampling = Sampling { stable, canary };
            let share = sampling.expected_share(0.1).expect("both arms have traffic");
            let [low, high] = Tolerance { weight: 0.01, ratio: sampling.ratio() }.around(share);
            assert_close(low, sampling.expected_share(0.09).unwrap(), 1e-12);
            assert_close(high, sampling.expected_share(0.11).unwrap(), 1e-12);
        }
        let [low, high] = Tolerance { weight: 0.01, ratio: 10.0 }.around(share_of(0.005, 10.0));
        assert!(low == 0.0 && high < 0.14, "{low} {high}");
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
                    p = test.add(0.1, DEFAULT, split(250 - canary, canary));
                }
                assert_eq!(p < 1e-3, fires, "{share}: {p}");
            }
        }
        // Nothing of a share that small is a split within the tolerance.
        assert!(ln_bayes_factor(0.005, DEFAULT, split(10_000, 0)).is_finite());
        assert!(ln_bayes_factor(0.005, DEFAULT, split(10_000, 0)) < 0.0);
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
                    test.add(0.1, NONE, split(50 - canary, canary)) <= 0.05
                })
            })
            .count();
        assert!((8..=75).contains(&rejected), "{rejected} of 1500 at .05");
    }
}
