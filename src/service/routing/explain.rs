//! What a selection would choose now, and why not the others: a dry run that takes no turn and counts nothing.
//!
//! Each destination is read once, before the choice ([`Still`]).

use crate::dest::Flags;
use crate::select::explain::{self as dry, Chosen, Seen, State, Still};
use crate::select::weight::FULL_PACE;
use crate::select::{self, Candidates, HashedText, Inputs, Tickets, hash, is_full};
use crate::service::routing::candidates::View;
use crate::shm::Alloc;
use crate::state::capacities::Seen as Shared;
use crate::state::{Root, Set};

pub use crate::select::explain::{NoAnswer, Why};

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The number of the algorithm.
    pub algorithm: i32,
    /// The text that it hashes, where one is given.
    pub text: Option<&'a [u8]>,
    /// `use_default`.
    pub spare_last: bool,
    /// A random number, for algorithms that want one.
    pub random: &'a dyn Fn() -> u64,
    /// The wall clock in milliseconds, for overload control.
    pub now_ms: u64,
    /// For a call with priority.
    pub priority: bool,
}

/// What is said of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// What becomes of it.
    pub why: Why,
    /// What a reserve has to do with that, as words that follow.
    pub reserve: &'static str,
    /// State and options.
    pub flags: Flags,
    /// Calls that it has.
    pub load: u32,
    /// Calls that it is ranked by beyond those.
    pub penalty: u32,
}

/// The inputs of an algorithm without side effects: no turn and no ticket is taken.
struct Peek<'a, A: Alloc> {
    set: &'a Set<A>,
    question: &'a Question<'a>,
}

impl<A: Alloc> Inputs for Peek<'_, A> {
    fn hash(&mut self, text: HashedText) -> Option<u32> {
        self.question.text.map(|given| hash::of_text(text, given))
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

/// Looks at a destination once.
fn seen<A: Alloc>(view: &View<'_, A>, at: usize, (now, priority): (u64, bool)) -> (Seen, Flags) {
    let flags = view.record(at).map_or(Flags::DISABLED, |record| record.flags());
    let shared = view.shared(at);
    let shared_full = view.is_shared_full(at);
    let is_beyond = |shared: &Shared| is_full(shared.calls, shared.limit) && !shared_full;
    let seen = Seen {
        state: state_of(flags),
        load: view.load(at),
        penalty: view.penalty(at),
        maxload: view.maxload(at),
        identity: view.identity(at),
        shared_full,
        beyond: priority.then(|| view.reserve(at)),
        shared_reserve: shared.as_ref().map_or(0, |shared| shared.reserve),
        shared_beyond: priority && shared.as_ref().is_some_and(is_beyond),
        over_rate: view.record(at).is_some_and(|record| record.is_over_rate(now)),
        shared_over_rate: shared.is_some_and(|shared| shared.is_over_rate(now)),
        slow: Some(view.pace(at)).filter(|pace| *pace < FULL_PACE),
        waits: view.waits(at),
        has_its_share: view.has_its_share(at),
        last_chosen: view.last_chosen(at),
        priority: view.priority(at),
        weight: view.weight(at),
        rweight: view.rweight(at),
        latency: view.latency(at),
        congestion: view.congestion(at),
        overloaded: view.overloaded(at),
    };
    (seen, flags)
}

fn state_of(flags: Flags) -> State {
    if flags.kept_out_by_drain() {
        State::Drained
    } else if flags.kept_out_by_ejection() {
        State::Ejected
    } else if flags.has(Flags::INACTIVE) {
        State::Inactive
    } else if flags.has(Flags::DISABLED) {
        State::Disabled
    } else if !flags.usable() {
        State::Unresolved
    } else {
        State::Usable
    }
}

/// What would be chosen, and what becomes of each destination of the set, by position.
pub fn explain<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    question: &Question<'_>,
) -> Result<(Chosen, Vec<Said>), NoAnswer> {
    let now_ms = || question.now_ms;
    let view = View::dry(root, set, &now_ms).with_priority(question.priority);
    let when = ((root.clock)(), question.priority);
    let (mut all, flags): (Vec<_>, Vec<_>) = (0..view.len()).map(|at| seen(&view, at, when)).unzip();
    if all.iter().all(|one| one.state != State::Usable) {
        // A selection puts them back.
        let ejected = all.iter_mut().filter(|one| one.state == State::Ejected);
        ejected.for_each(|one| one.state = State::Usable);
    }
    let pool = Still(all);
    let inputs = &mut Peek { set, question };
    let (chosen, whys) = dry::explain(question.algorithm, &pool, inputs, question.spare_last)?;
    let counts = select::measure(question.algorithm).is_some();
    let said = |((why, flags), seen): ((Why, Flags), &Seen)| Said {
        why,
        reserve: seen.of_reserve(why, counts),
        flags,
        load: seen.load,
        penalty: seen.penalty,
    };
    Ok((chosen, whys.into_iter().zip(flags).zip(&pool.0).map(said).collect()))
}
