//! A slice of values in shared memory with one owner, as `Box<[T]>` on the heap.

use super::{Alloc, OutOfMemory, Shared};
use core::alloc::Layout;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Owns `len` values of `T` in the memory of `A`. An empty slice takes no memory.
pub struct Slice<T: Shared, A: Alloc> {
    first: NonNull<T>,
    len: usize,
    alloc: A,
}

// SAFETY: the pointer is into shared memory and its targets are `Shared`.
unsafe impl<T: Shared, A: Alloc> Shared for Slice<T, A> {}
// SAFETY: owns its targets, which are `Shared` and so bound to no thread.
unsafe impl<T: Shared, A: Alloc> Send for Slice<T, A> {}
// SAFETY: a shared reference gives only `&[T]`, which `Shared` allows from everywhere.
unsafe impl<T: Shared, A: Alloc> Sync for Slice<T, A> {}

impl<T: Shared, A: Alloc> Slice<T, A> {
    /// No values, no memory.
    pub fn empty_in(alloc: A) -> Self {
        Self { first: NonNull::dangling(), len: 0, alloc }
    }

    const FITS: () = {
        assert!(size_of::<T>() > 0, "shared memory holds no empty values");
        assert!(align_of::<T>() <= A::ALIGN, "the memory does not align its blocks to this type");
    };

    /// `len` values, each made by `make` from its position.
    pub fn try_from_fn_in(
        len: usize,
        mut make: impl FnMut(usize) -> T,
        alloc: A,
    ) -> Result<Self, OutOfMemory> {
        const { Self::FITS };
        if len == 0 {
            return Ok(Self::empty_in(alloc));
        }
        let size = size_of::<T>().saturating_mul(len);
        let layout = Layout::array::<T>(len).map_err(|_| OutOfMemory { size })?;
        let first = alloc.alloc(layout).ok_or(OutOfMemory { size })?.cast::<T>();
        for at in 0..len {
            // SAFETY: the block is ours and has room for `len` values. If `make` unwinds, the block leaks but nothing
            // half-made is ever read or dropped.
            unsafe { first.add(at).write(make(at)) };
        }
        Ok(Self { first, len, alloc })
    }

    /// Takes ownership of a slice that was forgotten.
    ///
    /// # Safety
    /// `first` and `len` are those of a slice of this allocator that nobody else uses or owns.
    pub unsafe fn from_raw_parts(first: NonNull<T>, len: usize, alloc: A) -> Self {
        Self { first, len, alloc }
    }

    /// Moves `values` in.
    pub fn try_from_vec_in(mut values: Vec<T>, alloc: A) -> Result<Self, OutOfMemory> {
        const { Self::FITS };
        let len = values.len();
        if len == 0 {
            return Ok(Self::empty_in(alloc));
        }
        let size = size_of::<T>().saturating_mul(len);
        let layout = Layout::array::<T>(len).map_err(|_| OutOfMemory { size })?;
        let first = alloc.alloc(layout).ok_or(OutOfMemory { size })?.cast::<T>();
        // SAFETY: two blocks that do not overlap, each with room for `len` values; the vector forgets its own at once,
        // so each value keeps one owner.
        unsafe {
            first.as_ptr().copy_from_nonoverlapping(values.as_ptr(), len);
            values.set_len(0);
        }
        Ok(Self { first, len, alloc })
    }

    /// A copy of `values`.
    pub fn try_copy_in(values: &[T], alloc: A) -> Result<Self, OutOfMemory>
    where
        T: Copy + Default,
    {
        let mut copy = Self::try_from_fn_in(values.len(), |_| T::default(), alloc)?;
        copy.copy_from_slice(values);
        Ok(copy)
    }
}

impl<T: Shared, A: Alloc> Deref for Slice<T, A> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: owned; all `len` values were written when it was made.
        unsafe { NonNull::slice_from_raw_parts(self.first, self.len).as_ref() }
    }
}

impl<T: Shared, A: Alloc> DerefMut for Slice<T, A> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` is the only way to them.
        unsafe { NonNull::slice_from_raw_parts(self.first, self.len).as_mut() }
    }
}

impl<T: Shared, A: Alloc> Drop for Slice<T, A> {
    fn drop(&mut self) {
        let Ok(layout) = Layout::array::<T>(self.len) else { return };
        if self.len == 0 {
            return;
        }
        // SAFETY: owned and initialised; not used after this.
        unsafe { NonNull::slice_from_raw_parts(self.first, self.len).drop_in_place() };
        // SAFETY: the block came from this allocator with this layout.
        unsafe { self.alloc.free(self.first.cast(), layout) };
    }
}
