//! The pool that all processes of the server share.

use super::ffi;
use crate::shm::Alloc;
use core::alloc::Layout;
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
