//! Values found by a small number, read without a lock, that never move.
//!
//! Model: values lie in chunks of [`CHUNK`], and pages point to the chunks. All values of a chunk are made with it; a number is
//! given a new use by its user. A chunk without a value in use can be taken out: new readers do not find it. It is freed when
//! the readers that may have found it before are done, like a replaced value of a [`super::snapshot`].
//!
//! A reader must make sure of one thing: it found the value under a pin of that snapshot which it still holds, or the value stays
//! in use for as long as it reads.

use super::atomic::{AtomicPtr, Ordering};
use super::boxed::Boxed;
use super::snapshot::{Kept, Retired};
use super::{Alloc, OutOfMemory, Shared};
use core::ptr::{NonNull, null_mut};

/// Values that come and go together.
pub const CHUNK: usize = 32;
/// Chunks of a page. The model checker would look at each of them.
const PAGE: usize = if cfg!(loom) { 1 } else { 1024 };
const PAGES: usize = if cfg!(loom) { 1 } else { 1024 };

type Chunk<T> = Kept<[T; CHUNK]>;

/// Where chunks are.
struct Chunks<T>([AtomicPtr<Chunk<T>>; PAGE]);

// SAFETY: pointers to `Shared` values in shared memory.
unsafe impl<T: Shared> Shared for Chunks<T> {}

type Page<T> = Kept<Chunks<T>>;

/// Values by number.
pub struct Arena<T: Shared, A: Alloc> {
    pages: [AtomicPtr<Page<T>>; PAGES],
    alloc: A,
}

// SAFETY: atomics and pointers to `Shared` values in shared memory.
unsafe impl<T: Shared, A: Alloc> Shared for Arena<T, A> {}
// SAFETY: gives only `&T` of a `Shared` value.
unsafe impl<T: Shared, A: Alloc> Sync for Arena<T, A> {}
// SAFETY: bound to no thread.
unsafe impl<T: Shared, A: Alloc> Send for Arena<T, A> {}

/// Chunks that were taken out, and pages without a chunk. Belongs behind the lock of those who make and take out.
pub struct Gone<T> {
    chunks: Retired<[T; CHUNK]>,
    pages: Retired<Chunks<T>>,
}

// SAFETY: points into shared memory.
unsafe impl<T: Shared> Shared for Gone<T> {}

impl<T> Default for Gone<T> {
    fn default() -> Self {
        Self { chunks: Retired::default(), pages: Retired::default() }
    }
}

fn nothing<T, const N: usize>() -> [AtomicPtr<T>; N] {
    core::array::from_fn(|_| AtomicPtr::new(null_mut()))
}

/// What this leads to.
fn follow<T>(pointer: &AtomicPtr<Kept<T>>) -> Option<&T> {
    // Sync point `made`: sees it as `make` wrote it.
    let kept = pointer.load(Ordering::Acquire);
    // SAFETY: null or what `make` put there, which is kept for its readers as the head of this file says.
    unsafe { kept.as_ref() }.map(Kept::value)
}

impl<T: Shared + Default, A: Alloc> Arena<T, A> {
    /// The number of values it can hold.
    pub const CAPACITY: u32 = (PAGES * PAGE * CHUNK) as u32;

    /// No values.
    pub fn new_in(alloc: A) -> Self {
        Self { pages: nothing(), alloc }
    }

    fn chunk(&self, chunk: usize) -> Option<&AtomicPtr<Chunk<T>>> {
        follow(self.pages.get(chunk / PAGE)?)?.0.get(chunk % PAGE)
    }

    /// The value of this number, if [`Arena::make`] was asked for it or for another of its chunk.
    pub fn get(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        follow(self.chunk(number / CHUNK)?)?.get(number % CHUNK)
    }

    /// Whether this chunk is there.
    pub fn has(&self, chunk: usize) -> bool {
        self.chunk(chunk).is_some_and(|chunk| !chunk.load(Ordering::Relaxed).is_null())
    }

    /// Makes sure that the value of this number exists. One caller at a time.
    pub fn make(&self, number: u32) -> Result<&T, OutOfMemory> {
        let full = OutOfMemory { size: size_of::<T>() };
        let chunk = number as usize / CHUNK;
        let page = self.pages.get(chunk / PAGE).ok_or(full)?;
        self.fill(page, || Chunks(nothing()))?;
        let chunk = self.chunk(chunk).ok_or(full)?;
        self.fill(chunk, || core::array::from_fn(|_| T::default()))?;
        self.get(number).ok_or(full)
    }

    fn fill<U: Shared>(
        &self,
        place: &AtomicPtr<Kept<U>>,
        make: impl FnOnce() -> U,
    ) -> Result<(), OutOfMemory> {
        if place.load(Ordering::Relaxed).is_null() {
            let made = Boxed::try_new_in(Kept::new(make()), self.alloc)?;
            place.store(made.into_raw().as_ptr(), Ordering::Release); // sync point `made`
        }
        Ok(())
    }

    /// Takes a chunk out, of which no value is in use. `step` ends an epoch of the snapshot that readers pin, and gives it.
    pub fn take_out(&self, chunk: usize, gone: &mut Gone<T>, step: impl Fn() -> u64) {
        let Some(page) = self.pages.get(chunk / PAGE) else { return };
        let Some(chunks) = follow(page) else { return };
        let Some(place) = chunks.0.get(chunk % PAGE) else { return };
        retire(place, &mut gone.chunks, &step);
        if chunks.0.iter().all(|chunk| chunk.load(Ordering::Relaxed).is_null()) {
            retire(page, &mut gone.pages, &step);
        }
    }

    /// Frees what was taken out in an epoch before `oldest`, at most so many chunks; says how many chunks.
    pub fn free(&self, gone: &mut Gone<T>, oldest: u64, most: usize) -> usize {
        // SAFETY: taken out of this arena, in epochs of the snapshot that readers pin; nobody who is still there has pinned it
        // as early, and a value that is in use is not taken out.
        unsafe {
            gone.pages.free(oldest, usize::MAX, self.alloc, |_| {});
            gone.chunks.free(oldest, most, self.alloc, |_| {})
        }
    }
}

/// Removes this pointer, so that no new reader follows it (sync point `pin` of the snapshot, the writer's end: first out, then the
/// step).
fn retire<T: Shared>(place: &AtomicPtr<Kept<T>>, retired: &mut Retired<T>, step: impl Fn() -> u64) {
    if let Some(out) = NonNull::new(place.swap(null_mut(), Ordering::AcqRel)) {
        // SAFETY: it was reached only through this place.
        unsafe { retired.put(out, step()) };
    }
}

impl<T: Shared, A: Alloc> Drop for Arena<T, A> {
    fn drop(&mut self) {
        for page in &self.pages {
            let Some(page) = NonNull::new(page.load(Ordering::Relaxed)) else { continue };
            // SAFETY: made by `make` in this allocator; `&mut self` is the only user left.
            let page = unsafe { Boxed::from_raw(page, self.alloc) };
            for chunk in &page.value().0 {
                if let Some(chunk) = NonNull::new(chunk.load(Ordering::Relaxed)) {
                    // SAFETY: as above.
                    drop(unsafe { Boxed::from_raw(chunk, self.alloc) });
                }
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
        let last = Arena::<AtomicU32, Heap>::CAPACITY - 1;
        let numbers = || (0..1000).chain(40_000..40_100).chain([last]);
        for number in numbers() {
            arena.make(number).unwrap().store(number, Ordering::Relaxed);
        }
        for number in numbers() {
            assert_eq!(arena.get(number).unwrap().load(Ordering::Relaxed), number);
        }
        assert!(arena.get(5000).is_none());
        assert!(arena.get(u32::MAX).is_none());
        assert!(arena.make(last + 1).is_err());
    }

    #[test]
    fn what_is_taken_out_is_freed_when_its_epoch_is_over_and_can_be_made_again() {
        let arena = Arena::<AtomicU32, Heap>::new_in(Heap);
        let (mut gone, first) = (Gone::default(), CHUNK as u32);
        for number in [0, first, 2 * first] {
            arena.make(number).unwrap().store(number, Ordering::Relaxed);
        }
        arena.take_out(1, &mut gone, || 5);
        arena.take_out(7, &mut gone, || 5);
        assert!(arena.get(first).is_none() && !arena.has(1) && arena.has(2));
        assert_eq!(arena.get(2 * first).unwrap().load(Ordering::Relaxed), 2 * first);
        assert_eq!(arena.free(&mut gone, 5, 10), 0);
        assert_eq!(arena.make(first).unwrap().load(Ordering::Relaxed), 0);
        assert_eq!(arena.free(&mut gone, 6, 10), 1);
        (0..3).for_each(|chunk| arena.take_out(chunk, &mut gone, || 6));
        assert!(follow(&arena.pages[0]).is_none(), "the page goes with its last chunk");
        assert_eq!([arena.free(&mut gone, u64::MAX, 2), arena.free(&mut gone, u64::MAX, 2)], [2, 1]);
    }
}
