//! Load boards across generations: the board of a set that changes gets the lines of the next generation just before that
//! serves.

use crate::shm::{Alloc, OutOfMemory};
use crate::state::ranks::{Line, Patch};
use crate::state::{Block, Generation, Root, Set};

/// Makes room for the lines of these sets, so that [`carry_over`] cannot fail.
pub(super) fn reserve<A: Alloc>(next: &Generation<A>, changed: &[i32]) -> Result<(), OutOfMemory> {
    changed.iter().filter_map(|&id| next.set(id)).try_for_each(|set| set.ranks.reserve(set.len()))
}

/// Gives the boards of the changed sets their lines. With `all`, those of sets that are gone are emptied too.
pub(super) fn carry_over<A: Alloc>(
    root: &Root<A>,
    serving: Option<&Generation<A>>,
    next: &Generation<A>,
    changed: &[i32],
    all: bool,
) {
    for &id in changed {
        board(root, serving.and_then(|serving| serving.set(id)), next.set(id));
    }
    let gone = serving.filter(|_| all).into_iter().flat_map(Generation::sets);
    gone.filter(|set| next.set(set.id).is_none()).for_each(|set| board(root, Some(set), None));
}

/// The blocks of a set in their order; none of a set that is not there.
fn blocks<A: Alloc>(set: Option<&Set<A>>) -> impl DoubleEndedIterator<Item = &Block<A>> + Clone {
    set.into_iter().flat_map(|set| set.blocks.runs()).map(|(_, block)| block)
}

fn board<A: Alloc>(root: &Root<A>, old: Option<&Set<A>>, new: Option<&Set<A>>) {
    let Some(set) = new.or(old) else { return };
    if patch(root, set, old, new).is_none() {
        let lines: Vec<_> = blocks(new).flat_map(Block::lines).collect();
        set.ranks.rebuild(&root.registry, &lines);
    }
}

/// Exchanges only the lines of the blocks that are not the same; nothing if all are to be exchanged.
fn patch<A: Alloc>(root: &Root<A>, set: &Set<A>, old: Option<&Set<A>>, new: Option<&Set<A>>) -> Option<()> {
    let same = |(old, new): &(&Block<A>, &Block<A>)| core::ptr::eq(*old, *new);
    let [old, new] = [blocks(old), blocks(new)];
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
