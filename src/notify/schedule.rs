//! When the next attempt of a delivery is due.

use std::time::Duration;

/// Delays before the attempts; after the last one, `then` before each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub delays: Vec<Duration>,
    pub then: Duration,
}

impl Default for Schedule {
    /// At once, then after 1, 2, 5, 10, 30, 60 s, then every 5 min.
    fn default() -> Self {
        let delays = [0, 1, 2, 5, 10, 30, 60].map(Duration::from_secs).to_vec();
        Schedule { delays, then: Duration::from_secs(300) }
    }
}

impl Schedule {
    /// The delay before attempt number `attempt` (from 0). A receiver's `Retry-After` lengthens it, capped at
    /// `then`, and never shortens it.
    pub fn delay(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let own = self.delays.get(attempt as usize).copied().unwrap_or(self.then);
        own.max(retry_after.unwrap_or_default().min(self.then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_lengthens_a_delay_up_to_the_cap() {
        let schedule = Schedule::default();
        assert_eq!(schedule.delay(0, None), Duration::ZERO);
        assert_eq!(schedule.delay(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(schedule.delay(1, Some(Duration::from_secs(9999))), Duration::from_secs(300));
        assert_eq!(schedule.delay(40, None), Duration::from_secs(300));
    }
}
