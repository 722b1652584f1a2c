//! Panes that missing source offsets may belong to.

use std::ops::Range;

/// Ranges remembered; beyond it neighbours are joined, which marks the panes between them too.
const MAX_RANGES: usize = 64;

/// Ranges of pane indices, ascending, not touching each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PaneHoles(Vec<Range<i64>>);

impl PaneHoles {
    pub(super) fn mark(&mut self, panes: Range<i64>) {
        if panes.is_empty() {
            return;
        }
        let (touching, mut rest): (Vec<Range<i64>>, Vec<Range<i64>>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|one| one.start <= panes.end && panes.start <= one.end);
        let start = touching.iter().map(|one| one.start).chain([panes.start]).min();
        let end = touching.iter().map(|one| one.end).chain([panes.end]).max();
        rest.extend(start.zip(end).map(|(start, end)| start..end));
        rest.sort_unstable_by_key(|one| one.start);
        if rest.len() > MAX_RANGES {
            let first = rest.remove(0);
            rest[0].start = first.start;
        }
        self.0 = rest;
    }

    /// Whether something may be missing from any of `panes`.
    pub(super) fn touch(&self, panes: Range<i64>) -> bool {
        self.0.iter().any(|one| one.start < panes.end && panes.start < one.end)
    }

    /// Whether something may be missing from each of `panes`.
    pub(super) fn cover(&self, panes: Range<i64>) -> bool {
        self.0.iter().any(|one| one.start <= panes.start && panes.end <= one.end)
    }

    /// How many of `panes` something may be missing from.
    pub(super) fn count(&self, panes: Range<i64>) -> u64 {
        let within = |one: &Range<i64>| one.end.min(panes.end).saturating_sub(one.start.max(panes.start));
        self.0.iter().map(|one| within(one).max(0) as u64).fold(0, u64::saturating_add)
    }

    /// Forgets what lies before `index`.
    pub(super) fn forget_before(&mut self, index: i64) {
        self.0.retain(|one| one.end > index);
    }

    pub(super) fn ranges(&self) -> &[Range<i64>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut holes = PaneHoles::default();
        holes.mark(10..12);
        holes.mark(20..21);
        holes.mark(12..15);
        assert_eq!(holes.ranges(), &[10..15, 20..21]);
        holes.mark(0..100);
        assert_eq!(holes.ranges(), std::slice::from_ref(&(0..100)));
    }

    #[test]
    fn a_pane_is_in_a_hole_or_is_not() {
        let mut holes = PaneHoles::default();
        holes.mark(10..12);
        assert!(holes.touch(11..12) && !holes.touch(12..13) && holes.touch(0..11) && !holes.touch(0..10));
        assert!(holes.cover(10..12) && holes.cover(11..12) && !holes.cover(9..12) && !holes.cover(11..13));
        assert_eq!((holes.count(0..11), holes.count(0..100), holes.count(12..20)), (1, 2, 0));
        holes.forget_before(12);
        assert!(!holes.touch(0..100));
    }

    #[test]
    fn their_number_is_bounded_and_nothing_marked_is_lost() {
        let mut holes = PaneHoles::default();
        (0..1_000).for_each(|one| holes.mark(10 * one..10 * one + 1));
        assert_eq!(holes.ranges().len(), MAX_RANGES);
        assert!((0..1_000).all(|one| holes.touch(10 * one..10 * one + 1)));
    }
}
