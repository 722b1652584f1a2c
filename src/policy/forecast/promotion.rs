//! Whether a canary can be shown to be as good as stable at all (statistics.md §8.2, §9.10).

use super::{Arms, first_critical_value};
use crate::baseline::{Rollout, WatchedModel};
use crate::policy::PolicyConfig;
use crate::stats::ks;

/// What the sizes of two prediction baselines let be excluded, with endless traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromotionLimit {
    /// `c·√(1/m_c + 1/m_s)`: the upper bound of a canary whose answers lie exactly on stable's.
    pub best: f64,
    /// The upper bound that half of healthy canaries stay below: `(c + K)·√(1/m_c + 1/m_s)`, K the median of
    /// Kolmogorov's law (of the largest of so many answers).
    pub typical: f64,
    /// What is configured (`policy.promote_below`).
    pub wanted: f64,
    /// Values per prediction baseline from which half of healthy canaries could be promoted.
    pub values: f64,
    /// Values of the smallest prediction baselines: the canary's, and stable's.
    pub found: [u64; 2],
}

impl PromotionLimit {
    /// Of a rollout; `None` without answers to compare.
    pub fn of(arms: &Arms, policy: &PolicyConfig) -> Option<PromotionLimit> {
        if arms.answers == 0 {
            return None;
        }
        let c = first_critical_value(policy.alpha / 2.0);
        let (noise, factor) = (arms.noise_of_baselines(), c + typical_supremum(arms.answers));
        Some(PromotionLimit {
            best: c * noise,
            typical: factor * noise,
            wanted: policy.promote_below,
            values: 2.0 * (factor / policy.promote_below).powi(2),
            found: arms.answer_values,
        })
    }

    /// Most healthy canaries can never be promoted.
    pub fn is_out_of_reach(&self) -> bool {
        self.typical >= self.wanted
    }

    /// What to say when it is out of reach; a clause.
    pub fn sentence(&self) -> String {
        let [canary, stable] = self.found;
        let who = if self.best >= self.wanted { "no canary" } else { "not even half of healthy canaries" };
        format!(
            "prediction baselines of {canary} (canary) and {stable} (stable) values let {who} be shown to move by \
             less than {}, however long it runs: the bound stays at {:.3}; take more than {:.0} held-out rows each, \
             or set promote_below above {:.3}",
            self.wanted, self.typical, self.values, self.typical
        )
    }
}

/// A sentence for each pair of a model's versions whose canary could never be promoted.
pub fn unreachable_promotions(watched: &WatchedModel, policy: &PolicyConfig) -> Vec<String> {
    let said = |(stable, canary): (&str, &str)| {
        let limit = PromotionLimit::of(&Arms::of(watched, stable, canary)?, policy)?;
        let model = &watched.id;
        limit.is_out_of_reach().then(|| {
            format!("model {model}: {canary} beside {stable} is never called good: {}.", limit.sentence())
        })
    };
    pairs(watched).into_iter().filter_map(said).collect()
}

/// Stable and canary: as configured, or every version beside each one before it.
fn pairs(watched: &WatchedModel) -> Vec<(&str, &str)> {
    match &watched.rollout {
        Rollout::Fixed { stable, canary } => canary.iter().map(|canary| (&**stable, &**canary)).collect(),
        Rollout::Auto => {
            let names: Vec<&str> = watched.versions.iter().map(|one| &*one.version).collect();
            let beside = |at: usize| names[..at].iter().map(|one| (*one, names[at])).collect::<Vec<_>>();
            (1..names.len()).flat_map(beside).collect()
        }
    }
}

/// The median of the largest of `count` independent suprema of Kolmogorov's law: .83 of one.
pub(super) fn typical_supremum(count: usize) -> f64 {
    let beyond = 1.0 - 0.5f64.powf(1.0 / count.max(1) as f64);
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if ks::q(middle) > beyond { low = middle } else { high = middle }
    }
    high
}
