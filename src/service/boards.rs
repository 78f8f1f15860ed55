//! The boards of sets that change: each gets the lines of the next generation just before that serves.

use crate::shm::{Alloc, OutOfMemory};
use crate::state::ranks::{Line, Patch};
use crate::state::{Block, Generation, Root, Set};

/// A set whose lines are others in the next generation.
struct Exchange<'g, A: Alloc> {
    old: Option<&'g Set<A>>,
    new: Option<&'g Set<A>>,
}

/// All sets that change.
pub(super) struct Boards<'g, A: Alloc> {
    root: &'g Root<A>,
    sets: Vec<Exchange<'g, A>>,
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
            changed.iter().map(|&id| Exchange { old: old(id), new: after.set(id) }).collect();
        if all {
            let gone =
                before.into_iter().flat_map(Generation::sets).filter(|set| after.set(set.id).is_none());
            sets.extend(gone.map(|set| Exchange { old: Some(set), new: None }));
        }
        sets.iter().filter_map(|set| set.new).try_for_each(|set| set.ranks.reserve(set.len()))?;
        Ok(Self { root, sets })
    }

    /// Gives them their lines.
    pub fn carry_over(self) {
        self.sets.iter().for_each(|set| set.carry_over(self.root));
    }
}

impl<A: Alloc> Exchange<'_, A> {
    fn carry_over(&self, root: &Root<A>) {
        let Some(board) = self.new.or(self.old).map(|set| &set.ranks) else { return };
        let runs = |set: Option<&Set<A>>| -> Vec<_> {
            set.into_iter()
                .flat_map(|set| set.blocks.runs())
                .map(|(_, block)| core::ptr::from_ref(block))
                .collect()
        };
        let (old, new) = (runs(self.old), runs(self.new));
        // Blocks that both have, from the front and from behind.
        let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let rest = (old.len() - first).min(new.len() - first);
        let last =
            old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
        let blocks = |set: Option<&Set<A>>, from: usize, to: usize| -> Vec<Line> {
            let blocks = set.into_iter().flat_map(|set| set.blocks.runs());
            blocks.skip(from).take(to - from).flat_map(|(_, block)| Block::lines(block)).collect()
        };
        let out = blocks(self.old, first, old.len() - last);
        let come = blocks(self.new, first, new.len() - last);
        let before = first.checked_sub(1).and_then(|at| blocks(self.new, at, at + 1).last().copied());
        let behind = new.len() - last;
        let after = (last > 0).then(|| blocks(self.new, behind, behind + 1).first().copied()).flatten();
        let patch = Patch { out: &out, new: &come, before, after };
        if !board.patch(&root.registry, &patch) {
            board.rebuild(&root.registry, &blocks(self.new, 0, new.len()));
        }
    }
}
