//! Slow starts go on: the shares of destinations that came back, or were added, rise with time.
//!
//! A slow start begins where a state changes ([`Registry`](crate::state::Registry)), or where a destination is added
//! ([`commit`](crate::service::sets::commit)).

use crate::shm::Alloc;
use crate::state::{Generation, Root};

/// Lets all ramps go on to what the clock says. Costs next to nothing while there is none.
pub fn go_on<A: Alloc>(root: &Root<A>, sets: &Generation<A>) {
    let ramps = &root.registry.slow_starts;
    // Off before the look: what begins meanwhile turns it on again.
    if ramps.get() == 0 || ramps.turn(0) == 0 {
        return;
    }
    let now = (root.clock)();
    let rises = sets.sets().map(|set| root.registry.rise(set, now)).fold(false, |any, one| any | one);
    if rises {
        ramps.turn(1);
    }
}
