//! Slow start on the board: who has had its share of choices for now is chosen only where no other line has room, until its turn has come.
//!
//! Model: choices that count are numbered while any line is in slow start. After a choice of its own such a line waits for the one that may be its
//! next: [`Record::due`]. While it waits its rank is behind those of all that do not wait, so it takes a call at once where nobody else can, and
//! nothing is refused for a slow start. Among those that wait the one whose turn comes first is better. The board has the soonest turn at hand, and
//! each choice gives those their ranks back whose turn has come by it.
//!
//! A line that is through with its ramp gets at most twice its share, until it is no better at its turn than the others are: then it is as they are.
//!
//! Where all that take calls are on their ramps, the one that is furthest has its whole share, and the others have theirs in proportion.

use super::board::{Board, LAST_CHOICE, MOST, WHEN};
use super::{Line, Measure, Ranks, Record, Registry};
use crate::health::slow_start::{FULL, PARTS};
use crate::select::capacity;
use crate::shm::Alloc;
use crate::shm::atomic::Ordering;
use crate::shm::tournament::{NONE, Tournament};

/// What the lines that take calls have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sizes {
    /// Of their limits.
    pub(super) limits: u64,
    /// Of their weights, where none is 1.
    pub(super) weights: u64,
}

impl Sizes {
    pub(super) fn add(&mut self, line: &Line) {
        self.limits += u64::from(line.maxload);
        self.weights += u64::from(line.weight.max(1));
    }

    pub(super) fn subtract(&mut self, line: &Line) {
        self.limits = self.limits.saturating_sub(line.maxload.into());
        self.weights = self.weights.saturating_sub(line.weight.max(1).into());
    }
}

/// The slow starts of a board.
pub(super) struct Slow<A: Alloc> {
    /// Lines in slow start.
    pub(super) lines: usize,
    /// Choices so far while there was any.
    pub(super) turns: u64,
    /// Turns are ranked from this one on.
    origin: u64,
    /// For which turn lines wait, by place. There where lines may have a slow start.
    pub(super) waiting: Option<Tournament<A>>,
    /// Percent of its share that the furthest of those that take calls has.
    most: u32,
    /// What the last choice compared.
    pub(super) measure: Measure,
    pub(super) sizes: Sizes,
}

impl<A: Alloc> Slow<A> {
    pub(super) fn new() -> Self {
        let (measure, sizes) = (Measure::Calls, Sizes::default());
        Self { lines: 0, turns: 0, origin: 0, waiting: None, most: FULL, measure, sizes }
    }

    /// What ranks of lines that wait rest on: the last turn, and the one from which they are counted.
    #[inline(always)]
    pub(super) fn turn(&self) -> Turn {
        Turn { now: self.turns, origin: self.origin }
    }
}

/// See [`Slow::turn`].
#[derive(Clone, Copy)]
pub(super) struct Turn {
    now: u64,
    origin: u64,
}

impl Turn {
    /// The rank of a line that waits: behind all others, by its turn.
    #[inline(always)]
    pub(super) fn rank(self, record: &Record) -> Option<u64> {
        let due = record.due();
        (due > self.now).then(|| MOST << WHEN | due.saturating_sub(self.origin).min(LAST_CHOICE - 1))
    }
}

impl<A: Alloc> Board<A> {
    /// Notes whether the line at this place is in slow start, and for which turn it waits.
    #[cold]
    pub(super) fn note_slow(&mut self, at: usize, record: &Record) {
        let is_slow = record.is_slow();
        let Some(place) = self.places.get_mut(at) else { return };
        let was_slow = core::mem::replace(&mut place.slow, is_slow);
        self.slow.lines = (self.slow.lines + usize::from(is_slow)).saturating_sub(usize::from(was_slow));
        let until = self.until_turn(record);
        self.slow.waiting.iter_mut().for_each(|waiting| waiting.set(at, until));
    }

    fn until_turn(&self, record: &Record) -> u64 {
        Some(record.due()).filter(|due| *due > self.slow.turns).unwrap_or(NONE)
    }

    /// The same of all lines, when they are new.
    pub(super) fn note_all_slow(&mut self, registry: &Registry<A>) {
        self.slow.lines = 0;
        let Some(mut waiting) = self.slow.waiting.take() else { return };
        let all = (0..self.places.len())
            .map(|at| self.record_at(registry, at).map(|one| (one.is_slow(), self.until_turn(one))));
        let all: Vec<_> = all.map(|one| one.unwrap_or((false, NONE))).collect();
        waiting.fill(all.iter().map(|(_, until)| *until));
        self.slow.waiting = Some(waiting);
        for (place, (is_slow, _)) in self.places.iter_mut().zip(all) {
            place.slow = is_slow;
            self.slow.lines += usize::from(is_slow);
        }
    }

    /// What the lines of a record would get of the choices if their shares were fair: one each so many parts. And what percent of a share others
    /// have at most.
    fn fair(&self, record: &Record) -> (u64, u32) {
        let by_limits = self.by_limits;
        let size = |line: &Line| match self.slow.measure {
            Measure::Calls => 1,
            Measure::Relative => u64::from(capacity(by_limits, line.maxload, line.weight)),
        };
        let all = match self.slow.measure {
            Measure::Calls => self.usable as u64,
            Measure::Relative if by_limits => self.slow.sizes.limits,
            Measure::Relative => self.slow.sizes.weights,
        };
        let (mut own, mut at) = (0, record.first_line());
        while let Some(place) = self.places.get(at as usize) {
            own += size(&place.line);
            at = place.next;
        }
        let own = own.max(1);
        ((all.max(own) << PARTS) / own, self.slow.most)
    }

    /// A destination takes calls, and did not before; or no more.
    #[cold]
    pub(super) fn comes_or_goes(&mut self, record: &Record) {
        if !record.flags().usable() || record.slow_start_seconds() == 0 || self.slow.waiting.is_none() {
            record.end_slow_start();
            return;
        }
        // So that it counts itself.
        self.refresh(record);
        record.begin_slowly(self.slow.turns);
        record.wait(self.fair(record), 0);
    }

    /// A choice that counts was for this record.
    #[cold]
    pub(super) fn takes_turn(&mut self, registry: &Registry<A>, record: &Record) {
        if record.is_slow() {
            record.had_turn(self.fair(record), self.slow.turns);
        }
        self.slow.turns += 1;
        if record.due().saturating_sub(self.slow.origin) >= LAST_CHOICE - 1 {
            self.rank_turns_anew(registry);
        }
    }

    /// Counts turns in ranks from the last one on.
    fn rank_turns_anew(&mut self, registry: &Registry<A>) {
        self.slow.origin = self.slow.turns;
        for at in 0..self.places.len() {
            if self.slow.waiting.as_ref().is_some_and(|waiting| waiting.get(at) != NONE) {
                self.rerank_at(registry, at as u32);
            }
        }
    }

    /// Gives those their ranks back whose turn has come. One that is through with its ramp, and no better than others, is as they are from now on.
    #[inline]
    pub(super) fn give_turns(&mut self, registry: &Registry<A>) {
        if self.slow.lines > 0 {
            self.give_turns_now(registry);
        }
    }

    #[cold]
    fn give_turns_now(&mut self, registry: &Registry<A>) {
        let soonest = |board: &Self| board.slow.waiting.as_ref().and_then(Tournament::least);
        while let Some((at, _)) = soonest(self).filter(|(_, due)| *due <= self.slow.turns) {
            let Some(record) = self.record_at(registry, at) else {
                // Not so unless this module has a fault.
                self.slow.waiting.iter_mut().for_each(|waiting| waiting.set(at, NONE));
                continue;
            };
            if !record.is_on_ramp() && !self.is_better(at, record) {
                record.end_slow_start();
            }
            self.refresh(record);
        }
    }

    /// Whether the line at this place, which waits, would be chosen of all if it did not.
    fn is_better(&self, at: usize, record: &Record) -> bool {
        let measure = self.slow.measure;
        let Some(place) = self.places.get(at) else { return false };
        let rank = Self::rank(self.by(measure, false), place, record);
        let least = self.ordinary.least(measure).map_or(NONE, |(_, least)| least);
        rank < least
    }

    /// How much of this is not as the records say. Not 0 is a fault of this module.
    pub(super) fn slow_faults(&self, registry: &Registry<A>) -> usize {
        let record = |at: usize| self.record_at(registry, at);
        let slow = (0..self.places.len()).filter(|at| record(*at).is_some_and(Record::is_slow)).count();
        let of = |sizes: &mut Sizes, line: &Line| sizes.add(line);
        let mut sizes = Sizes::default();
        self.places
            .iter()
            .filter(|place| place.takes == super::takes::Takes::Calls)
            .for_each(|place| of(&mut sizes, &place.line));
        let wrong = usize::from(slow != self.slow.lines) + usize::from(sizes != self.slow.sizes);
        let Some(waiting) = &self.slow.waiting else { return wrong };
        let is_wrong = |at: &usize| waiting.get(*at) != record(*at).map_or(NONE, |one| self.until_turn(one));
        wrong + (0..self.places.len()).filter(is_wrong).count() + usize::from(!waiting.is_sound())
    }
}

impl<A: Alloc> Ranks<A> {
    /// Whether some of its lines are in slow start. It may change at any time.
    pub fn has_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed) != 0
    }

    pub(super) fn note_slow(&self, board: &Board<A>) {
        self.slow.store(board.slow.lines.min(u32::MAX as usize) as u32, Ordering::Relaxed);
    }

    /// After a choice, which may have ended some.
    #[inline]
    pub(super) fn note_slow_turn(&self, board: &Board<A>) {
        if self.has_slow() {
            self.note_slow(board);
        }
    }

    /// For which choice a destination of this board waits; 0 is that it does not.
    pub fn waits(&self, record: &Record) -> u64 {
        // Nearly always.
        if record.due() == 0 {
            return 0;
        }
        let board = self.board.lock();
        Some(record.due()).filter(|due| *due > board.slow.turns).unwrap_or(0)
    }

    /// Before the ramps of its lines go on: looks how far the furthest is.
    pub fn look_at_ramps(&self, registry: &Registry<A>) {
        let mut board = self.board.lock();
        let all_slow = board.slow.lines >= board.usable;
        board.slow.most = if all_slow {
            let all = (0..board.places.len()).filter_map(|at| board.record_at(registry, at));
            all.filter(|record| record.flags().usable()).map(Record::pace).max().unwrap_or(FULL)
        } else {
            FULL
        };
    }

    /// The ramp of this record goes on to this time. Whether it goes on rising.
    pub fn rise(&self, record: &Record, now: u64) -> bool {
        let mut board = self.board.lock();
        let counted = board.choices > 0 && board.slow.waiting.is_some();
        let rises = self.step_on(&mut board, record, |record| record.rise(now, counted));
        if record.is_slow() {
            // Once it is through it shows at its next turn whether it is level.
            let first = if rises { 0 } else { board.slow.turns + 1 };
            let fair = board.fair(record);
            record.wait(fair, first);
            board.refresh(record);
        }
        self.note_slow(&board);
        rises
    }

    /// A destination was added: it starts slowly, if it takes calls.
    pub fn add_slowly(&self, record: &Record) {
        self.step_from(&mut self.board.lock(), record, false, |_| ());
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
