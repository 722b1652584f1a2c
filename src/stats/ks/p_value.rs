//! How likely a distance is without drift (statistics.md §2).
//!
//! P1 is Kolmogorov's limit with Hodges' shift less half a lattice step. Ties make all of these conservative.

use super::Ks;
use std::f64::consts::PI;

/// Exact p-values cost about 2·D·n·m steps: none above this (a few milliseconds).
const MOST_EXACT_STEPS: u64 = 2_000_000;

/// P(K > z) of Kolmogorov's distribution: `2Σ(−1)^(k−1) e^(−2k²z²)`, for small z by the theta form. 1 for
/// z ≤ 0; NaN stays NaN.
pub fn q(z: f64) -> f64 {
    if z.is_nan() {
        return z;
    }
    if z <= 0.0 {
        return 1.0;
    }
    if z < 0.8 {
        let base = -PI * PI / (8.0 * z * z);
        let sum: f64 = [1.0, 9.0, 25.0, 49.0].iter().map(|odd_squared| (odd_squared * base).exp()).sum();
        return (1.0 - (2.0 * PI).sqrt() / z * sum).clamp(0.0, 1.0);
    }
    // At z = 0.8 the sixth term is e^-46.
    let mut sum = 0.0;
    for (k, sign) in [(1.0, 1.0), (2.0, -1.0), (3.0, 1.0), (4.0, -1.0), (5.0, 1.0)] {
        sum += sign * (-2.0 * k * k * z * z).exp();
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

/// P1, for decisions: P(a distance of at least `statistic`) when the true distance is at most `tolerance`
/// (0: no drift at all) and the samples have `n` and `m` values. 1 when a sample is empty.
pub fn p1(statistic: f64, n: u64, m: u64, tolerance: f64) -> f64 {
    p1_effective(statistic, n, m, n as f64, tolerance)
}

/// [`p1`] for a window whose `n` dependent values are worth `n_eff` independent ones (statistics.md §4.4).
pub fn p1_effective(statistic: f64, n: u64, m: u64, n_eff: f64, tolerance: f64) -> f64 {
    match shifted(statistic, n, m, n_eff, tolerance) {
        Some(shifted) => q(shifted.z1),
        None => 1.0,
    }
}

/// P2, closest to the exact value down to 1e-8: P1 with the fourth-order large-deviation term.
pub fn p2(statistic: f64, n: u64, m: u64, tolerance: f64) -> f64 {
    let Some(Shifted { z, z1, n_e }) = shifted(statistic, n, m, n as f64, tolerance) else { return 1.0 };
    let (n, m) = (n as f64, m as f64);
    let balance = n * m / ((n + m) * (n + m));
    q((z1 * z1 + 2.0 / 9.0 * (1.0 - balance) * z.powi(4) / n_e).sqrt())
}

struct Shifted {
    /// √n_e·(D − tolerance).
    z: f64,
    /// z with Hodges' shift less half a step of the lattice that D lives on.
    z1: f64,
    /// n·m/(n+m), of effective sizes.
    n_e: f64,
}

/// `None` when the distance is within the tolerance or a size is not positive.
fn shifted(statistic: f64, n: u64, m: u64, n_eff: f64, tolerance: f64) -> Option<Shifted> {
    let beyond = statistic - tolerance.max(0.0);
    let effective = n_eff > 0.0 && n_eff.is_finite();
    if n == 0 || m == 0 || !effective || beyond.is_nan() || beyond <= 0.0 {
        return None;
    }
    let (n_raw, m_raw) = (n as f64, m as f64);
    let (larger, smaller) = (n_eff.max(m_raw), n_eff.min(m_raw));
    let n_e = n_eff * m_raw / (n_eff + m_raw);
    let hodges = (larger + 2.0 * smaller) / (6.0 * (larger * smaller * (larger + smaller)).sqrt());
    let half_step = n_e.sqrt() * greatest_common_divisor(n, m) as f64 / (2.0 * n_raw * m_raw);
    let z = n_e.sqrt() * beyond;
    Some(Shifted { z, z1: (z + hodges - half_step).max(0.0), n_e })
}

/// P(a distance of at least `numerator`/(n·m)) for samples without ties: the share of lattice paths that
/// leave the band, by a recursion without cancellation. Takes about 2·numerator steps (at most n·m) and
/// 8·m bytes. 1 when a sample is empty.
pub fn exact(numerator: u128, n: u64, m: u64) -> f64 {
    if numerator == 0 || n == 0 || m == 0 {
        return 1.0;
    }
    // The band is narrow in the shorter row.
    let (n, m) = (n.max(m), n.min(m));
    let (rows, columns, width) = (i128::from(n), i128::from(m), numerator.min(1 << 120) as i128);
    // left[j]: the chance that a path through (i, j) has left the band; 1 outside of it.
    let mut left = vec![1.0f64; m as usize + 1];
    for i in 0..=rows {
        // |i·m − j·n| < numerator, for j.
        let first = ((i * columns - width).div_euclid(rows) + 1).clamp(0, columns + 1) as usize;
        let last = (i * columns + width - 1).div_euclid(rows).min(columns) as usize;
        if first > 0 {
            left[first - 1] = 1.0;
        }
        let i = i as f64;
        for j in first..=last {
            left[j] = match j {
                0 if i == 0.0 => 0.0,
                0 => left[0],
                _ => (i * left[j] + j as f64 * left[j - 1]) / (i + j as f64),
            };
        }
    }
    left[m as usize].min(1.0)
}

/// The p-value for decisions: exact for small samples and for sizes near each other (where P1 is least
/// sure), else [`p1`]. A tolerance always takes P1.
pub fn p_value(ks: &Ks, tolerance: f64) -> f64 {
    let (smaller, larger) = (ks.n.min(ks.m), ks.n.max(ks.m));
    let steps = smaller.saturating_mul(larger);
    let small = smaller < 50 && steps <= MOST_EXACT_STEPS;
    let near = larger < smaller.saturating_mul(2) && steps <= 1_000_000;
    if tolerance <= 0.0 && (small || near) {
        exact(ks.numerator, ks.n, ks.m)
    } else {
        p1(ks.statistic, ks.n, ks.m, tolerance)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
