//! What a board does with lines that share capacities, and lines that do not, side by side.

use super::Measure;
use super::board::Board;
use super::groups::Groups;
use crate::shm::Alloc;
use crate::shm::tournament::{NONE, Tournament};

impl<A: Alloc> Board<A> {
    /// Gives those of these ranks, by place, that are of lines which share capacities to their groups.
    pub(super) fn seated(&mut self, measure: Measure, mut ranks: Vec<u64>) -> Vec<u64> {
        if let Some(groups) = &mut self.groups {
            for (at, rank) in ranks.iter_mut().enumerate() {
                if groups.has(at) {
                    groups.set(measure, at, core::mem::replace(rank, NONE));
                }
            }
        }
        ranks
    }

    /// Whether it does and has room.
    pub(super) fn is_open(&self, at: usize) -> bool {
        match self.groups.as_ref().filter(|groups| groups.has(at)) {
            Some(groups) => groups.is_open(at),
            None => self.best.get(at) != NONE,
        }
    }

    /// Whether it takes calls and has room, as far as it goes itself.
    pub(super) fn has_own_room(&self, at: usize) -> bool {
        match self.groups.as_ref().filter(|groups| groups.has(at)) {
            Some(groups) => groups.get(Measure::Calls, at) != NONE,
            None => self.best.get(at) != NONE,
        }
    }

    /// Lines that take calls and have room themselves, though their capacities may have none.
    pub(super) fn with_own_room(&self) -> usize {
        self.open + self.groups.as_ref().map_or(0, Groups::hidden)
    }

    #[cold]
    pub(super) fn set_in_group(&mut self, at: usize, rank: u64) -> bool {
        let Some(groups) = self.groups.as_mut().filter(|groups| groups.has(at)) else { return false };
        let before = groups.is_open(at);
        groups.set(Measure::Calls, at, rank);
        self.open = self.open + usize::from(groups.is_open(at)) - usize::from(before);
        true
    }

    /// A capacity turns full or free: its lines are in the way of choices or out of it.
    pub(super) fn turn(&mut self, capacity: u32, full: bool) {
        let (before, after) = self.groups.as_mut().map_or((0, 0), |groups| groups.turn(capacity, full));
        self.open = self.open + after - before;
    }

    #[cold]
    pub(super) fn least_of_all(&self, measure: Measure, alone: Option<(usize, u64)>) -> Option<(usize, u64)> {
        let shared = self.groups.as_ref().and_then(|groups| groups.least(measure));
        alone.into_iter().chain(shared).min_by_key(|(_, rank)| *rank)
    }

    pub(super) fn set_relative_rank(&mut self, at: usize, rank: u64) {
        match self.groups.as_mut().filter(|groups| groups.has(at)) {
            Some(groups) => groups.set(Measure::Relative, at, rank),
            None => self.relative.iter_mut().for_each(|tree| tree.set(at, rank)),
        }
    }

    /// The line with the least rank: its place and its rank.
    pub(super) fn least(&self, measure: Measure) -> Option<(usize, u64)> {
        let tree = match measure {
            Measure::Calls => Some(&self.best),
            Measure::Relative => self.relative.as_ref(),
        };
        let least = tree.and_then(Tournament::least);
        if self.groups.is_none() { least } else { self.least_of_all(measure, least) }
    }
}
