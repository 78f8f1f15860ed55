//! The capacities that destinations share, as all lines of the list together say.

use crate::source::Destination;
use dispatcher::dest::Flags;
use dispatcher::dest::limits::Smallest;
use dispatcher::dest::shared_rate::SmallestRate;
use dispatcher::select;
use std::collections::BTreeMap;

/// One of them.
pub struct Shared<'a> {
    pub name: &'a [u8],
    /// Destinations that share it.
    pub members: usize,
    /// Calls that they have by the saved answer.
    pub calls: u32,
    /// The most that they may be; 0 is no limit.
    pub limit: u32,
    /// How many with priority come beyond that.
    pub reserve: u32,
    /// New calls a second, and how many more at once; both 0 without a limit.
    pub rate: (u32, u32),
}

/// What lines say of one.
#[derive(Default)]
struct Said {
    members: usize,
    calls: u32,
    limit: u32,
    reserve: Smallest,
    rate: SmallestRate,
}

/// All of them by name, where these destinations, all of a list, have so many calls.
pub fn capacities<'a>(all: &'a [Destination], served: &[(u32, Flags)]) -> Vec<Shared<'a>> {
    let mut said = BTreeMap::<&[u8], Said>::new();
    for (at, one) in all.iter().enumerate().filter(|(_, one)| !one.capacity.name.is_empty()) {
        let of = said.entry(&one.capacity.name).or_default();
        of.members += 1;
        of.calls = of.calls.saturating_add(served.get(at).map_or(0, |served| served.0));
        of.limit = match (of.limit, one.capacity.most) {
            (0, most) => most,
            (limit, 0) => limit,
            (limit, most) => limit.min(most),
        };
        one.capacity.reserve.into_iter().for_each(|reserve| of.reserve.take(reserve));
        of.rate.take(one.capacity.rate.0, one.capacity.rate.1);
    }
    let one = |(name, of): (&'a [u8], Said)| {
        let Said { members, calls, limit, reserve, rate } = of;
        Shared { name, members, calls, limit, reserve: reserve.of(limit), rate: rate.in_effect() }
    };
    said.into_iter().map(one).collect()
}

impl Shared<'_> {
    /// Whether it has no room for one more call, that may have `priority`.
    pub fn is_full(&self, priority: bool) -> bool {
        select::is_full(self.calls, select::limit(self.limit, self.reserve, priority))
    }
}
