//! Putting a new generation of sets in the place of the serving one.

use crate::dest::{Entry, Flags};
use crate::shm::slice::Slice;
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, Foreign, OutOfMemory};
use crate::state::generation::Texts;
use crate::state::registry::Hold;
use crate::state::{Destination, Generation, Root, Set};
use core::net::IpAddr;
use core::ops::Range;
use std::collections::HashSet;

/// An entry with what only the host knows of it.
#[derive(Debug, Clone)]
pub struct Located {
    /// The entry; its URI has a scheme by now.
    pub entry: Entry,
    /// Where the host name is in the URI.
    pub host: Range<usize>,
    /// Port of the URI; 0 where it has none.
    pub port: u16,
    /// Transport of the URI, as the host numbers them.
    pub proto: u16,
    /// Address of the host name.
    pub address: Option<IpAddr>,
    /// The local socket to send from, where one is set, with its text for the identity.
    pub send_from: Option<Foreign>,
}

/// Makes these destinations serve, all at once. They must be in the order of [`crate::dest::arrange`].
///
/// On an error the old ones go on serving and nothing is changed.
pub fn publish<A: Alloc>(root: &Root<A>, all: &[Located]) -> Result<(), OutOfMemory> {
    let mut retired = root.writer.lock();
    let mut held = Held { root, holds: Vec::new() };
    let mut sets = Vec::new();
    {
        let before = root.sets.current(&retired);
        for group in all.chunk_by(|one, next| one.entry.set == next.entry.set) {
            let Some(first) = group.first() else { continue };
            let id = first.entry.set;
            let mut texts = Texts::default();
            let destinations =
                group.iter().map(|one| held.hold(one, &mut texts)).collect::<Result<Vec<_>, _>>()?;
            let old = before.and_then(|generation| generation.set(id));
            sets.push(Set::try_new_in(id, &destinations, &texts, old, root.alloc)?);
        }
    }
    let generation = Generation::new(Slice::try_from_vec_in(sets, root.alloc)?);
    root.sets.publish(generation, &mut retired)?;
    held.settle();
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

/// Records held for a generation that may yet fail, each with the flags of its line.
struct Held<'a, A: Alloc> {
    root: &'a Root<A>,
    holds: Vec<(Hold, Flags)>,
}

impl<A: Alloc> Held<'_, A> {
    /// The generation serves and the holds are its own: its flags come to hold. Of several lines for one identity the
    /// first counts.
    fn settle(&mut self) {
        let mut seen = HashSet::new();
        for (hold, flags) in self.holds.drain(..) {
            let Some(record) = self.root.registry.record(hold.number).filter(|_| seen.insert(hold.number))
            else {
                continue;
            };
            // What comes back has the state that the source says; what stayed keeps its own, if the source says the same
            // as before.
            if hold.back { record.reconfigure(flags) } else { record.configure(flags) }
        }
    }

    fn hold(&mut self, one: &Located, texts: &mut Texts) -> Result<Destination, OutOfMemory> {
        let Entry { set, uri, flags, priority, attrs, .. } = &one.entry;
        let socket = if attrs.sockname.is_empty() { &attrs.socket } else { &attrs.sockname };
        let key = self.root.secret.destination(*set, &attrs.duid, uri, socket);
        let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
        let hold = self.root.registry.hold(key, *set, name, *flags)?;
        if let Some(record) = self.root.registry.record(hold.number) {
            record.assume_latency(attrs.latency);
        }
        self.holds.push((hold, *flags));
        let span = texts.add(uri);
        Ok(Destination {
            uri: span,
            host: Texts::part(span, one.host.start, one.host.len()),
            attrs: texts.add(&attrs.body),
            duid: texts.add(&attrs.duid),
            socket: texts.add(&attrs.socket),
            sockname: texts.add(&attrs.sockname),
            obproxy: texts.add(&attrs.obproxy),
            priority: *priority,
            maxload: attrs.maxload,
            weight: attrs.weight,
            ocmin: attrs.ocmin,
            rweight: attrs.rweight,
            flags: *flags,
            record: hold.number,
            send_from: one.send_from,
            address: one.address,
            port: one.port,
            proto: one.proto,
        })
    }
}

impl<A: Alloc> Drop for Held<'_, A> {
    fn drop(&mut self) {
        for (hold, _) in &self.holds {
            self.root.registry.let_go(hold.number);
        }
    }
}
