//! Events counted for the module as a whole.

use super::calls::{SHARDS, shard_of};
use crate::load::key::Key;
use crate::shm::Shared;
use crate::shm::counter::{Counter, Switch};

/// What is counted.
#[derive(Default)]
pub struct Counters {
    /// Calls counted.
    pub placed: Placed,
    /// Releases and answers of a call that is not, or no longer, in the table.
    pub unknown: Counter,
    /// Releases and answers that came twice or too late for a call that is in the table.
    pub late: Counter,
    /// Calls counted again because a 2xx crossed their CANCEL.
    pub crossed: Counter,
    /// Calls dropped because nobody said that they ended.
    pub expired: Counter,
    /// Probes begun.
    pub probes: Counter,
    /// Probes that failed.
    pub failed_probes: Counter,
    /// Answers to probes that came too late to count.
    pub stale_probes: Counter,
}

// SAFETY: atomics only.
unsafe impl Shared for Counters {}

/// How many calls were counted: a number for each shard of the call table, which changes with that shard locked. So no two
/// processes wait for one another here.
pub struct Placed {
    /// Whether there was any.
    any: Switch,
    of_shards: [Counter; SHARDS],
}

// SAFETY: atomics only.
unsafe impl Shared for Placed {}

impl Default for Placed {
    fn default() -> Self {
        Self { any: Switch::default(), of_shards: core::array::from_fn(|_| Counter::default()) }
    }
}

impl Placed {
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
