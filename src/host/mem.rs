//! The pool that all processes of the server share.

use super::ffi;
use crate::shm::Alloc;
use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::NonNull;

/// Kamailio's shared memory (`-m` sets its size).
#[derive(Debug, Clone, Copy, Default)]
pub struct Pool;

// SAFETY: the pool is mapped before the fork at one address, and a block is ours until it is given back.
unsafe impl Alloc for Pool {
    /// That of every one of its managers.
    const ALIGN: usize = 8;

    fn alloc(self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: no preconditions; null when the pool has no room.
        NonNull::new(unsafe { ffi::shim_shm_malloc(layout.size()) }.cast())
    }

    unsafe fn free(self, block: NonNull<u8>, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { ffi::shim_shm_free(block.as_ptr().cast()) };
    }
}

/// The pool for one who asks for several blocks at once: it is locked once for all of them. Not for long, and no other way to
/// the pool is to be gone meanwhile, since the lock does not know who holds it.
pub(super) struct Locked(());

impl Locked {
    pub fn new() -> Self {
        // SAFETY: no preconditions; the one who holds the lock never asks again.
        unsafe { ffi::shim_shm_lock() };
        Self(())
    }

    /// A block; null when the pool has no room.
    pub fn alloc(&self, size: usize) -> *mut c_void {
        // SAFETY: we hold the lock.
        unsafe { ffi::shim_shm_malloc_unsafe(size) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: we hold the lock.
        unsafe { ffi::shim_shm_unlock() };
    }
}
