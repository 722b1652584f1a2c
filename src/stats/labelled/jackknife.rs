//! The standard error of any statistic of counts, whose values may depend on each other within a unit.

use crate::stats::rates::Estimate;

/// A statistic of all buckets and how much it would vary between samples of units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jackknife {
    pub value: f64,
    pub standard_error: f64,
}

impl Jackknife {
    /// Of a statistic with `value` of all buckets, and these values without each of them. `None` with fewer than two.
    pub fn new(value: f64, without: &[f64]) -> Option<Jackknife> {
        if without.len() < 2 {
            return None;
        }
        let size = without.len() as f64;
        let mean = without.iter().sum::<f64>() / size;
        let squares: f64 = without.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Jackknife { value, standard_error: ((size - 1.0) / size * squares).sqrt() })
    }

    /// `value ∓ z·standard_error`, z of a two-sided level `alpha`, within `0 … 1`.
    pub fn interval(&self, alpha: f64) -> Estimate {
        let reach = crate::stats::normal::two_sided(alpha) * self.standard_error;
        let (lower, upper) = (self.value - reach, self.value + reach);
        Estimate { value: self.value, lower: lower.max(0.0), upper: upper.min(1.0) }
    }
}

/// The statistic of the summed counts of all buckets and its delete-one standard error,
/// `SE² = (B−1)/B · Σ_b (θ₍₋b₎ − mean)²`, θ₍₋b₎ without bucket b, over the B buckets that count anything.
/// Buckets are units by a hash (32 of them), so requests of one user stay together.
///
/// All buckets are of one length, of any layout that adds up: one class after the other, say. Takes B times the
/// statistic and two allocations. `None` with fewer than two such buckets, lengths that differ, sums beyond
/// 64 bits, or where the statistic has no value for all buckets, or without one of them.
pub fn jackknife(buckets: &[&[u64]], statistic: impl Fn(&[u64]) -> Option<f64>) -> Option<Jackknife> {
    let mut sums = vec![0u64; buckets.first()?.len()];
    let occupied = || buckets.iter().filter(|bucket| bucket.iter().any(|&count| count > 0));
    for bucket in occupied() {
        if bucket.len() != sums.len() {
            return None;
        }
        for (sum, &count) in sums.iter_mut().zip(*bucket) {
            *sum = sum.checked_add(count)?;
        }
    }
    let value = statistic(&sums)?;
    let mut without = Vec::with_capacity(buckets.len());
    for bucket in occupied() {
        sums.iter_mut().zip(*bucket).for_each(|(sum, count)| *sum -= count);
        without.push(statistic(&sums)?);
        sums.iter_mut().zip(*bucket).for_each(|(sum, count)| *sum += count);
    }
    Jackknife::new(value, &without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::labelled::{ClassCounts, auc, macro_f1};
    use fastrand::Rng;

    fn share(counts: &[u64]) -> Option<f64> {
        let all = counts[0] + counts[1];
        (all > 0).then(|| counts[0] as f64 / all as f64)
    }

    /// Of a mean over buckets of one size, the jackknife is the usual standard error: .6, .5, .7 in tens.
    #[test]
    fn of_a_mean_it_is_the_usual_one() {
        let found = jackknife(&[&[6, 4], &[5, 5], &[7, 3], &[0, 0]], share).unwrap();
        assert!((found.value - 0.6).abs() < 1e-12);
        assert!((found.standard_error - (0.01f64 / 3.0).sqrt()).abs() < 1e-12);
        let interval = found.interval(0.05);
        assert!((interval.upper - (0.6 + 1.959964 * found.standard_error)).abs() < 1e-6);
        assert!((interval.lower - (0.6 - 1.959964 * found.standard_error)).abs() < 1e-6);
    }

    #[test]
    fn without_two_buckets_there_is_no_error() {
        assert_eq!(jackknife(&[], share), None);
        assert_eq!(jackknife(&[&[3, 4]], share), None);
        assert_eq!(jackknife(&[&[3, 4], &[0, 0]], share), None);
        assert_eq!(jackknife(&[&[3, 4], &[1]], share), None);
        assert_eq!(jackknife(&[&[u64::MAX, 4], &[1, 1]], share), None);
    }

    /// 1,000 users with ten scores each, the user's own level in all of them: the jackknife's error of the AUC
    /// is the real one, the spread over repetitions.
    #[test]
    fn errors_are_those_of_repetition() {
        const CELLS: usize = 41;
        let mut rng = Rng::with_seed(6);
        let of_auc = |counts: &[u64]| auc(&counts[..CELLS], &counts[CELLS..]).map(|auc| auc.value);
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for _ in 0..120 {
            let mut buckets = vec![[0u64; 2 * CELLS]; 32];
            for _ in 0..300 {
                let (bucket, positive, own) = (rng.usize(..32), rng.bool(), rng.f64());
                for _ in 0..10 {
                    let score = 0.5 * own + 0.3 * rng.f64() + if positive { 0.2 } else { 0.0 };
                    let cell = 2 * (score * 20.0) as usize + 1;
                    buckets[bucket][cell.min(CELLS - 2) + if positive { 0 } else { CELLS }] += 1;
                }
            }
            let slices: Vec<&[u64]> = buckets.iter().map(|bucket| &bucket[..]).collect();
            let found = jackknife(&slices, of_auc).unwrap();
            values.push(found.value);
            errors.push(found.standard_error);
        }
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let centre = mean(&values);
        let spread = mean(&values.iter().map(|value| (value - centre).powi(2)).collect::<Vec<_>>()).sqrt();
        let ratio = mean(&errors) / spread;
        assert!((0.8..=1.3).contains(&ratio), "{ratio}");
    }

    #[test]
    fn macro_f1_has_an_error_too() {
        let of_classes = |counts: &[u64]| {
            let class = |c: &[u64; 3]| ClassCounts {
                true_positives: c[0],
                false_positives: c[1],
                false_negatives: c[2],
            };
            macro_f1(&counts.as_chunks::<3>().0.iter().map(class).collect::<Vec<_>>())
        };
        let bucket = [40, 5, 10, 8, 3, 1];
        let found = jackknife(&[&bucket, &bucket, &bucket], of_classes).unwrap();
        assert!((found.value - (16.0 / 19.0 + 16.0 / 20.0) / 2.0).abs() < 1e-12);
        assert!(found.standard_error < 1e-12, "equal buckets show no variation");
    }
}
