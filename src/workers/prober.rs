//! Probes of destinations: a process that sends them, and what comes back.

use crate::conf::Probing;
use crate::context::{Module, event, module};
use crate::dest::Flags;
use crate::health::probe_id::MOST_UNDER_WAY;
use crate::health::schedule::{Agenda, Item, Jitter, Turn};
use crate::host::mem::Pool;
use crate::host::tm::{self, Handed, Outcome};
use crate::host::{clock, uri};
use crate::service::health::probe::{self, Begun, End, Hop, Now, ProbeRules, Settled};
use crate::service::health::set_state::Told;
use crate::service::sets::commit;
use crate::shm::Foreign;
use crate::state::{Generation, Member, Position, Root};
use core::cmp::Reverse;
use parking_lot::Mutex;
use std::collections::{BinaryHeap, HashSet};

/// Microseconds between two rounds of the prober.
pub const PAUSE: u32 = 10_000;

/// The state of the prober process; every other process has none.
struct Prober {
    /// The generation that the agenda is about.
    generation: u64,
    agenda: Agenda<Position>,
    /// When probes under way are over, and which.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
}

static PROBER: Mutex<Option<Prober>> = Mutex::new(None);

/// What time it is.
pub fn now() -> Now {
    Now { micros: clock::micros(), wall: clock::wall_millis() }
}

/// Microseconds from one probe of this destination to the next.
pub fn interval(probing: &Probing, destination: Member<'_>) -> u64 {
    let own = destination.ping_interval;
    u64::from(if own > 0 { own } else { probing.interval }) * 1_000_000
}

/// Whether probes of this destination go to a host name, not an address.
pub fn by_name(probing: &Probing, destination: Member<'_>) -> bool {
    let proxy = proxy(probing, destination);
    if proxy.is_empty() { destination.named } else { host_is_named(proxy) }
}

/// The URI of the proxy that probes of this destination go through; empty where there is none.
pub fn proxy<'a>(probing: &'a Probing, destination: Member<'a>) -> &'a [u8] {
    let own = destination.text(destination.obproxy);
    if own.is_empty() { &probing.outbound_proxy } else { own }
}

fn host_is_named(text: &[u8]) -> bool {
    let host = uri::parse(text).and_then(|parsed| text.get(parsed.host));
    host.is_some_and(|host| uri::literal(host).is_none())
}

/// One round: sends the probes whose time has come and ends those that got no answer in time. In the prober's own process.
pub fn work() {
    let Some((module, probing)) = module().and_then(|module| Some((module, module.conf.probing.as_ref()?)))
    else {
        return;
    };
    let mut events = Vec::new();
    {
        let mut prober = PROBER.lock();
        let prober = prober.get_or_insert_with(|| Prober {
            generation: 0,
            agenda: Agenda::new(clock::micros(), jitter(module, probing)),
            ends: BinaryHeap::new(),
        });
        let Some(sets) = module.sets() else { return };
        let rules = module.probe_rules();
        prober.follow(module.root, probing, &sets);
        events.extend(prober.end_overdue(module, &rules, &sets));
        prober.send_due(module, probing, &rules, &sets, &mut events);
    }
    event::tell_all(module, events);
}

impl Prober {
    fn follow(&mut self, root: &Root<Pool>, probing: &Probing, sets: &Generation<Pool>) {
        if self.generation == sets.number {
            return;
        }
        commit::settled(root);
        self.generation = sets.number;
        // Lines that mean one destination are probed as one.
        let mut seen = HashSet::new();
        let items = sets.all().filter(|(_, _, one)| seen.insert(one.record));
        self.agenda.replace(items.map(|(position, _, one)| item(probing, position, one)));
    }

    fn end_overdue(&mut self, module: &Module, rules: &ProbeRules, sets: &Generation<Pool>) -> Vec<Told> {
        let now = now();
        let mut events = Vec::new();
        while let Some(Reverse((due, ticket))) = self.ends.peek().copied() {
            if due > now.micros {
                break;
            }
            self.ends.pop();
            events.extend(probe::overdue(module.root, sets, rules, ticket, now));
        }
        events
    }

    fn send_due(
        &mut self,
        module: &Module,
        probing: &Probing,
        rules: &ProbeRules,
        sets: &Generation<Pool>,
        events: &mut Vec<Told>,
    ) {
        let round = clock::micros();
        self.agenda.begin_round(round);
        while let Some((due, position, turn)) = self.agenda.pop(round) {
            let Some((_, one)) = sets.at(position) else { continue };
            let item = item(probing, position, one);
            let pace = item.pace(turn);
            let settled = match turn {
                Turn::Probe => Settled::No,
                Turn::Look => probe::settled(module.root, rules, one),
            };
            // After a stall of more than an interval the turns that were missed are not made up for.
            let due = due.max(round.saturating_sub(pace));
            self.agenda.again((due, turn), item, settled != Settled::Yes);
            if settled != Settled::No {
                self.agenda.give_back();
                continue;
            }
            if !module.root.ping_active.is_on() {
                continue;
            }
            let now = now();
            let named = by_name(probing, one);
            let begun = probe::begin(module.root, rules, one, named, now);
            let Some(begun) = begun else { continue };
            let timeout = if one.ping_timeout > 0 { one.ping_timeout } else { probing.timeout };
            if timeout > 0 {
                // As many probes as can be known apart may be under way.
                let timeout = (u64::from(timeout) * 1000).min(item.pace(Turn::Look) * MOST_UNDER_WAY);
                self.ends.push(Reverse((now.micros + timeout, begun.ticket)));
            }
            let mut fail = |fault| {
                probe::went(module.root, one, now);
                events.extend(probe::end(module.root, sets, rules, begun.ticket, fault, now));
            };
            match send(module, probing, one, begun) {
                Ok(Handed::Dropped) => probe::dropped(module.root, one, begun, now),
                Ok(Handed::Sent) => probe::went(module.root, one, now),
                Ok(Handed::NotSent) => fail(End::NotSent),
                Err(fault) => fail(fault),
            }
        }
    }
}

fn item(probing: &Probing, what: Position, one: Member<'_>) -> Item<Position> {
    let fast = u64::from(probing.fast) * 1_000_000;
    Item { number: one.record, interval: interval(probing, one), fast, what }
}

/// How the probes of this server are scattered.
fn jitter(module: &Module, probing: &Probing) -> Jitter {
    Jitter { percent: probing.jitter, secret: module.root.secret.word(&[b"probes"]) }
}

/// Hands a probe over; or why it has nowhere to go.
fn send(module: &Module, probing: &Probing, one: Member<'_>, begun: Begun) -> Result<Handed, End<'static>> {
    let next_hop = match begun.way {
        Hop::Straight => proxy(probing, one).to_vec(),
        Hop::By(hop) => uri::of_address(hop.address, hop.proto),
        Hop::Nowhere => return Err(End::NoName),
    };
    let from = one.text(one.ping_from);
    let request = tm::Request {
        method: &probing.method,
        uri: one.text(one.uri),
        from: if from.is_empty() { &probing.from } else { from },
        next_hop: &next_hop,
        socket: socket(module, one),
    };
    Ok(tm::send(&request, begun.ticket))
}

/// `ping_socket`, then the destination's own, then `ds_ping_socket`, then the default of all.
fn socket(module: &Module, one: Member<'_>) -> Option<Foreign> {
    let has_own = !one.text(one.socket).is_empty() || !one.text(one.sockname).is_empty();
    let own = one.send_from.filter(|_| has_own);
    one.ping_from_socket.or(own).or(module.ping_socket).or(module.default_socket)
}

/// A probe's transaction has ended; in whatever process saw that.
pub fn answered(ticket: u64, outcome: Outcome<'_>) {
    let Some(module) = module() else { return };
    let told = {
        let Some(sets) = module.sets() else { return };
        let (root, rules, now) = (module.root, &module.probe_rules(), now());
        match outcome {
            Outcome::Reply(code, reason) => {
                probe::end(root, &sets, rules, ticket, End::Reply(code, reason), now)
            }
            // Most likely its own time has ended it before; the host's is no answer that came late.
            Outcome::NoReply => probe::overdue(root, &sets, rules, ticket, now),
        }
    };
    if let Some(told) = told {
        event::tell(module, told);
    }
}

/// When a destination with these flags is probed next, in seconds of the wall clock, if it is to be.
pub fn next(module: &Module, one: Member<'_>, flags: Flags) -> Option<u64> {
    let probing = module.conf.probing.as_ref().filter(|_| module.root.ping_active.is_on())?;
    module.conf.probing_mode.probes(flags).then(|| {
        let now = now();
        let settled = probe::settled(module.root, &module.probe_rules(), one) != Settled::No;
        let due = item(probing, (0, 0), one).next_probe(jitter(module, probing), now.micros, settled);
        (now.wall + (due - now.micros) / 1000) / 1000
    })
}
