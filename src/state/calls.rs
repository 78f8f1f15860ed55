//! The calls that count, by Call-ID.
//!
//! Sharded: a call's key names its shard, and everything that happens to the call happens under that shard's lock, with
//! the change of its destination's load. So with all shards locked, recorded and counted load are equal to the call.

use crate::load::{Call, key::Key};
use crate::shm::lock::{Guard, Mutex};
use crate::shm::slice::Slice;
use crate::shm::table::Table;
use crate::shm::{Alloc, OutOfMemory, Shared};

/// A power of two, well above the number of workers.
const SHARDS: usize = 128;

// SAFETY: two numbers.
unsafe impl Shared for Call {}

/// The calls of one shard.
pub type Shard<A> = Table<Call, A>;

/// All calls.
pub struct Calls<A: Alloc> {
    shards: Slice<Mutex<Shard<A>>, A>,
}

// SAFETY: a shared slice.
unsafe impl<A: Alloc> Shared for Calls<A> {}

impl<A: Alloc> Calls<A> {
    /// No calls.
    pub fn try_new_in(alloc: A) -> Result<Self, OutOfMemory> {
        let shards = Slice::try_from_fn_in(SHARDS, |_| Mutex::new(Table::new_in(alloc)), alloc)?;
        Ok(Self { shards })
    }

    /// Locks the shard of this call.
    pub fn shard(&self, key: &Key) -> Guard<'_, Shard<A>> {
        // The table's buckets use the low half of the key.
        let at = key[1] as usize % SHARDS;
        #[allow(clippy::indexing_slicing)] // below SHARDS, which is the length
        self.shards[at].lock()
    }

    /// The shards, for work on all calls. Lock them in their order.
    pub fn shards(&self) -> &[Mutex<Shard<A>>] {
        &self.shards
    }
}
