//! RPC commands about single destinations and keys: `add`, `update`, `remove`, `hash`, `oclist`.

use super::rpc::{Fault, INVALID, NO_GROUP, with_module};
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

/// What went wrong is told with `what` before it.
fn fault(error: NotEdited, what: &str) -> Fault {
    match error {
        NotEdited::TooSoon => Fault::of(500, "Ongoing reload"),
        NotEdited::Wrong(problem) => format!("{what}: {}", problem.text).into(),
        NotEdited::NotThere => format!("{what}: no such destination").into(),
        NotEdited::OutOfMemory(error) => format!("{what}: {error}").into(),
    }
}

/// `dispatcher.add group address [flags [priority [attrs]]]`.
pub fn add(rpc: &Rpc) {
    const WHAT: &str = "Adding dispatcher dst failed";
    with_module(rpc, |module| {
        let given = rpc.int_text_and_ints_text(0).ok_or(INVALID)?;
        let (set, [flags, priority], attrs) = (given.number, given.numbers, given.last);
        whole(WHAT, "group", set)?;
        whole(WHAT, "priority", priority)?;
        let flags = Flags(whole(WHAT, "flags", flags)?);
        let none = attrs::none(attrs).filter(|_| module.conf.attrs_none);
        let attrs = attributes(WHAT, none.unwrap_or(attrs))?;
        let uri = Cow::Borrowed(given.text);
        let entry = Entry { place: Place::Row(1), set, uri, flags, priority, attrs };
        edit::add(module.root, &reload::source(module), entry, pace(module))
            .map_err(|error| fault(error, WHAT))?;
        rpc.say("Ok. Dispatcher destination added.");
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
        let given = rpc.int_text_and_ints_text(STAYS).ok_or(INVALID)?;
        let changed = |name, number: i32| match number {
            STAYS => Ok(None),
            number => whole(WHAT, name, number).map(Some),
        };
        let [flags, priority] = given.numbers;
        let attrs = (!given.last.is_empty()).then(|| attributes(WHAT, given.last)).transpose()?;
        let update = Update {
            flags: changed("flags", flags)?.map(Flags),
            priority: changed("priority", priority)?.map(|_| priority),
            attrs,
        };
        let which = (given.number, given.text);
        edit::update(module.root, &reload::source(module), which, &update, pace(module))
            .map_err(|error| fault(error, WHAT))?;
        rpc.say("Ok. Dispatcher destination updated.");
        Ok(())
    });
}

/// `dispatcher.remove group address`.
pub fn remove(rpc: &Rpc) {
    with_module(rpc, |module| {
        let (group, address, _) = rpc.int_text_and_text().ok_or(INVALID)?;
        edit::remove(module.root, group, address, pace(module))
            .map_err(|error| fault(error, "Removing dispatcher dst failed"))?;
        rpc.say("Ok. Dispatcher destination removed.");
        Ok(())
    });
}

/// `dispatcher.hash nslots value [value]`: the hash that algorithms 0 to 3 make, and the position in a set of `nslots`.
pub fn hash(rpc: &Rpc) {
    with_module(rpc, |_| {
        let (slots, first, second) = rpc.int_text_and_text().ok_or(INVALID)?;
        let hash = hash::stock(first, second);
        let slots = u32::try_from(slots).unwrap_or(0);
        let top = rpc.structure()?;
        top.unsigned(c"hashid", hash)?;
        Ok(top.unsigned(c"slot", hash.checked_rem(slots).unwrap_or(0))?)
    });
}

/// `dispatcher.oclist group`: overload control of each destination.
pub fn oclist(rpc: &Rpc) {
    with_module(rpc, |module| {
        let group = rpc.int().ok_or(INVALID)?;
        let sets = module.sets();
        let set = sets.as_ref().and_then(|sets| sets.set(group)).ok_or(NO_GROUP)?;
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
