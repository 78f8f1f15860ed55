//! Types that may live in memory that several processes share.
//!
//! Model: Kamailio maps one pool before it forks, at one address in every process. So an absolute pointer into the
//! pool means the same everywhere, and everything else that a process owns (its heap, its descriptors, the tables in
//! which `std` and `parking_lot` park threads) means nothing to the others.
//!
//! Everything here is generic over [`Alloc`], so that it runs on the plain heap in a unit test, on a shared mapping in
//! a fork test and on Kamailio's pool in the server.
//!
//! Invariants:
//! - a type goes into shared memory only if it is [`Shared`];
//! - every allocation can fail and says so ([`OutOfMemory`]);
//! - every atomic comes from [`atomic`], where the model checker takes over.
//!
//! Absent: recovery of locks that a dead process held. When one process of Kamailio dies, all of them stop.

pub mod arc;
pub mod arena;
pub mod atomic;
pub mod boxed;
pub mod counter;
pub mod cow_list;
pub mod lock;
pub mod segments;
pub mod sheet;
pub mod slice;
pub mod snapshot;
pub mod table;
pub mod text;
pub mod tournament;

use core::alloc::Layout;
use core::ptr::NonNull;

/// Where shared memory comes from.
///
/// Implementors are handles: copies of one handle are the same memory.
///
/// # Safety
/// A block is valid for its layout, in every process that uses the handle, until it is freed.
pub unsafe trait Alloc: Copy {
    /// What its blocks are aligned to. A type that wants more does not compile in [`boxed`] and [`slice`], the only two that
    /// ask for blocks.
    const ALIGN: usize;

    /// A block for `layout`, which is aligned to [`Alloc::ALIGN`] at most, or nothing when the memory is used up. The block is
    /// not cleared.
    fn alloc(self, layout: Layout) -> Option<NonNull<u8>>;

    /// Gives a block back.
    ///
    /// # Safety
    /// `block` came from [`Alloc::alloc`] of the same memory with the same layout and nobody uses it any more.
    unsafe fn free(self, block: NonNull<u8>, layout: Layout);
}

/// The pool has no room for a block of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub size: usize,
}

impl core::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "no more shared memory (asked for {} bytes): start kamailio with a larger -m", self.size)
    }
}

impl core::error::Error for OutOfMemory {}

/// A type whose values mean the same in every process that maps the memory.
///
/// # Safety
/// The type holds no pointer into a process's own heap, no lock that parks in one process, no descriptor, and it may be
/// used from several threads of execution at once as far as its methods allow.
pub unsafe trait Shared {}

macro_rules! shared {
    ($($type:ty),*) => { $(
        // SAFETY: a plain value, without a pointer.
        unsafe impl Shared for $type {}
    )* };
}
shared!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, bool, ());
shared!(atomic::AtomicU32, atomic::AtomicU64, atomic::AtomicUsize);

// SAFETY: as shareable as its elements.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}
// SAFETY: bytes.
unsafe impl Shared for core::net::IpAddr {}
// SAFETY: as shareable as its value.
unsafe impl<T: Shared> Shared for Option<T> {}

/// The address of something that the host made before the fork (a socket, say): the same thing in every process, for as
/// long as the server runs. Here it is only kept and handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Foreign(pub NonNull<core::ffi::c_void>);

// SAFETY: never followed, only compared and handed back to the host.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}
// SAFETY: made before the fork.
unsafe impl Shared for Foreign {}

/// The process's own heap, which aligns to whatever is asked for: for tests of types that do not need a second process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heap;

// SAFETY: the global allocator's contract is the trait's.
unsafe impl Alloc for Heap {
    const ALIGN: usize = usize::MAX;

    fn alloc(self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: every caller here asks for at least one byte (`boxed`, `slice` and `arena` see to it).
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }

    unsafe fn free(self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: handed through from the caller.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) }
    }
}
