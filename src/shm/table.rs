//! A map from 128-bit keys to small values that grows by itself and allocates rarely.
//!
//! For use behind a lock. The key must already be a good hash: its low half chooses the bucket.
//!
//! Model: nodes of one size in chunks, linked by number into buckets or into the list of free nodes. A node costs its
//! key, its value and four bytes; a bucket four bytes. [`Table::prepare`] does the growing ahead of time, where an
//! allocation and a rehash hurt nobody; [`Table::insert`] allocates only when all prepared nodes are used up.

use super::chunks::Chunks;
use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};

/// A 128-bit hash.
pub type Key = [u64; 2];

const NONE: u32 = u32::MAX;
/// Nodes allocated at a time.
pub const CHUNK: usize = 64;
/// Entries a bucket, on average, at which [`Table::prepare`] doubles the buckets.
const CROWDED: usize = 1;

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

/// The map.
pub struct Table<V: Shared + Copy + Default, A: Alloc> {
    nodes: Chunks<Node<V>, A, CHUNK>,
    buckets: Slice<u32, A>,
    free: u32,
    len: usize,
    alloc: A,
}

// SAFETY: shared parts and numbers.
unsafe impl<V: Shared + Copy + Default, A: Alloc> Shared for Table<V, A> {}

impl<V: Shared + Copy + Default, A: Alloc> Table<V, A> {
    /// An empty map that takes no memory yet.
    pub fn new_in(alloc: A) -> Self {
        Self { nodes: Chunks::new_in(alloc), buckets: Slice::empty_in(alloc), free: NONE, len: 0, alloc }
    }

    /// Entries in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Nodes ready for an insert that allocates nothing.
    pub fn spare(&self) -> usize {
        self.nodes.len() - self.len
    }

    fn bucket(&self, key: &Key) -> usize {
        // The number of buckets is a power of two or zero.
        key[0] as usize & self.buckets.len().wrapping_sub(1)
    }

    fn find(&self, key: &Key) -> Option<u32> {
        let mut at = *self.buckets.get(self.bucket(key))?;
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

    /// Sets the value of this key. Allocates only when no spare node is left.
    pub fn insert(&mut self, key: Key, value: V) -> Result<(), OutOfMemory> {
        if let Some(there) = self.get_mut(&key) {
            *there = value;
            return Ok(());
        }
        if self.free == NONE {
            self.add_chunk()?;
        }
        if self.buckets.is_empty() {
            self.rehash(CHUNK)?;
        }
        let bucket = self.bucket(&key);
        let at = self.free;
        let (Some(head), Some(node)) = (self.buckets.get_mut(bucket), self.nodes.get_mut(at as usize)) else {
            return Ok(()); // not reached: both were just made
        };
        self.free = node.next;
        *node = Node { key, value, next: *head };
        *head = at;
        self.len += 1;
        Ok(())
    }

    /// Takes this key out.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        let at = self.find(key)?;
        let bucket = self.bucket(key);
        self.unlink(bucket, at)
    }

    /// Keeps the entries for which `keep` says so; it may change them.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &mut V) -> bool) {
        for bucket in 0..self.buckets.len() {
            let mut at = self.buckets.get(bucket).copied().unwrap_or(NONE);
            while let Some(node) = self.nodes.get_mut(at as usize) {
                let (here, next) = (at, node.next);
                let kept = keep(&node.key, &mut node.value);
                if !kept {
                    self.unlink(bucket, here);
                }
                at = next;
            }
        }
    }

    /// All entries, in no order.
    pub fn for_each(&self, mut each: impl FnMut(&Key, &V)) {
        for &head in self.buckets.iter() {
            let mut at = head;
            while let Some(node) = self.nodes.get(at as usize) {
                each(&node.key, &node.value);
                at = node.next;
            }
        }
    }

    /// Grows ahead of need: `spare` nodes ready, buckets not crowded.
    pub fn prepare(&mut self, spare: usize) -> Result<(), OutOfMemory> {
        while self.spare() < spare {
            self.add_chunk()?;
        }
        let wanted = (self.len / CROWDED + 1).next_power_of_two().max(CHUNK);
        if wanted > self.buckets.len() { self.rehash(wanted) } else { Ok(()) }
    }

    fn add_chunk(&mut self) -> Result<(), OutOfMemory> {
        let first = self.nodes.grow()?;
        for at in (first..first + CHUNK).rev() {
            if let Some(node) = self.nodes.get_mut(at) {
                node.next = self.free;
                self.free = at as u32;
            }
        }
        Ok(())
    }

    fn rehash(&mut self, buckets: usize) -> Result<(), OutOfMemory> {
        let wider = Slice::try_from_fn_in(buckets, |_| NONE, self.alloc)?;
        let old = core::mem::replace(&mut self.buckets, wider);
        for &head in old.iter() {
            let mut at = head;
            while let Some(node) = self.nodes.get(at as usize) {
                let (key, next) = (node.key, node.next);
                let bucket = self.bucket(&key);
                if let (Some(head), Some(node)) =
                    (self.buckets.get_mut(bucket), self.nodes.get_mut(at as usize))
                {
                    node.next = core::mem::replace(head, at);
                }
                at = next;
            }
        }
        Ok(())
    }

    fn unlink(&mut self, bucket: usize, gone: u32) -> Option<V> {
        let (value, next) = self.nodes.get(gone as usize).map(|node| (node.value, node.next))?;
        let head = self.buckets.get_mut(bucket)?;
        if *head == gone {
            *head = next;
        } else {
            let mut at = *head;
            while let Some(node) = self.nodes.get_mut(at as usize) {
                if node.next == gone {
                    node.next = next;
                    break;
                }
                at = node.next;
            }
        }
        let node = self.nodes.get_mut(gone as usize)?;
        node.next = self.free;
        self.free = gone;
        self.len -= 1;
        Some(value)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn does_what_a_hash_map_does(steps in prop::collection::vec((0u64..40, 0u32..1000, 0u8..8), 0..400)) {
            let mut table = Table::<u32, Heap>::new_in(Heap);
            let mut model = HashMap::new();
            for (name, value, step) in steps {
                let key = [name, name * 7];
                match step {
                    0..=3 => {
                        table.insert(key, value).unwrap();
                        model.insert(key, value);
                    }
                    4 | 5 => prop_assert_eq!(table.remove(&key), model.remove(&key)),
                    6 => {
                        table.retain(|_, held| { *held += 1; *held % 3 != 0 });
                        model.retain(|_, held: &mut u32| { *held += 1; *held % 3 != 0 });
                    }
                    _ => table.prepare(value as usize % 300).unwrap(),
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.get(&key), model.get(&key));
            }
            let mut seen = HashMap::new();
            table.for_each(|key, value| { seen.insert(*key, *value); });
            prop_assert_eq!(seen, model);
        }
    }

    #[test]
    fn prepared_room_is_used_without_an_allocation() {
        let mut table = Table::<u64, Heap>::new_in(Heap);
        table.prepare(500).unwrap();
        let ready = table.nodes.len();
        for name in 0..500 {
            table.insert([name, 0], name).unwrap();
        }
        assert_eq!(table.nodes.len(), ready);
    }
}
