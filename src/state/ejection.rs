//! What a record shows of an ejection: two bits beside its state, the calls that are left to its trial, and the epoch in which calls are sent.
//!
//! The rest is with the record in the registry ([`Registry::ejection`](super::Registry::ejection)), made when it is needed.

use super::record::Record;
use crate::dest::Flags;
use crate::health::ejection::Ejection;
use crate::shm::Shared;
use crate::shm::atomic::{AtomicU32, Ordering};

/// What is known of the calls at a destination, behind a lock.
#[derive(Debug, Default)]
pub(super) struct Calls(pub(super) Ejection);

// SAFETY: numbers.
unsafe impl Shared for Calls {}

/// What every choice may have to know. Changed with the board of the set locked.
#[derive(Default)]
pub(super) struct Trial {
    /// Calls that may still go there, while it is on trial.
    left: AtomicU32,
    /// Grows when it goes out, is tried, comes back, or somebody says what its state is.
    epoch: AtomicU32,
}

impl Record {
    /// The epoch in which calls are sent now.
    pub fn epoch(&self) -> u32 {
        self.trial.epoch.load(Ordering::Relaxed)
    }

    /// Somebody has said what its state is: what calls said before counts no more.
    pub fn begin_epoch(&self) -> u32 {
        self.trial.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Whether only a few calls may go there.
    pub fn is_on_trial(&self) -> bool {
        self.all_flags().has(Flags::ON_TRIAL)
    }

    fn put_ejection(&self, to: Flags) {
        let change = |flags: u32| Some(Flags(flags).without(Flags::EJECTION).with(to).0);
        let _ = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// No new calls. The epoch that begins. With the board of its set locked, as all that follows.
    pub(super) fn put_out(&self) -> u32 {
        self.put_ejection(Flags::EJECTED);
        self.totals.ejections.bump();
        self.begin_epoch()
    }

    /// So many new calls. The epoch that begins.
    pub(super) fn try_out(&self, calls: u32) -> u32 {
        self.let_come(calls);
        self.begin_epoch()
    }

    /// So many new calls more, of the same trial.
    pub(super) fn let_come(&self, calls: u32) {
        self.trial.left.store(calls, Ordering::Relaxed);
        self.put_ejection(Flags::ON_TRIAL);
    }

    /// One call more, of the same trial.
    pub(super) fn let_one_come(&self) {
        let left = if self.flags().has(Flags::EJECTED) { 0 } else { self.trial.left.load(Ordering::Relaxed) };
        self.let_come(left + 1);
    }

    /// As many calls as others get. The epoch that begins.
    pub(super) fn put_back(&self) -> u32 {
        self.put_ejection(Flags::default());
        self.begin_epoch()
    }

    /// A new call goes there; false if its trial has all its calls. Who takes the last puts it out of the way.
    pub(super) fn take_trial(&self) -> bool {
        if !self.is_on_trial() {
            return true;
        }
        let left = self.trial.left.load(Ordering::Relaxed);
        self.trial.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left <= 1 {
            self.put_ejection(Flags::EJECTION);
        }
        left > 0
    }
}
