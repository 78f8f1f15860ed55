//! What choices look up of a set belongs to one generation: its usable positions, its weights, its order by latency, its slots. Where the last
//! generation of a set had one of these, a commit makes it for the next as well. Else the first choice after a change would, which
//! is a walk over the set.

use crate::select::weighers;
use crate::select::weight::Weigher;
use crate::service::routing::candidates::View;
use crate::shm::Alloc;
use crate::state::weights::Ask;
use crate::state::{Generation, Root, Set};

/// What choices have looked up of a set.
pub(super) struct InUse {
    set: i32,
    usable: bool,
    by_latency: bool,
    slots: bool,
    /// Each way to weigh, with whether the last destination was kept for when no other is left.
    weights: Vec<(&'static dyn Weigher, bool)>,
}

/// What is in use of these sets, as far as they serve.
pub(super) fn in_use<A: Alloc>(serving: Option<&Generation<A>>, changed: &[i32]) -> Vec<InUse> {
    let of = |set: &Set<A>| InUse {
        set: set.id,
        usable: set.usable.is_in_use(),
        by_latency: set.by_latency.is_in_use(),
        slots: set.slots.is_in_use(),
        weights: weighers()
            .filter_map(|weigher| Some((weigher, set.weights.field(weigher.row())? < set.len())))
            .collect(),
    };
    let sets = changed.iter().filter_map(|&id| serving?.set(id));
    sets.map(of).filter(|one| one.usable || one.by_latency || one.slots || !one.weights.is_empty()).collect()
}

/// Makes the same of these sets as they serve now. Without memory for it choices look at all destinations.
pub(super) fn make<A: Alloc>(root: &Root<A>, serving: &Generation<A>, in_use: &[InUse]) {
    for one in in_use {
        let Some(set) = serving.set(one.set) else { continue };
        if one.usable {
            set.usable.look(set, &root.registry, |_| ());
        }
        if one.by_latency {
            set.by_latency.look(set, &root.registry, |_| ());
        }
        if one.slots {
            set.slots.owner(&View::new(root, set), 0);
        }
        for &(weigher, spares_last) in &one.weights {
            let field = set.len() - usize::from(spares_last && set.len() > 1);
            let ask = Ask { pool: &View::new(root, set), weigher, field };
            set.weights.at(set, &root.registry, ask, 0);
        }
    }
}
