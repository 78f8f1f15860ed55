//! A name as many destinations (`ds_dns_mode` 16): each target of its SRV records, or each of its addresses, is a
//! destination of its own, with its own state, load and probes, in the place of the line that names them all.
//!
//! Which targets there are is known from the sets themselves: each says what was written for it. So a reload needs no
//! look-up, and the process for names no source.

use super::publish::{self, Located};
use crate::dest::Attrs;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Destination, Generation, Keep, Root, Set};
use core::net::IpAddr;
use core::ops::Range;
use std::collections::HashMap;

/// One of the destinations that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The written URI with the target's address in the place of the name.
    pub uri: Vec<u8>,
    /// Where the address is in it.
    pub host: Range<usize>,
    /// The address.
    pub address: IpAddr,
    /// The port; 0 is the usual one.
    pub port: u16,
    /// The transport, as the host numbers them.
    pub proto: u16,
    /// The weight of its SRV record; 0 where there is none.
    pub weight: u32,
}

/// A line with a name, by set and URI as written, in small letters.
pub type Line = (i32, Vec<u8>);

/// The line of an entry.
pub fn line(set: i32, uri: &[u8]) -> Line {
    (set, uri.to_ascii_lowercase())
}

/// The destinations that a line stands for; while its name means nothing, one that waits for it.
///
/// The `duid` gets the target's address behind it, so that each is known apart. Where the line has no weight, that of the
/// SRV record counts.
pub fn expand(one: Located, targets: &[Target]) -> Vec<Located> {
    if targets.is_empty() {
        return vec![one];
    }
    let of_target = |target: &Target| {
        let mut located = Located { named: false, ..one.clone() };
        let attrs = &mut located.entry.attrs;
        if !attrs.duid.is_empty() {
            let address = target.uri.get(target.host.start..).unwrap_or_default();
            attrs.duid = [attrs.duid.as_slice(), b"/", address].concat();
        }
        for share in [&mut attrs.weight, &mut attrs.rweight] {
            *share = if *share == 0 { target.weight } else { *share };
        }
        located.srv_weight = target.weight;
        located.entry.uri = target.uri.clone();
        located.host = target.host.clone();
        (located.port, located.proto) = (target.port, target.proto);
        located.addresses = vec![target.address];
        located
    };
    targets.iter().map(of_target).collect()
}

/// The destinations of a set that were written as this one was: those of its line, in their order.
pub fn of_line<'a, A: Alloc>(
    set: &'a Set<A>,
    one: &'a Destination,
) -> impl Iterator<Item = &'a Destination> + 'a {
    let written = set.text(one.written);
    set.destinations.iter().filter(move |other| set.text(other.written).eq_ignore_ascii_case(written))
}

/// The targets that serve for the line of this destination; none while its name means nothing.
pub fn serving<A: Alloc>(set: &Set<A>, one: &Destination) -> Vec<Target> {
    of_line(set, one).filter_map(|one| target(set, one)).collect()
}

/// Whether these are the same targets, with the same weights.
pub fn same(one: &[Target], other: &[Target]) -> bool {
    let parts = |target: &Target| (target.address, target.port, target.proto, target.weight);
    one.iter().map(parts).eq(other.iter().map(parts))
}

fn target<A: Alloc>(set: &Set<A>, one: &Destination) -> Option<Target> {
    let address = set.addresses(one).first().copied().filter(|_| !one.named)?;
    let (port, proto) = (one.port, one.proto);
    Some(Target {
        uri: set.text(one.uri).to_vec(),
        host: one.host_range(),
        address,
        port,
        proto,
        weight: one.srv_weight,
    })
}

/// All lines of a generation, with their targets.
pub fn lines<A: Alloc>(sets: &Generation<A>) -> HashMap<Line, Vec<Target>> {
    let mut lines = HashMap::<Line, Vec<Target>>::new();
    for set in sets.sets() {
        for one in set.destinations.iter().filter(|one| !set.text(one.written).is_empty()) {
            lines.entry(line(set.id, set.text(one.written))).or_default().extend(target(set, one));
        }
    }
    lines
}

/// Makes the sets serve with other targets for these lines; everything else stays, states too.
pub fn retarget<A: Alloc>(root: &Root<A>, found: &HashMap<Line, Vec<Target>>) -> Result<(), OutOfMemory> {
    let _no_reload = root.reload.lock();
    let all = {
        let retired = root.writer.lock();
        let Some(sets) = root.sets.current(&retired) else { return Ok(()) };
        sets.sets().iter().flat_map(|set| again(set, found)).collect::<Vec<_>>()
    };
    publish::publish(root, &all, Keep { state: true, latency: true })
}

/// The destinations of a set as they were located, the lines in question with their new targets.
fn again<A: Alloc>(set: &Set<A>, found: &HashMap<Line, Vec<Target>>) -> Vec<Located> {
    let mut done = Vec::new();
    let mut all = Vec::new();
    for one in set.destinations.iter() {
        let written = set.text(one.written);
        let key = line(set.id, written);
        match found.get(&key).filter(|targets| !written.is_empty() && !targets.is_empty()) {
            None => all.push(Located::of(set, one)),
            Some(_) if done.contains(&key) => {}
            Some(targets) => {
                let mut original = Located::of(set, one);
                original.entry.attrs = Attrs::parse(set.text(one.attrs)).unwrap_or_default();
                original.entry.uri = written.to_vec();
                all.extend(expand(original, targets));
                done.push(key);
            }
        }
    }
    all
}
