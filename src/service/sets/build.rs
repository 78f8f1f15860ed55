//! Builds the sets of a plan in shared memory, beside those that serve.
//!
//! A block that is built holds the records of its destinations. If building fails, or what was built is never published, the
//! records are let go and nothing has changed.

use crate::dest::Flags;
use crate::service::sets::carry_over;
use crate::service::sets::plan::{Edit, Plan, Planned, SetPlan};
use crate::service::sets::resolve::Resolved;
use crate::shm::arc::Arc;
use crate::shm::cow_list::Draft;
use crate::shm::snapshot::Ready;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::block::BlockBuilder;
use crate::state::capacities;
use crate::state::generation::Sets;
use crate::state::set::Turns;
use crate::state::{
    Block, Destination, Generation, Keep, LatencyOrder, Member, Ranks, Registry, Root, Set, Slots, Usable,
    Weights,
};
use core::cell::OnceCell;
use core::net::IpAddr;
use std::collections::HashMap;

/// What an edit keeps: everything that it does not name.
const KEEP: Keep = Keep { state: true, latency: true };

/// A generation that is built and not yet published.
pub(super) struct Built<'r, A: Alloc> {
    /// The generation.
    pub next: Ready<Generation<A>, A>,
    /// How it differs from the one that serves.
    pub changes: Changes,
    /// The records of its new blocks.
    pub held: HeldRecords<'r, A>,
    /// What its lines say of the capacities that they share, where there are any.
    pub capacities: Option<Vec<capacities::Plan<A>>>,
}

/// Records held for new blocks; dropping this lets them go.
pub(super) struct HeldRecords<'r, A: Alloc> {
    registry: &'r Registry<A>,
    numbers: Vec<u32>,
}

impl<A: Alloc> HeldRecords<'_, A> {
    /// From now on the blocks hold them: their generation is published.
    pub fn keep(mut self) {
        self.numbers.clear();
    }
}

impl<A: Alloc> Drop for HeldRecords<'_, A> {
    fn drop(&mut self) {
        self.registry.let_go(self.numbers.iter().copied());
    }
}

/// RecordSet of records.
#[derive(Default)]
pub(super) struct RecordSet(Vec<bool>);

impl RecordSet {
    /// Whether it was not there.
    pub fn insert(&mut self, number: u32) -> bool {
        let at = number as usize;
        if at >= self.0.len() {
            self.0.resize((at + 1).next_power_of_two(), false);
        }
        self.0.get_mut(at).is_some_and(|there| !core::mem::replace(there, true))
    }

    /// Whether it is there.
    pub fn has(&self, number: u32) -> bool {
        self.0.get(number as usize).copied().unwrap_or(false)
    }
}

/// How a generation that is built differs from the one that serves.
pub(super) struct Changes {
    /// Whether all sets were planned, not only some edited.
    pub whole: bool,
    /// What of its records is kept.
    pub keep: Keep,
    /// The ids of the sets that were built.
    pub sets: Vec<i32>,
    /// Of edits: set and record of each destination that comes or goes.
    pub changed: Vec<(i32, u32)>,
    /// Records that are used again: their destinations did not serve.
    pub back: RecordSet,
    /// Records that are made for this generation.
    made: RecordSet,
    /// Of a whole plan: records that served, once somebody asks.
    serving: OnceCell<RecordSet>,
}

impl Changes {
    fn new(whole: bool, keep: Keep) -> Self {
        let (back, made) = (RecordSet::default(), RecordSet::default());
        let (sets, changed) = (Vec::new(), Vec::new());
        Self { whole, keep, sets, changed, back, made, serving: OnceCell::new() }
    }

    /// Records of destinations that did not serve.
    pub fn came(&self) -> impl Iterator<Item = u32> + '_ {
        let all = self.back.0.len().max(self.made.0.len()) as u32;
        (0..all).filter(|number| self.back.has(*number) || self.made.has(*number))
    }

    /// Takes in a set that was built. `new` are the records that were searched for, and whether they were there before; `out` are
    /// those of destinations that were taken out.
    fn take<A: Alloc>(
        &mut self,
        serving: Option<&Generation<A>>,
        (id, old): (i32, Option<&Set<A>>),
        new: &[(u32, bool)],
        out: &[u32],
    ) {
        for &(record, existed) in new {
            if !existed {
                self.made.insert(record);
            }
            if self.made.has(record) {
                continue;
            }
            let served = if self.whole {
                self.serving.get_or_init(|| records(serving)).has(record)
            } else {
                old.is_some_and(|set| set.first_of(record).is_some())
            };
            if !served {
                self.back.insert(record);
            }
        }
        if !self.whole {
            let new = new.iter().map(|(record, _)| record);
            self.changed.extend(new.chain(out).map(|&record| (id, record)));
        }
        self.sets.push(id);
    }
}

/// The records of all destinations of a generation.
fn records<A: Alloc>(generation: Option<&Generation<A>>) -> RecordSet {
    let mut numbers = RecordSet::default();
    let blocks = generation.into_iter().flat_map(Generation::sets).flat_map(|set| set.blocks.runs());
    for one in blocks.flat_map(|(_, block)| block.destinations()) {
        numbers.insert(one.record);
    }
    numbers
}

type Owned<A> = Arc<Set<A>, A>;
type SetsDraft<'g, A> = Draft<'g, Sets<A>, Owned<A>, A>;

/// Builds the generation of this plan. What stays is shared with the one that serves.
pub(super) fn build<'r, A: Alloc>(
    root: &'r Root<A>,
    serving: Option<&Generation<A>>,
    plan: Plan<'_, A>,
) -> Result<Built<'r, A>, OutOfMemory> {
    let (draft, builder) = match plan {
        Plan::Edits(edits) => {
            let mut builder = Builder::new(root, serving, Changes::new(false, KEEP));
            let sets: Result<Vec<_>, OutOfMemory> =
                edits.into_iter().map(|edit| Ok((edit.id, builder.set(edit)?))).collect();
            (exchanged(serving, sets?), builder)
        }
        Plan::Whole(sets, keep) => {
            let mut builder = Builder::new(root, serving, Changes::new(true, keep));
            let mut all = Vec::with_capacity(sets.len());
            for set in sets {
                let (stood, set) = match set {
                    SetPlan::Changes(edit) => (None, builder.set(edit)?),
                    SetPlan::Stays(at) => (Some(at), serving.and_then(|serving| serving.share(at))),
                };
                all.extend(set.map(|set| (stood, set)));
            }
            (Draft::of(serving.map(|serving| &serving.sets), all, Sets::open), builder)
        }
    };
    let Builder { held, changes, .. } = builder;
    let sets = draft.finish(|sets| Sets::try_new_in(sets, root.alloc), root.alloc)?;
    let number = serving.map_or(1, |serving| serving.number + 1);
    let next = root.sets.ready(Generation { number, sets })?;
    carry_over::reserve(next.value(), &changes.sets)?;
    let capacities = carry_over::capacities(root, next.value())?;
    Ok(Built { next, changes, held, capacities })
}

/// The sets that serve, with others in the places of those that have their ids; none is one that goes.
fn exchanged<A: Alloc>(
    serving: Option<&Generation<A>>,
    sets: Vec<(i32, Option<Owned<A>>)>,
) -> SetsDraft<'_, A> {
    let mut draft = Draft::from(serving.map(|serving| &serving.sets), Sets::open);
    let position = |id| serving.map_or(Err(0), |serving| serving.place_of(id));
    let mut sets: Vec<_> = sets.into_iter().map(|(id, set)| (position(id), id, set)).collect();
    // From the end, so that the positions before it stay valid.
    sets.sort_by_key(|(position, id, _)| (position.unwrap_or_else(|at| at), *id));
    for (position, _, set) in sets.into_iter().rev() {
        match (position, set) {
            (Ok(at), Some(set)) => draft.replace(at, set),
            (Ok(at), None) => drop(draft.remove(at)),
            (Err(at), Some(set)) => draft.insert(at, set),
            (Err(_), None) => {}
        }
    }
    draft
}

/// Builds sets, with records held for their blocks.
struct Builder<'r, 'g, A: Alloc> {
    root: &'r Root<A>,
    serving: Option<&'g Generation<A>>,
    /// The boards of sets that do not serve, once somebody asks.
    boards: Option<HashMap<i32, Arc<Ranks<A>, A>>>,
    /// The set that was asked for last, with its board: most lines are of the same as the one before.
    last: Option<(i32, Arc<Ranks<A>, A>)>,
    held: HeldRecords<'r, A>,
    changes: Changes,
    /// The block that is built.
    parts: BlockBuilder,
    /// The numbers of the capacities by name, once a line names one.
    capacities: Option<HashMap<Vec<u8>, u32>>,
    /// Records of this set that were searched for, and whether they were there before.
    new: Vec<(u32, bool)>,
}

impl<'r, 'g, A: Alloc> Builder<'r, 'g, A> {
    fn new(root: &'r Root<A>, serving: Option<&'g Generation<A>>, changes: Changes) -> Self {
        let held = HeldRecords { registry: &root.registry, numbers: Vec::new() };
        let (parts, new) = (BlockBuilder::default(), Vec::new());
        Self { root, serving, boards: None, last: None, held, changes, parts, capacities: None, new }
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
        if let Some(set) = self.serving.and_then(|serving| serving.set(id)) {
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

    /// The set as it is edited; none if it has no destinations any more.
    fn set(&mut self, edit: Edit<'_, A>) -> Result<Option<Owned<A>>, OutOfMemory> {
        let Edit { id, draft, out } = edit;
        let alloc = self.root.alloc;
        let blocks = draft.finish(|items| self.block(id, items), alloc)?;
        let ranks = self.board(id)?.clone();
        let old = self.serving.and_then(|serving| serving.set(id));
        let new = core::mem::take(&mut self.new);
        self.changes.take(self.serving, (id, old), &new, &out);
        if blocks.is_empty() {
            return Ok(None);
        }
        let turns = match old {
            Some(set) => set.turns.clone(),
            None => Arc::try_new_in(Turns::default(), alloc)?,
        };
        let (weights, usable) = (Weights::new_in(blocks.len(), alloc), Usable::new_in(alloc));
        let by_latency = LatencyOrder::new_in(alloc);
        let slots = Slots::new_in(alloc);
        Arc::try_new_in(Set { id, blocks, turns, ranks, weights, usable, by_latency, slots }, alloc).map(Some)
    }

    /// A block of these destinations.
    fn block(&mut self, set: i32, items: Vec<Planned<'_>>) -> Result<Block<A>, OutOfMemory> {
        for item in items {
            match item {
                Planned::New(one, old) => self.put(set, &one, old)?,
                Planned::Stays(one) => self.put_again(one, *one, one.addresses()),
                Planned::Readdressed(one, meaning) => {
                    let mut fields = *one;
                    (fields.port, fields.proto) =
                        meaning.port_and_proto.unwrap_or((fields.port, fields.proto));
                    fields.unresolved = false;
                    self.put_again(one, fields, &meaning.addresses);
                }
            }
        }
        self.parts.try_block_in(self.root.alloc)
    }

    /// Puts a destination of this set into the block. If the one that serves in its place is the same, its record is known.
    fn put(&mut self, set: i32, one: &Resolved<'_>, old: Option<Member<'_>>) -> Result<(), OutOfMemory> {
        let (uri, attrs, secret) = (&one.entry.uri, &one.entry.attrs, &self.root.secret);
        let number = if let Some(old) = old.filter(|old| one.is(*old)) {
            self.root.registry.hold_again(old.record);
            old.record
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
        self.held.numbers.push(number);
        let asked = secret.word(&[uri, one.socket(), attrs.ping_socket, &attrs.obproxy]);
        let capacity = self.capacity(attrs.limits.capacity)?;
        one.put(&mut self.parts, number, asked, (capacity, self.root.slow_start));
        Ok(())
    }

    /// The number of the capacity of this name.
    fn capacity(&mut self, name: &[u8]) -> Result<u32, OutOfMemory> {
        if name.is_empty() {
            return Ok(0);
        }
        let root = self.root;
        let all = self.capacities.get_or_insert_with(|| {
            let capacities = root.registry.capacities.lock();
            capacities.each().map(|one| (one.name, one.number)).collect()
        });
        if let Some(number) = all.get(name) {
            return Ok(*number);
        }
        let number = root.registry.capacities.lock().name(name)?;
        all.insert(name.to_vec(), number);
        Ok(number)
    }

    /// Puts one that serves into the block, with these fields and addresses.
    fn put_again(&mut self, one: Member<'_>, fields: Destination, addresses: &[IpAddr]) {
        self.root.registry.hold_again(one.record);
        self.held.numbers.push(one.record);
        self.parts.put_again(one, fields, addresses);
    }
}
