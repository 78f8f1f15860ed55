//! Figures for monitoring: counters of the server for the module as a whole, and figures of each destination as a
//! Prometheus text (`ds_prometheus`) and by RPC (`dispatcher.stats`).

use super::rpc::{Part, capacity, with_module};
use crate::context::{Module, module};
use crate::host::counters;
use crate::host::mem::Pool;
use crate::host::message::Message;
use crate::host::rpc::Rpc;
use crate::host::script::{Values, Verdict};
use crate::host::{log, xhttp};
use crate::service::report::metrics::{self, FIGURES, Seen};
use crate::state::{Counters, Generation, LastAudit, Set};
use core::ffi::CStr;
use std::ffi::CString;

/// The media type of a Prometheus text.
const KIND: &str = "text/plain; version=0.0.4";

/// `ds_prometheus([set])`: answers the HTTP request at hand with the figures of all destinations and of the module as a whole,
/// or of the destinations of a set.
pub fn prometheus(msg: &mut Message, values: &Values<'_>) -> Verdict {
    let text = |module: &Module| {
        let sets = module.sets()?;
        let set = (!values.is_empty()).then(|| values.int(0));
        let wanted = wanted(&sets, set);
        let mut text = metrics::prometheus(module.root, &wanted);
        let no_set = set.is_none().then(|| module.root.counters.no_set.get());
        text.push_str(&metrics::refused(&wanted, no_set));
        if set.is_none() {
            text.push_str(&metrics::of_capacities(module.root));
            text.extend(of_module());
            text.extend(of_last_audit(&module.root.counters.last_audit));
        }
        Some(text)
    };
    let Some(text) = module().and_then(text) else { return Verdict::FALSE };
    let answer = xhttp::Answer { status: (200, "OK"), kind: KIND, headers: "", body: text.as_bytes() };
    if xhttp::reply(msg, &answer) {
        return Verdict::True;
    }
    log::error(format_args!(
        "ds_prometheus: there is no HTTP request to answer, or the module xhttp is not loaded"
    ));
    Verdict::FALSE
}

/// The set of this id, or all.
fn wanted(sets: &Generation<Pool>, id: Option<i32>) -> Vec<&Set<Pool>> {
    match id {
        Some(id) => sets.set(id).into_iter().collect(),
        None => sets.sets().collect(),
    }
}

/// `dispatcher.stats [set [from [count]]]`: the same figures, a structure for each destination; all, or as many of a set as
/// asked for. With each comes the capacity that it shares, and how many selections of its set were refused, by cause.
pub fn stats(rpc: &Rpc) {
    with_module(rpc, |module| {
        let Some(sets) = module.sets() else { return Ok(()) };
        let [set, from, count] = [0, 1, 2].map(|at| rpc.optional_int(at));
        let part = Part::of([from, count]);
        for set in wanted(&sets, set) {
            for (one, record) in part.take(metrics::each(module.root, set)) {
                let entry = rpc.structure()?;
                entry.int(c"SET", set.id)?;
                entry.text(c"URI", one.text(one.uri))?;
                entry.text(c"DUID", one.text(one.duid))?;
                let seen = Seen::of(module.root, set, one, record);
                for figure in FIGURES {
                    if let Some(value) = figure.shown(&one, &seen) {
                        entry.unsigned_long(&in_capitals(figure.name), value)?;
                    }
                }
                if let Some(shared) = module.root.registry.capacity_of(record) {
                    capacity(&shared, &entry)?;
                }
                let refused = entry.structure(c"SET_REFUSED")?;
                for cause in metrics::causes() {
                    refused.unsigned_long(&in_capitals(cause.label()), set.refused().get(cause))?;
                }
            }
        }
        Ok(())
    });
}

fn in_capitals(name: &str) -> CString {
    CString::new(name.to_ascii_uppercase()).unwrap_or_default()
}

/// A counter of the module as a whole.
struct OfModule {
    name: &'static CStr,
    about: &'static CStr,
    read: counters::Read,
}

/// All of them.
const OF_MODULE: [OfModule; 8] = [
    OfModule { name: c"placed", about: c"Calls counted.", read: || count(|all| all.placed.get()) },
    OfModule {
        name: c"unknown",
        about: c"Releases of a call that is not known.",
        read: || count(|all| all.unknown.get()),
    },
    OfModule {
        name: c"late",
        about: c"Releases that came twice or too late.",
        read: || count(|all| all.late.get()),
    },
    OfModule {
        name: c"crossed",
        about: c"Calls counted again for a 2xx that crossed their CANCEL.",
        read: || count(|all| all.crossed.get()),
    },
    OfModule {
        name: c"expired",
        about: c"Calls that nobody ended in time.",
        read: || count(|all| all.expired.get()),
    },
    OfModule { name: c"probes", about: c"Probes begun.", read: || count(|all| all.probes.get()) },
    OfModule {
        name: c"failed_probes",
        about: c"Probes that failed.",
        read: || count(|all| all.failed_probes.get()),
    },
    OfModule {
        name: c"stale_probes",
        about: c"Answers to probes that meant nothing any more.",
        read: || count(|all| all.stale_probes.get()),
    },
];

fn count(of: fn(&Counters) -> u64) -> u64 {
    module().map_or(0, |module| of(&module.root.counters))
}

/// Makes the server's counters.
pub fn register() -> Result<(), &'static str> {
    OF_MODULE.iter().try_for_each(|one| counters::register(c"dispatcher", one.name, one.about, one.read))
}

/// The counters of the module in the text format of Prometheus.
fn of_module() -> impl Iterator<Item = String> {
    let text = |text: &CStr| text.to_string_lossy().into_owned();
    OF_MODULE.iter().map(move |one| metrics::counter(&text(one.name), &text(one.about), (one.read)()))
}

/// A figure of the last audit.
struct OfLastAudit {
    name: &'static str,
    about: &'static str,
    read: fn(&LastAudit) -> u64,
}

/// All of them. They are gauges, so the server, which calls all its figures counters, does not have them.
const OF_LAST_AUDIT: [OfLastAudit; 3] = [
    OfLastAudit {
        name: "last_audit_drift",
        about: "Destinations whose load was not the number of their calls at the last load_audit.",
        read: LastAudit::drift,
    },
    OfLastAudit {
        name: "last_audit_misplaced",
        about: "Wrong ranks in the index of call load at the last load_audit.",
        read: LastAudit::misplaced,
    },
    OfLastAudit {
        name: "last_audit_timestamp_seconds",
        about: "When the last load_audit was; 0 is never.",
        read: LastAudit::time,
    },
];

fn of_last_audit(last: &LastAudit) -> impl Iterator<Item = String> {
    OF_LAST_AUDIT.iter().map(|one| metrics::gauge(one.name, one.about, (one.read)(last)))
}
