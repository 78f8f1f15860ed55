//! Putting a new generation of sets in the place of the serving one.

use crate::dest::{Attrs, Entry, Place};
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

impl Located {
    /// A destination that serves, as it was located.
    pub fn of<A: Alloc>(set: &Set<A>, one: &Destination) -> Self {
        // Read once already, when it was loaded.
        let mut attrs = Attrs::parse(set.text(one.attrs)).unwrap_or_default();
        attrs.duid = set.text(one.duid).to_vec();
        (attrs.weight, attrs.rweight) = (one.weight, one.rweight);
        Self {
            entry: Entry {
                place: Place::Row(0),
                set: set.id,
                uri: set.text(one.uri).to_vec(),
                flags: one.flags,
                priority: one.priority,
                attrs,
            },
            written: set.text(one.written).to_vec(),
            host: one.host_range(),
            port: one.port,
            proto: one.proto,
            named: one.named,
            addresses: set.addresses(one).to_vec(),
            srv_weight: one.srv_weight,
            send_from: one.send_from,
            ping_from_socket: one.ping_from_socket,
        }
    }
}

/// Makes these destinations serve, all at once. They must be in the order of [`crate::dest::arrange`].
///
/// On an error the old ones go on serving and nothing is changed.
pub fn publish<A: Alloc>(root: &Root<A>, all: &[Located], keep: Keep) -> Result<(), OutOfMemory> {
    let mut retired = root.writer.lock();
    let mut said = Vec::new();
    let mut serving = HashSet::new();
    replace(root, &mut retired, |before, held| {
        let all_before = before.iter().flat_map(|generation| generation.sets());
        serving.extend(all_before.flat_map(|set| set.destinations.iter().map(|one| one.record)));
        let mut sets = Vec::new();
        for group in all.chunk_by(|one, next| one.entry.set == next.entry.set) {
            let Some(first) = group.first() else { continue };
            let id = first.entry.set;
            let mut parts = Parts::default();
            let mut destinations = Vec::with_capacity(group.len());
            for (place, one) in group.iter().enumerate() {
                let (destination, hold) = held.hold(one, &mut parts)?;
                let Entry { flags, attrs, .. } = &one.entry;
                let (asked, place) = (destination.asked, place as u32);
                said.push((hold, Configured { flags: *flags, latency: attrs.latency, asked, place }));
                destinations.push(destination);
            }
            let old = before.and_then(|generation| generation.set(id));
            sets.push(Set::try_new_in(id, &destinations, &parts, old, root.alloc)?);
        }
        Ok(sets)
    })?;
    // It serves: what its lines say comes to hold. Of several lines for one identity the first counts.
    let mut seen = HashSet::new();
    for (hold, configured) in said {
        if let Some(record) = root.registry.record(hold.number).filter(|_| seen.insert(hold.number)) {
            let back = hold.existed && !serving.contains(&hold.number);
            record.configure(configured, back, keep);
        }
    }
    tidy(root, &mut retired);
    Ok(())
}

/// Puts the sets that `build` makes in the place of those that serve. Every record of theirs is held by then; on an error
/// none is.
fn replace<A: Alloc>(
    root: &Root<A>,
    retired: &mut Retired<Generation<A>>,
    build: impl FnOnce(Option<&Generation<A>>, &mut Held<'_, A>) -> Result<Vec<Set<A>>, OutOfMemory>,
) -> Result<(), OutOfMemory> {
    let mut held = Held { root, numbers: Vec::new() };
    let before = root.sets.current(retired);
    let number = before.map_or(1, |generation| generation.number + 1);
    let sets = build(before, &mut held)?;
    let generation = Generation::new(number, Slice::try_from_vec_in(sets, root.alloc)?);
    root.sets.publish(generation, retired)?;
    // The holds are the generation's own now.
    held.numbers.clear();
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
    replace(root, &mut retired, |before, held| {
        let mut sets = Vec::new();
        for set in before.iter().flat_map(|generation| generation.sets()) {
            let mut parts = set.parts().without_addresses();
            let mut destinations = set.destinations.to_vec();
            for (one, old) in destinations.iter_mut().zip(set.destinations.iter()) {
                held.hold_again(one.record);
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
        Ok(sets)
    })?;
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

/// Records held for a generation that may yet fail.
struct Held<'a, A: Alloc> {
    root: &'a Root<A>,
    /// Their numbers.
    numbers: Vec<u32>,
}

impl<A: Alloc> Held<'_, A> {
    fn hold(&mut self, one: &Located, parts: &mut Parts) -> Result<(Destination, Hold), OutOfMemory> {
        let Entry { set, uri, flags, priority, attrs, .. } = &one.entry;
        let socket = if attrs.sockname.is_empty() { &attrs.socket } else { &attrs.sockname };
        let secret = &self.root.secret;
        let key = secret.destination(*set, &attrs.duid, uri, socket);
        let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
        let hold = self.root.registry.hold(key, *set, name, *flags)?;
        self.numbers.push(hold.number);
        let asked = secret.word(&[uri, socket, &attrs.ping_socket, &attrs.obproxy]);
        let span = parts.add(uri);
        let destination = Destination {
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
        };
        Ok((destination, hold))
    }

    fn hold_again(&mut self, number: u32) {
        self.root.registry.hold_again(number);
        self.numbers.push(number);
    }
}

impl<A: Alloc> Drop for Held<'_, A> {
    fn drop(&mut self) {
        self.numbers.iter().for_each(|&number| self.root.registry.let_go(number));
    }
}
