//! The life of a probe: it begins at its time in the schedule and ends with what comes first: an answer, its timeout or a failure to
//! send it.
//!
//! The caller sends it. An answer counts once, for the destination that was probed, and only while that is configured and probed.
//! Other answers are dropped and counted.

use crate::dest::{Flags, ReplyCodes, reply_codes};
use crate::health::event::{By, Events};
use crate::health::mark::Thresholds;
use crate::health::probe_id::ProbeId;
use crate::health::probing::{self, ProbingMode};
use crate::service::health::set_state::Told;
use crate::shm::Alloc;
use crate::shm::lock::Guard;
use crate::state::health::{NextHop, Report};
use crate::state::{Generation, Health, Member, Root};
use std::sync::Arc;

/// The parameters of probing.
pub struct ProbeRules {
    /// `ds_probing_mode`.
    pub mode: ProbingMode,
    /// `ds_probing_threshold` and `ds_inactive_threshold`.
    pub thresholds: Thresholds,
    /// `ds_ping_reply_codes`.
    pub codes: Arc<ReplyCodes>,
    /// `event_callback_mode`.
    pub events: Events,
    /// `ds_ping_latency_stats`: the weight of the newest sample, where latency is measured at all.
    pub alpha: Option<f64>,
}

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Microseconds of a clock that only goes forward.
    pub micros: u64,
    /// Milliseconds of the wall clock.
    pub wall: u64,
}

/// A probe that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its [`ProbeId`], as one word.
    pub ticket: u64,
    /// Where it goes.
    pub way: Hop,
}

/// Where a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// To the address in its URI.
    Straight,
    /// To this address, which its name resolves to.
    By(NextHop),
    /// Nowhere: its name does not resolve. End it at once.
    Nowhere,
}

/// Begins a probe, if the destination is to be probed now. `named`: it goes to a host name, not an address.
pub fn begin<A: Alloc>(
    root: &Root<A>,
    rules: &ProbeRules,
    destination: Member<'_>,
    named: bool,
    now: Now,
) -> Option<Begun> {
    let record = root.registry.record(destination.record)?;
    let mut health = record.lock();
    if !rules.mode.probes(record.flags()) {
        return None;
    }
    if health.asked != destination.asked {
        // A reload has changed it, and this is the destination as it was.
        return None;
    }
    let way = match (named, health.name.next_hop) {
        (false, _) => Hop::Straight,
        (true, Some(next_hop)) => Hop::By(next_hop),
        (true, None) if health.name.looked != 0 => Hop::Nowhere,
        // Somebody is looking it up.
        (true, None) => return None,
    };
    let ticket = health.waiting.begin(destination.record, now.micros).pack()?;
    Some(Begun { ticket, way })
}

/// Whether the state of a destination is what its answers say, by the thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is, and no answer is awaited.
    Yes,
    /// It is as far as is known: an answer is awaited.
    Waits,
    /// It is not: too few answers in a row were as the last one, for it to be inactive or active again.
    No,
}

/// Whether the state of this destination is settled. One that is not probed now is.
pub fn settled<A: Alloc>(root: &Root<A>, rules: &ProbeRules, destination: Member<'_>) -> Settled {
    let Some(record) = root.registry.record(destination.record) else { return Settled::Yes };
    let (flags, health) = record.state();
    match (rules.mode.probes(flags), health.streak, health.waiting.is_any()) {
        (false, ..) => Settled::Yes,
        (true, 0, false) => Settled::Yes,
        (true, 0, true) => Settled::Waits,
        (true, 1.., _) => Settled::No,
    }
}

/// A probe was sent, or failed to be.
pub fn went<A: Alloc>(root: &Root<A>, destination: Member<'_>, now: Now) {
    root.counters.probes.bump();
    if let Some(mut health) = asked(root, destination) {
        (health.probed, health.dropped) = (now.wall, 0);
    }
}

/// The script dropped a probe: the destination was not asked, and its state stays. So a standby node that drops all probes keeps
/// the states it has.
pub fn dropped<A: Alloc>(root: &Root<A>, destination: Member<'_>, begun: Begun, now: Now) {
    if let Some(mut health) = asked(root, destination) {
        health.waiting.end(ProbeId::unpack(begun.ticket));
        health.dropped = now.wall;
    }
}

/// The health of this destination, unless a reload has changed what is probed.
fn asked<'a, A: Alloc>(root: &'a Root<A>, destination: Member<'_>) -> Option<Guard<'a, Health>> {
    let health = root.registry.record(destination.record)?.lock();
    (health.asked == destination.asked).then_some(health)
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// With a reply from the network: its code and reason phrase.
    Reply(u16, &'a [u8]),
    /// Its time is over.
    NoAnswer,
    /// The host could not send it.
    NotSent,
    /// Its name does not resolve.
    NoName,
}

impl End<'_> {
    fn report(self) -> Report {
        match self {
            Self::Reply(code, reason) => Report { code, reason: reason.into(), received: true },
            Self::NoAnswer => Report { code: 408, reason: b"no answer"[..].into(), received: false },
            Self::NotSent => {
                Report { code: 500, reason: b"Sending keepalive failed"[..].into(), received: false }
            }
            Self::NoName => no_name(),
        }
    }
}

/// The report about a destination whose name does not resolve.
pub fn no_name() -> Report {
    Report { code: 478, reason: b"the name does not resolve"[..].into(), received: false }
}

/// The report about a destination whose name has not been looked up since it was configured.
pub fn not_resolved_yet() -> Report {
    Report { code: 478, reason: b"the name has not been resolved yet"[..].into(), received: false }
}

/// What is said of a destination whose flags and health are these.
pub fn why(flags: Flags, health: &Health) -> Report {
    let waits = flags.has(Flags::UNRESOLVED) && flags.without(Flags::UNRESOLVED).usable();
    if waits { not_resolved_yet() } else { health.last }
}

/// Ends a probe; returns the event, if the state changes. An answer that comes too late is dropped and counted.
///
/// A reply from the network is compared with the accepted codes; no answer is always a failure.
pub fn end<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    rules: &ProbeRules,
    ticket: u64,
    end: End<'_>,
    now: Now,
) -> Option<Told> {
    conclude(root, sets, rules, ticket, end, now).unwrap_or_else(|Stale| {
        root.counters.stale_probes.bump();
        None
    })
}

/// Ends a probe whose time is over, unless it has ended.
pub fn overdue<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    rules: &ProbeRules,
    ticket: u64,
    now: Now,
) -> Option<Told> {
    conclude(root, sets, rules, ticket, End::NoAnswer, now).ok().flatten()
}

/// The probe is over, or its destination is no longer to be probed.
struct Stale;

fn conclude<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    rules: &ProbeRules,
    ticket: u64,
    end: End<'_>,
    now: Now,
) -> Result<Option<Told>, Stale> {
    let ticket = ProbeId::unpack(ticket);
    let record = root.registry.record(ticket.record).ok_or(Stale)?;
    let (set, destination) = sets.of_record(ticket.record, record).ok_or(Stale)?;
    let report = end.report();
    let good = match end {
        End::Reply(code, _) => accepted(rules, destination.text(destination.ping_reply_codes), code),
        End::NoAnswer | End::NotSent | End::NoName => false,
    };
    let change = root.registry.change(ticket.record, now.wall, |flags, health| {
        let waited = health.waiting.end(ticket);
        let after = probing::answered(rules.mode, flags, health.streak, good, rules.thresholds);
        let after = after.filter(|_| waited)?;
        health.last = report;
        if let Some(alpha) = rules.alpha {
            match end {
                End::Reply(..) => record.sample(health, ticket.age(now.micros), alpha),
                End::NoAnswer => health.latency.timeouts = health.latency.timeouts.saturating_add(1),
                End::NotSent | End::NoName => {}
            }
        }
        if good {
            (health.successes, health.failures) = (health.successes.saturating_add(1), 0);
        } else {
            (health.failures, health.successes) = (health.failures.saturating_add(1), 0);
            root.counters.failed_probes.bump();
            record.totals.failed_probes.bump();
        }
        Some(after)
    });
    Ok(Told::of(rules.events, By::Probe, change.ok_or(Stale)?, set, destination, report))
}

fn accepted(rules: &ProbeRules, own: &[u8], code: u16) -> bool {
    if own.is_empty() { rules.codes.accept(code) } else { reply_codes::accepted(own, code) }
}
