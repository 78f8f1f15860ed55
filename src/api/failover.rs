//! `ds_next_dst` and `ds_mark_dst`: what a script does when the destination of a call fails.

use super::{Module, list, module};
use crate::dest::{Flags, problem::shown};
use crate::health::mark::{Thresholds, mark};
use crate::host::message::{Kind, Message, Method};
use crate::host::script::{Args, Verdict};
use crate::host::{clock, log, mem::Pool, xavp::Record};
use crate::service::calls::NotPlaced;
use crate::service::route;
use crate::state::Set;

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
    let Some(failed) = Record::first(&module.conf.xavp_dst) else { return Verdict::FALSE };
    failed.remove();
    if next_usable(module, msg).is_none() {
        return Verdict::FALSE;
    }
    let Some(record) = Record::first(&module.conf.xavp_dst) else { return Verdict::FALSE };
    let Some(uri) = record.text(b"uri") else {
        log::warning(format_args!("ds_next_dst: the next entry of the list has no uri"));
        return Verdict::FALSE;
    };
    if msg.set_destination(uri, record.socket(b"sock")) { Verdict::True } else { Verdict::FALSE }
}

/// Brings the entry to use next to the front of the list; nothing if none is usable.
fn next_usable(module: &Module, msg: &Message) -> Option<()> {
    let sets = module.sets()?;
    loop {
        let front = Record::first(&module.conf.xavp_dst)?;
        let set = front.int(b"grp").and_then(|id| sets.set(id));
        if front.text(b"dstid").is_some() && msg.kind() == Some(Kind::Request(Method::Invite)) {
            let counted = entries_like(front);
            if set.and_then(|set| least_loaded(module, msg, set, &counted)).is_some() {
                return Some(());
            }
            counted.into_iter().for_each(Record::remove);
            continue;
        }
        // An entry that a script made, or whose destination is gone by now, is used as it is.
        let position = set.and_then(|set| list::position(set, &front).map(|at| (set, at)));
        if position.is_none_or(|(set, at)| route::is_usable(module.root, set, at)) {
            return Some(());
        }
        front.remove();
    }
}

/// The entries from `front` on that one selection by call load wrote.
fn entries_like(front: Record) -> Vec<Record> {
    let set = front.int(b"grp");
    core::iter::successors(Some(front), |record| record.next())
        .take_while(|record| record.int(b"grp") == set && record.text(b"dstid").is_some())
        .collect()
}

/// Counts the call at the least loaded of these entries, and brings that entry to the front of them.
fn least_loaded(module: &Module, msg: &Message, set: &Set<Pool>, entries: &[Record]) -> Option<()> {
    let places: Vec<(usize, &Record)> =
        entries.iter().filter_map(|record| list::position(set, record).map(|at| (at, record))).collect();
    let positions: Vec<usize> = places.iter().map(|(at, _)| *at).collect();
    let key = module.root.secret.call(msg.call_id()?);
    let spare_last = module.conf.use_default;
    match route::retry(module.root, set, &positions, key, clock::seconds(), spare_last) {
        Ok(chosen) => {
            let (_, record) = places.iter().find(|(at, _)| *at == chosen)?;
            entries.first()?.swap(**record);
            Some(())
        }
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
        let used = Record::first(&module.conf.xavp_dst)?;
        let sets = module.sets()?;
        let set = sets.set(used.int(b"grp")?)?;
        let record = set.destinations.get(list::position(set, &used)?)?.record;
        let thresholds =
            Thresholds { failures: module.conf.probing_threshold, replies: module.conf.inactive_threshold };
        let record = module.root.registry.record(record)?;
        record.change_state(|old, streak| mark(old, streak, report, thresholds));
        Some(())
    };
    if marked().is_some() { Verdict::True } else { Verdict::FALSE }
}
