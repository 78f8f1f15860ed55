//! Draining destinations: they get no new calls, those that are up go on, and when the last has ended, or their time is over, they are
//! disabled.
//!
//! A drain is of a record: of all lines of its set that are one destination. It ends once, whoever looks first.

use super::probe::Now;
use super::set_state::{Told, ends_epoch, note_admin};
use crate::dest::Flags;
use crate::health::drain::Drain;
use crate::health::event::DestinationEvent;
use crate::shm::Alloc;
use crate::state::health::Report;
use crate::state::{Generation, Member, Record, Root, Set};

/// How destinations are drained.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Seconds until the drain is over, whatever calls there are; `None` is when the last one ends.
    pub seconds: Option<u32>,
    /// Every call counts (`ds_load_auto`).
    pub counts_all: bool,
}

/// Why nothing is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDrained {
    /// There is no such destination.
    NotThere,
    /// Nobody can tell when it is empty, since calls are not counted there, and no time is given.
    NoEnd,
}

/// The destinations of a set that are meant: those with this URI or `duid`; nothing, or `all`, is the whole set.
pub fn named<'g, A: Alloc>(set: &'g Set<A>, which: &'g [u8]) -> Vec<Member<'g>> {
    if which.is_empty() || which == b"all" {
        return set.iter().collect();
    }
    let by_uri: Vec<_> = set.named(which).map(|(_, one)| one).collect();
    if !by_uri.is_empty() {
        return by_uri;
    }
    set.iter().filter(|one| one.text(one.duid).eq_ignore_ascii_case(which)).collect()
}

/// Whether calls count at a destination of this set: some algorithm that counts has chosen in the set, or there are calls.
fn counts<A: Alloc>(set: &Set<A>, record: &Record, terms: Terms) -> bool {
    terms.counts_all || set.ranks.has_chosen() || !record.entries.is_zero()
}

/// Begins to drain these destinations of a set, or changes until when; those whose drain is over stay as they are. All of them, or on an
/// error none.
pub fn begin<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    destinations: &[Member<'_>],
    terms: Terms,
    now: Now,
) -> Result<usize, NotDrained> {
    let records = || destinations.iter().filter_map(|one| root.registry.record(one.record));
    if destinations.is_empty() {
        return Err(NotDrained::NotThere);
    }
    if terms.seconds.is_none() && records().any(|record| !counts(set, record, terms)) {
        return Err(NotDrained::NoEnd);
    }
    for one in destinations {
        // Before the board is locked, which it asks.
        let counts = root.registry.record(one.record).is_some_and(|record| counts(set, record, terms));
        let change = root.registry.drain(one.record, now.wall, |_, flags, health| {
            if flags.has(Flags::DRAINED) {
                return None;
            }
            let drain = Drain::begin(now.micros, terms.seconds, !counts);
            // One that is drained already has had its time to settle.
            let began = if flags.has(Flags::DRAINING) { health.drain.began } else { drain.began };
            health.drain = Drain { began, ..drain };
            Some(flags.without(Flags::EJECTION).with(Flags::DRAINING))
        });
        ends_epoch(root, *one);
        // The time that is left outlives a restart, too.
        change.into_iter().for_each(|_| root.admin_changes.bump());
    }
    // After the flags: who turned it off before will look again.
    root.drains.turn(1);
    Ok(destinations.len())
}

/// Ends the drain of these destinations: they get calls again. One that a drain has disabled is enabled again.
pub fn undo<A: Alloc>(root: &Root<A>, destinations: &[Member<'_>], now: Now) -> Result<usize, NotDrained> {
    for one in destinations {
        let change = root.registry.drain(one.record, now.wall, |_, flags, health| {
            let to = if flags.has(Flags::DRAINING) {
                flags.without(Flags::DRAINING)
            } else if flags.has(Flags::DRAINED) {
                health.last = Report::undrained();
                flags.without(Flags::DISABLED.with(Flags::DRAINED))
            } else {
                return None;
            };
            health.drain = Drain::default();
            Some(to)
        });
        change.into_iter().for_each(|change| note_admin(root, change));
    }
    if destinations.is_empty() { Err(NotDrained::NotThere) } else { Ok(destinations.len()) }
}

/// A drain that is over.
pub struct Over {
    /// What is told of it.
    pub told: Told,
    /// Calls that are still up.
    pub calls: u32,
}

/// Disables the destinations whose drain is over. Costs next to nothing while none is drained.
pub fn end_those_over<A: Alloc>(root: &Root<A>, sets: &Generation<A>, now: Now) -> Vec<Over> {
    let mut over = Vec::new();
    // Off before the look: what begins meanwhile turns it on again.
    if root.drains.get() == 0 || root.drains.turn(0) == 0 {
        return over;
    }
    let mut left = false;
    for (_, set, one) in sets.all() {
        let is_drained = |record: &Record| record.flags().has(Flags::DRAINING);
        if !root.registry.record(one.record).is_some_and(is_drained) {
            continue;
        }
        let (mut report, mut calls) = (None, 0);
        // With its board locked, so that no call comes or goes meanwhile.
        let change = root.registry.drain(one.record, now.wall, |record, flags, health| {
            calls = record.load.get();
            let ended = health.drain.over(calls, now.micros).filter(|_| flags.has(Flags::DRAINING));
            left |= ended.is_none() && flags.has(Flags::DRAINING);
            let why = *report.insert(Report::drained(ended?));
            health.drain = Drain::default();
            health.streak = 0;
            let state = Flags::INACTIVE.with(Flags::TRYING).with(Flags::DRAINING);
            let after = flags.without(state).with(Flags::DISABLED);
            // What an operator had disabled before stays his.
            if flags.has(Flags::DISABLED) {
                return Some(after);
            }
            health.last = why;
            Some(after.with(Flags::DRAINED))
        });
        if let Some((change, report)) = change.zip(report) {
            note_admin(root, change);
            let (uri, set) = (one.text(one.uri).to_vec(), set.id);
            over.push(Over { told: Told { event: DestinationEvent::Drained, set, uri, report }, calls });
        }
    }
    if left {
        root.drains.turn(1);
    }
    over
}
