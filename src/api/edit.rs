//! RPC commands about single destinations and keys: `add`, `update`, `remove`, `hash`, `oclist`.

use super::rpc::with_module;
use super::{Module, reload};
use crate::dest::{Attrs, Entry, Flags, Place, attrs};
use crate::host::clock;
use crate::host::rpc::Rpc;
use crate::select::hash;
use crate::service::edit::{self, NotEdited, Pace, Update};
use std::borrow::Cow;

fn pace(module: &Module) -> Pace {
    Pace { delta: module.conf.reload_delta, now: clock::seconds() }
}

/// Answers; what went wrong is told with `what` before it.
fn answer(rpc: &Rpc, done: Result<(), NotEdited>, ok: &str, what: &str) {
    match done {
        Ok(()) => rpc.say(ok),
        Err(NotEdited::TooSoon) => rpc.fault(500, "Ongoing reload"),
        Err(NotEdited::Wrong(problem)) => rpc.fault(500, &format!("{what}: {}", problem.text)),
        Err(NotEdited::NotThere) => rpc.fault(500, &format!("{what}: no such destination")),
        Err(NotEdited::OutOfMemory(error)) => rpc.fault(500, &format!("{what}: {error}")),
    }
}

/// `dispatcher.add group address [flags [priority [attrs]]]`.
pub fn add(rpc: &Rpc) {
    const WHAT: &str = "Adding dispatcher dst failed";
    with_module(rpc, |module| {
        let Some(given) = rpc.int_text_and_ints_text(0) else {
            rpc.fault(500, "Invalid Parameters");
            return Ok(());
        };
        let (group, address, [flags, priority], attrs) =
            (given.number, given.text, given.numbers, given.last);
        let whole = |name, number| whole(WHAT, name, number);
        let entry = || {
            whole("group", group)?;
            whole("priority", priority)?;
            let flags = Flags(whole("flags", flags)?);
            let none = module.conf.attrs_none && attrs::body(attrs).is_empty();
            let attrs = attributes(WHAT, if none { attrs::NONE } else { attrs })?;
            let uri = Cow::Borrowed(address);
            Ok::<_, String>(Entry { place: Place::Row(1), set: group, uri, flags, priority, attrs })
        };
        match entry() {
            Ok(entry) => {
                let done = edit::add(module.root, &reload::source(module), entry, pace(module));
                answer(rpc, done, "Ok. Dispatcher destination added.", WHAT);
            }
            Err(text) => rpc.fault(500, &text),
        }
        Ok(())
    });
}

/// The number, if it is one from 0 on.
fn whole(what: &str, name: &str, number: i32) -> Result<u32, String> {
    let error = |_| format!("{what}: {name} {number}: a whole number from 0 to 2147483647 is due");
    u32::try_from(number).map_err(error)
}

fn attributes<'t>(what: &str, text: &'t [u8]) -> Result<Attrs<'t>, String> {
    Attrs::parse(text).map_err(|(at, text)| format!("{what}: attrs, byte {}: {text}", at + 1))
}

/// `dispatcher.update group address [flags [priority [attrs]]]`: changes what is given; -1, or no attributes, leaves what is.
pub fn update(rpc: &Rpc) {
    const WHAT: &str = "Updating dispatcher dst failed";
    const STAYS: i32 = -1;
    with_module(rpc, |module| {
        let Some(given) = rpc.int_text_and_ints_text(STAYS) else {
            rpc.fault(500, "Invalid Parameters");
            return Ok(());
        };
        let changed = |name, number: i32| match number {
            STAYS => Ok(None),
            number => whole(WHAT, name, number).map(Some),
        };
        let update = || {
            let [flags, priority] = given.numbers;
            let attrs = (!given.last.is_empty()).then(|| attributes(WHAT, given.last)).transpose()?;
            Ok::<_, String>(Update {
                flags: changed("flags", flags)?.map(Flags),
                priority: changed("priority", priority)?.map(|_| priority),
                attrs,
            })
        };
        match update() {
            Ok(update) => {
                let which = (given.number, given.text);
                let done = edit::update(module.root, &reload::source(module), which, &update, pace(module));
                answer(rpc, done, "Ok. Dispatcher destination updated.", WHAT);
            }
            Err(text) => rpc.fault(500, &text),
        }
        Ok(())
    });
}

/// `dispatcher.remove group address`.
pub fn remove(rpc: &Rpc) {
    with_module(rpc, |module| {
        let Some((group, address, _)) = rpc.int_text_and_text() else {
            rpc.fault(500, "Invalid Parameters");
            return Ok(());
        };
        let done = edit::remove(module.root, group, address, pace(module));
        answer(rpc, done, "Ok. Dispatcher destination removed.", "Removing dispatcher dst failed");
        Ok(())
    });
}

/// `dispatcher.hash nslots value [value]`: the hash that algorithms 0 to 3 make, and the position in a set of `nslots`.
pub fn hash(rpc: &Rpc) {
    with_module(rpc, |_| {
        let Some((slots, first, second)) = rpc.int_text_and_text() else {
            rpc.fault(500, "Invalid Parameters");
            return Ok(());
        };
        let hash = hash::stock(first, second);
        let slots = u32::try_from(slots).unwrap_or(0);
        let top = rpc.structure()?;
        top.unsigned(c"hashid", hash)?;
        top.unsigned(c"slot", hash.checked_rem(slots).unwrap_or(0))
    });
}

/// `dispatcher.oclist group`: overload control of each destination.
pub fn oclist(rpc: &Rpc) {
    with_module(rpc, |module| {
        let Some(group) = rpc.int() else {
            rpc.fault(500, "Invalid Parameters");
            return Ok(());
        };
        let sets = module.sets();
        let Some(set) = sets.as_ref().and_then(|sets| sets.set(group)) else {
            rpc.fault(404, "Destination Group Not Found");
            return Ok(());
        };
        for one in set.iter() {
            let Some(record) = module.root.registry.record(one.record) else { continue };
            let wish = &record.overload;
            let entry = rpc.structure()?;
            entry.int(c"group", group)?;
            entry.text(c"uri", one.text(one.uri))?;
            entry.int(c"flags", record.flags().0 as i32)?;
            entry.int(c"priority", one.priority)?;
            entry.unsigned(c"ocrate", wish.rate())?;
            entry.unsigned(c"ocidx", wish.asked() % 100)?;
            entry.unsigned(c"ocseq", wish.sequence() as u32)?;
            entry.unsigned_long(c"octime_sec", wish.until() / 1000)?;
            entry.unsigned_long(c"octime_usec", wish.until() % 1000 * 1000)?;
            entry.unsigned(c"ocmin", one.ocmin)?;
            entry.unsigned(c"ocmax", 100)?;
        }
        Ok(())
    });
}
