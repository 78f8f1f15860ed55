//! `ds_next_dst` and `ds_mark_dst`: what a script does when the destination of a call fails.

use super::{Module, list, module};
use crate::dest::{Flags, problem::shown};
use crate::health::mark::Thresholds;
use crate::host::message::{Kind, Message, Method};
use crate::host::script::{Args, Verdict};
use crate::host::{clock, log, mem::Pool, xavp::List};
use crate::service::calls::NotPlaced;
use crate::service::{route, states};
use crate::state::Set;
use std::collections::HashSet;

/// `ds_next_dst()`: sends the request to the next destination of the list.
///
/// What is inactive or full by now is skipped. For a counted call (algorithm 10) the next is the least loaded of those
/// left, and the count moves there.
pub fn next_dst(msg: &mut Message, _: &Args<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    if !module.conf.failover || module.conf.xavp_dst.is_empty() {
        log::warning(format_args!("ds_next_dst: failover is off (flags without 2, or no xavp_dst)"));
        return Verdict::FALSE;
    }
    let mut list = List::of(&module.conf.xavp_dst);
    if !list.remove_front() || next_usable(module, msg, &mut list).is_none() {
        return Verdict::FALSE;
    }
    let Some(record) = list.front() else { return Verdict::FALSE };
    let Some(uri) = record.text(b"uri") else {
        log::warning(format_args!("ds_next_dst: the next entry of the list has no uri"));
        return Verdict::FALSE;
    };
    if msg.set_destination(uri, record.socket(b"sock")) { Verdict::True } else { Verdict::FALSE }
}

/// Brings the entry to use next to the front of the list; nothing if none is usable.
fn next_usable(module: &Module, msg: &Message, list: &mut List<'_>) -> Option<()> {
    let sets = module.sets()?;
    let starts_call = msg.kind() == Some(Kind::Request(Method::Invite));
    loop {
        let front = list.front()?;
        let set = front.int(b"grp").and_then(|id| sets.set(id));
        if front.text(b"dstid").is_none() || !starts_call {
            // An entry that a script made, or whose destination is gone by now, is used as it is.
            let position = set.and_then(|set| list::position(set, &front, 0).map(|at| (set, at)));
            if position.is_none_or(|(set, at)| route::is_usable(module.root, set, at)) {
                return Some(());
            }
            list.remove_front();
            continue;
        }
        let (entries, length) = match set {
            Some(set) => counted_entries(set, list),
            None => (Vec::new(), 1),
        };
        match set.and_then(|set| least_loaded(module, msg, set, &entries)) {
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

/// The entries at the front of the list that one selection by call load wrote: (place in the list, position in the set)
/// of each that is still configured, and how many there are in all.
fn counted_entries(set: &Set<Pool>, list: &List<'_>) -> (Vec<(usize, usize)>, usize) {
    let mut entries = Vec::new();
    let (mut names, mut hint) = (HashSet::new(), 0);
    for (place, record) in list.records().enumerate() {
        // A name for the second time begins what an earlier selection from the same set left.
        match record.text(b"dstid") {
            Some(name) if record.int(b"grp") == Some(set.id) && names.insert(name) => {}
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
    set: &Set<Pool>,
    entries: &[(usize, usize)],
) -> Option<usize> {
    let positions: Vec<usize> = entries.iter().map(|(_, at)| *at).collect();
    let key = module.root.secret.call(msg.call_id()?);
    let spare_last = module.conf.use_default;
    match route::retry(module.root, set, &positions, key, clock::seconds(), spare_last) {
        Ok(chosen) => entries.iter().find(|(_, at)| *at == chosen).map(|(place, _)| *place),
        Err(NotPlaced::Refused(_)) => None,
        Err(NotPlaced::OutOfMemory(error)) => {
            log::error(format_args!("ds_next_dst: the call is not counted: {error}"));
            None
        }
    }
}

/// `ds_mark_dst([state])`: changes the state of the destination that was used last. Inactive, if nothing is said.
pub fn mark_dst(_: &mut Message, args: &Args<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let text = if args.has(0) { args.text(0, "state") } else { Ok(&b""[..]) };
    let report = match text.map(|text| (text, Flags::from_mark(text))) {
        Ok((b"", _)) => Flags::INACTIVE,
        Ok((_, Some(report))) => report,
        Ok((text, None)) => {
            let found = shown(text);
            log::error(format_args!(
                "ds_mark_dst: argument 'state': letters of a, i, d, t, p are due, found {found}"
            ));
            return Verdict::FALSE;
        }
        Err(error) => {
            log::error(format_args!("ds_mark_dst: {error}"));
            return Verdict::FALSE;
        }
    };
    if !module.conf.failover || module.conf.xavp_dst.is_empty() {
        log::warning(format_args!("ds_mark_dst: failover is off (flags without 2, or no xavp_dst)"));
        return Verdict::FALSE;
    }
    let marked = || {
        let list = List::of(&module.conf.xavp_dst);
        let used = list.front()?;
        let sets = module.sets()?;
        let set = sets.set(used.int(b"grp")?)?;
        let at = list::position(set, &used, 0)?;
        let thresholds =
            Thresholds { failures: module.conf.probing_threshold, replies: module.conf.inactive_threshold };
        states::mark(module.root, set, at, report, thresholds)
    };
    if marked().is_some() { Verdict::True } else { Verdict::FALSE }
}
