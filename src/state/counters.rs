//! Events counted for the module as a whole.

use crate::shm::Shared;
use crate::shm::counter::Counter;

/// What is counted.
#[derive(Default)]
pub struct Counters {
    /// Calls counted.
    pub placed: Counter,
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
