//! The lines of a board that share capacities. Those of one capacity are a group: a group is out of the way of choices, or in it, as a
//! whole, so that a capacity turns full or free at the same cost, however many lines share it.
//!
//! Model: the lines of the groups sit side by side, group by group, each on a seat. Their ranks are in a tournament by seat, and the least
//! rank of each group that is not full in another one.

use super::Line;
use crate::select::Measure;
use crate::shm::slice::Slice;
use crate::shm::tournament::{NONE, Tournament};
use crate::shm::{Alloc, OutOfMemory, Shared};
use crate::state::capacities::Pace;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};

/// In the place of the seat of a line that shares nothing.
const NO_SEAT: u32 = u32::MAX;

pub(super) struct Groups<A: Alloc> {
    /// By place of a line: its seat.
    seats: Slice<u32, A>,
    /// By seat: the place of its line, and the group.
    places: Slice<Seat, A>,
    /// By number of the capacity.
    groups: Slice<Group, A>,
    /// Lines with a rank in groups that are full.
    hidden: usize,
    /// By group: until when its lines get no new calls because of the capacity's rate.
    until: Tournament<A>,
    /// Groups whose capacities have such a limit.
    limited: usize,
    by_calls: Ranking<A>,
    by_relative: Ranking<A>,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Groups<A> {}

#[derive(Clone, Copy, Default)]
struct Seat {
    place: u32,
    group: u32,
}

// SAFETY: numbers.
unsafe impl Shared for Seat {}

#[derive(Clone, Copy, Default)]
struct Group {
    capacity: u32,
    /// Its seats.
    start: u32,
    end: u32,
    /// Its lines that have a rank.
    ranked: u32,
    /// Whether the capacity is full.
    full: bool,
    /// Whether it has a limit on new calls.
    limited: bool,
}

// SAFETY: numbers.
unsafe impl Shared for Group {}

impl Group {
    fn seats(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Its lines that take calls and have room.
    fn open(self) -> usize {
        if self.full { 0 } else { self.ranked as usize }
    }

    /// Those that would, if the capacity had room.
    fn hidden(self) -> usize {
        self.ranked as usize - self.open()
    }
}

/// Ranks by one measure.
struct Ranking<A: Alloc> {
    by_seat: Tournament<A>,
    /// The least of each group that is not full.
    by_group: Tournament<A>,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Ranking<A> {}

impl<A: Alloc> Ranking<A> {
    fn try_new_in(seats: usize, groups: usize, alloc: A) -> Result<Self, OutOfMemory> {
        let by_seat = Tournament::try_with_room_in(seats, alloc)?;
        Ok(Self { by_seat, by_group: Tournament::try_with_room_in(groups, alloc)? })
    }

    /// What choices see of a group.
    fn show(&mut self, at: usize, group: Group) {
        let least = if group.full { None } else { self.by_seat.least_of(group.seats()) };
        self.by_group.set(at, least.map_or(NONE, |(_, rank)| rank));
    }
}

impl<A: Alloc> Groups<A> {
    /// Of these lines, which stand at the places from 0 on; none where no line shares a capacity. Where several lines are of one
    /// record, what the first of them says counts for all.
    pub(super) fn try_of(lines: &[Line], alloc: A) -> Result<Option<Self>, OutOfMemory> {
        if lines.iter().all(|line| line.capacity == 0) {
            return Ok(None);
        }
        let mut first = HashMap::with_capacity(lines.len());
        let mut members = BTreeMap::<u32, Vec<u32>>::new();
        for (place, line) in (0..).zip(lines) {
            let capacity = *first.entry(line.record).or_insert(line.capacity);
            if capacity != 0 {
                members.entry(capacity).or_default().push(place);
            }
        }
        let (mut seats, mut places, mut groups) = (vec![NO_SEAT; lines.len()], Vec::new(), Vec::new());
        for (group, (&capacity, members)) in (0..).zip(&members) {
            let start = places.len() as u32;
            for &place in members {
                seats.get_mut(place as usize).into_iter().for_each(|seat| *seat = places.len() as u32);
                places.push(Seat { place, group });
            }
            groups.push(Group { capacity, start, end: places.len() as u32, ..Group::default() });
        }
        let ranking = || Ranking::try_new_in(places.len(), groups.len(), alloc);
        Ok(Some(Self {
            hidden: 0,
            until: Tournament::try_with_room_in(groups.len(), alloc)?,
            limited: 0,
            by_calls: ranking()?,
            by_relative: ranking()?,
            seats: Slice::try_copy_in(&seats, alloc)?,
            places: Slice::try_copy_in(&places, alloc)?,
            groups: Slice::try_copy_in(&groups, alloc)?,
        }))
    }

    fn ranking(&self, measure: Measure) -> &Ranking<A> {
        match measure {
            Measure::Calls => &self.by_calls,
            Measure::Relative => &self.by_relative,
        }
    }

    /// The seat of the line at this place, and its group.
    fn seat(&self, place: usize) -> Option<(usize, usize)> {
        let seat = *self.seats.get(place)? as usize;
        Some((seat, self.places.get(seat)?.group as usize))
    }

    /// Whether the line at this place shares a capacity.
    pub(super) fn has(&self, place: usize) -> bool {
        self.seat(place).is_some()
    }

    /// The number of the capacity that it shares.
    pub(super) fn capacity(&self, place: usize) -> u32 {
        self.seat(place).and_then(|(_, group)| self.groups.get(group)).map_or(0, |group| group.capacity)
    }

    /// The numbers of all capacities.
    pub(super) fn capacities(&self) -> impl Iterator<Item = u32> + '_ {
        self.groups.iter().map(|group| group.capacity)
    }

    fn group_of(&self, capacity: u32) -> Option<usize> {
        self.groups.binary_search_by_key(&capacity, |group| group.capacity).ok()
    }

    /// A capacity gives its lines new calls, or gives none: their seats, if that is not as before.
    pub(super) fn turn_pace(&mut self, capacity: u32, pace: Pace) -> Range<usize> {
        let Some(at) = self.group_of(capacity) else { return 0..0 };
        let Some(group) = self.groups.get_mut(at) else { return 0..0 };
        self.limited = self.limited + usize::from(pace.limits) - usize::from(group.limited);
        group.limited = pace.limits;
        let (before, until) = (self.until.get(at), pace.over_until.unwrap_or(NONE));
        self.until.set(at, until);
        if (before == NONE) == (until == NONE) { 0..0 } else { group.seats() }
    }

    /// The place of the line on this seat.
    pub(super) fn place_at(&self, seat: usize) -> Option<u32> {
        self.places.get(seat).map(|seat| seat.place)
    }

    /// Groups whose capacities have a limit on new calls.
    pub(super) fn limited(&self) -> usize {
        self.limited
    }

    /// Of the capacities that give no new calls the one that does first, and when.
    pub(super) fn soonest(&self) -> Option<(u32, u64)> {
        let (at, until) = self.until.least()?;
        Some((self.groups.get(at)?.capacity, until))
    }

    /// How many groups do not know what their capacities give.
    pub(super) fn pace_faults(&self, pace: impl Fn(u32) -> Pace) -> usize {
        let is_wrong = |(at, group): &(usize, &Group)| {
            let Pace { limits, over_until } = pace(group.capacity);
            group.limited != limits || self.until.get(*at) != over_until.unwrap_or(NONE)
        };
        let limited = self.groups.iter().filter(|group| group.limited).count();
        self.groups.iter().enumerate().filter(is_wrong).count()
            + usize::from(limited != self.limited)
            + usize::from(!self.until.is_sound())
    }

    /// The rank of the line at this place.
    pub(super) fn get(&self, measure: Measure, place: usize) -> u64 {
        self.seat(place).map_or(NONE, |(seat, _)| self.ranking(measure).by_seat.get(seat))
    }

    /// Whether it has one, and its capacity is not full.
    pub(super) fn is_open(&self, place: usize) -> bool {
        let Some((seat, group)) = self.seat(place) else { return false };
        self.groups.get(group).is_some_and(|group| !group.full) && self.by_calls.by_seat.get(seat) != NONE
    }

    /// Gives the line at this place its rank.
    pub(super) fn set(&mut self, measure: Measure, place: usize, rank: u64) {
        let Some((seat, at)) = self.seat(place) else { return };
        let Some(group) = self.groups.get_mut(at) else { return };
        let ranking = match measure {
            Measure::Calls => {
                let was_ranked = self.by_calls.by_seat.get(seat) != NONE;
                let hidden = group.hidden();
                group.ranked = group.ranked + u32::from(rank != NONE) - u32::from(was_ranked);
                self.hidden = self.hidden + group.hidden() - hidden;
                &mut self.by_calls
            }
            Measure::Relative => &mut self.by_relative,
        };
        ranking.by_seat.set(seat, rank);
        ranking.show(at, *group);
    }

    /// The line with the least rank of those whose capacities are not full: its place and its rank.
    pub(super) fn least(&self, measure: Measure) -> Option<(usize, u64)> {
        let ranking = self.ranking(measure);
        let (group, _) = ranking.by_group.least()?;
        let (seat, least) = ranking.by_seat.least_of(self.groups.get(group)?.seats())?;
        Some((self.places.get(seat)?.place as usize, least))
    }

    /// Lines that take calls and have room themselves, but not their capacities.
    pub(super) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Lines that take calls and have room.
    pub(super) fn open(&self) -> usize {
        self.groups.iter().map(|group| group.open()).sum()
    }

    /// A capacity turns full or free. How many lines were open before, and how many are now.
    pub(super) fn turn(&mut self, capacity: u32, full: bool) -> (usize, usize) {
        let Some(at) = self.group_of(capacity) else { return (0, 0) };
        let Some(group) = self.groups.get_mut(at) else { return (0, 0) };
        let (before, hidden) = (group.open(), group.hidden());
        group.full = full;
        self.hidden = self.hidden + group.hidden() - hidden;
        self.by_calls.show(at, *group);
        self.by_relative.show(at, *group);
        (before, group.open())
    }

    /// How many groups are not as their lines and capacities say.
    pub(super) fn faults(&self, is_full: impl Fn(u32) -> bool) -> usize {
        let rankings = || [&self.by_calls, &self.by_relative].into_iter();
        let is_wrong = |(at, group): &(usize, &Group)| {
            let ranked = group.seats().filter(|seat| self.by_calls.by_seat.get(*seat) != NONE).count();
            let shows = |ranking: &Ranking<A>| {
                let least = group.seats().map(|seat| ranking.by_seat.get(seat)).min().unwrap_or(NONE);
                ranking.by_group.get(*at) == if group.full { NONE } else { least }
            };
            ranked != group.ranked as usize || group.full != is_full(group.capacity) || !rankings().all(shows)
        };
        let hidden: usize = self.groups.iter().map(|group| group.hidden()).sum();
        let wrong =
            self.groups.iter().enumerate().filter(is_wrong).count() + usize::from(hidden != self.hidden);
        let unsound = rankings().filter(|one| !one.by_seat.is_sound() || !one.by_group.is_sound()).count();
        wrong + unsound
    }
}
