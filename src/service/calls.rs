//! Counting calls: choosing and counting in one step, and what later messages do to the count.

use super::view::View;
use crate::load::{Call, Change, Event, Phase, key::Key};
use crate::select::{Choice, Refusal};
use crate::shm::counter::Audited;
use crate::shm::lock::Guard;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Member, Record, Root, Set, calls::Shard};
use core::net::SocketAddr;

/// Why a call was not counted.
#[derive(Debug, PartialEq, Eq)]
pub enum NotPlaced {
    /// Nothing to choose.
    Refused(Refusal),
    /// The table cannot grow.
    OutOfMemory(OutOfMemory),
}

/// The position at which the call counts already, if calls may still go there.
///
/// An INVITE that comes again goes where the first one went, without being counted again.
fn stay<A: Alloc>(root: &Root<A>, set: &Set<A>, key: &Key, now: u32, shard: &mut Shard<A>) -> Option<usize> {
    let call = shard.get_mut(key).filter(|call| call.counts())?;
    let record = root.registry.record(call.record())?;
    let at = set.place_of(call.record(), record).filter(|_| record.flags().usable())?;
    *call = call.moved(call.record(), now);
    Some(at)
}

/// Where a call counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The position.
    pub at: usize,
    /// It did not count there before.
    pub new: bool,
}

/// Counts the call at the position that `choose` finds, as one step; takes it off where it counted before.
///
/// If it `may_stay`, a call that counts at a usable destination of this set remains there and nothing is chosen; else it
/// goes to another.
pub fn place<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    key: Key,
    now: u32,
    may_stay: bool,
    choose: impl Fn(&View<'_, A>) -> Result<Choice, Refusal>,
) -> Result<Placed, NotPlaced> {
    // Held to the end: a second copy of the INVITE in another process waits here and then finds the call.
    let mut shard = root.calls.shard(&key);
    let counts_at = shard.get(&key).filter(|call| call.counts()).map(|call| call.record());
    if may_stay {
        if let Some(at) = stay(root, set, &key, now, &mut shard) {
            return Ok(Placed { at, new: false });
        }
    }
    // Where it may not stay it does not return to either.
    let view = View::new(root, set).without(counts_at);
    let (at, number, record) = loop {
        let choice = choose(&view).map_err(NotPlaced::Refused)?;
        let (Some(destination), Some(record)) = (set.get(choice.at), view.record(choice.at)) else {
            return Err(NotPlaced::Refused(Refusal::NoSet));
        };
        // Another process may have counted a call there since the look: look again.
        if record.load.take_if(choice.load, shard.audited) {
            root.counters.placed.bump();
            record.chosen(set.next_choice());
            break (choice.at, destination.record, record);
        }
    };
    enter(root, &mut shard, key, number, record, now).map_err(|error| {
        record.load.give(shard.audited);
        NotPlaced::OutOfMemory(error)
    })?;
    Ok(Placed { at, new: true })
}

/// Whether the call counts somewhere.
pub fn counts<A: Alloc>(root: &Root<A>, key: &Key) -> bool {
    root.counters.placed.get() > 0 && root.calls.shard(key).get(key).is_some_and(|call| call.counts())
}

/// Notes in the table that the call counts for `record`, which has taken it.
fn enter<A: Alloc>(
    root: &Root<A>,
    shard: &mut Guard<'_, Shard<A>>,
    key: Key,
    number: u32,
    record: &Record,
    now: u32,
) -> Result<(), OutOfMemory> {
    let audited = shard.audited;
    match shard.get_mut(&key) {
        Some(call) => {
            let old = *call;
            *call = old.moved(number, now);
            record.entries.take();
            leave(root, old, audited);
        }
        None => {
            put(root, shard, key, Call::new(number, now), now)?;
            record.entries.take();
        }
    }
    Ok(())
}

/// Puts an entry into the table. Where there is no memory for it, one that is only remembered gives way.
pub(super) fn put<A: Alloc>(
    root: &Root<A>,
    shard: &mut Guard<'_, Shard<A>>,
    key: Key,
    call: Call,
    now: u32,
) -> Result<(), OutOfMemory> {
    shard.insert(key, call).or_else(|full| {
        root.short.turn(1);
        let gone = shard.take_forgettable(now).ok_or(full)?;
        leave(root, gone, shard.audited);
        shard.insert(key, call)
    })
}

/// The entry of `call` names its record no more, and the call stops counting there if it did.
pub(super) fn leave<A: Alloc>(root: &Root<A>, call: Call, audited: Audited) {
    if let Some(record) = root.registry.record(call.record()) {
        if call.counts() {
            record.load.give(audited);
        }
        record.entries.give();
    }
}

/// A call that is sent on by something that does not count: if it counts somewhere, it counts here now.
pub fn follow<A: Alloc>(root: &Root<A>, key: impl FnOnce() -> Option<Key>, number: u32) {
    // Where nothing was ever counted this costs nothing.
    if root.counters.placed.get() == 0 {
        return;
    }
    let Some(key) = key() else { return };
    let mut shard = root.calls.shard(&key);
    let audited = shard.audited;
    if let Some(call) = shard.get_mut(&key).filter(|call| call.counts() && call.record() != number) {
        change_record(root, call, number, audited);
    }
}

/// What a message says about a call.
pub struct Report<'a, A: Alloc> {
    /// The call.
    pub key: Key,
    /// What happened.
    pub event: Event,
    /// Seconds, as the call table counts them.
    pub now: u32,
    /// For a reply: where it came from, and the sets that serve.
    pub from: Option<(SocketAddr, &'a Generation<A>)>,
}

/// Tells what happened to a call. False if the call is not known or the event came too late to mean anything; that is
/// counted, and no error.
pub fn report<A: Alloc>(root: &Root<A>, report: &Report<'_, A>) -> bool {
    let Report { key, event, now, .. } = *report;
    let mut shard = root.calls.shard(&key);
    let audited = shard.audited;
    let Some(call) = shard.get_mut(&key) else {
        if event != Event::Seen && event != Event::Answered {
            root.counters.unknown.bump();
        }
        return false;
    };
    if let Some(other) = answered_by_another(root, report, *call) {
        if event != Event::Answered {
            // The final answer of a destination that the call has left: 487 after a failover, say.
            root.counters.late.bump();
            return false;
        }
        change_record(root, call, other, audited);
    }
    let step = call.on(event, now);
    let number = call.record();
    if let Some(next) = step.next {
        *call = next;
    }
    if let Some(record) = root.registry.record(number) {
        match step.change {
            Change::Keep => {}
            Change::Take => {
                record.load.take(audited);
                root.counters.crossed.bump();
            }
            Change::Give => record.load.give(audited),
        }
        if step.next.is_none() {
            shard.remove(&key);
            record.entries.give();
        }
    }
    if !step.fits {
        root.counters.late.bump();
    }
    step.fits
}

/// Releases a call that goes nowhere, if it counts.
pub fn release<A: Alloc>(root: &Root<A>, key: Key, now: u32) {
    if counts(root, &key) {
        report(root, &Report { key, event: Event::Unset, now, from: None });
    }
}

/// The record of another destination, of any set, if the reply comes from that one and not from the call's own.
///
/// Only until the call is confirmed: inside a dialog either side may answer, and the caller's side may be a destination
/// too. A reply from an address that is no destination's is taken for the call's own: gateways may answer from elsewhere.
fn answered_by_another<A: Alloc>(root: &Root<A>, report: &Report<'_, A>, call: Call) -> Option<u32> {
    let (from, sets) = report.from.filter(|_| call.phase() != Phase::Confirmed)?;
    let from_it = |destination: Member<'_>| {
        let port = if destination.port == 0 { DEFAULT_PORT } else { destination.port };
        port == from.port() && destination.addresses().contains(&from.ip())
    };
    let record = root.registry.record(call.record())?;
    let own = sets.set(record.set())?;
    let usual = own.place_of(call.record(), record).and_then(|at| own.get(at));
    // Lines that mean one destination may lead to several addresses.
    if usual.is_some_and(from_it) || own.iter().any(|one| one.record == call.record() && from_it(one)) {
        return None;
    }
    let others = core::iter::once(own).chain(sets.sets());
    others.flat_map(Set::iter).find(|one| from_it(*one)).map(|other| other.record)
}

/// The port of a SIP URI without one (RFC 3261 section 19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// Moves a call to another record as it is.
fn change_record<A: Alloc>(root: &Root<A>, call: &mut Call, number: u32, audited: Audited) {
    let Some(new) = root.registry.record(number) else { return };
    new.entries.take();
    if call.counts() {
        new.load.take(audited);
    }
    leave(root, *call, audited);
    *call = call.renamed(number);
}
