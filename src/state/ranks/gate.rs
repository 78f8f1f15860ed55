//! What a new call passes that comes to a line: the limit on new calls of the line itself, and that of the capacity that it shares
//! (`capacity_cps`).
//!
//! Model: the capacity has the tokens ([`Capacities`]), each record a bit beside its state, and each board knows until when a group of its lines
//! is out of the way because of that, the soonest at hand. Who takes the last token tells all boards that have such lines in the same step; the
//! first choice in one of their sets at the time of the next token, or after it, brings them back, in all sets.
//!
//! Invariant: such a token is taken with the capacities locked and then the board. A call takes one of both limits, or none. The bits change one
//! board after the other, so a choice that takes no lock may find a line that has no token any more: it asks for one, and gets none.

use super::board::Board;
use super::{LockedBoard, Ranks, Record, Registry};
use crate::shm::Alloc;
use crate::shm::atomic::Ordering;
use crate::state::Capacities;
use crate::state::capacities::{Fill, Pace};

/// What limits the calls that come to the lines of a locked board.
pub(super) struct Gate<'a, A: Alloc> {
    ranks: &'a Ranks<A>,
    registry: &'a Registry<A>,
    capacities: Option<&'a mut Capacities<A>>,
    clock: fn() -> u64,
}

impl<'a, A: Alloc> Gate<'a, A> {
    pub(super) fn of(
        (ranks, registry): (&'a Ranks<A>, &'a Registry<A>),
        capacities: Option<&'a mut Capacities<A>>,
        clock: fn() -> u64,
    ) -> Self {
        Self { ranks, registry, capacities, clock }
    }

    /// For whom this capacity has room.
    pub(super) fn fill(&self, capacity: u32) -> Fill {
        self.capacities.as_ref().map_or(Fill::Full, |capacities| capacities.fill(capacity))
    }

    /// A new call takes a token of each limit; false if one of them has none, and then of none. In the same step all are out of the way of
    /// choices that have none left.
    pub(super) fn take_token(&mut self, board: &mut Board<A>, record: &Record) -> bool {
        let number = record.capacity();
        if number == 0 || !self.capacities.as_ref().is_some_and(|all| all.pace(number).limits) {
            return self.ranks.take_token_on(board, record, self.clock);
        }
        self.take_both(board, record, number)
    }

    #[cold]
    fn take_both(&mut self, board: &mut Board<A>, record: &Record, number: u32) -> bool {
        let Some(capacities) = self.capacities.as_deref_mut() else { return false };
        let now = (self.clock)();
        let may = capacities.has_token(number, now) && self.ranks.take_token_on(board, record, || now);
        if may {
            capacities.take_token(number, now);
        }
        if capacities.pace(number).over_until.is_some() {
            self.tell(board, number);
        }
        may
    }

    /// Brings the lines of this board back that have a token again, and with a shared one those of other boards.
    pub(super) fn renew(&mut self, board: &mut Board<A>) {
        self.ranks.renew_rates(self.registry, board, self.clock);
        if board.soonest_shared().is_some() {
            self.renew_shared(board);
        }
    }

    #[cold]
    fn renew_shared(&mut self, board: &mut Board<A>) {
        let now = (self.clock)();
        while let Some((number, _)) = board.soonest_shared().filter(|(_, until)| *until <= now) {
            self.capacities.iter_mut().for_each(|all| all.renew(number, now));
            self.tell(board, number);
        }
    }

    /// Tells all boards that have lines in this capacity whether those get new calls.
    fn tell(&self, board: &mut Board<A>, number: u32) {
        let pace = self.capacities.as_ref().map_or_else(Pace::default, |all| all.pace(number));
        self.ranks.turn_pace_on(board, self.registry, number, pace);
        let boards = self.capacities.iter().flat_map(|all| all.boards(number));
        let others = boards.filter_map(|record| self.registry.ranks(*record));
        others
            .filter(|ranks| !core::ptr::eq(*ranks, self.ranks))
            .for_each(|ranks| ranks.turn_pace(self.registry, number, pace));
    }
}

impl<A: Alloc> Ranks<A> {
    /// Whether some of its lines share a capacity that has a limit on new calls.
    pub fn has_shared_rates(&self) -> bool {
        self.shares.load(Ordering::Relaxed) > 1
    }

    /// A capacity gives its lines new calls, or gives none. The caller holds the lock of the capacities.
    pub fn turn_pace(&self, registry: &Registry<A>, capacity: u32, pace: Pace) {
        self.turn_pace_on(&mut self.board.lock(), registry, capacity, pace);
    }

    /// The same for who holds the lock of the board, too.
    fn turn_pace_on(&self, board: &mut Board<A>, registry: &Registry<A>, capacity: u32, pace: Pace) {
        let Some(groups) = &mut board.ordinary.groups else { return };
        let seats = groups.turn_pace(capacity, pace);
        let over = pace.over_until.is_some();
        for seat in seats {
            let place = board.ordinary.groups.as_ref().and_then(|groups| groups.place_at(seat));
            let record = place.and_then(|at| board.record_at(registry, at as usize));
            if let Some(record) = record.filter(|record| record.is_over_shared_rate() != over) {
                self.step_on(board, record, |record| record.put_over_shared_rate(over));
            }
        }
        self.note_limits(board);
    }
}

impl<A: Alloc> LockedBoard<'_, A> {
    /// Brings the lines back into the way of choices that have a token again.
    pub fn renew(&mut self, registry: &Registry<A>, clock: fn() -> u64) {
        Gate::of((self.ranks, registry), self.capacities.as_deref_mut(), clock).renew(&mut self.board);
    }

    /// A new call takes a token of this record, and of the capacity that it shares; false if there is none.
    pub(in crate::state) fn take_token(
        &mut self,
        registry: &Registry<A>,
        record: &Record,
        clock: fn() -> u64,
    ) -> bool {
        let mut gate = Gate::of((self.ranks, registry), self.capacities.as_deref_mut(), clock);
        gate.take_token(&mut self.board, record)
    }
}

impl<A: Alloc> Board<A> {
    /// Whether some of its lines share a capacity that has a limit on new calls.
    pub(super) fn has_shared_rates(&self) -> bool {
        self.ordinary.groups.as_ref().is_some_and(|groups| groups.limited() > 0)
    }

    /// Of the capacities whose lines are out of the way because of its rate the one that is first in it again, and when.
    pub(super) fn soonest_shared(&self) -> Option<(u32, u64)> {
        self.ordinary.groups.as_ref()?.soonest()
    }

    /// Its groups know of their capacities' limits on new calls what those say.
    pub(super) fn learn_paces(&mut self, capacities: &Capacities<A>) {
        let Some(groups) = &mut self.ordinary.groups else { return };
        let numbers: Vec<u32> = groups.capacities().collect();
        for number in numbers {
            // What the bits of the lines say, they say anyway.
            let _ = groups.turn_pace(number, capacities.pace(number));
        }
    }

    /// How much of this is not as the capacities say. Not 0 is a fault of this module.
    pub(super) fn pace_faults(&self, registry: &Registry<A>, pace: impl Fn(u32) -> Pace) -> usize {
        let groups = self.ordinary.groups.as_ref();
        let is_wrong = |at: &usize| {
            let pace = groups.map_or_else(Pace::default, |groups| pace(groups.capacity(*at)));
            self.record_at(registry, *at)
                .is_some_and(|record| record.is_over_shared_rate() != pace.over_until.is_some())
        };
        let lines = (0..self.places.len()).filter(is_wrong).count();
        lines + groups.map_or(0, |groups| groups.pace_faults(&pace))
    }
}
