//! Failed calls weigh on for a while in what algorithms 10 and 100 compare (`ds_failure_decay`), so that a gateway which fails calls at once does not
//! look idle.
//!
//! A call has failed at a destination when it stops to count there by a change that says that its gateway has failed it ([`Failures`]). So
//! it weighs once, whoever tells of it first.

use crate::load::{Call, Failures, Phase};
use crate::shm::Alloc;
use crate::state::ranks::{Failure, LockedBoard};
use crate::state::{Generation, Root};

/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Whether failed calls weigh at all.
pub fn is_on<A: Alloc>(root: &Root<A>) -> bool {
    root.failure_decay.is_on()
}

/// Before a call changes, whose legs on these branches have failed: where it stops to count by that, its failure weighs. A `board` may be
/// locked; it is let go, if another one has to be.
pub(super) fn failed<A: Alloc>(
    root: &Root<A>,
    (before, after): (&Call, &Call),
    failures: Failures,
    board: &mut Option<LockedBoard<'_, A>>,
) {
    if failures.are_none() || !is_on(root) {
        return;
    }
    let failure = Failure { half: half(root), now: (root.clock)() };
    let has_failed = |number: &u32| {
        let mut legs = before.legs().iter().filter(|leg| leg.record() == *number);
        !after.counts_at(*number) && legs.any(|leg| leg.phase() == Phase::Early && failures.has(*leg))
    };
    for number in before.counted().filter(has_failed) {
        let held = board.as_mut();
        if !held.is_some_and(|board| board.penalize(&root.registry, number, failure)) {
            *board = None;
            root.registry.penalize(number, failure);
        }
        root.penalties.turn(1);
    }
}

fn half<A: Alloc>(root: &Root<A>) -> u64 {
    u64::from(root.failure_decay.get()) * MILLISECOND
}

/// Lets the weight of failed calls decay. Costs next to nothing while none weighs.
pub fn decay<A: Alloc>(root: &Root<A>, sets: &Generation<A>) {
    // Off before the look: what fails meanwhile turns it on again.
    if root.penalties.get() == 0 || root.penalties.turn(0) == 0 {
        return;
    }
    let failure = Failure { half: half(root), now: (root.clock)() };
    let mut left = false;
    for set in sets.sets() {
        left |= set.ranks.decay(&root.registry, failure);
    }
    if left {
        root.penalties.turn(1);
    }
}
