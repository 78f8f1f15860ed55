//! The slow start of a destination, in its record: see [`crate::health::slow_start`].
//!
//! It changes with the board of the set locked, with the ranks that follow from it ([`Ranks`](super::Ranks)).

use super::record::Record;
use super::registry::Registry;
use super::set::Set;
use crate::health::slow_start::{self, CATCHING_UP, FLOOR, FULL, PARTS, counted_from, gap};
use crate::shm::Alloc;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};

/// What is known of it, beside the number of the choice for which the destination waits.
#[derive(Default)]
pub(super) struct Ramp {
    /// How long it takes, in seconds; 0 is none.
    seconds: AtomicU32,
    /// Percent of its fair share that the destination may have; 0 is that it is as any other.
    percent: AtomicU32,
    /// When it began, in nanoseconds of the clock of [`Root`](super::Root); 0 until the first look at that clock.
    began: AtomicU64,
    /// The choice from which its next one is counted, in parts.
    from: AtomicU64,
}

/// A slow start for who reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowStart {
    /// How long one takes, in seconds.
    pub seconds: u32,
    /// How many of those are left; 0 where none is under way.
    pub left: u32,
    /// Percent of its fair share that the destination may have: above 100 after the ramp, until it is level.
    pub percent: u32,
}

impl Record {
    /// How long its slow start takes, in seconds; 0 is none.
    pub fn slow_start_seconds(&self) -> u32 {
        self.ramp.seconds.load(Ordering::Relaxed)
    }

    pub(super) fn set_slow_start(&self, seconds: u32) {
        self.ramp.seconds.store(seconds, Ordering::Relaxed);
    }

    /// Its slow start at this time; nothing where it never has one.
    pub fn slow_start(&self, now: u64) -> Option<SlowStart> {
        let (seconds, percent) = (self.slow_start_seconds(), self.percent());
        let elapsed = match self.ramp.began.load(Ordering::Relaxed) {
            0 => 0,
            began => now.saturating_sub(began),
        };
        let left = if self.is_on_ramp() { slow_start::left(elapsed, seconds) } else { 0 };
        let percent = if percent == 0 { FULL } else { percent };
        (seconds > 0).then_some(SlowStart { seconds, left, percent })
    }

    #[inline]
    fn percent(&self) -> u32 {
        self.ramp.percent.load(Ordering::Relaxed)
    }

    /// Whether choices that count give it less than they would without slow start.
    #[inline]
    pub(super) fn is_slow(&self) -> bool {
        self.percent() != 0
    }

    /// Whether its share still rises.
    pub fn is_on_ramp(&self) -> bool {
        (1..=FULL).contains(&self.percent())
    }

    /// Percent of its weight that counts.
    pub fn pace(&self) -> u32 {
        if self.is_on_ramp() { self.percent() } else { FULL }
    }

    /// The number of the choice, in those of its board, that may be the next one of its own; 0 is any.
    #[inline]
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// It begins after so many choices.
    pub(super) fn begin_slowly(&self, choices: u64) {
        self.ramp.began.store(0, Ordering::Relaxed);
        self.ramp.from.store(choices << PARTS, Ordering::Relaxed);
        self.ramp.percent.store(FLOOR, Ordering::Relaxed);
    }

    /// It is as any other.
    pub(super) fn end_slow_start(&self) {
        self.ramp.percent.store(0, Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Goes on to what its share is at this time. Where calls are `counted`, something follows after the ramp. Whether it goes on rising.
    pub(super) fn rise(&self, now: u64, counted: bool) -> bool {
        if !self.is_on_ramp() {
            return false;
        }
        let first = self.ramp.began.compare_exchange(0, now.max(1), Ordering::Relaxed, Ordering::Relaxed);
        let elapsed = now.saturating_sub(first.err().unwrap_or(now));
        let percent = slow_start::percent(elapsed, self.slow_start_seconds());
        match percent {
            // A clock that another process has read later may have gone further.
            Some(percent) => self.ramp.percent.store(percent.max(self.percent()), Ordering::Relaxed),
            None if counted && self.slow_start_seconds() > 0 => {
                self.ramp.percent.store(CATCHING_UP, Ordering::Relaxed);
            }
            None => self.end_slow_start(),
        }
        percent.is_some()
    }

    /// The end of the gap after its last choice, in parts. Its fair share would be a choice each `fair` parts; `of` is the percent that
    /// others have of theirs.
    fn next_turn(&self, fair: u64, of: u32) -> Option<u64> {
        let percent = match self.percent() {
            0 => return None,
            CATCHING_UP => CATCHING_UP,
            percent if percent >= of => return None,
            percent => (percent * FULL).div_ceil(of.max(1)),
        };
        Some(self.ramp.from.load(Ordering::Relaxed).saturating_add(gap(fair, percent)))
    }

    /// Waits for its next turn, which is not before the choice `first`.
    pub(super) fn wait(&self, (fair, of): (u64, u32), first: u64) {
        let due = self.next_turn(fair, of).map_or(0, |next| next.div_ceil(1 << PARTS).max(first));
        self.due.store(due, Ordering::Relaxed);
    }

    /// It has had a choice, after so many of all.
    pub(super) fn had_turn(&self, (fair, of): (u64, u32), choices: u64) {
        let due = self.next_turn(fair, of).unwrap_or(0);
        self.ramp.from.store(counted_from(due, choices), Ordering::Relaxed);
        self.wait((fair, of), 0);
    }

    /// Nothing of all that.
    pub(super) fn reset_slow_start(&self) {
        self.set_slow_start(0);
        self.end_slow_start();
    }
}

impl<A: Alloc> Registry<A> {
    /// After what may have begun a ramp: whoever turned [`Registry::slow_starts`] off before will look again.
    pub(super) fn note_ramp(&self, record: &Record) {
        if record.is_on_ramp() {
            self.slow_starts.turn(1);
        }
    }

    /// The destination of this record was added: it starts slowly, if it takes calls and has a slow start.
    pub fn add_slowly(&self, number: u32) {
        let Some((record, ranks)) = self.ranked(number) else { return };
        if record.slow_start_seconds() > 0 {
            ranks.add_slowly(record);
            self.note_ramp(record);
        }
    }

    /// The ramps in this set go on to this time. Whether any goes on rising.
    pub fn rise(&self, set: &Set<A>, now: u64) -> bool {
        if !set.ranks.has_slow() {
            return false;
        }
        set.ranks.look_at_ramps(self);
        let all = set.blocks.runs().flat_map(|(_, block)| block.destinations());
        let mut rises = false;
        for record in all.filter_map(|one| self.record(one.record)).filter(|record| record.is_on_ramp()) {
            rises |= set.ranks.rise(record, now);
        }
        rises
    }
}
