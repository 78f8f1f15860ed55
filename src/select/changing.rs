//! A test of every algorithm on a set that gives another answer each time it is asked, because other processes change states, loads
//! and latencies while a selection runs: whatever the algorithm sees, it chooses something that it saw usable, or refuses.

use super::tests::{number, sparing};
use super::{ALGORITHMS, Algorithm, Candidates, Draw, Refusal};
use core::cell::{Cell, RefCell};
use proptest::prelude::*;

/// Each look at a value finds another one. What may be seen is narrow, so that values often meet thresholds and each other.
struct Changing {
    random: Cell<u64>,
    /// One that is always usable and has room; any other may be anything.
    steady: Option<usize>,
    /// What was seen of each position at some moment.
    seen: RefCell<Vec<Seen>>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    usable: bool,
    room: bool,
}

/// The load that has room under the limit of [`Changing::maxload`].
const MAXLOAD: u32 = 2;

impl Changing {
    fn new(seed: u64, len: usize, steady: Option<usize>) -> Self {
        let seen = RefCell::new(vec![Seen::default(); len]);
        Self { random: Cell::new(seed | 1), steady, seen }
    }

    /// Any number below `most` (xorshift, G. Marsaglia 2003).
    fn below(&self, most: u64) -> u32 {
        let mut word = self.random.get();
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        self.random.set(word);
        ((word >> 32) % most) as u32
    }
}

impl Candidates for Changing {
    fn len(&self) -> usize {
        self.seen.borrow().len()
    }
    fn usable(&self, at: usize) -> bool {
        let usable = self.below(2) == 0 || self.steady == Some(at);
        self.seen.borrow_mut()[at].usable |= usable;
        usable
    }
    fn load(&self, at: usize) -> u32 {
        let load = if self.steady == Some(at) { 0 } else { self.below(4) };
        self.seen.borrow_mut()[at].room |= load < MAXLOAD;
        load
    }
    fn maxload(&self, _: usize) -> u32 {
        MAXLOAD
    }
    fn identity(&self, at: usize) -> u64 {
        at as u64
    }
    fn last_chosen(&self, _: usize) -> u64 {
        self.below(3).into()
    }
    /// As configured: no process changes it, and it falls along the set.
    fn priority(&self, at: usize) -> i32 {
        -(at as i32 / 3)
    }
    fn weight(&self, at: usize) -> u32 {
        1 + at as u32 % 4
    }
    fn rweight(&self, at: usize) -> u32 {
        self.weight(at)
    }
    fn latency(&self, _: usize) -> u32 {
        self.below(100)
    }
    fn congestion(&self, at: usize) -> Option<u32> {
        (at % 2 == 0).then(|| self.below(6))
    }
    fn overloaded(&self, at: usize) -> bool {
        self.below(2) == 0 && self.steady != Some(at)
    }
}

/// Chooses, and gives what is wrong with the choice.
fn choose(choosing: &dyn Algorithm, pool: &Changing, draw: Draw) -> Result<(), String> {
    choosing.needs(pool);
    match choosing.choose(pool, draw) {
        Ok(choice) => {
            let seen = *pool.seen.borrow().get(choice.at).ok_or("no such position")?;
            if !seen.usable {
                return Err("never seen usable".into());
            }
            if choosing.counts().is_some() && (!seen.room || choice.load >= MAXLOAD) {
                return Err("never seen with room".into());
            }
            let all = choosing.alternatives(pool, choice.at, draw, usize::MAX);
            let mut once = all.clone();
            once.sort_unstable();
            once.dedup();
            let odd = once.len() != all.len() || all.iter().any(|&at| at == choice.at || at >= pool.len());
            if odd { Err(format!("after {}: {all:?}", choice.at)) } else { Ok(()) }
        }
        Err(Refusal::NoSet) => Err("refused as empty".into()),
        Err(refusal) if pool.steady.is_some() => Err(format!("refused: {refusal:?}")),
        Err(_) => Ok(()),
    }
}

proptest! {
    #[test]
    fn a_set_that_changes_at_each_look_never_costs_a_selection(
        seed: u64, len in 1usize..200, steady: prop::sample::Index, turn: u64, spare: bool
    ) {
        let draw = if spare { sparing(turn) } else { number(turn) };
        for (algorithm, choosing) in ALGORITHMS {
            for steady in [None, Some(steady.index(len))] {
                let pool = Changing::new(seed, len, steady);
                let wrong = choose(*choosing, &pool, draw);
                prop_assert_eq!(wrong, Ok(()), "algorithm {}", algorithm);
            }
        }
    }
}
