//! Capacities that destinations share (`capacity=NAME;capacity_max=N`): how many calls those of one name have together, in whatever
//! sets, and how many they may have.
//!
//! Model: a capacity has a number, from 1 on. A record says which one its destination shares, and what the destination has counts there.
//! A capacity that is full is told to the boards that have lines in it: there its lines are out of the way of choices, all at once, until
//! it has room again. Calls with priority find room for a while longer, where it has a reserve ([`Fill`]). A call that counts already counts
//! even beyond that. It may have a limit on new calls beside that (`pace`).
//!
//! All capacities are behind one lock. Who changes a load that counts in one takes that lock first and the board then, and may
//! lock other boards meanwhile, one at a time: nobody else holds two. Who changes no such load needs none of it.
//!
//! A number is free for another name when no line and no record has it.

mod pace;

pub use pace::Pace;

use super::record::Record;
use crate::load::Rate;
use crate::select::is_full;
use crate::shm::segments::Segments;
use crate::shm::slice::Slice;
use crate::shm::text::Text;
use crate::shm::{Alloc, OutOfMemory, Shared};

/// Capacities that are allocated at a time.
const CHUNK: usize = 16;

/// All capacities.
pub struct Capacities<A: Alloc> {
    all: Segments<Capacity<A>, A, CHUNK>,
    /// How many have a name.
    used: usize,
    /// No number below this one is free.
    room: u32,
    /// Whether any has a reserve.
    reserving: bool,
    alloc: A,
}

// SAFETY: shared parts and a number.
unsafe impl<A: Alloc> Shared for Capacities<A> {}

/// One of them; without a name a free number.
struct Capacity<A: Alloc> {
    name: Option<Text<A>>,
    /// Calls of all records that share it.
    calls: u32,
    /// The most that they may be; 0 is no limit.
    limit: u32,
    /// How many with priority come beyond the limit.
    reserve: u32,
    /// Its limit on new calls.
    tokens: pace::Tokens,
    /// Records that share it. Those of destinations that are gone do so until their calls have ended.
    records: u32,
    /// Lines of the sets that serve, or are being built.
    lines: u32,
    /// A record of each board that has lines in it.
    boards: Option<Slice<u32, A>>,
}

// SAFETY: shared parts and numbers.
unsafe impl<A: Alloc> Shared for Capacity<A> {}

impl<A: Alloc> Default for Capacity<A> {
    fn default() -> Self {
        let (calls, limit, reserve, records, lines) = Default::default();
        let tokens = pace::Tokens::default();
        Self { name: None, calls, limit, reserve, tokens, records, lines, boards: None }
    }
}

impl<A: Alloc> Capacity<A> {
    fn fill(&self) -> Fill {
        self.fill_with(self.calls)
    }

    fn fill_with(&self, calls: u32) -> Fill {
        if !is_full(calls, self.limit) {
            Fill::Room
        } else if calls < self.limit.saturating_add(self.reserve) {
            Fill::Reserve
        } else {
            Fill::Full
        }
    }
}

/// For whom a capacity has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// For any call.
    Room,
    /// For calls with priority.
    Reserve,
    /// For none.
    Full,
}

impl Fill {
    /// Whether there is no room for a call, which has priority or not.
    pub fn is_full_for(self, priority: bool) -> bool {
        match self {
            Self::Room => false,
            Self::Reserve => !priority,
            Self::Full => true,
        }
    }
}

/// What there is to know of a capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: Vec<u8>,
    /// Calls of all that share it.
    pub calls: u32,
    /// The most that they may be; 0 is no limit.
    pub limit: u32,
    /// How many with priority come beyond that.
    pub reserve: u32,
    /// Its limit on new calls.
    pub rate: Rate,
    /// Until when it gets none because of that, if it was over that limit at the last look.
    pub over_until: Option<u64>,
    /// How often it has come to that.
    pub over: u64,
}

impl Seen {
    /// Whether those that share it get no new calls at this time, because of its rate.
    pub fn is_over_rate(&self, now: u64) -> bool {
        self.over_until.is_some_and(|until| until > now)
    }
}

/// What the lines of the next generation say of a capacity.
pub struct Plan<A: Alloc> {
    /// Its number.
    pub number: u32,
    /// Lines that share it.
    pub lines: u32,
    /// The least limit that one of them says; 0 where none says one.
    pub limit: u32,
    /// Of what they say the least that comes beyond it, in calls.
    pub reserve: u32,
    /// The limit on new calls.
    pub rate: Rate,
    /// A record of each board that has such lines.
    pub boards: Slice<u32, A>,
}

impl<A: Alloc> Capacities<A> {
    /// None.
    pub fn new_in(alloc: A) -> Self {
        Self { all: Segments::new_in(alloc), used: 0, room: 1, reserving: false, alloc }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn get(&self, number: u32) -> Option<&Capacity<A>> {
        self.all.get(number.checked_sub(1)? as usize)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Capacity<A>> {
        self.all.get_mut(number.checked_sub(1)? as usize)
    }

    /// All that have a name, in the order of their numbers.
    pub fn each(&self) -> impl Iterator<Item = Seen> + '_ {
        let numbers = 1..=self.all.len() as u32;
        numbers.filter_map(|number| self.seen(number))
    }

    /// The one of this number.
    pub fn seen(&self, number: u32) -> Option<Seen> {
        let one = self.get(number)?;
        let Capacity { calls, limit, reserve, tokens, .. } = *one;
        let (name, rate, over) = (one.name.as_ref()?.to_vec(), tokens.rate, tokens.reached);
        let over_until = tokens.pace().over_until;
        Some(Seen { number, name, calls, limit, reserve, rate, over_until, over })
    }

    /// Gives a name its number. It has one line at least until the next [`Capacities::adopt`].
    pub fn name(&mut self, name: &[u8]) -> Result<u32, OutOfMemory> {
        let text = Text::try_copy_in(name, self.alloc)?;
        let is_free = |number: &u32| self.get(*number).is_some_and(|one| one.name.is_none());
        let number = match (self.room..=self.all.len() as u32).find(is_free) {
            Some(number) => number,
            None => self.all.grow()? as u32 + 1,
        };
        self.room = number + 1;
        if let Some(one) = self.get_mut(number) {
            *one = Capacity { name: Some(text), lines: 1, ..Capacity::default() };
            self.used += 1;
        }
        Ok(number)
    }

    /// Takes over what the lines that serve from now on say. What neither a line nor a record has is gone.
    pub fn adopt(&mut self, plans: Vec<Plan<A>>) {
        for number in 1..=self.all.len() as u32 {
            self.get_mut(number).into_iter().for_each(|one| one.lines = 0);
        }
        self.reserving = plans.iter().any(|plan| plan.reserve > 0);
        for Plan { number, lines, limit, reserve, rate, boards } in plans {
            if let Some(one) = self.get_mut(number) {
                (one.lines, one.limit, one.reserve, one.boards) = (lines, limit, reserve, Some(boards));
                one.tokens.limit_to(rate);
            }
        }
        for number in 1..=self.all.len() as u32 {
            self.drop_if_unused(number);
        }
    }

    fn drop_if_unused(&mut self, number: u32) {
        let Some(one) = self.get_mut(number) else { return };
        if one.lines == 0 {
            one.boards = None;
        }
        if one.name.is_some() && one.lines == 0 && one.records == 0 {
            *one = Capacity::default();
            self.used -= 1;
            self.room = self.room.min(number);
        }
    }

    /// A record of each board that has lines in this one.
    pub fn boards(&self, number: u32) -> &[u32] {
        self.get(number).and_then(|one| one.boards.as_ref()).map_or(&[], |boards| boards)
    }

    /// For whom it has room.
    pub fn fill(&self, number: u32) -> Fill {
        self.fill_without(number, 0)
    }

    /// For whom it would have, with so many calls less.
    pub fn fill_without(&self, number: u32, calls: u32) -> Fill {
        self.get(number).map_or(Fill::Room, |one| one.fill_with(one.calls.saturating_sub(calls)))
    }

    /// Whether any has a reserve.
    pub fn has_reserve(&self) -> bool {
        self.reserving
    }

    /// Calls come or go. If it has room for others by that than before: for whom.
    #[must_use]
    pub fn count(&mut self, number: u32, change: i32) -> Option<Fill> {
        let one = self.get_mut(number)?;
        let before = one.fill();
        one.calls = one.calls.saturating_add_signed(change);
        let fill = one.fill();
        (fill != before).then_some(fill)
    }

    /// The destination of this record shares this one from now on, and with it all its calls do. The caller holds the lock of
    /// the record's board. Whether it is full then is for [`Capacities::fill`].
    pub fn join(&mut self, record: &Record, number: u32) {
        let before = record.capacity();
        if before == number {
            return;
        }
        let calls = record.load.get();
        if let Some(one) = self.get_mut(before) {
            (one.calls, one.records) = (one.calls.saturating_sub(calls), one.records.saturating_sub(1));
        }
        if let Some(one) = self.get_mut(number) {
            (one.calls, one.records) = (one.calls.saturating_add(calls), one.records + 1);
        }
        record.share(number);
    }

    /// The record, which has no calls any more, is free for another destination.
    pub fn leave(&mut self, record: &Record) {
        let before = record.capacity();
        self.join(record, 0);
        self.drop_if_unused(before);
    }

    /// How many capacities have other calls or records than these, by number.
    pub fn faults(&self, of: impl Fn(u32) -> (u32, u32)) -> usize {
        let all = (1..=self.all.len() as u32).filter_map(|number| Some((number, self.get(number)?)));
        all.filter(|(number, one)| (one.calls, one.records) != of(*number)).count()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use crate::shm::counter::Audited;

    #[allow(clippy::unwrap_used)]
    fn plan(number: u32, limit: u32) -> Plan<Heap> {
        let boards = Slice::try_copy_in(&[7], Heap).unwrap();
        Plan { number, lines: 1, limit, reserve: 0, rate: Rate::default(), boards }
    }

    #[test]
    fn a_number_is_free_again_when_no_line_and_no_record_has_it() {
        let mut all = Capacities::new_in(Heap);
        assert_eq!((all.name(b"one"), all.name(b"two")), (Ok(1), Ok(2)));
        let record = Record::default();
        record.load.take(Audited::NotYet);
        all.join(&record, 1);
        all.adopt(vec![plan(1, 5)]);
        assert_eq!(all.each().map(|one| (one.number, one.calls, one.limit)).collect::<Vec<_>>(), [(1, 1, 5)]);
        assert_eq!((all.name(b"three"), all.boards(1)), (Ok(2), &[7][..]), "the second was in no line");
        // Its destination is gone, and its call is not.
        all.adopt(vec![plan(2, 0)]);
        assert_eq!((all.each().count(), all.boards(1)), (2, &[][..]));
        record.load.give(Audited::NotYet);
        assert_eq!(all.count(1, -1), None);
        all.leave(&record);
        assert_eq!((all.name(b"four"), record.capacity()), (Ok(1), 0));
        all.adopt(Vec::new());
        assert!(all.is_empty());
    }

    #[test]
    fn calls_move_with_the_record_and_each_turn_is_told_once() {
        let mut all = Capacities::new_in(Heap);
        let (one, two) = (all.name(b"one").unwrap(), all.name(b"two").unwrap());
        all.adopt(vec![plan(one, 2), plan(two, 1)]);
        let record = Record::default();
        all.join(&record, one);
        record.load.take(Audited::NotYet);
        assert_eq!(
            [1, 1, 1, -1, -1].map(|change| all.count(one, change)),
            [None, Some(Fill::Full), None, None, Some(Fill::Room)]
        );
        all.join(&record, two);
        assert_eq!(
            [all.fill(two), all.fill(one), all.fill_without(two, 1)],
            [Fill::Full, Fill::Room, Fill::Room]
        );
        assert_eq!(all.faults(|number| if number == two { (1, 1) } else { (0, 0) }), 0);
        assert_eq!(all.faults(|_| (0, 0)), 1);
        assert_eq!((all.count(0, 1), all.fill(0)), (None, Fill::Room));
    }

    #[test]
    fn beyond_the_limit_there_is_room_for_priority_up_to_the_reserve() {
        let mut all = Capacities::new_in(Heap);
        let one = all.name(b"one").unwrap();
        all.adopt(vec![Plan { reserve: 2, ..plan(one, 1) }]);
        assert!(all.has_reserve());
        let turns = [1, 1, 1, 1, -1, -1, -1, -1].map(|change| all.count(one, change));
        let (room, reserve, full) = (Some(Fill::Room), Some(Fill::Reserve), Some(Fill::Full));
        assert_eq!(turns, [reserve, None, full, None, None, reserve, None, room]);
        let for_whom = [Fill::Room, Fill::Reserve, Fill::Full]
            .map(|fill| [false, true].map(|one| fill.is_full_for(one)));
        assert_eq!(for_whom, [[false, false], [true, false], [true, true]]);
        all.adopt(vec![plan(one, 0)]);
        assert!(!all.has_reserve());
    }
}
