//! Look-ups of host names, made in a process of their own so that no worker and no probe waits for the DNS.
//!
//! A name that stops resolving keeps its last addresses. A destination that is not probed goes down when that has lasted for
//! `ds_dns_hold`, or at once if its name never resolved; it comes back when the name resolves again. If it is probed, its probes
//! fail meanwhile and the thresholds decide.

use crate::dest::Flags;
use crate::health::event::{By, Events};
use crate::health::outage::Terms;
use crate::health::probing::ProbingMode;
use crate::service::health::probe::{Now, no_name};
use crate::service::health::set_state::Told;
use crate::service::sets::resolve::Meaning;
use crate::shm::Alloc;
use crate::state::health::{NextHop, Report};
use crate::state::{Destination, Health, Member, Root, Set};
use core::net::IpAddr;

/// What names are looked up for, and how often: the parameters.
pub struct NameRules {
    /// Whether addresses are wanted at all.
    pub addresses: bool,
    /// All addresses of a name, not only the first (`ds_dns_match_all`).
    pub all: bool,
    /// Microseconds between look-ups of addresses; none if one look-up is enough.
    pub refresh: Option<u64>,
    /// Microseconds that a destination stays up after its name stopped resolving; none is without end.
    pub hold: Option<u64>,
    /// Where destinations are probed: which, and microseconds between probes.
    pub probing: Option<(ProbingMode, u64)>,
    /// `event_callback_mode`.
    pub events: Events,
}

/// Addresses of a name that are kept, at most.
pub const MOST: usize = 32;
/// Microseconds until a name that does not resolve is looked up again.
const RETRY: u64 = 10_000_000;

/// What a destination's name is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// To tell whether a message comes from it.
    pub addresses: bool,
    /// To probe it.
    pub next_hop: bool,
}

impl NameRules {
    /// What this destination's name is wanted for. `probed_by_name`: a name stands for where its probes go.
    pub fn wants(&self, destination: &Destination, probed_by_name: bool) -> Wants {
        let flags = destination.flags;
        Wants {
            addresses: self.addresses
                && (destination.named || destination.is_target())
                && !flags.has(Flags::NO_DNS),
            next_hop: self.probing.is_some() && probed_by_name && !flags.has(Flags::NO_PING),
        }
    }

    /// When to look it up next, in microseconds; `None` is never.
    pub fn due(&self, wants: Wants, destination: &Destination, health: &Health) -> Option<u64> {
        let own = u64::from(destination.ping_interval) * 1_000_000;
        let to_probe = self.probing.map(|(_, interval)| if own > 0 { own } else { interval });
        let to_probe = to_probe.filter(|_| wants.next_hop);
        let refresh = self.refresh.filter(|_| wants.addresses);
        let period = match (to_probe, refresh) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if !wants.addresses && !wants.next_hop {
            None
        } else if health.name.looked == 0 {
            Some(0)
        } else if health.name.lost != 0 {
            Some(health.name.looked + period.unwrap_or(RETRY).min(RETRY))
        } else {
            period.map(|period| health.name.looked + period)
        }
    }
}

/// The result of a look-up; only what was wanted.
#[derive(Debug, Default)]
pub struct Look {
    /// Addresses.
    pub meaning: Option<Meaning>,
    /// Where probes go.
    pub next_hop: Option<NextHop>,
}

/// The changes that follow from a look-up.
#[derive(Debug, Default)]
pub struct Learned {
    /// Addresses to publish.
    pub meaning: Option<Meaning>,
    /// The event, if the state changes.
    pub told: Option<Told>,
    /// Something that an operator should know.
    pub turn: Option<Turn>,
}

/// A name changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It resolves no more.
    Lost,
    /// It resolves again.
    Back,
}

/// Takes in the result of a look-up of a destination's name. Ignores it if a reload has changed the destination meanwhile.
///
/// Addresses decide the state; without a next hop probes fail.
pub fn learn<A: Alloc>(
    root: &Root<A>,
    rules: &NameRules,
    set: &Set<A>,
    destination: Member<'_>,
    wants: Wants,
    look: Look,
    now: Now,
) -> Learned {
    let Some(record) = root.registry.record(destination.record) else { return Learned::default() };
    let missing = wants.addresses && look.meaning.is_none();
    let report = if missing { no_name() } else { resolves_again() };
    let terms = Terms {
        known: !destination.addresses().is_empty(),
        hold: rules.hold,
        probed_when_down: matches!(rules.probing, Some((ProbingMode::All | ProbingMode::Inactive, _))),
    };
    let mut learned = Learned::default();
    let mut another = false;
    let change = root.registry.change(destination.record, now.wall, |flags, health| {
        another = health.asked != destination.asked;
        if another {
            return None;
        }
        let name = &mut health.name;
        (name.looked, name.looked_up) = (now.micros, now.wall);
        name.next_hop = look.next_hop;
        let was_lost = name.lost != 0;
        name.lost = match (missing, was_lost) {
            (false, _) => 0,
            (true, true) => name.lost,
            (true, false) => now.wall,
        };
        learned.turn = match (missing, was_lost) {
            (true, false) => Some(Turn::Lost),
            (false, true) => Some(Turn::Back),
            _ => None,
        };
        let probed = rules.probing.is_some_and(|(mode, _)| mode.probes(flags));
        let waits = Flags(flags.0 & Flags::UNRESOLVED.0);
        let state = flags.without(waits);
        let to = if missing {
            name.outage.goes_on(state, now.micros, terms).map(|to| to.with(waits))
        } else {
            record.resolved();
            name.outage.over(state, probed)
        }?;
        health.last = report;
        Some((to, 0))
    });
    if another {
        return Learned::default();
    }
    learned.told =
        change.and_then(|change| Told::of(rules.events, By::Probe, change, set, destination, report));
    learned.meaning = look.meaning.and_then(|found| differs(destination, found, rules.all));
    learned
}

fn resolves_again() -> Report {
    Report { code: 200, reason: b"the name resolves again"[..].into(), received: false }
}

/// The addresses to publish, unless they are those that serve.
///
/// DNS servers give the addresses of a name in changing order. So the address in use stays while it is one of them.
fn differs(destination: Member<'_>, mut found: Meaning, all: bool) -> Option<Meaning> {
    let serving = destination.addresses();
    kept(&mut found.addresses, serving, all);
    let port_and_proto = (destination.port, destination.proto);
    let same = found.addresses == serving && found.port_and_proto.is_none_or(|it| it == port_and_proto);
    (!same).then_some(found)
}

/// Cuts the addresses to those that are kept, in the order of those that serve.
pub fn kept(found: &mut Vec<IpAddr>, serving: &[IpAddr], all: bool) {
    let place = |address: &IpAddr| serving.iter().position(|one| one == address).unwrap_or(usize::MAX);
    found.sort_by_key(place);
    found.dedup();
    found.truncate(if all { MOST } else { 1 });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|&last| IpAddr::from([10, 0, 0, last])).collect()
    }

    #[test]
    fn the_address_in_use_stays_while_it_is_one_of_those_found() {
        let kept = |found: &[u8], serving: &[u8], all| {
            let mut found = addresses(found);
            kept(&mut found, &addresses(serving), all);
            found
        };
        assert_eq!(kept(&[1, 2, 3], &[2], false), addresses(&[2]));
        assert_eq!(kept(&[1, 3], &[2], false), addresses(&[1]));
        assert_eq!(kept(&[3, 1, 2], &[1, 2, 3], true), addresses(&[1, 2, 3]));
        assert_eq!(kept(&[4, 1], &[1, 2, 3], true), addresses(&[1, 4]));
    }

    fn due(refresh: Option<u64>, to_probe: bool, looked: u64, lost: u64) -> Option<u64> {
        let probing = Some((ProbingMode::All, 3_000_000));
        let rules =
            NameRules { addresses: true, all: false, refresh, hold: None, probing, events: Events::Changes };
        let destination = Destination { named: true, ..Destination::default() };
        let mut health = Health::default();
        (health.name.looked, health.name.lost) = (looked, lost);
        rules.due(rules.wants(&destination, to_probe), &destination, &health)
    }

    #[test]
    fn a_name_is_looked_up_once_unless_somebody_wants_it_fresh() {
        assert_eq!(due(None, false, 0, 0), Some(0));
        assert_eq!(due(None, false, 7, 0), None);
        assert_eq!(due(Some(60_000_000), false, 7, 0), Some(60_000_007));
        assert_eq!(due(Some(60_000_000), true, 7, 0), Some(3_000_007));
    }

    #[test]
    fn a_lost_name_is_tried_again_soon() {
        assert_eq!(due(None, false, 7, 1), Some(10_000_007));
        assert_eq!(due(Some(60_000_000), false, 7, 1), Some(10_000_007));
        assert_eq!(due(Some(60_000_000), true, 7, 1), Some(3_000_007));
    }
}
