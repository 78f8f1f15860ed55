//! Putting a new generation of sets in the place of the serving one.
//!
//! A reload makes all sets anew. Everything else changes some: an [`Edit`] names the destinations of one set that come, go
//! or are replaced, and what it does not name is taken over as it is, most of it without a look.

use super::located::{Located, Meaning};
use crate::shm::counted::Counted;
use crate::shm::sequence::{Draft, LONGEST, Sequence};
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::block::Parts;
use crate::state::generation::Sets;
use crate::state::set::Turns;
use crate::state::{Block, Configured, Destination, Generation, Keep, Member, Root, Set};
use core::net::IpAddr;
use std::collections::HashMap;

/// What an edit keeps: everything that it does not name.
const KEEP: Keep = Keep { state: true, latency: true };

/// A destination of a set that is to serve.
enum Item<'g> {
    /// As it serves already.
    Stays(Member<'g>),
    /// The same at other addresses.
    Means(Member<'g>, Meaning),
    /// Another, or the same with other words.
    New(Box<Located>),
}

fn open<A: Alloc>(block: &Block<A>) -> Vec<Item<'_>> {
    block.iter().map(Item::Stays).collect()
}

/// A change of one set.
pub struct Edit<'g, A: Alloc> {
    id: i32,
    draft: Draft<'g, Block<A>, Item<'g>, A>,
    /// Records of destinations that it takes out. Other lines may mean the same ones.
    out: Vec<u32>,
}

impl<'g, A: Alloc> Edit<'g, A> {
    /// Of a set as it serves; of an empty one, if there is none with this id.
    pub fn of(before: Option<&'g Generation<A>>, id: i32) -> Self {
        let set = before.and_then(|generation| generation.set(id));
        Self { id, draft: Draft::from(set.map(|set| &set.blocks), open), out: Vec::new() }
    }

    /// Puts a destination before the one at this position.
    pub fn insert(&mut self, at: usize, new: Located) {
        self.draft.insert(at, Item::New(Box::new(new)));
    }

    /// Takes out the destination at this position.
    pub fn remove(&mut self, at: usize) {
        if let Some(Item::Stays(member) | Item::Means(member, _)) = self.draft.remove(at) {
            self.out.push(member.record);
        }
    }

    /// Puts others in the place of those at some positions, which come in order: all where the first one was. Positions are
    /// those of before the edit.
    pub fn exchange(&mut self, mut changes: Vec<(Vec<usize>, Vec<Located>)>) {
        let mut out: Vec<usize> = changes.iter().flat_map(|(places, _)| places).copied().collect();
        out.sort_unstable();
        // From behind, so that nothing moves before its turn.
        out.iter().rev().for_each(|&at| self.remove(at));
        changes.sort_by_key(|(places, _)| places.first().copied());
        for (places, new) in changes.into_iter().rev() {
            let Some(first) = places.first() else { continue };
            let at = first - out.partition_point(|gone| gone < first);
            new.into_iter().rev().for_each(|one| self.insert(at, one));
        }
    }

    /// Gives the destination at this position other addresses.
    pub fn readdress(&mut self, at: usize, one: Member<'g>, meaning: Meaning) {
        self.draft.replace(at, Item::Means(one, meaning));
    }
}

/// What becomes of sets that no edit names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Stay,
    Go,
}

/// Makes these destinations serve and no others, all at once. They must be in the order of [`crate::dest::arranged`]. Says
/// whether several of them are one by their identity.
///
/// On an error the old ones go on serving and nothing is changed.
pub fn publish<A: Alloc>(root: &Root<A>, all: &[Located], keep: Keep) -> Result<bool, OutOfMemory> {
    replace(root, Others::Go, keep, |_, held| {
        let sets = all.chunk_by(|one, next| one.entry.set == next.entry.set);
        sets.filter_map(|set| Some(held.set_of(set.first()?.entry.set, set))).collect()
    })
}

/// Makes sets serve as `change` edits them, one edit a set; the others stay. On an error nothing is changed.
///
/// For who holds `reload`: what another reads at the same time and publishes later would undo it.
pub fn change<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    change: impl for<'g> FnOnce(Option<&'g Generation<A>>) -> Result<Vec<Edit<'g, A>>, E>,
) -> Result<(), E> {
    replace(root, Others::Stay, KEEP, |before, held| {
        change(before)?.into_iter().map(|edit| Ok(held.set(edit)?)).collect()
    })
    .map(|_| ())
}

/// A destination by its record, and by what was asked of it: the record may be another's by now.
pub type Asked = (u32, u64);

/// Makes the same destinations serve with other addresses.
pub fn readdress<A: Alloc>(root: &Root<A>, found: &HashMap<Asked, Meaning>) -> Result<(), OutOfMemory> {
    // A reload that took over the old addresses would undo this.
    let _no_reload = root.reload.lock();
    change(root, |before| {
        let mut edits = Vec::new();
        for set in before.into_iter().flat_map(Generation::sets) {
            let found =
                set.places().filter_map(|(at, one)| Some((at, one, found.get(&(one.record, one.asked))?)));
            let mut edit = Edit::of(before, set.id);
            let mut any = false;
            for (at, one, meaning) in found {
                edit.readdress(at, one, meaning.clone());
                any = true;
            }
            edits.extend(any.then_some(edit));
        }
        Ok(edits)
    })
}

/// Waits until the generation that serves is settled: until then its records may be as they were.
pub fn settled<A: Alloc>(root: &Root<A>) {
    drop(root.writer.lock());
}

/// A set as it is to serve; without destinations it goes.
struct Made<A: Alloc> {
    id: i32,
    blocks: Sequence<Block<A>, A>,
    /// Records of new destinations, and whether they were there before.
    new: Vec<(u32, bool)>,
    /// Records of destinations that were taken out.
    out: Vec<u32>,
}

/// Publishes the sets that `build` makes, and lets what their lines say come to hold. Says whether several new destinations
/// are one by their identity.
fn replace<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    others: Others,
    keep: Keep,
    build: impl FnOnce(Option<&Generation<A>>, &mut Held<'_, A>) -> Result<Vec<Made<A>>, E>,
) -> Result<bool, E> {
    let mut retired = root.writer.lock();
    let mut held = Held { root, numbers: Vec::new(), parts: Parts::default(), new: Vec::new() };
    let (generation, said) = {
        let before = root.sets.current(&retired);
        let mut said = Said::new(others, before);
        let mut sets = Vec::new();
        for Made { id, blocks, new, out } in build(before, &mut held)? {
            let old = before.and_then(|generation| generation.set(id));
            said.take(id, old, &new, &out);
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
        (Generation { number: before.map_or(1, |generation| generation.number + 1), sets }, said)
    };
    root.sets.publish(generation, &mut retired)?;
    // The holds are the blocks' own now.
    held.numbers.clear();
    if let Some(serving) = root.sets.current(&retired) {
        said.come_to_hold(root, serving, keep);
    }
    tidy(root, &mut retired);
    Ok(said.shared)
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
struct Said {
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

impl Said {
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

/// Sets that are built, with records held for them: they may yet fail.
struct Held<'a, A: Alloc> {
    root: &'a Root<A>,
    /// Numbers of the records.
    numbers: Vec<u32>,
    /// The block that is built.
    parts: Parts,
    /// Records of new destinations of the set that is built, and whether they were there before.
    new: Vec<(u32, bool)>,
}

impl<A: Alloc> Held<'_, A> {
    fn set_of(&mut self, id: i32, all: &[Located]) -> Result<Made<A>, OutOfMemory> {
        let mut blocks = Vec::with_capacity(all.len().div_ceil(LONGEST));
        for part in all.chunks(LONGEST) {
            for one in part {
                self.put(id, one)?;
            }
            blocks.push(self.parts.try_block_in(self.root.alloc)?);
        }
        let blocks = Sequence::try_of_in(blocks, self.root.alloc)?;
        Ok(Made { id, blocks, new: core::mem::take(&mut self.new), out: Vec::new() })
    }

    fn set(&mut self, edit: Edit<'_, A>) -> Result<Made<A>, OutOfMemory> {
        let Edit { id, draft, out } = edit;
        let alloc = self.root.alloc;
        let blocks = draft.finish(|items| self.block(id, items), alloc)?;
        Ok(Made { id, blocks, new: core::mem::take(&mut self.new), out })
    }

    fn block(&mut self, set: i32, items: Vec<Item<'_>>) -> Result<Block<A>, OutOfMemory> {
        for item in items {
            match item {
                Item::New(one) => self.put(set, &one)?,
                Item::Stays(one) => self.put_again(one, *one, one.addresses()),
                Item::Means(one, meaning) => {
                    let mut fields = *one;
                    (fields.port, fields.proto) =
                        meaning.port_and_proto.unwrap_or((fields.port, fields.proto));
                    self.put_again(one, fields, &meaning.addresses);
                }
            }
        }
        self.parts.try_block_in(self.root.alloc)
    }

    fn put(&mut self, set: i32, one: &Located) -> Result<(), OutOfMemory> {
        let (uri, attrs, secret) = (&one.entry.uri, &one.entry.attrs, &self.root.secret);
        let key = secret.destination(set, &attrs.duid, uri, one.socket());
        let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
        let hold = self.root.registry.hold(key, set, name, one.entry.flags)?;
        self.numbers.push(hold.number);
        self.new.push((hold.number, hold.existed));
        let asked = secret.word(&[uri, one.socket(), &attrs.ping_socket, &attrs.obproxy]);
        one.put(&mut self.parts, hold.number, asked);
        Ok(())
    }

    fn put_again(&mut self, one: Member<'_>, fields: Destination, addresses: &[IpAddr]) {
        self.root.registry.hold_again(one.record);
        self.numbers.push(one.record);
        self.parts.put_again(one, fields, addresses);
    }
}

impl<A: Alloc> Drop for Held<'_, A> {
    fn drop(&mut self) {
        self.root.registry.let_go(self.numbers.iter().copied());
    }
}
