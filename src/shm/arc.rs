//! A value in shared memory with several owners, as `Arc` on the heap. It is freed when the last owner drops it.

use super::atomic::{AtomicU32, Ordering};
use super::boxed::Boxed;
use super::{Alloc, OutOfMemory, Shared};
use core::ops::Deref;
use core::ptr::NonNull;

struct Inner<T> {
    owners: AtomicU32,
    value: T,
}

// SAFETY: a shared value and an atomic.
unsafe impl<T: Shared> Shared for Inner<T> {}

/// One owner of a value. Each clone is one more.
pub struct Arc<T: Shared, A: Alloc> {
    inner: NonNull<Inner<T>>,
    alloc: A,
}

// SAFETY: the pointer is into shared memory and its target is `Shared`.
unsafe impl<T: Shared, A: Alloc> Shared for Arc<T, A> {}
// SAFETY: the target is `Shared` and so bound to no thread; owners are counted atomically.
unsafe impl<T: Shared, A: Alloc> Send for Arc<T, A> {}
// SAFETY: a shared reference gives only `&T`, which `Shared` allows from everywhere.
unsafe impl<T: Shared, A: Alloc> Sync for Arc<T, A> {}

impl<T: Shared, A: Alloc> Arc<T, A> {
    /// Moves `value` in, with one owner.
    pub fn try_new_in(value: T, alloc: A) -> Result<Self, OutOfMemory> {
        let inner = Boxed::try_new_in(Inner { owners: AtomicU32::new(1), value }, alloc)?;
        Ok(Self { inner: inner.into_raw(), alloc })
    }

    /// Whether there is no other owner. The caller makes sure that no other process clones it meanwhile.
    pub fn is_last(&self) -> bool {
        self.inner().owners.load(Ordering::Acquire) == 1 // sync point `last`
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: alive and initialised, for we are one of its owners.
        unsafe { self.inner.as_ref() }
    }
}

impl<T: Shared, A: Alloc> Clone for Arc<T, A> {
    fn clone(&self) -> Self {
        // Relaxed: whoever clones owns one already, and hands the new one over by something that synchronises.
        self.inner().owners.fetch_add(1, Ordering::Relaxed);
        Self { inner: self.inner, alloc: self.alloc }
    }
}

impl<T: Shared, A: Alloc> Deref for Arc<T, A> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: Shared, A: Alloc> Drop for Arc<T, A> {
    fn drop(&mut self) {
        // Sync point `last`: what each owner did with the value comes before the last one takes it along.
        if self.inner().owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: made by `try_new_in` from a box of this allocator; no owner is left, so nobody else uses it.
            drop(unsafe { Boxed::from_raw(self.inner, self.alloc) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use crate::shm::slice::Slice;

    #[test]
    fn the_last_owner_takes_the_value_along() {
        let inner = Arc::try_new_in(7u32, Heap).unwrap();
        let outer =
            Arc::try_new_in(Slice::try_from_vec_in(vec![inner.clone()], Heap).unwrap(), Heap).unwrap();
        assert!(!inner.is_last());
        let other = outer.clone();
        drop(outer);
        assert_eq!(other.first().map(|seven| **seven), Some(7));
        assert!(!inner.is_last());
        drop(other);
        assert!(inner.is_last());
    }
}
