//! Counters and switches that several processes change at the same time.

use super::Shared;
use super::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// How many users something has now. It never goes below zero and never overflows: an attempt is a fault of this module, which
/// leaves the gauge as it is and is reported ([`on_fault`]).
///
/// One process at a time changes it, behind a lock; any may read it at any time.
#[derive(Default)]
pub struct Gauge(AtomicU32);

// SAFETY: an atomic.
unsafe impl Shared for Gauge {}

/// Who is told of a fault.
static TELL: OnceLock<fn()> = OnceLock::new();

/// Says who is told when a gauge is given back more often than it was taken. Once, before the fork; without it a build with
/// assertions stops there.
pub fn on_fault(tell: fn()) {
    let _ = TELL.set(tell);
}

fn fault() {
    match TELL.get() {
        Some(tell) => tell(),
        None => debug_assert!(false, "given back more often than taken"),
    }
}

impl Gauge {
    /// One more. The caller holds the lock.
    pub fn take(&self) {
        self.step(Ordering::Relaxed, |now| now.checked_add(1));
    }

    /// One less. For what was taken; what was not is no less than none. The caller holds the lock.
    ///
    /// Sync point `left`: whoever then sees zero ([`Gauge::is_zero`]) also sees all that was done before.
    pub fn give(&self) {
        self.step(Ordering::Release, |now| now.checked_sub(1));
    }

    /// A store is enough where nobody else stores.
    fn step(&self, order: Ordering, next: impl Fn(u32) -> Option<u32>) {
        match next(self.0.load(Ordering::Relaxed)) {
            Some(next) => self.0.store(next, order),
            None => fault(),
        }
    }

    /// Whether nobody holds it (sync point `left`, the other end).
    pub fn is_zero(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Starts again from zero, for a new purpose.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Whether the audit that runs now, or ran last, has passed the shard where a load changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audited {
    /// It will see the change there.
    #[default]
    NotYet,
    /// It must be told of the change.
    Already,
}

/// Calls that count for a destination. Never below zero; under a limit it goes up only from the value that was compared with it.
///
/// One process at a time changes it, behind a lock; any may read it at any time.
///
/// The same word, changed in the same step, has the account of an audit: by how much the load changed in shards that the audit has
/// passed. So load minus account is what the audit must have counted, at whatever moment it reads.
#[derive(Default)]
pub struct Load(AtomicU64);

// SAFETY: an atomic.
unsafe impl Shared for Load {}

const ACCOUNT: u32 = 32;

const fn load_of(word: u64) -> u32 {
    word as u32
}

/// The word with a changed load; `None` where it cannot change so.
fn changed(word: u64, load: Option<u32>, audited: Audited) -> Option<u64> {
    let (load, before) = (load?, load_of(word));
    let account = (word >> ACCOUNT) as u32;
    let account = match audited {
        Audited::NotYet => account,
        Audited::Already => account.wrapping_add(load.wrapping_sub(before)),
    };
    Some(u64::from(account) << ACCOUNT | u64::from(load))
}

impl Load {
    /// How many now.
    pub fn get(&self) -> u32 {
        load_of(self.0.load(Ordering::Relaxed))
    }

    /// One more, if there are still `seen`: so a limit that was checked against `seen` holds. The caller holds the lock.
    pub fn take_if(&self, seen: u32, audited: Audited) -> bool {
        let is_seen = self.get() == seen;
        if is_seen {
            self.take(audited);
        }
        is_seen
    }

    /// One more, whatever the limit. The caller holds the lock.
    pub fn take(&self, audited: Audited) {
        self.step(|load| load.checked_add(1), audited);
    }

    /// One less. For what was taken; what was not is no less than none. The caller holds the lock.
    pub fn give(&self, audited: Audited) {
        self.step(|load| load.checked_sub(1), audited);
    }

    /// A store is enough where nobody else stores.
    fn step(&self, next: impl Fn(u32) -> Option<u32>, audited: Audited) {
        let word = self.0.load(Ordering::Relaxed);
        match changed(word, next(load_of(word)), audited) {
            Some(next) => self.0.store(next, Ordering::Relaxed),
            None => fault(),
        }
    }

    /// Begins an account, while no shard is marked as passed. The caller holds the lock.
    pub fn open_account(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) & u64::from(u32::MAX), Ordering::Relaxed);
    }

    /// The load, and by how much it changed in shards that the audit has passed, both of one moment.
    pub fn account(&self) -> (u32, i32) {
        let word = self.0.load(Ordering::Relaxed);
        (load_of(word), (word >> ACCOUNT) as u32 as i32)
    }

    /// Starts again from zero, for a new purpose.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How often something happened. Only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

// SAFETY: an atomic.
unsafe impl Shared for Counter {}

impl Counter {
    /// Once more.
    pub fn bump(&self) {
        self.add(1);
    }

    /// Some times more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Once more, where nobody else changes it meanwhile.
    pub fn bump_alone(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    /// Starts again, for a new purpose.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// How often so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is on, by any number but 0, or off.
#[derive(Default)]
pub struct Switch(AtomicU32);

// SAFETY: an atomic.
unsafe impl Shared for Switch {}

impl Switch {
    /// On: 1.
    pub fn on() -> Self {
        Self(AtomicU32::new(1))
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.get() != 0
    }

    /// The number.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the number; gives the one before.
    pub fn turn(&self, to: u32) -> u32 {
        self.0.swap(to, Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn account_follows_the_load_only_where_the_audit_has_been() {
        let load = Load::default();
        load.take(Audited::NotYet);
        load.take(Audited::Already);
        assert!(load.take_if(2, Audited::Already));
        assert!(!load.take_if(2, Audited::Already));
        load.give(Audited::NotYet);
        assert_eq!(load.account(), (2, 2));
        load.open_account();
        load.give(Audited::Already);
        assert_eq!(load.account(), (1, -1));
    }
}
