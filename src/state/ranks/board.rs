//! The board itself, for who holds its lock.

use super::gate::Gate;
use super::groups::Groups;
use super::layer::Layer;
use super::penalties::Seen;
use super::slow::{Slow, Turn};
use super::takes::Takes;
use super::{Line, Measure, Record, Registry, Shift};
use crate::load::Rate;
use crate::select::consistent::Shares;
use crate::select::{capacity, is_full, limit, relative};
use crate::shm::counter::Audited;
use crate::shm::slice::Slice;
use crate::shm::tournament::{NONE, Tournament, WIDTH};
use crate::shm::{Alloc, OutOfMemory, Shared};
use crate::state::Capacities;
use crate::state::capacities::Fill;

/// Bits of a rank that say when its destination was chosen; the load has the rest, which a relative load needs.
pub(super) const WHEN: u32 = if cfg!(test) { 10 } else { 33 };
/// The least number of a choice. Smaller numbers are the order of those that were never chosen.
pub(super) const FIRST_CHOICE: u64 = if cfg!(test) { 1 << 9 } else { 1 << 32 };
/// The last number of a choice; then numbering starts again.
pub(super) const LAST_CHOICE: u64 = (1 << WHEN) - 1;
/// Loads above it count as equal. As a load it is in the ranks of lines that wait (`slow`).
pub(super) const MOST: u64 = u64::MAX >> WHEN;
/// The gap between the order numbers of neighbours, so that lines can be inserted between them.
pub(super) const GAP: u64 = if cfg!(test) { 4 } else { 1 << 10 };
/// No line.
pub(super) const NO_LINE: u32 = u32::MAX;
/// Changes of states, and of latencies, that are remembered with the records that they were of.
pub(super) const RECENT: usize = 32;
/// In the place of the record of a change: none, or one with several lines.
pub(super) const NOT_ONE_LINE: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) line: Line,
    /// Its order among the lines that were never chosen: a later line has a higher number.
    pub(super) order: u32,
    /// The next line of the same record; of a free place the next free one.
    pub(super) next: u32,
    pub(super) takes: Takes,
    /// Whether it is in slow start.
    pub(super) slow: bool,
    /// Its calls among those of [`Board::shares`].
    pub(super) calls: u32,
}

/// A place without a line.
const NO_RATE: Rate = Rate { cps: 0, burst: 0 };
const FREE: Place = Place {
    line: Line {
        record: NO_LINE,
        maxload: 0,
        reserve: 0,
        weight: 0,
        capacity: 0,
        rate: NO_RATE,
        slow_start: 0,
    },
    order: 0,
    next: NO_LINE,
    takes: Takes::None,
    slow: false,
    calls: 0,
};

// SAFETY: numbers.
unsafe impl Shared for Place {}

/// The capacities, for who holds their lock.
pub(super) type Sharing<'a, A> = Option<&'a mut Capacities<A>>;

/// What a rank rests on.
#[derive(Clone, Copy)]
pub(super) struct By {
    measure: Measure,
    /// See [`Board::by_limits`].
    by_limits: bool,
    /// Whether calls with priority are meant.
    priority: bool,
    turn: Turn,
}

pub(super) struct Board<A: Alloc> {
    /// The lines by rank.
    pub(super) ordinary: Layer<A>,
    /// The same for calls with priority, once one has come and as long as there is a reserve for them.
    pub(super) reserved: Option<Layer<A>>,
    /// Whether loads are relative to limits, because all lines have one.
    pub(super) by_limits: bool,
    pub(super) places: Slice<Place, A>,
    /// The groups of the lines that come next, for each layer.
    pub(super) next_groups: (Option<Groups<A>>, Option<Groups<A>>),
    /// Head of the list of free places.
    pub(super) free: u32,
    pub(super) len: usize,
    pub(super) usable: usize,
    /// Lines that take no calls only because they are drained.
    pub(super) drained: usize,
    /// Lines that take no calls only because of their rates.
    pub(super) over_rate: usize,
    /// Lines with a limit on new calls.
    pub(super) rated: usize,
    /// Until when lines get no new calls, by place: of those over their rates. There where lines have limits on new calls.
    pub(super) until: Option<Tournament<A>>,
    /// Lines in slow start, and whose turn it is of them.
    pub(super) slow: Slow<A>,
    /// What those that take calls have together.
    pub(super) shares: Shares,
    /// Lines with a limit.
    pub(super) limited: usize,
    /// Lines with a reserve.
    pub(super) reserving: usize,
    /// The last line of the set.
    pub(super) last: u32,
    /// The number of the last choice.
    pub(super) choices: u64,
    /// Selections that found all lines full, though some take calls.
    pub(super) refused: u64,
    /// The record of the last changes of states; that of the `n`th at `n % RECENT`.
    pub(super) recent: [u32; RECENT],
    /// The same for changes of states or latencies.
    pub(super) recent_latencies: [u32; RECENT],
    /// How many calls its lines have in the mean, as was seen last.
    pub(super) level: Option<Seen>,
    pub(super) alloc: A,
}

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Board<A> {}

impl<A: Alloc> Board<A> {
    /// Without a line.
    pub(super) fn try_new_in(alloc: A) -> Result<Self, OutOfMemory> {
        Ok(Self {
            ordinary: Layer::try_with_room_in(0, false, None, alloc)?,
            reserved: None,
            by_limits: true,
            places: Slice::empty_in(alloc),
            next_groups: (None, None),
            free: NO_LINE,
            len: 0,
            usable: 0,
            drained: 0,
            over_rate: 0,
            rated: 0,
            until: None,
            slow: Slow::new(),
            shares: Shares::default(),
            limited: 0,
            reserving: 0,
            last: NO_LINE,
            choices: 0,
            refused: 0,
            recent: [NOT_ONE_LINE; RECENT],
            recent_latencies: [NOT_ONE_LINE; RECENT],
            level: None,
            alloc,
        })
    }

    /// From now on relative loads are compared, too.
    pub(super) fn compare_by_size(&mut self, registry: &Registry<A>) -> Result<(), OutOfMemory> {
        if !self.ordinary.is_relative() {
            let (room, alloc) = (self.places.len(), self.alloc);
            self.ordinary.compare_relative(room, alloc)?;
            let fits = |layer: &mut Layer<A>| layer.compare_relative(room, alloc).is_ok();
            // Without memory for it, the next call that needs it tries again.
            self.reserved = self.reserved.take().and_then(|mut layer| fits(&mut layer).then_some(layer));
            self.rerank_relative(registry);
        }
        Ok(())
    }

    /// Whether some lines share a capacity.
    pub(super) fn has_groups(&self) -> bool {
        self.ordinary.groups.is_some()
    }

    /// Whether it has far more room than so many lines need, as after a reload with fewer.
    pub(super) fn is_wide(&self, len: usize) -> bool {
        self.places.len() > 64 && len < self.places.len() / 4
    }

    pub(super) fn reserve(&mut self, len: usize, (rated, slow): (bool, bool)) -> Result<(), OutOfMemory> {
        let wanted = len.next_multiple_of(WIDTH);
        let room = wanted.max(self.places.len());
        for (wanted, tree) in [(rated, &mut self.until), (slow, &mut self.slow.waiting)] {
            if wanted && tree.is_none() {
                *tree = Some(Tournament::try_with_room_in(room, self.alloc)?);
            }
        }
        if wanted <= self.places.len() {
            return Ok(());
        }
        let trees = |layer: &Layer<A>| layer.wider(wanted, self.alloc);
        let (ordinary, reserved) = (trees(&self.ordinary)?, self.reserved.as_ref().map(trees).transpose()?);
        let wider = |tree: &Option<Tournament<A>>| {
            tree.as_ref().map(|tree| tree.wider(wanted, self.alloc)).transpose()
        };
        let (until, waiting) = (wider(&self.until)?, wider(&self.slow.waiting)?);
        let old = self.places.len();
        let place = |at: usize| match self.places.get(at) {
            Some(place) => *place,
            None => Place { next: if at + 1 < wanted { at as u32 + 1 } else { NO_LINE }, ..FREE },
        };
        let places = Slice::try_from_fn_in(wanted, place, self.alloc)?;
        (self.until, self.slow.waiting, self.places) = (until, waiting, places);
        self.ordinary.take_trees(ordinary);
        self.reserved.iter_mut().zip(reserved).for_each(|(layer, trees)| layer.take_trees(trees));
        // The new places come before those that were free.
        let free = core::mem::replace(&mut self.free, old as u32);
        if let Some(last) = self.places.last_mut() {
            last.next = free;
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn by(&self, measure: Measure, priority: bool) -> By {
        By { measure, by_limits: self.by_limits, priority, turn: self.slow.turn() }
    }

    #[inline(always)] // what it rests on is mostly known where it is asked for
    pub(super) fn rank(by: By, place: &Place, record: &Record) -> u64 {
        let Line { maxload, reserve, weight, .. } = place.line;
        let load = record.load.get();
        if !record.takes_new_calls() || is_full(load, limit(maxload, reserve, by.priority)) {
            return NONE;
        }
        if let Some(rank) = by.turn.rank(record) {
            return rank;
        }
        let load = load.saturating_add(record.penalty());
        let load = match by.measure {
            Measure::Calls => load,
            Measure::Relative => relative(load, capacity(by.by_limits, maxload, weight)),
        };
        let when = match record.last_chosen() {
            0 => u64::from(place.order),
            choice => FIRST_CHOICE + choice,
        };
        u64::from(load).min(MOST - 1) << WHEN | when.min(LAST_CHOICE)
    }

    /// Gives the line at this place its rank.
    pub(super) fn rerank(&mut self, at: u32, record: &Record) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        let takes = Takes::of(&place.line, record);
        let before = core::mem::replace(&mut place.takes, takes);
        let counted = if takes == Takes::Calls { record.load.get() } else { 0 };
        let uncounted = core::mem::replace(&mut place.calls, counted);
        let place = *place;
        Self::recount(&mut self.shares, uncounted, counted);
        if takes != before {
            self.count_takes(&place.line, before, takes);
            record.takes_calls(takes == Takes::Calls, self.refused);
        }
        if place.slow || record.is_slow() {
            self.note_slow(at as usize, record);
        }
        self.ordinary.set(at as usize, Self::rank(self.by(Measure::Calls, false), &place, record));
        if self.ordinary.is_relative() {
            self.set_relative(at as usize, &place, record);
        }
        if self.reserved.is_some() {
            self.set_reserved(at as usize, &place, record);
        }
        self.wait_for_rate(at as usize, record);
    }

    #[cold]
    fn set_relative(&mut self, at: usize, place: &Place, record: &Record) {
        self.ordinary.set_relative(at, Self::rank(self.by(Measure::Relative, false), place, record));
    }

    /// The ranks of all lines, by place.
    pub(super) fn ranks(&self, registry: &Registry<A>, measure: Measure, priority: bool) -> Vec<u64> {
        let by = self.by(measure, priority);
        let rank = |place: &Place| match registry.record(place.line.record) {
            Some(record) => Self::rank(by, place, record),
            None => NONE,
        };
        self.places.iter().map(rank).collect()
    }

    /// Gives all lines their relative ranks.
    pub(super) fn rerank_relative(&mut self, registry: &Registry<A>) {
        if !self.ordinary.is_relative() {
            return;
        }
        let ranks = self.ranks(registry, Measure::Relative, false);
        self.ordinary.fill(Measure::Relative, ranks);
        if self.reserved.is_some() {
            let ranks = self.ranks(registry, Measure::Relative, true);
            self.reserved.iter_mut().for_each(|layer| layer.fill(Measure::Relative, ranks.clone()));
        }
    }

    /// Takes the ranks from the line at this place.
    pub(super) fn close(&mut self, at: usize) {
        self.ordinary.close(at);
        self.reserved.iter_mut().for_each(|layer| layer.close(at));
    }

    /// A capacity has room for others than before: its lines are in the way of choices or out of it.
    pub(super) fn turn(&mut self, capacity: u32, fill: Fill) {
        self.ordinary.turn(capacity, fill.is_full_for(false));
        self.reserved.iter_mut().for_each(|layer| layer.turn(capacity, fill.is_full_for(true)));
    }

    pub(super) fn shift(&mut self, record: &Record, shift: Shift, audited: Audited) {
        record.shift(shift, audited);
        if shift.load != 0 {
            self.refresh(record);
        }
    }

    /// Remembers whose state the change with this number is of.
    pub(super) fn remember(&mut self, record: &Record, change: u64) {
        let number = self.remembered_as(record);
        let place = self.recent.get_mut((change % RECENT as u64) as usize);
        place.into_iter().for_each(|place| *place = number);
    }

    /// The same for a change of a state or latency.
    pub(super) fn remember_latency(&mut self, record: &Record, change: u64) {
        let number = self.remembered_as(record);
        let place = self.recent_latencies.get_mut((change % RECENT as u64) as usize);
        place.into_iter().for_each(|place| *place = number);
    }

    fn remembered_as(&self, record: &Record) -> u32 {
        let only = self.places.get(record.first_line() as usize).filter(|place| place.next == NO_LINE);
        only.map_or(NOT_ONE_LINE, |place| place.line.record)
    }

    pub(super) fn refresh(&mut self, record: &Record) {
        let mut at = record.first_line();
        while let Some(place) = self.places.get(at as usize) {
            let next = place.next;
            self.rerank(at, record);
            at = next;
        }
    }

    pub(super) fn add(&mut self, registry: &Registry<A>, line: Line, order: u32, sharing: Sharing<'_, A>) {
        let at = self.free;
        if let Some(record) = self.link(registry, line, order, sharing) {
            self.rerank(at, record);
        }
    }

    /// Puts a line on the first free place; it has no rank yet. The first line of a record says which capacity it shares, and its rate.
    fn link<'r>(
        &mut self,
        registry: &'r Registry<A>,
        line: Line,
        order: u32,
        sharing: Sharing<'_, A>,
    ) -> Option<&'r Record> {
        let record = registry.record(line.record)?;
        if let Some(capacities) = sharing.filter(|_| record.first_line() == NO_LINE) {
            capacities.join(record, line.capacity);
            record.put_over_shared_rate(capacities.pace(line.capacity).over_until.is_some());
        }
        if record.first_line() == NO_LINE {
            record.limit_to(line.rate);
            record.set_slow_start(line.slow_start);
        }
        let at = self.free;
        let place = self.places.get_mut(at as usize)?;
        self.free = place.next;
        *place = Place { line, order, next: record.first_line(), ..FREE };
        record.set_first_line(at);
        self.len += 1;
        self.limited += usize::from(line.maxload > 0);
        self.rated += usize::from(line.rate.limits());
        self.reserving += usize::from(line.reserve > 0);
        Some(record)
    }

    /// Notes that the record has no line here any more.
    pub(super) fn forget(&self, record: &Record) {
        record.set_first_line(NO_LINE);
        record.takes_calls(false, self.refused);
    }

    /// Frees a place that no list leads to any more.
    pub(super) fn discard(&mut self, at: u32) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        self.limited -= usize::from(place.line.maxload > 0);
        self.rated -= usize::from(place.line.rate.limits());
        self.reserving -= usize::from(place.line.reserve > 0);
        let gone = core::mem::replace(place, Place { next: self.free, ..FREE });
        self.count_takes(&gone.line, gone.takes, Takes::None);
        self.slow.lines -= usize::from(gone.slow);
        Self::recount(&mut self.shares, gone.calls, 0);
        self.free = at;
        self.len -= 1;
        self.close(at as usize);
        let trees = [&mut self.until, &mut self.slow.waiting];
        trees.into_iter().flatten().for_each(|tree| tree.set(at as usize, NONE));
    }

    pub(super) fn rebuild(&mut self, registry: &Registry<A>, lines: &[Line], mut sharing: Sharing<'_, A>) {
        let (ordinary, reserved) = core::mem::take(&mut self.next_groups);
        self.ordinary.groups = ordinary.filter(|_| !lines.is_empty());
        // It may have come after room was made for the groups: then the next call that needs it makes it again.
        let is_whole = self.has_groups() == reserved.is_some();
        self.reserved = self.reserved.take().filter(|_| is_whole && !self.is_wide(lines.len()));
        self.reserved.iter_mut().zip([reserved]).for_each(|(layer, groups)| layer.groups = groups);
        sharing.as_deref().into_iter().for_each(|capacities| self.learn_paces(capacities));
        for place in self.places.iter().filter(|place| place.line.record != NO_LINE) {
            registry.record(place.line.record).into_iter().for_each(|record| self.forget(record));
        }
        if self.is_wide(lines.len()) {
            let wanted = lines.len().next_multiple_of(WIDTH);
            let trees = self.ordinary.emptied(wanted, self.alloc);
            let emptied = |tree: &Option<Tournament<A>>| {
                tree.as_ref().map(|_| Tournament::try_with_room_in(wanted, self.alloc)).transpose()
            };
            let (until, waiting) = (emptied(&self.until), emptied(&self.slow.waiting));
            let places = Slice::try_from_fn_in(wanted, |_| FREE, self.alloc);
            // Without memory for less it keeps what it has.
            if let (Ok(trees), Ok(until), Ok(waiting), Ok(places)) = (trees, until, waiting, places) {
                self.ordinary.take_trees(trees);
                (self.until, self.slow.waiting, self.places) = (until, waiting, places);
            }
        }
        let len = self.places.len();
        for (next, place) in (1..).zip(self.places.iter_mut()) {
            *place = Place { next: if next < len { next as u32 } else { NO_LINE }, ..FREE };
        }
        (self.free, self.len, self.limited) = (if len > 0 { 0 } else { NO_LINE }, 0, 0);
        (self.usable, self.drained, self.over_rate) = (0, 0, 0);
        (self.rated, self.reserving) = (0, 0);
        (self.slow.sizes, self.shares) = Default::default();
        let gap = ((FIRST_CHOICE - 1) / (lines.len() as u64 + 1)).min(GAP);
        let mut ranks = Vec::with_capacity(lines.len());
        let by = self.by(Measure::Calls, false);
        for (at, line) in (1..).zip(lines) {
            let place = self.free;
            let Some(record) = self.link(registry, *line, (at * gap) as u32, sharing.as_deref_mut()) else {
                continue;
            };
            if let Some(place) = self.places.get_mut(place as usize) {
                let takes = Takes::of(line, record);
                place.takes = takes;
                place.calls = if takes == Takes::Calls { record.load.get() } else { 0 };
                Self::recount(&mut self.shares, 0, place.calls);
                ranks.push(Self::rank(by, place, record));
                record.takes_calls(takes == Takes::Calls, self.refused);
                self.count_takes(line, Takes::None, takes);
            }
        }
        self.last = (self.len as u32).wrapping_sub(1); // none is NO_LINE
        self.ordinary.fill(Measure::Calls, ranks);
        self.by_limits = self.limited == self.len;
        self.drop_reserved_if_unused();
        if self.reserved.is_some() {
            let ranks = self.ranks(registry, Measure::Calls, true);
            self.reserved.iter_mut().for_each(|layer| layer.fill(Measure::Calls, ranks.clone()));
        }
        self.rerank_relative(registry);
        self.wait_for_rates(registry);
        self.note_all_slow(registry);
    }

    /// Says that the destination was chosen now.
    pub(super) fn chosen(&mut self, registry: &Registry<A>, record: &Record) {
        if FIRST_CHOICE + self.choices + 1 >= LAST_CHOICE {
            self.count_anew(registry);
        }
        self.choices += 1;
        record.chosen(self.choices);
        if self.slow.lines > 0 {
            self.takes_turn(registry, record);
        }
    }

    /// Numbers the remembered choices again from the start, in the same order.
    fn count_anew(&mut self, registry: &Registry<A>) {
        let mut records: Vec<_> =
            (0..self.places.len()).filter_map(|at| self.record_at(registry, at)).collect();
        records.retain(|record| record.last_chosen() > 0);
        records.sort_by_key(|record| record.last_chosen());
        // Lines of one record.
        records.dedup_by(|one, other| core::ptr::eq(*one, *other));
        self.choices = 0;
        for record in records {
            self.choices += 1;
            record.chosen(self.choices);
            self.refresh(record);
        }
    }

    /// The record of the line at this place, if one is there.
    pub(super) fn record_at<'r>(&self, registry: &'r Registry<A>, at: usize) -> Option<&'r Record> {
        registry.record(self.places.get(at)?.line.record)
    }

    pub(super) fn rerank_at(&mut self, registry: &Registry<A>, at: u32) {
        let record = self.record_at(registry, at as usize);
        record.into_iter().for_each(|record| self.rerank(at, record));
    }

    pub(super) fn take_least<T>(
        &mut self,
        registry: &Registry<A>,
        (measure, priority): (Measure, bool),
        audited: Audited,
        find: impl Fn(Line, &Record) -> Option<T>,
        unknown: &mut Vec<u32>,
        gate: &mut Gate<'_, A>,
    ) -> Option<(T, u32)> {
        let by = self.by(measure, priority);
        loop {
            let (at, rank) = self.layer(priority).least(measure)?;
            let place = *self.places.get(at)?;
            let record = registry.record(place.line.record)?;
            let seen = record.load.get();
            // Not so unless this module has a fault: the limit holds even then.
            if Self::rank(by, &place, record) != rank {
                self.rerank(at as u32, record);
                continue;
            }
            let capacity = record.capacity();
            if capacity != 0 && gate.fill(capacity).is_full_for(priority) {
                self.turn(capacity, gate.fill(capacity));
                continue;
            }
            let Some(found) = find(place.line, record) else {
                self.close(at);
                unknown.push(at as u32);
                continue;
            };
            // Without a token it has no rank any more.
            if gate.take_token(self, record) && record.take_if(seen, audited) {
                self.chosen(registry, record);
                self.refresh(record);
                self.give_turns(registry);
                return Some((found, capacity));
            }
        }
    }
}
