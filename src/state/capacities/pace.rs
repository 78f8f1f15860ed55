//! The limit on new calls that destinations share with a capacity (`capacity_cps`), and what is left of it.
//!
//! Model: as for the limit of one destination ([`Rate`]), with one number for all that share it, behind the lock of the capacities. Who takes
//! the last token tells the boards that have lines in the capacity, in the same step: their records get
//! [`Flags::OVER_SHARED_RATE`](crate::dest::Flags::OVER_SHARED_RATE) until a token is back.

use super::Capacities;
use crate::load::Rate;
use crate::shm::Alloc;

/// A limit with what was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tokens {
    pub(super) rate: Rate,
    /// When all tokens are back, in nanoseconds of the clock of [`Root`](crate::state::Root).
    due: u64,
    /// The limit by which they were taken.
    due_by: Rate,
    /// Nobody gets new calls until one is back.
    over: bool,
    /// How often that was so.
    pub(super) reached: u64,
}

/// What the boards know of a capacity's limit on new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Whether there is one.
    pub limits: bool,
    /// Until when those that share it get no new calls, because all tokens are taken.
    pub over_until: Option<u64>,
}

impl Tokens {
    /// Takes on this limit, with what was taken before. It counts at once, so the next call looks again.
    pub(super) fn limit_to(&mut self, rate: Rate) {
        if rate != self.rate {
            (self.rate, self.over) = (rate, false);
        }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace { limits: self.rate.limits(), over_until: self.over.then(|| self.rate.opens(self.due)) }
    }

    fn carry(&mut self, now: u64) {
        self.due = self.rate.carried(self.due, self.due_by, now);
        self.due_by = self.rate;
    }

    fn look(&mut self, now: u64) -> bool {
        if self.rate.limits() && self.rate.opens(self.due) > now && !self.over {
            (self.over, self.reached) = (true, self.reached + 1);
        }
        self.over
    }

    /// Whether a call may come now. If not, it is over its rate from now on.
    fn has_token(&mut self, now: u64) -> bool {
        if self.rate.limits() {
            self.carry(now);
        }
        !self.look(now)
    }

    /// A call that may come takes a token. Who takes the last one puts it over its rate.
    fn take(&mut self, now: u64) {
        if !self.rate.limits() {
            return;
        }
        self.due = self.rate.take(self.due, now).unwrap_or(self.due);
        self.look(now);
    }

    fn renew(&mut self, now: u64) {
        if self.pace().over_until.is_some_and(|until| until <= now) {
            self.over = false;
        }
    }
}

impl<A: Alloc> Capacities<A> {
    /// Its limit on new calls, as its boards see it.
    pub fn pace(&self, number: u32) -> Pace {
        self.get(number).map_or_else(Pace::default, |one| one.tokens.pace())
    }

    /// Whether a new call may come now to those that share it. If not, they get none until a token is back, and the caller tells the boards.
    pub fn has_token(&mut self, number: u32, now: u64) -> bool {
        self.get_mut(number).is_none_or(|one| one.tokens.has_token(now))
    }

    /// A new call comes, that may. Where this is the last one for now, the caller tells the boards.
    pub fn take_token(&mut self, number: u32, now: u64) {
        self.get_mut(number).into_iter().for_each(|one| one.tokens.take(now));
    }

    /// Those that share it get new calls again, if its time has come.
    pub fn renew(&mut self, number: u32, now: u64) {
        self.get_mut(number).into_iter().for_each(|one| one.tokens.renew(now));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(tokens: &mut Tokens, now: u64) -> bool {
        let has = tokens.has_token(now);
        if has {
            tokens.take(now);
        }
        has
    }

    #[test]
    fn who_takes_the_last_token_puts_it_over_its_rate_until_one_is_back() {
        let mut tokens = Tokens::default();
        assert!(taken(&mut tokens, SECOND) && tokens.pace() == Pace::default());
        tokens.limit_to(Rate { cps: 10, burst: 2 });
        assert_eq!(tokens.pace(), Pace { limits: true, over_until: None });
        assert!(taken(&mut tokens, SECOND) && tokens.pace().over_until.is_none());
        assert!(taken(&mut tokens, SECOND));
        let back = SECOND + SECOND / 10;
        assert_eq!((tokens.pace().over_until, tokens.reached), (Some(back), 1));
        assert!(!taken(&mut tokens, back - 1));
        tokens.renew(back - 1);
        assert_eq!((tokens.pace().over_until, tokens.reached), (Some(back), 1));
        tokens.renew(back);
        assert!(taken(&mut tokens, back) && !taken(&mut tokens, back));
    }

    #[test]
    fn another_limit_counts_at_once_and_the_same_one_gives_nothing_back() {
        let mut tokens = Tokens::default();
        let rate = Rate { cps: 10, burst: 3 };
        tokens.limit_to(rate);
        assert_eq!([0; 5].map(|_| taken(&mut tokens, SECOND)), [true, true, true, false, false]);
        tokens.limit_to(rate);
        assert!(!taken(&mut tokens, SECOND));
        tokens.limit_to(Rate { cps: 10, burst: 5 });
        assert_eq!([0; 3].map(|_| taken(&mut tokens, SECOND)), [true, true, false]);
        tokens.limit_to(Rate { cps: 1, burst: 1 });
        assert!(!taken(&mut tokens, SECOND) && tokens.pace().over_until == Some(2 * SECOND));
        tokens.limit_to(Rate::default());
        assert!([0; 9].iter().all(|_| taken(&mut tokens, SECOND)));
    }
}
