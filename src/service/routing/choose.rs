//! Choosing a destination for a request.

use crate::load::Invite;
use crate::load::key::Key;
use crate::select::attempts::Tried;
use crate::select::{self, Algorithm, Candidates, Draw, HashedText, Inputs, Measure, Refusal, Tickets};
use crate::service::health::ejection;
use crate::service::routing::call_count::{self, Choosing, NotPlaced, Placed};
use crate::service::routing::candidates::View;
use crate::service::routing::rate;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::set::ROWS;
use crate::state::{Generation, Member, Root, Set};
use smallvec::SmallVec;

// Each row of tickets that an algorithm may draw from is a row of the set.
const _: () =
    assert!(Tickets::ALL.len() == ROWS, "state::set::ROWS must be the number of rows of select::Tickets");

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The set.
    pub set: i32,
    /// The number of the algorithm.
    pub algorithm: i32,
    /// What the request is to a call.
    pub call: Call<'a>,
    /// The wall clock in milliseconds, for overload control.
    pub now_ms: &'a dyn Fn() -> u64,
    /// A random number, for algorithms that want one.
    pub random: &'a dyn Fn() -> u64,
    /// `use_default`.
    pub spare_last: bool,
    /// A call counts where it goes, whatever the algorithm (`ds_load_auto`).
    pub counts_all: bool,
    /// The request has the flag of `ds_priority_flag`: its call may use reserves.
    pub priority: bool,
    /// The hash of a text of the message; `None` where it has no such text.
    pub hash: &'a dyn Fn(HashedText) -> Option<u32>,
    /// Whether the request is a retransmission: it is not sent anew, so it takes no token of a limit on new calls. Asked only where
    /// there is one.
    pub is_repeated: &'a dyn Fn() -> bool,
    /// The request comes back: see [`super::failover`].
    pub retry: Option<Retry<'a>>,
}

/// A request that comes back after a destination has failed.
#[derive(Clone, Copy)]
pub struct Retry<'a> {
    /// Those that it has tried. None of them is chosen.
    pub tried: &'a [Tried],
    /// The position after the one that failed; `None` where nothing of the set was tried by this rule.
    pub from: Option<usize>,
}

/// What a request is to a call. The key is made only for what counts.
#[derive(Clone, Copy)]
pub enum Call<'a> {
    /// It starts none: not an INVITE.
    None,
    /// It starts one, which goes where is chosen now.
    Goes {
        /// Its key.
        key: &'a dyn Fn() -> Option<Key>,
        /// What else there is to know of the request.
        invite: &'a dyn Fn() -> Invite,
        /// It stays where it counts already, if that is usable.
        may_stay: bool,
    },
    /// It starts one, which goes elsewhere first; this choice is for later.
    Waits,
}

/// What was chosen.
pub struct Selection<'g, A: Alloc> {
    /// The set.
    pub set: &'g Set<A>,
    /// The position in it.
    pub at: usize,
    /// What the algorithm compares, if it counts calls.
    pub counted: Option<Measure>,
    /// The call and the record of the destination, if it counts there.
    pub tracked: Option<(Key, u32)>,
    /// Whether it came to count there by this selection.
    pub new: bool,
    /// Whether it was chosen for this request, not only for another copy of it.
    pub own: bool,
    draw: Draw,
    priority: bool,
    choosing: &'static dyn Algorithm,
}

/// Why nothing was chosen.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing to choose.
    Refused(Refusal),
    /// The message lacks the text that the algorithm hashes.
    NoText(HashedText),
    /// The call table cannot grow.
    OutOfMemory(OutOfMemory),
    /// All destinations of the set are being replaced: ask again, of the sets that serve then.
    Outdated,
}

impl From<OutOfMemory> for NoRoute {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<NotPlaced> for NoRoute {
    fn from(error: NotPlaced) -> Self {
        match error {
            NotPlaced::Refused(refusal) => Self::Refused(refusal),
            NotPlaced::OutOfMemory(error) => Self::OutOfMemory(error),
            NotPlaced::Outdated => Self::Outdated,
        }
    }
}

impl From<Refusal> for NoRoute {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The first of the set, as algorithm 8 takes it.
const FIRST: i32 = 8;

/// The inputs of an algorithm: each turn and each ticket is taken by one selection.
struct Take<'a, A: Alloc> {
    set: &'a Set<A>,
    ask: &'a Ask<'a>,
    /// The turn that was taken.
    turn: Option<u32>,
}

impl<A: Alloc> Inputs for Take<'_, A> {
    fn hash(&mut self, text: HashedText) -> Option<u32> {
        (self.ask.hash)(text)
    }
    fn turn(&mut self) -> u32 {
        *self.turn.insert(self.set.take_turn())
    }
    fn ticket(&mut self, row: Tickets) -> u64 {
        self.set.next_ticket(row as usize)
    }
    fn random(&mut self) -> u64 {
        (self.ask.random)()
    }
}

/// Chooses a destination.
#[inline(always)] // what is asked for and what was chosen then need not go through memory
pub fn select<'g, A: Alloc>(
    root: &Root<A>,
    generation: &'g Generation<A>,
    ask: &Ask<'_>,
) -> Result<Selection<'g, A>, NoRoute> {
    let Some(set) = generation.set(ask.set) else { return Err(no_set(root, ask)) };
    let rated = rate::renew(root, set);
    let found = select_in(root, set, ask, rated);
    let found = match found {
        Err(NoRoute::Refused(Refusal::NoneActive)) => anyway(root, set, ask, rated),
        found => found,
    };
    found.map_err(|error| refused(set, ask, error, rated))
}

/// Where nothing takes calls, one that is ejected is better than none.
#[cold]
#[inline(never)]
fn anyway<'g, A: Alloc>(
    root: &Root<A>,
    set: &'g Set<A>,
    ask: &Ask<'_>,
    rated: bool,
) -> Result<Selection<'g, A>, NoRoute> {
    if ejection::serve_anyway(root, set) {
        return select_in(root, set, ask, rated);
    }
    Err(NoRoute::Refused(Refusal::NoneActive))
}

/// Whether it is counted where nothing is found: for the request at hand, and not as one more attempt of it.
fn is_counted(ask: &Ask<'_>) -> bool {
    ask.retry.is_none() && !matches!(ask.call, Call::Waits)
}

#[cold]
fn no_set<A: Alloc>(root: &Root<A>, ask: &Ask<'_>) -> NoRoute {
    if is_counted(ask) {
        root.counters.no_set.bump();
    }
    NoRoute::Refused(Refusal::NoSet)
}

/// Counts the cause. Where a set has none active because of rates or drains, that is it. `rated`: one that takes calls now was over its
/// rate a moment ago.
#[cold]
fn refused<A: Alloc>(set: &Set<A>, ask: &Ask<'_>, error: NoRoute, rated: bool) -> NoRoute {
    let NoRoute::Refused(cause) = error else { return error };
    let in_time = rated && ask.algorithm != select::OVERLOAD;
    let cause = match cause {
        Refusal::NoneActive if set.ranks.is_over_rate(in_time) => Refusal::OverRate,
        Refusal::NoneActive if set.ranks.has_drained() => Refusal::Drained,
        cause => cause,
    };
    if is_counted(ask) {
        set.refused().bump(cause);
    }
    NoRoute::Refused(cause)
}

#[inline(always)] // as above
fn select_in<'g, A: Alloc>(
    root: &Root<A>,
    set: &'g Set<A>,
    ask: &Ask<'_>,
    rated: bool,
) -> Result<Selection<'g, A>, NoRoute> {
    // Only an INVITE starts a call; for anything else, and for an unknown number, the first of the set is as good.
    let starts_none = matches!(ask.call, Call::None);
    let first = || select::algorithm(FIRST);
    let asked = select::algorithm(ask.algorithm).filter(|asked| !starts_none || asked.counts().is_none());
    let choosing = asked.or_else(first).ok_or(Refusal::NoSet)?;
    let counted = choosing.counts();

    let tried = ask.retry.map_or(&[][..], |retry| retry.tried);
    let view = View::with_clock(root, set, ask.now_ms).except(tried).with_priority(ask.priority);
    let view = match ask.call {
        Call::None => view.at_any_rate(),
        Call::Goes { key, may_stay: true, .. } => view.of_call(key),
        Call::Goes { .. } => view,
        Call::Waits => view.for_later(),
    };
    let from = ask.retry.and_then(|retry| retry.from);
    let mut inputs = Take { set, ask, turn: None };
    let number = match from {
        Some(from) if !choosing.retries_with_number() => from as u64,
        _ => choosing.needs(&view).number(&mut inputs).map_err(NoRoute::NoText)?,
    };
    let draw = Draw { number, spare_last: ask.spare_last };
    let pick = |view: &View<'_, A>| {
        let choice = if from.is_some() { choosing.next(view, draw) } else { choosing.choose(view, draw) };
        choice.map(|choice| choice.at)
    };
    let again = || pick(&View::with_clock(root, set, ask.now_ms).except(tried).at_any_rate());
    let placed = match (ask.call, counted) {
        (Call::Goes { key, invite, may_stay }, Some(measure)) => {
            let key = key().ok_or(NoRoute::NoText(HashedText::CallId))?;
            let least = Choosing::LeastLoaded { measure, spare_last: ask.spare_last, tried };
            // Whoever asks for the next one does not stay.
            let may_stay = may_stay && ask.retry.is_none();
            (call_count::place(root, set, key, invite(), (may_stay, ask.priority), &least)?, true)
        }
        (Call::Goes { key, invite, .. }, None) if from.is_some() && !ask.counts_all => {
            let (at, counts) = go_on(root, set, tried, (key().as_ref(), ask.priority), invite, &pick)?;
            (Placed { at, new: false, own: true }, counts)
        }
        (call, _) => {
            let at = match call {
                Call::Goes { .. } if rated && (ask.is_repeated)() => again()?,
                Call::Goes { key, invite, .. } if rated => {
                    rate::pick(root, set, (key, invite), || pick(&view))?
                }
                _ => pick(&view)?,
            };
            let counts = match (call, view.destination(at)) {
                (Call::Goes { key, invite, .. }, Some(chosen)) => {
                    call_count::follow(root, key, chosen.record, invite, ask.counts_all)?
                }
                _ => false,
            };
            (Placed { at, new: false, own: true }, counts)
        }
    };
    let (Placed { at, new, own }, counts) = placed;
    let tracked = match ask.call {
        Call::Goes { key, .. } if counts => key().zip(view.destination(at).map(|chosen| chosen.record)),
        _ => None,
    };
    if let Some(turn) = inputs.turn {
        set.settle_turn(turn, at);
    }
    Ok(Selection { set, at, counted, tracked, new, own, draw, priority: ask.priority, choosing })
}

/// Sends a request on to the first position that `next` gives where its call has room, if it counts anywhere: the position, and
/// whether the call counts there now.
fn go_on<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    tried: &[Tried],
    (key, priority): (Option<&Key>, bool),
    invite: &dyn Fn() -> Invite,
    next: &dyn Fn(&View<'_, A>) -> Result<usize, Refusal>,
) -> Result<(usize, bool), NoRoute> {
    let mut passed = SmallVec::<[Tried; 4]>::from_slice(tried);
    loop {
        let at = next(&View::new(root, set).except(&passed))?;
        match call_count::go_on(root, set, at, (key, priority), invite) {
            Ok(counts) => return Ok((at, counts)),
            Err(NotPlaced::Refused(_)) => passed.push(tried_at(root, set, at).ok_or(Refusal::NoSet)?),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The destination at this position, as one that was tried.
pub fn tried_at<A: Alloc>(root: &Root<A>, set: &Set<A>, at: usize) -> Option<Tried> {
    let number = set.destination(at)?.record;
    Some(Tried { record: number, serial: root.registry.record(number)?.serial() })
}

impl<'g, A: Alloc> Selection<'g, A> {
    /// The usable destinations after the chosen one, in their order: the other branches of parallel forking. Each is looked for when
    /// it is asked for, and is counted as selected then. For an INVITE (`invites`) each takes a token of its destination, if that has a
    /// rate, and those without one are left out.
    pub fn branches(&self, root: &'g Root<A>, invites: bool) -> impl Iterator<Item = Member<'g>> {
        let (set, mut next) = (self.set, self.at + 1);
        let view = View::new(root, set);
        let view = if invites { view } else { view.at_any_rate() };
        core::iter::from_fn(move || {
            loop {
                // Most often it is the next one.
                let at = if view.usable(next) { next } else { view.first_usable(next + 1..set.len())? };
                next = at + 1;
                let (one, record) = (set.get(at)?, view.record(at)?);
                if !invites || rate::take(root, set, at) {
                    record.totals.selected.bump();
                    return Some(one);
                }
            }
        })
    }

    /// The positions to try after the chosen one fails, in their order; at most so many.
    pub fn alternatives(&self, root: &Root<A>, most: usize) -> Vec<usize> {
        let view = View::new(root, self.set).for_later().with_priority(self.priority);
        self.choosing.alternatives(&view, self.at, self.draw, most)
    }
}

/// Moves a call to the least loaded of these positions that is usable and has room; to the spared last one of the set
/// only if it is no other.
pub fn retry<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    (measure, positions): (Measure, &[usize]),
    key: Key,
    invite: Invite,
    (spare_last, priority): (bool, bool),
) -> Result<usize, NotPlaced> {
    let field = Draw { number: 0, spare_last }.field(set.len());
    let (first, spared): (Vec<usize>, Vec<usize>) = positions.iter().partition(|&&at| at < field);
    let choose = |view: &View<'_, A>| {
        let least = |among: &[usize]| select::least_loaded(view, measure, among.iter().copied());
        least(&first).or_else(|refusal| least(&spared).map_err(|_| refusal))
    };
    let how = (false, priority);
    call_count::place(root, set, key, invite, how, &Choosing::By(&choose)).map(|placed| placed.at)
}

/// A request goes to this position.
pub fn count_selected<A: Alloc>(root: &Root<A>, set: &Set<A>, at: usize) {
    if let Some(record) = set.destination(at).and_then(|one| root.registry.record(one.record)) {
        record.totals.selected.bump();
    }
}

/// A request that went to the destination of this record was sent on to another.
pub fn count_failed_over<A: Alloc>(root: &Root<A>, record: u32) {
    if let Some(record) = root.registry.record(record) {
        record.totals.failed_over.bump();
    }
}
