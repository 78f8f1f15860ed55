//! How a destination is chosen: one file for each algorithm, over a read-only view of a set ([`Candidates`]).
//!
//! Model: an [`Algorithm`] says which number it [`Needs`] beside the set: a hash, a turn, a ticket or a random number. The caller
//! gets that number, passes it in a [`Draw`], and receives a position in the set. Choosing skips destinations that are not usable;
//! it does not count the call.
//!
//! To add an algorithm, write a file with a type that implements [`Algorithm`], and add its line to [`ALGORITHMS`].
//!
//! Not here: clocks, locks, health, SIP.
#![forbid(unsafe_code)]

pub mod attempts;
mod by_priority;
mod call_load;
#[cfg(test)]
mod changing;
mod congestion;
pub mod consistent;
pub mod explain;
pub mod hash;
pub mod latency;
mod parallel;
pub mod penalty;
pub mod prefix_sums;
mod priority;
mod random;
mod relative;
mod round_robin;
pub mod weight;

pub use call_load::least_loaded;
pub use relative::{capacity, relative};

use core::ops::Range;
use smallvec::SmallVec;
use weight::{Weigher, Weighted};

/// The algorithms by the number that scripts give.
pub const ALGORITHMS: &[(i32, &dyn Algorithm)] = &[
    (0, &hash::ByHash(HashedText::CallId)),
    (1, &hash::ByHash(HashedText::FromUri)),
    (2, &hash::ByHash(HashedText::ToUri)),
    (3, &hash::ByHash(HashedText::RequestUri)),
    (4, &round_robin::RoundRobin),
    (5, &hash::ByHashOrTurn(HashedText::AuthUser)),
    (6, &random::Random),
    (7, &hash::ByHash(HashedText::HashPvar)),
    (8, &priority::Priority),
    (9, &Weighted { tickets: Tickets::Weight }),
    (CALL_LOAD, &call_load::LeastLoaded(Measure::Calls)),
    (11, &congestion::RelativeWeight),
    (PARALLEL, &parallel::Parallel),
    (13, &latency::ByLatency),
    (14, &by_priority::TurnOrFirst),
    (15, &Weighted { tickets: Tickets::Tier }),
    (OVERLOAD, &round_robin::RoundRobinLessOverload),
    // Ours begin at 100, so that they never meet a number of Kamailio's.
    (RELATIVE_LOAD, &call_load::LeastLoaded(Measure::Relative)),
    (CONSISTENT, &consistent::Consistent),
];

// Each number is there once.
const _: () = {
    let mut at = 0;
    while at < ALGORITHMS.len() {
        let mut other = at + 1;
        while other < ALGORITHMS.len() {
            #[allow(clippy::indexing_slicing)] // a constant has no iterators; both are below the length
            let same = ALGORITHMS[at].0 == ALGORITHMS[other].0;
            assert!(!same, "two algorithms have one number");
            other += 1;
        }
        at += 1;
    }
};

/// The algorithm that counts calls.
pub const CALL_LOAD: i32 = 10;
/// The one that counts them relative to what each destination may have.
pub const RELATIVE_LOAD: i32 = 100;
/// The hash that stays put.
pub const CONSISTENT: i32 = 101;
/// The algorithm that overload control takes part in.
pub const OVERLOAD: i32 = 64;
/// The algorithm that sends to all.
pub const PARALLEL: i32 = 12;

/// The algorithm of this number.
pub fn algorithm(number: i32) -> Option<&'static dyn Algorithm> {
    // Most stand in the row of their number.
    let guess = usize::try_from(number).ok().and_then(|row| ALGORITHMS.get(row));
    let is_it = |row: &&(i32, _)| row.0 == number;
    guess.filter(is_it).or_else(|| ALGORITHMS.iter().find(is_it)).map(|(_, algorithm)| *algorithm)
}

/// The ways to weigh, each once.
pub fn weighers() -> impl Iterator<Item = &'static dyn Weigher> {
    ALGORITHMS.iter().filter_map(|(_, algorithm)| algorithm.weigher())
}

/// What is compared by an algorithm that counts calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The calls of each destination.
    Calls,
    /// The same relative to what it may have.
    Relative,
}

/// What the algorithm of this number compares, if it counts calls.
pub fn measure(number: i32) -> Option<Measure> {
    algorithm(number)?.counts()
}

/// The candidates of a choice: one set as an algorithm sees it. Positions are `0..len()`, in the order of the set.
pub trait Candidates {
    /// Destinations in the set.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether calls may go to this one: neither inactive nor disabled.
    fn usable(&self, at: usize) -> bool;
    /// The first of these positions that is usable.
    fn first_usable(&self, mut among: Range<usize>) -> Option<usize> {
        among.find(|&at| self.usable(at))
    }
    /// Adds those of these positions that are usable, until there are so many.
    fn add_usable(&self, mut among: Range<usize>, most: usize, to: &mut Vec<usize>) {
        while to.len() < most {
            let Some(at) = self.first_usable(among.clone()) else { return };
            among.start = at + 1;
            to.push(at);
        }
    }
    /// One of the usable ones among the first `field` positions: the number modulo how many they are says which.
    fn nth_usable(&self, field: usize, number: u64) -> Option<usize> {
        nth_usable(self, field, number)
    }
    /// Calls that it has now.
    fn load(&self, at: usize) -> u32;
    /// Calls that it is ranked by beyond those, because it has failed some.
    fn penalty(&self, at: usize) -> u32 {
        let _ = at;
        0
    }
    /// Calls that it may have; 0 is no limit.
    fn maxload(&self, at: usize) -> u32;
    /// How many it may have that the call at hand is one of: more where that has priority; 0 is no limit.
    fn limit(&self, at: usize) -> u32 {
        self.maxload(at)
    }
    /// Whether the capacity that it shares with others has all the calls that those may have.
    fn is_shared_full(&self, at: usize) -> bool {
        let _ = at;
        false
    }
    /// Whether it has all the calls that it may have, or its capacity has.
    fn is_full(&self, at: usize) -> bool {
        is_full(self.load(at), self.limit(at)) || self.is_shared_full(at)
    }
    /// A hash of what it is known by: its `duid`, or its URI.
    fn identity(&self, at: usize) -> u64;
    /// The position to which a slot belongs ([`consistent`]).
    fn owner(&self, slot: usize) -> Option<usize> {
        consistent::owner(slot, consistent::claims(self))
    }
    /// Whether shares of calls bound how many keys a destination gets.
    fn has_shares(&self) -> bool {
        false
    }
    /// Whether it has all the calls of its share ([`consistent::Shares`]).
    fn has_its_share(&self, at: usize) -> bool {
        let _ = at;
        false
    }
    /// When call load last chose it: a later choice has a larger number.
    fn last_chosen(&self, at: usize) -> u64;
    /// Its place in the order of the set: as configured.
    fn priority(&self, at: usize) -> i32;
    /// Percent of its share that it gets: less than all while it starts slowly.
    fn pace(&self, at: usize) -> u32 {
        let _ = at;
        weight::FULL_PACE
    }
    /// Whether any may get less than all of its share.
    fn has_slow(&self) -> bool {
        false
    }
    /// For which choice it waits because it starts slowly: until then it takes a counted call only where no other that waits less has room. 0 is
    /// that it does not wait.
    fn waits(&self, at: usize) -> u64 {
        let _ = at;
        0
    }
    /// Its share in algorithms 9 and 15.
    fn weight(&self, at: usize) -> u32;
    /// Its share in algorithm 11.
    fn rweight(&self, at: usize) -> u32;
    /// Those of the first `field` positions that are usable, by priority after latency, the highest first; among equals in turn,
    /// beginning at `turn`. At most so many.
    fn by_latency(&self, field: usize, turn: usize, most: usize) -> Positions {
        latency::sorted(self, field, turn, most)
    }
    /// How long its replies take, in milliseconds; 0 where it is not known. With congestion control how much longer than
    /// usual.
    fn latency(&self, at: usize) -> u32;
    /// With congestion control (`cc=1`): how much longer than usual its replies take, in milliseconds.
    fn congestion(&self, at: usize) -> Option<u32>;
    /// Whether overload control takes it out of this one selection. Asking moves its account on.
    fn overloaded(&self, at: usize) -> bool;
    /// The position at which the `n`th selection in proportion to shares ends up, among the first `field` positions, for whoever
    /// keeps sums of shares. `None`: the caller must look at all.
    fn by_sums(&self, weigher: &dyn Weigher, field: usize, n: u64) -> Option<Option<usize>> {
        let _ = (weigher, field, n);
        None
    }
}

/// Positions. Most often one is asked for, which takes no allocation.
pub type Positions = SmallVec<[usize; 1]>;

/// The number that an algorithm wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// None.
    Nothing,
    /// The hash of a text of the message.
    Hash(HashedText),
    /// The same, or the set's turn for a message without that text.
    HashOrTurn(HashedText),
    /// The set's turn: the position after the one chosen last.
    Turn,
    /// One more than the last time, whatever was chosen. Each algorithm has a row of its own.
    Ticket(Tickets),
    /// Any.
    Random,
}

/// Where the number comes from that an algorithm [`Needs`].
pub trait Inputs {
    /// The hash of a text of the message; `None` where it has no such text.
    fn hash(&mut self, text: HashedText) -> Option<u32>;
    /// The set's turn.
    fn turn(&mut self) -> u32;
    /// The next ticket of this row.
    fn ticket(&mut self, row: Tickets) -> u64;
    /// A random number.
    fn random(&mut self) -> u64;
}

impl Needs {
    /// The number; the text if it is the hash of one that the message does not have.
    pub fn number(self, inputs: &mut impl Inputs) -> Result<u64, HashedText> {
        Ok(match self {
            Self::Nothing => 0,
            Self::Hash(text) => inputs.hash(text).ok_or(text)?.into(),
            Self::HashOrTurn(text) => match inputs.hash(text) {
                Some(hash) => hash.into(),
                None => inputs.turn().into(),
            },
            Self::Turn => inputs.turn().into(),
            Self::Ticket(row) => inputs.ticket(row),
            Self::Random => inputs.random(),
        })
    }
}

macro_rules! tickets {
    ($($row:ident),*) => {
        /// A row of tickets of a set: numbers that count its selections, for one algorithm.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // what the algorithms weigh
        pub enum Tickets {
            $($row),*
        }

        impl Tickets {
            /// All rows, in their order.
            pub const ALL: &[Self] = &[$(Self::$row),*];
        }
    };
}
tickets!(Weight, RelativeWeight, Tier);

/// A text of the message that is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // names of header fields
pub enum HashedText {
    CallId,
    FromUri,
    ToUri,
    RequestUri,
    AuthUser,
    /// What the parameter `hash_pvar` gives.
    HashPvar,
    /// The same, or the Call-ID where that parameter is not set. Hashed by XXH3, not as the stock module does.
    Key,
}

impl HashedText {
    /// As the manual and operators call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallId => "Call-ID",
            Self::FromUri => "From URI",
            Self::ToUri => "To URI",
            Self::RequestUri => "request URI",
            Self::AuthUser => "user of Proxy-Authorization or Authorization",
            Self::HashPvar => "text of hash_pvar",
            Self::Key => "text of hash_pvar or Call-ID",
        }
    }
}

/// The inputs that the caller computed for the algorithm.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    /// The number that the algorithm needs.
    pub number: u64,
    /// The last destination of the set is kept for when no other is left (`use_default`).
    pub spare_last: bool,
}

impl Draw {
    /// How many of `len` destinations may be chosen: all, or all but the spared last one.
    pub fn field(self, len: usize) -> usize {
        if self.spare_last && len > 1 { len - 1 } else { len }
    }

    /// The same for a set that must not be empty.
    fn field_of(self, pool: &dyn Candidates) -> Result<usize, Refusal> {
        match self.field(pool.len()) {
            0 => Err(Refusal::NoSet),
            field => Ok(field),
        }
    }
}

/// A way to choose.
pub trait Algorithm: Sync {
    /// Which number the caller must pass for this set.
    fn needs(&self, pool: &dyn Candidates) -> Needs;
    /// The position to use.
    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal>;
    /// What it compares, if the call must be counted in one step with the choice.
    fn counts(&self) -> Option<Measure> {
        None
    }
    /// How it weighs, if it chooses in proportion to shares.
    fn weigher(&self) -> Option<&dyn Weigher> {
        None
    }
    /// Whether the next one after a failure comes of the same number as the first one.
    fn retries_with_number(&self) -> bool {
        false
    }
    /// The position to use after another destination has failed, chosen at that moment. `draw.number` is the position after the one
    /// that failed, or the same as before ([`Algorithm::retries_with_number`]), and none of those that were tried is usable in `pool`.
    fn next(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, draw)
    }
    /// The positions to try after the chosen one fails, in their order; at most so many.
    fn alternatives(&self, pool: &dyn Candidates, chosen: usize, draw: Draw, most: usize) -> Vec<usize> {
        around(pool, chosen, draw, most)
    }
}

/// A chosen position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The position.
    pub at: usize,
    /// The load that was seen there; counting succeeds only if it is still so.
    pub load: u32,
}

impl Choice {
    /// A position that is not counted.
    fn at(at: usize) -> Self {
        Self { at, load: 0 }
    }
}

/// Why none was chosen; of several reasons the last one counts. A new one goes into [`Refusal::ALL`] as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No such set, or nothing in it.
    NoSet,
    /// All are inactive or disabled.
    NoneActive,
    /// None is active, but some would be if they were not drained.
    Drained,
    /// Some are active, and all of them are full.
    NoRoom,
    /// Some would be chosen, but have had all new calls for now that their rates allow.
    OverRate,
}

impl Refusal {
    /// All causes, in their order.
    pub const ALL: [Self; 5] = [Self::NoSet, Self::NoneActive, Self::Drained, Self::NoRoom, Self::OverRate];

    /// As figures name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoSet => "no_set",
            Self::NoneActive => "none_active",
            Self::Drained => "drained",
            Self::NoRoom => "no_room",
            Self::OverRate => "over_rate",
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoSet => "the set is empty",
            Self::NoneActive => "none active",
            Self::Drained => "drained",
            Self::NoRoom => "no room",
            Self::OverRate => "over the rate",
        }
    }
}

/// How many calls a destination may have: with this `maxload`, where 0 is no limit, and what comes beyond that for calls with priority.
pub const fn limit(maxload: u32, reserve: u32, priority: bool) -> u32 {
    if maxload == 0 || !priority { maxload } else { maxload.saturating_add(reserve) }
}

/// Whether a destination with this load has all the calls that it may have; a limit of 0 is none.
pub const fn is_full(load: u32, maxload: u32) -> bool {
    maxload != 0 && load >= maxload
}

/// The usable destination at the position that the number gives, else the next usable one after it, around the set; the spared last
/// one only if there is no other.
fn usable_from(pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
    let len = pool.len();
    let field = match draw.field(len) {
        0 => return Err(Refusal::NoSet),
        field => field as u64,
    };
    let start = if draw.number < field { draw.number } else { draw.number % field } as usize;
    let parts = [start..field as usize, 0..start, field as usize..len];
    let found = parts.into_iter().find_map(|part| pool.first_usable(part));
    found.map(Choice::at).ok_or(Refusal::NoneActive)
}

/// The same for what else a usable destination must be. Each is asked once.
fn first_from(pool: &dyn Candidates, draw: Draw, fits: impl Fn(usize) -> bool) -> Result<Choice, Refusal> {
    let field = draw.field_of(pool)?;
    let start = (draw.number % field as u64) as usize;
    for mut part in [start..field, 0..start, field..pool.len()] {
        while let Some(at) = pool.first_usable(part.clone()) {
            if fits(at) {
                return Ok(Choice::at(at));
            }
            part.start = at + 1;
        }
    }
    Err(Refusal::NoneActive)
}

/// [`Candidates::nth_usable`] by looking at all of them. States are looked at once: counted and then counted off, they may be fewer
/// the second time.
pub fn nth_usable(pool: &(impl Candidates + ?Sized), field: usize, number: u64) -> Option<usize> {
    let usable: Vec<usize> = (0..field).filter(|&at| pool.usable(at)).collect();
    let nth = number.checked_rem(usable.len() as u64)?;
    usable.get(nth as usize).copied()
}

/// The spared last one, when no other is usable.
fn spared(pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
    let mut rest = draw.field(pool.len())..pool.len();
    rest.find(|&at| pool.usable(at)).map(Choice::at).ok_or(Refusal::NoneActive)
}

/// The usable positions after `first`, then those before it, then the spared last one, if it is not `first`: that one
/// usable or not, as in the stock module. At most so many.
fn around(pool: &dyn Candidates, first: usize, draw: Draw, most: usize) -> Vec<usize> {
    let len = pool.len();
    let field = draw.field(len);
    let mut all = Vec::with_capacity(most.min(len));
    for part in [first + 1..field, 0..first.min(field)] {
        pool.add_usable(part, most, &mut all);
    }
    let spared = (field..len).filter(|&at| at != first);
    all.extend(spared.take(most.saturating_sub(all.len())));
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A destination in a test.
    #[derive(Clone, Copy, Default)]
    pub struct Dest {
        pub down: bool,
        pub load: u32,
        pub maxload: u32,
        pub last_chosen: u64,
        pub priority: i32,
        pub weight: u32,
        pub latency: u32,
        pub overloaded: bool,
        /// 0 is without congestion control, 1 no congestion, and so on.
        pub congestion: u32,
        /// By how many percent it gets less than its share.
        pub slower: u32,
        /// How many percent more than its share of calls it may have.
        pub bound: u32,
    }

    pub struct Set(pub Vec<Dest>);

    impl Candidates for Set {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn usable(&self, at: usize) -> bool {
            !self.0[at].down
        }
        fn load(&self, at: usize) -> u32 {
            self.0[at].load
        }
        fn maxload(&self, at: usize) -> u32 {
            self.0[at].maxload
        }
        fn identity(&self, at: usize) -> u64 {
            at as u64
        }
        fn last_chosen(&self, at: usize) -> u64 {
            self.0[at].last_chosen
        }
        fn priority(&self, at: usize) -> i32 {
            self.0[at].priority
        }
        fn weight(&self, at: usize) -> u32 {
            self.0[at].weight
        }
        fn rweight(&self, at: usize) -> u32 {
            self.0[at].weight
        }
        fn latency(&self, at: usize) -> u32 {
            self.0[at].latency
        }
        fn congestion(&self, at: usize) -> Option<u32> {
            self.0[at].congestion.checked_sub(1)
        }
        fn overloaded(&self, at: usize) -> bool {
            self.0[at].overloaded
        }
        fn pace(&self, at: usize) -> u32 {
            weight::FULL_PACE - self.0[at].slower
        }
        fn has_slow(&self) -> bool {
            self.0.iter().any(|one| one.slower > 0)
        }
        fn has_shares(&self) -> bool {
            self.0.iter().any(|one| one.bound > 0)
        }
        fn has_its_share(&self, at: usize) -> bool {
            let usable = || self.0.iter().filter(|one| !one.down);
            let shares = consistent::Shares {
                calls: usable().map(|one| u64::from(one.load)).sum(),
                weights: usable().map(|one| u64::from(one.weight)).sum(),
                lines: usable().count() as u64,
            };
            let one = self.0[at];
            one.bound > 0 && shares.has_its_share(one.bound, one.load, one.weight)
        }
    }

    pub fn usable(states: &[bool]) -> Set {
        Set(states.iter().map(|&usable| Dest { down: !usable, ..Dest::default() }).collect())
    }

    pub fn number(number: u64) -> Draw {
        Draw { number, spare_last: false }
    }

    pub fn sparing(number: u64) -> Draw {
        Draw { number, spare_last: true }
    }

    pub fn at(algorithm: i32, set: &Set, draw: Draw) -> Result<usize, Refusal> {
        super::algorithm(algorithm).unwrap().choose(set, draw).map(|choice| choice.at)
    }

    #[test]
    fn alternatives_go_round_and_end_with_the_spared_one() {
        let set = usable(&[true, false, true, true, true]);
        let all = |first, spare_last| around(&set, first, Draw { number: 0, spare_last }, 9);
        assert_eq!(all(2, false), [3, 4, 0]);
        assert_eq!(all(2, true), [3, 0, 4]);
        assert_eq!(all(4, true), [0, 2, 3]);
        let some = |most| around(&set, 2, Draw { number: 0, spare_last: true }, most);
        assert_eq!([0, 1, 2, 3].map(some), [vec![], vec![3], vec![3, 0], vec![3, 0, 4]]);
    }
}
