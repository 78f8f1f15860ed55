//! The next destination of a request that comes back, chosen when it is needed (`ds_lean_failover`): never one that it has
//! tried, never one that went down meanwhile, and the least loaded or the quickest as things are then.

use super::choose::{self, Ask, NoRoute, Retry, Selection};
use crate::select::attempts::{Attempts, NO_LIMIT, Rule, Tried};
use crate::select::{self, Candidates, Refusal};
use crate::service::routing::candidates::View;
use crate::shm::Alloc;
use crate::state::{Generation, Root, Set};

/// The destination in use, in the sets that serve: its set and its position. `None` where it is gone.
pub fn in_use<'g, A: Alloc>(
    root: &Root<A>,
    sets: &'g Generation<A>,
    attempts: &Attempts,
) -> Option<(&'g Set<A>, usize)> {
    let set = sets.set(attempts.rules().first()?.set)?;
    Some((set, position(root, set, attempts.in_use()?)?))
}

fn position<A: Alloc>(root: &Root<A>, set: &Set<A>, one: Tried) -> Option<usize> {
    set.place_of(one.record, root.registry.record_of(one.record, one.serial)?)
}

/// Chooses the next destination, by the rule of the one that failed or, when that has none left, by the rules after it. The
/// place of the rule goes with it. `ask` is about the request; set and algorithm are those of the rules.
pub fn next<'g, A: Alloc>(
    root: &Root<A>,
    sets: &'g Generation<A>,
    attempts: &Attempts,
    ask: &Ask<'_>,
) -> Result<(usize, Selection<'g, A>), NoRoute> {
    let mut last = NoRoute::Refused(Refusal::NoneActive);
    if attempts.left() == 0 {
        return Err(last);
    }
    for (place, rule) in attempts.rules().iter().enumerate() {
        let from = sets.set(rule.set).filter(|_| place == 0).map(|set| after(root, set, attempts, ask));
        let retry = Some(Retry { tried: attempts.tried(), from });
        match choose::select(root, sets, &Ask { set: rule.set, algorithm: rule.algorithm, retry, ..*ask }) {
            Ok(selection) => return Ok((place, selection)),
            Err(error @ (NoRoute::Refused(_) | NoRoute::NoText(_))) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The position after the destination in use; where that stood, if it is gone: the one after it stands there now.
fn after<A: Alloc>(root: &Root<A>, set: &Set<A>, attempts: &Attempts, ask: &Ask<'_>) -> usize {
    let stands = attempts.in_use().and_then(|one| position(root, set, one));
    let next = stands.map_or(attempts.at(), |at| at + 1);
    let spared = usize::from(ask.spare_last && set.len() > 1);
    // Around the set, which ends before the one that is kept for when no other is left.
    if next >= set.len().saturating_sub(spared) { 0 } else { next }
}

/// How many destinations of a set a request may go to now; a call that counts only to those with room for it, which may have `priority`.
/// Looks at none of them.
pub fn candidates<A: Alloc>(root: &Root<A>, set: &Set<A>, counts: bool, priority: bool) -> usize {
    let priority = priority && counts;
    let (usable, roomy) = set.ranks.usable_and_roomy_but(&root.registry, core::iter::empty(), priority);
    if counts { roomy } else { usable }
}

/// How many attempts are left: destinations that may be tried now, up to the limit; by a call that may have `priority`. Looks only at those
/// that were tried.
pub fn left<A: Alloc>(root: &Root<A>, sets: &Generation<A>, attempts: &Attempts, priority: bool) -> usize {
    let of_rule = |rule: &Rule| {
        let Some(set) = sets.set(rule.set) else { return 0 };
        let there = |one: &&Tried| root.registry.record_of(one.record, one.serial).is_some();
        let tried = attempts.tried().iter().filter(there).map(|one| one.record);
        let counts = select::measure(rule.algorithm).is_some();
        let (usable, roomy) = set.ranks.usable_and_roomy_but(&root.registry, tried, priority && counts);
        if counts { roomy } else { usable }
    };
    let all = attempts.rules().iter().map(of_rule).sum();
    if attempts.left() == NO_LIMIT { all } else { all.min(attempts.left() as usize) }
}

/// The record of the destination in use, if it is the same one still.
pub fn record_in_use<A: Alloc>(root: &Root<A>, attempts: &Attempts) -> Option<u32> {
    let one = attempts.in_use()?;
    root.registry.record_of(one.record, one.serial).map(|_| one.record)
}

/// Whether the destination at this position has all the calls that it may have; by a call that may have `priority`.
pub fn is_full<A: Alloc>(root: &Root<A>, set: &Set<A>, at: usize, priority: bool) -> bool {
    View::new(root, set).for_later().with_priority(priority).is_full(at)
}
