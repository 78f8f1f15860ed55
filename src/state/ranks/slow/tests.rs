//! Slow starts in the choices of a set, as the module makes them.

use crate::dest::Flags;
use crate::health::slow_start::{CATCHING_UP, FLOOR};
use crate::load::Rate;
use crate::select::Measure;
use crate::shm::Heap;
use crate::shm::arc::Arc;
use crate::shm::counter::Audited;
use crate::state::ranks::{Line, Look, NotTaken, Ranks};
use crate::state::{Record, Registry, Shift};
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
const RAMP: u32 = 60;

/// A set whose calls end in the order in which they came, as long as each has as many as it is to have.
struct Set {
    registry: Registry<Heap>,
    ranks: Arc<Ranks<Heap>, Heap>,
    calls: VecDeque<u32>,
    /// Calls that are up at the same time.
    most: usize,
    now: u64,
}

#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
impl Set {
    fn new(maxloads: &[u32], most: usize) -> Self {
        let registry = Registry::new_in(Heap);
        let ranks = Arc::try_new_in(Ranks::try_new_in(Heap).unwrap(), Heap).unwrap();
        let line = |(name, maxload): (u64, &u32)| Line {
            record: registry.hold([name, name], 1, b"x", Flags::default(), &ranks).unwrap().number,
            maxload: *maxload,
            reserve: 0,
            weight: 1,
            capacity: 0,
            rate: Rate::default(),
            slow_start: RAMP,
        };
        let lines: Vec<Line> = (0..).zip(maxloads).map(line).collect();
        ranks.reserve(lines.len(), &[], (false, true)).unwrap();
        ranks.rebuild(&registry, &lines, None);
        Self { registry, ranks, calls: VecDeque::new(), most, now: SECOND }
    }

    fn record(&self, number: u32) -> &Record {
        self.registry.record(number).unwrap()
    }

    fn is_up(&self, number: u32, up: bool) {
        let state = if up { Flags::default() } else { Flags::INACTIVE };
        self.registry.change(number, 0, |_, _| Some((state, 0)));
    }

    /// A call comes, and the oldest goes where there are too many.
    fn call(&mut self, measure: Measure) -> Result<u32, NotTaken> {
        let look = Look { measure, spare_last: false, first: true, priority: false, clock: || 0 };
        let mut board = self.registry.lock_board(&self.ranks);
        board.prepare(&self.registry, look).unwrap();
        let none = ([].into_iter(), &[][..]);
        let taken = board.take_best(&self.registry, look, none, Audited::NotYet, |line, _| Some(line.record));
        assert_eq!(board.faults(&self.registry), 0);
        drop(board);
        let record = taken?.of;
        self.calls.push_back(record);
        if self.calls.len() > self.most {
            self.registry.shift(self.calls.pop_front().unwrap(), Shift::GIVE, Audited::NotYet);
        }
        Ok(record)
    }

    fn rise(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
        self.ranks.look_at_ramps(&self.registry);
        for number in 0..self.ranks.usable_and_open().0 as u32 + 1 {
            self.registry.record(number).into_iter().for_each(|record| _ = self.ranks.rise(record, self.now));
        }
    }

    /// How many of these calls went to the first one. Four times in that time slow starts go on.
    fn window(&mut self, measure: Measure, calls: usize, nanoseconds: u64) -> usize {
        let mut had = 0;
        for call in 0..calls {
            if call % calls.div_ceil(4) == 0 {
                self.rise(nanoseconds / 4);
            }
            had += usize::from(self.call(measure) == Ok(0));
        }
        had
    }
}

/// Ten gateways with 300 calls, 50 a second, windows of five seconds.
#[test]
fn one_that_returns_gets_its_ramp_and_then_twice_its_share_until_it_is_level() {
    let mut set = Set::new(&[0; 10], 3_000);
    for _ in 0..3_000 {
        set.call(Measure::Calls).unwrap();
    }
    set.is_up(0, false);
    for _ in 0..3_000 {
        assert_ne!(set.call(Measure::Calls), Ok(0));
    }
    assert_eq!(set.record(0).load.get(), 0);
    set.is_up(0, true);
    for window in 0..12 {
        let had = set.window(Measure::Calls, 250, 5 * SECOND) as f64;
        // Of 25.
        let ramp = 25.0 * (0.1 + 0.9 * (f64::from(window) * 5.0 + 2.5) / 60.0);
        assert!(had <= 1.5 * ramp && had >= 0.5 * ramp, "window {window}: {had}, {ramp}");
    }
    set.rise(2 * SECOND);
    assert_eq!(set.record(0).slow_start(set.now).unwrap().percent, CATCHING_UP);
    let mut windows = 0;
    while set.record(0).is_slow() {
        let had = set.window(Measure::Calls, 250, 5 * SECOND);
        assert!(had <= 50, "{had}");
        // But for the one in which it gets level.
        assert!(had >= 46 || !set.record(0).is_slow(), "{had}");
        windows += 1;
        assert!(windows < 20, "it never gets level");
    }
    let loads: Vec<u32> = (0..10).map(|number| set.record(number).load.get()).collect();
    assert!(loads[0] >= 290, "{loads:?}");
    assert!(windows > 2, "{windows}");
    let had = set.window(Measure::Calls, 250, 5 * SECOND);
    // Its calls are the newest, so that fewer of them end.
    assert!(had <= 26, "{had}");
}

#[test]
fn by_relative_load_its_share_is_by_its_size() {
    let mut set = Set::new(&[400, 100, 100, 200], 400);
    for _ in 0..800 {
        set.call(Measure::Relative).unwrap();
    }
    set.is_up(0, false);
    for _ in 0..800 {
        let _ = set.call(Measure::Relative);
    }
    set.is_up(0, true);
    // A tenth of a half, of what is left of four hundred.
    let had = set.window(Measure::Relative, 400, 1);
    assert!((18..=21).contains(&had), "{had}");
}

#[test]
fn a_flap_starts_it_anew_and_one_that_is_down_is_not_slow() {
    let mut set = Set::new(&[0; 3], 30);
    set.is_up(1, false);
    set.is_up(1, true);
    set.rise(1);
    set.rise(30 * SECOND);
    assert_eq!(set.record(1).pace(), 55);
    set.is_up(1, false);
    assert!(!set.record(1).is_slow() && !set.ranks.has_slow());
    set.is_up(1, true);
    assert_eq!(set.record(1).pace(), FLOOR);
    set.rise(1);
    set.rise(60 * SECOND);
    // No call was counted in this set so far, so there is nothing to get level with.
    assert!(!set.record(1).is_slow());
}

#[test]
fn none_waits_where_nobody_else_has_room_and_none_is_refused_before_all_are_full() {
    let mut set = Set::new(&[2, 2], 100);
    set.is_up(0, false);
    set.is_up(0, true);
    let got: Vec<u32> = (0..4).map(|_| set.call(Measure::Calls).unwrap()).collect();
    assert_eq!(got, [1, 1, 0, 0]);
    assert_eq!(set.call(Measure::Calls), Err(NotTaken::Full));
    assert_eq!(set.ranks.usable_and_open(), (2, 0));
}

/// They were down together: the least loaded gets the next call, as ever.
#[test]
fn where_all_start_slowly_none_waits() {
    let mut set = Set::new(&[0; 4], 1_000);
    (0..4).for_each(|number| set.is_up(number, false));
    (0..4).for_each(|number| set.is_up(number, true));
    set.rise(1);
    (0..7).for_each(|_| set.record(2).load.take(Audited::NotYet));
    set.is_up(2, true);
    for _ in 0..28 {
        set.call(Measure::Calls).unwrap();
    }
    let loads: Vec<u32> = (0..4).map(|number| set.record(number).load.get()).collect();
    assert!(loads.iter().all(|load| (8..=9).contains(load)), "{loads:?}");
}

/// One is far on its ramp, the other at its begin.
#[test]
fn of_two_that_start_slowly_each_has_its_part() {
    let mut set = Set::new(&[0; 2], 1_000);
    set.is_up(0, false);
    set.call(Measure::Calls).unwrap();
    set.is_up(0, true);
    set.is_up(1, false);
    set.is_up(1, true);
    set.rise(1);
    set.rise(50 * SECOND);
    set.is_up(0, false);
    set.is_up(0, true);
    // 10 percent, where the other has 85.
    let had = set.window(Measure::Calls, 200, 4);
    assert!((8..=13).contains(&had), "{had}");
}
