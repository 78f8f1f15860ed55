//! The process that looks host names up, so that nobody else has to wait for the DNS.

use super::{Module, event, module, probing};
use crate::dest::problem::shown;
use crate::host::mem::Pool;
use crate::host::{clock, event as host_event, log, uri};
use crate::service::names::{self, Look, Wants};
use crate::service::probe::Now;
use crate::service::publish::{self, Meaning};
use crate::state::health::NextHop;
use crate::state::{Destination, Generation, Set};
use core::cmp::Reverse;
use core::net::SocketAddr;
use parking_lot::Mutex;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Microseconds between two looks at which names are due.
pub const PAUSE: u32 = 50_000;

/// Microseconds after which what was found so far is published.
const ENOUGH: u64 = 200_000;

/// When to look up whose name: positions of a set and of a destination in it.
type Due = Reverse<(u64, (u32, u32))>;

/// What the process for names knows; every other has none.
struct Agenda {
    /// The generation that it is about.
    generation: u64,
    due: BinaryHeap<Due>,
}

static AGENDA: Mutex<Agenda> = Mutex::new(Agenda { generation: 0, due: BinaryHeap::new() });

/// Looks up what is due. In the process of its own.
pub fn work() {
    let Some(module) = module() else { return };
    let mut events = Vec::new();
    let mut changed = HashMap::new();
    {
        let mut agenda = AGENDA.lock();
        let Some(sets) = module.sets() else { return };
        agenda.follow(module, &sets);
        let begun = clock::micros();
        while let Some(place) = agenda.next().filter(|_| clock::micros() < begun + ENOUGH) {
            let Some((set, one)) = at(&sets, place) else { continue };
            let wants = wants(module, set, one);
            let look = look_up(module, set, one, wants);
            let now = Now { micros: clock::micros(), wall: clock::wall_millis() };
            let learned = names::learn(module.root, &module.name_rules, set, one, wants, look, now);
            tell_turn(set, one, learned.turned);
            events.extend(learned.told);
            changed.extend(learned.meaning.map(|meaning| (one.record, meaning)));
            agenda.put(module, &sets, place);
        }
    }
    if !changed.is_empty() {
        if let Err(error) = publish::readdress(module.root, &changed) {
            log::error(format_args!("what names mean now cannot be published: {error}"));
        }
    }
    if !events.is_empty() {
        events.into_iter().for_each(|told| event::tell(module, told));
        host_event::forget();
    }
}

fn at(sets: &Generation<Pool>, place: (u32, u32)) -> Option<(&Set<Pool>, &Destination)> {
    let set = sets.sets().get(place.0 as usize)?;
    Some((set, set.destinations.get(place.1 as usize)?))
}

impl Agenda {
    fn follow(&mut self, module: &Module, sets: &Generation<Pool>) {
        if self.generation == sets.number {
            return;
        }
        self.generation = sets.number;
        self.due.clear();
        let mut seen = HashSet::new();
        for (at, set) in sets.sets().iter().enumerate() {
            for (place, one) in set.destinations.iter().enumerate() {
                if seen.insert(one.record) {
                    self.put(module, sets, (at as u32, place as u32));
                }
            }
        }
    }

    fn put(&mut self, module: &Module, sets: &Generation<Pool>, place: (u32, u32)) {
        let due = || {
            let (set, one) = at(sets, place)?;
            let wants = wants(module, set, one);
            let health = module.root.registry.record(one.record)?.health();
            module.name_rules.due(wants, one, &health)
        };
        self.due.extend(due().map(|due| Reverse((due, place))));
    }

    fn next(&mut self) -> Option<(u32, u32)> {
        let now = clock::micros();
        self.due.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.due.pop().map(|Reverse((_, place))| place)
    }
}

fn wants(module: &Module, set: &Set<Pool>, one: &Destination) -> Wants {
    let by_name = module.conf.probing.as_ref().is_some_and(|probing| probing::by_name(probing, set, one));
    module.name_rules.wants(one, by_name)
}

fn look_up(module: &Module, set: &Set<Pool>, one: &Destination, wants: Wants) -> Look {
    let dns = module.conf.dns;
    uri::keep_results_for(dns.ttl);
    let host = set.text(one.host);
    let written = || uri::parse(set.text(one.uri)).map_or((0, 0), |parsed| (parsed.port, parsed.proto));
    let mut look = Look::default();
    if wants.addresses {
        look.meaning = meaning(host, written(), dns.srv);
    }
    if let Some(probing) = module.conf.probing.as_ref().filter(|_| wants.next_hop) {
        let proxy = probing::proxy(probing, set, one);
        let hop = if proxy.is_empty() {
            let (port, proto) = written();
            uri::resolve_for_sip(host, port, proto)
        } else {
            uri::parse(proxy).and_then(|parsed| {
                uri::resolve_for_sip(proxy.get(parsed.host.clone())?, parsed.port, parsed.proto)
            })
        };
        look.next_hop = hop.and_then(|(addresses, port, proto)| {
            Some(NextHop { address: SocketAddr::new(*addresses.first()?, port), proto })
        });
    }
    uri::keep_results_for(0);
    look
}

/// What a name means: its addresses, and with `srv` the port and transport that the DNS names. `None` if nothing.
pub fn meaning(host: &[u8], (port, proto): (u16, u16), srv: bool) -> Option<Meaning> {
    if srv {
        let (addresses, port, proto) = uri::resolve_for_sip(host, port, proto)?;
        return Some(Meaning { addresses, port_and_proto: Some((port, proto)) });
    }
    let addresses = uri::resolve(host);
    (!addresses.is_empty()).then_some(Meaning { addresses, port_and_proto: None })
}

fn tell_turn(set: &Set<Pool>, one: &Destination, turned: Option<bool>) {
    let (id, name) = (set.id, shown(set.text(one.uri)));
    match turned {
        Some(true) => log::info(format_args!("set {id}: the name in {name} resolves again")),
        Some(false) => log::warning(format_args!("set {id}: the name in {name} does not resolve")),
        None => {}
    }
}
