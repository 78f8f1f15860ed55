//! Events counted for the module as a whole.

use crate::shm::Shared;
use crate::shm::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn bump(&self) {
        self.add(1);
    }

    /// Some more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted.
#[derive(Default)]
pub struct Counters {
    /// Releases and answers of a call that is not, or no longer, in the table.
    pub unknown: Counter,
    /// Releases and answers that came twice or too late for a call that is in the table.
    pub late: Counter,
    /// Calls counted again because a 2xx crossed their CANCEL.
    pub crossed: Counter,
    /// Calls dropped because nobody said that they ended.
    pub expired: Counter,
}

// SAFETY: atomics only.
unsafe impl Shared for Counters {}
