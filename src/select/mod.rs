//! How a destination is chosen: one file an algorithm, over a read-only view of a set.
//!
//! Model: an [`Algorithm`] says what it [`Needs`] beyond the set; whoever calls it brings that in a [`Draw`] and gets a
//! position. Skipping what is not usable is part of choosing; counting is not.
//!
//! To add an algorithm: a file with a type that implements [`Algorithm`], and its line in [`ALGORITHMS`].
//!
//! Not here: clocks, locks, health, SIP.
#![forbid(unsafe_code)]

mod call_load;
pub mod hash;
mod priority;
mod round_robin;

pub use call_load::least_loaded;

/// The algorithms by the number that scripts give.
pub const ALGORITHMS: &[(i32, &dyn Algorithm)] = &[
    (0, &hash::ByHash(Text::CallId)),
    (4, &round_robin::RoundRobin),
    (8, &priority::Priority),
    (CALL_LOAD, &call_load::CallLoad),
];

/// The algorithm that counts calls.
pub const CALL_LOAD: i32 = 10;

/// The algorithm of this number.
pub fn algorithm(number: i32) -> Option<&'static dyn Algorithm> {
    ALGORITHMS.iter().find(|(listed, _)| *listed == number).map(|(_, algorithm)| *algorithm)
}

/// One set as an algorithm sees it. Positions are `0..len()`, in the order of the set.
pub trait Pool {
    /// Destinations in the set.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether calls may go to this one: neither inactive nor disabled.
    fn usable(&self, at: usize) -> bool;
    /// Calls that it has now.
    fn load(&self, at: usize) -> u32;
    /// Calls that it may have; 0 is no limit.
    fn maxload(&self, at: usize) -> u32;
    /// When call load last chose it: a later choice has a larger number.
    fn last_chosen(&self, at: usize) -> u64;
}

/// What an algorithm wants to know of the message or the set's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The hash of a text of the message.
    Hash(Text),
    /// The set's turn, which moves on with each choice.
    Turn,
}

/// A text of the message that is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Call-ID header.
    CallId,
}

/// What was brought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    /// For [`Needs::Hash`].
    pub hash: u32,
    /// For [`Needs::Turn`].
    pub turn: u32,
    /// The last destination of the set is kept for when no other is left (`use_default`).
    pub spare_last: bool,
}

impl Draw {
    /// How many of `len` destinations are in play from the start.
    pub fn field(self, len: usize) -> usize {
        if self.spare_last && len > 1 { len - 1 } else { len }
    }
}

/// A way to choose.
pub trait Algorithm: Sync {
    /// What to bring.
    fn needs(&self) -> Needs;
    /// The position to use.
    fn choose(&self, pool: &dyn Pool, draw: Draw) -> Result<Choice, Refusal>;
    /// Whether the call must be counted in one step with the choice.
    fn counts(&self) -> bool {
        false
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

/// Why none was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such set, or nothing in it.
    NoSet,
    /// All are inactive or disabled.
    NoneActive,
    /// Some are active, and all of them are full.
    NoRoom,
}

/// Whether a destination has all the calls that it may have.
pub fn is_full(pool: &dyn Pool, at: usize) -> bool {
    let maxload = pool.maxload(at);
    maxload != 0 && pool.load(at) >= maxload
}

/// The usable destination at `start`, or the next after it, around the field; then the spared last one.
fn usable_from(pool: &dyn Pool, start: usize, draw: Draw) -> Result<Choice, Refusal> {
    let field = draw.field(pool.len());
    if field == 0 {
        return Err(Refusal::NoSet);
    }
    let start = start % field;
    (start..field)
        .chain(0..start)
        .chain(field..pool.len())
        .find(|&at| pool.usable(at))
        .map(|at| Choice { at, load: 0 })
        .ok_or(Refusal::NoneActive)
}

/// The positions to try after `first` failed: those after it, then those before it, each usable; the spared last one,
/// if it is not `first`, at the end.
pub fn alternatives(pool: &dyn Pool, first: usize, draw: Draw) -> impl Iterator<Item = usize> {
    let len = pool.len();
    let field = draw.field(len);
    let around = (first + 1..field).chain(0..first.min(field)).filter(|&at| pool.usable(at));
    around.chain((field..len).filter(move |&at| at != first))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A set in a test: (usable, load, maxload, last chosen).
    pub struct Set(pub Vec<(bool, u32, u32, u64)>);

    impl Pool for Set {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn usable(&self, at: usize) -> bool {
            self.0[at].0
        }
        fn load(&self, at: usize) -> u32 {
            self.0[at].1
        }
        fn maxload(&self, at: usize) -> u32 {
            self.0[at].2
        }
        fn last_chosen(&self, at: usize) -> u64 {
            self.0[at].3
        }
    }

    pub fn usable(states: &[bool]) -> Set {
        Set(states.iter().map(|&usable| (usable, 0, 0, 0)).collect())
    }

    pub fn at(number: i32, set: &Set, draw: Draw) -> Result<usize, Refusal> {
        algorithm(number).unwrap().choose(set, draw).map(|choice| choice.at)
    }

    #[test]
    fn numbers_are_listed_once() {
        let mut numbers: Vec<_> = ALGORITHMS.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), ALGORITHMS.len());
    }

    #[test]
    fn alternatives_go_round_and_end_with_the_spared_one() {
        let set = usable(&[true, false, true, true, true]);
        let all = |first, spare_last| {
            alternatives(&set, first, Draw { spare_last, ..Draw::default() }).collect::<Vec<_>>()
        };
        assert_eq!(all(2, false), [3, 4, 0]);
        assert_eq!(all(2, true), [3, 0, 4]);
        assert_eq!(all(4, true), [0, 2, 3]);
    }
}
