//! The calls that count, by Call-ID.
//!
//! Sharded: a call's key names its shard, and everything that happens to the call happens under that shard's lock, with
//! the change of its destination's load. An audit goes from shard to shard; where it has been, the changes of loads say so
//! ([`Shard::audited`]), and go to its account. So recorded and counted load are equal to the call, though nobody waits.

use crate::load::{Call, key::Key};
use crate::shm::counter::Audited;
use crate::shm::lock::{Guard, Mutex};
use crate::shm::slice::Slice;
use crate::shm::table::Table;
use crate::shm::{Alloc, OutOfMemory, Shared};
use core::ops::{Deref, DerefMut};

/// A power of two, well above the number of workers. Of ten million calls forty thousand are in one: an audit goes through
/// them in some hundred microseconds.
const SHARDS: usize = 256;

// SAFETY: numbers.
unsafe impl Shared for Call {}

/// The calls of one shard.
pub struct Shard<A: Alloc> {
    calls: Table<Call, A>,
    /// Whether an audit has been here.
    pub audited: Audited,
    /// Where the search for a call that can be forgotten goes on.
    hand: usize,
    /// When it found none, in seconds as the calls are counted.
    none_at: Option<u32>,
}

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Shard<A> {}

impl<A: Alloc> Deref for Shard<A> {
    type Target = Table<Call, A>;
    fn deref(&self) -> &Table<Call, A> {
        &self.calls
    }
}

impl<A: Alloc> DerefMut for Shard<A> {
    fn deref_mut(&mut self) -> &mut Table<Call, A> {
        &mut self.calls
    }
}

impl<A: Alloc> Shard<A> {
    fn new_in(alloc: A) -> Self {
        Self { calls: Table::new_in(alloc), audited: Audited::NotYet, hand: 0, none_at: None }
    }

    /// Takes out a call that does not count, so that there is room for one that does.
    ///
    /// Where there was none, nobody looks again in the same second.
    pub fn take_forgettable(&mut self, now: u32) -> Option<Call> {
        if self.none_at == Some(now) {
            return None;
        }
        let taken = self.calls.take_where(self.hand, |call| !call.counts());
        self.none_at = taken.is_none().then_some(now);
        let (at, call) = taken?;
        self.hand = at;
        Some(call)
    }
}

/// All calls.
pub struct Calls<A: Alloc> {
    shards: Slice<Mutex<Shard<A>>, A>,
}

// SAFETY: a shared slice.
unsafe impl<A: Alloc> Shared for Calls<A> {}

impl<A: Alloc> Calls<A> {
    /// No calls.
    pub fn try_new_in(alloc: A) -> Result<Self, OutOfMemory> {
        let shards = Slice::try_from_fn_in(SHARDS, |_| Mutex::new(Shard::new_in(alloc)), alloc)?;
        Ok(Self { shards })
    }

    /// Locks the shard of this call.
    pub fn shard(&self, key: &Key) -> Guard<'_, Shard<A>> {
        // The table's buckets use the low half of the key.
        let at = key[1] as usize % SHARDS;
        #[allow(clippy::indexing_slicing)] // below SHARDS, which is the length
        self.shards[at].lock()
    }

    /// The shards, for work on all calls. Lock one at a time.
    pub fn shards(&self) -> &[Mutex<Shard<A>>] {
        &self.shards
    }
}
