//! `ds_next_dst`, `ds_next_domain`, `ds_set_dst`, `ds_set_domain`, `ds_mark_dst` and `ds_mark_addr`: what a script does with
//! the list that a selection left, and when a destination fails.

use super::list::{self, Listed};
use super::{attempts, followed, outcomes, select, tracking};
use crate::conf::Failover;
use crate::context::{self, Module, event, module};
use crate::dest::{Flags, problem::shown};
use crate::host::message::{Kind, Message, Method, Target};
use crate::host::script::{Values, Verdict};
use crate::host::{clock, log, mem::Pool, tm, xavp::List};
use crate::load::key::Key;
use crate::select::Measure;
use crate::select::attempts::Attempts;
use crate::service::health::set_state::{self, Mark};
use crate::service::routing::call_count::{self, NotPlaced};
use crate::service::routing::choose::{self, NoRoute};
use crate::service::routing::{failover, rate};
use crate::service::sets::commit;
use crate::state::health::Report;
use crate::state::{Generation, Root, Set};
use std::collections::HashSet;

/// `ds_next_dst()`: sends the request to the next destination of the list.
///
/// What is inactive or full by now is skipped. For a counted call (algorithm 10) the next is the least loaded of those
/// left, and the count moves there.
pub fn next_dst(msg: &mut Message, _: &Values<'_>) -> Verdict {
    next(msg, Target::DestinationUri)
}

/// `ds_next_domain()`: the same for host and port of the request URI.
pub fn next_domain(msg: &mut Message, _: &Values<'_>) -> Verdict {
    next(msg, Target::RequestUri)
}

/// For other modules: target (1 request URI, else destination URI).
pub fn next_for_module(msg: &mut Message, values: &Values<'_>) -> Verdict {
    next(msg, if values.int(0) == 1 { Target::RequestUri } else { Target::DestinationUri })
}

/// `ds_set_dst()`: sends the request to the first destination of the list.
pub fn set_dst(msg: &mut Message, _: &Values<'_>) -> Verdict {
    set(msg, Target::DestinationUri)
}

/// `ds_set_domain()`: the same for host and port of the request URI.
pub fn set_domain(msg: &mut Message, _: &Values<'_>) -> Verdict {
    set(msg, Target::RequestUri)
}

fn set(msg: &mut Message, target: Target) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    if !may_be_sent(module, msg) {
        return Verdict::FALSE;
    }
    let done = use_front(module, msg, target);
    if done == Verdict::True {
        goes_there(module, msg);
        follow_front(module, msg);
    }
    done
}

/// Whether the rate of the destination in use lets the request go there: an INVITE that does not count there yet takes a token.
fn may_be_sent(module: &Module, msg: &Message) -> bool {
    if !is_invite(msg) {
        return true;
    }
    let mut may = true;
    in_use(module, msg, |root, set, at| {
        // The key of the call is only made where there is a limit.
        if rate::renew(root, set) && !tm::is_repeated(msg) {
            let take = |key| rate::take_once(root, set, at, Some(&key), tracking::invite(msg));
            may = call_key(module, msg).is_none_or(take);
        }
    });
    may
}

/// Does something with the destination in use, if it is configured.
fn in_use(module: &Module, msg: &Message, act: impl FnOnce(&Root<Pool>, &Set<Pool>, usize)) -> Option<()> {
    let sets = module.sets()?;
    let (set, at) = attempts::place(module, msg, &sets)?;
    act(module.root, set, at);
    Some(())
}

/// The request goes to the destination in use.
fn goes_there(module: &Module, msg: &Message) {
    in_use(module, msg, |root, set, at| {
        choose::count_selected(root, set, at);
        set.destination(at).into_iter().for_each(|one| outcomes::chosen(module, msg, one.record));
    });
}

/// A call that counts goes to the first destination of the list, and its count with it.
fn follow_front(module: &Module, msg: &Message) -> Option<()> {
    let key = call_key(module, msg)?;
    in_use(module, msg, |_, set, at| {
        set.destination(at).into_iter().for_each(|one| follow(module, msg, key, one.record));
    })
}

/// The key of the call that the request starts, if it starts one.
fn call_key(module: &Module, msg: &Message) -> Option<Key> {
    msg.call_id().filter(|_| is_invite(msg)).map(|call_id| module.root.secret.call(call_id))
}

fn is_invite(msg: &Message) -> bool {
    msg.kind() == Some(Kind::Request(Method::Invite))
}

/// If the call counts anywhere, it goes to the destination of this record now.
fn follow(module: &Module, msg: &Message, key: Key, record: u32) {
    let counts = call_count::follow(
        module.root,
        || Some(key),
        record,
        || tracking::invite(msg),
        followed::counts_all(module, msg),
    );
    if tracking::told(counts) == Some(true) {
        tracking::chosen(module, msg, key, record, true);
    }
}

/// The call goes nowhere, or to what is not configured.
fn leave(module: &Module, msg: &Message, key: Option<Key>) {
    if let Some(key) = key {
        tracking::told(call_count::leave(module.root, &key, tracking::invite(msg)));
    }
}

/// Whether there are lists at all; a script that asks without is told.
fn has_lists(module: &Module, function: &str) -> bool {
    let on = module.conf.failover != Failover::Off;
    if !on {
        log::warning(format_args!("{function}: failover is off (flags without 2, or no xavp_dst)"));
    }
    on
}

fn next(msg: &mut Message, target: Target) -> Verdict {
    let Some(module) = module().filter(|module| has_lists(module, "ds_next_dst or ds_next_domain")) else {
        return Verdict::FALSE;
    };
    if module.conf.failover != Failover::List {
        return next_lean(module, msg, target);
    }
    let mut list = List::of(&module.conf.xavp_dst);
    let key = call_key(module, msg);
    // Until the end: what failed is counted there.
    let Some(_sets) = module.sets() else { return Verdict::FALSE };
    let mut failed = None;
    in_use(module, msg, |_, set, at| failed = set.get(at).map(|one| one.record));
    if !list.remove_front() || next_usable(module, msg, key, &mut list).is_none() {
        return Verdict::FALSE;
    }
    let done = use_front(module, msg, target);
    if done == Verdict::True {
        goes_there(module, msg);
        failed.into_iter().for_each(|record| choose::count_failed_over(module.root, record));
    } else {
        leave(module, msg, key);
    }
    done
}

/// Sends the request to the next destination, chosen now.
fn next_lean(module: &Module, msg: &mut Message, target: Target) -> Verdict {
    let Some(tried) = attempts::of(module, msg) else { return Verdict::FALSE };
    loop {
        match send_on(module, msg, &tried, target) {
            Ok(Some(())) => return Verdict::True,
            Ok(None) => {
                log::error(format_args!("failover: the host has no more memory for the next destination"));
                leave(module, msg, call_key(module, msg));
                return Verdict::FALSE;
            }
            Err(NoRoute::Outdated) => commit::settled(module.root),
            Err(error) => {
                if let NoRoute::OutOfMemory(error) = error {
                    log::error(format_args!("failover: the call is not counted: {error}"));
                }
                attempts::forget(module, msg);
                return Verdict::FALSE;
            }
        }
    }
}

/// Of the sets that serve now. Nothing if the host has no memory.
fn send_on(
    module: &Module,
    msg: &mut Message,
    before: &Attempts,
    target: Target,
) -> Result<Option<()>, NoRoute> {
    let Some(sets) = module.sets() else { return Ok(None) };
    let Some(&rule) = before.rules().first() else { return Ok(None) };
    let (place, next) =
        select::with_ask(module, msg, rule, false, |ask| failover::next(module.root, &sets, before, ask))?;
    let mut done = || {
        let one = next.set.get(next.at)?;
        msg.send_to(one.text(one.uri), one.send_from, target).then_some(())?;
        let failed = failover::record_in_use(module.root, before);
        let mut tried = before.clone();
        tried.go_on(place, choose::tried_at(module.root, next.set, next.at)?, next.at);
        let entry = Listed { set: next.set, at: next.at, counted: next.counted };
        attempts::keep(module, msg, tried, &entry).ok()?;
        choose::count_selected(module.root, next.set, next.at);
        outcomes::chosen(module, msg, one.record);
        failed.into_iter().for_each(|record| choose::count_failed_over(module.root, record));
        if let Some((key, record)) = next.tracked {
            tracking::chosen(module, msg, key, record, next.own);
        }
        Some(())
    };
    Ok(done())
}

/// Sends the request to the destination in use.
fn use_kept(module: &Module, msg: &mut Message, target: Target) -> Verdict {
    let Some(sets) = module.sets() else { return Verdict::FALSE };
    let serves = attempts::place(module, msg, &sets).and_then(|(set, at)| set.get(at));
    let sent = match serves {
        Some(one) => msg.send_to(one.text(one.uri), one.send_from, target),
        // It is not configured any more: its URI is still known where the request has a transaction.
        None => attempts::in_use(module, msg).is_some_and(|one| msg.send_to(&one.uri, None, target)),
    };
    if sent { Verdict::True } else { Verdict::FALSE }
}

fn use_front(module: &Module, msg: &mut Message, target: Target) -> Verdict {
    if module.conf.failover == Failover::Transaction {
        return use_kept(module, msg, target);
    }
    let list = List::of(&module.conf.xavp_dst);
    let Some(record) = list.front() else { return Verdict::FALSE };
    let Some(uri) = record.text(b"uri") else {
        log::warning(format_args!("the first entry of the xavp list has no uri"));
        return Verdict::FALSE;
    };
    if msg.send_to(uri, record.socket(b"sock"), target) { Verdict::True } else { Verdict::FALSE }
}

/// Brings the entry to use next to the front of the list, with the call of this key; nothing if none is usable.
fn next_usable(module: &Module, msg: &Message, key: Option<Key>, list: &mut List<'_>) -> Option<()> {
    let sets = module.sets()?;
    loop {
        let front = list.front()?;
        let set = front.int(b"grp").and_then(|id| sets.set(id));
        let counted = key.filter(|_| front.text(b"dstid").is_some());
        let Some(key_of_counted) = counted else {
            match set.and_then(|set| list::position(set, &front, 0).map(|at| (set, at))) {
                // An entry that a script made, or whose destination is gone by now, is used as it is.
                None => leave(module, msg, key),
                Some((set, at)) if goes_on(module, msg, key, set, at) => {}
                Some(_) => {
                    list.remove_front();
                    continue;
                }
            }
            return Some(());
        };
        let (entries, length) = match set {
            Some(set) => counted_entries(set, list),
            None => (Vec::new(), 1),
        };
        let measure = list::measure(&front);
        match set.and_then(|set| least_loaded(module, msg, key_of_counted, set, (measure, &entries))) {
            Some(at) => {
                list.bring_to_front(at);
                return Some(());
            }
            // All of them are inactive, full or gone: on to what another selection left.
            None => (0..length).for_each(|_| {
                list.remove_front();
            }),
        }
    }
}

/// Whether the request goes on to this position. If its call counts anywhere, it counts there now.
fn goes_on(module: &Module, msg: &Message, key: Option<Key>, set: &Set<Pool>, at: usize) -> bool {
    let called = (key.as_ref(), module.has_priority(msg));
    match call_count::go_on(module.root, set, at, called, || tracking::invite(msg)) {
        Ok(counts) => {
            if let (true, Some(key), Some(destination)) = (counts, key, set.get(at)) {
                tracking::chosen(module, msg, key, destination.record, true);
            }
            true
        }
        Err(NotPlaced::Refused(_) | NotPlaced::Outdated) => false,
        Err(NotPlaced::OutOfMemory(error)) => {
            tracking::told::<()>(Err(error));
            true
        }
    }
}

/// The entries at the front of the list that one selection by call load wrote: (place in the list, position in the set)
/// of each that is still configured, and how many there are in all.
fn counted_entries(set: &Set<Pool>, list: &List<'_>) -> (Vec<(usize, usize)>, usize) {
    let mut entries = Vec::new();
    let (mut names, mut hint) = (HashSet::new(), 0);
    for (place, record) in list.records().enumerate() {
        // A name for the second time begins what an earlier selection from the same set left.
        match record.text(b"dstid") {
            Some(name)
                if record.int(b"grp") == Some(set.id) && names.insert((name, record.socket(b"sock"))) => {}
            _ => break,
        }
        if let Some(at) = list::position(set, &record, hint) {
            entries.push((place, at));
            hint = at + 1;
        }
    }
    (entries, names.len())
}

/// Counts the call at the least loaded of these entries; its place in the list.
fn least_loaded(
    module: &Module,
    msg: &Message,
    key: Key,
    set: &Set<Pool>,
    (measure, entries): (Measure, &[(usize, usize)]),
) -> Option<usize> {
    let positions: Vec<usize> = entries.iter().map(|(_, at)| *at).collect();
    let how = (module.conf.use_default, module.has_priority(msg));
    match choose::retry(module.root, set, (measure, &positions), key, tracking::invite(msg), how) {
        Ok(chosen) => {
            tracking::chosen(module, msg, key, set.get(chosen)?.record, true);
            entries.iter().find(|(_, at)| *at == chosen).map(|(place, _)| *place)
        }
        Err(NotPlaced::Refused(_) | NotPlaced::Outdated) => None,
        Err(NotPlaced::OutOfMemory(error)) => {
            log::error(format_args!("failover: the call is not counted: {error}"));
            None
        }
    }
}

/// `ds_mark_dst([state])`: changes the state of the destination that was used last. Inactive, if nothing is said.
pub fn mark_dst(msg: &mut Message, values: &Values<'_>) -> Verdict {
    with_reported("ds_mark_dst", values.text(0), |module, state| mark_front(module, msg, state))
}

/// For other modules: state as flags.
pub fn mark_for_module(msg: &mut Message, values: &Values<'_>) -> Verdict {
    verdict(module().and_then(|module| mark_front(module, msg, Flags(values.int(0) as u32))))
}

/// `ds_mark_addr(state, set, uri)`: changes the state of that destination.
pub fn mark_addr(msg: &mut Message, values: &Values<'_>) -> Verdict {
    let (id, uri) = (values.int(1), values.text(2));
    with_reported("ds_mark_addr", values.text(0), |module, state| {
        mark(module, msg, state, |sets| {
            let set = sets.set(id)?;
            let (at, _) = set.with_uri(uri).next()?;
            Some((set, at))
        })
    })
}

fn verdict(done: Option<()>) -> Verdict {
    if done.is_some() { Verdict::True } else { Verdict::FALSE }
}

/// Does something with the state that a script reports; nothing, with a word in the log, if the text is none.
fn with_reported(
    function: &str,
    text: &[u8],
    act: impl FnOnce(&'static Module, Flags) -> Option<()>,
) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let state = if text.is_empty() { Some(module.conf.probing_mode.mark()) } else { Flags::from_mark(text) };
    if state.is_none() {
        let found = shown(text);
        log::error(format_args!(
            "{function}: argument 'state': expected letters of a, i, d, t, p, found {found}"
        ));
    }
    verdict(state.and_then(|state| act(module, state)))
}

fn mark_front(module: &'static Module, msg: &Message, state: Flags) -> Option<()> {
    has_lists(module, "ds_mark_dst").then_some(())?;
    mark(module, msg, state, |sets| attempts::place(module, msg, sets))
}

/// Reports about what `find` finds; the event that this makes runs when nothing is held any more.
fn mark(
    module: &'static Module,
    msg: &Message,
    state: Flags,
    find: impl FnOnce(&Generation<Pool>) -> Option<(&Set<Pool>, usize)>,
) -> Option<()> {
    let report = match msg.status() {
        Some((code, reason)) => Report { code, reason: reason.into(), received: true },
        None => Report { code: REQUEST, ..Report::default() },
    };
    let (thresholds, events) = (context::thresholds(), module.conf.events);
    let mark = Mark { state, report, thresholds, events, now: clock::wall_millis() };
    let told = {
        let sets = module.sets()?;
        let (set, at) = find(&sets)?;
        set_state::mark(module.root, set, at, &mark)?
    };
    if let Some(told) = told {
        event::tell(module, told);
    }
    Some(())
}

/// `$dsv(code)` where a script marks a destination while it handles a request, as in the stock module.
const REQUEST: u16 = 820;
