//! Changes of a destination's state by script or operator, and the events that follow.

use crate::dest::Flags;
use crate::health::drain::Drain;
use crate::health::event::{By, DestinationEvent, Events};
use crate::health::mark::{self, Thresholds};
use crate::shm::Alloc;
use crate::state::health::Report;
use crate::state::overload::Wish;
use crate::state::{Member, Root, Set, StateChange};

/// An event, with what event routes may ask about it. It owns its texts: a route runs without a pin.
#[derive(Debug, Clone)]
pub struct Told {
    /// What happened.
    pub event: DestinationEvent,
    /// The destination's set.
    pub set: i32,
    /// The destination's URI.
    pub uri: Vec<u8>,
    /// Why.
    pub report: Report,
}

impl Told {
    /// The event of a change, if it is one.
    pub fn of<A: Alloc>(
        events: Events,
        by: By,
        change: StateChange,
        set: &Set<A>,
        destination: Member<'_>,
        report: Report,
    ) -> Option<Self> {
        let event = events.event(by, change.from, change.to, change.first)?;
        Some(Self { event, set: set.id, uri: destination.text(destination.uri).to_vec(), report })
    }
}

/// A script's report about one destination; the thresholds decide what follows.
pub struct Mark {
    /// The state.
    pub state: Flags,
    /// Why.
    pub report: Report,
    /// How many it takes.
    pub thresholds: Thresholds,
    /// When it is an event.
    pub events: Events,
    /// Milliseconds of the wall clock.
    pub now: u64,
}

/// Reports about the destination at this position. `None` if there is none.
pub fn mark<A: Alloc>(root: &Root<A>, set: &Set<A>, at: usize, mark: &Mark) -> Option<Option<Told>> {
    let destination = set.get(at)?;
    let change = root.registry.change(destination.record, mark.now, |old, health| {
        let (to, streak) = mark::mark(old, health.streak, mark.state, mark.thresholds);
        // One more failure is no word of somebody who knows.
        let to = if to.has(Flags::TRYING) { to } else { to.without(Flags::EJECTION) };
        health.name.outage.down = false;
        if mark.state.has(Flags::DISABLED) {
            health.last = Report { reason: b"disabled by a script"[..].into(), ..mark.report };
        } else if !to.has(Flags::DISABLED) {
            health.last = mark.report;
        }
        Some((to, streak))
    })?;
    note_admin(root, change);
    if !change.to.has(Flags::TRYING) {
        ends_epoch(root, destination);
    }
    Some(Told::of(mark.events, By::Script, change, set, destination, mark.report))
}

/// Somebody has said what the state of a destination is: what its calls said before counts no more.
pub(super) fn ends_epoch<A: Alloc>(root: &Root<A>, destination: Member<'_>) {
    root.registry.record(destination.record).into_iter().for_each(|record| _ = record.begin_epoch());
}

/// Whether a destination is disabled or drained outlives a restart.
pub(super) fn note_admin<A: Alloc>(root: &Root<A>, change: StateChange) {
    let lasting = |flags: Flags| flags.0 & (Flags::DISABLED.0 | Flags::DRAINING.0 | Flags::DRAINED.0);
    if lasting(change.from) != lasting(change.to) {
        root.admin_changes.bump();
    }
}

/// An operator sets the state of these destinations, without thresholds. False if there is none.
pub fn set<A: Alloc>(root: &Root<A>, destinations: &[Member<'_>], state: Flags, now: u64) -> bool {
    let mut found = false;
    for destination in destinations {
        let change = root.registry.change(destination.record, now, |old, health| {
            // What the name means has no part in this state any more.
            health.name.outage.down = false;
            health.last = Report::by_operator(state);
            // Nor has a drain or an ejection: this is the last word.
            health.drain = Drain::default();
            let others = Flags::DRAINING.with(Flags::DRAINED).with(Flags::EJECTION);
            Some((old.without(Flags::STATES.with(others)).with(state), 0))
        });
        change.into_iter().for_each(|change| note_admin(root, change));
        ends_epoch(root, *destination);
        found |= change.is_some();
    }
    found
}

/// A destination asks to be left out of some selections. False if there is no such destination, or a newer wish is in force. A rate
/// outside of the configured limits is the nearest one inside; 0 ends the overload.
pub fn wish<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    uri: &[u8],
    rate: u32,
    until: u64,
    sequence: i32,
) -> bool {
    let mut taken = false;
    for (_, destination) in set.with_uri(uri) {
        if let Some(record) = root.registry.record(destination.record) {
            let (least, most) = destination.overload_limits();
            let rate = if rate == 0 { 0 } else { rate.clamp(least, most) };
            taken |= record.wish(Wish { rate, until }, sequence);
        }
    }
    taken
}
