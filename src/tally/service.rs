//! What events say of how well they were served: errors and latencies of one version in one pane.

use super::record::ServiceCounts;
use crate::cells::{LATENCY_CELLS, runs};
use crate::decode::{Latency, Served};

/// Counts since the last flush.
#[derive(Debug, Default)]
pub(super) struct ServiceTally {
    answers: u64,
    errors: u64,
    latency_unusable: u64,
    /// Once a latency was seen.
    latency: Option<Box<[u64; LATENCY_CELLS]>>,
}

impl ServiceTally {
    /// Bytes that one takes at most beside itself.
    pub(super) const BYTES: usize = LATENCY_CELLS * size_of::<u64>();

    #[inline]
    pub(super) fn note(&mut self, served: Served) {
        self.answers += u64::from(served.answered);
        self.errors += u64::from(served.failed);
        match served.latency {
            Latency::None => {}
            Latency::Unusable => self.latency_unusable += 1,
            Latency::Cell(cell) => {
                let cells = self.latency.get_or_insert_with(|| Box::new([0; LATENCY_CELLS]));
                cells[usize::from(cell)] += 1;
            }
        }
    }

    /// Nothing if there is nothing to say.
    pub(super) fn record(&self) -> Option<ServiceCounts> {
        let latency = self.latency.as_ref().map_or_else(Vec::new, |cells| runs::encode(&cells[..]));
        let counts = ServiceCounts {
            answers: self.answers,
            errors: self.errors,
            latency_unusable: self.latency_unusable,
            latency,
        };
        (counts != ServiceCounts::default()).then_some(counts)
    }
}
