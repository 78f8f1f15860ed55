//! What a selection would choose now, and why not the others: a dry run that moves no turn and counts nothing.
//!
//! Each destination is looked at once, before the choice: what is said of one is what the choice was made of.

use crate::dest::Flags;
use crate::select::{self, CALL_LOAD, Draw, Needs, Pool, Refusal, Text};
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

/// What becomes of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It would be chosen.
    Chosen,
    /// It does not answer, or a script or an operator said so.
    Inactive,
    /// Nobody has found out yet what its name means.
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

/// What would be chosen, and what becomes of each destination of the set, by position.
pub fn explain<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    question: &Question<'_>,
) -> Result<(Result<usize, Refusal>, Vec<Said>), NoAnswer> {
    let choosing = select::algorithm(question.algorithm).ok_or(NoAnswer::NoAlgorithm)?;
    let now_ms = || question.now_ms;
    let pool = Still::of(&View::dry(root, set, &now_ms));
    let hash = question.hash.map(u64::from);
    let number = match choosing.needs(&pool) {
        Needs::Nothing => 0,
        Needs::Hash(text) => hash.ok_or(NoAnswer::NoText(text))?,
        Needs::HashOrTurn(_) => hash.unwrap_or_else(|| set.turn().into()),
        Needs::Turn => set.turn().into(),
        Needs::Ticket(row) => set.ticket(row as usize),
        Needs::Random => (question.random)(),
    };
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
        } else if question.algorithm == CALL_LOAD && select::is_full(&pool, at) {
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
