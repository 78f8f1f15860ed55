//! A locked board, with the lock of the capacities where its lines share some.

use super::board::Board;
use super::{Line, Look, Measure, NotTaken, Ranks, Record, Registry, Shift};
use crate::shm::counter::Audited;
use crate::shm::lock::Guard;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::Capacities;
use crate::state::capacities::Fill;

/// A call that moves counts no more where it did, before its legs say so.
const AHEAD: Shift = Shift { load: -1, legs: 0 };
/// And it does again.
const BACK: Shift = Shift { load: 1, legs: 0 };

/// A call was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<T> {
    /// What was found for the line.
    pub of: T,
    /// Where the call counts no more, its loads were given back already: all that were named.
    pub left: bool,
}

/// A locked board: what is done with it is one step. Where its lines share capacities, those are locked, too ([`Registry::lock_board`]).
pub struct LockedBoard<'a, A: Alloc> {
    pub(super) ranks: &'a Ranks<A>,
    pub(super) board: Guard<'a, Board<A>>,
    capacities: Option<Guard<'a, Capacities<A>>>,
}

impl<'a, A: Alloc> LockedBoard<'a, A> {
    /// Locks the board of a set; first `capacities`, where one is shared, or is to be locked `anyway`.
    pub(in crate::state) fn of(
        ranks: &'a Ranks<A>,
        anyway: bool,
        capacities: impl FnOnce() -> Guard<'a, Capacities<A>>,
    ) -> Self {
        if !anyway && !ranks.has_shared() {
            let board = ranks.board.lock();
            // A commit may have come between.
            if !board.has_groups() {
                return Self { ranks, board, capacities: None };
            }
        }
        Self::with_capacities(ranks, capacities())
    }

    #[cold]
    fn with_capacities(ranks: &'a Ranks<A>, capacities: Guard<'a, Capacities<A>>) -> Self {
        Self { ranks, board: ranks.board.lock(), capacities: Some(capacities) }
    }

    /// Whether the capacities are locked, too.
    pub fn has_capacities(&self) -> bool {
        self.capacities.is_some()
    }

    /// Makes it ready to be looked at like this. Without memory for that it stays as it is.
    pub fn prepare(&mut self, registry: &Registry<A>, look: Look) -> Result<(), OutOfMemory> {
        if look.priority {
            self.look_beyond(registry);
        }
        match look.measure {
            Measure::Calls => Ok(()),
            Measure::Relative => self.board.compare_by_size(registry),
        }
    }

    /// Makes it ready for calls with priority.
    pub(super) fn look_beyond(&mut self, registry: &Registry<A>) {
        self.board.look_beyond(registry, self.capacities.as_deref());
    }

    /// Chooses the least loaded line; among equals the one that was chosen longest ago, then the first of the set. Counts a call
    /// there in the same step, and returns what `find` returns for it. The caller has called [`LockedBoard::prepare`].
    ///
    /// Leaves out lines of the records `but`, and those for which `find` returns nothing. At the records `left` the call counts no more
    /// once it is counted here. Where one shares a capacity, they give it back before: see [`Taken::left`].
    pub fn take_best<T>(
        &mut self,
        registry: &Registry<A>,
        look: Look,
        (but, left): (impl Iterator<Item = u32>, &[u32]),
        audited: Audited,
        find: impl Fn(Line, &Record) -> Option<T>,
    ) -> Result<Taken<T>, NotTaken> {
        let given = self.give_ahead(registry, left, audited);
        self.ranks.renew_rates(registry, &mut self.board, || (look.clock)());
        let taken = self.take_of(registry, look, but, audited, find);
        if taken.is_err() && given {
            self.shift_all(registry, left, BACK, audited);
        }
        let (of, capacity) = taken?;
        self.count(registry, capacity, 1);
        Ok(Taken { of, left: given })
    }

    fn take_of<T>(
        &mut self,
        registry: &Registry<A>,
        look: Look,
        but: impl Iterator<Item = u32>,
        audited: Audited,
        find: impl Fn(Line, &Record) -> Option<T>,
    ) -> Result<(T, u32), NotTaken> {
        let board = &mut *self.board;
        let capacities = self.capacities.as_deref();
        let fill = |capacity| capacities.map_or(Fill::Full, |capacities| capacities.fill(capacity));
        // What is left out has no rank while we look.
        let left_out = self.ranks.lines_of(board, registry, but);
        let usable = board.usable - left_out.iter().filter(|at| board.is_usable(**at)).count();
        left_out.iter().for_each(|&at| board.close(at as usize));
        let (ranks, Look { measure, spare_last, first, priority, clock }) = (self.ranks, look);
        let token = |board: &mut Board<A>, record: &Record| ranks.take_token_on(board, record, clock);
        let by = (measure, priority && board.has_reserved());
        let spared =
            (spare_last && board.len > 1).then_some(board.last).filter(|last| !left_out.contains(last));
        spared.into_iter().for_each(|last| board.close(last as usize));
        let mut unknown = Vec::new();
        let limits = (fill, token);
        let mut taken = board.take_least(registry, by, audited, &find, &mut unknown, limits);
        if let Some(last) = spared {
            board.rerank_at(registry, last);
            taken = taken.or_else(|| board.take_least(registry, by, audited, &find, &mut unknown, limits));
        }
        left_out.iter().chain(&unknown).for_each(|&at| board.rerank_at(registry, at));
        taken.ok_or_else(|| match usable {
            _ if !unknown.is_empty() => NotTaken::Outdated,
            _ if board.over_rate > 0 && !self.ranks.are_over_rate(board, &left_out) => NotTaken::OverRate,
            0 => NotTaken::NoneUsable,
            _ => {
                board.refused += u64::from(first);
                NotTaken::Full
            }
        })
    }

    /// Counts a call at this record, which has its lines here, if it still has the load that was `seen`, its capacity has room for it, and
    /// its rate lets one more come. If it was `chosen`, says so. `left` as in [`LockedBoard::take_best`].
    pub(in crate::state) fn take_if(
        &mut self,
        registry: &Registry<A>,
        (record, seen): (&Record, u32),
        (chosen, priority): (bool, bool),
        left: &[u32],
        (audited, clock): (Audited, fn() -> u64),
    ) -> Option<Taken<()>> {
        let given = self.give_ahead(registry, left, audited);
        let capacity = record.capacity();
        let capacities = self.capacities.as_deref();
        let is_full = capacities.is_some_and(|all| all.fill(capacity).is_full_for(priority));
        let may = !is_full && record.load.get() == seen;
        let may = may && self.ranks.take_token_on(&mut self.board, record, clock);
        let taken = may && record.take_if(seen, audited);
        if taken && chosen {
            self.board.chosen(registry, record);
        }
        self.board.refresh(record);
        if taken {
            self.count(registry, capacity, 1);
        } else if given {
            self.shift_all(registry, left, BACK, audited);
        }
        taken.then_some(Taken { of: (), left: given })
    }

    /// Where capacities are shared, a call that moves gives its place in them back before it takes another: it may be the only one. Whether
    /// they are.
    fn give_ahead(&mut self, registry: &Registry<A>, left: &[u32], audited: Audited) -> bool {
        let given = self.has_capacities() && !left.is_empty();
        if given {
            self.shift_all(registry, left, AHEAD, audited);
        }
        given
    }

    #[cold]
    fn shift_all(&mut self, registry: &Registry<A>, all: &[u32], shift: Shift, audited: Audited) {
        for &number in all {
            self.shift(registry, number, shift, audited);
        }
    }

    /// What a call does to the record of this number. False if another lock is needed for it: then nothing is done.
    pub fn shift(&mut self, registry: &Registry<A>, number: u32, shift: Shift, audited: Audited) -> bool {
        let Some((record, ranks)) = registry.ranked(number) else { return false };
        let is_ours = core::ptr::eq(ranks, self.ranks);
        if self.capacities.is_none() {
            let alone = is_ours && record.capacity() == 0;
            if alone {
                self.board.shift(record, shift, audited);
            }
            return alone;
        }
        if is_ours {
            self.board.shift(record, shift, audited);
        } else {
            ranks.board.lock().shift(record, shift, audited);
        }
        self.count(registry, record.capacity(), shift.load);
        true
    }

    /// Calls come to a capacity, or go. Where it has room for others by that than before, all its boards are told in the same step.
    fn count(&mut self, registry: &Registry<A>, capacity: u32, change: i32) {
        if capacity == 0 || change == 0 {
            return;
        }
        let Some(capacities) = &mut self.capacities else { return };
        let Some(fill) = capacities.count(capacity, change) else { return };
        self.board.turn(capacity, fill);
        let others = capacities.boards(capacity).iter().filter_map(|number| registry.ranks(*number));
        others
            .filter(|ranks| !core::ptr::eq(*ranks, self.ranks))
            .for_each(|ranks| ranks.turn(capacity, fill));
    }

    /// How many lines have a wrong rank, or stand where a search for the best would miss them. The caller holds the writer's lock.
    /// Not 0 is a fault of this module.
    pub fn faults(&self, registry: &Registry<A>) -> usize {
        let capacities = self.capacities.as_deref();
        let fill = |capacity| capacities.map_or(Fill::Room, |capacities| capacities.fill(capacity));
        self.board.faults(registry, fill)
    }
}
