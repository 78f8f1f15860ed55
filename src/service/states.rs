//! Changes of a destination's state, by script or operator.

use crate::dest::Flags;
use crate::health::mark::{self, Thresholds};
use crate::shm::Alloc;
use crate::state::{Root, Set};

/// A script's report about one destination; the thresholds decide what it means.
pub fn mark<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    at: usize,
    report: Flags,
    thresholds: Thresholds,
) -> Option<()> {
    let record = root.registry.record(set.destinations.get(at)?.record)?;
    record.change_state(|old, streak| mark::mark(old, streak, report, thresholds));
    Some(())
}

/// An operator's word about all destinations whose URI matches: it holds at once. False if there is none.
pub fn set<A: Alloc>(root: &Root<A>, set: &Set<A>, state: Flags, matches: impl Fn(&[u8]) -> bool) -> bool {
    let mut found = false;
    for destination in set.destinations.iter().filter(|one| matches(set.text(one.uri))) {
        if let Some(record) = root.registry.record(destination.record) {
            record.change_state(|old, _| (old.without(Flags::STATES).with(state), 0));
            found = true;
        }
    }
    found
}

/// A destination's wish to be left out of some selections. False if there is no such destination, or the wish is not newer
/// than the last. A rate below the configured least is raised to it; 0 is the end of the overload and stays.
pub fn wish<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    matches: impl Fn(&[u8]) -> bool,
    rate: u32,
    until: u64,
    sequence: i32,
) -> bool {
    let mut taken = false;
    for destination in set.destinations.iter().filter(|one| matches(set.text(one.uri))) {
        if let Some(record) = root.registry.record(destination.record) {
            let rate = if rate == 0 { 0 } else { rate.max(destination.ocmin) };
            taken |= record.overload.wish(rate, until, sequence);
        }
    }
    taken
}
