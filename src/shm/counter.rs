//! Numbers that several processes change at once.

use super::Shared;
use super::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// How many hold something now. Never below zero, and never past its end: what would go there is a fault of this module,
/// leaves the gauge where it is, and is told ([`on_fault`]).
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
    /// How many now.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, if there are still `seen`: so a limit that was checked against `seen` holds.
    pub fn take_if(&self, seen: u32) -> bool {
        let Some(next) = seen.checked_add(1) else {
            fault();
            return true;
        };
        self.0.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// One more, whatever the limit.
    pub fn take(&self) {
        self.step(Ordering::Relaxed, |now| now.checked_add(1));
    }

    /// One less. For what was taken.
    ///
    /// Sync point `left`: whoever then sees zero ([`Gauge::is_zero`]) also sees all that was done before.
    pub fn give(&self) {
        self.step(Ordering::Release, |now| now.checked_sub(1));
    }

    /// Never passes through a value that nobody may see, as to add and then to mend would.
    fn step(&self, order: Ordering, next: impl Fn(u32) -> Option<u32>) {
        if self.0.fetch_update(order, Ordering::Relaxed, next).is_err() {
            fault();
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
