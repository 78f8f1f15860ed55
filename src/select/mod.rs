//! How a destination is chosen: one file an algorithm, over a read-only view of a set.
//!
//! Model: an [`Algorithm`] says what it [`Needs`] beyond the set; whoever calls it brings that in a [`Draw`] and gets a
//! position. Skipping what is not usable is part of choosing; counting is not.
//!
//! To add an algorithm: a file with a type that implements [`Algorithm`], and its line in [`ALGORITHMS`].
//!
//! Not here: clocks, locks, health, SIP.
#![forbid(unsafe_code)]

pub mod attempts;
mod by_priority;
mod call_load;
#[cfg(test)]
mod changing;
mod congestion;
pub mod explain;
pub mod hash;
mod latency;
mod parallel;
mod priority;
mod random;
mod round_robin;
pub mod weight;

pub use call_load::least_loaded;

use core::ops::Range;
use weight::{Ring, Weighted};

/// The algorithms by the number that scripts give.
pub const ALGORITHMS: &[(i32, &dyn Algorithm)] = &[
    (0, &hash::ByHash(Text::CallId)),
    (1, &hash::ByHash(Text::FromUri)),
    (2, &hash::ByHash(Text::ToUri)),
    (3, &hash::ByHash(Text::RequestUri)),
    (4, &round_robin::RoundRobin),
    (5, &hash::ByHashOrTurn(Text::AuthUser)),
    (6, &random::Random),
    (7, &hash::ByHash(Text::HashPvar)),
    (8, &priority::Priority),
    (9, &Weighted { share: |pool, at| pool.weight(at), tickets: Tickets::Weight }),
    (CALL_LOAD, &call_load::CallLoad),
    (11, &congestion::RelativeWeight),
    (PARALLEL, &parallel::Parallel),
    (13, &latency::Latency),
    (14, &by_priority::TurnOrFirst),
    (15, &Weighted { share: |pool, at| pool.weight(at), tickets: Tickets::Tier }),
    (OVERLOAD, &round_robin::Overload),
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
    fn add_usable(&self, among: Range<usize>, most: usize, to: &mut Vec<usize>) {
        let left = most.saturating_sub(to.len());
        to.extend(among.filter(|&at| self.usable(at)).take(left));
    }
    /// Calls that it has now.
    fn load(&self, at: usize) -> u32;
    /// Calls that it may have; 0 is no limit.
    fn maxload(&self, at: usize) -> u32;
    /// Whether it has all the calls that it may have.
    fn is_full(&self, at: usize) -> bool {
        is_full(self.load(at), self.maxload(at))
    }
    /// When call load last chose it: a later choice has a larger number.
    fn last_chosen(&self, at: usize) -> u64;
    /// Its place in the order of the set: as configured.
    fn priority(&self, at: usize) -> i32;
    /// Its share in algorithms 9 and 15.
    fn weight(&self, at: usize) -> u32;
    /// Its share in algorithm 11.
    fn rweight(&self, at: usize) -> u32;
    /// How long its replies take, in milliseconds; 0 where it is not known. With congestion control how much longer than
    /// usual.
    fn latency(&self, at: usize) -> u32;
    /// With congestion control (`cc=1`): how much longer than usual its replies take, in milliseconds.
    fn congestion(&self, at: usize) -> Option<u32>;
    /// Whether overload control takes it out of this one selection. Asking moves its account on.
    fn overloaded(&self, at: usize) -> bool;
    /// The position at which the `n`th selection ends up on the ring that `make` makes of the first `field` positions. Whoever
    /// keeps rings asks for one only when states or congestion have changed.
    fn on_ring(&self, row: Tickets, field: usize, n: u64, make: &dyn Fn() -> Ring) -> Option<usize> {
        let _ = (row, field);
        make().at(n)
    }
}

/// The number that an algorithm wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// None.
    Nothing,
    /// The hash of a text of the message.
    Hash(Text),
    /// The same, or the set's turn for a message without that text.
    HashOrTurn(Text),
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
    fn hash(&mut self, text: Text) -> Option<u32>;
    /// The set's turn.
    fn turn(&mut self) -> u32;
    /// The next ticket of this row.
    fn ticket(&mut self, row: Tickets) -> u64;
    /// A random number.
    fn random(&mut self) -> u64;
}

impl Needs {
    /// The number; the text if it is the hash of one that the message does not have.
    pub fn number(self, inputs: &mut impl Inputs) -> Result<u64, Text> {
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
        /// A row of tickets of a set.
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
pub enum Text {
    CallId,
    FromUri,
    ToUri,
    RequestUri,
    AuthUser,
    /// What the parameter `hash_pvar` gives.
    HashPvar,
}

impl Text {
    /// As the manual and operators call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallId => "Call-ID",
            Self::FromUri => "From URI",
            Self::ToUri => "To URI",
            Self::RequestUri => "request URI",
            Self::AuthUser => "user of Proxy-Authorization or Authorization",
            Self::HashPvar => "text of hash_pvar",
        }
    }
}

/// What was brought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    /// The number that the algorithm needs.
    pub number: u64,
    /// The last destination of the set is kept for when no other is left (`use_default`).
    pub spare_last: bool,
}

impl Draw {
    /// How many of `len` destinations are in play from the start.
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
    /// What to bring for this set.
    fn needs(&self, pool: &dyn Candidates) -> Needs;
    /// The position to use.
    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal>;
    /// Whether the call must be counted in one step with the choice.
    fn counts(&self) -> bool {
        false
    }
    /// The position to use after another has failed, asked for when it is needed: `draw.number` is where the failed one stood
    /// and one, and the pool is without those that were tried.
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

/// Why none was chosen; of several reasons the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No such set, or nothing in it.
    NoSet,
    /// All are inactive or disabled.
    NoneActive,
    /// Some are active, and all of them are full.
    NoRoom,
}

/// Whether a destination with this load has all the calls that it may have; a limit of 0 is none.
pub const fn is_full(load: u32, maxload: u32) -> bool {
    maxload != 0 && load >= maxload
}

/// The usable destination at the number drawn, or the next after it, around the field; then the spared last one.
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

/// The same for what else a destination must be.
fn first_from(pool: &dyn Candidates, draw: Draw, fits: impl Fn(usize) -> bool) -> Result<Choice, Refusal> {
    let field = draw.field_of(pool)?;
    let start = (draw.number % field as u64) as usize;
    let mut order = (start..field).chain(0..start).chain(field..pool.len());
    order.find(|&at| fits(at)).map(Choice::at).ok_or(Refusal::NoneActive)
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
