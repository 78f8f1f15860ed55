//! Lines that are ejected: how many of a set may be, and that a set in which nothing else is left serves with them.

use super::board::Board;
use super::{Ranks, Record, Registry};
use crate::dest::Flags;
use crate::health::ejection::ceiling;
use crate::shm::Alloc;
use crate::shm::atomic::Ordering;

/// What is told of a board to who does not lock it: some lines are ejected or on trial; some are on trial.
const EJECTED: u32 = 1;
const ON_TRIAL: u32 = 2;

impl<A: Alloc> Ranks<A> {
    /// Whether some of its lines may be ejected or on trial.
    pub fn has_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed) != 0
    }

    /// Whether some may be on trial.
    pub(super) fn has_trials(&self) -> bool {
        self.ejected.load(Ordering::Relaxed) & ON_TRIAL != 0
    }

    /// Changes the ejection of a record by `change`, and the ranks of its lines, in one step; where it goes out anew, only if not more than
    /// `most` percent of the lines are out then.
    pub fn step_ejection<T>(
        &self,
        registry: &Registry<A>,
        record: &Record,
        most: Option<u32>,
        change: impl FnOnce(&Record) -> Option<T>,
    ) -> Option<T> {
        let mut board = self.board.lock();
        if most.is_some_and(|most| !board.can_lose(registry, record, most)) {
            return None;
        }
        let done = self.step_on(&mut board, record, change);
        self.note_ejected(registry, &board);
        done
    }

    /// Puts those back that are ejected, if no line takes calls. Whether there are some.
    pub fn put_all_back(&self, registry: &Registry<A>, put_back: impl Fn(u32, &Record)) -> bool {
        let mut board = self.board.lock();
        if board.usable + board.over_rate > 0 {
            return false;
        }
        let mut any = false;
        for at in 0..board.places.len() {
            let Some(number) = board.places.get(at).map(|place| place.line.record) else { continue };
            let ejected = |record: &&Record| record.flags().kept_out_by_ejection();
            if let Some(record) = registry.record(number).filter(ejected) {
                self.step_on(&mut board, record, |record| put_back(number, record));
                any = true;
            }
        }
        self.note_ejected(registry, &board);
        any
    }

    fn note_ejected(&self, registry: &Registry<A>, board: &Board<A>) {
        let mut note = 0;
        for record in (0..board.places.len()).filter_map(|at| board.record_at(registry, at)) {
            let flags = record.flags();
            note |= if flags.in_ejection() { EJECTED } else { 0 };
            note |= if flags.has(Flags::ON_TRIAL) { ON_TRIAL } else { 0 };
        }
        self.ejected.store(note, Ordering::Relaxed);
        self.note_rates(board);
    }
}

impl<A: Alloc> Board<A> {
    /// Whether not more than so many percent of the lines are out of service without those of this record.
    fn can_lose(&self, registry: &Registry<A>, record: &Record, most: u32) -> bool {
        let is_out = |one: &Record| !one.flags().in_service() || core::ptr::eq(one, record);
        let records = (0..self.places.len()).filter_map(|at| self.record_at(registry, at));
        records.filter(|one| is_out(one)).count() <= ceiling(self.len, most)
    }
}
