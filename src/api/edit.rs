//! RPC commands about single destinations and keys: `add`, `update`, `remove`, `hash`, `oclist`.

use super::rpc::{Fault, NO_GROUP, with_module};
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
        let (set, flags, priority, attrs) = (rpc.int(0), rpc.int(2), rpc.int(3), rpc.text(4));
        whole(WHAT, "group", set)?;
        whole(WHAT, "priority", priority)?;
        let flags = Flags(whole(WHAT, "flags", flags)?);
        let none = attrs::none(attrs).filter(|_| module.conf.attrs_none);
        let attrs = attributes(WHAT, none.unwrap_or(attrs))?;
        let uri = Cow::Borrowed(rpc.text(1));
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
        let changed = |name, number: Option<i32>| match number {
            None | Some(STAYS) => Ok(None),
            Some(number) => whole(WHAT, name, number).map(Some),
        };
        let (flags, priority, attrs) = (rpc.optional_int(2), rpc.optional_int(3), rpc.text(4));
        let attrs = (!attrs.is_empty()).then(|| attributes(WHAT, attrs)).transpose()?;
        let update = Update {
            flags: changed("flags", flags)?.map(Flags),
            priority: changed("priority", priority)?.and(priority),
            attrs,
        };
        let which = (rpc.int(0), rpc.text(1));
        edit::update(module.root, &reload::source(module), which, &update, pace(module))
            .map_err(|error| fault(error, WHAT))?;
        rpc.say("Ok. Dispatcher destination updated.");
        Ok(())
    });
}

/// `dispatcher.remove group address`.
pub fn remove(rpc: &Rpc) {
    with_module(rpc, |module| {
        edit::remove(module.root, rpc.int(0), rpc.text(1), pace(module))
            .map_err(|error| fault(error, "Removing dispatcher dst failed"))?;
        rpc.say("Ok. Dispatcher destination removed.");
        Ok(())
    });
}

/// `dispatcher.hash nslots value [value]`: the hash that algorithms 0 to 3 make, and the position in a set of `nslots`.
pub fn hash(rpc: &Rpc) {
    with_module(rpc, |_| {
        let (slots, first, second) = (rpc.int(0), rpc.text(1), rpc.text(2));
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
        let group = rpc.int(0);
        let sets = module.sets();
        let set = sets.as_ref().and_then(|sets| sets.set(group)).ok_or(NO_GROUP)?;
        for one in set.iter() {
            let Some(record) = module.root.registry.record(one.record) else { continue };
            let (wish, sequence) = record.wished();
            let entry = rpc.structure()?;
            entry.int(c"group", group)?;
            entry.text(c"uri", one.text(one.uri))?;
            entry.int(c"flags", record.flags().0 as i32)?;
            entry.int(c"priority", one.priority)?;
            entry.unsigned(c"ocrate", wish.rate)?;
            entry.unsigned(c"ocidx", record.overload.asked() % 100)?;
            entry.unsigned(c"ocseq", sequence as u32)?;
            entry.unsigned_long(c"octime_sec", wish.until / 1000)?;
            entry.unsigned_long(c"octime_usec", wish.until % 1000 * 1000)?;
            entry.unsigned(c"ocmin", one.ocmin)?;
            entry.unsigned(c"ocmax", 100)?;
        }
        Ok(())
    });
}
