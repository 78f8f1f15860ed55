//! Limits on new calls: who has had all that its rate allows is out of the way of choices until a token is back, and then in it again.
//!
//! Model: the record has the tokens ([`Rate`](crate::load::Rate)) and a bit beside its state; the board knows until when each of those
//! lines is out of the way, the soonest at hand. Nobody waits for that time: the next choice in the set at it or after it brings the line
//! back first.
//!
//! Invariant: a token is taken with the board locked, and who takes the last one puts the line out of the way in the same step. So no lock-free
//! count has to agree with the index, and a change of the limit by a reload lies before a call or after it.

use super::board::Board;
use super::{Ranks, Record, Registry};
use crate::shm::Alloc;
use crate::shm::atomic::Ordering;
use crate::shm::tournament::{NONE, Tournament};

impl<A: Alloc> Board<A> {
    /// Notes until when the line at this place is out of the way because of its rate.
    pub(super) fn wait_for_rate(&mut self, at: usize, record: &Record) {
        if let Some(until) = &mut self.until {
            until.set(at, until_of(record));
        }
    }

    /// The same of all lines.
    pub(super) fn wait_for_rates(&mut self, registry: &Registry<A>) {
        let Some(mut until) = self.until.take() else { return };
        let all = (0..self.places.len()).map(|at| self.record_at(registry, at).map_or(NONE, until_of));
        until.fill(all);
        self.until = Some(until);
    }

    fn soonest(&self) -> Option<(usize, u64)> {
        self.until.as_ref().and_then(Tournament::least)
    }

    /// How many lines are noted to be out of the way as they are not. Not 0 is a fault of this module.
    pub(super) fn rate_faults(&self, registry: &Registry<A>) -> usize {
        let Some(until) = &self.until else { return usize::from(self.rated > 0) };
        let is_wrong = |at: &usize| until.get(*at) != self.record_at(registry, *at).map_or(NONE, until_of);
        (0..self.places.len()).filter(is_wrong).count() + usize::from(!until.is_sound())
    }
}

fn until_of(record: &Record) -> u64 {
    record.over_rate_until().unwrap_or(NONE)
}

impl<A: Alloc> Ranks<A> {
    /// Whether some of its lines have a limit on new calls, or share one, or are on trial.
    pub fn has_rates(&self) -> bool {
        self.rated.load(Ordering::Relaxed) != 0
    }

    /// Whether some of its lines are out of the way of choices because of their rates. It may change at any time.
    pub fn has_over_rate(&self) -> bool {
        self.over_until.load(Ordering::Relaxed) != NONE
    }

    /// Whether some of its lines would take calls and have room, if they were within their rates; or, with `or_usable`, do by now.
    pub fn is_over_rate(&self, or_usable: bool) -> bool {
        let board = self.board.lock();
        board.over_rate > 0 || or_usable && board.usable > 0
    }

    pub(super) fn note_rates(&self, board: &Board<A>) {
        // A trial limits new calls, too.
        self.rated.store(
            (board.rated > 0 || board.has_shared_rates() || self.has_trials()).into(),
            Ordering::Relaxed,
        );
        let own = board.soonest().map_or(NONE, |(_, until)| until);
        let shared = board.soonest_shared().map_or(NONE, |(_, until)| until);
        self.over_until.store(own.min(shared), Ordering::Relaxed);
    }

    /// Brings the lines back into the way of choices that have a token again.
    pub fn renew(&self, registry: &Registry<A>, clock: fn() -> u64) {
        if self.over_until.load(Ordering::Relaxed) <= clock() {
            registry.lock_board(self).renew(registry, clock);
        }
    }

    /// The same for who holds the lock of the board.
    pub(super) fn renew_rates(
        &self,
        registry: &Registry<A>,
        board: &mut Board<A>,
        now: impl FnOnce() -> u64,
    ) {
        let Some((_, first)) = board.soonest() else { return };
        let now = now();
        if first > now {
            return;
        }
        while let Some((at, _)) = board.soonest().filter(|(_, until)| *until <= now) {
            match board.record_at(registry, at) {
                Some(record) => self.step_on(board, record, |record| record.renew_rate(now)),
                // Not so unless this module has a fault.
                None => board.until.iter_mut().for_each(|until| until.set(at, NONE)),
            }
        }
        self.note_rates(board);
    }

    /// A new call takes a token of this record; false if there is none. In the same step it is put out of the way of choices, if
    /// there is none left.
    pub fn take_token(&self, record: &Record, clock: fn() -> u64) -> bool {
        self.take_token_on(&mut self.board.lock(), record, clock)
    }

    /// The same for who holds the lock of the board.
    pub(super) fn take_token_on(
        &self,
        board: &mut Board<A>,
        record: &Record,
        clock: impl FnOnce() -> u64,
    ) -> bool {
        // A line of a set that has no limits any more has none.
        if board.rated == 0 || !record.is_rated() {
            return !record.is_on_trial() || self.step_on(board, record, Record::take_trial);
        }
        let taken = self.step_on(board, record, |record| record.take_token(clock()) && record.take_trial());
        self.note_rates(board);
        taken
    }

    /// Whether all lines that are over their rates are at these places.
    pub(super) fn are_over_rate(&self, board: &Board<A>, at: &[u32]) -> bool {
        at.iter().filter(|at| board.is_over_rate(**at)).count() == board.over_rate
    }
}
