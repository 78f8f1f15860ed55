//! A value in shared memory with one owner, as `Box` on the heap.

use super::{Alloc, OutOfMemory, Shared};
use core::alloc::Layout;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Owns a `T` in the memory of `A`; dropping it gives the memory back.
pub struct Boxed<T: Shared, A: Alloc> {
    value: NonNull<T>,
    alloc: A,
}

// SAFETY: the pointer is into shared memory and its target is `Shared`.
unsafe impl<T: Shared, A: Alloc> Shared for Boxed<T, A> {}
// SAFETY: owns its target, which is `Shared` and so bound to no thread.
unsafe impl<T: Shared, A: Alloc> Send for Boxed<T, A> {}
// SAFETY: a shared reference gives only `&T`, which `Shared` allows from everywhere.
unsafe impl<T: Shared, A: Alloc> Sync for Boxed<T, A> {}

impl<T: Shared, A: Alloc> Boxed<T, A> {
    const LAYOUT: Layout = {
        assert!(size_of::<T>() > 0, "shared memory holds no empty values");
        assert!(align_of::<T>() <= A::ALIGN, "the memory does not align its blocks to this type");
        Layout::new::<T>()
    };

    /// Moves `value` into shared memory.
    pub fn try_new_in(value: T, alloc: A) -> Result<Self, OutOfMemory> {
        let block = alloc.alloc(Self::LAYOUT).ok_or(OutOfMemory { size: Self::LAYOUT.size() })?.cast::<T>();
        // SAFETY: the block is ours and fits a `T`.
        unsafe { block.write(value) };
        Ok(Self { value: block, alloc })
    }

    /// Gives up ownership; [`Boxed::from_raw`] takes it back.
    pub fn into_raw(self) -> NonNull<T> {
        core::mem::ManuallyDrop::new(self).value
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `value` came from [`Boxed::into_raw`] of a box of the same allocator and nobody else uses or owns it.
    pub unsafe fn from_raw(value: NonNull<T>, alloc: A) -> Self {
        Self { value, alloc }
    }
}

impl<T: Shared, A: Alloc> Deref for Boxed<T, A> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: owned, initialised in `try_new_in`.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Shared, A: Alloc> DerefMut for Boxed<T, A> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: owned, initialised, and `&mut self` is the only way to it.
        unsafe { self.value.as_mut() }
    }
}

impl<T: Shared, A: Alloc> Drop for Boxed<T, A> {
    fn drop(&mut self) {
        // SAFETY: owned and initialised; not used after this.
        unsafe { self.value.drop_in_place() };
        // SAFETY: the block came from this allocator with this layout.
        unsafe { self.alloc.free(self.value.cast(), Self::LAYOUT) };
    }
}
