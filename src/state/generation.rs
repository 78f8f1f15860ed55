//! The configured sets that serve: built aside, published as a whole, never changed.
//!
//! A generation shares the sets and blocks in which nothing changed with the one before it. Only the holder of the writer's lock
//! makes and frees generations.

use super::block::{Block, Member};
use super::record::Record;
use super::set::Set;
use crate::shm::arc::Arc;
use crate::shm::cow_list::{CowList, Run};
use crate::shm::slice::Slice;
use crate::shm::{Alloc, OutOfMemory, Shared};

/// All sets, by id.
pub struct Generation<A: Alloc> {
    /// Each one has a higher number than those before it.
    pub number: u64,
    /// In the order of their ids.
    pub sets: CowList<Sets<A>, A>,
}

// SAFETY: a shared sequence.
unsafe impl<A: Alloc> Shared for Generation<A> {}

/// Where a destination is in a generation: the positions of its set and of itself in the set.
pub type Position = (u32, u32);

/// Sets that follow one another.
pub struct Sets<A: Alloc>(Slice<Arc<Set<A>, A>, A>);

// SAFETY: a shared slice.
unsafe impl<A: Alloc> Shared for Sets<A> {}

impl<A: Alloc> Run for Sets<A> {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<A: Alloc> Sets<A> {
    /// Of these.
    pub fn try_new_in(sets: Vec<Arc<Set<A>, A>>, alloc: A) -> Result<Self, OutOfMemory> {
        Slice::try_from_vec_in(sets, alloc).map(Self)
    }

    /// All, to make others of.
    pub fn open(&self) -> Vec<Arc<Set<A>, A>> {
        self.0.iter().cloned().collect()
    }
}

impl<A: Alloc> Generation<A> {
    /// The destination of this record, with its set; one of them, where several lines share the record.
    pub fn of_record(&self, number: u32, record: &Record) -> Option<(&Set<A>, Member<'_>)> {
        let set = self.set(record.set())?;
        Some((set, set.get(set.place_of(number, record)?)?))
    }

    /// The set at this position, to be shared with another generation.
    pub fn share(&self, at: usize) -> Option<Arc<Set<A>, A>> {
        let (start, sets) = self.sets.run_of(at)?;
        sets.0.get(at - start).cloned()
    }

    /// The destination at this position, with its set.
    pub fn at(&self, (set, place): Position) -> Option<(&Set<A>, Member<'_>)> {
        let (start, sets) = self.sets.run_of(set as usize)?;
        let set = sets.0.get(set as usize - start)?;
        Some((set, set.get(place as usize)?))
    }

    /// All destinations with their sets, in order.
    pub fn all(&self) -> impl Iterator<Item = (Position, &Set<A>, Member<'_>)> {
        self.sets()
            .enumerate()
            .flat_map(|(at, set)| set.places().map(move |(place, one)| ((at as u32, place as u32), set, one)))
    }

    /// All sets, by id.
    pub fn sets(&self) -> impl Iterator<Item = &Set<A>> {
        self.sets.runs().flat_map(|(_, sets)| sets.0.iter()).map(|set| &**set)
    }

    /// The sets from this id on.
    pub fn sets_from(&self, id: i32) -> impl Iterator<Item = &Set<A>> {
        let runs = self.sets.runs().skip_while(move |(_, sets)| sets.0.last().is_none_or(|set| set.id < id));
        runs.flat_map(|(_, sets)| sets.0.iter()).map(|set| &**set).skip_while(move |set| set.id < id)
    }

    /// The set of this id.
    pub fn set(&self, id: i32) -> Option<&Set<A>> {
        self.find(id).map(|(_, set)| set)
    }

    /// The set of this id, with its position.
    pub fn find(&self, id: i32) -> Option<(usize, &Set<A>)> {
        let (start, sets) = self.run_of(id)?;
        let at = sets.0.binary_search_by_key(&id, |set| set.id).ok()?;
        sets.0.get(at).map(|set| (start + at, &**set))
    }

    /// The position of the set of this id, or where it would be.
    pub fn place_of(&self, id: i32) -> Result<usize, usize> {
        let (start, sets) = self.run_of(id).ok_or(self.sets.len())?;
        let at = sets.0.binary_search_by_key(&id, |set| set.id);
        at.map(|at| start + at).map_err(|at| start + at)
    }

    /// The run where the set of this id would be.
    fn run_of(&self, id: i32) -> Option<(usize, &Sets<A>)> {
        self.sets.partition_point(|sets| sets.0.last().is_some_and(|set| set.id < id))
    }

    /// The blocks that it shares with no other generation.
    pub fn own_blocks(&self) -> impl Iterator<Item = &Block<A>> {
        let sets = self.sets.own_runs().flat_map(|sets| sets.0.iter());
        sets.filter(|set| set.is_last()).flat_map(|set| set.blocks.own_runs())
    }
}
