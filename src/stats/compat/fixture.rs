//! Samples that numpy makes alike: `((i*a + b) % 1009)/100`, squared.

use super::Sample;

fn sequence(count: u32, a: u32, b: u32, shift: f64) -> Vec<f64> {
    let value = |i: u32| f64::from((i * a + b) % 1009) / 100.0;
    (0..count).map(|i| value(i) * value(i) + shift).collect()
}

fn sample(values: &[f64]) -> Sample {
    Sample::of_values(values).unwrap()
}

/// 500 values of a continuous shape, and 300 moved by 4.
pub fn shaped() -> (Sample, Sample) {
    (sample(&sequence(500, 7919, 13, 0.0)), sample(&sequence(300, 104_729, 7, 4.0)))
}

/// [`shaped`], moved by 200 more: nothing in common.
pub fn apart() -> (Sample, Sample) {
    (shaped().0, sample(&sequence(300, 104_729, 7, 4.0).iter().map(|v| v + 200.0).collect::<Vec<_>>()))
}

/// 12,000 values of 1,009 different ones, and 400 moved by ½.
pub fn large() -> (Sample, Sample) {
    (sample(&sequence(12_000, 7919, 13, 0.0)), sample(&sequence(400, 104_729, 7, 0.5)))
}

/// A handful of whole numbers: (i²) mod 7, and (5i + i³) mod 9.
pub fn few() -> (Sample, Sample) {
    let reference: Vec<f64> = (0..90u32).map(|i| f64::from(i * i % 7)).collect();
    let window: Vec<f64> = (0..60u32).map(|i| f64::from((5 * i + i * i * i) % 9)).collect();
    (sample(&reference), sample(&window))
}

/// 20,000 values of 30 even ones and a single 35, and 200 moved by 2.
pub fn rare() -> (Sample, Sample) {
    let reference: Vec<f64> = (0..20_000u32).map(|i| f64::from(i % 30)).chain([35.0]).collect();
    let window: Vec<f64> = (0..200u32).map(|i| f64::from(i % 30) + 2.0).collect();
    (sample(&reference), sample(&window))
}

pub fn assert_close(found: f64, expected: f64, relative: f64) {
    assert!((found / expected - 1.0).abs() <= relative, "{found:e} is not {expected:e}");
}
