//! The records of all destinations. A record has a number, and is found by the identity of its destination: the set, and the `duid` or
//! else the URI and socket.
//!
//! Each block that has the destination holds its record, and each call that counts, or counted, for it names its number. When neither is
//! left the number is free for another destination. The lowest free number is used first, so after a peak the records with high numbers
//! are free, and housekeeping gives their memory back.
//!
//! A caller that asks for a record by its number must keep one of these until it is done with the record: a pin of the sets, taken
//! before it read the number; the lock of the call that names the number; or the lock `writer`.

use super::capacities::{Capacities, Seen};
use super::ejection;
use super::health::Health;
use super::ranks::{Failure, LockedBoard, Ranks, Taken};
use super::record::{Configured, Keep, Record, StateChange};
use super::shift::Shift;
use crate::dest::Flags;
use crate::load::key::Key;
use crate::load::leg::MAX_RECORD;
use crate::shm::arc::Arc;
use crate::shm::arena::{Arena, CHUNK, Gone};
use crate::shm::atomic::{AtomicPtr, Ordering};
use crate::shm::boxed::Boxed;
use crate::shm::counter::{Audited, Switch};
use crate::shm::lock::{Guard, LastAlive, Legible, Mutex, read_after_all_ended, try_lock_for};
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
    /// What destinations share: see [`Capacities`].
    pub capacities: Mutex<Capacities<A>>,
    /// On while a destination may be on the ramp of a slow start: who lets ramps go on turns it off first.
    pub slow_starts: Switch,
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
    /// What is known of its calls, where somebody follows them.
    calls: Mutex<Option<Boxed<ejection::Calls, A>>>,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Entry<A> {}

impl<A: Alloc> Default for Entry<A> {
    fn default() -> Self {
        let (record, ranks) = (Record::default(), AtomicPtr::new(null_mut()));
        Self { ranks, record, label: Mutex::new(Label::default()), calls: Mutex::new(None) }
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
        let capacities = Mutex::new(Capacities::new_in(alloc));
        let (entries, slow_starts) = (Arena::new_in(alloc), Switch::default());
        Self { index: Mutex::new(index), entries, capacities, slow_starts, alloc }
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

    /// Locks the board of a set, and before it the capacities, if its lines share some.
    pub fn lock_board<'a>(&'a self, ranks: &'a Ranks<A>) -> LockedBoard<'a, A> {
        LockedBoard::of(ranks, false, || self.capacities.lock())
    }

    /// The same for what changes the load of this record, which has its lines there.
    fn lock_board_for<'a>(&'a self, record: &Record, ranks: &'a Ranks<A>) -> LockedBoard<'a, A> {
        if record.capacity() == 0 {
            let board = self.lock_board(ranks);
            // A commit may have come between.
            if record.capacity() == 0 || board.has_capacities() {
                return board;
            }
        }
        LockedBoard::of(ranks, true, || self.capacities.lock())
    }

    /// Changes the state of this record, and its ranks with it.
    fn step<T>(&self, number: u32, change: impl FnOnce(&Record) -> T) -> Option<T> {
        let entry = self.entries.get(number)?;
        let done = match entry.board() {
            Some(ranks) => ranks.step(&entry.record, change),
            None => change(&entry.record),
        };
        self.note_ramp(&entry.record);
        Some(done)
    }

    /// A leg goes to the destination of this record, with which its call counts there, if the load is still what was `seen` and the
    /// capacity that it shares has room for it. `how`: it was chosen, so it is remembered when; it has priority. `left` as in
    /// [`LockedBoard::take_best`].
    pub fn take_if(
        &self,
        (number, seen): (u32, u32),
        how: (bool, bool),
        left: &[u32],
        (audited, clock): (Audited, fn() -> u64),
    ) -> Option<Taken<()>> {
        let (record, ranks) = self.ranked(number)?;
        self.lock_board_for(record, ranks).take_if(self, (record, seen), how, left, (audited, clock))
    }

    /// A new call that is not counted in one step with its choice goes to the destination of this record: false if its rate does not let
    /// it. Then no choice finds it until it does.
    pub fn take_token(&self, number: u32, clock: fn() -> u64) -> bool {
        let Some((record, ranks)) = self.ranked(number) else { return true };
        if ranks.has_shared_rates() && record.capacity() != 0 {
            return self.lock_board_for(record, ranks).take_token(self, record, clock);
        }
        !(record.is_rated() || record.is_on_trial()) || ranks.take_token(record, clock)
    }

    /// What a call does to this record.
    pub fn shift(&self, number: u32, shift: Shift, audited: Audited) {
        let Some((record, ranks)) = self.ranked(number) else { return };
        if record.capacity() != 0 || !ranks.shift_alone(record, shift, audited) {
            self.lock_board_for(record, ranks).shift(self, number, shift, audited);
        }
    }

    /// A call has failed at the destination of this record, which makes its ranks worse for a while.
    pub fn penalize(&self, number: u32, failure: Failure) {
        if let Some((record, ranks)) = self.ranked(number) {
            ranks.penalize(self, record, failure);
        }
    }

    /// The capacity that the destination of this record shares.
    pub fn capacity_of(&self, record: &Record) -> Option<Seen> {
        if record.capacity() == 0 {
            return None;
        }
        self.capacities.lock().seen(record.capacity())
    }

    /// Whether it is full for the one that asks, which may have `priority`, but for calls of its own, by record.
    pub fn is_shared_full(&self, record: &Record, left: &[u32], priority: bool) -> bool {
        if record.capacity() == 0 {
            return false;
        }
        let capacities = self.capacities.lock();
        let capacity = record.capacity();
        let shares = |number: &&u32| self.record(**number).is_some_and(|one| one.capacity() == capacity);
        let own = left.iter().filter(shares).count();
        capacities.fill_without(capacity, own as u32).is_full_for(priority)
    }

    /// All capacities, and each record that shares one, of one moment.
    pub fn sharing(&self, mut each: impl FnMut(Named<'_>)) -> Vec<Seen> {
        let index = self.index.lock();
        let capacities = self.capacities.lock();
        self.for_each_of(&index, |named| {
            if named.record.capacity() != 0 {
                each(named);
            }
        });
        capacities.each().collect()
    }

    /// How many capacities have other calls than their records, of one moment. Not 0 is a fault of this module.
    pub fn capacity_faults(&self) -> usize {
        let index = self.index.lock();
        let capacities = self.capacities.lock();
        let mut of = HashMap::<u32, (u32, u32)>::new();
        self.for_each_of(&index, |named| {
            let (capacity, load) = (named.record.capacity(), named.record.load.get());
            if capacity != 0 {
                let one = of.entry(capacity).or_default();
                *one = (one.0 + load, one.1 + 1);
            }
        });
        capacities.faults(|number| of.get(&number).copied().unwrap_or_default())
    }

    /// An audit begins, see [`Load::open_account`](crate::shm::counter::Load::open_account).
    pub fn open_account(&self, number: u32) {
        if let Some((record, ranks)) = self.ranked(number) {
            ranks.open_account(record);
        }
    }

    /// Changes the state of this record: see [`Record::change`].
    pub fn change(
        &self,
        number: u32,
        now: u64,
        change: impl FnOnce(Flags, &mut Health) -> Option<(Flags, u32)>,
    ) -> Option<StateChange> {
        self.step(number, |record| record.change(now, change))?
    }

    /// Begins or ends a drain of this record's destination: see [`Record::drain`].
    pub fn drain(
        &self,
        number: u32,
        now: u64,
        change: impl FnOnce(&Record, Flags, &mut Health) -> Option<Flags>,
    ) -> Option<StateChange> {
        self.step(number, |record| record.drain(now, |flags, health| change(record, flags, health)))?
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
                if entry.record.capacity() != 0 {
                    self.capacities.lock().leave(&entry.record);
                }
                entry.ranks.store(null_mut(), Ordering::Relaxed);
                *label = Label::default();
                *entry.calls.lock() = None;
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
            Some(alone) => read_after_all_ended(&self.index, alone).numbers.for_each(each),
            None => try_lock_for(&self.index)?.numbers.for_each(each),
        }
        Some(())
    }

    /// All records, in the order of their numbers.
    pub fn for_each(&self, each: impl FnMut(Named<'_>)) {
        self.for_each_of(&self.index.lock(), each);
    }

    fn for_each_of(&self, index: &Index<A>, mut each: impl FnMut(Named<'_>)) {
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

mod ejections;
#[cfg(all(test, not(loom)))]
mod tests;

pub use ejections::Time;
