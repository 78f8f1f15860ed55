//! What is to serve: all of it, or what changes.
//!
//! A reload makes all sets anew. Everything else changes some: an [`Edit`] names the destinations of one set that come, go
//! or are replaced, and what it does not name is taken over as it is, most of it without a look.

use super::located::{Located, Meaning};
use super::replace::{Builder, Made, Others, replace};
use crate::shm::sequence::{Draft, LONGEST, Sequence};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Block, Generation, Keep, Member, Root};
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

impl Item<'_> {
    fn put<A: Alloc>(self, set: i32, builder: &mut Builder<'_, A>) -> Result<(), OutOfMemory> {
        match self {
            Item::New(one) => return builder.put(set, &one),
            Item::Stays(one) => builder.put_again(one, *one, one.addresses()),
            Item::Means(one, meaning) => {
                let mut fields = *one;
                (fields.port, fields.proto) = meaning.port_and_proto.unwrap_or((fields.port, fields.proto));
                builder.put_again(one, fields, &meaning.addresses);
            }
        }
        Ok(())
    }
}

fn open<A: Alloc>(block: &Block<A>) -> Vec<Item<'_>> {
    block.iter().map(Item::Stays).collect()
}

/// Destinations in the place of others. Positions are those of before the edit.
pub struct Exchange {
    /// Which go.
    pub out: Vec<usize>,
    /// Before which the new ones come.
    pub at: usize,
    /// Those that come.
    pub new: Vec<Located>,
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

    /// Puts others in the place of some.
    pub fn exchange(&mut self, mut all: Vec<Exchange>) {
        let mut out: Vec<usize> = all.iter().flat_map(|one| &one.out).copied().collect();
        out.sort_unstable();
        // From behind, so that nothing moves before its turn.
        out.iter().rev().for_each(|&at| self.remove(at));
        all.sort_by_key(|one| one.at);
        for Exchange { at, new, .. } in all.into_iter().rev() {
            let at = at - out.partition_point(|gone| *gone < at);
            new.into_iter().rev().for_each(|one| self.insert(at, one));
        }
    }

    fn made(self, builder: &mut Builder<'_, A>) -> Result<Made<A>, OutOfMemory> {
        let Self { id, draft, out } = self;
        let alloc = builder.alloc();
        let block = |items: Vec<Item<'_>>| {
            items.into_iter().try_for_each(|item| item.put(id, builder))?;
            builder.block()
        };
        let blocks = draft.finish(block, alloc)?;
        Ok(builder.set(id, blocks, out))
    }

    /// Gives the destination at this position other addresses.
    pub fn readdress(&mut self, at: usize, one: Member<'g>, meaning: Meaning) {
        self.draft.replace(at, Item::Means(one, meaning));
    }
}

/// Makes these destinations serve and no others, all at once. They must be in the order of [`crate::dest::arranged`]. Says
/// whether several of them are one by their identity.
///
/// On an error the old ones go on serving and nothing is changed.
pub fn publish<A: Alloc>(root: &Root<A>, all: &[Located], keep: Keep) -> Result<bool, OutOfMemory> {
    let made = |lines: &[Located], builder: &mut Builder<'_, A>| {
        let id = lines.first().map_or(0, |one| one.entry.set);
        let mut blocks = Vec::with_capacity(lines.len().div_ceil(LONGEST));
        for part in lines.chunks(LONGEST) {
            part.iter().try_for_each(|one| builder.put(id, one))?;
            blocks.push(builder.block()?);
        }
        let blocks = Sequence::try_of_in(blocks, builder.alloc())?;
        Ok(builder.set(id, blocks, Vec::new()))
    };
    replace(root, Others::Go, keep, |_, builder| {
        let sets = all.chunk_by(|one, next| one.entry.set == next.entry.set);
        sets.map(|lines| made(lines, builder)).collect()
    })
}

/// Makes sets serve as `change` edits them, one edit a set; the others stay. On an error nothing is changed.
///
/// For who holds `reload`: what another reads at the same time and publishes later would undo it.
pub fn change<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    change: impl for<'g> FnOnce(Option<&'g Generation<A>>) -> Result<Vec<Edit<'g, A>>, E>,
) -> Result<(), E> {
    replace(root, Others::Stay, KEEP, |before, builder| {
        change(before)?.into_iter().map(|edit| Ok(edit.made(builder)?)).collect()
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
