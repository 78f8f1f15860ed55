//! A set as algorithms see it: the configured destinations with what their records say now.

use crate::health::overload;
use crate::load::Call;
use crate::select::attempts::Tried;
use crate::select::weight::Ring;
use crate::select::{Candidates, Tickets};
use crate::shm::Alloc;
use crate::state::{Destination, Record, Root, Set};
use core::cell::Cell;

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
        Self { root, set, now_ms, dry: false, without: None, tried: &[], near: Cell::new((0, near)) }
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
        (all || !self.is_left_out(at)) && self.record(at).is_some_and(|record| record.flags().usable())
    }
    fn load(&self, at: usize) -> u32 {
        self.record(at).map_or(u32::MAX, |record| record.load.get())
    }
    fn maxload(&self, at: usize) -> u32 {
        self.configured(at, |one| one.maxload).unwrap_or(0)
    }
    fn last_chosen(&self, at: usize) -> u64 {
        self.record(at).map_or(0, Record::last_chosen)
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
        self.congestion(at).or_else(|| self.record(at).map(Record::latency)).unwrap_or(0)
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
    fn on_ring(&self, row: Tickets, field: usize, n: u64, make: &dyn Fn() -> Ring) -> Option<usize> {
        if !self.tried.is_empty() || self.without.is_some() {
            return make().at(n); // another ring than that of the set
        }
        self.set.rings.at(row as usize, field, n, || self.set.ranks.changes(), make)
    }
}
