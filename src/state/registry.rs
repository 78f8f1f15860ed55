//! The runtime records of all destinations, by identity.
//!
//! A record is held by each block that has its destination and named by each call that counts, or counted, for it.
//! When neither is left its number is free for another destination, and the lowest free number is handed out first. So
//! after a peak the records of high numbers are free, and upkeep gives their memory back.
//!
//! Who asks for a record by its number, and for as long as he looks at it, has one of these: a pin of the sets that he took
//! before; the lock of a call that names it; or the lock `writer`.

use super::health::Health;
use super::ranks::Ranks;
use super::record::{Change, Configured, Keep, Record, Shift};
use crate::dest::Flags;
use crate::load::key::Key;
use crate::load::leg::MAX_RECORD;
use crate::shm::arc::Arc;
use crate::shm::arena::{Arena, CHUNK, Gone};
use crate::shm::atomic::{AtomicPtr, Ordering};
use crate::shm::counter::Audited;
use crate::shm::lock::{Guard, LastAlive, Legible, Mutex, left_by_the_dead, lock_of_the_living};
use crate::shm::segments::Segments;
use crate::shm::snapshot::Snapshot;
use crate::shm::table::Table;
use crate::shm::text::Text;
use crate::shm::{Alloc, OutOfMemory, Shared};
use core::ptr::null_mut;
use std::collections::HashMap;

/// Words of the map of numbers that are allocated at a time.
const WORDS: usize = 64;
/// Records that are swept, and chunks of them that are given back, while the lock is held.
const SWEPT: usize = 512;
const CHUNKS: usize = 32;
/// Chunks that are given back in one second, at most.
const CHUNKS_A_SECOND: usize = 1024;
/// Spare entries of the table of numbers, at least.
const SPARE: usize = 64;

/// All records.
pub struct Registry<A: Alloc> {
    index: Mutex<Index<A>>,
    entries: Arena<Entry<A>, A>,
    alloc: A,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Registry<A> {}

struct Index<A: Alloc> {
    numbers: Table<u32, A>,
    /// One bit for each number: it is taken. A word is a chunk of records.
    taken: Segments<u32, A, WORDS>,
    /// No word of `taken` before this one has a number left.
    room: usize,
    /// Head of the list of records that no block held when they came on it: those that a sweep looks at.
    unheld: Option<u32>,
    /// Records that nobody finds any more.
    gone: Gone<Entry<A>>,
    /// Records made so far.
    made: u32,
}

const _: () = assert!(CHUNK == u32::BITS as usize, "one word has a bit for each record of a chunk");

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Index<A> {}

// SAFETY: legible tables, and numbers.
unsafe impl<A: Alloc> Legible for Index<A> {}

/// A record with its label.
#[repr(C)] // the board beside what is read with it
struct Entry<A: Alloc> {
    /// The board on which its lines are: the label's own, so there as long as the record is.
    ranks: AtomicPtr<Ranks<A>>,
    record: Record,
    /// Used with `index` locked.
    label: Mutex<Label<A>>,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Entry<A> {}

impl<A: Alloc> Default for Entry<A> {
    fn default() -> Self {
        let (record, ranks) = (Record::default(), AtomicPtr::new(null_mut()));
        Self { ranks, record, label: Mutex::new(Label::default()) }
    }
}

impl<A: Alloc> Entry<A> {
    fn board(&self) -> Option<&Ranks<A>> {
        let ranks = self.ranks.load(Ordering::Acquire); // sync point `board`
        // SAFETY: null or the board of the label, which owns it as long as the record is there.
        unsafe { ranks.as_ref() }
    }
}

/// What is known of a record besides what changes with each call.
struct Label<A: Alloc> {
    /// Blocks that have the destination.
    held: u32,
    key: Key,
    /// `duid`, or the URI where there is none.
    name: Option<Text<A>>,
    /// The board of its set.
    ranks: Option<Arc<Ranks<A>, A>>,
    /// Whether it is on the list of those that no block held.
    listed: bool,
    /// The next one of that list.
    next: Option<u32>,
}

// SAFETY: numbers and a shared text.
unsafe impl<A: Alloc> Shared for Label<A> {}

impl<A: Alloc> Default for Label<A> {
    fn default() -> Self {
        Self { held: 0, key: [0; 2], name: None, ranks: None, listed: false, next: None }
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
            taken: Segments::new_in(alloc),
            room: 0,
            unheld: None,
            gone: Gone::default(),
            made: 0,
        };
        Self { index: Mutex::new(index), entries: Arena::new_in(alloc), alloc }
    }

    /// The record of this number: see the head of this file for who may ask.
    pub fn record(&self, number: u32) -> Option<&Record> {
        self.entries.get(number).map(|entry| &entry.record)
    }

    /// The same, if it is still that of the destination that had this serial number.
    pub fn record_of(&self, number: u32, serial: u32) -> Option<&Record> {
        self.record(number).filter(|record| record.serial() == serial)
    }

    /// The board on which the lines of this record are: for who may ask for the record.
    pub fn ranks(&self, number: u32) -> Option<&Ranks<A>> {
        self.entries.get(number)?.board()
    }

    /// The record of this number with that board.
    pub(super) fn ranked(&self, number: u32) -> Option<(&Record, &Ranks<A>)> {
        let entry = self.entries.get(number)?;
        Some((&entry.record, entry.board()?))
    }

    /// The boards of all sets of which a record is there.
    pub fn boards(&self) -> HashMap<i32, Arc<Ranks<A>, A>> {
        let index = self.index.lock();
        let mut boards = HashMap::new();
        for number in index.taken() {
            let Some(Entry { record, label, .. }) = self.entries.get(number) else { continue };
            if let Some(ranks) = &label.lock().ranks {
                boards.entry(record.set()).or_insert_with(|| ranks.clone());
            }
        }
        boards
    }

    /// Changes the load of this record, and its ranks with it.
    fn count<T>(&self, number: u32, change: impl FnOnce(&Record) -> T) -> Option<T> {
        let entry = self.entries.get(number)?;
        Some(match entry.board() {
            Some(ranks) => ranks.count(&entry.record, change),
            None => change(&entry.record),
        })
    }

    /// Changes the state of this record, and its ranks with it.
    fn step<T>(&self, number: u32, change: impl FnOnce(&Record) -> T) -> Option<T> {
        let entry = self.entries.get(number)?;
        Some(match entry.board() {
            Some(ranks) => ranks.step(&entry.record, change),
            None => change(&entry.record),
        })
    }

    /// A leg goes to the destination of this record, with which its call counts there, if the load is still what was `seen`.
    pub fn take_if(&self, number: u32, seen: u32, audited: Audited) -> bool {
        self.count(number, |record| record.take_if(seen, audited)) == Some(true)
    }

    /// What a call does to this record.
    pub fn shift(&self, number: u32, shift: Shift, audited: Audited) {
        if let Some((record, ranks)) = self.ranked(number) {
            ranks.shift(record, shift, audited);
        }
    }

    /// An audit begins, see [`Load::open_account`](crate::shm::counter::Load::open_account).
    pub fn open_account(&self, number: u32) {
        self.count(number, |record| record.load.open_account());
    }

    /// Changes the state of this record: see [`Record::change`].
    pub fn change(
        &self,
        number: u32,
        now: u64,
        change: impl FnOnce(Flags, &mut Health) -> Option<(Flags, u32)>,
    ) -> Option<Change> {
        self.step(number, |record| record.change(now, change))?
    }

    /// Takes over what a source configures for this record: see [`Record::configure`].
    pub fn configure(&self, number: u32, configured: Configured, back: bool, keep: Keep) {
        self.step(number, |record| record.configure(configured, back, keep));
    }

    /// The label of this number. With `index` locked.
    fn label(&self, number: u32) -> Option<Guard<'_, Label<A>>> {
        self.entries.get(number).map(|entry| entry.label.lock())
    }

    /// Finds or makes the record of this identity, and holds it for one more block. What is found is left as it is:
    /// the block may yet fail.
    ///
    /// All records of a set have one board: `ranks`, which is that of the records that are there ([`Registry::boards`]).
    pub fn hold(
        &self,
        key: Key,
        set: i32,
        name: &[u8],
        flags: Flags,
        ranks: &Arc<Ranks<A>, A>,
    ) -> Result<Hold, OutOfMemory> {
        let mut index = self.index.lock();
        let Some(number) = index.numbers.get(&key).copied() else {
            return self.make(&mut index, key, set, name, flags, ranks);
        };
        if let Some(mut label) = self.label(number) {
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
        ranks: &Arc<Ranks<A>, A>,
    ) -> Result<Hold, OutOfMemory> {
        let number = index.lowest_free();
        if number > MAX_RECORD.min(Arena::<Entry<A>, A>::CAPACITY - 1) {
            return Err(OutOfMemory { size: size_of::<Record>() });
        }
        let name = Text::try_copy_in(name, self.alloc)?;
        while index.taken.len() * CHUNK <= number as usize {
            index.taken.grow()?;
        }
        let entry = self.entries.make(number)?;
        index.numbers.insert(key, number)?;
        index.made = index.made.wrapping_add(1);
        entry.record.begin(set, flags, index.made);
        entry.ranks.store(core::ptr::from_ref(&**ranks).cast_mut(), Ordering::Release); // sync point `board`
        let ranks = Some(ranks.clone());
        *entry.label.lock() = Label { held: 1, key, name: Some(name), ranks, listed: false, next: None };
        index.mark(number, true);
        Ok(Hold { number, existed: false })
    }

    /// One block more has the destination of a record that is held already.
    pub fn hold_again(&self, number: u32) {
        let _index = self.index.lock();
        if let Some(mut label) = self.label(number) {
            label.held += 1;
        }
    }

    /// One block less has each of these destinations.
    pub fn let_go(&self, all: impl Iterator<Item = u32>) {
        let mut index = self.index.lock();
        for number in all {
            let Some(mut label) = self.label(number) else { continue };
            label.held -= 1;
            if label.held == 0 && !label.listed {
                label.listed = true;
                label.next = index.unheld.replace(number);
            }
        }
    }

    /// Frees the records that no block holds and no call names.
    ///
    /// Nobody can begin to use such a record meanwhile: a choice reaches it only through a generation that holds it, a
    /// call only through an entry that names it.
    ///
    /// In slices: who needs the lock does not wait for the end.
    pub fn sweep(&self) {
        let mut kept = None;
        while !self.sweep_some(&mut kept) {}
    }

    /// Looks at some that no block held. Those that calls name go to the list `kept`. Says whether that is all.
    fn sweep_some(&self, kept: &mut Option<u32>) -> bool {
        let mut index = self.index.lock();
        for _ in 0..SWEPT {
            let entry = index.unheld.and_then(|number| Some((number, self.entries.get(number)?)));
            let Some((number, entry)) = entry else {
                index.unheld = *kept;
                return true;
            };
            let mut label = entry.label.lock();
            index.unheld = label.next.take();
            if label.held > 0 {
                label.listed = false;
            } else if !entry.record.entries.is_zero() {
                label.next = kept.replace(number);
            } else {
                index.numbers.remove(&label.key);
                entry.ranks.store(null_mut(), Ordering::Relaxed);
                *label = Label::default();
                index.mark(number, false);
            }
        }
        false
    }

    /// Gives back the memory of records that are free, with all that is about them, as far as one second's work goes: what
    /// a reader of `sets` may have found waits for him. For who holds `writer`.
    pub fn give_back<T: Shared>(&self, sets: &Snapshot<T, A>) {
        let slices = || 0..CHUNKS_A_SECOND / CHUNKS;
        for _ in slices() {
            let mut index = self.index.lock();
            let shrunk = index.shrink(&self.entries, || sets.step());
            let spare = (index.numbers.len() / 16).max(SPARE);
            if index.numbers.give_back(spare, CHUNKS) == 0 && !shrunk {
                break;
            }
        }
        let oldest = sets.oldest();
        for _ in slices() {
            if self.entries.free(&mut self.index.lock().gone, oldest, CHUNKS) == 0 {
                break;
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
            self.record(number).into_iter().for_each(|record| each(key, number, record));
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
        for number in index.taken() {
            let Some(Entry { record, label, .. }) = self.entries.get(number) else { continue };
            let label = label.lock();
            if let Some(name) = &label.name {
                let configured = label.held > 0;
                each(Named { number, set: record.set(), name, configured, record });
            }
        }
    }
}

impl<A: Alloc> Index<A> {
    fn lowest_free(&mut self) -> u32 {
        let words = self.taken.len();
        while self.room < words {
            let taken = self.taken.get(self.room).copied().unwrap_or(0);
            if taken != u32::MAX {
                return (self.room * CHUNK) as u32 + taken.trailing_ones();
            }
            self.room += 1;
        }
        (words * CHUNK) as u32
    }

    /// The numbers of all chunks in which one is taken.
    fn taken(&self) -> impl Iterator<Item = u32> + '_ {
        let chunks = (0..self.taken.len()).filter(|chunk| self.taken.get(*chunk) != Some(&0));
        chunks.flat_map(|chunk| chunk * CHUNK..(chunk + 1) * CHUNK).map(|number| number as u32)
    }

    fn mark(&mut self, number: u32, taken: bool) {
        let (word, bit) = (number as usize / CHUNK, 1 << (number as usize % CHUNK));
        if let Some(word) = self.taken.get_mut(word) {
            *word = if taken { *word | bit } else { *word & !bit };
        }
        if !taken {
            self.room = self.room.min(word);
        }
    }

    /// Takes out chunks of free records, those of the highest numbers first. Whether there is more.
    fn shrink(&mut self, entries: &Arena<Entry<A>, A>, step: impl Fn() -> u64) -> bool {
        let mut out = 0;
        for chunk in (0..self.taken.len()).rev() {
            if self.taken.get(chunk) == Some(&0) && entries.has(chunk) {
                if out == CHUNKS {
                    return true;
                }
                entries.take_out(chunk, &mut self.gone, &step);
                out += 1;
            }
        }
        let is_free = |taken: &Segments<u32, A, WORDS>| {
            let words = taken.len();
            words > 0 && (words - WORDS..words).all(|word| taken.get(word) == Some(&0))
        };
        while is_free(&self.taken) && self.taken.shrink().is_some() {}
        self.room = self.room.min(self.taken.len());
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;

    #[allow(clippy::unwrap_used)]
    fn board() -> Arc<Ranks<Heap>, Heap> {
        Arc::try_new_in(Ranks::try_new_in(Heap).unwrap(), Heap).unwrap()
    }

    fn registry() -> Registry<Heap> {
        Registry::new_in(Heap)
    }

    #[test]
    fn a_record_with_calls_waits_for_its_destination_to_come_back() {
        let registry = registry();
        let hold = registry.hold([1, 1], 100, b"a", Flags::default(), &board()).unwrap();
        let record = registry.record(hold.number).unwrap();
        record.entries.take();
        record.load.take(Audited::NotYet);
        registry.let_go([hold.number].into_iter());
        registry.sweep();
        let again = registry.hold([1, 1], 100, b"a", Flags::default(), &board());
        assert_eq!(again, Ok(Hold { number: hold.number, existed: true }));
        assert_eq!(record.load.get(), 1);
    }

    #[test]
    fn a_record_without_calls_gives_its_number_to_the_next() {
        let registry = registry();
        let hold = |name, flags| registry.hold([name, name], 1, b"x", flags, &board()).unwrap().number;
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
        let hold = || registry.hold([5, 5], 1, b"x", Flags::default(), &board()).unwrap();
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
