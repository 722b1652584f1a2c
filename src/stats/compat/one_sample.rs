//! The law of the one-sample Kolmogorov–Smirnov distance, `scipy.stats.kstwo`, which scipy's "asymptotic"
//! two-sample p-value takes at the effective size (Simard and L'Ecuyer 2011; statistics.md §2).

use statrs::function::gamma::ln_gamma;
use std::f64::consts::PI;

/// Up to this size the law is computed exactly where the tail is not.
const LARGEST_EXACT: u64 = 140;

/// P(D_n ≥ `d`) of the distance D_n between `n` values and their distribution; 1 for n = 0. Relative error
/// below 1e-6, in at most n steps.
pub fn one_sample_tail(d: f64, n: u64) -> f64 {
    let size = n as f64;
    if n == 0 || d.is_nan() || d * size <= 0.5 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let squared = size * d * d;
    let (exact, from) = (n <= LARGEST_EXACT, if n <= LARGEST_EXACT { 4.0 } else { 2.2 });
    // Where both sides hardly ever go out together, the tail is twice that of one of them.
    if d >= 0.5 || squared >= from {
        (2.0 * one_sided_tail(d, n)).min(1.0)
    } else if exact {
        1.0 - by_matrix_power(d, n)
    } else {
        (1.0 - pelz_good(d * size.sqrt(), size)).clamp(0.0, 1.0)
    }
}

/// P(D⁺_n ≥ d) by Birnbaum and Tingey's sum `d·Σ_j C(n,j)(d + j/n)^(j−1)(1 − d − j/n)^(n−j)`, j ≤ n(1−d).
fn one_sided_tail(d: f64, n: u64) -> f64 {
    let size = n as f64;
    let ln_factorial = ln_gamma(size + 1.0);
    let last = (size * (1.0 - d)).floor() as u64;
    let term = |j: u64| {
        let j = j as f64;
        let (above, below) = (d + j / size, 1.0 - d - j / size);
        let rest = if size > j { (size - j) * below.max(0.0).ln() } else { 0.0 };
        (ln_factorial - ln_gamma(j + 1.0) - ln_gamma(size - j + 1.0) + (j - 1.0) * above.ln() + rest).exp()
    };
    d * (0..=last).map(term).sum::<f64>()
}

/// P(D_n < d) by Marsaglia, Tsang and Wang: the middle of the n-th power of a matrix with k = ⌈n·d⌉.
fn by_matrix_power(d: f64, n: u64) -> f64 {
    let size = n as f64;
    let k = (size * d).floor() + 1.0;
    let (h, width) = (k - size * d, 2 * k as usize - 1);
    let mut factorials = vec![1.0; width + 1];
    (1..=width).for_each(|i| factorials[i] = factorials[i - 1] * i as f64);
    let mut matrix = vec![0.0; width * width];
    for row in 0..width {
        for column in 0..width.min(row + 2) {
            let mut entry = 1.0;
            if column == 0 {
                entry -= h.powi(row as i32 + 1);
            }
            if row == width - 1 {
                entry -= h.powi((width - column) as i32);
            }
            if column == 0 && row == width - 1 {
                entry += (2.0 * h - 1.0).max(0.0).powi(width as i32);
            }
            matrix[row * width + column] = entry / factorials[row + 1 - column];
        }
    }
    let middle = (k as usize - 1) * (width + 1);
    // n ≤ 140 keeps the entries and n!/nⁿ within range.
    let scale: f64 = (1..=n).map(|i| i as f64 / size).product();
    power(matrix, width, n)[middle] * scale
}

fn power(mut base: Vec<f64>, width: usize, mut exponent: u64) -> Vec<f64> {
    let mut result = vec![0.0; width * width];
    (0..width).for_each(|i| result[i * width + i] = 1.0);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = multiply(&result, &base, width);
        }
        base = multiply(&base, &base, width);
        exponent /= 2;
    }
    result
}

fn multiply(a: &[f64], b: &[f64], width: usize) -> Vec<f64> {
    let entry = |at: usize| {
        let (row, column) = (at / width, at % width);
        (0..width).map(|i| a[row * width + i] * b[i * width + column]).sum()
    };
    (0..width * width).map(entry).collect()
}

/// P(√n·D_n ≤ z) by Pelz and Good's expansion to the third order of 1/√n; here 0.04 < z < 1.5.
fn pelz_good(z: f64, n: f64) -> f64 {
    let (z2, z4, p2) = (z * z, z.powi(4), PI * PI);
    let z6 = z2 * z4;
    let mut sums = [0.0; 4];
    let (mut second, mut third) = (0.0, 0.0);
    for k in 0..9 {
        // Both signs of k + ½ at once.
        let half = (f64::from(k) + 0.5).powi(2) * p2;
        let weight = 2.0 * (-half / (2.0 * z2)).exp();
        sums[0] += weight;
        sums[1] += (half - z2) * weight;
        sums[2] +=
            (6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * half + (1.0 - 2.0 * z2) * half * half) * weight;
        sums[3] += ((5.0 - 30.0 * z2) * half.powi(3)
            + (212.0 * z4 - 60.0 * z2) * half * half
            + (135.0 * z4 - 96.0 * z6) * half
            - 30.0 * z6
            - 90.0 * z4 * z4)
            * weight;
        let whole = f64::from(k).powi(2) * p2;
        let weight = 2.0 * (-whole / (2.0 * z2)).exp();
        second += whole * weight;
        third += (3.0 * whole * z2 - whole * whole) * weight;
    }
    let orders = [
        sums[0] / z,
        sums[1] / (6.0 * z4),
        sums[2] / (72.0 * z6 * z) - second / (36.0 * z * z2),
        sums[3] / (6480.0 * z6 * z4) + third / (216.0 * z6),
    ];
    let root = n.sqrt();
    (PI / 2.0).sqrt() * (orders[0] + orders[1] / root + orders[2] / n + orders[3] / (n * root))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.kstwo.sf(d, n)`, scipy 1.17.
    #[test]
    fn tails_equal_scipy() {
        for (n, d, expected) in [
            (1, 0.7, 0.6000000000000001),
            (2, 0.3, 0.98),
            (3, 0.4, 0.5946666666666665),
            (10, 0.2, 0.7487190399999999),
            (10, 0.45, 0.022891810311718164),
            (50, 0.08, 0.880839701941023),
            (50, 0.19, 0.046989328202061253),
            (90, 0.05, 0.9697264902169552),
            (139, 0.03, 0.9992967792819865),
            (139, 0.12, 0.03347987653774751),
            (140, 0.1, 0.11353657290090946),
            (141, 0.09, 0.19156768536655033),
            (200, 0.05, 0.6802625495871704),
            (200, 0.12, 0.005745760601982814),
            (1_000, 0.02, 0.8108971656895577),
            (1_000, 0.043, 0.04811098765192656),
            (1_000, 0.08, 5.154189384789824e-06),
            (5_000, 0.012, 0.4639912166690192),
            (5_000, 0.03, 0.00024159234422666817),
            (20_000, 0.0137, 0.0010875624323608425),
            (100_000, 0.004, 0.08130148920222469),
            (100_000, 0.0051, 0.010973507155875617),
            (1_000_000, 0.0014, 0.039644828095589335),
        ] {
            let found = one_sample_tail(d, n);
            assert!((found / expected - 1.0).abs() < 1e-9, "{found:e} is not {expected:e} at {d}, {n}");
        }
        // Where scipy has the exact law and this the expansion: near 1, where nobody looks.
        assert!((one_sample_tail(0.04, 141) - 0.9710682269013183).abs() < 2e-6);
    }

    #[test]
    fn ends_are_certain() {
        assert_eq!(
            (one_sample_tail(0.0, 9), one_sample_tail(0.05, 9), one_sample_tail(1.0, 9)),
            (1.0, 1.0, 0.0)
        );
        assert_eq!((one_sample_tail(0.5, 0), one_sample_tail(f64::NAN, 9)), (1.0, 1.0));
        assert_eq!(one_sample_tail(1.0 / 9.0, 9), one_sample_tail(1.0 / 9.0, 9).min(1.0));
    }

    #[test]
    fn tails_fall_with_the_distance() {
        for n in [1, 5, 60, 140, 141, 3_000] {
            let tails: Vec<f64> = (0..=500).map(|i| one_sample_tail(f64::from(i) / 500.0, n)).collect();
            assert!(tails.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9), "n = {n}");
        }
    }
}
