//! Limits on new calls, for choices that do not count: the call takes a token of what was chosen, or another is chosen. Where a choice
//! counts, both are one step (`call_count`).

use crate::load::Invite;
use crate::load::key::Key;
use crate::select::Refusal;
use crate::service::routing::call_count;
use crate::shm::Alloc;
use crate::state::{Root, Set};

/// Brings the destinations of this set back into the way of choices that may have new calls again. Whether any has a limit: where none has,
/// there is nothing else to do.
#[inline]
pub fn renew<A: Alloc>(root: &Root<A>, set: &Set<A>) -> bool {
    let rated = set.ranks.has_rates();
    if rated && set.ranks.has_over_rate() {
        set.ranks.renew(&root.registry, root.clock);
    }
    rated
}

/// A new call goes to this position; false if its rate does not let it.
#[inline]
pub fn take<A: Alloc>(root: &Root<A>, set: &Set<A>, at: usize) -> bool {
    if !set.ranks.has_rates() {
        return true;
    }
    set.destination(at).is_none_or(|one| root.registry.take_token(one.record, root.clock))
}

/// The same for an INVITE that may have been sent there before: then its call counts there, and it takes no other token.
pub fn take_once<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    at: usize,
    key: Option<&Key>,
    invite: Invite,
) -> bool {
    let sent = || {
        key.zip(set.destination(at))
            .is_some_and(|(key, one)| call_count::is_sent(root, key, one.record, invite))
    };
    !set.ranks.has_rates() || sent() || take(root, set, at)
}

/// The first position that `pick` gives where the call may go.
pub fn pick<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    (key, invite): (&dyn Fn() -> Option<Key>, &dyn Fn() -> Invite),
    pick: impl Fn() -> Result<usize, Refusal>,
) -> Result<usize, Refusal> {
    loop {
        let at = pick()?;
        // One without a token is not usable any more.
        if take_once(root, set, at, key().as_ref(), invite()) {
            return Ok(at);
        }
    }
}
