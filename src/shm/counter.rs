//! Numbers that several processes change at once.

use super::Shared;
use super::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many hold something now. Never below zero; goes up only from a value that was looked at.
#[derive(Default)]
pub struct Gauge(AtomicU32);

// SAFETY: an atomic.
unsafe impl Shared for Gauge {}

impl Gauge {
    /// How many now.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, if there are still `seen`: so a limit that was checked against `seen` holds.
    pub fn take_if(&self, seen: u32) -> bool {
        let next = seen.saturating_add(1);
        self.0.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// One more, whatever the limit.
    pub fn take(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less. For what was taken.
    ///
    /// Sync point `left`: whoever then sees zero ([`Gauge::is_zero`]) also sees all that was done before.
    pub fn give(&self) {
        let before = self.0.fetch_sub(1, Ordering::Release);
        debug_assert_ne!(before, 0, "given back more often than taken");
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
