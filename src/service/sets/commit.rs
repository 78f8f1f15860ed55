//! One generation of sets in the place of another: built aside, published by one store, its lines come to hold, what nobody
//! reads any more is given back.
//!
//! Records are held for each block that is built; a failure on the way lets them go, and nothing has changed.

use crate::dest::Flags;
use crate::service::sets::carry_over::Boards;
use crate::service::sets::resolve::Resolved;
use crate::shm::arc::Arc;
use crate::shm::cow_list::{CowList, Draft};
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::block::Parts;
use crate::state::generation::Sets;
use crate::state::set::Turns;
use crate::state::{Block, Configured, Destination, Generation, Keep, Member, Ranks, Rings, Root, Set};
use core::cell::OnceCell;
use core::net::IpAddr;
use std::collections::HashMap;

/// A set as it is to serve; without destinations it goes.
pub(super) struct Made<A: Alloc> {
    /// Its id.
    pub id: i32,
    /// Its destinations.
    pub blocks: CowList<Block<A>, A>,
    /// Records of destinations that were searched for, and whether they were there before.
    pub new: Vec<(u32, bool)>,
    /// Records of destinations that were taken out.
    pub out: Vec<u32>,
    /// Its board.
    pub ranks: Arc<Ranks<A>, A>,
}

/// The next generation.
pub(super) enum Plan<A: Alloc> {
    /// These sets are others, or go; all that are not here stay.
    Some(Vec<Made<A>>),
    /// These sets in the order of their ids; nothing else stays.
    All(Vec<Planned<A>>),
}

/// A set of the next generation.
pub(super) enum Planned<A: Alloc> {
    /// The one at this position as it is.
    Stays(usize),
    /// Another.
    Made(Made<A>),
}

/// Publishes the sets that `plan` makes, and lets what their lines say come to hold. Says whether several destinations are
/// one by their identity, where all sets were planned.
pub(super) fn replace<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    keep: Keep,
    plan: impl FnOnce(Option<&Generation<A>>, &mut Builder<'_, A>) -> Result<Plan<A>, E>,
) -> Result<bool, E> {
    let mut retired = root.writer.lock();
    let before = root.sets.current(&retired);
    let mut builder = Builder::new(root, before);
    let (ready, changes) = {
        let plan = plan(before, &mut builder)?;
        let all = matches!(plan, Plan::All(_));
        let (mut changes, mut changed) = (Changes::new(all), Vec::new());
        let mut own = |made: Made<A>| {
            let old = before.and_then(|generation| generation.set(made.id));
            changes.take(before, old, &made);
            changed.push(made.id);
            let Made { id, blocks, ranks, .. } = made;
            let turns = match old {
                Some(set) => set.turns.clone(),
                None => Arc::try_new_in(Turns::default(), root.alloc)?,
            };
            let set = (!blocks.is_empty()).then(|| Set {
                id,
                blocks,
                turns,
                ranks,
                rings: Rings::new_in(root.alloc),
            });
            set.map(|set| Arc::try_new_in(set, root.alloc)).transpose()
        };
        let sets = match plan {
            Plan::Some(sets) => {
                let sets: Result<Vec<_>, OutOfMemory> =
                    sets.into_iter().map(|made| Ok((made.id, own(made)?))).collect();
                exchanged(before, sets?)
            }
            Plan::All(sets) => {
                let mut all = Vec::with_capacity(sets.len());
                for set in sets {
                    let (stood, set) = match set {
                        Planned::Made(made) => (None, own(made)?),
                        Planned::Stays(at) => (Some(at), before.and_then(|generation| generation.share(at))),
                    };
                    all.extend(set.map(|set| (stood, set)));
                }
                Draft::of(before.map(|generation| &generation.sets), all, Sets::open)
            }
        };
        let sets = sets.finish(|sets| Sets::try_new_in(sets, root.alloc), root.alloc)?;
        let number = before.map_or(1, |generation| generation.number + 1);
        let ready = root.sets.ready(Generation { number, sets })?;
        Boards::ready(root, before, ready.value(), &changed, all)?.carry_over();
        (ready, changes)
    };
    // Nothing can fail from here on: the holds are the blocks' own now.
    builder.held.clear();
    drop(builder);
    root.sets.publish_ready(ready, &mut retired);
    let serving = root.sets.current(&retired);
    let shared = serving.is_some_and(|serving| changes.come_to_hold(root, serving, keep));
    tidy(root, &mut retired);
    Ok(shared)
}

type Owned<A> = Arc<Set<A>, A>;
type SetsDraft<'g, A> = Draft<'g, Sets<A>, Owned<A>, A>;

/// The sets before, with others in the places of those that have their ids; none is one that goes.
fn exchanged<A: Alloc>(
    before: Option<&Generation<A>>,
    sets: Vec<(i32, Option<Owned<A>>)>,
) -> SetsDraft<'_, A> {
    let mut draft = Draft::from(before.map(|generation| &generation.sets), Sets::open);
    let place = |id| before.map_or(Err(0), |before| before.place_of(id));
    let mut sets: Vec<_> = sets.into_iter().map(|(id, set)| (place(id), id, set)).collect();
    // From behind, so that no place moves before its turn.
    sets.sort_by_key(|(place, id, _)| (place.unwrap_or_else(|at| at), *id));
    for (place, _, set) in sets.into_iter().rev() {
        match (place, set) {
            (Ok(at), Some(set)) => draft.replace(at, set),
            (Ok(at), None) => drop(draft.remove(at)),
            (Err(at), Some(set)) => draft.insert(at, set),
            (Err(_), None) => {}
        }
    }
    draft
}

/// Numbers of records.
#[derive(Default)]
struct Numbers(Vec<bool>);

impl Numbers {
    /// Whether it was not there.
    fn insert(&mut self, number: u32) -> bool {
        let at = number as usize;
        if at >= self.0.len() {
            self.0.resize((at + 1).next_power_of_two(), false);
        }
        self.0.get_mut(at).is_some_and(|there| !core::mem::replace(there, true))
    }

    fn has(&self, number: u32) -> bool {
        self.0.get(number as usize).copied().unwrap_or(false)
    }
}

/// What changed, until it serves.
struct Changes {
    /// Whether all sets were planned.
    all: bool,
    /// Where they were: records that served, once somebody asks.
    serving: OnceCell<Numbers>,
    /// Where they were not: set and record of what changed.
    changed: Vec<(i32, u32)>,
    /// Records that are made for this change.
    made: Numbers,
    /// Records that did not serve, of destinations that were there before.
    back: Numbers,
}

impl Changes {
    fn new(all: bool) -> Self {
        let (made, back) = (Numbers::default(), Numbers::default());
        Self { all, serving: OnceCell::new(), changed: Vec::new(), made, back }
    }

    /// Takes in one set, and what its destinations were before.
    fn take<A: Alloc>(&mut self, before: Option<&Generation<A>>, old: Option<&Set<A>>, made: &Made<A>) {
        for &(record, existed) in &made.new {
            if !existed {
                self.made.insert(record);
            }
            if self.made.has(record) {
                continue;
            }
            let served = if self.all {
                self.serving.get_or_init(|| serving(before)).has(record)
            } else {
                old.is_some_and(|set| set.first_of(record).is_some())
            };
            if !served {
                self.back.insert(record);
            }
        }
        if !self.all {
            let new = made.new.iter().map(|(record, _)| record);
            self.changed.extend(new.chain(&made.out).map(|&record| (made.id, record)));
        }
    }

    /// Of several lines for one identity the first counts. Says whether all were looked at and some are one.
    fn come_to_hold<A: Alloc>(&self, root: &Root<A>, serving: &Generation<A>, keep: Keep) -> bool {
        let (mut seen, mut shared) = (Numbers::default(), false);
        let mut say = |place: usize, one: &Destination| {
            if !seen.insert(one.record) {
                shared = true;
                return;
            }
            let (flags, latency, asked, unresolved) = (one.flags, one.latency, one.asked, one.unresolved);
            let configured = Configured { flags, latency, asked, unresolved, place: place as u32 };
            root.registry.configure(one.record, configured, self.back.has(one.record), keep);
        };
        if self.all {
            for (start, block) in serving.sets().flat_map(|set| set.blocks.runs()) {
                let places = block.destinations().iter().enumerate();
                places.for_each(|(at, one)| say(start + at, one));
            }
            return shared;
        }
        for &(id, record) in &self.changed {
            let set = serving.set(id);
            let found = set.and_then(|set| set.first_of(record).and_then(|at| Some((at, set.get(at)?))));
            found.into_iter().for_each(|(at, one)| say(at, &one));
        }
        false
    }
}

/// The records of all destinations of a generation.
fn serving<A: Alloc>(generation: Option<&Generation<A>>) -> Numbers {
    let mut numbers = Numbers::default();
    let blocks = generation.into_iter().flat_map(Generation::sets).flat_map(|set| set.blocks.runs());
    for one in blocks.flat_map(|(_, block)| block.destinations()) {
        numbers.insert(one.record);
    }
    numbers
}

/// Gives back generations that nobody reads any more, and the records that nothing names.
pub fn tidy<A: Alloc>(root: &Root<A>, retired: &mut Retired<Generation<A>>) {
    root.sets.reclaim(retired, |generation| {
        let gone = generation.own_blocks().flat_map(Block::destinations);
        root.registry.let_go(gone.map(|one| one.record));
    });
    root.registry.sweep();
}

/// Builds blocks, with records held for them.
pub(super) struct Builder<'a, A: Alloc> {
    root: &'a Root<A>,
    before: Option<&'a Generation<A>>,
    /// The boards of sets that do not serve, once somebody asks.
    boards: Option<HashMap<i32, Arc<Ranks<A>, A>>>,
    /// The set that was asked for last, with its board: most lines are of the same as the one before.
    last: Option<(i32, Arc<Ranks<A>, A>)>,
    /// Numbers of the records.
    held: Vec<u32>,
    /// The block that is built.
    parts: Parts,
    /// Records that were searched for since they were taken last, and whether they were there before.
    new: Vec<(u32, bool)>,
}

impl<'a, A: Alloc> Builder<'a, A> {
    fn new(root: &'a Root<A>, before: Option<&'a Generation<A>>) -> Self {
        let (held, parts, new) = (Vec::new(), Parts::default(), Vec::new());
        Self { root, before, boards: None, last: None, held, parts, new }
    }

    /// The board of a set: all its generations, and all records of its destinations, have one.
    fn board(&mut self, id: i32) -> Result<&Arc<Ranks<A>, A>, OutOfMemory> {
        let last = match self.last.take().filter(|(last, _)| *last == id) {
            Some(last) => last,
            None => (id, self.find_board(id)?),
        };
        Ok(&self.last.insert(last).1)
    }

    fn find_board(&mut self, id: i32) -> Result<Arc<Ranks<A>, A>, OutOfMemory> {
        if let Some(set) = self.before.and_then(|before| before.set(id)) {
            return Ok(set.ranks.clone());
        }
        let boards = self.boards.get_or_insert_with(|| self.root.registry.boards());
        if let Some(board) = boards.get(&id) {
            return Ok(board.clone());
        }
        let alloc = self.root.alloc;
        let board = Arc::try_new_in(Ranks::try_new_in(alloc)?, alloc)?;
        boards.insert(id, board.clone());
        Ok(board)
    }

    /// Puts a destination of this set into the block. One that stood there saves the search for its record, if it is the same.
    pub fn put(
        &mut self,
        set: i32,
        one: &Resolved<'_>,
        stood: Option<Member<'_>>,
    ) -> Result<(), OutOfMemory> {
        let (uri, attrs, secret) = (&one.entry.uri, &one.entry.attrs, &self.root.secret);
        let number = if let Some(stood) = stood.filter(|stood| one.is(*stood)) {
            self.root.registry.hold_again(stood.record);
            stood.record
        } else {
            let key = secret.destination(set, &attrs.duid, uri, one.socket());
            let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
            // From the first moment at which it serves.
            let flags = one.entry.flags;
            let flags = if one.unresolved() { flags.with(Flags::UNRESOLVED) } else { flags };
            let root = self.root;
            let hold = root.registry.hold(key, set, name, flags, self.board(set)?)?;
            self.new.push((hold.number, hold.existed));
            hold.number
        };
        self.held.push(number);
        let asked = secret.word(&[uri, one.socket(), attrs.ping_socket, &attrs.obproxy]);
        one.put(&mut self.parts, number, asked);
        Ok(())
    }

    /// Puts one that serves into the block, with these fields and addresses.
    pub fn put_again(&mut self, one: Member<'_>, fields: Destination, addresses: &[IpAddr]) {
        self.root.registry.hold_again(one.record);
        self.held.push(one.record);
        self.parts.put_again(one, fields, addresses);
    }

    /// The block; the next one begins empty.
    pub fn block(&mut self) -> Result<Block<A>, OutOfMemory> {
        self.parts.try_block_in(self.root.alloc)
    }

    /// The set of these blocks, which are all since the last one.
    pub fn set(
        &mut self,
        id: i32,
        blocks: CowList<Block<A>, A>,
        out: Vec<u32>,
    ) -> Result<Made<A>, OutOfMemory> {
        let ranks = self.board(id)?.clone();
        Ok(Made { id, blocks, new: core::mem::take(&mut self.new), out, ranks })
    }

    /// The memory that blocks are in.
    pub fn alloc(&self) -> A {
        self.root.alloc
    }
}

impl<A: Alloc> Drop for Builder<'_, A> {
    fn drop(&mut self) {
        self.root.registry.let_go(self.held.iter().copied());
    }
}
