//! What a timer does once a second: memory ahead of need, calls that nobody ended, generations that nobody reads.

use super::{calls, replace};
use crate::load::Expiry;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::Root;

/// Spare entries of a shard, at least.
const SPARE: usize = 16;

/// Makes room for the calls to come, so that a call seldom waits for an allocation.
///
/// A shard that cannot grow does not keep the others from it.
pub fn make_room<A: Alloc>(root: &Root<A>) -> Result<(), OutOfMemory> {
    let mut result = Ok(());
    for shard in root.calls.shards() {
        let mut shard = shard.lock();
        let spare = (shard.len() / 16).max(SPARE);
        result = result.and(shard.prepare(spare));
    }
    result
}

/// Drops the calls whose time is over, and says how many of them still counted.
pub fn expire<A: Alloc>(root: &Root<A>, expiry: Expiry, now: u32) -> u64 {
    let mut dropped = 0;
    for shard in root.calls.shards() {
        shard.lock().retain(|_, call| {
            let due = expiry.is_due(*call, now);
            if due {
                dropped += u64::from(call.counts());
                calls::leave(root, *call);
            }
            !due
        });
    }
    root.counters.expired.add(dropped);
    dropped
}

/// Gives back what a reload could not, because a reader was at it.
pub fn tidy<A: Alloc>(root: &Root<A>) {
    replace::tidy(root, &mut root.writer.lock());
}
