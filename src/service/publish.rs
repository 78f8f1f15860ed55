//! Putting a new generation of sets in the place of the serving one.

use crate::dest::Entry;
use crate::shm::slice::Slice;
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, Foreign, OutOfMemory};
use crate::state::generation::Texts;
use crate::state::{Destination, Generation, Root, Set};
use core::net::IpAddr;
use core::ops::Range;

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
    let mut held = Held { root, numbers: Vec::new() };
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
    held.numbers.clear(); // now the generation's
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
    numbers: Vec<u32>,
}

impl<A: Alloc> Held<'_, A> {
    fn hold(&mut self, one: &Located, texts: &mut Texts) -> Result<Destination, OutOfMemory> {
        let Entry { set, uri, flags, priority, attrs, .. } = &one.entry;
        let socket = if attrs.sockname.is_empty() { &attrs.socket } else { &attrs.sockname };
        let key = self.root.secret.destination(*set, &attrs.duid, uri, socket);
        let name = if attrs.duid.is_empty() { uri } else { &attrs.duid };
        let record = self.root.registry.hold(key, *set, name, *flags)?;
        self.numbers.push(record);
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
            rweight: attrs.rweight,
            flags: *flags,
            record,
            send_from: one.send_from,
            address: one.address,
            port: one.port,
            proto: one.proto,
        })
    }
}

impl<A: Alloc> Drop for Held<'_, A> {
    fn drop(&mut self) {
        for &number in &self.numbers {
            self.root.registry.let_go(number);
        }
    }
}
