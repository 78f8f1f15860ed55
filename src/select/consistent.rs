//! Algorithm 101: a hash that stays put. The same text goes to the same destination, and where one comes, goes or is down, only the
//! texts move that must: its own.
//!
//! Model: weighted rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998) of slots. A key falls into one
//! of [`SLOTS`]. Each destination asks for all slots in an order of its own, and the more often the more weight it has; a slot belongs to
//! who asks for it first. When a destination asks depends on its identity and its weight alone. So it takes slots from others when it
//! comes, leaves its slots to the others when it goes, and no slot ever goes from one of the others to another of them; and every
//! server with the same list has the same slots, also after a restart.
//!
//! A key whose destination is not usable falls into another slot, as if it were another key, and so on. So the keys of one that is down
//! are shared by all others, each by its weight, and come back when it does.
//!
//! With a bound (`hash_balance`) a destination that has all the calls of its share is passed over as one that is down: so a hot key spills to one
//! and the same other destination, as long as that has room in its share, too.
//!
//! Whose a slot is can be found for all slots at once ([`owners`]), which is kept for a set, or for one ([`owner`]), with the same result.

use super::{Algorithm, Candidates, Choice, Draw, HashedText, Needs, Refusal, around, first_from, spared};
use xxhash_rust::xxh3::xxh3_64;

/// Slots of a set, 2 to this power. More make shares more even and take more memory.
const BITS: u32 = 18;
/// Slots of a set.
pub const SLOTS: usize = 1 << BITS;
const MASK: u32 = SLOTS as u32 - 1;
/// Into so many slots a key falls, one after the other, until one belongs to a usable destination.
const WAYS: u64 = 64;

/// Chooses by slot.
pub struct Consistent;

impl Algorithm for Consistent {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Hash(HashedText::Key)
    }

    fn retries_with_number(&self) -> bool {
        true
    }

    fn next(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        self.choose(pool, draw)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        let field = draw.field_of(pool)?;
        if pool.has_shares() {
            let fits = |at: usize| at < field && pool.usable(at) && !pool.has_its_share(at);
            let found = ways(pool, draw.number).find(|&at| fits(at));
            // Nearly all are down, or have their shares.
            let walk = || first_from(pool, Draw { number: mixed(draw.number), ..draw }, fits).ok();
            if let Some(choice) = found.map(Choice::at).or_else(walk) {
                return Ok(choice);
            }
        }
        let found = ways(pool, draw.number).find(|&at| at < field && pool.usable(at));
        // Nearly all are down.
        let found = found.or_else(|| pool.nth_usable(field, mixed(draw.number)));
        found.map_or_else(|| spared(pool, draw), |at| Ok(Choice::at(at)))
    }

    /// Those to which the key falls next, and then the rest.
    fn alternatives(&self, pool: &dyn Candidates, chosen: usize, draw: Draw, most: usize) -> Vec<usize> {
        let field = draw.field(pool.len());
        let mut all = Vec::new();
        for at in ways(pool, draw.number) {
            if all.len() < most && at != chosen && at < field && !all.contains(&at) && pool.usable(at) {
                all.push(at);
            }
        }
        if all.len() < most {
            let first = all.clone();
            let rest = around(pool, chosen, draw, usize::MAX).into_iter().filter(|at| !first.contains(at));
            all.extend(rest.take(most - first.len()));
        }
        all
    }
}

/// The positions to which a key falls, one after the other. Some come more than once.
fn ways(pool: &dyn Candidates, key: u64) -> impl Iterator<Item = usize> + '_ {
    (0..WAYS).filter_map(move |way| pool.owner(slot(key, way)))
}

/// The slot into which a key falls, this way.
fn slot(key: u64, way: u64) -> usize {
    // The golden ratio as a number of 64 bits: such steps end up far from one another.
    (mixed(key.wrapping_add(way.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> (u64::BITS - BITS)) as usize
}

/// A number in which each bit depends on all bits (the end of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// What the usable destinations of a set have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shares {
    /// Calls that are up.
    pub calls: u64,
    /// Weights.
    pub weights: u64,
    /// How many they are.
    pub lines: u64,
}

impl Shares {
    /// Whether one with this load and weight has all the calls that it may have before its keys go on to others: so many percent more than its
    /// share, rounded up (Mirrokni, Thorup and Zadimoghaddam, *Consistent Hashing with Bounded Loads*, 2016).
    pub fn has_its_share(self, percent: u32, load: u32, weight: u32) -> bool {
        let (own, all) = if self.weights == 0 { (1u64, self.lines) } else { (weight.into(), self.weights) };
        let bound = u128::from(100 + u64::from(percent)) * u128::from(own) * u128::from(self.calls + 1);
        // Without a division: a load is a whole number.
        u128::from(load) * 100 * u128::from(all.max(1)) >= bound
    }
}

/// A hash of what a destination is known by, on every server the same: its `duid`, else its URI, without regard to case.
pub fn identity(duid: &[u8], uri: &[u8]) -> u64 {
    xxh3_64(&if duid.is_empty() { uri } else { duid }.to_ascii_lowercase())
}

/// What a destination is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// A hash of what it is known by.
    pub identity: u64,
    /// Its share; 0 gets no slot.
    pub weight: u32,
}

/// The order in which a destination asks for slots: a permutation of them.
#[derive(Clone, Copy)]
struct Order([(u32, u32); ROUNDS]);

/// Rounds of a permutation. Each multiplies, adds, and folds the upper half of the bits into the lower one; all of this can be undone.
const ROUNDS: usize = 3;

impl Order {
    fn of(identity: u64) -> Self {
        let mut seed = identity;
        Self([(); ROUNDS].map(|()| {
            seed = mixed(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
            (seed as u32 | 1, (seed >> 32) as u32)
        }))
    }

    /// The slot for which it asks in this turn.
    fn slot(self, turn: u32) -> u32 {
        self.0.iter().fold(turn, |number, (factor, more)| {
            let number = number.wrapping_mul(*factor).wrapping_add(*more) & MASK;
            number ^ number >> (BITS / 2)
        })
    }

    /// The turn in which it asks for this slot.
    fn turn(self, slot: u32) -> u32 {
        self.0.iter().rev().fold(slot, |number, (factor, more)| {
            let number = (number ^ number >> (BITS / 2)).wrapping_sub(*more);
            number.wrapping_mul(inverse(*factor)) & MASK
        })
    }
}

/// What an odd number must be multiplied by to give 1 (Newton's method: each step doubles the bits that are right, and 3 are at first).
fn inverse(odd: u32) -> u32 {
    (0..4).fold(odd, |found, _| found.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(found))))
}

/// When the first of all turns that come at random times, as many as there are slots, would be this one: so that who has twice the
/// weight, and asks at half of each time, is the first for two of three slots.
fn time(turn: u32) -> f64 {
    -(-(f64::from(turn) + 0.5) / SLOTS as f64).ln_1p()
}

/// When somebody asks for a slot. The least is the first; of two at one time the one with the smaller identity.
type Asked = (f64, u64);

/// Whose this slot is; nobody's where none has any weight.
pub fn owner(slot: usize, claims: impl Iterator<Item = Claim>) -> Option<usize> {
    let mut first: Option<(usize, Asked)> = None;
    for (at, claim) in claims.enumerate().filter(|(_, claim)| claim.weight > 0) {
        let turn = Order::of(claim.identity).turn(slot as u32);
        let asked = (time(turn) / f64::from(claim.weight), claim.identity);
        if first.is_none_or(|(_, first)| asked < first) {
            first = Some((at, asked));
        }
    }
    first.map(|(at, _)| at)
}

/// Whose the slots are, all of them; nothing where none has any weight.
pub fn owners(claims: &[Claim]) -> Option<Vec<u32>> {
    let all: f64 = claims.iter().map(|claim| f64::from(claim.weight)).sum();
    if all <= 0.0 {
        return None;
    }
    // Until then so many ask that hardly any slot is left: one in e to the power of this.
    const OFTEN: f64 = 16.0;
    let horizon = OFTEN / all;
    let most = claims.iter().map(|claim| claim.weight).max().unwrap_or(0);
    let times: Vec<f64> =
        (0..SLOTS as u32).map(time).take_while(|time| time / f64::from(most) <= horizon).collect();
    let mut asked: Vec<Asked> = vec![(f64::INFINITY, u64::MAX); SLOTS];
    let mut owners = vec![u32::MAX; SLOTS];
    for (at, claim) in (0u32..).zip(claims).filter(|(_, claim)| claim.weight > 0) {
        let (order, weight) = (Order::of(claim.identity), f64::from(claim.weight));
        let turns = (0u32..).zip(times.iter().map(|time| time / weight));
        for (turn, time) in turns.take_while(|(_, time)| *time <= horizon) {
            let slot = order.slot(turn) as usize;
            let (Some(asked), Some(owner)) = (asked.get_mut(slot), owners.get_mut(slot)) else { continue };
            if (time, claim.identity) < *asked {
                (*asked, *owner) = ((time, claim.identity), at);
            }
        }
    }
    for (slot, owner) in owners.iter_mut().enumerate().filter(|(_, owner)| **owner == u32::MAX) {
        *owner = self::owner(slot, claims.iter().copied())? as u32;
    }
    Some(owners)
}

/// What the destinations of a set are here. Where none has a weight all are equal, as in algorithm 9.
pub fn claims(pool: &(impl Candidates + ?Sized)) -> impl Iterator<Item = Claim> + '_ {
    let weighted = (0..pool.len()).any(|at| pool.weight(at) > 0);
    (0..pool.len()).map(move |at| {
        let weight = if weighted { pool.weight(at) } else { 1 };
        Claim { identity: pool.identity(at), weight }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{Dest, Set, at, number, sparing, usable};
    use proptest::prelude::*;

    fn claim(identity: u64, weight: u32) -> Claim {
        Claim { identity: mixed(identity), weight }
    }

    fn equal(count: u64) -> Vec<Claim> {
        (1..=count).map(|n| claim(n, 1)).collect()
    }

    /// Slots of each.
    fn shares(claims: &[Claim]) -> Vec<u32> {
        let mut shares = vec![0; claims.len()];
        owners(claims).unwrap().into_iter().for_each(|owner| shares[owner as usize] += 1);
        shares
    }

    /// The identities to which the slots belong.
    fn identities(claims: &[Claim]) -> Vec<u64> {
        owners(claims).unwrap().into_iter().map(|owner| claims[owner as usize].identity).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn each_slot_has_one_turn(identity: u64, turn in 0..SLOTS as u32) {
            let order = Order::of(identity);
            prop_assert!(order.slot(turn) <= MASK);
            prop_assert_eq!(order.turn(order.slot(turn)), turn);
        }

        #[test]
        fn one_slot_alone_is_whose_it_is_among_all(
            weights in proptest::collection::vec(0u32..5, 1..9),
            slots in proptest::collection::vec(0..SLOTS, 50),
        ) {
            let claims: Vec<_> = (1..).zip(weights).map(|(n, weight)| claim(n, weight)).collect();
            let Some(owners) = owners(&claims) else { return Ok(()) };
            for slot in slots {
                prop_assert_eq!(owner(slot, claims.iter().copied()), Some(owners[slot] as usize));
            }
        }
    }

    #[test]
    fn shares_are_as_weights_say() {
        for (weights, off) in [
            (&[1; 6][..], 0.02),
            (&[1, 9], 0.02),
            (&[1, 2, 3, 4], 0.02),
            (&[5, 0, 50], 0.02),
            (&[1; 100], 0.06),
        ] {
            let claims: Vec<_> = (1..).zip(weights).map(|(n, &weight)| claim(n, weight)).collect();
            let all: u32 = weights.iter().sum();
            for (share, &weight) in shares(&claims).into_iter().zip(weights) {
                let fair = SLOTS as f64 * f64::from(weight) / f64::from(all);
                assert!((f64::from(share) - fair).abs() <= fair * off, "{weights:?}: {share}, not {fair}");
            }
        }
    }

    #[test]
    fn who_comes_or_goes_moves_its_own_slots_and_no_other() {
        let all = equal(100);
        let before = identities(&all);
        let gone = all[40];
        let without: Vec<_> = all.iter().copied().filter(|one| *one != gone).collect();
        let after = identities(&without);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(before, _)| *before == gone.identity));
        let moved = moved.count() as f64 / SLOTS as f64;
        assert!(moved > 0.009 && moved <= 0.011, "{moved}");
        // In any order of the lines.
        let reversed: Vec<_> = without.iter().rev().copied().collect();
        assert_eq!(identities(&reversed), after);
        // More weight takes, and gives nothing away.
        let heavier: Vec<_> =
            all.iter().map(|&one| if one == gone { Claim { weight: 3, ..one } } else { one }).collect();
        let taken = identities(&heavier);
        assert!(before.iter().zip(&taken).all(|(before, after)| before == after || *after == gone.identity));
    }

    #[test]
    fn keys_of_one_that_is_down_are_shared_by_all_others_and_no_other_key_moves() {
        let up = usable(&[true; 6]);
        let down = usable(&[true, true, false, true, true, true]);
        let keys = 20_000;
        let mut counts = [0; 6];
        for key in 0..keys {
            let (before, after) = (at(101, &up, number(key)).unwrap(), at(101, &down, number(key)).unwrap());
            assert!(before == after || before == 2);
            counts[after] += 1;
        }
        assert_eq!(counts[2], 0);
        assert!(counts.iter().all(|&count| count <= 4_200), "{counts:?}");
    }

    #[test]
    fn the_last_one_left_gets_all_and_none_is_refused() {
        let mut states = [false; 40];
        states[31] = true;
        assert!((0..20).all(|key| at(101, &usable(&states), number(key)) == Ok(31)));
        assert_eq!(at(101, &usable(&[false; 3]), number(0)), Err(Refusal::NoneActive));
        assert_eq!(at(101, &usable(&[]), number(0)), Err(Refusal::NoSet));
        assert!((0..50).all(|key| at(101, &usable(&[true; 3]), sparing(key)) != Ok(2)));
        assert_eq!(at(101, &usable(&[false, false, true]), sparing(0)), Ok(2));
    }

    fn bounded(weights: &[u32], bound: u32) -> Set {
        Set(weights.iter().map(|&weight| Dest { weight, bound, ..Dest::default() }).collect())
    }

    #[test]
    fn a_hot_key_spills_to_one_and_the_same_other_and_no_other_key_moves() {
        let mut set = bounded(&[0; 6], 25);
        // The bound is a quarter more than a sixth of 65, rounded up: 14.
        set.0.iter_mut().for_each(|one| one.load = 10);
        let first = at(101, &set, number(7)).unwrap();
        let before: Vec<_> = (0..500).map(|key| at(101, &set, number(key)).unwrap()).collect();
        set.0[first].load = 14;
        let mut down = bounded(&[0; 6], 0);
        down.0[first].down = true;
        for (key, before) in (0..).zip(before) {
            let after = at(101, &set, number(key)).unwrap();
            assert!(
                after == before && before != first
                    || before == first && Ok(after) == at(101, &down, number(key))
            );
        }
        set.0[first].load = 13;
        assert_eq!(at(101, &set, number(7)), Ok(first));
    }

    #[test]
    fn a_bound_is_more_than_the_share_of_all_calls_and_the_one_that_comes_rounded_up() {
        let shares = Shares { calls: 9, weights: 5, lines: 3 };
        // 1.25 of a fifth of ten, 2.5; of two fifths, 5.
        let full = |load, weight| shares.has_its_share(25, load, weight);
        assert_eq!([full(2, 1), full(3, 1), full(4, 2), full(5, 2)], [false, true, false, true]);
        assert!(full(0, 0), "without weight beside others it has no share");
        let equal = Shares { weights: 0, ..shares };
        // A third of ten, times 1.25: 4.17.
        assert_eq!([4, 5].map(|load| equal.has_its_share(25, load, 0)), [false, true]);
        assert!(!Shares { calls: 0, ..equal }.has_its_share(1, 0, 0));
        let most = Shares { calls: u64::MAX >> 1, weights: u64::MAX >> 1, lines: 1 };
        assert!(!most.has_its_share(u32::MAX, u32::MAX - 1, u32::MAX));
    }

    proptest! {
        /// With one key alone, which is as hot as can be.
        #[test]
        fn no_destination_passes_its_bound_and_no_call_is_refused(
            weights in proptest::collection::vec(0u32..5, 1..9), bound in 1u32..200, key: u64, calls in 1u32..150
        ) {
            let mut set = bounded(&weights, bound);
            for _ in 0..calls {
                let chosen = at(101, &set, number(key)).unwrap();
                prop_assert!(!set.has_its_share(chosen));
                set.0[chosen].load += 1;
            }
            let all: u32 = weights.iter().sum();
            for one in &set.0 {
                let share = match all {
                    0 => 1.0 / weights.len() as f64,
                    all => f64::from(one.weight) / f64::from(all),
                };
                let most = f64::from(calls) * share * (1.0 + f64::from(bound) / 100.0);
                prop_assert!(f64::from(one.load) <= most.ceil());
            }
        }
    }

    #[test]
    fn without_weight_beside_others_it_gets_nothing_but_when_no_other_is_left() {
        let one = |weight, down| Dest { weight, down, ..Dest::default() };
        let set = Set(vec![one(0, false), one(2, false), one(1, false)]);
        assert!((0..200).all(|key| at(101, &set, number(key)) != Ok(0)));
        let set = Set(vec![one(0, false), one(2, true)]);
        assert_eq!(at(101, &set, number(7)), Ok(0));
    }

    #[test]
    fn alternatives_are_the_ways_of_the_key_and_then_the_rest() {
        let set = usable(&[true, true, false, true, true]);
        for key in 0..50 {
            let first = at(101, &set, number(key)).unwrap();
            let all = Consistent.alternatives(&set, first, number(key), 9);
            let mut sorted = all.clone();
            sorted.push(first);
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 3, 4], "{key}");
            // The first of them is where the key goes if the chosen one is down.
            let mut states = [true, true, false, true, true];
            states[first] = false;
            assert_eq!(at(101, &usable(&states), number(key)), Ok(all[0]), "{key}");
            assert_eq!(Consistent.alternatives(&set, first, number(key), 2), all[..2], "{key}");
        }
    }
}
