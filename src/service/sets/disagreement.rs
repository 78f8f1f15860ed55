//! What an edit says of the capacity that its destination shares, and other lines that serve say otherwise. A reload tells that with the lines of
//! the source; here the others are named by set and URI.

use crate::dest::capacity::{self, Share};
use crate::dest::limits::Limits;
use crate::dest::problem::shown;
use crate::dest::{Problem, SourcePosition};
use crate::shm::Alloc;
use crate::state::{Generation, Root};

/// A finding for each number that is not what another line of the capacity says, in the sets that serve now.
pub(super) fn findings<A: Alloc>(
    root: &Root<A>,
    serving: Option<&Generation<A>>,
    place: SourcePosition,
    limits: &Limits<'_>,
) -> Vec<Problem> {
    let Some((own, serving)) = Share::of(place, limits).zip(serving) else { return Vec::new() };
    let number =
        root.registry.capacities.lock().each().find(|one| one.name == own.name).map(|one| one.number);
    let others = serving.all().filter(|(_, _, one)| Some(one.limits.capacity) == number);
    let others = others.map(|(_, set, one)| {
        let (most, reserve, (cps, burst)) =
            (one.limits.capacity_max, one.limits.capacity_reserve, one.limits.capacity_rate);
        (Share { place, name: own.name, most, reserve, cps, burst }, (set.id, one))
    });
    let others: Vec<_> = others.collect();
    let told = capacity::disagreements(&own, &others, |(set, one)| {
        format!("at {} in set {set}", shown(one.text(one.uri)))
    });
    told.into_iter().map(|text| Problem::warning(place, text)).collect()
}
