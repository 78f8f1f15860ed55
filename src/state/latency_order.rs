//! The usable positions of a set by their priority after latency, the highest first: algorithm 13 reads the best ones, and those to
//! try after them, without a walk over the set.
//!
//! Model: a word for each position, sorted: priority after latency, reversed, then the position. So those of one priority are
//! neighbours in the order of the set, and a binary search finds the one whose turn it is. Beside them the same words by position,
//! so that a change finds the old one. A position that is not usable has a word that comes after all others.
//!
//! A choice reads the words without a lock. If a state or a latency has changed since they were written, the choice takes a lock and
//! moves the words of the records that changed, which the [`Ranks`](super::Ranks) remember; it sorts all anew if too many changed.
//! Either may change right after that, so a caller checks the record of the position that it finds.

use super::kept::Kept;
use super::registry::Registry;
use super::set::Set;
use super::{Destination, Record};
use crate::select::latency;
use crate::shm::sheet::{Sheet, Words, WordsMut};
use crate::shm::{Alloc, Shared};

/// Where the sorted words begin. Before them: changes so far when they were right, and one; 0 is that there are none.
const SORTED: usize = 1;
/// The word of a position that is not usable.
const ABSENT: u64 = u64::MAX;

/// The order by priority after latency of a set in one generation.
pub struct LatencyOrder<A: Alloc>(Kept<A>);

// SAFETY: shared words with a lock between processes.
unsafe impl<A: Alloc> Shared for LatencyOrder<A> {}

/// Where the words of a set of so many are.
#[derive(Clone, Copy)]
struct Layout {
    len: usize,
}

impl Layout {
    /// The word of this position.
    fn of(self, at: usize) -> usize {
        SORTED + self.len + at
    }

    fn room(self) -> usize {
        self.of(self.len)
    }

    /// How many of the sorted words from this place on come before this one. `get` gives the word at a place.
    fn before(self, from: usize, word: u64, get: impl Fn(usize) -> u64) -> usize {
        let (mut low, mut high) = (from, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if get(SORTED + middle) < word { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// The word of a position with this priority after latency.
fn word(adjusted: i32, at: usize) -> u64 {
    // Reversed: the highest priority has the smallest word.
    let class = (adjusted ^ i32::MAX) as u32;
    u64::from(class) << 32 | at as u64
}

fn word_of(one: &Destination, record: &Record, at: usize) -> u64 {
    if !record.takes_new_calls() {
        return ABSENT;
    }
    word(latency::adjusted(one.priority, one.latency_of(record)), at)
}

impl<A: Alloc> LatencyOrder<A> {
    /// Not known yet.
    pub fn new_in(alloc: A) -> Self {
        Self(Kept::new_in(alloc))
    }

    /// Whether a choice has looked at it.
    pub fn is_in_use(&self) -> bool {
        self.0.is_in_use()
    }

    /// What `look` makes of the order, which is as new as the last change of a state or latency; nothing if there is no memory for it.
    pub fn look<T>(&self, set: &Set<A>, registry: &Registry<A>, look: impl Fn(&Order<'_>) -> T) -> Option<T> {
        let layout = Layout { len: set.len() };
        let renew = |sheet: &Sheet<A>| renew(sheet, layout, set, registry);
        self.0.look(layout.room(), set.ranks.latency_changes(), renew, |words| {
            Some(look(&Order { words, layout }))
        })
    }
}

/// Makes the order right, and says for how many changes it is.
fn renew<A: Alloc>(sheet: &Sheet<A>, layout: Layout, set: &Set<A>, registry: &Registry<A>) -> u64 {
    let right = sheet.read(|words| words.get(0)).flatten().unwrap_or(0);
    let (now, changed) = set.ranks.latencies_changed_since(right.wrapping_sub(1));
    match changed.filter(|_| right > 0) {
        Some(records) => sheet.edit(|words| {
            for number in records {
                let Some(record) = registry.record(number) else { continue };
                let Some(at) = set.place_of(number, record) else { continue };
                let Some(one) = set.destination(at) else { continue };
                put(words, layout, at, word_of(one, record, at));
            }
            words.put(0, now.wrapping_add(1));
        }),
        None => {
            let all = set.blocks.runs().flat_map(|(_, block)| block.destinations()).enumerate();
            let of = |(at, one): (usize, &Destination)| {
                registry.record(one.record).map_or(ABSENT, |record| word_of(one, record, at))
            };
            let by_position: Vec<u64> = all.map(of).collect();
            let mut sorted = by_position.clone();
            sorted.sort_unstable();
            let stamp = core::iter::once(now.wrapping_add(1));
            sheet.write(stamp.chain(sorted).chain(by_position));
        }
    }
    now
}

/// Gives this position another word.
fn put(words: &WordsMut<'_>, layout: Layout, at: usize, new: u64) {
    let old = words.get(layout.of(at));
    if new == old {
        return;
    }
    words.put(layout.of(at), new);
    let place = |word: u64| layout.before(0, word, |at| words.get(at));
    let (from, to) = (place(old), place(new));
    let shift = |from: usize, to: usize| words.put(SORTED + to, words.get(SORTED + from));
    if from < to {
        (from + 1..to).for_each(|at| shift(at, at - 1));
        words.put(SORTED + to - 1, new);
    } else {
        (to..from).rev().for_each(|at| shift(at, at + 1));
        words.put(SORTED + to, new);
    }
}

/// Usable positions by priority after latency, while they are looked at.
pub struct Order<'a> {
    words: &'a Words<'a>,
    layout: Layout,
}

impl<'a> Order<'a> {
    /// All positions, the highest priority first; among equals first those that are not before `turn`, then those before it.
    pub fn from(&self, turn: usize) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let mut class = Class::of(self, turn, 0);
        core::iter::from_fn(move || {
            loop {
                let now = class.as_mut()?;
                if let Some(at) = now.next(self) {
                    return Some(at);
                }
                class = Class::of(self, turn, now.end.max(now.begin + 1));
            }
        })
    }

    /// The sorted word at this place.
    fn sorted(&self, place: usize) -> u64 {
        if place < self.layout.len { self.words.get(SORTED + place).unwrap_or(ABSENT) } else { ABSENT }
    }
}

/// The positions of one priority.
struct Class {
    /// The upper half of their words.
    upper: u64,
    /// Where they begin among the sorted ones.
    begin: usize,
    /// Where the one is whose turn it is.
    turn: usize,
    /// Where they end, once that was seen; before, it is where the next one is.
    end: usize,
    /// After the end was seen: where the next one is.
    around: Option<usize>,
}

impl Class {
    /// The class that begins at this place.
    fn of(order: &Order<'_>, turn: usize, begin: usize) -> Option<Self> {
        let first = order.sorted(begin);
        if first == ABSENT {
            return None;
        }
        let upper = first >> 32;
        let turn =
            order.layout.before(begin, upper << 32 | turn as u64, |at| order.words.get(at).unwrap_or(ABSENT));
        Some(Self { upper, begin, turn, end: turn, around: None })
    }

    fn next(&mut self, order: &Order<'_>) -> Option<usize> {
        let here = |place: usize| {
            let word = order.sorted(place);
            (word >> 32 == self.upper && word != ABSENT).then_some(word as u32 as usize)
        };
        if self.around.is_none() {
            if let Some(at) = here(self.end) {
                self.end += 1;
                return Some(at);
            }
        }
        let next = self.around.unwrap_or(self.begin);
        self.around = Some(next + 1);
        here(next).filter(|_| next < self.turn)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use proptest::prelude::*;

    /// A position gets a priority, or is not usable.
    fn change() -> impl Strategy<Value = (prop::sample::Index, Option<i32>)> {
        let adjusted = prop_oneof![4 => -2..4, 1 => any::<i32>()];
        (any::<prop::sample::Index>(), prop::option::weighted(0.8, adjusted))
    }

    /// What a sort finds.
    fn sorted(priorities: &[Option<i32>], turn: usize) -> Vec<usize> {
        let all = (turn..priorities.len()).chain(0..turn);
        let mut all: Vec<_> = all.filter_map(|at| Some((at, (*priorities.get(at)?)?))).collect();
        all.sort_by_key(|&(_, adjusted)| core::cmp::Reverse(adjusted));
        all.into_iter().map(|(at, _)| at).collect()
    }

    proptest! {
        #[test]
        fn words_that_are_moved_stay_sorted(
            len in 1usize..40, changes in prop::collection::vec(change(), 0..200), turn: prop::sample::Index
        ) {
            let (layout, turn) = (Layout { len }, turn.index(len));
            let sheet = Sheet::new_in(Heap);
            prop_assert_eq!(sheet.make_room(layout.room()).unwrap(), 1 + 2 * len);
            sheet.write(core::iter::repeat_n(ABSENT, 1 + 2 * len));
            let mut priorities = vec![None; len];
            for (at, priority) in changes {
                let at = at.index(len);
                priorities[at] = priority;
                sheet.edit(|words| put(words, layout, at, priority.map_or(ABSENT, |adjusted| word(adjusted, at))));
                let found = sheet.read(|words| Order { words, layout }.from(turn).collect::<Vec<_>>());
                prop_assert_eq!(found.unwrap(), sorted(&priorities, turn));
            }
        }

        /// A reader may see words of two writes; it must come to an end.
        #[test]
        fn any_words_are_read_to_an_end(
            len in 1usize..40, words in prop::collection::vec(prop_oneof![any::<u64>(), 0..40u64, Just(ABSENT)], 81),
            turn in 0usize..50
        ) {
            let layout = Layout { len };
            let sheet = Sheet::new_in(Heap);
            sheet.make_room(layout.room()).unwrap();
            sheet.write(words.into_iter());
            let seen = sheet.read(|words| Order { words, layout }.from(turn).count());
            prop_assert!(seen.unwrap() <= 2 * len);
        }
    }
}
