//! A sequence that grows without moving its elements: fixed chunks and a directory of them.
//!
//! For use behind a lock; [`super::arena`] is its lock-free cousin.

use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};

/// A growing sequence. `CHUNK` elements are allocated at a time.
pub struct Chunks<T: Shared, A: Alloc, const CHUNK: usize> {
    directory: Slice<Option<Slice<T, A>>, A>,
    chunks: usize,
    alloc: A,
}

// SAFETY: slices of `Shared` values in shared memory.
unsafe impl<T: Shared, A: Alloc, const CHUNK: usize> Shared for Chunks<T, A, CHUNK> {}

impl<T: Shared + Default, A: Alloc, const CHUNK: usize> Chunks<T, A, CHUNK> {
    /// No elements, no memory.
    pub fn new_in(alloc: A) -> Self {
        Self { directory: Slice::empty_in(alloc), chunks: 0, alloc }
    }

    /// Elements that exist.
    pub fn len(&self) -> usize {
        self.chunks * CHUNK
    }

    /// Whether no element exists.
    pub fn is_empty(&self) -> bool {
        self.chunks == 0
    }

    /// Makes `CHUNK` more elements and returns the number of the first.
    pub fn grow(&mut self) -> Result<usize, OutOfMemory> {
        let chunk = Slice::try_from_fn_in(CHUNK, |_| T::default(), self.alloc)?;
        if self.chunks == self.directory.len() {
            let wider = (self.directory.len() * 2).max(4);
            let mut old = core::mem::replace(&mut self.directory, Slice::empty_in(self.alloc));
            let moved = Slice::try_from_fn_in(wider, |at| old.get_mut(at).and_then(Option::take), self.alloc);
            self.directory = match moved {
                Ok(directory) => directory,
                Err(error) => {
                    // Nothing was taken out of it: the closure runs only once there is memory.
                    self.directory = old;
                    return Err(error);
                }
            };
        }
        let first = self.len();
        if let Some(entry) = self.directory.get_mut(self.chunks) {
            *entry = Some(chunk);
            self.chunks += 1;
        }
        Ok(first)
    }

    /// The element of this number.
    pub fn get(&self, number: usize) -> Option<&T> {
        self.directory.get(number / CHUNK)?.as_ref()?.get(number % CHUNK)
    }

    /// The element of this number, to change.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.directory.get_mut(number / CHUNK)?.as_mut()?.get_mut(number % CHUNK)
    }
}
