//! Putting a new generation of sets in the place of the serving one.

use crate::dest::Entry;
use crate::shm::slice::Slice;
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, Foreign, OutOfMemory};
use crate::state::generation::Parts;
use crate::state::registry::Hold;
use crate::state::{Configured, Destination, Generation, Keep, Root, Set};
use core::net::IpAddr;
use core::ops::Range;
use std::collections::{HashMap, HashSet};

/// An entry with what only the host knows of it.
#[derive(Debug, Clone)]
pub struct Located {
    /// The entry; its URI has a scheme by now.
    pub entry: Entry,
    /// The URI as written, if it is a name that stands for many destinations; else empty.
    pub written: Vec<u8>,
    /// Where the host is in the URI.
    pub host: Range<usize>,
    /// Port of the URI; 0 where it has none.
    pub port: u16,
    /// Transport of the URI, as the host numbers them.
    pub proto: u16,
    /// Whether the host is a name.
    pub named: bool,
    /// What it means, as far as that is known.
    pub addresses: Vec<IpAddr>,
    /// The weight of its SRV record, if it is one of the destinations that a name stands for.
    pub srv_weight: u32,
    /// The local socket to send from, where one is set.
    pub send_from: Option<Foreign>,
    /// The local socket to send probes from, where one is set for that.
    pub ping_from_socket: Option<Foreign>,
}

/// Makes these destinations serve, all at once. They must be in the order of [`crate::dest::arrange`].
///
/// On an error the old ones go on serving and nothing is changed.
pub fn publish<A: Alloc>(root: &Root<A>, all: &[Located], keep: Keep) -> Result<(), OutOfMemory> {
    let mut retired = root.writer.lock();
    let mut held = Held { root, serving: HashSet::new(), holds: Vec::new() };
    let mut sets = Vec::new();
    let number;
    {
        let before = root.sets.current(&retired);
        let all_before = before.iter().flat_map(|generation| generation.sets());
        held.serving = all_before.flat_map(|set| set.destinations.iter().map(|one| one.record)).collect();
        number = before.map_or(1, |generation| generation.number + 1);
        for group in all.chunk_by(|one, next| one.entry.set == next.entry.set) {
            let Some(first) = group.first() else { continue };
            let id = first.entry.set;
            let mut parts = Parts::default();
            let destinations = group
                .iter()
                .enumerate()
                .map(|(place, one)| held.hold(one, place, &mut parts))
                .collect::<Result<Vec<_>, _>>()?;
            let old = before.and_then(|generation| generation.set(id));
            sets.push(Set::try_new_in(id, &destinations, &parts, old, root.alloc)?);
        }
    }
    let generation = Generation::new(number, Slice::try_from_vec_in(sets, root.alloc)?);
    root.sets.publish(generation, &mut retired)?;
    held.settle(keep);
    tidy(root, &mut retired);
    Ok(())
}

/// What a name was found to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// Addresses, the first answer first.
    pub addresses: Vec<IpAddr>,
    /// Port and transport, where the name says them (SRV, NAPTR).
    pub port_and_proto: Option<(u16, u16)>,
}

impl Meaning {
    /// Makes it what a destination's name means.
    pub fn give_to(self, one: &mut Located) {
        one.addresses = self.addresses;
        (one.port, one.proto) = self.port_and_proto.unwrap_or((one.port, one.proto));
    }
}

/// Waits until the generation that serves is settled: until then its records may be as they were.
pub fn settled<A: Alloc>(root: &Root<A>) {
    drop(root.writer.lock());
}

/// A destination by its record, and by what was asked of it: the record may be another's by now.
pub type Asked = (u32, u64);

/// Makes the same destinations serve with other addresses.
pub fn readdress<A: Alloc>(root: &Root<A>, found: &HashMap<Asked, Meaning>) -> Result<(), OutOfMemory> {
    // A reload that took over the old addresses would undo this.
    let _no_reload = root.reload.lock();
    let mut retired = root.writer.lock();
    let mut held = Held { root, serving: HashSet::new(), holds: Vec::new() };
    let mut sets = Vec::new();
    let number;
    {
        let Some(before) = root.sets.current(&retired) else { return Ok(()) };
        number = before.number + 1;
        for set in before.sets() {
            let mut parts = set.parts().without_addresses();
            let mut destinations = set.destinations.to_vec();
            for (one, old) in destinations.iter_mut().zip(set.destinations.iter()) {
                held.hold_again(one);
                match found.get(&(one.record, one.asked)) {
                    Some(meaning) => {
                        one.addresses = parts.add_addresses(&meaning.addresses);
                        (one.port, one.proto) = meaning.port_and_proto.unwrap_or((one.port, one.proto));
                    }
                    None => one.addresses = parts.add_addresses(set.addresses(old)),
                }
            }
            sets.push(Set::try_new_in(set.id, &destinations, &parts, Some(set), root.alloc)?);
        }
    }
    let generation = Generation::new(number, Slice::try_from_vec_in(sets, root.alloc)?);
    root.sets.publish(generation, &mut retired)?;
    // The holds are the generation's own now; nothing else of the records changes.
    held.holds.clear();
    tidy(root, &mut retired);
    Ok(())
}

/// Gives back generations that nobody reads any more, and the records that nothing names.
pub fn tidy<A: Alloc>(root: &Root<A>, retired: &mut Retired<Generation<A>>) {
    root.sets.reclaim(retired, |generation| {
        for destination in generation.sets().iter().flat_map(|set| set.destinations.iter()) {
            root.registry.let_go(destination.record);
        }
    });
    root.registry.sweep();
}

/// Records held for a generation that may yet fail, each with what its line says.
struct Held<'a, A: Alloc> {
    root: &'a Root<A>,
    /// The records of the generation that serves.
    serving: HashSet<u32>,
    holds: Vec<(Hold, Configured)>,
}

impl<A: Alloc> Held<'_, A> {
    /// The generation serves and the holds are its own: what it says comes to hold. Of several lines for one identity the
    /// first counts.
    fn settle(&mut self, keep: Keep) {
        let mut seen = HashSet::new();
        for (hold, configured) in self.holds.drain(..) {
            if let Some(record) = self.root.registry.record(hold.number).filter(|_| seen.insert(hold.number))
            {
                let back = hold.existed && !self.serving.contains(&hold.number);
                record.configure(configured, back, keep);
            }
        }
    }

    fn hold(&mut self, one: &Located, place: usize, parts: &mut Parts) -> Result<Destination, OutOfMemory> {
        let Entry { set, uri, flags, priority, attrs, .. } = &one.entry;
        let socket = if attrs.sockname.is_empty() { &attrs.socket } else { &attrs.sockname };
        let secret = &self.root.secret;
        let key = secret.destination(*set, &attrs.duid, uri, socket);
        let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
        let hold = self.root.registry.hold(key, *set, name, *flags)?;
        let asked = secret.word(&[uri, socket, &attrs.ping_socket, &attrs.obproxy]);
        let configured = Configured { flags: *flags, latency: attrs.latency, asked, place: place as u32 };
        self.holds.push((hold, configured));
        let span = parts.add(uri);
        Ok(Destination {
            uri: span,
            host: Parts::part(span, one.host.start, one.host.len()),
            written: parts.add(&one.written),
            attrs: parts.add(&attrs.body),
            duid: parts.add(&attrs.duid),
            socket: parts.add(&attrs.socket),
            sockname: parts.add(&attrs.sockname),
            obproxy: parts.add(&attrs.obproxy),
            ping_from: parts.add(&attrs.ping_from),
            ping_reply_codes: parts.add(&attrs.ping_reply_codes),
            ping_interval: attrs.ping_interval,
            ping_timeout: attrs.ping_timeout,
            cc: attrs.cc,
            priority: *priority,
            maxload: attrs.maxload,
            weight: attrs.weight,
            ocmin: attrs.ocmin,
            rweight: attrs.rweight,
            flags: *flags,
            record: hold.number,
            asked,
            srv_weight: one.srv_weight,
            send_from: one.send_from,
            ping_from_socket: one.ping_from_socket,
            named: one.named,
            addresses: parts.add_addresses(&one.addresses),
            port: one.port,
            proto: one.proto,
        })
    }

    fn hold_again(&mut self, one: &Destination) {
        self.root.registry.hold_again(one.record);
        let hold = Hold { number: one.record, existed: true };
        self.holds.push((hold, Configured { flags: one.flags, latency: 0, asked: 0, place: 0 }));
    }
}

impl<A: Alloc> Drop for Held<'_, A> {
    fn drop(&mut self) {
        for (hold, _) in &self.holds {
            self.root.registry.let_go(hold.number);
        }
    }
}
