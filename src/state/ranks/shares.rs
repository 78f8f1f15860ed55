//! What the lines that take calls have together: for the hash that keeps to shares ([`crate::select::consistent`]). It changes with each call and each
//! change of a state, so that a choice does not walk over the set.

use super::board::Board;
use super::takes::Takes;
use super::{Line, Ranks, Registry};
use crate::select::consistent::Shares;
use crate::shm::Alloc;

impl<A: Alloc> Board<A> {
    /// A line comes to those that take calls, or goes.
    pub(super) fn share(&mut self, line: &Line, takes: bool) {
        let (weights, lines) = (u64::from(line.weight), 1);
        let shares = &mut self.shares;
        if takes {
            (shares.weights, shares.lines) = (shares.weights + weights, shares.lines + lines);
        } else {
            shares.weights = shares.weights.saturating_sub(weights);
            shares.lines = shares.lines.saturating_sub(lines);
        }
    }

    /// Calls of a line that were counted with those of the others are so many now.
    #[inline(always)]
    pub(super) fn recount(shares: &mut Shares, before: u32, now: u32) {
        shares.calls = (shares.calls + u64::from(now)).saturating_sub(before.into());
    }

    /// Whether this is not as the records say: a fault of this module.
    pub(super) fn has_wrong_shares(&self, registry: &Registry<A>) -> bool {
        let mut shares = Shares::default();
        for (at, place) in self.places.iter().enumerate().filter(|(_, place)| place.takes == Takes::Calls) {
            let calls = self.record_at(registry, at).map_or(0, |record| record.load.get());
            shares.calls += u64::from(calls);
            shares.weights += u64::from(place.line.weight);
            shares.lines += 1;
        }
        shares != self.shares
    }
}

impl<A: Alloc> Ranks<A> {
    /// What the lines that take calls have together.
    pub fn shares(&self) -> Shares {
        self.board.lock().shares
    }
}
