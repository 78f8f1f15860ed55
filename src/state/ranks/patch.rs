//! Exchanging some lines of a board, so that a change of a few costs the same beside thousands.

use super::board::{Board, FIRST_CHOICE, GAP, NO_LINE, Sharing};
use super::{Line, Patch, Registry};
use crate::shm::Alloc;

impl<A: Alloc> Board<A> {
    /// The place of a line like this one, if it is the only one of its record.
    fn only(&self, registry: &Registry<A>, line: Line) -> Option<u32> {
        let at = registry.record(line.record)?.first_line();
        let place = self.places.get(at as usize)?;
        (place.next == NO_LINE && place.line == line).then_some(at)
    }

    fn order(&self, at: u32) -> u64 {
        self.places.get(at as usize).map_or(0, |place| place.order.into())
    }

    pub(super) fn patch(
        &mut self,
        registry: &Registry<A>,
        patch: &Patch<'_>,
        mut sharing: Sharing<'_, A>,
    ) -> bool {
        if self.has_groups() || self.next_groups.0.is_some() {
            return false;
        }
        let around = |line: Option<Line>| match line {
            Some(line) => self.only(registry, line).map(Some),
            None => Some(None),
        };
        let (Some(before), Some(after)) = (around(patch.before), around(patch.after)) else { return false };
        let len = (self.len + patch.new.len()).saturating_sub(patch.out.len());
        if patch.out.len() + patch.new.len() > self.len.max(64) || self.is_wide(len) {
            return false;
        }
        let low = before.map_or(0, |at| self.order(at));
        let count = patch.new.len() as u64;
        let high = after.map_or(low + (count + 1) * GAP, |at| self.order(at));
        let step = high.saturating_sub(low) / (count + 1);
        if step == 0 || high >= FIRST_CHOICE {
            return false;
        }
        for line in patch.out {
            let Some(at) = self.only(registry, *line) else { return false };
            registry.record(line.record).into_iter().for_each(|record| self.forget(record));
            self.discard(at);
        }
        let mut last = before.unwrap_or(NO_LINE);
        for (at, line) in (1..).zip(patch.new) {
            last = self.free;
            self.add(registry, *line, (low + at * step) as u32, sharing.as_deref_mut());
        }
        if after.is_none() {
            self.last = last;
        }
        let by_limits = self.limited == self.len;
        if core::mem::replace(&mut self.by_limits, by_limits) != by_limits {
            self.rerank_relative(registry);
        }
        self.drop_reserved_if_unused();
        true
    }
}
