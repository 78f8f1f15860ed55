//! The runtime records of all destinations, by identity.
//!
//! A record is held by each block that has its destination and named by each call that counts, or counted, for it.
//! When neither is left its number is free for another destination.

use super::record::Record;
use crate::dest::Flags;
use crate::load::key::Key;
use crate::load::leg::MAX_RECORD;
use crate::shm::arena::Arena;
use crate::shm::chunks::Chunks;
use crate::shm::lock::{LastAlive, Legible, Mutex, left_by_the_dead, lock_of_the_living};
use crate::shm::table::Table;
use crate::shm::text::Text;
use crate::shm::{Alloc, OutOfMemory, Shared};

const LABELS: usize = 64;

/// All records.
pub struct Registry<A: Alloc> {
    index: Mutex<Index<A>>,
    records: Arena<Record, A>,
    alloc: A,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Registry<A> {}

struct Index<A: Alloc> {
    numbers: Table<u32, A>,
    labels: Chunks<Label<A>, A, LABELS>,
    /// Head of the list of free numbers, linked through their labels.
    free: Option<u32>,
    /// Numbers handed out at least once.
    used: u32,
    /// Head of the list of records that no block held when they came on it: those that a sweep looks at.
    unheld: Option<u32>,
}

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Index<A> {}

// SAFETY: legible tables, and numbers.
unsafe impl<A: Alloc> Legible for Index<A> {}

/// What is known of a record besides what changes with each call.
struct Label<A: Alloc> {
    /// Blocks that have the destination.
    held: u32,
    key: Key,
    /// `duid`, or the URI where there is none.
    name: Option<Text<A>>,
    /// Whether it is on the list of those that no block held.
    listed: bool,
    /// The next one of the list that it is on: free, or not held.
    next: Option<u32>,
}

// SAFETY: numbers and a shared text.
unsafe impl<A: Alloc> Shared for Label<A> {}

impl<A: Alloc> Default for Label<A> {
    fn default() -> Self {
        Self { held: 0, key: [0; 2], name: None, listed: false, next: None }
    }
}

/// A record held for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Its number.
    pub number: u32,
    /// It was made before, for this destination.
    pub existed: bool,
}

/// A record as [`Registry::for_each`] shows it.
pub struct Named<'a> {
    /// Its number.
    pub number: u32,
    /// The set of its destination.
    pub set: i32,
    /// `duid`, or the URI where there is none.
    pub name: &'a [u8],
    /// Whether the destination is configured now (or was in a generation not yet given back).
    pub configured: bool,
    /// The record.
    pub record: &'a Record,
}

impl<A: Alloc> Registry<A> {
    /// No records.
    pub fn new_in(alloc: A) -> Self {
        let index = Index {
            numbers: Table::new_in(alloc),
            labels: Chunks::new_in(alloc),
            free: None,
            used: 0,
            unheld: None,
        };
        Self { index: Mutex::new(index), records: Arena::new_in(alloc), alloc }
    }

    /// The record of this number.
    pub fn record(&self, number: u32) -> Option<&Record> {
        self.records.get(number)
    }

    /// Finds or makes the record of this identity, and holds it for one more block. What is found is left as it is:
    /// the block may yet fail.
    pub fn hold(&self, key: Key, set: i32, name: &[u8], flags: Flags) -> Result<Hold, OutOfMemory> {
        let mut index = self.index.lock();
        let Some(number) = index.numbers.get(&key).copied() else {
            return self.make(&mut index, key, set, name, flags);
        };
        if let Some(label) = index.labels.get_mut(number as usize) {
            label.held += 1;
        }
        Ok(Hold { number, existed: true })
    }

    /// Each step that can fail comes before the first that changes something for good.
    fn make(
        &self,
        index: &mut Index<A>,
        key: Key,
        set: i32,
        name: &[u8],
        flags: Flags,
    ) -> Result<Hold, OutOfMemory> {
        let number = index.free.unwrap_or(index.used);
        if number > MAX_RECORD.min(Arena::<Record, A>::CAPACITY - 1) {
            return Err(OutOfMemory { size: size_of::<Record>() });
        }
        let name = Text::try_copy_in(name, self.alloc)?;
        while index.labels.len() <= number as usize {
            index.labels.grow()?;
        }
        let record = self.records.make(number)?;
        index.numbers.insert(key, number)?;
        record.begin(set, flags);
        if let Some(label) = index.labels.get_mut(number as usize) {
            match index.free {
                Some(_) => index.free = label.next,
                None => index.used += 1,
            }
            *label = Label { held: 1, key, name: Some(name), listed: false, next: None };
        }
        Ok(Hold { number, existed: false })
    }

    /// One block more has the destination of a record that is held already.
    pub fn hold_again(&self, number: u32) {
        if let Some(label) = self.index.lock().labels.get_mut(number as usize) {
            label.held += 1;
        }
    }

    /// One block less has each of these destinations.
    pub fn let_go(&self, all: impl Iterator<Item = u32>) {
        let mut index = self.index.lock();
        let Index { labels, unheld, .. } = &mut *index;
        for number in all {
            let Some(label) = labels.get_mut(number as usize) else { continue };
            label.held -= 1;
            if label.held == 0 && !label.listed {
                label.listed = true;
                label.next = unheld.replace(number);
            }
        }
    }

    /// Frees the records that no block holds and no call names.
    ///
    /// Nobody can begin to use such a record meanwhile: a choice reaches it only through a generation that holds it, a
    /// call only through an entry that names it.
    pub fn sweep(&self) {
        let mut index = self.index.lock();
        let Index { numbers, labels, free, unheld, .. } = &mut *index;
        let mut next = unheld.take();
        while let Some(number) = next {
            let Some(label) = labels.get_mut(number as usize) else { return };
            next = label.next.take();
            if label.held > 0 {
                label.listed = false;
            } else if self.records.get(number).is_some_and(|record| !record.entries.is_zero()) {
                label.next = unheld.replace(number);
            } else {
                numbers.remove(&label.key);
                *label = Label { next: free.replace(number), ..Label::default() };
            }
        }
    }

    /// The number of the record of this identity.
    pub fn find(&self, key: &Key) -> Option<u32> {
        self.index.lock().numbers.get(key).copied()
    }

    /// All identities with their numbers and records; `None` if a process died with the lock, and others are alive.
    pub fn for_each_key(
        &self,
        alone: Option<&LastAlive>,
        mut each: impl FnMut(&Key, u32, &Record),
    ) -> Option<()> {
        let each = |key: &Key, &number: &u32| {
            self.records.get(number).into_iter().for_each(|record| each(key, number, record));
        };
        match alone {
            Some(alone) => left_by_the_dead(&self.index, alone).numbers.for_each(each),
            None => lock_of_the_living(&self.index)?.numbers.for_each(each),
        }
        Some(())
    }

    /// All records, in the order of their numbers.
    pub fn for_each(&self, mut each: impl FnMut(Named<'_>)) {
        let index = self.index.lock();
        for number in 0..index.used {
            let Some(label) = index.labels.get(number as usize) else { continue };
            if let (Some(name), Some(record)) = (&label.name, self.records.get(number)) {
                each(Named { number, set: record.set(), name, configured: label.held > 0, record });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use crate::shm::counter::Audited;

    fn registry() -> Registry<Heap> {
        Registry::new_in(Heap)
    }

    #[test]
    fn a_record_with_calls_waits_for_its_destination_to_come_back() {
        let registry = registry();
        let hold = registry.hold([1, 1], 100, b"a", Flags::default()).unwrap();
        let record = registry.record(hold.number).unwrap();
        record.entries.take();
        record.load.take(Audited::NotYet);
        registry.let_go([hold.number].into_iter());
        registry.sweep();
        let again = registry.hold([1, 1], 100, b"a", Flags::default());
        assert_eq!(again, Ok(Hold { number: hold.number, existed: true }));
        assert_eq!(record.load.get(), 1);
    }

    #[test]
    fn a_record_without_calls_gives_its_number_to_the_next() {
        let registry = registry();
        let hold = |name, flags| registry.hold([name, name], 1, b"x", flags).unwrap().number;
        assert_eq!([0, 1, 2].map(|name| hold(name, Flags::default())), [0, 1, 2]);
        registry.let_go([1].into_iter());
        registry.sweep();
        assert_eq!(hold(9, Flags::TRYING), 1);
        assert_eq!(registry.record(1).unwrap().flags(), Flags::TRYING);
        assert_eq!(hold(1, Flags::default()), 3);
    }

    #[test]
    fn one_that_is_held_again_before_the_sweep_stays_and_is_swept_later() {
        let registry = registry();
        let hold = || registry.hold([5, 5], 1, b"x", Flags::default()).unwrap();
        let first = hold();
        registry.let_go([first.number].into_iter());
        assert!(hold().existed);
        registry.sweep();
        assert_eq!(registry.find(&[5, 5]), Some(first.number));
        registry.let_go([first.number].into_iter());
        registry.sweep();
        assert_eq!(registry.find(&[5, 5]), None);
        assert!(!hold().existed);
    }
}
