//! A map from 128-bit keys to small values that grows and shrinks by itself, a little at a time.
//!
//! For use behind a lock. The key must already be a good hash: its low half chooses the bucket.
//!
//! Model: the entries lie one behind the other in chunks, numbered from 0 without a gap; the last one moves into the place
//! of one that goes. Each is linked by number into its bucket. Buckets are split and joined one at a time (W. Litwin, "Linear
//! hashing", 1980), so that no step takes longer the more entries there are. An entry costs its key, its value and four
//! bytes; a bucket four bytes.
//!
//! [`Table::make_room`] and [`Table::give_back`] do the growing and shrinking ahead of time, where an allocation hurts
//! nobody; [`Table::insert`] allocates only when all room is used up.
//!
//! If a writer dies in the middle of a change, [`Table::for_each`] still finds each entry but the one that was changed,
//! perhaps one of them twice: it follows no link, and an entry is complete before the number of entries says that it is
//! there. Nothing else may be asked of the table then.

use super::atomic::{AtomicUsize, Ordering};
use super::lock::Legible;
use super::segments::Segments;
use super::{Alloc, OutOfMemory, Shared};

/// A 128-bit hash.
pub type Key = [u64; 2];

const NONE: u32 = u32::MAX;
/// Entries for which memory is allocated at a time.
pub const CHUNK: usize = 64;
/// Buckets for which memory is allocated at a time.
const BUCKETS: usize = 256;
/// Entries a bucket, on average, at which an insert splits one itself.
const CROWDED: usize = 2;

#[derive(Clone, Copy)]
struct Node<V> {
    key: Key,
    value: V,
    next: u32,
}

impl<V: Default> Default for Node<V> {
    fn default() -> Self {
        Self { key: [0; 2], value: V::default(), next: NONE }
    }
}

// SAFETY: a key, a number and a `Shared` value.
unsafe impl<V: Shared> Shared for Node<V> {}

/// The number of a bucket's first entry.
#[derive(Clone, Copy)]
struct Head(u32);

impl Default for Head {
    fn default() -> Self {
        Self(NONE)
    }
}

// SAFETY: a number.
unsafe impl Shared for Head {}

/// The map.
pub struct Table<V: Shared + Copy + Default, A: Alloc> {
    nodes: Segments<Node<V>, A, CHUNK>,
    heads: Segments<Head, A, BUCKETS>,
    /// Buckets in use.
    buckets: usize,
    len: AtomicUsize,
}

// SAFETY: shared parts and numbers.
unsafe impl<V: Shared + Copy + Default, A: Alloc> Shared for Table<V, A> {}

// SAFETY: the chunks that exist are there at every moment, entries are values without a pointer, and each look is bounded by
// the number of both.
unsafe impl<V: Shared + Copy + Default, A: Alloc> Legible for Table<V, A> {}

impl<V: Shared + Copy + Default, A: Alloc> Table<V, A> {
    /// An empty map that takes no memory yet.
    pub fn new_in(alloc: A) -> Self {
        let len = AtomicUsize::new(0);
        Self { nodes: Segments::new_in(alloc), heads: Segments::new_in(alloc), buckets: 0, len }
    }

    /// Entries in it.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries for which there is memory besides those that are there.
    pub fn spare(&self) -> usize {
        self.nodes.len() - self.len()
    }

    fn bucket(&self, key: &Key) -> usize {
        let power = self.buckets.next_power_of_two();
        let at = key[0] as usize & (power - 1);
        // The buckets from here on are not split off yet.
        if at < self.buckets { at } else { at & (power / 2 - 1) }
    }

    fn head(&self, bucket: usize) -> u32 {
        self.heads.get(bucket).map_or(NONE, |head| head.0)
    }

    fn set_head(&mut self, bucket: usize, to: u32) {
        if let Some(head) = self.heads.get_mut(bucket) {
            head.0 = to;
        }
    }

    /// The number of this key's entry: until another one is taken out, for [`Table::entry_mut`] and [`Table::remove_entry`].
    pub fn find(&self, key: &Key) -> Option<u32> {
        if self.buckets == 0 {
            return None;
        }
        let mut at = self.head(self.bucket(key));
        while let Some(node) = self.nodes.get(at as usize) {
            if node.key == *key {
                return Some(at);
            }
            at = node.next;
        }
        None
    }

    /// The value of this key.
    pub fn get(&self, key: &Key) -> Option<&V> {
        self.nodes.get(self.find(key)? as usize).map(|node| &node.value)
    }

    /// The value of this key, to change.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        let at = self.find(key)?;
        self.nodes.get_mut(at as usize).map(|node| &mut node.value)
    }

    /// The value of this key, if its entry still has this number.
    pub fn entry(&self, number: u32, key: &Key) -> Option<&V> {
        // Behind the last entry there may be what is left of this one.
        let is_there = (number as usize) < self.len();
        let node = self.nodes.get(number as usize).filter(|node| is_there && node.key == *key);
        node.map(|node| &node.value)
    }

    /// The same, to change.
    pub fn entry_mut(&mut self, number: u32, key: &Key) -> Option<&mut V> {
        let is_there = (number as usize) < self.len();
        let node = self.nodes.get_mut(number as usize).filter(|node| is_there && node.key == *key);
        node.map(|node| &mut node.value)
    }

    /// Takes this key out, if its entry still has this number.
    pub fn remove_entry(&mut self, number: u32, key: &Key) -> Option<V> {
        self.entry(number, key)?;
        self.take(number)
    }

    /// Sets the value of this key. Allocates only when there is no room left.
    pub fn insert(&mut self, key: Key, value: V) -> Result<(), OutOfMemory> {
        if let Some(there) = self.get_mut(&key) {
            *there = value;
            return Ok(());
        }
        self.add(key, value)
    }

    /// Puts in a key that is not there. Allocates only when there is no room left.
    pub fn add(&mut self, key: Key, value: V) -> Result<(), OutOfMemory> {
        let at = self.len();
        if at == self.nodes.len() {
            self.nodes.grow()?;
        }
        if self.buckets == 0 {
            self.split()?;
        } else if at >= CROWDED * self.buckets {
            // Without memory the buckets stay crowded.
            let _ = self.split();
        }
        let bucket = self.bucket(&key);
        let next = self.head(bucket);
        if let Some(node) = self.nodes.get_mut(at) {
            *node = Node { key, value, next };
        }
        self.set_head(bucket, at as u32);
        self.len.store(at + 1, Ordering::Release);
        Ok(())
    }

    /// Takes this key out.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        let at = self.find(key)?;
        self.take(at)
    }

    /// Keeps the entries for which `keep` says so; it may change them.
    pub fn retain(&mut self, keep: impl FnMut(&Key, &mut V) -> bool) {
        self.retain_some(usize::MAX, usize::MAX, keep);
    }

    /// As [`Table::retain`] for as many entries as `most`, from the one before number `end` down. Says how many are not yet
    /// looked at: the next `end`.
    ///
    /// Nothing is missed if others change the table between two calls; what they put in is not looked at.
    pub fn retain_some(
        &mut self,
        end: usize,
        most: usize,
        mut keep: impl FnMut(&Key, &mut V) -> bool,
    ) -> usize {
        let end = end.min(self.len());
        let begin = end.saturating_sub(most);
        for at in (begin..end).rev() {
            let Some(node) = self.nodes.get_mut(at) else { break };
            if !keep(&node.key, &mut node.value) {
                // Whatever moves here was looked at.
                self.take(at as u32);
            }
        }
        begin
    }

    /// Takes out an entry that `fits`: the first from number `from` on, and around. Gives its number, too.
    pub fn take_where(&mut self, from: usize, fits: impl Fn(&Key, &V) -> bool) -> Option<(usize, V)> {
        let len = self.len();
        let from = if from < len { from } else { 0 };
        let fits = |at: &usize| self.nodes.get(*at).is_some_and(|node| fits(&node.key, &node.value));
        let at = (from..len).chain(0..from).find(fits)?;
        Some((at, self.take(at as u32)?))
    }

    /// All entries, in no order.
    pub fn for_each(&self, mut each: impl FnMut(&Key, &V)) {
        for at in 0..self.len() {
            let Some(node) = self.nodes.get(at) else { break };
            each(&node.key, &node.value);
        }
    }

    /// Grows ahead of need, until there is room for `spare` entries more and no bucket is crowded; at most by so many
    /// `chunks`. Says whether it is done.
    pub fn make_room(&mut self, spare: usize, chunks: usize) -> Result<bool, OutOfMemory> {
        for _ in 0..chunks {
            if self.spare() < spare {
                self.nodes.grow()?;
            }
            for _ in 0..CHUNK {
                if self.buckets >= self.len().max(1) {
                    break;
                }
                self.split()?;
            }
            if self.has_room(spare) {
                break;
            }
        }
        Ok(self.has_room(spare))
    }

    fn has_room(&self, spare: usize) -> bool {
        self.spare() >= spare && self.buckets >= self.len().max(1)
    }

    /// Shrinks to room for `spare` entries more, and no fewer buckets than entries and those; at most by so many `chunks`. Says
    /// how many chunks went.
    pub fn give_back(&mut self, spare: usize, chunks: usize) -> usize {
        let wanted = self.len() + spare;
        for _ in 0..chunks.saturating_mul(CHUNK) {
            if self.buckets <= wanted.max(1) {
                break;
            }
            self.join();
        }
        let mut gone = 0;
        while gone < chunks && self.nodes.len() >= wanted + CHUNK && self.nodes.shrink().is_some() {
            gone += 1;
        }
        gone
    }

    /// Gives back all memory, if there is no entry.
    pub fn give_back_all(&mut self) {
        if self.is_empty() {
            self.buckets = 0;
            while self.nodes.shrink().is_some() {}
            while self.heads.shrink().is_some() {}
        }
    }

    /// One bucket more: some of the entries of an older one go there.
    fn split(&mut self) -> Result<(), OutOfMemory> {
        let new = self.buckets;
        if new == self.heads.len() {
            self.heads.grow()?;
        }
        self.set_head(new, NONE);
        self.buckets = new + 1;
        if new > 0 {
            self.deal(new - previous_power_of_two(new));
        }
        Ok(())
    }

    /// One bucket less: its entries go back to the older one.
    fn join(&mut self) {
        let Some(last) = self.buckets.checked_sub(1).filter(|last| *last > 0) else { return };
        self.buckets = last;
        self.deal(last);
        if self.heads.len() >= last + BUCKETS {
            self.heads.shrink();
        }
    }

    /// Puts the entries of this bucket where they belong by now.
    fn deal(&mut self, bucket: usize) {
        let mut at = self.head(bucket);
        self.set_head(bucket, NONE);
        while let Some(node) = self.nodes.get(at as usize) {
            let (key, next) = (node.key, node.next);
            self.link(self.bucket(&key), at);
            at = next;
        }
    }

    fn link(&mut self, bucket: usize, at: u32) {
        let next = self.head(bucket);
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.next = next;
        }
        self.set_head(bucket, at);
    }

    /// Lets what leads to the entry `at` of this bucket lead to `to`.
    fn relink(&mut self, bucket: usize, at: u32, to: u32) {
        let mut before = self.head(bucket);
        if before == at {
            return self.set_head(bucket, to);
        }
        while let Some(node) = self.nodes.get_mut(before as usize) {
            if node.next == at {
                node.next = to;
                return;
            }
            before = node.next;
        }
    }

    /// Takes out the entry of this number; the last one gets it.
    fn take(&mut self, at: u32) -> Option<V> {
        let Node { key, value, next } = *self.nodes.get(at as usize)?;
        self.relink(self.bucket(&key), at, next);
        let last = self.len().checked_sub(1)?;
        if last != at as usize {
            let moved = *self.nodes.get(last)?;
            self.relink(self.bucket(&moved.key), last as u32, at);
            *self.nodes.get_mut(at as usize)? = moved;
        }
        self.len.store(last, Ordering::Release);
        Some(value)
    }
}

/// The largest power of two that is not above `number`, which is not 0.
fn previous_power_of_two(number: usize) -> usize {
    1 << number.ilog2()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64, u32),
        Remove(u64),
        Retain(u32),
        RetainSome(usize, u32),
        Change(u64, u64, u32),
        RemoveEntry(u64, u64),
        TakeWhere(usize, u32),
        MakeRoom(usize, usize),
        GiveBack(usize, usize),
        GiveBackAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (name, value) = (|| 0..900u64, || 0..1000u32);
        prop_oneof![
            60 => (name(), value()).prop_map(|(name, value)| Step::Insert(name, value)),
            30 => name().prop_map(Step::Remove),
            1 => (2..5u32).prop_map(Step::Retain),
            4 => (0..300usize, 2..5u32).prop_map(|(most, part)| Step::RetainSome(most, part)),
            4 => (name(), name(), value()).prop_map(|(name, gone, value)| Step::Change(name, gone, value)),
            4 => (name(), name()).prop_map(|(name, gone)| Step::RemoveEntry(name, gone)),
            4 => (0..1000usize, value()).prop_map(|(from, value)| Step::TakeWhere(from, value)),
            4 => (0..300usize, 1..5usize).prop_map(|(spare, chunks)| Step::MakeRoom(spare, chunks)),
            8 => (0..100usize, 1..5usize).prop_map(|(spare, chunks)| Step::GiveBack(spare, chunks)),
            2 => Just(Step::GiveBackAll),
        ]
    }

    fn key(name: u64) -> Key {
        // Some share a bucket however many there are.
        [if name % 8 == 0 { 5 } else { name.wrapping_mul(0x9e37_79b9_7f4a_7c15) }, name]
    }

    proptest! {
        #[test]
        fn does_what_a_hash_map_does(steps in prop::collection::vec(step(), 0..1500)) {
            let mut table = Table::<u32, Heap>::new_in(Heap);
            let mut model = HashMap::new();
            let mut end = usize::MAX;
            for step in steps {
                match step {
                    Step::Insert(name, value) => {
                        table.insert(key(name), value).unwrap();
                        model.insert(key(name), value);
                        prop_assert_eq!(table.get(&key(name)), Some(&value));
                    }
                    Step::Remove(name) => {
                        prop_assert_eq!(table.remove(&key(name)), model.remove(&key(name)));
                        prop_assert_eq!(table.get(&key(name)), None);
                    }
                    Step::Retain(part) => {
                        table.retain(|_, held| { *held += 1; *held % part != 0 });
                        model.retain(|_, held: &mut u32| { *held += 1; *held % part != 0 });
                    }
                    Step::RetainSome(most, part) => {
                        let (mut looks, mut out) = (0, Vec::new());
                        end = table.retain_some(end, most, |key, held| {
                            looks += 1;
                            if *held % part == 0 { out.push(*key) }
                            *held % part != 0
                        });
                        prop_assert!(looks <= most);
                        model.retain(|key, _| !out.contains(key));
                        if end == 0 { end = usize::MAX }
                    }
                    Step::Change(name, gone, value) => {
                        let found = table.find(&key(name));
                        prop_assert_eq!(found.is_some(), model.contains_key(&key(name)));
                        if let Some(place) = found.and_then(|found| table.entry_mut(found, &key(name))) {
                            *place = value;
                            model.insert(key(name), value);
                        }
                        // Another one goes: the entry may have moved, and is found where it was or not at all.
                        prop_assert_eq!(table.remove(&key(gone)), model.remove(&key(gone)));
                        if let Some(there) = found.and_then(|found| table.entry(found, &key(name))) {
                            prop_assert_eq!(Some(there), model.get(&key(name)));
                        }
                    }
                    Step::RemoveEntry(name, gone) => {
                        let found = table.find(&key(name));
                        prop_assert_eq!(table.remove(&key(gone)), model.remove(&key(gone)));
                        let removed = found.and_then(|found| table.remove_entry(found, &key(name)));
                        if removed.is_some() {
                            prop_assert_eq!(removed, model.remove(&key(name)));
                        }
                    }
                    Step::TakeWhere(from, value) => {
                        let any = model.values().any(|held| *held > value);
                        let taken = table.take_where(from, |_, held| *held > value);
                        prop_assert_eq!(taken.is_some(), any);
                        if taken.is_some() {
                            model.retain(|key, _| table.get(key).is_some());
                        }
                    }
                    Step::MakeRoom(spare, chunks) => {
                        let before = table.nodes.len();
                        if table.make_room(spare, chunks).unwrap() {
                            prop_assert!(table.spare() >= spare && table.buckets >= table.len());
                        }
                        prop_assert!(table.nodes.len() <= before + chunks * CHUNK);
                    }
                    Step::GiveBackAll => {
                        table.give_back_all();
                        prop_assert!(!model.is_empty() || table.nodes.len() + table.heads.len() == 0);
                    }
                    Step::GiveBack(spare, chunks) => {
                        let had = table.spare();
                        let gone = table.give_back(spare, chunks);
                        prop_assert!(gone <= chunks && table.spare() == had - gone * CHUNK);
                        prop_assert!(gone == chunks || table.spare() < spare + CHUNK);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for (key, value) in &model {
                prop_assert_eq!(table.get(key), Some(value));
            }
            let mut seen = HashMap::new();
            table.for_each(|key, value| { seen.insert(*key, *value); });
            prop_assert_eq!(seen, model);
        }
    }

    /// Steps of a change that look at an entry or a bucket, counted by the number of entries that are linked anew.
    #[test]
    fn no_step_takes_longer_the_more_entries_there_are() {
        let mut table = Table::<u64, Heap>::new_in(Heap);
        let most = |table: &Table<u64, Heap>| {
            let length = |bucket| {
                let mut at = table.head(bucket);
                core::iter::from_fn(|| {
                    let node = table.nodes.get(at as usize)?;
                    at = node.next;
                    Some(())
                })
                .count()
            };
            (0..table.buckets).map(length).max().unwrap_or(0)
        };
        let key = |name: u64| [xxhash_rust::xxh3::xxh3_64(&name.to_ne_bytes()), name];
        for name in 0..100_000 {
            table.insert(key(name), name).unwrap();
        }
        // A bucket is what a step goes through.
        assert!(most(&table) <= 20, "{}", most(&table));
        while !table.make_room(100, 1).unwrap() {}
        assert!(most(&table) <= 12, "{}", most(&table));
        for name in 10..100_000 {
            assert_eq!(table.remove(&key(name)), Some(name));
        }
        while table.give_back(16, 1) > 0 || table.buckets > 26 {
            assert!(most(&table) <= 12, "{}", most(&table));
        }
        assert_eq!((table.nodes.len(), table.heads.len()), (CHUNK, BUCKETS));
    }

    #[test]
    fn prepared_room_is_used_without_an_allocation() {
        let mut table = Table::<u64, Heap>::new_in(Heap);
        while !table.make_room(500, 1).unwrap() {}
        let ready = (table.nodes.len(), table.heads.len());
        for name in 0..500 {
            table.insert([name, 0], name).unwrap();
        }
        assert_eq!((table.nodes.len(), table.heads.len()), ready);
    }
}
