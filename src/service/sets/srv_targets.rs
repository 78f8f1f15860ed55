//! A name that stands for many destinations (`ds_dns_mode` 16): each target of its SRV records, or each of its addresses, is a
//! destination of its own, with its own state, load and probes.
//!
//! The sets themselves say which targets there are: each destination has the URI of its line. So a reload needs no look-up, and
//! the resolver process needs no source.

use crate::service::sets::resolve::Resolved;
use crate::shm::Alloc;
use crate::state::{Generation, Member, Set};
use core::net::IpAddr;
use core::ops::Range;
use std::borrow::Cow;
use std::collections::HashMap;

/// One of the destinations that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URI of the line with the target's address instead of the name.
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

/// The identity of a line with a name that stands for many destinations. Names and `duid`s are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedLine {
    /// The set.
    pub set: i32,
    /// The URI as written.
    pub written: Vec<u8>,
    duid: Vec<u8>,
    socket: Vec<u8>,
}

impl NamedLine {
    fn new(set: i32, written: &[u8], duid: &[u8], socket: &[u8]) -> Self {
        let [written, duid] = [written, duid].map(<[u8]>::to_ascii_lowercase);
        Self { set, written, duid, socket: socket.to_vec() }
    }

    /// The line of a destination that serves in this set.
    pub fn of(set: i32, one: Member<'_>) -> Self {
        let mut duid = one.text(one.duid);
        if one.is_target() {
            let address = one.text(one.uri).get(one.host_range().start..).unwrap_or_default();
            duid = duid.strip_suffix(address).and_then(|duid| duid.strip_suffix(b"/")).unwrap_or(duid);
        }
        Self::new(set, one.text(one.written), duid, one.local_socket())
    }

    /// The line of a destination that is read.
    pub fn of_resolved(one: &Resolved<'_>) -> Self {
        Self::new(one.entry.set, &one.written, &one.entry.attrs.duid, one.socket())
    }
}

/// The destinations that a line stands for; while its name does not resolve, one that waits for it.
///
/// The target's address is appended to the `duid`, so that each has its own. If the line has no weight, that of the SRV record
/// counts.
pub fn expand<'t>(one: Resolved<'t>, targets: &[Target]) -> Vec<Resolved<'t>> {
    if targets.is_empty() {
        return vec![one];
    }
    let of_target = |target: &Target| {
        let mut resolved = Resolved { named: false, looked_up: false, ..one.clone() };
        let attrs = &mut resolved.entry.attrs.values;
        if !attrs.duid.is_empty() {
            let address = target.uri.get(target.host.start..).unwrap_or_default();
            attrs.duid = Cow::Owned([&attrs.duid, &b"/"[..], address].concat());
        }
        for share in [&mut attrs.weight, &mut attrs.rweight] {
            *share = if *share == 0 { target.weight } else { *share };
        }
        resolved.srv_weight = target.weight;
        resolved.entry.uri = Cow::Owned(target.uri.clone());
        resolved.host = target.host.clone();
        (resolved.port, resolved.proto) = (target.port, target.proto);
        resolved.addresses = vec![target.address];
        resolved
    };
    targets.iter().map(of_target).collect()
}

/// The destinations of a line, in their order, with their positions.
pub fn of_line<'g, A: Alloc>(
    set: &'g Set<A>,
    line: &'g NamedLine,
) -> impl Iterator<Item = (usize, Member<'g>)> + 'g {
    let set_id = set.id;
    set.named(&line.written).filter(move |(_, one)| NamedLine::of(set_id, *one) == *line)
}

/// The targets that serve for a line; none while its name does not resolve.
pub fn serving<A: Alloc>(set: &Set<A>, line: &NamedLine) -> Vec<Target> {
    of_line(set, line).filter_map(|(_, one)| target(one)).collect()
}

/// Whether these are the same targets, with the same weights.
pub fn same(one: &[Target], other: &[Target]) -> bool {
    let parts = |target: &Target| (target.address, target.port, target.proto, target.weight);
    one.iter().map(parts).eq(other.iter().map(parts))
}

fn target(one: Member<'_>) -> Option<Target> {
    let address = one.addresses().first().copied().filter(|_| !one.named)?;
    let (uri, host) = (one.text(one.uri).to_vec(), one.host_range());
    Some(Target { uri, host, address, port: one.port, proto: one.proto, weight: one.srv_weight })
}

/// All lines of a generation, with their targets.
pub fn lines<A: Alloc>(sets: &Generation<A>) -> HashMap<NamedLine, Vec<Target>> {
    let mut lines = HashMap::<NamedLine, Vec<Target>>::new();
    for (_, set, one) in sets.all().filter(|(_, _, one)| !one.text(one.written).is_empty()) {
        let targets = lines.entry(NamedLine::of(set.id, one)).or_default();
        // A line that is written twice has them twice.
        let new = target(one).filter(|new| targets.iter().all(|there| there.uri != new.uri));
        targets.extend(new);
    }
    lines
}
