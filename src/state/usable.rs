//! Which positions of a set are usable, as bits: the next usable one after any position is found in a few looks, however many
//! are down between them.
//!
//! Model: one bit for each position. For each group of 64 words of bits there is a mask that says which of the words are not 0, and a
//! count of the bits that are set. So the next usable position, and the `n`th one, are found without a walk.
//!
//! A choice reads the bits without a lock. If a state has changed since they were written, the choice takes a lock and writes the bits
//! of the records that changed, which the [`Ranks`](super::Ranks) remember, or all bits if too many changed. A state may change right
//! after that, so a caller checks the record of the position that it finds.

use super::kept::Kept;
use super::record::Record;
use super::registry::Registry;
use super::set::Set;
use crate::shm::sheet::{Sheet, Words, WordsMut};
use crate::shm::{Alloc, Shared};

/// Bits of a word.
const WIDTH: usize = u64::BITS as usize;
/// Where the bits begin. Before them: changes of states so far when they were right, and one; 0 is that there are none.
const BITS: usize = 1;

/// The usable positions of a set in one generation.
pub struct Usable<A: Alloc>(Kept<A>);

// SAFETY: shared words with a lock between processes.
unsafe impl<A: Alloc> Shared for Usable<A> {}

/// Where the words of a set are.
#[derive(Clone, Copy)]
struct Layout {
    /// Words of bits.
    words: usize,
    /// Groups of so many words as a word has bits.
    groups: usize,
}

impl Layout {
    fn of(len: usize) -> Self {
        let words = len.div_ceil(WIDTH);
        Self { words, groups: words.div_ceil(WIDTH) }
    }

    /// Which words of this group are not 0.
    fn mask(self, group: usize) -> usize {
        BITS + self.words + group
    }

    /// How many bits this group has.
    fn count(self, group: usize) -> usize {
        BITS + self.words + self.groups + group
    }

    fn room(self) -> usize {
        self.count(self.groups)
    }
}

impl<A: Alloc> Usable<A> {
    /// Not known yet.
    pub fn new_in(alloc: A) -> Self {
        Self(Kept::new_in(alloc))
    }

    /// Whether a choice has looked at it.
    pub fn is_in_use(&self) -> bool {
        self.0.is_in_use()
    }

    /// What `look` makes of the bits, which are as new as the last change of a state; nothing if there is no memory for them.
    pub fn look<T>(&self, set: &Set<A>, registry: &Registry<A>, look: impl Fn(&Bits<'_>) -> T) -> Option<T> {
        let layout = Layout::of(set.len());
        let renew = |sheet: &Sheet<A>| renew(sheet, layout, set, registry);
        self.0.look(layout.room(), set.ranks.changes(), renew, |words| Some(look(&Bits { words, layout })))
    }
}

/// Makes the bits right, and says for how many changes of states they are.
fn renew<A: Alloc>(sheet: &Sheet<A>, layout: Layout, set: &Set<A>, registry: &Registry<A>) -> u64 {
    let right = sheet.read(|words| words.get(0)).flatten().unwrap_or(0);
    let (now, changed) = set.ranks.changed_since(right.wrapping_sub(1));
    let usable = |number: u32| registry.record(number).is_some_and(Record::takes_new_calls);
    match changed.filter(|_| right > 0) {
        Some(records) => sheet.edit(|words| {
            for number in records {
                let place = registry.record(number).and_then(|record| set.place_of(number, record));
                place.into_iter().for_each(|at| put(words, layout, at, usable(number)));
            }
            words.put(0, now.wrapping_add(1));
        }),
        None => {
            let mut words = vec![0; layout.room()];
            let all = set.blocks.runs().flat_map(|(_, block)| block.destinations());
            for (at, _) in all.enumerate().filter(|(_, one)| usable(one.record)) {
                let word = at / WIDTH;
                set_in(&mut words, BITS + word, 1 << (at % WIDTH));
                set_in(&mut words, layout.mask(word / WIDTH), 1 << (word % WIDTH));
                words.get_mut(layout.count(word / WIDTH)).into_iter().for_each(|count| *count += 1);
            }
            words.first_mut().into_iter().for_each(|right| *right = now.wrapping_add(1));
            sheet.write(words.into_iter());
        }
    }
    now
}

fn set_in(words: &mut [u64], at: usize, bits: u64) {
    words.get_mut(at).into_iter().for_each(|word| *word |= bits);
}

/// Says whether this position is usable.
fn put(words: &WordsMut<'_>, layout: Layout, at: usize, usable: bool) {
    let (word, bit) = (at / WIDTH, 1 << (at % WIDTH));
    let group = word / WIDTH;
    let before = words.get(BITS + word);
    let now = if usable { before | bit } else { before & !bit };
    if now == before {
        return;
    }
    words.put(BITS + word, now);
    let (mask, in_mask) = (words.get(layout.mask(group)), 1 << (word % WIDTH));
    words.put(layout.mask(group), if now == 0 { mask & !in_mask } else { mask | in_mask });
    let count = words.get(layout.count(group));
    words.put(layout.count(group), if usable { count + 1 } else { count.wrapping_sub(1) });
}

/// Usable positions, while they are looked at.
pub struct Bits<'a> {
    words: &'a Words<'a>,
    layout: Layout,
}

impl Bits<'_> {
    fn word(&self, at: usize) -> u64 {
        if at < self.layout.words { self.words.get(BITS + at).unwrap_or(0) } else { 0 }
    }

    fn mask(&self, group: usize) -> Option<u64> {
        (group < self.layout.groups).then(|| self.words.get(self.layout.mask(group)))?
    }

    fn group_count(&self, group: usize) -> Option<usize> {
        let count = (group < self.layout.groups).then(|| self.words.get(self.layout.count(group)))?;
        count.map(|count| count as usize)
    }

    /// The first usable position that is not before this one.
    pub fn next(&self, from: usize) -> Option<usize> {
        let word = from / WIDTH;
        let here = self.word(word) & u64::MAX << (from % WIDTH);
        if here != 0 {
            return Some(word * WIDTH + here.trailing_zeros() as usize);
        }
        let mut group = (word + 1) / WIDTH;
        let mut mask = self.mask(group)? & u64::MAX << ((word + 1) % WIDTH);
        while mask == 0 {
            group += 1;
            mask = self.mask(group)?;
        }
        let word = group * WIDTH + mask.trailing_zeros() as usize;
        Some(word * WIDTH + self.word(word).trailing_zeros() as usize)
    }

    /// How many of the first `field` positions are usable.
    pub fn count(&self, field: usize) -> usize {
        let all: usize = (0..self.layout.groups).filter_map(|group| self.group_count(group)).sum();
        let mut beyond = 0;
        let mut from = field;
        while let Some(at) = self.next(from) {
            beyond += 1;
            from = at + 1;
        }
        all.saturating_sub(beyond)
    }

    /// The usable position before which there are so many.
    pub fn nth(&self, mut before: usize) -> Option<usize> {
        let mut group = 0;
        loop {
            let count = self.group_count(group)?;
            if before < count {
                break;
            }
            before -= count;
            group += 1;
        }
        for word in group * WIDTH..(group + 1) * WIDTH {
            let mut bits = self.word(word);
            let count = bits.count_ones() as usize;
            if before < count {
                (0..before).for_each(|_| bits &= bits - 1);
                return Some(word * WIDTH + bits.trailing_zeros() as usize);
            }
            before -= count;
        }
        None
    }
}
