//! Ranks beside a plain walk over all lines.

use super::*;
use crate::dest::Flags;
use crate::shm::Heap;
use crate::shm::arc::Arc;
use crate::shm::slice::Slice;
use crate::state::Shift;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A set with its records, and what it must say.
struct Model {
    registry: Registry<Heap>,
    ranks: Arc<Ranks<Heap>, Heap>,
    /// The lines, by name of their destination.
    lines: Vec<(u64, u32)>,
    /// Record, load, whether it takes calls, and the turn in which it was chosen, by name.
    records: BTreeMap<u64, (u32, u32, bool, usize)>,
    turn: usize,
    /// What capacities may have; a name says which one it shares.
    limits: [u32; 2],
    /// What comes beyond that for calls with priority.
    reserves: [u32; 2],
    /// Refusals while it took calls, by name.
    refused: BTreeMap<u64, u64>,
    /// Whether some start slowly.
    slow: bool,
    /// Nanoseconds.
    now: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// What the capacities may have from now on.
    Limits([u32; 2], [u32; 2]),
    /// Lines in the place of some others, where and how many; names and limits.
    Exchange(prop::sample::Index, usize, Vec<(u64, u32)>),
    Rebuild,
    Take(Option<u64>, bool, Measure, bool),
    Give(u64),
    /// A call that was placed without the board goes there: chosen for it, or only followed.
    Follow(u64, bool, bool),
    /// A call moves from one to the least loaded.
    Move(u64, bool),
    State(u64, bool),
    /// Slow starts go on by so many nanoseconds.
    Rise(u64),
    /// A call that it has not any more has failed.
    Fail(u64),
    /// So many seconds pass; half of what failed calls weigh is gone after eight.
    Decay(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, limit) = (|| 0..40u64, || 0..4u32);
    let lines = prop::collection::vec((name(), limit()), 0..12);
    let measure = prop::sample::select(vec![Measure::Calls, Measure::Relative]);
    prop_oneof![
        3 => (any::<prop::sample::Index>(), 0..12usize, lines).prop_map(|(at, out, new)| Step::Exchange(at, out, new)),
        1 => Just(Step::Rebuild),
        1 => ([0..9u32, 3..30u32], [0..4u32, 0..2u32]).prop_map(|(limits, reserves)| Step::Limits(limits, reserves)),
        30 => (prop::option::of(name()), any::<bool>(), measure, any::<bool>()).prop_map(|(but, spare, by, priority)| Step::Take(but, spare, by, priority)),
        20 => name().prop_map(Step::Give),
        5 => (name(), any::<bool>(), any::<bool>()).prop_map(|(name, chosen, priority)| Step::Follow(name, chosen, priority)),
        10 => (name(), any::<bool>()).prop_map(|(name, usable)| Step::State(name, usable)),
        10 => (name(), any::<bool>()).prop_map(|(name, priority)| Step::Move(name, priority)),
        3 => (0..1_000_000_000u64).prop_map(Step::Rise),
        5 => name().prop_map(Step::Fail),
        3 => (0..40u64).prop_map(Step::Decay),
    ]
}

#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
impl Model {
    fn new() -> Self {
        let ranks = Arc::try_new_in(Ranks::try_new_in(Heap).unwrap(), Heap).unwrap();
        let (registry, lines, records) = (Registry::new_in(Heap), Vec::new(), BTreeMap::new());
        let numbers = [b"one", b"two"].map(|name| registry.capacities.lock().name(name).unwrap());
        assert_eq!(numbers, [1, 2]);
        let (limits, reserves, refused) = ([0; 2], [0; 2], BTreeMap::new());
        Self { registry, ranks, lines, records, turn: 0, limits, reserves, refused, slow: false, now: 0 }
    }

    fn line(&self, (name, maxload): (u64, u32)) -> Line {
        Line {
            record: self.records[&name].0,
            maxload,
            reserve: Self::reserve(name),
            weight: Self::weight(name),
            capacity: Self::capacity(name),
            rate: Rate::default(),
            slow_start: if self.slow && name % 3 < 2 { 3 + name as u32 % 5 } else { 0 },
        }
    }

    /// What comes beyond its limit for calls with priority: for the few of low names only, so that some sets have none.
    fn reserve(name: u64) -> u32 {
        if name < 12 { name as u32 % 3 } else { 0 }
    }

    /// Names up to 9 share nothing; the others one capacity of three lines in four, and one of the rest.
    fn capacity(name: u64) -> u32 {
        match name {
            0..10 => 0,
            name => 1 + u32::from(name % 4 == 0),
        }
    }

    /// Calls of all that share it, also of those that are gone.
    fn shared(&self, capacity: u32) -> u32 {
        let all = self.records.iter().filter(|(name, _)| Self::capacity(**name) == capacity);
        all.map(|(_, record)| record.1).sum()
    }

    /// What the capacity of this name may have.
    fn limit(&self, name: u64, priority: bool) -> u32 {
        let at = Self::capacity(name).checked_sub(1).map(|at| at as usize);
        at.map_or(0, |at| crate::select::limit(self.limits[at], self.reserves[at], priority))
    }

    fn has_shared_room(&self, name: u64, priority: bool) -> bool {
        let limit = self.limit(name, priority);
        limit == 0 || self.shared(Self::capacity(name)) < limit
    }

    /// As a commit gives a board its lines.
    fn commit(&self, change: impl FnOnce(&mut Capacities<Heap>)) {
        let mut capacities = self.registry.capacities.lock();
        change(&mut capacities);
        let plan = |number: u32| {
            let of = self.lines.iter().filter(|line| Self::capacity(line.0) == number);
            let boards: Vec<u32> = of.map(|line| self.records[&line.0].0).take(1).collect();
            let limit = self.limits[number as usize - 1];
            crate::state::capacities::Plan {
                number,
                lines: 1,
                limit,
                reserve: if limit > 0 { self.reserves[number as usize - 1] } else { 0 },
                rate: crate::load::Rate::default(),
                boards: Slice::try_copy_in(&boards, Heap).unwrap(),
            }
        };
        capacities.adopt([1, 2].map(plan).into());
        for number in [1, 2] {
            self.ranks.turn(number, capacities.fill(number));
        }
    }

    fn weight(name: u64) -> u32 {
        name as u32 % 4
    }

    fn exchange(&mut self, at: usize, out: usize, new: &[(u64, u32)]) {
        for &(name, _) in new {
            let (registry, ranks) = (&self.registry, &self.ranks);
            self.records.entry(name).or_insert_with(|| {
                let hold = registry.hold([name, name], 1, b"x", Flags::default(), ranks).unwrap();
                (hold.number, 0, true, 0)
            });
        }
        for &(name, _) in new.iter().filter(|(name, _)| self.lines.iter().all(|one| one.0 != *name)) {
            // It comes back, as one that was never chosen.
            let record = self.records.get_mut(&name).unwrap();
            record.3 = 0;
            self.registry.record(record.0).unwrap().chosen(0);
        }
        let end = (at + out).min(self.lines.len());
        let gone: Vec<_> = self.lines.splice(at..end, new.iter().copied()).collect();
        let lines = |some: &[(u64, u32)]| some.iter().map(|one| self.line(*one)).collect::<Vec<_>>();
        let around = |at: Option<usize>| Some(self.line(*self.lines.get(at?)?));
        let (out, new, all) = (lines(&gone), lines(new), lines(&self.lines));
        let (before, after) = (around(at.checked_sub(1)), around(Some(at + new.len())));
        let shares = all.iter().any(|line| line.capacity != 0);
        self.ranks.reserve(all.len(), if shares { &all } else { &[] }, (false, true)).unwrap();
        self.commit(|capacities| {
            let patch = Patch { out: &out, new: &new, before, after };
            if !self.ranks.patch(&self.registry, &patch, Some(capacities)) {
                self.ranks.rebuild(&self.registry, &all, Some(capacities));
            }
        });
    }

    fn faults(&self) -> usize {
        let board = self.registry.lock_board(&self.ranks);
        let faults = board.faults(&self.registry);
        drop(board);
        faults + self.registry.capacity_faults()
    }

    /// Where it stands among those that wait for their turns in slow start; none does not wait.
    fn waits(&self, name: u64) -> Option<u64> {
        let record = self.registry.record(self.records[&name].0).unwrap();
        if record.is_slow() { self.ranks.board.lock().slow.turn().rank(record) } else { None }
    }

    /// Calls by which it is ranked.
    fn ranked(&self, name: u64) -> u32 {
        let (number, load, ..) = self.records[&name];
        load + self.registry.record(number).unwrap().penalty()
    }

    /// What a walk over all lines finds.
    fn best(
        &self,
        but: Option<u64>,
        moves: Option<u64>,
        spare_last: bool,
        (measure, priority): (Measure, bool),
    ) -> Result<(u64, u32), NotTaken> {
        let field = if spare_last && self.lines.len() > 1 { self.lines.len() - 1 } else { self.lines.len() };
        let usable = |(name, _): &(u64, u32)| Some(*name) != but && self.records[name].2;
        // A call that moves has a place in the capacity that it leaves.
        let own = |name: u64| moves.is_some_and(|moves| Self::capacity(moves) == Self::capacity(name));
        let shared = |name: u64| {
            let limit = self.limit(name, priority);
            limit == 0 || self.shared(Self::capacity(name)) - u32::from(own(name)) < limit
        };
        let room = |(name, maxload): &(u64, u32)| {
            let limit = crate::select::limit(*maxload, Self::reserve(*name), priority);
            (limit == 0 || self.records[name].1 < limit) && shared(*name)
        };
        let free = |one: &&(u64, u32)| usable(one) && room(one);
        let all_limited = self.lines.iter().all(|(_, limit)| *limit > 0);
        let size = |(name, limit): &(u64, u32)| match measure {
            Measure::Calls => 1,
            Measure::Relative if all_limited => *limit,
            Measure::Relative => Self::weight(*name).max(1),
        };
        let rank = |one: &&(u64, u32), other: &&(u64, u32)| {
            let [(load, turn), (other_load, other_turn)] =
                [one, other].map(|it| (self.ranked(it.0), self.records[&it.0].3));
            let by_load = (load * size(other), turn).cmp(&(other_load * size(one), other_turn));
            self.waits(one.0).cmp(&self.waits(other.0)).then(by_load)
        };
        let best = self.lines[..field].iter().filter(free).min_by(rank);
        let best = best.or_else(|| self.lines[field..].iter().find(free)).copied();
        let none = if self.lines.iter().any(usable) { NotTaken::Full } else { NotTaken::NoneUsable };
        best.ok_or(none)
    }

    fn take(&mut self, but: Option<u64>, spare_last: bool, measure: Measure) -> Result<(), TestCaseError> {
        self.take_or_move(but, None, spare_last, (measure, false))
    }

    /// A call that is new, or moves from one.
    fn take_or_move(
        &mut self,
        but: Option<u64>,
        moves: Option<u64>,
        spare_last: bool,
        (measure, priority): (Measure, bool),
    ) -> Result<(), TestCaseError> {
        let mut expected = self.best(but, moves, spare_last, (measure, priority));
        let waits: BTreeMap<u32, Option<u64>> =
            self.records.iter().map(|(name, record)| (record.0, self.waits(*name))).collect();
        let number = but.and_then(|name| self.records.get(&name)).map(|record| record.0);
        let look = Look { measure, spare_last, first: true, priority, clock: || 0 };
        let mut board = self.registry.lock_board(&self.ranks);
        board.prepare(&self.registry, look).unwrap();
        let left: Vec<u32> = moves.map(|name| self.records[&name].0).into_iter().collect();
        let but = (number.into_iter(), &left[..]);
        let taken = board.take_best(&self.registry, look, but, Audited::NotYet, |line, _| Some(line));
        drop(board);
        let given = taken.is_ok_and(|taken| taken.left);
        if let (Some(name), true) = (moves, taken.is_ok()) {
            self.records.get_mut(&name).unwrap().1 -= 1;
            let rest = Shift { load: if given { 0 } else { -1 }, legs: -1 };
            self.registry.shift(left[0], rest, Audited::NotYet);
        }
        let taken = taken.map(|taken| taken.of);
        // Of two lines of one destination either is right.
        let record = |line: Line| line.record;
        // Of two that wait for one turn, too.
        if let (Ok(line), Ok(one)) = (&taken, &mut expected) {
            let other = self.lines.iter().find(|one| self.line(**one) == *line).copied().unwrap();
            let at = |name: &u64| waits[&self.records[name].0];
            if at(&one.0).is_some() && at(&one.0) == at(&other.0) {
                *one = other;
            }
        }
        prop_assert_eq!(taken.map(record), expected.map(|one| self.line(one).record));
        if expected == Err(NotTaken::Full) {
            let usable = self.lines.iter().map(|one| one.0).filter(|name| self.records[name].2);
            for name in usable.collect::<BTreeSet<_>>() {
                *self.refused.entry(name).or_default() += 1;
            }
        }
        if let Ok((name, _)) = expected {
            self.turn += 1;
            let record = self.records.get_mut(&name).unwrap();
            (record.1, record.3) = (record.1 + 1, self.turn);
        }
        Ok(())
    }

    fn apply(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Exchange(at, out, new) => {
                let at = at.index(self.lines.len() + 1);
                self.exchange(at, out, &new);
            }
            Step::Rebuild => {
                let all: Vec<_> = self.lines.iter().map(|one| self.line(*one)).collect();
                let shares = all.iter().any(|line| line.capacity != 0);
                self.ranks.reserve(all.len(), if shares { &all } else { &[] }, (false, true)).unwrap();
                self.commit(|capacities| self.ranks.rebuild(&self.registry, &all, Some(capacities)));
            }
            Step::Limits(limits, reserves) => {
                (self.limits, self.reserves) = (limits, reserves);
                self.commit(|_| {});
            }
            Step::Move(name, priority) => {
                if self.records.get(&name).is_some_and(|record| record.1 > 0) {
                    self.take_or_move(Some(name), Some(name), false, (Measure::Calls, priority))?;
                }
            }
            Step::Take(but, spare_last, measure, priority) => {
                self.take_or_move(but, None, spare_last, (measure, priority))?;
            }
            Step::Give(name) => {
                if let Some(record) = self.records.get_mut(&name).filter(|record| record.1 > 0) {
                    record.1 -= 1;
                    self.registry.shift(record.0, Shift::GIVE, Audited::NotYet);
                }
            }
            Step::Follow(name, chosen, priority) if self.lines.iter().any(|one| one.0 == name) => {
                let has_room = self.has_shared_room(name, priority);
                let record = self.records.get_mut(&name).unwrap();
                let how = (chosen, priority);
                let taken = self.registry.take_if((record.0, record.1), how, &[], (Audited::NotYet, || 0));
                prop_assert_eq!(taken.is_some(), has_room);
                if has_room {
                    self.turn += usize::from(chosen);
                    record.3 = if chosen { self.turn } else { record.3 };
                    record.1 += 1;
                }
            }
            Step::Follow(..) => {}
            Step::Rise(more) => {
                self.now += more;
                self.ranks.look_at_ramps(&self.registry);
                let records =
                    self.lines.iter().map(|(name, _)| self.records[name].0).collect::<BTreeSet<_>>();
                for record in records.into_iter().filter_map(|number| self.registry.record(number)) {
                    let before = record.pace();
                    let rises = self.ranks.rise(record, self.now);
                    prop_assert!(record.pace() >= before && (!rises || record.is_on_ramp()));
                }
            }
            Step::Fail(name) => {
                if let Some(record) = self.records.get(&name) {
                    let failure = Failure { half: 8 * SECOND, now: self.now };
                    self.registry.penalize(record.0, failure);
                    let is_there = self.lines.iter().any(|one| one.0 == name);
                    prop_assert!(self.ranked(name) > self.records[&name].1 || !is_there);
                }
            }
            Step::Decay(seconds) => {
                self.now += seconds * SECOND;
                self.ranks.decay(&self.registry, Failure { half: 8 * SECOND, now: self.now });
            }
            Step::State(name, usable) => {
                if let Some(record) = self.records.get_mut(&name) {
                    record.2 = usable;
                    let flags = if usable { Flags::default() } else { Flags::INACTIVE };
                    self.registry.change(record.0, 0, |_, _| Some((flags, 0)));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Choices are counted anew on the way: in a test their numbers are short.
    #[test]
    fn the_best_is_what_a_walk_over_all_lines_finds(slow: bool, steps in prop::collection::vec(step(), 1..1500)) {
        let mut model = Model { slow, ..Model::new() };
        model.exchange(0, 0, &(0..20).map(|name| (name, name as u32 % 3)).collect::<Vec<_>>());
        for step in steps {
            model.apply(step)?;
            for (name, record) in &model.records {
                let refused = model.ranks.refused(model.registry.record(record.0).unwrap());
                prop_assert_eq!(refused, model.refused.get(name).copied().unwrap_or(0));
            }
            prop_assert_eq!(model.faults(), 0);
            for capacity in [1, 2] {
                let seen = model.registry.capacities.lock().seen(capacity).unwrap();
                prop_assert_eq!(seen.calls, model.shared(capacity));
            }
        }
    }
}

#[test]
fn what_relative_loads_rest_on_changes_for_all_lines_at_once() {
    let mut model = Model::new();
    model.exchange(0, 0, &[(1, 2), (2, 0)]);
    model.take(None, false, Measure::Relative).unwrap();
    // While the second line is out, all have a limit.
    model.exchange(1, 1, &[(3, 2), (5, 0)]);
    assert_eq!(model.faults(), 0);
    assert!(model.ranks.has_mixed_limits());
    model.exchange(2, 1, &[(6, 9)]);
    assert_eq!(model.faults(), 0);
    assert!(!model.ranks.has_mixed_limits());
    for _ in 0..13 {
        model.take(None, false, Measure::Relative).unwrap();
    }
    assert_eq!(model.best(None, None, false, (Measure::Relative, false)), Err(NotTaken::Full));
}

#[test]
fn a_line_that_its_generation_does_not_have_is_passed_over() {
    let mut model = Model::new();
    model.exchange(0, 0, &[(1, 0), (2, 0)]);
    let first = model.line((1, 0)).record;
    let find = |known: &'static [u32]| {
        move |line: Line, _: &Record| known.contains(&line.record).then_some(line.record)
    };
    let take = |known| {
        let mut board = model.registry.lock_board(&model.ranks);
        let look =
            Look { measure: Measure::Calls, spare_last: false, first: true, priority: false, clock: || 0 };
        let none = ([].into_iter(), &[][..]);
        board.take_best(&model.registry, look, none, Audited::NotYet, find(known)).map(|taken| taken.of)
    };
    assert_eq!(take(&[1]), Ok(1));
    assert_eq!(take(&[1]), Ok(1), "though the other is empty");
    assert_eq!(take(&[]), Err(NotTaken::Outdated));
    assert_eq!((first, model.faults()), (0, 0));
}

#[test]
fn a_rank_that_is_wrong_is_found_and_mended_by_the_next_choice() {
    let mut model = Model::new();
    model.exchange(0, 0, &[(1, 1), (2, 0)]);
    let record = model.registry.record(model.line((1, 1)).record).unwrap();
    // As if somebody forgot the board.
    record.load.take(Audited::NotYet);
    assert_eq!(model.faults(), 2, "its rank, and the calls of all");
    model.records.get_mut(&1).unwrap().1 = 1;
    model.take(None, false, Measure::Calls).unwrap();
    assert_eq!(model.faults(), 0);
}

#[test]
fn a_board_has_room_for_its_lines_and_not_for_many_more() {
    let mut model = Model::new();
    let lines: Vec<_> = (0..1000).map(|name| (name, 0)).collect();
    model.exchange(0, 0, &lines);
    let room = |model: &Model| model.ranks.board.lock().places.len();
    assert_eq!(room(&model), 1000);
    model.exchange(0, 700, &[]);
    assert_eq!(room(&model), 1000, "300 of 1000 are left");
    model.exchange(0, 100, &[]);
    assert_eq!((room(&model), model.faults()), (200, 0));
    for _ in 0..300 {
        model.take(None, false, Measure::Calls).unwrap();
    }
}

#[test]
fn a_call_with_priority_goes_beyond_limits_to_the_least_loaded_and_others_do_not() {
    let mut model = Model::new();
    // The names 1 and 2 have reserves of as many calls.
    model.exchange(0, 0, &[(1, 1), (2, 2), (3, 1)]);
    let has_reserved = |model: &Model| model.ranks.board.lock().has_reserved();
    for _ in 0..5 {
        model.take(None, false, Measure::Calls).unwrap();
    }
    assert!(!has_reserved(&model), "nobody has asked");
    for _ in 0..5 {
        model.take_or_move(None, None, false, (Measure::Relative, true)).unwrap();
    }
    let loads = [1, 2, 3].map(|name| model.records[&name].1);
    assert_eq!((loads, has_reserved(&model), model.faults()), ([2, 4, 1], true, 0));
    // What was given back is below the reserve, and still beyond the limit.
    model.apply(Step::Give(2)).unwrap();
    model.take(None, false, Measure::Calls).unwrap();
    assert_eq!(model.best(None, None, false, (Measure::Calls, false)), Err(NotTaken::Full));
    assert_eq!(model.best(None, None, false, (Measure::Calls, true)), Ok((2, 2)));
    // Without a line that has a reserve there is nothing to keep.
    model.exchange(0, 2, &[]);
    assert!(!has_reserved(&model));
}

#[test]
fn a_wrong_rank_of_calls_with_priority_is_found() {
    let mut model = Model::new();
    model.exchange(0, 0, &[(1, 1), (10, 1), (11, 3)]);
    model.apply(Step::Limits([1, 2], [2, 0])).unwrap();
    model.take_or_move(None, None, false, (Measure::Calls, true)).unwrap();
    assert_eq!(model.faults(), 0);
    let close = |place: usize| {
        let mut board = model.ranks.board.lock();
        board.reserved.as_mut().unwrap().close(place);
    };
    close(0);
    assert_eq!(model.faults(), 1, "its rank");
    close(1);
    assert!(model.faults() >= 2);
}
