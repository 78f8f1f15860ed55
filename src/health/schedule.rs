//! The schedule of probes: evenly over the interval, without bursts, without state.
//!
//! Each destination has its place on a grid of its interval. Places come from the destination's number times the golden
//! section, so any run of numbers is spread evenly (a Kronecker sequence), and a destination keeps its place whatever a
//! reload does to the others. A jitter of a small part of the interval, or of as much as is asked for, keeps several servers from falling into step.
//!
//! Where there is a fast interval, a destination has a grid of that as well. After each probe the agenda hands it out at its next time there, to be
//! looked at: while its state is not settled it is probed and looked at again, else it waits for its next time on the grid of its interval.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// The jitter is at least this part of the interval, to either side.
const JITTER_PART: u64 = 64;

/// How probes are scattered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jitter {
    /// By how many percent of the interval the time between two probes may differ from it, up to 50.
    pub percent: u32,
    /// What makes this server's times its own.
    pub secret: u64,
}

impl Jitter {
    /// How far a probe may be from its place, to either side. Two in a row may each be: so it is half of what the time between them may differ by.
    fn most(self, interval: u64) -> u64 {
        let asked = u128::from(interval) * u128::from(self.percent.min(50)) / 200;
        (interval / JITTER_PART).max(asked as u64)
    }
}

/// The first time after `after` at which the destination of this number is to be probed. All in microseconds.
pub fn next_due(number: u32, interval: u64, jitter: Jitter, after: u64) -> u64 {
    let interval = interval.max(1);
    // 2^32 divided by the golden ratio: the product, cut to 32 bits, is a fraction of 2^32.
    let place = ((u128::from(number.wrapping_mul(0x9e37_79b9)) * u128::from(interval)) >> 32) as u64;
    let most = jitter.most(interval);
    let due = |round: u64| {
        let moved = mixed(number, round, jitter.secret) % (most * 2 + 1);
        (round * interval + place + moved).saturating_sub(most)
    };
    let round = (after / interval).saturating_sub(1);
    (round..round + 4).map(due).find(|&due| due > after).unwrap_or(after + interval)
}

/// A number that looks random (the finalizer of SplitMix64, G. Steele et al. 2014).
fn mixed(number: u32, round: u64, secret: u64) -> u64 {
    let mut word = (u64::from(number) << 32 ^ round ^ secret).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Why an item is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// It is to be probed: its time on the grid of its interval has come.
    Probe,
    /// It is to be looked at: if its state is not settled, it is probed.
    Look,
}

/// What to do next, for the destinations of one generation.
#[derive(Debug)]
pub struct Agenda<T> {
    due: BinaryHeap<Reverse<(u64, T, Turn)>>,
    jitter: Jitter,
    /// All items up to this time have been handed out.
    until: u64,
    /// Expected a microsecond.
    rate: f64,
    /// When [`Agenda::due`] was last asked for a round, and what is left of its budget.
    asked: u64,
    budget: f64,
}

/// A destination for the agenda.
#[derive(Debug, Clone, Copy)]
pub struct Item<T> {
    /// The number that gives it its place.
    pub number: u32,
    /// Microseconds from one time to the next.
    pub interval: u64,
    /// The same while its state is not settled; 0 is no other.
    pub fast: u64,
    /// What is handed out.
    pub what: T,
}

impl<T> Item<T> {
    /// The fast interval, if it is one.
    fn faster(&self) -> Option<u64> {
        (1..self.interval).contains(&self.fast).then_some(self.fast)
    }

    /// How often it is handed out in a microsecond while its next turn is this one.
    fn rate(&self, turn: Turn) -> f64 {
        1.0 / self.pace(turn).max(1) as f64
    }

    /// Its next time after `after`, and why; it is looked at after `look`, if that is said.
    fn next(&self, jitter: Jitter, after: u64, look: Option<u64>) -> (u64, Turn) {
        let probe = (next_due(self.number, self.interval, jitter, after), Turn::Probe);
        let fast = self.faster().zip(look);
        let look = fast.map(|(fast, after)| (next_due(self.number, fast, jitter, after), Turn::Look));
        look.map_or(probe, |look| look.min(probe))
    }

    /// When it is probed next after `now`, where its state is settled or not.
    pub fn next_probe(&self, jitter: Jitter, now: u64, settled: bool) -> u64 {
        self.next(jitter, now, (!settled).then_some(now)).0
    }

    /// From one time that it is handed out for this turn to the next.
    pub fn pace(&self, turn: Turn) -> u64 {
        self.faster().filter(|_| turn == Turn::Look).unwrap_or(self.interval)
    }
}

impl<T: Ord + Copy> Agenda<T> {
    /// An empty one that begins at `now`.
    pub fn new(now: u64, jitter: Jitter) -> Self {
        Self { due: BinaryHeap::new(), jitter, until: now, rate: 0.0, asked: now, budget: 0.0 }
    }

    /// Replaces all items. Those that are overdue stay overdue. Each may have been probed a moment ago.
    pub fn replace(&mut self, items: impl Iterator<Item = Item<T>>) {
        self.rate = 0.0;
        let mut all = core::mem::take(&mut self.due).into_vec();
        all.clear();
        for item in items {
            let (due, turn) = item.next(self.jitter, self.until, Some(self.until));
            all.push(Reverse((due, item.what, turn)));
            self.rate += item.rate(turn);
        }
        self.due = all.into();
    }

    /// Begins a round at `now`: it may hand out twice what is expected in the time since the last one, so that what a
    /// stall left behind is caught up with and makes no burst.
    pub fn begin_round(&mut self, now: u64) {
        let passed = now.saturating_sub(self.asked) as f64;
        self.asked = now;
        // At least one, and after a stall no more than in a tenth of a second.
        self.budget = (self.budget.min(1.0) + 2.0 * self.rate * passed.min(100_000.0)).max(1.0);
    }

    /// The next item whose time has come at `now`, with that time and why, while this round's budget lasts.
    pub fn pop(&mut self, now: u64) -> Option<(u64, T, Turn)> {
        if self.due.peek().is_none_or(|Reverse((due, ..))| *due > now) {
            self.until = self.until.max(now);
            return None;
        }
        if self.budget < 1.0 {
            return None;
        }
        self.budget -= 1.0;
        let Reverse((due, what, turn)) = self.due.pop()?;
        self.until = self.until.max(due);
        Some((due, what, turn))
    }

    /// Puts an item back that was handed out for this `turn`, for its next time after `due`. It is to be looked at, if it was probed now, or an
    /// answer is awaited: half a fast interval later at the soonest.
    pub fn again(&mut self, (due, turn): (u64, Turn), item: Item<T>, look: bool) {
        let (next, then) = item.next(self.jitter, due, look.then_some(due + item.fast / 2));
        self.rate += item.rate(then) - item.rate(turn);
        self.due.push(Reverse((next, item.what, then)));
    }

    /// What was handed out was not probed: another may be.
    pub fn give_back(&mut self) {
        self.budget += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    const NONE: Jitter = Jitter { percent: 0, secret: 0 };

    fn item(number: u32, interval: u64) -> Item<u32> {
        Item { number, interval, fast: 0, what: number }
    }

    /// What is handed out in each round of `step`.
    fn run(agenda: &mut Agenda<u32>, interval: u64, from: u64, to: u64, step: u64) -> Vec<Vec<u32>> {
        let mut rounds = Vec::new();
        let mut now = from;
        while now < to {
            now += step;
            agenda.begin_round(now);
            let mut round = Vec::new();
            while let Some((due, number, turn)) = agenda.pop(now) {
                round.push(number);
                agenda.again((due, turn), item(number, interval), true);
            }
            rounds.push(round);
        }
        rounds
    }

    #[test]
    fn two_thousand_in_ten_seconds_are_two_hundred_each_second() {
        let mut agenda = Agenda::new(0, NONE);
        agenda.replace((0..2000).map(|number| item(number, 10 * SECOND)));
        let rounds = run(&mut agenda, 10 * SECOND, 0, 60 * SECOND, 10_000);
        for second in rounds.chunks(100) {
            let sent: usize = second.iter().map(Vec::len).sum();
            assert!((160..=240).contains(&sent), "{sent}");
        }
        assert!(rounds.iter().all(|round| round.len() <= 8));
    }

    #[test]
    fn a_stall_is_caught_up_with_and_makes_no_burst() {
        let mut agenda = Agenda::new(0, NONE);
        agenda.replace((0..2000).map(|number| item(number, 10 * SECOND)));
        run(&mut agenda, 10 * SECOND, 0, 5 * SECOND, 10_000);
        let after = run(&mut agenda, 10 * SECOND, 10 * SECOND, 30 * SECOND, 10_000);
        assert!(after.iter().all(|round| round.len() <= 41), "a burst");
        let caught_up: usize = after.iter().take(1000).map(Vec::len).sum();
        assert!(caught_up >= 2900, "{caught_up}");
    }

    #[test]
    fn a_reload_in_between_loses_no_turn_and_gives_none_twice() {
        let mut agenda = Agenda::new(0, NONE);
        let items = || (0..300).map(|number| item(number, SECOND));
        agenda.replace(items());
        let mut seen = vec![0; 300];
        for tenth in 0..100 {
            let from = tenth * SECOND / 10;
            run(&mut agenda, SECOND, from, from + SECOND / 10, 10_000)
                .concat()
                .iter()
                .for_each(|&number| seen[number as usize] += 1);
            agenda.replace(items());
        }
        assert!(seen.iter().all(|times| (9..=11).contains(times)), "{seen:?}");
    }

    /// How a destination answers: whether its state is settled at this time, as far as it has been probed.
    struct Probed {
        item: Item<u32>,
        /// Since when it is not settled, if it is not.
        unsettled: Option<u64>,
        at: Vec<u64>,
    }

    /// Rounds of `step` from one time to another, as the prober makes them. Returns when each was probed.
    fn probe_all(agenda: &mut Agenda<u32>, all: &mut [Probed], (from, to, step): (u64, u64, u64)) {
        let mut now = from;
        while now < to {
            now += step;
            agenda.begin_round(now);
            while let Some((due, number, turn)) = agenda.pop(now) {
                let one = &mut all[number as usize];
                let settled = one.unsettled.is_none_or(|since| since >= due);
                agenda.again((due, turn), one.item, turn == Turn::Probe || !settled);
                if turn == Turn::Look && settled {
                    agenda.give_back();
                    continue;
                }
                one.at.push(due);
            }
        }
    }

    #[test]
    fn after_a_failure_probes_come_as_fast_as_is_said_until_the_state_is_settled() {
        let mut agenda = Agenda::new(0, NONE);
        let probed = |number| Probed {
            item: Item { fast: SECOND, ..item(number, 10 * SECOND) },
            unsettled: None,
            at: Vec::new(),
        };
        let mut all: Vec<Probed> = (0..50).map(probed).collect();
        agenda.replace(all.iter().map(|one| one.item));
        probe_all(&mut agenda, &mut all, (0, 40 * SECOND, 10_000));
        assert!(
            all.iter().all(|one| (3..=5).contains(&one.at.len())),
            "none is probed more often than before"
        );
        all[7].unsettled = Some(0);
        probe_all(&mut agenda, &mut all, (40 * SECOND, 60 * SECOND, 10_000));
        let (seven, others) = (&all[7].at, &all[8].at);
        let fast = seven.iter().filter(|at| **at > 51 * SECOND).count();
        assert!((8..=11).contains(&fast), "{seven:?}");
        assert!(others.len() <= 7, "{others:?}");
        // However often the lists are loaded meanwhile.
        let count = all[7].at.len();
        for tenth in 0..100 {
            agenda.replace(all.iter().map(|one| one.item));
            let from = 60 * SECOND + tenth * SECOND / 10;
            probe_all(&mut agenda, &mut all, (from, from + SECOND / 10, 10_000));
        }
        let more = all[7].at.len() - count;
        assert!((9..=12).contains(&more), "{more} in ten seconds");
        all[7].unsettled = None;
        let count = all[7].at.len();
        probe_all(&mut agenda, &mut all, (70 * SECOND, 90 * SECOND, 10_000));
        assert!(all[7].at.len() <= count + 3);
    }

    #[test]
    fn servers_with_jitter_do_not_stay_in_step() {
        let times = |secret| {
            let jitter = Jitter { percent: 40, secret };
            let next = move |at: &u64| Some(next_due(3, SECOND, jitter, *at));
            core::iter::successors(Some(0), next).skip(1).take(60).collect::<Vec<_>>()
        };
        let near = |one: &[u64], other: &[u64]| {
            let pairs = one.iter().zip(other);
            pairs.filter(|(one, other)| one.abs_diff(**other) < SECOND / 20).count()
        };
        assert_eq!(times(1), times(1));
        assert!(near(&times(1), &times(2)) < 40, "{}", near(&times(1), &times(2)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn the_next_time_is_an_interval_later_but_for_the_jitter(
            number: u32, secret: u64, percent in 0u32..=60, interval in 200u64..100_000_000, after in 0u64..1 << 50
        ) {
            let jitter = Jitter { percent, secret };
            let first = next_due(number, interval, jitter, after);
            let second = next_due(number, interval, jitter, first);
            let differs = (interval * u64::from(percent.min(50)) / 100).max(interval / 32) + 2;
            prop_assert!(first > after && first <= after + interval + differs);
            let gap = second - first;
            prop_assert!(gap + differs >= interval && gap <= interval + differs, "{gap}");
        }

        /// Whatever is settled when: each is probed in time, and time goes forward.
        #[test]
        fn each_is_probed_in_time(
            percent in 0u32..=50, secret: u64, step in 20_000u64..100_000,
            spans in prop::collection::vec((0usize..20, any::<bool>(), 1u64..8), 1..20)
        ) {
            let jitter = Jitter { percent, secret };
            let mut agenda = Agenda::new(0, jitter);
            let (interval, fast) = (10 * SECOND, 2 * SECOND);
            let probed = |number| Probed {
                item: Item { fast, ..item(number, interval) },
                unsettled: None,
                at: Vec::new(),
            };
            let mut all: Vec<Probed> = (0..20).map(probed).collect();
            agenda.replace(all.iter().map(|one| one.item));
            let mut now = 0;
            for (which, unsettled, seconds) in spans {
                all[which].unsettled = unsettled.then_some(now);
                probe_all(&mut agenda, &mut all, (now, now + seconds * SECOND, step));
                now += seconds * SECOND;
            }
            let differs = interval * u64::from(percent.max(4)) / 100;
            for one in &all {
                prop_assert!(one.at.is_sorted_by(|one, other| one < other), "{:?}", one.at);
                let gaps = one.at.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0);
                prop_assert!(gaps <= interval + differs + 2, "{gaps}");
            }
        }
    }
}
