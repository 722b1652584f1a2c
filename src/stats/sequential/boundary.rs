//! Kiefer and Pocock's boundary: a critical value for z = √I·sup|Δ| that holds over all looks while the
//! information I grows from I₀ to R·I₀ (statistics.md §4.5, §9.4).
//!
//! The closed form is a fit to the supremum of a Kiefer process, within a fifth of α. It is calibrated for
//! looks that are at least 5 % of information apart, as [`Looks`] keeps them.

/// A look needs this much more information than the one before.
const LEAST_GROWTH: f64 = 1.05;

/// The first look waits for this many events of the canary in the epoch.
pub const LEAST_CANARY_EVENTS: u64 = 100;

/// R where nothing else is said.
pub const DEFAULT_HORIZON: f64 = 1_000.0;

/// The c that z must exceed at a look: the root of `2e^(−2c²)(1 + c²·ln R) = α`. For 0 < `alpha` < 1 and
/// `horizon` = R ≥ 1 (1: a single look); NaN otherwise.
pub fn critical_value(alpha: f64, horizon: f64) -> f64 {
    let valid = alpha > 0.0 && alpha < 1.0 && horizon >= 1.0 && horizon.is_finite();
    if !valid {
        return f64::NAN;
    }
    let mut c = ((2.0 / alpha).ln() / 2.0).sqrt();
    // A contraction towards the largest root, from below: some 15 steps to the last digit.
    for _ in 0..60 {
        let next = (((2.0 / alpha).ln() + (c * c * horizon.ln()).ln_1p()) / 2.0).sqrt();
        if (next - c).abs() <= 1e-15 * c {
            return next;
        }
        c = next;
    }
    c
}

/// The α whose [`critical_value`] is z: `min(1, 2e^(−2z²)(1 + z²·ln R))`. Falls with z wherever it is below 1.
/// 1 for z ≤ 0 and NaN.
pub fn p_value(z: f64, horizon: f64) -> f64 {
    if z.is_nan() || z <= 0.0 {
        return 1.0;
    }
    if z == f64::INFINITY {
        return 0.0;
    }
    let squared = z * z;
    (2.0 * (-2.0 * squared).exp() * (1.0 + squared * horizon.max(1.0).ln())).min(1.0)
}

/// When a series is looked at, and the smallest p-value so far. Plain numbers, to be stored as they are.
///
/// Looks begin at I₀, the information when the canary has [`LEAST_CANARY_EVENTS`], and go on whenever I grew
/// by 5 %. Beyond R·I₀ the epoch is [over](Looks::is_over): the caller empties its counts and begins the next
/// one. Epoch k is tested at α/(k(k+1)), which adds up to α over all epochs; here its p-values are multiplied
/// by k(k+1) instead, so that one comparison with α decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looks {
    /// From 1.
    pub epoch: u32,
    /// R.
    pub horizon: f64,
    /// I₀ of the epoch; 0 before its first look.
    pub first: f64,
    /// I at the last look; 0 before the first one.
    pub last: f64,
    /// The smallest p-value of all looks and epochs, each times its k(k+1), at most 1: the sequential p-value.
    pub smallest_p: f64,
}

impl Looks {
    /// No look taken. `horizon` below 1 counts as 1.
    pub fn new(horizon: f64) -> Self {
        Looks { epoch: 1, horizon: horizon.max(1.0), first: 0.0, last: 0.0, smallest_p: 1.0 }
    }

    /// Whether a look may be taken at this much information and so many canary events of the epoch.
    pub fn is_due(&self, information: f64, canary_events: u64) -> bool {
        if self.first <= 0.0 {
            return canary_events >= LEAST_CANARY_EVENTS && information > 0.0;
        }
        information >= self.last * LEAST_GROWTH && !self.is_over(information)
    }

    /// Takes a look with the statistic z and returns the sequential p-value after it. The caller asks
    /// [`Looks::is_due`] first.
    pub fn take(&mut self, information: f64, z: f64) -> f64 {
        if self.first <= 0.0 {
            self.first = information;
        }
        self.last = information;
        self.smallest_p = self.smallest_p.min(self.penalty() * p_value(z, self.horizon));
        self.smallest_p
    }

    /// Whether the information has outgrown the epoch.
    pub fn is_over(&self, information: f64) -> bool {
        self.first > 0.0 && information > self.horizon * self.first
    }

    /// Begins the next epoch, with counts emptied by the caller. The smallest p-value stays.
    pub fn begin_epoch(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        (self.first, self.last) = (0.0, 0.0);
    }

    /// The [`critical_value`] that decides in this epoch at a level of `alpha` over all epochs.
    pub fn critical_value(&self, alpha: f64) -> f64 {
        critical_value(alpha / self.penalty(), self.horizon)
    }

    /// k(k+1).
    fn penalty(&self) -> f64 {
        let k = f64::from(self.epoch);
        k * (k + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vector G.
    #[test]
    fn critical_values_are_the_published_ones() {
        for (alpha, horizon, c) in [
            (0.05, 1.0, 1.358102),
            (0.05, 100.0, 1.796179),
            (0.05, 1_000.0, 1.857574),
            (0.01, 1_000.0, 2.090228),
            (0.005, 1_000.0, 2.181017),
            (0.0025, 1_000.0, 2.267411),
        ] {
            let found = critical_value(alpha, horizon);
            assert!((found - c).abs() < 1e-6, "{found} is not {c}");
            assert!((p_value(found, horizon) / alpha - 1.0).abs() < 1e-12, "the two are inverse");
        }
        assert!((p_value(2.1, 1_000.0) - 0.00929727).abs() < 1e-8);
        for (alpha, horizon) in [(0.0, 10.0), (1.0, 10.0), (0.05, 0.5), (f64::NAN, 2.0), (0.05, f64::NAN)] {
            assert!(critical_value(alpha, horizon).is_nan());
        }
    }

    #[test]
    fn p_values_fall_with_the_statistic() {
        for horizon in [1.0, 5.0, 1_000.0, 1e9] {
            let p: Vec<f64> = (0..400).map(|step| p_value(f64::from(step) * 0.01, horizon)).collect();
            assert!(p.windows(2).all(|pair| pair[1] <= pair[0]), "R = {horizon}");
        }
        assert_eq!(
            (p_value(-1.0, 10.0), p_value(f64::NAN, 10.0), p_value(f64::INFINITY, 10.0)),
            (1.0, 1.0, 0.0)
        );
    }

    #[test]
    fn looks_wait_for_the_first_hundred_and_then_for_growth() {
        let mut looks = Looks::new(10.0);
        assert!(!looks.is_due(80.0, 99));
        assert!(looks.is_due(90.0, 100));
        looks.take(90.0, 0.1);
        assert!(!looks.is_due(94.0, 110) && looks.is_due(94.5, 110));
        looks.take(94.5, 2.5);
        assert!(
            (looks.smallest_p - 2.0 * p_value(2.5, 10.0)).abs() < 1e-15,
            "epoch 1 runs at half the level"
        );
        looks.take(120.0, 0.0);
        assert!((looks.smallest_p - 2.0 * p_value(2.5, 10.0)).abs() < 1e-15, "what was found stays");
        assert!(looks.is_due(900.0, 1_000) && !looks.is_over(900.0));
        assert!(!looks.is_due(900.1, 1_000) && looks.is_over(900.1), "R·I₀ is the last look");
    }

    #[test]
    fn later_epochs_ask_for_more() {
        let mut looks = Looks::new(1_000.0);
        assert!((looks.critical_value(0.005) - 2.267411).abs() < 1e-6);
        looks.take(100.0, 0.5);
        looks.begin_epoch();
        assert_eq!((looks.epoch, looks.first, looks.last, looks.smallest_p), (2, 0.0, 0.0, 1.0));
        assert_eq!(looks.critical_value(0.06), critical_value(0.01, 1_000.0));
        let z = looks.critical_value(0.06);
        assert!((looks.take(90.0, z) / 0.06 - 1.0).abs() < 1e-9, "the boundary and the p-value agree");
    }

    /// Uniform values against their known distribution, R = 100: statistics.md has a size of .042 at .05 with
    /// the boundary and .40 without (§4.5).
    #[test]
    fn ninety_looks_together_keep_the_level() {
        const CELLS: usize = 256;
        let mut rng = fastrand::Rng::with_seed(20_261_125);
        let (mut rejected, mut naive, mut most) = (0, 0, 0);
        for _ in 0..2_000 {
            let mut looks = Looks::new(100.0);
            let mut counts = [0u32; CELLS];
            let (mut taken, mut single) = (0, 1.0f64);
            let mut p = 1.0f64;
            for n in 1..=10_000u64 {
                counts[usize::from(rng.u8(..))] += 1;
                if looks.is_due(n as f64, n) {
                    let z = (n as f64).sqrt() * uniform_distance(&counts, n);
                    // Unsplit: this is one epoch.
                    p = p.min(looks.take(n as f64, z) / 2.0);
                    single = single.min(crate::stats::ks::q(z));
                    taken += 1;
                }
            }
            most = most.max(taken);
            rejected += usize::from(p <= 0.05);
            naive += usize::from(single <= 0.05);
        }
        assert!((90..=95).contains(&most), "{most} looks");
        assert!((40..=120).contains(&rejected), "{rejected} of 2000 at .05");
        assert!(naive > 500, "looking {most} times at .05 rejects {naive} of 2000");
    }

    fn uniform_distance(counts: &[u32], n: u64) -> f64 {
        let (mut below, mut largest) = (0u32, 0.0f64);
        for (cell, count) in counts.iter().enumerate() {
            below += count;
            let expected = (cell + 1) as f64 / counts.len() as f64;
            largest = largest.max((f64::from(below) / n as f64 - expected).abs());
        }
        largest
    }
}
