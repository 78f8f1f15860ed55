//! Updates the load boards when the sets are replaced: just before the next generation serves, the board of each set that changes gets
//! the lines of that generation. Loads and choices go on meanwhile.

use crate::dest::limits::Smallest;
use crate::dest::shared_rate::SmallestRate;
use crate::load::Rate;
use crate::shm::slice::Slice;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::capacities::Plan;
use crate::state::ranks::{Line, Patch};
use crate::state::{Block, Capacities, Generation, Root, Set};
use std::collections::BTreeMap;

/// Makes room for the lines of these sets, so that [`carry_over`] cannot fail.
pub(super) fn reserve<A: Alloc>(next: &Generation<A>, changed: &[i32]) -> Result<(), OutOfMemory> {
    for set in changed.iter().filter_map(|&id| next.set(id)) {
        let shares = set.blocks.runs().any(|(_, block)| block.sharing().next().is_some());
        let sharing: Vec<Line> = if shares { set.lines().collect() } else { Vec::new() };
        let rated = set.blocks.runs().any(|(_, block)| block.has_rates());
        let slow = set.blocks.runs().any(|(_, block)| block.has_slow_starts());
        set.ranks.reserve(set.len(), &sharing, (rated, slow))?;
    }
    Ok(())
}

/// What all lines say of a capacity.
#[derive(Default)]
struct Said {
    lines: u32,
    limit: u32,
    reserve: Smallest,
    rate: SmallestRate,
    /// A record of each board that has such lines.
    boards: Vec<u32>,
}

/// What the lines of a generation say of the capacities that they share; nothing where there is none and was none.
pub(super) fn capacities<A: Alloc>(
    root: &Root<A>,
    next: &Generation<A>,
) -> Result<Option<Vec<Plan<A>>>, OutOfMemory> {
    if root.registry.capacities.lock().is_empty() {
        return Ok(None);
    }
    let mut all = BTreeMap::<u32, Said>::new();
    for set in next.sets() {
        let mut seen = BTreeMap::new();
        for (record, limits) in set.blocks.runs().flat_map(|(_, block)| block.sharing()) {
            let Said { lines, limit, reserve, rate, .. } = all.entry(limits.capacity).or_default();
            *lines += 1;
            if limits.capacity_max != 0 {
                *limit = if *limit == 0 { limits.capacity_max } else { limits.capacity_max.min(*limit) };
            }
            limits.capacity_reserve.into_iter().for_each(|one| reserve.take(one));
            rate.take(limits.capacity_rate.0, limits.capacity_rate.1);
            seen.entry(limits.capacity).or_insert(record);
        }
        for (capacity, record) in seen {
            all.entry(capacity).or_default().boards.push(record);
        }
    }
    let plan = |(number, Said { lines, limit, reserve, rate, boards }): (u32, Said)| {
        let boards = Slice::try_copy_in(&boards, root.alloc)?;
        let (cps, burst) = rate.in_effect();
        Ok(Plan { number, lines, limit, reserve: reserve.of(limit), rate: Rate { cps, burst }, boards })
    };
    all.into_iter().map(plan).collect::<Result<_, _>>().map(Some)
}

/// Gives the boards of the changed sets their lines. With `all`, those of sets that are gone are emptied too. Where capacities are shared, they take over
/// what the next generation says of them, and nobody takes or gives a call there meanwhile.
pub(super) fn carry_over<A: Alloc>(
    root: &Root<A>,
    serving: Option<&Generation<A>>,
    next: &Generation<A>,
    (changed, all): (&[i32], bool),
    plans: Option<Vec<Plan<A>>>,
) {
    let mut capacities = plans.is_some().then(|| root.registry.capacities.lock());
    for &id in changed {
        board(root, serving.and_then(|serving| serving.set(id)), next.set(id), capacities.as_deref_mut());
    }
    let gone = serving.filter(|_| all).into_iter().flat_map(Generation::sets);
    for set in gone.filter(|set| next.set(set.id).is_none()) {
        board(root, Some(set), None, capacities.as_deref_mut());
    }
    let (Some(capacities), Some(plans)) = (&mut capacities, plans) else { return };
    let numbers: Vec<u32> = plans.iter().map(|plan| plan.number).collect();
    capacities.adopt(plans);
    for number in numbers {
        let (fill, pace) = (capacities.fill(number), capacities.pace(number));
        let boards = capacities.boards(number).iter().filter_map(|record| root.registry.ranks(*record));
        boards.for_each(|ranks| {
            ranks.turn(number, fill);
            ranks.turn_pace(&root.registry, number, pace);
        });
    }
}

/// The blocks of a set in their order; none of a set that is not there.
fn blocks<A: Alloc>(set: Option<&Set<A>>) -> impl DoubleEndedIterator<Item = &Block<A>> + Clone {
    set.into_iter().flat_map(|set| set.blocks.runs()).map(|(_, block)| block)
}

fn board<A: Alloc>(
    root: &Root<A>,
    old: Option<&Set<A>>,
    new: Option<&Set<A>>,
    mut sharing: Option<&mut Capacities<A>>,
) {
    let Some(set) = new.or(old) else { return };
    if patch(root, set, old, new, sharing.as_deref_mut()).is_none() {
        let lines: Vec<_> = blocks(new).flat_map(Block::lines).collect();
        set.ranks.rebuild(&root.registry, &lines, sharing);
    }
}

/// Exchanges only the lines of the blocks that are not the same; nothing if all are to be exchanged.
fn patch<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    old: Option<&Set<A>>,
    new: Option<&Set<A>>,
    sharing: Option<&mut Capacities<A>>,
) -> Option<()> {
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
    set.ranks.patch(&root.registry, &Patch { out: &out, new: &come, before, after }, sharing).then_some(())
}
