//! `ds_select_dst`: choosing a destination for the request at hand.

use super::list::{self, Listed};
use super::{Module, module};
use crate::host::message::{Kind, Message, Method};
use crate::host::script::{Args, BadArgument, Verdict};
use crate::host::{clock, log, mem::Pool, process, xavp};
use crate::load::Event;
use crate::select::{Refusal, Text, hash};
use crate::service::calls::{self, Report};
use crate::service::route::{self, Ask, NoRoute, Selection};
use core::sync::atomic::{AtomicBool, Ordering};

/// The codes of a false answer, by cause.
mod code {
    pub const ERROR: i32 = -1;
    pub const NO_SET: i32 = -2;
    pub const NONE_ACTIVE: i32 = -3;
    pub const NO_ROOM: i32 = -4;
}

/// What the script asks for.
struct Wanted {
    set: i32,
    algorithm: i32,
    /// Destinations at most; `u32::MAX` is all.
    limit: u32,
}

impl Wanted {
    fn read(args: &Args<'_>) -> Result<Self, BadArgument> {
        let limit = if args.has(2) { args.int(2, "limit")? } else { 0 };
        // Not above zero is no limit, as in the stock module.
        let limit = u32::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(u32::MAX);
        Ok(Self { set: args.int(0, "set")?, algorithm: args.int(1, "alg")?, limit })
    }
}

/// `ds_select_dst(set, alg [, limit])`: sets the destination URI.
pub fn select_dst(msg: &mut Message, args: &Args<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let wanted = match Wanted::read(args) {
        Ok(wanted) => wanted,
        Err(error) => {
            log::error(format_args!("ds_select_dst: {error}"));
            return Verdict::False(code::ERROR);
        }
    };
    match choose(module, msg, &wanted) {
        Ok(()) => Verdict::True,
        Err(code) => Verdict::False(code),
    }
}

fn choose(module: &Module, msg: &mut Message, wanted: &Wanted) -> Result<(), i32> {
    if !module.conf.force_dst {
        if let Some(there) = msg.destination() {
            let there = there.escape_ascii();
            log::error(format_args!(
                "ds_select_dst: a destination is set already ({there}) and force_dst is 0"
            ));
            return Err(code::ERROR);
        }
    }
    let sets = module.sets().ok_or(code::ERROR)?;
    warn_of_unknown(wanted.algorithm);
    let invite = msg.kind() == Some(Kind::Request(Method::Invite));
    let key = || msg.call_id().map(|call_id| module.root.secret.call(call_id));
    let ask = Ask {
        set: wanted.set,
        algorithm: wanted.algorithm,
        call: if invite { Some(&key) } else { None },
        now: clock::seconds(),
        now_ms: clock::wall_millis(),
        random: &process::random_number,
        spare_last: module.conf.use_default,
        hash: &|text| match text {
            Text::CallId => msg.call_id().map(|call_id| hash::stock(call_id, &[])),
            _ => None,
        },
    };
    let chosen = route::select(module.root, &sets, &ask).map_err(|error| refused(wanted, &error))?;
    let key = if chosen.counted { key() } else { None };
    write(module, msg, &chosen, wanted.limit).ok_or_else(|| {
        log::error(format_args!(
            "ds_select_dst: the host has no more memory for the destination or its list"
        ));
        if let Some(key) = key {
            // The script is told that there is no destination: the call does not go there.
            calls::report(
                module.root,
                &Report { key, event: Event::Unset, now: clock::seconds(), from: None },
            );
        }
        code::ERROR
    })
}

/// Sets what was chosen. Nothing if the host has no memory.
fn write(module: &Module, msg: &mut Message, chosen: &Selection<'_, Pool>, limit: u32) -> Option<()> {
    let destination = chosen.set.destinations.get(chosen.at)?;
    let set = msg.set_destination(chosen.set.text(destination.uri), destination.send_from);
    set.then(|| keep_the_rest(module, chosen, limit).ok())?
}

/// Writes the list for failover and the number of its entries.
fn keep_the_rest(module: &Module, chosen: &Selection<'_, Pool>, limit: u32) -> Result<(), xavp::NoMemory> {
    let conf = &module.conf;
    let mut count = 0;
    if conf.failover && !conf.xavp_dst.is_empty() {
        let mut writer = xavp::Writer::new(&conf.xavp_dst);
        let mut write = |at| {
            let listed = Listed { set: chosen.set, at, counted: chosen.counted };
            count += 1;
            writer.add(list::fields(conf, &listed)?)
        };
        write(chosen.at)?;
        let left = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        chosen.alternatives(module.root).into_iter().take(left).try_for_each(write)?;
    }
    if conf.with_count && !conf.xavp_ctx.is_empty() {
        xavp::add_int(&conf.xavp_ctx, b"cnt", count)?;
    }
    Ok(())
}

fn refused(wanted: &Wanted, error: &NoRoute) -> i32 {
    let set = wanted.set;
    match error {
        NoRoute::Refused(Refusal::NoSet) => {
            log::error(format_args!("ds_select_dst: no destination set {set}"));
            code::NO_SET
        }
        NoRoute::Refused(Refusal::NoneActive) => code::NONE_ACTIVE,
        NoRoute::Refused(Refusal::NoRoom) => code::NO_ROOM,
        NoRoute::NoText(text) => {
            log::error(format_args!("ds_select_dst: the message has no {text:?} to hash"));
            code::ERROR
        }
        NoRoute::OutOfMemory(error) => {
            log::error(format_args!("ds_select_dst: the call is not counted: {error}"));
            code::ERROR
        }
    }
}

/// Once a process: a script that asks for a number that there is not asks for it with every call.
fn warn_of_unknown(algorithm: i32) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if crate::select::algorithm(algorithm).is_none() && !WARNED.swap(true, Ordering::Relaxed) {
        log::warning(format_args!(
            "ds_select_dst: no algorithm {algorithm}, the first entry of the set is used"
        ));
    }
}
