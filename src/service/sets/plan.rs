//! Plans of the next generation: which destinations each set is to have. A plan is a value; nothing is built yet.
//!
//! A reload plans all sets ([`Plan::mirror`]). Every other change is an [`Edit`] of one set or a few. Either way what stays is
//! taken over as it is.

use crate::dest::{SourceLine, SourcePosition};
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::shm::Alloc;
use crate::shm::cow_list::Draft;
use crate::state::{Block, Generation, Keep, Member};

/// The next generation.
pub enum Plan<'g, A: Alloc> {
    /// These sets in the order of their ids, and no others.
    Whole(Vec<SetPlan<'g, A>>, Keep),
    /// These sets change, and all others stay. What an edit does not name keeps its state.
    Edits(Vec<Edit<'g, A>>),
}

/// A set of the next generation.
pub enum SetPlan<'g, A: Alloc> {
    /// The one at this position of the generation, as it is.
    Stays(usize),
    /// Another one; it goes if no destination is left in it.
    Changes(Edit<'g, A>),
}

/// A destination of a set that changes.
pub(super) enum Planned<'g> {
    /// As it serves already.
    Stays(Member<'g>),
    /// The same at other addresses.
    Readdressed(Member<'g>, Box<Meaning>),
    /// A new one, or one with other attributes. With the destination that serves in its place: it is probably the same one.
    New(Box<Resolved<'g>>, Option<Member<'g>>),
}

fn open<A: Alloc>(block: &Block<A>) -> Vec<Planned<'_>> {
    block.iter().map(Planned::Stays).collect()
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
    /// The id of the set.
    pub(super) id: i32,
    pub(super) draft: Draft<'g, Block<A>, Planned<'g>, A>,
    /// Records of destinations that it takes out. Other lines may mean the same ones.
    pub(super) out: Vec<u32>,
}

impl<'g, A: Alloc> Edit<'g, A> {
    /// Of a set as it serves; of an empty one, if there is none with this id.
    pub fn of(serving: Option<&'g Generation<A>>, id: i32) -> Self {
        let set = serving.and_then(|generation| generation.set(id));
        Self { id, draft: Draft::from(set.map(|set| &set.blocks), open), out: Vec::new() }
    }

    /// Puts a destination before the one at this position.
    pub fn insert(&mut self, at: usize, new: Resolved<'g>) {
        self.draft.insert(at, Planned::New(Box::new(new), None));
    }

    /// Takes out the destination at this position.
    pub fn remove(&mut self, at: usize) {
        if let Some(Planned::Stays(member) | Planned::Readdressed(member, _)) = self.draft.remove(at) {
            self.out.push(member.record);
        }
    }

    /// Puts others in the place of some.
    pub fn exchange(&mut self, mut all: Vec<Exchange<'g>>) {
        let mut out: Vec<usize> = all.iter().flat_map(|one| &one.out).copied().collect();
        out.sort_unstable();
        // From the end, so that the positions before it stay valid.
        out.iter().rev().for_each(|&at| self.remove(at));
        all.sort_by_key(|one| one.at);
        for Exchange { at, new, .. } in all.into_iter().rev() {
            let at = at - out.partition_point(|gone| *gone < at);
            new.into_iter().rev().for_each(|one| self.insert(at, one));
        }
    }

    /// Gives the destination at this position other addresses.
    pub fn readdress(&mut self, at: usize, one: Member<'g>, meaning: Meaning) {
        self.draft.replace(at, Planned::Readdressed(one, Box::new(meaning)));
    }
}

/// A set as a source wants it.
pub enum Wanted<'g> {
    /// It serves line for line, at this position of the generation.
    Unchanged(usize, &'g [&'g SourceLine<'g>]),
    /// The set of this id, with these destinations in the order of [`crate::dest::arranged`].
    Lines(i32, Vec<PlannedLine<'g>>),
}

/// A destination that a source wants.
pub struct PlannedLine<'g> {
    /// Where its line stands in the source.
    pub(super) place: SourcePosition,
    /// The position in its set, where it serves already.
    pub(super) stands: Option<usize>,
    pub(super) item: Planned<'g>,
}

impl<'g> PlannedLine<'g> {
    /// The one that serves at this position of its set.
    pub(super) fn stays(place: SourcePosition, at: usize, member: Member<'g>) -> Self {
        Self { place, stands: Some(at), item: Planned::Stays(member) }
    }

    /// A new one, or one with other attributes. `old` serves in its place: it is probably the same one.
    pub fn new(one: Resolved<'g>, old: Option<Member<'g>>) -> Self {
        Self { place: one.entry.place, stands: None, item: Planned::New(Box::new(one), old) }
    }
}

impl Wanted<'_> {
    /// Where its lines stand in the source.
    pub fn places(&self) -> impl Iterator<Item = SourcePosition> {
        let (unchanged, lines) = match self {
            Self::Unchanged(_, unchanged) => (*unchanged, &[][..]),
            Self::Lines(_, lines) => (&[][..], lines.as_slice()),
        };
        unchanged.iter().map(|line| line.place).chain(lines.iter().map(|line| line.place))
    }
}

impl<'g, A: Alloc> Plan<'g, A> {
    /// Exactly the sets that a source wants, in the order of their ids.
    pub fn mirror(serving: Option<&'g Generation<A>>, sets: Vec<Wanted<'g>>, keep: Keep) -> Self {
        let set = |wanted: Wanted<'g>| {
            let (id, lines) = match wanted {
                Wanted::Unchanged(at, _) => return SetPlan::Stays(at),
                Wanted::Lines(id, lines) => (id, lines),
            };
            let old = serving.and_then(|generation| generation.set(id));
            let items = lines.into_iter().map(|line| (line.stands, line.item)).collect();
            let draft = Draft::of(old.map(|set| &set.blocks), items, open);
            SetPlan::Changes(Edit { id, draft, out: Vec::new() })
        };
        Self::Whole(sets.into_iter().map(set).collect(), keep)
    }
}
