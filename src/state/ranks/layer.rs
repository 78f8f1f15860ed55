//! An index of a board's lines: the ranks of those that have room, those that share capacities beside those that do not.
//!
//! A board has one for calls as they come, and one for calls with priority, for which there is room beyond limits.

use super::Measure;
use super::groups::Groups;
use crate::shm::tournament::{NONE, Tournament};
use crate::shm::{Alloc, OutOfMemory, Shared};

pub(super) struct Layer<A: Alloc> {
    /// By calls, of lines that share nothing.
    best: Tournament<A>,
    /// By relative load, once that is asked for.
    relative: Option<Tournament<A>>,
    /// The lines that share capacities, where there are any.
    pub(super) groups: Option<Groups<A>>,
    /// Lines that have a rank, and whose capacities have room.
    open: usize,
}

// SAFETY: shared parts and a number.
unsafe impl<A: Alloc> Shared for Layer<A> {}

/// The tournaments of a layer, with more room or less.
pub(super) struct Trees<A: Alloc>(Tournament<A>, Option<Tournament<A>>);

impl<A: Alloc> Layer<A> {
    /// Room for so many lines, none of them there.
    pub(super) fn try_with_room_in(
        room: usize,
        is_relative: bool,
        groups: Option<Groups<A>>,
        alloc: A,
    ) -> Result<Self, OutOfMemory> {
        let tree = || Tournament::try_with_room_in(room, alloc);
        let relative = is_relative.then(tree).transpose()?;
        Ok(Self { best: tree()?, relative, groups, open: 0 })
    }

    /// Whether it compares relative loads.
    pub(super) fn is_relative(&self) -> bool {
        self.relative.is_some()
    }

    /// From now on it does, once they are filled in. It has room for so many lines.
    pub(super) fn compare_relative(&mut self, room: usize, alloc: A) -> Result<(), OutOfMemory> {
        self.relative = Some(Tournament::try_with_room_in(room, alloc)?);
        Ok(())
    }

    /// The same numbers with more room.
    pub(super) fn wider(&self, room: usize, alloc: A) -> Result<Trees<A>, OutOfMemory> {
        let wider = |tree: &Tournament<A>| tree.wider(room, alloc);
        Ok(Trees(wider(&self.best)?, self.relative.as_ref().map(wider).transpose()?))
    }

    /// No numbers, in other room.
    pub(super) fn emptied(&self, room: usize, alloc: A) -> Result<Trees<A>, OutOfMemory> {
        let tree = || Tournament::try_with_room_in(room, alloc);
        Ok(Trees(tree()?, self.relative.as_ref().map(|_| tree()).transpose()?))
    }

    /// Takes these.
    pub(super) fn take_trees(&mut self, Trees(best, relative): Trees<A>) {
        (self.best, self.relative) = (best, relative);
    }

    fn tree(&self, measure: Measure) -> Option<&Tournament<A>> {
        match measure {
            Measure::Calls => Some(&self.best),
            Measure::Relative => self.relative.as_ref(),
        }
    }

    /// Takes these ranks, by place, in the place of all that it has. Its groups have none yet, or are about to have others of this measure.
    pub(super) fn fill(&mut self, measure: Measure, mut ranks: Vec<u64>) {
        if let Some(groups) = &mut self.groups {
            for (at, rank) in ranks.iter_mut().enumerate() {
                if groups.has(at) {
                    groups.set(measure, at, core::mem::replace(rank, NONE));
                }
            }
        }
        match measure {
            Measure::Calls => {
                self.open = ranks.iter().filter(|rank| **rank != NONE).count();
                self.open += self.groups.as_ref().map_or(0, Groups::open);
                self.best.fill(ranks.into_iter());
            }
            Measure::Relative => self.relative.iter_mut().for_each(|tree| tree.fill(ranks.iter().copied())),
        }
    }

    /// Gives the line at this place its rank by calls.
    #[inline]
    pub(super) fn set(&mut self, at: usize, rank: u64) {
        if self.groups.is_some() && self.set_in_group(at, rank) {
            return;
        }
        self.open = self.open + usize::from(rank != NONE) - usize::from(self.best.get(at) != NONE);
        self.best.set(at, rank);
    }

    #[cold]
    fn set_in_group(&mut self, at: usize, rank: u64) -> bool {
        let Some(groups) = self.groups.as_mut().filter(|groups| groups.has(at)) else { return false };
        let before = groups.is_open(at);
        groups.set(Measure::Calls, at, rank);
        self.open = self.open + usize::from(groups.is_open(at)) - usize::from(before);
        true
    }

    /// The same by relative load.
    pub(super) fn set_relative(&mut self, at: usize, rank: u64) {
        match self.groups.as_mut().filter(|groups| groups.has(at)) {
            Some(groups) => groups.set(Measure::Relative, at, rank),
            None => self.relative.iter_mut().for_each(|tree| tree.set(at, rank)),
        }
    }

    /// Takes the ranks from the line at this place.
    pub(super) fn close(&mut self, at: usize) {
        self.set(at, NONE);
        if self.is_relative() {
            self.set_relative(at, NONE);
        }
    }

    /// The rank of the line at this place, whether its capacity has room or not.
    pub(super) fn rank(&self, measure: Measure, at: usize) -> u64 {
        match self.groups.as_ref().filter(|groups| groups.has(at)) {
            Some(groups) => groups.get(measure, at),
            None => self.tree(measure).map_or(NONE, |tree| tree.get(at)),
        }
    }

    /// Whether it takes calls and has room.
    fn is_open(&self, at: usize) -> bool {
        match self.groups.as_ref().filter(|groups| groups.has(at)) {
            Some(groups) => groups.is_open(at),
            None => self.best.get(at) != NONE,
        }
    }

    /// Whether it takes calls and has room, as far as it goes itself.
    pub(super) fn has_own_room(&self, at: usize) -> bool {
        self.rank(Measure::Calls, at) != NONE
    }

    /// Lines that take calls and have room.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Lines that take calls and have room themselves, though their capacities may have none.
    pub(super) fn with_own_room(&self) -> usize {
        self.open + self.groups.as_ref().map_or(0, Groups::hidden)
    }

    /// A capacity turns full or free: its lines are in the way of choices or out of it.
    pub(super) fn turn(&mut self, capacity: u32, full: bool) {
        let (before, after) = self.groups.as_mut().map_or((0, 0), |groups| groups.turn(capacity, full));
        self.open = self.open + after - before;
    }

    /// The line with the least rank: its place and its rank.
    #[inline]
    pub(super) fn least(&self, measure: Measure) -> Option<(usize, u64)> {
        let least = self.tree(measure).and_then(Tournament::least);
        if self.groups.is_none() { least } else { self.least_of_all(measure, least) }
    }

    #[cold]
    fn least_of_all(&self, measure: Measure, alone: Option<(usize, u64)>) -> Option<(usize, u64)> {
        let shared = self.groups.as_ref().and_then(|groups| groups.least(measure));
        alone.into_iter().chain(shared).min_by_key(|(_, rank)| *rank)
    }

    /// How much is not as the ranks of so many places say, and the capacities that are full.
    pub(super) fn faults(&self, places: usize, is_full: impl Fn(u32) -> bool) -> usize {
        let trees = [Some(&self.best), self.relative.as_ref()].into_iter().flatten();
        let unsound = trees.filter(|tree| !tree.is_sound()).count();
        let open = (0..places).filter(|at| self.is_open(*at)).count();
        let groups = self.groups.as_ref().map_or(0, |groups| groups.faults(is_full));
        unsound + groups + usize::from(open != self.open)
    }
}
