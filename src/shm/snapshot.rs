//! A value that is replaced as a whole while others read it. Readers never wait; the old value is freed when no reader can hold
//! it any more.
//!
//! Model: each process has a slot. A reader notes the current epoch in its slot, then loads the pointer. A writer swaps
//! the pointer, steps the epoch and keeps the old value until every slot is idle or shows a later epoch.
//!
//! Why that is enough (sync point `pin`): the reader's note and the writer's swap are each followed by a sequentially
//! consistent fence. Either the writer's look at the slots comes after the reader's note and sees it, or the reader's
//! load comes after the writer's swap and finds the new value.
//!
//! Nothing waits here. A reader that keeps its pin only delays the return of memory.

use super::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use super::boxed::Boxed;
use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::ops::Deref;
use core::ptr::{NonNull, null_mut};

const IDLE: u64 = 0;

/// The slot in which one process notes the epoch it reads in. Only that process writes it.
pub struct Slot {
    /// The epoch seen when the outermost pin was taken, or [`IDLE`].
    epoch: AtomicU64,
    /// Pins held, one inside the other: a script function may run inside another's event route.
    depth: AtomicU32,
    /// Up to the size of a cache line, so that two processes do not write to one.
    _pad: [u64; 6],
}

impl Slot {
    fn idle() -> Self {
        Self { epoch: AtomicU64::new(IDLE), depth: AtomicU32::new(0), _pad: [0; 6] }
    }
}

// SAFETY: atomics only.
unsafe impl Shared for Slot {}

/// A published value with its chain of retired ones.
pub struct Kept<T> {
    value: T,
    /// The epoch in which it was replaced; set once it is retired.
    retired_in: u64,
    next: *mut Kept<T>,
}

impl<T> Kept<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value, retired_in: 0, next: null_mut() }
    }

    pub(super) fn value(&self) -> &T {
        &self.value
    }
}

// SAFETY: `next` points into shared memory.
unsafe impl<T: Shared> Shared for Kept<T> {}

/// The replaced values that a reader may still hold. Belongs behind the lock that writers take.
pub struct Retired<T> {
    first: *mut Kept<T>,
}

// SAFETY: points into shared memory.
unsafe impl<T: Shared> Shared for Retired<T> {}
// SAFETY: owns its chain, whose values are `Shared` and so bound to no thread.
unsafe impl<T: Shared> Send for Retired<T> {}

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Self { first: null_mut() }
    }
}

impl<T: Shared> Retired<T> {
    /// Takes in a value that no new reader finds since this epoch.
    ///
    /// # Safety
    /// It came from [`Boxed::into_raw`], and nobody but this chain owns it.
    pub(super) unsafe fn put(&mut self, old: NonNull<Kept<T>>, epoch: u64) {
        // SAFETY: only readers hold it, and they look only at `value`.
        unsafe {
            (&raw mut (*old.as_ptr()).retired_in).write(epoch);
            (&raw mut (*old.as_ptr()).next).write(self.first);
        }
        self.first = old.as_ptr();
    }

    /// Gives back what was retired before the epoch `oldest`, each to `each` first, at most so many. Says how many.
    ///
    /// # Safety
    /// The values are in the memory of `alloc`, and no reader is in an epoch before `oldest` ([`Snapshot::oldest`], asked
    /// after the last [`Retired::put`] that counts).
    pub(super) unsafe fn free<A: Alloc>(
        &mut self,
        oldest: u64,
        most: usize,
        alloc: A,
        mut each: impl FnMut(&T),
    ) -> usize {
        let (mut at, mut freed): (*mut *mut Kept<T>, _) = (&raw mut self.first, 0);
        // SAFETY: the chain is reached only through `self`, which we hold exclusively, and owns its values.
        unsafe {
            while let Some(kept) = NonNull::new(*at).filter(|_| freed < most) {
                if kept.as_ref().retired_in < oldest {
                    *at = kept.as_ref().next;
                    let owned = Boxed::from_raw(kept, alloc);
                    each(&owned.value);
                    freed += 1;
                } else {
                    at = &raw mut (*kept.as_ptr()).next;
                }
            }
        }
        freed
    }
}

/// The current value and the slots of its readers.
pub struct Snapshot<T: Shared, A: Alloc> {
    current: AtomicPtr<Kept<T>>,
    epoch: AtomicU64,
    slots: AtomicPtr<Slot>,
    count: AtomicUsize,
    alloc: A,
}

// SAFETY: atomics and pointers into shared memory.
unsafe impl<T: Shared, A: Alloc> Shared for Snapshot<T, A> {}
// SAFETY: readers get `&T` of a `Shared` value; writers are told apart by the pointer swap.
unsafe impl<T: Shared, A: Alloc> Sync for Snapshot<T, A> {}
// SAFETY: bound to no thread.
unsafe impl<T: Shared, A: Alloc> Send for Snapshot<T, A> {}

/// A value in shared memory that nobody finds yet.
pub struct Ready<T: Shared, A: Alloc>(Boxed<Kept<T>, A>);

impl<T: Shared, A: Alloc> Ready<T, A> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.0.value
    }
}

/// Why a value cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum PinError {
    /// Nothing was published yet.
    Empty,
    /// The process has a number for which no slot was made.
    NoSlot(usize),
}

impl<T: Shared, A: Alloc> Snapshot<T, A> {
    /// Nothing published, no slots.
    pub fn new_in(alloc: A) -> Self {
        Self {
            current: AtomicPtr::new(null_mut()),
            epoch: AtomicU64::new(IDLE + 1),
            slots: AtomicPtr::new(null_mut()),
            count: AtomicUsize::new(0),
            alloc,
        }
    }

    /// Makes a slot for each of `processes`. Once, before the fork; until then only one process may read and write.
    pub fn open(&self, processes: usize) -> Result<(), OutOfMemory> {
        let slots = Slice::try_from_fn_in(processes.max(1), |_| Slot::idle(), self.alloc)?;
        // The slots live as long as the server: they are never given back.
        let slots = core::mem::ManuallyDrop::new(slots);
        self.slots.store(slots.as_ptr().cast_mut(), Ordering::Relaxed);
        self.count.store(slots.len(), Ordering::Release);
        Ok(())
    }

    fn slots(&self) -> &[Slot] {
        let count = self.count.load(Ordering::Acquire);
        if count == 0 {
            return &[];
        }
        // SAFETY: `open` stored a slice of `count` slots that is never freed.
        unsafe { core::slice::from_raw_parts(self.slots.load(Ordering::Relaxed), count) }
    }

    /// The current value, kept until the pin is dropped. `process` is the caller's own number.
    pub fn pin(&self, process: usize) -> Result<Pin<'_, T>, PinError> {
        let slots = self.slots();
        let slot = match slots.get(process) {
            Some(slot) => Some(slot),
            None if slots.is_empty() => None,
            None => return Err(PinError::NoSlot(process)),
        };
        if let Some(slot) = slot {
            let depth = slot.depth.load(Ordering::Relaxed);
            if depth == 0 {
                // Sync point `pin`, the reader's end. An epoch that is already old only keeps more alive.
                // A release, because a writer that sees this epoch takes our earlier pins for ended (sync point `unpin`).
                slot.epoch.store(self.epoch.load(Ordering::Relaxed), Ordering::Release);
                fence(Ordering::SeqCst);
            }
            slot.depth.store(depth + 1, Ordering::Relaxed);
        }
        // Sync point `publish`: sees the value as it was when `publish` stored it.
        let current = self.current.load(Ordering::Acquire);
        // Made before the test, so that it is dropped, and the slot idle again, when there is nothing.
        let pin = Pin { kept: current, slot, lives: core::marker::PhantomData };
        if current.is_null() { Err(PinError::Empty) } else { Ok(pin) }
    }

    /// The current value, for the one writer: nobody else can replace it while `retired` is borrowed.
    pub fn current<'a>(&'a self, _: &'a Retired<T>) -> Option<&'a T> {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: null or a published value, which only `publish` retires, and that needs `retired` exclusively.
        unsafe { current.as_ref() }.map(|kept| &kept.value)
    }

    /// Puts `value` in the place of the current one, for every pin from now on.
    pub fn publish(&self, value: T, retired: &mut Retired<T>) -> Result<(), OutOfMemory> {
        self.publish_ready(self.ready(value)?, retired);
        Ok(())
    }

    /// Makes a value ready to be published: what is left to do cannot fail.
    pub fn ready(&self, value: T) -> Result<Ready<T, A>, OutOfMemory> {
        Boxed::try_new_in(Kept::new(value), self.alloc).map(Ready)
    }

    /// As [`Snapshot::publish`].
    pub fn publish_ready(&self, value: Ready<T, A>, retired: &mut Retired<T>) {
        let kept = value.0;
        // Sync point `publish`, the writer's end; and `pin`, together with the fence in `oldest`.
        let old = self.current.swap(kept.into_raw().as_ptr(), Ordering::AcqRel);
        let epoch = self.step();
        if let Some(old) = NonNull::new(old) {
            // SAFETY: published by this snapshot and no longer current.
            unsafe { retired.put(old, epoch) };
        }
    }

    /// Ends an epoch and returns it: readers that pin from now on do not find what was taken out before.
    pub fn step(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel)
    }

    /// The oldest epoch that a reader may be in.
    pub fn oldest(&self) -> u64 {
        fence(Ordering::SeqCst); // sync point `pin`, the writer's end
        let mut oldest = u64::MAX;
        for slot in self.slots() {
            // Sync point `unpin`: the reader's last look at the value comes before its slot turns idle.
            let epoch = slot.epoch.load(Ordering::Acquire);
            if epoch != IDLE {
                oldest = oldest.min(epoch);
            }
        }
        oldest
    }

    /// Takes back every retired value that no reader can hold, and hands each to `each`.
    pub fn reclaim(&self, retired: &mut Retired<T>, each: impl FnMut(&T)) {
        // SAFETY: published by this snapshot in this memory, and retired before the look at the slots.
        unsafe { retired.free(self.oldest(), usize::MAX, self.alloc, each) };
    }
}

/// The right to read one value.
pub struct Pin<'a, T> {
    kept: *const Kept<T>,
    slot: Option<&'a Slot>,
    lives: core::marker::PhantomData<&'a T>,
}

impl<T> Deref for Pin<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: not null (`pin` hands out no other), initialised before it was published, and kept by our slot.
        unsafe { &(*self.kept).value }
    }
}

impl<T> Drop for Pin<'_, T> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let depth = slot.depth.load(Ordering::Relaxed).saturating_sub(1);
        slot.depth.store(depth, Ordering::Relaxed);
        if depth == 0 {
            slot.epoch.store(IDLE, Ordering::Release); // sync point `unpin`
        }
    }
}
