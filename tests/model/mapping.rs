//! Memory that forked processes share, with an allocator in it.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use dispatcher::shm::lock::Mutex;
use dispatcher::shm::{Alloc, Shared};

/// A shared mapping. Copies are handles to the same memory.
#[derive(Clone, Copy)]
pub struct Mapping(NonNull<Mutex<Head>>);

/// What the allocator knows; it lies at the start of the mapping.
struct Head {
    next: usize,
    end: usize,
    used: usize,
    allocations: usize,
    /// Blocks that may still be handed out.
    left: usize,
    /// Bytes that may be handed out at the same time.
    limit: usize,
    /// Free blocks by the power of two of their size, linked through their first word.
    free: [usize; 40],
}

// SAFETY: numbers; addresses in the mapping are the same in all processes.
unsafe impl Shared for Head {}

impl Mapping {
    /// Maps `size` bytes. They stay mapped until the process ends.
    pub fn new(size: usize) -> Self {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, wherever the kernel likes.
        let start = unsafe { libc::mmap(null_mut(), size, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let head = start.cast::<Mutex<Head>>();
        let first = start as usize + size_of::<Mutex<Head>>().next_multiple_of(64);
        let state = Head {
            next: first,
            end: start as usize + size,
            used: 0,
            allocations: 0,
            left: usize::MAX,
            limit: usize::MAX,
            free: [0; 40],
        };
        // SAFETY: the mapping is ours and large enough.
        unsafe { head.write(Mutex::new(state)) };
        Self(NonNull::new(head).unwrap())
    }

    fn head(&self) -> &Mutex<Head> {
        // SAFETY: written in `new`, never unmapped.
        unsafe { self.0.as_ref() }
    }

    /// Bytes handed out and not given back.
    pub fn used(self) -> usize {
        self.head().lock().used
    }

    /// Blocks handed out so far, given back or not.
    pub fn allocations(self) -> usize {
        self.head().lock().allocations
    }

    /// From now on only so many blocks are handed out, as if the memory were full then.
    pub fn fail_after(self, blocks: usize) {
        self.head().lock().left = blocks;
    }

    /// From now on no more bytes than these are handed out at the same time: as if the memory were so large, and what is given
    /// back joined what is free around it.
    pub fn limit(self, bytes: usize) {
        self.head().lock().limit = bytes;
    }

    /// Puts a value into the mapping for good.
    pub fn keep<T>(self, value: T) -> &'static T {
        const { assert!(align_of::<T>() <= Mapping::ALIGN) };
        let place = self.alloc(Layout::new::<T>()).unwrap().cast::<T>();
        // SAFETY: a block for a `T` that is never given back.
        unsafe {
            place.write(value);
            place.as_ref()
        }
    }

    fn class(layout: Layout) -> (usize, usize) {
        let size = layout.size().next_power_of_two().max(16);
        (size, size.ilog2() as usize)
    }
}

// SAFETY: each block lies in the mapping, is handed out once until it is given back, and is aligned to 16.
unsafe impl Alloc for Mapping {
    const ALIGN: usize = 16;

    fn alloc(self, layout: Layout) -> Option<NonNull<u8>> {
        let (size, class) = Self::class(layout);
        let mut head = self.head().lock();
        head.left = head.left.checked_sub(1)?;
        if head.used + size > head.limit {
            return None;
        }
        let block = match head.free[class] {
            0 => {
                let block = head.next;
                if block + size > head.end {
                    return None;
                }
                head.next += size;
                block
            }
            block => {
                // SAFETY: a free block holds the address of the next.
                head.free[class] = unsafe { (block as *const usize).read() };
                block
            }
        };
        head.used += size;
        head.allocations += 1;
        NonNull::new(block as *mut u8)
    }

    unsafe fn free(self, block: NonNull<u8>, layout: Layout) {
        let (size, class) = Self::class(layout);
        let mut head = self.head().lock();
        // SAFETY: the block is ours again and has room for a word. Overwriting the rest makes a late reader fail.
        unsafe {
            block.as_ptr().write_bytes(0xdd, size);
            block.cast::<usize>().write(head.free[class]);
        }
        head.free[class] = block.as_ptr() as usize;
        head.used -= size;
    }
}
