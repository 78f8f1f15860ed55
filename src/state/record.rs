//! What happens to one destination while calls run.

use super::overload::Overload;
use crate::dest::Flags;
use crate::shm::Shared;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::shm::counter::Gauge;

/// The runtime record of a destination. All fields change under way, from any process.
#[derive(Default)]
pub struct Record {
    /// Calls that count for it.
    pub load: Gauge,
    /// Entries of the call table that name it, counting or not.
    pub entries: Gauge,
    /// State and options now.
    flags: AtomicU32,
    /// State and options as last configured: a reload that brings the same leaves the state alone.
    configured: AtomicU32,
    /// The set of its destination, as bits.
    set: AtomicU32,
    /// Failures in a row, or replies in a row while inactive.
    streak: AtomicU32,
    /// When call load last chose it, in choices of its set.
    last_chosen: AtomicU64,
    /// How long its replies take, in milliseconds; 0 where it is not known.
    latency: AtomicU32,
    /// Its wish to get less.
    pub overload: Overload,
}

// SAFETY: atomics only.
unsafe impl Shared for Record {}

impl Record {
    /// State and options now.
    pub fn flags(&self) -> Flags {
        Flags(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces the state and the streak together, as `change` says from what they are. Returns old and new state.
    pub fn change_state(&self, change: impl Fn(Flags, u32) -> (Flags, u32)) -> (Flags, Flags) {
        loop {
            let old = self.flags.load(Ordering::Relaxed);
            let streak = self.streak.load(Ordering::Relaxed);
            let (new, next_streak) = change(Flags(old), streak);
            // The streak is a tally for thresholds: two reports at one instant may count as one, the state may not.
            if self.flags.compare_exchange(old, new.0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.streak.store(next_streak, Ordering::Relaxed);
                return (Flags(old), new);
            }
        }
    }

    /// Takes over what a source configures, unless it is what the source said before: then the state stays.
    pub fn configure(&self, flags: Flags) {
        if self.configured.load(Ordering::Relaxed) != flags.0 {
            self.reconfigure(flags);
        }
    }

    /// Takes over what a source configures for a destination that comes back: its state is what the source says.
    pub fn reconfigure(&self, flags: Flags) {
        self.configured.store(flags.0, Ordering::Relaxed);
        self.flags.store(flags.0, Ordering::Relaxed);
        self.streak.store(0, Ordering::Relaxed);
    }

    /// Makes it the record of a destination seen for the first time.
    pub fn begin(&self, set: i32, flags: Flags) {
        self.set.store(set as u32, Ordering::Relaxed);
        self.load.reset();
        self.entries.reset();
        self.reconfigure(flags);
        self.latency.store(0, Ordering::Relaxed);
        self.overload.reset();
        self.last_chosen.store(0, Ordering::Relaxed);
    }

    /// How long its replies take, in milliseconds; 0 where it is not known.
    pub fn latency(&self) -> u32 {
        self.latency.load(Ordering::Relaxed)
    }

    /// What the source says of its latency, unless something is known already.
    pub fn assume_latency(&self, latency: u32) {
        let _ = self.latency.compare_exchange(0, latency, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The set of its destination.
    pub fn set(&self) -> i32 {
        self.set.load(Ordering::Relaxed) as i32
    }

    /// When call load last chose it.
    pub fn last_chosen(&self) -> u64 {
        self.last_chosen.load(Ordering::Relaxed)
    }

    /// Notes that call load chose it now.
    pub fn chosen(&self, when: u64) {
        self.last_chosen.store(when, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reload_keeps_the_state_unless_the_source_changed_it() {
        let record = Record::default();
        record.begin(1, Flags::default());
        record.change_state(|_, _| (Flags::INACTIVE, 0));
        record.configure(Flags::default());
        assert_eq!(record.flags(), Flags::INACTIVE);
        record.configure(Flags::PROBING);
        assert_eq!(record.flags(), Flags::PROBING);
        record.change_state(|_, _| (Flags::INACTIVE, 0));
        record.reconfigure(Flags::PROBING);
        assert_eq!(record.flags(), Flags::PROBING);
    }
}
