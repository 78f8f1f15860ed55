//! The state of each destination for the status page, one page of rows at a time.

use crate::dest::Flags;
use crate::service::health::ejection::{self, Shown};
use crate::service::health::probe;
use crate::shm::Alloc;
use crate::shm::counter::Counter;
use crate::state::capacities::Seen;
use crate::state::health::Report;
use crate::state::slow_start::SlowStart;
use crate::state::{Generation, Health, Member, Record, Root, Set, Totals};

/// Where a part begins: a set, and a position in it. A set that is gone means the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The id of the set.
    pub set: i32,
    /// The position in it, from 0.
    pub at: usize,
}

impl Cursor {
    /// Before all.
    pub const START: Self = Self { set: i32::MIN, at: 0 };
}

/// A destination at one moment.
pub struct Row<'g> {
    /// Its position in its set.
    pub at: usize,
    /// What is configured.
    pub one: Member<'g>,
    /// A number of its own for as long as it is configured.
    pub id: u32,
    /// State and options.
    pub flags: Flags,
    /// What is known of its health.
    pub health: Health,
    /// Why its state is what it is.
    pub why: Report,
    /// Calls that count for it.
    pub load: u32,
    /// Requests that were sent to it.
    pub selected: u64,
    /// Requests that were sent on from it.
    pub failed_over: u64,
    /// Selections that found no room in its set while it was up.
    pub refused: u64,
    /// Probes that failed.
    pub failed_probes: u64,
    /// Milliseconds that its answers take; 0 is not known.
    pub latency: u32,
    /// The capacity that it shares.
    pub capacity: Option<Seen>,
    /// How often it has come to its limit on new calls.
    pub over_rate: u64,
    /// Its slow start, where it has one.
    pub slow_start: Option<SlowStart>,
    /// Its ejection, if it is ejected or on trial.
    pub ejection: Option<Shown>,
}

impl<'g> Row<'g> {
    fn of<A: Alloc>(root: &Root<A>, set: &Set<A>, at: usize, one: Member<'g>) -> Self {
        let record = root.registry.record(one.record);
        let (flags, health) = record.map_or_else(|| (one.flags, Health::default()), Record::state);
        let ejection = ejection::shown(root, one.record, (root.clock)() / 1000);
        let total = |of: fn(&Totals) -> &Counter| record.map_or(0, |record| of(&record.totals).get());
        Self {
            at,
            one,
            id: record.map_or(0, Record::serial),
            flags,
            health,
            why: ejection.map_or_else(|| probe::why(flags, &health), |ejection| ejection.why),
            ejection,
            load: record.map_or(0, |record| record.load.get()),
            selected: total(|totals| &totals.selected),
            failed_over: total(|totals| &totals.failed_over),
            refused: record.map_or(0, |record| set.ranks.refused(record)),
            failed_probes: total(|totals| &totals.failed_probes),
            latency: record.map_or(0, Record::latency),
            over_rate: total(|totals| &totals.over_rate),
            slow_start: record.and_then(|record| record.slow_start((root.clock)())),
            capacity: record.and_then(|record| root.registry.capacity_of(record)),
        }
    }
}

/// Shows the destinations from a place on, one after the other, until one does not fit any more; says where that is. `only` is
/// the one set that is wanted.
pub fn show<'g, A: Alloc>(
    root: &Root<A>,
    sets: &'g Generation<A>,
    from: Cursor,
    only: Option<i32>,
    mut fits: impl FnMut(&Set<A>, Row<'g>) -> bool,
) -> Option<Cursor> {
    let start = only.map_or(from.set, |only| from.set.max(only));
    let wanted = sets.sets_from(start).take_while(|set| only.is_none_or(|only| set.id == only));
    for set in wanted {
        let first = if set.id == from.set { from.at } else { 0 };
        for at in first..set.len() {
            let Some(one) = set.get(at) else { break };
            if !fits(set, Row::of(root, set, at, one)) {
                return Some(Cursor { set: set.id, at });
            }
        }
    }
    None
}
