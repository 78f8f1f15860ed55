//! Counters of events that belong to no destination.

use super::calls::{SHARDS, shard_of};
use crate::load::key::Key;
use crate::shm::Shared;
use crate::shm::atomic::{AtomicU64, Ordering};
use crate::shm::counter::{Counter, Switch};

/// What is counted.
#[derive(Default)]
pub struct Counters {
    /// Calls counted.
    pub placed: CountedCalls,
    /// Releases and answers of a call that is not, or no longer, in the table.
    pub unknown: Counter,
    /// Releases and answers that came twice or too late for a call that is in the table.
    pub late: Counter,
    /// Calls counted again because a 2xx crossed their CANCEL.
    pub crossed: Counter,
    /// Calls dropped because nobody said that they ended.
    pub expired: Counter,
    /// Selections of a set that there is not.
    pub no_set: Counter,
    /// Probes begun.
    pub probes: Counter,
    /// Probes that failed.
    pub failed_probes: Counter,
    /// Answers to probes that came too late to count.
    pub stale_probes: Counter,
    /// What the last audit found.
    pub last_audit: LastAudit,
}

// SAFETY: atomics only.
unsafe impl Shared for Counters {}

/// What the last audit found; zeros until there is one.
#[derive(Default)]
pub struct LastAudit {
    drift: AtomicU64,
    misplaced: AtomicU64,
    /// When, in seconds since 1970.
    time: AtomicU64,
}

// SAFETY: atomics only.
unsafe impl Shared for LastAudit {}

impl LastAudit {
    /// An audit at this time found so many destinations with a wrong load, and so many wrong ranks.
    pub fn note(&self, drift: u64, misplaced: u64, time: u64) {
        let found = [(&self.drift, drift), (&self.misplaced, misplaced), (&self.time, time)];
        found.into_iter().for_each(|(place, value)| place.store(value, Ordering::Relaxed));
    }

    /// Destinations with a wrong load.
    pub fn drift(&self) -> u64 {
        self.drift.load(Ordering::Relaxed)
    }

    /// Lines of sets with a wrong rank.
    pub fn misplaced(&self) -> u64 {
        self.misplaced.load(Ordering::Relaxed)
    }

    /// When it was, in seconds since 1970.
    pub fn time(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }
}

/// How many calls were counted: a number for each shard of the call table, which changes with that shard locked. So no two
/// processes wait for one another here.
pub struct CountedCalls {
    /// Whether there was any.
    any: Switch,
    of_shards: [Counter; SHARDS],
}

// SAFETY: atomics only.
unsafe impl Shared for CountedCalls {}

impl Default for CountedCalls {
    fn default() -> Self {
        Self { any: Switch::default(), of_shards: core::array::from_fn(|_| Counter::default()) }
    }
}

impl CountedCalls {
    /// The call of this key, whose shard the caller has locked.
    pub fn bump(&self, key: &Key) {
        self.of_shards.get(shard_of(key)).into_iter().for_each(Counter::bump_alone);
        if !self.any.is_on() {
            self.any.turn(1);
        }
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.of_shards.iter().map(Counter::get).sum()
    }

    /// Whether any was counted so far.
    pub fn any(&self) -> bool {
        self.any.is_on()
    }
}
