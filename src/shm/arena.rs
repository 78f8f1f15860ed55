//! Values found by a small number, read without a lock, that never move.
//!
//! Chunk `k` holds `FIRST << k` values, so a directory of fixed size is enough for all of them and growing moves
//! nothing. A value is made when its chunk is, and lives as long as the arena; its user gives the number a new meaning.

use super::atomic::{AtomicPtr, Ordering};
use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::ptr::{NonNull, null_mut};

const FIRST: usize = 64;
const CHUNKS: usize = 22;

/// Values by number.
pub struct Arena<T: Shared, A: Alloc> {
    chunks: [AtomicPtr<T>; CHUNKS],
    alloc: A,
}

// SAFETY: atomics and pointers to `Shared` values in shared memory.
unsafe impl<T: Shared, A: Alloc> Shared for Arena<T, A> {}
// SAFETY: gives only `&T` of a `Shared` value.
unsafe impl<T: Shared, A: Alloc> Sync for Arena<T, A> {}
// SAFETY: bound to no thread.
unsafe impl<T: Shared, A: Alloc> Send for Arena<T, A> {}

impl<T: Shared + Default, A: Alloc> Arena<T, A> {
    /// The number of values it can hold.
    pub const CAPACITY: u32 = ((FIRST << CHUNKS) - FIRST) as u32;

    /// No values.
    pub fn new_in(alloc: A) -> Self {
        Self { chunks: core::array::from_fn(|_| AtomicPtr::new(null_mut())), alloc }
    }

    fn place(number: u32) -> (usize, usize) {
        let shifted = number as usize + FIRST;
        let chunk = (shifted.ilog2() - FIRST.ilog2()) as usize;
        (chunk, shifted - (FIRST << chunk))
    }

    /// The value of this number, if [`Arena::make`] was asked for it or for a later one of its chunk.
    pub fn get(&self, number: u32) -> Option<&T> {
        let (chunk, at) = Self::place(number);
        // Sync point `chunk`: sees the values as `make` wrote them.
        let first = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: a chunk that is there holds `FIRST << chunk` values, `at` is below that, and chunks live as long as the arena.
        Some(unsafe { &*first.add(at) })
    }

    /// Makes sure that the value of this number exists. One caller at a time.
    pub fn make(&self, number: u32) -> Result<&T, OutOfMemory> {
        let (chunk, _) = Self::place(number);
        let full = OutOfMemory { size: size_of::<T>() };
        let entry = self.chunks.get(chunk).ok_or(full)?;
        if entry.load(Ordering::Relaxed).is_null() {
            let made = Slice::try_from_fn_in(FIRST << chunk, |_| T::default(), self.alloc)?;
            let made = core::mem::ManuallyDrop::new(made);
            entry.store(made.as_ptr().cast_mut(), Ordering::Release); // sync point `chunk`
        }
        self.get(number).ok_or(full)
    }
}

impl<T: Shared, A: Alloc> Drop for Arena<T, A> {
    fn drop(&mut self) {
        for (chunk, entry) in self.chunks.iter().enumerate() {
            if let Some(first) = NonNull::new(entry.load(Ordering::Relaxed)) {
                // SAFETY: made by `make` as a slice of this length in this allocator; `&mut self` is the only user left.
                drop(unsafe { Slice::from_raw_parts(first, FIRST << chunk, self.alloc) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use crate::shm::atomic::AtomicU32;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let arena = Arena::<AtomicU32, Heap>::new_in(Heap);
        for number in 0..1000 {
            arena.make(number).unwrap().store(number, Ordering::Relaxed);
        }
        for number in 0..1000 {
            assert_eq!(arena.get(number).unwrap().load(Ordering::Relaxed), number);
        }
        assert!(arena.get(5000).is_none());
        assert!(arena.get(u32::MAX).is_none());
        assert!(arena.make(Arena::<AtomicU32, Heap>::CAPACITY).is_err());
    }
}
