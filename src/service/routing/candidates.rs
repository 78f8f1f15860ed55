//! A set as the algorithms see it ([`Candidates`]): each destination as configured, with the load and state that its record has now.

use crate::health::overload;
use crate::load::{Call, key::Key};
use crate::select::attempts::Tried;
use crate::select::weight::{FULL_PACE, Weigher};
use crate::select::{self, Candidates, Positions, consistent, latency, nth_usable};
use crate::shm::Alloc;
use crate::state::capacities::Seen as Shared;
use crate::state::latency_order::Order;
use crate::state::usable::Bits;
use crate::state::weights::Ask;
use crate::state::{Destination, Record, Root, Set};
use core::cell::Cell;
use core::ops::Range;

/// So many positions are looked at one by one before the bits of the usable ones are.
const NEAR: usize = 8;

/// A view of one set.
pub struct View<'a, A: Alloc> {
    root: &'a Root<A>,
    set: &'a Set<A>,
    now_ms: &'a dyn Fn() -> u64,
    /// Overload control is not asked, only looked at.
    dry: bool,
    /// A call: the destinations at which it counts are not usable in this view.
    without: Option<&'a Call>,
    /// Nor are those that were tried.
    tried: &'a [Tried],
    /// Records at which the call counts no more once it goes elsewhere: it has a place in the capacities that they share.
    left: &'a [u32],
    /// The choice is for later: whether a capacity has room then is seen then.
    for_later: bool,
    /// Limits on new calls do not matter.
    any_rate: bool,
    /// The call has priority: it may use reserves.
    priority: bool,
    /// The key of the call, which may stay where it counts.
    own: Option<&'a dyn Fn() -> Option<Key>>,
    /// The destinations that were looked at last, with the position of the first: the next look is most likely there.
    near: Cell<(usize, &'a [Destination])>,
}

impl<'a, A: Alloc> View<'a, A> {
    /// A view for choices that overload control has no part in.
    pub fn new(root: &'a Root<A>, set: &'a Set<A>) -> Self {
        Self::with_clock(root, set, &|| 0)
    }

    /// A view with a wall clock, which only overload control looks at.
    pub fn with_clock(root: &'a Root<A>, set: &'a Set<A>, now_ms: &'a dyn Fn() -> u64) -> Self {
        let near = set.blocks.run_of(0).map_or(&[][..], |(_, first)| first.destinations());
        Self {
            root,
            set,
            now_ms,
            dry: false,
            without: None,
            tried: &[],
            left: &[],
            for_later: false,
            any_rate: false,
            priority: false,
            own: None,
            near: Cell::new((0, near)),
        }
    }

    /// A view for what would be chosen: no look at it changes anything.
    pub fn dry(root: &'a Root<A>, set: &'a Set<A>, now_ms: &'a dyn Fn() -> u64) -> Self {
        Self { dry: true, ..Self::with_clock(root, set, now_ms) }
    }

    /// The same view without the destinations at which this call counts.
    pub fn without(self, call: &'a Call) -> Self {
        Self { without: Some(call).filter(|call| call.counts()), ..self }
    }

    /// The same view without those that were tried.
    pub fn except(self, tried: &'a [Tried]) -> Self {
        Self { tried, ..self }
    }

    /// The same view for a call that counts at these records no more once it goes elsewhere.
    pub fn leaving(self, left: &'a [u32]) -> Self {
        Self { left, ..self }
    }

    /// The same view for a choice that is made now for later.
    pub fn for_later(self) -> Self {
        Self { for_later: true, ..self.at_any_rate() }
    }

    /// The same view for what limits on new calls are not about.
    pub fn at_any_rate(self) -> Self {
        // Where none is over its rate it is the same view.
        Self { any_rate: self.set.ranks.has_over_rate(), ..self }
    }

    /// The capacity that the destination at this position shares.
    pub fn shared(&self, at: usize) -> Option<Shared> {
        self.record(at).and_then(|record| self.root.registry.capacity_of(record))
    }

    /// How many calls with priority it takes beyond its `maxload`.
    pub fn reserve(&self, at: usize) -> u32 {
        self.set.get(at).map_or(0, |one| one.limits.maxload_reserve)
    }

    fn takes(&self, record: &Record) -> bool {
        if self.any_rate { record.flags().usable() } else { record.takes_new_calls() }
    }

    /// The same view for a call that has priority or not.
    pub fn with_priority(self, priority: bool) -> Self {
        Self { priority, ..self }
    }

    /// The same view for the call of this key, which may stay where it counts.
    pub fn of_call(self, key: &'a dyn Fn() -> Option<Key>) -> Self {
        Self { own: Some(key), ..self }
    }

    /// Whether the call counts at this position already, and may stay there.
    #[cold]
    fn stays(&self, at: usize) -> bool {
        let call = self.own.and_then(|key| key()).map(|key| self.root.calls.shard(&key).get(&key));
        call.zip(self.destination(at)).is_some_and(|(call, one)| call.counts_at(one.record))
    }

    /// Whether the destination at this position was tried, or the call counts there.
    #[inline(never)] // a choice for a new request leaves out none
    fn is_left_out(&self, at: usize) -> bool {
        let Some(one) = self.destination(at) else { return false };
        let is_it = |record: &Record| is_among(self.tried, one.record, record);
        self.without.is_some_and(|call| call.counts_at(one.record))
            || !self.tried.is_empty() && self.record(at).is_some_and(is_it)
    }

    /// The record of the destination at this position.
    #[inline]
    pub fn record(&self, at: usize) -> Option<&'a Record> {
        self.root.registry.record(self.destination(at)?.record)
    }

    /// The destination at this position.
    #[inline]
    pub fn destination(&self, at: usize) -> Option<&'a Destination> {
        let (start, near) = self.near.get();
        if let Some(one) = at.checked_sub(start).and_then(|at| near.get(at)) {
            return Some(one);
        }
        self.further(at)
    }

    #[inline(never)] // so that the look that is most likely is short
    fn further(&self, at: usize) -> Option<&'a Destination> {
        let (start, block) = self.set.blocks.run_of(at)?;
        self.near.set((start, block.destinations()));
        block.destinations().get(at - start)
    }

    /// The same as [`Candidates::first_usable`], where it is none of the first few.
    #[inline(never)] // so that the look that is most likely is short
    fn first_beyond(&self, mut among: Range<usize>) -> Option<usize> {
        // What is looked up leaves out those that are over their rates.
        if self.any_rate {
            return among.find(|&at| self.usable(at));
        }
        while !among.is_empty() {
            let Some(next) = self.set.usable(&self.root.registry, |bits| bits.next(among.start)) else {
                return among.find(|&at| self.usable(at));
            };
            let at = next.filter(|at| among.contains(at))?;
            if self.usable(at) {
                return Some(at);
            }
            among.start = at + 1;
        }
        None
    }

    fn configured<T>(&self, at: usize, field: impl Fn(&Destination) -> T) -> Option<T> {
        self.destination(at).map(field)
    }
}

/// Whether the destination of this record is one of these.
fn is_among(tried: &[Tried], number: u32, record: &Record) -> bool {
    tried.iter().any(|one| one.record == number && one.serial == record.serial())
}

impl<A: Alloc> Candidates for View<'_, A> {
    fn len(&self) -> usize {
        self.set.len()
    }
    #[inline]
    fn usable(&self, at: usize) -> bool {
        let all = self.without.is_none() && self.tried.is_empty();
        (all || !self.is_left_out(at)) && self.record(at).is_some_and(|record| self.takes(record))
    }
    fn first_usable(&self, among: Range<usize>) -> Option<usize> {
        let near = among.end.min(among.start.saturating_add(NEAR));
        let found = (among.start..near).find(|&at| self.usable(at));
        if found.is_some() || near == among.end { found } else { self.first_beyond(near..among.end) }
    }
    fn nth_usable(&self, field: usize, number: u64) -> Option<usize> {
        if field > NEAR && !self.any_rate && self.tried.is_empty() && self.without.is_none() {
            let look = |bits: &Bits<'_>| {
                let nth = number.checked_rem(bits.count(field) as u64)?;
                bits.nth(nth as usize)
            };
            let found = self.set.usable(&self.root.registry, look);
            // It may have gone down this moment.
            if let Some(found) = found.filter(|found| found.is_none_or(|at| self.usable(at))) {
                return found;
            }
        }
        nth_usable(self, field, number)
    }
    fn by_latency(&self, field: usize, turn: usize, most: usize) -> Positions {
        // One may have gone down this moment.
        let look = |order: &Order<'_>| {
            let usable = order.from(turn).filter(|&at| at < field && self.usable(at));
            usable.take(most).collect()
        };
        let found = if self.any_rate { None } else { self.set.by_latency(&self.root.registry, look) };
        found.unwrap_or_else(|| latency::sorted(self, field, turn, most))
    }
    fn load(&self, at: usize) -> u32 {
        self.record(at).map_or(u32::MAX, |record| record.load.get())
    }
    fn penalty(&self, at: usize) -> u32 {
        self.record(at).map_or(0, Record::penalty)
    }
    fn maxload(&self, at: usize) -> u32 {
        self.configured(at, |one| one.maxload).unwrap_or(0)
    }
    fn limit(&self, at: usize) -> u32 {
        let maxload = self.maxload(at);
        // Nearly always.
        if !self.priority {
            return maxload;
        }
        select::limit(maxload, self.reserve(at), true)
    }
    fn is_shared_full(&self, at: usize) -> bool {
        let is_full = |record| self.root.registry.is_shared_full(record, self.left, self.priority);
        !self.for_later && self.record(at).is_some_and(is_full)
    }
    fn identity(&self, at: usize) -> u64 {
        self.set.get(at).map_or(0, |one| consistent::identity(one.text(one.duid), one.text(one.uri)))
    }
    fn owner(&self, slot: usize) -> Option<usize> {
        let found = self.set.slots.owner(self, slot);
        found.unwrap_or_else(|| consistent::owner(slot, consistent::claims(self)))
    }
    fn has_shares(&self) -> bool {
        self.root.hash_balance > 0
    }
    fn has_its_share(&self, at: usize) -> bool {
        let shares = |percent| self.set.ranks.shares().has_its_share(percent, self.load(at), self.weight(at));
        self.has_shares() && shares(self.root.hash_balance) && !self.stays(at)
    }
    fn last_chosen(&self, at: usize) -> u64 {
        self.record(at).map_or(0, Record::last_chosen)
    }
    fn pace(&self, at: usize) -> u32 {
        self.record(at).map_or(FULL_PACE, Record::pace)
    }
    fn has_slow(&self) -> bool {
        self.set.ranks.has_slow()
    }
    fn waits(&self, at: usize) -> u64 {
        self.record(at).map_or(0, |record| self.set.ranks.waits(record))
    }
    fn priority(&self, at: usize) -> i32 {
        self.configured(at, |one| one.priority).unwrap_or(0)
    }
    fn weight(&self, at: usize) -> u32 {
        self.configured(at, |one| one.weight).unwrap_or(0)
    }
    fn rweight(&self, at: usize) -> u32 {
        self.configured(at, |one| one.rweight).unwrap_or(0)
    }
    fn latency(&self, at: usize) -> u32 {
        let looked = self.destination(at).zip(self.record(at));
        looked.map_or(0, |(one, record)| one.latency_of(record))
    }
    fn congestion(&self, at: usize) -> Option<u32> {
        self.configured(at, |one| one.cc).filter(|&cc| cc)?;
        self.record(at).map(Record::congestion)
    }
    fn overloaded(&self, at: usize) -> bool {
        let Some(record) = self.record(at) else { return false };
        let (wish, now) = (&record.overload, (self.now_ms)());
        let asked = if self.dry { wish.look(now) } else { wish.ask(now) };
        asked.is_some_and(|(wish, n)| overload::leaves_out(n, wish.rate))
    }
    fn by_sums(&self, weigher: &dyn Weigher, field: usize, n: u64) -> Option<Option<usize>> {
        // Without those that are left out the sums are others.
        let all = self.tried.is_empty() && self.without.is_none() && !self.any_rate;
        let ask = Ask { pool: self, weigher, field };
        if all { self.set.weights.at(self.set, &self.root.registry, ask, n) } else { None }
    }
}
