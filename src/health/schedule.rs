//! The schedule of probes: evenly over the interval, without bursts, without state.
//!
//! Each destination has its place on a grid of its interval. Places come from the destination's number times the golden
//! section, so any run of numbers is spread evenly (a Kronecker sequence), and a destination keeps its place whatever a
//! reload does to the others. A jitter of a small part of the interval keeps several servers from falling into step.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// The jitter is at most this part of the interval, to either side.
const JITTER_PART: u64 = 64;

/// The first time after `after` at which the destination of this number is to be probed. All in microseconds.
pub fn next_due(number: u32, interval: u64, after: u64) -> u64 {
    let interval = interval.max(1);
    // 2^32 divided by the golden ratio: the product, cut to 32 bits, is a fraction of 2^32.
    let place = ((u128::from(number.wrapping_mul(0x9e37_79b9)) * u128::from(interval)) >> 32) as u64;
    let most = interval / JITTER_PART;
    let due = |round: u64| {
        let jitter = mixed(number, round) % (most * 2 + 1);
        (round * interval + place + jitter).saturating_sub(most)
    };
    let round = (after / interval).saturating_sub(1);
    (round..round + 4).map(due).find(|&due| due > after).unwrap_or(after + interval)
}

/// A number that looks random (the finalizer of SplitMix64, G. Steele et al. 2014).
fn mixed(number: u32, round: u64) -> u64 {
    let mut word = (u64::from(number) << 32 ^ round).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What to do next, for the destinations of one generation.
#[derive(Debug)]
pub struct Agenda<T> {
    due: BinaryHeap<Reverse<(u64, T)>>,
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
    /// What is handed out.
    pub what: T,
}

impl<T: Ord + Copy> Agenda<T> {
    /// An empty one that begins at `now`.
    pub fn new(now: u64) -> Self {
        Self { due: BinaryHeap::new(), until: now, rate: 0.0, asked: now, budget: 0.0 }
    }

    /// Replaces all items. Those that are overdue stay overdue.
    pub fn replace(&mut self, items: impl Iterator<Item = Item<T>>) {
        self.rate = 0.0;
        let mut all = core::mem::take(&mut self.due).into_vec();
        all.clear();
        for item in items {
            all.push(Reverse((next_due(item.number, item.interval, self.until), item.what)));
            self.rate += 1.0 / item.interval.max(1) as f64;
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

    /// The next item whose time has come at `now`, with that time, while this round's budget lasts.
    pub fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        if self.due.peek().is_none_or(|Reverse((due, _))| *due > now) {
            self.until = self.until.max(now);
            return None;
        }
        if self.budget < 1.0 {
            return None;
        }
        self.budget -= 1.0;
        let Reverse((due, what)) = self.due.pop()?;
        self.until = self.until.max(due);
        Some((due, what))
    }

    /// Puts an item back for its next time after `due`.
    pub fn again(&mut self, due: u64, item: Item<T>) {
        self.due.push(Reverse((next_due(item.number, item.interval, due), item.what)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn item(number: u32, interval: u64) -> Item<u32> {
        Item { number, interval, what: number }
    }

    /// What is handed out in each round of `step`.
    fn run(agenda: &mut Agenda<u32>, interval: u64, from: u64, to: u64, step: u64) -> Vec<Vec<u32>> {
        let mut rounds = Vec::new();
        let mut now = from;
        while now < to {
            now += step;
            agenda.begin_round(now);
            let mut round = Vec::new();
            while let Some((due, number)) = agenda.pop(now) {
                round.push(number);
                agenda.again(due, item(number, interval));
            }
            rounds.push(round);
        }
        rounds
    }

    #[test]
    fn two_thousand_in_ten_seconds_are_two_hundred_each_second() {
        let mut agenda = Agenda::new(0);
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
        let mut agenda = Agenda::new(0);
        agenda.replace((0..2000).map(|number| item(number, 10 * SECOND)));
        run(&mut agenda, 10 * SECOND, 0, 5 * SECOND, 10_000);
        let after = run(&mut agenda, 10 * SECOND, 10 * SECOND, 30 * SECOND, 10_000);
        assert!(after.iter().all(|round| round.len() <= 41), "a burst");
        let caught_up: usize = after.iter().take(1000).map(Vec::len).sum();
        assert!(caught_up >= 2900, "{caught_up}");
    }

    #[test]
    fn a_reload_in_between_loses_no_turn_and_gives_none_twice() {
        let mut agenda = Agenda::new(0);
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

    proptest! {
        #[test]
        fn the_next_time_is_about_an_interval_later(
            number: u32, interval in 64u64..100_000_000, after in 0u64..1 << 50
        ) {
            let first = next_due(number, interval, after);
            let second = next_due(number, interval, first);
            prop_assert!(first > after && first <= after + interval + interval / 16 + 2);
            let gap = second - first;
            prop_assert!(gap >= interval - interval / 16 - 2 && gap <= interval + interval / 16 + 2, "{gap}");
        }
    }
}
