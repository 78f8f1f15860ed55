//! A lock between processes: one word, and the kernel's futex to sleep on.
//!
//! `parking_lot` and `std` park waiters in a table of the process, where an unlock in another process never finds them.
//! The futex call without `FUTEX_PRIVATE_FLAG` waits on the physical page, which is the same for all. The three states
//! are those of U. Drepper, "Futexes are tricky" (2011), mutex 2.
//!
//! It does not recover when its holder dies, as nothing in Kamailio does.

#[cfg(not(loom))]
use super::Shared;
use super::atomic::{AtomicU32, Ordering, spin_loop};

/// A value behind a lock that all processes share.
#[cfg(not(loom))]
pub type Mutex<T> = parking_lot::lock_api::Mutex<Futex, T>;
/// Holds the lock of a [`Mutex`].
#[cfg(not(loom))]
pub type Guard<'a, T> = parking_lot::lock_api::MutexGuard<'a, Futex, T>;

/// Tries to take a lock for at most 200 ms. Nobody holds it that long, unless its holder is dead.
#[cfg(not(loom))]
pub fn try_lock_for<T>(mutex: &Mutex<T>) -> Option<Guard<'_, T>> {
    (0..200).find_map(|_| {
        let guard = mutex.try_lock();
        if guard.is_none() {
            std::thread::sleep(core::time::Duration::from_millis(1));
        }
        guard
    })
}

/// Proof that all other processes have ended: a lock that is still held will never be released, and the data behind it does not
/// change.
pub struct LastAlive(());

impl LastAlive {
    /// # Safety
    /// All other processes that map the shared memory have ended, and no other thread of this one uses it.
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// A type that can be read after its writer died in the middle of a change.
///
/// # Safety
/// At whatever instruction a writer ends, all that takes `&self` is sound, though it may find old, new or no values.
pub unsafe trait Legible {}

/// What is behind a lock, held or not.
#[cfg(not(loom))]
pub fn read_after_all_ended<'a, T: Legible>(mutex: &'a Mutex<T>, _: &'a LastAlive) -> &'a T {
    // SAFETY: nobody else is alive to change it, and it can be looked at as it is.
    unsafe { &*mutex.data_ptr() }
}

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may be asleep.
const WAITED: u32 = 2;

/// How often the word is read before the process sleeps: some ten microseconds. A critical section is a few hundred instructions, a
/// slice of a sweep over all calls some thousand; a process that sleeps may be woken on a busy core.
const SPINS: u32 = 1000;

/// The lock's word.
pub struct Futex {
    word: AtomicU32,
}

#[cfg(not(loom))]
// SAFETY: the value is reached only under a lock that works between processes.
unsafe impl<T: Shared> Shared for Mutex<T> {}

#[allow(clippy::new_without_default)] // a lock by default is a surprise
impl Futex {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(FREE) }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { word: AtomicU32::new(FREE) }
    }

    /// Takes the lock if it is free.
    ///
    /// Sync point `lock`: the acquire here sees all that was written before the release in [`Futex::release`].
    pub fn try_acquire(&self) -> bool {
        self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock, asleep while another process has it.
    pub fn acquire(&self) {
        // A look first would fetch the word twice, where another process had it last.
        if self.try_acquire() {
            return;
        }
        for _ in 0..SPINS {
            // A look takes the word from nobody, an attempt does.
            if self.word.load(Ordering::Relaxed) == FREE && self.try_acquire() {
                return;
            }
            if cfg!(loom) {
                break;
            }
            spin_loop();
        }
        // From here on the word says that somebody waits, even if we are the last: one wake too many, never too few.
        while self.word.swap(WAITED, Ordering::Acquire) != FREE {
            wait(&self.word, WAITED);
        }
    }

    /// Lets the next one in. Sync point `lock`, the other end.
    ///
    /// Only the holder may call it; another call breaks the exclusion (which is why it is not offered outside a guard).
    pub fn release(&self) {
        if self.word.swap(FREE, Ordering::Release) == WAITED {
            wake_one(&self.word);
        }
    }
}

#[cfg(not(loom))]
// SAFETY: `try_acquire` and `acquire` return with the word not free, and only one caller at a time can make it so.
unsafe impl parking_lot::lock_api::RawMutex for Futex {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self::new();
    // A guard stays in the process that took it: the word does not care, but sending it makes no sense.
    type GuardMarker = parking_lot::lock_api::GuardNoSend;

    fn lock(&self) {
        self.acquire();
    }

    fn try_lock(&self) -> bool {
        self.try_acquire()
    }

    unsafe fn unlock(&self) {
        self.release();
    }
}

#[cfg(not(loom))]
fn wait(word: &AtomicU32, expected: u32) {
    // SAFETY: the word is valid for the call. Waking without a reason (a signal, a changed word) is allowed: the caller
    // looks again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            core::ptr::null::<libc::timespec>(),
        );
    }
}

#[cfg(not(loom))]
fn wake_one(word: &AtomicU32) {
    // SAFETY: the word is valid for the call.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1);
    }
}

#[cfg(loom)]
fn wait(word: &AtomicU32, expected: u32) {
    while word.load(Ordering::Relaxed) == expected {
        loom::thread::yield_now();
    }
}

#[cfg(loom)]
fn wake_one(_: &AtomicU32) {}
