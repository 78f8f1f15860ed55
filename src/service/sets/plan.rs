//! What is to serve: all of it, or what changes.
//!
//! A reload says what all sets are to be. Everything else changes some: an [`Edit`] names the destinations of one set that
//! come, go or are replaced. Either way what stays is taken over as it is.

use crate::dest::Place;
use crate::service::housekeeping;
use crate::service::sets::commit::{Builder, Made, Plan, Planned, replace};
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::shm::cow_list::Draft;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Block, Generation, Keep, Member, Root, Set};
use std::collections::HashMap;

/// What an edit keeps: everything that it does not name.
const KEEP: Keep = Keep { state: true, latency: true };

/// A destination of a set that is to serve.
enum Item<'g> {
    /// As it serves already.
    Stays(Member<'g>),
    /// The same at other addresses.
    Means(Member<'g>, Meaning),
    /// Another, or the same with other words; with one that serves and is itself, most likely.
    New(Box<Resolved<'g>>, Option<Member<'g>>),
}

impl Item<'_> {
    fn put<A: Alloc>(self, set: i32, builder: &mut Builder<'_, A>) -> Result<(), OutOfMemory> {
        match self {
            Item::New(one, stood) => return builder.put(set, &one, stood),
            Item::Stays(one) => builder.put_again(one, *one, one.addresses()),
            Item::Means(one, meaning) => {
                let mut fields = *one;
                (fields.port, fields.proto) = meaning.port_and_proto.unwrap_or((fields.port, fields.proto));
                fields.unresolved = false;
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
pub struct Exchange<'g> {
    /// Which go.
    pub out: Vec<usize>,
    /// Before which the new ones come.
    pub at: usize,
    /// Those that come.
    pub new: Vec<Resolved<'g>>,
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
    pub fn insert(&mut self, at: usize, new: Resolved<'g>) {
        self.draft.insert(at, Item::New(Box::new(new), None));
    }

    /// Takes out the destination at this position.
    pub fn remove(&mut self, at: usize) {
        if let Some(Item::Stays(member) | Item::Means(member, _)) = self.draft.remove(at) {
            self.out.push(member.record);
        }
    }

    /// Puts others in the place of some.
    pub fn exchange(&mut self, mut all: Vec<Exchange<'g>>) {
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
        builder.set(id, blocks, out)
    }

    /// Gives the destination at this position other addresses.
    pub fn readdress(&mut self, at: usize, one: Member<'g>, meaning: Meaning) {
        self.draft.replace(at, Item::Means(one, meaning));
    }
}

/// A destination that a source wants to serve.
pub struct Wanted<'g> {
    /// Where its line stands in the source.
    pub place: Place,
    /// The position in its set where it serves already.
    stands: Option<usize>,
    item: Item<'g>,
}

impl<'g> Wanted<'g> {
    /// The one that serves at this position of its set.
    pub fn stays(place: Place, at: usize, member: Member<'g>) -> Self {
        Self { place, stands: Some(at), item: Item::Stays(member) }
    }

    /// Another, or the same with other words; with one that serves and is itself, most likely.
    pub fn new(one: Resolved<'g>, stood: Option<Member<'g>>) -> Self {
        Self { place: one.entry.place, stands: None, item: Item::New(Box::new(one), stood) }
    }
}

/// All sets that are to serve, one after another in the order of their ids.
pub struct Mirror<'p, 'r, A: Alloc> {
    /// What serves now.
    pub before: Option<&'p Generation<A>>,
    builder: &'p mut Builder<'r, A>,
    sets: Vec<Planned<A>>,
}

impl<A: Alloc> Mirror<'_, '_, A> {
    /// The next set, with its destinations in the order of [`crate::dest::arranged`]; without any it goes.
    pub fn set(&mut self, id: i32, lines: Vec<Wanted<'_>>) -> Result<(), OutOfMemory> {
        let old = self.before.and_then(|generation| generation.find(id));
        let stays = |set: &Set<A>| {
            let stand = lines.iter().enumerate().all(|(at, line)| line.stands == Some(at));
            set.len() == lines.len() && stand
        };
        self.sets.push(match old {
            Some((place, set)) if stays(set) => Planned::Stays(place),
            old => {
                let items = lines.into_iter().map(|line| (line.stands, line.item)).collect();
                let draft = Draft::of(old.map(|(_, set)| &set.blocks), items, open);
                Planned::Made(Edit { id, draft, out: Vec::new() }.made(self.builder)?)
            }
        });
        Ok(())
    }
}

/// Makes the sets serve that `wanted` names and no others, all at once. Says whether several lines are one destination by
/// their identity.
///
/// On an error the old ones go on serving and nothing is changed.
pub fn mirror<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    keep: Keep,
    wanted: impl FnOnce(&mut Mirror<'_, '_, A>) -> Result<(), E>,
) -> Result<bool, E> {
    replace(root, keep, |before, builder| {
        let mut mirror = Mirror { before, builder, sets: Vec::new() };
        wanted(&mut mirror)?;
        Ok(Plan::All(mirror.sets))
    })
}

/// Sets that are to be others, one edit each.
pub struct Edits<'p, 'r, A: Alloc> {
    /// What serves now.
    pub before: Option<&'p Generation<A>>,
    builder: &'p mut Builder<'r, A>,
    sets: Vec<Made<A>>,
}

impl<A: Alloc> Edits<'_, '_, A> {
    /// One set as it is edited.
    pub fn make(&mut self, edit: Edit<'_, A>) -> Result<(), OutOfMemory> {
        self.sets.push(edit.made(self.builder)?);
        Ok(())
    }
}

/// Makes sets serve as `change` edits them; the others stay. On an error nothing is changed.
///
/// For who holds `reload`: what another reads at the same time and publishes later would undo it.
pub fn change<A: Alloc, E: From<OutOfMemory>>(
    root: &Root<A>,
    change: impl FnOnce(&mut Edits<'_, '_, A>) -> Result<(), E>,
) -> Result<(), E> {
    replace(root, KEEP, |before, builder| {
        let mut edits = Edits { before, builder, sets: Vec::new() };
        change(&mut edits)?;
        Ok(Plan::Some(edits.sets))
    })
    .map(|_| ())
}

/// A destination by its record, and by what was asked of it: the record may be another's by now.
pub type Asked = (u32, u64);

/// Makes the same destinations serve with other addresses.
pub fn readdress<A: Alloc>(root: &Root<A>, found: &HashMap<Asked, Meaning>) -> Result<(), OutOfMemory> {
    // A reload that took over the old addresses would undo this.
    let _no_reload = root.reload.lock();
    let readdress = |edits: &mut Edits<'_, '_, A>| {
        for set in edits.before.into_iter().flat_map(Generation::sets) {
            let found =
                set.places().filter_map(|(at, one)| Some((at, one, found.get(&(one.record, one.asked))?)));
            let mut edit = Edit::of(edits.before, set.id);
            let mut any = false;
            for (at, one, meaning) in found {
                edit.readdress(at, one, meaning.clone());
                any = true;
            }
            if any {
                edits.make(edit)?;
            }
        }
        Ok(())
    };
    housekeeping::with_relief(root, |_: &OutOfMemory| true, || change(root, readdress))
}

/// Waits until the generation that serves is settled: until then its records may be as they were.
pub fn settled<A: Alloc>(root: &Root<A>) {
    drop(root.writer.lock());
}
