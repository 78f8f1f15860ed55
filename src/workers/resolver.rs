//! The process that looks host names up, so that no other process has to wait for the DNS.

use super::{drains, ejections, penalties, prober, state_file};
use crate::context::{Module, event, lookup, module};
use crate::dest::problem::shown;
use crate::host::mem::Pool;
use crate::host::{clock, log, uri};
use crate::service::health::dns::{self, Learned, Look, Turn, Wants};
use crate::service::health::set_state::Told;
use crate::service::sets::resolve::Meaning;
use crate::service::sets::srv_targets::{self, NamedLine, Target};
use crate::service::sets::{commit, readdress};
use crate::state::{Generation, Member, Position, Set};
use core::cmp::Reverse;
use parking_lot::Mutex;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Microseconds between two rounds of the resolver.
pub const PAUSE: u32 = 50_000;

/// Microseconds after which a round ends and its results are published.
const ENOUGH: u64 = 200_000;

/// When to look up whose name.
type Due = Reverse<(u64, Position)>;

/// The state of the resolver process; every other process has none.
struct LookUps {
    /// The generation that it is about.
    generation: u64,
    due: BinaryHeap<Due>,
}

static LOOK_UPS: Mutex<LookUps> = Mutex::new(LookUps { generation: 0, due: BinaryHeap::new() });

/// One round: looks up the names whose time has come. In the resolver's own process.
pub fn work() {
    let Some(module) = module() else { return };
    drains::end_those_over(module);
    penalties::decay(module);
    ejections::look(module);
    state_file::keep_up(module);
    let mut events = Vec::new();
    let (mut changed, mut lines) = (HashMap::new(), HashMap::new());
    {
        let mut agenda = LOOK_UPS.lock();
        let Some(sets) = module.sets() else { return };
        agenda.follow(module, &sets);
        let begun = clock::micros();
        while clock::micros() < begun + ENOUGH {
            let Some(position) = agenda.next() else { break };
            let Some((set, one)) = sets.at(position) else { continue };
            let wants = wants(module, one);
            if !one.text(one.written).is_empty() && wants.addresses {
                lines.extend(look_up_line(module, set, one, wants, &mut events));
            } else {
                let look = look_up(module, one, wants);
                let learned = learn(module, set, one, wants, look);
                events.extend(learned.told);
                changed.extend(learned.meaning.map(|meaning| ((one.record, one.asked), meaning)));
            }
            agenda.put(module, &sets, position);
        }
    }
    let readdressed = if changed.is_empty() { Ok(()) } else { readdress::readdress(module.root, &changed) };
    let retargeted = if lines.is_empty() { Ok(()) } else { readdress::retarget(module.root, &lines) };
    if let Err(error) = readdressed.and(retargeted) {
        log::error(format_args!("what names mean now cannot be published: {error}"));
    }
    event::tell_all(module, events);
}

fn learn(module: &Module, set: &Set<Pool>, one: Member<'_>, wants: Wants, look: Look) -> Learned {
    let learned = dns::learn(module.root, &module.name_rules, set, one, wants, look, prober::now());
    tell_turn(set, one, learned.turn);
    learned
}

/// Looks up the line of this destination for all destinations of that line. Returns its targets, if they have changed.
fn look_up_line(
    module: &Module,
    set: &Set<Pool>,
    first: Member<'_>,
    wants: Wants,
    events: &mut Vec<Told>,
) -> Option<(NamedLine, Vec<Target>)> {
    let written = first.text(first.written);
    let dns = &module.conf.dns;
    let found = lookup::targets(written, dns);
    // Its targets are where probes go, unless they go through a proxy with a name, which is the same for all.
    let proxy = module.conf.probing.as_ref().map_or(&[][..], |probing| prober::proxy(probing, first));
    let wants = Wants { next_hop: wants.next_hop && !proxy.is_empty(), ..wants };
    let next_hop = if wants.next_hop { lookup::proxy_hop(proxy, dns) } else { None };
    let line = NamedLine::of(set.id, first);
    let mut waits = false;
    for (_, one) in srv_targets::of_line(set, &line) {
        waits |= one.named;
        // Their addresses are their own; what matters is whether the name still means something.
        let addresses = one.addresses().to_vec();
        let meaning = (!found.is_empty()).then_some(Meaning { addresses, port_and_proto: None });
        events.extend(learn(module, set, one, wants, Look { meaning, next_hop }).told);
    }
    let differ = waits || !srv_targets::same(&found, &srv_targets::serving(set, &line));
    (differ && !found.is_empty()).then_some((line, found))
}

impl LookUps {
    fn follow(&mut self, module: &Module, sets: &Generation<Pool>) {
        if self.generation == sets.number {
            return;
        }
        commit::settled(module.root);
        self.generation = sets.number;
        self.due.clear();
        let (mut seen, mut lines) = (HashSet::new(), HashSet::new());
        for (position, set, one) in sets.all() {
            // Of the destinations of one line the first stands for all.
            let new = one.text(one.written).is_empty() || lines.insert(NamedLine::of(set.id, one));
            if seen.insert(one.record) && new {
                self.put(module, sets, position);
            }
        }
    }

    fn put(&mut self, module: &Module, sets: &Generation<Pool>, position: Position) {
        let due = || {
            let (set, one) = sets.at(position)?;
            let wants = wants(module, one);
            let record = |one: Member<'_>| Some(module.root.registry.record(one.record)?.health());
            let mut health = record(one)?;
            if one.is_target() {
                // The line was looked up for all of them; a new first one was not asked about itself.
                let line = NamedLine::of(set.id, one);
                let looked =
                    srv_targets::of_line(set, &line).filter_map(|(_, one)| Some(record(one)?.name.looked));
                health.name.looked = looked.max().unwrap_or(0);
            }
            module.name_rules.due(wants, &one, &health)
        };
        self.due.extend(due().map(|due| Reverse((due, position))));
    }

    fn next(&mut self) -> Option<Position> {
        let now = clock::micros();
        self.due.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.due.pop().map(|Reverse((_, position))| position)
    }
}

fn wants(module: &Module, one: Member<'_>) -> Wants {
    let by_name = module.conf.probing.as_ref().is_some_and(|probing| prober::by_name(probing, one));
    module.name_rules.wants(&one, by_name)
}

fn look_up(module: &Module, one: Member<'_>, wants: Wants) -> Look {
    let dns = &module.conf.dns;
    let host = one.text(one.host);
    let written = uri::parse(one.text(one.uri)).map_or((0, 0), |parsed| (parsed.port, parsed.proto));
    let mut look = Look::default();
    if wants.addresses {
        look.meaning = lookup::meaning(host, written, dns);
    }
    if let Some(probing) = module.conf.probing.as_ref().filter(|_| wants.next_hop) {
        let proxy = prober::proxy(probing, one);
        // With a port it is the same question, which may have taken long.
        if wants.addresses && look.meaning.is_none() && proxy.is_empty() && written.0 != 0 {
            return look;
        }
        look.next_hop = if proxy.is_empty() {
            lookup::next_hop(host, written, dns)
        } else {
            lookup::proxy_hop(proxy, dns)
        };
    }
    look
}

fn tell_turn(set: &Set<Pool>, one: Member<'_>, turn: Option<Turn>) {
    let (id, name) = (set.id, shown(one.text(one.uri)));
    match turn {
        Some(Turn::Back) => log::info(format_args!("set {id}: the name in {name} resolves again")),
        Some(Turn::Lost) => log::warning(format_args!("set {id}: the name in {name} does not resolve")),
        None => {}
    }
}
