//! Words that are replaced as a whole, one writer at a time, while others read them without a lock.
//!
//! Model: a sequence lock (seqlock). The version is odd while somebody writes. A reader compares the version before and after it reads
//! the words: if it is even and the same, the words belong to one write. Else the reader gets nothing, and must do without.
//!
//! Sync points: `written`: who sees the even version sees the words stored before it. `torn`: who sees one word of a write sees
//! its odd version at the second look.
//!
//! The room for words is made once and stays: a reader may look at it whenever it likes. If a writer dies in the middle, the
//! version stays odd.

use super::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::ptr::{NonNull, null_mut};

/// Words with their version.
pub struct Sheet<A: Alloc> {
    version: AtomicU64,
    words: AtomicPtr<AtomicU64>,
    /// How many words there is room for. Stored after `words` (sync point `room`).
    room: AtomicUsize,
    alloc: A,
}

// SAFETY: atomics, and a pointer to atomics in shared memory.
unsafe impl<A: Alloc> Shared for Sheet<A> {}
// SAFETY: readers and writers meet only at atomics.
unsafe impl<A: Alloc> Sync for Sheet<A> {}
// SAFETY: owns its words, which are bound to no thread.
unsafe impl<A: Alloc> Send for Sheet<A> {}

impl<A: Alloc> Sheet<A> {
    /// Without room.
    pub fn new_in(alloc: A) -> Self {
        let (words, room) = (AtomicPtr::new(null_mut()), AtomicUsize::new(0));
        Self { version: AtomicU64::new(0), words, room, alloc }
    }

    fn words(&self) -> &[AtomicU64] {
        let room = self.room.load(Ordering::Acquire); // sync point `room`
        match NonNull::new(self.words.load(Ordering::Relaxed)).filter(|_| room > 0) {
            // SAFETY: `make_room` stored a slice of this length before, which is there as long as `self`.
            Some(words) => unsafe { core::slice::from_raw_parts(words.as_ptr(), room) },
            None => &[],
        }
    }

    /// Whether it has room for any word.
    pub fn has_room(&self) -> bool {
        !self.words().is_empty()
    }

    /// Makes room for so many words, if there is none. One caller at a time. Says how much there is.
    pub fn make_room(&self, len: usize) -> Result<usize, OutOfMemory> {
        if !self.has_room() {
            let words = Slice::try_from_fn_in(len, |_| AtomicU64::new(0), self.alloc)?;
            let words = core::mem::ManuallyDrop::new(words);
            self.words.store(words.as_ptr().cast_mut(), Ordering::Relaxed);
            self.room.store(len, Ordering::Release); // sync point `room`
        }
        Ok(self.words().len())
    }

    /// Replaces all words by these, as far as there is room. One caller at a time.
    pub fn write(&self, words: impl Iterator<Item = u64>) {
        self.edit(|sheet| {
            sheet.0.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed))
        });
    }

    /// Changes some words, as one write. One caller at a time.
    pub fn edit(&self, change: impl FnOnce(&WordsMut<'_>)) {
        let version = self.version.load(Ordering::Relaxed) | 1;
        self.version.store(version, Ordering::Relaxed);
        fence(Ordering::Release); // sync point `torn`
        change(&WordsMut(self.words()));
        self.version.store(version.wrapping_add(1), Ordering::Release); // sync point `written`
    }

    /// What `look` makes of the words; nothing if somebody writes meanwhile. `look` may see words of two writes together:
    /// what it makes of those is thrown away.
    pub fn read<T>(&self, look: impl FnOnce(&Words<'_>) -> T) -> Option<T> {
        let version = self.version.load(Ordering::Acquire); // sync point `written`
        if version % 2 == 1 {
            return None;
        }
        let seen = look(&Words(self.words()));
        fence(Ordering::Acquire); // sync point `torn`
        (self.version.load(Ordering::Relaxed) == version).then_some(seen)
    }
}

impl<A: Alloc> Drop for Sheet<A> {
    fn drop(&mut self) {
        let (words, room) = (self.words.load(Ordering::Relaxed), self.room.load(Ordering::Relaxed));
        if let Some(words) = NonNull::new(words) {
            // SAFETY: made by `make_room` as a slice of this length in this allocator; `&mut self` is the only user left.
            drop(unsafe { Slice::from_raw_parts(words, room, self.alloc) });
        }
    }
}

/// Words, some of which may be of another write.
pub struct Words<'a>(&'a [AtomicU64]);

/// The words from this place on; 0 where there is no room for all of them.
fn run_of<const LEN: usize>(words: &[AtomicU64], at: usize) -> [u64; LEN] {
    let there = words.get(at..).and_then(|words| words.first_chunk::<LEN>());
    there.map_or([0; LEN], |words| words.each_ref().map(|word| word.load(Ordering::Relaxed)))
}

impl Words<'_> {
    /// The word at this place.
    pub fn get(&self, at: usize) -> Option<u64> {
        self.0.get(at).map(|word| word.load(Ordering::Relaxed))
    }

    /// The words from this place on; 0 where there is no room for all of them.
    pub fn run<const LEN: usize>(&self, at: usize) -> [u64; LEN] {
        run_of(self.0, at)
    }
}

/// Words that are being changed.
pub struct WordsMut<'a>(&'a [AtomicU64]);

impl WordsMut<'_> {
    /// The word at this place; 0 where there is no room.
    pub fn get(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// See [`Words::run`].
    pub fn run<const LEN: usize>(&self, at: usize) -> [u64; LEN] {
        run_of(self.0, at)
    }

    /// Puts a word at this place, if there is room.
    pub fn put(&self, at: usize, word: u64) {
        self.0.get(at).into_iter().for_each(|place| place.store(word, Ordering::Relaxed));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;

    #[test]
    fn words_are_those_of_the_last_write_and_none_while_one_is_under_way() {
        let sheet = Sheet::new_in(Heap);
        sheet.write([7].into_iter());
        assert_eq!(sheet.read(|words| words.get(0)), Some(None), "there is no room");
        assert_eq!([3, 9].map(|len| sheet.make_room(len).unwrap()), [3, 3]);
        sheet.write(1..=9);
        assert_eq!(sheet.read(|words| [0, 2, 3].map(|at| words.get(at))), Some([Some(1), Some(3), None]));
        sheet.write(core::iter::once(4).chain(core::iter::once_with(|| {
            assert_eq!(sheet.read(|_| ()), None);
            5
        })));
        assert_eq!(sheet.read(|words| [0, 1, 2].map(|at| words.get(at))), Some([Some(4), Some(5), Some(3)]));
        assert_eq!(sheet.read(|_| sheet.write([6].into_iter())), None, "a write between the looks");
        sheet.edit(|words| {
            assert_eq!(sheet.read(|_| ()), None, "an edit is a write");
            assert_eq!([0, 2, 3].map(|at| words.get(at)), [6, 3, 0]);
            words.put(1, 8);
            words.put(3, 8);
        });
        assert_eq!(sheet.read(|words| [0, 1, 2].map(|at| words.get(at))), Some([Some(6), Some(8), Some(3)]));
    }
}
