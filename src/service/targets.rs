//! A name as many destinations (`ds_dns_mode` 16): each target of its SRV records, or each of its addresses, is a
//! destination of its own, with its own state, load and probes, in the place of the line that names them all.
//!
//! Which targets there are is known from the sets themselves: each says what was written for it. So a reload needs no
//! look-up, and the process for names no source.

use super::located::Located;
use super::publish::{self, Edit};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Member, Root, Set};
use core::net::IpAddr;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};

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

/// The destinations of a set that were written so: those of one line, in their order, with their positions.
pub fn of_line<'g, A: Alloc>(
    set: &'g Set<A>,
    written: &'g [u8],
) -> impl Iterator<Item = (usize, Member<'g>)> + 'g {
    set.named(written).filter(|(_, one)| one.text(one.written).eq_ignore_ascii_case(written))
}

/// The targets that serve for the line of this destination; none while its name means nothing.
pub fn serving<'g, A: Alloc>(set: &'g Set<A>, one: Member<'g>) -> Vec<Target> {
    of_line(set, one.text(one.written)).filter_map(|(_, one)| target(one)).collect()
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
pub fn lines<A: Alloc>(sets: &Generation<A>) -> HashMap<Line, Vec<Target>> {
    let mut lines = HashMap::<Line, Vec<Target>>::new();
    for (_, set, one) in sets.all().filter(|(_, _, one)| !one.text(one.written).is_empty()) {
        lines.entry(line(set.id, one.text(one.written))).or_default().extend(target(one));
    }
    lines
}

/// Makes the sets serve with other targets for these lines; everything else stays, states too.
pub fn retarget<A: Alloc>(root: &Root<A>, found: &HashMap<Line, Vec<Target>>) -> Result<(), OutOfMemory> {
    let _no_reload = root.reload.lock();
    let mut by_set = BTreeMap::<i32, Vec<(&Line, &[Target])>>::new();
    for (line, targets) in found.iter().filter(|(_, targets)| !targets.is_empty()) {
        by_set.entry(line.0).or_default().push((line, targets));
    }
    publish::change(root, |before| {
        let mut edits = Vec::new();
        for (id, lines) in &by_set {
            let Some(set) = before.and_then(|sets| sets.set(*id)) else { continue };
            let mut changes = Vec::new();
            for ((_, written), targets) in lines {
                let members: Vec<_> = of_line(set, written).collect();
                let places: Vec<usize> = members.iter().map(|(at, _)| *at).collect();
                let line = members.first().map(|(_, one)| Located::line_of(*id, *one));
                changes.extend(line.map(|line| (places, expand(line, targets))));
            }
            // From behind, so that no position moves before its turn.
            changes.sort_by(|(one, _), (other, _)| other.cmp(one));
            let mut edit = Edit::of(before, *id);
            changes.into_iter().for_each(|(places, new)| edit.exchange(&places, new));
            edits.push(edit);
        }
        Ok(edits)
    })
}
