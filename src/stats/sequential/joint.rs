//! How far all inputs of two arms together may have moved (statistics.md §9.1).
//!
//! Fifty inputs that each move by a twentieth of a standard deviation are found one by one much later than the
//! answer that adds them up. So before a canary's answers are blamed on its model, the inputs together must be
//! shown to agree: J sums their squared distances, less what chance alone adds.

use std::f64::consts::PI;

/// Standard normal quantile of a one-sided bound at 1 %.
const REACH: f64 = 2.33;

/// E K² of Kolmogorov's K, the limit of √n_e·D. Its standard deviation is π²/√360.
pub const MEAN_SQUARE: f64 = PI * PI / 12.0;

/// One input between the arms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Input {
    /// D, or sup|Δ|.
    pub distance: f64,
    /// Its effective sample size, I/φ.
    pub n_e: f64,
}

/// The distance of all inputs together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joint {
    /// `J = sqrt(max(0, Σ (D_i² − (π²/12)/n_e,i)))`.
    pub statistic: f64,
    /// `UCB(J) = sqrt(J² + 2.33·s_J/n_e)`, n_e the smallest of the inputs'.
    pub upper: f64,
}

/// J and its upper bound. `spread` is s_J, the standard deviation of Σ n_e·D² over comparisons of the stable
/// arm with itself ([`Spread`]), or [`independent_spread`]. With no inputs, both are 0. `None` when an n_e is
/// not positive, a distance not finite, or the spread negative or NaN.
pub fn distance(inputs: &[Input], spread: f64) -> Option<Joint> {
    if spread.is_nan() || spread < 0.0 {
        return None;
    }
    let (mut squared, mut smallest) = (0.0, f64::INFINITY);
    for &Input { distance, n_e } in inputs {
        if !distance.is_finite() || n_e.is_nan() || n_e <= 0.0 {
            return None;
        }
        squared += distance * distance - MEAN_SQUARE / n_e;
        smallest = smallest.min(n_e);
    }
    let squared = squared.max(0.0);
    Some(Joint { statistic: squared.sqrt(), upper: (squared + REACH * spread / smallest).sqrt() })
}

/// s_J of `k` independent inputs: `√k·π²/√360` = .52·√k. Inputs that move together have a larger one, up to
/// .52·k, which is what to take while it has not been measured.
pub fn independent_spread(k: usize) -> f64 {
    (k as f64 / 360.0).sqrt() * PI * PI
}

/// The largest s_J that `k` inputs can have: all of them one.
pub fn largest_spread(k: usize) -> f64 {
    k as f64 * independent_spread(1)
}

/// s_J from comparisons of the stable arm with itself: each of two halves of a pane, by a hash of the unit.
/// Plain numbers, to be stored as they are (Welford's mean and sum of squares).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    pub comparisons: u64,
    pub mean: f64,
    pub squares: f64,
}

impl Spread {
    /// Adds one comparison of all inputs. One that is not finite is left out.
    pub fn add(&mut self, inputs: &[Input]) {
        let sum: f64 = inputs.iter().map(|input| input.n_e * input.distance * input.distance).sum();
        if !sum.is_finite() {
            return;
        }
        self.comparisons = self.comparisons.saturating_add(1);
        let before = sum - self.mean;
        self.mean += before / self.comparisons as f64;
        self.squares += before * (sum - self.mean);
    }

    /// The sample standard deviation; `None` with fewer than two comparisons.
    pub fn value(&self) -> Option<f64> {
        (self.comparisons >= 2).then(|| (self.squares / (self.comparisons - 1) as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const N_E: f64 = 450.0;

    #[test]
    fn chance_is_taken_off_and_reach_added() {
        let noise = (MEAN_SQUARE / N_E).sqrt();
        let inputs = [Input { distance: noise, n_e: N_E }; 50];
        let found = distance(&inputs, 3.5).unwrap();
        assert!(found.statistic < 1e-7);
        assert!((found.upper - (2.33 * 3.5 / N_E).sqrt()).abs() < 1e-12);
        let moved = distance(&[Input { distance: noise.hypot(0.02), n_e: N_E }; 64], 0.0).unwrap();
        assert!((moved.statistic - 0.16).abs() < 1e-9 && moved.upper == moved.statistic);
        assert_eq!(distance(&[], 0.0), Some(Joint { statistic: 0.0, upper: 0.0 }));
        for (d, n_e, spread) in
            [(0.1, 0.0, 1.0), (f64::NAN, 9.0, 1.0), (0.1, 9.0, -1.0), (0.1, 9.0, f64::NAN)]
        {
            assert_eq!(distance(&[Input { distance: d, n_e }], spread), None);
        }
    }

    #[test]
    fn spreads_have_their_published_size() {
        assert!((independent_spread(1) - 0.52).abs() < 0.001);
        assert!((independent_spread(50) - 3.68).abs() < 0.01);
        assert!((largest_spread(50) - 26.0).abs() < 0.05);
        let mut spread = Spread::default();
        for sum in [1.0f64, 2.0, 6.0] {
            assert_eq!(spread.value().is_some(), spread.comparisons >= 2);
            spread.add(&[Input { distance: sum.sqrt(), n_e: 1.0 }]);
        }
        spread.add(&[Input { distance: f64::INFINITY, n_e: 1.0 }]);
        assert!((spread.value().unwrap() - 7.0f64.sqrt()).abs() < 1e-12);
    }

    /// Uniform values on 64 cells, those of one arm moved by `shift` of probability across the middle.
    fn input(rng: &mut Rng, shift: f64) -> Input {
        let mut draw = |events: usize, shift: f64| {
            let mut counts = [0u64; 64];
            for _ in 0..events {
                let u = rng.f64();
                let moved = if u < 0.5 && rng.f64() < 2.0 * shift { u + 0.5 } else { u };
                counts[(moved * 64.0) as usize] += 1;
            }
            counts
        };
        let (canary, stable) = (draw(500, shift), draw(4_500, 0.0));
        let (mut below, mut largest) = (0.0f64, 0.0f64);
        for cell in 0..64 {
            below += canary[cell] as f64 / 500.0 - stable[cell] as f64 / 4_500.0;
            largest = largest.max(below.abs());
        }
        Input { distance: largest, n_e: N_E }
    }

    /// Twenty independent inputs. In truth alike: J stays below the reach, s_J is near .52·√20 = 2.33. Each
    /// moved by .02: the bound holds the true J of .089 nearly always.
    #[test]
    fn the_bound_holds_the_true_distance() {
        let mut rng = Rng::with_seed(9);
        let mut spread = Spread::default();
        let mut beyond = 0;
        for _ in 0..200 {
            let inputs: Vec<Input> = (0..20).map(|_| input(&mut rng, 0.0)).collect();
            spread.add(&inputs);
            let reach = 2.33 * independent_spread(20) / N_E;
            beyond += usize::from(distance(&inputs, 0.0).unwrap().statistic > reach.sqrt());
        }
        assert!(beyond <= 8, "{beyond} of 200 at .01");
        assert!((1.9..=2.7).contains(&spread.value().unwrap()), "{spread:?}");
        let truth = 0.02 * 20f64.sqrt();
        let missed = (0..100)
            .filter(|_| {
                let inputs: Vec<Input> = (0..20).map(|_| input(&mut rng, 0.02)).collect();
                distance(&inputs, independent_spread(20)).unwrap().upper < truth
            })
            .count();
        assert!(missed <= 5, "{missed} of 100");
    }
}
