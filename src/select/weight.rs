//! Algorithms 9 and 15, and the ring of 11: in proportion to shares, exactly, for any number of destinations and any shares.
//!
//! The shares of those in play, divided by what they have in common, lie one after the other on a ring of as many slots as
//! their sum. The `n`th selection takes slot `n × step` around the ring, where `step` has nothing in common with the sum
//! and lies near its golden section. So any run of selections as long as the sum takes each slot once (the proportions are
//! exact in it), and consecutive ones lie far apart (short runs are nearly in proportion: the three-distance theorem,
//! V. Sós 1958).
//!
//! When one goes down the ring is made of the others: the proportions are theirs at once. The stock module has 100 slots.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, Tickets, spared};

/// Chooses in proportion.
pub struct Weighted {
    /// The share of a position.
    pub share: fn(&dyn Candidates, usize) -> u32,
    /// Its row of tickets. With [`Tickets::Tier`] only those of the lowest priority value that has a usable one are in play
    /// (as in DNS SRV, RFC 2782).
    pub tickets: Tickets,
}

impl Algorithm for Weighted {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Ticket(self.tickets)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        in_proportion(pool, draw, self.tickets, &|field| {
            let share = |at: usize| Share { at, of: (self.share)(pool, at).into() };
            let usable = (0..field).filter(|&at| pool.usable(at));
            if self.tickets != Tickets::Tier {
                return usable.map(share).collect();
            }
            let mut ranked: Vec<_> = usable.map(|at| (pool.priority(at), share(at))).collect();
            let tier = ranked.iter().map(|(priority, _)| *priority).min();
            ranked.retain(|(priority, _)| Some(*priority) == tier);
            ranked.into_iter().map(|(_, share)| share).collect()
        })
    }
}

/// The share of a position that is in play.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The position.
    pub at: usize,
    /// Its share.
    pub of: u64,
}

/// The position at the slot of the number drawn; the spared last one, if there is no slot. `shares` looks at the first so many
/// positions.
///
/// Shares are values, not questions: the sum and the way around the ring must be made of the same ones, and states and
/// congestion change while a selection runs.
pub fn in_proportion(
    pool: &dyn Candidates,
    draw: Draw,
    row: Tickets,
    shares: &dyn Fn(usize) -> Vec<Share>,
) -> Result<Choice, Refusal> {
    let field = draw.field_of(pool)?;
    let found = pool.on_ring(row, field, draw.number, &|| Ring::of(&shares(field)));
    found.map_or_else(|| spared(pool, draw), |at| Ok(Choice::at(at)))
}

/// Where the slots of a position end: at the next one's first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slots {
    end: u64,
    at: u32,
}

impl Slots {
    /// Words that it is written as.
    pub const WORDS: usize = 2;

    /// Its words.
    pub fn words(self) -> [u64; Self::WORDS] {
        [self.end, self.at.into()]
    }

    /// From its words.
    pub fn of_words([end, at]: [u64; Self::WORDS]) -> Self {
        Self { end, at: at as u32 }
    }
}

/// The ring of those in play.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    /// How many slots it has, and how far the next selection is from one.
    pub round: Round,
    /// The slots of each position, in their order.
    pub slots: Vec<Slots>,
}

/// The way around a ring.
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    sum: u64,
    step: u64,
}

impl Ring {
    /// Of these shares, each position once.
    pub fn of(shares: &[Share]) -> Self {
        let common = shares.iter().fold(0, |common, share| gcd(common, share.of));
        let mut sum = 0;
        let slots = |share: &Share| {
            // Without any share all have the same.
            sum += share.of.checked_div(common).unwrap_or(1);
            Slots { end: sum, at: share.at as u32 }
        };
        let slots = shares.iter().map(slots).collect();
        Self { round: Round::of(sum), slots }
    }

    /// The position at which the `n`th selection ends up.
    pub fn at(&self, n: u64) -> Option<usize> {
        self.round.find(self.slots.len(), |at| self.slots.get(at).copied(), n)
    }
}

impl Round {
    fn of(sum: u64) -> Self {
        // 2^64 divided by the golden ratio.
        const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15;
        let mut step = ((u128::from(sum) * GOLDEN) >> 64) as u64;
        while sum > 0 && gcd(step, sum) != 1 {
            step += 1;
        }
        Self { sum, step }
    }

    /// The position at which the `n`th selection ends up, of the ring with so many slots, which `slots` finds.
    pub fn find(self, len: usize, slots: impl Fn(usize) -> Option<Slots>, n: u64) -> Option<usize> {
        let turn = n.checked_rem(self.sum)?;
        let slot = (u128::from(turn) * u128::from(self.step) % u128::from(self.sum)) as u64;
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low + (high - low) / 2;
            if slots(middle)?.end <= slot { low = middle + 1 } else { high = middle }
        }
        (low < len).then(|| slots(low))?.map(|slots| slots.at as usize)
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

fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
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
