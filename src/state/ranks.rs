//! The board of a set: which destination has the fewest calls. It is kept up to date with each call and each change of state, so
//! that a choice by call load looks at the best destination only.
//!
//! Model: each line of the set has a place in a [`Tournament`] and there a rank: its load, then how long ago it was chosen.
//! A line that takes no calls, or is full, has no rank. A line keeps its place while others come and go; its record knows the
//! first of its lines, and each line the next one of the same record.
//!
//! Invariant: each change of a load or a state also changes the ranks of the record's lines, under the same lock
//! ([`Ranks::shift`], [`Ranks::count`], [`Ranks::step`]). A choice still reads the record again before it counts.
//!
//! All generations of a set share one board. A commit gives it the lines of the next generation just before that serves, so
//! a choice may find a line that its own generation does not have yet.

use super::record::{Record, Shift};
use super::registry::Registry;
use crate::select::is_full;
use crate::shm::atomic::{AtomicU64, Ordering};
use crate::shm::counter::Audited;
use crate::shm::lock::{Guard, Mutex};
use crate::shm::slice::Slice;
use crate::shm::tournament::{NONE, Tournament, WIDTH};
use crate::shm::{Alloc, OutOfMemory, Shared};

/// Bits of a rank that say when its destination was chosen; the load has the rest.
const WHEN: u32 = if cfg!(test) { 10 } else { 38 };
/// The least number of a choice. Smaller numbers are the order of those that were never chosen.
const FIRST_CHOICE: u64 = if cfg!(test) { 1 << 9 } else { 1 << 32 };
/// The last number of a choice; then numbering starts again.
const LAST_CHOICE: u64 = (1 << WHEN) - 1;
/// Loads above it count as equal.
const MOST: u64 = u64::MAX >> WHEN;
/// The gap between the order numbers of neighbours, so that lines can be inserted between them.
const GAP: u64 = if cfg!(test) { 4 } else { 1 << 10 };
/// No line.
const NO_LINE: u32 = u32::MAX;

/// A line of a set, with what call load needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The number of its record.
    pub record: u32,
    /// Calls that it may have; 0 is no limit.
    pub maxload: u32,
}

#[derive(Clone, Copy)]
struct Place {
    line: Line,
    /// Its order among the lines that were never chosen: a later line has a higher number.
    order: u32,
    /// The next line of the same record; of a free place the next free one.
    next: u32,
    usable: bool,
}

/// A place without a line.
const FREE: Place =
    Place { line: Line { record: NO_LINE, maxload: 0 }, order: 0, next: NO_LINE, usable: false };

// SAFETY: numbers.
unsafe impl Shared for Place {}

/// The lines of a set, by rank.
pub struct Ranks<A: Alloc> {
    board: Mutex<Board<A>>,
    /// How often something has changed that weighted choices depend on.
    changes: AtomicU64,
}

// SAFETY: a shared board behind a lock between processes.
unsafe impl<A: Alloc> Shared for Ranks<A> {}

struct Board<A: Alloc> {
    best: Tournament<A>,
    places: Slice<Place, A>,
    /// Head of the list of free places.
    free: u32,
    len: usize,
    usable: usize,
    /// Lines that have a rank: they take calls and have room.
    open: usize,
    /// The last line of the set.
    last: u32,
    /// The number of the last choice.
    choices: u64,
    /// Selections that found all lines full, though some take calls.
    refused: u64,
    alloc: A,
}

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Board<A> {}

/// Why no call was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// No line takes calls.
    NoneUsable,
    /// Some do, but all of those are full.
    Full,
    /// There is one, but not in the caller's generation.
    Outdated,
}

/// Neighbouring lines and those that replace them.
pub struct Patch<'a> {
    /// Those that go.
    pub out: &'a [Line],
    /// Those that come.
    pub new: &'a [Line],
    /// The lines around them.
    pub before: Option<Line>,
    /// See `before`.
    pub after: Option<Line>,
}

impl<A: Alloc> Ranks<A> {
    /// Without a line.
    pub fn try_new_in(alloc: A) -> Result<Self, OutOfMemory> {
        let (best, places) = (Tournament::try_with_room_in(0, alloc)?, Slice::empty_in(alloc));
        let (free, last) = (NO_LINE, NO_LINE);
        let board =
            Board { best, places, free, len: 0, usable: 0, open: 0, last, choices: 0, refused: 0, alloc };
        Ok(Self { board: Mutex::new(board), changes: AtomicU64::new(0) })
    }

    /// Makes room for so many lines.
    pub fn reserve(&self, len: usize) -> Result<(), OutOfMemory> {
        self.board.lock().reserve(len)
    }

    /// Makes these the lines of the set, in their order. The caller holds the writer's lock and has called [`Ranks::reserve`].
    pub fn rebuild(&self, registry: &Registry<A>, lines: &[Line]) {
        self.board.lock().rebuild(registry, lines);
    }

    /// Exchanges some lines; false if the caller must use [`Ranks::rebuild`], or that is cheaper. The caller holds the writer's lock
    /// and has called [`Ranks::reserve`].
    #[must_use]
    pub fn patch(&self, registry: &Registry<A>, patch: &Patch<'_>) -> bool {
        self.board.lock().patch(registry, patch)
    }

    /// Locks the board.
    pub fn hold(&self) -> Held<'_, A> {
        Held { ranks: self, board: self.board.lock() }
    }

    /// What a call does to a record, which changes its ranks, as one step.
    pub fn shift(&self, record: &Record, shift: Shift, audited: Audited) {
        self.board.lock().shift(record, shift, audited);
    }

    /// Changes the record's load by `change` and the ranks of its lines, in one step.
    pub fn count<T>(&self, record: &Record, change: impl FnOnce(&Record) -> T) -> T {
        let mut board = self.board.lock();
        let done = change(record);
        board.refresh(record);
        done
    }

    /// Changes the record's state by `change` and the ranks of its lines, in one step.
    pub fn step<T>(&self, record: &Record, change: impl FnOnce(&Record) -> T) -> T {
        let mut board = self.board.lock();
        let before = record.worth();
        let done = change(record);
        if record.worth() != before {
            self.changes.fetch_add(1, Ordering::Release); // sync point `worth`
        }
        board.refresh(record);
        done
    }

    /// Selections that found all lines of this set full while this record's destination took calls. They are counted once for the
    /// whole set, so that a refusal costs the same in a large set.
    pub fn refused(&self, record: &Record) -> u64 {
        record.refused(self.board.lock().refused)
    }

    /// How many lines take calls, and how many of them have room for one more.
    pub fn usable_and_open(&self) -> (usize, usize) {
        let board = self.board.lock();
        (board.usable, board.open)
    }

    /// How often the state or the congestion of a destination has changed so far. Sync point `worth`, the other end: states that are
    /// read after this are at least as new as that change.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Counts a call at this record, if it still has the load that was `seen`, and says that it was chosen.
    pub fn take_if(&self, registry: &Registry<A>, record: &Record, seen: u32, audited: Audited) -> bool {
        let mut board = self.board.lock();
        let taken = record.take_if(seen, audited);
        if taken {
            board.chosen(registry, record);
        }
        board.refresh(record);
        taken
    }

    /// How many lines have a wrong rank, or stand where a search for the best would miss them. The caller holds the writer's lock.
    /// Not 0 is a fault of this module.
    pub fn faults(&self, registry: &Registry<A>) -> usize {
        self.board.lock().faults(registry)
    }
}

/// A locked board: what is done with it is one step.
pub struct Held<'a, A: Alloc> {
    ranks: &'a Ranks<A>,
    board: Guard<'a, Board<A>>,
}

impl<A: Alloc> Held<'_, A> {
    /// Chooses the line with the fewest calls; among equals the one that was chosen longest ago, then the first of the set. Counts a
    /// call there in the same step, and returns what `find` returns for it.
    ///
    /// Leaves out lines of the records `but`, and those for which `find` returns nothing. With `spare_last` the last line of the
    /// set is chosen only if there is no other. A `first` look that finds no room is counted as refused.
    pub fn take_best<T>(
        &mut self,
        registry: &Registry<A>,
        but: impl Iterator<Item = u32>,
        spare_last: bool,
        first: bool,
        audited: Audited,
        find: impl Fn(Line, &Record) -> Option<T>,
    ) -> Result<T, NotTaken> {
        let is_ours =
            |number: &u32| registry.ranks(*number).is_some_and(|ranks| core::ptr::eq(ranks, self.ranks));
        let board = &mut *self.board;
        let mut usable = board.usable;
        // What is left out has no rank while we look.
        let mut left_out = Vec::new();
        for record in but.filter(is_ours).filter_map(|number| registry.record(number)) {
            let mut at = record.first_line();
            while let Some(place) = board.places.get(at as usize) {
                // It may be named twice: where the call counts, and as tried.
                if !left_out.contains(&at) {
                    usable -= usize::from(place.usable);
                    left_out.push(at);
                }
                at = place.next;
            }
        }
        left_out.iter().for_each(|&at| board.set_rank(at as usize, NONE));
        let spared =
            (spare_last && board.len > 1).then_some(board.last).filter(|last| !left_out.contains(last));
        spared.into_iter().for_each(|last| board.set_rank(last as usize, NONE));
        let mut unknown = Vec::new();
        let mut taken = board.take_least(registry, audited, &find, &mut unknown);
        if let Some(last) = spared {
            board.rerank_at(registry, last);
            taken = taken.or_else(|| board.take_least(registry, audited, &find, &mut unknown));
        }
        left_out.iter().chain(&unknown).for_each(|&at| board.rerank_at(registry, at));
        taken.ok_or_else(|| match usable {
            _ if !unknown.is_empty() => NotTaken::Outdated,
            0 => NotTaken::NoneUsable,
            _ => {
                board.refused += u64::from(first);
                NotTaken::Full
            }
        })
    }

    /// What a call does to the record of this number, if that has its lines on this board.
    pub fn shift(&mut self, registry: &Registry<A>, number: u32, shift: Shift, audited: Audited) -> bool {
        let Some((record, ranks)) = registry.ranked(number) else { return false };
        let is_ours = core::ptr::eq(ranks, self.ranks);
        if is_ours {
            self.board.shift(record, shift, audited);
        }
        is_ours
    }
}

impl<A: Alloc> Board<A> {
    /// Whether it has far more room than so many lines need, as after a reload with fewer.
    fn is_wide(&self, len: usize) -> bool {
        self.places.len() > 64 && len < self.places.len() / 4
    }

    fn reserve(&mut self, len: usize) -> Result<(), OutOfMemory> {
        let wanted = len.next_multiple_of(WIDTH);
        if wanted <= self.places.len() {
            return Ok(());
        }
        let mut best = Tournament::try_with_room_in(wanted, self.alloc)?;
        best.fill((0..wanted.min(self.best.room())).map(|at| self.best.get(at)));
        let old = self.places.len();
        let place = |at: usize| match self.places.get(at) {
            Some(place) => *place,
            None => Place { next: if at + 1 < wanted { at as u32 + 1 } else { NO_LINE }, ..FREE },
        };
        let places = Slice::try_from_fn_in(wanted, place, self.alloc)?;
        (self.best, self.places) = (best, places);
        // The new places come before those that were free.
        let free = core::mem::replace(&mut self.free, old as u32);
        if let Some(last) = self.places.last_mut() {
            last.next = free;
        }
        Ok(())
    }

    fn rank(place: &Place, record: &Record) -> u64 {
        let (load, limit) = (record.load.get(), place.line.maxload);
        if !record.flags().usable() || is_full(load, limit) {
            return NONE;
        }
        let when = match record.last_chosen() {
            0 => u64::from(place.order),
            choice => FIRST_CHOICE + choice,
        };
        u64::from(load).min(MOST - 1) << WHEN | when.min(LAST_CHOICE)
    }

    /// Gives the line at this place its rank.
    fn rerank(&mut self, at: u32, record: &Record) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        let usable = record.flags().usable();
        if usable != place.usable {
            self.usable = self.usable + usize::from(usable) - usize::from(place.usable);
            place.usable = usable;
            record.takes_calls(usable, self.refused);
        }
        let rank = Self::rank(place, record);
        self.set_rank(at as usize, rank);
    }

    fn set_rank(&mut self, at: usize, rank: u64) {
        self.open = self.open + usize::from(rank != NONE) - usize::from(self.best.get(at) != NONE);
        self.best.set(at, rank);
    }

    fn shift(&mut self, record: &Record, shift: Shift, audited: Audited) {
        record.shift(shift, audited);
        if shift.load != 0 {
            self.refresh(record);
        }
    }

    fn refresh(&mut self, record: &Record) {
        let mut at = record.first_line();
        while let Some(place) = self.places.get(at as usize) {
            let next = place.next;
            self.rerank(at, record);
            at = next;
        }
    }

    fn add(&mut self, registry: &Registry<A>, line: Line, order: u32) {
        let at = self.free;
        if let Some(record) = self.link(registry, line, order) {
            self.rerank(at, record);
        }
    }

    /// Puts a line on the first free place; it has no rank yet.
    fn link<'r>(&mut self, registry: &'r Registry<A>, line: Line, order: u32) -> Option<&'r Record> {
        let record = registry.record(line.record)?;
        let at = self.free;
        let place = self.places.get_mut(at as usize)?;
        self.free = place.next;
        *place = Place { line, order, next: record.first_line(), usable: false };
        record.set_first_line(at);
        self.len += 1;
        Some(record)
    }

    /// Notes that the record has no line here any more.
    fn forget(&self, record: &Record) {
        record.set_first_line(NO_LINE);
        record.takes_calls(false, self.refused);
    }

    /// Frees a place that no list leads to any more.
    fn discard(&mut self, at: u32) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        self.usable -= usize::from(place.usable);
        *place = Place { next: self.free, ..FREE };
        self.free = at;
        self.len -= 1;
        self.set_rank(at as usize, NONE);
    }

    fn rebuild(&mut self, registry: &Registry<A>, lines: &[Line]) {
        for place in self.places.iter().filter(|place| place.line.record != NO_LINE) {
            registry.record(place.line.record).into_iter().for_each(|record| self.forget(record));
        }
        if self.is_wide(lines.len()) {
            let wanted = lines.len().next_multiple_of(WIDTH);
            let best = Tournament::try_with_room_in(wanted, self.alloc);
            let places = Slice::try_from_fn_in(wanted, |_| FREE, self.alloc);
            // Without memory for less it keeps what it has.
            if let (Ok(best), Ok(places)) = (best, places) {
                (self.best, self.places) = (best, places);
            }
        }
        let len = self.places.len();
        for (next, place) in (1..).zip(self.places.iter_mut()) {
            *place = Place { next: if next < len { next as u32 } else { NO_LINE }, ..FREE };
        }
        (self.free, self.len, self.usable) = (if len > 0 { 0 } else { NO_LINE }, 0, 0);
        let gap = ((FIRST_CHOICE - 1) / (lines.len() as u64 + 1)).min(GAP);
        let mut ranks = Vec::with_capacity(lines.len());
        for (at, line) in (1..).zip(lines) {
            let place = self.free;
            let Some(record) = self.link(registry, *line, (at * gap) as u32) else { continue };
            if let Some(place) = self.places.get_mut(place as usize) {
                place.usable = record.flags().usable();
                record.takes_calls(place.usable, self.refused);
                self.usable += usize::from(place.usable);
                ranks.push(Self::rank(place, record));
            }
        }
        self.last = (self.len as u32).wrapping_sub(1); // none is NO_LINE
        self.open = ranks.iter().filter(|rank| **rank != NONE).count();
        self.best.fill(ranks.into_iter());
    }

    /// The place of a line like this one, if it is the only one of its record.
    fn only(&self, registry: &Registry<A>, line: Line) -> Option<u32> {
        let at = registry.record(line.record)?.first_line();
        let place = self.places.get(at as usize)?;
        (place.next == NO_LINE && place.line == line).then_some(at)
    }

    fn order(&self, at: u32) -> u64 {
        self.places.get(at as usize).map_or(0, |place| place.order.into())
    }

    fn patch(&mut self, registry: &Registry<A>, patch: &Patch<'_>) -> bool {
        let around = |line: Option<Line>| match line {
            Some(line) => self.only(registry, line).map(Some),
            None => Some(None),
        };
        let (Some(before), Some(after)) = (around(patch.before), around(patch.after)) else { return false };
        let len = (self.len + patch.new.len()).saturating_sub(patch.out.len());
        if patch.out.len() + patch.new.len() > self.len.max(64) || self.is_wide(len) {
            return false;
        }
        let low = before.map_or(0, |at| self.order(at));
        let count = patch.new.len() as u64;
        let high = after.map_or(low + (count + 1) * GAP, |at| self.order(at));
        let step = high.saturating_sub(low) / (count + 1);
        if step == 0 || high >= FIRST_CHOICE {
            return false;
        }
        for line in patch.out {
            let Some(at) = self.only(registry, *line) else { return false };
            registry.record(line.record).into_iter().for_each(|record| self.forget(record));
            self.discard(at);
        }
        let mut last = before.unwrap_or(NO_LINE);
        for (at, line) in (1..).zip(patch.new) {
            last = self.free;
            self.add(registry, *line, (low + at * step) as u32);
        }
        if after.is_none() {
            self.last = last;
        }
        true
    }

    /// Says that the destination was chosen now.
    fn chosen(&mut self, registry: &Registry<A>, record: &Record) {
        if FIRST_CHOICE + self.choices + 1 >= LAST_CHOICE {
            self.count_anew(registry);
        }
        self.choices += 1;
        record.chosen(self.choices);
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
    fn record_at<'r>(&self, registry: &'r Registry<A>, at: usize) -> Option<&'r Record> {
        registry.record(self.places.get(at)?.line.record)
    }

    fn rerank_at(&mut self, registry: &Registry<A>, at: u32) {
        let record = self.record_at(registry, at as usize);
        record.into_iter().for_each(|record| self.rerank(at, record));
    }

    fn take_least<T>(
        &mut self,
        registry: &Registry<A>,
        audited: Audited,
        find: impl Fn(Line, &Record) -> Option<T>,
        unknown: &mut Vec<u32>,
    ) -> Option<T> {
        loop {
            let (at, rank) = self.best.least()?;
            let place = *self.places.get(at)?;
            let record = registry.record(place.line.record)?;
            let seen = record.load.get();
            // Not so unless this module has a fault: the limit holds even then.
            if Self::rank(&place, record) != rank {
                self.rerank(at as u32, record);
                continue;
            }
            let Some(found) = find(place.line, record) else {
                self.set_rank(at, NONE);
                unknown.push(at as u32);
                continue;
            };
            if record.take_if(seen, audited) {
                self.chosen(registry, record);
                self.refresh(record);
                return Some(found);
            }
        }
    }

    fn faults(&self, registry: &Registry<A>) -> usize {
        let wrong = |at: usize| {
            let place = self.places.get(at).zip(self.record_at(registry, at));
            self.best.get(at) != place.map_or(NONE, |(place, record)| Self::rank(place, record))
        };
        let wrong = (0..self.places.len()).filter(|at| wrong(*at)).count();
        let usable = self.places.iter().filter(|place| place.usable).count();
        let open = (0..self.places.len()).filter(|at| self.best.get(*at) != NONE).count();
        let counts = (usable, open) != (self.usable, self.open);
        wrong + usize::from(!self.best.is_sound()) + usize::from(counts)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
