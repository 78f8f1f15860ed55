//! The load board of a set: which of its destinations has the fewest calls. Each call and each change of state updates it, so a choice
//! by call load (algorithm 10) reads the best entry and does not walk over the set.
//!
//! Model: a line is a destination of the set with its `maxload`. Several lines may mean one destination, and then share its record.
//! Each line has a place in a [`Tournament`](crate::shm::tournament::Tournament), and at that place a rank: the smaller, the better. The
//! rank is the load of the destination; among equal loads, the one that was chosen longest ago is better. A line that takes no calls, or is full, has no rank.
//! A line keeps its place while others come and go. The lines of one record are a linked list: the record knows the first place, each
//! place the next. A second tournament compares relative loads (algorithm 100); it is there once a selection has asked for it. A call with
//! priority finds room beyond a limit that has a reserve: for such calls there is a second layer of all that, once one has come.
//!
//! Invariant: whoever changes a load or a state changes the ranks of the record's lines under the same lock ([`Ranks::shift`],
//! [`Ranks::step`]). A choice still reads the record again before it counts the call.
//!
//! Lines may share a capacity (`groups`), with lines of other boards, too: see [`Capacities`]. Who takes or gives a call there holds the
//! lock of the capacities before that of the board ([`Registry::lock_board`]).
//!
//! All generations of a set share one board. A commit gives it the lines of the next generation just before that generation serves. So
//! a choice that still reads the old generation may find a line that is not in it.

mod board;
mod ejected;
mod faults;
mod gate;
mod groups;
mod layer;
mod locked;
mod patch;
mod penalties;
mod rates;
mod reserved;
mod shares;
mod slow;
mod takes;

use board::{Board, NOT_ONE_LINE, RECENT};
pub use locked::{LockedBoard, Taken};
pub use penalties::Failure;

use super::capacities::{Capacities, Fill};
use super::record::Record;
use super::registry::Registry;
use super::shift::Shift;
use crate::load::Rate;
use crate::select::Measure;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::shm::counter::Audited;
use crate::shm::lock::Mutex;
use crate::shm::tournament::NONE;
use crate::shm::{Alloc, OutOfMemory, Shared};
use core::ops::Range;
use smallvec::SmallVec;

/// A line of a set, with what call load needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The number of its record.
    pub record: u32,
    /// Calls that it may have; 0 is no limit.
    pub maxload: u32,
    /// How many with priority it may have beyond that.
    pub reserve: u32,
    /// Its share, where not all lines of the set have a limit.
    pub weight: u32,
    /// The number of the capacity that it shares; 0 is none.
    pub capacity: u32,
    /// Its limit on new calls.
    pub rate: Rate,
    /// Seconds of its slow start; 0 is none.
    pub slow_start: u32,
}

/// How a line is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// What is compared.
    pub measure: Measure,
    /// The last line of the set is chosen only if there is no other.
    pub spare_last: bool,
    /// If this finds no room, that is counted as refused.
    pub first: bool,
    /// The call has priority: it may use reserves.
    pub priority: bool,
    /// Tells the time, in nanoseconds, for limits on new calls.
    pub clock: fn() -> u64,
}

/// The lines of a set, by rank.
pub struct Ranks<A: Alloc> {
    board: Mutex<Board<A>>,
    /// How often something has changed that weighted choices depend on.
    changes: AtomicU64,
    /// The same for what a choice by latency depends on.
    latency_changes: AtomicU64,
    /// 1 where some of its lines have a limit and others none.
    mixed_limits: AtomicU32,
    /// 1 where some of its lines share a capacity; 2 where one of those has a limit on new calls.
    shares: AtomicU32,
    /// 1 where some of its lines have a limit on new calls, or share one.
    rated: AtomicU32,
    /// When the first of its lines that are over their rates gets new calls again; [`NONE`] where none is.
    over_until: AtomicU64,
    /// Lines in slow start.
    slow: AtomicU32,
    /// 1 while failed calls may weigh in ranks: who lets them decay turns it off first.
    penalized: AtomicU32,
    /// Whether some of its lines are ejected, and whether some are on trial.
    ejected: AtomicU32,
}

// SAFETY: a shared board behind a lock between processes.
unsafe impl<A: Alloc> Shared for Ranks<A> {}

/// Why no call was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// No line takes calls.
    NoneUsable,
    /// Some do, but all of those are full.
    Full,
    /// Some would and have room, but have had all new calls for now that their rates allow.
    OverRate,
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
        let board = Board::try_new_in(alloc)?;
        let (changes, latency_changes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (mixed_limits, shares) = (AtomicU32::new(0), AtomicU32::new(0));
        let (rated, over_until) = (AtomicU32::new(0), AtomicU64::new(NONE));
        let [slow, penalized, ejected] = [0; 3].map(AtomicU32::new);
        Ok(Self {
            board: Mutex::new(board),
            changes,
            latency_changes,
            mixed_limits,
            shares,
            rated,
            over_until,
            slow,
            penalized,
            ejected,
        })
    }

    /// Makes room for so many lines; `sharing` are all of them, if any shares a capacity, else none; `special` says whether any has a limit
    /// on new calls, and whether any has a slow start. So [`Ranks::rebuild`] and [`Ranks::patch`] cannot fail. The caller holds the writer's lock.
    pub fn reserve(&self, len: usize, sharing: &[Line], special: (bool, bool)) -> Result<(), OutOfMemory> {
        let mut board = self.board.lock();
        board.reserve(len, special)?;
        board.reserve_groups(sharing)
    }

    /// Makes these the lines of the set, in their order. The caller holds the writer's lock and has called [`Ranks::reserve`]; if any
    /// capacity is shared, it holds the lock of the capacities, which take in the records, and then calls [`Ranks::turn`] for each.
    pub fn rebuild(&self, registry: &Registry<A>, lines: &[Line], sharing: Option<&mut Capacities<A>>) {
        let mut board = self.board.lock();
        board.rebuild(registry, lines, sharing);
        self.note_limits(&board);
    }

    /// A capacity has room for others than before. The caller holds the lock of the capacities.
    pub fn turn(&self, capacity: u32, fill: Fill) {
        self.board.lock().turn(capacity, fill);
    }

    /// Exchanges some lines; false if the caller must use [`Ranks::rebuild`], or that is cheaper. The caller holds the writer's lock
    /// and has called [`Ranks::reserve`]; as to capacities, see [`Ranks::rebuild`].
    #[must_use]
    pub fn patch(
        &self,
        registry: &Registry<A>,
        patch: &Patch<'_>,
        sharing: Option<&mut Capacities<A>>,
    ) -> bool {
        let mut board = self.board.lock();
        let done = board.patch(registry, patch, sharing);
        self.note_limits(&board);
        done
    }

    fn note_limits(&self, board: &Board<A>) {
        let mixed = board.limited > 0 && !board.by_limits;
        self.mixed_limits.store(mixed.into(), Ordering::Relaxed);
        let shares = u32::from(board.has_groups()) + u32::from(board.has_shared_rates());
        self.shares.store(shares, Ordering::Relaxed);
        self.note_rates(board);
        self.note_slow(board);
    }

    /// Whether some of its lines have a limit and others none.
    pub fn has_mixed_limits(&self) -> bool {
        self.mixed_limits.load(Ordering::Relaxed) != 0
    }

    /// Whether some of its lines share a capacity. It may change at any time for who does not hold the board.
    pub fn has_shared(&self) -> bool {
        self.shares.load(Ordering::Relaxed) != 0
    }

    /// What a call does to a record that shares no capacity, which changes its ranks, as one step. False if it does share one: then
    /// nothing is done.
    pub fn shift_alone(&self, record: &Record, shift: Shift, audited: Audited) -> bool {
        let mut board = self.board.lock();
        let alone = record.capacity() == 0;
        if alone {
            board.shift(record, shift, audited);
        }
        alone
    }

    /// Opens the record's account ([`Load::open_account`](crate::shm::counter::Load::open_account)), while its load stays.
    pub fn open_account(&self, record: &Record) {
        let mut board = self.board.lock();
        record.load.open_account();
        board.refresh(record);
    }

    /// Changes the record's state by `change` and the ranks of its lines, in one step.
    pub fn step<T>(&self, record: &Record, change: impl FnOnce(&Record) -> T) -> T {
        self.step_on(&mut self.board.lock(), record, change)
    }

    /// The same for who holds the lock of the board.
    fn step_on<T>(&self, board: &mut Board<A>, record: &Record, change: impl FnOnce(&Record) -> T) -> T {
        self.step_from(board, record, record.flags().usable(), change)
    }

    /// The same of one that `served` before, or not.
    fn step_from<T>(
        &self,
        board: &mut Board<A>,
        record: &Record,
        served: bool,
        change: impl FnOnce(&Record) -> T,
    ) -> T {
        let before = (record.worth(), record.latency());
        let done = change(record);
        let comes_or_goes = record.flags().usable() != served;
        if comes_or_goes {
            board.comes_or_goes(record);
        }
        let after = (record.worth(), record.latency());
        if after.0 != before.0 {
            board.remember(record, self.changes.load(Ordering::Relaxed));
            self.changes.fetch_add(1, Ordering::Release); // sync point `worth`
        }
        if after != before {
            board.remember_latency(record, self.latency_changes.load(Ordering::Relaxed));
            self.latency_changes.fetch_add(1, Ordering::Release); // sync point `latency`
        }
        board.refresh(record);
        if comes_or_goes {
            self.note_slow(board);
        }
        done
    }

    /// The records with the changes after so many, and how many changes there are now. Nothing if those are too many to be remembered,
    /// or one is of a record with several lines.
    pub fn changed_since(&self, changes: u64) -> (u64, Option<SmallVec<[u32; RECENT]>>) {
        let board = self.board.lock();
        let now = self.changes.load(Ordering::Relaxed);
        (now, remembered(&board.recent, changes..now))
    }

    /// The same for changes of states or latencies.
    pub fn latencies_changed_since(&self, changes: u64) -> (u64, Option<SmallVec<[u32; RECENT]>>) {
        let board = self.board.lock();
        let now = self.latency_changes.load(Ordering::Relaxed);
        (now, remembered(&board.recent_latencies, changes..now))
    }

    /// Selections that found all lines of this set full while this record's destination took calls. They are counted once for the
    /// whole set, so that a refusal costs the same in a large set.
    pub fn refused(&self, record: &Record) -> u64 {
        record.refused(self.board.lock().refused)
    }

    /// Whether a selection that counts has ever chosen here.
    pub fn has_chosen(&self) -> bool {
        self.board.lock().choices > 0
    }

    /// Whether some of its lines take no calls only because they are drained.
    pub fn has_drained(&self) -> bool {
        self.board.lock().drained > 0
    }

    /// How many lines take calls, and how many of them have room for one more.
    pub fn usable_and_open(&self) -> (usize, usize) {
        let board = self.board.lock();
        // What is over its rate takes calls again in a moment.
        (board.usable + board.over_rate, board.layer(false).open())
    }

    /// How many lines take calls, and how many of them have room themselves for one more, of all but those of these records. Whether the
    /// capacities have room that they share is seen when a call gets there: it may have a place of its own. One with `priority` has room
    /// beyond limits.
    pub fn usable_and_roomy_but(
        &self,
        registry: &Registry<A>,
        but: impl Iterator<Item = u32>,
        priority: bool,
    ) -> (usize, usize) {
        if priority {
            registry.lock_board(self).look_beyond(registry);
        }
        let board = self.board.lock();
        let layer = board.layer(priority);
        let but = self.lines_of(&board, registry, but);
        let usable = but.iter().filter(|at| board.is_usable(**at)).count();
        let roomy = but.iter().filter(|at| layer.has_own_room(**at as usize)).count();
        (board.usable - usable, layer.with_own_room() - roomy)
    }

    /// The places of the lines that these records have here, each once.
    fn lines_of(
        &self,
        board: &Board<A>,
        registry: &Registry<A>,
        records: impl Iterator<Item = u32>,
    ) -> Vec<u32> {
        let is_ours = |number: &u32| registry.ranks(*number).is_some_and(|ranks| core::ptr::eq(ranks, self));
        let mut lines = Vec::new();
        for record in records.filter(is_ours).filter_map(|number| registry.record(number)) {
            let mut at = record.first_line();
            while let Some(place) = board.places.get(at as usize) {
                // It may be named twice: where the call counts, and as tried.
                if !lines.contains(&at) {
                    lines.push(at);
                }
                at = place.next;
            }
        }
        lines
    }

    /// How often the state or the congestion of a destination has changed so far. Sync point `worth`, the other end: states that are
    /// read after this are at least as new as that change.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How often the state, the latency or the congestion of a destination has changed so far. Sync point `latency`, the other end, as
    /// for [`Ranks::changes`].
    pub fn latency_changes(&self) -> u64 {
        self.latency_changes.load(Ordering::Acquire)
    }
}

/// The records of these changes; nothing if those are too many to be remembered, or one is of a record with several lines.
fn remembered(recent: &[u32; RECENT], changes: Range<u64>) -> Option<SmallVec<[u32; RECENT]>> {
    let count = changes.end.checked_sub(changes.start)?;
    let record = |n: u64| recent.get((n % RECENT as u64) as usize).copied();
    let all = || changes.map(|n| record(n).filter(|one| *one != NOT_ONE_LINE)).collect();
    if count <= RECENT as u64 { all() } else { None }
}

#[cfg(all(test, not(loom)))]
mod tests;
