//! The boards of sets that change: each gets the lines of the next generation just before that serves.

use crate::shm::{Alloc, OutOfMemory};
use crate::state::ranks::{Line, Patch};
use crate::state::{Block, Generation, Root, Set};

/// A set whose lines are others in the next generation.
struct OldAndNew<'g, A: Alloc> {
    old: Option<&'g Set<A>>,
    new: Option<&'g Set<A>>,
}

/// All sets that change.
pub(super) struct Boards<'g, A: Alloc> {
    root: &'g Root<A>,
    sets: Vec<OldAndNew<'g, A>>,
}

impl<'g, A: Alloc> Boards<'g, A> {
    /// Those of `changed`, and, with `all`, those that go. Makes room for their lines.
    pub fn ready(
        root: &'g Root<A>,
        before: Option<&'g Generation<A>>,
        after: &'g Generation<A>,
        changed: &[i32],
        all: bool,
    ) -> Result<Self, OutOfMemory> {
        let old = |id: i32| before.and_then(|before| before.set(id));
        let mut sets: Vec<_> =
            changed.iter().map(|&id| OldAndNew { old: old(id), new: after.set(id) }).collect();
        if all {
            let gone =
                before.into_iter().flat_map(Generation::sets).filter(|set| after.set(set.id).is_none());
            sets.extend(gone.map(|set| OldAndNew { old: Some(set), new: None }));
        }
        sets.iter().filter_map(|set| set.new).try_for_each(|set| set.ranks.reserve(set.len()))?;
        Ok(Self { root, sets })
    }

    /// Gives them their lines.
    pub fn carry_over(self) {
        self.sets.iter().for_each(|set| set.carry_over(self.root));
    }
}

/// The blocks of a set in their order; none of a set that is not there.
fn blocks<A: Alloc>(set: Option<&Set<A>>) -> impl DoubleEndedIterator<Item = &Block<A>> + Clone {
    set.into_iter().flat_map(|set| set.blocks.runs()).map(|(_, block)| block)
}

impl<A: Alloc> OldAndNew<'_, A> {
    fn carry_over(&self, root: &Root<A>) {
        let Some(set) = self.new.or(self.old) else { return };
        if self.patch(root, set).is_none() {
            let lines: Vec<_> = blocks(self.new).flat_map(Block::lines).collect();
            set.ranks.rebuild(&root.registry, &lines);
        }
    }

    /// Exchanges only the lines of the blocks that are not the same; nothing if all are to be exchanged.
    fn patch(&self, root: &Root<A>, set: &Set<A>) -> Option<()> {
        let same = |(old, new): &(&Block<A>, &Block<A>)| core::ptr::eq(*old, *new);
        let [old, new] = [blocks(self.old), blocks(self.new)];
        let first = old.clone().zip(new.clone()).take_while(same).count();
        let [old_len, new_len] = [old.clone().count(), new.clone().count()];
        let rest = old_len.min(new_len) - first;
        let last = old.clone().rev().zip(new.clone().rev()).take(rest).take_while(same).count();
        if first + last == 0 {
            return None;
        }
        let out = old.skip(first).take(old_len - first - last);
        let out: Vec<Line> = out.flat_map(Block::lines).collect();
        let come = new.clone().skip(first).take(new_len - first - last);
        let come: Vec<Line> = come.flat_map(Block::lines).collect();
        let before = first.checked_sub(1).and_then(|at| new.clone().nth(at)?.lines().next_back());
        let after = (last > 0).then(|| new.clone().nth(new_len - last)?.lines().next()).flatten();
        set.ranks.patch(&root.registry, &Patch { out: &out, new: &come, before, after }).then_some(())
    }
}
