//! Detections held against the rows where a stream is known to change.

/// How well known changes were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// Each change, and the row at which it was found.
    pub changes: Vec<(u64, Option<u64>)>,
    /// Detections that no change explains.
    pub false_alarms: Vec<u64>,
}

/// Gives each detection to the latest change at or before it, if that was not found yet; any other detection is
/// false (Lukats et al. 2024). Both lists increase.
pub fn score(changes: &[u64], detections: &[u64]) -> Score {
    let mut found: Vec<(u64, Option<u64>)> = changes.iter().map(|&change| (change, None)).collect();
    let mut false_alarms = Vec::new();
    for &row in detections {
        let latest = found.iter_mut().rev().find(|(change, _)| *change <= row);
        match latest {
            Some((_, detected @ None)) => *detected = Some(row),
            _ => false_alarms.push(row),
        }
    }
    Score { changes: found, false_alarms }
}

impl Score {
    /// Rows from each found change to its detection.
    pub fn delays(&self) -> Vec<u64> {
        self.changes.iter().filter_map(|(change, found)| found.map(|row| row - change)).collect()
    }

    /// The mean of [`Score::delays`]; `None` when nothing was found.
    pub fn mean_delay(&self) -> Option<f64> {
        let delays = self.delays();
        (!delays.is_empty()).then(|| delays.iter().sum::<u64>() as f64 / delays.len() as f64)
    }

    /// Changes that were not found.
    pub fn missed(&self) -> usize {
        self.changes.iter().filter(|(_, found)| found.is_none()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_found_once_by_the_first_detection_after_it() {
        let scored = score(&[100, 200, 300], &[90, 120, 150, 300, 310]);
        assert_eq!(scored.changes, [(100, Some(120)), (200, None), (300, Some(300))]);
        assert_eq!(scored.false_alarms, [90, 150, 310]);
        assert_eq!((scored.delays(), scored.mean_delay(), scored.missed()), (vec![20, 0], Some(10.0), 1));
    }

    #[test]
    fn without_changes_every_detection_is_false() {
        let scored = score(&[], &[5]);
        assert_eq!((scored.false_alarms.len(), scored.mean_delay(), scored.missed()), (1, None, 0));
    }
}
