//! Algorithms 9 and 15, and the ring of 11: in proportion to shares, exactly, for any number of destinations and any shares.
//!
//! Model: each usable destination has as many slots on a ring as its share says, after all shares are divided by their greatest common
//! divisor. The `n`th selection takes slot `n × step` modulo the number of slots, where `step` is coprime to that number and near its
//! golden section. So as many selections as there are slots take each slot exactly once: the proportions are exact. And consecutive
//! selections lie far apart on the ring: a short run is nearly in proportion, too (three-distance theorem, V. Sós 1958).
//!
//! When a destination goes down, a new ring is made of the others, so the proportions among those are right at once. (The stock module
//! has 100 slots.)

use super::prefix_sums::gcd;
use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, Tickets, spared};

/// All of a share, in percent.
pub const FULL_PACE: u32 = 100;

/// How an algorithm weighs destinations.
pub trait Weigher {
    /// Its row of tickets.
    fn row(&self) -> Tickets;
    /// The share of a usable position, by its own record and line alone.
    fn share(&self, pool: &dyn Candidates, at: usize) -> u64;
    /// The first position in play, if this is the last usable one that may be chosen.
    fn first(&self, _pool: &dyn Candidates, _last: usize) -> usize {
        0
    }
    /// The shares that usable positions before `field` have instead, when nothing is left of any. They may depend on each other.
    fn instead(&self, _pool: &dyn Candidates, _field: usize) -> Option<Vec<Share>> {
        None
    }
}

/// Chooses in proportion to weights.
pub struct Weighted {
    /// Its row of tickets. With [`Tickets::Tier`] only those of the lowest priority value that has a usable one are in play
    /// (as in DNS SRV, RFC 2782).
    pub tickets: Tickets,
}

impl Weigher for Weighted {
    fn row(&self) -> Tickets {
        self.tickets
    }

    fn share(&self, pool: &dyn Candidates, at: usize) -> u64 {
        u64::from(pool.weight(at)) * u64::from(pool.pace(at))
    }

    /// Without weights all are equal, but those that start slowly.
    fn instead(&self, pool: &dyn Candidates, field: usize) -> Option<Vec<Share>> {
        let last = (0..field).rev().find(|&at| pool.has_slow() && pool.usable(at))?;
        equal_but_slow(pool, self.first(pool, last), field)
    }

    /// Of a tier: its first. Priorities fall along the set.
    fn first(&self, pool: &dyn Candidates, last: usize) -> usize {
        if self.tickets != Tickets::Tier {
            return 0;
        }
        let tier = pool.priority(last);
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = low + (high - low) / 2;
            if pool.priority(middle) > tier { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl Algorithm for Weighted {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Ticket(self.tickets)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        in_proportion(pool, draw, self)
    }

    fn weigher(&self) -> Option<&dyn Weigher> {
        Some(self)
    }
}

/// The shares of usable positions that are equal but for slow starts; nothing if there is none.
pub fn equal_but_slow(pool: &dyn Candidates, first: usize, field: usize) -> Option<Vec<Share>> {
    let usable = (first..field).filter(|&at| pool.has_slow() && pool.usable(at));
    let all: Vec<_> = usable.map(|at| Share { at, of: pool.pace(at).into() }).collect();
    all.iter().any(|share| share.of < FULL_PACE.into()).then_some(all)
}

/// The share of a position that is in play.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The position.
    pub at: usize,
    /// Its share.
    pub of: u64,
}

/// The position at the slot of the number drawn; the spared last one, if there is no slot.
pub fn in_proportion(pool: &dyn Candidates, draw: Draw, weigher: &dyn Weigher) -> Result<Choice, Refusal> {
    let field = draw.field_of(pool)?;
    let found = pool.by_sums(weigher, field, draw.number);
    let found = found.unwrap_or_else(|| Ring::of(&shares(pool, weigher, field)).at(draw.number));
    found.map_or_else(|| spared(pool, draw), |at| Ok(Choice::at(at)))
}

/// The shares of those in play among the first `field` positions.
///
/// They are values, not questions: the sum and the way around the ring must be made of the same ones, and states and
/// congestion change while a selection runs.
fn shares(pool: &dyn Candidates, weigher: &dyn Weigher, field: usize) -> Vec<Share> {
    let mut all: Vec<_> = (0..field)
        .filter(|&at| pool.usable(at))
        .map(|at| Share { at, of: weigher.share(pool, at) })
        .collect();
    let first = all.last().map_or(0, |last| weigher.first(pool, last.at));
    all.retain(|share| share.at >= first);
    let instead = if all.iter().all(|share| share.of == 0) { weigher.instead(pool, field) } else { None };
    instead.unwrap_or(all)
}

/// Where the slots of a position end: at the next one's first.
#[derive(Debug, Clone, Copy, Default)]
struct Slots {
    end: u64,
    at: usize,
}

/// The ring of those in play.
#[derive(Debug, Clone, Default)]
struct Ring {
    /// How many slots it has, and how far the next selection is from one.
    round: Round,
    /// The slots of each position, in their order.
    slots: Vec<Slots>,
}

/// The way around a ring.
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    sum: u64,
    step: u64,
}

impl Ring {
    /// Of these shares, each position once.
    fn of(shares: &[Share]) -> Self {
        let common = shares.iter().fold(0, |common, share| gcd(common, share.of));
        let mut sum = 0;
        let slots = |share: &Share| {
            // Without any share all have the same.
            sum += share.of.checked_div(common).unwrap_or(1);
            Slots { end: sum, at: share.at }
        };
        let slots = shares.iter().map(slots).collect();
        Self { round: Round::of(sum), slots }
    }

    /// The position at which the `n`th selection ends up.
    fn at(&self, n: u64) -> Option<usize> {
        let slot = self.round.slot(n)?;
        let found = self.slots.partition_point(|slots| slots.end <= slot);
        self.slots.get(found).map(|slots| slots.at)
    }
}

impl Round {
    /// Of a ring with so many slots.
    pub fn of(sum: u64) -> Self {
        // 2^64 divided by the golden ratio.
        const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15;
        let mut step = ((u128::from(sum) * GOLDEN) >> 64) as u64;
        while sum > 0 && gcd(step, sum) != 1 {
            step += 1;
        }
        Self { sum, step }
    }

    /// The slot of the `n`th selection.
    pub fn slot(self, n: u64) -> Option<u64> {
        let turn = n.checked_rem(self.sum)?;
        // Both are below the sum, so mostly their product needs no wider number.
        Some(match turn.checked_mul(self.step) {
            Some(product) => product % self.sum,
            None => (u128::from(turn) * u128::from(self.step) % u128::from(self.sum)) as u64,
        })
    }

    /// Its words.
    pub fn words(self) -> [u64; 2] {
        [self.sum, self.step]
    }

    /// From its words.
    pub fn of_words([sum, step]: [u64; 2]) -> Self {
        Self { sum, step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{Dest, Set, at, number, sparing};
    use proptest::prelude::*;

    fn set(weights: &[u32]) -> Set {
        Set(weights.iter().map(|&weight| Dest { weight, ..Dest::default() }).collect())
    }

    fn counts(algorithm: i32, set: &Set, from: u64, runs: u64) -> Vec<u32> {
        let mut counts = vec![0; set.0.len()];
        for n in from..from + runs {
            counts[at(algorithm, set, number(n)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn every_window_of_the_sum_is_exact_for_any_number_of_destinations() {
        for size in [1, 3, 7, 50, 101, 1000] {
            // Sums below, at and above 100, and equal shares.
            for weights in [
                (0..size).map(|at| 1 + at as u32 % 5).collect::<Vec<_>>(),
                vec![1; size],
                (0..size).map(|at| if at == 0 { 100 - (size as u32 - 1).min(99) } else { 1 }).collect(),
            ] {
                let sum: u32 = weights.iter().sum();
                let set = set(&weights);
                for from in [0, 1, 77] {
                    assert_eq!(counts(9, &set, from, sum.into()), weights, "{size} from {from}");
                }
            }
        }
    }

    #[test]
    fn shares_with_a_common_part_are_even_in_short_windows() {
        assert_eq!(counts(9, &set(&[50, 50]), 3, 2), [1, 1]);
        assert_eq!(counts(11, &set(&[70, 30]), 5, 10), [7, 3]);
        assert_eq!(counts(11, &set(&[25; 4]), 2, 4), [1; 4]);
    }

    #[test]
    fn the_share_of_one_that_is_down_goes_to_all_others() {
        let mut set = set(&[1, 2, 1]);
        set.0[2].down = true;
        assert_eq!(counts(11, &set, 0, 3), [1, 2, 0]);
    }

    #[test]
    fn without_shares_all_are_equal_and_zero_beside_a_share_is_none() {
        assert_eq!(counts(9, &set(&[0, 0, 0]), 0, 3), [1, 1, 1]);
        assert_eq!(counts(9, &set(&[0, 4, 0]), 0, 9), [0, 9, 0]);
    }

    #[test]
    fn the_lowest_priority_value_with_a_usable_one_is_the_tier() {
        let row = |priority, weight| Dest { priority, weight, ..Dest::default() };
        let mut set = Set(vec![row(20, 50), row(20, 50), row(10, 70), row(10, 30)]);
        assert_eq!(counts(15, &set, 0, 10), [0, 0, 7, 3]);
        (set.0[2].down, set.0[3].down) = (true, true);
        assert_eq!(counts(15, &set, 0, 10), [5, 5, 0, 0]);
    }

    #[test]
    fn the_spared_one_waits_until_no_other_is_usable() {
        let mut set = set(&[1, 100]);
        assert_eq!(at(9, &set, sparing(7)), Ok(0));
        set.0[0].down = true;
        assert_eq!(at(9, &set, sparing(7)), Ok(1));
        set.0[1].down = true;
        assert_eq!(at(9, &set, sparing(7)), Err(Refusal::NoneActive));
    }

    #[test]
    fn one_that_starts_slowly_has_a_part_of_its_share() {
        let slow = |priority, weight, slower| Dest { priority, weight, slower, ..Dest::default() };
        let weighted = Set(vec![slow(0, 2, 0), slow(0, 2, 75), slow(0, 1, 0)]);
        assert_eq!(counts(9, &weighted, 5, 7), [4, 1, 2]);
        // Without weights, too.
        for algorithm in [9, 11] {
            let equal = Set(vec![slow(0, 0, 0), slow(0, 0, 90), slow(0, 0, 0)]);
            assert_eq!(counts(algorithm, &equal, 5, 21), [10, 1, 10]);
        }
        let tiers = Set(vec![slow(2, 0, 0), slow(1, 0, 50), slow(1, 0, 0)]);
        assert_eq!(counts(15, &tiers, 0, 3), [0, 1, 2]);
        let all = Set(vec![slow(0, 3, 90), slow(0, 1, 90)]);
        assert_eq!(counts(9, &all, 0, 4), [3, 1]);
    }

    #[test]
    fn shares_may_be_as_large_as_their_type() {
        let set = set(&[u32::MAX, u32::MAX - 1, 1]);
        let counts = counts(9, &set, u64::MAX - 10_001, 10_000);
        assert!(counts[0].abs_diff(counts[1]) < 100, "{counts:?}");
    }

    proptest! {
        /// No run of selections strays from the proportions by more than a few.
        #[test]
        fn short_runs_are_nearly_in_proportion(
            weights in prop::collection::vec(1u32..20, 1..12), from in 0u64..1000, runs in 1u64..200
        ) {
            let sum: u32 = weights.iter().sum();
            let counts = counts(9, &set(&weights), from, runs);
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from(*weight) * runs as f64 / f64::from(sum);
                prop_assert!((f64::from(*count) - due).abs() <= 5.0, "{counts:?} of {weights:?} in {runs}");
            }
        }
    }
}
