//! Overload control (RFC 7339): a destination asks for less traffic for a while.

use crate::shm::Shared;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the destination asked for last. Rate and end are in one word, so that a selection never sees half of each of two wishes.
#[derive(Default)]
pub struct Overload {
    /// See [`Wish`].
    wish: AtomicU64,
    /// Number of the wish, as bits; an older one that arrives later is dropped.
    sequence: AtomicU32,
    /// Selections so far.
    asked: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for Overload {}

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Percentage of selections to leave it out of.
    pub rate: u32,
    /// Until when, in milliseconds of the wall clock.
    pub until: u64,
}

/// Bits of the rate in the word of a wish, which is 0 to 100.
const RATE: u32 = 7;

impl Wish {
    fn pack(self) -> u64 {
        let most = u64::MAX >> RATE;
        self.until.min(most) << RATE | u64::from(self.rate.min(100))
    }

    fn unpack(word: u64) -> Self {
        Self { rate: (word & ((1 << RATE) - 1)) as u32, until: word >> RATE }
    }
}

impl Overload {
    /// Takes a wish, if it is newer than the last. The caller holds the record's lock: of two at the same time the newer stays.
    pub(super) fn wish(&self, wish: Wish, sequence: i32) -> bool {
        let newer = sequence > self.sequence();
        if newer {
            self.sequence.store(sequence as u32, Ordering::Relaxed);
            self.wish.store(wish.pack(), Ordering::Relaxed);
        }
        newer
    }

    /// The wish in force at `now`, with the number of this selection, which it counts.
    pub fn ask(&self, now: u64) -> Option<(Wish, u32)> {
        let wish = self.last();
        (now <= wish.until).then(|| (wish, self.asked.fetch_add(1, Ordering::Relaxed)))
    }

    /// The same without counting a selection.
    pub fn look(&self, now: u64) -> Option<(Wish, u32)> {
        let wish = self.last();
        (now <= wish.until).then(|| (wish, self.asked()))
    }

    /// Selections so far in which a wish held.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The last wish, over or not.
    pub fn last(&self) -> Wish {
        Wish::unpack(self.wish.load(Ordering::Relaxed))
    }

    /// Number of the last wish.
    pub fn sequence(&self) -> i32 {
        self.sequence.load(Ordering::Relaxed) as i32
    }

    /// Forgets all wishes.
    pub fn reset(&self) {
        self.wish.store(0, Ordering::Relaxed);
        self.sequence.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_the_same_after_the_way_through_one_word() {
        for (rate, until) in [(0, 0), (100, 1_764_000_000_500), (37, u64::MAX >> RATE)] {
            let wish = Wish { rate, until };
            assert_eq!(Wish::unpack(wish.pack()), wish);
        }
        assert_eq!(Wish::unpack(Wish { rate: 999, until: u64::MAX }.pack()).rate, 100);
    }

    #[test]
    fn an_older_wish_that_comes_later_is_dropped() {
        let overload = Overload::default();
        let wish = |rate| Wish { rate, until: 9 };
        assert!(overload.wish(wish(50), 2));
        assert!(!overload.wish(wish(10), 1));
        assert!(!overload.wish(wish(10), 2));
        assert_eq!((overload.ask(9), overload.ask(9)), (Some((wish(50), 0)), Some((wish(50), 1))));
        assert_eq!((overload.look(9), overload.ask(10)), (Some((wish(50), 2)), None));
    }
}
