//! One generation of sets in the place of another: built aside, published by one store, its lines come to hold, what nobody
//! reads any more is given back.
//!
//! Records are held for each block that is built; a failure on the way lets them go, and nothing has changed.

use super::located::Located;
use crate::shm::counted::Counted;
use crate::shm::sequence::{Draft, Sequence};
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::block::Parts;
use crate::state::generation::Sets;
use crate::state::set::Turns;
use crate::state::{Block, Configured, Destination, Generation, Keep, Member, Root, Set};
use core::net::IpAddr;

/// What becomes of sets that no edit names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    Stay,
    Go,
}

/// A set as it is to serve; without destinations it goes.
pub(super) struct Made<A: Alloc> {
    /// Its id.
    pub id: i32,
    /// Its destinations.
    pub blocks: Sequence<Block<A>, A>,
    /// Records of new destinations, and whether they were there before.
    pub new: Vec<(u32, bool)>,
    /// Records of destinations that were taken out.
    pub out: Vec<u32>,
}

/// Publishes the sets that `build` makes, and lets what their lines say come to hold. Says whether several new destinations
/// are one by their identity.
pub(super) fn replace<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    others: Others,
    keep: Keep,
    build: impl FnOnce(Option<&Generation<A>>, &mut Builder<'_, A>) -> Result<Vec<Made<A>>, E>,
) -> Result<bool, E> {
    let mut retired = root.writer.lock();
    let mut builder = Builder::new(root);
    let (generation, changes) = {
        let before = root.sets.current(&retired);
        let mut changes = Changes::new(others, before);
        let mut sets = Vec::new();
        for Made { id, blocks, new, out } in build(before, &mut builder)? {
            let old = before.and_then(|generation| generation.set(id));
            changes.take(id, old, &new, &out);
            let turns = match old {
                Some(set) => set.turns.clone(),
                None => Counted::try_new_in(Turns::default(), root.alloc)?,
            };
            let set = (!blocks.is_empty()).then_some(Set { id, blocks, turns });
            sets.push((id, set.map(|set| Counted::try_new_in(set, root.alloc)).transpose()?));
        }
        let sets = match others {
            Others::Go => Draft::of(sets.into_iter().filter_map(|(_, set)| set).collect(), Sets::open),
            Others::Stay => exchanged(before, sets),
        };
        let sets = sets.finish(|sets| Sets::try_new_in(sets, root.alloc), root.alloc)?;
        (Generation { number: before.map_or(1, |generation| generation.number + 1), sets }, changes)
    };
    root.sets.publish(generation, &mut retired)?;
    // The holds are the blocks' own now.
    builder.held.clear();
    if let Some(serving) = root.sets.current(&retired) {
        changes.come_to_hold(root, serving, keep);
    }
    tidy(root, &mut retired);
    Ok(changes.shared)
}

type Owned<A> = Counted<Set<A>, A>;
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
    others: Others,
    /// Where others go: records that served.
    serving: Numbers,
    /// Where others stay: set and record of what changed.
    changed: Vec<(i32, u32)>,
    /// Records that did not serve, of destinations that were there before.
    back: Numbers,
    /// Records of new destinations so far, and whether one was there twice.
    new: Numbers,
    shared: bool,
}

impl Changes {
    fn new<A: Alloc>(others: Others, before: Option<&Generation<A>>) -> Self {
        let mut serving = Numbers::default();
        for set in before.filter(|_| others == Others::Go).into_iter().flat_map(Generation::sets) {
            let all = set.blocks.runs().flat_map(|(_, block)| block.destinations());
            for one in all {
                serving.insert(one.record);
            }
        }
        let (changed, back, new) = (Vec::new(), Numbers::default(), Numbers::default());
        Self { others, serving, changed, back, new, shared: false }
    }

    /// Takes in one set: what it was, records of new destinations, and of such that went.
    fn take<A: Alloc>(&mut self, id: i32, old: Option<&Set<A>>, new: &[(u32, bool)], out: &[u32]) {
        for &(record, existed) in new {
            if !self.new.insert(record) {
                self.shared = true;
                continue;
            }
            let served = || match self.others {
                Others::Go => self.serving.has(record),
                Others::Stay => old.is_some_and(|set| set.first_of(record).is_some()),
            };
            if existed && !served() {
                self.back.insert(record);
            }
        }
        if self.others == Others::Stay {
            let new = new.iter().map(|(record, _)| record);
            self.changed.extend(new.chain(out).map(|&record| (id, record)));
        }
    }

    /// Of several lines for one identity the first counts.
    fn come_to_hold<A: Alloc>(&self, root: &Root<A>, serving: &Generation<A>, keep: Keep) {
        let mut seen = Numbers::default();
        let mut say = |place: usize, one: &Destination| {
            let Some(record) = root.registry.record(one.record).filter(|_| seen.insert(one.record)) else {
                return;
            };
            let (flags, latency, asked) = (one.flags, one.latency, one.asked);
            let configured = Configured { flags, latency, asked, place: place as u32 };
            record.configure(configured, self.back.has(one.record), keep);
        };
        if self.others == Others::Go {
            for (start, block) in serving.sets().flat_map(|set| set.blocks.runs()) {
                let places = block.destinations().iter().enumerate();
                places.for_each(|(at, one)| say(start + at, one));
            }
        }
        for &(id, record) in &self.changed {
            let set = serving.set(id);
            let found = set.and_then(|set| set.first_of(record).and_then(|at| Some((at, set.get(at)?))));
            found.into_iter().for_each(|(at, one)| say(at, &one));
        }
    }
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
    /// Numbers of the records.
    held: Vec<u32>,
    /// The block that is built.
    parts: Parts,
    /// Records of new destinations since they were taken last, and whether they were there before.
    new: Vec<(u32, bool)>,
}

impl<'a, A: Alloc> Builder<'a, A> {
    fn new(root: &'a Root<A>) -> Self {
        Self { root, held: Vec::new(), parts: Parts::default(), new: Vec::new() }
    }

    /// Puts a destination of this set into the block.
    pub fn put(&mut self, set: i32, one: &Located) -> Result<(), OutOfMemory> {
        let (uri, attrs, secret) = (&one.entry.uri, &one.entry.attrs, &self.root.secret);
        let key = secret.destination(set, &attrs.duid, uri, one.socket());
        let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
        let hold = self.root.registry.hold(key, set, name, one.entry.flags)?;
        self.held.push(hold.number);
        self.new.push((hold.number, hold.existed));
        let asked = secret.word(&[uri, one.socket(), &attrs.ping_socket, &attrs.obproxy]);
        one.put(&mut self.parts, hold.number, asked);
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
    pub fn set(&mut self, id: i32, blocks: Sequence<Block<A>, A>, out: Vec<u32>) -> Made<A> {
        Made { id, blocks, new: core::mem::take(&mut self.new), out }
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
