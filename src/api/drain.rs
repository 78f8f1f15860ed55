//! `dispatcher.drain`, `dispatcher.undrain`, `ds_drain` and `ds_undrain`: destinations that get no new calls until they are empty.

use super::rpc::{Fault, NO_GROUP, with_module};
use crate::context::{Module, module};
use crate::dest::problem::shown;
use crate::host::message::Message;
use crate::host::rpc::Rpc;
use crate::host::script::{Values, Verdict};
use crate::host::{log, mem::Pool};
use crate::service::health::drain::{self, NotDrained, Terms};
use crate::service::health::probe::Now;
use crate::state::{Member, Set};
use crate::workers::prober;

/// What an operator reads where a drain would have no end.
const NO_END: &str = "calls are not counted in this set, so nobody can tell when it is empty: give seconds, or set ds_load_auto to 1";

/// `dispatcher.drain group [address|duid|all [seconds]]`: no new calls.
pub fn drain(rpc: &Rpc) {
    let seconds = match rpc.optional_int(2).map(u32::try_from).transpose() {
        Ok(seconds) => seconds,
        Err(_) => return rpc.fault(400, "seconds: expected a whole number from 0 to 2147483647"),
    };
    change(rpc, "draining", |module, set, found, now| {
        drain::begin(module.root, set, found, terms(module, seconds), now)
    });
}

/// `dispatcher.undrain group [address|duid|all]`: they get calls again.
pub fn undrain(rpc: &Rpc) {
    change(rpc, "not draining any more", |module, _, found, now| drain::undo(module.root, found, now));
}

fn terms(module: &Module, seconds: Option<u32>) -> Terms {
    Terms { seconds, counts_all: module.conf.load_auto }
}

fn change(
    rpc: &Rpc,
    done: &str,
    change: impl FnOnce(&Module, &Set<Pool>, &[Member<'_>], Now) -> Result<usize, NotDrained>,
) {
    with_module(rpc, |module| {
        let sets = module.sets();
        let set = sets.as_ref().and_then(|sets| sets.set(rpc.int(0))).ok_or(NO_GROUP)?;
        let found = drain::named(set, rpc.text(1));
        let count = change(module, set, &found, prober::now()).map_err(|error| match error {
            NotDrained::NotThere => Fault::of(404, "Destination Not Found"),
            NotDrained::NoEnd => Fault::of(400, NO_END),
        })?;
        rpc.say(&format!("Ok. Dispatcher destinations {done}: {count}."));
        Ok(())
    });
}

/// `ds_undrain(set, address|duid)`: they get calls again. -1 if there is no such destination.
pub fn ds_undrain(_: &mut Message, values: &Values<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let Some(sets) = module.sets() else { return Verdict::FALSE };
    let Some(set) = sets.set(values.int(0)) else { return Verdict::FALSE };
    let found = drain::named(set, values.text(1));
    drain::undo(module.root, &found, prober::now()).map_or(Verdict::FALSE, |_| Verdict::True)
}

/// `ds_drain(set, address|duid [, seconds])`: the same in a script. -1 if there is no such destination, -2 where seconds are needed.
pub fn ds_drain(_: &mut Message, values: &Values<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let seconds = if values.len() > 2 { Some(values.int(2)) } else { None };
    let Ok(seconds) = seconds.map(u32::try_from).transpose() else {
        let found = values.int(2);
        log::error(format_args!(
            "ds_drain: argument 'seconds': expected a whole number from 0 on, found {found}"
        ));
        return Verdict::FALSE;
    };
    let Some(sets) = module.sets() else { return Verdict::FALSE };
    let Some(set) = sets.set(values.int(0)) else { return Verdict::FALSE };
    let found = drain::named(set, values.text(1));
    match drain::begin(module.root, set, &found, terms(module, seconds), prober::now()) {
        Ok(_) => Verdict::True,
        Err(NotDrained::NotThere) => Verdict::FALSE,
        Err(NotDrained::NoEnd) => {
            log::error(format_args!("ds_drain: set {}: {}: {NO_END}", set.id, shown(values.text(1))));
            Verdict::False(-2)
        }
    }
}
