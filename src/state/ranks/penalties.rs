//! What failed calls weigh in ranks ([`Penalty`](crate::select::penalty::Penalty)): never in loads, limits or capacities.
//!
//! Model: the record has the penalty as it was last brought up to date, and its ranks are as that says. A new failure brings it up to date,
//! and a timer does, while any line of the board has one.
//!
//! A look at the level of a set costs the same whatever its size: beyond [`SAMPLE`] lines it looks at as many of them, evenly spread.

use super::board::Board;
use super::{LockedBoard, Ranks, Record, Registry};
use crate::select::capacity;
use crate::select::penalty::Level;
use crate::shm::Alloc;
use crate::shm::atomic::Ordering;

/// Lines that a look at the level of a board looks at, at most twice as many.
const SAMPLE: usize = 128;
/// For how long the level that was seen last is good enough, in nanoseconds.
const FRESH: u64 = 250_000_000;
/// Lines that are looked at while the board is locked.
const SLICE: usize = 512;

/// A failed call as ranks want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// After so many nanoseconds half of what it weighs is gone.
    pub half: u64,
    /// When it was, in nanoseconds.
    pub now: u64,
}

/// The level of a board, as it was at this time.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    at: u64,
    level: Level,
}

impl<A: Alloc> Board<A> {
    /// The level of the lines now, or a moment ago.
    fn level(&mut self, registry: &Registry<A>, now: u64) -> Level {
        if let Some(seen) = self.level.filter(|seen| (seen.at..seen.at + FRESH).contains(&now)) {
            return seen.level;
        }
        let mut level = Level::default();
        let every = (self.places.len() / SAMPLE).max(1);
        for (at, place) in self.places.iter().enumerate().step_by(every) {
            if let Some(record) =
                registry.record(place.line.record).filter(|_| self.ordinary.has_own_room(at))
            {
                let size = capacity(self.by_limits, place.line.maxload, place.line.weight);
                level.add(record.load.get(), record.penalty(), size);
            }
        }
        self.level = Some(Seen { at: now, level });
        level
    }

    /// A call has failed at the destination of this record. Whether that has a line here.
    fn penalize(&mut self, registry: &Registry<A>, record: &Record, failure: Failure) -> bool {
        let Failure { half, now } = failure;
        let Some(level) = self.level_for(registry, record, now) else { return false };
        record.set_penalty(record.penalty_at(now, half).failed(level), now);
        self.refresh(record);
        true
    }

    /// The calls that this record would have beside the others; nothing if it has no line here.
    fn level_for(&mut self, registry: &Registry<A>, record: &Record, now: u64) -> Option<u32> {
        let line = self.places.get(record.first_line() as usize)?.line;
        let size = capacity(self.by_limits, line.maxload, line.weight);
        Some(self.level(registry, now).of(size, self.ordinary.is_relative()))
    }

    /// Brings what failed calls weigh at this record up to date; whether any weighs still.
    fn decay(&mut self, registry: &Registry<A>, record: &Record, failure: Failure) -> bool {
        let (before, Failure { half, now }) = (record.penalty(), failure);
        let Some(level) = self.level_for(registry, record, now) else { return false };
        record.set_penalty(record.penalty_at(now, half).within(level), now);
        if record.penalty() != before {
            self.refresh(record);
        }
        record.has_penalty()
    }
}

impl<A: Alloc> Ranks<A> {
    /// A call has failed at the destination of this record, which has its lines here.
    pub fn penalize(&self, registry: &Registry<A>, record: &Record, failure: Failure) {
        self.penalize_on(&mut self.board.lock(), registry, record, failure);
    }

    fn penalize_on(&self, board: &mut Board<A>, registry: &Registry<A>, record: &Record, failure: Failure) {
        if board.penalize(registry, record, failure) {
            self.penalized.store(1, Ordering::Relaxed);
        }
    }

    /// Brings what failed calls weigh here up to date; whether any weighs still. A board of many lines is locked several times for a moment. The
    /// caller has pinned the sets.
    pub fn decay(&self, registry: &Registry<A>, failure: Failure) -> bool {
        // Off before the look: what fails meanwhile turns it on again.
        if self.penalized.load(Ordering::Relaxed) == 0 || self.penalized.swap(0, Ordering::Relaxed) == 0 {
            return false;
        }
        let (mut left, mut from, mut len) = (false, 0, 1);
        while from < len {
            let mut board = self.board.lock();
            len = board.places.len();
            for at in from..len.min(from + SLICE) {
                let record = board.record_at(registry, at).filter(|record| record.has_penalty());
                left |= record.is_some_and(|record| board.decay(registry, record, failure));
            }
            from += SLICE;
        }
        if left {
            self.penalized.store(1, Ordering::Relaxed);
        }
        left
    }
}

impl<A: Alloc> LockedBoard<'_, A> {
    /// A call has failed at the destination of the record of this number. False if that has its lines elsewhere: then nothing is done.
    pub fn penalize(&mut self, registry: &Registry<A>, number: u32, failure: Failure) -> bool {
        let Some((record, ranks)) = registry.ranked(number) else { return false };
        let is_ours = core::ptr::eq(ranks, self.ranks);
        if is_ours {
            self.ranks.penalize_on(&mut self.board, registry, record, failure);
        }
        is_ours
    }
}
