//! Shares of many positions, with the sums of all shares before each: which position a number below the sum of all falls on, and the
//! greatest common divisor of any run of shares. A change, and each question, takes a number of steps that grows with the logarithm of how
//! many positions there are.
//!
//! The shares are words that somebody else holds. A reader may find words that do
//! not belong together: what it gets then means nothing, but it gets it.
//!
//! Model: a tree. The leaves are the shares; a node one level up has the sum, the divisor and the number of [`WIDTH`] neighbours, and so
//! on until one node would be left. Of the sums each level keeps those of a node's neighbours up to each of them: a search reads
//! one cache line of these a level, and compares all at once.

use core::cell::Cell;

/// Neighbours that have a node together: their sums are a cache line.
pub const WIDTH: usize = 8;
/// Enough for as many positions as a `u32` counts.
const LEVELS: usize = 11;
/// Words of a leaf: the sum up to it, its own.
const LEAF: u32 = 2;
/// Words of a node: the sum up to it, its divisor, its number.
const NODE: u32 = 3;

/// What some positions have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// How many of them have a share, be it 0.
    pub count: u64,
    /// The sum of their shares.
    pub sum: u64,
    /// The greatest common divisor of their shares; 0 where all are 0.
    pub divisor: u64,
}

impl Total {
    fn of_leaf(word: u64) -> Self {
        let share = word.saturating_sub(1);
        Self { count: (word > 0).into(), sum: share, divisor: share }
    }

    fn and(self, other: Self) -> Self {
        let Self { count, sum, divisor } = other;
        Self {
            count: self.count.wrapping_add(count),
            sum: self.sum.wrapping_add(sum),
            divisor: gcd(self.divisor, divisor),
        }
    }
}

/// The greatest common divisor; that of a number and 0 is the number.
pub fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// The most that a share counts: sums of as many as memory has stay below 2⁶³.
const MOST: u64 = 1 << 40;

/// The word of a position with this share; one without a share is not there, which is something else than a share of 0.
pub fn leaf(share: Option<u64>) -> u64 {
    share.map_or(0, |share| share.min(MOST) + 1)
}

/// Where the words of each level are. Whoever reads gives the words of [`WIDTH`] neighbours at once.
#[derive(Clone, Copy)]
pub struct Shape {
    levels: [Level; LEVELS],
    height: usize,
}

#[derive(Clone, Copy, Default)]
struct Level {
    /// Where its words begin.
    start: u32,
    /// How many nodes it has, or leaves; with those that are not used, so that the last ones have [`WIDTH`] neighbours, too.
    len: u32,
}

impl Level {
    /// The place of one of the words of this node: the first, second or third.
    fn place(&self, part: usize, node: usize) -> usize {
        self.start as usize + part * self.len as usize + node
    }
}

impl Shape {
    /// Of so many positions, the words of which begin at this one.
    pub fn new(len: usize, start: usize) -> Self {
        let mut shape = Self { levels: [Level::default(); LEVELS], height: 0 };
        let (mut start, mut len, mut words) = (start as u32, len as u32, LEAF);
        for level in &mut shape.levels {
            len = len.next_multiple_of(WIDTH as u32);
            *level = Level { start, len };
            shape.height += 1;
            if len <= WIDTH as u32 {
                break;
            }
            (start, len, words) = (start + len * words, len / WIDTH as u32, NODE);
        }
        shape
    }

    fn levels(&self) -> &[Level] {
        self.levels.get(..self.height).unwrap_or_default()
    }

    /// Where its words end.
    pub fn end(&self) -> usize {
        let words = if self.height > 1 { NODE } else { LEAF };
        self.levels().last().map_or(0, |top| (top.start + top.len * words) as usize)
    }

    /// All words, from words of leaves made by [`leaf`].
    pub fn words_of(&self, leaves: impl Iterator<Item = u64>) -> Vec<u64> {
        let Some(bottom) = self.levels().first() else { return Vec::new() };
        let start = bottom.start as usize;
        let mut all = vec![0; self.end() - start];
        let places = all.iter_mut().skip(bottom.place(1, 0) - start).take(bottom.len as usize);
        places.zip(leaves).for_each(|(place, leaf)| *place = leaf);
        let cells = Cell::from_mut(all.as_mut_slice()).as_slice_of_cells();
        let read = |at: usize| {
            let there = cells.get(at - start..).and_then(|cells| cells.first_chunk());
            there.map_or([0; WIDTH], |cells| cells.each_ref().map(Cell::get))
        };
        let put = |at: usize, word| cells.get(at - start).into_iter().for_each(|cell| cell.set(word));
        for (height, level) in self.levels().iter().enumerate() {
            (0..level.len as usize / WIDTH).for_each(|group| self.settle(height, group, &read, &put));
        }
        all
    }

    /// What each of some neighbours on this level has: those that have this node together.
    fn totals(&self, height: usize, node: usize, read: &impl Fn(usize) -> [u64; WIDTH]) -> [Total; WIDTH] {
        // A node that is not used has none below it.
        let there = |level: &&Level| node * WIDTH < level.len as usize;
        let Some(level) = self.levels().get(height).filter(there) else { return [Total::default(); WIDTH] };
        let words = |part| read(level.place(part, node * WIDTH));
        if height == 0 {
            return words(1).map(Total::of_leaf);
        }
        let mut before = 0;
        let mut totals = [Total::default(); WIDTH];
        for (total, ((up_to, divisor), count)) in
            totals.iter_mut().zip(words(0).into_iter().zip(words(1)).zip(words(2)))
        {
            *total = Total { count, sum: up_to.wrapping_sub(before), divisor };
            before = up_to;
        }
        totals
    }

    /// Writes what some neighbours on this level have, from what is below them.
    fn settle(
        &self,
        height: usize,
        group: usize,
        read: &impl Fn(usize) -> [u64; WIDTH],
        put: &impl Fn(usize, u64),
    ) {
        let Some(level) = self.levels().get(height) else { return };
        let totals = match height.checked_sub(1) {
            None => self.totals(0, group, read),
            Some(below) => core::array::from_fn(|n| {
                let all = self.totals(below, group * WIDTH + n, read);
                all.into_iter().fold(Total::default(), Total::and)
            }),
        };
        let mut up_to = 0u64;
        for (at, total) in (group * WIDTH..).zip(totals) {
            up_to = up_to.wrapping_add(total.sum);
            put(level.place(0, at), up_to);
            if height > 0 {
                put(level.place(1, at), total.divisor);
                put(level.place(2, at), total.count);
            }
        }
    }

    /// What the positions from `start` on and before `end` have together.
    pub fn between(&self, mut start: usize, mut end: usize, read: &impl Fn(usize) -> [u64; WIDTH]) -> Total {
        let mut total = Total::default();
        for height in 0..self.height {
            if start >= end {
                break;
            }
            // Those of one node, or at both ends those that are not all of a node; the others are together on the next level.
            let (first, last) = (start / WIDTH, (end - 1) / WIDTH);
            let mut add = |node: usize| {
                let here = (node * WIDTH..).zip(self.totals(height, node, read));
                let among = here.filter(|(at, _)| (start..end).contains(at));
                total = among.fold(total, |total, (_, one)| total.and(one));
            };
            if first == last {
                add(first);
                break;
            }
            let (begun, ended) = (start % WIDTH != 0, end % WIDTH != 0);
            begun.then(|| add(first));
            ended.then(|| add(last));
            (start, end) = (first + usize::from(begun), last + usize::from(!ended));
        }
        total
    }

    /// The position on which this number falls, counted from 0 over all shares.
    pub fn find(&self, mut number: u64, read: &impl Fn(usize) -> [u64; WIDTH]) -> Option<usize> {
        let mut node = 0;
        for level in self.levels().iter().rev() {
            let place = level.place(0, node * WIDTH);
            // Without a branch for each: which one it is cannot be foretold. The highest bit of the difference is 1 if the sum is past.
            let above = number.wrapping_add(1);
            let past =
                read(place).into_iter().map(|up_to| up_to.wrapping_sub(above) >> 63).sum::<u64>() as usize;
            if past >= WIDTH {
                return None;
            }
            let [before, ..] = read(place.wrapping_add(past).wrapping_sub(1));
            number = number.wrapping_sub(if past > 0 { before } else { 0 });
            node = node * WIDTH + past;
        }
        Some(node)
    }

    /// The position before which so many have a share, be it 0.
    pub fn nth(&self, mut number: u64, read: &impl Fn(usize) -> [u64; WIDTH]) -> Option<usize> {
        let mut node = 0;
        for height in (0..self.height).rev() {
            let counts = self.totals(height, node, read).map(|total| total.count);
            let past = counts.into_iter().position(|count| {
                let is_it = number < count;
                number -= if is_it { 0 } else { count };
                is_it
            })?;
            node = node * WIDTH + past;
        }
        Some(node)
    }

    /// Puts a word made by [`leaf`] at this position: `put` gets each word that changes and its place, `read` must find it there then.
    pub fn put(
        &self,
        at: usize,
        leaf: u64,
        read: &impl Fn(usize) -> [u64; WIDTH],
        put: &impl Fn(usize, u64),
    ) {
        let Some(bottom) = self.levels().first().filter(|bottom| at < bottom.len as usize) else { return };
        put(bottom.place(1, at), leaf);
        let mut group = at;
        for height in 0..self.height {
            group /= WIDTH;
            self.settle(height, group, read, put);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use proptest::prelude::*;

    const START: usize = 5;

    /// What the tree should say, from a plain list.
    fn plain(shares: &[Option<u64>]) -> Total {
        shares.iter().flatten().fold(Total::default(), |total, &share| Total {
            count: total.count + 1,
            sum: total.sum + share,
            divisor: gcd(total.divisor, share),
        })
    }

    /// On which of these the number falls.
    fn falls(worth: impl Iterator<Item = u64>, mut number: u64) -> Option<usize> {
        worth.enumerate().find_map(|(at, worth)| {
            let is_it = number < worth;
            number -= if is_it { 0 } else { worth };
            is_it.then_some(at)
        })
    }

    fn run(words: &[u64], at: usize) -> [u64; WIDTH] {
        words.get(at..).and_then(|words| words.first_chunk()).copied().unwrap_or([0; WIDTH])
    }

    fn agrees(shape: &Shape, words: &[u64], shares: &[Option<u64>], runs: &[(usize, usize)]) {
        let read = |at: usize| run(words, at.wrapping_sub(START));
        for (start, end) in runs {
            let (start, end) = (start % (shares.len() + 1), end % (shares.len() + 1));
            assert_eq!(
                shape.between(start, end, &read),
                plain(&shares[start.min(end)..end]),
                "{start}..{end}"
            );
        }
        let all = plain(shares);
        for part in 0..=16 {
            let of = |most: u64| (u128::from(most) * part / 16) as u64;
            let (share, count) = (of(all.sum), of(all.count));
            let worth = shares.iter().map(|share| share.unwrap_or(0));
            assert_eq!(shape.find(share, &read), falls(worth, share), "{share} of {}", all.sum);
            let there = shares.iter().map(|share| share.is_some().into());
            assert_eq!(shape.nth(count, &read), falls(there, count), "{count} of {}", all.count);
        }
    }

    proptest! {
        #[test]
        fn sums_divisors_and_places_are_those_of_a_plain_list(
            mut shares in prop::collection::vec(prop::option::of(0u64..12), 0..700),
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0u64..1 << 40)), 0..20),
            runs in prop::collection::vec((0usize..1_000, 0usize..1_000), 8)
        ) {
            let shape = Shape::new(shares.len(), START);
            let words = shape.words_of(shares.iter().map(|share| leaf(*share)));
            prop_assert_eq!(words.len(), shape.end() - START);
            agrees(&shape, &words, &shares, &runs);
            let words = RefCell::new(words);
            for (at, share) in changes.iter().filter(|_| !shares.is_empty()).map(|(at, share)| (at.index(shares.len()), share)).collect::<Vec<_>>() {
                shares[at] = *share;
                let read = |at: usize| run(&words.borrow(), at.wrapping_sub(START));
                let put = |at: usize, word| words.borrow_mut()[at - START] = word;
                shape.put(at, leaf(*share), &read, &put);
            }
            let words = words.into_inner();
            prop_assert_eq!(&words, &shape.words_of(shares.iter().map(|share| leaf(*share))), "as if made anew");
            agrees(&shape, &words, &shares, &runs);
        }

        #[test]
        fn words_that_do_not_belong_together_hurt_nobody(len in 0usize..3_000, seed: u64, number: u64) {
            let shape = Shape::new(len, 0);
            let any = |at: usize| core::array::from_fn(|n| ((at + n) as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert!(shape.find(number, &any).is_none_or(|at| at < len.max(1) * WIDTH));
            shape.between(0, len, &any);
        }
    }
}
