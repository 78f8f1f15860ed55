//! The capacities that destinations share, with who shares them.

use crate::shm::Alloc;
use crate::state::{Root, capacities::Seen};
use std::collections::BTreeMap;

/// A destination that shares a capacity.
#[derive(Debug, PartialEq, Eq)]
pub struct Sharer {
    /// Its set.
    pub set: i32,
    /// `duid`, or the URI where there is none.
    pub name: Vec<u8>,
    /// Whether it is configured now; else calls of it are up still.
    pub configured: bool,
    /// Calls that it has.
    pub load: u32,
}

/// All capacities by name, with those that share them.
pub fn capacities<A: Alloc>(root: &Root<A>) -> Vec<(Seen, Vec<Sharer>)> {
    let mut all = BTreeMap::<u32, Vec<Sharer>>::new();
    let mut seen = root.registry.sharing(|named| {
        let load = named.record.load.get();
        if named.configured || load > 0 {
            let (set, name, configured) = (named.set, named.name.to_vec(), named.configured);
            let sharers = all.entry(named.record.capacity()).or_default();
            sharers.push(Sharer { set, name, configured, load });
        }
    });
    seen.sort_by(|one, other| one.name.cmp(&other.name));
    seen.into_iter()
        .map(|one| (all.remove(&one.number).unwrap_or_default(), one))
        .map(|(of, one)| (one, of))
        .collect()
}
