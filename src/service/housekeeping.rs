//! The work of the timer, once a second: it makes room for the calls to come, gives back memory that a peak left, expires calls
//! without an end, and frees generations that have no readers.
//!
//! It works in slices: however many calls there are, a shard is locked only for a slice, and the work of one second is bounded.

use crate::load::{Call, Expiry};
use crate::service::routing::call_count;
use crate::service::sets::commit;
use crate::shm::table::CHUNK;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::Root;
use crate::state::calls::{SHARDS, Shard};

/// Spare entries of a shard, at least.
const SPARE: usize = 16;
/// Entries that are looked at, and may be dropped, while a shard is locked.
pub const LOOKS: usize = 128;
/// Chunks that a shard gets or gives back while it is locked.
const CHUNKS: usize = 8;
/// Chunks that a shard gives back in one second, at most.
const CHUNKS_A_SECOND: usize = 64;
/// Entries that are looked at in one second, at most: ten million calls are looked through in ten seconds.
const LOOKS_A_SECOND: usize = 1 << 20;
/// Entries that are dropped in one second, at most. Each costs as much as some dozen looks.
const DROPS_A_SECOND: usize = 1 << 17;
/// Seconds between two sweeps over all calls, at most. An ended call is remembered for 32 seconds and must be given back within
/// a minute.
const LONGEST_INTERVAL: u32 = 16;

fn spare<A: Alloc>(shard: &Shard<A>) -> usize {
    (shard.len() / 16).max(SPARE)
}

/// Spare entries of a shard, at most. It is well above the least, so that a shard with a steady number of calls keeps its memory.
fn most_spare<A: Alloc>(shard: &Shard<A>) -> usize {
    2 * spare(shard) + CHUNK / 2
}

/// Makes room for the calls to come, so that a call seldom waits for an allocation.
///
/// Stops at the first failure. All shards ask for blocks of the same size, and the host would log a line for each.
pub fn make_room<A: Alloc>(root: &Root<A>) -> Result<(), OutOfMemory> {
    for shard in root.calls.shards() {
        loop {
            let mut shard = shard.lock();
            let spare = spare(&shard);
            if shard.make_room(spare, CHUNKS)? {
                break;
            }
        }
    }
    Ok(())
}

/// Gives back memory that ended calls have left: half of it each second, so that little has to be allocated again after a short
/// pause.
pub fn give_back<A: Alloc>(root: &Root<A>) {
    for shard in root.calls.shards() {
        let mut left = {
            let mut shard = shard.lock();
            shard.give_back_more(CHUNKS);
            let excess = shard.spare().saturating_sub(most_spare(&shard)) / CHUNK;
            excess.div_ceil(2).min(CHUNKS_A_SECOND)
        };
        while left > 0 {
            let mut shard = shard.lock();
            let spare = most_spare(&shard);
            if shard.give_back(spare, CHUNKS.min(left)) == 0 {
                break;
            }
            left = left.saturating_sub(CHUNKS);
        }
    }
}

/// Gives back all spare memory at once: ended calls are forgotten and unused room is freed. For when memory is short.
pub fn relieve<A: Alloc>(root: &Root<A>) {
    let mut sweep = Sweep::new();
    sweep.begin(0);
    while sweep.slice(root, |call| call.retain(|leg| leg.counts())) {}
    for shard in root.calls.shards() {
        while shard.lock().give_back(0, CHUNKS) > 0 {}
        shard.lock().give_back_more(CHUNKS);
    }
}

/// Makes a change. If memory runs out, gives back what ended calls have left and tries once more.
pub fn with_relief<A: Alloc, T, E>(
    root: &Root<A>,
    is_full: impl FnOnce(&E) -> bool,
    mut change: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    match change() {
        Err(error) if is_full(&error) => {
            relieve(root);
            change()
        }
        done => done,
    }
}

/// A sweep over all calls in slices, one of each shard in turn, so that a waiting process gets a shard before its next slice.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How many entries of each shard are left to look at; empty if no sweep is under way.
    left: Vec<usize>,
    /// The shard whose turn it is.
    at: usize,
    /// When the last one began.
    begun: u32,
}

impl Sweep {
    /// None under way.
    pub const fn new() -> Self {
        Self { left: Vec::new(), at: 0, begun: 0 }
    }

    /// Begins, unless it is under way.
    pub fn begin(&mut self, now: u32) {
        if self.left.is_empty() {
            self.left = vec![usize::MAX; SHARDS];
            self.begun = now;
        }
    }

    /// Begins when the last one began so many seconds ago; in each second while memory is short.
    pub fn begin_each<A: Alloc>(&mut self, interval: u32, root: &Root<A>, now: u32) {
        if now.wrapping_sub(self.begun) >= interval.min(LONGEST_INTERVAL) || root.short.is_on(now) {
            self.begin(now);
        }
    }

    /// Runs `change`, which may take legs off a call, on one slice of calls; it returns whether it did. False at the end of the
    /// sweep.
    fn slice<A: Alloc>(&mut self, root: &Root<A>, mut change: impl FnMut(&mut Call) -> bool) -> bool {
        let turns = (self.at..SHARDS).chain(0..self.at);
        let mut next = turns.filter_map(|at| Some((at, *self.left.get(at)?))).filter(|(_, left)| *left > 0);
        let Some((at, left)) = next.next() else {
            self.left.clear();
            return false;
        };
        if let (Some(shard), Some(place)) = (root.calls.shards().get(at), self.left.get_mut(at)) {
            let shard = &mut *shard.lock();
            let audited = shard.audited;
            *place = shard.sweep_some(left, LOOKS, |before| {
                let mut after = before.clone();
                change(&mut after).then(|| {
                    call_count::settle(root, before, &after, audited);
                    after
                })
            });
        }
        self.at = at + 1;
        true
    }
}

/// Drops expired calls, at most one second's work; returns how many of them still counted. While memory is short, calls that do not
/// count are dropped at once.
pub fn expire_some<A: Alloc>(root: &Root<A>, expiry: Expiry, now: u32, sweep: &mut Sweep) -> u64 {
    let short = root.short.is_on(now);
    let (mut looks, mut drops, mut dropped) = (0, 0, 0);
    while looks < LOOKS_A_SECOND && drops < DROPS_A_SECOND {
        let goes_on = sweep.slice(root, |call| {
            let counted = call.counts();
            let any = call.retain(|leg| !expiry.is_due(*leg, now) && (!short || leg.counts()));
            drops += usize::from(any);
            dropped += u64::from(counted && !call.counts());
            any
        });
        if !goes_on {
            break;
        }
        looks += LOOKS;
    }
    root.counters.expired.add(dropped);
    dropped
}

/// Drops all calls whose time is over.
pub fn expire<A: Alloc>(root: &Root<A>, expiry: Expiry, now: u32) -> u64 {
    let (mut sweep, mut dropped) = (Sweep::default(), 0);
    sweep.begin(now);
    while !sweep.left.is_empty() {
        dropped += expire_some(root, expiry, now, &mut sweep);
    }
    dropped
}

/// Frees generations that readers still held when they were replaced, and the records of destinations that are gone. If the sets
/// are being changed at the moment, that transaction does it.
pub fn tidy<A: Alloc>(root: &Root<A>) {
    if let Some(mut retired) = root.writer.try_lock() {
        commit::tidy(root, &mut retired);
        root.registry.give_back(&root.sets);
    }
}
