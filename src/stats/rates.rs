//! Rates (missing, unseen, out of range, errors, labels that came) and how two of them differ: 2×2 tables.

use super::{normal, total};

/// The normal law decides from this many values of the smaller side on …
const LEAST_FOR_NORMAL: u64 = 1_000;

/// … where every cell of the table expects at least this many. At a level of 1e-6 a tail beyond
/// 4.9 standard deviations counts, where the normal law is off by a factor of about exp(4.9³/(6·√expected)).
const LEAST_EXPECTED_FOR_NORMAL: f64 = 1_000.0;

/// Tables whose probability is this close to the observed one's count as equally likely.
const TIE: f64 = 1.0 + 1e-7;

/// So many of so many: at most all of them, at least one of them looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    hits: u64,
    of: u64,
}

/// Which change counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Differs,
    Rose,
    Fell,
}

/// A value with a two-sided confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

impl Rate {
    /// `None` for more hits than looked at, none looked at, or more than 63 bits.
    pub fn new(hits: u64, of: u64) -> Option<Self> {
        let misses = of.checked_sub(hits)?;
        total(&[hits, misses])?;
        Some(Rate { hits, of })
    }

    pub fn hits(self) -> u64 {
        self.hits
    }

    /// How many were looked at.
    pub fn of(self) -> u64 {
        self.of
    }

    /// hits / of.
    pub fn value(self) -> f64 {
        self.hits as f64 / self.of as f64
    }

    /// The rate as if from `of`/φ independent values, for an autocorrelation factor `phi` (1 and less: as it
    /// is; statistics.md §4.4): both numbers divided and rounded to whole ones.
    pub fn thinned(self, phi: f64) -> Self {
        if phi.is_nan() || phi <= 1.0 {
            return self;
        }
        let of = ((self.of as f64 / phi).round() as u64).max(1);
        Rate { hits: ((self.hits as f64 / phi).round() as u64).min(of), of }
    }

    fn misses(self) -> u64 {
        self.of - self.hits
    }
}

/// P(the window's rate is at least this far from the reference's) when both are one: [`fisher`] where that is
/// due, [`z_test`] for large tables (statistics.md §8.1).
pub fn p_value(reference: Rate, window: Rate, change: Change) -> f64 {
    let smaller = reference.of.min(window.of);
    if smaller < LEAST_FOR_NORMAL || least_expected(reference, window) < LEAST_EXPECTED_FOR_NORMAL {
        fisher(reference, window, change)
    } else {
        z_test(reference, window, change)
    }
}

/// The smallest expected count of the table when both rates are one.
fn least_expected(a: Rate, b: Rate) -> f64 {
    let rarer = (a.hits as f64 + b.hits as f64).min(a.misses() as f64 + b.misses() as f64);
    let smaller = a.of.min(b.of) as f64;
    smaller * rarer / (a.of as f64 + b.of as f64)
}

/// The z test of two proportions, variance pooled: `z = (q − p)/sqrt(P(1−P)(1/n + 1/m))`. 1 when nothing or
/// everything is a hit.
pub fn z_test(reference: Rate, window: Rate, change: Change) -> f64 {
    let (m, n) = (reference.of as f64, window.of as f64);
    let pooled = (reference.hits as f64 + window.hits as f64) / (m + n);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance <= 0.0 {
        return 1.0;
    }
    let z = (window.value() - reference.value()) / variance.sqrt();
    match change {
        Change::Differs => 2.0 * normal::sf(z.abs()),
        Change::Rose => normal::sf(z),
        Change::Fell => normal::sf(-z),
    }
}

/// Fisher's exact test. Given all hits K of both sides, the window's are hypergeometric: `Rose` is
/// P(X ≥ hits), `Fell` P(X ≤ hits), `Differs` the sum over all X that are no more likely than the observed
/// one (as R and scipy have it). Never more than 1.
///
/// Probabilities are taken relative to the most likely X and summed outwards from it, without logarithms of
/// factorials: some forty standard deviations of steps, however large the tables. A p-value below 1e-290 is 0.
pub fn fisher(reference: Rate, window: Rate, change: Change) -> f64 {
    let law = Hypergeometric::new(reference, window);
    let Some(observed) = law.relative(window.hits) else {
        // So far out that only the side matters.
        let above = window.hits > law.mode;
        return match change {
            Change::Rose if !above => 1.0,
            Change::Fell if above => 1.0,
            _ => 0.0,
        };
    };
    let counts = |x: u64, relative: f64| match change {
        Change::Differs => relative <= observed * TIE,
        Change::Rose => x >= window.hits,
        Change::Fell => x <= window.hits,
    };
    let (mut all, mut tail) = (0.0, 0.0);
    let mut add = |x: u64, relative: f64| {
        all += relative;
        if counts(x, relative) {
            tail += relative;
        }
        relative > observed * 1e-17
    };
    add(law.mode, 1.0);
    law.upwards().find(|&(x, relative)| !add(x, relative));
    law.downwards().find(|&(x, relative)| !add(x, relative));
    (tail / all).min(1.0)
}

/// The law of the window's hits X given the hits of both sides.
struct Hypergeometric {
    lowest: u64,
    highest: u64,
    /// The most likely X.
    mode: u64,
    /// All hits K, draws n (the window's size) and the misses that are not drawn at X = 0, m − K.
    hits: f64,
    draws: f64,
    spare: f64,
}

impl Hypergeometric {
    fn new(reference: Rate, window: Rate) -> Self {
        let (hits, draws) = (reference.hits + window.hits, window.of);
        let lowest = hits.saturating_sub(reference.of);
        let highest = hits.min(draws);
        let all = u128::from(reference.of) + u128::from(draws);
        let mode = (u128::from(draws) + 1) * (u128::from(hits) + 1) / (all + 2);
        Hypergeometric {
            lowest,
            highest,
            mode: (mode as u64).clamp(lowest, highest),
            hits: hits as f64,
            draws: draws as f64,
            spare: reference.of as f64 - hits as f64,
        }
    }

    /// P(X = x+1) / P(X = x).
    fn step(&self, x: u64) -> f64 {
        let x = x as f64;
        (self.hits - x) / (x + 1.0) * ((self.draws - x) / (self.spare + x + 1.0))
    }

    /// Every x above the mode with P(X = x) / P(X = mode).
    fn upwards(&self) -> impl Iterator<Item = (u64, f64)> {
        let mut relative = 1.0;
        (self.mode..self.highest).map(move |x| {
            relative *= self.step(x);
            (x + 1, relative)
        })
    }

    /// Every x below the mode likewise.
    fn downwards(&self) -> impl Iterator<Item = (u64, f64)> {
        let mut relative = 1.0;
        (self.lowest..self.mode).rev().map(move |x| {
            relative /= self.step(x);
            (x, relative)
        })
    }

    /// P(X = x) / P(X = mode); `None` below 1e-290.
    fn relative(&self, x: u64) -> Option<f64> {
        let passed = |&(at, relative): &(u64, f64)| at == x || relative < 1e-290;
        let reached = match x {
            x if x > self.mode => self.upwards().find(passed),
            x if x < self.mode => self.downwards().find(passed),
            _ => return Some(1.0),
        };
        reached.filter(|&(at, relative)| at == x && relative >= 1e-290).map(|(_, relative)| relative)
    }
}

/// Wilson's interval, which misses the true rate with probability about `alpha`:
/// `(p̂ + z²/2n ± z·sqrt(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n)` (statistics.md §6). Within 0 … 1.
pub fn wilson(rate: Rate, alpha: f64) -> Estimate {
    let (p, n, z) = (rate.value(), rate.of as f64, normal::two_sided(alpha));
    let centre = p + z * z / (2.0 * n);
    let reach = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let shrink = 1.0 + z * z / n;
    // Rounding must not leave the rate itself outside.
    let lower = ((centre - reach) / shrink).clamp(0.0, p);
    let upper = ((centre + reach) / shrink).clamp(p, 1.0);
    Estimate { value: p, lower, upper }
}

/// The difference of two independent estimates, canary less stable, by Newcombe's rule: from
/// `δ̂ − sqrt((c−l_c)² + (u_s−s)²)` to `δ̂ + sqrt((u_c−c)² + (s−l_s)²)` (statistics.md §6).
pub fn difference(canary: Estimate, stable: Estimate) -> Estimate {
    let value = canary.value - stable.value;
    Estimate {
        value,
        lower: value - (canary.value - canary.lower).hypot(stable.upper - stable.value),
        upper: value + (canary.upper - canary.value).hypot(stable.value - stable.lower),
    }
}

/// Newcombe's interval of the difference of two rates, canary less stable: [`difference`] of Wilson's.
pub fn newcombe(canary: Rate, stable: Rate, alpha: f64) -> Estimate {
    difference(wilson(canary, alpha), wilson(stable, alpha))
}

#[cfg(test)]
mod tests;
