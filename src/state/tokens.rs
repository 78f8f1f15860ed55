//! The limit on new calls of a destination, and what is left of it: in its record.
//!
//! Model: see [`Rate`]. Who takes the last token sets [`Flags::OVER_RATE`] beside the state, by which choices pass it over
//! ([`Ranks`](super::Ranks)). All of it changes with the board of the set locked.

use super::record::Record;
use crate::dest::Flags;
use crate::load::Rate;
use crate::shm::atomic::{AtomicU64, Ordering};

/// A limit on new calls, in one word.
#[derive(Default)]
struct RateCell(AtomicU64);

impl RateCell {
    fn get(&self) -> Rate {
        let word = self.0.load(Ordering::Relaxed);
        Rate { cps: (word >> 32) as u32, burst: word as u32 }
    }

    fn set(&self, rate: Rate) {
        self.0.store(u64::from(rate.cps) << 32 | u64::from(rate.burst), Ordering::Relaxed);
    }
}

/// A limit with what was taken.
#[derive(Default)]
pub(super) struct Tokens {
    rate: RateCell,
    /// When all tokens are back, in nanoseconds of the clock of [`Root`](super::Root).
    due: AtomicU64,
    /// The limit by which they were taken.
    due_by: RateCell,
}

impl Tokens {
    /// No limit, and nothing taken.
    pub(super) fn reset(&self) {
        self.due.store(0, Ordering::Relaxed);
        [&self.rate, &self.due_by].into_iter().for_each(|cell| cell.set(Rate::default()));
    }
}

impl Record {
    /// Whether it has a limit on new calls.
    pub fn is_rated(&self) -> bool {
        self.rate().limits()
    }

    /// Its limit on new calls.
    pub fn rate(&self) -> Rate {
        self.tokens.rate.get()
    }

    /// Until when it gets no new calls because of that; none if it gets some.
    pub(super) fn over_rate_until(&self) -> Option<u64> {
        let is_over = self.all_flags().has(Flags::OVER_RATE);
        is_over.then(|| self.rate().opens(self.tokens.due.load(Ordering::Relaxed)))
    }

    /// Whether the capacity that its destination shares has had all new calls for now.
    pub(super) fn is_over_shared_rate(&self) -> bool {
        self.all_flags().has(Flags::OVER_SHARED_RATE)
    }

    /// Says so. With the capacities and the board of its set locked.
    pub(super) fn put_over_shared_rate(&self, over: bool) {
        self.put_flag(Flags::OVER_SHARED_RATE, over);
    }

    /// The same at this time, for who only looks.
    pub fn is_over_rate(&self, now: u64) -> bool {
        self.over_rate_until().is_some_and(|until| until > now)
    }

    /// Takes on this limit, with what was taken before. It counts at once, so the next call looks again. With the board of its set locked.
    pub(super) fn limit_to(&self, rate: Rate) {
        if rate != self.rate() {
            self.tokens.rate.set(rate);
            self.put_over_rate(false);
        }
    }

    /// A new call comes now, and takes a token; false if there is none. Who has none left gets no more until there is one. With the board
    /// of its set locked.
    pub(super) fn take_token(&self, now: u64) -> bool {
        let rate = self.rate();
        if !rate.limits() {
            return true;
        }
        let due = rate.carried(self.tokens.due.load(Ordering::Relaxed), self.tokens.due_by.get(), now);
        let taken = rate.take(due, now);
        let due = taken.unwrap_or(due);
        self.tokens.due.store(due, Ordering::Relaxed);
        self.tokens.due_by.set(rate);
        if rate.opens(due) > now {
            self.put_over_rate(true);
        }
        taken.is_some()
    }

    /// It gets new calls again, if its time has come. With the board of its set locked.
    pub(super) fn renew_rate(&self, now: u64) {
        if !self.is_over_rate(now) {
            self.put_over_rate(false);
        }
    }

    fn put_over_rate(&self, over: bool) {
        let before = self.put_flag(Flags::OVER_RATE, over);
        if over && !before.has(Flags::OVER_RATE) {
            self.totals.over_rate.bump();
        }
    }

    fn put_flag(&self, flag: Flags, on: bool) -> Flags {
        Flags(if on {
            self.flags.fetch_or(flag.0, Ordering::Relaxed)
        } else {
            self.flags.fetch_and(!flag.0, Ordering::Relaxed)
        })
    }
}
