//! How far an ordinary hour of a series lies from its whole baseline: the change that is no drift (statistics.md §9.7).
//!
//! Traffic that moves with the time of day is never distributed as the whole baseline is. The baseline's own blocks,
//! each as long as a window, show how far it strays.
//!
//! statistics.md takes the 99th percentile of the blocks' distances. One window in a hundred is beyond it by its
//! nature, and the distances of short blocks are mostly sampling noise, which the test then pays for twice. By
//! simulation (51 series, 7 days, a wander of sd .1σ within two hours) it lets 174 windows alarm. So the tail of the
//! squared distances is extrapolated, and the part of it that is noise taken off:
//!
//! `δ0² = q₉₀ + β·ln(.1/p) − 4v·½ln(2/p)·mean(1/n_e)`, p = 1e-5, with q₉₀ and β the 90th percentile of D² over the
//! blocks and the mean excess over it, and v the largest F(1−F) of the baseline (of categories p(1−p)). Kolmogorov's law
//! and the normal one both have such tails in D², so that blocks without any drift come to about 0, and no window alarms in
//! the same simulation. Of a swing that is bounded and smaller than the noise of a block, δ0 is up to twice its size.

use super::{ks, total};

/// Blocks with fewer values say more about chance than about time.
pub const LEAST_VALUES: u64 = 50;
/// With fewer blocks there is no tail.
pub const LEAST_BLOCKS: usize = 20;
/// The share of windows that may stray farther.
const BEYOND: f64 = 1e-5;
/// The share of blocks in the tail.
const TAIL: f64 = 0.1;

/// The distances of blocks of one length from the rest of the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnBlocks<'a> {
    whole: &'a [u64],
    ordered: bool,
    /// D² of each block.
    squares: Vec<f64>,
    /// Σ 1/n_e.
    inverse_sizes: f64,
}

/// What blocks of one length come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Blocks that were compared.
    pub blocks: usize,
    /// δ0, 0 to 1: of rank cells a Kolmogorov–Smirnov distance, of categories the change of one's share.
    pub distance: f64,
}

impl<'a> OwnBlocks<'a> {
    /// No blocks yet of a baseline with these counts per cell. `ordered`: they are rank cells; otherwise each is a
    /// category.
    pub fn new(whole: &'a [u64], ordered: bool) -> Self {
        OwnBlocks { whole, ordered, squares: Vec::new(), inverse_sizes: 0.0 }
    }

    /// Compares a block of the baseline with the rest of it. Blocks of fewer than [`LEAST_VALUES`] are passed over, as
    /// is what is no part of the baseline or all of it.
    pub fn add(&mut self, block: &[u64]) {
        let Some(n) = total(block).filter(|&n| n >= LEAST_VALUES && self.whole.len() == block.len()) else {
            return;
        };
        let rest: Option<Vec<u64>> =
            self.whole.iter().zip(block).map(|(all, part)| all.checked_sub(*part)).collect();
        let Some((rest, m)) = rest.and_then(|rest| total(&rest).map(|m| (rest, m))) else { return };
        let (n, m) = (n as f64, m as f64);
        let distance = if self.ordered {
            ks::two_sample(&rest, block, true).map_or(0.0, |ks| ks.statistic)
        } else {
            let change = |(&r, &w): (&u64, &u64)| (r as f64 / m - w as f64 / n).abs();
            rest.iter().zip(block).map(change).fold(0.0, f64::max)
        };
        self.squares.push(distance * distance);
        self.inverse_sizes += 1.0 / n + 1.0 / m;
    }

    /// `None` with fewer than [`LEAST_BLOCKS`] blocks.
    pub fn usual(mut self) -> Option<Usual> {
        let blocks = self.squares.len();
        if blocks < LEAST_BLOCKS {
            return None;
        }
        self.squares.sort_by(f64::total_cmp);
        let (bulk, tail) = self.squares.split_at(blocks - (TAIL * blocks as f64).ceil() as usize);
        let threshold = bulk.last().copied().unwrap_or_default();
        let excess = tail.iter().map(|square| square - threshold).sum::<f64>() / tail.len() as f64;
        let square = threshold + excess * (TAIL / BEYOND).ln();
        let noise = 4.0 * self.variance() * (2.0 / BEYOND).ln() / 2.0 * self.inverse_sizes / blocks as f64;
        Some(Usual { blocks, distance: (square - noise).max(0.0).sqrt().min(1.0) })
    }

    /// The largest F(1−F), or p(1−p).
    fn variance(&self) -> f64 {
        let all = self.whole.iter().map(|&count| count as f64).sum::<f64>();
        let mut below = 0.0;
        let shares = self.whole.iter().map(|&count| {
            below = if self.ordered { below + count as f64 } else { count as f64 };
            below / all
        });
        shares.map(|share| share * (1.0 - share)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    fn usual(blocks: &[Vec<u64>], ordered: bool) -> Option<Usual> {
        let mut whole = vec![0; blocks[0].len()];
        blocks.iter().for_each(|block| whole.iter_mut().zip(block).for_each(|(sum, count)| *sum += count));
        let mut own = OwnBlocks::new(&whole, ordered);
        blocks.iter().for_each(|block| own.add(block));
        own.usual()
    }

    /// `events` values of 0 … 1 to the power, on 50 bins that no value ties with.
    fn block(rng: &mut Rng, events: usize, power: f64) -> Vec<u64> {
        let mut counts = vec![0; 51];
        (0..events).for_each(|_| counts[(rng.f64().powf(power) * 50.0) as usize] += 1);
        counts
    }

    #[test]
    fn noise_is_no_tolerance() {
        let mut rng = Rng::with_seed(1);
        for events in [100, 1_000] {
            let blocks: Vec<Vec<u64>> = (0..400).map(|_| block(&mut rng, events, 1.0)).collect();
            let found = usual(&blocks, true).unwrap();
            assert_eq!(found.blocks, 400);
            // Less than the noise of a single block, 1.36/√n at .05.
            assert!(found.distance < 0.9 / (events as f64).sqrt(), "{found:?} at {events}");
        }
    }

    /// A swing between the powers .8 and 1.25, whose KS distances from the whole are at most .08.
    #[test]
    fn a_swing_is_a_tolerance_of_its_own_size() {
        let mut rng = Rng::with_seed(2);
        for (events, most) in [(250, 0.2), (4_000, 0.14)] {
            let blocks: Vec<Vec<u64>> = (0..300)
                .map(|at| block(&mut rng, events, 1.25f64.powf((f64::from(at) / 40.0).sin())))
                .collect();
            let found = usual(&blocks, true).unwrap().distance;
            assert!((0.07..most).contains(&found), "{found} at {events}");
        }
    }

    #[test]
    fn categories_are_compared_one_by_one() {
        let mut blocks = vec![vec![500, 300, 200]; 50];
        blocks.extend(vec![vec![400, 400, 200]; 50]);
        // Each is .05 from the middle, and nothing is farther.
        let found = usual(&blocks, false).unwrap().distance;
        assert!(found < 0.06, "{found}");
        let same = usual(&vec![vec![500, 300, 200]; 40], false).unwrap();
        assert_eq!(same.distance, 0.0);
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(usual(&vec![vec![0, 60, 0]; 19], true), None);
        assert_eq!(usual(&vec![vec![0, 49, 0]; 100], true), None);
        let whole = [0, 100, 0];
        let mut own = OwnBlocks::new(&whole, true);
        [&[0, 100, 0][..], &[50, 50, 0], &[60]].into_iter().for_each(|block| own.add(block));
        assert_eq!(own, OwnBlocks::new(&whole, true));
    }
}
