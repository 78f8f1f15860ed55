//! Counting calls: chooses a destination and counts the call there in one step, and applies later events (answer, BYE, failure) to the
//! call's count.

use crate::load::{Branch, Call, Effect, Failures, Invite, Leg, News, Transaction, Unsent, key::Key};
use crate::select::attempts::Tried;
use crate::select::{self, Candidates, Choice, Measure, Refusal};
use crate::service::routing::candidates::View;
use crate::service::routing::shifts::shifts;
use crate::service::routing::{penalty, rate};
use crate::shm::counter::Audited;
use crate::shm::table::CHUNK;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::calls::{LegHint, Shard};
use crate::state::ranks::{self, Line, LockedBoard, Look, NotTaken};
use crate::state::{Generation, Record, Root, Set, Shift};
use smallvec::SmallVec;

/// Why a call was not counted.
#[derive(Debug, PartialEq, Eq)]
pub enum NotPlaced {
    /// Nothing to choose.
    Refused(Refusal),
    /// The table cannot grow.
    OutOfMemory(OutOfMemory),
    /// All destinations of the set are being replaced: ask again, of the sets that serve then.
    Outdated,
}

impl From<OutOfMemory> for NotPlaced {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// The position in this set at which the call counts already, if it may still go there, and its record. One that is drained keeps the
/// calls that it has.
///
/// An INVITE that comes again goes where the first one went, without being counted again.
fn counts_in<A: Alloc>(root: &Root<A>, set: &Set<A>, call: &Call) -> Option<(usize, u32)> {
    call.legs().iter().rev().filter(|leg| leg.counts()).find_map(|leg| {
        let record = root.registry.record(leg.record())?;
        let at = set.place_of(leg.record(), record).filter(|_| record.flags().serves())?;
        Some((at, leg.record()))
    })
}

/// Where a call counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The position.
    pub at: usize,
    /// It did not count there before.
    pub new: bool,
    /// A choice was made for this request, not only for another copy of it.
    pub own: bool,
}

/// How a destination is found for a call that counts.
pub enum Choosing<'a, A: Alloc> {
    /// The least loaded; the last of the set only if there is no other, with `spare_last`.
    LeastLoaded {
        /// By what.
        measure: Measure,
        /// `use_default`.
        spare_last: bool,
        /// Not one of these.
        tried: &'a [Tried],
    },
    /// What this finds.
    By(&'a dyn Fn(&View<'_, A>) -> Result<Choice, Refusal>),
}

/// Where a call counts now, though no leg of it goes there yet.
struct Taken<'a, A: Alloc> {
    at: usize,
    record: u32,
    /// The board of the set, where it is locked still.
    board: Option<LockedBoard<'a, A>>,
    /// The records where it counts no more, if their loads are given back already.
    left: Left,
}

/// Records at which a call counts no more once it is sent elsewhere.
type Left = SmallVec<[u32; 2]>;

/// Those that share capacities, which a call gives back when it is chosen for anew: it may need a place there itself.
fn left<A: Alloc>(root: &Root<A>, call: &Call, invite: Invite) -> Left {
    let shares = |number: &u32| root.registry.record(*number).is_some_and(|record| record.capacity() != 0);
    let mut left: Left = call.counted().filter(shares).collect();
    // Nearly always.
    if left.is_empty() {
        return left;
    }
    let mut rest = call.clone();
    rest.leave(invite);
    left.retain(|number| !rest.counts_at(*number));
    left
}

/// Undoes what was taken and given back.
fn undo<A: Alloc>(root: &Root<A>, taken: Option<u32>, left: &[u32], audited: Audited) {
    taken.into_iter().for_each(|number| root.registry.shift(number, Shift::GIVE, audited));
    left.iter().for_each(|number| root.registry.shift(*number, Shift { load: 1, legs: 0 }, audited));
}

impl<A: Alloc> Choosing<'_, A> {
    /// Counts a call at a destination where `call` does not count, and was not in the transaction that has failed.
    fn take<'a>(
        &self,
        root: &'a Root<A>,
        set: &'a Set<A>,
        (call, invite, priority): (&Call, Invite, bool),
        audited: Audited,
    ) -> Result<Taken<'a, A>, NotPlaced> {
        let choose = match self {
            Self::LeastLoaded { measure, spare_last, tried } => {
                let find = |line: Line, record: &Record| Some((set.position_of(line, record)?, line.record));
                let first = tried.is_empty();
                let is_there = |one: &&Tried| root.registry.record_of(one.record, one.serial).is_some();
                let tried = tried.iter().filter(is_there).map(|one| one.record);
                let but = call.counted().chain(call.sent_before(invite)).chain(tried);
                let mut board = root.registry.lock_board(&set.ranks);
                let (measure, spare_last, clock) = (*measure, *spare_last, root.clock);
                let look = Look { measure, spare_last, first, priority, clock };
                board.prepare(&root.registry, look)?;
                let left = if board.has_capacities() { left(root, call, invite) } else { Left::new() };
                let taken = board.take_best(&root.registry, look, (but, &left), audited, find);
                let ranks::Taken { of: (at, record), .. } = taken.map_err(|not| match not {
                    NotTaken::NoneUsable => NotPlaced::Refused(Refusal::NoneActive),
                    NotTaken::Full => NotPlaced::Refused(Refusal::NoRoom),
                    NotTaken::OverRate => NotPlaced::Refused(Refusal::OverRate),
                    NotTaken::Outdated => NotPlaced::Outdated,
                })?;
                return Ok(Taken { at, record, board: Some(board), left });
            }
            Self::By(choose) => choose,
        };
        rate::renew(root, set);
        let mut left = left(root, call, invite);
        let leaving = left.clone();
        let view = View::new(root, set).without(call).leaving(&leaving).with_priority(priority);
        loop {
            let choice = choose(&view).map_err(NotPlaced::Refused)?;
            let Some(destination) = set.destination(choice.at) else {
                return Err(NotPlaced::Refused(Refusal::NoSet));
            };
            // Another process may have counted a call there since the look: look again.
            let seen = (destination.record, choice.load);
            if let Some(taken) = root.registry.take_if(seen, (true, priority), &left, (audited, root.clock)) {
                if !taken.left {
                    left.clear();
                }
                return Ok(Taken { at: choice.at, record: destination.record, board: None, left });
            }
        }
    }
}

/// Counts the call at a destination that `choosing` finds, as one step.
///
/// If it `may_stay`, a call that counts at a usable destination of this set remains there and nothing is chosen; else it
/// goes to another. One with `priority` may use reserves.
pub fn place<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    key: Key,
    invite: Invite,
    (may_stay, priority): (bool, bool),
    choosing: &Choosing<'_, A>,
) -> Result<Placed, NotPlaced> {
    // Held to the end: a second copy of the INVITE in another process waits here and then finds the call.
    let mut shard = root.calls.shard(&key);
    let place = shard.place(&key);
    let before = shard.at(&key, place);
    let mut after = before.clone();
    if let Some((at, record)) = counts_in(root, set, &before).filter(|_| may_stay) {
        let own = after.stay(record, invite);
        put(root, &mut shard, &key, place, &before, &after, invite.now)?;
        settle(root, &before, &after, shard.audited);
        return Ok(Placed { at, new: false, own });
    }
    // Where it may not stay it does not return to either.
    let Taken { at, record, mut board, left } =
        choosing.take(root, set, (&before, invite, priority), shard.audited)?;
    after.choose(record, invite);
    if !shard.put_over(&key, place, &before, &after) {
        // Memory may be needed, and for that other calls may have to go.
        board = None;
        if let Err(error) = put(root, &mut shard, &key, place, &before, &after, invite.now) {
            undo(root, Some(record), &left, shard.audited);
            return Err(error.into());
        }
    }
    // All that a call does which counted nowhere, the choice has done.
    if !before.is_empty() {
        penalty::failed(root, (&before, &after), invite.failures(), &mut board);
        settle_all(root, &before, &after, (Some(record), &left), board, shard.audited);
    }
    root.counters.placed.bump(&key);
    Ok(Placed { at, new: true, own: true })
}

/// Whether this INVITE was sent to the destination of this record already, or is about to be: its call counts there for it.
pub fn is_sent<A: Alloc>(root: &Root<A>, key: &Key, number: u32, invite: Invite) -> bool {
    if invite.failed.is_some() || !root.counters.placed.any() {
        return false;
    }
    let call = get(root, key);
    let is_it = |leg: &Leg| leg.counts() && leg.record() == number && leg.number() == invite.number;
    call.legs().iter().any(is_it)
}

/// The call, as it is now.
pub fn get<A: Alloc>(root: &Root<A>, key: &Key) -> Call {
    root.calls.shard(key).get(key)
}

/// Writes a changed call. Where there is no memory for it, calls that are only remembered give way: one, whose place this one
/// takes; for the second leg of a call as many as fill the blocks of memory that the first such leg of a shard needs.
fn put<A: Alloc>(
    root: &Root<A>,
    shard: &mut Shard<A>,
    key: &Key,
    place: LegHint,
    before: &Call,
    after: &Call,
    now: u32,
) -> Result<(), OutOfMemory> {
    let done = shard.put(key, place, before, after);
    done.or_else(|full| put_for_another(root, shard, key, (before, after), now, full))
}

#[cold]
fn put_for_another<A: Alloc>(
    root: &Root<A>,
    shard: &mut Shard<A>,
    key: &Key,
    (before, after): (&Call, &Call),
    now: u32,
    full: OutOfMemory,
) -> Result<(), OutOfMemory> {
    let mut done = Err(full);
    for gone in [1, CHUNK, CHUNK] {
        let Err(full) = done else { break };
        root.short.tell(now);
        for _ in 0..gone {
            let gone = shard.take_forgettable(key).ok_or(full)?;
            settle(root, &gone, &Call::default(), shard.audited);
        }
        shard.give_back(0, 1);
        let place = shard.place(key);
        done = shard.put(key, place, before, after);
    }
    done
}

/// Gives the records what the change of a call makes of their loads. With the call's shard locked.
pub(in crate::service) fn settle<A: Alloc>(root: &Root<A>, before: &Call, after: &Call, audited: Audited) {
    settle_all(root, before, after, (None, &[]), None, audited);
}

/// The same, where the record `taken` has its call already, with the leg that it came by, those that are `left` have it no more, and a
/// `board` may be locked.
fn settle_all<A: Alloc>(
    root: &Root<A>,
    before: &Call,
    after: &Call,
    done: (Option<u32>, &[u32]),
    mut board: Option<LockedBoard<'_, A>>,
    audited: Audited,
) {
    shifts(before.legs(), after.legs(), done, |number, shift| {
        let held = board.as_mut();
        if !held.is_some_and(|board| board.shift(&root.registry, number, shift, audited)) {
            // One at a time.
            board = None;
            root.registry.shift(number, shift, audited);
        }
    });
}

/// Changes a call, and the loads with it, as one step. What needs more memory than there is does not happen. `when`: the second, and
/// the failures of gateways for which it changes.
fn change<A: Alloc, R>(
    root: &Root<A>,
    key: &Key,
    when: (u32, Failures),
    act: impl FnOnce(&mut Call) -> R,
) -> Result<R, OutOfMemory> {
    let mut shard = root.calls.shard(key);
    let place = shard.place(key);
    let before = shard.at(key, place);
    replace(root, &mut shard, key, (place, before), when, act)
}

/// The same of a call that is known to be like this, at this place.
fn replace<A: Alloc, R>(
    root: &Root<A>,
    shard: &mut Shard<A>,
    key: &Key,
    (place, before): (LegHint, Call),
    (now, failures): (u32, Failures),
    act: impl FnOnce(&mut Call) -> R,
) -> Result<R, OutOfMemory> {
    let mut after = before.clone();
    let result = act(&mut after);
    if after != before {
        put(root, shard, key, place, &before, &after, now)?;
        penalty::failed(root, (&before, &after), failures, &mut None);
        settle(root, &before, &after, shard.audited);
    }
    Ok(result)
}

/// A call that is sent on by something that does not limit: if it counts somewhere, or must count `anyway`, it counts here now.
/// Whether it does.
pub fn follow<A: Alloc>(
    root: &Root<A>,
    key: impl FnOnce() -> Option<Key>,
    number: u32,
    invite: impl FnOnce() -> Invite,
    anyway: bool,
) -> Result<bool, OutOfMemory> {
    // Where nothing was ever counted this costs nothing.
    let Some(key) = (anyway || root.counters.placed.any()).then(key).flatten() else { return Ok(false) };
    let mut shard = root.calls.shard(&key);
    let place = shard.place(&key);
    let before = shard.at(&key, place);
    if !anyway && !before.counts() {
        return Ok(false);
    }
    let (is_new, invite) = (before.is_empty(), invite());
    let when = (invite.now, invite.failures());
    replace(root, &mut shard, &key, (place, before), when, |call| call.choose(number, invite))?;
    if is_new {
        root.counters.placed.bump(&key);
    }
    Ok(true)
}

/// A request that something which does not count sends on to this position, if that is usable. If its call counts somewhere, it
/// counts here now, if there is room for it, which may have `priority`; look and count are one step. Whether it does. `key` is that of
/// an INVITE, which takes a token there.
pub fn go_on<A: Alloc>(
    root: &Root<A>,
    set: &Set<A>,
    at: usize,
    (key, priority): (Option<&Key>, bool),
    invite: impl FnOnce() -> Invite,
) -> Result<bool, NotPlaced> {
    let number = set.get(at).ok_or(NotPlaced::Refused(Refusal::NoSet))?.record;
    rate::renew(root, set);
    let view = View::new(root, set);
    let (view, invites) = if key.is_some() { (view, true) } else { (view.at_any_rate(), false) };
    let uncounted = || {
        let goes = view.usable(at) && (!invites || rate::take(root, set, at));
        if goes { Ok(false) } else { Err(NotPlaced::Refused(Refusal::NoneActive)) }
    };
    let Some(key) = key.filter(|_| root.counters.placed.any()) else { return uncounted() };
    let mut shard = root.calls.shard(key);
    let place = shard.place(key);
    let before = shard.at(key, place);
    if !before.counts() {
        return uncounted();
    }
    let invite = invite();
    let mut left = left(root, &before, invite);
    let view = view.leaving(&left).with_priority(priority);
    let taken = loop {
        let seen = select::least_loaded(&view, Measure::Calls, core::iter::once(at))
            .map_err(NotPlaced::Refused)?
            .load;
        if before.counts_at(number) {
            if !rate::take(root, set, at) {
                continue;
            }
            break None;
        }
        let (audited, clock) = (shard.audited, root.clock);
        if let Some(taken) = root.registry.take_if((number, seen), (false, priority), &left, (audited, clock))
        {
            break Some(taken.left);
        }
    };
    if taken != Some(true) {
        left.clear();
    }
    let taken = taken.map(|_| number);
    let mut after = before.clone();
    after.choose(number, invite);
    if let Err(error) = put(root, &mut shard, key, place, &before, &after, invite.now) {
        undo(root, taken, &left, shard.audited);
        return Err(error.into());
    }
    penalty::failed(root, (&before, &after), invite.failures(), &mut None);
    settle_all(root, &before, &after, (taken, &left), None, shard.audited);
    Ok(true)
}

/// The effect of what a message says on its call; none if that is not known.
fn apply<A: Alloc>(
    root: &Root<A>,
    key: &Key,
    news: &News,
    failures: Failures,
) -> Result<Option<Effect>, OutOfMemory> {
    change(root, key, (news.now, failures), |call| (!call.is_empty()).then(|| call.on(news)))
}

/// What a message says about a call. False if the call is not known or the event came too late to mean anything; that is
/// counted, and no error.
pub fn report<A: Alloc>(root: &Root<A>, key: &Key, news: &News) -> Result<bool, OutOfMemory> {
    report_failed(root, key, news, Failures::NONE)
}

/// The same of what may say that gateways have failed.
pub fn report_failed<A: Alloc>(
    root: &Root<A>,
    key: &Key,
    news: &News,
    failures: Failures,
) -> Result<bool, OutOfMemory> {
    use crate::load::Event::{Answered, Seen};
    let effect = apply(root, key, news, failures)?;
    let Some(effect) = effect else {
        if !matches!(news.event, Seen | Answered) {
            root.counters.unknown.bump();
        }
        return Ok(false);
    };
    if effect.crossed {
        root.counters.crossed.bump();
    }
    // Who only hears of a call says nothing too late: a script may end after the BYE that another worker has dealt with.
    if !effect.fits && news.event != Seen {
        root.counters.late.bump();
    }
    Ok(effect.fits)
}

/// The same of what is told more than once, of which only the first counts: no event is late.
pub fn report_again<A: Alloc>(root: &Root<A>, key: &Key, news: &News) -> Result<(), OutOfMemory> {
    apply(root, key, news, Failures::NONE).map(|_| ())
}

/// The request goes out to the destination of this record on this branch; nothing, if that is gone by now.
pub fn sent<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    key: &Key,
    number: u32,
    branch: Branch,
    invite: Invite,
) -> Result<(), OutOfMemory> {
    let is_there = || {
        let record = root.registry.record(number);
        record.is_some_and(|record| sets.of_record(number, record).is_some())
    };
    change(root, key, (invite.now, invite.failures()), |call| {
        if call.records().any(|named| named == number) || is_there() {
            call.sent(number, branch, invite);
        }
    })
}

/// The request goes to none of our destinations now.
pub fn leave<A: Alloc>(root: &Root<A>, key: &Key, invite: Invite) -> Result<(), OutOfMemory> {
    change(root, key, (invite.now, invite.failures()), |call| call.leave(invite))
}

/// The script has ended that chose a destination: see [`Call::script_ended`]. `failures` are of branches that could not be sent.
pub fn script_ended<A: Alloc>(
    root: &Root<A>,
    key: &Key,
    invite: Invite,
    unsent: Unsent,
    (is_alive, failures): (impl Fn(Branch) -> bool, Failures),
) -> Result<(), OutOfMemory> {
    change(root, key, (invite.now, failures), |call| call.script_ended(invite.number, unsent, is_alive))
}

/// Branches of a transaction that is not over yet were given up: see [`Call::given_up`].
pub fn given_up<A: Alloc>(
    root: &Root<A>,
    key: &Key,
    transaction: Transaction,
    invite: Invite,
    (is_over, failures): (impl Fn(Branch) -> bool, Failures),
) -> Result<(), OutOfMemory> {
    change(root, key, (invite.now, failures), |call| call.given_up(transaction, invite, is_over))
}

/// The caller has cancelled the request of a transaction: see [`Call::transaction_cancelled`].
pub fn transaction_cancelled<A: Alloc>(
    root: &Root<A>,
    key: &Key,
    transaction: Transaction,
    invite: Invite,
) -> Result<(), OutOfMemory> {
    let known = change(root, key, (invite.now, Failures::NONE), |call| {
        (!call.is_empty()).then(|| call.transaction_cancelled(transaction, invite))
    })?;
    match known {
        Some(true) => {}
        Some(false) => root.counters.late.bump(),
        None => root.counters.unknown.bump(),
    }
    Ok(())
}

/// A transaction of the call is gone: see [`Call::transaction_ended`].
pub fn transaction_ended<A: Alloc>(
    root: &Root<A>,
    key: &Key,
    transaction: Transaction,
    invite: Invite,
    (answered, failures): (impl Fn(Branch) -> bool, Failures),
) -> Result<(), OutOfMemory> {
    change(root, key, (invite.now, failures), |call| call.transaction_ended(transaction, invite, answered))
}

/// Puts back a leg that was there before a restart; whether the call counts at one destination more.
pub fn restore<A: Alloc>(root: &Root<A>, key: &Key, leg: Leg) -> Result<bool, OutOfMemory> {
    let more = change(root, key, (leg.seen(), Failures::NONE), |call| {
        let counted = call.counts_at(leg.record());
        call.push(leg);
        leg.counts() && !counted
    })?;
    if more {
        let _locked = root.calls.shard(key);
        root.counters.placed.bump(key);
    }
    Ok(more)
}
