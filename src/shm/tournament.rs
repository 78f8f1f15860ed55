//! A tournament tree: many numbers, each of which may change at any time, and the least of them at hand. A change takes a number of
//! steps that grows with the logarithm of how many numbers there are.
//!
//! For use behind a lock.
//!
//! Model: the numbers lie in nodes of [`WIDTH`]; each node's least is a number of a node one level up, and so on until one
//! node is left. A node is a cache line, so a change touches a line a level, and most changes end where a node's least stays
//! the same.

use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::ops::Range;

/// Numbers of a node.
pub const WIDTH: usize = 8;
/// In the place of no number. It is never the least where there is another.
pub const NONE: u64 = u64::MAX;
/// Enough for as many numbers as memory has.
const LEVELS: usize = 20;

/// Numbers with their least.
pub struct Tournament<A: Alloc> {
    /// The nodes of all levels, those of the numbers first.
    nodes: Slice<Node, A>,
    /// Where each level begins.
    levels: [u32; LEVELS],
    /// Levels in use.
    height: usize,
}

#[derive(Clone, Copy)]
struct Node([u64; WIDTH]);

// SAFETY: numbers.
unsafe impl Shared for Node {}
// SAFETY: a shared slice and numbers.
unsafe impl<A: Alloc> Shared for Tournament<A> {}

impl Node {
    fn least(&self) -> u64 {
        self.0.iter().fold(NONE, |least, &one| least.min(one))
    }

    /// The first place of this number. Without a branch a number: where it is cannot be foretold.
    fn place_of(&self, number: u64) -> Option<usize> {
        let places = self.0.iter().rev().fold(0u32, |places, &one| places << 1 | u32::from(one == number));
        (places != 0).then_some(places.trailing_zeros() as usize)
    }
}

impl<A: Alloc> Tournament<A> {
    /// Room for at least so many numbers, none of them there.
    pub fn try_with_room_in(room: usize, alloc: A) -> Result<Self, OutOfMemory> {
        let (mut levels, mut height, mut nodes) = ([0; LEVELS], 0, 0);
        let mut width = room.div_ceil(WIDTH).max(1);
        for level in &mut levels {
            *level = nodes as u32;
            nodes += width;
            height += 1;
            if width == 1 {
                break;
            }
            width = width.div_ceil(WIDTH);
        }
        let nodes = Slice::try_from_fn_in(nodes, |_| Node([NONE; WIDTH]), alloc)?;
        Ok(Self { nodes, levels, height })
    }

    /// The same numbers, with room for at least so many.
    pub fn wider(&self, room: usize, alloc: A) -> Result<Self, OutOfMemory> {
        let mut wider = Self::try_with_room_in(room, alloc)?;
        wider.fill((0..room.min(self.room())).map(|at| self.get(at)));
        Ok(wider)
    }

    /// How many numbers it has room for.
    pub fn room(&self) -> usize {
        let numbers = self.levels.get(1).filter(|_| self.height > 1);
        numbers.map_or(1, |&nodes| nodes as usize) * WIDTH
    }

    fn node(&self, level: usize, at: usize) -> Option<&Node> {
        self.nodes.get(*self.levels.get(level)? as usize + at)
    }

    fn node_mut(&mut self, level: usize, at: usize) -> Option<&mut Node> {
        let at = *self.levels.get(level)? as usize + at;
        self.nodes.get_mut(at)
    }

    /// The number at this place; [`NONE`] where there is none.
    pub fn get(&self, at: usize) -> u64 {
        self.node(0, at / WIDTH).and_then(|node| node.0.get(at % WIDTH)).copied().unwrap_or(NONE)
    }

    /// Puts a number at this place.
    pub fn set(&mut self, at: usize, number: u64) {
        let (mut at, mut number) = (at, number);
        for level in 0..self.height {
            let Some(node) = self.node_mut(level, at / WIDTH) else { return };
            let Some(place) = node.0.get_mut(at % WIDTH) else { return };
            let before = core::mem::replace(place, number);
            at /= WIDTH;
            // The least of the node before. Nothing is above the last one.
            let above = self.node(level + 1, at / WIDTH).filter(|_| level + 1 < self.height);
            let Some(&least) = above.and_then(|node| node.0.get(at % WIDTH)) else { return };
            if number > least {
                if before != least {
                    return;
                }
                number = self.node(level, at).map_or(NONE, Node::least);
            }
            if number == least {
                return;
            }
        }
    }

    /// Takes these numbers, which are fewer than there is room for, in the place of all others: number by number, from the
    /// first place on.
    pub fn fill(&mut self, numbers: impl Iterator<Item = u64>) {
        self.nodes.fill(Node([NONE; WIDTH]));
        for (at, number) in numbers.enumerate() {
            let place = self.node_mut(0, at / WIDTH).and_then(|node| node.0.get_mut(at % WIDTH));
            place.into_iter().for_each(|place| *place = number);
        }
        for level in 1..self.height {
            for at in 0..self.width(level - 1) {
                let least = self.node(level - 1, at).map_or(NONE, Node::least);
                let place = self.node_mut(level, at / WIDTH).and_then(|node| node.0.get_mut(at % WIDTH));
                place.into_iter().for_each(|place| *place = least);
            }
        }
    }

    /// Nodes of a level that is not the last.
    fn width(&self, level: usize) -> usize {
        let ends = self.levels.get(level).zip(self.levels.get(level + 1));
        ends.map_or(0, |(start, end)| (end - start) as usize)
    }

    /// The least number and its place; nothing where there is none.
    pub fn least(&self) -> Option<(usize, u64)> {
        let top = self.height.checked_sub(1)?;
        let least = self.node(top, 0)?.least();
        if least == NONE {
            return None;
        }
        let down = |at: usize, level: usize| Some(at * WIDTH + self.node(level, at)?.place_of(least)?);
        let at = (0..=top).rev().try_fold(0, down)?;
        Some((at, least))
    }

    /// The least number at these places, and its place; nothing where there is none.
    pub fn least_of(&self, places: Range<usize>) -> Option<(usize, u64)> {
        let (mut from, mut to) = (places.start, places.end);
        // The level and the place there, with the number.
        let mut best = (0, 0, NONE);
        for level in 0..self.height {
            let mut look = |at: usize| {
                let number = self.node(level, at / WIDTH).and_then(|node| node.0.get(at % WIDTH));
                if let Some(&number) = number.filter(|number| **number < best.2) {
                    best = (level, at, number);
                }
            };
            // Whole nodes are seen one level up; the last level has no other.
            let last = level + 1 == self.height;
            while from < to && (last || from % WIDTH != 0) {
                look(from);
                from += 1;
            }
            while from < to && to % WIDTH != 0 {
                to -= 1;
                look(to);
            }
            if from >= to {
                break;
            }
            (from, to) = (from / WIDTH, to / WIDTH);
        }
        let (level, at, least) = best;
        if least == NONE {
            return None;
        }
        let down = |at: usize, level: usize| Some(at * WIDTH + self.node(level, at)?.place_of(least)?);
        let at = (0..level).rev().try_fold(at, down)?;
        Some((at, least))
    }

    /// Whether each node's least is what the node above it says.
    pub fn is_sound(&self) -> bool {
        (1..self.height).all(|level| {
            let below = |at: usize| self.node(level - 1, at).map_or(NONE, Node::least);
            (0..self.width(level - 1)).all(|at| {
                let said = self.node(level, at / WIDTH).and_then(|node| node.0.get(at % WIDTH));
                said.copied() == Some(below(at))
            })
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_is_what_a_walk_finds(
            room in 1usize..600, changes in prop::collection::vec((any::<prop::sample::Index>(), 0u64..50), 1..400)
        ) {
            let mut tournament = Tournament::try_with_room_in(room, Heap).unwrap();
            prop_assert!(tournament.room() >= room);
            let mut plain = vec![NONE; tournament.room()];
            for (at, number) in changes {
                let (at, number) = (at.index(plain.len()), if number < 10 { NONE } else { number });
                tournament.set(at, number);
                plain[at] = number;
                let least = *plain.iter().min().unwrap();
                match tournament.least() {
                    None => prop_assert_eq!(least, NONE),
                    Some((at, number)) => prop_assert_eq!((number, plain[at]), (least, least)),
                }
                prop_assert!(tournament.is_sound());
                let (from, to) = (at * 7 % plain.len(), at);
                let walked = plain.get(from..=to).and_then(|part| part.iter().min()).copied();
                let found = tournament.least_of(from..to + 1);
                prop_assert_eq!(found.map_or(NONE, |(_, number)| number), walked.unwrap_or(NONE));
                prop_assert!(found.is_none_or(|(at, number)| at >= from && at <= to && plain[at] == number));
            }
            let mut larger = Tournament::try_with_room_in(room * 3, Heap).unwrap();
            larger.set(room, 1);
            larger.fill((0..tournament.room()).map(|at| tournament.get(at)));
            prop_assert_eq!(larger.least(), tournament.least());
            prop_assert!(larger.is_sound());
        }
    }

    #[test]
    fn levels_grow_with_the_logarithm() {
        let height = |room| Tournament::try_with_room_in(room, Heap).unwrap().height;
        assert_eq!([1, 8, 9, 64, 65, 512, 30_000].map(height), [1, 1, 2, 2, 3, 3, 5]);
    }
}
