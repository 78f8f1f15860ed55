//! Ranks beside a plain walk over all lines.

use super::*;
use crate::dest::Flags;
use crate::shm::Heap;
use crate::shm::arc::Arc;
use crate::state::Shift;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A set with its records, and what it must say.
struct Model {
    registry: Registry<Heap>,
    ranks: Arc<Ranks<Heap>, Heap>,
    /// The lines, by name of their destination.
    lines: Vec<(u64, u32)>,
    /// Record, load, whether it takes calls, and the turn in which it was chosen, by name.
    records: BTreeMap<u64, (u32, u32, bool, usize)>,
    turn: usize,
    /// Refusals while it took calls, by name.
    refused: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Lines in the place of some others, where and how many; names and limits.
    Exchange(prop::sample::Index, usize, Vec<(u64, u32)>),
    Rebuild,
    Take(Option<u64>, bool),
    Give(u64),
    State(u64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, limit) = (|| 0..40u64, || 0..4u32);
    let lines = prop::collection::vec((name(), limit()), 0..12);
    prop_oneof![
        3 => (any::<prop::sample::Index>(), 0..12usize, lines).prop_map(|(at, out, new)| Step::Exchange(at, out, new)),
        1 => Just(Step::Rebuild),
        30 => (prop::option::of(name()), any::<bool>()).prop_map(|(but, spare)| Step::Take(but, spare)),
        20 => name().prop_map(Step::Give),
        10 => (name(), any::<bool>()).prop_map(|(name, usable)| Step::State(name, usable)),
    ]
}

#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
impl Model {
    fn new() -> Self {
        let ranks = Arc::try_new_in(Ranks::try_new_in(Heap).unwrap(), Heap).unwrap();
        let (registry, lines, records) = (Registry::new_in(Heap), Vec::new(), BTreeMap::new());
        Self { registry, ranks, lines, records, turn: 0, refused: BTreeMap::new() }
    }

    fn line(&self, (name, maxload): (u64, u32)) -> Line {
        Line { record: self.records[&name].0, maxload }
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
        self.ranks.reserve(all.len()).unwrap();
        if !self.ranks.patch(&self.registry, &Patch { out: &out, new: &new, before, after }) {
            self.ranks.rebuild(&self.registry, &all);
        }
    }

    /// What a walk over all lines finds.
    fn best(&self, but: Option<u64>, spare_last: bool) -> Result<(u64, u32), NotTaken> {
        let field = if spare_last && self.lines.len() > 1 { self.lines.len() - 1 } else { self.lines.len() };
        let usable = |(name, _): &(u64, u32)| Some(*name) != but && self.records[name].2;
        let room = |(name, limit): &(u64, u32)| *limit == 0 || self.records[name].1 < *limit;
        let free = |one: &&(u64, u32)| usable(one) && room(one);
        let rank = |(name, _): &&(u64, u32)| (self.records[name].1, self.records[name].3);
        let best = self.lines[..field].iter().filter(free).min_by_key(rank);
        let best = best.or_else(|| self.lines[field..].iter().find(free)).copied();
        let none = if self.lines.iter().any(usable) { NotTaken::Full } else { NotTaken::NoneUsable };
        best.ok_or(none)
    }

    fn take(&mut self, but: Option<u64>, spare_last: bool) -> Result<(), TestCaseError> {
        let expected = self.best(but, spare_last);
        let number = but.and_then(|name| self.records.get(&name)).map(|record| record.0);
        let taken = self.ranks.hold().take_best(
            &self.registry,
            number.into_iter(),
            spare_last,
            true,
            Audited::NotYet,
            |line, _| Some(line),
        );
        // Of two lines of one destination either is right.
        let record = |line: Line| line.record;
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
                self.ranks.rebuild(&self.registry, &all);
            }
            Step::Take(but, spare_last) => self.take(but, spare_last)?,
            Step::Give(name) => {
                if let Some(record) = self.records.get_mut(&name).filter(|record| record.1 > 0) {
                    record.1 -= 1;
                    self.registry.shift(record.0, Shift::GIVE, Audited::NotYet);
                }
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
    fn the_best_is_what_a_walk_over_all_lines_finds(steps in prop::collection::vec(step(), 1..1500)) {
        let mut model = Model::new();
        model.exchange(0, 0, &(0..20).map(|name| (name, name as u32 % 3)).collect::<Vec<_>>());
        for step in steps {
            model.apply(step)?;
            for (name, record) in &model.records {
                let refused = model.ranks.refused(model.registry.record(record.0).unwrap());
                prop_assert_eq!(refused, model.refused.get(name).copied().unwrap_or(0));
            }
            prop_assert_eq!(model.ranks.faults(&model.registry), 0);
        }
    }
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
        let mut board = model.ranks.hold();
        board.take_best(&model.registry, [].into_iter(), false, true, Audited::NotYet, find(known))
    };
    assert_eq!(take(&[1]), Ok(1));
    assert_eq!(take(&[1]), Ok(1), "though the other is empty");
    assert_eq!(take(&[]), Err(NotTaken::Outdated));
    assert_eq!((first, model.ranks.faults(&model.registry)), (0, 0));
}

#[test]
fn a_rank_that_is_wrong_is_found_and_mended_by_the_next_choice() {
    let mut model = Model::new();
    model.exchange(0, 0, &[(1, 1), (2, 0)]);
    let record = model.registry.record(model.line((1, 1)).record).unwrap();
    // As if somebody forgot the board.
    record.load.take(Audited::NotYet);
    assert_eq!(model.ranks.faults(&model.registry), 1);
    model.records.get_mut(&1).unwrap().1 = 1;
    model.take(None, false).unwrap();
    assert_eq!(model.ranks.faults(&model.registry), 0);
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
    assert_eq!((room(&model), model.ranks.faults(&model.registry)), (200, 0));
    for _ in 0..300 {
        model.take(None, false).unwrap();
    }
}
