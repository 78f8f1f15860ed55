//! A destination's wish to get less for a while.

use crate::shm::Shared;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};

/// What was asked for last. Fields change one by one: a selection between two of them follows either wish.
#[derive(Default)]
pub struct Overload {
    /// Percentage of selections to leave it out of.
    rate: AtomicU32,
    /// Until when, in milliseconds of the wall clock.
    until: AtomicU64,
    /// Number of the wish, as bits; an older one that arrives later is dropped.
    sequence: AtomicU32,
    /// Selections so far.
    asked: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for Overload {}

impl Overload {
    /// Takes a wish, if it is newer than the last.
    pub fn wish(&self, rate: u32, until: u64, sequence: i32) -> bool {
        let newer = |last: u32| (sequence > last as i32).then_some(sequence as u32);
        if self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, newer).is_err() {
            return false;
        }
        self.rate.store(rate, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
        true
    }

    /// The number of this selection, if the wish holds at `now`.
    pub fn ask(&self, now: u64) -> Option<u32> {
        (now <= self.until()).then(|| self.asked.fetch_add(1, Ordering::Relaxed))
    }

    /// Selections so far in which the wish held.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Percentage of selections to leave it out of.
    pub fn rate(&self) -> u32 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Until when, in milliseconds of the wall clock.
    pub fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Number of the last wish.
    pub fn sequence(&self) -> i32 {
        self.sequence.load(Ordering::Relaxed) as i32
    }

    /// Forgets all wishes.
    pub fn reset(&self) {
        self.rate.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
        self.sequence.store(0, Ordering::Relaxed);
    }
}
