//! What a selection would choose now, and why not the others: a dry run that takes no turn and counts nothing.
//!
//! Each destination is read once, before the choice, so that the explanation and the choice rest on the same values.

use crate::dest::Flags;
use crate::select::{self, CALL_LOAD, Candidates, Draw, Inputs, Refusal, Text, Tickets};
use crate::service::routing::candidates::View;
use crate::service::routing::still::Still;
use crate::shm::Alloc;
use crate::state::{Root, Set};

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The number of the algorithm.
    pub algorithm: i32,
    /// The hash of the text that it hashes, where one is given.
    pub hash: Option<u32>,
    /// `use_default`.
    pub spare_last: bool,
    /// A random number, for algorithms that want one.
    pub random: &'a dyn Fn() -> u64,
    /// The wall clock in milliseconds, for overload control.
    pub now_ms: u64,
}

/// Why nothing can be said.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is no algorithm of this number.
    NoAlgorithm,
    /// It hashes this text, and none is given.
    NoText(Text),
}

/// Why a destination would be chosen or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It would be chosen.
    Chosen,
    /// It does not answer, or a script or an operator said so.
    Inactive,
    /// Its name has not been resolved yet.
    Unresolved,
    /// An operator disabled it.
    Disabled,
    /// It has all the calls that it may have, and the algorithm counts.
    Full,
    /// Overload control leaves it out this time.
    Overloaded,
    /// It is kept for when no other is left.
    Spared,
    /// Another one comes first.
    NotItsTurn,
}

impl Why {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Inactive => "inactive",
            Self::Unresolved => "its name has not been resolved yet",
            Self::Disabled => "disabled",
            Self::Full => "full",
            Self::Overloaded => "left out by overload control",
            Self::Spared => "kept for when no other is left",
            Self::NotItsTurn => "another one comes first",
        }
    }
}

/// What is said of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// What becomes of it.
    pub why: Why,
    /// State and options.
    pub flags: Flags,
    /// Calls that it has.
    pub load: u32,
}

/// The inputs of an algorithm without side effects: no turn and no ticket is taken.
struct Peek<'a, A: Alloc> {
    set: &'a Set<A>,
    question: &'a Question<'a>,
}

impl<A: Alloc> Inputs for Peek<'_, A> {
    fn hash(&mut self, _: Text) -> Option<u32> {
        self.question.hash
    }
    fn turn(&mut self) -> u32 {
        self.set.turn()
    }
    fn ticket(&mut self, row: Tickets) -> u64 {
        self.set.ticket(row as usize)
    }
    fn random(&mut self) -> u64 {
        (self.question.random)()
    }
}

/// What would be chosen, and what becomes of each destination of the set, by position.
pub fn explain<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    question: &Question<'_>,
) -> Result<(Result<usize, Refusal>, Vec<Said>), NoAnswer> {
    let choosing = select::algorithm(question.algorithm).ok_or(NoAnswer::NoAlgorithm)?;
    let now_ms = || question.now_ms;
    let pool = Still::of(&View::dry(root, set, &now_ms));
    let number = choosing.needs(&pool).number(&mut Peek { set, question }).map_err(NoAnswer::NoText)?;
    let draw = Draw { number, spare_last: question.spare_last };
    let chosen = choosing.choose(&pool, draw).map(|choice| choice.at);
    let field = draw.field(pool.len());
    let why = |at: usize| {
        let flags = pool.flags(at);
        if chosen == Ok(at) {
            Why::Chosen
        } else if flags.has(Flags::INACTIVE) {
            Why::Inactive
        } else if flags.has(Flags::DISABLED) {
            Why::Disabled
        } else if !flags.usable() {
            Why::Unresolved
        } else if question.algorithm == CALL_LOAD && pool.is_full(at) {
            Why::Full
        } else if question.algorithm == select::OVERLOAD && pool.overloaded(at) {
            Why::Overloaded
        } else if at >= field {
            Why::Spared
        } else {
            Why::NotItsTurn
        }
    };
    let said = |at| Said { why: why(at), flags: pool.flags(at), load: pool.load(at) };
    Ok((chosen, (0..pool.len()).map(said).collect()))
}
