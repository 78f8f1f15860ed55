//! The calls that count, by Call-ID.
//!
//! The table is sharded by the call's key. Everything that happens to a call happens under its shard's lock, the change of its
//! destinations' loads included. An audit locks one shard after another. In the shards it has passed, changes of load are also
//! added to the audit's account ([`Shard::audited`]), so it can compare recorded and counted load exactly without stopping
//! calls.
//!
//! Model: a first table maps a call's key to its first leg and to the number of further legs. Few calls have further legs: these are in a
//! second table, and their keys are the call's key plus 1, plus 2 and so on.

use crate::load::leg::MAX_MORE;
use crate::load::{Call, Leg, key::Key};
use crate::shm::counter::Audited;
use crate::shm::lock::{Guard, LastAlive, Legible, Mutex, read_after_all_ended, try_lock_for};
use crate::shm::slice::Slice;
use crate::shm::table::Table;
use crate::shm::{Alloc, OutOfMemory, Shared};

/// A power of two, well above the number of workers. With ten million calls a shard has forty thousand. An audit looks through
/// them in about half a millisecond while the shard is locked (`make bench`).
pub const SHARDS: usize = 256;

// SAFETY: numbers.
unsafe impl Shared for Leg {}

/// The calls of one shard.
pub struct Shard<A: Alloc> {
    first: Table<Leg, A>,
    more: Table<Leg, A>,
    /// Whether an audit has been here.
    pub audited: Audited,
    /// Where the search for a call that can be forgotten continues.
    hand: usize,
    /// The last search found none, and no call has ended since.
    none: bool,
}

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Shard<A> {}

// SAFETY: legible tables, and numbers.
unsafe impl<A: Alloc> Legible for Shard<A> {}

/// Where the first leg of a call is in its table, most likely; none where the call is not known. As long as the shard is locked.
#[derive(Debug, Clone, Copy)]
pub struct LegHint(Option<u32>);

/// The key of the leg at this place of the call.
fn place(key: &Key, at: usize) -> Key {
    [key[0].wrapping_add(at as u64), key[1]]
}

/// The call with this first leg.
#[inline]
fn whole<A: Alloc>(more: &Table<Leg, A>, key: &Key, first: &Leg) -> Call {
    if first.more() == 0 { Call::of_one(*first) } else { several(more, key, first) }
}

#[cold]
fn several<A: Alloc>(more: &Table<Leg, A>, key: &Key, first: &Leg) -> Call {
    let rest = (1..=first.more()).filter_map(|at| more.get(&place(key, at)).copied());
    Call::of(core::iter::once(*first).chain(rest))
}

impl<A: Alloc> Shard<A> {
    fn new_in(alloc: A) -> Self {
        let (first, more) = (Table::new_in(alloc), Table::new_in(alloc));
        Self { first, more, audited: Audited::NotYet, hand: 0, none: false }
    }

    /// Calls in it.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How many more calls there is memory for.
    pub fn spare(&self) -> usize {
        self.first.spare()
    }

    /// The call of this key; an empty one if it is not known.
    pub fn get(&self, key: &Key) -> Call {
        self.at(key, self.place(key))
    }

    /// Where the call of this key is.
    pub fn place(&self, key: &Key) -> LegHint {
        LegHint(self.first.find(key))
    }

    /// The call of this key, which is at this place; an empty one if it is not known.
    pub fn at(&self, key: &Key, place: LegHint) -> Call {
        match place.0.and_then(|at| self.first.entry(at, key)) {
            Some(first) => whole(&self.more, key, first),
            None => Call::default(),
        }
    }

    /// Replaces the call `before`, which is in the table now, by `after`: at `place`, if no other call was taken out since. If
    /// memory runs out the call stays as it is.
    pub fn put(&mut self, key: &Key, place: LegHint, before: &Call, after: &Call) -> Result<(), OutOfMemory> {
        if self.put_over(key, place, before, after) {
            return Ok(());
        }
        let done = self.write(key, place, before.legs().len(), after);
        // What was there before has its place still.
        done.or_else(|error| self.write(key, place, after.legs().len(), before).and(Err(error)))
    }

    /// The same where both have one leg, which needs no memory; else nothing is done. Says whether it is.
    pub fn put_over(&mut self, key: &Key, place: LegHint, before: &Call, after: &Call) -> bool {
        let ([_], [leg]) = (before.legs(), after.legs()) else { return false };
        let Some(there) = place.0.and_then(|at| self.first.entry_mut(at, key)) else { return false };
        *there = leg.with_more(0);
        self.none &= leg.counts();
        true
    }

    /// Writes a call over one that has at most so many legs.
    fn write(&mut self, key: &Key, at: LegHint, legs: usize, call: &Call) -> Result<(), OutOfMemory> {
        let more = call.legs().len().saturating_sub(1);
        self.none &= more > 0 || call.counts();
        for (at, leg) in call.legs().iter().enumerate().skip(1) {
            self.more.insert(place(key, at), *leg)?;
        }
        match (call.legs().first(), at.0) {
            (Some(first), None) if legs == 0 => self.first.add(*key, first.with_more(more))?,
            (Some(first), _) => self.first.insert(*key, first.with_more(more))?,
            (None, Some(at)) if self.first.remove_entry(at, key).is_some() => (),
            (None, _) => drop(self.first.remove(key)),
        }
        for at in more + 1..legs {
            self.more.remove(&place(key, at));
        }
        Ok(())
    }

    /// The legs of each call, in no order of the calls. Most have one, which is seen where it is.
    pub fn for_each(&self, mut each: impl FnMut(&[Leg])) {
        self.first.for_each(|key, first| match first.more() {
            0 => each(core::slice::from_ref(first)),
            _ => each(whole(&self.more, key, first).legs()),
        });
    }

    /// All legs with the keys of their calls, in no order. If a process died in the middle of a change, that one change may be
    /// half done; no link is followed, so everything else is right (see [`Table`]).
    pub fn for_each_leg(&self, mut each: impl FnMut(&Key, &Leg)) {
        let mut several = std::collections::HashSet::new();
        self.first.for_each(|key, leg| {
            each(key, leg);
            if leg.more() > 0 {
                several.insert(*key);
            }
        });
        self.more.for_each(|key, leg| {
            let of = (1..=MAX_MORE as u64).map(|at| [key[0].wrapping_sub(at), key[1]]);
            if let Some(key) = of.into_iter().find(|key| several.contains(key)) {
                each(&key, leg);
            }
        });
    }

    /// Looks at up to `most` calls, downwards from the one before number `end`; `change` may take legs off them. Returns the next
    /// `end`: how many calls are left to look at.
    pub fn sweep_some(
        &mut self,
        end: usize,
        most: usize,
        mut change: impl FnMut(&Call) -> Option<Call>,
    ) -> usize {
        let Self { first, more, none, .. } = self;
        let mut several = Vec::new();
        let begin = first.retain_some(end, most, |key, leg| {
            let before = whole(more, key, leg);
            let Some(after) = change(&before) else { return true };
            match (before.legs().len(), after.legs().first()) {
                (1, None) => return false,
                (1, Some(changed)) => {
                    *none &= changed.counts();
                    *leg = *changed;
                }
                _ => several.push((*key, before, after)),
            }
            true
        });
        for (key, before, after) in several {
            // Not more legs than there were: nothing is allocated.
            let _ = self.put(&key, self.place(&key), &before, &after);
        }
        begin
    }

    /// Takes out a call that does not count, to make room for the one of this key, which does.
    ///
    /// If it finds none, it does not search again until a call has ended.
    pub fn take_forgettable(&mut self, but: &Key) -> Option<Call> {
        if self.none {
            return None;
        }
        let forgettable = |leg: &Leg| !leg.counts() && leg.more() == 0;
        let taken = self.first.take_where(self.hand, |key, leg| forgettable(leg) && key != but);
        self.none = taken.is_none() && !self.first.get(but).is_some_and(forgettable);
        let (at, leg) = taken?;
        self.hand = at;
        Some(Call::of_one(leg))
    }

    /// Makes room for so many calls more; at most by so many chunks. Says whether it is done.
    pub fn make_room(&mut self, spare: usize, chunks: usize) -> Result<bool, OutOfMemory> {
        self.first.make_room(spare, chunks)
    }

    /// Shrinks to room for so many calls more; at most by so many chunks. Says how many went.
    pub fn give_back(&mut self, spare: usize, chunks: usize) -> usize {
        self.first.give_back(spare, chunks)
    }

    /// The same for the table of further legs, which has no spare room.
    pub fn give_back_more(&mut self, chunks: usize) {
        if self.more.is_empty() {
            self.more.give_back_all();
        } else {
            self.more.give_back(self.more.len(), chunks);
        }
    }
}

/// The number of the shard of this call.
pub fn shard_of(key: &Key) -> usize {
    // The table's buckets use the low half of the key.
    key[1] as usize % SHARDS
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
        let at = shard_of(key);
        #[allow(clippy::indexing_slicing)] // below SHARDS, which is the length
        self.shards[at].lock()
    }

    /// All legs with the keys of their calls. Shards that stay locked are left out.
    pub fn each_of_the_living(&self, mut each: impl FnMut(&Key, &Leg)) {
        self.shards.iter().filter_map(try_lock_for).for_each(|shard| shard.for_each_leg(&mut each));
    }

    /// All legs with the keys of their calls, after all other processes have ended. Those that a process was changing when it
    /// died are left out.
    pub fn each_left(&self, alone: &LastAlive, mut each: impl FnMut(&Key, &Leg)) {
        for (at, mutex) in self.shards.iter().enumerate() {
            let mut seen = std::collections::HashSet::new();
            read_after_all_ended(mutex, alone).for_each_leg(|key, leg| {
                // In the middle of a change a key may be anybody's, and a leg may be there twice.
                let own = shard_of(key) == at;
                if own && (!mutex.is_locked() || seen.insert((*key, leg.record(), leg.mark()))) {
                    each(key, leg);
                }
            });
        }
    }

    /// The shards, for work on all calls. Lock one at a time.
    pub fn shards(&self) -> &[Mutex<Shard<A>>] {
        &self.shards
    }
}
