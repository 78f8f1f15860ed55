//! A sequence that grows and shrinks at its end without moving its elements: fixed chunks and a directory of them.
//!
//! For use behind a lock; [`super::arena`] is its lock-free cousin.
//!
//! Every change takes effect by the store of one word, and the data that the word points to is complete before. So after a writer
//! died in the middle of a change, a reader finds the sequence as it was before the change or after it.

use super::atomic::{AtomicPtr, AtomicUsize, Ordering};
use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::compiler_fence;

/// Entries of a directory, at least.
const SMALLEST: usize = 4;

/// A growing sequence. `CHUNK` elements are allocated at a time.
pub struct Segments<T: Shared, A: Alloc, const CHUNK: usize> {
    /// The first element of the first chunk, if that exists: most sequences are short, and need no look at the directory.
    first: AtomicPtr<T>,
    /// The chunks' first elements; at least as many entries as there are chunks.
    directory: AtomicPtr<*mut T>,
    /// Entries of the directory.
    capacity: usize,
    /// Chunks that exist.
    chunks: AtomicUsize,
    alloc: A,
}

// SAFETY: pointers to `Shared` values in shared memory.
unsafe impl<T: Shared, A: Alloc, const CHUNK: usize> Shared for Segments<T, A, CHUNK> {}
// SAFETY: owns its elements, which are `Shared` and so bound to no thread.
unsafe impl<T: Shared, A: Alloc, const CHUNK: usize> Send for Segments<T, A, CHUNK> {}
// SAFETY: a shared reference gives only `&T`, which `Shared` allows from everywhere.
unsafe impl<T: Shared, A: Alloc, const CHUNK: usize> Sync for Segments<T, A, CHUNK> {}

impl<T: Shared, A: Alloc, const CHUNK: usize> Segments<T, A, CHUNK> {
    /// No elements, no memory.
    pub fn new_in(alloc: A) -> Self {
        let (first, directory) = (AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut()));
        Self { first, directory, capacity: 0, chunks: AtomicUsize::new(0), alloc }
    }

    /// Elements that exist.
    pub fn len(&self) -> usize {
        self.chunks() * CHUNK
    }

    /// Whether no element exists.
    pub fn is_empty(&self) -> bool {
        self.chunks() == 0
    }

    fn chunks(&self) -> usize {
        self.chunks.load(Ordering::Acquire)
    }

    fn place(&self, number: usize) -> Option<*mut T> {
        if number / CHUNK >= self.chunks() {
            return None;
        }
        if number < CHUNK {
            // SAFETY: the first chunk exists, has `CHUNK` elements, and begins there.
            return Some(unsafe { self.first.load(Ordering::Acquire).add(number) });
        }
        let directory = self.directory.load(Ordering::Acquire);
        // SAFETY: the directory has an entry for each chunk that exists, and a chunk has `CHUNK` elements.
        Some(unsafe { (*directory.add(number / CHUNK)).add(number % CHUNK) })
    }

    /// The element of this number.
    pub fn get(&self, number: usize) -> Option<&T> {
        // SAFETY: written when its chunk was made, and there as long as nobody has `&mut self`.
        self.place(number).map(|place| unsafe { &*place })
    }

    /// The element of this number, to change.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        // SAFETY: as above, and `&mut self` is the only way to it.
        self.place(number).map(|place| unsafe { &mut *place })
    }

    /// Puts another directory in the place of this one. It has room for all chunks.
    fn change_directory(&mut self, capacity: usize) -> Result<(), OutOfMemory> {
        let (old, chunks) = (self.directory.load(Ordering::Relaxed), self.chunks());
        let size = capacity.saturating_mul(size_of::<*mut T>());
        let layout = Layout::array::<*mut T>(capacity).map_err(|_| OutOfMemory { size })?;
        let new = self.alloc.alloc(layout).ok_or(OutOfMemory { size })?.cast::<*mut T>();
        // SAFETY: both have room for an entry of each chunk and do not overlap; without chunks there may be no old one.
        unsafe {
            if chunks > 0 {
                new.as_ptr().copy_from_nonoverlapping(old, chunks);
            }
        }
        self.directory.store(new.as_ptr(), Ordering::Release);
        // Nobody who looks after our death follows the old one: it is freed after the new one is in its place.
        compiler_fence(Ordering::SeqCst);
        let old_capacity = core::mem::replace(&mut self.capacity, capacity);
        self.free_directory(old, old_capacity);
        Ok(())
    }

    fn free_directory(&self, directory: *mut *mut T, capacity: usize) {
        if let (Some(block), Ok(layout)) = (NonNull::new(directory), Layout::array::<*mut T>(capacity)) {
            // SAFETY: made by `change_directory` with this capacity; the caller has no use for it.
            unsafe { self.alloc.free(block.cast(), layout) };
        }
    }

    /// Takes the last chunk off; it goes when the caller drops it.
    pub fn shrink(&mut self) -> Option<Slice<T, A>> {
        let last = self.chunks().checked_sub(1)?;
        let first = NonNull::new(self.place(last * CHUNK)?)?;
        self.chunks.store(last, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        if last == 0 {
            let directory = self.directory.swap(null_mut(), Ordering::AcqRel);
            compiler_fence(Ordering::SeqCst);
            let capacity = core::mem::take(&mut self.capacity);
            self.free_directory(directory, capacity);
        } else if self.capacity > SMALLEST && last <= self.capacity / 4 {
            // Without memory for a smaller one the old one does.
            let _ = self.change_directory(self.capacity / 2);
        }
        // SAFETY: made by `grow` as a slice of this length in this allocator; it is out of the sequence now.
        Some(unsafe { Slice::from_raw_parts(first, CHUNK, self.alloc) })
    }
}

impl<T: Shared + Default, A: Alloc, const CHUNK: usize> Segments<T, A, CHUNK> {
    /// Makes `CHUNK` more elements and returns the number of the first.
    pub fn grow(&mut self) -> Result<usize, OutOfMemory> {
        let chunk = Slice::try_from_fn_in(CHUNK, |_| T::default(), self.alloc)?;
        let chunks = self.chunks();
        if chunks == self.capacity {
            self.change_directory((self.capacity * 2).max(SMALLEST))?;
        }
        let first = core::mem::ManuallyDrop::new(chunk).as_ptr().cast_mut();
        // SAFETY: there is room for one entry more.
        unsafe { self.directory.load(Ordering::Relaxed).add(chunks).write(first) };
        if chunks == 0 {
            self.first.store(first, Ordering::Release);
        }
        self.chunks.store(chunks + 1, Ordering::Release);
        Ok(chunks * CHUNK)
    }
}

impl<T: Shared, A: Alloc, const CHUNK: usize> Drop for Segments<T, A, CHUNK> {
    fn drop(&mut self) {
        while self.shrink().is_some() {}
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;

    #[test]
    fn elements_stay_where_they_are_while_others_come_and_go_behind_them() {
        let mut chunks = Segments::<u32, Heap, 4>::new_in(Heap);
        assert!(chunks.shrink().is_none());
        for round in 0..3 {
            while chunks.len() < 1000 {
                let first = chunks.grow().unwrap();
                (first..first + 4).for_each(|at| *chunks.get_mut(at).unwrap() = at as u32 + round);
            }
            let first = core::ptr::from_ref(chunks.get(0).unwrap());
            while chunks.len() > 8 {
                let last = chunks.len() as u32 - 1 + round;
                assert_eq!(chunks.shrink().unwrap().last(), Some(&last));
                assert_eq!(chunks.get(7), Some(&(7 + round)));
            }
            assert_eq!((core::ptr::from_ref(chunks.get(0).unwrap()), chunks.get(8)), (first, None));
            assert_eq!(chunks.capacity, 4, "the directory shrinks as well");
            while chunks.shrink().is_some() {}
            assert_eq!((chunks.len(), chunks.capacity), (0, 0));
        }
    }
}
